//! What is stored is refused, or is read as it was written.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobmanager_fuzz::record(bytes));
