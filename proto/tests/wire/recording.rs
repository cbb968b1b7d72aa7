//! Flight recordings: every frame is read as it was written, and every wrong file has a name.

use crate::{bytes::show, examples, generate};
use jobmanager_core::config::cluster_config;
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::{
    CheckpointId, CommitId, Epoch, JobId, RequestId, SessionId, TriggerId, WorkerId,
};
use jobmanager_core::jobmanager::{
    Command, Discard, Input, SavepointRequest, StorageOutcome, StoreOutcome, WorkerReport,
};
use jobmanager_core::message::AfterSavepoint;
use jobmanager_core::record::{Bounds, Record};
use jobmanager_core::time::Timestamp;
use jobmanager_proto::limits::MAX_COUNTER;
use jobmanager_proto::recording::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn discard() -> impl Strategy<Value = Discard> {
    let unreferenced = (
        generate::job(),
        vec(generate::checkpoint(), 0..4),
        generate::checkpoint(),
    );
    prop_oneof![
        (generate::job(), generate::checkpoint())
            .prop_map(|(job, id)| Discard::Checkpoint(job, id)),
        generate::job().prop_map(Discard::Job),
        (generate::job(), generate::prose())
            .prop_map(|(job, location)| Discard::Savepoint { job, location }),
        unreferenced.prop_map(|(job, keep, next)| Discard::Unreferenced { job, keep, next }),
    ]
}

fn store_outcome() -> impl Strategy<Value = StoreOutcome> {
    prop_oneof![
        Just(StoreOutcome::Done),
        Just(StoreOutcome::Fenced),
        generate::prose().prop_map(StoreOutcome::Unavailable),
        generate::prose().prop_map(StoreOutcome::Unknown),
    ]
}

/// Of these the coordinator says what is wrong with them.
fn wanted() -> impl Strategy<Value = Bounds> {
    (any::<u32>(), any::<u32>()).prop_map(|(lower, upper)| Bounds { lower, upper })
}

fn command() -> impl Strategy<Value = Command> {
    let graph = |spec| JobGraph::validate(spec, &BTreeMap::new()).unwrap();
    prop_oneof![
        (generate::graph(), option::of(generate::savepoint())).prop_map(move |(spec, from)| {
            Command::Submit {
                graph: Arc::new(graph(spec)),
                from: from.map(Arc::new),
            }
        }),
        generate::job().prop_map(Command::Cancel),
        (generate::job(), btree_map("[a-z]{1,5}", wanted(), 0..3))
            .prop_map(|(job, bounds)| Command::Rescale { job, bounds }),
        (generate::job(), generate::trigger())
            .prop_map(|(job, trigger)| Command::Checkpoint { job, trigger }),
        savepoint().prop_map(Command::Savepoint),
    ]
}

fn savepoint() -> impl Strategy<Value = SavepointRequest> {
    let after = generate::after_savepoint();
    (
        generate::job(),
        generate::trigger(),
        generate::prose(),
        after,
    )
        .prop_map(|(job, trigger, directory, after)| SavepointRequest {
            job,
            trigger,
            directory,
            after,
        })
}

fn input() -> impl Strategy<Value = Input> {
    let session = || any::<u64>().prop_map(SessionId);
    let outcome = || {
        prop_oneof![
            Just(StorageOutcome::Done),
            generate::prose().prop_map(StorageOutcome::Failed)
        ]
    };
    let written = (generate::job(), generate::checkpoint(), outcome());
    prop_oneof![
        (session(), generate::hello())
            .prop_map(|(session, hello)| Input::Connected { session, hello }),
        (session(), generate::from_taskmanager())
            .prop_map(|(session, message)| Input::Message { session, message }),
        session().prop_map(|session| Input::Disconnected { session }),
        (any::<u64>().prop_map(CommitId), store_outcome())
            .prop_map(|(commit, outcome)| Input::Stored { commit, outcome }),
        (discard(), outcome()).prop_map(|(discard, outcome)| Input::Discarded { discard, outcome }),
        written.prop_map(|(job, checkpoint, outcome)| Input::SavepointWritten {
            job,
            checkpoint,
            outcome,
        }),
        (any::<u64>().prop_map(RequestId), command())
            .prop_map(|(request, command)| Input::Command { request, command }),
        vec(worker(), 0..3).prop_map(|present| Input::Workers { present }),
        (worker(), worker_report()).prop_map(|(worker, report)| Input::Worker { worker, report }),
        Just(Input::Wake),
    ]
}

fn worker() -> impl Strategy<Value = WorkerId> {
    (1..=MAX_COUNTER, any::<u64>()).prop_map(|(epoch, number)| WorkerId {
        epoch: Epoch(epoch),
        number,
    })
}

