//! Options of a TaskManager, checked and bound.

use crate::descriptors;
use crate::folders::Folders;
use crate::jobmanagers::JobManagers;
use crate::sdk::Registry;
use crate::tls::{Credentials, Dialer, FileProblem, Incoming, Limits, is_here};
use jobmanager_core::id::{Incarnation, TaskManagerId};
use jobmanager_core::message::Hardware;
use jobmanager_core::taskmanager::WorkerConfig;
use jobmanager_proto::limits::{MAX_NAME, MAX_SLOTS};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, UdpSocket};

/// The first pause between two tries to register, and the longest one: short, because a JobManager that
/// was restarted finds all its tasks still running if they come back at once.
const REGISTRATION_INITIAL: Duration = Duration::from_millis(100);
/// See [`REGISTRATION_INITIAL`].
const REGISTRATION_MAX: Duration = Duration::from_secs(2);

/// As many TaskManagers as may be consumers of this one's, and then some whose connections are about to end.
const CONSUMERS: usize = 10_000;

/// How many consumers are let in, if so many files may be open: tasks have connections and files of their own.
pub(crate) fn exchange_limits(files: usize) -> Limits {
    let connections = CONSUMERS.min(files / 2);
    Limits {
        connections,
        handshakes: (connections / 4).clamp(1, 256),
        // A consumer may keep its producers waiting; whether it is there at all is asked below the records.
        patience: None,
    }
}

/// How a TaskManager is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where JobManagers listen for TaskManagers, each `host:port`: one of them leads, or knows who does.
    pub jobmanagers: Vec<String>,
    /// How many slots, 1 to 10,000; as many as processors if not given.
    pub slots: Option<u32>,
    /// Where the data exchange listens; port 0 is any free one.
    pub bind_addr: SocketAddr,
    /// Its name, 1 to 200 characters; address and a random number if not given.
    pub id: Option<String>,
    /// How long its tasks may take to go on elsewhere when it is to leave. Zero: they stop at once.
    pub leave_timeout: Duration,
    /// What it shows to the other members of its cluster, and asks of them. Without it, everything is in the clear.
    pub tls: Option<Credentials>,
    /// Whether other machines may reach it without `tls`.
    pub allow_insecure: bool,
    /// The folders in which jobs may have files; any if there are none.
    pub allowed_dirs: Vec<PathBuf>,
}

/// Why a TaskManager cannot start, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nobody to register with.
    #[error("no JobManager is named: give host:port, or several with commas between them")]
    NoJobManager,
    /// A JobManager's address is not one.
    #[error(
        "{0:?} is not the address of a JobManager: give it as host:port, such as 127.0.0.1:6123"
    )]
    JobManager(String),
    /// The name is too long or has characters that cannot be shown.
    #[error(
        "{0:?} is not a name for a TaskManager: use 1 to {MAX_NAME} characters, no control characters"
    )]
    Id(String),
    /// Too few or too many slots.
    #[error("{0} slots cannot be offered: choose 1 to {MAX_SLOTS}")]
    Slots(u32),
    /// A folder in which jobs may have files is none.
    #[error("{folder:?} cannot be a folder of --allowed-dirs: {problem}; make it first")]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// The system's words.
        problem: std::io::Error,
    },
    /// The data exchange cannot listen.
    #[error(
        "cannot listen on {address}: {problem}; choose another address with --bind-addr, port 0 for any free one"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        problem: std::io::Error,
    },
    /// Everybody on the way to a JobManager could read what is said, and give orders in its name.
    #[error(
        "the JobManager {0} may be on another machine, and nothing would be encrypted: give --tls-certificate, --tls-key, \
         --tls-ca and --cluster-name, or say --allow-insecure if the network is to be trusted"
    )]
    Elsewhere(String),
    /// Everybody could read and answer what is said on the network.
    #[error(
        "{0} can be reached from other machines, and nothing would be encrypted: give --tls-certificate, --tls-key, \
         --tls-ca and --cluster-name, or say --allow-insecure if the network is to be trusted"
    )]
    Exposed(SocketAddr),
    /// A certificate, a key or authorities.
    #[error("TLS cannot be used: {0}")]
    Tls(#[from] FileProblem),
    /// A task did not stop.
    #[error(
        "a task did not stop within task.cancellation.timeout, and only the end of the process stops it: start the TaskManager again"
    )]
    Stuck,
    /// The system refuses what every process needs.
    #[error("the system refuses threads, signals or sockets: {0}")]
    System(std::io::Error),
}

