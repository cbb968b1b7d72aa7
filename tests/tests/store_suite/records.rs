//! Records to write.

use jobmanager_core::id::{Attempt, CheckpointId, Epoch, JobId};
use jobmanager_core::message::{StateHandle, StateLocation, SubtaskState};
use jobmanager_core::record::{CheckpointRecord, Record, RecordOp, RegionSnapshot};
use jobmanager_core::time::Timestamp;
use std::sync::Arc;

/// What tells one write of a job from another.
pub(crate) fn mark(job: u128, next: u64) -> Record {
    Record::CheckpointMark {
        job: JobId(job),
        next: CheckpointId(next),
    }
}

pub(crate) fn put(record: Record) -> RecordOp {
    RecordOp::Put(record)
}

/// A completed checkpoint whose state of this many bytes is inside.
pub(crate) fn checkpoint(job: u128, id: u64, bytes: usize) -> Record {
    let state = StateHandle::whole(StateLocation::Inline(vec![0x5a; bytes]), bytes as u64);
    Record::Checkpoint(Arc::new(CheckpointRecord {
        job: JobId(job),
        id: CheckpointId(id),
        triggered: Timestamp(1),
        completed: Timestamp(2),
        regions: vec![Some(RegionSnapshot {
            checkpoint: CheckpointId(id),
            attempt: Some(Attempt {
                epoch: Epoch(1),
                number: 0,
            }),
            is_final: false,
        })],
        inherited: Vec::new(),
        states: vec![SubtaskState::Own(state)],
    }))
}

/// What one commit writes: all of it has to be there, or none.
pub(crate) fn generation(number: u64) -> Vec<Record> {
    (1..=3).map(|job| mark(job, number)).collect()
}

pub(crate) fn number_of(record: &Record) -> u64 {
    match record {
        Record::CheckpointMark { next, .. } => next.0,
        Record::Job(_)
        | Record::Cancel(_)
        | Record::Rescale(_)
        | Record::Checkpoint(_)
        | Record::Savepoint(_)
        | Record::Result(_) => panic!("only marks are written here"),
    }
}
