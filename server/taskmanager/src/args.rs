//! The command line of the binary `taskmanager`, and of whatever other binary has one built in.

use crate::recent_log::{Heard, MAX_MEMORY, OWN};
use crate::sdk::Registry;
use crate::tls::{ClusterName, Credentials};
use crate::{Options, StartError, descriptors, operators, run};
use clap::{Parser, ValueEnum};
use jobmanager_core::config::parse_memory;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

/// Threads of the runtime. Tasks have threads of their own; these only move frames and messages.
const RUNTIME_THREADS: usize = 2;

/// Runs tasks for a JobManager.
///
/// After SIGTERM it leaves: it takes no more tasks, those that it has go on elsewhere, and then it ends. A second
/// SIGTERM, or Ctrl-C, ends it at once.
///
/// Exit codes: 0 after SIGTERM or Ctrl-C, 1 if it could not start, 2 for a wrong command line.
#[derive(Debug, Clone, Parser)]
#[command(name = "taskmanager", version)]
pub struct Args {
    /// Where the JobManager listens for TaskManagers; several with commas, if one of them leads at a time
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:6123"
    )]
    pub jobmanager: Vec<String>,

    /// How many slots it offers [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub slots: Option<u32>,

    /// Where it listens for the records of other TaskManagers; port 0 is any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub bind_addr: SocketAddr,

    /// Its name, which no other TaskManager may have [default: address and a random number]
    #[arg(long, value_name = "NAME")]
    pub id: Option<String>,

    /// After SIGTERM, how long its tasks may take to go on elsewhere before it ends anyway; 0 for at once
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub leave_timeout: u32,

    /// Its certificate, in PEM: all it says and hears is then encrypted, and it speaks with members of its cluster alone
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca", "cluster_name"])]
    pub tls_certificate: Option<PathBuf>,

    /// The key of its certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,

    /// The authorities that sign the certificates of the cluster, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_ca: Option<PathBuf>,

    /// The lists of certificates that these authorities have revoked, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_crl: Option<PathBuf>,

    /// The DNS name that all certificates of the cluster have, and those of no other one
    #[arg(long, value_name = "NAME", value_parser = cluster_name, requires = "tls_certificate")]
    pub cluster_name: Option<ClusterName>,

    /// Speak with other machines in the clear: with their JobManager, and with whoever asks for records
    #[arg(long)]
    pub allow_insecure: bool,

    /// The folders in which jobs may have files, with commas between them, those of their savepoints included
    /// [default: wherever its user may]
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    pub allowed_dirs: Vec<PathBuf>,

    /// How it logs, on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,

    /// How much of what it logs it keeps in memory, for those who ask the JobManager, at most 16 mb; 0 for nothing
    #[arg(long, value_name = "SIZE", value_parser = log_memory, default_value = "1 mb")]
    pub log_memory: u64,

    /// Stop when standard input ends: a child process that does not outlive its parent
    #[arg(long, hide = true)]
    pub stop_with_stdin: bool,
}

/// How to log. What is logged is chosen by the environment variable `RUST_LOG`, `info` without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

impl From<Args> for Options {
    fn from(args: Args) -> Options {
        let files = (args.tls_certificate, args.tls_key, args.tls_ca);
        let tls = match (files, args.cluster_name) {
            ((Some(certificate), Some(key), Some(authorities)), Some(cluster)) => {
                Some(Credentials {
                    certificate,
                    key,
                    authorities,
                    revoked: args.tls_crl,
                    cluster,
                })
            }
            // The command line has all of them or none.
            _ => None,
        };
        Options {
            jobmanagers: args.jobmanager,
            slots: args.slots,
            bind_addr: args.bind_addr,
            id: args.id,
            leave_timeout: Duration::from_secs(args.leave_timeout.into()),
            tls,
            allow_insecure: args.allow_insecure,
            allowed_dirs: args.allowed_dirs,
        }
    }
}

fn cluster_name(text: &str) -> Result<ClusterName, String> {
    let problem = "not a DNS name; use letters, digits, hyphens and dots";
    ClusterName::new(text).ok_or_else(|| problem.to_owned())
}

fn log_memory(text: &str) -> Result<u64, String> {
    match parse_memory(text) {
        Ok(bytes) if bytes <= MAX_MEMORY => Ok(bytes),
        Ok(_) => Err("more than 16 mb".to_owned()),
        Err(problem) => Err(problem.to_string()),
    }
}

/// The binary `taskmanager`: its command line, with the built-in operators.
#[must_use]
pub fn main() -> ExitCode {
    main_with(Args::parse(), operators::builtin())
}

/// Runs a TaskManager as a process of its own: logs, signals and exit code included.
#[must_use]
pub fn main_with(args: Args, registry: Registry) -> ExitCode {
    OWN.set_limit(args.log_memory);
    log_to_stderr(args.log_format);
    descriptors::raise();
    match run_until_told(args, registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!(%problem, "the TaskManager does not run");
            ExitCode::FAILURE
        }
    }
}

