//! Recordings that go on: those of simulated JobManagers, which end in the middle of everything.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::plan::options::SECOND;
use crate::replay::replay;
use crate::replay::tests::{changed, file, from_segment};
use crate::tape::mix;
use crate::{Run, Tier};
use jobmanager_core::config::RestartStrategy;
use jobmanager_core::record::Record;
use jobmanager_core::state::JobStatus;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::recording::{Entry, Frame, MAX_SNAPSHOT, Reader, snapshot};
use std::num::NonZeroU64;
use std::sync::LazyLock;

/// The recordings of a run that ends after so many events.
fn recordings(seed: u64, events: u64) -> Vec<Vec<u8>> {
    let run = Run::seed(Tier::of_seed(seed), seed).recorded(NonZeroU64::new(97).unwrap());
    run.at_most(events).run().recordings
}

fn then(faults: &[String]) -> Then {
    Then {
        injections: faults.iter().map(|text| text.parse().unwrap()).collect(),
        lasts: 300 * SECOND,
        seed: 0,
    }
}

fn continued(file: &[u8], faults: &[&str]) -> Continued {
    let faults: Vec<_> = faults.iter().map(|fault| (*fault).to_owned()).collect();
    let (_, continued) = replay_then(file, &then(&faults), false).unwrap();
    continued.unwrap()
}

/// A recording at whose end one job without end runs, which has completed a checkpoint and recovers as often as
/// need be, on TaskManagers of which it can spare one.
static RUNNING: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let all = (0..).flat_map(|seed| recordings(seed, 3_000));
    let suits = |file: &Vec<u8>| {
        let (_, end) = replay_to_the_end(file, false).unwrap();
        let Some(end) = end.filter(|end| !end.surroundings.stepped_down) else {
            return false;
        };
        let situation = Situation::of(&end.coordinator, &end.surroundings);
        let overview = end.coordinator.overview();
        let runs = end.coordinator.jobs().all(|job| {
            let running = job
                .tasks
                .get(jobmanager_core::state::ExecutionState::Running);
            job.status == JobStatus::Running && running == job.tasks.total()
        });
        let most = situation.taskmanagers.iter().map(|it| it.shown.slots).max();
        let spare = overview.slots_free >= most.unwrap_or(0);
        let lasting = || {
            let continued = continued(file, &["restart:jobmanager@+1s", "crash:tm-0@+60s"]);
            continued.is_well()
                && continued
                    .jobs
                    .iter()
                    .all(|job| job.status == Some(JobStatus::Running))
        };
        let patient = end.coordinator.jobs().all(|job| {
            let details = end.coordinator.job(job.id);
            let graph = details.and_then(|details| details.graph);
            let checkpoints = end.coordinator.checkpoints(job.id);
            let graph =
                graph.filter(|_| checkpoints.is_some_and(|it| it.latest_completed.is_some()));
            graph.is_some_and(|graph| match graph.config().restart_strategy {
                RestartStrategy::FixedDelay { attempts, .. } => attempts > 1_000,
                RestartStrategy::ExponentialDelay(ref delay) => delay.attempts.is_none(),
                RestartStrategy::None | RestartStrategy::FailureRate { .. } => false,
            })
        });
        let first = situation.names().next() == Some("tm-0");
        let one = situation.jobs.len() == 1 && overview.taskmanagers >= 2;
        one && runs && spare && patient && first && lasting()
    };
    all.into_iter().find(suits).unwrap()
});

/// Up to three faults of any kind.
fn any_faults(seed: u64) -> Vec<String> {
    let fault = |number| {
        let draw = |what: u64, of: u64| mix(&[seed, number, what]) % of;
        let name = match draw(0, 3) {
            0 => "jobmanager".to_owned(),
            _ => format!("tm-{}", draw(1, 4)),
        };
        let (at, lasts) = (draw(2, 100_000), draw(3, 60_000));
        match draw(4, 6) {
            0 => format!("crash:{name}@+{at}ms"),
            1 => format!("restart:{name}@+{at}ms"),
            2 => format!("pause:{name}@+{at}ms/{lasts}ms"),
            3 => format!("cut:{name}@+{at}ms/{lasts}ms"),
            4 => format!("store-down@+{at}ms/{lasts}ms"),
            _ => format!("restart:jobmanager@+{at}ms"),
        }
    };
    (0..mix(&[seed]) % 4).map(fault).collect()
}

