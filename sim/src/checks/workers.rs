//! What TaskManagers and their tasks do.

use super::{Checks, History, Verdict, ensure};
use crate::storage::external::{Published, SinkId, Transaction};
use crate::world::event::Process;
use jobmanager_core::id::{Attempt, AttemptId, CheckpointId, Epoch, JobId, SlotIndex, TaskId};
use jobmanager_core::taskmanager::{Effect, TaskStart};

impl Checks {
    /// A TaskManager received a message of this epoch and did this in the same step.
    pub(crate) fn obeyed(&mut self, process: Process, epoch: Epoch, effects: &[Effect]) -> Verdict {
        let seen = self.seen_epochs.entry(process).or_default();
        if epoch >= *seen {
            *seen = epoch;
            return Ok(());
        }
        let acted = effects.iter().any(|effect| match effect {
            Effect::Start(_)
            | Effect::Cancel(_)
            | Effect::Trigger { .. }
            | Effect::Complete { .. }
            | Effect::Abort { .. }
            | Effect::AbortBelow { .. } => true,
            Effect::Connect
            | Effect::Close
            | Effect::SendHello(_)
            | Effect::Send(_)
            | Effect::GiveUp(_)
            | Effect::End => false,
        });
        ensure(!acted, "a_command_of_an_old_epoch_is_never_obeyed", || {
            format!("{process:?} has seen {seen:?} and obeyed {epoch:?}: {effects:?}")
        })
    }

    /// Whether this process has seen a later epoch.
    pub(crate) fn has_seen_later(&self, process: Process, epoch: Epoch) -> bool {
        self.seen_epochs
            .get(&process)
            .is_some_and(|seen| *seen > epoch)
    }

    /// A task is told to stop: its slot may be given to others, who share it until the task has ended.
    pub(crate) fn stopping(&mut self, process: Process, attempt: AttemptId) {
        self.stopping.insert((process, attempt));
    }

    /// A task starts. Tells whether another attempt of it runs somewhere.
    pub(crate) fn started(
        &mut self,
        process: Process,
        start: &TaskStart,
    ) -> Result<bool, crate::checks::oracle::Failure> {
        let attempt = start.attempt;
        for ((on, other), slot) in &self.running {
            let stopping = self.stopping.contains(&(*on, *other));
            let here = *on == process && *slot == start.slot && !stopping;
            ensure(
                !here || (other.job == attempt.job && other.task != attempt.task),
                "a_slot_serves_one_job_and_one_attempt_of_a_task",
                || format!("{process:?} {slot:?}: {other}, then {attempt}"),
            )?;
        }
        let same = |other: &AttemptId| other.job == attempt.job && other.task == attempt.task;
        let zombie = self.running.keys().any(|(_, other)| same(other));
        let before = self.running.insert((process, attempt), start.slot);
        ensure(
            before.is_none(),
            "a_repeated_deployment_starts_nothing",
            || format!("{attempt}"),
        )?;
        Ok(zombie)
    }

    /// A task ended.
    pub(crate) fn ended(&mut self, process: Process, attempt: AttemptId) {
        self.running.remove(&(process, attempt));
        self.stopping.remove(&(process, attempt));
    }

    /// A process died with everything in it.
    pub(crate) fn died(&mut self, process: Process) {
        self.running.retain(|(on, _), _| *on != process);
        self.stopping.retain(|(on, _)| *on != process);
        self.told_to_stop.retain(|(on, _)| *on != process);
        self.contract_ends(process);
    }

    /// Every attempt that runs anywhere.
    pub(crate) fn running(&self) -> impl Iterator<Item = (Process, AttemptId)> {
        self.running.keys().copied()
    }

