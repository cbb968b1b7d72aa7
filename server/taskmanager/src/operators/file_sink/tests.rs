//! Crashes at every point of a transaction's life, and what must then be in the folder.

#![allow(clippy::unwrap_used)]

mod rescaled;

use super::super::harness::{context, value};
use super::*;
use jobmanager_core::id::{Attempt, Epoch};
use serde_json::json;
use std::fs;
use std::path::Path;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn first(folder: &Path) -> OperatorContext {
    context(json!({ "path": folder.to_str().unwrap() }))
}

/// The context of another attempt, restored from a snapshot or started without.
fn attempt(folder: &Path, number: u32, state: Option<&State>) -> OperatorContext {
    let mut cx = first(folder);
    cx.attempt.attempt.number = number;
    cx.restored = state.map(|_| CheckpointId(1));
    cx.state = state.cloned();
    cx
}

/// What the only subtask writes at a checkpoint, or why it does not.
fn snapshot(sink: &mut FileSink, checkpoint: u64) -> Result<State, OperatorError> {
    let mut state = State::new(context(json!({})).key_groups());
    sink.snapshot(CheckpointId(checkpoint), &mut state)?;
    Ok(state)
}

fn write(sink: &mut FileSink, lines: &[&str]) {
    for line in lines {
        sink.process(value(line)).unwrap();
    }
}

/// The process dies: nothing is tidied up.
fn crash(sink: FileSink) {
    std::mem::forget(sink);
}

/// The lines under final names, in the order of the parts.
fn published(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = names(folder)
        .into_iter()
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    let text = |name: String| fs::read_to_string(folder.join(name)).unwrap();
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    names.into_iter().map(text).flat_map(lines).collect()
}

fn hidden(folder: &Path) -> usize {
    names(folder)
        .iter()
        .filter(|name| name.starts_with('.'))
        .count()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn files_appear_only_when_their_checkpoint_has_completed() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a", "b"]);
    assert!(published(folder.path()).is_empty());
    snapshot(&mut sink, 1).unwrap();
    write(&mut sink, &["c"]);
    assert!(published(folder.path()).is_empty());
    sink.commit(CheckpointId(1)).unwrap();
    assert_eq!(published(folder.path()), ["a", "b"]);
    snapshot(&mut sink, 2).unwrap();
    sink.commit(CheckpointId(2)).unwrap();
    assert_eq!(published(folder.path()), ["a", "b", "c"]);
    assert_eq!(hidden(folder.path()), 0);
}

#[test]
fn an_aborted_checkpoints_file_appears_with_the_next_completed_one() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a"]);
    snapshot(&mut sink, 1).unwrap();
    write(&mut sink, &["b"]);
    snapshot(&mut sink, 4).unwrap();
    write(&mut sink, &["c"]);
    snapshot(&mut sink, 5).unwrap();
    sink.commit(CheckpointId(4)).unwrap();
    assert_eq!(published(folder.path()), ["a", "b"]);
}

#[test]
fn a_commit_may_be_repeated() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a"]);
    let state = snapshot(&mut sink, 1).unwrap();
    for _ in 0..3 {
        sink.commit(CheckpointId(1)).unwrap();
    }
    crash(sink);
    for number in 1..4 {
        let mut again = FileSink::new(&attempt(folder.path(), number, Some(&state))).unwrap();
        again.commit(CheckpointId(1)).unwrap();
        assert_eq!(published(folder.path()), ["a"]);
    }
}

#[test]
fn a_part_without_records_is_not_written() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    for checkpoint in 1..4 {
        snapshot(&mut sink, checkpoint).unwrap();
        sink.commit(CheckpointId(checkpoint)).unwrap();
    }
    sink.finish().unwrap();
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_crash_before_the_snapshot_leaves_nothing_once_the_next_attempt_has_a_checkpoint() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    let state = snapshot(&mut sink, 1).unwrap();
    write(&mut sink, &["lost"]);
    sink.open.as_mut().unwrap().flush().unwrap();
    crash(sink);
    assert_eq!(hidden(folder.path()), 1);
    let mut again = FileSink::new(&attempt(folder.path(), 1, Some(&state))).unwrap();
    snapshot(&mut again, 2).unwrap();
    again.commit(CheckpointId(2)).unwrap();
    assert!(names(folder.path()).is_empty());
}

