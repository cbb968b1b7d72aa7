//! The only clock: the wall clock once, at the start, and the monotonic time since then.

use jobmanager_core::time::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time as the core wants it; never goes back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    /// Milliseconds since the Unix epoch.
    started_ms: u64,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            started: Instant::now(),
            started_ms: wall.map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.started_ms) + self.started.elapsed()
    }

    /// When [`Self::now`] reaches `time`; nothing for a time that never comes.
    #[must_use]
    pub fn instant(&self, time: Timestamp) -> Option<Instant> {
        let ahead = time.since(Timestamp(self.started_ms));
        self.started.checked_add(ahead)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_time_is_reached_at_its_instant_and_the_end_of_time_never() {
        let clock = Clock::start();
        let soon = Timestamp(clock.started_ms) + Duration::from_millis(5);
        let expected = clock.started + Duration::from_millis(5);
        assert_eq!(clock.instant(soon), Some(expected));
        assert_eq!(clock.instant(Timestamp(0)), Some(clock.started));
        let later = clock.instant(Timestamp(u64::MAX));
        assert!(later.is_none_or(|later| later > expected));
        assert!(clock.now() >= Timestamp(clock.started_ms));
    }
}
