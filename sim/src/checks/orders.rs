//! What coordinators may order: only what is durable is announced, only what is current is touched.

use super::{Checks, History, Verdict, ensure};
use crate::world::event::Instance;
use jobmanager_core::id::{CheckpointId, Epoch, JobId, TaskId};
use jobmanager_core::jobmanager::{Discard, Effect, Reply};
use jobmanager_core::message::{
    Deployment, Envelope, ListPart, StateHandle, StateLocation, SubtaskState, TaskDeployment,
    ToTaskManager,
};
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_core::redistribute::DistributionMode;
use std::collections::BTreeSet;

/// Who orders, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orderer {
    pub(crate) instance: Instance,
    pub(crate) epoch: Epoch,
    pub(crate) now: u64,
}

impl Checks {
    /// A coordinator orders this. `to` is the name of the TaskManager that a message goes to.
    ///
    /// An old leader that does not know of its successor may order anything that was true in its time;
    /// epochs keep it from doing harm, and the other checks see whether they do.
    pub(crate) fn ordered(&mut self, by: Orderer, effect: &Effect, to: Option<&str>) -> Verdict {
        if by.epoch < self.minted {
            return self.ordered_by_old_leader(effect);
        }
        match effect {
            Effect::Send { message, .. } => self.said(by, message, to.unwrap_or("nobody")),
            Effect::Reply { reply, .. } => self.replied(by.instance, reply),
            Effect::Store { ops, .. } => {
                let is_other = |op: &RecordOp| matches!(op, RecordOp::Put(Record::Job(job)) if job.scale.is_some());
                let other = ops.iter().any(is_other);
                for op in ops {
                    self.wrote(by, op, other)?;
                }
                Ok(())
            }
            Effect::Discard(discard) => self.discarded(discard),
            Effect::WriteSavepoint {
                location,
                savepoint,
            } => self.writes_savepoint(location, savepoint),
            Effect::RequestWorkers { workers } => {
                let mut again = workers.iter().filter(|it| !self.asked_for.insert(**it));
                let again = again.next();
                ensure(again.is_none(), "a_worker_is_asked_for_once", || {
                    format!("{again:?}")
                })
            }
            Effect::Disconnect { .. } | Effect::ReleaseWorker { .. } | Effect::StepDown { .. } => {
                Ok(())
            }
        }
    }

