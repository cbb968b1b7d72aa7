//! Whose last checkpoint outlives it, which jobs start from those, and which jobs claim what they start from.

use super::job::JobPlan;
use super::options::{MS, Micros};
use super::savepoints::heir;
use crate::tape::{Decisions, Stream};
use jobmanager_core::id::JobId;
use std::fmt;

/// From how many numbers a parallelism is drawn.
const RESCALES: u64 = 8;

/// What remains of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPlan {
    /// Of this one.
    pub job: JobId,
    /// So long after its last checkpoint has outlived it, another one is submitted that starts from that.
    pub successor: Option<Micros>,
    /// What the parallelism of that one is drawn from; it keeps that of the job if it is 0.
    pub rescale: u64,
    /// Whoever starts from what the job left, a savepoint or a checkpoint, claims that.
    pub claims: bool,
}

impl RetentionPlan {
    /// The job that starts from its last checkpoint, if one does.
    pub(crate) fn successor(&self, jobs: &[JobPlan]) -> Option<JobPlan> {
        self.successor?;
        heir(self.job, self.rescale, jobs)
    }
}

/// Draws what remains of each of these jobs.
pub(crate) fn draw(decisions: &mut Decisions, jobs: &mut [JobPlan]) -> Vec<RetentionPlan> {
    let mut plans = Vec::new();
    for job in jobs {
        let wanted = decisions.chance(Stream::Retentions, 400);
        let options = [
            "RETAIN_ON_CANCELLATION",
            "RETAIN_ON_CANCELLATION",
            "DELETE_ON_CANCELLATION",
            "NO_EXTERNALIZED_CHECKPOINTS",
        ];
        let retention = decisions.choice(Stream::Retentions, &options);
        let delays = [Some(0), Some(2_000 * MS), None];
        let successor = decisions.choice(Stream::Retentions, &delays);
        let rescale = decisions.below(Stream::Retentions, RESCALES);
        let claims = decisions.chance(Stream::Retentions, 500);
        if wanted {
            let key = "execution.checkpointing.externalized-checkpoint-retention";
            job.configuration
                .insert(key.to_owned(), retention.to_owned());
            plans.push(RetentionPlan {
                job: job.id,
                successor,
                rescale,
                claims,
            });
        }
    }
    plans
}

impl fmt::Display for RetentionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RetentionPlan {
            job,
            successor,
            rescale,
            claims,
        } = self;
        let claims = if *claims { "claims it" } else { "leaves it" };
        match successor {
            Some(delay) => writeln!(
                f,
                "retention    {job}, another job from its last checkpoint {delay} us later, rescale {rescale}, {claims}"
            ),
            None => writeln!(
                f,
                "retention    {job}, who starts from a savepoint {claims}"
            ),
        }
    }
}
