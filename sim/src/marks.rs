//! What a batch of runs must have reached, counted. A mark that is never hit means that the faults are
//! too tame to test what its name says.

mod all;

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
    /// A TaskManager was told to leave.
    TaskManagerLeaves,
    /// A TaskManager was told to leave while it had tasks, and ended when they had moved.
    LeftInTime,
    /// A TaskManager was told to leave, and ended with tasks, as its time was over.
    LeftWithTasks,
    /// A TaskManager that leaves registered once more, with attempts.
    LeaveGoesOn,
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
    /// The JobManager was replaced while all was well.
    FailoverAtRest,
    /// Every job had ended and every TaskManager was gone, and the coordinator was like a new one.
    NothingIsLeft,
    /// A process saw before it acted that its lease was over.
    LeaseRanOut,
    /// A lease was granted, taken away and granted again at once.
    LeaseFlapped,
    /// A JobManager stood still for longer than its lease.
    PauseLongerThanLease,
    /// A process that does not lead was asked.
    NonLeaderAsked,
    /// A leader that was replaced was asked.
    OldLeaderAsked,
    /// A leader that was replaced did not reach the store any more and went on.
    OldLeaderCutOffFromStore,
    /// An epoch was minted for a process that had lost its lease meanwhile.
    EpochOfNobody,
    /// The answer of a read of the store came after its term had ended.
    StoreReadDropped,
    /// Nobody led for longer than the heartbeat timeout.
    NobodyLedForLong,
    /// A wall clock jumped by up to an hour.
    ClockJumped,
    /// A leader was elected while a checkpoint was pending.
    ElectedDuringCheckpoint,
    /// A leader was elected while a submission was not durable.
    ElectedWhileInitializing,
    /// A leader was elected while a job ran.
    ElectedWhileRunning,
    /// A leader was elected while a region waited for its restart.
    ElectedWhileRestarting,
    /// A leader was elected while a job failed.
    ElectedWhileFailing,
    /// A leader was elected while a job was being canceled.
    ElectedWhileCancelling,
    /// A leader was elected while the one before still waited for attempts.
    ElectedWhileReconciling,
    /// A leader was elected after a job had failed.
    ElectedAfterFailed,
    /// A leader was elected after a job had been canceled.
    ElectedAfterCanceled,
    /// A leader was elected after a job had finished.
    ElectedAfterFinished,
    /// A job was recorded and the answer lost.
    JobAnswerLost,
    /// The wish to cancel a job was recorded and the answer lost.
    CancelAnswerLost,
    /// Another parallelism, or the wish for one, was recorded and the answer lost.
    RescaleAnswerLost,
    /// A checkpoint was recorded and the answer lost.
    CheckpointAnswerLost,
    /// Checkpoint ids were reserved and the answer lost.
    MarkAnswerLost,
    /// A savepoint, or the wish for one, was recorded and the answer lost.
    SavepointAnswerLost,
    /// The end of a job was recorded and the answer lost.
    ResultAnswerLost,
    /// A checkpoint was announced by a later leader than the one that wrote it.
    CompletedByNextLeader,
    /// A checkpoint was given up by a later leader than the one that triggered it.
    AbortedByNextLeader,
    /// An attempt went on under an old leader while the new one started the next.
    OldLeaderKeepsAttempt,
    /// A recovered job was offered an attempt that has no part in its latest checkpoint.
    LeftBehindAttemptReported,
    /// A fault that waited for its moment struck.
    FaultHitsItsMoment,
    /// A TaskManager died alone.
    TaskManagerCrashed,
    /// A TaskManager stood still.
    TaskManagerPaused,
    /// A TaskManager took a multiple of its time.
    TaskManagerSlowed,
    /// What a TaskManager heard or said came late.
    TaskManagerLagged,
    /// A TaskManager with snapshots under way lost its session.
    StragglerMade,
    /// Every TaskManager was restarted, one after the other.
    AllRestartedInTurn,
    /// All TaskManagers of a rack were lost at once.
    RackLost,
    /// All TaskManagers were lost at once.
    AllLostAtOnce,
    /// TaskManagers went, came, and went again.
    SlotsCameAndWent,
    /// The JobManager died at any moment.
    JobManagerCrashed,
    /// The JobManager stood still.
    JobManagerPaused,
    /// A connection broke.
    ConnectionBroke,
    /// Two sides did not hear each other.
    Partitioned,
    /// One side did not hear the other.
    PartitionedOneWay,
    /// TaskManagers were cut off one by one and came back in another order.
    SwizzleClogged,
    /// Messages of sessions came several times.
    MessagesRepeated,
    /// The store failed for a while.
    StoreFailed,
    /// The store was slow for a while.
    StoreSlowed,
    /// The checkpoint storage failed for a while.
    StorageFailed,
    /// The checkpoint storage was slow for a while.
    StorageSlowed,
    /// A file of a retained checkpoint was lost.
    FileLost,
    /// A file of a retained checkpoint was damaged.
    FileDamaged,
    /// A task threw.
    TaskThrew,
    /// A JobManager was about to die at a moment.
    TargetedCrashArmed,
    /// Outside of the core, a TaskManager stayed dead.
    DeadForEver,
    /// Outside of the core, a TaskManager stood still for ever.
    PausedForEver,
    /// Outside of the core, a TaskManager stayed cut off.
    CutOffForEver,
    /// Outside of the core, a TaskManager heard no JobManager any more.
    DeafForEver,
    /// Outside of the core, a TaskManager was no longer heard by any JobManager.
    MuteForEver,
    /// Outside of the core, a TaskManager started and died again and again.
    FlappingForEver,
    /// Outside of the core, a TaskManager stayed too slow to be of use.
    SlowForEver,
    /// A TaskManager's new process had the address of the one before.
    RestartedAtSameAddress,
    /// A TaskManager's new process had another address than the one before.
    RestartedAtNewAddress,
    /// Only what JobManagers said was not heard.
    JobManagerToTaskManagerPartition,
    /// Only what TaskManagers said was not heard by JobManagers.
    TaskManagerToJobManagerPartition,
    /// Only one of two TaskManagers did not hear the other.
    TaskManagersPartitionedOneWay,
    /// A message was delivered three times or more.
    MessageCameThreeTimes,
    /// A message was delivered once more, long after others that were said later.
    MessageCameLate,
    /// The whole store refused.
    StoreRefuses,
    /// The whole store did what it was asked, and its answers were lost.
    StoreLosesAnswers,
    /// Nothing reached the store.
    StoreLosesRequests,
    /// The store answered a process that had died.
    StoreAnswersTheDead,
    /// State was deleted on the order of a JobManager that led no longer.
    DiscardEndsAfterLeaderChange,
    /// A restore failed once, and another one of the same task succeeded.
    RestoreFailedThenSucceeded,
    /// The only state to go on from was lost: the restore failed, and said so.
    RestoreSourceMissing,
    /// The only state to go on from was damaged: the restore failed, and said so.
    RestoreSourceDamaged,
    /// A checkpoint took longer than its timeout.
    CheckpointExpired,
    /// One that took longer completed, because its tasks went on acknowledging.
    AcknowledgementsGaveTime,
    /// One was given up although its tasks went on acknowledging.
    TimeRanOutAmidAcknowledgements,
    /// A checkpoint completed while an earlier one was still pending.
    CheckpointOvertaken,
    /// The last acknowledgement came after a task of the checkpoint had failed.
    LastAckAfterMemberFailed,
    /// A task failed while another region of its job was restarting.
    FailureDuringOtherRestart,
    /// A task finished while its job was failing over.
    FinishedDuringFailover,
    /// Two jobs waited for slots at the same time.
    JobsContendForSlots,
    /// Slots had dropped below the need, and came back.
    SlotsReturned,
    /// Another graph under the id of a known job was refused.
    ConflictRefused,
    /// A client asked to cancel a job that nobody submitted.
    UnknownJobCanceled,
    /// A client did not wait for its answer.
    ClientGaveUp,
    /// A client was told to try again later, since too many waited.
    Overloaded,
    /// A job was canceled while it was INITIALIZING.
    CancelWhileInitializing,
    /// A job was canceled while it was RUNNING.
    CancelWhileRunning,
    /// A job was canceled while it was RESTARTING.
    CancelWhileRestarting,
    /// A job was canceled while it was FAILING.
    CancelWhileFailing,
    /// A job was canceled while it was CANCELLING.
    CancelWhileCancelling,
    /// A job was canceled while it was RECONCILING.
    CancelWhileReconciling,
    /// A job was canceled while it was FAILED.
    CancelWhileFailed,
    /// A job was canceled while it was CANCELED.
    CancelWhileCanceled,
    /// A job was canceled while it was FINISHED.
    CancelWhileFinished,
    /// A job was submitted again while it was INITIALIZING.
    SubmitWhileInitializing,
    /// A job was submitted again while it was RUNNING.
    SubmitWhileRunning,
    /// A job was submitted again while it was RESTARTING.
    SubmitWhileRestarting,
    /// A job was submitted again while it was FAILING.
    SubmitWhileFailing,
    /// A job was submitted again while it was CANCELLING.
    SubmitWhileCancelling,
    /// A job was submitted again while it was RECONCILING.
    SubmitWhileReconciling,
    /// A job was submitted again while it was FAILED.
    SubmitWhileFailed,
    /// A job was submitted again while it was CANCELED.
    SubmitWhileCanceled,
    /// A job was submitted again while it was FINISHED.
    SubmitWhileFinished,
    /// A job that survives some failures had one more, and ended.
    FailuresUsedUp,
    /// The store answered a write once more after the next one was ordered.
    AnswerToAPastWrite,
    /// An attempt that was replaced acknowledged what its successor did.
    ZombieAcknowledges,
    /// A region completed a checkpoint that another one of its job had completed before.
    RegionsCompleteApart,
    /// The record of a checkpoint was written once more, with more in it.
    RecordWrittenAgain,
    /// A region was restored from an older checkpoint than another one of its job would be.
    OlderSnapshotRestored,
    /// A region completed a checkpoint after another one had failed that had begun it, too.
    PartOutlivesAnother,
    /// A savepoint became complete, and its job went on.
    SavepointCompleted,
    /// A savepoint could not be taken.
    SavepointFailed,
    /// A job stopped with a savepoint.
    StoppedWithSavepoint,
    /// The last checkpoint of a job outlives it.
    CheckpointOutlivesJob,
    /// A part of a job had never completed a checkpoint when the last one of the others outlived it.
    PartOfJobOutlivesIt,
    /// A job has gone beyond the savepoint that it claimed, which is deleted.
    ClaimedSavepointDeleted,
    /// A job has ended without having gone beyond the savepoint that it claimed.
    ClaimedSavepointStays,
    /// A job was drained, and stopped with a savepoint.
    DrainedWithSavepoint,
    /// A job started from the savepoint with which another one had stopped.
    StartedFromSavepoint,
    /// It was started once more before it had a checkpoint of its own.
    RestartedFromSavepoint,
    /// A job started from the savepoint of one that was drained: nothing was left to do.
    StartedAtItsEnd,
    /// A job started from a savepoint of which a part had ended, and another one had not.
    StartedPartlyEnded,
    /// A job was to start from a savepoint with another parallelism.
    StartedRescaled,
    /// It could not, as a vertex was partly at its end.
    PartlyAtItsEnd,
    /// A client asked for another parallelism.
    RescaleWanted,
    /// A job got it.
    Rescaled,
    /// A part of the job went on as it was.
    RescaledBesideAnother,
    /// A job could not get it, as a vertex was partly at its end.
    CannotRescalePartlyEnded,
    /// A job got another parallelism before all of it had a checkpoint of its own.
    RescaledAgain,
    /// A client asked for a checkpoint at once.
    CheckpointDemanded,
    /// All of the job had one then.
    DemandFulfilled,
    /// So it had, after a part of the job had lost one.
    DemandTriedAgain,
    /// It was given up: a snapshot failed, or some of the job did not run in time.
    DemandFailed,
    /// A job got more subtasks as there were slots for them, and nobody asked.
    GrewWithTheSlots,
    /// A job got fewer subtasks as there were too few slots, and nobody asked.
    ShrankWithTheSlots,
    /// A leader was elected that found another parallelism.
    ElectedAfterRescale,
    /// A savepoint was given up, and tried again.
    SavepointTriedAgain,
    /// A job stopped with a savepoint, and one of its regions had to be started once more to finish.
    FinishedFromSavepoint,
    /// A savepoint of a job that was about to end was refused.
    SavepointOfAnEndingJob,
    /// A savepoint was asked for while its job was INITIALIZING.
    SavepointWhileInitializing,
    /// A savepoint was asked for while its job was RUNNING.
    SavepointWhileRunning,
    /// A savepoint was asked for while its job was RESTARTING.
    SavepointWhileRestarting,
    /// A savepoint was asked for while its job was RECONCILING.
    SavepointWhileReconciling,
    /// A savepoint was asked for while its job was CANCELLING.
    SavepointWhileCancelling,
    /// The resource provider did nothing for a while.
    ProviderStoodStill,
    /// A TaskManager was started for jobs.
    WorkerStarts,
    /// One could not be started.
    WorkerFails,
    /// One had to wait for room.
    WorkerFindsNoSeat,
    /// One was started, and then had to start once more.
    WorkerStartsAgain,
    /// A coordinator released one after a later one had learned of it.
    OldLeaderReleases,
    /// A coordinator heard of TaskManagers that an earlier one had asked for.
    WorkersTakenOver,
    /// One was released that had no task.
    IdleWorkerReleased,
    /// One was not needed any more before it was started.
    WorkerWithdrawn,
    /// One was given up, as it did not register, or did not come back.
    WorkerGivenUp,
    /// None was asked for, as too many starts had failed.
    WorkersPaused,
    /// None was asked for, as there were not to be more slots.
    WorkersAtLimit,
    /// A job left slots that were enough for it to one of a higher priority, for which they were not.
    LeftToHigherPriority,
    /// A job ran with a smaller parallelism, as one job did not get so many slots.
    RanWithinQuota,
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
