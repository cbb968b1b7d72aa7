//! Whatever may be wrong with what a cluster is given: it is refused with a reason, nothing is stored,
//! and nobody else notices.

use crate::cluster::{Cluster, free_ports, jobmanager, own_address, taskmanager};
use crate::jobs::endless;
use crate::process::{Process, wait_for};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// A valid job after a change, and what the refusal must name.
struct Case {
    change: fn(&mut Value),
    named: &'static [&'static str],
}

const CASES: [Case; 15] = [
    Case {
        change: |job| job["vertices"] = json!([]),
        named: &["vertices"],
    },
    Case {
        change: |job| job["vertices"] = json!("none"),
        named: &["vertices"],
    },
    Case {
        change: |job| job["name"] = json!(7),
        named: &["name"],
    },
    Case {
        change: |job| job["vertices"][1]["id"] = json!("numbers"),
        named: &["vertices[1].id", "numbers"],
    },
    Case {
        change: |job| job["vertices"][0]["parallelism"] = json!(0),
        named: &["vertices[0].parallelism"],
    },
    Case {
        change: |job| job["vertices"][0]["parallelism"] = json!(32_769),
        named: &["vertices[0].parallelism", "32768"],
    },
    Case {
        change: |job| job["vertices"][0]["maxParallelism"] = json!(1),
        named: &["vertices[0]"],
    },
    Case {
        change: |job| job["vertices"][0]["parallelism"] = json!("2"),
        named: &["vertices[0].parallelism"],
    },
    Case {
        change: |job| job["edges"][0]["target"] = json!("nobody"),
        named: &["edges[0].target", "nobody"],
    },
    Case {
        change: |job| job["edges"][0]["partitioning"] = json!("sideways"),
        named: &["edges[0].partitioning", "sideways"],
    },
    Case {
        change: |job| {
            job["edges"][0]["partitioning"] = json!("forward");
            job["vertices"][1]["parallelism"] = json!(1);
        },
        named: &["edges[0]"],
    },
    Case {
        change: |job| {
            let back = json!({"source": "out", "target": "numbers", "partitioning": "rebalance"});
            job["edges"].as_array_mut().unwrap().push(back);
        },
        named: &["edges", "cycle"],
    },
    Case {
        change: |job| job["configuration"]["restart-strategy.typ"] = json!("none"),
        named: &["restart-strategy.typ", "restart-strategy.type"],
    },
    Case {
        change: |job| job["configuration"]["execution.checkpointing.interval"] = json!("soon"),
        named: &["execution.checkpointing.interval", "soon"],
    },
    Case {
        change: |job| job["jobId"] = json!("not hex"),
        named: &["jobId"],
    },
];

fn refused(cluster: &Cluster, body: &[u8]) -> Vec<String> {
    let (status, answer) = cluster.rest.ask("POST", "/jobs", body).unwrap();
    assert_eq!(status, 400, "{answer}");
    let errors = answer["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|e| e.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_invalid_job_is_refused_with_every_problem_and_leaves_nothing() {
    let cluster = Cluster::start(0, 1, &[]);
    for case in &CASES {
        let mut job = endless("bad");
        (case.change)(&mut job);
        let errors = refused(&cluster, job.to_string().as_bytes()).join("\n");
        for word in case.named {
            assert!(errors.contains(word), "`{word}` is not in: {errors}");
        }
    }
    let mut job = endless("bad");
    for case in [&CASES[4], &CASES[8], &CASES[13]] {
        (case.change)(&mut job);
    }
    let errors = refused(&cluster, job.to_string().as_bytes());
    assert_eq!(errors.len(), 3, "{errors:?}");

    for garbage in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        &vec![b'['; 10 << 20],
        &vec![0; 10 << 20],
    ] {
        refused(&cluster, garbage);
    }
    let jobs = cluster.rest.get("/jobs/overview");
    assert_eq!(jobs, json!({"jobs": []}));
}

#[test]
fn an_unknown_route_job_or_method_is_an_error_in_json() {
    let cluster = Cluster::start(0, 1, &[]);
    let unknown = "/jobs/00000000000000000000000000000001";
    for (method, path, wanted) in [
        ("GET", "/nothing/here", 404),
        ("GET", unknown, 404),
        ("GET", "/jobs/xyz", 400),
        (
            "PATCH",
            "/jobs/00000000000000000000000000000001?mode=cancel",
            404,
        ),
        ("GET", "/taskmanagers/nobody", 404),
        ("DELETE", "/overview", 405),
    ] {
        for prefix in ["", "/v1"] {
            let path = format!("{prefix}{path}");
            let (status, answer) = cluster.rest.ask(method, &path, b"").unwrap();
            assert_eq!(status, wanted, "{method} {path}: {answer}");
            assert!(answer["errors"][0].is_string(), "{method} {path}: {answer}");
        }
    }
}

