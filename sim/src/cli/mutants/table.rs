//! What came of the mutants, as a table for people.

use super::hunt::Finding;
use super::patch::Mutant;
use std::collections::{BTreeMap, BTreeSet};
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
    /// The first named check that caught it, and after how many seeds.
    named: Option<(String, u64)>,
    /// Seeds after which no named check had caught it.
    unnamed: Option<u64>,
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
                Finding::Named { after, invariant } => score.named = Some((invariant, after)),
                Finding::Unnamed { after } => score.unnamed = Some(after),
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
        let named = match (&self.named, self.unnamed) {
            (Some((name, after)), _) => format!("; named after {after}: {name}"),
            (None, Some(after)) => format!("; NOT NAMED in {after} seeds"),
            (None, None) => String::new(),
        };
        format!(
            "caught after {median} seeds (at most {most}), shrunk to {shrunk}: {}{named}",
            names.join(", ")
        )
    }

    fn numbers(&self) -> [String; 3] {
        let shrunk = self.shrunk.map(|decisions| decisions as u64);
        [self.median(), self.most(), shrunk]
            .map(|number| number.map_or_else(|| "-".to_owned(), |number| number.to_string()))
    }
}

/// The lines of the table, by the names of the mutants.
pub(super) type Rows = BTreeMap<String, Row>;

/// What came of a mutant, in the words of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Who caught it; seeds in the middle and in the worst window; decisions that are left; which named
    /// check caught it, and its seeds.
    cells: [String; 6],
}

/// What the table says where nothing caught a mutant.
const NOTHING: &str = "**nothing**";
/// The check that is the reference model.
const MODEL: &str = "the_coordinator_agrees_with_the_model";

impl Row {
    /// The row of this score.
    pub(super) fn of(score: &Score) -> Row {
        let name = |name: &String| match name.as_str() {
            MODEL => "model".to_owned(),
            other => format!("`{other}`"),
        };
        let names: Vec<_> = score.invariants.iter().map(name).collect();
        let by = match names.is_empty() {
            true => NOTHING.to_owned(),
            false => names.join("<br>"),
        };
        let [median, most, shrunk] = score.numbers();
        let (named, seeds) = match (&score.named, score.unnamed) {
            (Some((invariant, after)), _) => (name(invariant), after.to_string()),
            (None, Some(after)) => (NOTHING.to_owned(), format!("> {after}")),
            (None, None) => (NOTHING.to_owned(), "-".to_owned()),
        };
        Row {
            cells: [by, median, most, shrunk, named, seeds],
        }
    }

    fn is_caught(&self) -> bool {
        !self.cells[0].is_empty() && self.cells[0] != NOTHING
    }

    fn is_named(&self) -> bool {
        !self.cells[4].is_empty() && self.cells[4] != NOTHING
    }

    fn number(&self, cell: usize) -> Option<u64> {
        self.cells[cell].parse().ok()
    }

    /// The rows of a table that was written before.
    pub(super) fn read(table: &str) -> Rows {
        let row = |line: &str| {
            let (name, rest) = line.strip_prefix("| [")?.split_once(']')?;
            let rest = rest.strip_suffix(" |")?;
            let cells: Vec<_> = rest.split(" | ").skip(3).map(str::to_owned).collect();
            let cells = cells.try_into().ok()?;
            Some((name.to_owned(), Row { cells }))
        };
        table.lines().filter_map(row).collect()
    }
}

/// What half of the numbers do not exceed.
fn middle(numbers: impl Iterator<Item = u64>) -> u64 {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

/// The table of these mutants, and after it why some bugs have none.
pub(super) fn table(mutants: &[Mutant], rows: &Rows, without: &str) -> String {
    let rows: Vec<_> = mutants
        .iter()
        .map(|mutant| rows.get(&mutant.name).cloned().unwrap_or_default())
        .collect();
    let count = |holds: fn(&Row) -> bool| rows.iter().filter(|row| holds(row)).count();
    let most = rows.iter().filter_map(|row| row.number(2)).max();
    let mut text = format!(
        "# Mutants\n\n\
         Mistakes made on purpose, each a patch in [`mutants/`](mutants), and what the simulator says to them.\n\
         Written by `cargo run --bin sim -- mutants --write`; do not edit.\n\n\
         {caught} of {all} caught, {named} of them by a named check, too, that is, also without the reference *model*.\n\
         Seeds of the default run until the first that fails: half of the mutants need {median} or fewer; the most that\n\
         any window of seeds took is {most}. *Median* and *most* are over disjoint windows of seeds; *left* is how many\n\
         decisions are left of the first catch when it is shrunk; then comes the first named check that saw it,\n\
         and after how many seeds: half of the mutants need {middle} or fewer.\n\n\
         | mutant | mistake | breaks | caught by | median | most | left | named check | seeds |\n\
         |---|---|---|---|---:|---:|---:|---|---:|\n",
        caught = count(Row::is_caught),
        all = mutants.len(),
        named = count(Row::is_named),
        median = middle(rows.iter().filter_map(|row| row.number(1))),
        most = most.unwrap_or(0),
        middle = middle(rows.iter().filter_map(|row| row.number(5))),
    );
    for (mutant, row) in mutants.iter().zip(&rows) {
        let Mutant {
            name,
            mistake,
            breaks,
            ..
        } = mutant;
        let cells = row.cells.join(" | ");
        writeln!(
            text,
            "| [{name}](mutants/{name}.patch) | {mistake} | {breaks} | {cells} |"
        )
        .expect("a string takes everything");
    }
    text.push('\n');
    text.push_str(without);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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
            Finding::Unnamed { after: 30 },
        ]);
        assert_eq!((score.median(), score.most()), (Some(5), Some(9)));
        assert_eq!(
            score.words(),
            "caught after 5 seeds (at most 9), shrunk to 3: a_b; NOT NAMED in 30 seeds"
        );
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let patch = "Mistake: x.\nBreaks: y\n\n--- a/z\n+++ b/z\n@@ -1,1 +1,1 @@\n-1\n+2\n";
        let mutants = ["001-a", "002-b", "003-c"].map(|name| Mutant::parse(name, patch).unwrap());
        let (invariant, after) = ("c_d".to_owned(), 12);
        let scores = [
            Score::of([caught(5), Finding::Named { after, invariant }]),
            Score::of([Finding::Missed { after: 70 }]),
        ];
        let scored = mutants.iter().zip(&scores);
        let row = |(mutant, score): (&Mutant, &Score)| (mutant.name.clone(), Row::of(score));
        let rows: Rows = scored.map(row).collect();
        let text = table(&mutants, &rows, "And so on.\n");
        assert!(
            text.contains("1 of 3 caught, 1 of them by a named check"),
            "{text}"
        );
        let mut again = Row::read(&text);
        assert_eq!(again.remove("003-c"), Some(Row::default()));
        assert_eq!(again, rows);
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
