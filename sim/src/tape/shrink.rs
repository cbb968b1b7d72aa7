//! Shrinking: from a run that breaks an invariant, or reaches a mark, to one that does the same by as few
//! decisions as possible, all others being the quiet ones.
//!
//! Every step tries a tape that is smaller and keeps it if its run still does the same; then
//! the tape that this run recorded, which has no decisions that were not asked for, is the next one to
//! shrink. First whole streams become quiet, then their tails, then ever smaller parts; then decisions
//! are left out, so that the later ones move up; then single values are lowered. At the end no single
//! decision can be made quiet, unless the budget ran out before. Same run, same budget, same result.

use crate::checks::oracle::Failure;
use crate::marks::Mark;
use crate::plan::Tier;
use crate::run::{Report, Run};
use crate::tape::{Draw, Stream};
use jobmanager_core::digest::Digest;
use std::collections::BTreeSet;

/// A smaller tape may take longer until it breaks something: so many times the events of the smallest
/// one so far, and some more.
const PATIENCE: u64 = 2;
const MORE_EVENTS: u64 = 2_000;
/// Decisions that are left out at once: a fault, a vertex, a message or two.
const LEFT_OUT: [usize; 5] = [8, 4, 3, 2, 1];
/// Decisions that are left out after one that is lowered: what was drawn only because of it.
const CONSEQUENCES: [usize; 4] = [1, 2, 4, 8];

/// How much may be tried. Not a time, so that the result does not depend on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Runs.
    pub runs: u64,
    /// Events of all runs together.
    pub events: u64,
}

impl Default for Budget {
    /// A few seconds for most runs, and half a minute for one that breaks only at its very end.
    fn default() -> Budget {
        Budget {
            runs: 5_000,
            events: 30_000_000,
        }
    }
}

/// What the smallest run still does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// It breaks the same invariant.
    Breaks(Failure),
    /// It reaches a mark.
    Reaches(Mark),
}

impl Goal {
    /// Whether a run does.
    #[must_use]
    pub fn is_met(&self, report: &Report) -> bool {
        match self {
            Goal::Breaks(wanted) => report.failure.as_ref().is_some_and(|had| same(had, wanted)),
            Goal::Reaches(mark) => report.marks.count(*mark) > 0,
        }
    }
}

/// What is left of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest run that meets the goal, with its log.
    pub report: Report,
    /// How many of its decisions are not the quiet ones.
    pub decisions: usize,
    /// How many runs it took.
    pub runs: u64,
    /// Whether it is known that no single decision can be made quiet.
    pub minimal: bool,
}

/// Shrinks a run that meets the goal; `None` if it does not.
#[must_use]
pub fn shrink(tier: Tier, report: &Report, goal: Goal, budget: Budget) -> Option<Shrunk> {
    if !goal.is_met(report) {
        return None;
    }
    let mut shrinker = Shrinker {
        tier,
        goal,
        best: Strips::of(&report.tape),
        events: report.events,
        budget,
        runs: 0,
        tried: BTreeSet::new(),
    };
    let minimal = shrinker.shrink();
    let report = Run::tape(tier, shrinker.best.tape()).logged().run();
    Some(Shrunk {
        report,
        decisions: shrinker.best.loud().len(),
        runs: shrinker.runs,
        minimal,
    })
}

/// Whether two failures are of the same kind. A panic has no name but what it says.
fn same(a: &Failure, b: &Failure) -> bool {
    let words = |failure: &Failure| -> String {
        let first = failure.detail.lines().next().unwrap_or_default();
        first.chars().filter(|c| !c.is_ascii_digit()).collect()
    };
    a.name == b.name && (a.name != "nothing_panics" || words(a) == words(b))
}

/// The decisions of each stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Strips([Vec<u64>; Stream::ALL.len()]);

/// Where a decision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    stream: usize,
    position: usize,
}

impl Strips {
    fn of(tape: &[Draw]) -> Strips {
        let mut strips = Strips(Default::default());
        for draw in tape {
            strips.0[draw.stream as usize].push(draw.value);
        }
        strips.trim();
        strips
    }

    /// Takes away the quiet ends: they are what comes of nothing.
    fn trim(&mut self) {
        for strip in &mut self.0 {
            let end = strip.iter().rposition(|value| *value != 0);
            strip.truncate(end.map_or(0, |end| end + 1));
        }
    }

    fn tape(&self) -> Vec<Draw> {
        let strips = Stream::ALL.into_iter().zip(&self.0);
        let draws = strips.flat_map(|(stream, values)| {
            values.iter().map(move |value| Draw {
                stream,
                value: *value,
            })
        });
        draws.collect()
    }

