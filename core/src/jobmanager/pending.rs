//! The checkpoints of a job that are under way: of each the parts of the regions that take part in it.
//!
//! ```text
//!            last acknowledgement               put into a record            durable
//! Collecting ────────────────────► Acknowledged ─────────────────► Storing ─────────► completed
//!     │                                 │
//!     └─────────────────────────────────┴──► aborted: expired, declined, a task of the region failed,
//!                                            a later one of the region was acknowledged
//! ```
//!
//! Regions exchange no records, so each completes or aborts its part for itself. What is being stored is never
//! aborted, because nobody knows yet whether it is durable.

use super::execution::Bits;
use super::view::{CheckpointEntry, CheckpointOutcome};
use crate::config::CheckpointConfig;
use crate::id::{Attempt, CheckpointId, RegionIndex};
use crate::message::{Acknowledgement, StateHandle};
use crate::record::RegionSnapshot;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Why a checkpoint was given up (Flink's `CheckpointFailureReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Abort {
    Expired,
    Declined,
    TaskDeclined,
    Subsumed,
    TaskFailure,
    JobStopped,
    NotFinalized,
    Suspended,
}

impl Abort {
    /// Whether it counts against `tolerable-failed-checkpoints` (SEMANTICS §2.3).
    pub(super) fn counts(self) -> bool {
        match self {
            Abort::Expired | Abort::Declined | Abort::NotFinalized => true,
            Abort::TaskDeclined
            | Abort::Subsumed
            | Abort::TaskFailure
            | Abort::JobStopped
            | Abort::Suspended => false,
        }
    }

    /// Whether the tasks could not snapshot, so that an immediate repetition would likely fail as well.
    pub(super) fn is_snapshot_failure(self) -> bool {
        match self {
            Abort::Expired | Abort::Declined | Abort::TaskDeclined => true,
            Abort::Subsumed
            | Abort::TaskFailure
            | Abort::JobStopped
            | Abort::NotFinalized
            | Abort::Suspended => false,
        }
    }

    /// It in words, with what is known beyond that.
    pub(super) fn cause(self, detail: &str) -> String {
        match detail {
            "" => String::from(self.text()),
            detail => format!("{}: {detail}", self.text()),
        }
    }

    /// Flink's word for it, and what that means.
    pub(super) fn text(self) -> &'static str {
        match self {
            Abort::Expired => "CHECKPOINT_EXPIRED: the checkpoint expired before completing",
            Abort::Declined => "CHECKPOINT_ASYNC_EXCEPTION: the snapshot of a task failed",
            Abort::TaskDeclined => "DECLINED_TASK_NOT_READY: a task could not take part",
            Abort::Subsumed => "CHECKPOINT_SUBSUMED: a later checkpoint completed",
            Abort::TaskFailure => "JOB_FAILOVER_REGION: a task of the checkpoint failed",
            Abort::JobStopped => "COORDINATOR_SHUTDOWN: the job ends",
            Abort::Suspended => "CHECKPOINT_COORDINATOR_SUSPEND: the tasks of the checkpoint stop",
            Abort::NotFinalized => "FINALIZE_CHECKPOINT_FAILURE: it could not be completed",
        }
    }
}

/// A checkpoint under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) id: CheckpointId,
    pub(super) triggered: Timestamp,
    patience: Patience,
    /// No part of it expires before; acknowledgements may have put that off since.
    pub(super) looked_at: Timestamp,
    /// It completes or is given up as a whole, and nothing is restored from it unless the job stops with it.
    pub(super) is_savepoint: bool,
    pub(super) parts: BTreeMap<RegionIndex, Part>,
    /// How many of its parts are collecting.
    collecting: u32,
    /// Whether a part of it has become durable.
    pub(super) completed: bool,
    subtasks: u32,
    acknowledged: u32,
    latest_ack: Option<Timestamp>,
    size: u64,
}

