//! Another parallelism: what was closed is published once, whoever has to do it, and what is left over goes away.

use super::super::super::harness::{RESCALED, rescaled, subtasks, written};
use super::*;

#[test]
fn with_another_parallelism_everything_that_was_closed_is_published_once() {
    for (old, new) in RESCALED {
        let folder = folder();
        let config = json!({ "path": folder.path().to_str().unwrap() });
        let mut expected = Vec::new();
        let mut write = |sink: &mut FileSink, line: String| {
            sink.process(value(&line)).unwrap();
            expected.push(line);
        };
        let mut states = Vec::new();
        for cx in subtasks(&config, old) {
            let mut sink = FileSink::new(&cx).unwrap();
            // Some are published before, some have several parts that are not.
            for checkpoint in 1..=u64::from(cx.subtask) + 2 {
                write(&mut sink, format!("{}-{checkpoint}", cx.subtask));
                states.truncate(cx.subtask as usize);
                states.push(written(&cx, |state| {
                    sink.snapshot(CheckpointId(checkpoint), state)
                }));
            }
            sink.commit(CheckpointId(1)).unwrap();
            crash(sink);
        }
        // All are there before the first checkpoint completes.
        let contexts = rescaled(&config, &states, new);
        let parts = |files: &Vec<u8>| Files::read(files).unwrap().closed.len();
        let closed = |state: &State| state.list(FILES).iter().map(parts).sum::<usize>();
        let given = contexts.iter().filter_map(|cx| cx.state.as_ref());
        let before = states.iter().map(closed).sum::<usize>();
        assert_eq!(given.map(closed).sum::<usize>(), before);
        let sinks = contexts.iter().map(|cx| FileSink::new(cx).unwrap());
        for (cx, mut sink) in contexts.iter().zip(sinks.collect::<Vec<_>>()) {
            write(&mut sink, format!("again-{}", cx.subtask));
            written(cx, |state| sink.snapshot(CheckpointId(9), state));
            sink.commit(CheckpointId(9)).unwrap();
        }
        expected.sort_unstable();
        let mut lines = published(folder.path());
        lines.sort_unstable();
        assert_eq!(lines, expected, "{old} to {new}");
        assert_eq!(hidden(folder.path()), 0);
    }
}

/// A folder with what four subtasks have closed for a checkpoint, and what else they left when they were killed: an
/// open file, and a closed one of a checkpoint that was aborted. The lines of the first, and the state.
fn four(folder: &Path) -> (Vec<String>, Vec<State>) {
    let config = json!({ "path": folder.to_str().unwrap() });
    let mut lines = Vec::new();
    let mut states = Vec::new();
    for cx in subtasks(&config, 4) {
        let mut sink = FileSink::new(&cx).unwrap();
        let line = format!("of {}", cx.subtask);
        write(&mut sink, &[&line]);
        lines.push(line);
        states.push(written(&cx, |it| sink.snapshot(CheckpointId(1), it)));
        write(&mut sink, &["lost"]);
        written(&cx, |it| sink.snapshot(CheckpointId(2), it));
        write(&mut sink, &["lost, too"]);
        crash(sink);
    }
    (lines, states)
}

/// Runs each to its next checkpoint, and gives what they have written for it.
fn to_checkpoint(contexts: &[OperatorContext], checkpoint: u64, commit: bool) -> Vec<State> {
    let checkpoint = CheckpointId(checkpoint);
    let run = |cx: &OperatorContext| {
        let mut sink = FileSink::new(cx).unwrap();
        let state = written(cx, |state| sink.snapshot(checkpoint, state));
        if commit {
            sink.commit(checkpoint).unwrap();
        }
        crash(sink);
        state
    };
    contexts.iter().map(run).collect()
}

