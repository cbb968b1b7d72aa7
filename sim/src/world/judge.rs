//! The liveness phase: once faults have ended, every job goes on within a time that follows from the
//! options. RUNNING is not enough: a new checkpoint must complete, or the job must end.

use crate::plan::Tier;
use crate::plan::job::JobPlan;
use crate::plan::options::{MS, Micros, SECOND};
use crate::world::World;
use crate::world::event::Event;
use crate::world::network::STALL_LIMIT;
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::jobmanager::JobSummary;
use jobmanager_core::record::RecordKey;
use jobmanager_core::state::{ExecutionState, JobStatus};
use std::collections::BTreeMap;
use std::time::Duration;

/// From one look to the next.
const PACE: Micros = 100 * MS;

/// What was so when faults ended.
#[derive(Default)]
pub(crate) struct Judge {
    completed: BTreeMap<JobId, Option<CheckpointId>>,
    deadline: Micros,
}

impl World {
    pub(crate) fn begin_judging(&mut self) {
        for job in &self.options.jobs {
            let latest = self.checks.latest_completed(job.id);
            self.judge.completed.insert(job.id, latest);
        }
        self.judge.deadline = self.now + self.patience();
        self.queue.push(self.now + PACE, Event::Judge);
    }

    /// How long jobs may take until they go on: every timeout that may have to pass, with a margin.
    fn patience(&self) -> Micros {
        let cluster = &self.options.cluster;
        let timeouts = cluster.heartbeat_timeout * 2
            + cluster.reconciliation_timeout
            + cluster.grace_period
            + cluster.cancellation_timeout
            + cluster.registration_max * 2
            + cluster.registration_refused * 2;
        // Three rounds of checkpoints that time out: 3 × (timeout + interval), the longest ones drawn.
        let checkpoints = Duration::from_secs(match self.options.tier {
            Tier::ControlPlane => 3 * (60 + 60),
            Tier::Dataflow => 3 * (10 + 2),
        });
        let timeouts = u64::try_from((timeouts + checkpoints).as_micros()).unwrap_or(u64::MAX);
        let delays = |job: &JobPlan| 3 * job.restart_delay + 4 * job.duration();
        let jobs: Micros = self.options.jobs.iter().map(delays).sum();
        timeouts + jobs + 2 * STALL_LIMIT + 2 * self.options.clients.patience + 60 * SECOND
    }

    /// Looks whether all is well: then the run ends; after the deadline it has failed.
    pub(crate) fn judge(&mut self) {
        let mut open = self.unanswered();
        let views = self.views();
        for job in self.options.jobs.clone() {
            let view = views.get(&job.id);
            self.judge_job(&job, view, &mut open);
        }
        for (process, attempt) in self.checks.running() {
            let ended = self.checks.result(attempt.job).is_some();
            if ended || !self.checks.is_current(attempt) {
                open.push(format!("{attempt} still runs on {process:?}"));
            }
        }
        if open.is_empty() {
            self.done = true;
        } else if self.now >= self.judge.deadline {
            let detail = format!("{open:?}; {views:?}");
            self.fail("every_job_goes_on_once_faults_have_ended", detail);
        } else {
            self.queue.push(self.now + PACE, Event::Judge);
        }
    }

    /// What the current coordinator shows.
    fn views(&self) -> BTreeMap<JobId, JobSummary> {
        let current = self
            .current
            .and_then(|current| self.jobmanagers.get(&current));
        let coordinator = current.and_then(|node| node.coordinator.as_ref());
        let jobs = coordinator
            .into_iter()
            .flat_map(|coordinator| coordinator.jobs());
        jobs.map(|job| (job.id, job)).collect()
    }

    fn judge_job(&mut self, job: &JobPlan, view: Option<&JobSummary>, open: &mut Vec<String>) {
        let id = job.id;
        let result = self.checks.result(id);
        if let Some(status) = result {
            self.judge_end(job, status);
            let leftovers = [
                RecordKey::Job(id),
                RecordKey::Cancel(id),
                RecordKey::CheckpointMark(id),
            ];
            if leftovers
                .into_iter()
                .any(|key| self.store.get(key).is_some())
            {
                open.push(format!("job {id} has ended and is not cleaned up"));
            }
            return;
        }
        if job.is_bounded() || self.is_canceled(id) {
            open.push(format!("job {id} has not ended"));
            return;
        }
        let runs = view.is_some_and(|view| {
            let all = view.tasks.get(ExecutionState::Running) == view.tasks.total();
            view.status == JobStatus::Running && all
        });
        if !runs {
            open.push(format!("job {id} does not run"));
        }
        let before = self.judge.completed.get(&id).copied().flatten();
        if self.checks.latest_completed(id) <= before {
            open.push(format!(
                "job {id} has completed no checkpoint after {before:?}"
            ));
        }
    }

    fn judge_end(&mut self, job: &JobPlan, status: JobStatus) {
        if status == JobStatus::Failed && !job.fragile {
            let detail = format!("job {} may restart for ever", job.id);
            self.fail("a_job_fails_only_if_its_restart_strategy_says_so", detail);
        }
        if status != JobStatus::Canceled && self.is_canceled(job.id) {
            let detail = format!("job {} ended {status}", job.id);
            self.fail("an_accepted_cancel_is_carried_out", detail);
        }
        if status == JobStatus::Finished && !job.is_bounded() {
            let detail = format!("job {} has sources without end", job.id);
            self.fail("only_a_bounded_job_finishes", detail);
        }
    }
}
