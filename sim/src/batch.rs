//! Many seeds on several threads: which seeds there are, in which tier, and what came of each. What comes
//! of a seed depends neither on the others nor on the thread.

use crate::plan::Tier;
use crate::run::{Report, Run};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

/// Threads at most: reports that wait to be looked at are bounded by them.
pub const THREADS: usize = 256;

/// Seeds to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The seeds, the last one excluded.
    pub seeds: Range<u64>,
    /// The tier of all of them; each one's own in the mix if there is none.
    pub tier: Option<Tier>,
    /// On how many threads: from 1 to [`THREADS`].
    pub threads: usize,
    /// The named checks alone judge: what the reference model says does not count.
    pub without_model: bool,
}

/// A seed that has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The seed.
    pub seed: u64,
    /// The tier in which it ran.
    pub tier: Tier,
    /// What came of it.
    pub report: Report,
}

impl Batch {
    /// Runs the seeds and gives what came of each to `each`, in the order in which they end. No further seed
    /// is begun once `go_on` is false.
    pub fn run(&self, go_on: &(dyn Fn() -> bool + Sync), mut each: impl FnMut(Ended)) {
        let threads = self.threads.clamp(1, THREADS);
        let next = AtomicU64::new(self.seeds.start);
        let (sender, ended) = mpsc::sync_channel(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    while go_on() {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end || sender.send(self.ended(seed)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for ended in ended {
                each(ended);
            }
        });
    }

    fn ended(&self, seed: u64) -> Ended {
        let tier = self.tier.unwrap_or_else(|| Tier::of_seed(seed));
        let run = Run::seed(tier, seed);
        let run = if self.without_model {
            run.without_model()
        } else {
            run
        };
        let report = run.run();
        Ended { seed, tier, report }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(threads: usize) -> Vec<(u64, u64)> {
        let batch = Batch {
            seeds: 0..6,
            tier: None,
            threads,
            without_model: false,
        };
        let mut digests = Vec::new();
        batch.run(&|| true, |ended| {
            digests.push((ended.seed, ended.report.digest))
        });
        digests.sort_unstable();
        digests
    }

    #[test]
    fn every_seed_runs_once_whatever_the_threads() {
        let alone = digests(1);
        assert_eq!(alone.len(), 6);
        assert_eq!(digests(4), alone);
    }

    #[test]
    fn a_batch_that_may_not_go_on_begins_nothing() {
        let batch = Batch {
            seeds: 0..1000,
            tier: None,
            threads: 2,
            without_model: false,
        };
        batch.run(&|| false, |ended| panic!("seed {} ran", ended.seed));
    }
}
