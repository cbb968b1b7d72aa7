//! The flight recorder of a real JobManager: what it was told can be told again, with the same outcome.

use crate::clients::client;
use crate::cluster::Cluster;
use crate::jobs::endless;
use crate::process::{Signal, wait_for};
use jobmanager::store::{EmbeddedStore, Store};
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_sim::{Replayed, Then, Verdict, duration, replay, replay_then};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A cluster with a job that has another parallelism than it was submitted with, and has lost each TaskManager once.
fn eventful_cluster(options: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::start(2, 2, options);
    let job = cluster.rest.submit(&endless("recorded"));
    cluster.rest.wait_for_all_running(&job);
    cluster.rest.wait_for_new_checkpoint(&job);
    let command = ["rescale", &job, "numbers=1", "--wait"];
    let (code, _, error) = client(&cluster.rest.address, &command);
    assert_eq!(code, 0, "{error}");
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
fn a_recording_goes_on_in_the_simulator_and_its_job_survives_what_breaks_there() {
    let cluster = eventful_cluster(&[]);
    let (_, recording) = cluster.rest.download("/flight-recording");
    let go_on = |fault: &str| {
        let then = Then {
            injections: vec![fault.parse().unwrap()],
            lasts: duration("2min").unwrap(),
            seed: 0,
        };
        let (replayed, continued) = replay_then(&recording, &then, false).unwrap();
        assert_eq!(replayed.verdict, Verdict::Same);
        continued.unwrap()
    };
    for fault in [
        "crash:tm-1@+2s",
        "crash:jobmanager@+2s",
        "pause:tm-0@+2s/30s",
        "store-down@+2s/30s",
    ] {
        let first = go_on(fault);
        let (failure, jobs) = (&first.failure, &first.jobs);
        assert!(first.is_well(), "{fault}: {failure:?}, {jobs:?}");
        assert!(first.jobs[0].checkpoint.is_some(), "{fault}: {jobs:?}");
        assert_eq!(go_on(fault).digest, first.digest, "{fault}");
    }
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

/// A checkpoint in the store of a JobManager that does not run was made by attempts of a far later epoch, as
/// if the epoch had been put back: the coordinator cannot start any that come after those.
async fn put_epoch_back(data: &Path) {
    let store = EmbeddedStore::open(data.to_owned()).await.unwrap();
    let leadership = store.load().await.unwrap();
    let mut ops = Vec::new();
    for record in leadership.records {
        if let Record::Checkpoint(mut checkpoint) = record {
            for snapshot in Arc::make_mut(&mut checkpoint).regions.iter_mut().flatten() {
                snapshot.attempt.as_mut().unwrap().epoch = Epoch(1_000);
            }
            ops.push(RecordOp::Put(Record::Checkpoint(checkpoint)));
        }
    }
    assert!(!ops.is_empty());
    let outcome = store.commit(leadership.epoch, ops).await;
    assert_eq!(outcome, StoreOutcome::Done);
    store.close().await;
}

#[test]
fn a_panic_leaves_a_recording_that_breaks_again_with_the_same_words() {
    let mut cluster = Cluster::start(1, 2, &[]);
    let job = cluster.rest.submit(&endless("broken"));
    cluster.rest.wait_for_new_checkpoint(&job);
    cluster.kill_everything();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(put_epoch_back(&cluster.path("data")));
    cluster.start_everything();

    let mut jobmanager = cluster.jobmanager.take().unwrap();
    assert!(!jobmanager.end().success());
    let [path] = &written(&cluster)[..] else {
        panic!("one panic, one recording");
    };
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.ends_with("-panic.recording"), "{name}");
    let replayed = replay(&std::fs::read(path).unwrap(), true).unwrap();
    let Verdict::Broken {
        input,
        words,
        recorded: true,
    } = replayed.verdict
    else {
        panic!("{}", replayed.verdict);
    };
    assert_eq!(input, replayed.inputs);
    assert!(words.contains("attempts do not go back"), "{words}");
    assert!(jobmanager.output().contains(&words));
    assert!(replayed.log.last().unwrap().what.contains(&words));
}
