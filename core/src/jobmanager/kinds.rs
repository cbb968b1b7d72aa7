//! The kinds of TaskManagers that qualify for the slots of a job: those that offer every operator of the slot
//! sharing group.

use super::supply::{KindKey, Supply};
use crate::graph::{JobGraph, SlotSharingGroup};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Those that have free slots.
pub(super) struct Kinds {
    /// By slot sharing group: where its slots end, and who qualifies for them: those first that qualify for the fewest
    /// groups.
    groups: Vec<(u32, Vec<Vec<KindKey>>)>,
    /// Whether everybody who has free slots qualifies for all of them.
    pub(super) all: bool,
}

impl Kinds {
    pub(super) fn new(graph: &JobGraph, supply: &Supply) -> Self {
        let mut all = true;
        let mut qualify: BTreeMap<KindKey, usize> = BTreeMap::new();
        let mut group = |(index, group): (u32, &SlotSharingGroup)| {
            let (kinds, for_all) = supply.suitable(operators(graph, index));
            all &= for_all;
            for kind in &kinds {
                *qualify.entry(*kind).or_default() += 1;
            }
            (group.first_slot + group.slots, kinds)
        };
        let groups: Vec<_> = (0..).zip(graph.groups()).map(&mut group).collect();
        let by_choice = |(end, mut kinds): (u32, Vec<KindKey>)| {
            kinds.sort_by_key(|kind| qualify[kind]);
            let alike = kinds.chunk_by(|a, b| qualify[a] == qualify[b]);
            (end, alike.map(<[KindKey]>::to_vec).collect())
        };
        let groups = groups.into_iter().map(by_choice).collect();
        Kinds { groups, all }
    }

    /// Who qualifies for any slot of the job.
    pub(super) fn any(&self) -> BTreeSet<KindKey> {
        let groups = self.groups.iter();
        groups
            .flat_map(|(_, kinds)| kinds.iter().flatten().copied())
            .collect()
    }

    /// Slots of the job, those first for which the fewest kinds qualify.
    pub(super) fn rarest_first(&self, mut slots: Vec<u32>) -> Vec<u32> {
        slots.sort_by_key(|slot| self.of(*slot).count());
        slots
    }

    /// Who qualifies for a slot of the job.
    pub(super) fn of(&self, job_slot: u32) -> impl Iterator<Item = &KindKey> {
        self.by_choice(job_slot).iter().flatten()
    }

    /// The same, those together that qualify for equally many groups, the fewest first.
    pub(super) fn by_choice(&self, job_slot: u32) -> &[Vec<KindKey>] {
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
