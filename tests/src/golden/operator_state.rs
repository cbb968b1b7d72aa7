//! The comparison of operator list state, state by state.
//!
//! The order of the handles that a new subtask gets does not matter, that of the partitions in a handle does.
//!
//! With several split states, each starts with the receiver at which the one before stopped, and Flink takes the
//! states in the order of a hash map, which the vector does not tell. So first every split state for
//! itself must be what we compute, rotated to some start receiver. Then there must be one order of the
//! states in which these start receivers follow from each other, the first one being n0: a start that no
//! hash map could lead to is a difference, too. With one split state nothing is free.
//!
//! Of a broadcast state that not all subtasks reported, at unchanged parallelism, Flink gives a subtask the copy by the
//! formula and also leaves it its own; we give one, because all copies are equal. Both are accepted.

use super::Difference;
use super::formulas::list;
use super::parse::{Given, Handle, OperatorStateVector};
use jobmanager_core::id::SubtaskIndex;
use jobmanager_core::redistribute::{
    DistributionMode, ListPlan, ListState, Report, Rescale, Run, Split,
};
use std::collections::{BTreeMap, BTreeSet};

/// The name under which a vector shows a state.
fn name_of(state: u32) -> String {
    format!("s{state}")
}

pub(super) fn compare(vector: &OperatorStateVector) -> Result<(), Difference> {
    let states = states_of(vector);
    let entries: Vec<_> = vector.entries.iter().map(Entry::new).collect();
    let plan = ListPlan::new(vector.rescale, &states);
    let mut wrong = BTreeSet::new();
    for entry in &entries {
        let computed = entry.computed(&plan);
        let names = computed.keys().copied();
        for name in names.chain(entry.expected.keys().map(String::as_str)) {
            let (handles, runs) = (entry.expected(name), computed.get(name));
            let runs = runs.map_or(&[][..], Vec::as_slice);
            let agrees = match states.get(name) {
                Some(state) if is_dealt(vector.rescale, state) => continue,
                Some(state) if keeps_its_own(vector.rescale, state) => {
                    agree(handles, runs) || agree_beside_own(handles, runs, state, entry.subtask)
                }
                Some(_) | None => agree(handles, runs),
            };
            if !agrees {
                wrong.insert(name.to_owned());
            }
        }
    }
    let mut turns = Vec::new();
    for (name, state) in &states {
        if !is_dealt(vector.rescale, state) {
            continue;
        }
        let turn = Turn::new(vector.rescale.new, name, state, &entries);
        if turn.starts.is_empty() {
            wrong.insert(name.clone());
        }
        turns.push(turn);
    }
    if !wrong.is_empty() {
        return Err(difference(&entries, &plan, &wrong));
    }
    follow_each_other(&turns, vector.rescale.new)
}

/// The states as the core wants them.
fn states_of(vector: &OperatorStateVector) -> BTreeMap<String, ListState> {
    let mut states = BTreeMap::new();
    for reported in &vector.reported {
        let state = states
            .entry(name_of(reported.place.state))
            .or_insert_with(|| ListState {
                mode: reported.mode,
                reports: Vec::new(),
            });
        state.reports.push(Report {
            subtask: SubtaskIndex(reported.place.subtask),
            partitions: reported.partitions,
        });
    }
    states
}

/// Whether the order of the states decides who gets what.
fn is_dealt(rescale: Rescale, state: &ListState) -> bool {
    state.mode == DistributionMode::Split && rescale.old != rescale.new
}

/// Whether Flink leaves a subtask its own copy beside the one that it is given.
fn keeps_its_own(rescale: Rescale, state: &ListState) -> bool {
    state.mode == DistributionMode::Broadcast
        && rescale.old == rescale.new
        && state.reports.len() < rescale.old as usize
}

/// What a vector says that a new subtask gets.
struct Entry<'a> {
    subtask: SubtaskIndex,
    /// By name of the state, the handles by old subtask.
    expected: BTreeMap<String, Vec<&'a Handle>>,
}

impl<'a> Entry<'a> {
    fn new(given: &'a Given) -> Self {
        let mut expected: BTreeMap<_, Vec<&Handle>> = BTreeMap::new();
        for handle in &given.handles {
            let of_name = expected.entry(name_of(handle.place.state)).or_default();
            of_name.push(handle);
        }
        for handles in expected.values_mut() {
            handles.sort_by_key(|handle| handle.place.subtask);
        }
        Entry {
            subtask: SubtaskIndex(given.subtask),
            expected,
        }
    }

    fn expected(&self, name: &str) -> &[&'a Handle] {
        self.expected.get(name).map_or(&[], Vec::as_slice)
    }

    /// What we compute, by name of the state.
    fn computed<'b>(&self, plan: &ListPlan<'b>) -> BTreeMap<&'b str, Vec<Run>> {
        let mut computed: BTreeMap<_, Vec<Run>> = BTreeMap::new();
        for (name, run) in plan.runs(self.subtask) {
            computed.entry(name).or_default().push(run);
        }
        computed
    }
}

/// What vectors call partition 0 of a state.
fn first_partition(state: u32) -> i64 {
    1_000 * i64::from(state)
}

