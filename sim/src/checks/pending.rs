//! Checkpoints that are under way: how many, for how long, how soon after the last one; and their files stay.

use super::{Step, Verdict, ensure};
use jobmanager_core::id::{CheckpointId, JobId, TaskId};
use jobmanager_core::jobmanager::{Discard, Effect, Input};
use jobmanager_core::message::{FromTaskManager, TaskReport, ToTaskManager};
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a job's options say of its checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) timeout: Duration,
    pub(crate) min_pause: Duration,
    pub(crate) max_concurrent: u64,
    pub(crate) tasks: usize,
}

/// What one coordinator has under way, as far as it can be told from outside: a checkpoint of which it is
/// not sure that it is has been forgotten.
#[derive(Debug, Default)]
pub(super) struct Pending {
    now: Timestamp,
    /// When each was triggered.
    triggered: BTreeMap<JobId, BTreeMap<CheckpointId, Timestamp>>,
    /// By which tasks.
    acknowledged: BTreeMap<(JobId, CheckpointId), BTreeSet<TaskId>>,
    /// Jobs of which a task is at the end of its data: the final checkpoint comes at once.
    ending: BTreeSet<JobId>,
    /// When the last completion was announced.
    announced: BTreeMap<JobId, (CheckpointId, Timestamp)>,
}

impl Pending {
    /// A coordinator took a step.
    pub(super) fn stepped(
        &mut self,
        step: &Step<'_>,
        rules: impl Fn(JobId) -> Option<Rules>,
    ) -> Verdict {
        self.now = self.now.max(step.now);
        match step.input {
            // Who is not there any more is not told that a checkpoint is given up.
            Input::Connected { .. } | Input::Disconnected { .. } => self.triggered.clear(),
            Input::Message { message, .. } => self.hears(message, &rules),
            Input::Stored { .. }
            | Input::Discarded { .. }
            | Input::Command { .. }
            | Input::Wake => {}
        }
        for effect in step.effects {
            match effect {
                Effect::Send { message, .. } => self.says(&message.message, &rules)?,
                Effect::Disconnect { .. } => self.triggered.clear(),
                Effect::Store { ops, .. } => ops.iter().for_each(|op| self.writes(op)),
                Effect::Discard(_) | Effect::Reply { .. } | Effect::StepDown { .. } => {}
            }
        }
        // Tasks may be told of what is given up after it is.
        for effect in step.effects {
            if let Effect::Discard(discard) = effect {
                self.discards(discard)?;
            }
        }
        self.expire(&rules)
    }

    /// What every task has acknowledged is not under way any more, though it may have to wait for the store.
    fn hears(&mut self, message: &FromTaskManager, rules: &impl Fn(JobId) -> Option<Rules>) {
        if let FromTaskManager::TaskStates(changes) = message {
            let ends = changes
                .iter()
                .filter(|it| it.report == TaskReport::EndOfData);
            self.ending.extend(ends.map(|change| change.attempt.job));
        }
        let FromTaskManager::Acknowledge(ack) = message else {
            return;
        };
        let (job, id) = (ack.attempt.job, ack.checkpoint);
        let acked = self.acknowledged.entry((job, id)).or_default();
        acked.insert(ack.attempt.task);
        if rules(job).is_some_and(|rules| acked.len() >= rules.tasks) {
            self.forget(job, |other| other != id);
        }
    }

    fn says(
        &mut self,
        message: &ToTaskManager,
        rules: &impl Fn(JobId) -> Option<Rules>,
    ) -> Verdict {
        match message {
            ToTaskManager::TriggerCheckpoint {
                job, checkpoint, ..
            } => {
                let triggered = self.triggered.entry(*job).or_default();
                let first = triggered.insert(*checkpoint, self.now).is_none();
                let (count, last) = (triggered.len() as u64, self.announced.get(job));
                let Some(rules) = rules(*job).filter(|_| first) else {
                    return Ok(());
                };
                ensure(
                    count <= rules.max_concurrent,
                    "no_more_checkpoints_are_under_way_than_allowed",
                    || format!("job {job}: {triggered:?}, {rules:?}"),
                )?;
                ensure(
                    self.ending.contains(job)
                        || last.is_none_or(|(_, last)| *last + rules.min_pause <= self.now),
                    "checkpoints_keep_their_distance",
                    || format!("job {job}: {last:?}, now {:?}, {rules:?}", self.now),
                )
            }
            ToTaskManager::NotifyComplete {
                job, checkpoint, ..
            } => {
                self.forget(*job, |id| id > *checkpoint);
                let this = (*checkpoint, self.now);
                let last = self.announced.entry(*job).or_insert(this);
                // It may be announced again.
                if last.0 < this.0 {
                    *last = this;
                }
                Ok(())
            }
            ToTaskManager::NotifyAborted { job, checkpoint } => {
                self.forget(*job, |id| id != *checkpoint);
                Ok(())
            }
            ToTaskManager::Deploy(deployment) => {
                self.forget(deployment.job, |_| false);
                Ok(())
            }
            ToTaskManager::Cancel { job, .. } => {
                self.forget(*job, |_| false);
                Ok(())
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. } => Ok(()),
        }
    }

    fn forget(&mut self, job: JobId, stays: impl Fn(CheckpointId) -> bool) {
        if let Some(triggered) = self.triggered.get_mut(&job) {
            triggered.retain(|id, _| stays(*id));
        }
    }

    fn writes(&mut self, op: &RecordOp) {
        if let RecordOp::Put(Record::Checkpoint(record)) = op {
            self.forget(record.job, |id| id > record.id);
        }
    }

    fn discards(&self, discard: &Discard) -> Verdict {
        let job = match discard {
            Discard::Checkpoint(job, _) | Discard::Unreferenced { job, .. } => job,
            Discard::Job(_) => return Ok(()),
        };
        let gone = |id: &CheckpointId| match discard {
            Discard::Checkpoint(_, checkpoint) => id == checkpoint,
            Discard::Job(_) => false,
            Discard::Unreferenced { keep, next, .. } => id < next && !keep.contains(id),
        };
        let mut triggered = self.triggered.get(job).into_iter().flatten();
        let lost = triggered.find(|(id, _)| gone(id));
        ensure(
            lost.is_none(),
            "state_of_a_checkpoint_under_way_is_never_deleted",
            || format!("job {job}: {lost:?} by {discard:?}"),
        )
    }

    fn expire(&self, rules: &impl Fn(JobId) -> Option<Rules>) -> Verdict {
        for (job, triggered) in &self.triggered {
            let Some(rules) = rules(*job) else {
                continue;
            };
            let late = triggered
                .iter()
                .find(|(_, at)| **at + rules.timeout < self.now);
            ensure(
                late.is_none(),
                "a_checkpoint_ends_within_its_timeout",
                || format!("job {job}: {late:?}, now {:?}, {rules:?}", self.now),
            )?;
        }
        Ok(())
    }
}