/// Says something that is not the protocol, and waits until the other side has had enough.
fn talk_nonsense(address: &str, nonsense: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(10)))
        .unwrap();
    // The other side may close before everything is written.
    let _ = stream.write_all(nonsense);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn nonsense_on_the_ports_disturbs_nobody() {
    let cluster = Cluster::start(1, 2, &[]);
    let id = cluster.rest.submit(&endless("undisturbed"));
    cluster.rest.wait_for_all_running(&id);
    let answer = cluster.rest.get("/taskmanagers");
    let taskmanager = answer["taskmanagers"][0]["path"].as_str().unwrap();
    let taskmanager = taskmanager.strip_prefix("grpc://").unwrap();
    let mut greedy = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    greedy.extend([0xff; 4096]);
    for address in [&cluster.rpc, taskmanager] {
        for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100_000], &greedy] {
            talk_nonsense(address, nonsense);
        }
    }
    cluster.rest.wait_for_new_checkpoint(&id);
    assert_eq!(cluster.rest.get(&format!("/jobs/{id}"))["restarts"], 0);
}

#[test]
fn of_two_taskmanagers_with_one_name_the_second_is_refused_with_a_reason() {
    let cluster = Cluster::start(1, 2, &[]);
    let id = cluster.rest.submit(&endless("undisturbed"));
    cluster.rest.wait_for_all_running(&id);
    let mut second = taskmanager();
    second.args(["--jobmanager", &cluster.rpc, "--id", "tm-0", "--slots", "1"]);
    let second = Process::start(&mut second, &cluster.path("second.log"));
    wait_for("the refusal", || {
        let output = second.output().to_lowercase();
        (output.contains("refused") && output.contains("tm-0")).then_some(())
    });
    cluster.rest.wait_for_new_checkpoint(&id);
    assert_eq!(cluster.rest.get("/overview")["taskmanagers"], 1);
    assert_eq!(cluster.rest.get(&format!("/jobs/{id}"))["restarts"], 0);
}

/// `serve` with these arguments must end with an error that names all of this.
fn serve_fails(arguments: &[&str], named: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = jobmanager();
    serve
        .arg("serve")
        .args(arguments)
        .current_dir(folder.path());
    let mut serve = Process::start(&mut serve, &folder.path().join("log"));
    assert!(!serve.end().success());
    let output = serve.output();
    for word in named {
        assert!(output.contains(word), "`{word}` is not in: {output}");
    }
}

#[test]
fn a_jobmanager_that_cannot_start_says_why_and_touches_nothing() {
    let mut cluster = Cluster::start(0, 1, &[]);
    let host = own_address();
    let [rest, rpc] = free_ports(host);
    let other = cluster.path("other");
    let other = other.to_str().unwrap();

    let taken = cluster.rest.address.strip_prefix("http://").unwrap();
    let arguments = [
        "--rest-addr",
        taken,
        "--rpc-addr",
        &rpc,
        "--data-dir",
        other,
    ];
    serve_fails(&arguments, &[taken, "--rest-addr"]);
    let arguments = [
        "--rest-addr",
        &rest,
        "--rpc-addr",
        &cluster.rpc,
        "--data-dir",
        other,
    ];
    serve_fails(&arguments, &[&cluster.rpc, "--rpc-addr"]);

    let data = cluster.path("data");
    let data = data.to_str().unwrap();
    let arguments = ["--rest-addr", &rest, "--rpc-addr", &rpc, "--data-dir", data];
    serve_fails(&arguments, &[data]);

    cluster.kill_jobmanager();
    let file = std::path::Path::new(data).join("metadata.redb");
    std::fs::write(&file, "somebody else's file").unwrap();
    serve_fails(&arguments, &["metadata.redb"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"somebody else's file");

    let arguments = [
        "--rest-addr",
        &rest,
        "--rpc-addr",
        &rpc,
        "-Dheartbeat.intervall=1 s",
    ];
    serve_fails(&arguments, &["heartbeat.intervall", "heartbeat.interval"]);
}
