//! What can be asked for on the command line: a module for each command, with its arguments and a
//! function that tells whether all was well.

mod explore;
mod failures;
mod golden;
mod html;
mod many;
mod meta;
mod mutants;
mod one;
mod recording;
mod replay;
mod shrink;

use clap::{Args, Parser, Subcommand};
use jobmanager_sim::Tier;
use std::ops::Range;

/// Where tapes of failures go.
const OUT: &str = "target/seeds";

/// Runs the coordinator in a simulated world, where everything that can break does.
///
/// There are two tiers: control-plane, whose tasks only start, snapshot and end, and dataflow, whose
/// tasks exchange records and have their output checked. Without --tier, each seed has its tier by a
/// fixed rule: every eighth one (7, 15, …) is a dataflow run, all others are control-plane runs.
///
/// The exit code is 1 if anything failed.
#[derive(Debug, Parser)]
#[command(name = "sim", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Run this one seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    #[command(flatten)]
    tier: TierArguments,
    #[command(flatten)]
    judges: one::Judges,
    #[command(flatten)]
    one: one::One,
    #[command(flatten)]
    many: many::Many,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare the digests of the first seeds with those that are kept.
    Golden(golden::Golden),
    /// Go through every order of events in a tiny world.
    Explore(explore::Explore),
    /// Run seeds twice and compare.
    Meta(meta::Meta),
    /// Make mistakes on purpose and look whether they are seen.
    Mutants(mutants::Mutants),
    /// Count the seeds until one fails.
    #[command(hide = true)]
    Hunt(mutants::Hunt),
    /// Run what a tape or a flight recording says.
    Replay(replay::Replay),
    /// Find the smallest run that fails as one does.
    Shrink(shrink::Shrink),
}

/// How much of a cluster is simulated.
#[derive(Debug, Clone, Copy, Args)]
struct TierArguments {
    /// Only this tier: control-plane or dataflow.
    #[arg(long)]
    tier: Option<Tier>,
}

impl TierArguments {
    fn of(self, seed: u64) -> Tier {
        self.tier.unwrap_or_else(|| Tier::of_seed(seed))
    }
}

/// Does what the command line asks for; tells whether all was well.
pub(crate) fn run() -> bool {
    let arguments = Arguments::parse();
    match (arguments.command, arguments.seed) {
        (Some(Command::Golden(golden)), _) => golden::run(&golden),
        (Some(Command::Explore(explore)), _) => explore::run(&explore),
        (Some(Command::Meta(meta)), _) => meta::run(&meta),
        (Some(Command::Mutants(mutants)), _) => mutants::run(&mutants),
        (Some(Command::Hunt(hunt)), _) => mutants::hunt(&hunt),
        (Some(Command::Replay(replay)), _) => replay::run(&replay),
        (Some(Command::Shrink(shrink)), _) => shrink::run(&shrink),
        (None, Some(seed)) => one::run(
            arguments.tier.of(seed),
            seed,
            arguments.judges,
            &arguments.one,
        ),
        (None, None) => many::run(arguments.tier, arguments.judges, &arguments.many),
    }
}

/// Seeds from the first one up to, not including, the last one.
fn range(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let ends = text.split_once("..");
    let range = ends.and_then(|(first, end)| Some(number(first)?..number(end)?));
    range
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "two numbers, the smaller one first, are expected: 0..1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_line_is_well_defined() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_range_of_seeds_has_two_ends_and_is_not_empty() {
        assert_eq!(range("3..5"), Ok(3..5));
        for wrong in ["3", "5..3", "3..3", "a..b", "..", "1..2..3"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
