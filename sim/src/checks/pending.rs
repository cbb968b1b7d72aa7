//! Checkpoints that are under way: how many, for how long, how soon after the last one; and their files stay.
//! Each region of a job has its own.

use super::{Step, Verdict, ensure};
use crate::model::Plans;
use jobmanager_core::id::{CheckpointId, JobId, TaskId, TriggerId};
use jobmanager_core::jobmanager::{Command, DemandState, Discard, Effect, Input};
use jobmanager_core::message::{FromTaskManager, TaskReport, ToTaskManager};
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a job's options say of its checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) longest: Duration,
    pub(crate) min_pause: Duration,
    pub(crate) max_concurrent: u64,
}

/// A region of a job.
type Region = (JobId, usize);

/// What one coordinator has under way, as far as it can be told from outside: a checkpoint of which it is
/// not sure that it is has been forgotten.
#[derive(Debug, Default)]
pub(super) struct Pending {
    now: Timestamp,
    /// When each was triggered.
    triggered: BTreeMap<Region, BTreeMap<CheckpointId, Timestamp>>,
    /// By which tasks.
    acknowledged: BTreeMap<(Region, CheckpointId), BTreeSet<TaskId>>,
    /// Regions of which a task is at the end of its data: the final checkpoint comes at once.
    ending: BTreeSet<Region>,
    /// The checkpoints that clients wanted at once.
    demands: BTreeSet<(JobId, TriggerId)>,
    /// When the last completion was announced.
    announced: BTreeMap<Region, (CheckpointId, Timestamp)>,
}

impl Pending {
    /// A coordinator took a step.
    pub(super) fn stepped(&mut self, step: &Step<'_>, plans: &Plans) -> Verdict {
        self.now = self.now.max(step.now);
        match step.input {
            // Who is not there any more is not told that a checkpoint is given up.
            Input::Connected { .. } | Input::Disconnected { .. } => self.triggered.clear(),
            Input::Message { message, .. } => self.hears(message, plans),
            Input::Command {
                command: Command::Checkpoint { job, trigger },
                ..
            } => drop(self.demands.insert((*job, *trigger))),
            Input::Stored { .. }
            | Input::Discarded { .. }
            | Input::SavepointWritten { .. }
            | Input::Command { .. }
            | Input::Workers { .. }
            | Input::Worker { .. }
            | Input::Wake => {}
        }
        let waits = |(job, trigger): &(JobId, TriggerId)| {
            step.coordinator.demand(*job, *trigger) == Some(DemandState::UnderWay)
        };
        self.demands.retain(waits);
        let mut all = step.coordinator.taskmanagers();
        let left = !step.effects.is_empty() && all.any(|tm| tm.leaves);
        for effect in step.effects {
            match effect {
                Effect::Send { message, .. } => self.says(&message.message, left, plans)?,
                Effect::Disconnect { .. } => self.triggered.clear(),
                Effect::Store { ops, .. } => ops.iter().for_each(|op| self.writes(op)),
                Effect::Discard(_)
                | Effect::WriteSavepoint { .. }
                | Effect::Reply { .. }
                | Effect::RequestWorkers { .. }
                | Effect::ReleaseWorker { .. }
                | Effect::StepDown { .. } => {}
            }
        }
        // Tasks may be told of what is given up after it is.
        for effect in step.effects {
            if let Effect::Discard(discard) = effect {
                self.discards(discard)?;
            }
        }
        self.expire(plans)
    }

    /// What every task has acknowledged is not under way any more, though it may have to wait for the store.
    fn hears(&mut self, message: &FromTaskManager, plans: &Plans) {
        if let FromTaskManager::TaskStates(changes) = message {
            for change in changes {
                let (job, task) = (change.attempt.job, change.attempt.task);
                let ends = change.report == TaskReport::EndOfData;
                let region = plans.region(job, task).filter(|_| ends);
                self.ending.extend(region.map(|region| (job, region)));
            }
        }
        let FromTaskManager::Acknowledge(ack) = message else {
            return;
        };
        let (job, id) = (ack.attempt.job, ack.checkpoint);
        let Some(region) = plans.region(job, ack.attempt.task) else {
            return;
        };
        let acked = self.acknowledged.entry(((job, region), id)).or_default();
        acked.insert(ack.attempt.task);
        let members = plans.regions(job).iter().filter(|of| **of == region);
        if acked.len() >= members.count() {
            self.forget((job, region), |other| other != id);
        }
    }

