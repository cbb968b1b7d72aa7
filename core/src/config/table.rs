//! The table of options that the two machines read: Flink's keys and defaults where Flink has them.

/// Who reads an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Per job; the cluster's configuration gives the default.
    Job,
    /// The cluster.
    Cluster,
}

/// An option that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// Flink's key where Flink has it.
    pub key: &'static str,
    /// The default as somebody would write it; empty for none.
    pub default: &'static str,
    /// Who reads it.
    pub scope: Scope,
    /// One sentence.
    pub doc: &'static str,
}

const fn job(key: &'static str, default: &'static str, doc: &'static str) -> OptionSpec {
    OptionSpec {
        key,
        default,
        scope: Scope::Job,
        doc,
    }
}

const fn cluster(key: &'static str, default: &'static str, doc: &'static str) -> OptionSpec {
    OptionSpec {
        key,
        default,
        scope: Scope::Cluster,
        doc,
    }
}

/// Every option that the machines read.
#[must_use]
pub fn known_options() -> &'static [OptionSpec] {
    &OPTIONS
}

static OPTIONS: [OptionSpec; 54] = [
    job(
        "execution.checkpointing.interval",
        "",
        "The time from one periodic checkpoint to the next; 0 or unset for no checkpoints.",
    ),
    job(
        "execution.checkpointing.timeout",
        "10 min",
        "A checkpoint that takes longer is aborted.",
    ),
    job(
        "execution.checkpointing.max-timeout",
        "",
        "Each acknowledgement of a region gives its checkpoint execution.checkpointing.timeout from then on, but not more than this from its trigger; unset: acknowledgements give no time.",
    ),
    job(
        "execution.checkpointing.min-pause",
        "0 ms",
        "The least time from the end of one checkpoint to the next periodic one.",
    ),
    job(
        "execution.checkpointing.max-concurrent-checkpoints",
        "1",
        "How many checkpoints may be under way at once.",
    ),
    job(
        "execution.checkpointing.tolerable-failed-checkpoints",
        "0",
        "How many failed checkpoints in a row do not fail the job.",
    ),
    job(
        "execution.checkpointing.mode",
        "EXACTLY_ONCE",
        "EXACTLY_ONCE aligns barriers, AT_LEAST_ONCE does not wait for them.",
    ),
    job(
        "execution.checkpointing.num-retained",
        "1",
        "How many completed checkpoints are kept.",
    ),
    job(
        "execution.checkpointing.data-inline-threshold",
        "20 kb",
        "A snapshot of at most this size is kept with the checkpoint's record, not in a file.",
    ),
    job(
        "execution.checkpointing.externalized-checkpoint-retention",
        "NO_EXTERNALIZED_CHECKPOINTS",
        "Whether the last checkpoint outlives the job, to start another one from: NO_EXTERNALIZED_CHECKPOINTS for never, DELETE_ON_CANCELLATION for if it fails, RETAIN_ON_CANCELLATION for if it is canceled, too.",
    ),
    job(
        "execution.checkpointing.savepoint-dir",
        "",
        "The URL of the folder for savepoints for which the client names none.",
    ),
    job(
        "restart-strategy.type",
        "",
        "none, fixed-delay, failure-rate or exponential-delay; unset: exponential-delay with checkpoints, else none.",
    ),
    job(
        "restart-strategy.fixed-delay.attempts",
        "1",
        "How many restarts there are.",
    ),
    job(
        "restart-strategy.fixed-delay.delay",
        "1 s",
        "The time from a failure to the restart.",
    ),
    job(
        "restart-strategy.failure-rate.max-failures-per-interval",
        "1",
        "How many failures within the interval are survived.",
    ),
    job(
        "restart-strategy.failure-rate.failure-rate-interval",
        "1 min",
        "The interval in which failures are counted.",
    ),
    job(
        "restart-strategy.failure-rate.delay",
        "1 s",
        "The time from a failure to the restart.",
    ),
    job(
        "restart-strategy.exponential-delay.initial-backoff",
        "1 s",
        "The first delay.",
    ),
    job(
        "restart-strategy.exponential-delay.max-backoff",
        "1 min",
        "The longest delay.",
    ),
    job(
        "restart-strategy.exponential-delay.backoff-multiplier",
        "1.5",
        "How much longer each delay is than the one before.",
    ),
    job(
        "restart-strategy.exponential-delay.jitter-factor",
        "0.1",
        "The part of the delay by which it may vary at random, so that jobs do not restart together.",
    ),
    job(
        "restart-strategy.exponential-delay.reset-backoff-threshold",
        "1 h",
        "After this long without a failure the delays start from the beginning.",
    ),
    job(
        "restart-strategy.exponential-delay.attempts-before-reset-backoff",
        "2147483647",
        "How many restarts there are before the delays start from the beginning; 2147483647: no limit.",
    ),
    job(
        "jobmanager.scheduler.priority",
        "0",
        "Jobs of which this is higher, up to 1000, get slots first: those of which it is lower neither start nor grow into what these lack.",
    ),
    job(
        "jobmanager.scheduler",
        "default",
        "default keeps the parallelism of the graph; adaptive runs with the slots that there are, up to it.",
    ),
    job(
        "scheduler-mode",
        "",
        "reactive for an adaptive scheduler that goes up to the maximum parallelism.",
    ),
    job(
        "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling",
        "30 s",
        "The least time between two changes of the parallelism of a job that does not wait for slots.",
    ),
    job(
        "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout",
        "60 s",
        "For how long slots must stay the same before a running job takes some of those that it may have.",
    ),
    job(
        "jobmanager.adaptive-scheduler.submission.resource-stabilization-timeout",
        "10 s",
        "For how long slots must stay the same before a job that waits for slots goes on with fewer.",
    ),
    job(
        "jobmanager.adaptive-scheduler.rescale-trigger.max-delay",
        "",
        "How long the checkpoint before a change may take; unset: three times the interval of checkpoints.",
    ),
    job(
        "execution.state-recovery.path",
        "",
        "The URL of the folder of a savepoint, or of a checkpoint that outlived its job, from which the job starts.",
    ),
    job(
        "execution.state-recovery.claim-mode",
        "NO_CLAIM",
        "Whose that is: with NO_CLAIM it stays yours, with CLAIM it is the job's, which deletes it when it has no more use for it.",
    ),
    job(
        "execution.state-recovery.ignore-unclaimed-state",
        "false",
        "Whether a job may start from a savepoint with state that none of its vertices takes.",
    ),
    job(
        "slot.request.timeout",
        "5 min",
        "A region that waits longer for its slots has failed.",
    ),
    cluster(
        "heartbeat.interval",
        "10 s",
        "The time from one heartbeat to the next; who does not answer for as long is given no tasks.",
    ),
    cluster(
        "heartbeat.timeout",
        "50 s",
        "A peer that is silent for this long is lost.",
    ),
    cluster(
        "jobmanager.failover.reconciliation-timeout",
        "10 s",
        "How long a recovered job waits for its running tasks to be reported before it restarts what is missing.",
    ),
    cluster(
        "taskmanager.failover.grace-period",
        "1 min",
        "How long a TaskManager keeps its tasks running without a JobManager.",
    ),
    cluster(
        "task.cancellation.timeout",
        "3 min",
        "A task that takes longer to stop ends the process of its TaskManager; 0 for no limit.",
    ),
    cluster(
        "cluster.registration.initial-timeout",
        "100 ms",
        "The first pause between two tries to register.",
    ),
    cluster(
        "cluster.registration.max-timeout",
        "30 s",
        "The longest pause between two tries to register.",
    ),
    cluster(
        "cluster.registration.refused-registration-delay",
        "30 s",
        "The pause after a refused registration.",
    ),
    cluster(
        "execution.checkpointing.dir",
        "",
        "The URL of the folder for checkpoints.",
    ),
    cluster(
        "web.exception-history-size",
        "16",
        "How many failures of a job are remembered.",
    ),
    cluster(
        "web.checkpoints.history",
        "10",
        "How many ended checkpoints of a job are remembered.",
    ),
    cluster(
        "jobstore.max-capacity",
        "1000",
        "How many ended jobs are remembered.",
    ),
    cluster(
        "jobmanager.scheduler.max-slots-per-job",
        "2147483647",
        "How many slots one job gets at most: one that can do with fewer gets no more, one that cannot is refused.",
    ),
    cluster(
        "resourcemanager.provider",
        "none",
        "Who starts TaskManagers when jobs need them, and ends them when none does.",
    ),
    cluster(
        "taskmanager.numberOfTaskSlots",
        "1",
        "How many slots a TaskManager has that is started for jobs.",
    ),
    cluster(
        "slotmanager.number-of-slots.max",
        "2147483647",
        "With how many slots in the cluster no more TaskManagers are started.",
    ),
    cluster(
        "resourcemanager.taskmanager-timeout",
        "30 s",
        "A TaskManager that was started for jobs and has no task for longer is ended, if there are slots enough without it.",
    ),
    cluster(
        "resourcemanager.taskmanager-registration.timeout",
        "5 min",
        "A TaskManager that was started for jobs and does not register for longer is replaced.",
    ),
    cluster(
        "resourcemanager.start-worker.max-failure-rate",
        "10",
        "After how many failed starts of TaskManagers in a minute there is a pause.",
    ),
    cluster(
        "resourcemanager.start-worker.retry-interval",
        "3 s",
        "How long that pause is.",
    ),
];
