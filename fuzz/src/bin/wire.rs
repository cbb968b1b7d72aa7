//! A message is refused, or survives its way over the wire.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobmanager_fuzz::wire(bytes));