    /// The decisions that are not quiet.
    fn loud(&self) -> Vec<Place> {
        let strips = self.0.iter().enumerate();
        let places = strips.flat_map(|(stream, values)| {
            let loud = values.iter().enumerate().filter(|(_, value)| **value != 0);
            loud.map(move |(position, _)| Place { stream, position })
        });
        places.collect()
    }

    fn at(&self, place: Place) -> u64 {
        let value = self.0[place.stream].get(place.position);
        value.copied().unwrap_or(0)
    }

    fn set(&mut self, place: Place, value: u64) {
        if let Some(old) = self.0[place.stream].get_mut(place.position) {
            *old = value;
        }
    }

    /// Leaves decisions out: the later ones of the stream move up.
    fn leave_out(&mut self, place: Place, count: usize) {
        let strip = &mut self.0[place.stream];
        let end = strip.len().min(place.position + count);
        if place.position < end {
            strip.drain(place.position..end);
        }
    }

    /// Fewer loud decisions are smaller, then lower ones, then shorter tapes.
    fn size(&self) -> (usize, u128, usize) {
        let values = self.0.iter().flatten();
        let sum = values.clone().map(|value| u128::from(*value)).sum();
        (self.loud().len(), sum, values.count())
    }
}

struct Shrinker {
    tier: Tier,
    goal: Goal,
    /// The smallest tape that meets it.
    best: Strips,
    /// The events of its run.
    events: u64,
    /// What is left of it.
    budget: Budget,
    runs: u64,
    /// Digests of tapes that need not be tried again; as many as there are runs.
    tried: BTreeSet<u64>,
}

impl Shrinker {
    /// Tells whether nothing more can be done.
    fn shrink(&mut self) -> bool {
        self.quiet_streams();
        self.quiet_tails();
        loop {
            let before = self.best.clone();
            self.quiet_parts();
            self.leave_out();
            // Values are worth a look only once there is little left.
            if self.best == before {
                self.lower_values();
            }
            if self.is_spent() {
                return false;
            }
            if self.best == before {
                return true;
            }
        }
    }

    fn is_spent(&self) -> bool {
        self.budget.runs == 0 || self.budget.events == 0
    }

    /// Keeps this tape if it is smaller and its run meets the goal.
    fn keep(&mut self, mut candidate: Strips) -> bool {
        candidate.trim();
        if candidate.size() >= self.best.size() || self.is_spent() {
            return false;
        }
        if !self.tried.insert(Digest::of(&candidate)) {
            return false;
        }
        let limit = PATIENCE * self.events + MORE_EVENTS;
        let run = Run::tape(self.tier, candidate.tape()).at_most(limit);
        let report = run.run();
        self.runs += 1;
        self.budget.runs -= 1;
        self.budget.events = self.budget.events.saturating_sub(report.events);
        let met = self.goal.is_met(&report);
        if met {
            self.best = Strips::of(&report.tape);
            self.events = report.events;
        }
        met
    }

    /// Makes whole streams quiet, the busiest ones first.
    fn quiet_streams(&mut self) {
        let mut streams: Vec<usize> = (0..Stream::ALL.len()).collect();
        streams.sort_by_key(|stream| std::cmp::Reverse(self.best.0[*stream].len()));
        for stream in streams {
            let mut candidate = self.best.clone();
            candidate.0[stream].clear();
            self.keep(candidate);
        }
    }

    /// Makes the ends of streams quiet: as long ones as possible, found by halving.
    fn quiet_tails(&mut self) {
        for stream in 0..Stream::ALL.len() {
            let mut good = self.best.0[stream].len();
            let mut bad = 0;
            while good > bad + 1 {
                let middle = bad.midpoint(good);
                let mut candidate = self.best.clone();
                candidate.0[stream].truncate(middle);
                if self.keep(candidate) {
                    good = self.best.0[stream].len().min(middle);
                } else {
                    bad = middle;
                }
            }
        }
    }

    /// Makes parts quiet: halves of all that is loud, then quarters, down to single decisions. Later ones
    /// first, since less depends on them.
    fn quiet_parts(&mut self) {
        let mut size = self.best.loud().len().div_ceil(2);
        while size > 0 {
            let mut end = self.best.loud().len();
            while end > 0 && !self.is_spent() {
                let loud = self.best.loud();
                end = end.min(loud.len());
                let start = end.saturating_sub(size);
                let mut candidate = self.best.clone();
                for place in &loud[start..end] {
                    candidate.set(*place, 0);
                }
                self.keep(candidate);
                end = start;
            }
            size /= 2;
        }
    }

