//! The savepoint among the checkpoints under way: it is of all regions, and completes or is given up as a whole.

use super::{Checkpoints, Storing};
use crate::graph::Regions;
use crate::id::{CheckpointId, JobId, RegionIndex};
use crate::jobmanager::pending::Pending;
use crate::message::SubtaskState;
use crate::record::{CheckpointRecord, RegionSnapshot};
use crate::time::Timestamp;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Checkpoints {
    /// A savepoint that all have acknowledged.
    pub(in crate::jobmanager) fn whole(&self, id: CheckpointId) -> Option<&Pending> {
        let mut pending = self.pending.iter();
        pending.find(|pending| pending.id == id && pending.is_savepoint && !pending.is_collecting())
    }

    /// A savepoint that all have acknowledged is being made durable. If the job stops with it, it becomes the last
    /// of the job's checkpoints.
    pub(in crate::jobmanager) fn store_savepoint(
        &mut self,
        job: JobId,
        layout: &Regions,
        id: CheckpointId,
        now: Timestamp,
        stops: bool,
    ) {
        let base = self.latest().cloned();
        let (mut regions, mut states) = match &base {
            Some(base) => (base.regions.clone(), base.states.clone()),
            None => self.nothing(layout),
        };
        let pending = self.pending_mut(id).expect("it is under way");
        let triggered = pending.triggered;
        let parts: Vec<RegionIndex> = pending.parts.keys().copied().collect();
        for &region in &parts {
            let (snapshot, handles) = pending.store(region);
            regions[region.0 as usize] = Some(RegionSnapshot {
                is_final: true,
                ..snapshot
            });
            for (&position, handle) in layout.members(region).iter().zip(handles) {
                states[position as usize] = SubtaskState::Own(handle);
            }
        }
        if stops {
            assert!(
                self.storing.is_none(),
                "nothing else is under way with a savepoint"
            );
            let record = CheckpointRecord {
                job,
                id,
                triggered,
                completed: now,
                inherited: super::inherited(base.as_deref(), &regions),
                regions,
                states,
            };
            self.storing = Some(Storing {
                record: Arc::new(record),
                regions: parts,
            });
        }
    }

    /// The savepoint that was being made durable can be given up again.
    pub(in crate::jobmanager) fn withdraw_savepoint(&mut self) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.is_savepoint) {
            pending.withdraw();
            self.storing = None;
        }
    }

    /// The record that is being written.
    pub(in crate::jobmanager) fn being_stored(&self) -> Option<&Arc<CheckpointRecord>> {
        self.storing.as_ref().map(|storing| &storing.record)
    }

    /// A savepoint with which the job does not stop is durable.
    pub(in crate::jobmanager) fn complete_savepoint(
        &mut self,
        id: CheckpointId,
        history: u32,
    ) -> BTreeSet<RegionIndex> {
        let pending = self.pending_mut(id).expect("it is under way");
        let regions: BTreeSet<RegionIndex> = pending.parts.keys().copied().collect();
        for &region in &regions {
            pending.complete(region);
        }
        for &region in &regions {
            self.line_mut(region).under_way -= 1;
        }
        self.count_completed(id, true, false, history);
        self.pending.retain(|pending| pending.id != id);
        regions
    }
}
