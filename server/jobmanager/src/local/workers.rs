//! TaskManagers as child processes: started, started again when they die, and stopped with us.
//!
//! A child holds the reading end of a pipe as its standard input and ends when the pipe closes. So no
//! child outlives this process, however it ends. Children are in process groups of their own: Ctrl-C
//! reaches this process alone, which then stops them in order.

use crate::cli;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A TaskManager that dies is started again after this pause: time to see its loss in the status.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// A child that was told to stop and does not is killed after this time.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How a TaskManager is started.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    /// `HOST:PORT` of the JobManager's RPC.
    pub(super) jobmanager: String,
    pub(super) slots: u32,
    /// Where the children's logs go.
    pub(super) logs: PathBuf,
}

impl Launch {
    fn start(&self, name: &str) -> io::Result<Running> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.logs.join(format!("{name}.log")))?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["taskmanager", "--stop-with-stdin", "--id", name])
            .args(["--jobmanager", &self.jobmanager])
            .args(["--slots", &self.slots.to_string()])
            .stdin(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        say(&format!(
            "{name} is process {}",
            child.id().unwrap_or_default()
        ));
        let lifeline = child.stdin.take();
        Ok(Running { child, lifeline })
    }
}

/// A TaskManager that was started.
struct Running {
    child: Child,
    /// The writing end of the child's standard input. Waiting for the child would close it, so it is
    /// kept apart.
    lifeline: Option<ChildStdin>,
}

impl Running {
    /// Ends the child, by force if it does not end by itself.
    async fn end(mut self) {
        drop(self.lifeline.take());
        if timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// The TaskManagers of a local cluster.
pub(super) struct Workers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Workers {
    /// Starts `count` TaskManagers, and keeps them running. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system's own, if a first start fails.
    pub(super) fn start(count: u32, launch: &Launch) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for number in 1..=count {
            let name = format!("taskmanager-{number}");
            let running = launch.start(&name)?;
            tasks.spawn(keep_running(name, running, launch.clone(), stopped.clone()));
        }
        Ok(Workers { stop, tasks })
    }

    /// Stops all of them, and returns when they have ended.
    pub(super) async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn keep_running(
    name: String,
    mut running: Running,
    launch: Launch,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let status = tokio::select! {
            _ = stopped.changed() => return running.end().await,
            status = running.child.wait() => status,
        };
        let how = status.map_or_else(|problem| problem.to_string(), |s| s.to_string());
        say(&format!("{name} has ended ({how}); starting it again"));
        tokio::select! {
            _ = stopped.changed() => return,
            () = sleep(RESTART_DELAY) => {}
        }
        match launch.start(&name) {
            Ok(next) => running = next,
            Err(problem) => return say(&format!("{name} cannot be started again: {problem}")),
        }
    }
}

/// Prints a line, over the progress display if there is one. That nobody takes it is noticed where the
/// job is shown.
fn say(line: &str) {
    use std::io::IsTerminal;
    let over = match std::io::stderr().is_terminal() {
        true => "\r\x1b[2K",
        false => "",
    };
    let _ = cli::print(format!("{over}{line}"));
}
