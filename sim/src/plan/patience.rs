//! Whose checkpoints are given time by acknowledgements.

use super::job::JobPlan;
use crate::tape::{Decisions, Stream};
use jobmanager_core::config::parse_duration;

/// Gives checkpoints of some jobs more time than their timeout, as long as their tasks acknowledge.
pub(crate) fn draw(decisions: &mut Decisions, jobs: &mut [JobPlan]) {
    for job in jobs {
        let wanted = decisions.chance(Stream::Patience, 300);
        let times = decisions.choice(Stream::Patience, &[2, 4, 20]);
        let timeout = job.configuration.get("execution.checkpointing.timeout");
        let timeout = timeout.and_then(|text| parse_duration(text).ok());
        if let Some(timeout) = timeout.filter(|_| wanted) {
            let key = "execution.checkpointing.max-timeout";
            let value = format!("{} ms", timeout.as_millis() * times);
            job.configuration.insert(key.to_owned(), value);
        }
    }
}
