//! Holds a subtask to a rate. It reads a clock that is passed in, so tests need no time.
//!
//! Records are paid for with tokens that time brings. Few are saved up, so a subtask that was held up
//! or has just been restored goes on at its rate instead of catching up.

use std::time::{Duration, Instant};

/// What may be saved up, as a time at the full rate. Long enough that a wait that ends late, or a
/// barrier, does not lower the rate.
const SAVED: Duration = Duration::from_millis(100);
/// The shortest wait that is asked for: at high rates a few records at a time are cheaper.
const SHORTEST_WAIT: Duration = Duration::from_millis(2);

/// Where time comes from and how it passes.
pub(super) trait Clock: Send {
    /// Time since some fixed point. Never goes back.
    fn now(&self) -> Duration;
    /// Lets that much time pass.
    fn sleep(&self, duration: Duration);
}

/// The machine's monotonic clock.
pub(super) struct SystemClock(Instant);

impl SystemClock {
    pub(super) fn new() -> Self {
        SystemClock(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// Grants records at a rate.
pub(super) struct Pacer {
    /// Records per second, more than 0.
    rate: f64,
    clock: Box<dyn Clock>,
    tokens: f64,
    /// When tokens were last added; the first request starts the count.
    counted: Option<Duration>,
}

impl Pacer {
    pub(super) fn new(rate: f64, clock: impl Clock + 'static) -> Self {
        assert!(rate > 0.0, "a rate is more than 0");
        Pacer {
            rate,
            clock: Box::new(clock),
            tokens: 0.0,
            counted: None,
        }
    }

    /// How many records may pass now, at least 1 and at most `most`; or how long to wait before asking
    /// again.
    pub(super) fn take(&mut self, most: u32) -> Result<u32, Duration> {
        let now = self.clock.now();
        let passed = now.saturating_sub(self.counted.unwrap_or(now));
        self.counted = Some(now);
        let saved = (self.rate * SAVED.as_secs_f64()).max(1.0);
        self.tokens = (self.tokens + self.rate * passed.as_secs_f64()).min(saved);
        if self.tokens < 1.0 {
            let wait = (1.0 - self.tokens) / self.rate;
            let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
            return Err(wait.max(SHORTEST_WAIT));
        }
        // Whole tokens: the conversion cuts the fraction off.
        let granted = self.tokens.min(f64::from(most)) as u32;
        self.tokens -= f64::from(granted);
        Ok(granted)
    }

    /// Waits in slices of at most `slice` until a record may pass.
    pub(super) fn wait_for_one(&mut self, slice: Duration) {
        while let Err(wait) = self.take(1) {
            self.clock.sleep(wait.min(slice));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A clock that moves only when it is told to, or slept on.
    #[derive(Clone, Default)]
    pub(in super::super) struct ManualClock(Arc<AtomicU64>);

    impl ManualClock {
        pub(in super::super) fn advance(&self, by: Duration) {
            let nanos = u64::try_from(by.as_nanos()).expect("tests pass short times");
            self.0.fetch_add(nanos, Ordering::Relaxed);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Duration {
            Duration::from_nanos(self.0.load(Ordering::Relaxed))
        }

        fn sleep(&self, duration: Duration) {
            self.advance(duration);
        }
    }

    /// How many records pass within a time, waiting as told.
    fn passed(pacer: &mut Pacer, clock: &ManualClock, time: Duration) -> u32 {
        let end = clock.now() + time;
        let mut passed = 0;
        while clock.now() < end {
            match pacer.take(256) {
                Ok(granted) => passed += granted,
                Err(wait) => clock.advance(wait),
            }
        }
        passed
    }

    #[test]
    fn a_rate_is_kept_and_not_exceeded() {
        for rate in [1_u32, 3, 100, 7_777, 1_000_000] {
            let clock = ManualClock::default();
            let mut pacer = Pacer::new(f64::from(rate), clock.clone());
            let passed = passed(&mut pacer, &clock, Duration::from_secs(10));
            assert!(passed <= rate * 10, "{passed} at {rate}");
            assert!(passed + rate / 100 + 2 >= rate * 10, "{passed} at {rate}");
        }
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        let clock = ManualClock::default();
        let mut pacer = Pacer::new(1_000.0, clock.clone());
        assert!(pacer.take(256).is_err(), "nothing is granted in advance");
        clock.advance(Duration::from_secs(3_600));
        let burst = passed(&mut pacer, &clock, Duration::from_millis(1));
        assert!(burst <= 103, "{burst}");
    }

    #[test]
    fn a_slow_rate_waits_long_at_once() {
        let clock = ManualClock::default();
        let mut pacer = Pacer::new(0.1, clock);
        assert_eq!(pacer.take(1), Err(Duration::from_secs(10)));
    }

    #[test]
    fn waiting_passes_one_record_at_a_time() {
        let clock = ManualClock::default();
        let mut pacer = Pacer::new(10.0, clock.clone());
        for _ in 0..10 {
            pacer.wait_for_one(Duration::from_millis(7));
        }
        let millis = clock.now().as_millis();
        assert!((1_000..=1_020).contains(&millis), "{millis}");
    }
}
