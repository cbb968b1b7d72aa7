//! The ports: taking them, serving on them, and letting go of them in time.

use super::ServeError;
use super::http;
use crate::grpc::SessionService;
use crate::options::Listen;
use axum::Router;
use jobmanager_proto::v1::job_manager_server::JobManagerServer;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use taskmanager::tls::{Incoming, Limits};
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

/// How long open requests and streams may take to end once they are told to.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// How often an idle connection of a TaskManager is asked whether its peer is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the peer may take to answer that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A few more than there may be sessions; the core's limits of slots are reached long before.
pub(super) const RPC_LIMITS: Limits = Limits {
    connections: 12_000,
    handshakes: 1_000,
};

/// A server loop; its error as text.
pub(super) type ServerTask = JoinHandle<Result<(), String>>;

/// A port that is taken.
pub(super) struct Port {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    /// Where others reach it: `host:port`.
    pub(super) reached: String,
}

impl Port {
    /// Takes it.
    ///
    /// # Errors
    /// It is in use, the address is not one of this machine, or others could reach it that must not.
    pub(super) async fn take(listen: &Listen) -> Result<Port, ServeError> {
        let addresses = lookup_host((listen.host.as_str(), listen.port)).await;
        let addresses = addresses.map_err(|problem| listen_error(listen, &problem))?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let is_outside = addresses.iter().any(|address| !address.ip().is_loopback());
        if let (Some(needs), true) = (listen.unguarded, is_outside) {
            return Err(ServeError::Exposed {
                address: shown(listen),
                needs,
                changed_by: listen.changed_by,
            });
        }
        let bound = TcpListener::bind(&addresses[..]).await;
        let listener = bound.map_err(|problem| listen_error(listen, &problem))?;
        let address = listener.local_addr();
        let address = address.map_err(|problem| listen_error(listen, &problem))?;
        let reached = reached(listen, address);
        Ok(Port {
            listener,
            address,
            reached,
        })
    }
}

fn reached(listen: &Listen, address: SocketAddr) -> String {
    let Some(host) = &listen.reached_by else {
        return address.to_string();
    };
    match host.parse() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{}", address.port()),
        Ok(IpAddr::V4(_)) | Err(_) => format!("{host}:{}", address.port()),
    }
}

fn shown(listen: &Listen) -> String {
    format!("{}:{}", listen.host, listen.port)
}

fn listen_error(listen: &Listen, problem: &std::io::Error) -> ServeError {
    let problem = if problem.kind() == std::io::ErrorKind::AddrInUse {
        "the port is in use by another process".to_owned()
    } else {
        problem.to_string()
    };
    ServeError::Listen {
        address: shown(listen),
        problem,
        changed_by: listen.changed_by,
    }
}

pub(super) fn serve_rest(
    incoming: Incoming,
    router: Router,
    stopped: watch::Receiver<()>,
) -> ServerTask {
    tokio::spawn(http::serve(incoming, router, stopped))
}

pub(super) fn serve_rpc(
    incoming: Incoming,
    service: JobManagerServer<SessionService>,
    stopped: watch::Receiver<()>,
) -> ServerTask {
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, dropped(stopped));
    tokio::spawn(async move { server.await.map_err(|error| error.to_string()) })
}

/// Ready when the other end is dropped.
pub(super) async fn dropped(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

pub(super) async fn end_in_time(mut task: ServerTask) {
    if task.is_finished() {
        return;
    }
    if tokio::time::timeout(LAST_ANSWERS, &mut task).await.is_err() {
        task.abort();
    }
}

pub(super) fn stopped_by_itself(
    service: &'static str,
    end: Result<Result<(), String>, JoinError>,
) -> ServeError {
    let problem = match end {
        Ok(Ok(())) => "it ended".to_owned(),
        Ok(Err(problem)) => problem,
        Err(error) => super::join_words(error),
    };
    ServeError::Stopped { service, problem }
}
