//! `fail-once`: passes records on and throws once in the job's life, for trying recovery out.
//!
//! It throws in attempt 0 alone. The failure restarts the region under a higher attempt number, and
//! numbers are not used twice, so no later attempt throws. An attempt that starts from a checkpoint does
//! not throw either: something has run before it, even if a new coordinator counts from 0 again.

use super::config::Config;
use crate::sdk::{Operator, OperatorContext, OperatorError, Output, Record, State};
use jobmanager_core::id::CheckpointId;

/// Counts the records up to the failure. The count is not state: whoever restores one does not throw.
pub(super) struct FailOnce {
    /// How many more records pass, the last of them not; none if this subtask or attempt never throws.
    left: Option<u64>,
    after: u64,
}

impl FailOnce {
    /// Reads `afterRecords` and `subtask`.
    pub(super) fn new(cx: &OperatorContext) -> Result<Self, OperatorError> {
        let config = Config::read(cx, &["afterRecords", "subtask"])?;
        let after = config.integer("afterRecords", 1..=u64::MAX)?.unwrap_or(1);
        let subtask = config.integer("subtask", 0..=u64::from(u32::MAX))?;
        let chosen = u64::from(cx.subtask) == subtask.unwrap_or(0);
        let first = cx.attempt.attempt.number == 0 && cx.restored.is_none();
        Ok(FailOnce {
            left: (chosen && first).then_some(after),
            after,
        })
    }
}

impl Operator for FailOnce {
    fn process(
        &mut self,
        record: Record<'_>,
        output: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                self.left = None;
                let after = self.after;
                let problem = format_args!("thrown at record {after}, as configured");
                return Err(OperatorError::about("fail-once", problem));
            }
        }
        output.record(record)
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut State) -> Result<(), OperatorError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::harness::{Collected, context, restored, subtask, value};
    use super::*;
    use serde_json::json;

    /// How many of ten records pass before it throws.
    fn passed(cx: &OperatorContext) -> usize {
        let mut operator = FailOnce::new(cx).unwrap();
        let mut output = Collected::default();
        for _ in 0..10 {
            if operator.process(value("x"), &mut output).is_err() {
                break;
            }
        }
        output.records.len()
    }

    #[test]
    fn the_first_attempt_throws_at_the_configured_record() {
        assert_eq!(passed(&context(json!({}))), 0);
        assert_eq!(passed(&context(json!({ "afterRecords": 5 }))), 4);
    }

    #[test]
    fn no_other_subtask_throws() {
        assert_eq!(passed(&subtask(json!({}), 1, 2)), 10);
        assert_eq!(passed(&subtask(json!({ "subtask": 1 }), 1, 2)), 0);
        assert_eq!(passed(&subtask(json!({ "subtask": 1 }), 0, 2)), 10);
    }

    #[test]
    fn no_later_attempt_throws_with_or_without_a_checkpoint() {
        let first = context(json!({}));
        let mut later = first.clone();
        later.attempt.attempt.number = 1;
        assert_eq!(passed(&later), 10);
        let mut later = restored(&first, None);
        later.attempt.attempt.number = 0;
        assert_eq!(passed(&later), 10);
    }

    #[test]
    fn the_error_says_who_threw() {
        let mut operator = FailOnce::new(&context(json!({}))).unwrap();
        let error = operator.process(value("x"), &mut Collected::default());
        assert_eq!(
            error.unwrap_err().to_string(),
            "fail-once: thrown at record 1, as configured"
        );
    }
}
