//! A JobManager inside this process, with its TaskManagers.

use super::workers::{Launch, Workers};
use super::{LocalArgs, LocalError};
use crate::options::{Options, OptionsError, ServeArgs};
use crate::serve::{Bound, Server};
use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

/// Where the client commands look if they are not told.
const FIRST_REST_ADDRESS: &str = "127.0.0.1:8081";

/// Options that say where REST listens.
const REST_KEYS: [&str; 3] = ["rest.address", "rest.bind-address", "rest.port"];
/// The option that says where jobs are kept.
const DATA_KEY: &str = "jobmanager.data-dir";
/// The option that says how one of several JobManagers is elected.
const HA_KEY: &str = "high-availability.type";
/// Options that say who is let in; the one of them that `local` knows is about the network.
const SECURITY: &str = "security.";
const ALLOW_INSECURE: &str = "security.allow-insecure";
/// The option that says who starts TaskManagers.
const PROVIDER_KEY: &str = "resourcemanager.provider";
/// Options about the port that only the TaskManagers started here need to know.
const OWN_KEYS: [&str; 3] = [
    "jobmanager.bind-host",
    "jobmanager.rpc.address",
    "jobmanager.rpc.port",
];

/// A running local cluster. Dropping it kills the TaskManagers; [`Cluster::stop`] lets them end.
pub(super) struct Cluster {
    rest: String,
    workers: Workers,
    stop: oneshot::Sender<()>,
    served: JoinHandle<String>,
}

impl Cluster {
    /// Starts everything; what the processes log, and what they keep, goes into `folder`.
    pub(super) async fn start(
        args: &LocalArgs,
        options: Options,
        folder: &Path,
    ) -> Result<Self, LocalError> {
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let (bound, served) = serve(options, folder, stopped).await?;
        let launch = Launch {
            jobmanager: bound.rpc.to_string(),
            slots: args.slots,
            logs: folder.to_path_buf(),
        };
        let workers = Workers::start(args.taskmanagers, &launch)?;
        Ok(Cluster {
            rest: format!("{}://{}", bound.rest_scheme, bound.rest),
            workers,
            stop,
            served,
        })
    }

    /// `http://HOST:PORT`
    pub(super) fn rest_address(&self) -> &str {
        &self.rest
    }

    /// Waits until the JobManager has ended without being asked to; gives the reason.
    pub(super) async fn failed(&mut self) -> String {
        match (&mut self.served).await {
            Ok(words) => words,
            Err(panic) => panic.to_string(),
        }
    }

    /// Ends everything, the TaskManagers first, so that they need not look for their JobManager.
    pub(super) async fn stop(self) {
        self.workers.stop().await;
        let _ = self.stop.send(());
        let _ = self.served.await;
    }
}