/// How long tasks may take to acknowledge a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Patience {
    /// From the trigger, or from the last acknowledgement of the region.
    timeout: Duration,
    /// From the trigger.
    longest: Duration,
}

/// What a region has to do with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Part {
    attempt: Attempt,
    missing: u32,
    /// By the place in the region, as [`Self::states`].
    acknowledged: Bits,
    states: Vec<Option<StateHandle>>,
    end_of_data: bool,
    latest_ack: Option<Timestamp>,
    stage: Stage,
}

/// How far a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Stage {
    Collecting,
    Acknowledged,
    Storing,
}

/// A region that takes part in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Participant {
    pub(super) region: RegionIndex,
    pub(super) attempt: Attempt,
    /// How many tasks it has.
    pub(super) tasks: u32,
}

/// What an acknowledgement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// Others are missing.
    Counted,
    /// This task has acknowledged already.
    Duplicate,
    /// The region takes no part in such a checkpoint: its state is of no use.
    Unknown,
    /// It was the last one of its region.
    Last,
    /// It was the last one of a savepoint.
    Whole,
}

impl Pending {
    pub(super) fn new(
        id: CheckpointId,
        triggered: Timestamp,
        config: &CheckpointConfig,
        is_savepoint: bool,
        participants: &[Participant],
    ) -> Self {
        let part = |participant: &Participant| {
            let Participant { attempt, tasks, .. } = *participant;
            let part = Part {
                attempt,
                missing: tasks,
                acknowledged: Bits::new(tasks),
                states: alloc::vec![None; tasks as usize],
                end_of_data: true,
                latest_ack: None,
                stage: Stage::Collecting,
            };
            (participant.region, part)
        };
        let parts: BTreeMap<_, _> = participants.iter().map(part).collect();
        let collecting = u32::try_from(parts.len()).expect("regions are counted in 32 bits");
        Pending {
            id,
            triggered,
            patience: Patience {
                timeout: config.timeout,
                longest: config.max_timeout,
            },
            looked_at: triggered + config.timeout,
            is_savepoint,
            parts,
            collecting,
            completed: false,
            subtasks: participants.iter().map(|it| it.tasks).sum(),
            acknowledged: 0,
            latest_ack: None,
            size: 0,
        }
    }

    /// Whether tasks have yet to acknowledge it.
    pub(super) fn is_collecting(&self) -> bool {
        self.collecting > 0
    }

    /// When the part of a region is given up if it is still collecting.
    fn expiry(&self, part: &Part) -> Timestamp {
        // All parts of a savepoint are worth nothing without each other.
        let latest_ack = match self.is_savepoint {
            true => self.latest_ack,
            false => part.latest_ack,
        };
        let since = latest_ack.unwrap_or(self.triggered);
        let longest = self.triggered + self.patience.longest;
        longest.min(since + self.patience.timeout)
    }

