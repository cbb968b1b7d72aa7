//! The checkpoints of a job whose vertices get another number of subtasks.

use super::{Checkpoints, Completion, Line, Storing, completed_entry, finals};
use crate::id::{CheckpointId, RegionIndex};
use crate::record::CheckpointRecord;
use crate::rewiring::Rewiring;
use crate::time::Timestamp;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Checkpoints {
    /// Whether a record is being written.
    pub(in crate::jobmanager) fn is_writing(&self) -> bool {
        self.storing.is_some()
    }

    /// The record from which the job goes on with other numbers of subtasks is being written, and no other one
    /// meanwhile. Its id is used up.
    pub(in crate::jobmanager) fn rewire(&mut self, record: Arc<CheckpointRecord>) {
        assert!(self.storing.is_none(), "one record is written at a time");
        assert!(
            record.id == self.next && self.next < self.mark,
            "an id is used once, and only if that is durable"
        );
        self.next = record.id.next();
        self.storing = Some(Storing {
            record,
            regions: Vec::new(),
        });
    }

    /// That record is durable, and the only one. What is under way of regions that are kept goes on.
    pub(in crate::jobmanager) fn rewired(
        &mut self,
        rewiring: &Rewiring,
        now: Timestamp,
        history: u32,
    ) -> Completion {
        let storing = self.storing.take();
        let Storing { record, .. } = storing.expect("only what is being stored becomes durable");
        let before: BTreeSet<CheckpointId> = self.references();
        *self.completed = VecDeque::from([record.clone()]);
        self.finals = finals(&record);
        let fresh = Line {
            under_way: 0,
            last_completed: Some(now),
            failures: 0,
            final_not_before: Timestamp(0),
            finish_announced: false,
        };
        let mut lines = alloc::vec![fresh; rewiring.layout.count() as usize];
        for (before, after) in &rewiring.kept {
            lines[after.0 as usize] = self.lines[before.0 as usize];
        }
        self.lines = lines;
        let kept = |region: RegionIndex| rewiring.kept.get(&region).copied();
        let owed = core::mem::take(&mut self.owed).into_iter();
        self.owed = owed.filter_map(kept).collect();
        let acknowledged = core::mem::take(&mut self.acknowledged).into_iter();
        let acknowledged = acknowledged.filter_map(|(region, id)| Some((kept(region)?, id)));
        self.acknowledged = acknowledged.collect();
        for pending in &mut self.pending {
            let parts = core::mem::take(&mut pending.parts).into_iter();
            let parts = parts.filter_map(|(region, part)| Some((kept(region)?, part)));
            pending.parts = parts.collect();
        }
        let entry = completed_entry(&record);
        let counts = &mut *self.counts;
        counts.latest_completed = Some(entry.clone());
        counts.history.insert(0, entry);
        counts.history.truncate(history as usize);
        let gone = before.into_iter().filter(|id| !self.is_of_use(*id));
        Completion {
            subsumed: gone.collect(),
            record,
            regions: Vec::new(),
        }
    }
}
