//! A TaskManager's side of the session: registration, heartbeats, fencing, and life without a JobManager.
//!
//! ```text
//!            connected          welcome
//! Connecting ─────────► Greeting ─────► Registered
//!   ▲   │ failed           │ refused,       │ lost, or silent
//!   │   ▼                  ▼ silent         ▼
//!   └─ Waiting ◄───────────┴────────────────┘
//! ```
//!
//! Invariant: a message with an epoch below the highest one seen changes nothing.

use super::attempts::{Attempts, Concerned};
use super::contract::{Effect, Input, WorkerConfig};
use crate::digest::Digest;
use crate::id::{AttemptId, Epoch, SlotIndex};
use crate::kept::Kept;
use crate::message::{Envelope, FromTaskManager, Hello, Refusal, ToTaskManager, Welcome};
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::vec::Vec;
use core::time::Duration;

/// How long a JobManager may take to answer a hello.
const GREETING: Duration = Duration::from_secs(10);

/// A TaskManager's side of the protocol. Driven like the coordinator: facts in, orders out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    config: Kept<WorkerConfig>,
    /// The highest epoch seen.
    epoch: Epoch,
    /// How many times it has said hello.
    hellos: u64,
    link: Link,
    /// The pause before the next try to connect.
    pause: Duration,
    /// What the JobManager that accepted the last session said.
    welcome: Option<Welcome>,
    /// Since when tasks run without a JobManager.
    alone_since: Option<Timestamp>,
    attempts: Attempts,
    leaving: Option<Leaving>,
}

/// The process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Leaving {
    /// At the latest then.
    until: Timestamp,
    /// Whether a JobManager has said that it gives it no more tasks and has none there.
    dismissed: bool,
    /// Whether the end was ordered.
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Link {
    Waiting { until: Timestamp },
    Connecting,
    Greeting { since: Timestamp },
    Registered { last_heard: Timestamp },
}

impl Worker {
    /// A worker that is not connected. The first step should follow at once, with [`Input::Wake`]: it
    /// orders the first connection.
    #[must_use]
    pub fn new(config: WorkerConfig, now: Timestamp) -> Self {
        let (pause, slots) = (config.registration_initial, config.slots);
        Worker {
            config: Kept::new(config),
            epoch: Epoch(0),
            hellos: 0,
            link: Link::Waiting { until: now },
            pause,
            welcome: None,
            alone_since: None,
            attempts: Attempts::new(slots),
            leaving: None,
        }
    }

    /// Fires due timers, takes one input, appends orders to `effects`. Cannot fail.
    pub fn step(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        self.attempts.set_now(now);
        self.fire(now, effects);
        match input {
            Input::Connected => self.connected(now, effects),
            Input::Disconnected => self.lost(now),
            Input::Message(envelope) => self.message(now, envelope, effects),
            Input::Task { attempt, event } => {
                let message = self.attempts.task(attempt, event);
                match message {
                    Some(message) if self.is_open() => effects.push(Effect::Send(message)),
                    Some(message) => self.attempts.keep(message),
                    None => {}
                }
            }
            Input::Leave { within } => self.leave(now, within, effects),
            Input::Wake => {}
        }
        self.fire(now, effects);
    }