#[test]
fn whatever_is_recorded_goes_on_without_a_broken_promise_whatever_breaks() {
    let mut gone_on = 0;
    for seed in 0..24 {
        for events in [500, 3_000, 20_000] {
            for (number, whole) in (0..).zip(recordings(seed, events)).take(2) {
                let segments = replay(&whole, false).unwrap().segments;
                let last = usize::try_from(segments - 1).unwrap();
                let part = (last > 0).then(|| from_segment(&whole, last));
                for (file, part) in [Some(whole), part].into_iter().flatten().zip(0..) {
                    let faults = any_faults(mix(&[seed, events, number, part]));
                    let (_, continued) = replay_then(&file, &then(&faults), false).unwrap();
                    // Not every one has an end, and knows these names.
                    let Ok(continued) = continued else {
                        continue;
                    };
                    let name = format!("seed {seed}, {events} events, {number}, {part}");
                    assert_eq!(continued.failure, None, "{name}: {faults:?}");
                    gone_on += 1;
                }
            }
        }
    }
    assert!(gone_on > 100, "{gone_on}");
}

#[test]
fn the_same_faults_give_the_same_digest_and_others_another_one() {
    let digest = |faults: &[&str]| continued(&RUNNING, faults).digest;
    let crash = digest(&["crash:tm-0@+2s"]);
    assert_eq!(digest(&["crash:tm-0@+2s"]), crash);
    assert_ne!(digest(&["crash:tm-0@+3s"]), crash);
    assert_ne!(digest(&[]), crash);
    let other = Then {
        seed: 1,
        ..then(&["crash:tm-0@+2s".to_owned()])
    };
    let (_, other) = replay_then(&RUNNING, &other, false).unwrap();
    assert_ne!(other.unwrap().digest, crash);
}

#[test]
fn what_breaks_is_told_as_it_was_said() {
    let faults = ["crash:tm-0@+2s", "store-down@+1s/1min"].map(str::to_owned);
    let shown = "--then crash:tm-0@+2s,store-down@+1s/1min --for 5min";
    assert_eq!(then(&faults).to_string(), shown);
    let seeded = Then {
        seed: 3,
        ..then(&[])
    };
    assert_eq!(seeded.to_string(), "--for 5min --seed 3");
}

#[test]
fn a_job_survives_each_fault_and_completes_a_checkpoint_after_it() {
    for fault in [
        "crash:tm-0@+2s",
        "crash:jobmanager@+2s",
        "restart:tm-0@+2s",
        "restart:jobmanager@+2s",
        "pause:tm-0@+2s/60s",
        "pause:tm-0@+2s",
        "pause:jobmanager@+2s/60s",
        "cut:tm-0@+2s/60s",
        "cut:tm-0@+2s",
        "cut:jobmanager@+2s/60s",
        "store-down@+2s/60s",
    ] {
        let continued = continued(&RUNNING, &[fault]);
        assert!(
            continued.is_well(),
            "{fault}: {:?} {:?}",
            continued.failure,
            continued.jobs
        );
        assert_eq!(continued.jobs.len(), 1);
        assert!(continued.jobs[0].checkpoint.is_some(), "{fault}");
    }
}

#[test]
fn a_job_that_cannot_go_on_says_why() {
    let (_, end) = replay_to_the_end(&RUNNING, false).unwrap();
    let end = end.unwrap();
    let situation = Situation::of(&end.coordinator, &end.surroundings);
    let crashes: Vec<_> = situation
        .names()
        .map(|name| format!("crash:{name}@+1s"))
        .collect();
    let crashes: Vec<_> = crashes.iter().map(String::as_str).collect();
    let lost = continued(&RUNNING, &crashes);
    assert_eq!(lost.failure, None);
    let problem = lost.jobs[0].problem.as_ref().unwrap();
    assert!(
        problem.contains("no TaskManager is registered"),
        "{problem}"
    );
    let mut injections = then(&["pause:jobmanager@+1s".to_owned()]);
    injections.lasts = 10 * SECOND;
    let (_, stuck) = replay_then(&RUNNING, &injections, false).unwrap();
    assert!(!stuck.unwrap().is_well());
}

