//! Time as the machines see it: a number that the shell passes in.

use core::fmt;
use core::ops::Add;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, as told by a clock that never goes back within one process.
///
/// The shell reads the wall clock once, when it starts, and adds the monotonic time since then. So one
/// value serves both deadlines and the times that users see; a jump of the wall clock moves neither.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// So much earlier; not before the epoch.
    #[must_use]
    pub fn back(self, duration: Duration) -> Timestamp {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_sub(millis))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    /// Saturates: a deadline beyond the end of time never comes.
    fn add(self, duration: Duration) -> Timestamp {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}
