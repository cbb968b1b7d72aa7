//! What processes have logged, as clients read and follow it.

use crate::clients::client;
use crate::cluster::{Cluster, jobmanager};
use crate::process::{Process, wait_for};
use serde_json::Value;

/// `jobmanager logs --follow`; its output goes to a file of this name.
fn follow(cluster: &Cluster, arguments: &[&str], name: &str) -> Process {
    let mut command = jobmanager();
    command
        .args(["logs", "--follow", "--jobmanager", &cluster.rest.address])
        .args(arguments);
    Process::start(&mut command, &cluster.path(name))
}

#[test]
fn the_log_that_is_read_is_that_of_standard_error() {
    let cluster = Cluster::start(1, 2, &[]);
    let address = cluster.rest.address.as_str();
    let (code, log, _) = client(address, &["logs"]);
    assert_eq!(code, 0);
    assert!(log.contains("TaskManager registered"), "{log}");
    // The same file has standard output, too.
    let written = std::fs::read_to_string(cluster.path("jobmanager.log")).unwrap();
    let mut written = written.lines();
    assert!(
        log.lines().all(|line| written.any(|other| other == line)),
        "{log}"
    );
    let (code, log, _) = client(address, &["logs", "tm-0"]);
    assert_eq!(code, 0);
    let written = std::fs::read_to_string(cluster.path("tm-0.log")).unwrap();
    assert!(log.lines().count() > 1 && written.contains(&log), "{log}");
    let (_, last, _) = client(address, &["logs", "tm-0", "-n", "1"]);
    assert_eq!(
        last.lines().collect::<Vec<_>>(),
        [log.lines().last().unwrap()]
    );

    let files = cluster.rest.get("/taskmanagers/tm-0/logs");
    let kept = u64::try_from(log.len()).unwrap();
    assert!(
        files["logs"][0]["size"].as_u64().unwrap() >= kept,
        "{files}"
    );
    let (code, _, error) = client(address, &["logs", "nobody"]);
    assert_eq!(code, 4);
    assert!(error.contains("nobody"), "{error}");
}

#[test]
fn a_log_is_followed_into_the_next_life_of_its_process() {
    let mut cluster = Cluster::start(1, 2, &[]);
    let of_worker = follow(&cluster, &["tm-0"], "followed-tm.txt");
    let own = follow(&cluster, &["-n", "0"], "followed-jm.txt");
    let lives = || of_worker.output().matches("taskmanager started").count();
    wait_for("the first life", || (lives() == 1).then_some(()));
    cluster.kill_and_restart_taskmanager(0);
    wait_for("the next life", || (lives() == 2).then_some(()));
    assert!(of_worker.output().contains("another process answers now"));
    // Who asks for no line that there is hears only of what comes.
    let news = || own.output().contains("session opened").then_some(());
    wait_for("what comes", news);
    assert!(!own.output().contains("ready"), "{}", own.output());
}

#[test]
fn a_log_that_is_not_kept_is_refused_with_what_to_do() {
    let cluster = Cluster::start(0, 1, &[("log.memory", "0")]);
    let (code, _, error) = client(&cluster.rest.address, &["logs"]);
    assert_eq!(code, 4);
    assert!(error.contains("log.memory"), "{error}");
    let files = cluster.rest.get("/jobmanager/logs");
    assert_eq!(files["logs"], Value::Array(Vec::new()));
}
