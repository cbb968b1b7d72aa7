//! What is durable: the store's records and the checkpoint storage's files.

use super::{Checks, History, Verdict, ensure};
use jobmanager_core::id::{Epoch, JobId};
use jobmanager_core::message::{StateLocation, SubtaskState};
use jobmanager_core::record::{CheckpointRecord, Record, RecordKey, RecordOp};
use std::sync::Arc;

impl Checks {
    /// The store applied this write.
    pub(crate) fn stored(&mut self, epoch: Epoch, ops: &[RecordOp]) -> Verdict {
        ensure(
            epoch >= self.stored_epoch,
            "the_store_accepts_no_old_epoch",
            || format!("{epoch:?} after {:?}", self.stored_epoch),
        )?;
        self.stored_epoch = epoch;
        self.rescales(ops)?;
        // One transaction: what it deletes may rely on what it puts, and what it puts twice is there as it is put
        // last.
        for (at, op) in ops.iter().enumerate() {
            match op {
                RecordOp::Put(record) if is_put_again(record, &ops[at + 1..]) => {}
                RecordOp::Put(record) => self.put(record)?,
                RecordOp::Delete(_) => {}
            }
        }
        for op in ops {
            match op {
                RecordOp::Put(_) => {}
                RecordOp::Delete(key) => self.deleted(*key)?,
            }
        }
        self.jobs
            .iter()
            .try_for_each(|(job, history)| history.keeps_what_it_needs(*job))
    }

    fn put(&mut self, record: &Record) -> Verdict {
        match record {
            Record::Job(job) => {
                let id = job.graph.id();
                let history = self.history(id)?;
                ensure(
                    history.result.is_none(),
                    "an_ended_job_is_never_resurrected",
                    || format!("job {id} ended {:?}", history.result),
                )?;
                history.recorded = true;
            }
            Record::Cancel(job) => self.history(*job)?.cancel_recorded = true,
            Record::Rescale(record) => {
                let history = self.history(record.job)?;
                history.rescale_recorded = true;
                history.wishes.push(record.bounds.clone());
            }
            Record::CheckpointMark { job, next } => {
                let history = self.history(*job)?;
                ensure(
                    *next >= history.mark,
                    "a_checkpoint_mark_never_goes_back",
                    || format!("job {job}: {:?}, then {next:?}", history.mark),
                )?;
                history.mark = *next;
            }
            Record::Checkpoint(checkpoint) => {
                let history = self.history(checkpoint.job)?;
                history.recall_checkpoint(checkpoint);
                history.is_of_the_current_attempts(checkpoint)?;
                history.goes_on_from_the_one_before(checkpoint)?;
                history.has_become_durable(checkpoint);
                history.on_their_way.remove(&checkpoint.id);
                history.forget_old_snapshots();
            }
            Record::Savepoint(savepoint) => self.savepoint_stored(savepoint)?,
            Record::Result(result) => {
                let history = self.history(result.job)?;
                let same = history.result.is_none_or(|before| before == result.status);
                ensure(same, "the_end_of_a_job_is_final", || {
                    format!(
                        "job {}: {:?}, then {}",
                        result.job, history.result, result.status
                    )
                })?;
                history.result = Some(result.status);
                self.outlives(result)?;
            }
        }
        Ok(())
    }

    fn deleted(&mut self, key: RecordKey) -> Verdict {
        match key {
            RecordKey::Job(job) => {
                let history = self.history(job)?;
                history.recorded = false;
                let ended = history.result.is_some();
                ensure(
                    ended,
                    "a_job_is_removed_only_after_its_result_is_durable",
                    || format!("job {job}"),
                )
            }
            RecordKey::Checkpoint(job, checkpoint) => {
                self.history(job)?.retained.remove(&checkpoint);
                Ok(())
            }
            RecordKey::Cancel(job) => {
                let history = self.history(job)?;
                let ended = history.result.is_some();
                ensure(
                    ended,
                    "a_durable_cancel_survives_until_the_job_has_ended",
                    || format!("job {job}"),
                )
            }
            RecordKey::Rescale(job) => {
                let ended = self.history(job)?.result.is_some();
                let name = "a_durable_rescale_survives_until_the_job_has_ended";
                ensure(ended, name, || format!("job {job}"))
            }
            RecordKey::CheckpointMark(job) => {
                let history = self.history(job)?;
                let ended = history.result.is_some();
                ensure(ended, "a_checkpoint_mark_never_goes_back", || {
                    format!("job {job}")
                })
            }
            RecordKey::Savepoint(job, trigger) => self.savepoint_forgotten(job, trigger),
            RecordKey::Result(_) => Ok(()),
        }
    }

