//! Checkpoints and savepoints in object storage, on real servers: what was promised of folders holds there, too, and
//! a server that says nothing keeps nobody waiting.

use crate::clients::client;
use crate::cluster::{Cluster, jobmanager};
use crate::jobs::recovering;
use crate::process::{Process, Signal, wait_for};
use crate::savepoints::Numbers;
use crate::text::committed;
use jobmanager_tests::services::objects::{Kind, ObjectServer};
use jobmanager_tests::services::proxy::{Fault, Proxy};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// More objects than a server lists, or deletes, with one request.
const MANY: usize = 1_100;

/// A cluster whose checkpoints are in a bucket, reached through this port, and a job whose snapshots are files.
fn start(server: &ObjectServer, port: u16, inline_threshold: &str) -> Numbers {
    let checkpoints = format!("{}/checkpoints", server.url());
    let savepoints = format!("{}/savepoints", server.url());
    let options = [
        ("execution.checkpointing.dir", checkpoints.as_str()),
        ("execution.checkpointing.savepoint-dir", &savepoints),
        ("jobmanager.failover.reconciliation-timeout", "200 ms"),
    ];
    // A slot each: both have tasks.
    let cluster = Cluster::start_in(server.environment(port), 2, 1, &options);
    Numbers::on(cluster, inline_threshold)
}

/// The names of a job's objects among the checkpoints.
fn of_job(server: &ObjectServer, job: &str) -> Vec<String> {
    server.names(&format!("checkpoints/{job}"))
}

/// Waits until nothing of the job is left among the checkpoints.
fn wait_for_removal(server: &ObjectServer, job: &str) {
    wait_for("the job's checkpoints to be removed", || {
        of_job(server, job).is_empty().then_some(())
    });
}

/// Where `jobmanager savepoint` or `stop` says that the savepoint is, and its name below the prefix.
fn completed(server: &ObjectServer, (code, out, error): (i32, String, String)) -> (String, String) {
    assert_eq!(code, 0, "{error}");
    let mut lines = out.lines();
    let path = lines.find_map(|line| line.strip_prefix("Savepoint completed. Path: "));
    let path = path.unwrap().to_owned();
    let name = path.strip_prefix(&format!("{}/", server.url())).unwrap();
    (path.clone(), name.to_owned())
}

impl Numbers {
    fn client(&self, arguments: &[&str]) -> (i32, String, String) {
        client(&self.cluster.rest.address, arguments)
    }

    /// Starts the job from this savepoint; gives what the client says.
    fn start_from(&self, savepoint: &str) -> (i32, String, String) {
        let file = self.cluster.path("job.json");
        std::fs::write(&file, self.graph.to_string()).unwrap();
        let file = file.to_str().unwrap();
        self.client(&["run", file, "--detached", "--from-savepoint", savepoint])
    }

    /// Waits until the job has published more than it has now.
    fn wait_for_output(&self) {
        let before = committed(&self.out).len();
        wait_for("the job to publish more", || {
            (committed(&self.out).len() > before).then_some(())
        });
    }
}

