//! Files and sockets, of which a process has only so many.

use crate::cluster::{free_ports, jobmanager_with_files, own_address, taskmanager};
use crate::process::{Process, wait_for};
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;
use tempfile::TempDir;

/// A JobManager in the clear.
struct Narrow {
    rest: String,
    rpc: String,
    process: Process,
    folder: TempDir,
}

impl Narrow {
    /// It may have so many files open at first, and so many if it asks for more.
    fn start(soft: u32, hard: u32) -> Narrow {
        let folder = tempfile::tempdir().unwrap();
        let [rest, rpc] = free_ports(own_address());
        let mut command = jobmanager_with_files(soft, hard);
        command
            .args(["serve", "--rest-addr", &rest, "--rpc-addr", &rpc])
            .arg("--data-dir")
            .arg(folder.path().join("data"));
        let process = Process::start(&mut command, &folder.path().join("log"));
        wait_for("the start", || {
            process.output().contains("ready").then_some(())
        });
        Narrow {
            rest,
            rpc,
            process,
            folder,
        }
    }
}

#[test]
fn a_jobmanager_takes_the_files_that_it_may_have() {
    let narrow = Narrow::start(64, 512);
    let limits = format!("/proc/{}/limits", narrow.process.pid());
    let Ok(limits) = std::fs::read_to_string(limits) else {
        // Another system than Linux tells in other ways.
        return;
    };
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<_> = files.unwrap().split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["512", "512"]);
    assert!(narrow.process.output().contains("raise the hard limit"));
}

#[test]
fn clients_that_take_all_connections_leave_some_to_taskmanagers_and_the_store() {
    let narrow = Narrow::start(256, 256);
    // More than there can be, each with a request that is not said to its end.
    let open: Vec<_> = (0..400)
        .map(|_| {
            use std::io::Write;
            let mut stream = TcpStream::connect(&narrow.rest).unwrap();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n");
            stream
        })
        .collect();
    let mut last = open.last().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let heard = last.read(&mut [0]);
    assert!(!matches!(heard, Ok(1..)), "{heard:?}");

    let mut command = taskmanager();
    command.args(["--jobmanager", &narrow.rpc, "--slots", "1"]);
    let taskmanager = Process::start(&mut command, &narrow.folder.path().join("tm.log"));
    wait_for("the TaskManager", || {
        let registered = narrow.process.output().contains("TaskManager registered");
        registered.then_some(())
    });
    let log = narrow.process.output();
    assert!(!log.contains("a connection cannot be accepted"), "{log}");
    drop((open, taskmanager));
}
