//! The execution of a job whose vertices got another number of subtasks.

use super::{Execution, JobSlot, Phase};
use crate::graph::JobGraph;
use crate::id::{Attempt, RegionIndex};
use crate::jobmanager::taskmanagers::SlotRef;
use crate::rewiring::Rewiring;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

impl Execution {
    /// What comes after this one. Regions that are kept go on; of the others every task has ended, and those that
    /// come in their place are in this phase and go on counting their attempts from the last one.
    pub(in crate::jobmanager) fn rewired(
        &self,
        graph: &JobGraph,
        rewiring: &Rewiring,
        phase: Phase,
    ) -> Execution {
        let mut next = Execution::new(graph, phase);
        let last = self.last_attempt(&rewiring.concerned);
        for region in rewiring.fresh() {
            next.set_attempt(region, last);
        }
        for (old, new) in self.first_slot.iter().zip(next.first_slot.clone()) {
            next.carry_slots(self, *old, new);
        }
        for (&before, &after) in &rewiring.kept {
            next.carry(self, before, after);
        }
        for (job_slot, _) in next.held_slots() {
            next.group_mut(job_slot).held += 1;
        }
        next.deployed.clone_from(&self.deployed);
        next.demand = self.demand + 1;
        next
    }

    /// The slots of a slot sharing group, from these on, are where they were.
    fn carry_slots(&mut self, from: &Execution, old: u32, new: u32) {
        let end = |firsts: &[u32], first: u32, all: usize| {
            let later = firsts.iter().copied().filter(|other| *other > first);
            later.min().map_or(all, |next| next as usize)
        };
        let old = old as usize..end(&from.first_slot, old, from.slots.len());
        let new = new as usize..end(&self.first_slot, new, self.slots.len());
        let shared = old.len().min(new.len());
        let lost = &from.slots[old.start + shared..old.end];
        assert!(
            lost.iter().all(|slot| slot.at.is_none()),
            "a slot that the job does not need any more is free"
        );
        let slots = &mut self.slots[new.start..new.start + shared];
        for (slot, from) in slots.iter_mut().zip(&from.slots[old]) {
            let open = slot.open;
            *slot = JobSlot {
                open,
                ..from.clone()
            };
        }
    }

    /// A region goes on as it was.
    fn carry(&mut self, from: &Execution, before: RegionIndex, after: RegionIndex) {
        self.set_phase(after, from.region(before).phase);
        let tasks = from.layout.members(before).iter().copied();
        let tasks = tasks.zip(self.layout.members(after).iter().copied());
        for (old, new) in tasks.collect::<Vec<_>>() {
            self.put(new, from.state(old));
            self.put_end_of_data(new, from.is_end_of_data(old));
        }
        let region = &mut self.regions[after.0 as usize];
        let (attempt, alive, finished) = {
            let from = from.region(before);
            (from.attempt, from.alive, from.finished)
        };
        region.attempt = attempt;
        region.alive = alive;
        region.finished = finished;
        self.alive += alive;
        self.note_end(after);
    }

    /// The last attempt of any of these regions.
    pub(in crate::jobmanager) fn last_attempt(
        &self,
        regions: &BTreeSet<RegionIndex>,
    ) -> Option<Attempt> {
        let attempts = regions.iter().map(|region| self.region(*region).attempt);
        attempts.max().flatten()
    }

    /// Where the slots of the job are, by their numbers.
    pub(in crate::jobmanager) fn held_slots(&self) -> Vec<(u32, SlotRef)> {
        let held = |(number, slot): (u32, &JobSlot)| slot.at.map(|at| (number, at));
        (0..).zip(&self.slots).filter_map(held).collect()
    }

    /// Whether every task of these regions has ended, or was never deployed.
    pub(in crate::jobmanager) fn has_ended(&self, regions: &BTreeSet<RegionIndex>) -> bool {
        let mut regions = regions.iter();
        regions.all(|region| self.region(*region).alive == 0)
    }
}