fn a_job_lives_with_its_checkpoints_in_a_bucket(kind: Kind) {
    let server = ObjectServer::start(kind);
    let mut run = start(&server, server.port(), "0 b");
    let first = run.job.clone();
    assert!(!of_job(&server, &first).is_empty());

    // Nothing of an attempt that is killed is lost or doubled.
    run.cluster.kill_and_restart_taskmanager(0);
    wait_for("the job to be restored", || {
        let restored = run.cluster.rest.checkpoint_count(&first, "restored");
        (restored >= 1).then_some(())
    });
    run.cluster.rest.wait_for_all_running(&first);
    run.cluster.rest.wait_for_new_checkpoint(&first);
    run.wait_for_output();

    // What is not needed any more goes, however much it is, and whoever leads.
    run.cluster.kill_jobmanager();
    for number in 0..MANY {
        server.put(&format!("checkpoints/{first}/chk-0/{number}"));
    }
    let old = of_job(&server, &first);
    assert!(old.len() > MANY, "{}", old.len());
    run.cluster.start_jobmanager();
    run.cluster.wait_for_taskmanagers(2);
    run.cluster.rest.wait_for_new_checkpoint(&first);
    wait_for("the old checkpoints to be deleted", || {
        let left = of_job(&server, &first);
        (!left.iter().any(|name| old.contains(name))).then_some(())
    });

    let (taken, in_bucket) = completed(&server, run.client(&["savepoint", &first]));
    assert_eq!(server.names(&in_bucket).len(), 5, "{in_bucket}");
    let (stopped, left) = completed(&server, run.client(&["stop", &first]));
    wait_for_removal(&server, &first);

    let (code, out, error) = run.start_from(&stopped);
    assert_eq!(code, 0, "{error}");
    let second = out.trim().rsplit(' ').next().unwrap().to_owned();
    run.cluster.rest.wait_for_new_checkpoint(&second);
    run.job.clone_from(&second);
    run.wait_for_output();
    let (code, _, error) = run.client(&["savepoint", "--dispose", &taken]);
    assert_eq!(code, 0, "{error}");
    assert!(server.names(&in_bucket).is_empty());
    let (code, _, error) = run.client(&["savepoint", "--dispose", &taken]);
    assert_eq!(code, 5);
    assert!(error.contains("no file `_metadata`"), "{error}");

    let (_, last) = completed(&server, run.client(&["stop", &second]));
    wait_for_removal(&server, &second);
    run.assert_prefix();
    // Of all of that two savepoints are left, and nothing of what was tried with.
    let (checkpoints, savepoints) = (server.names("checkpoints"), server.names("savepoints"));
    assert!(checkpoints.is_empty(), "{checkpoints:?}");
    let is_left = |name: &&String| name.starts_with(&left) || name.starts_with(&last);
    assert_eq!(savepoints.iter().filter(is_left).count(), 10);
    assert_eq!(savepoints.len(), 10, "{savepoints:?}");
}

/// The folders of savepoints.
fn savepoint_folders(server: &ObjectServer) -> BTreeSet<String> {
    let names = server.names("savepoints").into_iter();
    let folders = names.filter_map(|name| Some(name.rsplit_once('/')?.0.to_owned()));
    folders.collect()
}

/// Lets a savepoint begin that does not become complete, because a TaskManager stands still: gives its folder, and
/// where its outcome will be.
fn begin_a_savepoint(run: &Numbers, server: &ObjectServer) -> (String, String) {
    wait_for("a part of a savepoint", || {
        run.cluster.taskmanagers[0].signal(Signal::Stop);
        let known = savepoint_folders(server);
        let path = run.cluster.rest.trigger(&run.job, "savepoints", &json!({}));
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(2) {
            if let Some(begun) = savepoint_folders(server).difference(&known).next() {
                return Some((begun.clone(), path));
            }
        }
        // A checkpoint was under way, and the savepoint waits for it.
        run.cluster.taskmanagers[0].signal(Signal::Continue);
        run.cluster.rest.outcome(&path).unwrap();
        None
    })
}

fn nothing_is_left_of_a_savepoint_that_did_not_become_complete(kind: Kind) {
    let server = ObjectServer::start(kind);
    let mut run = start(&server, server.port(), "0 b");
    let (begun, path) = begin_a_savepoint(&run, &server);
    run.cluster.kill_and_restart_taskmanager(0);
    // It is taken once more, in a folder of its own.
    let location = run.cluster.rest.outcome(&path).unwrap();
    assert!(!location.ends_with(&begun), "{begun}");
    wait_for("the other part to be deleted", || {
        (!savepoint_folders(&server).contains(&begun)).then_some(())
    });
    let folder = location.rsplit('/').next().unwrap();
    let names = server.names(&format!("savepoints/{folder}"));
    assert_eq!(names.len(), 5, "{names:?}");
    completed(&server, run.client(&["stop", &run.job]));
    run.assert_prefix();
}

/// How a JobManager with this storage and environment refuses to start.
fn refusal(storage: &str, environment: Vec<(&str, String)>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = jobmanager();
    command
        .args(["serve", "--rest-addr", ":0", "--rpc-addr", ":0"])
        .args(["--checkpoint-dir", storage, "--data-dir"])
        .arg(folder.path().join("data"))
        .envs(environment);
    let mut process = Process::start(&mut command, &folder.path().join("log"));
    assert_eq!(process.end().code(), Some(1), "{}", process.output());
    let words = process.output();
    assert!(words.contains("error: checkpoint storage"), "{words}");
    assert!(words.contains("--checkpoint-dir"), "{words}");
    words
}

