//! `sim meta A..B`: the same seed is the same run, or else the first thing that differs is told.

use super::TierArguments;
use clap::Args;
use jobmanager_sim::{Difference, Entry, Run, difference};
use std::ops::Range;

#[derive(Debug, Args)]
pub(super) struct Meta {
    /// These seeds, the last one excluded: `0..1000`.
    #[arg(value_parser = super::range)]
    seeds: Range<u64>,
    #[command(flatten)]
    tier: TierArguments,
}

pub(super) fn run(arguments: &Meta) -> bool {
    let mut different = 0;
    for seed in arguments.seeds.clone() {
        let tier = arguments.tier.of(seed);
        let run = Run::seed(tier, seed);
        if let Some(difference) = difference(&run, &run) {
            println!("seed {seed} --tier {tier} is not the same run twice");
            tell(&difference);
            different += 1;
        }
    }
    let total = arguments.seeds.end - arguments.seeds.start;
    println!("{total} seeds, {different} differ");
    different == 0
}

fn tell(difference: &Difference) {
    let Difference {
        events,
        first,
        second,
    } = difference;
    println!("    among events {}..{}", events.start, events.end);
    let entry = |entry: &Option<Entry>| match entry {
        Some(entry) => entry.to_string(),
        None => "nothing: it differs in another way each time".to_owned(),
    };
    println!("    the first time  {}", entry(first));
    println!("    the second time {}", entry(second));
}
