//! Whatever is divided, however often: every part is somebody's, and nobody's twice.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::graph::key_group_range;
use crate::message::StateLocation;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::string::ToString;

const GROUPS: u32 = 16;

fn list(name: &str, mode: DistributionMode, partitions: u32) -> ListPart {
    ListPart {
        name: name.into(),
        mode,
        partitions: 0..partitions,
    }
}

fn snapshot(name: &str, key_groups: Option<KeyGroupRange>, lists: Vec<ListPart>) -> SubtaskState {
    let whole = StateHandle::whole(StateLocation::File(name.into()), 1);
    SubtaskState::Own(whole.narrowed(StateParts { key_groups, lists }))
}

/// Of each subtask so many partitions of a list of each mode, beside its key groups.
fn snapshots(partitions: &[u32]) -> Vec<SubtaskState> {
    let subtasks = count(partitions.len());
    let of = |(subtask, &partitions): (u32, &u32)| {
        let lists = vec![
            list("rules", DistributionMode::Broadcast, 2),
            list("splits", DistributionMode::Split, partitions),
            list("times", DistributionMode::Union, 1),
        ];
        let range = key_group_range(GROUPS, subtasks, subtask);
        snapshot(&subtask.to_string(), Some(range), lists)
    };
    (0..).zip(partitions).map(of).collect()
}

fn place(handle: &StateHandle) -> &str {
    match &handle.location {
        StateLocation::File(name) => name,
        StateLocation::Inline(_) | StateLocation::Url(_) => panic!("{handle:?}"),
    }
}

/// The partitions of a list in the order in which a subtask reads them, each with its snapshot.
fn read<'a>(handles: &'a [StateHandle], name: &str) -> Vec<(&'a str, u32)> {
    let lists = |handle: &'a StateHandle| handle.lists().map(move |list| (place(handle), list));
    let lists = handles.iter().flat_map(lists);
    let lists = lists.filter(|(_, list)| list.name == name);
    lists
        .flat_map(|(place, list)| list.partitions.clone().map(move |at| (place, at)))
        .collect()
}

fn groups(state: &SubtaskState) -> Vec<u32> {
    let ranges = state
        .handles()
        .iter()
        .filter_map(|it| it.parts.as_ref()?.key_groups);
    ranges.flat_map(|range| range.first..=range.last).collect()
}

/// What must hold of the states of any number of subtasks that go back to these partitions.
fn check(states: &[SubtaskState], partitions: &[u32]) {
    let parallelism = count(states.len());
    let named =
        |at: usize, count: u32| (0..count).map(move |partition| (at.to_string(), partition));
    let all: Vec<(String, u32)> = partitions
        .iter()
        .enumerate()
        .flat_map(|(at, count)| named(at, *count))
        .collect();
    let mut splits = Vec::new();
    for (subtask, state) in (0..).zip(states) {
        let range = key_group_range(GROUPS, parallelism, subtask);
        assert_eq!(
            groups(state),
            (range.first..=range.last).collect::<Vec<_>>()
        );
        let rules: BTreeSet<u32> = read(state.handles(), "rules")
            .into_iter()
            .map(|it| it.1)
            .collect();
        assert_eq!(rules, BTreeSet::from([0, 1]), "a whole copy");
        assert!(!state.handles().is_empty());
        splits.extend(read(state.handles(), "splits"));
    }
    splits.sort_unstable();
    let mut expected: Vec<(&str, u32)> =
        all.iter().map(|(name, at)| (name.as_str(), *at)).collect();
    expected.sort_unstable();
    assert_eq!(splits, expected, "each split goes to one");
    let united = united(states.iter()).unwrap();
    let names: Vec<String> = (0..partitions.len()).map(|at| at.to_string()).collect();
    let times: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    for (subtask, state) in (0..).map(SubtaskIndex).zip(states) {
        let all = united.with(subtask, state.handles());
        assert_eq!(read(&all, "times"), times, "everybody has all of them");
        assert_eq!(read(&all, "splits"), read(state.handles(), "splits"));
    }
}

proptest! {
    #[test]
    fn every_part_is_somebodys_however_often_it_is_divided(
        partitions in prop::collection::vec(0_u32..4, 1..9),
        parallelisms in prop::collection::vec(1_u32..9, 1..4),
    ) {
        let mut states = snapshots(&partitions);
        for parallelism in parallelisms {
            if parallelism != count(states.len()) {
                states = redistribute(&states, GROUPS, parallelism).unwrap();
            }
            check(&states, &partitions);
        }
    }
}

#[test]
fn a_snapshot_that_is_taken_in_full_is_named_as_it_was() {
    let old = snapshots(&[1]);
    let new = redistribute(&old[..1], GROUPS, 2).unwrap();
    let back = redistribute(&new, GROUPS, 1).unwrap();
    assert_eq!(groups(&back[0]), groups(&old[0]));
    let stateless = [
        snapshot("0", None, Vec::new()),
        snapshot("1", None, Vec::new()),
    ];
    let one = redistribute(&stateless, GROUPS, 1).unwrap();
    assert_eq!(
        one[0].handles(),
        stateless[0].handles(),
        "it says that there was something"
    );
}

#[test]
fn who_had_nothing_gives_nothing() {
    let nothing = SubtaskState::Own(StateHandle::nothing());
    let none = redistribute(&[nothing.clone(), nothing.clone()], GROUPS, 3).unwrap();
    assert!(none.iter().all(|state| state.handles().is_empty()));
    let splits = snapshot(
        "1",
        None,
        std::vec![list("splits", DistributionMode::Split, 1)],
    );
    let some = redistribute(&[nothing, splits], GROUPS, 3).unwrap();
    let read: Vec<usize> = some
        .iter()
        .map(|it| read(it.handles(), "splits").len())
        .collect();
    assert_eq!(read, [1, 0, 0]);
    assert!(some.iter().all(|state| state.handles().len() == 1));
}

#[test]
fn what_cannot_be_divided_is_named() {
    let whole = StateHandle::whole(StateLocation::File("0".into()), 1);
    let whole = [
        SubtaskState::Own(StateHandle::nothing()),
        SubtaskState::Own(whole),
    ];
    let problem = redistribute(&whole, GROUPS, 3).unwrap_err();
    assert_eq!(problem, Indivisible::Whole(SubtaskIndex(1)));
    let beyond = KeyGroupRange { first: 0, last: 16 };
    let beyond = [snapshot("0", Some(beyond), Vec::new())];
    let problem = redistribute(&beyond, GROUPS, 3).unwrap_err().to_string();
    assert_eq!(
        problem,
        "the snapshot of subtask 0 has key group 16, and there are 16"
    );
    let modes = [DistributionMode::Split, DistributionMode::Union];
    let modes = modes.map(|mode| snapshot("0", None, std::vec![list("x", mode, 1)]));
    let problem = redistribute(&modes, GROUPS, 3).unwrap_err();
    assert_eq!(problem, Indivisible::Modes("x".into()));
}