    /// The files from which a job that has not ended would go on.
    pub(crate) fn latest_files(&self, job: JobId) -> Vec<String> {
        let history = self.jobs.get(&job).filter(|h| h.result.is_none());
        let latest = history.and_then(|history| history.retained.values().last());
        let states = latest.into_iter().flat_map(|record| &record.states);
        let states = states.flat_map(SubtaskState::handles);
        let file = |location: &StateLocation| match location {
            StateLocation::File(file) => Some(file.clone()),
            StateLocation::Inline(_) | StateLocation::Url(_) => None,
        };
        states.filter_map(|state| file(&state.location)).collect()
    }

    /// A file was deleted from the checkpoint storage.
    pub(crate) fn file_deleted(&self, job: JobId, path: &str) -> Verdict {
        // A job that has ended needs nothing any more.
        let history = self
            .jobs
            .get(&job)
            .filter(|history| history.result.is_none());
        let records = history.into_iter().flat_map(|history| {
            let durable = history.retained.values();
            durable.chain(history.on_their_way.values())
        });
        let states = records.flat_map(|record| &record.states);
        let mut states = states.flat_map(SubtaskState::handles);
        let referenced = states.any(|state| match &state.location {
            StateLocation::File(file) => file == path,
            StateLocation::Inline(_) | StateLocation::Url(_) => false,
        });
        ensure(!referenced, "retained_state_is_never_deleted", || {
            format!("job {job} file {path}")
        })
    }
}

/// Whether a savepoint is put once more by what follows.
fn is_put_again(record: &Record, rest: &[RecordOp]) -> bool {
    let same = |op: &RecordOp| matches!(op, RecordOp::Put(other) if other.key() == record.key());
    matches!(record, Record::Savepoint(_)) && rest.iter().any(same)
}

impl History {
    fn keeps_what_it_needs(&self, job: JobId) -> Verdict {
        if self.result.is_some() || !self.recorded {
            return Ok(());
        }
        let latest = self.latest.as_ref();
        let kept = latest.is_none_or(|latest| self.retained.get(&latest.id) == Some(latest));
        ensure(kept, "the_latest_checkpoint_is_retained", || {
            format!("job {job} {latest:?}")
        })?;
        let count = self.retained.len();
        ensure(
            count <= self.retained_limit + 1,
            "no_more_checkpoints_are_retained",
            || format!("job {job}: {count} of {}", self.retained_limit),
        )
    }

    /// A record is in the store.
    pub(super) fn has_become_durable(&mut self, record: &Arc<CheckpointRecord>) {
        for (region, snapshot) in self.new_in(record) {
            self.completed.insert((region, snapshot.checkpoint));
        }
        self.retained.insert(record.id, record.clone());
        if self
            .latest
            .as_ref()
            .is_none_or(|latest| latest.id <= record.id)
        {
            self.latest = Some(record.clone());
        }
    }

    /// Every attempt of a new checkpoint took part in the one before of its region or was restored from it:
    /// another one has not published what that one has, and would publish it again.
    fn goes_on_from_the_one_before(&self, record: &CheckpointRecord) -> Verdict {
        for (region, snapshot) in self.new_in(record) {
            let Some(before) = self.last_completed(region) else {
                continue;
            };
            let acks = self.acknowledged.get(&(region, snapshot.checkpoint));
            for (task, ack) in acks.into_iter().flatten() {
                let later = before < snapshot.checkpoint;
                ensure(
                    later && self.took_part(*task, ack.attempt, before),
                    "a_checkpoint_goes_on_from_the_one_before",
                    || {
                        format!(
                            "job {} {snapshot:?}: {task:?} {:?} has no part in {before:?}",
                            record.job, ack.attempt
                        )
                    },
                )?;
            }
        }
        Ok(())
    }

    /// A checkpoint that becomes durable after its tasks were restarted would resurrect their past.
    fn is_of_the_current_attempts(&self, record: &CheckpointRecord) -> Verdict {
        for (region, snapshot) in self.new_in(record) {
            if self.is_of_the_past(Some(snapshot.checkpoint)) {
                continue;
            }
            let acks = self.acks.get(&snapshot.checkpoint);
            for task in self.members(region) {
                let current = self.deployed.get(&task).copied();
                let acks = acks.and_then(|acks| acks.get(&task)).into_iter().flatten();
                let mut acks = acks.into_iter();
                ensure(
                    acks.any(|ack| self.is_current(task, ack.attempt)),
                    "no_checkpoint_of_a_past_attempt_becomes_durable",
                    || {
                        format!(
                            "job {} {snapshot:?}: {task:?} is at {current:?}",
                            record.job
                        )
                    },
                )?;
            }
        }
        Ok(())
    }
}
