//! What came of a recording that went on.

use super::situation::{JobNow, Situation};
use crate::checks::oracle::Failure;
use crate::plan::Micros;
use crate::trace::{Entry, Timeline};
use crate::world::World;
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::jobmanager::{Coordinator, JobDetails};
use jobmanager_core::state::{ExecutionState, JobStatus};
use std::fmt;

/// What came of a recording that went on in a simulated world.
#[derive(Debug)]
pub struct Continued {
    /// The broken promise, if any was broken.
    pub failure: Option<Failure>,
    /// The jobs that had not ended when the recording did.
    pub jobs: Vec<JobAfter>,
    /// The name of each TaskManager, by its number in the log.
    pub taskmanagers: Vec<String>,
    /// The chained digest of every input and output after the recording.
    pub digest: u64,
    /// How late it was at the end, in microseconds since the start of the recording.
    pub until: Micros,
    /// How many events there were.
    pub events: u64,
    /// What happened; empty unless it was asked for. Times count from the start of the recording.
    pub log: Vec<Entry>,
    /// What lay between; empty without a log.
    pub timeline: Timeline,
}

impl Continued {
    /// Whether no promise was broken and every job is as it should be.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.failure.is_none() && self.jobs.iter().all(|job| job.problem.is_none())
    }
}

/// A job at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAfter {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: String,
    /// What it is, if there is a JobManager that says so.
    pub status: Option<JobStatus>,
    /// The last of its checkpoints that were completed after everything that broke, if every region has
    /// completed one.
    pub checkpoint: Option<CheckpointId>,
    /// Why this is not as it should be: it has failed, does not run, or has completed no checkpoint.
    pub problem: Option<String>,
}

impl fmt::Display for JobAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JobAfter { id, name, .. } = self;
        write!(f, "{id} ({name}): ")?;
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str("nobody knows")?,
        }
        if let Some(checkpoint) = self.checkpoint {
            write!(f, ", checkpoint {} is new", checkpoint.0)?;
        }
        match &self.problem {
            Some(problem) => write!(f, "; {problem}"),
            None => Ok(()),
        }
    }
}

/// The jobs at the end.
pub(super) struct Outcome(Vec<JobAfter>);

impl Outcome {
    pub(super) fn of(world: &World, situation: &Situation) -> Outcome {
        let leads = world.current.and_then(|it| world.jobmanagers.get(&it));
        let coordinator = leads.and_then(|node| node.coordinator.as_ref());
        let job = |job: &JobNow| job_after(world, coordinator, job);
        Outcome(situation.jobs.iter().map(job).collect())
    }

    pub(super) fn report(self, world: World, situation: Situation) -> Continued {
        let taskmanagers = situation.names().map(str::to_owned).collect();
        let (digest, _, log, timeline) = world.trace.into_parts();
        Continued {
            failure: world.failure,
            jobs: self.0,
            taskmanagers,
            digest,
            until: world.now,
            events: world.events,
            log,
            timeline,
        }
    }
}

fn job_after(world: &World, coordinator: Option<&Coordinator>, job: &JobNow) -> JobAfter {
    let before = world.sequel.as_ref().map(|sequel| &sequel.completed);
    let before = before.and_then(|before| before.get(&job.id));
    // Without a stock-taking there was no time after what broke.
    let new = before.and_then(|before| world.checks.latest_since(job.id, before));
    let details = coordinator.and_then(|coordinator| coordinator.job(job.id));
    let problem = match (coordinator, &details) {
        (None, _) => Some("no JobManager leads".to_owned()),
        (Some(_), None) => Some("the JobManager does not know it".to_owned()),
        (Some(coordinator), Some(details)) => problem(coordinator, details, new),
    };
    JobAfter {
        id: job.id,
        name: job.name.clone(),
        status: details.map(|details| details.summary.status),
        checkpoint: new,
        problem,
    }
}

/// What is wrong with a job, in the words of its coordinator.
fn problem(
    coordinator: &Coordinator,
    details: &JobDetails,
    new: Option<CheckpointId>,
) -> Option<String> {
    let summary = &details.summary;
    let failures = coordinator.exceptions(summary.id).unwrap_or_default();
    let last = failures.into_iter().next().map(|failure| failure.message);
    match summary.status {
        JobStatus::Finished | JobStatus::Canceled => None,
        JobStatus::Failed => details
            .failure
            .clone()
            .or(last)
            .or(Some("it failed".to_owned())),
        JobStatus::Running => {
            let tasks = summary.tasks;
            let busy = tasks.get(ExecutionState::Running) + tasks.get(ExecutionState::Finished);
            if busy < tasks.total() {
                let why = details.waiting.clone().or(last).unwrap_or_default();
                return Some(format!("{busy} of {} tasks run: {why}", tasks.total()));
            }
            let graph = details.graph.as_ref();
            let interval = graph.and_then(|graph| graph.config().checkpointing.as_ref());
            let interval = interval.map(|config| config.interval)?;
            new.is_none()
                .then(|| format!("no checkpoint was completed; the interval is {interval:?}"))
        }
        JobStatus::Initializing
        | JobStatus::Created
        | JobStatus::Restarting
        | JobStatus::Failing
        | JobStatus::Cancelling
        | JobStatus::Reconciling
        | JobStatus::Suspended => {
            let store = coordinator.overview().store_problem;
            let store = store.map(|problem| format!("the store says: {problem}"));
            let why = details.waiting.clone().or(store).or(last);
            Some(why.unwrap_or_else(|| "it has not come to an end of that".to_owned()))
        }
    }
}
