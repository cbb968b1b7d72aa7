//! Options as users write them, and what is read.

#![allow(clippy::unwrap_used)]

use super::*;

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    owned.collect()
}

fn job(pairs: &[(&str, &str)]) -> JobConfig {
    job_config(&options(pairs), &BTreeMap::new()).unwrap()
}

fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    let problems = job_config(&options(pairs), &BTreeMap::new()).unwrap_err();
    let line = |p: &OptionProblem| format!("{}: {}", p.key, p.problem);
    problems.iter().map(line).collect()
}

#[test]
fn without_options_there_are_no_checkpoints_and_no_restarts() {
    let config = job(&[]);
    assert_eq!(config.checkpointing, None);
    assert_eq!(config.restart_strategy, RestartStrategy::None);
    assert_eq!(config.slot_request_timeout, Duration::from_secs(300));
}

#[test]
fn with_an_interval_the_defaults_are_flinks() {
    let config = job(&[("execution.checkpointing.interval", "500 ms")]);
    let expected = CheckpointConfig {
        interval: Duration::from_millis(500),
        timeout: Duration::from_secs(600),
        max_timeout: Duration::from_secs(600),
        min_pause: Duration::ZERO,
        max_concurrent: 1,
        tolerable_failures: 0,
        mode: CheckpointMode::ExactlyOnce,
        retained: 1,
        inline_threshold: 20 << 10,
        retention: Retention::Never,
        savepoint_dir: String::new(),
    };
    assert_eq!(config.checkpointing, Some(expected));
    let backoff = ExponentialDelay {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(60),
        multiplier_permille: 1_500,
        jitter_permille: 100,
        reset_threshold: Duration::from_secs(3_600),
        attempts: None,
    };
    let expected = RestartStrategy::ExponentialDelay(backoff);
    assert_eq!(config.restart_strategy, expected);
}

#[test]
fn the_longest_time_of_a_checkpoint_is_its_timeout_unless_it_is_longer() {
    let rest = [
        ("execution.checkpointing.interval", "1 s"),
        ("execution.checkpointing.timeout", "10 s"),
    ];
    let key = "execution.checkpointing.max-timeout";
    let of = |longest| [rest[0], rest[1], (key, longest)];
    let longest = |options: &[_]| job(options).checkpointing.unwrap().max_timeout;
    assert_eq!(longest(&rest), Duration::from_secs(10));
    assert_eq!(longest(&of("10 s")), Duration::from_secs(10));
    assert_eq!(longest(&of("1 min")), Duration::from_secs(60));
    let short = "9 s is too short beside 10 s, which is `execution.checkpointing.timeout`";
    assert_eq!(problems(&of("9 s")), [format!("{key}: {short}")]);
}

#[test]
fn every_name_of_a_restart_strategy_is_understood() {
    let fixed = RestartStrategy::FixedDelay {
        attempts: 1,
        delay: Duration::from_secs(1),
    };
    let rate = RestartStrategy::FailureRate {
        max_failures: 1,
        interval: Duration::from_secs(60),
        delay: Duration::from_secs(1),
    };
    let interval = ("execution.checkpointing.interval", "1 s");
    for (name, expected) in [
        ("none", RestartStrategy::None),
        ("disable", RestartStrategy::None),
        ("OFF", RestartStrategy::None),
        ("fixed-delay", fixed.clone()),
        ("fixeddelay", fixed),
        ("Failure-Rate", rate.clone()),
        ("failurerate", rate),
    ] {
        let config = job(&[interval, ("restart-strategy.type", name)]);
        assert_eq!(config.restart_strategy, expected, "{name}");
    }
    for name in ["exponential-delay", "exponentialdelay"] {
        let strategy = job(&[("restart-strategy.type", name)]).restart_strategy;
        assert!(matches!(strategy, RestartStrategy::ExponentialDelay(_)));
    }
}

#[test]
fn the_jobs_options_beat_the_clusters_and_can_switch_checkpoints_off() {
    let defaults = options(&[
        ("execution.checkpointing.interval", "1 s"),
        ("execution.checkpointing.num-retained", "3"),
        ("rest.port", "8081"),
        ("heartbeat.interval", "10 s"),
    ]);
    let given = options(&[("execution.checkpointing.interval", "2 s")]);
    let config = job_config(&given, &defaults).unwrap();
    let checkpointing = config.checkpointing.unwrap();
    assert_eq!(checkpointing.interval, Duration::from_secs(2));
    assert_eq!(checkpointing.retained, 3);

    let given = options(&[("execution.checkpointing.interval", "0")]);
    let config = job_config(&given, &defaults).unwrap();
    assert_eq!(config.checkpointing, None);
}

