//! How wrong clocks are: drawn once, and lived with by every process.

use super::options::{MS, Micros};
use crate::tape::{Decisions, Stream};
use std::fmt;

/// How the clocks of JobManager and TaskManager machines behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockOptions {
    /// By how many thousandths a clock runs faster or slower than time at most.
    pub drift: u64,
    /// In how many of a thousand starts of a process the wall clock of its machine has jumped by up to an
    /// hour, forward or back.
    ///
    /// A process reads the wall clock once, when it starts, so a jump in between is first seen by its
    /// successor.
    pub jumps: u64,
    /// How far a reading may lie before an earlier one of the same process at most.
    pub stutter: Micros,
}

impl ClockOptions {
    pub(super) fn draw(decisions: &mut Decisions) -> ClockOptions {
        let mut choice = |from: &[u64]| decisions.choice(Stream::Clocks, from);
        ClockOptions {
            drift: choice(&[0, 0, 10, 100]),
            jumps: choice(&[0, 0, 200, 700]),
            stutter: choice(&[0, 0, 2 * MS, 50 * MS]),
        }
    }
}

impl fmt::Display for ClockOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClockOptions {
            drift,
            jumps,
            stutter,
        } = self;
        write!(
            f,
            "drift {drift}/1000, jumps {jumps}/1000, stutter {stutter} us"
        )
    }
}
