//! A JobManager and its TaskManagers, each a process of its own.

use crate::process::{Process, Signal, wait_for};
use crate::rest::Rest;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// Options with which everything happens soon.
pub(crate) const QUICK: [(&str, &str); 5] = [
    ("heartbeat.interval", "200 ms"),
    ("heartbeat.timeout", "10 s"),
    ("cluster.registration.initial-timeout", "50 ms"),
    ("cluster.registration.max-timeout", "200 ms"),
    ("cluster.registration.refused-registration-delay", "200 ms"),
];

/// The binary `jobmanager`.
pub(crate) fn jobmanager() -> Command {
    Command::new(env!("CARGO_BIN_EXE_test-jobmanager"))
}

/// A JobManager with these addresses and this data folder.
pub(crate) fn serve(rest: &str, rpc: &str, data: &Path) -> Command {
    let mut command = jobmanager();
    command.args(["serve", "--rest-addr", rest, "--rpc-addr", rpc]);
    command.arg("--data-dir").arg(data);
    command
}

/// The binary `jobmanager` as a process that may have so many files open at first, and so many if it asks for more.
pub(crate) fn jobmanager_with_files(soft: u32, hard: u32) -> Command {
    let mut shell = Command::new("sh");
    let program = r#"ulimit -Sn "$1" && ulimit -Hn "$2" && shift 2 && exec "$@""#;
    shell.args(["-c", program, "sh", &soft.to_string(), &hard.to_string()]);
    shell.arg(env!("CARGO_BIN_EXE_test-jobmanager"));
    shell
}

/// The binary `taskmanager`.
pub(crate) fn taskmanager() -> Command {
    Command::new(env!("CARGO_BIN_EXE_test-taskmanager"))
}

/// An address of this machine that nobody else uses, so that ports stay free while their process is
/// down, or has not bound them yet. Systems without the whole of 127.0.0.0/8 have to live with one
/// address.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [network, host] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = u8::try_from(std::process::id() % 250).unwrap();
    let own = Ipv4Addr::new(127, process + 1, network, host);
    match TcpListener::bind((own, 0)) {
        Ok(_) => own,
        Err(_) => Ipv4Addr::LOCALHOST,
    }
}

/// `HOST:PORT` with ports that are free now, all different.
pub(crate) fn free_ports<const N: usize>(host: Ipv4Addr) -> [String; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((host, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().to_string())
}

/// A cluster. Dropping it kills its processes and removes its files.
pub(crate) struct Cluster {
    pub(crate) rest: Rest,
    pub(crate) rpc: String,
    pub(crate) taskmanagers: Vec<Process>,
    pub(crate) jobmanager: Option<Process>,
    host: Ipv4Addr,
    options: Vec<String>,
    /// What its processes find in their environment.
    environment: Vec<(&'static str, String)>,
    slots: u32,
    folder: TempDir,
}

impl Cluster {
    /// Starts a JobManager with these options beside [`QUICK`], and TaskManagers; waits until all of
    /// them are registered.
    pub(crate) fn start(taskmanagers: usize, slots: u32, options: &[(&str, &str)]) -> Self {
        Cluster::start_in(Vec::new(), taskmanagers, slots, options)
    }

    /// The same in this environment.
    pub(crate) fn start_in(
        environment: Vec<(&'static str, String)>,
        taskmanagers: usize,
        slots: u32,
        options: &[(&str, &str)],
    ) -> Self {
        let host = own_address();
        let [rest, rpc] = free_ports(host);
        let all = QUICK.iter().chain(options);
        let mut cluster = Cluster {
            rest: Rest::new(&format!("http://{rest}")),
            rpc,
            taskmanagers: Vec::new(),
            jobmanager: None,
            host,
            options: all.map(|(key, value)| format!("-D{key}={value}")).collect(),
            environment,
            slots,
            folder: tempfile::tempdir().unwrap(),
        };
        cluster.start_jobmanager();
        for _ in 0..taskmanagers {
            cluster.add_taskmanager();
        }
        cluster.wait_for_taskmanagers(taskmanagers);
        cluster
    }

    /// A path inside the cluster's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// SIGKILLs the JobManager, and starts it again at the same addresses with the same data.
    pub(crate) fn kill_and_restart_jobmanager(&mut self) {
        self.kill_jobmanager();
        self.start_jobmanager();
    }

    pub(crate) fn kill_jobmanager(&mut self) {
        self.jobmanager.take().unwrap().kill();
    }

    /// Asks the JobManager to end, and waits until it has.
    pub(crate) fn end_jobmanager(&mut self, signal: Signal) -> ExitStatus {
        let mut jobmanager = self.jobmanager.take().unwrap();
        jobmanager.signal(signal);
        jobmanager.end()
    }

    pub(crate) fn start_jobmanager(&mut self) {
        let rest = self.rest.address.strip_prefix("http://").unwrap();
        let mut command = serve(rest, &self.rpc, &self.path("data"));
        command
            .arg(format!("-Djobmanager.rpc.address={}", self.host))
            .args(&self.options)
            .envs(self.environment.clone());
        let started = Process::start(&mut command, &self.path("jobmanager.log"));
        self.jobmanager = Some(started);
        wait_for("the JobManager to answer", || {
            self.rest.ask("GET", "/overview", b"")
        });
    }

    /// SIGKILLs a TaskManager, and starts one of the same name.
    pub(crate) fn kill_and_restart_taskmanager(&mut self, number: usize) {
        self.taskmanagers[number].kill();
        self.restart_taskmanager(number);
    }

    /// Starts a TaskManager of the same name as one that has ended.
    pub(crate) fn restart_taskmanager(&mut self, number: usize) {
        self.taskmanagers[number] = self.start_taskmanager(number);
    }

    /// Starts one more TaskManager.
    pub(crate) fn add_taskmanager(&mut self) {
        let taskmanager = self.start_taskmanager(self.taskmanagers.len());
        self.taskmanagers.push(taskmanager);
    }

    /// SIGKILLs every process, the JobManager first.
    pub(crate) fn kill_everything(&mut self) {
        self.kill_jobmanager();
        for taskmanager in &mut self.taskmanagers {
            taskmanager.kill();
        }
    }

    /// Starts what [`Cluster::kill_everything`] has killed.
    pub(crate) fn start_everything(&mut self) {
        self.start_jobmanager();
        for number in 0..self.taskmanagers.len() {
            self.taskmanagers[number] = self.start_taskmanager(number);
        }
    }

    fn start_taskmanager(&self, number: usize) -> Process {
        let mut command = taskmanager();
        command
            .args(["--jobmanager", &self.rpc, "--id", &format!("tm-{number}")])
            .args(["--slots", &self.slots.to_string()])
            .args(["--bind-addr", &format!("{}:0", own_address())])
            .envs(self.environment.clone());
        Process::start(&mut command, &self.path(&format!("tm-{number}.log")))
    }

    pub(crate) fn wait_for_taskmanagers(&self, count: usize) {
        wait_for("the TaskManagers to register", || {
            let overview = self.rest.get("/overview");
            (overview["taskmanagers"] == count).then_some(())
        });
    }
}
