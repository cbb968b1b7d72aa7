//! A running JobManager: what `main`, `local` and the tests all start.
//!
//! [`Server::start`] takes the ports, opens the store, mints an epoch and rebuilds the coordinator;
//! [`Server::run`] serves until it is told to stop or cannot go on.

use crate::clock::Clock;
use crate::discard::{CheckpointStorage, StorageProblem};
use crate::driver::{Driver, DriverEnd, DriverLoop, driver, panic_words};
use crate::grpc::SessionService;
use crate::metrics::MetricsTable;
use crate::options::{Listen, Options};
use crate::recorder::{Recorder, RecordingFiles, Recordings};
use crate::rest::Rest;
use crate::store::{EmbeddedStore, Leadership, Store, StoreError};
use axum::serve::ListenerExt;
use jobmanager_core::jobmanager::{Coordinator, RecoverError};
use jobmanager_core::time::Timestamp;
use jobmanager_proto::recording::Header;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tonic::transport::server::TcpIncoming;
use tracing::info;

/// How long open requests and streams may take to end once they are told to.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// How often an idle connection of a TaskManager is asked whether its peer is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the peer may take to answer that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a JobManager does not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {problem}; choose another address with {changed_by}")]
    Listen {
        /// The address.
        address: String,
        /// The system's words.
        problem: String,
        /// The flag and the keys that change it.
        changed_by: &'static str,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint storage cannot be used.
    #[error(transparent)]
    Checkpoints(#[from] StorageProblem),
    /// The records contradict each other.
    #[error(
        "{folder} is damaged: {problem}; restore it from a copy, or choose another folder with --data-dir to start without its jobs"
    )]
    Recover {
        /// The data folder.
        folder: PathBuf,
        /// What contradicts.
        problem: RecoverError,
    },
    /// The coordinator ended by itself.
    #[error(transparent)]
    Ended(#[from] DriverEnd),
    /// A server loop ended by itself.
    #[error("the {service} server stopped: {problem}")]
    Stopped {
        /// Which.
        service: &'static str,
        /// Why.
        problem: String,
    },
}

/// Where a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// REST, for clients.
    pub rest: SocketAddr,
    /// gRPC, for TaskManagers.
    pub rpc: SocketAddr,
}

/// A JobManager that leads, and answers as soon as it is [run](Server::run).
pub struct Server {
    bound: Bound,
    rest_listener: TcpListener,
    rpc_listener: TcpListener,
    rest: Rest,
    recordings: Recordings,
    driver: Driver,
    driver_loop: DriverLoop,
    store: EmbeddedStore,
}

/// Serves until `shutdown` is ready: [`Server::start`] and [`Server::run`] in one.
///
/// # Errors
/// It cannot start, or cannot go on.
pub async fn serve(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    Server::start(options).await?.run(shutdown).await
}

impl Server {
    /// Takes the ports and the leadership.
    ///
    /// # Errors
    /// A port is in use; the store or the checkpoint storage cannot be used.
    pub async fn start(options: Options) -> Result<Server, ServeError> {
        let rest_listener = listen(&options.rest).await?;
        let rpc_listener = listen(&options.rpc).await?;
        let bound = Bound {
            rest: local_address(&rest_listener, &options.rest)?,
            rpc: local_address(&rpc_listener, &options.rpc)?,
        };
        let url = options.cluster.checkpoint_storage.clone();
        // The folder first: the checkpoints may be inside it, and it has to be empty or ours.
        let store = EmbeddedStore::open(options.data_dir.clone()).await?;
        let storage = CheckpointStorage::open(&url)?;
        let leadership = store.load().await?;
        let (epoch, clock) = (leadership.epoch, Clock::start());
        let (records, now) = (leadership.records.len(), clock.now());
        let recorder = recorder(&options, &leadership, now);
        let coordinator = Coordinator::recover(options.cluster, epoch, leadership.records, now)
            .map_err(|problem| ServeError::Recover {
                folder: options.data_dir.clone(),
                problem,
            })?;
        info!(epoch = epoch.0, records, data_dir = %options.data_dir.display(), "leading");
        let (driver, mut driver_loop) = driver(coordinator, epoch, clock, store.clone(), storage);
        let files = RecordingFiles::new(options.flight_recorder.dir);
        if let Some(recorder) = recorder {
            driver_loop = driver_loop.recorded(recorder, files.clone());
        }
        let rest = Rest {
            driver: driver.clone(),
            metrics: MetricsTable::default(),
            timeout: options.web_timeout,
            refresh: options.web_refresh,
            job_defaults: Arc::new(options.job_defaults),
            checkpoint_storage: url.into(),
        };
        Ok(Server {
            bound,
            rest_listener,
            rpc_listener,
            rest,
            recordings: Recordings::new(driver.clone(), files),
            driver,
            driver_loop,
            store,
        })
    }

