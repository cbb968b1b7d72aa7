//! The savepoints that clients want of a job, in the order in which they asked.
//!
//! ```text
//!          durable           all tasks run           all acknowledged         metadata written
//! Storing ────────► Wanted ───────────────► Collecting ──────────────► Writing ──────────────► Ending ──durable──► Ended
//!                     ▲ │ too late            │     │ expired, declined  │ not written           ▲
//!                     │ └───────────────────┐ │     └──────────┐         │                       │
//!                     └──── a task failed ──┼─┘                ▼         ▼                       │
//!                                           └────────────────► Failing ──────────────────────────┘
//! ```
//!
//! Invariants: one is at work at a time, the first that has not ended; nothing is told of an outcome that is not
//! durable; at most [`MAX_WANTED`] wait and [`MAX_ENDED`] are remembered.

use crate::id::{CheckpointId, JobId, RequestId, TriggerId};
use crate::record::{CompletedSavepoint, RecordKey, RecordOp, SavepointOutcome, SavepointRecord};
use crate::time::Timestamp;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The most savepoints of a job that wait: each is a snapshot of all of its state.
pub(super) const MAX_WANTED: usize = 16;
/// The most savepoints of a job whose outcome is remembered; each is a record.
const MAX_ENDED: usize = 16;

/// A savepoint that a client wants, or wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Wish {
    /// As it is durable, or, while it is [`Stage::Storing`], will be.
    pub(super) record: Arc<SavepointRecord>,
    /// The clients that wait until the wish is durable.
    pub(super) waiters: Vec<RequestId>,
    pub(super) stage: Stage,
    /// Whether the wish is durable: a later coordinator would know of it.
    pub(super) is_durable: bool,
    /// Why it was tried in vain the last time.
    pub(super) problem: Option<String>,
}

/// How far a savepoint is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The wish is being made durable.
    Storing,
    /// It is taken as soon as all tasks run.
    Wanted {
        /// Later it is given up.
        until: Timestamp,
    },
    /// The tasks snapshot.
    Collecting {
        /// As which checkpoint.
        id: CheckpointId,
        /// See [`Stage::Wanted`].
        until: Timestamp,
    },
    /// All have, and the metadata is being written. Nothing but the answer to that decides what comes of it.
    Writing(CompletedSavepoint),
    /// It cannot be taken.
    Failing {
        /// Why, for people.
        cause: String,
    },
    /// The outcome is being made durable.
    Ending {
        /// What will be durable.
        ended: Arc<SavepointRecord>,
        /// The checkpoint under way that completes with it; `None` if it failed.
        completes: Option<CheckpointId>,
    },
    /// The outcome is durable.
    Ended,
}

impl Stage {
    /// When the savepoint is given up. While it is collected, its checkpoint expires; later it has no deadline.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        match self {
            Stage::Wanted { until } => Some(*until),
            Stage::Storing
            | Stage::Collecting { .. }
            | Stage::Writing(_)
            | Stage::Failing { .. }
            | Stage::Ending { .. }
            | Stage::Ended => None,
        }
    }
}

/// All of a job, those that have ended first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Savepoints(VecDeque<Wish>);

impl Savepoints {
    /// What an earlier coordinator left: those without an outcome are tried until then.
    pub(super) fn recovered(mut records: Vec<Arc<SavepointRecord>>, until: Timestamp) -> Self {
        records.sort_by_key(|record| (record.outcome.is_none(), record.requested, record.trigger));
        let wish = |record: Arc<SavepointRecord>| Wish {
            stage: match record.outcome {
                Some(_) => Stage::Ended,
                None => Stage::Wanted { until },
            },
            record,
            waiters: Vec::new(),
            is_durable: true,
            problem: None,
        };
        Savepoints(records.into_iter().map(wish).collect())
    }

