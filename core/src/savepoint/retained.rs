//! The last checkpoint of a job that has ended, as a savepoint: from it another job can start.
//!
//! It is composed of the latest snapshots of the job's regions. One that has completed none starts from the
//! beginning again.

use super::{OperatorSnapshots, Savepoint, SubtaskSnapshot};
use crate::graph::{JobGraph, Regions};
use crate::id::JobId;
use crate::message::{StateHandle, StateLocation, SubtaskState};
use crate::record::CheckpointRecord;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The URL of a job's folder in this checkpoint storage.
pub(super) fn folder(storage: &str, job: JobId) -> String {
    let storage = storage.strip_suffix('/').unwrap_or(storage);
    format!("{storage}/{job}")
}

impl Savepoint {
    /// A record of a job, whose files are in this checkpoint storage. It fits the graph.
    pub(crate) fn retained(
        record: &CheckpointRecord,
        graph: &JobGraph,
        layout: &Regions,
        storage: &str,
    ) -> Self {
        let folder = folder(storage, record.job);
        let named = |handle: &StateHandle| {
            let mut handle = handle.clone();
            if let StateLocation::File(path) = &handle.location {
                handle.location = StateLocation::Url(format!("{folder}/{path}"));
            }
            handle
        };
        let subtask = |(position, state): (u32, &SubtaskState)| {
            let snapshot = record.region(layout.of(position));
            SubtaskSnapshot {
                state: match state {
                    SubtaskState::Own(handle) => SubtaskState::Own(named(handle)),
                    SubtaskState::Given(handles) => {
                        SubtaskState::Given(handles.iter().map(named).collect())
                    }
                },
                ended: snapshot.is_some_and(|snapshot| snapshot.is_final),
            }
        };
        let subtasks: Vec<_> = (0..).zip(&record.states).map(subtask).collect();
        Savepoint {
            job: record.job,
            checkpoint: record.id,
            triggered: record.triggered,
            operators: OperatorSnapshots::of_job(graph, layout, &subtasks),
        }
    }
}
