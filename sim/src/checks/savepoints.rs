//! What is seen of savepoints: what clients were told, what is durable, of what they are made, and that nobody
//! deletes one.

use super::shares::{Rescaled, divided};
use super::state::{Offsets, offsets};
use super::{Ack, Checks, History, Verdict, ensure};
use crate::dataflow::contents::Contents;
use crate::plan::JobPlan;
use jobmanager_core::id::{CheckpointId, JobId, TaskId, TriggerId};
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::message::{AfterSavepoint, StateHandle, SubtaskState};
use jobmanager_core::record::{CompletedSavepoint, SavepointRecord};
use jobmanager_core::savepoint::{Savepoint, SubtaskSnapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of the savepoints of a job.
#[derive(Debug, Default)]
pub(super) struct Savepoints {
    /// Those that are in the store.
    durable: BTreeMap<TriggerId, Arc<SavepointRecord>>,
    /// The locations whose metadata was written.
    written: BTreeSet<String>,
    /// The checkpoints with which it was to stop.
    stops: BTreeSet<CheckpointId>,
    /// With which the job stopped, and how.
    pub(super) stopped: Option<(CheckpointId, AfterSavepoint)>,
}

impl Savepoints {
    /// It was tried to stop the job with this checkpoint.
    pub(super) fn stops_with(&mut self, checkpoint: CheckpointId) {
        self.stops.insert(checkpoint);
    }

    /// Whether nothing comes after this checkpoint if it completes.
    pub(super) fn is_last(&self, checkpoint: CheckpointId) -> bool {
        self.stops.contains(&checkpoint)
    }

    /// Whether the job is to be drained: if that fails, it starts again.
    pub(super) fn is_drained(&self) -> bool {
        let mut all = self.durable.values();
        all.any(|record| record.after == AfterSavepoint::Drain)
    }

    /// Whether the metadata in this folder was written.
    pub(super) fn is_written(&self, location: &str) -> bool {
        self.written.contains(location)
    }

    /// Whether a coordinator knows of one that has no outcome yet.
    pub(super) fn any_wanted(&self, coordinator: &Coordinator) -> bool {
        let shown = self
            .durable
            .values()
            .map(|it| coordinator.savepoint(it.job, it.trigger));
        shown.flatten().any(|record| record.outcome.is_none())
    }
}

impl Checks {
    pub(super) fn savepoint_accepted(&mut self, job: JobId, trigger: TriggerId) -> Verdict {
        let durable = &self.history(job)?.savepoints.durable;
        ensure(
            durable.contains_key(&trigger),
            "a_savepoint_is_acknowledged_only_when_durable",
            || format!("job {job} {trigger}"),
        )
    }

    /// A record of a savepoint is in the store.
    pub(super) fn savepoint_stored(&mut self, record: &Arc<SavepointRecord>) -> Verdict {
        let (job, trigger) = (record.job, record.trigger);
        let savepoints = &mut self.history(job)?.savepoints;
        let before = savepoints.durable.insert(trigger, record.clone());
        let detail = || format!("job {job} {trigger}: {before:?}, then {record:?}");
        let outcome = before.as_ref().and_then(|before| before.outcome.as_ref());
        ensure(
            outcome.is_none_or(|outcome| record.outcome.as_ref() == Some(outcome)),
            "the_outcome_of_a_savepoint_is_final",
            detail,
        )?;
        let completed = record.outcome.as_ref().map(|outcome| &outcome.result);
        let Some(Ok(CompletedSavepoint {
            checkpoint,
            location,
            ..
        })) = completed
        else {
            return Ok(());
        };
        if record.after.stops() {
            savepoints.stopped = Some((*checkpoint, record.after));
        }
        ensure(
            savepoints.written.contains(location),
            "a_savepoint_is_complete_only_when_its_metadata_is_written",
            detail,
        )
    }

    /// A record of a savepoint is no longer in the store.
    pub(super) fn savepoint_forgotten(&mut self, job: JobId, trigger: TriggerId) -> Verdict {
        let record = self.history(job)?.savepoints.durable.remove(&trigger);
        let wanted = record.filter(|record| record.outcome.is_none());
        ensure(
            wanted.is_none(),
            "an_accepted_savepoint_is_never_forgotten",
            || format!("{wanted:?}"),
        )
    }

    /// A coordinator orders that a savepoint becomes complete.
    pub(super) fn writes_savepoint(&mut self, location: &str, savepoint: &Savepoint) -> Verdict {
        let history = self.history(savepoint.job)?;
        let id = savepoint.checkpoint;
        // The last checkpoint of a job that has ended is composed of many.
        if history.is_of_the_past(Some(id)) || history.result.is_some() {
            return Ok(());
        }
        let subtasks = savepoint.operators.iter().flat_map(|it| &it.subtasks);
        let subtasks: Vec<&SubtaskSnapshot> = subtasks.collect();
        let wrong = history.tasks.iter().zip(&subtasks).find(|(task, found)| {
            let acks = history.acknowledgements(id, **task);
            match acks.and_then(|acks| Some((acks.get(*task)?, acks))) {
                Some((ack, acks)) => {
                    let ended = acks.values().all(|ack| ack.end_of_data);
                    (&ack.state, ended) != (&found.state, found.ended)
                }
                // Of who has finished there is nothing, and nothing is left to do.
                None => {
                    let nothing = SubtaskState::Own(StateHandle::nothing());
                    found.state != nothing || !found.ended
                }
            }
        });
        ensure(
            wrong.is_none() && subtasks.len() == history.tasks.len(),
            "a_savepoint_has_what_every_task_acknowledged",
            || format!("{location}: {wrong:?}, {savepoint:?}"),
        )
    }

    /// The metadata is written: whoever finds it takes the savepoint for complete.
    pub(crate) fn savepoint_written(&mut self, job: JobId, location: &str) {
        if let Some(history) = self.jobs.get_mut(&job) {
            history.savepoints.written.insert(location.to_owned());
        }
    }

    pub(super) fn discards_savepoint(&mut self, job: JobId, location: &str) -> Verdict {
        let durable = self.history(job)?.savepoints.durable.values();
        let mut outcomes = durable.filter_map(|record| record.outcome.as_ref());
        let complete = outcomes.any(|outcome| {
            let completed = outcome.result.as_ref();
            completed.is_ok_and(|completed| completed.location == location)
        });
        ensure(!complete, "a_complete_savepoint_is_never_deleted", || {
            format!("job {job} {location}")
        })
    }

    /// Where the savepoint is with which a job stopped.
    pub(crate) fn stopped_at(&self, job: JobId) -> Option<String> {
        let savepoints = &self.jobs.get(&job)?.savepoints;
        let durable = savepoints.durable.values();
        let stopped = durable.filter(|record| record.after.stops());
        let mut completed = stopped.filter_map(|it| it.outcome.as_ref()?.result.as_ref().ok());
        completed.next().map(|completed| completed.location.clone())
    }

    /// A job will start from the savepoint with which this one stopped.
    pub(crate) fn follows(&mut self, plan: &JobPlan, savepoint: &Savepoint) {
        let (job, id) = (plan.id, savepoint.checkpoint);
        let Some(old) = self.jobs.get(&savepoint.job) else {
            return;
        };
        let state = |task: &TaskId| Some((*task, old.snapshot(id, *task)?.clone()));
        let states: BTreeMap<TaskId, Contents> = match self.outlived(savepoint.job) {
            Some(states) if old.savepoints.stopped.is_none() => states.clone(),
            Some(_) | None => old.tasks.iter().filter_map(state).collect(),
        };
        let vertices = savepoint.operators.iter().zip(&plan.vertices);
        let rescaled = vertices.map(|(old, new)| Rescaled {
            before: u32::try_from(old.subtasks.len()).expect("a handful of subtasks"),
            now: new.parallelism,
            max_parallelism: old.max_parallelism,
        });
        let states = divided(&states, &rescaled.collect::<Vec<_>>());
        let after = old.savepoints.stopped.map(|(_, after)| after);
        let drained = after == Some(AfterSavepoint::Drain);
        if let Some(history) = self.jobs.get_mut(&job) {
            history.begins_with(id, states, drained);
        }
    }

    /// With which savepoint a job stopped, and how.
    pub(crate) fn stopped(&self, job: JobId) -> Option<(CheckpointId, AfterSavepoint)> {
        self.jobs.get(&job)?.savepoints.stopped
    }

    /// The savepoints of a job that have no outcome.
    pub(crate) fn wanted_savepoints(&self, job: JobId) -> impl Iterator<Item = TriggerId> {
        let history = self.jobs.get(&job);
        let durable = history
            .into_iter()
            .flat_map(|it| it.savepoints.durable.values());
        let wanted = durable.filter(|record| record.outcome.is_none());
        wanted.map(|record| record.trigger)
    }

    /// Where the sources of a job were when a checkpoint was taken.
    pub(crate) fn offsets_at(&self, job: JobId, id: CheckpointId) -> Offsets {
        let Some(history) = self.jobs.get(&job) else {
            return Offsets::new();
        };
        let snapshot = |task: &TaskId| Some((task.vertex, history.snapshot(id, *task)?));
        let snapshots = history.sources.iter().filter_map(snapshot);
        snapshots
            .flat_map(|(source, parts)| offsets(source, parts))
            .collect()
    }
}

impl History {
    pub(super) fn recall_savepoint(&mut self, record: &Arc<SavepointRecord>) {
        if let Some(Ok(completed)) = record.outcome.as_ref().map(|outcome| &outcome.result) {
            self.savepoints.written.insert(completed.location.clone());
        }
        self.savepoints
            .durable
            .insert(record.trigger, record.clone());
    }

    /// What all of the task's region have acknowledged.
    fn acknowledgements(&self, id: CheckpointId, task: TaskId) -> Option<&BTreeMap<TaskId, Ack>> {
        self.acknowledged.get(&(self.region(task)?, id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::checks::forge::{JOB, order, running, store};
    use jobmanager_core::id::RequestId;
    use jobmanager_core::jobmanager::{Discard, Effect, Reply};
    use jobmanager_core::record::{Record, SavepointOutcome};
    use jobmanager_core::time::Timestamp;

    const TRIGGER: TriggerId = TriggerId(5);
    const LOCATION: &str = "mem:///s/1";

    fn savepoint(result: Option<Result<CompletedSavepoint, String>>) -> Record {
        let at = Timestamp(1);
        Record::Savepoint(Arc::new(SavepointRecord {
            job: JOB,
            trigger: TRIGGER,
            requested: Timestamp(0),
            directory: "mem:///s".to_owned(),
            after: AfterSavepoint::GoOn,
            outcome: result.map(|result| SavepointOutcome { at, result }),
        }))
    }

    fn complete() -> Record {
        savepoint(Some(Ok(CompletedSavepoint {
            checkpoint: CheckpointId(1),
            location: LOCATION.to_owned(),
            size: 0,
        })))
    }

    fn broken(verdict: Verdict) -> &'static str {
        verdict.unwrap_err().name
    }

    #[test]
    fn a_savepoint_that_nobody_stored_cannot_be_accepted() {
        let mut checks = running();
        let accepted = Effect::Reply {
            request: RequestId(1),
            reply: Reply::SavepointAccepted(JOB, TRIGGER),
        };
        let name = "a_savepoint_is_acknowledged_only_when_durable";
        assert_eq!(broken(order(&mut checks, &accepted)), name);
        store(&mut checks, [savepoint(None)]).unwrap();
        assert_eq!(order(&mut checks, &accepted), Ok(()));
    }

    #[test]
    fn a_savepoint_without_metadata_is_not_complete() {
        let mut checks = running();
        let name = "a_savepoint_is_complete_only_when_its_metadata_is_written";
        assert_eq!(broken(store(&mut checks, [complete()])), name);
        checks.savepoint_written(JOB, LOCATION);
        assert_eq!(store(&mut checks, [complete()]), Ok(()));
    }

    #[test]
    fn an_outcome_that_changes_is_seen() {
        let mut checks = running();
        checks.savepoint_written(JOB, LOCATION);
        store(&mut checks, [complete()]).unwrap();
        let other = savepoint(Some(Err("late".to_owned())));
        let name = "the_outcome_of_a_savepoint_is_final";
        assert_eq!(broken(store(&mut checks, [other])), name);
    }

    #[test]
    fn a_savepoint_is_deleted_only_if_it_is_not_complete() {
        let mut checks = running();
        let location = LOCATION.to_owned();
        let delete = Effect::Discard(Discard::Savepoint { job: JOB, location });
        assert_eq!(order(&mut checks, &delete), Ok(()));
        checks.savepoint_written(JOB, LOCATION);
        store(&mut checks, [complete()]).unwrap();
        let name = "a_complete_savepoint_is_never_deleted";
        assert_eq!(broken(order(&mut checks, &delete)), name);
    }

    #[test]
    fn a_savepoint_without_an_outcome_is_not_forgotten() {
        let mut checks = running();
        store(&mut checks, [savepoint(None)]).unwrap();
        let name = "an_accepted_savepoint_is_never_forgotten";
        assert_eq!(broken(checks.savepoint_forgotten(JOB, TRIGGER)), name);
    }

    #[test]
    fn a_savepoint_of_what_nobody_acknowledged_is_seen() {
        let mut checks = running();
        let savepoint = Arc::new(Savepoint {
            job: JOB,
            checkpoint: CheckpointId(1),
            triggered: Timestamp(0),
            operators: Vec::new(),
        });
        let location = LOCATION.to_owned();
        let write = Effect::WriteSavepoint {
            location,
            savepoint,
        };
        let name = "a_savepoint_has_what_every_task_acknowledged";
        assert_eq!(broken(order(&mut checks, &write)), name);
    }
}
