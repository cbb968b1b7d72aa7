//! The gRPC service that TaskManagers open their session with.
//!
//! Each session has a reader task: it turns bytes into messages for the driver, and reports the end of
//! the session exactly once, whatever ended it. What a TaskManager does wrong ends its own stream with a
//! status that names the problem; nobody else notices. A JobManager that does not lead opens no session: it
//! answers with the leader's address.

use crate::driver::{Driver, OUTBOX, Outbox, Session, fresh_session};
use crate::gate::{Gate, only_watches};
use crate::metrics::MetricsTable;
use futures::{Stream, StreamExt};
use jobmanager_core::id::SessionId;
use jobmanager_core::message::{Envelope, Hello};
use jobmanager_proto::v1::job_manager_server::{JobManager, JobManagerServer};
use jobmanager_proto::{Received, WireError, v1};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use taskmanager::tls::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

/// From the opening of a stream to its hello: a TaskManager says it at once.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest message taken. Bytes; a hello with the inventory of 100,000 tasks has about 6 MB.
const MAX_MESSAGE: usize = 16 << 20;
/// How many sessions are open at a time; the core's limits of slots are reached long before.
const MAX_SESSIONS: usize = 10_000;

/// The service.
#[derive(Debug)]
pub struct SessionService {
    gate: Gate,
    free: Arc<Semaphore>,
    /// Places for those that wait to be told who leads.
    waiting: Arc<Semaphore>,
}

impl SessionService {
    /// The service as tonic takes it.
    #[must_use]
    pub fn server(gate: Gate) -> JobManagerServer<SessionService> {
        let places = || Arc::new(Semaphore::new(MAX_SESSIONS));
        JobManagerServer::new(SessionService {
            gate,
            free: places(),
            waiting: places(),
        })
        .max_decoding_message_size(MAX_MESSAGE)
    }
}

type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::ToTaskManager, Status>> + Send>>;

#[tonic::async_trait]
impl JobManager for SessionService {
    type SessionStream = Outgoing;

    async fn session(
        &self,
        request: Request<Streaming<v1::FromTaskManager>>,
    ) -> Result<Response<Outgoing>, Status> {
        let full = |_| Status::resource_exhausted("too many sessions are open; try again later");
        let here = self.gate.leading();
        let here = here.filter(|_| !only_watches(request.metadata()));
        let Some(leading) = here else {
            let _place = self.waiting.try_acquire().map_err(full)?;
            return Err(self.gate.redirect(request.metadata()).await);
        };
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(full)?;
        let peer: Option<&Peer> = request.extensions().get();
        let certificate = peer.and_then(|peer| peer.certificate.clone());
        let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.address.to_string());
        let (messages, outgoing) = mpsc::channel(OUTBOX);
        let reader = Reader {
            incoming: request.into_inner(),
            messages,
            driver: leading.driver.clone(),
            metrics: leading.metrics.clone(),
            peer,
            certificate,
            _permit: permit,
        };
        tokio::spawn(reader.run());
        // Encoded here, as the peer takes it, and not by the driver.
        let encoded = ReceiverStream::new(outgoing)
            .map(|message: Result<Envelope, Status>| message.map(|envelope| (&envelope).into()));
        Ok(Response::new(Box::pin(encoded)))
    }
}

/// Reads one session.
struct Reader {
    incoming: Streaming<v1::FromTaskManager>,
    messages: mpsc::Sender<Result<Envelope, Status>>,
    driver: Driver,
    metrics: MetricsTable,
    peer: String,
    /// Whose certificate was shown, if one was asked for.
    certificate: Option<Arc<str>>,
    _permit: OwnedSemaphorePermit,
}

/// How a session ended.
enum End {
    /// The TaskManager closed it, or the connection is gone.
    Peer(String),
    /// The driver ended it.
    Driver,
    /// The TaskManager said something that cannot be.
    Mistake(Status),
}

