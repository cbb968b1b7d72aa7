//! What coordinators may order: only what is durable is announced, only what is current is touched.

use super::{Ack, Checks, History, Verdict, ensure};
use crate::world::event::Instance;
use jobmanager_core::id::{CheckpointId, Epoch, JobId, TaskId};
use jobmanager_core::jobmanager::{Discard, Effect, Reply};
use jobmanager_core::message::{Deployment, Envelope, TaskDeployment, ToTaskManager};
use jobmanager_core::record::{CheckpointRecord, Record, RecordOp};

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
            Effect::Reply { reply, .. } => self.replied(reply),
            Effect::Store { ops, .. } => {
                for op in ops {
                    self.wrote(by, op)?;
                }
                Ok(())
            }
            Effect::Discard(discard) => self.discarded(discard),
            Effect::Disconnect { .. } | Effect::StepDown { .. } => Ok(()),
        }
    }

    fn ordered_by_old_leader(&mut self, effect: &Effect) -> Verdict {
        let Effect::Send { message, .. } = effect else {
            return Ok(());
        };
        match &message.message {
            ToTaskManager::NotifyComplete {
                job, checkpoint, ..
            } => self.history(*job)?.announce(*job, *checkpoint),
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
            | ToTaskManager::ReleaseJob { .. } => Ok(()),
        }
    }

    fn said(&mut self, by: Orderer, envelope: &Envelope, to: &str) -> Verdict {
        ensure(
            envelope.epoch == by.epoch,
            "every_message_carries_its_senders_epoch",
            || format!("{:?} in epoch {:?}", envelope.epoch, by.epoch),
        )?;
        match &envelope.message {
            ToTaskManager::Deploy(deployment) => self.deployed(by, deployment, to),
            ToTaskManager::TriggerCheckpoint {
                job, checkpoint, ..
            } => self.triggered(by, *job, *checkpoint),
            ToTaskManager::NotifyComplete {
                job, checkpoint, ..
            } => {
                let history = self.history(*job)?;
                history.announce(*job, *checkpoint)
            }
            ToTaskManager::NotifyAborted { job, checkpoint } => {
                let history = self.history(*job)?;
                ensure(
                    !history.completed.contains(checkpoint),
                    "a_completed_checkpoint_is_never_aborted",
                    || format!("job {job} checkpoint {checkpoint:?}"),
                )?;
                history.aborted.insert(*checkpoint);
                Ok(())
            }
            ToTaskManager::Resume {
                job,
                completed,
                aborted_below,
            } => {
                let history = self.history(*job)?;
                let latest = history.completed.last().copied();
                ensure(
                    *completed == latest,
                    "a_recovery_knows_the_latest_checkpoint",
                    || format!("job {job} resumes from {completed:?}, stored {latest:?}"),
                )?;
                let from = completed.map_or(1, |completed| completed.0 + 1);
                let aborted = (from..aborted_below.0).map(CheckpointId);
                history.aborted.extend(aborted);
                Ok(())
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
        let latest = history.completed.last().copied();
        ensure(
            *restore == latest,
            "a_restore_uses_the_latest_checkpoint",
            || format!("job {job} restores {restore:?}, latest {latest:?}"),
        )?;
        for task in tasks {
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

    fn triggered(&mut self, by: Orderer, job: JobId, checkpoint: CheckpointId) -> Verdict {
        let history = self.history(job)?;
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

    fn replied(&mut self, reply: &Reply) -> Verdict {
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
            Reply::Conflict(_) | Reply::Overloaded(_) => Ok(()),
        }
    }

    /// A write is ordered, not yet applied.
    fn wrote(&mut self, by: Orderer, op: &RecordOp) -> Verdict {
        match op {
            RecordOp::Put(Record::Checkpoint(record)) => {
                let history = self.history(record.job)?;
                let durable = history.completed.contains(&record.id);
                if !durable {
                    history.on_their_way.insert(record.id, record.clone());
                }
                history.completes(by.instance, record)
            }
            RecordOp::Put(
                Record::Job(_)
                | Record::Cancel(_)
                | Record::CheckpointMark { .. }
                | Record::Result(_),
            )
            | RecordOp::Delete(_) => Ok(()),
        }
    }

    fn discarded(&mut self, discard: &Discard) -> Verdict {
        let (job, retained) = match discard {
            Discard::Checkpoint(job, checkpoint) => {
                let history = self.history(*job)?;
                let needed = history.retained.contains_key(checkpoint)
                    || history.on_their_way.contains_key(checkpoint);
                (*job, needed)
            }
            Discard::Job(job) => {
                let history = self.history(*job)?;
                (*job, history.result.is_none())
            }
            Discard::Unreferenced { job, keep, next } => {
                let history = self.history(*job)?;
                let durable = history.retained.range(..next);
                let on_their_way = history.on_their_way.range(..next);
                let mut lost = durable.chain(on_their_way).map(|(id, _)| id);
                (*job, lost.any(|id| !keep.contains(id)))
            }
        };
        ensure(!retained, "retained_state_is_never_deleted", || {
            format!("job {job}: {discard:?}")
        })
    }
}

impl History {
    fn announce(&self, job: JobId, checkpoint: CheckpointId) -> Verdict {
        ensure(
            self.completed.contains(&checkpoint),
            "a_checkpoint_is_announced_only_after_it_is_durable",
            || format!("job {job} checkpoint {checkpoint:?}"),
        )?;
        ensure(
            !self.aborted.contains(&checkpoint),
            "an_aborted_checkpoint_never_completes",
            || format!("job {job} checkpoint {checkpoint:?}"),
        )
    }

    fn restores_what_was_acknowledged(
        &self,
        job: JobId,
        restore: Option<CheckpointId>,
        deployment: &TaskDeployment,
    ) -> Verdict {
        let record = restore.and_then(|restore| self.retained.get(&restore));
        let position = self.tasks.iter().position(|task| *task == deployment.task);
        let acknowledged = record.zip(position).map(|(record, at)| &record.states[at]);
        let given: Vec<_> = deployment.state.iter().collect();
        let expected: Vec<_> = acknowledged.into_iter().collect();
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

    /// A checkpoint may be written if, when its last acknowledgement came, all and only the current
    /// attempts of its tasks had acknowledged it and none of them had ended.
    fn completes(&mut self, instance: Instance, record: &CheckpointRecord) -> Verdict {
        let name = "a_checkpoint_completes_when_every_current_attempt_acknowledged";
        let (job, id) = (record.job, record.id);
        let repeated = !self.ordered.insert((instance, id));
        let past = self.is_of_the_past(Some(id));
        if repeated || past || self.completed.contains(&id) {
            return Ok(());
        }
        ensure(
            !self.aborted.contains(&id),
            "an_aborted_checkpoint_never_completes",
            || format!("job {job} checkpoint {id:?}"),
        )?;
        let states: Vec<_> = record.states.iter().collect();
        let acknowledged = self.acknowledged.get(&id).map(|acks| {
            let states = acks.iter().map(|ack| &ack.state).collect::<Vec<_>>();
            (states, acks.iter().all(|ack| ack.end_of_data))
        });
        ensure(
            acknowledged == Some((states, record.end_of_data)),
            name,
            || format!("job {job} {record:?}: {acknowledged:?}"),
        )
    }

    /// The acknowledgement of every task, if every current attempt has acknowledged and none has ended.
    pub(super) fn current_acknowledgements(&self, id: CheckpointId) -> Option<Vec<Ack>> {
        let acks = self.acks.get(&id)?;
        let of = |task: &TaskId| {
            let mut acks = acks.get(task)?.iter();
            let ack = acks.find(|ack| self.is_current(*task, ack.attempt))?;
            let lost = self.lost.contains(&(*task, ack.attempt));
            (!lost).then_some(ack)
        };
        // Most often some are missing: then nothing is copied.
        if self.tasks.iter().any(|task| of(task).is_none()) {
            return None;
        }
        self.tasks.iter().map(|task| of(task).cloned()).collect()
    }
}