#[test]
fn an_attempt_that_an_old_leader_ordered_takes_nothing_from_the_one_that_goes_on() {
    let folder = folder();
    let mut current = FileSink::new(&first(folder.path())).unwrap();
    write(&mut current, &["a"]);
    let state = snapshot(&mut current, 1).unwrap();
    current.commit(CheckpointId(1)).unwrap();
    write(&mut current, &["b"]);
    snapshot(&mut current, 2).unwrap();
    let mut stray = FileSink::new(&attempt(folder.path(), 1, Some(&state))).unwrap();
    stray.commit(CheckpointId(1)).unwrap();
    write(&mut stray, &["b"]);
    snapshot(&mut stray, 3).unwrap();
    FileSink::new(&attempt(folder.path(), 2, None)).unwrap();
    current.commit(CheckpointId(2)).unwrap();
    assert_eq!(published(folder.path()), ["a", "b"]);
}

#[test]
fn a_crash_between_snapshot_and_commit_is_made_up_for_by_the_restored_attempt() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a"]);
    let state = snapshot(&mut sink, 1).unwrap();
    write(&mut sink, &["not in the checkpoint"]);
    crash(sink);
    let mut again = FileSink::new(&attempt(folder.path(), 1, Some(&state))).unwrap();
    assert_eq!(published(folder.path()), ["a"]);
    assert_eq!(hidden(folder.path()), 1);
    write(&mut again, &["b"]);
    snapshot(&mut again, 2).unwrap();
    again.commit(CheckpointId(2)).unwrap();
    assert_eq!(published(folder.path()), ["a", "b"]);
    assert_eq!(hidden(folder.path()), 0);
}

#[test]
fn a_crash_after_the_commit_publishes_nothing_twice() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a"]);
    let state = snapshot(&mut sink, 1).unwrap();
    sink.commit(CheckpointId(1)).unwrap();
    crash(sink);
    FileSink::new(&attempt(folder.path(), 1, Some(&state))).unwrap();
    assert_eq!(published(folder.path()), ["a"]);
}

#[test]
fn parts_are_numbered_on_over_attempts() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    let mut state = None;
    for (checkpoint, line) in [(1, "a"), (2, "b")] {
        write(&mut sink, &[line]);
        state = Some(snapshot(&mut sink, checkpoint).unwrap());
    }
    crash(sink);
    let mut again = FileSink::new(&attempt(folder.path(), 1, state.as_ref())).unwrap();
    write(&mut again, &["c"]);
    snapshot(&mut again, 3).unwrap();
    again.commit(CheckpointId(3)).unwrap();
    assert_eq!(published(folder.path()), ["a", "b", "c"]);
}

#[test]
fn a_crash_in_the_middle_of_a_commit_is_finished_by_the_restored_attempt() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    for (checkpoint, line) in [(1, "a"), (2, "b"), (3, "c")] {
        write(&mut sink, &[line]);
        snapshot(&mut sink, checkpoint).unwrap();
    }
    let state = snapshot(&mut sink, 4).unwrap();
    sink.commit(CheckpointId(2)).unwrap();
    crash(sink);
    FileSink::new(&attempt(folder.path(), 1, Some(&state))).unwrap();
    assert_eq!(published(folder.path()), ["a", "b", "c"]);
}

#[test]
fn a_restore_from_an_older_checkpoint_drops_what_came_later() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a"]);
    let older = snapshot(&mut sink, 1).unwrap();
    write(&mut sink, &["b, of a checkpoint that was aborted"]);
    snapshot(&mut sink, 2).unwrap();
    crash(sink);
    let mut again = FileSink::new(&attempt(folder.path(), 1, Some(&older))).unwrap();
    write(&mut again, &["b"]);
    snapshot(&mut again, 3).unwrap();
    again.commit(CheckpointId(3)).unwrap();
    assert_eq!(published(folder.path()), ["a", "b"]);
    assert_eq!(hidden(folder.path()), 0);
}

