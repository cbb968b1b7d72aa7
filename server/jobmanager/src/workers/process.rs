//! TaskManagers as processes of this machine: this program, started once more as `taskmanager`.
//!
//! They outlive the JobManager, however it ends, and the next one finds them again. The folder of the workers has for
//! each a log, and a file with the id of its process, which is empty for a moment while the process is started. A
//! process counts as that of a worker only if it was started as that one, so the id of another process, which the
//! system gives out again, is not mistaken for it.
//!
//! Each is in a process group of its own: Ctrl-C reaches the JobManager alone.

use super::{LEAVE_MARGIN, LEAVE_TIMEOUT, SHORTEST_PAUSE, Term, WorkerOrder, longer};
use jobmanager_core::id::{TaskManagerId, WorkerId};
use jobmanager_core::jobmanager::WorkerReport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

/// The end of the name of a file with the id of a process.
const PID: &str = ".pid";
/// The end of the name of a log.
const LOG: &str = ".log";
/// How many logs are kept of workers that have ended.
const KEPT_LOGS: usize = 32;
/// How often a process is looked at that another JobManager has started.
const LOOK: Duration = Duration::from_millis(200);

/// Where processes are started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlace {
    folder: PathBuf,
    /// Where their jobs may have files, if not wherever they may themselves.
    allowed_dirs: Vec<PathBuf>,
}

impl ProcessPlace {
    /// On this machine; what is known of them is in the first folder.
    ///
    /// # Errors
    /// This machine does not tell what its processes are: the words for people.
    pub fn new(folder: PathBuf, allowed_dirs: Vec<PathBuf>) -> Result<ProcessPlace, String> {
        match arguments_of("self") {
            Some(_) => Ok(ProcessPlace {
                folder,
                allowed_dirs,
            }),
            None => Err("there is no /proc/self/cmdline, and without it the processes of an earlier JobManager cannot be found".to_owned()),
        }
    }

    fn file(&self, worker: WorkerId) -> PathBuf {
        self.folder.join(format!("{worker}{PID}"))
    }

    fn log(&self, worker: WorkerId) -> PathBuf {
        self.folder.join(format!("{worker}{LOG}"))
    }

    /// Whom the files in the folder are about, which is made if it does not exist.
    fn known(&self) -> io::Result<BTreeSet<WorkerId>> {
        fs::create_dir_all(&self.folder)?;
        self.with_files(PID)
    }

    /// The workers that have a file whose name ends so.
    fn with_files(&self, end: &str) -> io::Result<BTreeSet<WorkerId>> {
        let mut workers = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(end));
            workers.extend(name.and_then(|name| WorkerId::named(&TaskManagerId(name.to_owned()))));
        }
        Ok(workers)
    }

    /// Of the workers that have ended, those that were started last keep their logs.
    fn remove_old_logs(&self) -> io::Result<()> {
        let (logs, there) = (self.with_files(LOG)?, self.with_files(PID)?);
        let ended: Vec<_> = logs.difference(&there).collect();
        for worker in ended.iter().rev().skip(KEPT_LOGS) {
            fs::remove_file(self.log(**worker))?;
        }
        Ok(())
    }
}

/// A process, whatever becomes of its id.
type Handle = Arc<OwnedFd>;

/// How far a worker is.
enum Stage {
    /// It could not be started, and is started again after a pause of this length.
    Waits(Duration),
    Runs(Handle),
    /// It was told to leave.
    Leaves(Handle),
}

/// What happens by itself.
enum Event {
    /// The pause is over.
    Again(WorkerId),
    /// Its process has ended: how.
    Ended(WorkerId, String),
    /// The time to leave is over.
    Late(WorkerId),
}

struct Provider {
    place: ProcessPlace,
    term: Term,
    all: BTreeMap<WorkerId, Stage>,
    events: JoinSet<Event>,
}

/// Carries out the orders of one term.
pub(super) async fn provide(
    place: ProcessPlace,
    term: Term,
    mut orders: mpsc::Receiver<WorkerOrder>,
) {
    let mut provider = Provider {
        place,
        term,
        all: BTreeMap::new(),
        events: JoinSet::new(),
    };
    provider.find().await;
    loop {
        let event = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => {
                    provider.carry_out(order).await;
                    continue;
                }
                None => return,
            },
            Some(event) = provider.events.join_next() => event,
        };
        let event = event.expect("none of them panics or is aborted while there is a provider");
        provider.happens(event).await;
    }
}

