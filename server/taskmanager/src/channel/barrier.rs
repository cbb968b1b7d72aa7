//! The mark in a channel that makes a snapshot consistent.

use jobmanager_core::id::CheckpointId;
use jobmanager_core::message::{AfterSavepoint, SavepointOrder};
use std::sync::Arc;

/// What came before it belongs to this checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub(crate) checkpoint: CheckpointId,
    /// If it is a savepoint: what is different then. Goes with the barrier from task to task.
    pub(crate) savepoint: Option<Arc<SavepointOrder>>,
}

impl Barrier {
    /// Whether the sources have to end before it.
    pub(crate) fn drains(&self) -> bool {
        self.after() == Some(AfterSavepoint::Drain)
    }

    /// Whether the tasks stop behind it, as they are.
    pub(crate) fn suspends(&self) -> bool {
        self.after() == Some(AfterSavepoint::Suspend)
    }

    fn after(&self) -> Option<AfterSavepoint> {
        self.savepoint.as_ref().map(|order| order.after)
    }
}

impl From<CheckpointId> for Barrier {
    fn from(checkpoint: CheckpointId) -> Barrier {
        let savepoint = None;
        Barrier {
            checkpoint,
            savepoint,
        }
    }
}