fn worker_report() -> impl Strategy<Value = WorkerReport> {
    prop_oneof![
        generate::prose().prop_map(WorkerReport::Pending),
        Just(WorkerReport::Started),
        generate::prose().prop_map(WorkerReport::Gone),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let end = prop_oneof![
        any::<u64>().prop_map(End::Asked),
        generate::prose().prop_map(End::Panicked),
    ];
    prop_oneof![
        6 => input().prop_map(Entry::Input),
        1 => vec(generate::record(), 0..4).prop_map(Entry::Recovered),
        1 => vec(any::<u8>(), 0..40).prop_map(Entry::Snapshot),
        1 => any::<u64>().prop_map(Entry::Check),
        1 => end.prop_map(Entry::End),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    (generate::timestamp(), any::<u64>(), entry()).prop_map(|(at, effects, entry)| Frame {
        at,
        effects,
        entry,
    })
}

fn header() -> Header {
    Header {
        program: "jobmanager 0.1.0".into(),
        epoch: Epoch(7),
        config: cluster_config(&BTreeMap::new(), &[]).unwrap(),
    }
}

fn file(frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    start(&mut file);
    let entry = Entry::Header(header());
    let (at, effects) = (Timestamp(1_000), 0);
    append(&mut file, &Frame { at, effects, entry });
    frames.iter().for_each(|frame| append(&mut file, frame));
    file
}

fn read(file: &[u8]) -> (Vec<Result<Frame, RecordingError>>, Option<u64>) {
    let mut reader = Reader::new(file).unwrap();
    let frames = reader.by_ref().collect();
    (frames, reader.cut_off())
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written(frames in vec(frame(), 0..6)) {
        let file = file(&frames);
        prop_assert!(Reader::recognizes(&file));
        let reader = Reader::new(&file).unwrap();
        prop_assert_eq!(reader.header(), &header());
        let (read, cut_off) = read(&file);
        prop_assert_eq!(read, frames.into_iter().map(Ok).collect::<Vec<_>>());
        prop_assert_eq!(cut_off, None);
    }

    #[test]
    fn an_input_is_appended_as_its_frame_is(at in generate::timestamp(), effects: u64, input in input()) {
        let mut file = Vec::new();
        append_input(&mut file, at, effects, &input);
        let mut expected = Vec::new();
        append(&mut expected, &Frame { at, effects, entry: Entry::Input(input) });
        prop_assert_eq!(file, expected);
    }

    #[test]
    fn a_file_that_was_cut_off_is_good_up_to_there(
        frames in vec(frame(), 1..6), cut: proptest::sample::Index,
    ) {
        let whole = file(&frames);
        let before = file(&[]).len();
        let length = before + cut.index(whole.len() - before);
        let (read, cut_off) = read(&whole[..length]);
        let good = read.len();
        prop_assert_eq!(read, frames[..good].iter().cloned().map(Ok).collect::<Vec<_>>());
        let end = file(&frames[..good]).len();
        prop_assert_eq!(cut_off, (end < length).then_some(end as u64));
    }

    #[test]
    fn a_changed_byte_is_damage_with_its_place(
        frames in vec(frame(), 1..6), at: proptest::sample::Index, by in 1..=255_u8,
    ) {
        let mut changed = file(&frames);
        let before = file(&[]).len();
        let at = before + at.index(changed.len() - before);
        changed[at] ^= by;
        let (read, _) = read(&changed);
        let good = read.iter().filter(|frame| frame.is_ok()).count();
        let offset = file(&frames[..good]).len() as u64;
        prop_assert!(offset <= at as u64);
        let is_damage = matches!(
            read.last(),
            Some(Err(RecordingError::Damaged { offset: found, .. })) if *found == offset
        );
        prop_assert!(is_damage, "{:?}", read.last());
    }

    #[test]
    fn no_bytes_panic_as_a_recording(bytes: Vec<u8>, frame: bool) {
        let mut file = if frame { file(&[]) } else { Vec::new() };
        file.extend(bytes);
        if let Ok(reader) = Reader::new(&file) {
            reader.for_each(drop);
        }
    }
}

#[test]
fn every_wrong_file_has_a_name() {
    let good = file(&[]);
    let refusal = |bytes: &[u8]| Reader::new(bytes).unwrap_err();
    assert_eq!(refusal(b""), RecordingError::Empty);
    assert_eq!(
        refusal(b"2026-01-01 leading"),
        RecordingError::NotARecording
    );
    assert_eq!(refusal(b"\n"), RecordingError::NotARecording);
    assert_eq!(refusal(&good[..5]), RecordingError::CutOff(5));
    assert_eq!(refusal(&good[..14]), RecordingError::CutOff(14));
    assert_eq!(refusal(&good[..20]), RecordingError::CutOff(16));
    let mut as_text = good.clone();
    as_text.remove(9);
    assert_eq!(refusal(&as_text), RecordingError::ChangedAsText);
    let mut later = good.clone();
    later[12] = 2;
    assert_eq!(refusal(&later), RecordingError::OtherVersion(2));
    let mut headless = Vec::new();
    start(&mut headless);
    append_input(&mut headless, Timestamp(0), 0, &Input::Wake);
    assert!(matches!(
        refusal(&headless),
        RecordingError::Misplaced { offset: 16, .. }
    ));
}

#[test]
fn a_frame_of_a_later_version_is_named_with_its_place() {
    let mut later = file(&[]);
    let offset = later.len() as u64;
    // Field 900, a text: no such frame today.
    let body = [0xa2, 0x38, 0x02, b'h', b'i'];
    let length = (body.len() as u32).to_le_bytes();
    let sum = |bytes: &[u8]| (xxhash_rust::xxh3::xxh3_64(bytes) as u32).to_le_bytes();
    later.extend([length, sum(&length), sum(&body)].concat());
    later.extend(body);
    let (read, _) = read(&later);
    let [Err(RecordingError::BadFrame { offset: found, .. })] = &read[..] else {
        panic!("{read:?}");
    };
    assert_eq!(*found, offset);
}

fn about_savepoints(job: JobId, request: RequestId) -> [(&'static str, Input); 3] {
    let location = "file:///s/1".into();
    [
        (
            "discarded savepoint",
            Input::Discarded {
                discard: Discard::Savepoint { job, location },
                outcome: StorageOutcome::Done,
            },
        ),
        (
            "savepoint",
            Input::Command {
                request,
                command: Command::Savepoint(SavepointRequest {
                    job,
                    trigger: TriggerId(5),
                    directory: "file:///s".into(),
                    after: AfterSavepoint::Suspend,
                }),
            },
        ),
        (
            "savepoint written",
            Input::SavepointWritten {
                job,
                checkpoint: CheckpointId(3),
                outcome: StorageOutcome::Failed("full".into()),
            },
        ),
    ]
}

fn about_workers() -> [(&'static str, Input); 2] {
    let (epoch, number) = (Epoch(3), 7);
    let worker = WorkerId { epoch, number };
    let present = vec![worker];
    let report = WorkerReport::Pending("no node has room".into());
    [
        ("workers", Input::Workers { present }),
        ("worker", Input::Worker { worker, report }),
    ]
}

fn graph() -> Arc<JobGraph> {
    let mut records = examples::records().into_iter();
    let graph = records.find_map(|(_, record)| match record {
        Record::Job(job) => Some(job.graph),
        Record::Cancel(_)
        | Record::Rescale(_)
        | Record::CheckpointMark { .. }
        | Record::Checkpoint(_)
        | Record::Savepoint(_)
        | Record::Result(_) => None,
    });
    graph.unwrap()
}

/// One of each kind.
fn examples() -> Vec<(&'static str, Entry)> {
    let (job, session, request) = (examples::JOB, SessionId(9), RequestId(5));
    let (hello, message) = (examples::hello(), examples::from_taskmanager().remove(0).1);
    let stored = |outcome| Input::Stored {
        commit: CommitId(4),
        outcome,
    };
    let discarded = |discard, outcome| Input::Discarded { discard, outcome };
    let command = |command| Input::Command { request, command };
    let (keep, next) = (vec![CheckpointId(2)], CheckpointId(4));
    let inputs = [
        ("connected", Input::Connected { session, hello }),
        ("message", Input::Message { session, message }),
        ("disconnected", Input::Disconnected { session }),
        ("stored", stored(StoreOutcome::Done)),
        ("fenced", stored(StoreOutcome::Fenced)),
        (
            "unavailable",
            stored(StoreOutcome::Unavailable("full".into())),
        ),
        ("unknown", stored(StoreOutcome::Unknown("lost".into()))),
        (
            "discarded checkpoint",
            discarded(
                Discard::Checkpoint(job, CheckpointId(3)),
                StorageOutcome::Done,
            ),
        ),
        (
            "discarded job",
            discarded(Discard::Job(job), StorageOutcome::Failed("gone".into())),
        ),
        (
            "discarded unreferenced",
            discarded(
                Discard::Unreferenced { job, keep, next },
                StorageOutcome::Done,
            ),
        ),
        (
            "submit",
            command(Command::Submit {
                graph: graph(),
                from: Some(examples::savepoint()),
            }),
        ),
        ("cancel", command(Command::Cancel(job))),
        ("wake", Input::Wake),
    ];
    let inputs = inputs.into_iter().chain(about_savepoints(job, request));
    let inputs = inputs.chain(about_workers());
    let mut entries: Vec<_> = inputs
        .map(|(name, input)| (name, Entry::Input(input)))
        .collect();
    entries.extend([
        ("header", Entry::Header(header())),
        ("recovered", Entry::Recovered(vec![Record::Cancel(job)])),
        ("snapshot", Entry::Snapshot(vec![1, 2, 3])),
        ("check", Entry::Check(77)),
        ("asked", Entry::End(End::Asked(78))),
        (
            "panicked",
            Entry::End(End::Panicked("a slot belongs to one job".into())),
        ),
    ]);
    entries
}

#[test]
fn frames_of_a_recording_keep_their_bytes() {
    let mut text = String::new();
    let mut bytes = Vec::new();
    start(&mut bytes);
    show(&mut text, "start", &bytes);
    for (name, entry) in examples() {
        let mut bytes = Vec::new();
        let (at, effects) = (Timestamp(1_000), 0x0102_0304_0506_0708);
        append(&mut bytes, &Frame { at, effects, entry });
        show(&mut text, name, &bytes);
    }
    insta::assert_snapshot!(text);
}
