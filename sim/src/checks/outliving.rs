//! What outlives a job: its last checkpoint, from which another one may start, and who may delete that.

use super::state::{Offsets, offsets};
use super::{Checks, History, Verdict, ensure};
use crate::dataflow::contents::Contents;
use crate::plan::JobPlan;
use jobmanager_core::id::{CheckpointId, JobId, TaskId};
use jobmanager_core::record::{CheckpointRecord, JobResult};
use jobmanager_core::state::JobStatus;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Outliving {
    /// The last checkpoint of a job that has ended, and what every task has in it.
    last: Option<(Arc<CheckpointRecord>, BTreeMap<TaskId, Contents>)>,
    /// Where that is, once it is said to be there for good.
    location: Option<String>,
    /// With what the job began, which it may delete, and where that is.
    claimed: Option<(CheckpointId, String)>,
}

impl Checks {
    /// The end of a job is durable, or what outlives it.
    pub(super) fn outlives(&mut self, result: &JobResult) -> Verdict {
        let history = self.history(result.job)?;
        if history.outliving.last.is_none() {
            history.outliving.last = history.last_checkpoint();
        }
        let Some(retained) = &result.retained else {
            return Ok(());
        };
        let last = history.outliving.last.as_ref();
        let is_last = last.is_some_and(|(record, _)| record.id == retained.checkpoint);
        let is_written = history.savepoints.is_written(&retained.location);
        history.outliving.location = Some(retained.location.clone());
        ensure(
            is_last && is_written && result.status != JobStatus::Finished,
            "what_outlives_a_job_is_its_last_checkpoint_with_metadata",
            || format!("{result:?}, last {last:?}, written: {is_written}"),
        )
    }

    /// Where the last checkpoint of a job is that has outlived it.
    pub(crate) fn outlived_at(&self, job: JobId) -> Option<&str> {
        self.jobs.get(&job)?.outliving.location.as_deref()
    }

    /// What each task had in it.
    pub(super) fn outlived(&self, job: JobId) -> Option<&BTreeMap<TaskId, Contents>> {
        let (_, states) = self.jobs.get(&job)?.outliving.last.as_ref()?;
        Some(states)
    }

    /// Where the sources of a job were in it.
    pub(crate) fn offsets_of_outlived(&self, job: JobId) -> Offsets {
        let states = self.outlived(job);
        let sources = self.jobs.get(&job).map(|history| history.sources.iter());
        let states = sources.into_iter().flatten().filter_map(|source| {
            let contents = states?.get(source)?;
            Some(offsets(source.vertex, contents))
        });
        states.flatten().collect()
    }

    /// A job will start from this and own it.
    pub(crate) fn claims(&mut self, plan: &JobPlan, id: CheckpointId, location: &str) {
        if let Some(history) = self.jobs.get_mut(&plan.id) {
            history.outliving.claimed = Some((id, location.to_owned()));
        }
    }

    /// A job deletes what it has claimed.
    pub(super) fn discards_owned(&mut self, job: JobId, location: &str) -> Verdict {
        let history = self.history(job)?;
        let claimed = history.outliving.claimed.as_ref();
        let claimed = claimed.filter(|(_, at)| at == location);
        let is_needed = claimed.is_none_or(|(id, _)| history.needs(*id));
        ensure(
            !is_needed,
            "only_the_owner_deletes_a_savepoint_and_only_once_it_has_gone_beyond",
            || {
                format!(
                    "job {job} {location}, claimed {:?}",
                    history.outliving.claimed
                )
            },
        )
    }

    /// Whether a job that has ended keeps what it has claimed, as it has not gone beyond.
    pub(crate) fn keeps_claimed(&self, job: JobId) -> bool {
        let history = self.jobs.get(&job);
        history.is_some_and(|history| {
            let claimed = history.outliving.claimed.as_ref();
            claimed.is_some_and(|(id, _)| history.needs(*id))
        })
    }

    /// Where the savepoint is that a job has claimed and has gone beyond.
    pub(crate) fn outgrown(&self, job: JobId) -> Option<&str> {
        let history = self.jobs.get(&job)?;
        let (id, location) = history.outliving.claimed.as_ref()?;
        (!history.needs(*id)).then_some(location)
    }
}

impl History {
    /// Whether the job may go on from this, or, if it has ended, could have.
    fn needs(&self, id: CheckpointId) -> bool {
        match self.result {
            Some(_) => self.latest.iter().any(|latest| latest.refers_to(id)),
            None => self.needed().contains(&id),
        }
    }

    /// The latest record, with what each task has in it.
    fn last_checkpoint(&self) -> Option<(Arc<CheckpointRecord>, BTreeMap<TaskId, Contents>)> {
        let record = self.retained.values().last()?;
        let state = |task: &TaskId| {
            let snapshot = record.regions.get(self.region(*task)?).copied()??;
            let own = self.snapshot(snapshot.checkpoint, *task);
            let contents = own.or_else(|| self.inherited(*task))?;
            Some((*task, contents.clone()))
        };
        let states = self.tasks.iter().filter_map(state);
        Some((record.clone(), states.collect()))
    }
}
