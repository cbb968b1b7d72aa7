//! What must hold of operator list state on its way to new subtasks.

use super::*;
use proptest::prelude::*;
use std::borrow::ToOwned;
use std::collections::BTreeSet;
use std::{format, vec};

/// Reports of the old subtasks 0, 1, … with these numbers of partitions.
fn reports(partitions: &[u32]) -> Vec<Report> {
    let report = |(subtask, &partitions)| Report {
        subtask: SubtaskIndex(subtask),
        partitions,
    };
    (0..).zip(partitions).map(report).collect()
}

fn state(mode: DistributionMode, partitions: &[u32]) -> ListState {
    ListState {
        mode,
        reports: reports(partitions),
    }
}

fn run(from: u32, partitions: Range<u32>) -> Run {
    Run {
        from: SubtaskIndex(from),
        partitions,
    }
}

/// What each subtask gets of the state with this name.
fn given(rescale: Rescale, states: &BTreeMap<String, ListState>, name: &str) -> Vec<Vec<Run>> {
    let plan = ListPlan::new(rescale, states);
    let of_name = |subtask| {
        let runs = plan.runs(SubtaskIndex(subtask));
        runs.filter(|(of, _)| *of == name)
            .map(|(_, run)| run)
            .collect()
    };
    (0..rescale.new).map(of_name).collect()
}

fn given_alone(rescale: Rescale, state: ListState) -> Vec<Vec<Run>> {
    given(rescale, &BTreeMap::from([("a".to_owned(), state)]), "a")
}

#[test]
fn the_first_receivers_get_one_more() {
    let dealt = given_alone(
        Rescale { old: 2, new: 3 },
        state(DistributionMode::Split, &[3, 2]),
    );
    let wanted = vec![
        vec![run(0, 0..2)],
        vec![run(0, 2..3), run(1, 0..1)],
        vec![run(1, 1..2)],
    ];
    assert_eq!(dealt, wanted);
}

#[test]
fn an_empty_list_goes_with_the_partition_after_it() {
    let rescale = Rescale { old: 4, new: 3 };
    let dealt = given_alone(rescale, state(DistributionMode::Split, &[1, 0, 1, 0]));
    let wanted = vec![vec![run(0, 0..1)], vec![run(1, 0..0), run(2, 0..1)], vec![]];
    assert_eq!(dealt, wanted);
    let nothing = given_alone(rescale, state(DistributionMode::Split, &[0, 0, 0, 0]));
    assert_eq!(nothing, vec![vec![]; 3]);
}

#[test]
fn the_next_name_starts_where_the_one_before_gave_no_more() {
    let split = |partitions| state(DistributionMode::Split, &[partitions, 0]);
    let rescale = Rescale { old: 2, new: 3 };
    let states = ["a", "b", "c"].map(str::to_owned).into_iter();
    let states = states.zip([split(5), split(1), split(1)]).collect();
    let lengths = |name| -> Vec<u32> {
        let given = given(rescale, &states, name);
        let length = |runs: &Vec<Run>| runs.iter().map(|run| run.partitions.len() as u32).sum();
        given.iter().map(length).collect()
    };
    assert_eq!(lengths("a"), [2, 2, 1]);
    assert_eq!(lengths("b"), [0, 0, 1]);
    assert_eq!(lengths("c"), [1, 0, 0]);
}

#[test]
fn without_a_rescale_what_is_split_stays() {
    let kept = given_alone(
        Rescale { old: 3, new: 3 },
        state(DistributionMode::Split, &[5, 0, 1]),
    );
    let wanted = vec![vec![run(0, 0..5)], vec![run(1, 0..0)], vec![run(2, 0..1)]];
    assert_eq!(kept, wanted);
}

#[test]
fn a_union_goes_to_everybody_with_or_without_a_rescale() {
    let everything = vec![run(0, 0..2), run(1, 0..0), run(2, 0..1)];
    for new in [1, 3, 5] {
        let united = given_alone(
            Rescale { old: 3, new },
            state(DistributionMode::Union, &[2, 0, 1]),
        );
        assert_eq!(united, vec![everything.clone(); new as usize]);
    }
}