#[test]
fn a_promise_that_is_broken_after_the_end_is_seen() {
    let (replayed, end) = replay_to_the_end(&RUNNING, false).unwrap();
    let end = end.unwrap();
    let mut situation = Situation::of(&end.coordinator, &end.surroundings);
    let is_checkpoint = |record: &Record| matches!(record, Record::Checkpoint(_));
    let records = &mut situation.stored.records;
    let before = records.len();
    records.retain(|record| !is_checkpoint(record));
    assert!(records.len() < before);
    // The coordinator goes on from a checkpoint that nobody has ever made durable.
    let names = end.coordinator.taskmanagers().map(|it| it.id.0);
    let restarts: Vec<_> = names.map(|name| format!("restart:{name}@+0s")).collect();
    let restarts = then(&restarts);
    let continued = go_on_from(&replayed, end, situation, &restarts, false).unwrap();
    assert!(!continued.is_well());
    let name = continued.failure.unwrap().name;
    assert_eq!(name, "a_restore_uses_the_latest_checkpoint");
}

#[test]
fn a_recording_that_begins_with_a_copy_goes_on_from_what_is_durable() {
    let (_, end) = replay_to_the_end(&RUNNING, false).unwrap();
    let mut coordinator = end.unwrap().coordinator;
    let header = Reader::new(&RUNNING).unwrap().header().clone();
    let copy = snapshot(&mut coordinator, MAX_SNAPSHOT).unwrap();
    let at = Timestamp(2_000_000_000_000);
    let (effects, entry) = (0, Entry::Snapshot(copy));
    let file = file(&header, &[Frame { at, effects, entry }]);
    for fault in ["crash:tm-0@+2s", "restart:jobmanager@+2s"] {
        let continued = continued(&file, &[fault]);
        assert!(continued.is_well(), "{fault}: {continued:?}");
    }
}

#[test]
fn what_goes_on_is_the_coordinator_that_was_replayed() {
    let (replayed, end) = replay_to_the_end(&RUNNING, false).unwrap();
    assert_eq!(end.unwrap().coordinator.digest(), replayed.digest);
    let (_, continued) = replay_then(&RUNNING, &then(&[]), true).unwrap();
    let continued = continued.unwrap();
    let (first, last) = (&continued.log[0], continued.log.last().unwrap());
    assert!(first.at >= replayed.simulated && last.at <= continued.until);
    assert_eq!(continued.until, replayed.simulated + 300 * SECOND);
    assert!(!continued.timeline.messages.is_empty());
}

#[test]
fn a_name_that_nobody_has_is_refused_with_those_that_there_are() {
    let refused = |fault: &str| {
        let (_, refused) = replay_then(&RUNNING, &then(&[fault.to_owned()]), false).unwrap();
        refused.unwrap_err()
    };
    let words = refused("crash:tm-77@+2s");
    assert!(words.contains("crash:tm-77@+2s"), "{words}");
    assert!(words.contains("jobmanager, tm-0, "), "{words}");
    let words = refused("crash:tm-0@+10min");
    assert!(words.contains("when all is over, after 5min"), "{words}");
}

#[test]
fn a_recording_that_went_otherwise_does_not_go_on() {
    let cut_off = &RUNNING[..RUNNING.len() - 3];
    continued(cut_off, &[]);
    let mut left = 20;
    let broken = changed(&RUNNING, |frame| {
        left -= 1;
        frame.effects ^= u64::from(left == 0);
    });
    let (replayed, refused) = replay_then(&broken, &then(&[]), false).unwrap();
    assert!(!replayed.verdict.is_as_recorded());
    assert!(refused.unwrap_err().contains("nothing to go on from"));
}
