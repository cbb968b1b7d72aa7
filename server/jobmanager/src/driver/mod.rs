//! The task that owns the [`Coordinator`]: takes what happened in batches, steps, carries out the
//! effects, sleeps until the next deadline or event. It never waits for a peer, a client or the disk.
//!
//! Invariants: one task owns the coordinator, so reads (views) happen between steps; a session whose
//! outbox is full is ended, not waited for; no effect is carried out after the end of the lease; a panic of the core ends [`DriverLoop::run`]
//! with its words, and the recording of what led to it is written.

mod acks;
mod handle;
mod sessions;
mod touched;
mod writes;

pub(crate) use acks::Acknowledged;
pub(crate) use handle::OUTBOX;
pub use handle::{Driver, Outbox, Session, Unavailable};
pub(crate) use touched::{Touched, Touches};

use crate::clock::Clock;
use crate::discard::DiscardQueue;
use crate::election::Lease;
use crate::recorder::{NoRecording, Recorder, RecordingFiles};
use crate::savepoints;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::workers::Workers;
use futures::FutureExt;
use handle::{Event, Look, Taken};
use jobmanager_core::id::{CommitId, Epoch, RequestId, SessionId};
use jobmanager_core::jobmanager::{Command, Coordinator, Effect, Input, Reply};
use jobmanager_core::message::FromTaskManager;
use jobmanager_core::record::RecordOp;
use sessions::Sessions;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use touched::Notes;
use tracing::{debug, error};
use writes::{Commit, WriteQueue};

/// How many events may wait. Whoever brings more waits: a TaskManager by the flow control of its
/// stream, a client up to its timeout. A full queue is about 1 MB and a fraction of a second of work.
const WAITING_EVENTS: usize = 4096;
/// How many events are taken before their effects are carried out.
const BATCH: usize = 256;
/// How many client commands may wait for their reply; each holds a connection of a client.
const WAITING_COMMANDS: usize = 1024;

/// Why the driver ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverEnd {
    /// Another coordinator leads.
    #[error("this JobManager no longer leads: {0}; another process has taken over its store")]
    StepDown(String),
    /// Its time is over.
    #[error("the lease of this JobManager has ended: it was not renewed in time")]
    LeaseEnded,
    /// An invariant is broken.
    #[error(
        "the coordinator is broken: {0}; its durable state is safe: start it again and report this"
    )]
    Panicked(String),
}

/// The loop's own belongings. See the module's doc.
pub struct DriverLoop {
    coordinator: Coordinator,
    clock: Clock,
    events: mpsc::Receiver<Event>,
    sessions: Sessions,
    commands: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    last_request: u64,
    writes: WriteQueue,
    discards: DiscardQueue,
    workers: Workers,
    /// For those who bring back what came of an effect.
    driver: Driver,
    /// What the carrying out of effects itself brought up.
    follow_ups: VecDeque<Input>,
    effects: Vec<Effect>,
    recorder: Option<Recording>,
    notes: Notes,
    lease: Lease,
    max_jobs: Option<NonZeroU32>,
}

/// The recorder, and where its last recording goes.
struct Recording {
    recorder: Recorder,
    files: RecordingFiles,
}

/// Puts a driver around a coordinator. The loop does nothing until [`DriverLoop::run`]; the handle is
/// cloned for everybody who has something to say.
pub fn driver<S: Store>(
    coordinator: Coordinator,
    epoch: Epoch,
    clock: Clock,
    store: S,
    checkpoint_storage: crate::discard::CheckpointStorage,
) -> (Driver, DriverLoop) {
    let (sender, events) = mpsc::channel(WAITING_EVENTS);
    let (notes, touches) = touched::notes();
    let driver = Driver::new(sender, Telemetry::new(epoch, clock.now()), touches);
    let writes = WriteQueue::start(store, epoch, driver.clone());
    let discards = DiscardQueue::start(checkpoint_storage, driver.clone());
    let driver_loop = DriverLoop {
        coordinator,
        clock,
        events,
        sessions: Sessions::default(),
        commands: BTreeMap::new(),
        last_request: 0,
        writes,
        discards,
        workers: Workers::default(),
        driver: driver.clone(),
        follow_ups: VecDeque::new(),
        effects: Vec::new(),
        recorder: None,
        notes,
        lease: Lease::endless(),
        max_jobs: None,
    };
    (driver, driver_loop)
}

