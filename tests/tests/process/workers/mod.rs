//! TaskManagers that nobody starts but the JobManager, when jobs need them: as processes of its machine, and in the
//! modules below as pods.

#[cfg(feature = "services")]
mod kubernetes;

use crate::cluster::{Cluster, QUICK, free_ports, own_address, serve};
use crate::jobs::endless;
use crate::process::{Process, Signal, exists, wait_for};
use crate::rest::Rest;
use crate::security::pki::Authority;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use tempfile::TempDir;

/// Options of JobManagers that start processes.
const PROCESSES: [(&str, &str); 2] = [
    ("resourcemanager.provider", "process"),
    ("resourcemanager.taskmanager-timeout", "1 min"),
];

/// A job of so many tasks, each of which needs a slot for itself.
fn wide(tasks: u32) -> Value {
    let mut job = endless("wide");
    for vertex in job["vertices"].as_array_mut().unwrap() {
        vertex["parallelism"] = tasks.into();
    }
    job
}

/// The names of the TaskManagers that are registered.
fn registered(rest: &Rest) -> Vec<String> {
    let all = rest.get("/taskmanagers");
    let all = all["taskmanagers"].as_array().unwrap().iter();
    let mut names: Vec<_> = all
        .map(|tm| tm["id"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn cancel(rest: &Rest, job: &str) {
    rest.ask("PATCH", &format!("/jobs/{job}?mode=cancel"), b"");
    rest.wait_for_state(job, "CANCELED");
}

/// What is told of a job's causes, once these words are among it.
fn wait_for_cause(rest: &Rest, job: &str, words: &str) -> String {
    wait_for(words, || {
        let why = rest.get(&format!("/jobs/{job}/why"));
        let causes = why["causes"].to_string();
        causes.contains(words).then_some(causes)
    })
}

/// Asserts that nothing of the job has been started a second time.
fn assert_no_restart(rest: &Rest, job: &str) {
    let details = rest.get(&format!("/jobs/{job}"));
    assert_eq!(details["restarts"], 0, "{details}");
}

/// The number in the metrics by this name and these labels.
fn metric(rest: &Rest, sample: &str) -> f64 {
    let text = rest.text("/metrics");
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("{sample} is not in {text}"));
    value.parse().unwrap()
}

/// A cluster whose JobManager starts processes. They outlive it, but not this.
struct Provided(Cluster);

impl Provided {
    fn start(options: &[(&str, &str)]) -> Provided {
        Provided(Cluster::start(0, 1, &[&PROCESSES[..], options].concat()))
    }

    fn processes(&self) -> BTreeMap<String, u32> {
        processes(&self.0.path("data"))
    }

    /// Submits a job that needs as many TaskManagers, and waits until it runs.
    fn run(&self, tasks: u32) -> String {
        run(&self.0.rest, tasks)
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // It would start others.
        drop(self.0.jobmanager.take());
        kill_all(&self.0.path("data"));
    }
}

/// The processes that are written down in a data folder, each by the name of its TaskManager.
fn processes(data: &Path) -> BTreeMap<String, u32> {
    let files = fs::read_dir(data.join("workers"));
    let files = files.into_iter().flatten().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "pid"));
    let process = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // It may have ended, or not have been written yet.
        let text = fs::read_to_string(&path).ok()?;
        let id = text.strip_suffix('\n')?.parse().ok()?;
        Some((name, id))
    };
    files.filter_map(process).collect()
}

fn kill_all(data: &Path) {
    let processes = processes(data);
    let others = |pid: &&u32| **pid != std::process::id();
    for pid in processes.values().filter(others) {
        kill(*pid);
    }
}

/// Two JobManagers that share a folder. The first one leads.
struct Two {
    rests: [Rest; 2],
    leader: Process,
    _standby: Process,
}

impl Two {
    fn start(folder: &Path, options: &[(&str, &str)]) -> Two {
        let [first, first_rpc, second, second_rpc] = free_ports(own_address());
        let addresses = format!("{first_rpc},{second_rpc}");
        let own = [
            ("high-availability.type", "FILE_LOCK"),
            ("taskmanager.jobmanager-addresses", &addresses),
        ];
        let options = [&QUICK[..], &own, options].concat();
        let start = |rest: &str, rpc: &str, log: &str| {
            let mut command = serve(rest, rpc, &folder.join("data"));
            command.args(
                options
                    .iter()
                    .map(|(key, value)| format!("-D{key}={value}")),
            );
            Process::start(&mut command, &folder.join(log))
        };
        let rests = [&first, &second].map(|address| Rest::new(&format!("http://{address}")));
        let leader = start(&first, &first_rpc, "first.log");
        wait_until_it_leads(&rests[0]);
        Two {
            rests,
            leader,
            _standby: start(&second, &second_rpc, "second.log"),
        }
    }

