//! Replays of simulated JobManagers: the same effects and states, from the start or from the middle.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Run, Tier};
use jobmanager_core::jobmanager::Input;
use jobmanager_proto::recording::{End, Entry as Recorded, Frame, append, start};
use std::num::NonZeroU64;

fn recordings(tier: Tier, seed: u64, pace: u64) -> Vec<Vec<u8>> {
    let run = Run::seed(tier, seed).recorded(NonZeroU64::new(pace).unwrap());
    run.run().recordings
}

/// One with more than two segments, of a coordinator that was there to its end.
fn long_recording() -> Vec<u8> {
    let mut all = (0..).flat_map(|seed| recordings(Tier::Dataflow, seed, 50));
    let is_long = |file: &Vec<u8>| {
        let frames = frames(file);
        let last = frames.last().map(|frame| &frame.entry);
        let is_whole = matches!(last, Some(Recorded::End(End::Asked(_))));
        is_whole && replay(file, false).is_ok_and(|replayed| replayed.segments > 3)
    };
    all.find(is_long).unwrap()
}

fn frames(file: &[u8]) -> Vec<Frame> {
    Reader::new(file)
        .unwrap()
        .map(|frame| frame.unwrap())
        .collect()
}

pub(super) fn file(header: &Header, frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    start(&mut file);
    let (at, effects) = (frames[0].at, 0);
    let entry = Recorded::Header(header.clone());
    append(&mut file, &Frame { at, effects, entry });
    frames.iter().for_each(|frame| append(&mut file, frame));
    file
}

/// The recording without its first segments.
pub(super) fn from_segment(recording: &[u8], segment: usize) -> Vec<u8> {
    let header = Reader::new(recording).unwrap().header().clone();
    let frames = frames(recording);
    let is_snapshot = |(_, frame): &(usize, &Frame)| matches!(frame.entry, Recorded::Snapshot(_));
    let (first, _) = frames
        .iter()
        .enumerate()
        .filter(is_snapshot)
        .nth(segment - 1)
        .unwrap();
    file(&header, &frames[first..])
}

/// The recording with one frame changed by `change`, if it changes any.
pub(super) fn changed(recording: &[u8], change: impl FnMut(&mut Frame)) -> Vec<u8> {
    let header = Reader::new(recording).unwrap().header().clone();
    let mut frames = frames(recording);
    frames.iter_mut().for_each(change);
    file(&header, &frames)
}

#[test]
fn a_snapshot_and_what_follows_it_is_the_same_as_everything() {
    for seed in 4..9 {
        for recording in recordings(Tier::of_seed(seed), seed, 97) {
            let whole = replay(&recording, false).unwrap();
            assert_eq!(whole.verdict, Verdict::Same, "seed {seed}");
            // The latest ones: the state is the fullest there, and the rest is the shortest.
            for segment in (1..usize::try_from(whole.segments).unwrap()).rev().take(3) {
                let part = replay(&from_segment(&recording, segment), false).unwrap();
                assert_eq!(
                    part.verdict,
                    Verdict::Same,
                    "seed {seed}, segment {segment}"
                );
                assert_eq!(part.digest, whole.digest, "seed {seed}, segment {segment}");
            }
        }
    }
}

#[test]
fn recording_a_run_without_snapshots_changes_nothing_in_it() {
    let rarely = NonZeroU64::new(1_000_000).unwrap();
    let seen = Run::seed(Tier::Dataflow, 7).recorded(rarely).run();
    let unseen = Run::seed(Tier::Dataflow, 7).run();
    assert_eq!(seen.digest, unseen.digest);
    assert!(unseen.recordings.is_empty() && !seen.recordings.is_empty());
}

#[test]
fn a_difference_of_effects_is_found_at_its_input() {
    let recording = long_recording();
    // A heartbeat less: everything before it is the same, and what it made happen is missing.
    let all = frames(&recording);
    let is_connected =
        |frame: &Frame| matches!(frame.entry, Recorded::Input(Input::Connected { .. }));
    let at = all.iter().position(is_connected).unwrap();
    let mut other = all.clone();
    let Recorded::Input(Input::Connected { hello, .. }) = &mut other[at].entry else {
        unreachable!()
    };
    hello.taskmanager.0.push('x');
    hello.slots += 1;
    let header = Reader::new(&recording).unwrap().header().clone();
    let replayed = replay(&file(&header, &other), false).unwrap();
    let Verdict::Differs { input, .. } = replayed.verdict else {
        panic!("{}", replayed.verdict);
    };
    // The first frame is the base, so an input's position is its number.
    assert!(input >= at as u64, "{input} {at}");
    let mut other = all;
    other[at + 1].effects ^= 1;
    let replayed = replay(&file(&header, &other), false).unwrap();
    assert_eq!(replayed.inputs, at as u64);
    assert!(!replayed.verdict.is_as_recorded());
}

#[test]
fn a_difference_of_the_state_is_found_where_it_is_looked_at() {
    let recording = long_recording();
    let wrong_end = changed(&recording, |frame| {
        if let Recorded::End(End::Asked(digest)) = &mut frame.entry {
            *digest ^= 1;
        }
    });
    let replayed = replay(&wrong_end, false).unwrap();
    let is_state = matches!(
        replayed.verdict,
        Verdict::Differs {
            what: Divergence::State { .. },
            ..
        }
    );
    assert!(is_state, "{}", replayed.verdict);
    let wrong_state = changed(&from_segment(&recording, 1), |frame| {
        if let Recorded::Snapshot(bytes) = &mut frame.entry {
            bytes.pop();
        }
    });
    let replayed = replay(&wrong_state, false).unwrap();
    assert!(
        matches!(replayed.verdict, Verdict::NoStart(_)),
        "{}",
        replayed.verdict
    );
}

#[test]
fn a_panic_that_was_recorded_and_does_not_come_back_is_said() {
    let recording = long_recording();
    let mut frames = frames(&recording);
    let words = "the sky fell".to_owned();
    let last = frames.last_mut().unwrap();
    last.entry = Recorded::End(End::Panicked(words.clone()));
    let header = Reader::new(&recording).unwrap().header().clone();
    let replayed = replay(&file(&header, &frames), false).unwrap();
    assert_eq!(replayed.verdict, Verdict::NotBroken(words));
}

#[test]
fn frames_out_of_their_place_are_refused() {
    let recording = long_recording();
    let header = Reader::new(&recording).unwrap().header().clone();
    let frames = frames(&recording);
    let baseless = file(&header, &frames[1..]);
    let refused = replay(&baseless, false).unwrap_err();
    assert!(
        matches!(refused, RecordingError::Misplaced { .. }),
        "{refused}"
    );
    let only_header = &recording[..Reader::new(&recording).unwrap().offset() as usize];
    let refused = replay(only_header, false).unwrap_err();
    assert!(matches!(refused, RecordingError::CutOff(_)), "{refused}");
}

#[test]
fn a_cut_off_recording_is_replayed_up_to_there() {
    let recording = long_recording();
    let cut = &recording[..recording.len() - 3];
    let replayed = replay(cut, false).unwrap();
    assert_eq!(replayed.verdict, Verdict::Same);
    assert!(replayed.cut_off.is_some());
}

#[test]
fn the_log_shows_the_coordinator_and_its_taskmanagers() {
    use crate::Lane;
    let replayed = replay(&from_segment(&long_recording(), 2), true).unwrap();
    let lanes: std::collections::BTreeSet<_> = replayed.log.iter().map(|e| e.lane).collect();
    assert!(lanes.contains(&Lane::JobManager(0)));
    assert!(lanes.contains(&Lane::TaskManager(0)));
}
