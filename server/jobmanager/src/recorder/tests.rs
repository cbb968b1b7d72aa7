//! The recorder by itself: its bounds, and what its files hold.

#![allow(clippy::unwrap_used)]

use super::*;
use jobmanager_core::config::cluster_config;
use jobmanager_core::id::{Epoch, Incarnation, SessionId, TaskManagerId};
use jobmanager_core::message::{FromTaskManager, Hello};
use jobmanager_proto::recording::Reader;
use std::collections::BTreeMap;

const MEMORY: u64 = 64 << 10;

struct Recorded {
    coordinator: Coordinator,
    recorder: Recorder,
    now: Timestamp,
}

impl Recorded {
    fn new(memory: u64) -> Recorded {
        let (epoch, now) = (Epoch(1), Timestamp(1_000));
        let config = cluster_config(&BTreeMap::new(), &[]).unwrap();
        let header = Header {
            program: "test".into(),
            epoch,
            config: config.clone(),
        };
        Recorded {
            coordinator: Coordinator::recover(config, epoch, Vec::new(), now).unwrap(),
            recorder: Recorder::new(memory, header, &[], now),
            now,
        }
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.now.0 += 1;
        self.recorder.input(self.now, &input);
        self.coordinator.step(self.now, input, &mut effects);
        self.recorder
            .stepped(self.now, &mut self.coordinator, &effects);
    }

    fn frames(&self) -> Vec<Frame> {
        let flight = self.recorder.recording(self.now, &self.coordinator);
        let file = flight.unwrap().pieces().concat();
        let reader = Reader::new(&file).unwrap();
        reader.map(|frame| frame.unwrap()).collect()
    }
}

fn hello(name: &str) -> Hello {
    Hello {
        taskmanager: TaskManagerId(name.into()),
        incarnation: Incarnation(1),
        seen_epoch: Epoch::default(),
        hellos: 1,
        slots: 1,
        data_address: "127.0.0.1:1".into(),
        hardware: Default::default(),
        operators: vec!["x".into()],
        inventory: Vec::new(),
        jobs: Vec::new(),
        leaves_within: None,
    }
}

fn heartbeat(sequence: u64) -> Input {
    Input::Message {
        session: SessionId(1),
        message: FromTaskManager::Heartbeat { sequence },
    }
}

#[test]
fn everything_is_there_from_the_start_while_it_fits() {
    let mut recorded = Recorded::new(MEMORY);
    let session = SessionId(1);
    let hello = hello("a");
    let inputs = [
        Input::Wake,
        Input::Connected { session, hello },
        heartbeat(7),
    ];
    for input in inputs.clone() {
        recorded.step(input);
    }
    let mut expected = vec![Entry::Recovered(Vec::new())];
    expected.extend(inputs.map(Entry::Input));
    expected.push(Entry::End(End::Asked(recorded.coordinator.digest())));
    let entries: Vec<_> = recorded
        .frames()
        .into_iter()
        .map(|frame| frame.entry)
        .collect();
    assert_eq!(entries, expected);
}

#[test]
fn what_is_old_is_dropped_by_whole_segments_and_one_whole_segment_stays() {
    let mut recorded = Recorded::new(MEMORY);
    for sequence in 0..20_000 {
        recorded.step(heartbeat(sequence));
        assert!(recorded.recorder.size() <= MEMORY as usize + 100);
    }
    let frames = recorded.frames();
    assert!(matches!(frames[0].entry, Entry::Snapshot(_)));
    let is_base = |frame: &&Frame| matches!(frame.entry, Entry::Snapshot(_) | Entry::Recovered(_));
    assert!(frames.iter().filter(is_base).count() >= 2);
    let sequence = |frame: &Frame| {
        let Entry::Input(Input::Message { message, .. }) = &frame.entry else {
            return None;
        };
        let FromTaskManager::Heartbeat { sequence } = message else {
            return None;
        };
        Some(*sequence)
    };
    let sequences: Vec<u64> = frames.iter().filter_map(sequence).collect();
    let first = sequences[0];
    assert_eq!(sequences, (first..20_000).collect::<Vec<_>>());
}

#[test]
fn a_state_that_is_too_large_is_not_recorded_and_later_it_is() {
    let mut recorded = Recorded::new(MEMORY);
    for number in 0..600 {
        let hello = hello(&format!("{number:0>180}"));
        let session = SessionId(number);
        recorded.step(Input::Connected { session, hello });
    }
    let refused = recorded
        .recorder
        .recording(recorded.now, &recorded.coordinator);
    assert_eq!(refused.unwrap_err(), NoRecording::TooLarge);
    for number in 0..600 {
        recorded.step(Input::Disconnected {
            session: SessionId(number),
        });
    }
    for _ in 0..RETRY_AFTER {
        recorded.step(Input::Wake);
    }
    assert!(matches!(recorded.frames()[0].entry, Entry::Snapshot(_)));
}

#[test]
fn the_state_is_checked_now_and_then() {
    let mut recorded = Recorded::new(1 << 30);
    for sequence in 0..u64::from(CHECK_EVERY) {
        recorded.step(heartbeat(sequence));
    }
    let check = Entry::Check(recorded.coordinator.digest());
    assert!(recorded.frames().iter().any(|frame| frame.entry == check));
}

#[test]
fn the_newest_files_are_kept_and_strangers_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let files = RecordingFiles::new(folder.path().join("recordings"));
    let recorded = Recorded::new(MEMORY);
    for at in 0..12 {
        let flight = recorded
            .recorder
            .recording(recorded.now, &recorded.coordinator);
        let path = files.write(Timestamp(at), "test", flight.unwrap()).unwrap();
        std::fs::write(path.with_file_name("notes.txt"), "mine").unwrap();
    }
    let mut names: Vec<_> = std::fs::read_dir(folder.path().join("recordings"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut expected: Vec<_> = (4..12)
        .map(|at| files::file_name(Timestamp(at), "test"))
        .collect();
    expected.push("notes.txt".into());
    assert_eq!(names, expected);
}
