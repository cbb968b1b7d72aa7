//! A decision tape is a run, and no run breaks a promise.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobmanager_fuzz::tape(bytes));
