//! Operator list state: named lists of partitions that belong to no key (what Flink's
//! `RoundRobinOperatorStateRepartitioner` decides).
//!
//! | mode | a subtask of another parallelism gets | of the same parallelism |
//! |---|---|---|
//! | SPLIT_DISTRIBUTE | a run of all partitions in old order, see [`Split`] | what it had |
//! | UNION | everything | everything |
//! | BROADCAST | the copy of one who reported: new i of the (i mod reports)-th | likewise; what it had if all reported |
//!
//! Where several states are split, the first receivers would get one more of each. So each state starts with the
//! receiver with which the one before has stopped to give more. The states take their turns in the order of
//! their names. Flink takes the order of a hash map, so that its receivers differ from ours by a rotation per
//! state name.
//!
//! A plan holds no list per subtask: a state that is given to all is one entry, and a split one a number for
//! each old subtask.

use super::Rescale;
use crate::id::SubtaskIndex;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// How a named state is given to the subtasks of another parallelism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DistributionMode {
    /// SPLIT_DISTRIBUTE: each partition to one of them.
    Split,
    /// UNION: every partition to each of them.
    Union,
    /// BROADCAST: all old subtasks had the same, and each new one gets one copy of it.
    Broadcast,
}

/// What one old subtask has of a named state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Report {
    /// The old subtask.
    pub subtask: SubtaskIndex,
    /// How many partitions it has; none is not the same as no report.
    pub partitions: u32,
}

/// A named state of an operator, as its old subtasks reported it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListState {
    /// How it is given away.
    pub mode: DistributionMode,
    /// Ascending by subtask; at most one of each. One that had finished has none.
    pub reports: Vec<Report>,
}

/// Partitions that follow each other in the list of one old subtask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Run {
    /// The old subtask.
    pub from: SubtaskIndex,
    /// The positions of the partitions in its list. Empty where the list is.
    pub partitions: Range<u32>,
}

/// A state that is dealt out, each partition to one receiver.
///
/// All partitions, in the order of the old subtasks and of their lists, are cut into contiguous runs, one for each
/// receiver. With n receivers and T partitions each gets T / n, and the first T mod n in turn get one more; turns
/// begin at the start receiver and go round. An empty list goes to the receiver of the partition that follows
/// it, so that somebody learns of it; behind the last partition it goes to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split<'a> {
    reports: &'a [Report],
    /// How many partitions come before each report, and how many there are at the end.
    before: Vec<u64>,
    receivers: u32,
    start: SubtaskIndex,
}

impl<'a> Split<'a> {
    /// Deals to `receivers` new subtasks, from `start` on. `start` < `receivers` must hold.
    #[must_use]
    pub fn new(reports: &'a [Report], receivers: u32, start: SubtaskIndex) -> Self {
        assert!(
            start.0 < receivers,
            "the start receiver is one of the vertex"
        );
        let mut before = Vec::with_capacity(reports.len() + 1);
        let mut total = 0;
        for report in reports {
            before.push(total);
            total += u64::from(report.partitions);
        }
        before.push(total);
        Split {
            reports,
            before,
            receivers,
            start,
        }
    }

    /// Where the next state starts: with the first receiver that got no extra partition.
    #[must_use]
    pub fn next_start(&self) -> SubtaskIndex {
        let receivers = u64::from(self.receivers);
        let next = (u64::from(self.start.0) + self.total() % receivers) % receivers;
        SubtaskIndex(u32::try_from(next).expect("it is less than the number of receivers"))
    }

    /// What a receiver gets, in order. `receiver` must be less than the number of receivers.
    pub fn runs(&self, receiver: SubtaskIndex) -> impl Iterator<Item = Run> {
        self.window(receiver)
            .map(move |report| self.run(report, receiver))
    }

    fn total(&self) -> u64 {
        self.before[self.reports.len()]
    }

    /// The partitions of a receiver, counted over all reports.
    fn share(&self, receiver: SubtaskIndex) -> Range<u64> {
        assert!(
            receiver.0 < self.receivers,
            "the receiver is one of the vertex"
        );
        let receivers = u64::from(self.receivers);
        let turn = (u64::from(receiver.0) + receivers - u64::from(self.start.0)) % receivers;
        let (base, extra) = (self.total() / receivers, self.total() % receivers);
        let first = |turn: u64| turn * base + turn.min(extra);
        first(turn)..first(turn + 1)
    }

