//! The snapshots of a vertex for another number of subtasks: each part of them goes to one new subtask, but for
//! broadcast lists, of which each gets a copy.
//!
//! A UNION list is dealt out here as a split one is: whoever starts a subtask gives it the [parts of all
//! others](united) too. So a subtask's state stays small, and snapshots that were divided can be divided again.

use super::{DistributionMode, KeyedShares, ListPlan, ListState, Report, Rescale, Run};
use crate::graph::KeyGroupRange;
use crate::id::SubtaskIndex;
use crate::message::{ListPart, StateHandle, StateParts, SubtaskState};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Why the snapshots of a vertex cannot be divided anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Indivisible {
    /// A snapshot does not say of which parts it is made.
    #[error("the snapshot of subtask {} can only be taken as a whole: keep the parallelism", .0.0)]
    Whole(SubtaskIndex),
    /// A snapshot has key groups that the vertex has not.
    #[error("the snapshot of subtask {} has key group {last}, and there are {max_parallelism}", .subtask.0)]
    KeyGroups {
        /// Of which subtask it is.
        subtask: SubtaskIndex,
        /// The last one that it has.
        last: u32,
        /// How many there are.
        max_parallelism: u32,
    },
    /// A list has two modes.
    #[error("the subtasks do not agree on how the list `{0}` is distributed")]
    Modes(String),
}

/// Divides snapshots, given by old subtask, among `parallelism` new ones, which is not more than `max_parallelism`.
/// If there is anything at all, everyone gets something, be it a snapshot of which it takes no part: who gets
/// nothing starts from the beginning.
///
/// # Errors
/// They cannot be divided.
pub fn redistribute(
    old: &[SubtaskState],
    max_parallelism: u32,
    parallelism: u32,
) -> Result<Vec<SubtaskState>, Indivisible> {
    let snapshots = Snapshots::new(old, max_parallelism)?;
    let mut given = Given {
        handles: &snapshots.handles,
        parts: vec![BTreeMap::new(); parallelism as usize],
    };
    given.keyed(&snapshots.handles, max_parallelism, parallelism);
    let rescale = Rescale {
        old: count(old.len()),
        new: parallelism,
    };
    let (united, others): (Lists, Lists) = snapshots
        .lists()?
        .into_iter()
        .partition(|(_, list)| list.mode == DistributionMode::Union);
    for lists in [others, united] {
        given.lists(rescale, &lists);
    }
    Ok(given.into_states())
}

/// The parts of UNION lists that a vertex has in all its subtasks, and with them what each subtask has for itself;
/// `None` if there is no such list. Made once, it tells what each subtask starts from.
#[must_use]
pub fn united<'a>(states: impl Iterator<Item = &'a SubtaskState>) -> Option<United> {
    let mut united = United(Vec::new());
    for (subtask, state) in (0..).map(SubtaskIndex).zip(states) {
        for handle in state.handles() {
            let is_united = |list: &&ListPart| list.mode == DistributionMode::Union;
            let lists: Vec<ListPart> = handle.lists().filter(is_united).cloned().collect();
            if !lists.is_empty() {
                let parts = StateParts {
                    key_groups: None,
                    lists,
                };
                united.0.push((subtask, handle.narrowed(parts)));
            }
        }
    }
    (!united.0.is_empty()).then_some(united)
}

/// See [`united`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct United(Vec<(SubtaskIndex, StateHandle)>);

impl United {
    /// What a subtask starts from that has this for itself: its own, between what it takes of those before and
    /// after it.
    #[must_use]
    pub fn with(&self, subtask: SubtaskIndex, own: &[StateHandle]) -> Vec<StateHandle> {
        let before = self.0.partition_point(|(of, _)| *of < subtask);
        let after = self.0.partition_point(|(of, _)| *of <= subtask);
        let others = |others: &[(SubtaskIndex, StateHandle)]| -> Vec<StateHandle> {
            others.iter().map(|(_, handle)| handle.clone()).collect()
        };
        [
            others(&self.0[..before]),
            own.to_vec(),
            others(&self.0[after..]),
        ]
        .concat()
    }
}

type Lists = BTreeMap<String, ListState>;

/// The snapshots of a vertex, in the order of its subtasks.
struct Snapshots<'a> {
    handles: Vec<Handle<'a>>,
}

struct Handle<'a> {
    subtask: SubtaskIndex,
    handle: &'a StateHandle,
    parts: &'a StateParts,
}

impl<'a> Snapshots<'a> {
    /// Those in which there is something.
    fn new(old: &'a [SubtaskState], max_parallelism: u32) -> Result<Self, Indivisible> {
        let mut handles = Vec::new();
        for (subtask, state) in (0..).map(SubtaskIndex).zip(old) {
            for handle in state.handles().iter().filter(|it| !it.is_nothing()) {
                let parts = handle.parts.as_deref();
                let parts = parts.ok_or(Indivisible::Whole(subtask))?;
                let last = parts.key_groups.map(|range| range.last);
                if let Some(last) = last.filter(|last| *last >= max_parallelism) {
                    return Err(Indivisible::KeyGroups {
                        subtask,
                        last,
                        max_parallelism,
                    });
                }
                handles.push(Handle {
                    subtask,
                    handle,
                    parts,
                });
            }
        }
        Ok(Snapshots { handles })
    }

