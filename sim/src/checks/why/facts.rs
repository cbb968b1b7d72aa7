//! What one coordinator was told and has ordered, as far as its answers to "why" can be measured by it.

use crate::checks::{Step, Verdict, ensure};
use jobmanager_core::id::{
    Attempt, AttemptId, CheckpointId, CommitId, JobId, SessionId, SlotIndex, TaskId, TaskManagerId,
    TriggerId, WorkerId,
};
use jobmanager_core::jobmanager::{Command, Effect, Input, StoreOutcome};
use jobmanager_core::message::{
    FromTaskManager, Hello, TaskReport, TaskStateChange, ToTaskManager,
};
use jobmanager_core::record::{Record, RecordKey, RecordOp};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A TaskManager that was welcomed.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: TaskManagerId,
    pub(super) slots: u32,
    pub(super) operators: Vec<String>,
    /// Whether anything was heard after the hello.
    pub(super) answered: bool,
    /// Whether it has said that it leaves, or was released.
    pub(super) leaves: bool,
    /// How often it was asked for a sign of life since it gave one.
    asked: u32,
    pub(super) heard: Timestamp,
    /// The attempts that it has and has not said to have ended.
    pub(super) attempts: BTreeMap<AttemptId, Run>,
}

/// An attempt that has not ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) slot: SlotIndex,
    /// Whether it has said that it runs.
    pub(super) runs: bool,
    /// Whether it was told to stop, or stops by itself.
    pub(super) stops: bool,
}

/// A write that was ordered.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) commit: CommitId,
    pub(super) ops: Vec<RecordOp>,
    /// Whether the store has said that it may not have taken it.
    pub(super) failed: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) now: Timestamp,
    pub(super) max_slots_per_job: u32,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    /// Which attempts were ever to take part in a checkpoint.
    pub(super) triggered: BTreeMap<(JobId, CheckpointId), BTreeSet<(TaskId, Attempt)>>,
    /// Which have acknowledged it.
    pub(super) acknowledged: BTreeMap<(JobId, CheckpointId), BTreeSet<(TaskId, Attempt)>>,
    /// The records that the coordinator knows to be in the store.
    pub(super) durable: BTreeSet<RecordKey>,
    /// The savepoints of which it knows the outcome to be in the store.
    pub(super) outcomes: BTreeSet<(JobId, TriggerId)>,
    /// The last write, if it has not become durable.
    pub(super) writing: Option<Writing>,
    /// The jobs that clients wanted to be canceled.
    pub(super) cancels: BTreeSet<JobId>,
    /// The savepoints that clients wanted.
    pub(super) savepoints: BTreeSet<(JobId, TriggerId)>,
    /// The workers that were released.
    released: BTreeSet<WorkerId>,
    /// It has seen that another one leads: nothing that it says counts.
    pub(super) is_over: bool,
}

impl Facts {
    /// Of a coordinator that recovers from these records.
    pub(super) fn new(max_slots_per_job: u32, records: &[Record], now: Timestamp) -> Self {
        let mut facts = Facts {
            now,
            max_slots_per_job,
            ..Facts::default()
        };
        for record in records {
            facts.put(record);
        }
        facts
    }

    /// A coordinator took a step. `members` has the tasks of the regions of which an order names some.
    pub(super) fn stepped(
        &mut self,
        step: &Step<'_>,
        members: impl Fn(JobId, &[TaskId]) -> BTreeSet<TaskId>,
    ) -> Verdict {
        self.now = self.now.max(step.now);
        self.hears(step.input, step.effects);
        for effect in step.effects {
            match effect {
                Effect::Send { session, message } => {
                    self.says(*session, &message.message, &members);
                }
                Effect::Disconnect { session } => {
                    self.sessions.remove(session);
                }
                Effect::Store { commit, ops } => {
                    self.writing = Some(Writing {
                        commit: *commit,
                        ops: ops.clone(),
                        failed: false,
                    });
                }
                Effect::StepDown { .. } => self.is_over = true,
                Effect::ReleaseWorker { worker } => self.releases(*worker)?,
                Effect::Reply { .. }
                | Effect::Discard(_)
                | Effect::WriteSavepoint { .. }
                | Effect::RequestWorkers { .. } => {}
            }
        }
        Ok(())
    }