    /// Where it answers.
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// Recordings of what the coordinator is told.
    #[must_use]
    pub fn recordings(&self) -> Recordings {
        self.recordings.clone()
    }

    /// Serves until `shutdown` is ready. Then sessions end, open requests are answered, and the store is
    /// closed, within a second.
    ///
    /// # Errors
    /// It cannot go on: another process leads, or an invariant is broken.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let (stop, stopped) = watch::channel(());
        let service = SessionService::server(self.driver, self.rest.metrics.clone());
        let mut rest = serve_rest(self.rest_listener, self.rest, stopped.clone());
        let mut rpc = serve_rpc(self.rpc_listener, service, stopped);
        let mut driver = tokio::spawn(self.driver_loop.run());
        info!(rest = %self.bound.rest, rpc = %self.bound.rpc, "ready");
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            end = &mut driver => Err(driver_end(end).into()),
            end = &mut rest => Err(stopped_by_itself("REST", end)),
            end = &mut rpc => Err(stopped_by_itself("gRPC", end)),
        };
        info!("shutting down");
        // With the driver its outboxes are dropped, and so every session ends.
        driver.abort();
        drop(stop);
        for task in [rest, rpc] {
            end_in_time(task).await;
        }
        self.store.close().await;
        outcome
    }
}

/// What records the coordinator that starts from these records, unless that is switched off.
fn recorder(options: &Options, leadership: &Leadership, now: Timestamp) -> Option<Recorder> {
    let header = Header {
        program: concat!("jobmanager ", env!("CARGO_PKG_VERSION")).to_owned(),
        epoch: leadership.epoch,
        config: options.cluster.clone(),
    };
    let memory = options.flight_recorder.memory;
    (memory > 0).then(|| Recorder::new(memory, header, &leadership.records, now))
}

async fn listen(listen: &Listen) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind((listen.host.as_str(), listen.port)).await;
    bound.map_err(|problem| listen_error(listen, &problem))
}

fn local_address(listener: &TcpListener, listen: &Listen) -> Result<SocketAddr, ServeError> {
    let address = listener.local_addr();
    address.map_err(|problem| listen_error(listen, &problem))
}

fn listen_error(listen: &Listen, problem: &std::io::Error) -> ServeError {
    let problem = if problem.kind() == std::io::ErrorKind::AddrInUse {
        "the port is in use by another process".to_owned()
    } else {
        problem.to_string()
    };
    ServeError::Listen {
        address: format!("{}:{}", listen.host, listen.port),
        problem,
        changed_by: listen.changed_by,
    }
}

/// A server loop; its error as text.
type ServerTask = JoinHandle<Result<(), String>>;

fn serve_rest(listener: TcpListener, rest: Rest, stopped: watch::Receiver<()>) -> ServerTask {
    let listener = listener.tap_io(|connection| {
        // A connection that does not take the option is only slower.
        let _ = connection.set_nodelay(true);
    });
    let server = axum::serve(listener, rest.router()).with_graceful_shutdown(dropped(stopped));
    tokio::spawn(async move { server.await.map_err(|error| error.to_string()) })
}

fn serve_rpc(
    listener: TcpListener,
    service: jobmanager_proto::v1::job_manager_server::JobManagerServer<SessionService>,
    stopped: watch::Receiver<()>,
) -> ServerTask {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, dropped(stopped));
    tokio::spawn(async move { server.await.map_err(|error| error.to_string()) })
}

/// Ready when the other end is dropped.
async fn dropped(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

async fn end_in_time(mut task: ServerTask) {
    if task.is_finished() {
        return;
    }
    if tokio::time::timeout(LAST_ANSWERS, &mut task).await.is_err() {
        task.abort();
    }
}

fn driver_end(end: Result<DriverEnd, JoinError>) -> DriverEnd {
    match end {
        Ok(end) => end,
        Err(error) => DriverEnd::Panicked(join_words(error)),
    }
}

fn join_words(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic_words(panic.as_ref()),
        Err(_) => "its task was canceled".to_owned(),
    }
}

