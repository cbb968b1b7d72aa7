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
use tracing::warn;

/// How long open requests and streams may take to end once they are told to.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// How often an idle connection of a TaskManager is asked whether its peer is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the peer may take to answer that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client may take nothing of its answer. Those in wide use give up sooner on a server that is as slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// As many clients as may follow the events, and as many others.
const CLIENTS: usize = 512;
/// A few more than there may be sessions; the core's limits of slots are reached long before.
const TASKMANAGERS: usize = 12_000;
/// Files that are for the process itself: the store, checkpoints that are deleted, recordings, elections.
const OWN_FILES: usize = 128;
/// Files of a client: its connection, and the file of a dashboard that it is sent.
const FILES_OF_CLIENT: usize = 2;

/// How many connections there may be to each port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) rest: Limits,
    pub(super) rpc: Limits,
}

impl Shares {
    /// Of so many files. What clients have leaves enough for TaskManagers, and what both have for the process itself.
    pub(super) fn of(files: usize) -> Shares {
        let files = files.saturating_sub(OWN_FILES.min(files / 2));
        let clients = CLIENTS.min(files / 4 / FILES_OF_CLIENT);
        let taskmanagers = TASKMANAGERS.min(files - clients * FILES_OF_CLIENT);
        if taskmanagers < TASKMANAGERS {
            warn!(
                clients,
                taskmanagers,
                "few files may be open, so few connections may be; raise the hard limit (ulimit -Hn)"
            );
        }
        let handshakes = |connections: usize, most: usize| (connections / 4).clamp(1, most);
        Shares {
            rest: Limits {
                connections: clients,
                handshakes: handshakes(clients, 128),
                patience: Some(PATIENCE),
            },
            rpc: Limits {
                connections: taskmanagers,
                handshakes: handshakes(taskmanagers, 1_000),
                // The driver ends sessions whose messages nobody takes.
                patience: None,
            },
        }
    }
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::options::Options;

    const REST_TLS: [&str; 3] = [
        "security.ssl.rest.enabled=true",
        "security.ssl.rest.certificate=c",
        "security.ssl.rest.key=k",
    ];
    const CLIENTS_TLS: [&str; 2] = [
        "security.ssl.rest.authentication-enabled=true",
        "security.ssl.rest.ca=a",
    ];
    const INTERNAL: [&str; 5] = [
        "security.ssl.internal.enabled=true",
        "security.ssl.internal.cluster-name=x",
        "security.ssl.internal.certificate=c",
        "security.ssl.internal.key=k",
        "security.ssl.internal.ca=a",
    ];
    const TOKENS: [&str; 1] = ["security.rest.tokens=t"];
    const ALLOWED: [&str; 1] = ["security.allow-insecure=true"];

    /// Whether each port can be taken at this host: REST and that of TaskManagers.
    async fn are_taken(host: &str, options: &[&[&str]]) -> [bool; 2] {
        let places = [
            format!("rest.bind-address={host}"),
            format!("jobmanager.bind-host={host}"),
            "rest.port=0".to_owned(),
            "jobmanager.rpc.port=0".to_owned(),
        ];
        let said = options.concat();
        let all = said.into_iter().chain(places.iter().map(String::as_str));
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        };
        let options = Options::from_map(all.map(pair).collect()).unwrap();
        let mut taken = [false; 2];
        for (listen, taken) in [&options.rest, &options.rpc].into_iter().zip(&mut taken) {
            *taken = match Port::take(listen).await {
                Ok(_) => true,
                Err(ServeError::Exposed { .. }) => false,
                Err(other) => panic!("{other}"),
            };
        }
        taken
    }

    #[tokio::test]
    async fn each_port_is_open_to_others_only_if_it_tells_who_they_are() {
        for (options, wanted) in [
            (&[][..], [false, false]),
            (&[&TOKENS[..]], [false, false]),
            (&[&REST_TLS[..]], [false, false]),
            (&[&REST_TLS[..], &TOKENS], [true, false]),
            (&[&REST_TLS[..], &CLIENTS_TLS], [true, false]),
            (&[&INTERNAL[..]], [false, true]),
            (&[&INTERNAL[..], &TOKENS], [false, true]),
            (&[&INTERNAL[..], &REST_TLS], [false, true]),
            (&[&INTERNAL[..], &REST_TLS, &TOKENS], [true, true]),
            (&[&ALLOWED[..]], [true, true]),
        ] {
            let taken = are_taken("0.0.0.0", options).await;
            assert_eq!(taken, wanted, "{options:?}");
        }
    }

    #[tokio::test]
    async fn this_machine_alone_needs_nothing_and_every_other_address_is_another_machines() {
        for host in ["127.0.0.1", "127.9.9.9", "localhost"] {
            assert_eq!(are_taken(host, &[]).await, [true, true], "{host}");
        }
        for host in [
            "0.0.0.0",
            "::",
            "192.0.2.1",
            "2001:db8::1",
            "::ffff:192.0.2.1",
        ] {
            assert_eq!(are_taken(host, &[]).await, [false, false], "{host}");
        }
    }

    #[test]
    fn clients_leave_files_for_taskmanagers_and_both_leave_some_for_the_store() {
        for files in [64, 256, 1_024, 4_096, 13_151] {
            let Shares { rest, rpc } = Shares::of(files);
            let own = OWN_FILES.min(files / 2);
            let taken = rest.connections * FILES_OF_CLIENT + rpc.connections;
            assert!(taken + own <= files, "{files}: {rest:?} {rpc:?}");
            assert!(rest.connections > 0 && rpc.connections >= 2 * rest.connections);
            assert!(rest.handshakes <= rest.connections && rpc.handshakes * 4 <= rpc.connections);
        }
        for files in [13_152, 1 << 20, usize::MAX] {
            let Shares { rest, rpc } = Shares::of(files);
            assert_eq!((rest.connections, rpc.connections), (CLIENTS, TASKMANAGERS));
            assert_eq!((rest.handshakes, rpc.handshakes), (128, 1_000));
        }
    }
}