impl DriverLoop {
    /// The same loop, every input of which is recorded. If the coordinator breaks, the recording is
    /// written to a file.
    #[must_use]
    pub fn recorded(self, recorder: Recorder, files: RecordingFiles) -> DriverLoop {
        DriverLoop {
            recorder: Some(Recording { recorder, files }),
            ..self
        }
    }

    /// The same loop, which has a resource provider start TaskManagers.
    #[must_use]
    pub(crate) fn with_workers(self, workers: Workers) -> DriverLoop {
        DriverLoop { workers, ..self }
    }

    /// The same loop, which does nothing any more once the lease has ended.
    #[must_use]
    pub fn leased(self, lease: Lease) -> DriverLoop {
        DriverLoop { lease, ..self }
    }

    /// The same loop, which takes no more jobs when so many have not ended.
    #[must_use]
    pub(crate) fn limited(self, max_jobs: Option<NonZeroU32>) -> DriverLoop {
        DriverLoop { max_jobs, ..self }
    }

    /// Runs until the coordinator steps down or breaks. Dropping the future stops it between two steps.
    pub async fn run(mut self) -> DriverEnd {
        let ended = AssertUnwindSafe(self.drive()).catch_unwind().await;
        ended.unwrap_or_else(|panic| {
            let words = panic_words(panic.as_ref());
            self.write_last_recording(&words);
            DriverEnd::Panicked(words)
        })
    }

    /// The coordinator may be half changed: only the recorder is looked at.
    fn write_last_recording(&self, words: &str) {
        let Some(Recording { recorder, files }) = &self.recorder else {
            return;
        };
        let now = self.clock.now();
        let flight = recorder.last_recording(now, words);
        let written = flight.map_err(Into::into);
        let written = written.and_then(|flight| files.write(now, "panic", flight));
        if let Err(problem) = written {
            error!(%problem, "no flight recording of the panic");
        }
    }

