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

    /// When [`Self::now`] will have reached `time`; at once if it has.
    #[must_use]
    pub fn instant(&self, time: Timestamp) -> Option<Instant> {
        // One more millisecond: `now` cuts fractions off, and waking before the deadline is no use.
        let ahead = time.since(Timestamp(self.started_ms)) + std::time::Duration::from_millis(1);
        self.started.checked_add(ahead)
    }
}
