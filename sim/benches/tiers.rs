//! How many seeds one core runs in a second, with every check after every event: `cargo bench -p
//! jobmanager-sim`. Items per second are seeds per second.

use divan::counter::ItemsCount;
use jobmanager_sim::{Run, Tier};

/// Enough for an average: what seeds cost differs by a factor of fifty.
const SEEDS: u64 = 200;

fn main() {
    divan::main();
}

/// As `cargo test` runs them, on two to fourteen TaskManagers; ten simulated minutes; faults.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn control_plane(bencher: divan::Bencher<'_, '_>) {
    bench(bencher, Tier::ControlPlane, (0..SEEDS).collect());
}

/// The seeds among them with four TaskManagers of four slots each: the size that is compared with others.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn control_plane_four_by_four(bencher: divan::Bencher<'_, '_>) {
    let tier = Tier::ControlPlane;
    let is_so = |seed: &u64| Run::seed(tier, *seed).at_most(1).run().options.slots == [4; 4];
    let seeds = (0..).filter(is_so).take(SEEDS as usize);
    bench(bencher, tier, seeds.collect());
}

/// Records, barriers, sinks, and the oracle.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn dataflow(bencher: divan::Bencher<'_, '_>) {
    bench(bencher, Tier::Dataflow, (0..SEEDS).collect());
}

fn bench(bencher: divan::Bencher<'_, '_>, tier: Tier, seeds: Vec<u64>) {
    bencher.counter(ItemsCount::new(SEEDS)).bench(|| {
        for seed in &seeds {
            assert_eq!(Run::seed(tier, *seed).run().failure, None);
        }
    });
}
