//! What the tests of this package and its binaries share: the check of golden vectors, the browser, and the services
//! that some tests need.

pub mod browser;
pub mod golden;
#[cfg(feature = "services")]
pub mod services;
