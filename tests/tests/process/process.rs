//! A child process whose output goes to a file, and which does not outlive its test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes this long, even on a machine that is busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Looks until there is something to see.
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_longer(Duration::ZERO, what, look)
}

/// The same for what takes this long by itself.
pub(crate) fn wait_longer<T>(time: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        let in_vain = start.elapsed() >= time + DEADLINE;
        assert!(!in_vain, "waited in vain for {what}");
        thread::sleep(POLL);
    }
}

/// Lets processes run on until the moment that a seed chose for the next fault.
pub(crate) fn let_run(time: Duration) {
    thread::sleep(time);
}

/// A signal of the system.
#[derive(Clone, Copy)]
pub(crate) enum Signal {
    Stop,
    Continue,
    Terminate,
    Interrupt,
    /// To a JobManager: write a flight recording.
    Record,
}

/// A running child.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; its output is appended to the log.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Process {
            child,
            log: log.to_path_buf(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(signal, self.pid());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn end(&mut self) -> ExitStatus {
        wait_for("the end of a process", || self.child.try_wait().unwrap())
    }

    /// How it has ended, if it has.
    #[cfg(feature = "services")]
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let output = self.output();
            let lines: Vec<_> = output.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- end of {}:\n{}", self.log.display(), tail.join("\n"));
        }
    }
}

/// Sends a signal to a process that this test has started.
pub(crate) fn send(signal: Signal, pid: u32) {
    let name = match signal {
        Signal::Stop => "STOP",
        Signal::Continue => "CONT",
        Signal::Terminate => "TERM",
        Signal::Interrupt => "INT",
        Signal::Record => "USR1",
    };
    let kill = format!("kill -{name} {pid}");
    let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(status.success(), "{kill}");
}

/// Whether a process of this id exists.
pub(crate) fn exists(pid: u32) -> bool {
    let kill = format!("kill -0 {pid} 2>/dev/null");
    let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
    status.success()
}
