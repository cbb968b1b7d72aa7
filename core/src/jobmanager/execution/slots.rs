//! The slots of a job: which task shares which, and which of them are needed.

use super::Execution;
use crate::graph::JobGraph;
use crate::id::{RegionIndex, SubtaskIndex, TaskId, VertexIndex};
use crate::jobmanager::taskmanagers::SlotRef;
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One slot that the job needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::jobmanager) struct JobSlot {
    /// Where it is, while a task is in it.
    pub(in crate::jobmanager) at: Option<SlotRef>,
    /// Where it was last.
    pub(in crate::jobmanager) previous: Option<SlotRef>,
    /// How many tasks that have not ended are in it.
    pub(in crate::jobmanager) tasks: u32,
    /// How many tasks of regions that have not finished share it.
    pub(super) open: u32,
}

/// The slots of a slot sharing group, counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::jobmanager) struct GroupSlots {
    /// Where they end among the job's.
    end: u32,
    /// How many the regions need that have not finished, held or not.
    pub(in crate::jobmanager) required: u32,
    /// In how many the job has tasks.
    pub(in crate::jobmanager) held: u32,
}

/// By slot sharing group: its slots, of which nothing has ended.
pub(super) fn group_slots(graph: &JobGraph) -> Vec<GroupSlots> {
    let groups = graph.groups().iter();
    let counted = groups.map(|group| GroupSlots {
        end: group.first_slot + group.slots,
        required: group.slots,
        held: 0,
    });
    counted.collect()
}

/// The slots of a job of which nothing has ended.
pub(super) fn slots_of(graph: &JobGraph) -> Vec<JobSlot> {
    let mut slots = vec![JobSlot::default(); graph.slots() as usize];
    for vertex in graph.vertices() {
        let first = graph.groups()[vertex.group as usize].first_slot as usize;
        let shared = &mut slots[first..first + vertex.parallelism as usize];
        shared.iter_mut().for_each(|slot| slot.open += 1);
    }
    slots
}

fn group_of(groups: &mut [GroupSlots], job_slot: u32) -> &mut GroupSlots {
    let group = groups.partition_point(|group| group.end <= job_slot);
    &mut groups[group]
}

impl Execution {
    /// The slot of the job that a task shares.
    pub(in crate::jobmanager) fn slot_of(&self, position: u32) -> u32 {
        self.slot_of_task(self.layout.task(position))
    }

    /// The tasks that share a slot of the job, ascending.
    pub(in crate::jobmanager) fn tasks_in(&self, job_slot: u32) -> impl Iterator<Item = u32> {
        let vertices = (0..).map(VertexIndex).zip(&self.first_slot);
        vertices.filter_map(move |(vertex, first_slot)| {
            let subtask = job_slot.checked_sub(*first_slot)?;
            let subtask = SubtaskIndex(subtask);
            self.layout.position(TaskId { vertex, subtask })
        })
    }

    /// The job's slots that scheduled regions need and no running region holds, ascending.
    pub(in crate::jobmanager) fn needed_slots(&self) -> Vec<u32> {
        let not_held = |slot: &u32| self.slots[*slot as usize].at.is_none();
        if self.scheduled.len() == self.regions.len() {
            let all = u32::try_from(self.slots.len()).expect("slots are counted in 32 bits");
            return (0..all).filter(not_held).collect();
        }
        let slot = |(_, task): (u32, TaskId)| self.slot_of_task(task);
        let tasks = self.scheduled.iter();
        let tasks = tasks.flat_map(|region| self.layout.tasks(*region));
        let mut needed: Vec<u32> = tasks.map(slot).filter(not_held).collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// A region does not need its slots any more, or needs them again.
    pub(super) fn need_slots(&mut self, index: RegionIndex, needs: bool) {
        for (_, task) in self.layout.tasks(index) {
            let job_slot = self.slot_of_task(task);
            let open = &mut self.slots[job_slot as usize].open;
            *open = if needs { *open + 1 } else { *open - 1 };
            match (needs, *open) {
                (true, 1) => group_of(&mut self.groups, job_slot).required += 1,
                (false, 0) => group_of(&mut self.groups, job_slot).required -= 1,
                (true | false, _) => {}
            }
        }
    }

    pub(super) fn group_mut(&mut self, job_slot: u32) -> &mut GroupSlots {
        group_of(&mut self.groups, job_slot)
    }

    /// The slots of each slot sharing group.
    pub(in crate::jobmanager) fn groups(&self) -> &[GroupSlots] {
        &self.groups
    }

    /// Whether no region waits for slots, or will as soon as it restarts.
    pub(in crate::jobmanager) fn is_deployed(&self) -> bool {
        self.scheduled.is_empty() && self.restarting.is_empty()
    }

    /// Whether any region was ever deployed.
    pub(in crate::jobmanager) fn has_attempts(&self) -> bool {
        self.regions.iter().any(|region| region.attempt.is_some())
    }

    /// How many slots the regions need that have not finished, held or not.
    pub(in crate::jobmanager) fn required_slots(&self) -> u32 {
        self.groups.iter().map(|group| group.required).sum()
    }
}
