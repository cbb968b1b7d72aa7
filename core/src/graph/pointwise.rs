//! Who is connected to whom over a pointwise edge.

use core::ops::Range;

/// Stub.
#[must_use]
pub fn producers_of(producers: u32, consumers: u32, consumer: u32) -> Range<u32> {
    let _ = (producers, consumers, consumer);
    unimplemented!()
}

/// Stub.
#[must_use]
pub fn consumers_of(producers: u32, consumers: u32, producer: u32) -> Range<u32> {
    let _ = (producers, consumers, producer);
    unimplemented!()
}
