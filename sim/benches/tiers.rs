//! How many seeds one core runs in a second, with every check after every event: `cargo bench -p
//! jobmanager-sim`. Items per second are seeds per second.

use divan::counter::ItemsCount;
use jobmanager_sim::{Run, Tier};

/// Enough for an average: what seeds cost differs by a factor of fifty.
const SEEDS: u64 = 200;

fn main() {
    divan::main();
}

/// Four TaskManagers with four slots each, mostly; ten simulated minutes; faults.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn control_plane(bencher: divan::Bencher<'_, '_>) {
    bench(bencher, Tier::ControlPlane);
}

/// Records, barriers, sinks, and the oracle.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn dataflow(bencher: divan::Bencher<'_, '_>) {
    bench(bencher, Tier::Dataflow);
}

fn bench(bencher: divan::Bencher<'_, '_>, tier: Tier) {
    bencher.counter(ItemsCount::new(SEEDS)).bench(|| {
        for seed in 0..SEEDS {
            assert_eq!(Run::seed(tier, seed).run().failure, None);
        }
    });
}
