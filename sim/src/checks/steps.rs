//! What one step of a coordinator may do, and how it compares with the reference model.

use super::apart::Apart;
use super::budget::Deployed;
use super::limits::Limits;
use super::mute::Mute;
use super::pending::Pending;
use super::regions::{Known, Regions};
use super::replay::Recording;
use super::waits::Waits;
use super::why::Honesty;
use super::{Checks, Verdict, ensure, is_left_behind};
use crate::model::Model;
use crate::plan::Survives;
use crate::world::event::Instance;
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::id::{AttemptId, Epoch, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Effect, Input};
use jobmanager_core::message::{FromTaskManager, ToTaskManager};
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The length of the windows in which orders are counted. Milliseconds.
const WINDOW: u64 = 1_000;
/// Writes that a coordinator may order in a window: tries of a write are 50 ms apart at first and then
/// farther, and each job completes at most ten checkpoints per second.
const STORES: u64 = 60;
/// Messages to one TaskManager in a window in which nobody said anything but heartbeats: what falls due
/// for each of a handful of jobs.
const QUIET_SENDS: u64 = 40;

/// A step that a coordinator took.
pub(crate) struct Step<'a> {
    pub(crate) instance: Instance,
    pub(crate) now: Timestamp,
    pub(crate) input: &'a Input,
    pub(crate) effects: &'a [Effect],
    pub(crate) coordinator: &'a Coordinator,
}

/// What is kept about a coordinator that lives.
pub(super) struct Watched {
    epoch: Epoch,
    /// The reference model, where it applies.
    model: Option<Model>,
    recording: Option<Recording>,
    /// What it has done since it recovered, if that was seen.
    course: Option<Course>,
    /// The latest time that it was told.
    now: Timestamp,
    /// Sessions that were welcomed and have not ended.
    welcomed: BTreeSet<SessionId>,
    mute: Mute,
    last_words: BTreeMap<SessionId, FromTaskManager>,
    window: Window,
}

/// What a coordinator has done so far.
struct Course {
    deployed: Deployed,
    regions: Regions,
    pending: Pending,
    apart: Apart,
    waits: Waits,
    honesty: Honesty,
    limits: Limits,
    max_slots_per_job: u32,
}

/// What happened in the current window.
#[derive(Debug, Default)]
struct Window {
    number: u64,
    /// Inputs that may have consequences.
    told: u64,
    stores: u64,
    sends: u64,
}

impl Checks {
    /// A coordinator will recover from this.
    pub(crate) fn recovers(
        &mut self,
        instance: Instance,
        config: ClusterConfig,
        epoch: Epoch,
        records: &[Record],
        now: Timestamp,
    ) {
        let replays = self.replays;
        let course = Course {
            deployed: Deployed::default(),
            regions: Regions::default(),
            pending: Pending::default(),
            apart: Apart::default(),
            waits: Waits::default(),
            honesty: Honesty::new(config.max_slots_per_job, records, now),
            limits: Limits::new(&config),
            max_slots_per_job: config.max_slots_per_job,
        };
        let recording = replays.then(|| Recording::new(config.clone(), epoch, records, now));
        let mute = Mute::new(config.heartbeat_interval);
        let watched = Watched {
            epoch,
            model: Model::recover(config, epoch, records, now, &self.plans),
            recording,
            course: Some(course),
            now,
            welcomed: BTreeSet::new(),
            mute,
            last_words: BTreeMap::new(),
            window: Window::default(),
        };
        self.watched.insert(instance, watched);
    }

    /// A coordinator goes on with these sessions; what it was told before is not known.
    pub(crate) fn goes_on(
        &mut self,
        instance: Instance,
        epoch: Epoch,
        sessions: impl Iterator<Item = SessionId>,
    ) {
        let watched = Watched {
            epoch,
            model: None,
            recording: None,
            course: None,
            now: Timestamp(0),
            welcomed: sessions.collect(),
            // Who has answered before is not known.
            mute: Mute::default(),
            last_words: BTreeMap::new(),
            window: Window::default(),
        };
        self.watched.insert(instance, watched);
    }

