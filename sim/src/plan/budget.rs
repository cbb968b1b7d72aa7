//! Jobs that survive only so many failures: what the others' restart strategies allow is never used up.

use crate::plan::job::JobPlan;
use crate::tape::{Decisions, Stream};

/// How many failures a job survives; fewer than a coordinator remembers of one job.
const SURVIVED: [u64; 5] = [4, 2, 1, 7, 12];
/// Within which time, where that matters.
const INTERVALS: [&str; 3] = ["60 s", "10 s", "300 s"];

/// Which failures a job survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// Every one that comes.
    All,
    /// The first ones under each leader.
    First(u64),
    /// So many within so many milliseconds.
    Within(u64, u64),
    /// The first ones since the last long time without one.
    InARow(u64),
}

impl Survives {
    /// With fewer failures than this it does not end.
    #[must_use]
    pub fn fewest(self) -> Option<u64> {
        match self {
            Survives::All => None,
            Survives::First(count) | Survives::Within(count, _) | Survives::InARow(count) => {
                Some(count + 1)
            }
        }
    }
}

/// Takes from some jobs the right to fail for ever.
pub(crate) fn limit(decisions: &mut Decisions, jobs: &mut [JobPlan]) {
    for job in jobs {
        let limited = decisions.chance(Stream::Budget, 150);
        let survived = decisions.choice(Stream::Budget, &SURVIVED);
        let interval = decisions.choice(Stream::Budget, &INTERVALS);
        if limited && job.survives == Survives::All {
            job.limit(survived, interval);
        }
    }
}

impl JobPlan {
    fn limit(&mut self, survived: u64, interval: &str) {
        let strategy = self.configuration.get("restart-strategy.type").cloned();
        let strategy = strategy.unwrap_or_default();
        let mut set = |key: &str, value: String| {
            let key = format!("restart-strategy.{strategy}.{key}");
            self.configuration.insert(key, value);
        };
        self.survives = match strategy.as_str() {
            "failure-rate" => {
                set("max-failures-per-interval", survived.to_string());
                set("failure-rate-interval", interval.to_owned());
                let seconds = interval.trim_end_matches(" s").parse::<u64>();
                Survives::Within(survived, 1_000 * seconds.unwrap_or(0))
            }
            "exponential-delay" => {
                set("attempts-before-reset-backoff", survived.to_string());
                Survives::InARow(survived)
            }
            _ => {
                set("attempts", survived.to_string());
                Survives::First(survived)
            }
        };
    }

    /// Whether failures can end it.
    #[must_use]
    pub fn is_fragile(&self) -> bool {
        self.survives != Survives::All
    }
}
