//! Which jobs go first when slots are few, and how many one gets.

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

/// Limits the slots of one job, in a few runs, to no fewer than each of these can do with.
pub(crate) fn quota(decisions: &mut Decisions, jobs: &[JobPlan], is_rescaled: bool) -> u32 {
    let wanted = decisions.chance(Stream::Quotas, 200);
    let more = decisions.choice(Stream::Quotas, &[0, 1, 2]);
    let least = jobs.iter().map(JobPlan::least_slots).max().unwrap_or(0);
    match wanted && !is_rescaled {
        true => least + more,
        false => u32::MAX,
    }
}