    /// A coordinator is gone.
    pub(crate) fn gone(
        &mut self,
        instance: Instance,
        coordinator: Option<&Coordinator>,
    ) -> Verdict {
        let watched = self.watched.remove(&instance);
        let course = watched.as_ref().and_then(|watched| watched.course.as_ref());
        if let (Some(course), Some(coordinator)) = (course, coordinator) {
            course.limits.hold(coordinator)?;
        }
        let recording = watched.and_then(|watched| watched.recording);
        match (recording, coordinator) {
            (Some(recording), Some(coordinator)) => recording.close(coordinator),
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// A coordinator took a step.
    pub(crate) fn stepped(&mut self, step: &Step<'_>) -> Verdict {
        let Some(watched) = self.watched.get_mut(&step.instance) else {
            return Ok(());
        };
        if let Some(recording) = &mut watched.recording {
            recording.step(step.now, step.input, step.effects);
        }
        watched.mute.is_told(step.now, step.input);
        // What was due before a session ended could still be said on it.
        watched.registers_first(step.now, step.effects)?;
        watched.listen(step.input);
        if !self.unbounded {
            watched.is_quiet(step)?;
        }
        let survives = |job| {
            let history = self.jobs.get(&job);
            history.map_or(Survives::All, |history| history.survives)
        };
        let known = Known {
            parts: &|job| Some(&self.jobs.get(&job)?.parts),
            before: &|job| self.statuses.get(&(step.instance, job)).copied(),
            left_behind: &|attempt| is_left_behind(&self.jobs, attempt),
            drained: &|job| {
                let history = self.jobs.get(&job);
                history.is_some_and(|history| {
                    history.savepoints.is_drained() || history.is_to_change()
                })
            },
        };
        let plans = &self.plans;
        let is_final = |job, region| {
            let history = self.jobs.get(&job);
            history.is_some_and(|history| {
                let wanted = || history.savepoints.any_wanted(step.coordinator);
                history.is_final(region) || wanted()
            })
        };
        // What it does then is left to the model.
        if step.effects.iter().any(gives_another_parallelism) {
            watched.looks_no_more();
        }
        if let Some(course) = &mut watched.course {
            course.deployed.stepped(step, survives)?;
            course.regions.stepped(step, &known)?;
            course.pending.stepped(step, plans)?;
            course.apart.stepped(step, plans, &is_final)?;
            let most = course.max_slots_per_job;
            course
                .waits
                .stepped(step, most, |job| plans.slot_timeout(job))?;
            course.honesty.stepped(step, plans)?;
        }
        watched.now = watched.now.max(step.now);
        ensure(
            step.coordinator
                .next_deadline()
                .is_none_or(|at| at > watched.now),
            "a_deadline_lies_ahead",
            || format!("{:?} at {}", step.coordinator.next_deadline(), step.now),
        )?;
        self.demands_stepped(step)
    }

    /// Whether the coordinator did what the reference model foresees. A model that was contradicted says
    /// nothing more.
    pub(crate) fn agrees_with_model(&mut self, step: &Step<'_>) -> Verdict {
        let Some(watched) = self.watched.get_mut(&step.instance) else {
            return Ok(());
        };
        let Some(model) = &mut watched.model else {
            return Ok(());
        };
        let followed = model.follow(step.now, step.input, step.effects, step.coordinator);
        if followed != Ok(true) {
            watched.model = None;
        }
        followed.map(|_| ())
    }

    /// Whether a message speaks only of attempts that the current leader has replaced.
    pub(crate) fn is_about_the_past(&self, instance: Instance, input: &Input) -> bool {
        let leads = self.watched.get(&instance);
        let leads = leads.is_some_and(|watched| watched.epoch == self.minted);
        let Input::Message { message, .. } = input else {
            return false;
        };
        // What is said of an attempt after its job's end tells that there may be something to remove.
        let has_ended = |job| {
            let status = self.statuses.get(&(instance, job));
            status.is_some_and(|status| status.is_terminal()) || self.result(job).is_some()
        };
        let past = |attempt: &AttemptId| self.is_replaced(*attempt) && !has_ended(attempt.job);
        leads
            && match message {
                FromTaskManager::Heartbeat { .. } | FromTaskManager::Leave { .. } => false,
                FromTaskManager::TaskStates(changes) => {
                    changes.iter().all(|change| past(&change.attempt))
                }
                FromTaskManager::Acknowledge(ack) => past(&ack.attempt),
                FromTaskManager::Decline { attempt, .. } => past(attempt),
            }
    }

    /// Whether the current leader has deployed a later attempt of the task.
    fn is_replaced(&self, attempt: AttemptId) -> bool {
        let history = self.jobs.get(&attempt.job);
        let last = history.and_then(|history| history.deployed.get(&attempt.task));
        last.is_some_and(|last| *last > attempt.attempt)
    }

    /// What was said last on a session.
    pub(crate) fn last_words(
        &mut self,
        instance: Instance,
        session: SessionId,
    ) -> Option<FromTaskManager> {
        let watched = self.watched.get_mut(&instance)?;
        watched.last_words.remove(&session)
    }
}

impl Watched {
    /// From now on only the model follows what it does.
    pub(super) fn looks_no_more(&mut self) {
        self.course = None;
    }

    fn listen(&mut self, input: &Input) {
        match input {
            Input::Message { session, message } => {
                if !matches!(message, FromTaskManager::Heartbeat { .. })
                    && self.welcomed.contains(session)
                {
                    self.last_words.insert(*session, message.clone());
                }
            }
            Input::Disconnected { session } => {
                self.welcomed.remove(session);
            }
            Input::Connected { .. }
            | Input::Stored { .. }
            | Input::Discarded { .. }
            | Input::SavepointWritten { .. }
            | Input::Command { .. }
            | Input::Workers { .. }
            | Input::Worker { .. }
            | Input::Wake => {}
        }
    }

    /// A TaskManager is told something only after it was welcomed on the session, and to run something only
    /// after it has answered.
    fn registers_first(&mut self, now: Timestamp, effects: &[Effect]) -> Verdict {
        for effect in effects {
            let Effect::Send { session, message } = effect else {
                continue;
            };
            if let ToTaskManager::Deploy(deployment) = &message.message
                && let Some(broken) = self.mute.is_given(*session, deployment.job)
            {
                ensure(false, broken, || format!("{effect:?}"))?;
            }
            match &message.message {
                ToTaskManager::Welcome(_) => {
                    self.welcomed.insert(*session);
                }
                ToTaskManager::Refused(_) => {}
                ToTaskManager::Heartbeat { .. } if self.welcomed.contains(session) => {
                    self.mute.is_asked(now, *session);
                }
                ToTaskManager::Heartbeat { .. }
                | ToTaskManager::Deploy(_)
                | ToTaskManager::Cancel { .. }
                | ToTaskManager::TriggerCheckpoint { .. }
                | ToTaskManager::NotifyComplete { .. }
                | ToTaskManager::NotifyAborted { .. }
                | ToTaskManager::Resume { .. }
                | ToTaskManager::ReleaseJob { .. }
                | ToTaskManager::Dismissed => ensure(
                    self.welcomed.contains(session),
                    "only_registered_taskmanagers_get_orders",
                    || format!("{effect:?}"),
                )?,
            }
        }
        Ok(())
    }

    /// Orders come at a bounded rate; and while nobody says anything, there are hardly any.
    fn is_quiet(&mut self, step: &Step<'_>) -> Verdict {
        let window = &mut self.window;
        if window.number != step.now.0 / WINDOW {
            *window = Window {
                number: step.now.0 / WINDOW,
                ..Window::default()
            };
        }
        window.told += u64::from(has_consequences(step.input));
        for effect in step.effects {
            match effect {
                Effect::Store { .. } => window.stores += 1,
                Effect::Send { .. } => window.sends += 1,
                Effect::Disconnect { .. }
                | Effect::Reply { .. }
                | Effect::Discard(_)
                | Effect::WriteSavepoint { .. }
                | Effect::RequestWorkers { .. }
                | Effect::ReleaseWorker { .. }
                | Effect::StepDown { .. } => {}
            }
        }
        let sessions = self.welcomed.len() as u64 + 1;
        let quiet = window.told > 0 || window.sends <= QUIET_SENDS * sessions;
        ensure(
            quiet && window.stores <= STORES,
            "an_idle_coordinator_is_quiet",
            || format!("{window:?} within a second, {sessions} sessions"),
        )
    }
}

fn gives_another_parallelism(effect: &Effect) -> bool {
    let Effect::Store { ops, .. } = effect else {
        return false;
    };
    let is_other =
        |op: &RecordOp| matches!(op, RecordOp::Put(Record::Job(job)) if job.scale.is_some());
    ops.iter().any(is_other)
}

fn has_consequences(input: &Input) -> bool {
    match input {
        Input::Connected { .. }
        | Input::Disconnected { .. }
        | Input::Command { .. }
        | Input::Stored { .. }
        | Input::Discarded { .. }
        | Input::SavepointWritten { .. }
        | Input::Workers { .. }
        | Input::Worker { .. } => true,
        Input::Message { message, .. } => !matches!(message, FromTaskManager::Heartbeat { .. }),
        Input::Wake => false,
    }
}