impl Provider {
    /// Tells which workers there are.
    async fn find(&mut self) {
        let mut pause = SHORTEST_PAUSE;
        let known = loop {
            match self.place.known() {
                Ok(known) => break known,
                Err(problem) => {
                    let folder = self.place.folder.display();
                    warn!(%folder, %problem, "it is not known which TaskManagers there are");
                }
            }
            sleep(pause).await;
            pause = longer(pause);
        };
        for worker in known {
            match self.place.find(worker, &self.term.jobmanagers) {
                Some(process) => self.watch(worker, process, None),
                None => self.forget(worker),
            }
        }
        let present: Vec<_> = self.all.keys().copied().collect();
        info!(taskmanagers = present.len(), folder = %self.place.folder.display(), "found");
        self.term.list(present).await;
    }

    async fn carry_out(&mut self, order: WorkerOrder) {
        if !self.term.lease.is_valid() {
            return;
        }
        match order {
            WorkerOrder::Start(worker) => match self.all.get(&worker) {
                None => self.start(worker, SHORTEST_PAUSE).await,
                Some(Stage::Runs(_)) => self.term.report(worker, WorkerReport::Started).await,
                Some(Stage::Waits(_) | Stage::Leaves(_)) => {}
            },
            WorkerOrder::End(worker) => self.end(worker).await,
        }
    }

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Again(worker) => {
                if let Some(Stage::Waits(pause)) = self.all.get(&worker) {
                    let pause = longer(*pause);
                    self.start(worker, pause).await;
                }
            }
            Event::Ended(worker, how) => {
                if let Some(Stage::Leaves(_)) = self.all.remove(&worker) {
                    info!(%worker, how, "ended");
                }
                self.forget(worker);
                let log = self.place.log(worker);
                let reason = format!("{how}; its log is {}", log.display());
                self.term.report(worker, WorkerReport::Gone(reason)).await;
            }
            Event::Late(worker) => {
                if let Some(Stage::Leaves(process)) = self.all.get(&worker) {
                    warn!(%worker, "killed, because it does not leave");
                    send(process, Signal::KILL);
                }
            }
        }
    }

    /// Starts it; again after this pause if that fails.
    async fn start(&mut self, worker: WorkerId, pause: Duration) {
        if !self.term.lease.is_valid() {
            return;
        }
        let report = match self.place.start(worker, &self.term) {
            Ok((child, process)) => {
                info!(%worker, pid = child.id(), "started");
                self.watch(worker, process, Some(child));
                WorkerReport::Started
            }
            Err(problem) => {
                warn!(%worker, %problem, "not started");
                self.all.insert(worker, Stage::Waits(pause));
                self.events.spawn(async move {
                    sleep(pause).await;
                    Event::Again(worker)
                });
                WorkerReport::Pending(format!("its process cannot be started: {problem}"))
            }
        };
        self.term.report(worker, report).await;
    }

    fn watch(&mut self, worker: WorkerId, process: OwnedFd, child: Option<Child>) {
        let process = Arc::new(process);
        self.all.insert(worker, Stage::Runs(Arc::clone(&process)));
        self.events.spawn(async move {
            let how = match child {
                Some(mut child) => how(child.wait().await),
                None => how_another_ends(process).await,
            };
            Event::Ended(worker, how)
        });
    }

    /// Lets it leave, and kills it if it does not.
    async fn end(&mut self, worker: WorkerId) {
        match self.all.remove(&worker) {
            None | Some(Stage::Waits(_)) => {
                self.forget(worker);
                let gone = WorkerReport::Gone("there is no process of it".to_owned());
                self.term.report(worker, gone).await;
            }
            Some(Stage::Leaves(process)) => {
                self.all.insert(worker, Stage::Leaves(process));
            }
            Some(Stage::Runs(process)) => {
                info!(%worker, "told to leave");
                send(&process, Signal::TERM);
                self.all.insert(worker, Stage::Leaves(process));
                self.events.spawn(async move {
                    sleep(LEAVE_TIMEOUT + LEAVE_MARGIN).await;
                    Event::Late(worker)
                });
            }
        }
    }

    /// Its process has ended, or there was none. The log stays for a while.
    fn forget(&self, worker: WorkerId) {
        let file = self.place.file(worker);
        let removed = fs::remove_file(&file).and_then(|()| self.place.remove_old_logs());
        if let Err(problem) = removed
            && problem.kind() != io::ErrorKind::NotFound
        {
            let folder = self.place.folder.display();
            warn!(%worker, %folder, %problem, "what is left of it is not removed");
        }
    }
}

