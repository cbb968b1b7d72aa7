//! The restart strategies once more, from their description. Where jitter leaves room, a time is a range.

use super::plan::RestartPlan;
use jobmanager_core::time::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// A time of which only a range is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) earliest: Timestamp,
    pub(super) latest: Timestamp,
}

impl Around {
    pub(super) fn exactly(at: Timestamp) -> Self {
        Around {
            earliest: at,
            latest: at,
        }
    }
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Restart { at: Around, counted: bool },
    GiveUp,
}

/// What a job has used of what its strategy allows.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    plan: RestartPlan,
    /// Failures since the count last began.
    count: u64,
    /// The last failures, no more than are needed.
    recent: VecDeque<Timestamp>,
    /// When the last restart is due, for strategies that merge failures.
    next: Option<Around>,
}

impl Budget {
    pub(super) fn new(plan: RestartPlan) -> Self {
        Budget {
            plan,
            count: 0,
            recent: VecDeque::new(),
            next: None,
        }
    }

    /// A failure. `counted` tells, if only the coordinator's draw decides, whether it counted it.
    pub(super) fn failure(&mut self, now: Timestamp, counted: bool) -> Verdict {
        let after = |delay: u64| Verdict::Restart {
            at: Around::exactly(now + Duration::from_millis(delay)),
            counted: true,
        };
        match self.plan {
            RestartPlan::Never => Verdict::GiveUp,
            RestartPlan::Fixed { attempts, delay } => {
                self.count += 1;
                if self.count <= attempts {
                    after(delay)
                } else {
                    Verdict::GiveUp
                }
            }
            RestartPlan::Rate {
                failures,
                interval,
                delay,
            } => {
                self.recent.push_back(now);
                let full = self.recent.len() as u64 > failures;
                let oldest = if full { self.recent.pop_front() } else { None };
                let soon = |oldest| now.since(oldest) <= Duration::from_millis(interval);
                if oldest.is_some_and(soon) {
                    Verdict::GiveUp
                } else {
                    after(delay)
                }
            }
            RestartPlan::Exponential { .. } => self.exponential(now, counted),
        }
    }

    fn exponential(&mut self, now: Timestamp, counted: bool) -> Verdict {
        let RestartPlan::Exponential {
            initial,
            max,
            jitter_permille,
            reset,
            attempts,
            ..
        } = self.plan
        else {
            return Verdict::GiveUp;
        };
        if let Some(next) = self.next {
            let merged = now <= next.earliest || (now <= next.latest && !counted);
            if merged {
                let at = Around {
                    earliest: next.earliest.max(now),
                    ..next
                };
                self.next = Some(at);
                return self.within(attempts, at, false);
            }
            if now.since(next.latest) >= Duration::from_millis(reset) {
                self.count = 0;
            }
        }
        let backoff = self.backoff();
        let jitter = backoff * u128::from(jitter_permille) / 1_000;
        // One more for what truncation may hide.
        let bound = |delay: u128| {
            let delay = u64::try_from(delay).unwrap_or(u64::MAX);
            now + Duration::from_millis(delay.min(max).max(initial))
        };
        let at = Around {
            earliest: bound(backoff.saturating_sub(jitter + 1)),
            latest: bound(backoff + jitter + 1),
        };
        self.next = Some(at);
        self.count += 1;
        self.within(attempts, at, true)
    }

    fn within(&self, attempts: u64, at: Around, counted: bool) -> Verdict {
        if self.count <= attempts {
            Verdict::Restart { at, counted }
        } else {
            Verdict::GiveUp
        }
    }

    /// The next delay without jitter, in milliseconds.
    fn backoff(&self) -> u128 {
        let RestartPlan::Exponential {
            initial,
            max,
            multiplier_permille,
            ..
        } = self.plan
        else {
            return 0;
        };
        // In billionths of a millisecond, and never far beyond the maximum.
        let scale = 1_000_000_000;
        let mut backoff = u128::from(initial) * scale;
        for _ in 0..self.count {
            if backoff > 2 * u128::from(max) * scale {
                break;
            }
            backoff = backoff * u128::from(multiplier_permille) / 1_000;
        }
        backoff / scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(verdict: Verdict) -> Option<(u64, u64)> {
        match verdict {
            Verdict::Restart { at, .. } => Some((at.earliest.0, at.latest.0)),
            Verdict::GiveUp => None,
        }
    }

    #[test]
    fn a_rate_counts_what_lies_within_the_interval() {
        let mut budget = Budget::new(RestartPlan::Rate {
            failures: 2,
            interval: 60_000,
            delay: 1_000,
        });
        let mut failure = |now| at(budget.failure(Timestamp(now), true)).is_some();
        assert!(failure(0) && failure(30_000));
        assert!(failure(60_001), "the first one is too long ago");
        assert!(!failure(90_000), "the interval is closed");
    }

    #[test]
    fn exponential_delays_grow_and_failures_before_the_restart_share_it() {
        let mut budget = Budget::new(RestartPlan::Exponential {
            initial: 1_000,
            max: 60_000,
            multiplier_permille: 1_500,
            jitter_permille: 0,
            reset: 3_600_000,
            attempts: 100,
        });
        let first = budget.failure(Timestamp(0), true);
        assert_eq!(at(first), Some((1_000, 1_001)));
        let shared = budget.failure(Timestamp(400), true);
        let counted = matches!(shared, Verdict::Restart { counted: true, .. });
        assert!(!counted, "it came before the restart");
        let second = budget.failure(Timestamp(2_000), true);
        assert_eq!(at(second), Some((3_499, 3_501)));
        let later = budget.failure(Timestamp(9_000_000), true);
        assert_eq!(at(later), Some((9_001_000, 9_001_001)), "it starts again");
    }

    #[test]
    fn a_fixed_number_of_restarts_is_not_exceeded() {
        let mut budget = Budget::new(RestartPlan::Fixed {
            attempts: 1,
            delay: 5,
        });
        assert_eq!(at(budget.failure(Timestamp(7), true)), Some((12, 12)));
        assert_eq!(at(budget.failure(Timestamp(7), true)), None);
    }
}
