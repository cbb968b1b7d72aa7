//! From given options to [`JobConfig`] and [`ClusterConfig`].
//!
//! Nothing is skipped in silence: an unknown key, a value that cannot be read, one out of range and a
//! key in the wrong place are problems, and all of them are reported together.

use super::nearest::nearest;
use super::reader::{OptionProblem, Reader};
use super::table::{OptionSpec, Scope, known_options};
use super::value::{parse_duration_from, parse_word, show_duration};
use super::{
    CheckpointConfig, CheckpointMode, ClaimMode, ClusterConfig, ExponentialDelay, JobConfig,
    RescalingConfig, RestartStrategy, RestoreConfig, Retention, Scheduler, UnclaimedState,
    WorkersConfig,
};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// The most options of one job: several times as many as there are.
pub const MAX_OPTIONS: usize = 256;

/// The shortest checkpoint interval and timeout: below it the coordination costs more than the work.
const SHORTEST_CHECKPOINT: Duration = Duration::from_millis(10);
/// The shortest time of whatever repeats: zero would never rest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// The most checkpoints of one job under way at once; each keeps a table of its subtasks.
const MAX_CONCURRENT: u32 = 64;
/// The most completed checkpoints of one job that are kept; each is a record that is read at recovery.
const MAX_RETAINED: u32 = 1_000;
/// The largest snapshot inside a message and a record (Flink's bound). Bytes.
const MAX_INLINE: u64 = 1 << 20;
/// The largest count that people write for "always"; as a limit it means none.
const WITHOUT_LIMIT: u32 = i32::MAX as u32;
/// The most failures in an interval: the time of each is kept.
const MAX_FAILURES: u32 = 100_000;
/// The largest multiplier of a delay, in thousandths: the second delay is then the longest anyway.
const MAX_MULTIPLIER: u32 = 1_000_000;
/// The most failures or checkpoints of one job that are remembered.
const MAX_HISTORY: u32 = 1_000;
/// The most ended jobs that are remembered; each is a record.
const MAX_JOB_STORE: u32 = 1_000_000;

/// Who decides on a parallelism.
const SCHEDULERS: [(&str, Scheduler); 2] = [
    ("default", Scheduler::Default),
    ("adaptive", Scheduler::Adaptive),
];

/// The kinds of restart strategy, with every name that each goes by.
const RESTART_TYPES: [(&str, RestartType); 9] = [
    ("none", RestartType::None),
    ("disable", RestartType::None),
    ("off", RestartType::None),
    ("fixed-delay", RestartType::FixedDelay),
    ("fixeddelay", RestartType::FixedDelay),
    ("failure-rate", RestartType::FailureRate),
    ("failurerate", RestartType::FailureRate),
    ("exponential-delay", RestartType::ExponentialDelay),
    ("exponentialdelay", RestartType::ExponentialDelay),
];

const MODES: [(&str, CheckpointMode); 2] = [
    ("EXACTLY_ONCE", CheckpointMode::ExactlyOnce),
    ("AT_LEAST_ONCE", CheckpointMode::AtLeastOnce),
];

const RETENTIONS: [(&str, Retention); 3] = [
    ("NO_EXTERNALIZED_CHECKPOINTS", Retention::Never),
    ("DELETE_ON_CANCELLATION", Retention::OnFailure),
    (
        "RETAIN_ON_CANCELLATION",
        Retention::OnFailureAndCancellation,
    ),
];

const CLAIM_MODES: [(&str, ClaimMode); 2] = [
    ("NO_CLAIM", ClaimMode::NoClaim),
    ("CLAIM", ClaimMode::Claim),
];

#[derive(Clone, Copy)]
enum RestartType {
    None,
    FixedDelay,
    FailureRate,
    ExponentialDelay,
}

/// Reads a job's options. What the job does not set comes from `defaults`, the cluster's
/// configuration, of which only the options of jobs are looked at; what is not there either has the
/// table's default.
///
/// # Errors
/// Every problem, by key.
pub fn job_config(
    options: &BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
) -> Result<JobConfig, Vec<OptionProblem>> {
    if options.len() > MAX_OPTIONS {
        let problem = format!(
            "{} options are too many: at most {MAX_OPTIONS}",
            options.len()
        );
        let key = String::new();
        return Err(Vec::from([OptionProblem { key, problem }]));
    }
    let mut reader = Reader::new(options, defaults);
    check_keys(&mut reader, options, |key| {
        let known = known_options().iter().find(|known| known.key == key);
        match known.map(|known| known.scope) {
            Some(Scope::Job) => None,
            Some(Scope::Cluster) => Some(
                "this is an option of the cluster: it belongs in the JobManager's configuration, not in a job's"
                    .to_string(),
            ),
            None => {
                let of_jobs = known_options().iter().filter(|o| o.scope == Scope::Job);
                Some(unknown(key, of_jobs.map(|option| option.key)))
            }
        }
    });
    let config = read_job(&mut reader);
    finish(config, reader)
}

