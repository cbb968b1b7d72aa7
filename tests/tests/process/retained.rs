//! Checkpoints that outlive their jobs, and jobs that start from them and own them.

use crate::clients::client;
use crate::cluster::Cluster;
use crate::jobs::recovering;
use crate::process::wait_for;
use crate::savepoints::{Numbers, folder};
use serde_json::json;
use std::path::{Path, PathBuf};

/// A job that was canceled, and whose last checkpoint outlives it.
struct Canceled {
    run: Numbers,
    location: String,
}

impl Canceled {
    fn new(inline_threshold: &str) -> Self {
        let mut configuration = recovering();
        configuration["execution.checkpointing.externalized-checkpoint-retention"] =
            json!("RETAIN_ON_CANCELLATION");
        let cluster = Cluster::start(2, 2, &[]);
        let run = Numbers::with(cluster, inline_threshold, configuration);
        let (code, _, error) = client(&run.cluster.rest.address, &["cancel", &run.job]);
        assert_eq!(code, 0, "{error}");
        run.cluster.rest.wait_for_state(&run.job, "CANCELED");
        let location = retained(&run);
        Canceled { run, location }
    }

    fn metadata(&self) -> PathBuf {
        folder(&self.location).join("_metadata")
    }

    fn start(&self, more: &[&str]) -> (i32, String, String) {
        let file = self.run.cluster.path("job.json");
        std::fs::write(&file, self.run.graph.to_string()).unwrap();
        let mut arguments = vec!["run", file.to_str().unwrap(), "--detached"];
        arguments.extend(["--from-savepoint", &self.location]);
        arguments.extend(more);
        client(&self.run.cluster.rest.address, &arguments)
    }
}

/// Where the last checkpoint of a job is, once it is retained.
fn retained(run: &Numbers) -> String {
    wait_for("the last checkpoint to be retained", || {
        let retained = run.cluster.rest.checkpoints(&run.job)["retained"].clone();
        let path = retained["external_path"].as_str()?.to_owned();
        (retained["status"] == "COMPLETED").then_some(path)
    })
}

/// The files below a folder.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| match path.is_dir() {
            true => files(&path),
            false => 1,
        })
        .sum()
}

#[test]
fn the_last_checkpoint_of_a_canceled_job_is_there_until_somebody_disposes_of_it() {
    let mut canceled = Canceled::new("0 b");
    let path = canceled.location.clone();
    // Four snapshots and the metadata, and nothing else of the job.
    let of_job = folder(&path).parent().unwrap().to_owned();
    wait_for("the rest to go", || (files(&of_job) == 5).then_some(()));
    canceled.run.cluster.kill_and_restart_jobmanager();
    assert_eq!(retained(&canceled.run), path);
    let (rest, job) = (&canceled.run.cluster.rest, &canceled.run.job);
    let last = &rest.checkpoints(job)["latest"]["completed"];
    assert_eq!(last["external_path"], path.as_str());
    assert_eq!(last["discarded"], false);
    let (_, out, _) = client(&rest.address, &["status", job]);
    let words = format!("its last checkpoint is retained in {path}");
    assert!(out.contains(&words), "{out}");

    let (code, out, error) = client(&rest.address, &["savepoint", "--dispose", &path]);
    assert_eq!(code, 0, "{out}{error}");
    assert_eq!(files(&of_job), 0);
    let (code, _, error) = canceled.start(&[]);
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("no file `_metadata`"), "{error}");
}

#[test]
fn a_job_goes_on_from_a_retained_checkpoint_and_leaves_it_as_it_is() {
    let mut canceled = Canceled::new("0 b");
    let started = canceled.start(&[]);
    canceled.run.goes_on(&started);
    canceled.run.assert_stopped(&canceled.run.stop());
    canceled.run.assert_prefix();
    assert!(canceled.metadata().exists());
}

#[test]
fn a_claimed_checkpoint_goes_once_the_job_that_owns_it_has_its_own() {
    for inline_threshold in ["20 kb", "0 b"] {
        let mut canceled = Canceled::new(inline_threshold);
        let of_job = folder(&canceled.location).parent().unwrap().to_owned();
        let started = canceled.start(&["--claim-mode", "claim"]);
        canceled.run.cluster.kill_and_restart_jobmanager();
        canceled.run.goes_on(&started);
        wait_for("the claimed checkpoint to go", || {
            (files(&of_job) == 0).then_some(())
        });
        canceled.run.assert_stopped(&canceled.run.stop());
        canceled.run.assert_prefix();
    }
}

#[test]
fn a_claim_without_anything_to_claim_is_refused_with_what_to_do() {
    for (arguments, words) in [
        (vec!["--claim-mode", "CLAIM"], "--from-savepoint <PATH>"),
        (
            vec!["--from-savepoint", "/s", "--claim-mode", "LEGACY"],
            "possible values: NO_CLAIM, CLAIM",
        ),
    ] {
        let arguments = [&["run", "job.json"], &*arguments].concat();
        let (code, _, error) = client("127.0.0.1:1", &arguments);
        assert_eq!(code, 64, "{error}");
        assert!(error.contains(words), "{error}");
    }
}
