//! A JobGraph is refused with its problems, or is one that a coordinator can run.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobmanager_fuzz::job_graph(bytes));
