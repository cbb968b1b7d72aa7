//! REST, asked by a program that knows only its description and tries whatever that allows and forbids: schemathesis.

use crate::cluster::Cluster;
use crate::jobs::endless;
use std::fmt::Write;
use std::process::Command;

/// What has no meaning here says so with 501. What is well formed may still be refused for what it means: an edge names
/// a vertex that is not there.
const CHECKS: &str = r#"
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 501]

[[operations]]
include-method = ["POST", "PUT", "PATCH"]
checks.positive_data_acceptance.enabled = false

[parameters]
"#;
/// An answer to it does not end.
const ENDLESS: &str = "/events";
/// What ends a job: the others are to find one that runs.
const ENDS_JOBS: [&str; 4] = [
    "patch_jobs_job",
    "post_applications_job_cancel",
    "post_jobs_job_stop",
    "get_jobs_job_yarn_cancel",
];

/// Asks for everything with these parts of paths, and with any others.
fn ask(cluster: &Cluster, known: &[(&str, String)], leave_out: &[&str]) {
    let mut checks = CHECKS.to_owned();
    for (name, value) in known {
        writeln!(checks, "\"path.{name}\" = {value}").unwrap();
    }
    let config = cluster.path("schemathesis.toml");
    std::fs::write(&config, checks).unwrap();
    let mut command = Command::new("schemathesis");
    command.current_dir(cluster.path(""));
    command.arg("--config-file").arg(&config).arg("run");
    command.arg(format!("{}/openapi.json", cluster.rest.address));
    command.args(["--phases", "examples,coverage,fuzzing"]);
    command.args(["--seed", "1", "--max-examples", "20", "--no-shrink"]);
    command.args(["--request-timeout", "10", "--continue-on-failure"]);
    command.args(["--exclude-path", ENDLESS]);
    for operation in leave_out {
        command.args(["--exclude-operation-id", operation]);
    }
    let output = command.output();
    let output =
        output.expect("schemathesis is installed: pip install schemathesis, or run tests/run");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(report.contains(" generated"), "{report}");
}

#[test]
#[ignore = "needs schemathesis: run tests/run"]
fn whatever_schemathesis_asks_is_answered_as_described() {
    let cluster = Cluster::start(1, 4, &[]);
    let job = cluster.rest.submit(&endless("asked"));
    cluster.rest.wait_for_all_running(&job);
    cluster.rest.wait_for_new_checkpoint(&job);
    let vertex = &cluster.rest.get(&format!("/jobs/{job}"))["vertices"][0]["id"];
    let taskmanager = &cluster.rest.get("/taskmanagers")["taskmanagers"][0]["id"];
    let known = [
        ("job", format!("{job:?}")),
        ("vertex", vertex.to_string()),
        ("subtask", "0".to_owned()),
        ("attempt", "0".to_owned()),
        ("checkpoint", "1".to_owned()),
        ("taskmanager", taskmanager.to_string()),
    ];
    ask(&cluster, &known, &ENDS_JOBS);
    assert_eq!(cluster.rest.state(&job), "RUNNING");
    ask(&cluster, &[], &[]);
}