/// Reads the cluster's options. Those of jobs are checked too, as they are the defaults of every job.
/// `shell_options` are known besides the table's; whoever passes them reads them.
///
/// # Errors
/// Every problem, by key.
pub fn cluster_config(
    options: &BTreeMap<String, String>,
    shell_options: &[OptionSpec],
) -> Result<ClusterConfig, Vec<OptionProblem>> {
    let nothing = BTreeMap::new();
    let mut reader = Reader::new(options, &nothing);
    check_keys(&mut reader, options, |key| {
        let mut known = known_options().iter().chain(shell_options);
        let exists = known.any(|option| option.key == key);
        let all = known_options().iter().chain(shell_options);
        (!exists).then(|| unknown(key, all.map(|option| option.key)))
    });
    read_job(&mut reader);
    let config = read_cluster(&mut reader);
    finish(config, reader)
}

fn finish<T>(config: T, reader: Reader<'_>) -> Result<T, Vec<OptionProblem>> {
    let mut problems = reader.problems();
    problems.sort_by(|one, other| one.key.cmp(&other.key));
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

fn check_keys(
    reader: &mut Reader<'_>,
    options: &BTreeMap<String, String>,
    problem_of: impl Fn(&str) -> Option<String>,
) {
    for key in options.keys() {
        if let Some(problem) = problem_of(key) {
            reader.problem(key, problem);
        }
    }
}

fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(key, known) {
        Some(meant) => format!("there is no such option; did you mean `{meant}`?"),
        None => "there is no such option".to_string(),
    }
}

fn read_job(reader: &mut Reader<'_>) -> JobConfig {
    let checkpointing = read_checkpointing(reader);
    let restart_strategy = read_restart_strategy(reader, checkpointing.is_some());
    let rescaling = read_rescaling(reader, checkpointing.is_some());
    JobConfig {
        checkpointing,
        restart_strategy,
        slot_request_timeout: reader.duration("slot.request.timeout", SHORTEST_PAUSE),
        restore: read_restore(reader),
        rescaling,
        priority: reader.integer("jobmanager.scheduler.priority", 0..=1_000),
    }
}

/// A job without checkpoints would have nothing to go on from: its parallelism stays.
fn read_rescaling(reader: &mut Reader<'_>, checkpointing: bool) -> RescalingConfig {
    const PREFIX: &str = "jobmanager.adaptive-scheduler.";
    let key = |name: &str| format!("{PREFIX}{name}");
    let scheduler = reader.word("jobmanager.scheduler", &SCHEDULERS);
    let is_reactive = reader.read_optional("scheduler-mode", |text| {
        parse_word(text, &[("reactive", ())])
    });
    let scheduler = match is_reactive {
        _ if !checkpointing => Scheduler::Default,
        Some(()) => Scheduler::Reactive,
        None => scheduler,
    };
    let max_delay = reader.read_optional(&key("rescale-trigger.max-delay"), |text| {
        parse_duration_from(text, Duration::ZERO)
    });
    RescalingConfig {
        scheduler,
        cooldown: reader.duration(&key("executing.cooldown-after-rescaling"), Duration::ZERO),
        executing_stabilization: reader.duration(
            &key("executing.resource-stabilization-timeout"),
            Duration::ZERO,
        ),
        waiting_stabilization: reader.duration(
            &key("submission.resource-stabilization-timeout"),
            Duration::ZERO,
        ),
        max_delay,
    }
}

fn read_restore(reader: &mut Reader<'_>) -> Option<RestoreConfig> {
    let path = reader.text("execution.state-recovery.path");
    let unclaimed = reader.word(
        "execution.state-recovery.ignore-unclaimed-state",
        &[
            ("false", UnclaimedState::Refused),
            ("true", UnclaimedState::Ignored),
        ],
    );
    let claim = reader.word("execution.state-recovery.claim-mode", &CLAIM_MODES);
    (!path.is_empty()).then_some(RestoreConfig {
        path,
        unclaimed,
        claim,
    })
}

