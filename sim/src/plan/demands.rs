//! Which checkpoints clients want at once.

use crate::plan::job::JobPlan;
use crate::plan::options::{MS, Micros};
use crate::tape::{Decisions, Stream};
use jobmanager_core::id::{JobId, TriggerId};
use std::fmt;

/// How often clients want one of a job, at most.
const DEMANDS: u64 = 4;

/// A checkpoint that a client wants at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemandPlan {
    /// Of this job.
    pub job: JobId,
    /// Under which name the client asks what came of it.
    pub trigger: TriggerId,
    /// When it is asked for.
    pub at: Micros,
    /// Whether it is asked for once more.
    pub again: bool,
}

/// Draws them for these jobs, which are there for so long.
pub(crate) fn draw(decisions: &mut Decisions, jobs: &[JobPlan], safety: Micros) -> Vec<DemandPlan> {
    let mut plans = Vec::new();
    for (job, number) in jobs.iter().zip(1u128..) {
        let count = decisions.choice(Stream::Demands, &[0, 0, 1, DEMANDS]);
        for index in 0..DEMANDS {
            let at = decisions.range(Stream::Demands, 100 * MS..=safety);
            let again = decisions.chance(Stream::Demands, 250);
            let plan = DemandPlan {
                job: job.id,
                trigger: TriggerId(number << 64 | 1 << 32 | u128::from(index)),
                at,
                again,
            };
            plans.extend((index < count).then_some(plan));
        }
    }
    plans
}

impl fmt::Display for DemandPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DemandPlan { job, at, again, .. } = self;
        let again = if *again { ", and once more" } else { "" };
        writeln!(f, "checkpoint   {job} at {at} us{again}")
    }
}