/// The options of the JobManager: what was asked for, and where nothing was, what suits one machine.
///
/// # Errors
/// A key or value is wrong, or is not for the user to choose.
pub(super) fn options(args: &LocalArgs, folder: &Path) -> Result<Options, OptionsError> {
    let key = |option: &String| {
        option
            .split('=')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let keys: Vec<String> = args.options.iter().map(key).collect();
    let sets = |wanted: &&str| keys.iter().any(|key| key == wanted);
    let own = OWN_KEYS.iter().filter(|key| sets(key));
    let problem = |key| {
        format!("{key}: `local` takes a free port for TaskManagers of its own; leave this out")
    };
    let problems: Vec<String> = own.map(problem).collect();
    if !problems.is_empty() {
        return Err(OptionsError::Problems(problems));
    }
    let guards = |key: &&String| key.starts_with(SECURITY) && *key != ALLOW_INSECURE;
    if let Some(key) = keys.iter().find(guards) {
        let problem = format!("{key}: `local` is for this machine alone; use `serve` for others");
        return Err(OptionsError::Problems(vec![problem]));
    }
    if sets(&HA_KEY) {
        let problem = format!("{HA_KEY}: `local` runs one JobManager; leave this out");
        return Err(OptionsError::Problems(vec![problem]));
    }
    if sets(&PROVIDER_KEY) {
        let problem = format!(
            "{PROVIDER_KEY}: `local` starts as many TaskManagers as --taskmanagers says; leave this out"
        );
        return Err(OptionsError::Problems(vec![problem]));
    }
    let otherwise = |keys: &[&str]| !keys.iter().any(&sets);
    let rest_addr = args.rest_addr.clone();
    let data_dir = args.data_dir.clone();
    Options::from_args(&ServeArgs {
        define: args.options.clone(),
        rest_addr: rest_addr.or_else(|| otherwise(&REST_KEYS).then(free_rest_address)),
        rpc_addr: Some("127.0.0.1:0".to_owned()),
        data_dir: data_dir.or_else(|| otherwise(&[DATA_KEY]).then(|| folder.join("data"))),
        ..ServeArgs::default()
    })
}

/// What runs in the background until `stopped`, and the reason if it ends before that.
async fn serve(
    options: Options,
    folder: &Path,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<(Bound, JoinHandle<String>), LocalError> {
    log_into(&folder.join("jobmanager.log"))?;
    let server = Server::start(options).await?;
    let bound = server.bound();
    let served = tokio::spawn(async {
        match server.run(stopped).await {
            Ok(()) => "it was stopped".to_owned(),
            Err(error) => error.to_string(),
        }
    });
    Ok((bound, served))
}

/// The address where clients look first, or another port if somebody is there.
fn free_rest_address() -> String {
    let taken = TcpListener::bind(FIRST_REST_ADDRESS).is_err();
    let address = if taken {
        "127.0.0.1:0"
    } else {
        FIRST_REST_ADDRESS
    };
    address.to_owned()
}

/// The terminal shows the job, so what the JobManager logs goes into a file.
fn log_into(path: &Path) -> std::io::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = Mutex::new(File::create(path)?);
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(false)
        .with_writer(log);
    // Whoever logs already goes on with it.
    let _ = subscriber.try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        local: LocalArgs,
    }

    fn options_of(arguments: &[&str]) -> Result<Options, String> {
        let line = Line::parse_from(std::iter::once(&"local").chain(arguments));
        options(&line.local, Path::new("/folder")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_option_is_obeyed_and_a_flag_goes_before_it() {
        let define = ["-D", "rest.port=7", "-D", "jobmanager.data-dir=/elsewhere"];
        let options = options_of(&define).unwrap();
        assert_eq!(options.rest.host, "127.0.0.1");
        assert_eq!(options.rest.port, 7);
        assert_eq!(options.store.to_string(), "/elsewhere");
        let options = options_of(&["-D", "rest.port=7", "--rest-addr", "localhost:8"]).unwrap();
        assert_eq!(
            (options.rest.host.as_str(), options.rest.port),
            ("localhost", 8)
        );
        assert_eq!(options.store.to_string(), "/folder/data");
        let options = options_of(&["-D", "rest.address=localhost"]).unwrap();
        assert_eq!(
            (options.rest.host.as_str(), options.rest.port),
            ("localhost", 8081)
        );
        assert_eq!(options.rpc.port, 0);
    }

    #[test]
    fn an_option_that_cannot_be_obeyed_is_refused() {
        for (option, words) in [
            ("rest.port=many", "`many` is not a port"),
            (
                "jobmanager.rpc.port=6123",
                "jobmanager.rpc.port: `local` takes",
            ),
            ("high-availability.type=FILE_LOCK", "runs one JobManager"),
            (
                "security.ssl.rest.enabled=true",
                "is for this machine alone",
            ),
            ("resourcemanager.provider=process", "--taskmanagers says"),
            ("no.such.key=1", "no.such.key"),
            ("rest.port", "expected KEY=VALUE"),
        ] {
            let refused = options_of(&["-D", option]).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