    /// Leaves decisions out, and what follows from a lowered one.
    fn leave_out(&mut self) {
        let mut at = self.best.loud().len();
        while at > 0 && !self.is_spent() {
            at -= 1;
            let Some(place) = self.best.loud().get(at).copied() else {
                continue;
            };
            let left_out = LEFT_OUT.iter().any(|count| {
                let mut candidate = self.best.clone();
                candidate.leave_out(place, *count);
                self.keep(candidate)
            });
            let after = Place {
                position: place.position + 1,
                ..place
            };
            let _ = left_out
                || CONSEQUENCES.iter().any(|count| {
                    let mut candidate = self.best.clone();
                    candidate.set(place, 0);
                    candidate.leave_out(after, *count);
                    self.keep(candidate)
                });
        }
    }

    /// Lowers each value as far as halving finds.
    fn lower_values(&mut self) {
        for at in (0..self.best.loud().len()).rev() {
            let Some(place) = self.best.loud().get(at).copied() else {
                continue;
            };
            let mut bad = 0;
            while self.best.at(place) > bad + 1 && !self.is_spent() {
                // The least one first: most often it does.
                let good = self.best.at(place);
                let middle = if bad == 0 { 1 } else { bad.midpoint(good) };
                let mut candidate = self.best.clone();
                candidate.set(place, middle);
                if !self.keep(candidate) {
                    bad = middle;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of the first run that reaches this.
    fn shrunk(mark: Mark, runs: u64) -> Shrunk {
        let reports = (0..200).map(|seed| Run::seed(Tier::ControlPlane, seed).run());
        let goal = Goal::Reaches(mark);
        let report = reports.into_iter().find(|report| goal.is_met(report));
        let report = report.expect("some seed reaches it");
        let budget = Budget {
            runs,
            ..Budget::default()
        };
        let shrunk = shrink(Tier::ControlPlane, &report, goal, budget);
        shrunk.expect("the goal was met before")
    }

    #[test]
    fn no_decision_of_what_is_left_can_be_made_quiet() {
        let shrunk = shrunk(Mark::AttemptsAdopted, 3_000);
        assert!(shrunk.minimal);
        assert!(shrunk.decisions <= 12, "{} are left", shrunk.decisions);
        let strips = Strips::of(&shrunk.report.tape);
        for place in strips.loud() {
            let mut quieter = strips.clone();
            quieter.set(place, 0);
            let report = Run::tape(Tier::ControlPlane, quieter.tape())
                .at_most(PATIENCE * shrunk.report.events)
                .run();
            assert_eq!(report.marks.count(Mark::AttemptsAdopted), 0, "{place:?}");
        }
    }

    #[test]
    fn shrinking_gives_the_same_whenever_it_is_done() {
        let of = |mark| shrunk(mark, 30);
        assert_eq!(of(Mark::AttemptsAdopted), of(Mark::AttemptsAdopted));
    }

    #[test]
    fn what_comes_of_nothing_is_shrunk_to_nothing() {
        assert_eq!(shrunk(Mark::CheckpointCompleted, 3_000).decisions, 0);
    }

    #[test]
    fn a_small_budget_ends_shrinking_early_and_says_so() {
        let report = Run::seed(Tier::ControlPlane, 0).run();
        let goal = Goal::Reaches(Mark::CheckpointCompleted);
        let budget = Budget { runs: 1, events: 1 };
        let shrunk = shrink(Tier::ControlPlane, &report, goal, budget);
        let shrunk = shrunk.expect("the goal was met before");
        assert_eq!((shrunk.runs, shrunk.minimal), (1, false));
    }

    #[test]
    fn a_run_that_does_not_meet_the_goal_is_not_shrunk() {
        let report = Run::tape(Tier::ControlPlane, Vec::new()).run();
        let goal = Goal::Reaches(Mark::OldLeaderIsRefused);
        let shrunk = shrink(Tier::ControlPlane, &report, goal, Budget::default());
        assert_eq!(shrunk, None);
    }

    #[test]
    fn panics_are_of_one_kind_if_they_say_the_same() {
        let panic = |detail: &str| Failure::new("nothing_panics", detail.to_owned());
        assert!(same(&panic("slot 1 is lost"), &panic("slot 27 is lost")));
        assert!(!same(
            &panic("slot 1 is lost"),
            &panic("index out of bounds")
        ));
    }
}
