//! HTTP of REST: one task per connection, in the clear or by TLS.
//!
//! Invariant: a client that is slow to say what it wants holds up only itself, and that not for long.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use futures::FutureExt;
use hyper::body::Incoming as HttpBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::time::Duration;
use taskmanager::tls::{Connection, Incoming, Limits, Peer};
use tokio::sync::watch;
use tower::ServiceExt;
use tracing::debug;

/// How long the head of a request may take, and for how long a connection stays open on which nothing is asked.
/// Clients in wide use give theirs up sooner.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// As many clients as may follow the events, and as many others. A process has 1,024 files unless told otherwise.
pub(super) const LIMITS: Limits = Limits {
    connections: 512,
    handshakes: 128,
};

/// Serves until the other half of `stopped` is dropped, and then until the last answer is given.
pub(super) async fn serve(
    mut incoming: Incoming,
    router: Router,
    stopped: watch::Receiver<()>,
) -> Result<(), String> {
    let open = GracefulShutdown::new();
    let mut stop = Box::pin(super::net::dropped(stopped));
    loop {
        let connection = tokio::select! {
            connection = incoming.next() => connection.ok_or("no connections are accepted any more")?,
            () = &mut stop => break,
        };
        tokio::spawn(converse(connection, router.clone(), &open));
    }
    drop(incoming);
    open.shutdown().await;
    Ok(())
}

/// Answers what is asked on one connection.
fn converse(
    connection: Connection,
    router: Router,
    open: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    let peer: Peer = connection.peer().clone();
    let service = service_fn(move |request: hyper::Request<HttpBody>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let answered = router.clone().oneshot(request);
        answered.map(|answer: Result<_, Infallible>| answer)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(connection), service);
    let served = open.watch(served);
    async move {
        if let Err(problem) = served.await {
            debug!(%problem, "a client's connection ended");
        }
    }
}
