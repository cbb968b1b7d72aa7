//! What clients do beyond submitting their jobs and canceling some: at any time, at once, and wrongly.

use crate::plan::job::JobPlan;
use crate::tape::{Decisions, Stream};
use jobmanager_core::id::JobId;
use jobmanager_core::state::JobStatus;
use std::fmt;

/// How many requests come at once in a storm: more than a coordinator lets wait for one thing.
pub(crate) const STORM: u64 = 1_100;

/// The states in which watchers act, those first in which a job is longest.
const WATCHED: [JobStatus; 7] = [
    JobStatus::Running,
    JobStatus::Initializing,
    JobStatus::Restarting,
    JobStatus::Reconciling,
    JobStatus::Cancelling,
    JobStatus::Finished,
    JobStatus::Canceled,
];
/// Those of a job that failures can end.
const WATCHED_FRAGILE: [JobStatus; 3] = [JobStatus::Failing, JobStatus::Failed, JobStatus::Running];

/// A client that acts when a job comes into a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watcher {
    /// The job.
    pub job: JobId,
    /// The state.
    pub status: JobStatus,
    /// Whether it cancels the job; otherwise it submits it again.
    pub cancels: bool,
}

/// What further clients do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrowdOptions {
    /// How often another graph is submitted under the id of each job.
    pub conflicts: u64,
    /// How many jobs are canceled that nobody ever submitted.
    pub strangers: u64,
    /// How many clients more cancel each job that is canceled.
    pub cancels: u64,
    /// How many of a thousand clients ask once and do not wait.
    pub hasty: u64,
    /// Whether the first job is submitted by a storm of clients at once.
    pub storm: bool,
    /// Those that wait for a state.
    pub watchers: Vec<Watcher>,
}

impl CrowdOptions {
    /// Draws them for these jobs.
    pub(crate) fn draw(decisions: &mut Decisions, jobs: &[JobPlan]) -> CrowdOptions {
        let conflicts = decisions.choice(Stream::Crowd, &[0, 0, 1, 2]);
        let strangers = decisions.choice(Stream::Crowd, &[0, 0, 1, 3]);
        let cancels = decisions.choice(Stream::Crowd, &[0, 1, 2]);
        let hasty = decisions.choice(Stream::Crowd, &[0, 0, 100, 500]);
        let storm = decisions.chance(Stream::Crowd, 30);
        let mut watchers = Vec::new();
        for job in jobs {
            let (watched, permille): (&[_], _) = if job.is_fragile() {
                (&WATCHED_FRAGILE, 500)
            } else {
                (&WATCHED, 150)
            };
            let cancels = decisions.chance(Stream::Crowd, permille);
            let submits = decisions.chance(Stream::Crowd, 700);
            let at_cancel = decisions.choice(Stream::Crowd, watched);
            let at_submit = decisions.choice(Stream::Crowd, watched);
            let watcher = |status, cancels| Watcher {
                job: job.id,
                status,
                cancels,
            };
            watchers.extend(cancels.then(|| watcher(at_cancel, true)));
            watchers.extend(submits.then(|| watcher(at_submit, false)));
        }
        CrowdOptions {
            conflicts,
            strangers,
            cancels,
            hasty,
            storm,
            watchers,
        }
    }
}

impl fmt::Display for CrowdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "crowd        {} conflicts, {} strangers, {} cancels, hasty {}/1000, storm: {}",
            self.conflicts, self.strangers, self.cancels, self.hasty, self.storm
        )?;
        for watcher in &self.watchers {
            let does = if watcher.cancels { "cancel" } else { "submit" };
            writeln!(
                f,
                "  when       {} is {}: {does}",
                watcher.job, watcher.status
            )?;
        }
        Ok(())
    }
}