    /// Kills the leader, and gives the other one when the job runs there as before.
    fn hand_over(&mut self, job: &str) -> &Rest {
        let next = &self.rests[1];
        self.leader.kill();
        wait_until_it_leads(next);
        next.wait_for_all_running(job);
        next.wait_for_new_checkpoint(job);
        assert_no_restart(next, job);
        next
    }
}

fn wait_until_it_leads(rest: &Rest) {
    wait_for("the JobManager to lead", || {
        let answer = rest.ask("GET", "/overview", b"");
        answer.filter(|(status, _)| *status == 200)
    });
}

/// Submits a job that needs as many TaskManagers, and waits until it runs.
fn run(rest: &Rest, tasks: u32) -> String {
    let job = rest.submit(&wide(tasks));
    rest.wait_for_all_running(&job);
    job
}

fn kill(pid: u32) -> ExitStatus {
    let kill = format!("kill -KILL {pid}");
    Command::new("sh").args(["-c", &kill]).status().unwrap()
}

#[test]
fn a_job_gets_its_taskmanagers_by_itself_and_they_end_when_it_does() {
    let idle = [("resourcemanager.taskmanager-timeout", "300 ms")];
    let cluster = Provided::start(&idle);
    let rest = &cluster.0.rest;
    let job = cluster.run(3);
    let names = registered(rest);
    let expected = ["taskmanager-1-1", "taskmanager-1-2", "taskmanager-1-3"];
    assert_eq!(names, expected);
    assert_eq!(
        metric(rest, r#"jobmanager_workers{state="registered"}"#),
        3.0
    );
    assert_eq!(metric(rest, "jobmanager_required_slots"), 3.0);
    let processes = cluster.processes();
    assert_eq!(Vec::from_iter(processes.keys()), expected);
    cancel(rest, &job);
    wait_for("the end of all TaskManagers", || {
        cluster.processes().is_empty().then_some(())
    });
    cluster.0.wait_for_taskmanagers(0);
    assert!(processes.values().all(|pid| !exists(*pid)));
    let left = fs::read_to_string(cluster.0.path("data/workers/taskmanager-1-1.log")).unwrap();
    assert!(left.contains("taskmanager stopped"), "{left}");
    assert_eq!(
        metric(rest, r#"jobmanager_workers{state="registered"}"#),
        0.0
    );
}

#[test]
fn processes_keep_as_much_of_their_logs_as_their_jobmanager_does() {
    for (memory, files) in [("64 kb", 1), ("0", 0)] {
        let cluster = Provided::start(&[("log.memory", memory)]);
        cluster.run(1);
        let logs = cluster.0.rest.get("/taskmanagers/taskmanager-1-1/logs");
        assert_eq!(logs["logs"].as_array().unwrap().len(), files, "{logs}");
    }
}

#[test]
fn who_is_killed_is_replaced_by_another_one() {
    let cluster = Provided::start(&[]);
    let rest = &cluster.0.rest;
    let job = cluster.run(2);
    rest.wait_for_new_checkpoint(&job);
    assert!(kill(cluster.processes()["taskmanager-1-1"]).success());
    wait_for("another TaskManager", || {
        (registered(rest) == ["taskmanager-1-2", "taskmanager-1-3"]).then_some(())
    });
    rest.wait_for_all_running(&job);
    rest.wait_for_new_checkpoint(&job);
    assert!(!cluster.processes().contains_key("taskmanager-1-1"));
    let jobmanager = cluster.0.jobmanager.as_ref().unwrap().output();
    assert!(jobmanager.contains("signal: 9"), "{jobmanager}");
}

#[test]
fn a_jobmanager_finds_the_processes_of_the_one_before_and_no_task_restarts() {
    let mut cluster = Provided::start(&[]);
    let job = cluster.run(2);
    let processes = cluster.processes();
    for orderly in [false, true] {
        match orderly {
            true => assert!(cluster.0.end_jobmanager(Signal::Terminate).success()),
            false => cluster.0.kill_jobmanager(),
        }
        cluster.0.start_jobmanager();
        cluster.0.rest.wait_for_all_running(&job);
        cluster.0.rest.wait_for_new_checkpoint(&job);
        assert_eq!(cluster.processes(), processes);
        assert_no_restart(&cluster.0.rest, &job);
    }
    // The last one may do with them what the first one could.
    let rest = &cluster.0.rest;
    assert!(kill(processes["taskmanager-1-2"]).success());
    wait_for("another TaskManager", || {
        (registered(rest) == ["taskmanager-1-1", "taskmanager-3-1"]).then_some(())
    });
    rest.wait_for_all_running(&job);
}

#[test]
fn another_jobmanager_of_the_machine_takes_processes_over_and_no_task_restarts() {
    /// Dropped after the JobManagers, which would start others.
    struct Left(TempDir);

    impl Drop for Left {
        fn drop(&mut self) {
            kill_all(&self.0.path().join("data"));
        }
    }

    let left = Left(tempfile::tempdir().unwrap());
    let mut two = Two::start(left.0.path(), &PROCESSES);
    let job = run(&two.rests[0], 2);
    let before = processes(&left.0.path().join("data"));
    let next = two.hand_over(&job);
    assert_eq!(registered(next), ["taskmanager-1-1", "taskmanager-1-2"]);
    assert_eq!(processes(&left.0.path().join("data")), before);
}

#[test]
fn who_ended_without_a_jobmanager_is_not_taken_for_another_process() {
    let mut cluster = Provided::start(&[("jobmanager.failover.reconciliation-timeout", "200 ms")]);
    let job = cluster.run(1);
    cluster.0.kill_jobmanager();
    let pid = cluster.processes()["taskmanager-1-1"];
    assert!(kill(pid).success());
    // The system may give its id to anybody, such as us.
    let file = cluster.0.path("data/workers/taskmanager-1-1.pid");
    fs::write(&file, std::process::id().to_string()).unwrap();
    cluster.0.start_jobmanager();
    wait_for("another TaskManager", || {
        (registered(&cluster.0.rest) == ["taskmanager-2-1"]).then_some(())
    });
    cluster.0.rest.wait_for_all_running(&job);
    assert!(!file.exists());
}

#[test]
fn who_was_not_written_down_before_the_jobmanager_was_killed_is_found() {
    let mut cluster = Provided::start(&[]);
    let job = cluster.run(1);
    cluster.0.kill_jobmanager();
    let file = cluster.0.path("data/workers/taskmanager-1-1.pid");
    let pid = fs::read_to_string(&file).unwrap();
    fs::write(&file, "").unwrap();
    cluster.0.start_jobmanager();
    cluster.0.rest.wait_for_all_running(&job);
    assert_no_restart(&cluster.0.rest, &job);
    assert_eq!(
        metric(&cluster.0.rest, r#"jobmanager_workers{state="registered"}"#),
        1.0
    );
    fs::write(&file, pid).unwrap();
}

#[test]
fn a_limit_of_slots_is_obeyed_and_explained() {
    let cluster = Provided::start(&[("slotmanager.number-of-slots.max", "2")]);
    let rest = &cluster.0.rest;
    let job = rest.submit(&wide(3));
    let causes = wait_for_cause(rest, &job, "workers-at-limit");
    for words in ["slotmanager.number-of-slots.max", "require 3 slots"] {
        assert!(causes.contains(words), "{causes}");
    }
    cluster.0.wait_for_taskmanagers(2);
    assert_eq!(cluster.processes().len(), 2);
    cancel(rest, &job);
    // What it has is enough for this one.
    cluster.run(2);
    assert_eq!(cluster.processes().len(), 2);
}

#[test]
fn what_cannot_be_started_says_why_and_is_tried_again() {
    let cluster = Provided::start(&[]);
    let rest = &cluster.0.rest;
    let folder = cluster.0.path("data/workers");
    wait_for("the folder", || folder.exists().then_some(()));
    fs::remove_dir(&folder).unwrap();
    let job = rest.submit(&wide(1));
    let causes = wait_for_cause(rest, &job, "its process cannot be started");
    assert!(causes.contains("taskmanager-1-1.pid"), "{causes}");
    fs::create_dir(&folder).unwrap();
    rest.wait_for_all_running(&job);
    assert_eq!(registered(rest), ["taskmanager-1-1"]);
}

#[test]
fn processes_show_the_certificate_of_their_jobmanager() {
    let folder = TempDir::new().unwrap();
    let member = Authority::new("ours").member(folder.path(), &["ours", "all-of-us"]);
    let [certificate, key, authorities] = [&member.certificate, &member.key, &member.authorities]
        .map(|file| file.to_str().unwrap().to_owned());
    let cluster = Provided::start(&[
        ("security.ssl.internal.enabled", "true"),
        ("security.ssl.internal.cluster-name", "ours"),
        ("security.ssl.internal.certificate", &certificate),
        ("security.ssl.internal.key", &key),
        ("security.ssl.internal.ca", &authorities),
    ]);
    cluster.run(2);
    let log = cluster.0.jobmanager.as_ref().unwrap().output();
    assert!(log.contains("certificate=\"all-of-us\""), "{log}");
}