#[test]
fn every_subtask_gets_one_copy_of_a_broadcast() {
    let rescale = |new| Rescale { old: 2, new };
    let both = || state(DistributionMode::Broadcast, &[4, 4]);
    let (first, second) = (vec![run(0, 0..4)], vec![run(1, 0..4)]);
    let three = vec![first.clone(), second.clone(), first.clone()];
    assert_eq!(given_alone(rescale(3), both()), three);
    assert_eq!(
        given_alone(rescale(2), both()),
        vec![first.clone(), second.clone()]
    );
    assert_eq!(given_alone(rescale(1), both()), vec![first.clone()]);
    let only_second = || ListState {
        mode: DistributionMode::Broadcast,
        reports: both().reports.split_off(1),
    };
    for new in 1..4 {
        let copies = given_alone(rescale(new), only_second());
        assert_eq!(copies, vec![second.clone(); new as usize]);
    }
    let nobody = state(DistributionMode::Broadcast, &[]);
    assert_eq!(given_alone(rescale(2), nobody), vec![vec![]; 2]);
}

/// The partitions of runs as pairs of old subtask and position.
fn partitions(runs: impl IntoIterator<Item = Run>) -> Vec<(u32, u32)> {
    let of_run = |run: Run| run.partitions.map(move |position| (run.from.0, position));
    runs.into_iter().flat_map(of_run).collect()
}

fn all_partitions(lengths: &[u32]) -> Vec<(u32, u32)> {
    let of_subtask = |(subtask, &length)| (0..length).map(move |position| (subtask, position));
    (0..).zip(lengths).flat_map(of_subtask).collect()
}

proptest! {
    #[test]
    fn every_partition_has_one_receiver_and_all_stay_in_order(
        lengths in prop::collection::vec(0_u32..9, 0..12),
        (receivers, start) in (1_u32..15).prop_flat_map(|n| (Just(n), 0..n)),
    ) {
        let reports = reports(&lengths);
        let split = Split::new(&reports, receivers, SubtaskIndex(start));
        let turns = (0..receivers).map(|turn| SubtaskIndex((start + turn) % receivers));
        let dealt: Vec<_> = turns.map(|receiver| partitions(split.runs(receiver))).collect();
        prop_assert_eq!(dealt.concat(), all_partitions(&lengths));
        let counts: Vec<_> = dealt.iter().map(Vec::len).collect();
        prop_assert!(counts.is_sorted_by(|a, b| a >= b), "who gets more comes first");
        prop_assert!(counts[0] - counts[counts.len() - 1] <= 1);
        let extra = counts.iter().filter(|&&count| count > counts[counts.len() - 1]).count();
        let next = (start + extra as u32) % receivers;
        prop_assert_eq!(split.next_start(), SubtaskIndex(next));
    }

    #[test]
    fn a_list_has_at_most_one_empty_run_and_only_if_it_is_empty(
        lengths in prop::collection::vec(0_u32..4, 0..12),
        receivers in 1_u32..15,
    ) {
        let reports = reports(&lengths);
        let split = Split::new(&reports, receivers, SubtaskIndex(0));
        let mut seen = BTreeSet::new();
        for run in (0..receivers).flat_map(|receiver| split.runs(SubtaskIndex(receiver))) {
            if run.partitions.is_empty() {
                prop_assert_eq!(lengths[run.from.0 as usize], 0);
                prop_assert!(seen.insert(run.from.0));
            }
        }
    }

    #[test]
    fn many_states_give_nobody_two_more_than_another(
        totals in prop::collection::vec(0_u32..20, 1..6),
        new in 2_u32..9,
    ) {
        let named = totals.iter().enumerate();
        let split = |total: u32| state(DistributionMode::Split, &[total]);
        let states = named.map(|(index, &total)| (format!("s{index}"), split(total))).collect();
        let plan = ListPlan::new(Rescale { old: 1, new }, &states);
        let count = |subtask| {
            let runs = plan.runs(SubtaskIndex(subtask));
            runs.map(|(_, run)| run.partitions.len()).sum::<usize>()
        };
        let counts: Vec<_> = (0..new).map(count).collect();
        let (least, most) = (counts.iter().min(), counts.iter().max());
        prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
    }

    #[test]
    fn there_and_back_again_nothing_is_lost(
        lengths in prop::collection::vec(0_u32..9, 1..9),
        new in 1_u32..9,
    ) {
        let old = lengths.len() as u32;
        let there = given_alone(Rescale { old, new }, state(DistributionMode::Split, &lengths));
        let held: Vec<Vec<_>> = there.into_iter().map(partitions).collect();
        let between: Vec<_> = held.iter().map(|held| held.len() as u32).collect();
        let back = given_alone(
            Rescale { old: new, new: old },
            state(DistributionMode::Split, &between),
        );
        let original = |(subtask, position): (u32, u32)| held[subtask as usize][position as usize];
        let returned: Vec<_> = back.into_iter().flat_map(partitions).map(original).collect();
        prop_assert_eq!(returned, all_partitions(&lengths));
    }
}