#[test]
fn every_problem_is_reported() {
    let found = problems(&[
        ("execution.checkpointing.intervall", "1 s"),
        ("execution.checkpointing.timeout", "soon"),
        ("execution.checkpointing.interval", "5 ms"),
        ("execution.checkpointing.num-retained", "0"),
        ("heartbeat.interval", "1 s"),
        ("colour", "blue"),
        ("restart-strategy.type", "sometimes"),
        ("restart-strategy.exponential-delay.backoff-multiplier", "1"),
        ("restart-strategy.exponential-delay.max-backoff", "1 ms"),
    ]);
    assert_eq!(
        found,
        [
            "colour: there is no such option",
            "execution.checkpointing.interval: `5 ms` is out of range: at least 10 ms is expected",
            "execution.checkpointing.intervall: there is no such option; did you mean `execution.checkpointing.interval`?",
            "execution.checkpointing.num-retained: `0` is out of range: from 1 to 1000 is expected",
            "execution.checkpointing.timeout: `soon` is not a duration: expected a whole number and a unit (ns, us, ms, s, min, h or d), such as `500 ms`",
            "heartbeat.interval: this is an option of the cluster: it belongs in the JobManager's configuration, not in a job's",
            "restart-strategy.exponential-delay.backoff-multiplier: `1` is out of range: from 1.001 to 1000 is expected",
            "restart-strategy.exponential-delay.max-backoff: 1 ms is too short beside 1 s, which is `restart-strategy.exponential-delay.initial-backoff`",
            "restart-strategy.type: `sometimes` is not known: one of none, disable, off, fixed-delay, fixeddelay, failure-rate, failurerate, exponential-delay, exponentialdelay is expected",
        ]
    );
}

#[test]
fn a_problem_of_the_cluster_says_so_in_the_job() {
    let defaults = options(&[("execution.checkpointing.timeout", "soon")]);
    let problems = job_config(&BTreeMap::new(), &defaults).unwrap_err();
    let problem = &problems[0].problem;
    assert!(problem.ends_with("(it comes from the cluster's configuration)"));
}

#[test]
fn a_flood_of_options_is_one_problem() {
    let many = (0..=MAX_OPTIONS).map(|i| (format!("key{i}"), String::new()));
    let problems = job_config(&many.collect(), &BTreeMap::new()).unwrap_err();
    assert_eq!(problems.len(), 1);
}

#[test]
fn the_clusters_defaults_are_those_of_the_table() {
    let config = cluster_config(&BTreeMap::new(), &[]).unwrap();
    let expected = ClusterConfig {
        heartbeat_interval: Duration::from_secs(10),
        heartbeat_timeout: Duration::from_secs(50),
        reconciliation_timeout: Duration::from_secs(10),
        grace_period: Duration::from_secs(60),
        cancellation_timeout: Duration::from_secs(180),
        registration_initial: Duration::from_millis(100),
        registration_max: Duration::from_secs(30),
        registration_refused: Duration::from_secs(30),
        checkpoint_storage: String::new(),
        exception_history: 16,
        checkpoint_history: 10,
        job_store_capacity: 1_000,
        max_slots_per_job: WITHOUT_LIMIT,
        workers: None,
    };
    assert_eq!(config, expected);
}

#[test]
fn the_defaults_of_workers_are_those_of_the_table() {
    let provider = options(&[("resourcemanager.provider", "kubernetes")]);
    let config = cluster_config(&provider, &[]).unwrap();
    let expected = WorkersConfig {
        slots: 1,
        max_slots: i32::MAX as u32,
        idle_timeout: Duration::from_secs(30),
        registration_timeout: Duration::from_secs(300),
        max_failures: 10,
        retry_interval: Duration::from_secs(3),
    };
    assert_eq!(config.workers, Some(expected));
}

#[test]
fn the_cluster_knows_its_shells_options_and_checks_those_of_jobs() {
    let shell = [OptionSpec {
        key: "rest.port",
        default: "8081",
        scope: Scope::Cluster,
        doc: "Where REST answers.",
    }];
    let given = options(&[("rest.port", "9999"), ("slot.request.timeout", "1 min")]);
    assert!(cluster_config(&given, &shell).is_ok());
    let given = options(&[
        ("rest.prot", "9999"),
        ("slot.request.timeout", "x"),
        ("heartbeat.timeout", "10 s"),
    ]);
    let problems = cluster_config(&given, &shell).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(
        keys,
        ["heartbeat.timeout", "rest.prot", "slot.request.timeout"]
    );
    assert!(problems[1].problem.contains("`rest.port`"));
}

#[test]
fn no_key_is_twice_in_the_table() {
    let keys: alloc::collections::BTreeSet<_> = known_options().iter().map(|o| o.key).collect();
    assert_eq!(keys.len(), known_options().len());
}
