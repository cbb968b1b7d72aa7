//! `throttle`: passes records on at a rate.
//!
//! An operator cannot ask to be called later, so it waits in the call. Barriers and cancellation wait
//! with it, for at most the time of one record.

use super::config::{Config, wrong};
use super::pacer::{Pacer, SystemClock};
use crate::sdk::{Operator, OperatorContext, OperatorError, Output, Record, State};
use jobmanager_core::id::CheckpointId;
use std::time::Duration;

/// The lowest rate: a barrier may wait for one record, and a second is as long as it should.
const LEAST_RATE: f64 = 1.0;
/// The longest sleep in one piece.
const SLICE: Duration = Duration::from_millis(10);

/// Has no state: a restored one starts at its rate.
pub(super) struct Throttle {
    pacer: Pacer,
}

impl Throttle {
    /// Reads `rate`.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        let config = Config::read(cx, &["rate"])?;
        let missing = || wrong("rate", "missing, records per second are expected");
        let rate = config.rate("rate", LEAST_RATE)?.ok_or_else(missing)?;
        Ok(Throttle {
            pacer: Pacer::new(rate, SystemClock::new()),
        })
    }
}

impl Operator for Throttle {
    fn process(
        &mut self,
        record: Record<'_>,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        self.pacer.wait_for_one(SLICE);
        output.record(record)
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut State) -> Result<(), OperatorError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::{Collected, context, value};
    use super::super::pacer::Clock;
    use super::super::pacer::tests::ManualClock;
    use super::*;
    use serde_json::json;

    #[test]
    fn every_record_passes_at_the_rate() {
        let clock = ManualClock::default();
        let mut throttle = Throttle {
            pacer: Pacer::new(50.0, clock.clone()),
        };
        let mut output = Collected::default();
        for _ in 0..100 {
            throttle.process(value("x"), &mut output).unwrap();
        }
        assert_eq!(output.records.len(), 100);
        let seconds = clock.now().as_secs_f64();
        assert!((2.0..2.1).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_rate_is_required_and_at_least_one_per_second() {
        let refused = |config| Throttle::new(&context(config)).err().unwrap().to_string();
        assert!(refused(json!({})).starts_with("config.rate: missing"));
        assert!(refused(json!({ "rate": 0.5 })).starts_with("config.rate: a number"));
    }
}
