//! How a writer that always has something to write lets others in: whoever wants to lead has to read the log and to
//! write the next entry before anybody else does, and would lose that race for as long as the writer never rests.

use super::ring::SLOTS;
use std::time::{Duration, Instant};

/// How many times as long as a write the writer rests: a rival's reading and its write fit in whenever they begin.
const REST: u32 = 3;
/// The longest rest, however slow the server is.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// How a writer has written lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How many writes there have been since the last rest.
    writes: u64,
    ended: Option<Instant>,
    took: Duration,
}

impl Pace {
    /// How long to rest before the write that is to begin now.
    pub(super) fn rest(&mut self, now: Instant) -> Duration {
        let rest = LONGEST_REST.min(self.took * REST);
        let has_rested = self.ended.is_none_or(|ended| now - ended >= rest);
        if has_rested {
            self.writes = 0;
        }
        if self.writes < SLOTS {
            return Duration::ZERO;
        }
        self.writes = 0;
        rest
    }

    /// Takes in a write.
    pub(super) fn wrote(&mut self, began: Instant, ended: Instant) {
        self.writes += 1;
        self.took = ended - began;
        self.ended = Some(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Duration = Duration::from_millis(10);

    /// The rests of a writer that pauses for as long after each write.
    fn rests(pause: Duration) -> Vec<Duration> {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let rests = (0..=2 * SLOTS).map(|_| {
            let rest = pace.rest(now);
            pace.wrote(now + rest, now + rest + WRITE);
            now += rest + WRITE + pause;
            rest
        });
        rests.filter(|rest| !rest.is_zero()).collect()
    }

    #[test]
    fn a_writer_rests_once_a_round_unless_it_does_so_by_itself() {
        assert_eq!(rests(Duration::ZERO), [WRITE * REST; 2]);
        assert_eq!(rests(WRITE * 2), [WRITE * REST; 2]);
        assert!(rests(WRITE * REST).is_empty());
    }

    #[test]
    fn no_rest_is_long() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..SLOTS {
            assert_eq!(pace.rest(now), Duration::ZERO);
            pace.wrote(now, now + LONGEST_REST);
            now += LONGEST_REST;
        }
        assert_eq!(pace.rest(now), LONGEST_REST);
    }
}