/// Whether handles of one state are these runs, both by old subtask.
fn agree(handles: &[&Handle], runs: &[Run]) -> bool {
    let agrees = |(handle, run): (&&Handle, &Run)| {
        let called = |position: u32| first_partition(handle.place.state) + i64::from(position);
        handle.place.subtask == run.from.0
            && handle.partitions.len() == run.partitions.len()
            && run
                .partitions
                .clone()
                .map(called)
                .eq(handle.partitions.iter().copied())
    };
    handles.len() == runs.len() && handles.iter().zip(runs).all(agrees)
}

/// Whether handles are these runs and, besides, what the subtask had itself.
fn agree_beside_own(
    handles: &[&Handle],
    runs: &[Run],
    state: &ListState,
    subtask: SubtaskIndex,
) -> bool {
    let own = state
        .reports
        .iter()
        .find(|report| report.subtask == subtask);
    let own = own.map(|report| Run {
        from: report.subtask,
        partitions: 0..report.partitions,
    });
    let mut all: Vec<_> = runs.iter().cloned().chain(own).collect();
    all.sort_by_key(|run| run.from);
    all.dedup();
    agree(handles, &all)
}

/// A split state that takes its turn among others.
struct Turn<'a> {
    name: &'a str,
    /// The start receivers with which it is what the vector says. More than one only if it has no partition,
    /// or the vector leaves out subtasks.
    starts: BTreeSet<u32>,
    /// How many receivers get one more: so much further the next state starts.
    extra: u32,
}

impl<'a> Turn<'a> {
    fn new(receivers: u32, name: &'a str, state: &ListState, entries: &[Entry<'_>]) -> Self {
        let from_first = Split::new(&state.reports, receivers, SubtaskIndex(0));
        let is_start = |start: &u32| {
            entries.iter().all(|entry| {
                let turn = (entry.subtask.0 + receivers - start) % receivers;
                let runs: Vec<_> = from_first.runs(SubtaskIndex(turn)).collect();
                agree(entry.expected(name), &runs)
            })
        };
        Turn {
            name,
            starts: (0..receivers).filter(is_start).collect(),
            extra: from_first.next_start().0,
        }
    }
}

/// Whether the states can have had their turns one after another.
fn follow_each_other(turns: &[Turn<'_>], receivers: u32) -> Result<(), Difference> {
    let mut order = Order {
        turns,
        receivers,
        dead_ends: BTreeSet::new(),
    };
    if order.is_possible(0, 0) {
        return Ok(());
    }
    let mut start = 0;
    let (mut expected, mut computed) = (Vec::new(), Vec::new());
    for turn in turns {
        let starts: Vec<_> = turn
            .starts
            .iter()
            .map(|start| format!("n{start}"))
            .collect();
        expected.push(format!("{} from {}", turn.name, starts.join(" or ")));
        computed.push(format!("{} from n{start}", turn.name));
        start = (start + turn.extra) % receivers;
    }
    Err(Difference {
        expected: expected.join(", "),
        computed: format!("{}, or another order of the states", computed.join(", ")),
    })
}

/// The search for an order of the turns.
struct Order<'a> {
    turns: &'a [Turn<'a>],
    receivers: u32,
    /// Sets of turns that can have been the first ones, with no way on. A set decides where the next one starts.
    dead_ends: BTreeSet<u32>,
}

impl Order<'_> {
    /// Whether the turns that are not in the set of those taken can follow from this start on.
    fn is_possible(&mut self, taken: u32, start: u32) -> bool {
        if taken.count_ones() as usize == self.turns.len() {
            return true;
        }
        if self.dead_ends.contains(&taken) {
            return false;
        }
        for (index, turn) in self.turns.iter().enumerate() {
            let bit = 1 << index;
            if taken & bit != 0 || !turn.starts.contains(&start) {
                continue;
            }
            let next_start = (start + turn.extra) % self.receivers;
            if self.is_possible(taken | bit, next_start) {
                return true;
            }
            if turn.extra == 0 {
                // It is in nobody's way, so that it need not be tried later.
                break;
            }
        }
        self.dead_ends.insert(taken);
        false
    }
}

/// The subtasks that get something else of these states, with what they get of them.
fn difference(entries: &[Entry<'_>], plan: &ListPlan<'_>, names: &BTreeSet<String>) -> Difference {
    let (mut expected, mut computed) = (Vec::new(), Vec::new());
    for entry in entries {
        let of_plan = entry.computed(plan);
        let (mut handles, mut runs) = (Vec::new(), Vec::new());
        for name in names {
            for handle in entry.expected(name) {
                let from = handle.place.subtask;
                handles.push(format!("h{from}.{name}{}", list(&handle.partitions)));
            }
            for run in of_plan.get(name.as_str()).into_iter().flatten() {
                runs.push(shown(name, run));
            }
        }
        if handles != runs {
            let subtask = entry.subtask.0;
            expected.push(format!("n{subtask}=[{}]", handles.join(",")));
            computed.push(format!("n{subtask}=[{}]", runs.join(",")));
        }
    }
    Difference {
        expected: expected.join(" "),
        computed: computed.join(" "),
    }
}

/// A run as vectors write a handle.
fn shown(name: &str, run: &Run) -> String {
    let state = name
        .strip_prefix('s')
        .and_then(|digits| digits.parse().ok());
    let first = first_partition(state.unwrap_or_default());
    let partitions: Vec<_> = run
        .partitions
        .clone()
        .map(|position| first + i64::from(position))
        .collect();
    format!("h{}.{name}{}", run.from.0, list(&partitions))
}
