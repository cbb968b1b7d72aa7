//! `sim meta A..B`: the same seed is the same run, or else.

use super::TierArguments;
use clap::Args;
use jobmanager_sim::Run;
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
        if run.run().digest != run.run().digest {
            println!("seed {seed} --tier {tier} is not the same run twice");
            different += 1;
        }
    }
    let total = arguments.seeds.end - arguments.seeds.start;
    println!("{total} seeds, {different} differ");
    different == 0
}