/// Options that are right, with the socket that they ask for.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) jobmanagers: JobManagers,
    /// Those who want records of this TaskManager's.
    pub(crate) incoming: Incoming,
    data_address: SocketAddr,
    slots: u32,
    id: String,
    pub(crate) leave_timeout: Duration,
    pub(crate) folders: Folders,
}

impl Options {
    /// Checks everything and listens.
    pub(crate) async fn bind(self) -> Result<Bound, StartError> {
        let is_wrong = |address: &&String| !is_host_and_port(address);
        if let Some(wrong) = self.jobmanagers.iter().find(is_wrong) {
            return Err(StartError::JobManager(wrong.clone()));
        }
        let Some(jobmanager) = self.jobmanagers.first() else {
            return Err(StartError::NoJobManager);
        };
        let slots = self.slots.unwrap_or_else(|| cpu_cores().min(MAX_SLOTS));
        if !(1..=MAX_SLOTS).contains(&slots) {
            return Err(StartError::Slots(slots));
        }
        if let Some(id) = self.id.as_ref().filter(|id| !is_name(id)) {
            return Err(StartError::Id(id.clone()));
        }
        let folders = Folders::new(&self.allowed_dirs)
            .map_err(|(folder, problem)| StartError::Folder { folder, problem })?;
        let address = self.bind_addr;
        let only_here = self.tls.is_none() && !self.allow_insecure;
        if only_here && !address.ip().is_loopback() {
            return Err(StartError::Exposed(address));
        }
        let mut named = self.jobmanagers.iter();
        if let Some(elsewhere) = named.find(|address| only_here && !is_here(host_of(address))) {
            return Err(StartError::Elsewhere(elsewhere.clone()));
        }
        let dialer = Dialer::new(self.tls.as_ref(), only_here)?;
        let tls = self.tls.as_ref().map(Credentials::server).transpose()?;
        let cluster = self.tls.map(|tls| tls.cluster);
        let fail = |problem| StartError::Bind { address, problem };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let mut data_address = listener.local_addr().map_err(fail)?;
        if data_address.ip().is_unspecified() {
            data_address.set_ip(own_address(jobmanager).await.map_err(StartError::System)?);
        }
        let random_id = || format!("{data_address}-{:06x}", random() & 0xff_ffff);
        Ok(Bound {
            id: self.id.unwrap_or_else(random_id),
            jobmanagers: JobManagers::new(self.jobmanagers, dialer),
            incoming: Incoming::new(
                listener,
                tls,
                cluster,
                exchange_limits(descriptors::limit()),
            ),
            data_address,
            slots,
            leave_timeout: self.leave_timeout,
            folders,
        })
    }
}

impl Bound {
    /// What the core's half of this TaskManager has to know.
    pub(crate) fn worker_config(&self, registry: &Registry) -> WorkerConfig {
        WorkerConfig {
            taskmanager: TaskManagerId(self.id.clone()),
            incarnation: incarnation(),
            slots: self.slots,
            data_address: self.data_address.to_string(),
            hardware: Hardware {
                cpu_cores: cpu_cores(),
                memory: memory(),
            },
            operators: registry.names().map(str::to_owned).collect(),
            registration_initial: REGISTRATION_INITIAL,
            registration_max: REGISTRATION_MAX,
        }
    }
}

pub(crate) fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bad = |c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c);
    let colons_are_bracketed =
        !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    let port_is_real = port.parse::<u16>().is_ok_and(|port| port != 0);
    !host.is_empty() && !host.contains(bad) && colons_are_bracketed && port_is_real
}

fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.chars().count()) && !text.contains(char::is_control)
}