fn run_until_told(args: Args, registry: Registry) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .map_err(StartError::System)?;
    let stop_with_stdin = args.stop_with_stdin;
    let result = runtime.block_on(async {
        let told = Told::listen(stop_with_stdin).map_err(StartError::System)?;
        let (leave, is_to_leave) = oneshot::channel();
        let leaves = async {
            if is_to_leave.await.is_err() {
                std::future::pending().await
            }
        };
        run(args.into(), registry, leaves, told.wait(leave)).await
    });
    // A task in the middle of a record, or a write to a slow disk, does not hold up the exit.
    runtime.shutdown_background();
    result
}

/// Whoever tells this process to stop.
struct Told {
    terminate: Signal,
    interrupt: Signal,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Told {
    fn listen(stop_with_stdin: bool) -> std::io::Result<Told> {
        Ok(Told {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin: stop_with_stdin.then(end_of_stdin),
        })
    }

    /// Until it is to end at once; passes on before that, if it is told so, that it is to leave.
    async fn wait(mut self, leave: oneshot::Sender<()>) {
        let stdin = async {
            match self.stdin {
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        let mut stdin = pin!(stdin);
        let mut leave = Some(leave);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => match leave.take() {
                    Some(leave) => {
                        let _ = leave.send(());
                    }
                    None => return info!("stopping after a second SIGTERM"),
                },
                _ = self.interrupt.recv() => return info!("stopping after Ctrl-C"),
                () = &mut stdin => return info!("stopping with the parent process"),
            }
        }
    }
}

/// A thread of its own reads: it may sit in the read for as long as the process lives.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut ignored = [0; 1_024];
        while matches!(stdin.read(&mut ignored), Ok(1..)) {}
        let _ = ended.send(());
    });
    receiver
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let heard = Heard::stderr();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A line that cannot be written is dropped: telling about it there, too, would panic.
        .log_internal_errors(false)
        .with_writer(move || heard);
    // Whoever embeds this may have set up its own already.
    let _ = match format {
        LogFormat::Human => log
            .with_ansi(heard.has_colours())
            .with_target(false)
            .try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recent_log::DEFAULT_MEMORY;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_has_its_defaults() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["taskmanager"]).unwrap();
        assert_eq!(args.jobmanager, ["127.0.0.1:6123"]);
        assert_eq!(args.bind_addr.to_string(), "127.0.0.1:0");
        assert_eq!((args.slots, args.id), (None, None));
        assert_eq!(args.leave_timeout, 20);
        assert_eq!(args.log_memory, DEFAULT_MEMORY);
    }

    #[test]
    fn several_jobmanagers_are_named_with_commas() {
        let line = [
            "taskmanager",
            "--jobmanager",
            "a:1,b:2",
            "--jobmanager",
            "c:3",
        ];
        let args = Args::try_parse_from(line).unwrap();
        assert_eq!(args.jobmanager, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn tls_needs_all_of_its_files() {
        let files = [
            "--tls-certificate",
            "c",
            "--tls-key",
            "k",
            "--tls-ca",
            "a",
            "--cluster-name",
            "Blue",
        ];
        let parse = |given: &[&str]| {
            let line = [&["taskmanager"], given].concat();
            Args::try_parse_from(line).map(Options::from)
        };
        let tls = parse(&files).unwrap().tls.unwrap();
        assert_eq!(tls.cluster.to_string(), "blue");
        assert_eq!(parse(&[]).unwrap().tls, None);
        for missing in 0..4 {
            let mut some = files.to_vec();
            some.drain(2 * missing..2 * missing + 2);
            let refused = parse(&some).unwrap_err().to_string();
            assert!(refused.contains(files[2 * missing]), "{refused}");
        }
        let crl = [&files[..], &["--tls-crl", "r"]].concat();
        assert_eq!(parse(&crl).unwrap().tls.unwrap().revoked, Some("r".into()));
        for alone in [
            ["--tls-crl", "r"],
            ["--cluster-name", "blue"],
            ["--cluster-name", "a b"],
        ] {
            assert!(parse(&alone).is_err(), "{alone:?}");
        }
    }

    #[test]
    fn the_memory_of_a_log_is_a_size_within_bounds() {
        let parse = |size| Args::try_parse_from(["taskmanager", "--log-memory", size]);
        assert_eq!(parse("0").unwrap().log_memory, 0);
        assert_eq!(parse("16 mb").unwrap().log_memory, MAX_MEMORY);
        let refused = parse("17 mb").unwrap_err().to_string();
        assert!(refused.contains("more than 16 mb"), "{refused}");
        assert!(parse("much").is_err());
    }

    #[test]
    fn no_slots_are_refused() {
        assert!(Args::try_parse_from(["taskmanager", "--slots", "0"]).is_err());
    }
}
