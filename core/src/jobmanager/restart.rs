//! Restart strategies: whether and when a region restarts after a failure.
//!
//! What a strategy remembers is volatile: a new leader starts with a clean record. The delays of
//! `exponential-delay` are integers throughout, so they are the same on every platform.

use crate::config::{ExponentialDelay, RestartStrategy};
use crate::time::Timestamp;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use core::time::Duration;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The binary places of a backoff: enough for the product of many steps to be exact where it can be,
/// few enough that one more multiplication fits 128 bits.
const FRACTION_BITS: u32 = 40;
/// The longest backoff before it is cut to the configured maximum. Milliseconds.
const LONGEST_BACKOFF_MS: u64 = 1 << 62;

/// What follows a failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Restart what failed.
    Restart {
        /// How long to wait first.
        delay: Duration,
        /// Whether the failure was counted. Otherwise it came before the restart that an earlier one
        /// had caused was due, and shares it.
        new_attempt: bool,
    },
    /// The job fails.
    GiveUp {
        /// Which limit was reached, for people.
        reason: String,
    },
}

/// The failures of one job as far as its restart strategy needs them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RestartBackoff {
    record: Record,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Record {
    None,
    FixedDelay(FixedDelayRecord),
    FailureRate(FailureRateRecord),
    ExponentialDelay(ExponentialDelayRecord),
}

impl RestartBackoff {
    /// A clean record. `seed` decides the jitter and nothing else.
    #[must_use]
    pub fn new(strategy: &RestartStrategy, seed: u64) -> Self {
        let record = match *strategy {
            RestartStrategy::None => Record::None,
            RestartStrategy::FixedDelay { attempts, delay } => {
                Record::FixedDelay(FixedDelayRecord {
                    attempts,
                    delay,
                    failures: 0,
                })
            }
            RestartStrategy::FailureRate {
                max_failures,
                interval,
                delay,
            } => Record::FailureRate(FailureRateRecord {
                max_failures,
                interval,
                delay,
                recent: VecDeque::new(),
            }),
            RestartStrategy::ExponentialDelay(ref options) => {
                Record::ExponentialDelay(ExponentialDelayRecord::new(options.clone(), seed))
            }
        };
        RestartBackoff { record }
    }

    /// Takes a failure into account. `now` never goes back.
    pub fn on_failure(&mut self, now: Timestamp) -> Decision {
        match &mut self.record {
            Record::None => give_up("none"),
            Record::FixedDelay(record) => record.on_failure(),
            Record::FailureRate(record) => record.on_failure(now),
            Record::ExponentialDelay(record) => record.on_failure(now),
        }
    }
}