    async fn drive(&mut self) -> DriverEnd {
        let mut batch = Vec::with_capacity(BATCH);
        self.step(Input::Wake);
        loop {
            if let Some(end) = self.carry_out() {
                return end;
            }
            let deadline = self
                .coordinator
                .next_deadline()
                .and_then(|deadline| self.clock.instant(deadline));
            let is_due = tokio::select! {
                biased;
                // Never 0: the loop itself holds a sender.
                _ = self.events.recv_many(&mut batch, BATCH) => false,
                () = sleep_until(deadline) => true,
                () = sleep_until(self.lease.end()) => false,
            };
            // Before each thing that is done: this process may have stood still since it looked last.
            if !self.lease.is_valid() {
                return DriverEnd::LeaseEnded;
            }
            if is_due {
                self.step(Input::Wake);
            }
            for event in batch.drain(..) {
                if !self.lease.is_valid() {
                    return DriverEnd::LeaseEnded;
                }
                self.take(event);
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Connected(session) => {
                let Session { id, hello, outbox } = *session;
                self.sessions.open(id, outbox);
                self.step(Input::Connected { session: id, hello });
            }
            Event::Disconnected(session) => {
                self.end(session);
                self.step(Input::Disconnected { session });
            }
            Event::Input(input) => {
                if let Input::Message { session, .. } = &*input {
                    self.sessions.heard(*session);
                }
                self.step(*input);
            }
            Event::Command(command, reply) => self.command(command, reply),
            Event::Look(look) => self.look(look),
            Event::Recording(taken) => self.recording(taken),
        }
    }

    fn step(&mut self, input: Input) {
        let (now, known) = (self.clock.now(), self.effects.len());
        if let Some(Recording { recorder, .. }) = &mut self.recorder {
            recorder.input(now, &input);
        }
        let deadline = self.coordinator.next_deadline();
        let is_due = deadline.is_some_and(|deadline| deadline <= now);
        let touched = self.notes.input(&input, is_due);
        if let Input::Message {
            message: FromTaskManager::Acknowledge(acknowledgement),
            ..
        } = &input
        {
            self.driver.acks().note(acknowledgement, now);
        }
        let begun = Instant::now();
        self.coordinator.step(now, input, &mut self.effects);
        self.driver.telemetry().step(begun.elapsed());
        self.notes.effects(touched, &self.effects[known..]);
        if let Some(Recording { recorder, .. }) = &mut self.recorder {
            recorder.stepped(now, &mut self.coordinator, &self.effects[known..]);
        }
    }

    fn recording(&mut self, taken: oneshot::Sender<Taken>) {
        let now = self.clock.now();
        let flight = match &self.recorder {
            Some(Recording { recorder, .. }) => recorder.recording(now, &self.coordinator),
            None => Err(NoRecording::Off),
        };
        // A client that has gone away needs no answer.
        let _ = taken.send((now, flight));
    }

    fn command(&mut self, command: Command, reply: oneshot::Sender<Reply>) {
        if self.commands.len() >= WAITING_COMMANDS {
            let words = "too many commands wait for an answer".to_owned();
            // A client that has gone away needs no answer.
            let _ = reply.send(Reply::Overloaded(words));
            return;
        }
        if let Some(words) = self.too_many_jobs(&command) {
            let _ = reply.send(Reply::Overloaded(words));
            return;
        }
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.commands.insert(request, reply);
        self.count_commands();
        self.step(Input::Command { request, command });
    }

    /// Why there is no place for another job, if this is one. Whoever submits a job again that is here is told so.
    fn too_many_jobs(&self, command: &Command) -> Option<String> {
        let (Command::Submit { graph, .. }, Some(most)) = (command, self.max_jobs) else {
            return None;
        };
        let there = self.coordinator.overview().jobs_running;
        let is_full = there >= most.get() && self.coordinator.job(graph.id()).is_none();
        is_full.then(|| {
            format!(
                "there are {there} jobs that have not ended, and {most} may be (jobmanager.max-jobs): cancel some, wait \
                 until some end, or allow more"
            )
        })
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        match self.commands.remove(&request) {
            // A client that has gone away needs no answer.
            Some(waiting) => drop(waiting.send(reply)),
            None => error!(request = request.0, "a reply to no command"),
        }
        self.count_commands();
    }

    fn count_commands(&self) {
        let waiting = i64::try_from(self.commands.len()).unwrap_or(i64::MAX);
        self.driver.telemetry().commands.set(waiting);
    }

    fn end(&mut self, session: SessionId) {
        let ended = self.sessions.end(session);
        self.count_loss(ended);
    }

    /// A session may have ended whose TaskManager had said nothing for so long.
    fn count_loss(&self, ended: Option<Duration>) {
        if let Some(silence) = ended {
            self.driver.telemetry().lost(silence);
        }
    }

    fn look(&mut self, look: Look) {
        look(&self.coordinator, self.clock.now());
    }

    /// Carries out what the last steps ordered, and what follows from that.
    fn carry_out(&mut self) -> Option<DriverEnd> {
        loop {
            for effect in std::mem::take(&mut self.effects) {
                if !self.lease.is_valid() {
                    return Some(DriverEnd::LeaseEnded);
                }
                if let Some(end) = self.carry_out_one(effect) {
                    return Some(end);
                }
            }
            let input = self.follow_ups.pop_front()?;
            self.step(input);
        }
    }

    fn carry_out_one(&mut self, effect: Effect) -> Option<DriverEnd> {
        match effect {
            Effect::Send { session, message } => {
                let ended = self.sessions.send(session, message);
                self.count_loss(ended);
            }
            Effect::Disconnect { session } => self.end(session),
            Effect::Reply { request, reply } => self.reply(request, reply),
            Effect::Store { commit, ops } => self.store(commit, ops),
            Effect::WriteSavepoint {
                location,
                savepoint,
            } => {
                // One of a job at a time.
                let written = savepoints::write(self.driver.clone(), location, savepoint);
                tokio::spawn(written);
            }
            Effect::Discard(discard) => {
                if let Some(refused) = self.discards.push(discard) {
                    self.follow_ups.push_back(refused);
                }
            }
            Effect::RequestWorkers { workers } => {
                self.workers.request(workers, &mut self.follow_ups);
            }
            Effect::ReleaseWorker { worker } => self.workers.release(worker),
            Effect::StepDown { reason } => return Some(DriverEnd::StepDown(reason)),
        }
        None
    }

    fn store(&mut self, id: CommitId, ops: Vec<RecordOp>) {
        debug!(commit = id.0, ops = ops.len(), "write");
        self.writes.push(Commit { id, ops });
    }
}

/// What a panic said.
pub(crate) fn panic_words(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(words), _) => (*words).to_owned(),
        (None, Some(words)) => words.clone(),
        (None, None) => "a panic without words".to_owned(),
    }
}

async fn sleep_until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// A number that no other session of this process has.
#[must_use]
pub(crate) fn fresh_session() -> SessionId {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    SessionId(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}
