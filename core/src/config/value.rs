//! Flink's formats for values.

use alloc::string::String;
use core::time::Duration;

/// A value that cannot be read. The text says what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

/// Stub.
///
/// # Errors
/// Not a duration.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let _ = text;
    unimplemented!()
}

/// Stub. Bytes.
///
/// # Errors
/// Not a size.
pub fn parse_memory(text: &str) -> Result<u64, ValueError> {
    let _ = text;
    unimplemented!()
}
