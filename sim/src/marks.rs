//! What a batch of runs must have reached, counted. A mark that is never hit means that the faults are
//! too tame to test what its name says.

use std::collections::BTreeMap;

/// Something that sometimes happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// A write of a JobManager that no longer leads was refused by the store.
    OldLeaderIsRefused,
    /// A write was applied and its answer lost.
    UnknownAndApplied,
    /// A write was lost and so was the answer.
    UnknownAndLost,
    /// A new epoch was minted and the answer lost.
    EpochAnswerLost,
    /// A JobManager died while a checkpoint was pending.
    LeaderDiesWithCheckpointPending,
    /// A JobManager died after it sent a write and before the answer.
    LeaderDiesDuringWrite,
    /// Attempts of an older epoch were still running when a job had recovered: nothing restarted.
    AttemptsAdopted,
    /// An acknowledgement came from an attempt that was not current.
    StaleAcknowledgement,
    /// An acknowledgement came for a checkpoint that was aborted.
    LateAcknowledgement,
    /// A checkpoint was aborted.
    CheckpointAborted,
    /// A checkpoint completed.
    CheckpointCompleted,
    /// A checkpoint was declined by a task.
    CheckpointDeclined,
    /// A region was restored from a checkpoint.
    RegionRestored,
    /// A region was started again without a checkpoint.
    RestartedFromNothing,
    /// A state file was written.
    StateInFile,
    /// A state file could not be written or read.
    BlobFailure,
    /// Retained state was deleted after a later checkpoint.
    StateDiscarded,
    /// A TaskManager registered again in the same life, with attempts.
    ReconnectedWithInventory,
    /// A TaskManager registered in a new life under its old name.
    NewIncarnation,
    /// A TaskManager was refused.
    SessionRefused,
    /// Two attempts of one task ran at the same time.
    ZombieRuns,
    /// A restored sink had transactions of its predecessors forgotten.
    LeftoversDropped,
    /// A TaskManager ended its process, since a task did not stop.
    TaskManagerGaveUp,
    /// A process stood still for longer than the heartbeat timeout.
    LongPause,
    /// A message was stalled until its connection broke.
    StalledConnectionBroke,
    /// A job was canceled.
    JobCanceled,
    /// A job failed for good.
    JobFailed,
    /// A bounded job finished.
    JobFinished,
    /// A bounded job finished by a final checkpoint.
    FinalCheckpoint,
    /// A job was submitted again and known.
    DuplicateSubmit,
    /// A client asked to cancel a job that had ended.
    CancelAfterEnd,
    /// A job waited for slots.
    WaitedForSlots,
    /// No TaskManager was registered although there had been one.
    AllTaskManagersLost,
    /// A targeted crash hit its moment.
    TargetedCrashHit,
    /// A TaskManager ignored a message of an older epoch.
    OldEpochIgnored,
    /// A message came about attempts that the leader had replaced.
    MessageAboutThePast,
    /// A message came on a session that had ended.
    MessageOfPastSession,
    /// A message came three times.
    MessageThreeTimes,
    /// The JobManager was replaced while all was well.
    FailoverAtRest,
    /// Every job had ended and every TaskManager was gone, and the coordinator was like a new one.
    NothingIsLeft,
}

impl Mark {
    /// Every mark, in the order of the declaration.
    pub const ALL: [Mark; 40] = [
        Mark::OldLeaderIsRefused,
        Mark::UnknownAndApplied,
        Mark::UnknownAndLost,
        Mark::EpochAnswerLost,
        Mark::LeaderDiesWithCheckpointPending,
        Mark::LeaderDiesDuringWrite,
        Mark::AttemptsAdopted,
        Mark::StaleAcknowledgement,
        Mark::LateAcknowledgement,
        Mark::CheckpointAborted,
        Mark::CheckpointCompleted,
        Mark::CheckpointDeclined,
        Mark::RegionRestored,
        Mark::RestartedFromNothing,
        Mark::StateInFile,
        Mark::BlobFailure,
        Mark::StateDiscarded,
        Mark::ReconnectedWithInventory,
        Mark::NewIncarnation,
        Mark::SessionRefused,
        Mark::ZombieRuns,
        Mark::LeftoversDropped,
        Mark::TaskManagerGaveUp,
        Mark::LongPause,
        Mark::StalledConnectionBroke,
        Mark::JobCanceled,
        Mark::JobFailed,
        Mark::JobFinished,
        Mark::FinalCheckpoint,
        Mark::DuplicateSubmit,
        Mark::CancelAfterEnd,
        Mark::WaitedForSlots,
        Mark::AllTaskManagersLost,
        Mark::TargetedCrashHit,
        Mark::OldEpochIgnored,
        Mark::MessageAboutThePast,
        Mark::MessageOfPastSession,
        Mark::MessageThreeTimes,
        Mark::FailoverAtRest,
        Mark::NothingIsLeft,
    ];
}

/// How often each mark was hit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<Mark, u64>);

impl Marks {
    /// It happened.
    pub fn hit(&mut self, mark: Mark) {
        *self.0.entry(mark).or_default() += 1;
    }

    /// How often it happened.
    #[must_use]
    pub fn count(&self, mark: Mark) -> u64 {
        self.0.get(&mark).copied().unwrap_or(0)
    }

    /// Adds the marks of another run.
    pub fn add(&mut self, other: &Marks) {
        for (mark, count) in &other.0 {
            *self.0.entry(*mark).or_default() += count;
        }
    }
}
