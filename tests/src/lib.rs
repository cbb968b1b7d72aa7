//! What the tests of this package and its binaries share: the check of golden vectors, and the services that
//! some tests need.

pub mod golden;
#[cfg(feature = "services")]
pub mod services;
