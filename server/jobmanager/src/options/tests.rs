//! What options come to.

#![allow(clippy::unwrap_used)]
use super::*;

fn with_file(text: &str, args: ServeArgs) -> Result<Options, OptionsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    let config = Some(path);
    Options::from_args(&ServeArgs { config, ..args })
}

#[test]
fn flags_beat_definitions_beat_the_file_beats_the_defaults() {
    let args = ServeArgs {
        define: vec!["rest.port=2".into(), "jobmanager.rpc.port=22".into()],
        rpc_addr: Some("0.0.0.0:33".into()),
        ..ServeArgs::default()
    };
    let file = "rest.port: 1\njobmanager:\n  rpc:\n    port: 11\nweb:\n  timeout: 5 s\n";
    let options = with_file(file, args).unwrap();
    assert_eq!(
        (options.rest.host.as_str(), options.rest.port),
        ("127.0.0.1", 2)
    );
    assert_eq!(
        (options.rpc.host.as_str(), options.rpc.port),
        ("0.0.0.0", 33)
    );
    assert_eq!(options.web_timeout, Duration::from_secs(5));
    assert_eq!(options.web_refresh, Duration::from_secs(3));
}

#[test]
fn checkpoints_are_in_the_data_folder_unless_said_otherwise() {
    let storage = |args: ServeArgs| {
        let options = Options::from_args(&args).unwrap();
        options.cluster.checkpoint_storage
    };
    let data_dir = Some(PathBuf::from("/d"));
    let args = ServeArgs {
        data_dir,
        ..ServeArgs::default()
    };
    assert_eq!(storage(args.clone()), "file:///d/checkpoints");
    for (given, expected) in [("/c/x", "file:///c/x"), ("s3://b", "s3://b")] {
        let checkpoint_dir = Some(given.to_owned());
        let args = ServeArgs {
            checkpoint_dir,
            ..args.clone()
        };
        assert_eq!(storage(args), expected);
    }
}

#[test]
fn the_folder_for_savepoints_is_looked_at_before_anybody_needs_it() {
    let options = |savepoint_dir: &str| {
        Options::from_args(&ServeArgs {
            savepoint_dir: Some(savepoint_dir.to_owned()),
            ..ServeArgs::default()
        })
    };
    let key = "execution.checkpointing.savepoint-dir";
    assert_eq!(options("/s").unwrap().job_defaults[key], "/s");
    for (given, problem) in [
        ("relative", "absolute path"),
        ("s3://key:hush@bucket/a", "from the environment"),
    ] {
        let words = options(given).unwrap_err().to_string();
        for part in [key, problem, "--savepoint-dir"] {
            assert!(words.contains(part), "{part} in {words}");
        }
        assert!(!words.contains("hush"), "{words}");
    }
}

#[test]
fn every_wrong_option_is_named() {
    let args = ServeArgs {
        define: vec![
            "rest.prot=1".into(),
            "jobmanager.rpc.port=x".into(),
            "heartbeat.interval=soon".into(),
            "web.timeout=later".into(),
        ],
        ..ServeArgs::default()
    };
    let words = Options::from_args(&args).unwrap_err().to_string();
    for key in [
        "rest.prot:",
        "rest.port",
        "jobmanager.rpc.port: `x`",
        "heartbeat.interval:",
        "web.timeout:",
    ] {
        assert!(words.contains(key), "{key} in {words}");
    }
}

#[test]
fn a_file_that_is_no_map_of_options_is_refused_with_its_name() {
    for text in ["just words", "a: [1, 2]", "a: b: c", "a.b: 1\na:\n  b: 2\n"] {
        let error = with_file(text, ServeArgs::default()).unwrap_err();
        assert!(error.to_string().contains("config.yaml"), "{text}: {error}");
    }
    assert!(with_file("# nothing\n", ServeArgs::default()).is_ok());
}

#[test]
fn a_wrong_port_is_named_even_if_a_flag_covers_it() {
    for port in ["70000", "", "x"] {
        let args = ServeArgs {
            define: vec![format!("rest.port={port}")],
            rest_addr: Some("127.0.0.1:0".into()),
            ..ServeArgs::default()
        };
        let file = "jobmanager.rpc.port: -1\n";
        let error = with_file(file, args).unwrap_err();
        let expected = vec![
            "jobmanager.rpc.port: `-1` is not a port from 0 to 65535".to_owned(),
            format!("rest.port: `{port}` is not a port from 0 to 65535"),
        ];
        assert_eq!(error, OptionsError::Problems(expected));
    }
}

