//! The search: breadth first, so that the first path to something wrong is a shortest one.

use super::action::{Action, Enabled};
use super::divided::Situation;
use super::scope::Scope;
use super::state::{Budget, State};
use super::step::Step;
use super::{Explored, beginning};
use crate::checks::oracle::Failure;
use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many steps of the default schedule are shown when it does not end.
const SHOWN: usize = 300;
/// How often somebody who waits is told how far the search is, in states.
const PROGRESS: usize = 100_000;
/// No node.
const NONE: u32 = u32::MAX;

/// Something wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The broken promise.
    pub failure: Failure,
    /// How many states were known when it was found.
    pub after: usize,
    /// How many steps lead to it.
    pub steps: usize,
    /// What happens on the way, a line for each thing.
    pub transcript: Vec<String>,
}

/// A state that was seen, as far as it must be kept.
struct Node {
    parent: u32,
    /// The position among the parent's actions of the one that leads here.
    choice: u32,
    depth: u32,
    /// Where the default schedule goes on.
    next: u32,
}

struct Search<'a> {
    scope: &'a Scope,
    beginning: State,
    nodes: Vec<Node>,
    /// The node of each digest. Asked, never iterated.
    known: HashMap<u128, u32>,
    queue: VecDeque<(u32, State)>,
    transitions: u64,
    ends: usize,
    reached: BTreeSet<Situation>,
}

/// Goes through all states. `progress` is told now and then how many are known and how many wait.
#[must_use]
pub fn explore(scope: &Scope, progress: &mut dyn FnMut(usize, usize)) -> Explored {
    let beginning = match beginning(scope) {
        Ok(beginning) => beginning,
        Err(failure) => return Explored::nothing_but(failure),
    };
    let mut search = Search::new(scope, beginning);
    let found = search.run(progress);
    let complete = search.queue.is_empty() && found.is_none();
    let found = found.or_else(|| if complete { search.endless() } else { None });
    let deepest = search.nodes.iter().map(|node| node.depth).max();
    Explored {
        states: search.nodes.len(),
        transitions: search.transitions,
        depth: deepest.unwrap_or(0) as usize,
        ends: search.ends,
        reached: search.reached,
        complete,
        found,
    }
}

impl Explored {
    fn nothing_but(failure: Failure) -> Explored {
        let found = Found {
            failure,
            after: 0,
            steps: 0,
            transcript: Vec::new(),
        };
        Explored {
            states: 0,
            transitions: 0,
            depth: 0,
            ends: 0,
            reached: BTreeSet::new(),
            complete: false,
            found: Some(found),
        }
    }
}

impl<'a> Search<'a> {
    fn new(scope: &'a Scope, beginning: State) -> Self {
        let root = Node {
            parent: NONE,
            choice: 0,
            depth: 0,
            next: NONE,
        };
        Search {
            scope,
            nodes: vec![root],
            known: HashMap::from([(beginning.digest(), 0)]),
            queue: VecDeque::from([(0, beginning.clone())]),
            beginning,
            transitions: 0,
            ends: 0,
            reached: BTreeSet::new(),
        }
    }

    fn run(&mut self, progress: &mut dyn FnMut(usize, usize)) -> Option<Found> {
        let mut told = 0;
        while self.nodes.len() < self.scope.limit as usize {
            let (at, state) = self.queue.pop_front()?;
            if let Some(found) = self.expand(at, &state) {
                return Some(found);
            }
            if self.nodes.len() >= told + PROGRESS {
                told = self.nodes.len();
                progress(told, self.queue.len());
            }
        }
        None
    }

    /// Takes everything that can happen in a state.
    fn expand(&mut self, at: u32, state: &State) -> Option<Found> {
        let enabled = Enabled::in_state(state, self.scope);
        let ended = state.has_ended();
        self.ends += usize::from(ended);
        if enabled.default().is_none() && !ended {
            let failure = Failure::new("the_job_goes_on", "nothing can happen".to_owned());
            return Some(self.found(failure, at, None));
        }
        let count = if state.settled {
            enabled.ordinary.min(1)
        } else {
            enabled.actions.len()
        };
        for (choice, action) in (0..).zip(&enabled.actions[..count]) {
            self.transitions += 1;
            let child = match happen(self.scope, state, *action, &mut self.reached) {
                Ok(child) => child,
                Err(failure) => return Some(self.found(failure, at, Some(choice))),
            };
            let child_at = self.put(at, choice, child);
            if enabled.default() == Some(choice as usize) {
                self.nodes[at as usize].next = child_at;
            }
        }
        None
    }

