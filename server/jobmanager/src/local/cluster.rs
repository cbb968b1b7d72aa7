//! A JobManager inside this process, with its TaskManagers.

use super::workers::{Launch, Workers};
use super::{LocalArgs, LocalError};
use crate::options::{Options, ServeArgs};
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

/// A running local cluster. Dropping it kills the TaskManagers; [`Cluster::stop`] lets them end.
pub(super) struct Cluster {
    rest: String,
    workers: Workers,
    stop: oneshot::Sender<()>,
    served: JoinHandle<String>,
}

impl Cluster {
    /// Starts everything; what the processes log, and what they keep, goes into `folder`.
    pub(super) async fn start(args: &LocalArgs, folder: &Path) -> Result<Self, LocalError> {
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let (bound, served) = serve(args, folder, stopped).await?;
        let launch = Launch {
            jobmanager: bound.rpc.to_string(),
            slots: args.slots,
            logs: folder.to_path_buf(),
        };
        let workers = Workers::start(args.taskmanagers, &launch)?;
        Ok(Cluster {
            rest: format!("http://{}", bound.rest),
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

/// What runs in the background until `stopped`, and the reason if it ends before that.
async fn serve(
    args: &LocalArgs,
    folder: &Path,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<(Bound, JoinHandle<String>), LocalError> {
    log_into(&folder.join("jobmanager.log"))?;
    let data_dir = args.data_dir.clone();
    let args = ServeArgs {
        define: args.options.clone(),
        rest_addr: Some(args.rest_addr.clone().unwrap_or_else(free_rest_address)),
        rpc_addr: Some("127.0.0.1:0".to_owned()),
        data_dir: Some(data_dir.unwrap_or_else(|| folder.join("data"))),
        ..ServeArgs::default()
    };
    let server = Server::start(Options::from_args(&args)?).await?;
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