    /// When to call `step(Input::Wake)` if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let link = match self.link {
            Link::Waiting { until } => Some(until),
            Link::Connecting => None,
            Link::Greeting { since } => Some(since + GREETING),
            Link::Registered { last_heard } => Some(last_heard + self.heartbeat_timeout()),
        };
        let stop = self.attempts.stop_deadline(self.cancellation_timeout());
        let leaving = self.leaving.filter(|leaving| !leaving.ended);
        let leaving = leaving.map(|leaving| leaving.until);
        let deadlines = [link, self.grace_ends(), stop, leaving];
        deadlines.into_iter().flatten().min()
    }

    /// Whether a JobManager has accepted the session.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self.link, Link::Registered { .. })
    }

    /// The highest epoch seen.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When the process ends at the latest, if it was told to leave.
    #[must_use]
    pub fn leaves_at(&self) -> Option<Timestamp> {
        self.leaving.map(|leaving| leaving.until)
    }

    /// What the JobManager that accepted the last session said.
    #[must_use]
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// Every attempt that is known, with its slot and state, finished ones included.
    pub fn attempts(&self) -> impl Iterator<Item = (AttemptId, SlotIndex, ExecutionState)> {
        self.attempts.iter()
    }

    /// A 64-bit digest of the whole state.
    #[must_use]
    pub fn digest(&self) -> u64 {
        Digest::of(self)
    }

    fn fire(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.link {
            Link::Waiting { until } if until <= now => {
                self.link = Link::Connecting;
                effects.push(Effect::Connect);
            }
            Link::Greeting { since } if since + GREETING <= now => {
                effects.push(Effect::Close);
                self.lost(now);
            }
            Link::Registered { last_heard } if last_heard + self.heartbeat_timeout() <= now => {
                effects.push(Effect::Close);
                self.lost(now);
            }
            Link::Waiting { .. }
            | Link::Connecting
            | Link::Greeting { .. }
            | Link::Registered { .. } => {}
        }
        if self.grace_ends().is_some_and(|at| at <= now) {
            self.alone_since = None;
            tracing::warn!("no JobManager within the grace period: all tasks are canceled");
            self.attempts.cancel_all(effects);
        }
        self.attempts.give_up(self.cancellation_timeout(), effects);
        self.end_if_nothing_keeps_it(now, effects);
    }

    /// The process is to end.
    fn leave(&mut self, now: Timestamp, within: Duration, effects: &mut Vec<Effect>) {
        let until = now + within;
        if let Some(leaving) = &mut self.leaving {
            leaving.until = leaving.until.min(until);
            return;
        }
        self.leaving = Some(Leaving {
            until,
            dismissed: false,
            ended: false,
        });
        if self.is_open() {
            effects.push(Effect::Send(FromTaskManager::Leave { within }));
        }
    }

    /// The JobManager gives it no more tasks, and has none there.
    fn dismissed(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.dismissed = true;
        }
    }

    /// While nobody can have ordered a task of which it has not heard, or once its JobManager says that none
    /// comes, a process that is to end waits for its own tasks only.
    fn end_if_nothing_keeps_it(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_open = self.is_open();
        let any_runs = self.attempts.any_runs();
        if let Some(leaving) = self.leaving.as_mut().filter(|leaving| !leaving.ended) {
            let unused = !any_runs && (leaving.dismissed || !is_open);
            if unused || leaving.until <= now {
                leaving.ended = true;
                effects.push(Effect::End);
            }
        }
    }

    /// How long a task may take to stop, if there is a limit.
    fn cancellation_timeout(&self) -> Option<Duration> {
        let timeout = self.welcome.as_ref()?.cancellation_timeout;
        (!timeout.is_zero()).then_some(timeout)
    }

    /// Whether something can be said.
    fn is_open(&self) -> bool {
        matches!(self.link, Link::Greeting { .. } | Link::Registered { .. })
    }

    fn heartbeat_timeout(&self) -> Duration {
        self.welcome
            .as_ref()
            .map_or(GREETING, |welcome| welcome.heartbeat_timeout)
    }

    fn grace_ends(&self) -> Option<Timestamp> {
        Some(self.alone_since? + self.welcome.as_ref()?.grace_period)
    }

    fn connected(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.link != Link::Connecting {
            return;
        }
        self.link = Link::Greeting { since: now };
        self.hellos += 1;
        effects.push(Effect::SendHello(Hello {
            taskmanager: self.config.taskmanager.clone(),
            incarnation: self.config.incarnation,
            seen_epoch: self.epoch,
            hellos: self.hellos,
            slots: self.config.slots,
            data_address: self.config.data_address.clone(),
            hardware: self.config.hardware,
            operators: self.config.operators.clone(),
            inventory: self.attempts.inventory(),
            jobs: self.attempts.jobs(),
            leaves_within: self.leaving.map(|leaving| leaving.until.since(now)),
        }));
    }

    /// The connection is gone, or was never there: tried again after a pause that doubles.
    fn lost(&mut self, now: Timestamp) {
        if let Link::Waiting { .. } = self.link {
            return;
        }
        if self.is_registered() {
            self.alone_since = Some(now);
            self.pause = self.registration().0;
        }
        self.link = Link::Waiting {
            until: now + self.pause,
        };
        self.pause = self.registration().1.min(self.pause * 2);
    }

    /// The first and the longest pause between two tries to register: as the last JobManager said.
    fn registration(&self) -> (Duration, Duration) {
        let own = (
            self.config.registration_initial,
            self.config.registration_max,
        );
        self.welcome.as_ref().map_or(own, |welcome| {
            (welcome.registration_initial, welcome.registration_max)
        })
    }

    /// The JobManager does not accept the session. Any one may say so: a refusal obeys no fence.
    fn refused(&mut self, now: Timestamp, refusal: &Refusal, effects: &mut Vec<Effect>) {
        tracing::warn!(
            reason = refusal.reason,
            "the JobManager refused the registration"
        );
        effects.push(Effect::Close);
        self.lost(now);
        self.link = Link::Waiting {
            until: now + refusal.retry_after,
        };
    }

    /// The JobManager accepts the session.
    fn welcomed(&mut self, now: Timestamp, welcome: Welcome, effects: &mut Vec<Effect>) {
        self.welcome = Some(welcome);
        self.link = Link::Registered { last_heard: now };
        self.alone_since = None;
        self.pause = self.registration().0;
        effects.extend(self.attempts.take_unsent().map(Effect::Send));
    }

    fn message(&mut self, now: Timestamp, envelope: Envelope, effects: &mut Vec<Effect>) {
        if !self.is_open() {
            return;
        }
        if let ToTaskManager::Refused(refusal) = &envelope.message {
            self.epoch = self.epoch.max(envelope.epoch);
            self.refused(now, refusal, effects);
            return;
        }
        if envelope.epoch < self.epoch {
            return;
        }
        self.epoch = envelope.epoch;
        if let Link::Registered { last_heard } = &mut self.link {
            *last_heard = now;
        }
        match envelope.message {
            ToTaskManager::Welcome(welcome) => self.welcomed(now, welcome, effects),
            ToTaskManager::Refused(_) => unreachable!("a refusal was dealt with before the fence"),
            ToTaskManager::Heartbeat { sequence } => {
                effects.push(Effect::Send(FromTaskManager::Heartbeat { sequence }));
            }
            ToTaskManager::Deploy(deployment) => self.attempts.deploy(&deployment, effects),
            ToTaskManager::Cancel {
                job,
                attempt,
                tasks,
            } => self.attempts.cancel(job, attempt, tasks, effects),
            ToTaskManager::TriggerCheckpoint {
                job,
                tasks,
                checkpoint,
                timestamp,
                savepoint,
            } => {
                let tasks = Concerned::new(job, tasks);
                let attempts = &mut self.attempts;
                attempts.trigger(&tasks, checkpoint, timestamp, savepoint, effects);
            }
            ToTaskManager::NotifyComplete {
                job,
                tasks,
                checkpoint,
                finish,
            } => {
                let tasks = Concerned::new(job, tasks);
                self.attempts.complete(&tasks, checkpoint, finish, effects);
            }
            ToTaskManager::NotifyAborted {
                job,
                tasks,
                checkpoint,
            } => {
                let tasks = Concerned::new(job, tasks);
                self.attempts.abort(&tasks, checkpoint, effects);
            }
            ToTaskManager::Resume {
                job,
                tasks,
                completed,
                aborted_below,
            } => {
                let (tasks, attempts) = (Concerned::new(job, tasks), &mut self.attempts);
                attempts.resume(&tasks, completed, aborted_below, effects);
            }
            ToTaskManager::ReleaseJob { job } => self.attempts.release(job, effects),
            ToTaskManager::Dismissed => self.dismissed(),
        }
    }
}
