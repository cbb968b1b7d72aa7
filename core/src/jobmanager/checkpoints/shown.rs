//! What clients may see of the checkpoints of a job: how many there were, and the latest ones.

use super::{Aborting, Checkpoints};
use crate::id::CheckpointId;
use crate::jobmanager::pending::Pending;
use crate::jobmanager::view::{CheckpointEntry, CheckpointOutcome, CheckpointsDetails};
use crate::record::CheckpointRecord;
use alloc::format;
use alloc::string::String;

impl Checkpoints {
    /// What clients may see.
    pub(in crate::jobmanager) fn details(&self, history: u32) -> CheckpointsDetails {
        // One that some regions have completed is a completed one.
        let pending = self.pending.iter().rev().filter(|it| !it.completed);
        let pending = pending.map(|pending| pending.entry(CheckpointOutcome::InProgress));
        let CheckpointsDetails {
            restored,
            completed,
            failed,
            in_progress: _,
            latest_completed,
            latest_savepoint,
            latest_failed,
            latest_restored,
            history: past,
        } = &*self.counts;
        CheckpointsDetails {
            restored: *restored,
            completed: *completed,
            failed: *failed,
            in_progress: self.pending.iter().filter(|it| !it.completed).count() as u64,
            latest_completed: latest_completed.clone(),
            latest_savepoint: latest_savepoint.clone(),
            latest_failed: latest_failed.clone(),
            latest_restored: latest_restored.clone(),
            history: pending
                .chain(past.iter().cloned())
                .take(history as usize)
                .collect(),
        }
    }

    /// A part of a checkpoint has become durable: it counts once, and is shown as it is now.
    /// `restorable` says whether the job would go on from it.
    pub(super) fn count_completed(
        &mut self,
        id: CheckpointId,
        first: bool,
        restorable: bool,
        history: u32,
    ) {
        let pending = self.pending.iter().find(|pending| pending.id == id);
        let entry = pending.map(|pending| pending.entry(CheckpointOutcome::Completed));
        let entry = entry.expect("it is still listed");
        let counts = &mut *self.counts;
        counts.completed += u64::from(first);
        counts.history.retain(|shown| shown.id != id);
        counts.history.insert(0, entry.clone());
        counts.history.truncate(history as usize);
        if entry.is_savepoint {
            counts.latest_savepoint = Some(entry.clone());
        }
        let latest = counts.latest_completed.as_ref();
        if restorable && latest.is_none_or(|latest| latest.id <= id) {
            counts.latest_completed = Some(entry);
        }
    }

    pub(super) fn count_failed(&mut self, pending: &Pending, aborting: &Aborting<'_>) {
        let text = aborting.why.text();
        let reason = match aborting.detail {
            "" => String::from(text),
            detail => format!("{text}: {detail}"),
        };
        let at = aborting.now;
        let entry = pending.entry(CheckpointOutcome::Failed { at, reason });
        let counts = &mut *self.counts;
        counts.failed += 1;
        counts.latest_failed = Some(entry.clone());
        counts.history.insert(0, entry);
        counts.history.truncate(aborting.history as usize);
    }
}

pub(super) fn completed_entry(record: &CheckpointRecord) -> CheckpointEntry {
    let subtasks = u32::try_from(record.states.len()).expect("subtasks are counted in 32 bits");
    CheckpointEntry {
        id: record.id,
        is_savepoint: false,
        outcome: CheckpointOutcome::Completed,
        triggered: record.triggered,
        latest_ack: Some(record.completed),
        subtasks,
        acknowledged: subtasks,
        size: record.size(),
    }
}
