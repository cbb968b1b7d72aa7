//! Spans of what is seen: of each checkpoint, of the way of a job to where all of its tasks run, at first and after a
//! failure, and of the time that a leader takes to adopt what ran before it. Names and attributes are Flink's where
//! Flink has the span.
//!
//! Begin and end of a checkpoint, of a failure and of a submission are the coordinator's. That all tasks run is known
//! when somebody looks, up to some tens of milliseconds later; and of a job that fails again on the way, there is one span
//! from the first failure on.

use super::watch::adopted;
use crate::traces::{Span, Spans, Value};
use jobmanager_core::id::{Epoch, JobId};
use jobmanager_core::jobmanager::{
    CheckpointEntry, CheckpointOutcome, Coordinator, JobDetails, JobLine,
};
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The most that is told of a failure. Characters.
const SHOWN: usize = 1_000;

/// What was seen so far, of what takes a while.
#[derive(Debug)]
pub(super) struct Tracer {
    spans: Spans,
    epoch: Epoch,
    jobs: BTreeMap<JobId, Seen>,
    takeover: Option<Takeover>,
}

/// What was seen of a job.
#[derive(Debug, Default)]
struct Seen {
    restarts: u64,
    /// When the latest failure was of which a span is, or will be.
    failed: Option<Timestamp>,
    underway: Option<Underway>,
}

/// A job on its way to where all of its tasks run.
#[derive(Debug)]
struct Underway {
    since: Timestamp,
    /// What has put it there; nothing if it was submitted.
    failure: Option<String>,
}

/// A leader that adopts what it has found.
#[derive(Debug)]
struct Takeover {
    since: Timestamp,
    jobs: BTreeSet<JobId>,
    /// Those of them that wait for their tasks to be reported.
    reconciling: BTreeSet<JobId>,
}

impl Tracer {
    /// Of a leader that begins with these jobs.
    pub(super) fn begin(
        spans: Spans,
        coordinator: &Coordinator,
        (epoch, since): (Epoch, Timestamp),
        now: Timestamp,
    ) -> Tracer {
        let live: Vec<JobLine> = coordinator
            .lines()
            .filter(|line| !line.status.is_terminal())
            .collect();
        let reconciles = |line: &&JobLine| line.status == JobStatus::Reconciling;
        let takeover = Takeover {
            since,
            jobs: live.iter().map(|line| line.id).collect(),
            reconciling: live.iter().filter(reconciles).map(|line| line.id).collect(),
        };
        let seen = |line: &JobLine| Seen {
            restarts: line.restarts,
            failed: latest_failure(coordinator, line.id),
            underway: None,
        };
        let mut tracer = Tracer {
            spans,
            epoch,
            jobs: live.iter().map(|line| (line.id, seen(line))).collect(),
            takeover: (!live.is_empty()).then_some(takeover),
        };
        tracer.adopt(coordinator, None, now);
        tracer
    }

    /// Looks at a job.
    pub(super) fn look(&mut self, coordinator: &Coordinator, job: &JobDetails, now: Timestamp) {
        let id = job.summary.id;
        if job.summary.status != JobStatus::Reconciling {
            self.adopt(coordinator, Some(id), now);
        }
        let mut seen = self.jobs.remove(&id).unwrap_or_else(|| Seen {
            underway: Some(Underway {
                since: job.summary.started,
                failure: None,
            }),
            ..Seen::default()
        });
        let all_run = all_run(job);
        if !all_run || seen.restarts != job.restarts {
            seen.failures(coordinator, id);
        }
        seen.restarts = job.restarts;
        let ended = job.summary.status.is_terminal();
        if (all_run || ended)
            && let Some(underway) = seen.underway.take()
        {
            let end = if ended { job.summary.ended } else { None };
            self.spans
                .add(arrived(coordinator, job, underway, end.unwrap_or(now)));
        }
        if !ended {
            self.jobs.insert(id, seen);
        }
    }

    /// Forgets a job.
    pub(super) fn forget(&mut self, id: JobId) {
        self.jobs.remove(&id);
    }

