//! `sim hunt`: how many seeds it takes until one fails, told to the program that asked.
//!
//! Run by `sim mutants` in the copy with the mistake. The seeds are those of the default run, in
//! several windows that have none in common: the window's first failing seed is a catch, and the number
//! of seeds up to it is what the catch cost. Then the first window is gone on with until a named check fails,
//! whatever the reference model says: it is not to hide that the check for a mistake is missing.

use clap::Args;
use jobmanager_sim::{Budget, Goal, Report, Run, Tier, shrink};
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
    /// Let the named checks alone judge, without the reference model.
    #[arg(long)]
    pub(super) without_model: bool,
}

/// What came of a window, or of the shrinking of its catch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// This invariant was found broken by the last of so many seeds.
    Caught { after: u64, invariant: String },
    /// None of so many seeds failed.
    Missed { after: u64 },
    /// Without the reference model, this was found broken by the last of so many seeds.
    Named { after: u64, invariant: String },
    /// Without the reference model, none of so many seeds failed.
    Unnamed { after: u64 },
    /// So many decisions are left of a catch.
    Shrunk { decisions: usize },
}

impl Finding {
    /// What came of a window.
    fn any(after: u64, caught: Option<&str>) -> Finding {
        match caught.map(str::to_owned) {
            Some(invariant) => Finding::Caught { after, invariant },
            None => Finding::Missed { after },
        }
    }

    /// What came of a window for the named checks.
    fn named(after: u64, caught: Option<&str>) -> Finding {
        match caught.map(str::to_owned) {
            Some(invariant) => Finding::Named { after, invariant },
            None => Finding::Unnamed { after },
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Caught { after, invariant } => write!(f, "caught {after} {invariant}"),
            Finding::Missed { after } => write!(f, "missed {after}"),
            Finding::Named { after, invariant } => write!(f, "named {after} {invariant}"),
            Finding::Unnamed { after } => write!(f, "unnamed {after}"),
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
        let after = number;
        match (kind, words.get(2).map(|name| (*name).to_owned())) {
            ("caught", Some(invariant)) => Ok(Finding::Caught { after, invariant }),
            ("missed", None) => Ok(Finding::Missed { after }),
            ("named", Some(invariant)) => Ok(Finding::Named { after, invariant }),
            ("unnamed", None) => Ok(Finding::Unnamed { after }),
            ("shrunk", None) => Ok(Finding::Shrunk {
                decisions: usize::try_from(number).map_err(|_| wrong())?,
            }),
            _ => Err(wrong()),
        }
    }
}

/// Who says that a run failed, of a run without the model, which looks all the same.
type Judge = fn(&Report) -> Option<&'static str>;

/// Any judge: what the model says after a check has failed is not kept.
fn any(report: &Report) -> Option<&'static str> {
    let failure = report.disagreement.as_ref().or(report.failure.as_ref())?;
    Some(failure.name)
}

/// The named checks.
fn named(report: &Report) -> Option<&'static str> {
    Some(report.failure.as_ref()?.name)
}

/// Hunts, and says each finding in a line; tells whether nothing was found.
pub(in crate::cli) fn run(arguments: &Hunt) -> bool {
    let judge = if arguments.without_model { named } else { any };
    let time = Duration::from_secs(arguments.seconds);
    let until = Instant::now() + time;
    let mut first = None;
    for window in 0..arguments.windows {
        let from = window * WINDOW;
        let (after, caught) = hunt(from, 0, arguments.seeds, until, judge);
        println!("{}", Finding::any(after, caught));
        // One that hides for so long hides in the other windows, too.
        if caught.is_none() {
            break;
        }
        first.get_or_insert((from, after));
    }
    let Some((from, after)) = first else {
        return true;
    };
    if !arguments.without_model {
        // The model often sees a mistake long before anything comes of it.
        let until = Instant::now() + time;
        let (seeds, caught) = hunt(from, after - 1, arguments.seeds, until, named);
        println!("{}", Finding::named(seeds, caught));
        if let Some(decisions) = shrunk(from + after - 1) {
            println!("{}", Finding::Shrunk { decisions });
        }
    }
    false
}

/// After how many seeds of this window, and by which name, a run failed, or how many did not. So many of
/// them are known not to.
fn hunt(
    from: u64,
    known: u64,
    seeds: u64,
    until: Instant,
    judge: Judge,
) -> (u64, Option<&'static str>) {
    for after in known + 1..=seeds {
        let seed = from + after - 1;
        let report = Run::seed(Tier::of_seed(seed), seed).without_model().run();
        let caught = judge(&report);
        if caught.is_some() || Instant::now() >= until {
            return (after, caught);
        }
    }
    (seeds, None)
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
        for finding in [
            Finding::any(7, Some("nothing_panics")),
            Finding::any(20_000, None),
            Finding::named(8, Some("nothing_panics")),
            Finding::named(30, None),
            Finding::Shrunk { decisions: 3 },
        ] {
            assert_eq!(finding.to_string().parse(), Ok(finding));
        }
        for wrong in ["", "caught 1", "missed", "shrunk x", "missed 1 2 3"] {
            assert!(wrong.parse::<Finding>().is_err(), "{wrong}");
        }
    }
}
