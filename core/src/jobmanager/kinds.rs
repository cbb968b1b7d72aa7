//! The kinds of TaskManagers that qualify for the slots of a job: those that offer every operator of the slot
//! sharing group.

use super::supply::{KindKey, Supply};
use crate::graph::{JobGraph, SlotSharingGroup};
use alloc::vec::Vec;

/// Those that have free slots.
pub(super) struct Kinds {
    /// By slot sharing group: where its slots end, and who qualifies for them.
    groups: Vec<(u32, Vec<KindKey>)>,
    /// Whether everybody who has free slots qualifies for all of them.
    pub(super) all: bool,
}

impl Kinds {
    pub(super) fn new(graph: &JobGraph, supply: &Supply) -> Self {
        let mut all = true;
        let mut group = |(index, group): (u32, &SlotSharingGroup)| {
            let (kinds, for_all) = supply.suitable(operators(graph, index));
            all &= for_all;
            (group.first_slot + group.slots, kinds)
        };
        let groups = (0..).zip(graph.groups()).map(&mut group).collect();
        Kinds { groups, all }
    }

    /// Who qualifies for a slot of the job.
    pub(super) fn of(&self, job_slot: u32) -> &[KindKey] {
        let group = self.groups.partition_point(|(end, _)| *end <= job_slot);
        &self.groups[group].1
    }
}

/// What is needed of a TaskManager for a slot sharing group.
pub(super) fn operators(graph: &JobGraph, group: u32) -> impl Iterator<Item = &str> + Clone {
    let vertices = graph.vertices().iter();
    let members = vertices.filter(move |vertex| vertex.group == group);
    members.map(|vertex| vertex.operator.as_str())
}
