//! The called end of connections: accepting them, as many as there may be, and letting nobody through whose handshake
//! fails, or who has nothing to say.
//!
//! Invariant: who has not shown who they are yet holds up nobody else.

use super::judged::Judged;
use super::members::holder;
use super::steady::Steady;
use super::words::explained;
use super::{Called, ClusterName, Fresh};
use futures::Stream;
use rustls::pki_types::CertificateDer;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tracing::warn;

/// How long a handshake may take, which is two messages each way, of a few kB; and in the clear, the first byte.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that are made and not taken yet.
const MADE: usize = 16;
/// The pause after the system had no more sockets for us.
const OUT_OF_SOCKETS: Duration = Duration::from_secs(1);
/// How often it is said that somebody is not let in.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open ones.
    pub connections: usize,
    /// Of these, those whose handshake is not done, or that have not said anything.
    pub handshakes: usize,
    /// How long the other end may read nothing while there is something to read; without it, for as long as it likes.
    pub patience: Option<Duration>,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// The holder of the certificate that was shown, if one was asked for.
    pub certificate: Option<Arc<str>>,
}

/// Connections to a port, each ready to be spoken over.
#[derive(Debug)]
pub struct Incoming {
    made: mpsc::Receiver<Connection>,
    /// The only one in it; accepting ends with this.
    _accepting: JoinSet<()>,
}

impl Incoming {
    /// Accepts in the background: with TLS, or in the clear. Those who have `cluster` among their names are called by
    /// another one of them. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        tls: Option<Fresh<Called>>,
        cluster: Option<ClusterName>,
        limits: Limits,
    ) -> Incoming {
        let (ready, made) = mpsc::channel(MADE);
        let accepting = Accepting {
            tls,
            cluster,
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: limits.handshakes,
            patience: limits.patience,
            ready,
        };
        let mut _accepting = JoinSet::new();
        _accepting.spawn(accepting.run(listener));
        Incoming { made, _accepting }
    }

    /// The next one; nothing when no more come.
    pub async fn next(&mut self) -> Option<Connection> {
        self.made.recv().await
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.made.poll_recv(cx).map(|made| made.map(Ok))
    }
}

struct Accepting {
    tls: Option<Fresh<Called>>,
    cluster: Option<ClusterName>,
    connections: Arc<Semaphore>,
    handshakes: usize,
    patience: Option<Duration>,
    ready: mpsc::Sender<Connection>,
}

impl Accepting {
    async fn run(self, listener: TcpListener) {
        let (mut refused, mut handshakes) = (Refused::default(), JoinSet::<Shaken>::new());
        loop {
            let (stream, address) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(problem) => {
                        warn!(%problem, "a connection cannot be accepted");
                        tokio::time::sleep(OUT_OF_SOCKETS).await;
                        continue;
                    }
                },
                Some(ended) = handshakes.join_next() => {
                    if let Ok(Err((address, problem))) = ended {
                        refused.say(address, &problem);
                    }
                    continue;
                }
            };
            // A connection that does not take the option is only slower.
            let _ = stream.set_nodelay(true);
            let place = Arc::clone(&self.connections).try_acquire_owned();
            let Ok(place) = place else {
                refused.say(address, "too many connections are open");
                continue;
            };
            if handshakes.len() >= self.handshakes {
                refused.say(address, "too many handshakes are not done");
                continue;
            }
            let handshake = Handshake {
                tls: self.tls.clone(),
                cluster: self.cluster.clone(),
                patience: self.patience,
                ready: self.ready.clone(),
            };
            handshakes.spawn(handshake.run(stream, address, place));
        }
    }
}

/// How a handshake ended; if it failed, with whom, and why.
type Shaken = Result<(), (SocketAddr, String)>;

struct Handshake {
    tls: Option<Fresh<Called>>,
    cluster: Option<ClusterName>,
    patience: Option<Duration>,
    ready: mpsc::Sender<Connection>,
}

impl Handshake {
    async fn run(
        self,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Shaken {
        let (wire, certificate) =
            match timeout(HANDSHAKE_TIMEOUT, self.shake(stream, address)).await {
                Ok(Ok(shaken)) => shaken,
                // Somebody who looks whether there is anybody, such as a probe.
                Ok(Err(problem)) if problem.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Ok(Err(problem)) => return Err((address, explained(problem).to_string())),
                Err(_) => {
                    let words = format!("no handshake within {} s", HANDSHAKE_TIMEOUT.as_secs());
                    return Err((address, words));
                }
            };
        let connection = Connection {
            wire,
            peer: Peer {
                address,
                certificate,
            },
            _place: place,
        };
        // Nobody waits for connections any more when the server ends.
        let _ = self.ready.send(connection).await;
        Ok(())
    }

    /// The connection, and whose certificate was shown.
    async fn shake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
    ) -> io::Result<(Wire, Option<Arc<str>>)> {
        let Some(tls) = &self.tls else {
            return match stream.peek(&mut [0]).await? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok((Wire::Plain(Steady::new(stream, self.patience)), None)),
            };
        };
        // Before the handshake, so that what is replaced meanwhile is not missed.
        let fresh = tls.clone();
        let acceptor = TlsAcceptor::from(Arc::clone(&fresh.current().config));
        let stream = acceptor.accept(Steady::new(stream, self.patience)).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let shown: Vec<_> = shown
            .iter()
            .cloned()
            .map(CertificateDer::into_owned)
            .collect();
        let holder: Option<Arc<str>> = shown
            .first()
            .map(|own| holder(own, self.cluster.as_ref()).into());
        let who = match &holder {
            Some(name) => format!("{name} at {address}"),
            None => address.to_string(),
        };
        let judged = Judged::new(stream, who, shown, fresh, Called::judge);
        Ok((Wire::Tls(Box::new(judged)), holder))
    }
}

/// Tells who is not let in, and not more often than somebody reads it.
#[derive(Default)]
struct Refused {
    said: Option<Instant>,
    unsaid: u64,
}

impl Refused {
    fn say(&mut self, peer: SocketAddr, problem: &str) {
        let now = Instant::now();
        if self.said.is_some_and(|said| now - said < SAY_EVERY) {
            self.unsaid += 1;
            return;
        }
        warn!(%peer, problem, unsaid = self.unsaid, "a connection was refused");
        (self.said, self.unsaid) = (Some(now), 0);
    }
}

/// A connection that may be spoken over.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Wire {
    Plain(Steady),
    Tls(Box<Judged<TlsStream<Steady>>>),
}

impl Connection {
    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
