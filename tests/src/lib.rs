//! What the tests of this package and its binaries share: the check of golden vectors.

pub mod golden;