    /// A checkpoint has ended.
    pub(super) fn checkpoint(&self, job: &JobDetails, entry: &CheckpointEntry, at: Timestamp) {
        let (status, failure) = match &entry.outcome {
            CheckpointOutcome::InProgress => return,
            CheckpointOutcome::Completed => ("COMPLETED", None),
            CheckpointOutcome::Failed { reason, .. } => ("FAILED", Some(shortened(reason))),
        };
        let kind = match entry.is_savepoint {
            true => "Savepoint",
            false => "Checkpoint",
        };
        let mut attributes = of_job(job);
        attributes.extend([
            ("checkpointId", entry.id.0.into()),
            ("checkpointType", kind.into()),
            ("checkpointStatus", status.into()),
            ("fullSize", entry.size.into()),
            ("checkpointedSize", entry.size.into()),
            ("isUnaligned", Value::Flag(false)),
        ]);
        self.spans.add(Span {
            name: "Checkpoint",
            start: entry.triggered,
            end: at,
            failure,
            attributes,
        });
    }

    /// A job does not wait for its tasks to be reported any more; of the last one, the takeover is complete.
    fn adopt(&mut self, coordinator: &Coordinator, job: Option<JobId>, now: Timestamp) {
        let Some(mut takeover) = self.takeover.take() else {
            return;
        };
        if let Some(job) = job {
            takeover.reconciling.remove(&job);
        }
        if !takeover.reconciling.is_empty() {
            self.takeover = Some(takeover);
            return;
        }
        let jobs = takeover.jobs.iter();
        let tasks: u32 = jobs.map(|job| adopted(coordinator, *job, self.epoch)).sum();
        self.spans.add(Span {
            name: "LeaderTakeover",
            start: takeover.since,
            end: now,
            failure: None,
            attributes: vec![
                ("epoch", self.epoch.0.into()),
                ("jobs", (takeover.jobs.len() as u64).into()),
                ("adoptedTasks", u64::from(tasks).into()),
            ],
        });
    }
}

impl Seen {
    /// Notes what has failed since the last time.
    fn failures(&mut self, coordinator: &Coordinator, id: JobId) {
        let failures = coordinator.exceptions(id).unwrap_or_default();
        // The newest come first.
        let new = failures
            .iter()
            .take_while(|failure| Some(failure.at) > self.failed);
        let first = new.last();
        if let (Some(first), None) = (first, &self.underway) {
            self.underway = Some(Underway {
                since: first.at,
                failure: Some(shortened(&first.message)),
            });
        }
        self.failed = failures.first().map(|newest| newest.at).max(self.failed);
    }
}

fn latest_failure(coordinator: &Coordinator, id: JobId) -> Option<Timestamp> {
    let failures = coordinator.exceptions(id)?;
    failures.first().map(|newest| newest.at)
}

/// Whether all tasks run, or have ended well.
fn all_run(job: &JobDetails) -> bool {
    let tasks = &job.summary.tasks;
    let there = tasks.get(ExecutionState::Running) + tasks.get(ExecutionState::Finished);
    job.summary.status == JobStatus::Running && there == tasks.total()
}

/// A job has come to where all of its tasks run, or to its end.
fn arrived(
    coordinator: &Coordinator,
    job: &JobDetails,
    underway: Underway,
    end: Timestamp,
) -> Span {
    let is_lost = job.summary.status == JobStatus::Failed;
    let lost = || shortened(job.failure.as_deref().unwrap_or("the job has failed"));
    let status = match job.summary.status {
        JobStatus::Failed => "FAILED",
        JobStatus::Canceled => "CANCELED",
        JobStatus::Initializing
        | JobStatus::Created
        | JobStatus::Running
        | JobStatus::Failing
        | JobStatus::Cancelling
        | JobStatus::Finished
        | JobStatus::Restarting
        | JobStatus::Suspended
        | JobStatus::Reconciling => "COMPLETED",
    };
    let mut attributes = of_job(job);
    attributes.push(("tasks", u64::from(job.summary.tasks.total()).into()));
    attributes.push(("restarts", job.restarts.into()));
    let restored = coordinator.checkpoints(job.summary.id);
    let restored = restored.and_then(|checkpoints| checkpoints.latest_restored);
    if let Some(restored) = restored {
        attributes.push(("checkpointId", restored.checkpoint.0.into()));
    }
    let (name, of_status) = match underway.failure {
        None => ("JobInitialization", "initializationStatus"),
        Some(cause) => {
            attributes.push(("failureCause", cause.into()));
            ("JobFailover", "failoverStatus")
        }
    };
    attributes.push((of_status, status.into()));
    Span {
        name,
        start: underway.since,
        end,
        failure: is_lost.then(lost),
        attributes,
    }
}

fn of_job(job: &JobDetails) -> Vec<(&'static str, Value)> {
    let summary = &job.summary;
    vec![
        ("jobId", summary.id.to_string().into()),
        ("jobName", summary.name.as_str().into()),
    ]
}

fn shortened(words: &str) -> String {
    words.chars().take(SHOWN).collect()
}