    /// A TaskManager is to end: one that has no tasks, but those that were told to stop. One that was given up may
    /// come back with some, and is sent away again.
    fn releases(&mut self, worker: WorkerId) -> Verdict {
        let name = worker.name();
        let again = !self.released.insert(worker);
        let mut sessions = self.sessions.values_mut();
        let Some(session) = sessions.find(|session| session.name == name) else {
            return Ok(());
        };
        // One that was given up before it has answered is sent away when it does.
        session.leaves |= session.answered;
        let works = session.attempts.iter().find(|(_, run)| !run.stops);
        ensure(
            again || works.is_none(),
            "nobody_with_tasks_is_released",
            || format!("{name} has {works:?}"),
        )
    }

    fn hears(&mut self, input: &Input, effects: &[Effect]) {
        match input {
            Input::Connected { session, hello } => {
                let welcome = |effect: &Effect| {
                    matches!(effect, Effect::Send { session: to, message }
                        if to == session && matches!(message.message, ToTaskManager::Welcome(_)))
                };
                if effects.iter().any(welcome) {
                    self.welcomes(*session, hello);
                }
            }
            Input::Disconnected { session } => {
                self.sessions.remove(session);
            }
            Input::Message { session, message } => self.is_told(*session, message),
            Input::Stored { commit, outcome } => self.stored(*commit, outcome),
            Input::Command { command, .. } => match command {
                Command::Cancel(job) => {
                    self.cancels.insert(*job);
                }
                Command::Savepoint(wanted) => {
                    self.savepoints.insert((wanted.job, wanted.trigger));
                }
                Command::Submit { .. } | Command::Rescale { .. } | Command::Checkpoint { .. } => {}
            },
            Input::Discarded { .. }
            | Input::SavepointWritten { .. }
            | Input::Workers { .. }
            | Input::Worker { .. }
            | Input::Wake => {}
        }
    }

    fn welcomes(&mut self, session: SessionId, hello: &Hello) {
        let run = |state, slot| match state {
            ExecutionState::Finished | ExecutionState::Canceled | ExecutionState::Failed => None,
            ExecutionState::Created
            | ExecutionState::Scheduled
            | ExecutionState::Deploying
            | ExecutionState::Initializing
            | ExecutionState::Running
            | ExecutionState::Canceling => Some(Run {
                slot,
                runs: state == ExecutionState::Running,
                stops: state == ExecutionState::Canceling,
            }),
        };
        let inventory = hello.inventory.iter();
        let attempts = inventory.filter_map(|it| Some((it.attempt, run(it.state, it.slot)?)));
        let welcomed = Session {
            name: hello.taskmanager.clone(),
            slots: hello.slots,
            operators: hello.operators.clone(),
            answered: false,
            leaves: hello.leaves_within.is_some(),
            asked: 0,
            heard: self.now,
            attempts: attempts.collect(),
        };
        self.sessions.insert(session, welcomed);
    }

    fn is_told(&mut self, session: SessionId, message: &FromTaskManager) {
        let Some(session) = self.sessions.get_mut(&session) else {
            return;
        };
        session.answered = true;
        session.asked = 0;
        session.heard = self.now;
        match message {
            FromTaskManager::TaskStates(changes) => {
                changes.iter().for_each(|change| session.reports(change));
            }
            FromTaskManager::Acknowledge(ack) => {
                let of = (ack.attempt.job, ack.checkpoint);
                let acknowledged = self.acknowledged.entry(of).or_default();
                acknowledged.insert((ack.attempt.task, ack.attempt.attempt));
            }
            FromTaskManager::Leave { .. } => session.leaves = true,
            FromTaskManager::Heartbeat { .. } | FromTaskManager::Decline { .. } => {}
        }
    }

    fn stored(&mut self, commit: CommitId, outcome: &StoreOutcome) {
        let Some(writing) = self.writing.as_mut().filter(|it| it.commit == commit) else {
            return;
        };
        match outcome {
            StoreOutcome::Done => {
                for op in std::mem::take(&mut writing.ops) {
                    match op {
                        RecordOp::Put(record) => self.put(&record),
                        RecordOp::Delete(key) => {
                            self.durable.remove(&key);
                        }
                    }
                }
                self.writing = None;
            }
            StoreOutcome::Fenced | StoreOutcome::Unavailable(_) | StoreOutcome::Unknown(_) => {
                writing.failed = true;
            }
        }
    }

