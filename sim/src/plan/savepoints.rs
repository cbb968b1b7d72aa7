//! Which savepoints clients want, which jobs they stop with one, and which jobs start where those stopped.

use crate::plan::Tier;
use crate::plan::job::JobPlan;
use crate::plan::options::{MS, Micros};
use crate::tape::{Decisions, Stream};
use jobmanager_core::id::{JobId, TriggerId};
use jobmanager_core::jobmanager::SavepointRequest;
use jobmanager_core::message::AfterSavepoint;
use jobmanager_core::state::JobStatus;
use std::fmt;

/// Savepoints of a job with which it goes on, at most.
const SAVEPOINTS: u64 = 3;

/// From how many numbers a parallelism is drawn.
const RESCALES: u64 = 8;

/// When a savepoint is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At this time.
    At(Micros),
    /// When a client sees this of its job.
    Sees(Sight),
}

/// What a client can see of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It is in this state.
    Status(JobStatus),
    /// A part of it has nothing left to do.
    PartEnds,
}

/// A savepoint that clients want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavepointPlan {
    /// What is asked for.
    pub request: SavepointRequest,
    /// When.
    pub when: When,
    /// How often it is asked for once more.
    pub repeats: u64,
    /// So long after its job stopped with it, another one is submitted that starts from it.
    pub successor: Option<Micros>,
    /// What the parallelism of that one is drawn from; it keeps that of the job if it is 0.
    pub rescale: u64,
}

impl SavepointPlan {
    /// The job that starts from it, if one does. What it computes, the job of the savepoint did.
    pub(crate) fn successor(&self, jobs: &[JobPlan]) -> Option<JobPlan> {
        self.successor?;
        heir(self.request.job, self.rescale, jobs)
    }
}

/// The job that starts where this one ended, with a parallelism that is drawn from a number, unless that is 0.
pub(super) fn heir(job: JobId, rescale: u64, jobs: &[JobPlan]) -> Option<JobPlan> {
    let mut plan = jobs.iter().find(|known| known.id == job)?.clone();
    plan.id = JobId(plan.id.0 + 1);
    // There must be room for it.
    let others = (0..RESCALES).map(|turn| plan.rescaled(rescale + turn * RESCALES));
    let mut others = others.filter(|other| other.slots() <= plan.slots());
    let fitting = others.next();
    Some(fitting.filter(|_| rescale > 0).unwrap_or(plan))
}

/// Draws them for these jobs, which are there for so long.
pub(crate) fn draw(
    tier: Tier,
    decisions: &mut Decisions,
    jobs: &[JobPlan],
    safety: Micros,
) -> Vec<SavepointPlan> {
    let mut plans = Vec::new();
    for (job, number) in jobs.iter().zip(1u128..) {
        let counts = match tier {
            Tier::ControlPlane => [0, 0, 1, SAVEPOINTS],
            Tier::Dataflow => [0, 0, 1, 2],
        };
        let count = decisions.choice(Stream::Savepoints, &counts);
        for at in 0..SAVEPOINTS {
            let plan = one(decisions, job.id, safety, number << 64 | u128::from(at));
            plans.extend((at < count).then_some(plan));
        }
        let stops = decisions.chance(Stream::Savepoints, 200);
        let mut last = one(
            decisions,
            job.id,
            safety,
            number << 64 | u128::from(SAVEPOINTS),
        );
        let after = [AfterSavepoint::Suspend, AfterSavepoint::Drain];
        last.request.after = decisions.choice(Stream::Savepoints, &after);
        let delays = [None, None, Some(0), Some(2_000 * MS)];
        last.successor = decisions.choice(Stream::Successors, &delays);
        // Only jobs of several parts ever show this.
        let sees = decisions.chance(Stream::Successors, 300);
        if sees {
            last.when = When::Sees(Sight::PartEnds);
            last.successor = last.successor.or(Some(0));
        }
        last.rescale = decisions.below(Stream::Rescales, RESCALES);
        plans.extend((stops || sees).then_some(last));
    }
    plans
}

fn one(decisions: &mut Decisions, job: JobId, safety: Micros, trigger: u128) -> SavepointPlan {
    let at = decisions.range(Stream::Savepoints, 100 * MS..=safety);
    let statuses = [
        JobStatus::Running,
        JobStatus::Restarting,
        JobStatus::Reconciling,
        JobStatus::Initializing,
        JobStatus::Cancelling,
    ];
    let status = decisions.choice(Stream::Savepoints, &statuses);
    let when = match decisions.chance(Stream::Savepoints, 250) {
        true => When::Sees(Sight::Status(status)),
        false => When::At(at),
    };
    SavepointPlan {
        request: SavepointRequest {
            job,
            trigger: TriggerId(trigger),
            directory: "mem:///savepoints/".to_owned(),
            after: AfterSavepoint::GoOn,
        },
        when,
        repeats: decisions.choice(Stream::Savepoints, &[0, 0, 1, 2]),
        successor: None,
        rescale: 0,
    }
}

impl fmt::Display for SavepointPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SavepointRequest { job, after, .. } = &self.request;
        let (when, repeats) = (&self.when, self.repeats);
        write!(
            f,
            "savepoint    {job} {after:?} {when:?}, {repeats} times more"
        )?;
        match self.successor {
            Some(delay) => {
                let rescale = self.rescale;
                writeln!(
                    f,
                    ", another job from it {delay} us later, rescale {rescale}"
                )
            }
            None => writeln!(f),
        }
    }
}