impl ProcessPlace {
    /// Starts the process of a worker.
    fn start(&self, worker: WorkerId, term: &Term) -> io::Result<(Child, OwnedFd)> {
        let file = self.file(worker);
        fs::write(&file, "").map_err(|problem| about(&file, &problem))?;
        let log = self.log(worker);
        let open = File::options().create(true).append(true).open(&log);
        let output = open.map_err(|problem| about(&log, &problem))?;
        let program = std::env::current_exe()?;
        let mut child = Command::new(&program)
            .args(["taskmanager", "--id", &worker.to_string()])
            .args(["--jobmanager", &term.jobmanagers])
            .args(["--slots", &term.slots.to_string()])
            .args(["--log-memory", &term.log_memory.to_string()])
            .args(["--leave-timeout", &LEAVE_TIMEOUT.as_secs().to_string()])
            .args(security(term))
            .args(self.allowed_dirs())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|problem| about(&program, &problem))?;
        let noted = note(&child, &file);
        if noted.is_err() {
            // It is started again, and must not be there twice.
            child.start_kill()?;
        }
        Ok((child, noted?))
    }

    fn allowed_dirs(&self) -> impl Iterator<Item = OsString> {
        let argument = |folder: &PathBuf| ["--allowed-dirs".into(), folder.clone().into()];
        self.allowed_dirs.iter().flat_map(argument)
    }

    /// The process of a worker that somebody has started, if it runs.
    fn find(&self, worker: WorkerId, jobmanagers: &str) -> Option<OwnedFd> {
        let text = fs::read_to_string(self.file(worker)).unwrap_or_default();
        let name = worker.to_string();
        let Ok(pid) = text.trim().parse() else {
            // Whoever has started it did not live to write it down.
            let mut pids = fs::read_dir("/proc").ok()?.filter_map(|entry| {
                let name = entry.ok()?.file_name();
                name.to_str()?.parse().ok()
            });
            return pids
                .find_map(|pid| running(pid, &[("--id", &name), ("--jobmanager", jobmanagers)]));
        };
        running(pid, &[("--id", &name)])
    }
}

/// The flags that say what it shows to the other members of the cluster, and asks of them: the same as this one.
fn security(term: &Term) -> Vec<OsString> {
    let mut flags: Vec<OsString> = Vec::new();
    if let Some(tls) = &term.tls {
        flags.extend(["--cluster-name".into(), tls.cluster.to_string().into()]);
        let files = [
            ("--tls-certificate", Some(&tls.certificate)),
            ("--tls-key", Some(&tls.key)),
            ("--tls-ca", Some(&tls.authorities)),
            ("--tls-crl", tls.revoked.as_ref()),
        ];
        for (flag, file) in files
            .into_iter()
            .filter_map(|(flag, file)| Some((flag, file?)))
        {
            flags.extend([flag.into(), file.into()]);
        }
    }
    if term.allow_insecure {
        flags.push("--allow-insecure".into());
    }
    flags
}

/// Writes down which process it is. Nobody has waited for it, so the id is still its own.
fn note(child: &Child, file: &Path) -> io::Result<OwnedFd> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| io::Error::other("the system gives its process no id"))?;
    let process = handle(pid)?;
    // One line, so that all of them together are a list.
    fs::write(file, format!("{pid}\n")).map_err(|problem| about(file, &problem))?;
    Ok(process)
}

/// The TaskManager of this id, if it is one, and has these arguments.
fn running(pid: i32, wanted: &[(&str, &str)]) -> Option<OwnedFd> {
    let process = handle(pid).ok()?;
    // While there is the handle, the id is given to no other process, unless this one had ended before.
    let arguments = arguments_of(&pid.to_string())?;
    let has = |(flag, value): &(&str, &str)| {
        let mut pairs = arguments.iter().zip(arguments.iter().skip(1));
        pairs.any(|(one, next)| one == flag && next == value)
    };
    let is_taskmanager = arguments.get(1).is_some_and(|first| first == "taskmanager");
    (is_taskmanager && wanted.iter().all(has)).then_some(process)
}

/// With what a process was started; nothing if there is none, or it has ended.
fn arguments_of(pid: &str) -> Option<Vec<String>> {
    let bytes = fs::read(Path::new("/proc").join(pid).join("cmdline")).ok()?;
    let all = String::from_utf8_lossy(&bytes);
    let arguments: Vec<_> = all.split_terminator('\0').map(str::to_owned).collect();
    (!arguments.is_empty()).then_some(arguments)
}

fn handle(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

fn send(process: &Handle, signal: Signal) {
    // One that has ended already needs none.
    let _ = pidfd_send_signal(&**process, signal);
}

/// Of a process that is not our child, the system tells nobody how it ends.
async fn how_another_ends(process: Handle) -> String {
    loop {
        let mut looked_at = [PollFd::new(&*process, PollFlags::IN)];
        match poll(&mut looked_at, Some(&Timespec::default())) {
            Ok(0) | Err(_) => sleep(LOOK).await,
            Ok(_) => return "its process has ended".to_owned(),
        }
    }
}

fn how(ended: io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) => format!("its process has ended ({status})"),
        Err(problem) => format!("its process has ended, nobody knows how ({problem})"),
    }
}

fn about(path: &Path, problem: &io::Error) -> io::Error {
    io::Error::new(problem.kind(), format!("{}: {problem}", path.display()))
}