    /// Whether somebody leaves is `left`.
    fn says(&mut self, message: &ToTaskManager, left: bool, plans: &Plans) -> Verdict {
        match message {
            ToTaskManager::TriggerCheckpoint {
                job,
                tasks,
                checkpoint,
                savepoint,
                ..
            } => {
                let mut regions = plans.named(*job, tasks).into_iter();
                // A client does not wait for the pause between checkpoints.
                let mut demands = self.demands.iter();
                let demanded = demands.any(|(of, _)| of == job);
                // Nor does who has tasks where somebody leaves.
                let waits = savepoint.is_none() && !demanded && !left;
                regions
                    .try_for_each(|region| self.triggers((*job, region), *checkpoint, waits, plans))
            }
            ToTaskManager::NotifyComplete {
                job,
                tasks,
                checkpoint,
                ..
            } => {
                for region in plans.named(*job, tasks) {
                    self.forget((*job, region), |id| id > *checkpoint);
                    let this = (*checkpoint, self.now);
                    let last = self.announced.entry((*job, region)).or_insert(this);
                    // It may be announced again.
                    if last.0 < this.0 {
                        *last = this;
                    }
                }
                Ok(())
            }
            ToTaskManager::NotifyAborted {
                job,
                tasks,
                checkpoint,
            } => {
                for region in plans.named(*job, tasks) {
                    self.forget((*job, region), |id| id != *checkpoint);
                }
                Ok(())
            }
            ToTaskManager::Deploy(deployment) => {
                let job = deployment.job;
                let tasks = deployment.tasks.iter().map(|task| task.task);
                for region in plans.named(job, &tasks.collect::<Vec<_>>()) {
                    self.forget((job, region), |_| false);
                }
                Ok(())
            }
            ToTaskManager::Cancel { job, tasks, .. } => {
                for region in plans.named(*job, tasks) {
                    self.forget((*job, region), |_| false);
                }
                Ok(())
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => Ok(()),
        }
    }

    fn triggers(
        &mut self,
        region: Region,
        id: CheckpointId,
        waits: bool,
        plans: &Plans,
    ) -> Verdict {
        let triggered = self.triggered.entry(region).or_default();
        let first = triggered.insert(id, self.now).is_none();
        let (count, last) = (triggered.len() as u64, self.announced.get(&region));
        let Some(rules) = plans.rules(region.0).filter(|_| first) else {
            return Ok(());
        };
        ensure(
            count <= rules.max_concurrent,
            "no_more_checkpoints_are_under_way_than_allowed",
            || format!("{region:?}: {triggered:?}, {rules:?}"),
        )?;
        ensure(
            !waits
                || self.ending.contains(&region)
                || last.is_none_or(|(_, last)| *last + rules.min_pause <= self.now),
            "checkpoints_keep_their_distance",
            || format!("{region:?}: {last:?}, now {:?}, {rules:?}", self.now),
        )
    }

    fn forget(&mut self, region: Region, stays: impl Fn(CheckpointId) -> bool) {
        if let Some(triggered) = self.triggered.get_mut(&region) {
            triggered.retain(|id, _| stays(*id));
        }
    }

    fn writes(&mut self, op: &RecordOp) {
        if let RecordOp::Put(Record::Checkpoint(record)) = op {
            for (region, snapshot) in record.regions.iter().enumerate() {
                if let Some(snapshot) = snapshot {
                    self.forget((record.job, region), |id| id > snapshot.checkpoint);
                }
            }
        }
    }

    fn discards(&self, discard: &Discard) -> Verdict {
        let job = match discard {
            Discard::Checkpoint(job, _) | Discard::Unreferenced { job, .. } => job,
            Discard::Job(_) | Discard::Savepoint { .. } | Discard::Owned { .. } => return Ok(()),
        };
        let gone = |id: &CheckpointId| match discard {
            Discard::Checkpoint(_, checkpoint) => id == checkpoint,
            Discard::Job(_) | Discard::Savepoint { .. } | Discard::Owned { .. } => false,
            Discard::Unreferenced { keep, next, .. } => id < next && !keep.contains(id),
        };
        let triggered = self.triggered.range((*job, 0)..=(*job, usize::MAX));
        let lost = triggered
            .flat_map(|(_, triggered)| triggered)
            .find(|(id, _)| gone(id));
        ensure(
            lost.is_none(),
            "state_of_a_checkpoint_under_way_is_never_deleted",
            || format!("job {job}: {lost:?} by {discard:?}"),
        )
    }

    fn expire(&self, plans: &Plans) -> Verdict {
        for (region, triggered) in &self.triggered {
            let Some(rules) = plans.rules(region.0) else {
                continue;
            };
            let late = triggered
                .iter()
                .find(|(_, at)| **at + rules.longest < self.now);
            ensure(
                late.is_none(),
                "a_checkpoint_ends_within_its_timeout",
                || format!("{region:?}: {late:?}, now {:?}, {rules:?}", self.now),
            )?;
        }
        Ok(())
    }
}
