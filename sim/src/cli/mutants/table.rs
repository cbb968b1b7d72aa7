//! What came of the mutants, as a table for people.

use super::hunt::Finding;
use super::patch::Mutant;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What came of a mutant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Score {
    /// The invariants that caught it.
    pub(super) invariants: BTreeSet<String>,
    /// Seeds until a catch, of every window.
    catches: Vec<u64>,
    /// Seeds of the window that had no catch.
    missed: Option<u64>,
    /// Decisions that are left of a catch.
    shrunk: Option<usize>,
    /// Why it could not be hunted.
    problem: Option<String>,
}

impl Score {
    /// The score of these findings.
    pub(super) fn of(findings: impl IntoIterator<Item = Finding>) -> Score {
        let mut score = Score::default();
        for finding in findings {
            match finding {
                Finding::Caught { after, invariant } => {
                    score.catches.push(after);
                    score.invariants.insert(invariant);
                }
                Finding::Missed { after } => score.missed = Some(after),
                Finding::Shrunk { decisions } => score.shrunk = Some(decisions),
            }
        }
        score.catches.sort_unstable();
        score
    }

    /// It could not be hunted.
    pub(super) fn wrong(problem: String) -> Score {
        Score {
            problem: Some(problem),
            ..Score::default()
        }
    }

    /// A run of it never ended: that is a catch, too.
    pub(super) fn endless(mut self) -> Score {
        self.invariants.insert("every_run_ends".to_owned());
        self
    }

    pub(super) fn is_caught(&self) -> bool {
        !self.invariants.is_empty()
    }

    /// Seeds until a catch: the middle one of the windows.
    pub(super) fn median(&self) -> Option<u64> {
        self.catches.get(self.catches.len() / 2).copied()
    }

    /// Seeds until a catch: the most, windows without one included.
    pub(super) fn most(&self) -> Option<u64> {
        self.catches.last().copied().max(self.missed)
    }

    /// In one line.
    pub(super) fn words(&self) -> String {
        if let Some(problem) = &self.problem {
            return format!("WRONG: {problem}");
        }
        if !self.is_caught() {
            return format!("SURVIVED {} seeds", self.missed.unwrap_or(0));
        }
        let names: Vec<_> = self.invariants.iter().map(String::as_str).collect();
        let [median, most, shrunk] = self.numbers();
        format!(
            "caught after {median} seeds (at most {most}), shrunk to {shrunk}: {}",
            names.join(", ")
        )
    }

    fn numbers(&self) -> [String; 3] {
        let shrunk = self.shrunk.map(|decisions| decisions as u64);
        [self.median(), self.most(), shrunk]
            .map(|number| number.map_or_else(|| "-".to_owned(), |number| number.to_string()))
    }
}

/// The table of all mutants, and after it why some have none.
pub(super) fn table(scores: &[(Mutant, Score)], without: &str) -> String {
    let caught: Vec<_> = scores
        .iter()
        .filter(|(_, score)| score.is_caught())
        .collect();
    let mut medians: Vec<u64> = caught
        .iter()
        .filter_map(|(_, score)| score.median())
        .collect();
    medians.sort_unstable();
    let median = medians.get(medians.len() / 2).copied().unwrap_or(0);
    let most = caught.iter().filter_map(|(_, score)| score.most()).max();
    let mut text = format!(
        "# Mutants\n\n\
         Mistakes made on purpose, each a patch in [`mutants/`](mutants), and what the simulator says to them.\n\
         Written by `cargo run --bin sim -- mutants --write`; do not edit.\n\n\
         {} of {} caught. Seeds of the default run until the first that fails: half of the mutants need\n\
         {median} or fewer; the most that any window of seeds took is {}. *Median* and *most* are over\n\
         disjoint windows of seeds; *left* is how many decisions are left of the first catch when it is shrunk.\n\n\
         | mutant | mistake | breaks | caught by | median | most | left |\n\
         |---|---|---|---|---:|---:|---:|\n",
        caught.len(),
        scores.len(),
        most.unwrap_or(0),
    );
    for (mutant, score) in scores {
        let invariants: Vec<_> = score
            .invariants
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let by = if invariants.is_empty() {
            "**nothing**".to_owned()
        } else {
            invariants.join("<br>")
        };
        let Mutant {
            name,
            mistake,
            breaks,
            ..
        } = mutant;
        let [median, most, shrunk] = score.numbers();
        let link = format!("[{name}](mutants/{name}.patch)");
        writeln!(
            text,
            "| {link} | {mistake} | {breaks} | {by} | {median} | {most} | {shrunk} |"
        )
        .expect("a string takes everything");
    }
    text.push('\n');
    text.push_str(without);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(after: u64) -> Finding {
        let invariant = "a_b".to_owned();
        Finding::Caught { after, invariant }
    }

    #[test]
    fn a_score_tells_the_middle_and_the_worst_window() {
        let score = Score::of([
            caught(5),
            caught(1),
            caught(9),
            Finding::Shrunk { decisions: 3 },
        ]);
        assert_eq!((score.median(), score.most()), (Some(5), Some(9)));
        assert_eq!(
            score.words(),
            "caught after 5 seeds (at most 9), shrunk to 3: a_b"
        );
    }

    #[test]
    fn a_window_without_a_catch_counts_as_the_worst() {
        let score = Score::of([caught(5), Finding::Missed { after: 70 }]);
        assert_eq!((score.is_caught(), score.most()), (true, Some(70)));
        let score = Score::of([Finding::Missed { after: 70 }]);
        assert!(!score.is_caught());
        assert_eq!(score.words(), "SURVIVED 70 seeds");
        assert!(score.endless().is_caught());
    }
}