fn stopped_by_itself(
    service: &'static str,
    end: Result<Result<(), String>, JoinError>,
) -> ServeError {
    let problem = match end {
        Ok(Ok(())) => "it ended".to_owned(),
        Ok(Err(problem)) => problem,
        Err(error) => join_words(error),
    };
    ServeError::Stopped { service, problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::options::ServeArgs;

    async fn start(folder: &std::path::Path) -> Server {
        let free = || Some("127.0.0.1:0".to_owned());
        let args = ServeArgs {
            data_dir: Some(folder.to_owned()),
            rest_addr: free(),
            rpc_addr: free(),
            ..ServeArgs::default()
        };
        Server::start(Options::from_args(&args).unwrap())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_broken_invariant_ends_the_server_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let driver = server.driver.clone();
        tokio::spawn(async move {
            let look = driver.look(Duration::MAX, |_, _| panic!("the sky fell"));
            look.await
        });
        let error = server.run(std::future::pending()).await.unwrap_err();
        assert!(error.to_string().contains("the sky fell"), "{error}");
        // Nothing is left open: the folder can be used at once.
        start(folder.path()).await;
    }

    #[tokio::test]
    async fn a_later_leader_of_the_store_ends_the_server() {
        use jobmanager_core::jobmanager::Command;
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        server.store.load().await.unwrap();
        let graph = br#"{"name": "x", "vertices": [{"id": "a", "operator": "x"}]}"#;
        let id = jobmanager_core::id::JobId(1);
        let graph = jobmanager_proto::job_json::parse(graph, id, &Default::default()).unwrap();
        let driver = server.driver.clone();
        let submitted = tokio::spawn(async move {
            let submit = Command::Submit(Arc::new(graph));
            driver.command(submit, Duration::MAX).await
        });
        let error = server.run(std::future::pending()).await.unwrap_err();
        assert!(
            matches!(error, ServeError::Ended(DriverEnd::StepDown(_))),
            "{error}"
        );
        let answer = submitted.await.unwrap();
        assert_eq!(answer, Err(crate::driver::Unavailable::Ended));
    }

    #[tokio::test]
    async fn a_client_is_told_that_the_store_takes_no_writes() {
        let folder = tempfile::tempdir().unwrap();
        let mut server = start(folder.path()).await;
        server.rest.timeout = Duration::from_millis(100);
        server.store.close().await;
        let url = format!("http://{}/jobs", server.bound.rest);
        let serving = tokio::spawn(server.run(std::future::pending()));
        let asked = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .into();
            let graph = r#"{"name": "x", "vertices": [{"id": "a", "operator": "x"}]}"#;
            let mut answer = agent.post(url).send(graph).unwrap();
            let words = answer.body_mut().read_to_string().unwrap();
            (answer.status().as_u16(), words)
        });
        let (status, words) = asked.await.unwrap();
        assert_eq!(status, 503, "{words}");
        assert!(words.contains("the store takes no writes"), "{words}");
        serving.abort();
    }

    #[tokio::test]
    async fn a_session_that_does_not_read_is_ended_and_nobody_waits_for_it() {
        use crate::driver::{Outbox, Session, fresh_session};
        use jobmanager_core::message::Hello;
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let driver = server.driver.clone();
        let serving = tokio::spawn(server.run(std::future::pending()));
        // No room for a second message: the welcome fills it.
        let (messages, _unread) = tokio::sync::mpsc::channel(1);
        let (open, ended) = tokio::sync::oneshot::channel();
        let hello = Hello {
            taskmanager: jobmanager_core::id::TaskManagerId("mute".to_owned()),
            incarnation: jobmanager_core::id::Incarnation(1),
            seen_epoch: Default::default(),
            hellos: 1,
            slots: 1,
            data_address: "127.0.0.1:1".to_owned(),
            hardware: Default::default(),
            operators: vec!["x".to_owned()],
            inventory: Vec::new(),
            jobs: Vec::new(),
        };
        let id = fresh_session();
        let outbox = Outbox::new(messages, open);
        driver.connected(Session { id, hello, outbox }).await;
        let graph = br#"{"name": "x", "vertices": [{"id": "a", "operator": "x"}]}"#;
        let job = jobmanager_core::id::JobId(1);
        let graph = jobmanager_proto::job_json::parse(graph, job, &Default::default()).unwrap();
        let submit = jobmanager_core::jobmanager::Command::Submit(Arc::new(graph));
        driver.command(submit, Duration::MAX).await.unwrap();
        // The sender is only ever dropped.
        assert!(ended.await.is_err());
        serving.abort();
    }
}
