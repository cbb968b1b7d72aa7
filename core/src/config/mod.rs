//! Options: Flink's keys, value formats and defaults, parsed once into plain values.
//!
//! [`known_options`] is the table of keys; [`JobConfig`] and [`ClusterConfig`] are what the machines read.

mod nearest;
mod options;
mod reader;
mod table;
mod value;

pub use nearest::nearest;
pub use options::{MAX_OPTIONS, cluster_config, job_config};
pub use reader::OptionProblem;
pub use table::{OptionSpec, Scope, known_options};
pub use value::{ValueError, parse_duration, parse_memory};

use crate::state::JobStatus;
use alloc::string::String;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The options of one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobConfig {
    /// Periodic checkpoints; `None` if `execution.checkpointing.interval` is not set.
    pub checkpointing: Option<CheckpointConfig>,
    /// What happens after a failure.
    pub restart_strategy: RestartStrategy,
    /// `slot.request.timeout`: how long a region waits for slots before the wait counts as a failure.
    pub slot_request_timeout: Duration,
    /// What it starts from; `None` for nothing.
    pub restore: Option<RestoreConfig>,
    /// When its parallelism changes.
    pub rescaling: RescalingConfig,
    /// `jobmanager.scheduler.priority`: who goes first when slots are few; higher ones do.
    pub priority: u32,
}

/// `jobmanager.scheduler`, and options under `jobmanager.adaptive-scheduler.`
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RescalingConfig {
    /// `jobmanager.scheduler` and `scheduler-mode`: what bounds the parallelism has of which no client said any.
    pub scheduler: Scheduler,
    /// `executing.cooldown-after-rescaling`: the least time from one change to the next, unless the job waits for
    /// slots.
    pub cooldown: Duration,
    /// `executing.resource-stabilization-timeout`: for how long the slots must stay the same before a job that runs
    /// gets more subtasks, but not all that it may have.
    pub executing_stabilization: Duration,
    /// `submission.resource-stabilization-timeout`: for how long the slots must stay the same before a job that
    /// waits for slots goes on with fewer.
    pub waiting_stabilization: Duration,
    /// `rescale-trigger.max-delay`: how long the checkpoint may take after which the parallelism changes; `None` for
    /// three times the interval of checkpoints.
    pub max_delay: Option<Duration>,
}

/// Who decides on the parallelism of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scheduler {
    /// Clients.
    Default,
    /// The slots that there are: from 1 up to what its graph says.
    Adaptive,
    /// The slots that there are: from 1 up to the maximum parallelism.
    Reactive,
}

/// Options under `execution.state-recovery.`
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RestoreConfig {
    /// `path`: the URL of the folder of a savepoint. The coordinator does not read it.
    pub path: String,
    /// `ignore-unclaimed-state`: what becomes of state that no vertex takes.
    pub unclaimed: UnclaimedState,
    /// `claim-mode`: whose the savepoint is from then on.
    pub claim: ClaimMode,
}

/// Whose the savepoint is from which a job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ClaimMode {
    /// Its owner's, who keeps it at least until the job has completed a checkpoint of its own.
    NoClaim,
    /// The job's, which deletes it when it has no more use for it.
    Claim,
}

/// What becomes of state that no vertex takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UnclaimedState {
    /// The job is refused: the state would be lost without a word, as after a vertex got another id.
    Refused,
    /// The state stays behind.
    Ignored,
}

/// Options under `execution.checkpointing.`
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckpointConfig {
    /// `interval`: from one trigger to the next.
    pub interval: Duration,
    /// `timeout`: from the trigger to the last acknowledgement, or from one acknowledgement to the next.
    pub timeout: Duration,
    /// `max-timeout`: from the trigger to the last acknowledgement, however many there were before; at least `timeout`.
    pub max_timeout: Duration,
    /// `min-pause`: from the end of one checkpoint to the next periodic trigger.
    pub min_pause: Duration,
    /// `max-concurrent-checkpoints`, at least 1.
    pub max_concurrent: u32,
    /// `tolerable-failed-checkpoints`: how many counted failures in a row do not fail the job.
    pub tolerable_failures: u32,
    /// `mode`.
    pub mode: CheckpointMode,
    /// `num-retained`: how many completed checkpoints are kept, at least 1.
    pub retained: u32,
    /// `data-inline-threshold`: a snapshot of at most this many bytes travels inside its
    /// acknowledgement and is kept in the checkpoint's record. Bytes.
    pub inline_threshold: u64,
    /// `externalized-checkpoint-retention`: whether the last checkpoint outlives the job.
    pub retention: Retention,
    /// `savepoint-dir`: the URL of the folder for savepoints for which the client names none; empty if each has
    /// to name one. The coordinator does not read it.
    pub savepoint_dir: String,
}

