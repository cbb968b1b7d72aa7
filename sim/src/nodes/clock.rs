//! The clock of a process: its machine's wall clock once, at the start, and from then on a counter that
//! may run too fast, too slow, and now and then a little backwards.
//!
//! The servers tell the time in the same way, so a jump of the wall clock is seen by the next process on
//! the machine only.

use crate::marks::Mark;
use crate::plan::options::{MS, Micros};
use crate::tape::{Stream, mix};
use crate::world::World;
use jobmanager_core::time::Timestamp;

/// The true time at the start of a run, in milliseconds since the Unix epoch. Any would do that leaves
/// room for clocks that are hours behind.
const START_MS: u64 = 1_700_000_000_000;
/// A clock that is right gains this much in this much time.
const RIGHT: u64 = 1_000;
/// The farthest that a wall clock jumps, in milliseconds.
const JUMP_MS: u64 = 3_600_000;

/// What one process believes about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Thousandths of a second that it counts in a second.
    rate: u64,
    /// What the machine's wall clock shows at the true start of the run, in milliseconds.
    wall_ms: u64,
    started: Micros,
    /// What the wall clock showed when the process started.
    started_ms: u64,
    stutter: Micros,
}

impl Clock {
    /// The clock of a machine on which nothing was started yet.
    pub(crate) fn right() -> Clock {
        Clock {
            rate: RIGHT,
            wall_ms: START_MS,
            started: 0,
            started_ms: START_MS,
            stutter: 0,
        }
    }

    /// The clock of a process that goes on from elsewhere: right from now on, and showing this now.
    pub(crate) fn showing(shown: Timestamp, now: Micros) -> Clock {
        Clock {
            wall_ms: shown.0.saturating_sub(now / MS),
            started: now,
            started_ms: shown.0,
            ..Clock::right()
        }
    }

    /// How much time the process has counted since it started.
    pub(crate) fn counted(&self, now: Micros) -> Micros {
        now.saturating_sub(self.started) * self.rate / RIGHT
    }

    /// The time as the process tells the core.
    pub(crate) fn reading(&self, now: Micros) -> Timestamp {
        let back = match self.stutter {
            0 => 0,
            stutter => mix(&[now, self.started, self.rate]) % (stutter + 1),
        };
        Timestamp(self.started_ms + self.counted(now).saturating_sub(back) / MS)
    }

    /// When to wake the core for this deadline: never before `now`, and a moment later if it has passed
    /// without a reading that says so.
    pub(crate) fn due(&self, deadline: Timestamp, now: Micros) -> Micros {
        let ahead = deadline.0.saturating_sub(self.started_ms);
        let ahead = ahead.saturating_mul(MS * RIGHT).div_ceil(self.rate);
        let due = self.started.saturating_add(ahead);
        if due > now {
            due
        } else if self.reading(now) < deadline {
            now + self.stutter + MS
        } else {
            now
        }
    }

    /// The least true time in which the process can believe that so much has passed.
    pub(crate) fn at_least(&self, believed: Micros) -> Micros {
        believed.saturating_sub(self.stutter + 2 * MS) * RIGHT / self.rate
    }
}

impl World {
    /// The clock of a machine's next process.
    pub(crate) fn next_clock(&mut self, machine: &Clock, first: bool) -> Clock {
        let options = self.options.clocks.clone();
        let mut clock = *machine;
        if first && options.drift > 0 {
            let drawn = self.decisions.below(Stream::Clocks, 2 * options.drift + 1);
            // Zero is the right clock: what comes after goes to either side in turn.
            let by = drawn.div_ceil(2);
            clock.rate = if drawn.is_multiple_of(2) {
                RIGHT + by
            } else {
                RIGHT - by
            };
        }
        clock.stutter = options.stutter;
        if !self.calm && self.decisions.chance(Stream::Clocks, options.jumps) {
            self.marks.hit(Mark::ClockJumped);
            let by = JUMP_MS - self.decisions.below(Stream::Clocks, JUMP_MS);
            let forward = self.decisions.chance(Stream::Clocks, 500);
            clock.wall_ms = if forward {
                clock.wall_ms + by
            } else {
                clock.wall_ms.saturating_sub(by)
            };
        }
        clock.started = self.now;
        clock.started_ms = clock.wall_ms + self.now / MS;
        clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(rate: u64, stutter: Micros) -> Clock {
        Clock {
            rate,
            stutter,
            started: 5_000_000,
            ..Clock::right()
        }
    }

    #[test]
    fn a_deadline_is_due_when_the_reading_reaches_it_and_not_before() {
        for rate in [900, 1_000, 1_100] {
            let clock = clock(rate, 0);
            let deadline = Timestamp(START_MS + 777);
            let due = clock.due(deadline, 5_000_000);
            assert!(clock.reading(due) >= deadline);
            assert!(clock.reading(due - 1) < deadline);
        }
    }

    #[test]
    fn a_stutter_delays_an_alarm_and_never_repeats_it_at_once() {
        let clock = clock(1_000, 50 * MS);
        let deadline = Timestamp(START_MS + 777);
        let mut now = clock.due(deadline, 5_000_000);
        for _ in 0..200 {
            if clock.reading(now) >= deadline {
                return;
            }
            let next = clock.due(deadline, now);
            assert!(next > now);
            now = next;
        }
        panic!("the alarm never comes");
    }

    #[test]
    fn the_end_of_time_is_never_due() {
        let due = clock(900, 0).due(Timestamp(u64::MAX), 5_000_000);
        // Decades after the run.
        assert!(due > 1 << 50);
    }
}
