//! The binary `taskmanager` as a process.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

#[test]
fn log_lines_that_cannot_be_written_are_dropped() {
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    // Nobody listens on port 1, and its standard input has ended already, so it stops by itself.
    let status = Command::new(env!("CARGO_BIN_EXE_taskmanager"))
        .args(["--jobmanager", "127.0.0.1:1", "--stop-with-stdin"])
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(closed)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}