/// After which end of a job its last checkpoint is kept, so that another job can start from it. After a job that has
/// finished there is nothing left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Retention {
    /// None.
    Never,
    /// It failed.
    OnFailure,
    /// It failed or was canceled.
    OnFailureAndCancellation,
}

impl Retention {
    /// Whether the last checkpoint of a job that ended like this is kept.
    #[must_use]
    pub fn keeps(self, status: JobStatus) -> bool {
        match self {
            Retention::Never => false,
            Retention::OnFailure => status == JobStatus::Failed,
            Retention::OnFailureAndCancellation => {
                matches!(status, JobStatus::Failed | JobStatus::Canceled)
            }
        }
    }
}

/// What a barrier promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CheckpointMode {
    /// A channel whose barrier came waits for the others.
    ExactlyOnce,
    /// Nothing waits; records may be counted again after a restore.
    AtLeastOnce,
}

/// What happens after a failure (`restart-strategy.type`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RestartStrategy {
    /// The first failure fails the job.
    None,
    /// A bounded number of restarts.
    FixedDelay {
        /// How many restarts.
        attempts: u32,
        /// From the failure to the restart.
        delay: Duration,
    },
    /// A bounded number of restarts in any interval.
    FailureRate {
        /// How many failures within the interval are survived.
        max_failures: u32,
        /// The interval.
        interval: Duration,
        /// From the failure to the restart.
        delay: Duration,
    },
    /// Ever longer delays.
    ExponentialDelay(ExponentialDelay),
}

/// Options under `restart-strategy.exponential-delay.`
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExponentialDelay {
    /// `initial-backoff`.
    pub initial: Duration,
    /// `max-backoff`.
    pub max: Duration,
    /// `backoff-multiplier`, in thousandths, more than 1,000.
    pub multiplier_permille: u32,
    /// `jitter-factor`, in thousandths of the delay, at most 1,000.
    pub jitter_permille: u32,
    /// `reset-backoff-threshold`: a quiet time after which the delay starts from the beginning.
    pub reset_threshold: Duration,
    /// `attempts-before-reset-backoff`; `None` is without limit.
    pub attempts: Option<u32>,
}

/// The options of the cluster that the two machines read. The shells have their own beside these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// `heartbeat.interval`: from one heartbeat request to the next.
    pub heartbeat_interval: Duration,
    /// `heartbeat.timeout`: a peer that is silent for this long is lost.
    pub heartbeat_timeout: Duration,
    /// `jobmanager.failover.reconciliation-timeout`: how long a recovered job waits for its running
    /// attempts to be reported before it restarts what is missing.
    pub reconciliation_timeout: Duration,
    /// `taskmanager.failover.grace-period`: how long a TaskManager keeps its tasks running without a
    /// JobManager.
    pub grace_period: Duration,
    /// `task.cancellation.timeout`: how long a task may take to stop before its TaskManager's process
    /// ends; zero for without limit.
    pub cancellation_timeout: Duration,
    /// `cluster.registration.initial-timeout`: the first pause between two tries to register.
    pub registration_initial: Duration,
    /// `cluster.registration.max-timeout`: the longest pause between two tries to register; at most a
    /// quarter of the reconciliation timeout is used.
    pub registration_max: Duration,
    /// `cluster.registration.refused-registration-delay`: the pause after a refusal.
    pub registration_refused: Duration,
    /// `execution.checkpointing.dir`: the URL of the checkpoint storage. The coordinator only passes
    /// it on.
    pub checkpoint_storage: String,
    /// `web.exception-history-size`: how many failures a job remembers.
    pub exception_history: u32,
    /// `web.checkpoints.history`: how many checkpoints a job remembers.
    pub checkpoint_history: u32,
    /// `jobstore.max-capacity`: how many ended jobs are remembered.
    pub job_store_capacity: u32,
    /// `jobmanager.scheduler.max-slots-per-job`
    pub max_slots_per_job: u32,
    /// `resourcemanager.provider`: TaskManagers that are started for jobs; `None` if others start them all.
    pub workers: Option<WorkersConfig>,
}

/// TaskManagers that a resource provider starts: workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkersConfig {
    /// `taskmanager.numberOfTaskSlots`: how many slots each has, at least 1.
    pub slots: u32,
    /// `slotmanager.number-of-slots.max`: with how many slots no more are started, those of other TaskManagers
    /// counted.
    pub max_slots: u32,
    /// `resourcemanager.taskmanager-timeout`: how long one may be without a task before it is released.
    pub idle_timeout: Duration,
    /// `resourcemanager.taskmanager-registration.timeout`: how long one that has started may take to register.
    pub registration_timeout: Duration,
    /// `resourcemanager.start-worker.max-failure-rate`: after how many failed starts in a minute there is a pause,
    /// at least 1.
    pub max_failures: u32,
    /// `resourcemanager.start-worker.retry-interval`: how long that pause is.
    pub retry_interval: Duration,
}