#[test]
fn without_checkpoints_a_start_from_the_beginning_writes_everything_anew() {
    let folder = folder();
    let without = |number| {
        let mut cx = attempt(folder.path(), number, None);
        cx.checkpoints = false;
        cx
    };
    let mut sink = FileSink::new(&without(0)).unwrap();
    write(&mut sink, &["a", "b"]);
    sink.finish().unwrap();
    assert_eq!(published(folder.path()), ["a", "b"]);
    crash(sink);
    let mut again = FileSink::new(&without(1)).unwrap();
    assert!(names(folder.path()).is_empty());
    write(&mut again, &["a", "b"]);
    again.finish().unwrap();
    again.finish().unwrap();
    assert_eq!(published(folder.path()), ["a", "b"]);
}

#[test]
fn an_attempt_that_wakes_up_late_touches_nothing_of_a_later_one() {
    let folder = folder();
    let mut zombie = FileSink::new(&first(folder.path())).unwrap();
    write(&mut zombie, &["a"]);
    let state = snapshot(&mut zombie, 1).unwrap();
    write(&mut zombie, &["b"]);
    let mut later = FileSink::new(&attempt(folder.path(), 1, Some(&state))).unwrap();
    write(&mut later, &["b"]);
    snapshot(&mut later, 2).unwrap();
    zombie.commit(CheckpointId(1)).unwrap();
    later.commit(CheckpointId(2)).unwrap();
    assert_eq!(published(folder.path()), ["a", "b"]);
    assert!(zombie.finish().is_err(), "its open part was deleted");
    assert_eq!(published(folder.path()), ["a", "b"]);
    let refused = FileSink::new(&first(folder.path())).err().unwrap();
    assert!(refused.to_string().contains("a later attempt"), "{refused}");
    assert_eq!(published(folder.path()), ["a", "b"]);
}

#[test]
fn an_attempt_of_a_later_epoch_is_later() {
    let folder = folder();
    let mut cx = first(folder.path());
    cx.attempt.attempt.number = 9;
    let mut sink = FileSink::new(&cx).unwrap();
    write(&mut sink, &["a"]);
    let state = snapshot(&mut sink, 1).unwrap();
    crash(sink);
    let mut cx = attempt(folder.path(), 0, Some(&state));
    cx.attempt.attempt = Attempt {
        epoch: Epoch(10),
        number: 0,
    };
    FileSink::new(&cx).unwrap();
    assert_eq!(published(folder.path()), ["a"]);
}

#[test]
fn jobs_vertices_and_subtasks_share_a_folder_in_peace() {
    let folder = folder();
    let base = first(folder.path());
    let mut sinks = Vec::new();
    for (job, vertex, subtask) in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, 11)] {
        let mut cx = base.clone();
        cx.attempt.job.0 = job;
        cx.attempt.task.vertex.0 = vertex;
        cx.attempt.task.subtask.0 = subtask;
        cx.subtask = subtask;
        let mut sink = FileSink::new(&cx).unwrap();
        write(&mut sink, &[&format!("{job} {vertex} {subtask}")]);
        snapshot(&mut sink, 1).unwrap();
        sinks.push(sink);
    }
    for mut sink in sinks {
        sink.commit(CheckpointId(1)).unwrap();
    }
    assert_eq!(published(folder.path()).len(), 5);
    fs::write(folder.path().join("somebody's notes"), "stay").unwrap();
    let mut again = base.clone();
    again.attempt.attempt.number = 1;
    again.checkpoints = false;
    FileSink::new(&again).unwrap();
    assert_eq!(names(folder.path()).len(), 6);
    let mut one = again.clone();
    one.attempt.job.0 = 1;
    one.attempt.task.vertex.0 = 0;
    one.subtask = 1;
    FileSink::new(&one).unwrap();
    assert_eq!(
        names(folder.path()).len(),
        5,
        "subtask 1 deletes its own, not that of 11"
    );
}

