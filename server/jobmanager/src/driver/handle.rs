//! How everybody else speaks with the driver: events in, and closures that look at the coordinator.

use super::acks::AckLog;
use super::touched::Touches;
use crate::recorder::{Flight, NoRecording};
use crate::telemetry::Telemetry;
use jobmanager_core::id::SessionId;
use jobmanager_core::jobmanager::{Command, Coordinator, Input, Reply};
use jobmanager_core::message::{Envelope, FromTaskManager, Hello};
use jobmanager_core::time::Timestamp;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

/// How many messages may wait for one TaskManager. A restart of a job of many small regions sends one
/// or two per region; a TaskManager that lets this many pile up does not read.
pub(crate) const OUTBOX: usize = 16_384;

/// Looks at the coordinator between two steps.
pub(super) type Look = Box<dyn FnOnce(&Coordinator, Timestamp) + Send>;

/// The recording up to a time.
pub(crate) type Taken = (Timestamp, Result<Flight, NoRecording>);

/// What reaches the driver.
pub(super) enum Event {
    Connected(Box<Session>),
    Disconnected(SessionId),
    Input(Box<Input>),
    Command(Command, oneshot::Sender<Reply>),
    Look(Look),
    Recording(oneshot::Sender<Taken>),
}

/// A session whose TaskManager has said hello.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub id: SessionId,
    /// What was said.
    pub hello: Hello,
    /// Where answers go.
    pub outbox: Outbox,
}

/// The driver's end of a session. Dropping it ends the session after what was said on it.
#[derive(Debug)]
pub struct Outbox {
    messages: mpsc::Sender<Result<Envelope, Status>>,
    /// Tells the reader of the session when it is dropped.
    _open: oneshot::Sender<()>,
}

impl Outbox {
    /// Messages go to `messages`; the other half of `open` resolves when the driver ends the session.
    #[must_use]
    pub fn new(
        messages: mpsc::Sender<Result<Envelope, Status>>,
        open: oneshot::Sender<()>,
    ) -> Outbox {
        Outbox {
            messages,
            _open: open,
        }
    }

    /// Whether the message was taken.
    pub(super) fn push(&self, message: Envelope) -> bool {
        self.messages.try_send(Ok(message)).is_ok()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The coordinator has ended.
    #[error("this JobManager leads no more, or is shutting down; try again in a moment")]
    Ended,
    /// Nothing came in time.
    #[error(
        "no answer within {} ms (web.timeout); the command may still be carried out: look at the job before you repeat it",
        .0.as_millis()
    )]
    TimedOut(Duration),
}

/// A handle of the driver.
#[derive(Debug, Clone)]
pub struct Driver {
    events: mpsc::Sender<Event>,
    telemetry: Telemetry,
    touches: Touches,
    acks: AckLog,
}

impl Driver {
    pub(super) fn new(
        events: mpsc::Sender<Event>,
        telemetry: Telemetry,
        touches: Touches,
    ) -> Driver {
        Driver {
            events,
            telemetry,
            touches,
            acks: AckLog::default(),
        }
    }

    /// Who acknowledged checkpoints first and last.
    pub(crate) fn acks(&self) -> &AckLog {
        &self.acks
    }

    /// What its steps are about.
    pub(crate) fn touches(&self) -> Touches {
        self.touches.clone()
    }

    /// How the driver does.
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// How many events wait for it.
    pub(crate) fn waiting_events(&self) -> i64 {
        let waiting = self.events.max_capacity() - self.events.capacity();
        i64::try_from(waiting).unwrap_or(i64::MAX)
    }

    /// A TaskManager said hello.
    pub async fn connected(&self, session: Session) {
        self.event(Event::Connected(Box::new(session))).await;
    }

    /// A TaskManager said something.
    pub async fn message(&self, session: SessionId, message: FromTaskManager) {
        self.input(Input::Message { session, message }).await;
    }

    /// A session has ended. To be said once for every [`Self::connected`].
    pub async fn disconnected(&self, session: SessionId) {
        self.event(Event::Disconnected(session)).await;
    }

    /// Some other fact.
    pub(crate) async fn input(&self, input: Input) {
        self.event(Event::Input(Box::new(input))).await;
    }

    /// Carries out a client's command.
    ///
    /// # Errors
    /// No reply came within `timeout`, or none will come.
    pub async fn command(&self, command: Command, timeout: Duration) -> Result<Reply, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.ask(Event::Command(command, reply), answer, timeout)
            .await
    }

    /// What `view` sees between two steps.
    ///
    /// # Errors
    /// The driver did not come to it within `timeout`, or has ended.
    pub async fn look<T: Send + 'static>(
        &self,
        timeout: Duration,
        view: impl FnOnce(&Coordinator, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (seen, answer) = oneshot::channel();
        let look: Look = Box::new(move |coordinator, now| {
            // A client that has gone away needs no answer.
            let _ = seen.send(view(coordinator, now));
        });
        self.ask(Event::Look(look), answer, timeout).await
    }

    /// The recording of what the coordinator was told up to now.
    ///
    /// # Errors
    /// The driver did not come to it within `timeout`, or has ended.
    pub(crate) async fn recording(&self, timeout: Duration) -> Result<Taken, Unavailable> {
        let (taken, answer) = oneshot::channel();
        self.ask(Event::Recording(taken), answer, timeout).await
    }

    async fn ask<T>(
        &self,
        event: Event,
        answer: oneshot::Receiver<T>,
        timeout: Duration,
    ) -> Result<T, Unavailable> {
        let asked = async {
            let sent = self.events.send(event).await;
            sent.map_err(|_| Unavailable::Ended)?;
            answer.await.map_err(|_| Unavailable::Ended)
        };
        tokio::time::timeout(timeout, asked)
            .await
            .unwrap_or(Err(Unavailable::TimedOut(timeout)))
    }

    async fn event(&self, event: Event) {
        // A driver that has ended takes no more facts: the process is about to end, too.
        let _ = self.events.send(event).await;
    }
}
