//! What the tests of the operators share: a context, and an output that remembers.

use crate::sdk::{OperatorContext, OperatorError, Output, Record};
use jobmanager_core::id::{
    Attempt, AttemptId, CheckpointId, Epoch, JobId, SubtaskIndex, TaskId, VertexIndex,
};

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
        max_parallelism: 128,
        config,
        checkpoints: true,
        restored: None,
        state: Vec::new(),
    }
}

/// The context of a later attempt, restored from a checkpoint.
pub(super) fn restored(cx: &OperatorContext, state: &[Vec<u8>]) -> OperatorContext {
    let mut cx = cx.clone();
    cx.attempt.attempt.number += 1;
    cx.restored = Some(CheckpointId(1));
    cx.state = state.to_vec();
    cx
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
