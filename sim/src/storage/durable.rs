//! What survives processes: how writes to the store and deletions of state go, and what they show.

use crate::marks::Mark;
use crate::plan::options::{Micros, SECOND};
use crate::storage::store::{Fate, WriteId};
use crate::tape::Stream;
use crate::trace::{Lane, Parcel};
use crate::world::World;
use crate::world::event::Event;
use crate::world::event::Instance;
use crate::world::faults::Moment;
use jobmanager_core::jobmanager::{Discard, Input, StorageOutcome, StoreOutcome};
use jobmanager_core::record::{JobResult, Record, RecordOp};
use jobmanager_core::state::JobStatus;

/// However slow the store is, an answer that comes at all comes within this time: a client of a real one has
/// a timeout.
pub(crate) const SLOWEST_STORE: Micros = 3 * SECOND;

impl World {
    /// What will become of the next write.
    pub(crate) fn fate(&mut self) -> Fate {
        if self.calm {
            return Fate::Done;
        }
        let (unavailable, unknown) = (self.options.store.unavailable, self.options.store.unknown);
        if let Some(fate) = self.store.troubled_fate() {
            return fate;
        }
        if self.decisions.chance(Stream::Store, unavailable) {
            return Fate::Refused;
        }
        if self.decisions.chance(Stream::Store, unknown) {
            return self
                .decisions
                .choice(Stream::Store, &[Fate::AppliedMute, Fate::LostMute]);
        }
        Fate::Done
    }

    pub(crate) fn store_applies(&mut self, write: WriteId) {
        self.show_write(write);
        let mut applied = Vec::new();
        if let Some((epoch, ops)) = self.store.apply(write) {
            self.note_told(Lane::Store, "apply", &(epoch, &ops));
            let verdict = self.checks.stored(epoch, &ops);
            self.verdict(verdict);
            self.jobs_are_rescaled(&ops);
            self.jobs_are_stopped(&ops);
            self.mark_write(&ops);
            if self.store.fate(write) == Some(Fate::AppliedMute) {
                self.mark_lost_answer(&ops);
            }
            applied = ops;
        }
        if let Some(instance) = self.store.sender(write) {
            self.moment(Moment::StoreApplied, instance);
            self.moment_of_write(instance, &applied);
        }
        self.show_outcome(write);
        let latency = self.store_latency();
        self.queue
            .push(self.now + latency, Event::StoreAnswer(write));
    }

    fn mark_lost_answer(&mut self, ops: &[RecordOp]) {
        for op in ops {
            let RecordOp::Put(record) = op else {
                continue;
            };
            self.marks.hit(match record {
                Record::Job(_) => Mark::JobAnswerLost,
                Record::Cancel(_) => Mark::CancelAnswerLost,
                Record::Rescale(_) => Mark::RescaleAnswerLost,
                Record::Checkpoint(_) => Mark::CheckpointAnswerLost,
                Record::CheckpointMark { .. } => Mark::MarkAnswerLost,
                Record::Savepoint(_) => Mark::SavepointAnswerLost,
                Record::Result(_) => Mark::ResultAnswerLost,
            });
        }
    }

    /// How long the store takes for one way of a call.
    pub(crate) fn store_latency(&mut self) -> Micros {
        let range = self.options.store.latency.clone();
        let latency = self.draw(Stream::Store, &range);
        (latency * self.store.slowness).min(latency.max(SLOWEST_STORE))
    }

    /// How long the checkpoint storage takes for a call.
    pub(crate) fn blob_latency(&mut self) -> Micros {
        let range = self.options.blobs.latency.clone();
        self.draw(Stream::Blobs, &range) * self.blobs.slowness
    }

    fn mark_write(&mut self, ops: &[RecordOp]) {
        for op in ops {
            let RecordOp::Put(record) = op else {
                continue;
            };
            match record {
                Record::Checkpoint(_) => self.marks.hit(Mark::CheckpointCompleted),
                Record::Result(result) => self.mark_result(result),
                Record::Savepoint(record) => self.mark_savepoint(record),
                Record::Job(_)
                | Record::Cancel(_)
                | Record::Rescale(_)
                | Record::CheckpointMark { .. } => {}
            }
        }
    }

    fn mark_result(&mut self, result: &JobResult) {
        if self.checks.keeps_claimed(result.job) {
            self.marks.hit(Mark::ClaimedSavepointStays);
        }
        match result.status {
            JobStatus::Failed => self.marks.hit(Mark::JobFailed),
            JobStatus::Canceled => self.marks.hit(Mark::JobCanceled),
            JobStatus::Finished => {
                self.marks.hit(Mark::JobFinished);
                let oracle = self.oracle.as_ref();
                let verdict = oracle.map_or(Ok(()), |oracle| oracle.finish(result.job));
                self.verdict(verdict);
            }
            JobStatus::Initializing
            | JobStatus::Created
            | JobStatus::Running
            | JobStatus::Restarting
            | JobStatus::Failing
            | JobStatus::Cancelling
            | JobStatus::Reconciling
            | JobStatus::Suspended => {
                let detail = format!("job {} ended {}", result.job, result.status);
                self.fail("a_job_ends_in_a_terminal_state", detail);
            }
        }
    }

    pub(crate) fn store_answers(&mut self, write: WriteId) {
        self.arrives(|| Parcel::Outcome(write));
        let Some((instance, commit, fate, outcome)) = self.store.answer(write) else {
            return;
        };
        match (&outcome, fate) {
            (StoreOutcome::Fenced, _) => self.marks.hit(Mark::OldLeaderIsRefused),
            (StoreOutcome::Unknown(_), Fate::AppliedMute) => {
                self.marks.hit(Mark::UnknownAndApplied);
            }
            (StoreOutcome::Unknown(_), _) => self.marks.hit(Mark::UnknownAndLost),
            (StoreOutcome::Done | StoreOutcome::Unavailable(_), _) => {}
        }
        if !self.jobmanagers.contains_key(&instance) {
            self.marks.hit(Mark::StoreAnswersTheDead);
        }
        self.hears_past_answer(instance, commit);
        self.jobmanager_input(instance, &Input::Stored { commit, outcome });
    }

    pub(crate) fn discard_ends(&mut self, instance: Instance, discard: Discard, done: bool) {
        self.show_discard(instance, &discard, done);
        if self.current != Some(instance) {
            self.marks.hit(Mark::DiscardEndsAfterLeaderChange);
        }
        let outcome = if done {
            for (job, path) in self.blobs.delete(&discard) {
                self.marks.hit(Mark::StateDiscarded);
                let verdict = self.checks.file_deleted(job, &path);
                self.verdict(verdict);
            }
            if matches!(discard, Discard::Owned { .. }) {
                self.marks.hit(Mark::ClaimedSavepointDeleted);
            }
            if self.moment(Moment::DiscardDone, instance) {
                return;
            }
            StorageOutcome::Done
        } else {
            StorageOutcome::Failed("the storage is busy".to_owned())
        };
        self.jobmanager_input(instance, &Input::Discarded { discard, outcome });
    }

    pub(crate) fn blob_fails(&mut self) -> bool {
        let failing = self.options.blobs.failing;
        let fails = !self.calm && self.decisions.chance(Stream::Blobs, failing);
        let fails = fails || self.blobs.outage;
        if fails {
            self.marks.hit(Mark::BlobFailure);
        }
        fails
    }
}