impl Reader {
    async fn run(mut self) {
        let peer = self.peer.clone();
        match tokio::time::timeout(HELLO_TIMEOUT, self.hello()).await {
            Ok(Ok(hello)) => self.converse(hello).await,
            Ok(Err(end)) => self.refuse(&peer, end),
            Err(_) => {
                let words = format!(
                    "no Hello within {} s of opening the session",
                    HELLO_TIMEOUT.as_secs()
                );
                self.refuse(&peer, End::Mistake(Status::deadline_exceeded(words)));
            }
        }
    }

    async fn hello(&mut self) -> Result<Hello, End> {
        match self.receive().await? {
            Some(Received::Hello(hello)) => Ok(hello),
            Some(Received::Message(_) | Received::Metrics(_)) | None => Err(End::Mistake(
                Status::invalid_argument("the first message of a session has to be Hello"),
            )),
        }
    }

    /// The next message; nothing for one that a later version of the protocol may have.
    async fn receive(&mut self) -> Result<Option<Received>, End> {
        match self.incoming.message().await {
            Ok(None) => Err(End::Peer("closed by the TaskManager".to_owned())),
            Ok(Some(message)) => match Received::try_from(message) {
                Ok(received) => Ok(Some(received)),
                Err(WireError::UnknownMessage) => Ok(None),
                Err(problem @ WireError::Bad(_)) => {
                    Err(End::Mistake(Status::invalid_argument(problem.to_string())))
                }
            },
            // What the peer sent is no message of ours: it hears what is wrong with it.
            Err(status) if is_mistake(&status) => Err(End::Mistake(status)),
            Err(status) => Err(End::Peer(status.message().to_owned())),
        }
    }

    async fn converse(mut self, hello: Hello) {
        let id = fresh_session();
        let (open, ended) = oneshot::channel();
        let taskmanager = hello.taskmanager.clone();
        let outbox = Outbox::new(self.messages.clone(), open);
        let certificate = self.certificate.as_deref();
        info!(session = id.0, %taskmanager, peer = %self.peer, certificate, "session opened");
        self.driver.connected(Session { id, hello, outbox }).await;
        let end = self.read_until_the_end(id, ended).await;
        self.driver.disconnected(id).await;
        match end {
            End::Driver => info!(session = id.0, %taskmanager, "session ended by the JobManager"),
            End::Peer(reason) => info!(session = id.0, %taskmanager, reason, "session lost"),
            End::Mistake(status) => {
                let reason = status.message().to_owned();
                warn!(session = id.0, %taskmanager, reason, "session ended: bad message");
                self.say_last(status);
            }
        }
    }

    async fn read_until_the_end(&mut self, id: SessionId, mut ended: oneshot::Receiver<()>) -> End {
        loop {
            let received = tokio::select! {
                received = self.receive() => received,
                // The sender is only ever dropped.
                _ = &mut ended => return End::Driver,
            };
            match received {
                Ok(Some(Received::Message(message))) => self.driver.message(id, message).await,
                Ok(Some(Received::Metrics(metrics))) => self.metrics.report(&metrics),
                Ok(None) => {}
                Ok(Some(Received::Hello(_))) => {
                    let words = "Hello is the first message of a session, and no other one";
                    return End::Mistake(Status::invalid_argument(words));
                }
                Err(end) => return end,
            }
        }
    }

    fn refuse(self, peer: &str, end: End) {
        if let End::Mistake(status) = end {
            warn!(peer, reason = status.message(), "session refused");
            self.say_last(status);
        }
    }

    /// Ends the stream with a status, if the peer still reads.
    fn say_last(self, status: Status) {
        // A full outbox belongs to a peer that does not read: it will not miss the words.
        let _ = self.messages.try_send(Err(status));
    }
}

/// Whether the peer sent something wrong, as against having gone away.
fn is_mistake(status: &Status) -> bool {
    use tonic::Code;
    matches!(
        status.code(),
        Code::Internal
            | Code::InvalidArgument
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::Unimplemented
    )
}