/// Every option is read, so that its problems are seen, whether or not there is an interval.
fn read_checkpointing(reader: &mut Reader<'_>) -> Option<CheckpointConfig> {
    let interval = reader.read_optional("execution.checkpointing.interval", |text| {
        let interval = parse_duration_from(text, Duration::ZERO)?;
        if interval.is_zero() {
            return Ok(None);
        }
        parse_duration_from(text, SHORTEST_CHECKPOINT).map(Some)
    });
    let timeout = reader.duration("execution.checkpointing.timeout", SHORTEST_CHECKPOINT);
    let max = "execution.checkpointing.max-timeout";
    let max_timeout = reader.read_optional(max, |text| parse_duration_from(text, Duration::ZERO));
    let max_timeout = max_timeout.unwrap_or(timeout);
    if max_timeout < timeout {
        let timeout = ("execution.checkpointing.timeout", timeout);
        shorter_than(reader, (max, max_timeout), timeout);
    }
    let config = CheckpointConfig {
        interval: interval.flatten().unwrap_or_default(),
        timeout,
        max_timeout,
        min_pause: reader.duration("execution.checkpointing.min-pause", Duration::ZERO),
        max_concurrent: reader.integer(
            "execution.checkpointing.max-concurrent-checkpoints",
            1..=MAX_CONCURRENT,
        ),
        tolerable_failures: reader.integer(
            "execution.checkpointing.tolerable-failed-checkpoints",
            0..=WITHOUT_LIMIT,
        ),
        mode: reader.word("execution.checkpointing.mode", &MODES),
        retained: reader.integer("execution.checkpointing.num-retained", 1..=MAX_RETAINED),
        inline_threshold: reader.memory(
            "execution.checkpointing.data-inline-threshold",
            0..=MAX_INLINE,
        ),
        retention: reader.word(
            "execution.checkpointing.externalized-checkpoint-retention",
            &RETENTIONS,
        ),
        savepoint_dir: reader.text("execution.checkpointing.savepoint-dir"),
    };
    (!config.interval.is_zero()).then_some(config)
}

/// Every strategy is read, so that its problems are seen, whichever is chosen.
fn read_restart_strategy(reader: &mut Reader<'_>, checkpointing: bool) -> RestartStrategy {
    let chosen = reader.read_optional("restart-strategy.type", |text| {
        parse_word(text, &RESTART_TYPES)
    });
    let fixed_delay = RestartStrategy::FixedDelay {
        attempts: reader.integer("restart-strategy.fixed-delay.attempts", 0..=WITHOUT_LIMIT),
        delay: reader.duration("restart-strategy.fixed-delay.delay", Duration::ZERO),
    };
    let failure_rate = RestartStrategy::FailureRate {
        max_failures: reader.integer(
            "restart-strategy.failure-rate.max-failures-per-interval",
            1..=MAX_FAILURES,
        ),
        interval: reader.duration(
            "restart-strategy.failure-rate.failure-rate-interval",
            SHORTEST_PAUSE,
        ),
        delay: reader.duration("restart-strategy.failure-rate.delay", Duration::ZERO),
    };
    let exponential_delay = RestartStrategy::ExponentialDelay(read_exponential_delay(reader));
    match chosen {
        Some(RestartType::None) => RestartStrategy::None,
        Some(RestartType::FixedDelay) => fixed_delay,
        Some(RestartType::FailureRate) => failure_rate,
        Some(RestartType::ExponentialDelay) => exponential_delay,
        None if checkpointing => exponential_delay,
        None => RestartStrategy::None,
    }
}

fn read_exponential_delay(reader: &mut Reader<'_>) -> ExponentialDelay {
    const PREFIX: &str = "restart-strategy.exponential-delay.";
    let key = |name: &str| format!("{PREFIX}{name}");
    let attempts = reader.integer(&key("attempts-before-reset-backoff"), 0..=WITHOUT_LIMIT);
    let config = ExponentialDelay {
        initial: reader.duration(&key("initial-backoff"), SHORTEST_PAUSE),
        max: reader.duration(&key("max-backoff"), SHORTEST_PAUSE),
        multiplier_permille: reader.permille(&key("backoff-multiplier"), 1_001..=MAX_MULTIPLIER),
        jitter_permille: reader.permille(&key("jitter-factor"), 0..=1_000),
        reset_threshold: reader.duration(&key("reset-backoff-threshold"), SHORTEST_PAUSE),
        attempts: (attempts < WITHOUT_LIMIT).then_some(attempts),
    };
    if config.max < config.initial {
        let initial = (&*key("initial-backoff"), config.initial);
        shorter_than(reader, (&key("max-backoff"), config.max), initial);
    }
    config
}

