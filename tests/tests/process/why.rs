//! Why a job is not further, as clients get to know it: over REST and on the command line.

use crate::clients::client;
use crate::cluster::Cluster;
use crate::jobs::endless;
use serde_json::{Value, json};

/// The causes of a job with that kind, wherever they stand.
fn find<'a>(causes: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut causes = causes.as_array().unwrap().iter();
    causes.find_map(|cause| match cause["kind"] == kind {
        true => Some(cause),
        false => find(&cause["because"], kind),
    })
}

#[test]
fn a_job_without_slots_says_what_is_missing_and_what_would_help() {
    let cluster = Cluster::start(0, 1, &[]);
    let (rest, address) = (&cluster.rest, cluster.rest.address.as_str());
    let job = rest.submit(&endless("patient"));
    let why = rest.get(&format!("/v1/jobs/{job}/why"));
    assert_eq!(why["job"], job.as_str());
    assert_eq!(why["status"], "RUNNING");
    let slots = find(&why["causes"], "waits-for-slots").unwrap();
    assert_eq!(slots["missing"], slots["needed"], "{slots}");
    assert_eq!(slots["taskmanagers"], 0, "{slots}");
    let nobody = find(&slots["because"], "no-taskmanager").unwrap();

    let (code, out, error) = client(address, &["why", &job]);
    assert_eq!((code, error.as_str()), (0, ""));
    let wanted = [&format!("Job {job} is RUNNING"), "Start TaskManagers with"];
    assert!(wanted.iter().all(|words| out.contains(words)), "{out}");
    let below = format!("  - {}\n", nobody["text"].as_str().unwrap());
    assert!(out.contains(&below), "{out}");

    let (code, out, _) = client(address, &["why", &job, "--json"]);
    assert_eq!(code, 0);
    let told: Value = serde_json::from_str(&out).unwrap();
    let told = find(&told["causes"], "waits-for-slots").unwrap();
    assert_eq!(told["missing"], slots["missing"], "{told}");
}

#[test]
fn a_job_that_runs_waits_for_nothing_but_its_next_checkpoint() {
    let cluster = Cluster::start(1, 2, &[]);
    let job = cluster.rest.submit(&endless("busy"));
    cluster.rest.wait_for_all_running(&job);
    let why = cluster.rest.get(&format!("/jobs/{job}/why"));
    let causes = why["causes"].as_array().unwrap().iter();
    let checkpoints = ["checkpoint-under-way", "checkpoint-held-back"].map(Value::from);
    let mut others = causes.filter(|cause| !checkpoints.contains(&cause["kind"]));
    assert_eq!(others.next(), None, "{why}");
    let (code, out, _) = client(&cluster.rest.address, &["why", &job]);
    assert_eq!(code, 0);
    assert!(out.starts_with(&format!("Job {job} is RUNNING\n")), "{out}");

    cluster
        .rest
        .ask("PATCH", &format!("/jobs/{job}?mode=cancel"), b"");
    cluster.rest.wait_for_state(&job, "CANCELED");
    let why = cluster.rest.get(&format!("/jobs/{job}/why"));
    assert_eq!(why["status"], "CANCELED");
    assert_eq!(why["next-checkpoint"], Value::Null);
}

#[test]
fn who_asks_about_no_job_is_told_so() {
    let cluster = Cluster::start(0, 1, &[]);
    let unknown = "00000000000000000000000000000001";
    let ask = |method: &str, path: &str| cluster.rest.ask(method, path, b"").unwrap();
    let (status, answer) = ask("GET", &format!("/jobs/{unknown}/why"));
    assert_eq!(status, 404);
    let wanted = format!("Job {unknown} not found");
    assert_eq!(answer, json!({"errors": [wanted]}));
    let (status, answer) = ask("GET", "/jobs/x%0Ay/why");
    assert_eq!(status, 400, "{answer}");
    assert!(answer["errors"][0].as_str().unwrap().contains(r"x\ny"));
    assert_eq!(ask("POST", &format!("/jobs/{unknown}/why")).0, 405);
    assert_eq!(ask("GET", &format!("/jobs/{unknown}/why/not")).0, 404);

    let why = |arguments: &[&str]| client(&cluster.rest.address, arguments);
    for arguments in [&["why", unknown][..], &["why", unknown, "--json"]] {
        let (code, out, error) = why(arguments);
        assert_eq!((code, out.as_str()), (4, ""), "{error}");
        assert!(error.contains(unknown), "{error}");
    }
    let (code, _, error) = why(&["why", "not-an-id"]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("not-an-id"), "{error}");
    let (code, _, error) = why(&["why"]);
    assert_eq!(code, 64, "{error}");
}
