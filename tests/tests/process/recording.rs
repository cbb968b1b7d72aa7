//! The flight recorder of a real JobManager: what it was told can be told again, with the same outcome.

use crate::cluster::Cluster;
use crate::jobs::endless;
use crate::process::{Signal, wait_for};
use jobmanager_sim::{Replayed, Verdict, replay};
use std::path::PathBuf;

/// A cluster with a job that has lost a TaskManager and recovered.
fn eventful_cluster(options: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::start(2, 2, options);
    let job = cluster.rest.submit(&endless("recorded"));
    cluster.rest.wait_for_all_running(&job);
    cluster.rest.wait_for_new_checkpoint(&job);
    for number in 0..2 {
        cluster.kill_and_restart_taskmanager(number);
    }
    cluster.wait_for_taskmanagers(2);
    cluster.rest.wait_for_all_running(&job);
    cluster.rest.wait_for_new_checkpoint(&job);
    cluster
}

/// The files in the folder of recordings, once there is one.
fn written(cluster: &Cluster) -> Vec<PathBuf> {
    let folder = cluster.path("data").join("flight-recordings");
    wait_for("a recording", || {
        let entries = std::fs::read_dir(&folder).ok()?.flatten();
        let paths = entries.map(|entry| entry.path());
        let whole: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|end| end == "recording"))
            .collect();
        (!whole.is_empty()).then_some(whole)
    })
}

fn assert_same(recording: &[u8]) -> Replayed {
    let replayed = replay(recording, false).unwrap();
    assert_eq!(replayed.verdict, Verdict::Same, "{}", replayed.verdict);
    assert_eq!(replayed.cut_off, None);
    assert!(replayed.checks >= 1);
    replayed
}

#[test]
fn a_recording_is_replayed_to_the_same_state() {
    let cluster = eventful_cluster(&[]);
    let (name, recording) = cluster.rest.download("/flight-recording");
    assert!(
        name.contains("flight-") && name.contains(".recording"),
        "{name}"
    );
    let replayed = assert_same(&recording);
    assert!(replayed.inputs > 20, "{} inputs", replayed.inputs);

    cluster.jobmanager.as_ref().unwrap().signal(Signal::Record);
    let [path] = &written(&cluster)[..] else {
        panic!("one signal, one recording");
    };
    let later = assert_same(&std::fs::read(path).unwrap());
    assert!(later.inputs >= replayed.inputs);
}

#[test]
fn a_recording_that_began_long_ago_is_replayed_from_a_later_state() {
    let cluster = eventful_cluster(&[
        ("jobmanager.flight-recorder.memory", "1 mb"),
        ("heartbeat.interval", "1 ms"),
    ]);
    let replayed = wait_for("a second segment", || {
        let (_, recording) = cluster.rest.download("/flight-recording");
        let replayed = assert_same(&recording);
        (replayed.segments > 1).then_some(replayed)
    });
    assert!(replayed.checks > 1, "its state was compared on the way");
}

#[test]
fn without_a_recorder_there_is_an_answer_that_says_so() {
    let cluster = Cluster::start(0, 1, &[("jobmanager.flight-recorder.memory", "0 b")]);
    let (status, answer) = cluster.rest.ask("GET", "/flight-recording", b"").unwrap();
    assert_eq!(status, 503, "{answer}");
    let words = answer["errors"][0].as_str().unwrap();
    assert!(
        words.contains("jobmanager.flight-recorder.memory"),
        "{words}"
    );
}
