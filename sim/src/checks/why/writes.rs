//! The store in answers to "why": what is not durable, and in which write it is.

use super::Asked;
use crate::checks::{Verdict, ensure};
use jobmanager_core::id::JobId;
use jobmanager_core::jobmanager::why::{
    Cause, Checkpoint, Life, Reason, Restart, Savepoint, Trigger, Write,
};
use jobmanager_core::record::{Record, RecordKey, RecordOp};

const NAME: &str = "a_write_that_is_awaited_is_not_durable";

/// What of a job a write has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Job,
    Cancel,
    Mark,
    Checkpoint,
    Result,
    End,
}

impl Written {
    fn of(op: &RecordOp) -> Option<(JobId, Written)> {
        match op {
            RecordOp::Put(record) => match record {
                Record::Job(job) => Some((job.graph.id(), Written::Job)),
                Record::Cancel(job) => Some((*job, Written::Cancel)),
                Record::CheckpointMark { job, .. } => Some((*job, Written::Mark)),
                Record::Checkpoint(record) => Some((record.job, Written::Checkpoint)),
                Record::Result(result) => Some((result.job, Written::Result)),
                Record::Savepoint(_) | Record::Rescale(_) => None,
            },
            RecordOp::Delete(RecordKey::Job(job)) => Some((*job, Written::End)),
            RecordOp::Delete(_) => None,
        }
    }

    /// What has to be written before such a cause passes; of savepoints, see [`Asked::is_wanted`].
    fn awaited_by(reason: &Reason) -> Option<Written> {
        match reason {
            Reason::Life(life) => match life {
                Life::SubmissionNotDurable { .. } => Some(Written::Job),
                Life::CancellationNotDurable { .. } => Some(Written::Cancel),
                Life::ResultNotDurable { .. } => Some(Written::Result),
                Life::RecordsLeft => Some(Written::End),
                Life::Canceling { .. }
                | Life::Failing { .. }
                | Life::CheckpointNotKept { .. }
                | Life::FilesLeft { .. } => None,
            },
            Reason::Restart(Restart::LastCheckpointNotDurable { .. })
            | Reason::Checkpoint(
                Checkpoint::RecordNotDurable { .. } | Checkpoint::RecordNotBegun { .. },
            ) => Some(Written::Checkpoint),
            Reason::Trigger(Trigger::IdsNotDurable { .. })
            | Reason::Savepoint(Savepoint::SavepointIdNotDurable) => Some(Written::Mark),
            Reason::Write(_)
            | Reason::Slots(_)
            | Reason::Filter(_)
            | Reason::Tasks(_)
            | Reason::Restart(_)
            | Reason::Checkpoint(_)
            | Reason::Trigger(_)
            | Reason::Rhythm(_)
            | Reason::Savepoint(_)
            | Reason::Moving(_)
            | Reason::Workers(_)
            | Reason::NotShown(_) => None,
        }
    }
}

impl Asked<'_> {
    /// A write is said to be at the store, or to be tried again.
    pub(super) fn is_at_the_store(&self, write: &Write) -> Verdict {
        let writing = self.facts.writing.as_ref();
        let told = match write {
            Write::WriteUnderWay { commit, .. } => {
                writing.is_some_and(|writing| writing.commit == *commit && !writing.failed)
            }
            Write::WriteToBeRepeated { .. } => writing.is_some_and(|writing| writing.failed),
            Write::BehindAnotherWrite => writing.is_some(),
        };
        let detail = || format!("job {}: {write:?}, ordered {writing:?}", self.line.id);
        ensure(told, NAME, detail)
    }

    /// What is said not to be durable is not, and it is in the write that is said to be at work, or it is not if
    /// another one is.
    pub(super) fn waits_for_the_right_write(&self, cause: &Cause) -> Verdict {
        let Some(awaited) = Written::awaited_by(&cause.reason) else {
            return Ok(());
        };
        let job = self.line.id;
        let durable = match awaited {
            Written::Job => self.facts.is_durable(RecordKey::Job(job)),
            Written::Cancel => self.facts.is_durable(RecordKey::Cancel(job)),
            Written::Result => self.facts.is_durable(RecordKey::Result(job)),
            Written::End => !self.facts.is_durable(RecordKey::Job(job)),
            // There may be earlier ones.
            Written::Mark | Written::Checkpoint => false,
        };
        // A record of checkpoints may wait for a savepoint that completes with it.
        let may_lack = awaited == Written::Checkpoint;
        let at_work = self.is_at_work(|op| Written::of(op) == Some((job, awaited)));
        let right = below(cause).map_or(may_lack, |said| said == at_work);
        ensure(right && !durable, NAME, || {
            format!("job {job}: {cause:?}, ordered {:?}", self.facts.writing)
        })
    }

    fn is_at_work(&self, which: impl Fn(&RecordOp) -> bool) -> bool {
        let writing = self.facts.writing.as_ref();
        writing.is_some_and(|writing| writing.ops.iter().any(which))
    }

    /// A savepoint is said to have no outcome that is durable, or not even to be wanted durably.
    pub(super) fn is_wanted(&self, savepoint: &Savepoint, because: &[Cause]) -> Verdict {
        let Savepoint::SavepointWanted { trigger, .. } = savepoint else {
            return Ok(());
        };
        let this = (self.line.id, *trigger);
        let stored = self.facts.is_durable(RecordKey::Savepoint(this.0, this.1));
        let ended = self.facts.outcomes.contains(&this);
        let mut told = self.facts.savepoints.contains(&this) && !ended;
        for cause in because {
            let wish = cause.reason == Reason::Savepoint(Savepoint::WishNotDurable);
            let outcome = matches!(
                cause.reason,
                Reason::Savepoint(Savepoint::OutcomeNotDurable { .. })
            );
            if !wish && !outcome {
                continue;
            }
            let at_work = self.is_at_work(|op| {
                matches!(op, RecordOp::Put(Record::Savepoint(record))
                    if (record.job, record.trigger) == this && record.outcome.is_some() == outcome)
            });
            told &= stored == outcome && below(cause) == Some(at_work);
        }
        let writing = &self.facts.writing;
        let detail = || format!("{this:?}: {because:?}, ordered {writing:?}");
        ensure(told, NAME, detail)
    }
}

/// Whether what a cause waits for is said to be in the write at work, if it is said to be in one.
fn below(cause: &Cause) -> Option<bool> {
    let write = cause.because.iter().find_map(|below| {
        let Reason::Write(write) = &below.reason else {
            return None;
        };
        Some(write)
    });
    write.map(|write| *write != Write::BehindAnotherWrite)
}