    /// The lists of all, each with one report for each subtask that has something of it.
    fn lists(&self) -> Result<Lists, Indivisible> {
        let mut lists = Lists::new();
        for handle in &self.handles {
            for part in &handle.parts.lists {
                let list = lists.entry(part.name.clone()).or_insert(ListState {
                    mode: part.mode,
                    reports: Vec::new(),
                });
                if list.mode != part.mode {
                    return Err(Indivisible::Modes(part.name.clone()));
                }
                let partitions = count(part.partitions.len());
                match list.reports.last_mut() {
                    Some(last) if last.subtask == handle.subtask => last.partitions += partitions,
                    Some(_) | None => list.reports.push(Report {
                        subtask: handle.subtask,
                        partitions,
                    }),
                }
            }
        }
        Ok(lists)
    }
}

/// What the new subtasks get.
struct Given<'a> {
    handles: &'a [Handle<'a>],
    /// By new subtask: of which handle which parts.
    parts: Vec<BTreeMap<usize, StateParts>>,
}

impl Given<'_> {
    fn keyed(&mut self, handles: &[Handle<'_>], max_parallelism: u32, parallelism: u32) {
        let key_groups = |at: &usize| handles[*at].parts.key_groups;
        let keyed: Vec<usize> = (0..handles.len())
            .filter(|at| key_groups(at).is_some())
            .collect();
        let ranges: Vec<KeyGroupRange> = keyed.iter().filter_map(key_groups).collect();
        let shares = KeyedShares::new(&ranges, max_parallelism, parallelism);
        for (subtask, parts) in (0..).map(SubtaskIndex).zip(&mut self.parts) {
            for share in shares.of(subtask) {
                let handle = keyed[share.handle as usize];
                parts.entry(handle).or_default().key_groups = Some(share.range);
            }
        }
    }

    fn lists(&mut self, rescale: Rescale, lists: &Lists) {
        // Whoever unites them does so later; here each partition goes to one.
        let mode = |mode| match mode {
            DistributionMode::Union => DistributionMode::Split,
            DistributionMode::Split | DistributionMode::Broadcast => mode,
        };
        let dealt = lists.iter().map(|(name, list)| {
            let (mode, reports) = (mode(list.mode), list.reports.clone());
            (name.clone(), ListState { mode, reports })
        });
        let dealt: Lists = dealt.collect();
        let plan = ListPlan::new(rescale, &dealt);
        for new in (0..rescale.new).map(SubtaskIndex) {
            for (name, run) in plan.runs(new) {
                self.list(new, name, lists[name].mode, &run);
            }
        }
    }

    /// A new subtask gets a run of the partitions that an old one had, maybe in several snapshots.
    fn list(&mut self, new: SubtaskIndex, name: &str, mode: DistributionMode, run: &Run) {
        let parts = &mut self.parts[new.0 as usize];
        let mut before = 0;
        let first = self.handles.partition_point(|it| it.subtask < run.from);
        let of_run = self.handles[first..].iter().enumerate();
        for (at, handle) in of_run.take_while(|(_, it)| it.subtask == run.from) {
            let Some(list) = handle.parts.lists.iter().find(|list| list.name == name) else {
                continue;
            };
            let held = list.partitions.clone();
            let position = |counted: u32| held.start + counted.max(before) - before;
            let (start, end) = (position(run.partitions.start), position(run.partitions.end));
            before += count(held.len());
            let partitions = start.min(held.end)..end.min(held.end);
            if !partitions.is_empty() {
                let name = String::from(name);
                parts.entry(first + at).or_default().lists.push(ListPart {
                    name,
                    mode,
                    partitions,
                });
            }
        }
    }

    fn into_states(self) -> Vec<SubtaskState> {
        let handles = self.handles;
        let state = |(new, mut parts): (usize, BTreeMap<usize, StateParts>)| {
            if parts.is_empty() && !handles.is_empty() {
                parts.insert(new % handles.len(), StateParts::default());
            }
            let handle = |(at, mut parts): (usize, StateParts)| {
                parts.lists.sort_by(|one, other| one.name.cmp(&other.name));
                let handle = handles[at].handle;
                match handle.parts.as_deref() {
                    Some(all) if *all == parts => handle.clone(),
                    Some(_) | None => handle.narrowed(parts),
                }
            };
            SubtaskState::Given(parts.into_iter().map(handle).collect())
        };
        self.parts.into_iter().enumerate().map(state).collect()
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("subtasks and partitions are counted in 32 bits")
}

#[cfg(test)]
mod tests;
