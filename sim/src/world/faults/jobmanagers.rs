//! What happens to JobManager processes: crashes, at the worst of moments too, and pauses.

use super::Faults;
use crate::marks::Mark;
use crate::nodes::election::Campaign;
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Instance, Repair};
use jobmanager_core::record::{Record, RecordKey, RecordOp};

/// A moment at which a crash hurts most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Moment {
    /// A write is ordered and on its way.
    StoreSent,
    /// A write is applied and its answer on the way.
    StoreApplied,
    /// An acknowledgement arrives.
    BeforeAcknowledgement,
    /// A deployment is on its way to one TaskManager, not yet to the next.
    DeploySent,
    /// One TaskManager will learn that a checkpoint is complete.
    CompletionSent,
    /// One TaskManager will learn of a checkpoint.
    TriggerSent,
    /// One more acknowledgement, and a checkpoint is complete.
    LastButOneAcknowledgement,
    /// A job is durable, and nobody knows.
    JobApplied,
    /// The wish to cancel a job is durable, and nobody knows.
    CancelApplied,
    /// Another parallelism is wanted, or there, and nobody knows.
    RescaleApplied,
    /// A checkpoint is durable, and nobody knows.
    CheckpointApplied,
    /// Checkpoint ids are reserved, and none is used.
    MarkApplied,
    /// A savepoint is wanted, or complete, and nobody knows.
    SavepointApplied,
    /// The end of a job is durable, and nobody knows.
    ResultApplied,
    /// The records of a job that has ended are gone, and nobody knows.
    CleanupApplied,
    /// State is about to be deleted.
    DiscardSent,
    /// State was deleted, and nobody knows.
    DiscardDone,
    /// A new epoch is in the store, and nobody knows.
    EpochApplied,
    /// The store was read, and nothing came of it yet.
    StoreRead,
    /// The coordinator knows everything and has done nothing.
    Recovered,
}

/// What comes once in the life of a job is there twice.
pub(super) const MOMENTS: [Moment; 26] = [
    Moment::StoreSent,
    Moment::StoreApplied,
    Moment::BeforeAcknowledgement,
    Moment::DeploySent,
    Moment::CompletionSent,
    Moment::TriggerSent,
    Moment::LastButOneAcknowledgement,
    Moment::JobApplied,
    Moment::CancelApplied,
    Moment::CheckpointApplied,
    Moment::MarkApplied,
    Moment::ResultApplied,
    Moment::CleanupApplied,
    Moment::DiscardSent,
    Moment::DiscardDone,
    Moment::EpochApplied,
    Moment::StoreRead,
    Moment::Recovered,
    Moment::JobApplied,
    Moment::CancelApplied,
    Moment::ResultApplied,
    Moment::CleanupApplied,
    Moment::SavepointApplied,
    Moment::SavepointApplied,
    Moment::RescaleApplied,
    Moment::RescaleApplied,
];

/// How many crashes lie in wait at most; a later one replaces the first.
const AMBUSHES: usize = 4;

/// How often a moment passes before it counts.
const PASSES: [u64; 5] = [0, 0, 1, 3, 8];

impl Moment {
    /// Whether it comes about once in the life of a job.
    fn is_rare(self) -> bool {
        match self {
            Moment::JobApplied
            | Moment::CancelApplied
            | Moment::RescaleApplied
            | Moment::SavepointApplied
            | Moment::ResultApplied
            | Moment::CleanupApplied => true,
            Moment::StoreSent
            | Moment::StoreApplied
            | Moment::BeforeAcknowledgement
            | Moment::DeploySent
            | Moment::CompletionSent
            | Moment::TriggerSent
            | Moment::LastButOneAcknowledgement
            | Moment::CheckpointApplied
            | Moment::MarkApplied
            | Moment::DiscardSent
            | Moment::DiscardDone
            | Moment::EpochApplied
            | Moment::StoreRead
            | Moment::Recovered => false,
        }
    }
}