    pub(super) fn add(&mut self, record: SavepointRecord, waiter: RequestId) {
        self.0.push_back(Wish {
            record: Arc::new(record),
            waiters: Vec::from([waiter]),
            stage: Stage::Storing,
            is_durable: false,
            problem: None,
        });
    }

    pub(super) fn get(&self, trigger: TriggerId) -> Option<&Wish> {
        self.0.iter().find(|wish| wish.record.trigger == trigger)
    }

    pub(super) fn get_mut(&mut self, trigger: TriggerId) -> Option<&mut Wish> {
        let mut wishes = self.0.iter_mut();
        wishes.find(|wish| wish.record.trigger == trigger)
    }

    /// The one whose turn it is.
    pub(super) fn current(&self) -> Option<&Wish> {
        self.0.iter().find(|wish| wish.stage != Stage::Ended)
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Wish> {
        self.0.iter_mut().find(|wish| wish.stage != Stage::Ended)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Wish> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Wish> {
        self.0.iter_mut()
    }

    /// Whether no further one can wait.
    pub(super) fn is_full(&self) -> bool {
        let waiting = self.0.iter().filter(|wish| wish.stage != Stage::Ended);
        waiting.count() >= MAX_WANTED
    }

    /// Those that are durable, as they are.
    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<SavepointRecord>> {
        let durable = self.0.iter().filter(|wish| wish.is_durable);
        durable.map(|wish| &wish.record)
    }

    /// Whether the job will stop with one of them, if that can be taken.
    pub(super) fn will_stop(&self) -> bool {
        let stops = |wish: &Wish| match wish.stage {
            Stage::Storing | Stage::Failing { .. } | Stage::Ended => false,
            Stage::Wanted { .. }
            | Stage::Collecting { .. }
            | Stage::Writing(_)
            | Stage::Ending { .. } => wish.record.after.stops(),
        };
        self.0.iter().any(stops)
    }

    /// The job's result is durable, and so is the outcome of each.
    pub(super) fn all_ended(&mut self) {
        for wish in &mut self.0 {
            if let Stage::Ending { ended, .. } = &wish.stage {
                wish.record = ended.clone();
                wish.stage = Stage::Ended;
            }
        }
    }

    /// The outcome of one is durable: it moves to the others that have ended, and the time of the next one begins.
    /// What remains is to forget the oldest of those that have ended.
    pub(super) fn end(
        &mut self,
        job: JobId,
        trigger: TriggerId,
        timeout: Timestamp,
    ) -> Vec<RecordOp> {
        let at = self
            .0
            .iter()
            .position(|wish| wish.record.trigger == trigger);
        let mut wish = at.and_then(|at| self.0.remove(at)).expect("it is there");
        wish.stage = Stage::Ended;
        let ended = self.0.iter().take_while(|wish| wish.stage == Stage::Ended);
        let ended = ended.count();
        self.0.insert(ended, wish);
        if let Some(Stage::Wanted { until }) = self.current_mut().map(|next| &mut next.stage) {
            *until = timeout;
        }
        let forgotten = self.0.drain(..(ended + 1).saturating_sub(MAX_ENDED));
        let delete = |wish: Wish| RecordOp::Delete(RecordKey::Savepoint(job, wish.record.trigger));
        forgotten.map(delete).collect()
    }
}

impl Wish {
    /// The checkpoint under way as which it is taken.
    pub(super) fn checkpoint(&self) -> Option<CheckpointId> {
        match &self.stage {
            Stage::Collecting { id, .. } => Some(*id),
            Stage::Writing(completed) => Some(completed.checkpoint),
            Stage::Ending { completes, .. } => *completes,
            Stage::Storing | Stage::Wanted { .. } | Stage::Failing { .. } | Stage::Ended => None,
        }
    }

    /// What is to be made durable as its outcome.
    pub(super) fn ended(&self, outcome: SavepointOutcome) -> Arc<SavepointRecord> {
        Arc::new(SavepointRecord {
            outcome: Some(outcome),
            ..SavepointRecord::clone(&self.record)
        })
    }
}
