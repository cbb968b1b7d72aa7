//! The snapshot of a simulated task, in parts: numbers by key group, and named lists of partitions.
//!
//! What a task is given when it starts are parts of snapshots, maybe of several; put together they are one again.

use jobmanager_core::graph::KeyGroupRange;
use jobmanager_core::message::{ListPart, StateHandle, StateParts};
use jobmanager_core::redistribute::DistributionMode;
use std::collections::BTreeMap;

/// The lists of all operators.
const LISTS: [(&str, DistributionMode); 4] = [
    (Contents::CLOSED, DistributionMode::Split),
    (Contents::RULES, DistributionMode::Broadcast),
    (Contents::SPLITS, DistributionMode::Split),
    (Contents::TOTALS, DistributionMode::Union),
];

/// A snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) groups: BTreeMap<u32, Vec<u64>>,
    /// By name. A list without partitions is not the same as no list.
    pub(crate) lists: BTreeMap<&'static str, Vec<Vec<u64>>>,
}

impl Contents {
    /// The transactions of a sink that are closed and not known to be committed.
    pub(crate) const CLOSED: &'static str = "closed";
    /// What all subtasks of an operator know.
    pub(crate) const RULES: &'static str = "rules";
    /// How far a source is with its splits.
    pub(crate) const SPLITS: &'static str = "splits";
    /// What all subtasks of an operator want to know of each other.
    pub(crate) const TOTALS: &'static str = "totals";

    /// The partitions of a list; none if there is no such list.
    pub(crate) fn list(&self, name: &str) -> &[Vec<u64>] {
        self.lists.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.lists.is_empty()
    }

    /// What a coordinator is told of it.
    pub(crate) fn shape(&self) -> StateParts {
        let first = self.groups.keys().next();
        let last = self.groups.keys().next_back();
        let list = |(name, partitions): (&&str, &Vec<Vec<u64>>)| ListPart {
            name: (*name).to_owned(),
            mode: mode(name),
            partitions: 0..u32::try_from(partitions.len()).expect("a handful of partitions"),
        };
        StateParts {
            key_groups: first.zip(last).map(|(first, last)| KeyGroupRange {
                first: *first,
                last: *last,
            }),
            lists: self.lists.iter().map(list).collect(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut numbers = vec![self.groups.len() as u64];
        for (group, of_group) in &self.groups {
            numbers.extend([u64::from(*group), of_group.len() as u64]);
            numbers.extend(of_group);
        }
        for (at, (name, _)) in LISTS.iter().enumerate() {
            let Some(partitions) = self.lists.get(name) else {
                continue;
            };
            numbers.extend([at as u64, partitions.len() as u64]);
            for partition in partitions {
                numbers.push(partition.len() as u64);
                numbers.extend(partition);
            }
        }
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    /// Reads what [`Self::encode`] wrote; none if it did not.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Contents> {
        let mut numbers = Numbers(bytes.chunks_exact(8));
        let mut parts = Contents::default();
        for _ in 0..numbers.next()? {
            let group = u32::try_from(numbers.next()?).ok()?;
            parts.groups.insert(group, numbers.list()?);
        }
        while let Some(at) = numbers.next() {
            let (name, _) = LISTS.get(usize::try_from(at).ok()?)?;
            let partitions = (0..numbers.next()?).map(|_| numbers.list());
            parts.lists.insert(name, partitions.collect::<Option<_>>()?);
        }
        Some(parts)
    }

    /// Adds what a handle means of the snapshot at which it points. Tells what is not there.
    pub(crate) fn add(&mut self, handle: &StateHandle, snapshot: &Contents) -> Result<(), String> {
        let Some(meant) = handle.parts.as_deref() else {
            return Err("a snapshot that can only be taken as a whole".to_owned());
        };
        for (group, numbers) in &snapshot.groups {
            let range = meant.key_groups;
            let is_meant = range.is_some_and(|it| (it.first..=it.last).contains(group));
            if is_meant && self.groups.insert(*group, numbers.clone()).is_some() {
                return Err(format!("key group {group} is in two snapshots"));
            }
        }
        for list in &meant.lists {
            let found = snapshot.lists.get_key_value(list.name.as_str());
            let range = list.partitions.start as usize..list.partitions.end as usize;
            let found = found.and_then(|(name, all)| Some((name, all.get(range)?)));
            let Some((name, partitions)) = found.filter(|(name, _)| mode(name) == list.mode) else {
                return Err(format!("there is no {list:?}"));
            };
            self.lists
                .entry(name)
                .or_default()
                .extend_from_slice(partitions);
        }
        Ok(())
    }
}

/// How a list is given to another number of subtasks.
pub(crate) fn mode(name: &str) -> DistributionMode {
    let known = LISTS.iter().find(|(known, _)| *known == name);
    known.expect("operators use known lists").1
}

struct Numbers<'a>(std::slice::ChunksExact<'a, u8>);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let bytes = self.0.next()?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn list(&mut self) -> Option<Vec<u64>> {
        (0..self.next()?).map(|_| self.next()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::message::StateLocation;

    fn parts() -> Contents {
        Contents {
            groups: [(3, vec![1, 2]), (7, vec![])].into(),
            lists: [
                (Contents::SPLITS, vec![vec![5], vec![6, 7]]),
                (Contents::TOTALS, vec![]),
            ]
            .into(),
        }
    }

    fn handle(parts: StateParts) -> StateHandle {
        StateHandle::whole(StateLocation::Inline(vec![]), 0).narrowed(parts)
    }

    #[test]
    fn a_snapshot_is_read_as_it_was_written() {
        assert_eq!(Contents::decode(&parts().encode()).unwrap(), parts());
        assert_eq!(
            Contents::decode(&Contents::default().encode()).unwrap(),
            Contents::default()
        );
        assert_eq!(Contents::decode(b"damage"), None);
    }

    #[test]
    fn parts_of_several_snapshots_are_one() {
        let mut whole = Contents::default();
        whole.add(&handle(parts().shape()), &parts()).unwrap();
        assert_eq!(whole, parts());
        let mut meant = parts().shape();
        assert!(
            whole.add(&handle(meant.clone()), &parts()).is_err(),
            "a key group twice"
        );
        meant.key_groups = None;
        meant.lists[0].partitions = 1..2;
        whole.add(&handle(meant.clone()), &parts()).unwrap();
        assert_eq!(
            whole.list(Contents::SPLITS),
            [vec![5], vec![6, 7], vec![6, 7]]
        );
        meant.lists[0].partitions = 1..3;
        assert!(
            whole.add(&handle(meant), &parts()).is_err(),
            "there are two"
        );
    }
}
