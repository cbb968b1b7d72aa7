//! Which jobs go first when slots are few.

use super::job::JobPlan;
use crate::tape::{Decisions, Stream};

/// The option.
pub(super) const PRIORITY: &str = "jobmanager.scheduler.priority";

/// Gives jobs priorities, in a few runs.
pub(crate) fn draw(decisions: &mut Decisions, jobs: &mut [JobPlan]) {
    let wanted = decisions.chance(Stream::Priorities, 300);
    for job in jobs {
        let priority = decisions.choice(Stream::Priorities, &[0, 1, 2, 1_000]);
        if wanted && priority > 0 {
            let value = priority.to_string();
            job.configuration.insert(PRIORITY.to_owned(), value);
        }
    }
}