/// Every option is read, so that its problems are seen, whether or not there is a provider.
fn read_workers(reader: &mut Reader<'_>) -> Option<WorkersConfig> {
    let provider = reader.text("resourcemanager.provider");
    let config = WorkersConfig {
        slots: reader.integer("taskmanager.numberOfTaskSlots", 1..=10_000),
        max_slots: reader.integer("slotmanager.number-of-slots.max", 1..=WITHOUT_LIMIT),
        idle_timeout: reader.duration("resourcemanager.taskmanager-timeout", Duration::ZERO),
        registration_timeout: reader.duration(
            "resourcemanager.taskmanager-registration.timeout",
            SHORTEST_PAUSE,
        ),
        max_failures: reader.integer(
            "resourcemanager.start-worker.max-failure-rate",
            1..=MAX_FAILURES,
        ),
        retry_interval: reader.duration(
            "resourcemanager.start-worker.retry-interval",
            SHORTEST_PAUSE,
        ),
    };
    if provider == "none" {
        return None;
    }
    let (slots, max_slots) = (config.slots, config.max_slots);
    if max_slots < slots {
        let problem = format!(
            "{max_slots} is less than {slots}, which is `taskmanager.numberOfTaskSlots`: no TaskManager could be started"
        );
        reader.problem("slotmanager.number-of-slots.max", problem);
    }
    Some(config)
}

fn read_cluster(reader: &mut Reader<'_>) -> ClusterConfig {
    let config = ClusterConfig {
        heartbeat_interval: reader.duration("heartbeat.interval", SHORTEST_PAUSE),
        heartbeat_timeout: reader.duration("heartbeat.timeout", SHORTEST_PAUSE),
        reconciliation_timeout: reader
            .duration("jobmanager.failover.reconciliation-timeout", Duration::ZERO),
        grace_period: reader.duration("taskmanager.failover.grace-period", Duration::ZERO),
        cancellation_timeout: reader.duration("task.cancellation.timeout", Duration::ZERO),
        registration_initial: reader
            .duration("cluster.registration.initial-timeout", SHORTEST_PAUSE),
        registration_max: reader.duration("cluster.registration.max-timeout", SHORTEST_PAUSE),
        registration_refused: reader.duration(
            "cluster.registration.refused-registration-delay",
            SHORTEST_PAUSE,
        ),
        checkpoint_storage: reader.text("execution.checkpointing.dir"),
        exception_history: reader.integer("web.exception-history-size", 1..=MAX_HISTORY),
        checkpoint_history: reader.integer("web.checkpoints.history", 1..=MAX_HISTORY),
        job_store_capacity: reader.integer("jobstore.max-capacity", 1..=MAX_JOB_STORE),
        max_slots_per_job: reader
            .integer("jobmanager.scheduler.max-slots-per-job", 1..=WITHOUT_LIMIT),
        workers: read_workers(reader),
    };
    if config.heartbeat_timeout <= config.heartbeat_interval {
        let timeout = ("heartbeat.timeout", config.heartbeat_timeout);
        let interval = ("heartbeat.interval", config.heartbeat_interval);
        shorter_than(reader, timeout, interval);
    }
    if config.registration_max < config.registration_initial {
        let max = ("cluster.registration.max-timeout", config.registration_max);
        let initial = config.registration_initial;
        let initial = ("cluster.registration.initial-timeout", initial);
        shorter_than(reader, max, initial);
    }
    config
}

/// Reports that one duration is too short in relation to another.
fn shorter_than(
    reader: &mut Reader<'_>,
    (key, value): (&str, Duration),
    (other, bound): (&str, Duration),
) {
    let (value, bound) = (show_duration(value), show_duration(bound));
    let problem = format!("{value} is too short beside {bound}, which is `{other}`");
    reader.problem(key, problem);
}

#[cfg(test)]
mod tests;