    /// The reports of which a receiver gets something: those that start in its share, and one that started before
    /// and goes on in it. An empty share lies behind all partitions, so that there are none.
    fn window(&self, receiver: SubtaskIndex) -> Range<usize> {
        let share = self.share(receiver);
        let starts = &self.before[..self.reports.len()];
        let first = starts.partition_point(|&start| start < share.start);
        let end = starts.partition_point(|&start| start < share.end);
        let is_continued = first > 0 && self.before[first] > share.start;
        first - usize::from(is_continued)..end
    }

    /// What a receiver gets of a report in its window.
    fn run(&self, report: usize, receiver: SubtaskIndex) -> Run {
        let share = self.share(receiver);
        let (start, end) = (self.before[report], self.before[report + 1]);
        let position = |partition: u64| {
            let position = partition.clamp(start, end) - start;
            u32::try_from(position).expect("a report counts its partitions with 32 bits")
        };
        Run {
            from: self.reports[report].subtask,
            partitions: position(share.start)..position(share.end),
        }
    }
}

/// Who gets what of all list states of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPlan<'a> {
    new: u32,
    /// In the order of their names.
    states: Vec<(&'a str, Distribution<'a>)>,
}

/// Who gets what of one state.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Distribution<'a> {
    /// Each subtask gets what it had.
    Kept(&'a [Report]),
    /// Each gets a run.
    Dealt(Split<'a>),
    /// Each gets everything.
    United(&'a [Report]),
    /// New subtask i gets the whole of report i mod their number.
    Copied(&'a [Report]),
}

impl<'a> ListPlan<'a> {
    /// Plans for the states of an operator, by name.
    #[must_use]
    pub fn new(rescale: Rescale, states: &'a BTreeMap<String, ListState>) -> Self {
        assert!(rescale.new > 0, "a vertex has subtasks");
        let mut start = SubtaskIndex(0);
        let mut planned = Vec::with_capacity(states.len());
        for (name, state) in states {
            let distribution = Distribution::new(rescale, state, start);
            if let Distribution::Dealt(split) = &distribution {
                start = split.next_start();
            }
            planned.push((name.as_str(), distribution));
        }
        ListPlan {
            new: rescale.new,
            states: planned,
        }
    }

    /// What a new subtask gets: runs of partitions with the name of their state, in the order of the names and
    /// of the old subtasks.
    pub fn runs(&self, subtask: SubtaskIndex) -> impl Iterator<Item = (&'a str, Run)> {
        assert!(subtask.0 < self.new, "the subtask is one of the vertex");
        self.states.iter().flat_map(move |(name, distribution)| {
            let window = distribution.window(subtask);
            window.map(move |report| (*name, distribution.run(report, subtask)))
        })
    }
}

impl<'a> Distribution<'a> {
    fn new(rescale: Rescale, state: &'a ListState, start: SubtaskIndex) -> Self {
        let reports = state.reports.as_slice();
        let ascending = reports.is_sorted_by(|a, b| a.subtask < b.subtask);
        assert!(
            ascending,
            "an old subtask reports a state once, in its turn"
        );
        let known = reports
            .last()
            .is_none_or(|last| last.subtask.0 < rescale.old);
        assert!(known, "only old subtasks report");
        let unchanged = rescale.old == rescale.new;
        let all_reported = reports.len() == rescale.old as usize;
        match state.mode {
            DistributionMode::Split if unchanged => Distribution::Kept(reports),
            DistributionMode::Split => Distribution::Dealt(Split::new(reports, rescale.new, start)),
            DistributionMode::Union => Distribution::United(reports),
            DistributionMode::Broadcast if unchanged && all_reported => Distribution::Kept(reports),
            DistributionMode::Broadcast => Distribution::Copied(reports),
        }
    }

    /// The reports of which a subtask gets something.
    fn window(&self, subtask: SubtaskIndex) -> Range<usize> {
        match self {
            Distribution::Kept(reports) => {
                let first = reports.partition_point(|report| report.subtask < subtask);
                let end = reports.partition_point(|report| report.subtask <= subtask);
                first..end
            }
            Distribution::Dealt(split) => split.window(subtask),
            Distribution::United(reports) => 0..reports.len(),
            Distribution::Copied([]) => 0..0,
            Distribution::Copied(reports) => {
                let report = subtask.0 as usize % reports.len();
                report..report + 1
            }
        }
    }

    /// What a subtask gets of a report in its window.
    fn run(&self, report: usize, subtask: SubtaskIndex) -> Run {
        match self {
            Distribution::Dealt(split) => split.run(report, subtask),
            Distribution::Kept(reports)
            | Distribution::United(reports)
            | Distribution::Copied(reports) => Run {
                from: reports[report].subtask,
                partitions: 0..reports[report].partitions,
            },
        }
    }
}

#[cfg(test)]
mod tests;
