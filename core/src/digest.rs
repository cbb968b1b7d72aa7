//! A 64-bit digest of a machine's state: equal states have equal digests, on every platform.

use core::hash::{Hash, Hasher};
use xxhash_rust::xxh3::Xxh3Default;

/// A hasher that writes every integer in one byte order and every length as 64 bits.
///
/// The derived [`Hash`] of our types feeds it; a type whose iteration order is not fixed must not
/// implement `Hash`.
#[derive(Default)]
pub struct Digest(Xxh3Default);

impl Digest {
    /// The digest of one value.
    pub fn of(value: &(impl Hash + ?Sized)) -> u64 {
        let mut digest = Digest::default();
        value.hash(&mut digest);
        digest.finish()
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0.digest()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn write_u16(&mut self, value: u16) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_u32(&mut self, value: u32) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_u64(&mut self, value: u64) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_u128(&mut self, value: u128) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
}
