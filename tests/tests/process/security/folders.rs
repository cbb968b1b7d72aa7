//! Where jobs may have files of the machine, if that is said.

use crate::cluster::Cluster;
use crate::jobs::endless;
use crate::savepoints::folder;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A cluster whose jobs may have files in the first folder, and not in the second one.
fn setting() -> (Cluster, TempDir, TempDir) {
    let [allowed, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let folder = allowed.path().to_str().unwrap();
    let options = [
        ("resourcemanager.provider", "process"),
        ("taskmanager.allowed-dirs", folder),
    ];
    (Cluster::start(0, 2, &options), allowed, elsewhere)
}

/// A job that copies lines.
fn copying(from: &Path, to: &Path) -> Value {
    json!({
        "name": "copy",
        "vertices": [
            {"id": "from", "operator": "file-source", "parallelism": 1, "config": {"path": from}},
            {"id": "to", "operator": "file-sink", "parallelism": 1, "config": {"path": to}}],
        "edges": [{"source": "from", "target": "to", "partitioning": "forward"}]})
}

#[test]
fn a_job_reads_and_writes_files_only_where_it_may() {
    let (cluster, allowed, elsewhere) = setting();
    let (allowed, elsewhere) = (allowed.path(), elsewhere.path());
    let secret = elsewhere.join("secret");
    fs::write(&secret, "secret\n").unwrap();
    fs::write(allowed.join("lines"), "line\n").unwrap();
    fs::create_dir(allowed.join("links")).unwrap();
    symlink(&secret, allowed.join("links/secret")).unwrap();
    symlink(elsewhere, allowed.join("way-out")).unwrap();
    let out = allowed.join("out");
    for (from, to) in [
        (secret.as_path(), out.as_path()),
        (&allowed.join("links"), &out),
        (&allowed.join("links/secret"), &out),
        (&allowed.join("lines"), elsewhere),
        (&allowed.join("lines"), &allowed.join("way-out/new")),
        (&allowed.join("lines"), &allowed.join("../new")),
    ] {
        let job = cluster.rest.submit(&copying(from, to));
        cluster.rest.wait_for_state(&job, "FAILED");
        let failures = cluster.rest.failures(&job);
        assert!(failures.contains("--allowed-dirs"), "{failures}");
    }
    assert_eq!(fs::read_dir(elsewhere).unwrap().count(), 1);
    let job = cluster.rest.submit(&copying(&allowed.join("lines"), &out));
    cluster.rest.wait_for_state(&job, "FINISHED");
    let written = fs::read_dir(&out).unwrap().map(|it| it.unwrap().path());
    let written: Vec<_> = written
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(written.concat(), "line\n");
}

#[test]
fn a_savepoint_is_taken_only_where_jobs_may_have_files_and_the_job_goes_on() {
    let (cluster, allowed, elsewhere) = setting();
    let mut graph = endless("saved");
    graph["configuration"]["execution.checkpointing.data-inline-threshold"] = "0 b".into();
    let job = cluster.rest.submit(&graph);
    cluster.rest.wait_for_all_running(&job);
    let into = |folder: &TempDir| {
        let wanted = json!({ "target-directory": folder.path() });
        let outcome = cluster.rest.trigger(&job, "savepoints", &wanted);
        cluster.rest.outcome(&outcome)
    };
    let refused = into(&elsewhere).unwrap_err();
    assert!(refused.contains("--allowed-dirs"), "{refused}");
    let location = into(&allowed).unwrap();
    assert!(folder(&location).join("_metadata").exists());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    assert_eq!(cluster.rest.state(&job), "RUNNING");
}
