//! Jobs that wait for slots: not longer than they may, and not while there are enough.

use super::{Step, Verdict, ensure};
use jobmanager_core::id::{JobId, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Input, JobLine};
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What one coordinator lets wait.
#[derive(Debug, Default)]
pub(super) struct Waits {
    now: Timestamp,
    /// Sessions on which something was said after the hello, whatever holds for the others.
    alive: BTreeSet<SessionId>,
    /// Since when so many tasks of a job have waited without a failure: the last one that is shown, too.
    since: BTreeMap<JobId, (Waiting, Timestamp)>,
}

/// What changes if a wait ends, or another one begins.
#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    tasks: u32,
    restarts: u64,
    failed: Option<(Timestamp, String)>,
}

impl Waits {
    /// A coordinator took a step, that gives one job so many slots at most.
    pub(super) fn stepped(
        &mut self,
        step: &Step<'_>,
        most: u32,
        longest: impl Fn(JobId) -> Option<Duration>,
    ) -> Verdict {
        self.now = self.now.max(step.now);
        self.listen(step.input);
        for job in step.coordinator.lines() {
            let goes_on = matches!(job.status, JobStatus::Running | JobStatus::Restarting);
            let waiting = job.tasks.get(ExecutionState::Scheduled);
            if waiting == 0 || !goes_on {
                self.since.remove(&job.id);
                continue;
            }
            // Those that are kept for who moves may be its own.
            let free = self
                .free(step)
                .saturating_sub(step.coordinator.slots().kept);
            // One with more tasks may have to shrink first.
            let fits = waiting <= free && job.tasks.total() <= most;
            let fits = fits && !is_behind(step.coordinator, &job);
            ensure(!fits, "a_job_that_fits_is_placed", || {
                format!(
                    "{waiting} tasks of job {} wait, {free} slots are free",
                    job.id
                )
            })?;
            self.lasts(step, &job, waiting, longest(job.id))?;
        }
        Ok(())
    }

    fn listen(&mut self, input: &Input) {
        match input {
            Input::Message { session, .. } => {
                self.alive.insert(*session);
            }
            Input::Disconnected { session } => {
                self.alive.remove(session);
            }
            Input::Connected { .. }
            | Input::Stored { .. }
            | Input::Discarded { .. }
            | Input::SavepointWritten { .. }
            | Input::Command { .. }
            | Input::Workers { .. }
            | Input::Worker { .. }
            | Input::Wake => {}
        }
    }

    /// The free slots of TaskManagers that live.
    fn free(&self, step: &Step<'_>) -> u32 {
        let all = step.coordinator.taskmanagers();
        let alive = all.filter(|it| self.alive.contains(&it.session));
        alive.map(|it| it.free_slots).sum()
    }

    fn lasts(
        &mut self,
        step: &Step<'_>,
        job: &JobLine,
        tasks: u32,
        longest: Option<Duration>,
    ) -> Verdict {
        let failed = step.coordinator.exceptions(job.id).unwrap_or_default();
        let waiting = Waiting {
            tasks,
            restarts: job.restarts,
            failed: failed
                .into_iter()
                .next()
                .map(|last| (last.at, last.message)),
        };
        let known = self.since.get(&job.id);
        let Some((_, since)) = known.filter(|(known, _)| *known == waiting) else {
            self.since.insert(job.id, (waiting, self.now));
            return Ok(());
        };
        ensure(
            longest.is_none_or(|longest| self.now <= *since + longest),
            "a_wait_for_slots_ends_in_time",
            || {
                format!(
                    "job {} has waited since {since:?}, now {:?}",
                    job.id, self.now
                )
            },
        )
    }
}

/// Whether a job of a higher priority lacks slots.
fn is_behind(coordinator: &Coordinator, job: &JobLine) -> bool {
    let own = priority_of(coordinator, job.id);
    let mut lines = coordinator.lines();
    lines.any(|line| {
        let goes_on = matches!(
            line.status,
            JobStatus::Running | JobStatus::Restarting | JobStatus::Reconciling
        );
        goes_on && lacks_slots(&line) && priority_of(coordinator, line.id) > own
    })
}

/// Whether a job has tasks that are not in any slot.
pub(super) fn lacks_slots(line: &JobLine) -> bool {
    let waiting = [
        ExecutionState::Created,
        ExecutionState::Scheduled,
        ExecutionState::Canceled,
        ExecutionState::Failed,
    ];
    waiting.into_iter().any(|state| line.tasks.get(state) > 0)
}

/// How early a job gets slots when they are few.
pub(super) fn priority_of(coordinator: &Coordinator, job: JobId) -> u32 {
    let graph = coordinator.job(job).and_then(|details| details.graph);
    graph.map_or(0, |graph| graph.config().priority)
}