/// The address of ours from which the JobManager is reached. Sends nothing.
async fn own_address(jobmanager: &str) -> std::io::Result<IpAddr> {
    let any: IpAddr = match jobmanager.starts_with('[') {
        true => std::net::Ipv6Addr::UNSPECIFIED.into(),
        false => std::net::Ipv4Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(jobmanager).await?;
    Ok(socket.local_addr()?.ip())
}

/// The nanoseconds of the start: another number for every life of the process.
fn incarnation() -> Incarnation {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos();
    Incarnation(u64::try_from(nanos).unwrap_or_else(|_| random()))
}

/// The standard library seeds its hashes from the system's randomness.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

fn cpu_cores() -> u32 {
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

/// Bytes; 0 where the system does not tell. For people.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: Option<u64> = kib.and_then(|kib| kib.trim().parse().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options() -> Options {
        Options {
            jobmanagers: vec!["127.0.0.1:6123".to_owned()],
            slots: Some(2),
            bind_addr: "127.0.0.1:0".parse().unwrap(),
            id: None,
            leave_timeout: Duration::ZERO,
            tls: None,
            allow_insecure: false,
            allowed_dirs: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_free_port_is_found_and_is_part_of_the_name() {
        let bound = options().bind().await.unwrap();
        let config = bound.worker_config(&Registry::new());
        assert_ne!(bound.data_address.port(), 0);
        assert_eq!(config.data_address, bound.data_address.to_string());
        assert!(config.taskmanager.0.starts_with(&config.data_address));
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_what_to_do() {
        let other = options().bind().await.unwrap();
        let bind_addr = other.data_address;
        let refused = Options {
            bind_addr,
            ..options()
        };
        let refused = refused.bind().await.unwrap_err().to_string();
        assert!(refused.contains(&bind_addr.to_string()), "{refused}");
        assert!(refused.contains("--bind-addr"), "{refused}");
    }

    #[tokio::test]
    async fn an_address_for_everybody_is_advertised_as_one_that_can_be_reached() {
        let open = Options {
            bind_addr: "0.0.0.0:0".parse().unwrap(),
            allow_insecure: true,
            ..options()
        };
        let bound = open.bind().await.unwrap();
        assert!(bound.data_address.ip().is_loopback());
    }

    #[tokio::test]
    async fn other_machines_reach_it_only_with_tls_or_if_that_is_said() {
        for bind_addr in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let open = Options {
                bind_addr: bind_addr.parse().unwrap(),
                ..options()
            };
            let refused = open.bind().await.unwrap_err().to_string();
            for part in [bind_addr, "--tls-certificate", "--allow-insecure"] {
                assert!(refused.contains(part), "{refused}");
            }
        }
    }

    #[tokio::test]
    async fn a_jobmanager_on_another_machine_is_called_only_with_tls_or_if_that_is_said() {
        for (address, is_here) in [
            ("127.0.0.1:6123", true),
            ("127.9.9.9:6123", true),
            ("[::1]:6123", true),
            ("localhost:6123", true),
            ("192.0.2.1:6123", false),
            ("[2001:db8::1]:6123", false),
            ("jobmanager:6123", false),
            ("localhost.example:6123", false),
            ("127.0.0.1.example:6123", false),
        ] {
            let mut named = options();
            named.jobmanagers.push(address.to_owned());
            let bound = named.clone().bind().await.map(drop);
            match is_here {
                true => bound.unwrap(),
                false => {
                    let refused = bound.unwrap_err().to_string();
                    for part in [address, "--tls-certificate", "--allow-insecure"] {
                        assert!(refused.contains(part), "{refused}");
                    }
                }
            }
            named.allow_insecure = true;
            named.bind().await.unwrap();
        }
    }

    #[tokio::test]
    async fn wrong_options_are_refused_with_what_would_be_right() {
        for address in [
            "",
            "host",
            "host:",
            "host:0",
            "http://h:1",
            "a b:1",
            "::1:6123",
        ] {
            let mut wrong = options();
            wrong.jobmanagers.push(address.to_owned());
            let refused = wrong.bind().await.unwrap_err().to_string();
            assert!(refused.contains("host:port"), "{refused}");
        }
        let jobmanagers = Vec::new();
        let wrong = Options {
            jobmanagers,
            ..options()
        };
        assert!(matches!(wrong.bind().await, Err(StartError::NoJobManager)));
        let id = Some("a\nb".to_owned());
        let wrong = Options { id, ..options() };
        assert!(matches!(wrong.bind().await, Err(StartError::Id(_))));
        let allowed_dirs = vec!["/nowhere/at/all".into()];
        let wrong = Options {
            allowed_dirs,
            ..options()
        };
        let refused = wrong.bind().await.map(drop).unwrap_err().to_string();
        assert!(refused.contains("/nowhere/at/all"), "{refused}");
        let slots = Some(0);
        let wrong = Options { slots, ..options() };
        assert!(matches!(wrong.bind().await, Err(StartError::Slots(0))));
    }
}