    /// When the first part of it expires that is collecting now.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        let parts = self.parts.values();
        let collecting = parts.filter(|part| part.stage == Stage::Collecting);
        collecting.map(|part| self.expiry(part)).min()
    }

    /// The regions whose parts have expired.
    pub(super) fn take_late(&mut self, now: Timestamp) -> BTreeSet<RegionIndex> {
        let expiry = |region: RegionIndex| (region, self.expiry(&self.parts[&region]));
        let collecting = self.collecting().map(expiry);
        let (late, others): (Vec<_>, Vec<_>) = collecting.partition(|(_, at)| *at <= now);
        let next = others.into_iter().map(|(_, at)| at).min();
        self.looked_at = next.unwrap_or(self.looked_at);
        late.into_iter().map(|(region, _)| region).collect()
    }

    /// The regions of which a task has yet to acknowledge it.
    pub(super) fn collecting(&self) -> impl Iterator<Item = RegionIndex> {
        let collecting = |(_, part): &(_, &Part)| part.stage == Stage::Collecting;
        let parts = self.parts.iter().filter(collecting);
        parts.map(|(region, _)| *region)
    }

    /// A task has snapshotted; it has this place in its region.
    pub(super) fn acknowledge(
        &mut self,
        now: Timestamp,
        region: RegionIndex,
        place: u32,
        ack: Acknowledgement,
    ) -> Acknowledged {
        let Some(part) = self.parts.get_mut(&region) else {
            return Acknowledged::Unknown;
        };
        if !part.acknowledged.set(place, true) {
            return Acknowledged::Duplicate;
        }
        part.missing -= 1;
        part.end_of_data &= ack.state.end_of_data;
        self.acknowledged += 1;
        self.size += ack.state.size;
        self.latest_ack = Some(now);
        part.latest_ack = Some(now);
        part.states[place as usize] = Some(ack.state);
        if part.missing > 0 {
            return Acknowledged::Counted;
        }
        part.stage = Stage::Acknowledged;
        self.collecting -= 1;
        match (self.is_savepoint, self.collecting) {
            (false, _) => Acknowledged::Last,
            (true, 0) => Acknowledged::Whole,
            (true, _) => Acknowledged::Counted,
        }
    }

    /// What the tasks of a region that has acknowledged have snapshotted, and whether all of it is of after the
    /// end of their input.
    pub(super) fn snapshots(
        &self,
        region: RegionIndex,
    ) -> Option<(bool, impl Iterator<Item = &StateHandle>)> {
        let part = self.parts.get(&region)?;
        let states = part.states.iter().map(Option::as_ref);
        let states = states.map(|state| state.expect("every task has acknowledged"));
        Some((part.end_of_data, states))
    }

    /// What a region has acknowledged goes into a record.
    pub(super) fn store(&mut self, region: RegionIndex) -> (RegionSnapshot, Vec<StateHandle>) {
        let part = self.parts.get_mut(&region).expect("the part is under way");
        assert!(
            part.stage == Stage::Acknowledged,
            "a part is stored once, when all have acknowledged"
        );
        part.stage = Stage::Storing;
        let snapshot = RegionSnapshot {
            checkpoint: self.id,
            attempt: Some(part.attempt),
            is_final: part.end_of_data,
        };
        let states = core::mem::take(&mut part.states);
        let state = |state: Option<StateHandle>| state.expect("every task has acknowledged");
        (snapshot, states.into_iter().map(state).collect())
    }

    /// What is being stored is not, after all.
    pub(super) fn withdraw(&mut self) {
        for part in self.parts.values_mut() {
            if part.stage == Stage::Storing {
                part.stage = Stage::Acknowledged;
            }
        }
    }

    /// Takes the part of a region away, unless it is being stored; tells whether there was one.
    pub(super) fn abort(&mut self, region: RegionIndex) -> bool {
        let stage = self.parts.get(&region).map(|part| part.stage);
        match stage {
            None | Some(Stage::Storing) => return false,
            Some(Stage::Collecting) => self.collecting -= 1,
            Some(Stage::Acknowledged) => {}
        }
        self.parts.remove(&region);
        true
    }

    /// The part of a region is durable; tells whether it is the first one that is.
    pub(super) fn complete(&mut self, region: RegionIndex) -> bool {
        let part = self.parts.remove(&region).expect("what is stored is there");
        assert!(
            part.stage == Stage::Storing,
            "only what is being stored becomes durable"
        );
        !core::mem::replace(&mut self.completed, true)
    }

    /// What clients may see of it.
    pub(super) fn entry(&self, outcome: CheckpointOutcome) -> CheckpointEntry {
        CheckpointEntry {
            id: self.id,
            is_savepoint: self.is_savepoint,
            outcome,
            triggered: self.triggered,
            latest_ack: self.latest_ack,
            subtasks: self.subtasks,
            acknowledged: self.acknowledged,
            size: self.size,
        }
    }
}

impl Part {
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the task at this place of the region has acknowledged.
    pub(super) fn has_acknowledged(&self, place: u32) -> bool {
        self.acknowledged.get(place)
    }
}
