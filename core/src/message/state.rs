//! Where the snapshot of a task is, and what it can be divided into.

use crate::graph::KeyGroupRange;
use crate::redistribute::DistributionMode;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// Where a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StateLocation {
    /// Here.
    Inline(Vec<u8>),
    /// In the checkpoint storage, under this path relative to the job's folder.
    File(String),
    /// At this URL: a file of a savepoint.
    Url(String),
}

/// The snapshot of one task, or some of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateHandle {
    /// Where it is.
    pub location: StateLocation,
    /// The size of the whole snapshot in bytes.
    pub size: u64,
    /// Whether it was taken after the end of the task's input.
    pub end_of_data: bool,
    /// What of the snapshot is meant; `None` for one that can only be taken as a whole.
    pub parts: Option<Arc<StateParts>>,
}

/// What a snapshot has, or what of it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateParts {
    /// The state of the keys in these groups.
    pub key_groups: Option<KeyGroupRange>,
    /// Lists of partitions that belong to no key, ascending by their names, each once.
    pub lists: Vec<ListPart>,
}

/// Partitions that follow each other in a named list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListPart {
    /// The name of the list.
    pub name: String,
    /// How the list is given to the subtasks of another parallelism.
    pub mode: DistributionMode,
    /// Their positions in the list of the snapshot.
    pub partitions: Range<u32>,
}

impl StateHandle {
    /// A snapshot of so many bytes that was taken amid the input and can only be taken as a whole.
    #[must_use]
    pub fn whole(location: StateLocation, size: u64) -> Self {
        StateHandle {
            location,
            size,
            end_of_data: false,
            parts: None,
        }
    }

    /// The snapshot of a task of which there is none.
    #[must_use]
    pub fn nothing() -> Self {
        StateHandle::whole(StateLocation::Inline(Vec::new()), 0)
    }

    /// Whether there is nothing in it to start from.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let empty = matches!(&self.location, StateLocation::Inline(bytes) if bytes.is_empty());
        empty && !self.end_of_data
    }

    /// The same snapshot, of which this is meant.
    #[must_use]
    pub fn narrowed(&self, parts: StateParts) -> Self {
        StateHandle {
            parts: Some(Arc::new(parts)),
            ..self.clone()
        }
    }

    /// The lists of which partitions are meant.
    pub fn lists(&self) -> impl Iterator<Item = &ListPart> {
        self.parts.iter().flat_map(|parts| &parts.lists)
    }
}

/// From what a subtask starts: its own snapshot, or parts of several.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SubtaskState {
    /// What a subtask has snapshotted.
    Own(StateHandle),
    /// What it was given when its vertex got another number of subtasks: of each snapshot some parts.
    Given(Vec<StateHandle>),
}

impl SubtaskState {
    /// There is none.
    #[must_use]
    pub fn nothing() -> Self {
        SubtaskState::Given(Vec::new())
    }

    /// The snapshots.
    #[must_use]
    pub fn handles(&self) -> &[StateHandle] {
        match self {
            SubtaskState::Own(handle) => core::slice::from_ref(handle),
            SubtaskState::Given(handles) => handles,
        }
    }

    /// Whether all of it was taken after the end of the input.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let handles = self.handles();
        !handles.is_empty() && handles.iter().all(|handle| handle.end_of_data)
    }

    /// The bytes of the snapshots, each counted in full.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.handles().iter().map(|handle| handle.size).sum()
    }
}