    fn put(&mut self, record: &Record) {
        if let Record::Savepoint(savepoint) = record {
            let known = (savepoint.job, savepoint.trigger);
            self.savepoints.insert(known);
            if savepoint.outcome.is_some() {
                self.outcomes.insert(known);
            }
        }
        self.durable.insert(record.key());
    }

    fn says(
        &mut self,
        to: SessionId,
        message: &ToTaskManager,
        members: &impl Fn(JobId, &[TaskId]) -> BTreeSet<TaskId>,
    ) {
        match message {
            ToTaskManager::Deploy(deployment) => {
                for task in &deployment.tasks {
                    let attempt = AttemptId {
                        job: deployment.job,
                        task: task.task,
                        attempt: deployment.attempt,
                    };
                    let run = Run {
                        slot: task.slot,
                        runs: false,
                        stops: false,
                    };
                    if let Some(session) = self.sessions.get_mut(&to) {
                        session.attempts.insert(attempt, run);
                    }
                }
            }
            ToTaskManager::Cancel {
                job,
                attempt,
                tasks,
            } => {
                let told = |id: &AttemptId| {
                    id.job == *job && id.attempt == *attempt && tasks.contains(&id.task)
                };
                let session = self.sessions.get_mut(&to);
                let attempts = session.into_iter().flat_map(|it| &mut it.attempts);
                for (_, run) in attempts.filter(|(id, _)| told(id)) {
                    run.stops = true;
                }
            }
            ToTaskManager::TriggerCheckpoint {
                job,
                tasks,
                checkpoint,
                ..
            } => {
                let members = members(*job, tasks);
                let attempts = self.sessions.values().flat_map(|it| &it.attempts);
                let current = attempts.filter(|(id, run)| id.job == *job && !run.stops);
                let current = current.map(|(id, _)| (id.task, id.attempt));
                let taking_part = self.triggered.entry((*job, *checkpoint)).or_default();
                taking_part.extend(current.filter(|(task, _)| members.contains(task)));
            }
            ToTaskManager::Heartbeat { .. } => {
                if let Some(session) = self.sessions.get_mut(&to) {
                    session.asked += u32::from(session.heard < self.now);
                }
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::NotifyComplete { .. }
            | ToTaskManager::NotifyAborted { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => {}
        }
    }

    pub(super) fn named(&self, name: &TaskManagerId) -> Option<&Session> {
        self.sessions.values().find(|it| it.name == *name)
    }

    /// Whether a TaskManager of this name has said that it leaves, or was released.
    pub(super) fn leaves(&self, name: &TaskManagerId) -> bool {
        self.named(name).is_some_and(|session| session.leaves)
    }

    pub(super) fn is_durable(&self, key: RecordKey) -> bool {
        self.durable.contains(&key)
    }
}

impl Session {
    /// Whether it may owe an answer for long enough to be given nothing.
    pub(super) fn may_be_mute(&self) -> bool {
        !self.answered || self.asked > 1
    }

    fn reports(&mut self, change: &TaskStateChange) {
        match change.report {
            TaskReport::Running | TaskReport::EndOfData => {
                if let Some(run) = self.attempts.get_mut(&change.attempt) {
                    run.runs = true;
                }
            }
            TaskReport::Finished | TaskReport::Canceled | TaskReport::Failed { .. } => {
                self.attempts.remove(&change.attempt);
            }
            TaskReport::Initializing => {}
        }
    }

    /// Its slots in which there is something of this job, or of any; and those of them in which nothing is but
    /// what stops.
    pub(super) fn taken(&self, job: Option<JobId>) -> (BTreeSet<SlotIndex>, BTreeSet<SlotIndex>) {
        let of = |id: &AttemptId| job.is_none_or(|job| job == id.job);
        let runs = self.attempts.iter().filter(|(id, _)| of(id));
        let taken: BTreeSet<SlotIndex> = runs.clone().map(|(_, run)| run.slot).collect();
        let goes_on = runs.filter(|(_, run)| !run.stops).map(|(_, run)| run.slot);
        let goes_on: BTreeSet<SlotIndex> = goes_on.collect();
        let stops = taken.difference(&goes_on).copied().collect();
        (taken, stops)
    }

    /// How many of its attempts of a job are as wanted.
    pub(super) fn count(&self, job: JobId, wanted: impl Fn(&Run) -> bool) -> usize {
        let of = |(id, run): &(&AttemptId, &Run)| id.job == job && wanted(run);
        self.attempts.iter().filter(of).count()
    }
}