    fn ordered_by_old_leader(&mut self, effect: &Effect) -> Verdict {
        let Effect::Send { message, .. } = effect else {
            return Ok(());
        };
        match &message.message {
            ToTaskManager::NotifyComplete {
                job,
                tasks,
                checkpoint,
                ..
            } => self.history(*job)?.announce(*job, tasks, *checkpoint),
            ToTaskManager::Deploy(deployment) => {
                let history = self.history(deployment.job)?;
                let attempts = deployment
                    .tasks
                    .iter()
                    .map(|task| (task.task, deployment.attempt));
                history.adoptable.extend(attempts.clone());
                let restore = deployment.restore;
                history
                    .restored
                    .extend(attempts.map(|attempt| (attempt, restore)));
                Ok(())
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Cancel { .. }
            | ToTaskManager::TriggerCheckpoint { .. }
            | ToTaskManager::NotifyAborted { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => Ok(()),
        }
    }

    fn said(&mut self, by: Orderer, envelope: &Envelope, to: &str) -> Verdict {
        ensure(
            envelope.epoch == by.epoch,
            "every_message_carries_its_senders_epoch",
            || format!("{:?} in epoch {:?}", envelope.epoch, by.epoch),
        )?;
        if self.is_of_before(by.epoch, &envelope.message) {
            return Ok(());
        }
        match &envelope.message {
            ToTaskManager::Deploy(deployment) => self.deployed(by, deployment, to),
            ToTaskManager::TriggerCheckpoint {
                job,
                tasks,
                checkpoint,
                savepoint,
                ..
            } => {
                if savepoint.as_ref().is_some_and(|order| order.after.stops()) {
                    self.history(*job)?.savepoints.stops_with(*checkpoint);
                }
                self.triggered(by, *job, tasks, *checkpoint)
            }
            ToTaskManager::NotifyComplete {
                job,
                tasks,
                checkpoint,
                ..
            } => self.history(*job)?.announce(*job, tasks, *checkpoint),
            ToTaskManager::NotifyAborted {
                job,
                tasks,
                checkpoint,
            } => self.history(*job)?.abort(*job, tasks, *checkpoint),
            ToTaskManager::Resume {
                job,
                tasks,
                completed,
                aborted_below,
            } => {
                let history = self.history(*job)?;
                history.resume(*job, tasks, *completed, *aborted_below)
            }
            ToTaskManager::ReleaseJob { job } => {
                let durable = self.history(*job)?.result.is_some();
                ensure(
                    durable,
                    "a_job_is_released_only_after_its_result_is_durable",
                    || format!("job {job}"),
                )
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Dismissed
            | ToTaskManager::Cancel { .. } => Ok(()),
        }
    }

    fn deployed(&mut self, by: Orderer, deployment: &Deployment, to: &str) -> Verdict {
        let Deployment {
            job,
            attempt,
            restore,
            tasks,
            ..
        } = deployment;
        let history = self.history(*job)?;
        ensure(
            history.recorded,
            "a_job_runs_only_after_it_is_durable",
            || format!("job {job}"),
        )?;
        ensure(
            history.result.is_none(),
            "an_ended_job_is_never_resurrected",
            || format!("job {job} ended {:?}", history.result),
        )?;
        ensure(
            !history.cancel_accepted,
            "a_canceled_job_is_never_deployed",
            || format!("job {job}"),
        )?;
        ensure(
            attempt.epoch <= by.epoch,
            "an_attempt_is_minted_by_its_epoch",
            || format!("{attempt:?} in {:?}", by.epoch),
        )?;
        for task in tasks {
            let region = history.region(task.task);
            let latest = region.and_then(|region| history.last_completed(region));
            ensure(
                *restore == latest,
                "a_restore_uses_the_latest_checkpoint",
                || {
                    format!(
                        "job {job} {:?} restores {restore:?}, latest {latest:?}",
                        task.task
                    )
                },
            )?;
            history.restores_what_was_acknowledged(*job, *restore, task)?;
            history.deployed.insert(task.task, *attempt);
            history.own.insert((task.task, *attempt));
            history.restored.insert((task.task, *attempt), *restore);
            let before = history.highest.insert(task.task, (*attempt, to.to_owned()));
            let repeated = before
                .as_ref()
                .is_some_and(|b| *b == (*attempt, to.to_owned()));
            let later = before.as_ref().is_none_or(|(before, _)| before < attempt);
            *history.redeployed.entry(task.task).or_default() += u32::from(!repeated);
            ensure(later || repeated, "an_attempt_is_never_used_twice", || {
                format!(
                    "job {job} {:?}: {before:?}, then {attempt:?} on {to}",
                    task.task
                )
            })?;
        }
        Ok(())
    }

    fn triggered(
        &mut self,
        by: Orderer,
        job: JobId,
        tasks: &[TaskId],
        checkpoint: CheckpointId,
    ) -> Verdict {
        let history = self.history(job)?;
        for region in history.concerned(job, tasks)? {
            history.triggered.insert((region, checkpoint));
        }
        ensure(
            checkpoint < history.mark,
            "a_checkpoint_id_is_reserved_before_use",
            || {
                format!(
                    "job {job} checkpoint {checkpoint:?}, reserved below {:?}",
                    history.mark
                )
            },
        )?;
        ensure(
            history.result.is_none(),
            "an_ended_job_is_never_resurrected",
            || format!("job {job} checkpoint {checkpoint:?}"),
        )?;
        let this = (checkpoint, by.instance, by.now);
        let before = history.last_trigger.replace(this);
        let new = before.is_none_or(|before| before == this || before.0 < checkpoint);
        ensure(new, "checkpoint_ids_strictly_increase", || {
            format!("job {job}: {this:?} after {before:?}")
        })
    }

    fn replied(&mut self, by: Instance, reply: &Reply) -> Verdict {
        match reply {
            Reply::Submitted(job) | Reply::AlreadySubmitted(job) => {
                let history = self.history(*job)?;
                let durable = history.recorded || history.result.is_some();
                ensure(
                    durable,
                    "a_submission_is_acknowledged_only_when_durable",
                    || format!("job {job}"),
                )
            }
            Reply::CancelAccepted(job) => {
                let history = self.history(*job)?;
                let durable = history.cancel_recorded || history.result.is_some();
                history.cancel_accepted = true;
                ensure(
                    durable,
                    "a_cancel_is_acknowledged_only_when_durable",
                    || format!("job {job}"),
                )
            }
            Reply::AlreadyEnded(job, status) => {
                let result = self.history(*job)?.result;
                ensure(
                    result == Some(*status),
                    "a_terminal_state_is_durable",
                    || format!("job {job} ended {status}, stored {result:?}"),
                )
            }
            Reply::UnknownJob(job) => {
                let history = self.jobs.get(job);
                let known = history.is_some_and(|history| history.recorded);
                ensure(!known, "a_durable_job_is_never_unknown", || {
                    format!("job {job}")
                })
            }
            Reply::CheckpointAccepted(job, trigger) => self.demand_accepted(by, *job, *trigger),
            Reply::SavepointAccepted(job, trigger) => self.savepoint_accepted(*job, *trigger),
            Reply::RescaleAccepted(job) => {
                let history = self.history(*job)?;
                let durable = history.rescale_recorded || history.result.is_some();
                ensure(
                    durable,
                    "a_rescale_is_acknowledged_only_when_durable",
                    || format!("job {job}"),
                )
            }
            Reply::Conflict(_)
            | Reply::CannotRescale(..)
            | Reply::CannotRestore(..)
            | Reply::TooManySlots(..)
            | Reply::Overloaded(_)
            | Reply::WithoutCheckpoints(_)
            | Reply::IsEnding(_) => Ok(()),
        }
    }

    /// Whether an old leader speaks of a job that has got another parallelism since: it knows other regions.
    pub(crate) fn is_of_before(&self, epoch: Epoch, message: &ToTaskManager) -> bool {
        let job = match message {
            ToTaskManager::TriggerCheckpoint { job, .. }
            | ToTaskManager::NotifyComplete { job, .. }
            | ToTaskManager::NotifyAborted { job, .. }
            | ToTaskManager::Resume { job, .. } => job,
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Deploy(_)
            | ToTaskManager::Cancel { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => return false,
        };
        let scale = self
            .jobs
            .get(job)
            .and_then(|history| history.scale.as_ref());
        let since = scale.and_then(|scale| scale.since.iter().flatten().max());
        since.is_some_and(|since| epoch < since.epoch)
    }

    /// A write is ordered, not yet applied. It gives a job another parallelism, or not.
    fn wrote(&mut self, by: Orderer, op: &RecordOp, rescales: bool) -> Verdict {
        match op {
            RecordOp::Put(Record::Checkpoint(record)) => {
                let history = self.history(record.job)?;
                let durable = history.retained.get(&record.id) == Some(record);
                if !durable {
                    history.on_their_way.insert(record.id, record.clone());
                }
                match rescales {
                    true => Ok(()),
                    false => history.completes(by.instance, record),
                }
            }
            RecordOp::Put(
                Record::Job(_)
                | Record::Cancel(_)
                | Record::Rescale(_)
                | Record::CheckpointMark { .. }
                | Record::Savepoint(_)
                | Record::Result(_),
            )
            | RecordOp::Delete(_) => Ok(()),
        }
    }

    fn discarded(&mut self, discard: &Discard) -> Verdict {
        let (job, retained) = match discard {
            Discard::Checkpoint(job, checkpoint) => {
                let history = self.history(*job)?;
                (*job, history.needed().contains(checkpoint))
            }
            Discard::Savepoint { job, location } => return self.discards_savepoint(*job, location),
            Discard::Owned { job, location } => return self.discards_owned(*job, location),
            Discard::Job(job) => {
                let history = self.history(*job)?;
                (*job, history.result.is_none())
            }
            Discard::Unreferenced { job, keep, next } => {
                let history = self.history(*job)?;
                let needed = history.needed();
                let mut lost = needed.range(..next);
                (*job, lost.any(|id| !keep.contains(id)))
            }
        };
        ensure(!retained, "retained_state_is_never_deleted", || {
            format!("job {job}: {discard:?}")
        })
    }
}

impl History {
    fn announce(&self, job: JobId, tasks: &[TaskId], checkpoint: CheckpointId) -> Verdict {
        for region in self.concerned(job, tasks)? {
            let part = (region, checkpoint);
            ensure(
                self.completed.contains(&part),
                "a_checkpoint_is_announced_only_after_it_is_durable",
                || format!("job {job} {part:?}"),
            )?;
            ensure(
                !self.aborted.contains(&part),
                "an_aborted_checkpoint_never_completes",
                || format!("job {job} {part:?}"),
            )?;
        }
        Ok(())
    }

    fn abort(&mut self, job: JobId, tasks: &[TaskId], checkpoint: CheckpointId) -> Verdict {
        for region in self.concerned(job, tasks)? {
            let part = (region, checkpoint);
            ensure(
                !self.completed.contains(&part),
                "a_completed_checkpoint_is_never_aborted",
                || format!("job {job} {part:?}"),
            )?;
            ensure(
                self.triggered.contains(&part) || self.is_of_the_past(Some(checkpoint)),
                "a_region_is_told_only_of_its_own_checkpoints",
                || format!("job {job} {part:?} was never triggered"),
            )?;
            self.aborted.insert(part);
        }
        Ok(())
    }

    fn resume(
        &mut self,
        job: JobId,
        tasks: &[TaskId],
        completed: Option<CheckpointId>,
        aborted_below: CheckpointId,
    ) -> Verdict {
        for region in self.concerned(job, tasks)? {
            let latest = self.last_completed(region);
            ensure(
                completed == latest,
                "a_recovery_knows_the_latest_checkpoint",
                || {
                    format!(
                        "job {job} region {region} resumes from {completed:?}, stored {latest:?}"
                    )
                },
            )?;
            let from = completed.map_or(1, |completed| completed.0 + 1);
            let aborted = (from..aborted_below.0).map(|id| (region, CheckpointId(id)));
            self.aborted.extend(aborted);
        }
        Ok(())
    }

    /// The checkpoints whose files are needed, or may be.
    pub(super) fn needed(&self) -> BTreeSet<CheckpointId> {
        let records = self.retained.values().chain(self.on_their_way.values());
        records.flat_map(|record| record.references()).collect()
    }

    fn restores_what_was_acknowledged(
        &self,
        job: JobId,
        restore: Option<CheckpointId>,
        deployment: &TaskDeployment,
    ) -> Verdict {
        let record = self.latest.as_ref().filter(|_| restore.is_some());
        let position = self.tasks.iter().position(|task| *task == deployment.task);
        let acknowledged = record.zip(position).map(|(record, at)| &record.states[at]);
        let expected = acknowledged.map(SubtaskState::handles).unwrap_or_default();
        let expected: Vec<_> = expected.iter().filter(|it| !it.is_nothing()).collect();
        // What the others of its vertex have comes on top, with no more than lists that all get.
        let own = |handle: &&StateHandle| {
            expected.contains(handle) || handle.lists().any(|it| it.mode != DistributionMode::Union)
        };
        let given: Vec<_> = deployment.state.iter().filter(own).collect();
        let tasks = record
            .into_iter()
            .flat_map(|record| self.tasks.iter().zip(&record.states));
        let of_vertex = tasks.filter(|(task, _)| task.vertex == deployment.task.vertex);
        let all = of_vertex.flat_map(|(_, state)| state.handles());
        ensure(
            for_all(&deployment.state).eq(for_all(all)),
            "a_task_is_given_what_goes_to_all_of_its_vertex",
            || format!("job {job} {:?}: {:?}", deployment.task, deployment.state),
        )?;
        ensure(
            given == expected,
            "a_task_restores_what_it_acknowledged",
            || {
                format!(
                    "job {job} {:?} from {restore:?}: {given:?}",
                    deployment.task
                )
            },
        )
    }
}

/// The partitions of lists of which every subtask gets all.
fn for_all<'a>(
    handles: impl IntoIterator<Item = &'a StateHandle>,
) -> impl Iterator<Item = (&'a StateLocation, &'a ListPart)> {
    let lists = |handle: &'a StateHandle| handle.lists().map(|list| (&handle.location, list));
    let lists = handles.into_iter().flat_map(lists);
    lists.filter(|(_, list)| list.mode == DistributionMode::Union)
}
