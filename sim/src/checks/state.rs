//! What tasks keep: what is restored is what was snapshotted, byte for byte, and what was durable when the
//! sinks were told so is published.

use super::{Checks, History, Verdict, ensure};
use crate::dataflow::contents::Contents;
use jobmanager_core::id::{AttemptId, CheckpointId, JobId, TaskId, VertexIndex};
use std::collections::BTreeMap;

/// Of the splits of sources, each given by its vertex and its number, the offset of the next row.
pub(crate) type Offsets = BTreeMap<(u32, u32), u64>;

/// How far a subtask of a source was with its splits.
pub(super) fn offsets(source: VertexIndex, parts: &Contents) -> Offsets {
    let split = |split: &Vec<u64>| {
        let [number, offset] = split[..] else {
            return None;
        };
        Some(((source.0, u32::try_from(number).ok()?), offset))
    };
    parts
        .list(Contents::SPLITS)
        .iter()
        .filter_map(split)
        .collect()
}

/// Whether a task starts from this. What the others of its vertex have snapshotted comes on top.
fn is_of(state: Option<&Contents>, snapshot: &Contents) -> bool {
    let own = |parts: &Contents| {
        let mut own = parts.clone();
        own.lists.remove(Contents::TOTALS);
        own
    };
    // There is nothing to start from in an empty one.
    own(state.unwrap_or(&Contents::default())) == own(snapshot)
}

impl Checks {
    /// A task snapshotted: once for each checkpoint, so that no two files have one name.
    pub(crate) fn snapshotted(
        &mut self,
        attempt: AttemptId,
        id: CheckpointId,
        state: &Contents,
    ) -> Verdict {
        let Some(history) = self.jobs.get_mut(&attempt.job) else {
            return Ok(());
        };
        let key = (id, attempt.task, attempt.attempt);
        let before = history.snapshots.insert(key, state.clone());
        let name = "an_attempt_snapshots_a_checkpoint_once";
        ensure(before.is_none(), name, || format!("{attempt} {id:?}"))
    }

    /// A task starts from this state of this checkpoint, or from nothing.
    pub(crate) fn restored(
        &mut self,
        attempt: AttemptId,
        restore: Option<CheckpointId>,
        state: Option<&Contents>,
    ) -> Verdict {
        let Some(history) = self.jobs.get_mut(&attempt.job) else {
            return Ok(());
        };
        if let Some(id) = restore {
            history.learns_of(attempt.task, id);
        }
        if let Some(inherited) = history.inherited(attempt.task)
            && history.begins_from(restore)
        {
            return ensure(
                is_of(state, inherited),
                "a_job_starts_from_what_its_savepoint_has",
                || format!("{attempt} restores {state:?} of {restore:?}, not {inherited:?}"),
            );
        }
        let Some(id) = restore else {
            return ensure(
                state.is_none(),
                "restored_state_is_what_was_snapshotted",
                || format!("{attempt} restores {state:?} of no checkpoint"),
            );
        };
        if history.is_of_the_past(restore) {
            return Ok(());
        }
        // Of a checkpoint that is too old to be known any more, an attempt of the past may start.
        let Some(known) = history.snapshot(id, attempt.task) else {
            return Ok(());
        };
        // There is nothing to start from in an empty one.
        ensure(
            is_of(state, known),
            "restored_state_is_what_was_snapshotted",
            || format!("{attempt} restores {state:?} of {id:?}, snapshotted {known:?}"),
        )
    }

    /// The offsets up to which every sink of the same region was told that its rows may be published, by
    /// source.
    pub(crate) fn settled_offsets(&self, job: JobId) -> Offsets {
        let Some(history) = self.jobs.get(&job) else {
            return Offsets::new();
        };
        let settled = |task: &TaskId| {
            let id = history.settled(history.region(*task)?)?;
            Some((task.vertex, history.snapshot(id, *task)?))
        };
        let settled = history.sources.iter().filter_map(settled);
        settled
            .flat_map(|(source, parts)| offsets(source, parts))
            .collect()
    }
}

impl History {
    /// A task learns that what it prepared up to this checkpoint is durable.
    pub(super) fn learns_of(&mut self, task: TaskId, id: CheckpointId) {
        let known = self.told.entry(task).or_insert(id);
        *known = id.max(*known);
    }

    /// The last durable checkpoint of a region that every sink in it knows of.
    fn settled(&self, region: usize) -> Option<CheckpointId> {
        let sinks = self.sinks.iter();
        let sinks = sinks.filter(|sink| self.region(**sink) == Some(region));
        let all: Option<Vec<_>> = sinks.map(|sink| self.told.get(sink)).collect();
        let least = **all?.iter().min()?;
        let durable = (region, CheckpointId(0))..=(region, least);
        let last = self.completed.range(durable).next_back();
        last.map(|(_, id)| *id)
    }

    /// What the attempt of the task that took part in a durable checkpoint snapshotted for it.
    pub(super) fn snapshot(&self, id: CheckpointId, task: TaskId) -> Option<&Contents> {
        let ack = self
            .acknowledged
            .get(&(self.region(task)?, id))?
            .get(&task)?;
        self.snapshots.get(&(id, task, ack.attempt))
    }

    /// Forgets what nobody will restore or ask for any more.
    pub(super) fn forget_old_snapshots(&mut self) {
        let oldest = |region: usize| {
            let records = self.retained.values();
            let referenced = records.filter_map(|record| record.regions.get(region).copied());
            let oldest = referenced.map(|it| it.map(|it| it.checkpoint)).min()?;
            oldest.min(self.settled(region).or(oldest))
        };
        let oldest: Vec<_> = (0..self.regions()).map(oldest).collect();
        let region_of = &self.region_of;
        self.snapshots.retain(|(id, task, _), _| {
            let region = region_of.get(task);
            let oldest = region.and_then(|region| oldest.get(*region).copied().flatten());
            oldest.is_none_or(|oldest| *id >= oldest)
        });
    }
}