fn a_bucket_that_cannot_be_used_is_refused_with_what_to_do(kind: Kind) {
    let server = ObjectServer::start(kind);
    let elsewhere = server.url().replace("metadata", "elsewhere");
    let words = refusal(&elsewhere, server.environment(server.port()));
    for part in [elsewhere.as_str(), "does not exist"] {
        assert!(words.contains(part), "{part} in {words}");
    }

    let (secret, wrong, problem) = match kind {
        Kind::Moto => ("AWS_SECRET_ACCESS_KEY", None, "AWS_ACCESS_KEY_ID"),
        // The words of who was asked with a wrong signature.
        Kind::Azurite => (
            "AZURE_STORAGE_ACCOUNT_KEY",
            Some("d3Jvbmc="),
            "Server failed to authenticate the request",
        ),
    };
    let mut environment = server.environment(server.port());
    environment.retain(|(name, _)| *name != secret);
    environment.extend(wrong.map(|wrong| (secret, wrong.to_owned())));
    // Nobody gives a machine its credentials here.
    environment.push(("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1".to_owned()));
    let words = refusal(&server.url(), environment);
    for part in [server.url().as_str(), problem, secret] {
        assert!(words.contains(part), "{part} in {words}");
    }

    let run = start(&server, server.port(), "0 b");
    let (code, _, error) = run.client(&["savepoint", &run.job, &elsewhere]);
    assert_ne!(code, 0);
    assert!(error.contains("does not exist"), "{error}");
    assert!(!error.contains("<Error>"), "{error}");
    let (code, _, error) = run.client(&["savepoint", &run.job, "s3://key:hush@bucket/a"]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("from the environment"), "{error}");
    let nowhere = format!("{elsewhere}/savepoint-1");
    let (code, _, error) = run.start_from(&nowhere);
    assert_eq!(code, 4, "{error}");
    for part in [nowhere.as_str(), "does not exist"] {
        assert!(error.contains(part), "{error}");
    }
    run.cluster.rest.wait_for_new_checkpoint(&run.job);
    let job = run.cluster.rest.get(&format!("/jobs/{}", run.job));
    assert_eq!(job["restarts"], 0, "{job}");
}

fn a_server_that_says_nothing_keeps_nobody_waiting(kind: Kind) {
    let server = ObjectServer::start(kind);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::before(server.port()));
    let run = start(&server, proxy.port(), "20 kb");
    let rest = &run.cluster.rest;
    // A snapshot that nobody needs any more, of a job that goes on.
    server.put(&format!("checkpoints/{}/chk-0/a", run.job));
    proxy.next(Fault::Silence);
    for _ in 0..3 {
        rest.wait_for_new_checkpoint(&run.job);
    }
    let (asked, path) = (Instant::now(), format!("/jobs/{}?mode=cancel", run.job));
    assert_eq!(rest.ask("PATCH", &path, b"").unwrap().0, 202);
    rest.wait_for_state(&run.job, "CANCELED");
    // The next job is not in its way either.
    let other = json!({
        "name": "other",
        "vertices": [{"id": "numbers", "operator": "datagen-source", "config": {"rate": 10}}],
        "configuration": recovering()});
    let other = rest.submit(&other);
    rest.wait_for_all_running(&other);
    rest.wait_for_new_checkpoint(&other);
    println!(
        "{kind:?}: {:.1} s in silence",
        asked.elapsed().as_secs_f32()
    );
    assert_eq!(of_job(&server, &run.job).len(), 1);
    // Who was not answered asks once more.
    proxy.next(Fault::None);
    wait_for_removal(&server, &run.job);
}

/// Makes the tests for one server.
macro_rules! tests {
    ($kind:expr, $reason:literal) => {
        use super::*;

        #[test]
        #[ignore = $reason]
        fn a_job_lives_with_its_checkpoints_in_a_bucket() {
            super::a_job_lives_with_its_checkpoints_in_a_bucket($kind);
        }

        #[test]
        #[ignore = $reason]
        fn nothing_is_left_of_a_savepoint_that_did_not_become_complete() {
            super::nothing_is_left_of_a_savepoint_that_did_not_become_complete($kind);
        }

        #[test]
        #[ignore = $reason]
        fn a_bucket_that_cannot_be_used_is_refused_with_what_to_do() {
            super::a_bucket_that_cannot_be_used_is_refused_with_what_to_do($kind);
        }

        #[test]
        #[ignore = $reason]
        fn a_server_that_says_nothing_keeps_nobody_waiting() {
            super::a_server_that_says_nothing_keeps_nobody_waiting($kind);
        }
    };
}

mod s3 {
    //! On moto, which speaks S3.

    tests!(Kind::Moto, "needs moto: run tests/run");
}

mod azure {
    //! On Azurite, which speaks Azure Blob Storage.

    tests!(Kind::Azurite, "needs Azurite: run tests/run");
}
