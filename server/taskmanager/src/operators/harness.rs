//! What the tests of the operators share: a context, what the coordinator does with snapshots, and an output that
//! remembers.

use crate::folders::Folders;
use crate::sdk::{OperatorContext, OperatorError, Output, Record, State};
use jobmanager_core::id::{
    Attempt, AttemptId, CheckpointId, Epoch, JobId, SubtaskIndex, TaskId, VertexIndex,
};
use jobmanager_core::message::{StateHandle, StateLocation, SubtaskState};
use jobmanager_core::redistribute::{redistribute, united};
use std::sync::Arc;

/// How many key groups there are, unless there are more subtasks.
const KEY_GROUPS: u32 = 128;
/// From how many subtasks to how many.
pub(super) const RESCALED: [(u32, u32); 9] = [
    (1, 1),
    (1, 2),
    (2, 1),
    (2, 2),
    (2, 3),
    (3, 2),
    (4, 7),
    (7, 4),
    (1, KEY_GROUPS),
];

/// The context of the first attempt of the only subtask of a vertex, without state.
pub(super) fn context(config: serde_json::Value) -> OperatorContext {
    subtask(config, 0, 1)
}

/// The same for one of several subtasks.
pub(super) fn subtask(
    config: serde_json::Value,
    subtask: u32,
    parallelism: u32,
) -> OperatorContext {
    let task = TaskId {
        vertex: VertexIndex(3),
        subtask: SubtaskIndex(subtask),
    };
    let attempt = Attempt {
        epoch: Epoch(1),
        number: 0,
    };
    OperatorContext {
        job_name: "job".to_owned(),
        attempt: AttemptId {
            job: JobId(0xfeed),
            task,
            attempt,
        },
        vertex: "vertex".to_owned(),
        subtask,
        parallelism,
        max_parallelism: KEY_GROUPS.max(parallelism),
        since: None,
        config,
        checkpoints: true,
        restored: None,
        folders: Folders::default(),
        state: None,
    }
}

/// The contexts of all subtasks.
pub(super) fn subtasks(config: &serde_json::Value, parallelism: u32) -> Vec<OperatorContext> {
    let subtask = |index| subtask(config.clone(), index, parallelism);
    (0..parallelism).map(subtask).collect()
}

/// What a subtask writes at a checkpoint.
pub(super) fn written(
    cx: &OperatorContext,
    write: impl FnOnce(&mut State) -> Result<(), OperatorError>,
) -> State {
    let mut state = State::new(cx.key_groups());
    write(&mut state).expect("it can be written");
    state
}

/// The context of a later attempt, restored from a checkpoint.
pub(super) fn restored(cx: &OperatorContext, state: Option<&State>) -> OperatorContext {
    let mut cx = cx.clone();
    cx.attempt.attempt.number += 1;
    cx.restored = Some(CheckpointId(1));
    cx.state = state.cloned();
    cx
}

/// The contexts of all subtasks of a later attempt with maybe another parallelism, and the same max parallelism,
/// restored from what all subtasks have written. The attempt is the first one that may have it.
pub(super) fn rescaled(
    config: &serde_json::Value,
    written: &[State],
    parallelism: u32,
) -> Vec<OperatorContext> {
    let states: Vec<SubtaskState> = written.iter().map(acknowledged).collect();
    let states = if states.len() == parallelism as usize {
        states
    } else {
        redistribute(&states, KEY_GROUPS, parallelism).expect("it is made of parts")
    };
    let united = united(states.iter());
    let start = |(cx, own): (OperatorContext, &SubtaskState)| {
        let own: Vec<StateHandle> = own
            .handles()
            .iter()
            .filter(|it| !it.is_nothing())
            .cloned()
            .collect();
        let given = match &united {
            Some(united) => united.with(SubtaskIndex(cx.subtask), &own),
            None => own,
        };
        let mut cx = restored(&cx, given_state(&cx, &given).as_ref());
        cx.since = (written.len() != parallelism as usize).then_some(cx.attempt.attempt);
        cx
    };
    subtasks(config, parallelism)
        .into_iter()
        .zip(&states)
        .map(start)
        .collect()
}

fn acknowledged(state: &State) -> SubtaskState {
    if state.is_nothing() {
        return SubtaskState::Own(StateHandle::nothing());
    }
    let bytes = state.to_bytes();
    let size = bytes.len() as u64;
    let mut handle = StateHandle::whole(StateLocation::Inline(bytes), size);
    handle.parts = Some(Arc::new(state.parts()));
    SubtaskState::Own(handle)
}

fn given_state(cx: &OperatorContext, given: &[StateHandle]) -> Option<State> {
    let mut state = State::new(cx.key_groups());
    for handle in given {
        let StateLocation::Inline(bytes) = &handle.location else {
            panic!("{handle:?} is inlined");
        };
        let taken = state.take(bytes, handle.parts.as_deref());
        taken.expect("it has what it said");
    }
    (!given.is_empty()).then_some(state)
}

/// An output that remembers what was put into it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Collected {
    pub(super) records: Vec<OwnedRecord>,
    pub(super) watermarks: Vec<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OwnedRecord {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
    pub(super) time: i64,
}

impl Collected {
    /// The values as texts, in order.
    pub(super) fn values(&self) -> Vec<String> {
        let text = |record: &OwnedRecord| String::from_utf8_lossy(&record.value).into_owned();
        self.records.iter().map(text).collect()
    }
}

impl Output for Collected {
    fn record(&mut self, record: Record<'_>) -> Result<(), OperatorError> {
        self.records.push(OwnedRecord {
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
            time: record.time,
        });
        Ok(())
    }

    fn watermark(&mut self, time: i64) -> Result<(), OperatorError> {
        self.watermarks.push(time);
        Ok(())
    }
}

/// A record without a key.
pub(super) fn value(value: &str) -> Record<'_> {
    Record {
        key: None,
        value: value.as_bytes(),
        time: 0,
    }
}

/// A record with a key, which is also its value.
pub(super) fn keyed(key: &str, time: i64) -> Record<'_> {
    Record {
        key: Some(key.as_bytes()),
        value: key.as_bytes(),
        time,
    }
}