#[test]
fn an_attempt_that_is_canceled_takes_its_open_part_with_it() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a"]);
    snapshot(&mut sink, 1).unwrap();
    write(&mut sink, &["b"]);
    assert_eq!(hidden(folder.path()), 2);
    drop(sink);
    assert_eq!(hidden(folder.path()), 1, "the closed part stays");
}

#[test]
fn a_closed_part_that_vanished_is_an_error_with_its_path() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a"]);
    let state = snapshot(&mut sink, 1).unwrap();
    for name in names(folder.path()) {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let lost = sink.commit(CheckpointId(1)).unwrap_err().to_string();
    assert!(lost.contains(".inprogress: No such file"), "{lost}");
    let lost = FileSink::new(&attempt(folder.path(), 1, Some(&state)));
    let lost = lost.err().unwrap().to_string();
    assert!(lost.contains(".inprogress: No such file"), "{lost}");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = FileSink::new(&first(&file.join("out"))).err().unwrap();
    let expected = format!("{}: Not a directory", file.join("out").display());
    assert!(refused.to_string().starts_with(&expected), "{refused}");
    let refused = FileSink::new(&first(&file)).err().unwrap().to_string();
    assert!(
        refused.starts_with(&format!("{}: ", file.display())),
        "{refused}"
    );
}

#[test]
fn a_folder_that_vanishes_is_an_error_with_the_parts_path() {
    let folder = folder();
    let out = folder.path().join("deep/out");
    let mut sink = FileSink::new(&first(&out)).unwrap();
    fs::remove_dir(&out).unwrap();
    let error = sink.process(value("a")).unwrap_err().to_string();
    assert!(error.starts_with(out.to_str().unwrap()), "{error}");
    assert!(error.contains("No such file"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_declines_the_checkpoint_and_fails_the_task_that_goes_on() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    sink.open.as_mut().unwrap().redirect(full);
    write(&mut sink, &["b"]);
    let error = snapshot(&mut sink, 1).unwrap_err().to_string();
    assert!(
        error.starts_with(folder.path().to_str().unwrap()),
        "{error}"
    );
    assert!(error.contains("No space left"), "{error}");
    assert!(sink.open.is_some(), "the transaction stays open");
    let long = "x".repeat(1 << 20);
    let error = sink.process(value(&long)).unwrap_err().to_string();
    assert!(error.contains("No space left"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn after_a_failed_sync_nothing_more_is_promised() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    write(&mut sink, &["a"]);
    // A device that takes everything and cannot be synced.
    let null = fs::File::options().write(true).open("/dev/null").unwrap();
    sink.open.as_mut().unwrap().redirect(null);
    let first = snapshot(&mut sink, 1).unwrap_err().to_string();
    assert!(first.contains(".inprogress: "), "{first}");
    assert_eq!(snapshot(&mut sink, 2).unwrap_err().to_string(), first);
    assert_eq!(sink.process(value("b")).unwrap_err().to_string(), first);
    assert_eq!(sink.finish().unwrap_err().to_string(), first);
}

#[test]
fn closed_parts_do_not_pile_up_without_bound() {
    let folder = folder();
    let mut sink = FileSink::new(&first(folder.path())).unwrap();
    let part = |number| ClosedPart {
        checkpoint: CheckpointId(number),
        name: String::new(),
    };
    sink.closed.extend((0..10_000).map(part));
    snapshot(&mut sink, 10_000).unwrap();
    write(&mut sink, &["one too many"]);
    let error = snapshot(&mut sink, 10_001).unwrap_err();
    assert!(error.to_string().starts_with("10000 files wait"), "{error}");
    assert!(sink.process(value("x")).is_err(), "the task restarts");
}