#[test]
fn what_another_subtask_has_to_publish_is_left_alone() {
    let folder = folder();
    let config = json!({ "path": folder.path().to_str().unwrap() });
    let (lines, states) = four(folder.path());
    let contexts = rescaled(&config, &states, 2);
    assert_eq!(hidden(folder.path()), 12);
    // The second one was given what 2 and 3 wrote. What 1 wrote has to wait for the first one.
    let state = &to_checkpoint(&contexts[1..], 3, true)[0];
    let mut again = contexts[1].clone();
    again.attempt.attempt.number += 1;
    again.state = Some(state.clone());
    to_checkpoint(&[again], 4, true);
    assert_eq!(published(folder.path()), lines[2..]);
    assert_eq!(hidden(folder.path()), 6);
    to_checkpoint(&contexts[..1], 3, true);
    assert_eq!(published(folder.path()), lines);
    assert_eq!(hidden(folder.path()), 0);
}

#[test]
fn whose_left_overs_are_to_be_deleted_is_not_forgotten_before_they_are() {
    let folder = folder();
    let config = json!({ "path": folder.path().to_str().unwrap() });
    let (lines, mut states) = four(folder.path());
    // Each time nobody hears that the checkpoint has completed, before there is another parallelism again.
    for (number, parallelism) in [(1, 3), (2, 1), (3, 2)] {
        let mut contexts = rescaled(&config, &states, parallelism);
        for cx in &mut contexts {
            cx.attempt.attempt.number = number;
            cx.since = Some(cx.attempt.attempt);
        }
        states = to_checkpoint(&contexts, 3, false);
    }
    assert_eq!(published(folder.path()), lines);
    assert_eq!(hidden(folder.path()), 8);
    // The same parallelism: who restarts has what it had, and deletes it once.
    let mut contexts = rescaled(&config, &states, 2);
    for cx in &mut contexts {
        cx.attempt.attempt.number = 4;
        cx.since = Some(Attempt {
            number: 3,
            ..cx.attempt.attempt
        });
    }
    to_checkpoint(&contexts, 4, true);
    assert_eq!(published(folder.path()), lines);
    assert_eq!(hidden(folder.path()), 0);
}

#[test]
fn what_another_job_left_is_not_touched() {
    let folder = folder();
    let config = json!({ "path": folder.path().to_str().unwrap() });
    let (lines, states) = four(folder.path());
    let before = to_checkpoint(&rescaled(&config, &states, 2), 3, false);
    let mut contexts = rescaled(&config, &before, 1);
    // It started from a savepoint, and got another parallelism before it had a checkpoint of its own.
    contexts[0].attempt.job.0 += 1;
    to_checkpoint(&contexts, 4, true);
    assert_eq!(published(folder.path()), lines);
    assert_eq!(hidden(folder.path()), 8);
}

#[test]
fn files_of_one_number_and_two_parallelisms_have_an_heir_each() {
    let folder = folder();
    let config = json!({ "path": folder.path().to_str().unwrap() });
    let (lines, states) = four(folder.path());
    // The first one, which was given what 0 and 1 wrote, does not come to it.
    let mut contexts = rescaled(&config, &states, 2);
    let mut state = to_checkpoint(&contexts[1..], 3, true);
    state.insert(0, contexts[0].state.take().unwrap());
    assert_eq!(published(folder.path()), lines[2..]);
    let mut contexts = rescaled(&config, &state, 3);
    for cx in &mut contexts {
        cx.attempt.attempt.number = 2;
        cx.since = Some(cx.attempt.attempt);
    }
    // Whoever was given what the second one wrote is not whoever has to publish what 1 wrote.
    contexts.reverse();
    to_checkpoint(&contexts, 4, true);
    assert_eq!(published(folder.path()), lines);
    assert_eq!(hidden(folder.path()), 0);
}

#[test]
fn what_is_known_of_files_is_read_as_it_was_written() {
    let attempt = |number| Attempt {
        epoch: Epoch(7),
        number,
    };
    for until in [None, Some(attempt(1))] {
        let files = Files {
            prefix: "part-".to_owned(),
            since: attempt(0),
            until,
            closed: vec![ClosedPart {
                checkpoint: CheckpointId(300),
                name: "part-1".to_owned(),
            }],
        };
        let bytes = files.to_bytes();
        assert_eq!(Files::read(&bytes).unwrap(), files);
        assert!(Files::read(&bytes[..bytes.len() - 1]).is_err());
    }
}