    /// The node of a state, a new one if it was not seen before.
    fn put(&mut self, parent: u32, choice: u32, state: State) -> u32 {
        let at = u32::try_from(self.nodes.len()).expect("the limit is one of 32 bits");
        match self.known.entry(state.digest()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                free.insert(at);
                let depth = self.nodes[parent as usize].depth + 1;
                self.nodes.push(Node {
                    parent,
                    choice,
                    depth,
                    next: NONE,
                });
                self.queue.push_back((at, state));
                at
            }
        }
    }

    /// A state from which the default schedule goes round in circles. Where it stops is where the job has
    /// ended: everything else was found before.
    fn endless(&self) -> Option<Found> {
        let mut fine = vec![false; self.nodes.len()];
        let mut trail = Vec::new();
        let mut on_trail = vec![false; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut at = start;
            while !fine[at] && !on_trail[at] {
                on_trail[at] = true;
                trail.push(at);
                let next = self.nodes[at].next;
                if next == NONE {
                    fine[at] = true;
                } else {
                    at = next as usize;
                }
            }
            if !fine[at] {
                let detail = "without further faults the same things happen again and again";
                let failure = Failure::new("the_default_schedule_ends", detail.to_owned());
                let at = u32::try_from(start).expect("nodes are counted in 32 bits");
                return Some(self.found(failure, at, None));
            }
            for at in trail.drain(..) {
                fine[at] = true;
            }
        }
        None
    }

    /// Repeats the way to a state, and one step more, for people.
    fn found(&self, failure: Failure, at: u32, last: Option<u32>) -> Found {
        let mut choices: Vec<u32> = last.into_iter().collect();
        let mut node = &self.nodes[at as usize];
        while node.parent != NONE {
            choices.push(node.choice);
            node = &self.nodes[node.parent as usize];
        }
        choices.reverse();
        let steps = choices.len();
        let mut log = Vec::new();
        let mut state = Some(self.beginning.clone());
        for choice in choices {
            state = state.and_then(|state| self.show(&state, choice as usize, &mut log));
        }
        if failure.name == "the_default_schedule_ends" {
            log.push("the default schedule:".to_owned());
            for _ in 0..SHOWN {
                state = state.and_then(|state| self.show(&state, 0, &mut log));
            }
        }
        Found {
            failure,
            after: self.nodes.len(),
            steps,
            transcript: log,
        }
    }

    fn show(&self, state: &State, choice: usize, log: &mut Vec<String>) -> Option<State> {
        let enabled = Enabled::in_state(state, self.scope);
        let action = *enabled.actions.get(choice)?;
        let fault = if choice < enabled.ordinary {
            ""
        } else {
            " (!)"
        };
        log.push(format!("{} {action}{fault}", state.now));
        let mut step = Step::from(self.scope, state, Some(log));
        let survived = catch_unwind(AssertUnwindSafe(|| step.take(action))).is_ok();
        let mut state = step.state;
        settle(self.scope, &mut state);
        survived.then_some(state)
    }
}

/// What comes of an action in a state.
fn happen(
    scope: &Scope,
    state: &State,
    action: Action,
    reached: &mut BTreeSet<Situation>,
) -> Result<State, Failure> {
    let mut step = Step::from(scope, state, None);
    // A coordinator panics with the name of the invariant that it broke.
    let ended = catch_unwind(AssertUnwindSafe(|| step.take(action)));
    if let Err(panic) = ended {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        return Err(Failure::new("nothing_panics", text.unwrap_or_default()));
    }
    if let Some(failure) = step.broken {
        return Err(failure);
    }
    reached.append(&mut step.reached);
    settle(scope, &mut step.state);
    Ok(step.state)
}

/// Notes that nothing can go wrong any more, and that all has come to rest if that is waited for.
fn settle(scope: &Scope, state: &mut State) {
    if !state.settled && state.budget == Budget::NOTHING {
        state.settled = !scope.thorough || Enabled::in_state(state, scope).is_quiet();
    }
}
