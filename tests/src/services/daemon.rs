//! The process of a service, which ends with the value that stands for it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than any service takes to start.
const LONG: Duration = Duration::from_secs(60);
/// Somebody else may take a free port before the service does.
const TRIES: usize = 5;

pub(super) struct Daemon {
    process: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it, and waits until it is up by what it says, which goes to this file.
    ///
    /// # Panics
    /// It is not installed, ends before it is up, or takes too long.
    pub(super) fn start(command: &mut Command, log: &Path, is_up: impl Fn(&str) -> bool) -> Daemon {
        Daemon::try_start(command, log, is_up).unwrap_or_else(|said| panic!("{said}"))
    }

    /// The same with a command that takes ports which were free a moment ago, made again if it ends.
    ///
    /// # Panics
    /// It is not installed, ends each time, or takes too long.
    pub(super) fn start_on_ports(
        mut command: impl FnMut() -> Command,
        log: &Path,
        is_up: impl Fn(&str) -> bool,
    ) -> Daemon {
        let mut tries = (0..TRIES).map(|_| Daemon::try_start(&mut command(), log, &is_up));
        let started = tries.find_map(Result::ok);
        started.unwrap_or_else(|| panic!("it does not start: {}", said(log)))
    }

    fn try_start(
        command: &mut Command,
        log: &Path,
        is_up: impl Fn(&str) -> bool,
    ) -> Result<Daemon, String> {
        let file = File::create(log).expect("the folder is ours");
        let errors = file.try_clone().expect("a file can be had twice");
        let process = command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let process = process.spawn().unwrap_or_else(|problem| {
            let program = command.get_program().display();
            panic!("{program} cannot be run ({problem}); tests/run installs it")
        });
        let log = log.to_owned();
        let mut daemon = Daemon { process, log };
        let begun = Instant::now();
        while !is_up(&said(&daemon.log)) {
            if daemon
                .process
                .try_wait()
                .expect("it is our process")
                .is_some()
            {
                return Err(said(&daemon.log));
            }
            assert!(begun.elapsed() < LONG, "too slow: {}", said(&daemon.log));
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already cannot be ended again.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn said(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