fn give_up(strategy: &str) -> Decision {
    Decision::GiveUp {
        reason: format!("recovery is suppressed by restart strategy {strategy}"),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct FixedDelayRecord {
    attempts: u32,
    delay: Duration,
    failures: u64,
}

impl FixedDelayRecord {
    fn on_failure(&mut self) -> Decision {
        let FixedDelayRecord {
            attempts, delay, ..
        } = *self;
        self.failures += 1;
        if self.failures > u64::from(attempts) {
            let delay = millis(delay);
            return give_up(&format!(
                "fixed-delay(attempts={attempts}, delay={delay}ms)"
            ));
        }
        Decision::Restart {
            delay,
            new_attempt: true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct FailureRateRecord {
    max_failures: u32,
    interval: Duration,
    delay: Duration,
    /// The newest failures of the interval, between two calls at most as many as are survived.
    recent: VecDeque<Timestamp>,
}

impl FailureRateRecord {
    /// A failure that is older than the interval can no longer count, so it is forgotten at once.
    fn on_failure(&mut self, now: Timestamp) -> Decision {
        let (max_failures, interval) = (self.max_failures, self.interval);
        self.recent.push_back(now);
        self.recent
            .retain(|failure| now.since(*failure) <= interval);
        if self.recent.len() as u64 > u64::from(max_failures) {
            self.recent.pop_front();
            let (interval, delay) = (millis(interval), millis(self.delay));
            return give_up(&format!(
                "failure-rate(max-failures-per-interval={max_failures}, interval={interval}ms, delay={delay}ms)"
            ));
        }
        Decision::Restart {
            delay: self.delay,
            new_attempt: true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct ExponentialDelayRecord {
    options: ExponentialDelay,
    /// Failures counted since the delays last started from the beginning.
    failures: u64,
    /// The next delay before jitter and limits, in milliseconds with [`FRACTION_BITS`] binary places.
    backoff: u128,
    /// When the last restart is or was due; `None` before the first failure.
    next_restart: Option<Timestamp>,
    seed: u64,
    /// How many delays were drawn; each has a random stream of its own.
    draws: u64,
}

impl ExponentialDelayRecord {
    fn new(options: ExponentialDelay, seed: u64) -> Self {
        ExponentialDelayRecord {
            backoff: first_backoff(&options),
            options,
            failures: 0,
            next_restart: None,
            seed,
            draws: 0,
        }
    }

    fn on_failure(&mut self, now: Timestamp) -> Decision {
        let restart = match self.next_restart {
            Some(due) if now <= due => Decision::Restart {
                delay: due.since(now),
                new_attempt: false,
            },
            Some(_) | None => self.count(now),
        };
        let limit = self.options.attempts.map_or(u64::MAX, u64::from);
        if self.failures > limit {
            return give_up(&self.describe(limit));
        }
        restart
    }

    fn count(&mut self, now: Timestamp) -> Decision {
        let quiet = self.next_restart.map(|due| now.since(due));
        if quiet.is_some_and(|quiet| quiet >= self.options.reset_threshold) {
            self.failures = 0;
            self.backoff = first_backoff(&self.options);
        }
        let delay = Duration::from_millis(self.draw_delay());
        self.next_restart = Some(now + delay);
        self.backoff = longer(self.backoff, self.options.multiplier_permille);
        self.failures += 1;
        Decision::Restart {
            delay,
            new_attempt: true,
        }
    }

    /// The backoff with jitter, within the configured limits. Milliseconds.
    fn draw_delay(&mut self) -> u64 {
        let backoff = self.backoff >> FRACTION_BITS;
        let jitter = backoff * u128::from(self.options.jitter_permille) / 1_000;
        let lowest = narrow(backoff.saturating_sub(jitter));
        let highest = narrow(backoff + jitter);
        let drawn = lowest + self.draw_up_to(highest - lowest);
        let (initial, max) = (millis(self.options.initial), millis(self.options.max));
        drawn.min(max).max(initial)
    }

    /// Each number from 0 to `highest` (less than 2⁶⁴ − 1) with the same probability.
    fn draw_up_to(&mut self, highest: u64) -> u64 {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        let mut random = ChaCha8Rng::from_seed(seed);
        random.set_stream(self.draws);
        self.draws += 1;
        let count = u128::from(highest) + 1;
        // The numbers from here on would make the first remainders more likely than the last.
        let end = (1 << 64) / count * count;
        loop {
            let number = u128::from(random.next_u64());
            if number < end {
                return narrow(number % count);
            }
        }
    }

    fn describe(&self, limit: u64) -> String {
        let ExponentialDelay {
            initial,
            max,
            multiplier_permille: multiplier,
            ..
        } = self.options;
        let (initial, max) = (millis(initial), millis(max));
        let (whole, thousandths) = (multiplier / 1_000, multiplier % 1_000);
        format!(
            "exponential-delay(initial-backoff={initial}ms, max-backoff={max}ms, \
             backoff-multiplier={whole}.{thousandths:03}, attempts-before-reset-backoff={limit})"
        )
    }
}

fn first_backoff(options: &ExponentialDelay) -> u128 {
    u128::from(millis(options.initial)) << FRACTION_BITS
}

/// The next backoff. It stops growing where every limit has long been passed.
fn longer(backoff: u128, multiplier_permille: u32) -> u128 {
    let next = backoff * u128::from(multiplier_permille) / 1_000;
    next.min(u128::from(LONGEST_BACKOFF_MS) << FRACTION_BITS)
}

fn millis(duration: Duration) -> u64 {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    millis.min(LONGEST_BACKOFF_MS)
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).expect("twice the longest backoff fits 64 bits")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::digest::Digest;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn exponential(change: impl FnOnce(&mut ExponentialDelay)) -> RestartStrategy {
        let mut options = ExponentialDelay {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            multiplier_permille: 1_500,
            jitter_permille: 0,
            reset_threshold: Duration::from_secs(3_600),
            attempts: None,
        };
        change(&mut options);
        RestartStrategy::ExponentialDelay(options)
    }

    /// The delay in milliseconds and whether it was a new attempt; `None` for giving up.
    fn failure(backoff: &mut RestartBackoff, now: u64) -> Option<(u64, bool)> {
        match backoff.on_failure(Timestamp(now)) {
            Decision::Restart { delay, new_attempt } => Some((millis(delay), new_attempt)),
            Decision::GiveUp { .. } => None,
        }
    }

    /// Every failure comes one millisecond after the restart before it.
    fn delays(strategy: &RestartStrategy, seed: u64, count: usize) -> Vec<u64> {
        let mut backoff = RestartBackoff::new(strategy, seed);
        let mut now = 0;
        let mut next = || {
            let (delay, new_attempt) = failure(&mut backoff, now).unwrap();
            assert!(new_attempt);
            now += delay + 1;
            delay
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn exponential_delays_grow_to_their_maximum() {
        let expected = [
            1_000, 1_500, 2_250, 3_375, 5_062, 7_593, 11_390, 17_085, 25_628, 38_443, 57_665,
            60_000, 60_000,
        ];
        assert_eq!(delays(&exponential(|_| {}), 7, 13), expected);
    }

    #[test]
    fn a_product_that_is_whole_is_exact() {
        let tenth = exponential(|options| {
            options.initial = Duration::from_secs(100);
            options.max = Duration::from_secs(1_000);
            options.multiplier_permille = 1_100;
        });
        let expected = [100_000, 110_000, 121_000, 133_100, 146_410, 161_051];
        assert_eq!(delays(&tenth, 0, 6), expected);
    }

    #[test]
    fn a_failure_before_the_restart_shares_it() {
        let mut backoff = RestartBackoff::new(&exponential(|_| {}), 0);
        assert_eq!(failure(&mut backoff, 5_000), Some((1_000, true)));
        assert_eq!(failure(&mut backoff, 5_400), Some((600, false)));
        assert_eq!(failure(&mut backoff, 6_000), Some((0, false)));
        assert_eq!(failure(&mut backoff, 6_001), Some((1_500, true)));
    }

    #[test]
    fn a_quiet_time_starts_the_delays_from_the_beginning() {
        let mut backoff = RestartBackoff::new(&exponential(|_| {}), 0);
        assert_eq!(failure(&mut backoff, 0), Some((1_000, true)));
        assert_eq!(failure(&mut backoff, 1_001), Some((1_500, true)));
        let due = 2_501;
        let mut later = backoff.clone();
        assert_eq!(
            failure(&mut backoff, due + 3_599_999),
            Some((2_250, true)),
            "one millisecond too early"
        );
        assert_eq!(failure(&mut later, due + 3_600_000), Some((1_000, true)));
    }

    #[test]
    fn exponential_attempts_are_counted_since_the_last_reset() {
        let twice = exponential(|options| options.attempts = Some(2));
        let mut backoff = RestartBackoff::new(&twice, 0);
        assert_eq!(failure(&mut backoff, 0), Some((1_000, true)));
        assert_eq!(failure(&mut backoff, 500), Some((500, false)));
        assert_eq!(failure(&mut backoff, 2_000), Some((1_500, true)));
        let mut later = backoff.clone();
        assert_eq!(failure(&mut later, 9_000_000), Some((1_000, true)));
        let reason = "recovery is suppressed by restart strategy exponential-delay(initial-backoff=1000ms, max-backoff=60000ms, backoff-multiplier=1.500, attempts-before-reset-backoff=2)".into();
        let given_up = backoff.on_failure(Timestamp(5_000));
        assert_eq!(given_up, Decision::GiveUp { reason });
        assert_eq!(failure(&mut backoff, 5_001), None);
    }

    #[test]
    fn fixed_delay_restarts_as_often_as_it_may() {
        let strategy = RestartStrategy::FixedDelay {
            attempts: 2,
            delay: Duration::from_secs(2),
        };
        let mut backoff = RestartBackoff::new(&strategy, 0);
        assert_eq!(failure(&mut backoff, 0), Some((2_000, true)));
        assert_eq!(failure(&mut backoff, 1), Some((2_000, true)));
        let reason =
            "recovery is suppressed by restart strategy fixed-delay(attempts=2, delay=2000ms)"
                .into();
        let given_up = backoff.on_failure(Timestamp(2));
        assert_eq!(given_up, Decision::GiveUp { reason });
    }

    #[test]
    fn failure_rate_counts_what_lies_within_the_interval() {
        let strategy = RestartStrategy::FailureRate {
            max_failures: 2,
            interval: Duration::from_secs(60),
            delay: Duration::from_secs(1),
        };
        let mut backoff = RestartBackoff::new(&strategy, 0);
        assert_eq!(failure(&mut backoff, 0), Some((1_000, true)));
        assert_eq!(failure(&mut backoff, 30_000), Some((1_000, true)));
        let mut later = backoff.clone();
        assert_eq!(
            failure(&mut backoff, 60_000),
            None,
            "the interval is closed"
        );
        assert_eq!(failure(&mut later, 60_001), Some((1_000, true)));
        assert_eq!(failure(&mut later, 90_000), None);
        assert_eq!(failure(&mut later, 150_001), Some((1_000, true)));
    }

    #[test]
    fn failure_rate_remembers_no_more_failures_than_it_survives() {
        let mut record = FailureRateRecord {
            max_failures: 2,
            interval: Duration::from_secs(60),
            delay: Duration::ZERO,
            recent: VecDeque::new(),
        };
        for now in 0..100 {
            record.on_failure(Timestamp(now));
            assert!(record.recent.len() <= 2);
        }
    }

    #[test]
    fn none_never_restarts() {
        let mut backoff = RestartBackoff::new(&RestartStrategy::None, 0);
        let reason = "recovery is suppressed by restart strategy none".into();
        let given_up = backoff.on_failure(Timestamp(0));
        assert_eq!(given_up, Decision::GiveUp { reason });
    }

    #[test]
    fn jitter_depends_on_the_seed_alone() {
        let strategy = exponential(|options| options.jitter_permille = 100);
        assert_eq!(delays(&strategy, 1, 12), delays(&strategy, 1, 12));
        assert_ne!(delays(&strategy, 1, 12), delays(&strategy, 2, 12));
    }

    /// Seeds of the simulator stay valid only as long as these numbers do.
    #[test]
    fn jitter_does_not_change_between_releases() {
        let strategy = exponential(|options| options.jitter_permille = 500);
        let expected = [1_000, 1_000, 1_350, 2_179, 4_058, 5_897];
        assert_eq!(delays(&strategy, 42, 6), expected);
    }

    #[test]
    fn equal_records_have_equal_digests() {
        let mut one = RestartBackoff::new(&exponential(|_| {}), 3);
        let mut other = one.clone();
        failure(&mut one, 10);
        assert_ne!(Digest::of(&one), Digest::of(&other));
        failure(&mut other, 10);
        assert_eq!(Digest::of(&one), Digest::of(&other));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_part_and_the_limits(seed: u64, permille in 0_u32..=1_000) {
            let strategy = exponential(|options| {
                options.initial = Duration::from_millis(100);
                options.jitter_permille = permille;
            });
            let plain = [100, 150, 225, 337, 506, 759, 1_139];
            for (delay, plain) in delays(&strategy, seed, 7).into_iter().zip(plain) {
                let jitter = plain * u64::from(permille) / 1_000;
                prop_assert!(delay >= (plain - jitter).max(100), "{delay} {plain}");
                prop_assert!(delay <= plain + jitter, "{delay} {plain}");
            }
        }

        #[test]
        fn no_option_overflows(
            initial: u64,
            max: u64,
            multiplier_permille in 1_001_u32..=1_000_000,
            jitter_permille in 0_u32..=1_000,
        ) {
            let strategy = exponential(|options| {
                options.initial = Duration::from_millis(initial);
                options.max = Duration::from_millis(max);
                options.multiplier_permille = multiplier_permille;
                options.jitter_permille = jitter_permille;
            });
            let mut backoff = RestartBackoff::new(&strategy, 0);
            for now in [0, 1, 1 << 40, u64::MAX - 1, u64::MAX] {
                prop_assert!(failure(&mut backoff, now).is_some());
            }
        }
    }
}