impl Faults {
    /// Whether a crash lay in wait for this moment; it does no more.
    fn springs(&mut self, moment: Moment) -> bool {
        for (at, (armed, left)) in self.armed.iter_mut().enumerate() {
            if *armed != moment {
                continue;
            }
            if *left > 0 {
                *left -= 1;
                continue;
            }
            self.armed.remove(at);
            return true;
        }
        false
    }
}

impl World {
    /// The crashes that lie in wait from the start.
    pub(crate) fn lay_ambushes(&mut self) {
        for _ in 0..self.options.leaders.ambushes {
            let moment = self.decisions.choice(Stream::Leaders, &MOMENTS);
            let passes = self.decisions.choice(Stream::Leaders, &PASSES);
            self.lay_ambush(moment, passes);
        }
    }

    /// A crash lies in wait for a moment, as the fault says.
    pub(super) fn target_crash(&mut self) {
        let moment = MOMENTS[self.fault_choice(MOMENTS.len())];
        let passes = PASSES[self.fault_choice(PASSES.len())];
        self.lay_ambush(moment, passes);
    }

    fn lay_ambush(&mut self, moment: Moment, passes: u64) {
        let passes = if moment.is_rare() { passes / 4 } else { passes };
        if self.faults.armed.len() == AMBUSHES {
            self.faults.armed.pop_front();
        }
        self.faults.armed.push_back((moment, passes));
    }

    /// A moment has come. Tells whether the JobManager died of it.
    pub(crate) fn moment(&mut self, moment: Moment, instance: Instance) -> bool {
        self.aim(moment);
        let counts = !self.faults.armed.is_empty() && self.current == Some(instance);
        if !counts || !self.faults.springs(moment) {
            return false;
        }
        self.marks.hit(Mark::TargetedCrashHit);
        self.note(Lane::Faults, "armed", &moment);
        self.crash_jobmanager(instance);
        true
    }

    /// A write was applied whose answer is on its way.
    pub(crate) fn moment_of_write(&mut self, instance: Instance, ops: &[RecordOp]) {
        for op in ops {
            let moment = match op {
                RecordOp::Put(Record::Job(job)) if job.scale.is_some() => Moment::RescaleApplied,
                RecordOp::Put(Record::Job(_)) => Moment::JobApplied,
                RecordOp::Put(Record::Cancel(_)) => Moment::CancelApplied,
                RecordOp::Put(Record::Rescale(_)) => Moment::RescaleApplied,
                RecordOp::Put(Record::Checkpoint(_)) => Moment::CheckpointApplied,
                RecordOp::Put(Record::CheckpointMark { .. }) => Moment::MarkApplied,
                RecordOp::Put(Record::Savepoint(_)) => Moment::SavepointApplied,
                RecordOp::Put(Record::Result(_)) => Moment::ResultApplied,
                RecordOp::Delete(RecordKey::Job(_)) => Moment::CleanupApplied,
                RecordOp::Delete(
                    RecordKey::Result(_)
                    | RecordKey::Checkpoint(..)
                    | RecordKey::Cancel(_)
                    | RecordKey::Rescale(_)
                    | RecordKey::Savepoint(..)
                    | RecordKey::CheckpointMark(_),
                ) => continue,
            };
            if self.moment(moment, instance) {
                return;
            }
        }
    }

    pub(super) fn crash_jobmanager(&mut self, instance: Instance) {
        let Some(index) = self.leader(instance).map(|process| process.candidate.index) else {
            return;
        };
        let silently = self.fault_chance(300);
        self.note(Lane::JobManager(instance.0), "dies", &silently);
        self.process_dies(index, silently);
        let delay = self.fault_duration();
        self.campaign(delay, Campaign::Start(index));
    }

    /// The JobManager stands still; another one may take over; the first one wakes up and does not know.
    pub(super) fn pause_jobmanager(&mut self) {
        let process = self.current.and_then(|instance| self.leader(instance));
        let Some(process) = process.filter(|process| !process.paused) else {
            return;
        };
        let candidate = process.candidate;
        let duration = self.fault_duration();
        self.mark_pause(duration);
        self.pause_process(candidate, duration);
        let resume = Repair::ResumeJobManager(candidate);
        self.queue.push(self.now + duration, Event::Repair(resume));
    }
}
