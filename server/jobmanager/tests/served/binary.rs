//! The binary `jobmanager serve` as a process: how it starts, refuses and ends.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

fn serve(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobmanager"));
    command
        .args([
            "serve",
            "--rest-addr",
            "127.0.0.1:0",
            "--rpc-addr",
            "127.0.0.1:0",
        ])
        .arg("--data-dir")
        .arg(data_dir)
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A process that is killed when the test is done with it.
struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    rest: String,
}

impl Process {
    /// Starts one and waits until it says where it answers.
    fn start(data_dir: &Path, arguments: &[&str]) -> Process {
        Process::spawn(&mut serve(data_dir, arguments))
    }

    fn spawn(command: &mut Command) -> Process {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line.trim().to_owned()
        };
        let rest = line().strip_prefix("REST ").unwrap().to_owned();
        assert!(line().starts_with("RPC 127.0.0.1:"));
        Process {
            child,
            stdout,
            rest,
        }
    }

    /// Sends a signal; returns the exit code and everything logged.
    fn end_by(mut self, name: &str) -> (Option<i32>, String) {
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = format!("kill {name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
        let mut logged = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut logged).unwrap();
        }
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "nothing else is printed");
        (self.child.wait().unwrap().code(), logged)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs one that has to end by itself; its exit code and what it logged.
fn refused(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_signal_ends_it_in_good_order() {
    let folder = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let process = Process::start(folder.path(), &[]);
        let overview = format!("{}/overview", process.rest);
        assert_eq!(ureq::get(overview).call().unwrap().status(), 200);
        let (code, logged) = process.end_by(signal);
        assert_eq!(code, Some(0), "{logged}");
        assert!(logged.contains("shutting down"), "{logged}");
    }
}

#[test]
fn log_lines_that_cannot_be_written_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let process = Process::spawn(serve(folder.path(), &[]).stderr(closed));
    let overview = format!("{}/overview", process.rest);
    assert_eq!(ureq::get(overview).call().unwrap().status(), 200);
    let (code, _) = process.end_by("-TERM");
    assert_eq!(code, Some(0));

    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let (code, _) = refused(serve(folder.path(), &["-D", "novalue"]).stderr(closed));
    assert_eq!(code, Some(64));
}

#[test]
fn a_kill_leaves_a_folder_that_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let process = Process::start(folder.path(), &[]);
        let (code, _) = process.end_by("-KILL");
        assert_eq!(code, None);
    }
}

#[test]
fn log_lines_are_json_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &["--log-format", "json"]);
    let (_, logged) = process.end_by("-TERM");
    let lines: Vec<serde_json::Value> = logged
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ready = lines.iter().find(|line| line["message"] == "ready");
    assert!(ready.unwrap()["rest"].is_string());
}

#[test]
fn a_port_in_use_is_refused_with_the_address_and_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, key) in [
        ("--rest-addr", "rest.port"),
        ("--rpc-addr", "jobmanager.rpc.port"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobmanager"));
        let other = match flag {
            "--rest-addr" => "--rpc-addr",
            _ => "--rest-addr",
        };
        command.args(["serve", flag, &address, other, "127.0.0.1:0", "--data-dir"]);
        let (code, logged) = refused(command.arg(folder.path()));
        assert_eq!(code, Some(1), "{logged}");
        for words in [address.as_str(), "in use", flag, key] {
            assert!(logged.contains(words), "{words} in {logged}");
        }
    }
}

#[test]
fn a_folder_in_use_or_not_ours_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[]);
    let (code, logged) = refused(&mut serve(folder.path(), &[]));
    assert_eq!(code, Some(1));
    let lock = folder.path().join("lock");
    assert!(logged.contains(lock.to_str().unwrap()), "{logged}");
    drop(process);

    let file = folder.path().join("metadata.redb");
    std::fs::write(&file, "not a database").unwrap();
    let (code, logged) = refused(&mut serve(folder.path(), &[]));
    assert_eq!(code, Some(1));
    assert!(logged.contains(file.to_str().unwrap()), "{logged}");
    assert_eq!(std::fs::read(&file).unwrap(), b"not a database");
}

#[test]
fn a_wrong_command_line_or_option_is_64_and_help_is_0() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["--no-such-flag"][..],
        &["-D", "rest.prot=1"],
        &["-D", "novalue"],
    ] {
        let (code, logged) = refused(&mut serve(folder.path(), arguments));
        assert_eq!(code, Some(64), "{logged}");
    }
    let (code, _) = refused(&mut serve(folder.path(), &["--help"]));
    assert_eq!(code, Some(0));
}