    /// A task could not find a state file that it was to restore.
    pub(crate) fn state_is_missing(&self, attempt: AttemptId, path: &str) -> Verdict {
        // An old leader may go on ordering from what the new one has replaced, or for a job that has ended.
        let history = self.jobs.get(&attempt.job);
        let ended = history.is_some_and(|history| history.result.is_some());
        let led = attempt.attempt.epoch >= self.stored_epoch;
        let current = self.is_current(attempt) && led && !ended;
        ensure(!current, "the_state_of_a_restore_exists", || {
            format!("{attempt}: {path}")
        })
    }

    /// Rows became visible: only with a checkpoint that is durable.
    pub(crate) fn published(&self, published: &Published) -> Verdict {
        let Some(transaction) = published.transaction else {
            return Ok(());
        };
        let history = self.jobs.get(&published.sink.job);
        let of = (published.sink.task, transaction.attempt);
        if history.is_some_and(|history| history.had_completed(of, transaction.checkpoint)) {
            return Ok(());
        }
        let completed = history.and_then(|history| {
            let region = history.region(published.sink.task)?;
            history.last_completed(region)
        });
        let durable = completed.is_some_and(|completed| completed >= transaction.checkpoint);
        ensure(
            durable,
            "output_is_committed_only_after_its_checkpoint",
            || {
                format!(
                    "{:?} {transaction:?}, durable up to {completed:?}",
                    published.sink
                )
            },
        )?;
        let attempt = (published.sink.task, transaction.attempt);
        let took_part =
            history.is_some_and(|history| history.contributed(attempt, transaction.checkpoint));
        ensure(
            took_part,
            "only_attempts_of_a_durable_checkpoint_publish",
            || format!("{:?} {transaction:?}", published.sink),
        )
    }

    /// The slots that tasks use which were not told to stop, once for each task.
    pub(crate) fn used_slots(&self) -> impl Iterator<Item = (Process, SlotIndex, JobId)> {
        let wanted = self
            .running
            .iter()
            .filter(|(key, _)| !self.stopping.contains(key));
        wanted.map(|((process, attempt), slot)| (*process, *slot, attempt.job))
    }

    /// A task was told that a checkpoint is complete.
    pub(crate) fn told_complete(
        &mut self,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        finish: bool,
        end_of_data: bool,
    ) -> Verdict {
        let history = self.jobs.get(&attempt.job);
        if history.is_some_and(|history| history.is_former(attempt.task, attempt.attempt)) {
            return Ok(());
        }
        ensure(
            self.is_completed(attempt.job, attempt.task, checkpoint),
            "a_checkpoint_is_announced_only_after_it_is_durable",
            || format!("{attempt} {checkpoint:?}"),
        )?;
        if let Some(history) = self.jobs.get_mut(&attempt.job) {
            history.learns_of(attempt.task, checkpoint);
        }
        let history = self.jobs.get(&attempt.job);
        let took_part = history
            .is_some_and(|history| history.took_part(attempt.task, attempt.attempt, checkpoint));
        ensure(
            took_part,
            "only_those_who_took_part_learn_of_a_completion",
            || format!("{attempt} {checkpoint:?}"),
        )?;
        let past = history.is_some_and(|history| history.is_of_the_past(Some(checkpoint)));
        ensure(
            !finish || end_of_data || past,
            "a_task_finishes_only_at_the_end_of_its_data",
            || format!("{attempt} {checkpoint:?}"),
        )
    }
}

impl History {
    /// Whether the attempt is one of those that took part in this checkpoint or a later one that is
    /// durable.
    fn contributed(&self, (task, attempt): (TaskId, Attempt), from: CheckpointId) -> bool {
        let Some(region) = self.region(task) else {
            return false;
        };
        let durable = (region, from)..=(region, CheckpointId(u64::MAX));
        let mut durable = self.completed.range(durable);
        durable.any(|(_, id)| self.is_made_of(task, attempt, *id))
    }
}

/// A transaction was to be committed, and the outside has forgotten it: its rows are lost.
pub(crate) fn refused((sink, transaction): (SinkId, Transaction)) -> Verdict {
    let words = || format!("{sink:?} {transaction:?}");
    ensure(false, "what_is_committed_was_not_forgotten", words)
}
