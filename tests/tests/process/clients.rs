//! The client commands against a running cluster: what they print, how they exit.

use crate::cluster::{Cluster, free_ports, jobmanager, own_address};
use crate::jobs::{WordJob, endless};
use crate::process::{Process, Signal, wait_for};
use crate::text::write_files;
use serde_json::json;
use std::process::Output;

/// Runs a client command to its end: `(exit code, standard output, standard error)`.
pub(crate) fn client(address: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = jobmanager();
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .args(arguments)
        .args(["--jobmanager", address])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn a_job_is_submitted_listed_shown_and_canceled() {
    let cluster = Cluster::start(1, 2, &[]);
    let address = cluster.rest.address.as_str();
    let file = cluster.path("job.json");
    std::fs::write(&file, endless("forever").to_string()).unwrap();
    let file = file.to_str().unwrap();

    let (code, out, _) = client(address, &["run", file, "--detached"]);
    assert_eq!(code, 0);
    let id = out
        .trim()
        .strip_prefix("Job has been submitted with JobID ")
        .unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    cluster.rest.wait_for_all_running(id);

    let (code, out, _) = client(address, &["list"]);
    assert_eq!(code, 0);
    assert!(
        out.contains(id) && out.contains("RUNNING") && out.contains("forever"),
        "{out}"
    );

    let (code, out, _) = client(address, &["status", id]);
    assert_eq!(code, 0);
    assert!(
        out.contains("is RUNNING") && out.contains("numbers"),
        "{out}"
    );

    let (code, _, _) = client(address, &["cancel", id]);
    assert_eq!(code, 0);
    cluster.rest.wait_for_state(id, "CANCELED");
    let (_, out, _) = client(address, &["list"]);
    assert!(!out.contains(id), "{out}");
    let (_, out, _) = client(address, &["list", "-a"]);
    assert!(out.contains(id) && out.contains("CANCELED"), "{out}");

    let (code, _, error) = client(address, &["cancel", id]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("CANCELED"), "{error}");
}

#[test]
fn an_attached_run_ends_as_its_job_does() {
    let cluster = Cluster::start(1, 4, &[]);
    write_files(&cluster.path("input"), 61, 200);
    let (input, out, copy) = (
        cluster.path("input"),
        cluster.path("out"),
        cluster.path("copy"),
    );
    let file = cluster.path("words.json");
    let job = WordJob::new(&input, &out, &copy).json();
    std::fs::write(&file, job.to_string()).unwrap();
    let (code, out, error) = client(&cluster.rest.address, &["run", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("is FINISHED"), "{out}");

    let file = cluster.path("forever.json");
    std::fs::write(&file, endless("forever").to_string()).unwrap();
    let mut run = jobmanager();
    run.arg("run").arg(&file);
    run.args(["--jobmanager", &cluster.rest.address]);
    let mut run = Process::start(&mut run, &cluster.path("run.log"));
    let id = wait_for("the job's id", || {
        let output = run.output();
        let (_, rest) = output.split_once("JobID ")?;
        let (id, _) = rest.split_once('\n')?;
        Some(id.to_owned())
    });
    cluster.rest.wait_for_all_running(&id);
    client(&cluster.rest.address, &["cancel", &id]);
    assert_eq!(run.end().code(), Some(2), "{}", run.output());
}

#[test]
fn submitting_a_job_twice_runs_it_once() {
    let cluster = Cluster::start(1, 2, &[]);
    let mut job = endless("once");
    job["jobId"] = json!("0123456789abcdef0123456789abcdef");
    let first = cluster.rest.submit(&job);
    assert_eq!(first, "0123456789abcdef0123456789abcdef");
    cluster.rest.wait_for_all_running(&first);
    assert_eq!(cluster.rest.submit(&job), first);
    let jobs = cluster.rest.get("/jobs/overview");
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs}");
    assert_eq!(cluster.rest.get(&format!("/jobs/{first}"))["restarts"], 0);
}

#[test]
fn a_client_says_what_to_do_when_it_gets_nowhere() {
    let [nobody] = free_ports(own_address());
    let nobody = format!("http://{nobody}");
    let (code, _, error) = client(&nobody, &["list"]);
    assert_eq!(code, 3);
    assert!(
        error.contains(&nobody) && error.contains("jobmanager serve"),
        "{error}"
    );

    let (code, _, error) = client(&nobody, &["run", "no/such/job.json"]);
    assert_eq!(code, 64);
    assert!(error.contains("no/such/job.json"), "{error}");

    let (code, _, error) = client(&nobody, &["lits"]);
    assert_eq!(code, 64);
    assert!(error.contains("list"), "{error}");

    let cluster = Cluster::start(0, 1, &[]);
    let unknown = "00000000000000000000000000000001";
    let (code, _, error) = client(&cluster.rest.address, &["status", unknown]);
    assert_eq!(code, 4);
    assert!(error.contains(unknown), "{error}");
}

#[test]
fn an_id_that_is_none_is_named_before_anybody_is_asked() {
    let [nobody] = free_ports(own_address());
    let right = "00000000000000000000000000000001";
    let longer = format!("{right}/checkpoints?x=");
    for wrong in [
        "", "x", "overview", "a/b", "a?b", "a#b", "a%62", "a b", "..", "ä", &longer,
    ] {
        for command in [
            &["status"][..],
            &["why"],
            &["cancel"],
            &["rescale"],
            &["savepoint"],
            &["stop"],
            &["events", "--job"],
            &["savepoint", right, "--trigger"],
        ] {
            let what = match command {
                [.., "--trigger"] => "trigger",
                _ => "job",
            };
            let words =
                format!("error: `{wrong}` is not a {what} id: 32 hex digits are expected\n");
            let found = client(&nobody, &[command, &[wrong]].concat());
            assert_eq!(found, (4, String::new(), words), "{command:?}");
        }
    }
}

#[test]
fn help_is_everywhere_and_names_the_exit_codes() {
    for command in [
        "serve",
        "local",
        "run",
        "list",
        "status",
        "why",
        "cancel",
        "savepoint",
        "stop",
    ] {
        let output = jobmanager().args([command, "--help"]).output().unwrap();
        assert!(output.status.success(), "{command}");
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Usage"), "{command}: {help}");
        assert!(help.contains("Exit codes"), "{command}: {help}");
    }
}

#[test]
fn a_jobmanager_that_is_asked_to_end_ends_well_and_its_jobs_go_on_later() {
    let mut cluster = Cluster::start(1, 2, &[]);
    let id = cluster.rest.submit(&endless("goes-on"));
    cluster.rest.wait_for_all_running(&id);
    cluster.rest.wait_for_new_checkpoint(&id);
    assert!(cluster.end_jobmanager(Signal::Terminate).success());
    cluster.start_jobmanager();
    cluster.rest.wait_for_all_running(&id);
    cluster.rest.wait_for_new_checkpoint(&id);
}