#[test]
fn a_definition_without_its_key_or_value_is_refused() {
    for define in ["=1", " = 1", "rest.port"] {
        let args = ServeArgs {
            define: vec![define.to_owned()],
            ..ServeArgs::default()
        };
        let error = Options::from_args(&args).unwrap_err();
        assert_eq!(error, OptionsError::Define(define.to_owned()));
    }
}

#[test]
fn what_is_wrong_in_a_file_is_said_in_words() {
    for (text, words) in [
        ("- a\n", "lines of the form `key: value` are expected"),
        ("a: [1, 2]\n", "a is a list; a single value is expected"),
        ("rest:\n  port:\n", "rest.port has no value"),
        ("rest.port: ~\n", "rest.port has no value"),
        ("b: 1\na: 1\na: 2\n", "line 3: a is set twice"),
        ("a.b: 1\na:\n  b: 2\n", "a.b is set twice"),
        ("a: 1\nb: c: d\n", "line 2"),
        ("a: \"open\n", "line 2"),
        ("a: *nowhere\n", "line 1"),
    ] {
        let error = with_file(text, ServeArgs::default()).unwrap_err();
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

#[test]
fn an_address_may_leave_out_either_part() {
    let parse = |address: &str| {
        let mut map = BTreeMap::new();
        put_address(&mut map, address, "h", "p");
        (map.remove("h"), map.remove("p"))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(parse("localhost:1"), (some("localhost"), some("1")));
    assert_eq!(parse("localhost"), (some("localhost"), None));
    assert_eq!(parse(":1"), (None, some("1")));
    assert_eq!(parse("1"), (None, some("1")));
    assert_eq!(parse("[::1]:1"), (some("::1"), some("1")));
    assert_eq!(parse("[::1]"), (some("::1"), None));
}

/// What is wrong with these definitions.
fn problems_of(define: &[&str]) -> String {
    let args = ServeArgs {
        define: define.iter().map(|text| (*text).to_owned()).collect(),
        ..ServeArgs::default()
    };
    let options = Options::from_args(&args);
    options.map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn what_an_election_needs_is_said() {
    let by_lock = "high-availability.type=file-lock";
    for (define, words) in [
        (
            &["high-availability.type=CHUBBY"][..],
            "`CHUBBY` is not offered",
        ),
        (
            &["high-availability.type=POSTGRES"],
            "name one with jobmanager.store",
        ),
        (
            &["high-availability.type=ETCD"],
            "ETCD elects one of several JobManagers that share a database",
        ),
        (
            &[by_lock, "rest.bind-address=0.0.0.0"],
            "rest.address: has to be set",
        ),
        (
            &[by_lock, "jobmanager.bind-host=::"],
            "jobmanager.rpc.address: has to be set",
        ),
        (
            &["high-availability.cluster-id="],
            "high-availability.cluster-id: 1 to 200",
        ),
        (
            &["high-availability.leader-election.renew-deadline=5 s"],
            "renew-deadline: has to be longer than",
        ),
        (
            &["high-availability.leader-election.retry-period=0 s"],
            "renew-deadline: has to be longer than",
        ),
    ] {
        let problems = problems_of(define);
        assert!(problems.contains(words), "{define:?}: {problems}");
    }
    let reached = ["rest.bind-address=0.0.0.0", "rest.address=here", by_lock];
    assert_eq!(problems_of(&reached), "");
}

#[test]
fn a_store_that_cannot_be_used_is_refused_without_showing_its_password() {
    let dir = "execution.checkpointing.dir=/c";
    for (define, words) in [
        (
            &["jobmanager.store=mysql://u:secret@h/x", dir][..],
            "not a URL of a kind that is known",
        ),
        (
            &["jobmanager.store=postgres://u:secret@h/x"],
            "execution.checkpointing.dir: has to be set",
        ),
        (
            &["jobmanager.store=postgres://u:secret@h/x?sslmode=no", dir],
            if cfg!(feature = "postgres") {
                "sslmode=no is not offered"
            } else {
                "built without PostgreSQL"
            },
        ),
        (
            &["jobmanager.store=s3://key:secret@bucket/prefix", dir],
            if cfg!(any(feature = "azure", feature = "gcs", feature = "s3")) {
                "credentials come from the environment"
            } else {
                "built without object storage"
            },
        ),
        (
            &["jobmanager.store=s3://bucket/prefix"],
            "execution.checkpointing.dir: has to be set",
        ),
        (
            &["jobmanager.store=file:///var/lib/jobmanager", dir],
            "a folder with jobmanager.data-dir",
        ),
    ] {
        let problems = problems_of(define);
        assert!(problems.contains(words), "{define:?}: {problems}");
        assert!(!problems.contains("secret"), "{problems}");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_password_of_the_store_is_no_default_of_jobs() {
    let args = ServeArgs {
        store: Some("postgres://u:secret@h/x".to_owned()),
        checkpoint_dir: Some("/c".to_owned()),
        ..ServeArgs::default()
    };
    let options = Options::from_args(&args).unwrap();
    assert!(!format!("{options:?}").contains("secret"), "{options:?}");
}

#[cfg(feature = "s3")]
#[test]
fn a_bucket_does_not_elect() {
    let bucket = [
        "jobmanager.store=s3://bucket/prefix",
        "execution.checkpointing.dir=/c",
    ];
    assert_eq!(problems_of(&bucket), "");
    let problems = problems_of(&[&bucket[..], &["high-availability.type=POSTGRES"]].concat());
    assert!(problems.contains("names a bucket; use ETCD"), "{problems}");
    let by_lock = [&bucket[..], &["high-availability.type=FILE_LOCK"]].concat();
    assert_eq!(problems_of(&by_lock), "");
}

/// What an election by a service needs, and a database for the records.
fn with_database<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let database = [
        "jobmanager.store=postgres://h/x",
        "execution.checkpointing.dir=/c",
    ];
    [&database[..], options].concat()
}

#[test]
fn an_election_by_etcd_needs_servers() {
    let kind = "high-availability.type=ETCD";
    let server = "high-availability.etcd.endpoints=http://a:1";
    let certificate = "high-availability.etcd.tls.certificate=/c.pem";
    for (define, words) in [
        (&[kind][..], "high-availability.etcd.endpoints: at least"),
        (
            &[kind, server, certificate],
            "tls.key: set both, or neither",
        ),
    ] {
        let problems = problems_of(&with_database(define));
        let words = if cfg!(feature = "etcd") {
            words
        } else {
            "built without ETCD"
        };
        assert!(problems.contains(words), "{define:?}: {problems}");
    }
    if cfg!(all(feature = "etcd", feature = "postgres")) {
        assert_eq!(problems_of(&with_database(&[kind, server])), "");
    }
}

#[test]
fn an_election_by_zookeeper_needs_servers_and_a_session_that_outlasts_its_leader() {
    let kind = "high-availability.type=zookeeper";
    let server = "high-availability.zookeeper.quorum=a:2181,b";
    let session = "high-availability.zookeeper.client.session-timeout=3 s";
    let problems = problems_of(&with_database(&[kind, server, session]));
    let words = "and shorter than high-availability.zookeeper.client.session-timeout";
    assert!(problems.contains(words), "{problems}");

    let problems = problems_of(&with_database(&[kind]));
    let words = if cfg!(feature = "zookeeper") {
        "high-availability.zookeeper.quorum, high-availability.zookeeper.path.root: ``: servers"
    } else {
        "built without ZOOKEEPER"
    };
    assert!(problems.contains(words), "{problems}");
    if cfg!(all(feature = "zookeeper", feature = "postgres")) {
        let session = "high-availability.zookeeper.client.session-timeout=60 s";
        let deadline = "high-availability.leader-election.renew-deadline=40 s";
        let options = with_database(&[kind, server, session, deadline]);
        assert_eq!(problems_of(&options), "");
    }
}

#[test]
fn an_election_by_kubernetes_needs_a_name_that_it_allows() {
    let kind = "high-availability.type=KUBERNETES";
    let problems = problems_of(&with_database(&[kind, "high-availability.cluster-id=A_b"]));
    let words = if cfg!(feature = "kubernetes") {
        "high-availability.cluster-id: `A_b`: a Lease"
    } else {
        "built without KUBERNETES"
    };
    assert!(problems.contains(words), "{problems}");
    if cfg!(all(feature = "kubernetes", feature = "postgres")) {
        assert_eq!(problems_of(&with_database(&[kind])), "");
    }
}

#[test]
fn a_folder_without_a_dashboard_is_refused() {
    let words = problems_of(&["web.dir=/nosuch"]);
    assert!(
        words.contains("web.dir") && words.contains("no index.html"),
        "{words}"
    );
}

#[test]
fn what_a_resource_provider_needs_is_said() {
    let by_processes = "resourcemanager.provider=process";
    let by_lock = "high-availability.type=FILE_LOCK";
    for (define, words) in [
        (
            &["resourcemanager.provider=yarn"][..],
            "`yarn` is not offered; none, process or kubernetes is expected",
        ),
        (&["resourcemanager.provider="], "`` is not offered"),
        (&["resourcemanager.provider=NONE"], "`NONE` is not offered"),
        (
            &[by_processes, "jobmanager.rpc.port=0"],
            "jobmanager.rpc.port: 0 is another port after each start",
        ),
        (
            &[by_processes, by_lock],
            "taskmanager.jobmanager-addresses: has to be set",
        ),
        (
            &["taskmanager.jobmanager-addresses=a:1,b"],
            "taskmanager.jobmanager-addresses: `b` is not an address; HOST:PORT",
        ),
        (
            &["taskmanager.jobmanager-addresses=a:1,:2"],
            "`:2` is not an address",
        ),
        (
            &["taskmanager.jobmanager-addresses=a:0"],
            "`a:0` is not an address",
        ),
        (
            &[by_processes, "taskmanager.numberOfTaskSlots=0"],
            "taskmanager.numberOfTaskSlots",
        ),
    ] {
        let problems = problems_of(define);
        assert!(problems.contains(words), "{define:?}: {problems}");
        assert!(problems.contains("1 problem"), "{define:?}: {problems}");
    }
    assert_eq!(problems_of(&[by_processes]), "");
    let addresses = "taskmanager.jobmanager-addresses=a:1, [::1]:2";
    assert_eq!(problems_of(&[by_processes, by_lock, addresses]), "");
    let by_service = with_database(&["high-availability.type=POSTGRES", by_processes, addresses]);
    if cfg!(feature = "postgres") {
        let problems = problems_of(&by_service);
        let words = "process starts TaskManagers on the machine of the JobManager";
        assert!(problems.contains(words), "{problems}");
    }
}

#[test]
fn taskmanagers_as_pods_need_an_image_and_amounts_that_kubernetes_knows() {
    let by_pods = "resourcemanager.provider=kubernetes";
    let image = "kubernetes.container.image=x";
    for (define, words) in [
        (
            &[by_pods][..],
            "kubernetes.container.image: has to be set, unless",
        ),
        (
            &[by_pods, image],
            "taskmanager.jobmanager-addresses: has to be set to what pods reach",
        ),
        (
            &[by_pods, image, "kubernetes.taskmanager.cpu=two"],
            "kubernetes.taskmanager.cpu: `two` is not a number of processors",
        ),
        (
            &[by_pods, image, "kubernetes.taskmanager.cpu=0.5m"],
            "`0.5m` is not a number of processors",
        ),
        (
            &[by_pods, image, "kubernetes.taskmanager.cpu=0"],
            "`0` is not a number of processors",
        ),
        (
            &[by_pods, image, "taskmanager.memory.process.size=much"],
            "taskmanager.memory.process.size: ",
        ),
        (
            &[by_pods, image, "taskmanager.memory.process.size=0 b"],
            "0 is too little",
        ),
        (
            &[by_pods, image, "high-availability.cluster-id=A_b"],
            "high-availability.cluster-id: `A_b`: pods have to have names",
        ),
        (
            &[by_pods, "kubernetes.pod-template-file.taskmanager=/nosuch"],
            "kubernetes.pod-template-file.taskmanager: /nosuch: No such file",
        ),
    ] {
        let problems = problems_of(define);
        let words = if cfg!(feature = "kubernetes") {
            words
        } else {
            "resourcemanager.provider: this JobManager was built without Kubernetes"
        };
        assert!(problems.contains(words), "{define:?}: {problems}");
    }
    if cfg!(feature = "kubernetes") {
        let cpu = "kubernetes.taskmanager.cpu=0.5";
        for address in [
            "jobmanager.rpc.address=here",
            "taskmanager.jobmanager-addresses=here:1",
        ] {
            assert_eq!(problems_of(&[by_pods, image, cpu, address]), "");
        }
    }
}
