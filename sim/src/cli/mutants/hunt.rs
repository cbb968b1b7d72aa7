//! `sim hunt`: how many seeds it takes until one fails, told to the program that asked.
//!
//! Run by `sim mutants` in the copy with the mistake. The seeds are those of the default run, in
//! several windows that have none in common: the window's first failing seed is a catch, and the number
//! of seeds up to it is what the catch cost.

use clap::Args;
use jobmanager_sim::{Budget, Goal, Run, Tier, shrink};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The distance between the first seeds of two windows.
const WINDOW: u64 = 10_000_000;

#[derive(Debug, Args)]
pub(in crate::cli) struct Hunt {
    /// In how many windows.
    #[arg(long, default_value_t = 5)]
    pub(super) windows: u64,
    /// Seeds of a window at the most.
    #[arg(long, default_value_t = 20_000)]
    pub(super) seeds: u64,
    /// Start no more seeds after this many seconds.
    #[arg(long, default_value_t = 300)]
    pub(super) seconds: u64,
}

/// What came of a window, or of the shrinking of its catch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// This invariant was found broken by the last of so many seeds.
    Caught { after: u64, invariant: String },
    /// None of so many seeds failed.
    Missed { after: u64 },
    /// So many decisions are left of a catch.
    Shrunk { decisions: usize },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Caught { after, invariant } => write!(f, "caught {after} {invariant}"),
            Finding::Missed { after } => write!(f, "missed {after}"),
            Finding::Shrunk { decisions } => write!(f, "shrunk {decisions}"),
        }
    }
}

impl FromStr for Finding {
    type Err = String;

    fn from_str(line: &str) -> Result<Finding, String> {
        let wrong = || format!("`{line}` is not a finding");
        let words: Vec<_> = line.split(' ').collect();
        let (kind, number) = match words[..] {
            [kind, number] | [kind, number, _] => (kind, number.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        };
        match (kind, words.get(2)) {
            ("caught", Some(invariant)) => Ok(Finding::Caught {
                after: number,
                invariant: (*invariant).to_owned(),
            }),
            ("missed", None) => Ok(Finding::Missed { after: number }),
            ("shrunk", None) => Ok(Finding::Shrunk {
                decisions: usize::try_from(number).map_err(|_| wrong())?,
            }),
            _ => Err(wrong()),
        }
    }
}

/// Hunts, and says each finding in a line; tells whether nothing was found.
pub(in crate::cli) fn run(arguments: &Hunt) -> bool {
    let started = Instant::now();
    let until = started + Duration::from_secs(arguments.seconds);
    let mut first = None;
    for window in 0..arguments.windows {
        let from = window * WINDOW;
        let finding = hunt(from, arguments.seeds, until);
        println!("{finding}");
        match finding {
            Finding::Caught { after, .. } => {
                first.get_or_insert(from + after - 1);
            }
            // One that hides for so long hides in the other windows, too.
            Finding::Missed { .. } => break,
            Finding::Shrunk { .. } => {}
        }
    }
    if let Some(decisions) = first.and_then(shrunk) {
        println!("{}", Finding::Shrunk { decisions });
    }
    first.is_none()
}

fn hunt(from: u64, seeds: u64, until: Instant) -> Finding {
    for after in 1..=seeds {
        let seed = from + after - 1;
        let report = Run::seed(Tier::of_seed(seed), seed).run();
        if let Some(failure) = report.failure {
            let invariant = failure.name.to_owned();
            return Finding::Caught { after, invariant };
        }
        if Instant::now() >= until {
            return Finding::Missed { after };
        }
    }
    Finding::Missed { after: seeds }
}

/// How many decisions are left of a run that fails.
fn shrunk(seed: u64) -> Option<usize> {
    let tier = Tier::of_seed(seed);
    let report = Run::seed(tier, seed).run();
    let goal = Goal::Breaks(report.failure.clone()?);
    shrink(tier, &report, goal, Budget::default()).map(|shrunk| shrunk.decisions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let invariant = "nothing_panics".to_owned();
        for finding in [
            Finding::Caught {
                after: 7,
                invariant,
            },
            Finding::Missed { after: 20_000 },
            Finding::Shrunk { decisions: 3 },
        ] {
            assert_eq!(finding.to_string().parse(), Ok(finding));
        }
        for wrong in ["", "caught 1", "missed", "shrunk x", "missed 1 2 3"] {
            assert!(wrong.parse::<Finding>().is_err(), "{wrong}");
        }
    }
}
