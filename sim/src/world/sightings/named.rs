//! The marks that belong to each kind of a fault, each lasting plight, and each state of a job.

use crate::marks::Mark;
use crate::plan::{FaultKind, Plight};
use jobmanager_core::state::JobStatus;

impl Mark {
    /// It struck.
    pub(crate) fn of_fault(kind: FaultKind) -> Mark {
        match kind {
            FaultKind::TaskManagerCrash => Mark::TaskManagerCrashed,
            FaultKind::TaskManagerPause => Mark::TaskManagerPaused,
            FaultKind::TaskManagerSlow => Mark::TaskManagerSlowed,
            FaultKind::TaskManagerLag => Mark::TaskManagerLagged,
            FaultKind::Straggler => Mark::StragglerMade,
            FaultKind::RollingRestart => Mark::AllRestartedInTurn,
            FaultKind::RackLoss => Mark::RackLost,
            FaultKind::TotalLoss => Mark::AllLostAtOnce,
            FaultKind::ComeAndGo => Mark::SlotsCameAndWent,
            FaultKind::JobManagerCrash => Mark::JobManagerCrashed,
            FaultKind::JobManagerPause => Mark::JobManagerPaused,
            FaultKind::ConnectionBreak => Mark::ConnectionBroke,
            FaultKind::Partition => Mark::Partitioned,
            FaultKind::OneWayPartition => Mark::PartitionedOneWay,
            FaultKind::SwizzleClog => Mark::SwizzleClogged,
            FaultKind::Repetition => Mark::MessagesRepeated,
            FaultKind::StoreOutage => Mark::StoreFailed,
            FaultKind::StoreSlow => Mark::StoreSlowed,
            FaultKind::StorageOutage => Mark::StorageFailed,
            FaultKind::StorageSlow => Mark::StorageSlowed,
            FaultKind::FileLost => Mark::FileLost,
            FaultKind::FileDamaged => Mark::FileDamaged,
            FaultKind::TaskFailure => Mark::TaskThrew,
            FaultKind::TargetedCrash => Mark::TargetedCrashArmed,
            FaultKind::TaskManagerLeave => Mark::TaskManagerLeaves,
            FaultKind::ProviderOutage => Mark::ProviderStoodStill,
        }
    }

    /// It was left behind.
    pub(crate) fn of_plight(plight: Plight) -> Mark {
        match plight {
            Plight::Dead => Mark::DeadForEver,
            Plight::Paused => Mark::PausedForEver,
            Plight::CutOff => Mark::CutOffForEver,
            Plight::Deaf => Mark::DeafForEver,
            Plight::Mute => Mark::MuteForEver,
            Plight::Flapping => Mark::FlappingForEver,
            Plight::Slow => Mark::SlowForEver,
        }
    }

    /// A client's cancellation arrived while the job showed this. Some states nobody can see.
    pub(crate) fn of_cancel(status: JobStatus) -> Option<Mark> {
        Some(match status {
            JobStatus::Initializing => Mark::CancelWhileInitializing,
            JobStatus::Running => Mark::CancelWhileRunning,
            JobStatus::Restarting => Mark::CancelWhileRestarting,
            JobStatus::Failing => Mark::CancelWhileFailing,
            JobStatus::Cancelling => Mark::CancelWhileCancelling,
            JobStatus::Reconciling => Mark::CancelWhileReconciling,
            JobStatus::Failed => Mark::CancelWhileFailed,
            JobStatus::Canceled => Mark::CancelWhileCanceled,
            JobStatus::Finished => Mark::CancelWhileFinished,
            JobStatus::Created | JobStatus::Suspended => return None,
        })
    }

    /// A client's wish for a savepoint arrived while the job showed this.
    pub(crate) fn of_savepoint(status: JobStatus) -> Option<Mark> {
        Some(match status {
            JobStatus::Initializing => Mark::SavepointWhileInitializing,
            JobStatus::Running => Mark::SavepointWhileRunning,
            JobStatus::Restarting => Mark::SavepointWhileRestarting,
            JobStatus::Reconciling => Mark::SavepointWhileReconciling,
            JobStatus::Cancelling => Mark::SavepointWhileCancelling,
            JobStatus::Created
            | JobStatus::Failing
            | JobStatus::Failed
            | JobStatus::Canceled
            | JobStatus::Finished
            | JobStatus::Suspended => return None,
        })
    }

    /// A client's repeated submission arrived while the job showed this.
    pub(crate) fn of_submit(status: JobStatus) -> Option<Mark> {
        Some(match status {
            JobStatus::Initializing => Mark::SubmitWhileInitializing,
            JobStatus::Running => Mark::SubmitWhileRunning,
            JobStatus::Restarting => Mark::SubmitWhileRestarting,
            JobStatus::Failing => Mark::SubmitWhileFailing,
            JobStatus::Cancelling => Mark::SubmitWhileCancelling,
            JobStatus::Reconciling => Mark::SubmitWhileReconciling,
            JobStatus::Failed => Mark::SubmitWhileFailed,
            JobStatus::Canceled => Mark::SubmitWhileCanceled,
            JobStatus::Finished => Mark::SubmitWhileFinished,
            JobStatus::Created | JobStatus::Suspended => return None,
        })
    }
}
