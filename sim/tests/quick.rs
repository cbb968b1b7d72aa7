//! A few seeds of the default run: the shortest answer to whether the machines under test still work.

use jobmanager_sim::{Run, Tier};

/// How many seeds. Enough for every kind of fault to come up, and over in seconds.
const SEEDS: u64 = 100;

#[test]
fn the_first_seeds_of_the_default_run_are_well() {
    for seed in 0..SEEDS {
        let tier = Tier::of_seed(seed);
        let report = Run::seed(tier, seed).run();
        assert_eq!(report.failure, None, "sim --seed {seed} --tier {tier}");
    }
}
