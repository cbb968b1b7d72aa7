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
use taskmanager::tls::{Connection, Incoming, Peer};
use tokio::sync::watch;
use tower::ServiceExt;
use tracing::debug;

/// How long the head of a request may take, and for how long a connection stays open on which nothing is asked.
/// Clients in wide use give theirs up sooner.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until the other half of `stopped` is dropped, and then until the last answer is given.
pub(super) async fn serve(
    incoming: Incoming,
    router: Router,
    stopped: watch::Receiver<()>,
) -> Result<(), String> {
    serve_within(HEAD_TIMEOUT, incoming, router, stopped).await
}

async fn serve_within(
    head_timeout: Duration,
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
        tokio::spawn(converse(head_timeout, connection, router.clone(), &open));
    }
    drop(incoming);
    open.shutdown().await;
    Ok(())
}

/// Answers what is asked on one connection.
fn converse(
    head_timeout: Duration,
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
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(connection), service);
    let served = open.watch(served);
    async move {
        if let Err(problem) = served.await {
            debug!(%problem, "a client's connection ended");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::routing::get;
    use taskmanager::tls::Limits;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    /// Far more than anything here takes; only a test that fails waits for so long.
    const LONG: Duration = Duration::from_secs(20);

    /// What comes back until the connection ends.
    async fn rest_of(mut stream: TcpStream) -> String {
        let mut heard = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut heard)).await.unwrap();
        String::from_utf8(heard).unwrap()
    }

    #[tokio::test]
    async fn who_does_not_say_what_they_want_is_hung_up_on_and_others_are_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits {
            connections: 2,
            handshakes: 2,
            patience: None,
        };
        let incoming = Incoming::new(listener, None, None, limits);
        let router = Router::new().route("/", get(async || "here"));
        let (stop, stopped) = watch::channel(());
        let served = tokio::spawn(serve_within(
            Duration::from_secs(2),
            incoming,
            router,
            stopped,
        ));
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n")
            .await
            .unwrap();
        let mut quick = TcpStream::connect(address).await.unwrap();
        let one_too_many = TcpStream::connect(address).await.unwrap();
        assert_eq!(rest_of(one_too_many).await, "");
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        quick.write_all(request).await.unwrap();
        assert!(rest_of(quick).await.ends_with("here"));
        let heard = rest_of(slow).await;
        assert!(!heard.contains("here"), "{heard}");
        drop(stop);
        assert_eq!(served.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn who_does_not_read_the_answer_gives_the_place_to_somebody_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits {
            connections: 1,
            handshakes: 1,
            patience: Some(Duration::from_millis(500)),
        };
        let incoming = Incoming::new(listener, None, None, limits);
        let endless = || futures::stream::repeat(Ok::<_, Infallible>(vec![0; 1 << 16]));
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/endless", get(async move || Body::from_stream(endless())));
        let (_stop, stopped) = watch::channel(());
        tokio::spawn(serve(incoming, router, stopped));
        let mut reader = TcpStream::connect(address).await.unwrap();
        let endless = b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n";
        reader.write_all(endless).await.unwrap();
        // Far more than is kept on the way, and for longer than the patience.
        let mut read = 0;
        let begun = tokio::time::Instant::now();
        while read < 64 << 20 || begun.elapsed() < Duration::from_millis(1_200) {
            let next = timeout(LONG, reader.read(&mut vec![0; 1 << 20])).await;
            let some = next.unwrap().unwrap();
            assert!(some > 0, "hung up on somebody who reads");
            read += some;
        }
        // From here on it is not read any more.
        let deadline = tokio::time::Instant::now() + LONG;
        loop {
            let mut other = TcpStream::connect(address).await.unwrap();
            let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let _ = other.write_all(request).await;
            let mut heard = Vec::new();
            let _ = timeout(LONG, other.read_to_end(&mut heard)).await.unwrap();
            if heard.ends_with(b"here") {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "it keeps its place");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
