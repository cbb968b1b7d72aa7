//! An observer that comes late: what was so before it came, as others tell it. To the history of a job that starts
//! from a savepoint, the one that it was taken of is past, too.
//!
//! What happened before cannot be judged, only what follows from it: no attempt or checkpoint id is used
//! twice, nothing that ended is resurrected, a restart goes on from the latest checkpoint, and the next
//! checkpoint from that one.

use super::{Ack, Checks, History};
use crate::dataflow::contents::Contents;
use crate::model::Plans;
use crate::plan::JobPlan;
use crate::world::event::Instance;
use jobmanager_core::graph::{JobGraph, regions};
use jobmanager_core::id::{Attempt, CheckpointId, Epoch, JobId, TaskId};
use jobmanager_core::record::{CheckpointRecord, Record};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A job that did not begin before the observer's eyes.
#[derive(Debug, Clone)]
pub(crate) struct PastJob {
    pub(crate) graph: Arc<JobGraph>,
    /// The last checkpoint that was triggered.
    pub(crate) last: CheckpointId,
    /// Every task that was ever deployed, with its last attempt, the checkpoint that this was started from,
    /// and the name of the TaskManager.
    pub(crate) deployed: Vec<(TaskId, Attempt, Option<CheckpointId>, String)>,
}

/// What is remembered of it.
#[derive(Debug)]
pub(super) struct Past {
    last: CheckpointId,
    /// What the tasks start from that begin with a savepoint, or with another parallelism.
    pub(super) states: Option<BTreeMap<TaskId, Contents>>,
    /// Nothing is left to do after it.
    drained: bool,
}

impl Checks {
    /// An observer of a world that is led in this epoch and holds these records.
    pub(crate) fn late(
        plans: &[JobPlan],
        epoch: Epoch,
        records: &[Record],
        jobs: &[PastJob],
    ) -> Checks {
        let history = |plan: &JobPlan| (plan.id, History::new(plan));
        let mut checks = Checks {
            jobs: plans.iter().map(history).collect(),
            // The model knows the options of simulated jobs only.
            plans: Plans::default(),
            recorded: plans.iter().map(|plan| (plan.id, plan.clone())).collect(),
            unbounded: true,
            minted: epoch,
            stored_epoch: epoch,
            ..Checks::default()
        };
        for job in jobs {
            if let Some(history) = checks.jobs.get_mut(&job.graph.id()) {
                history.recall_job(job);
            }
        }
        for record in records {
            checks.recall(record);
        }
        checks
    }

    fn recall(&mut self, record: &Record) {
        let Some(history) = self.jobs.get_mut(&record.key().job()) else {
            return;
        };
        match record {
            Record::Savepoint(savepoint) => history.recall_savepoint(savepoint),
            Record::Job(job) => {
                history.recorded = true;
                history.scale.clone_from(&job.scale);
            }
            Record::Rescale(rescale) => {
                history.rescale_recorded = true;
                history.wishes.push(rescale.bounds.clone());
            }
            Record::Cancel(_) => {
                history.cancel_recorded = true;
                history.cancel_accepted = true;
            }
            Record::CheckpointMark { next, .. } => history.mark = *next,
            Record::Checkpoint(checkpoint) => {
                history.recall_checkpoint(checkpoint);
                history.has_become_durable(checkpoint);
            }
            Record::Result(result) => history.result = Some(result.status),
        }
    }

    /// Whether a checkpoint was triggered before the observer came, so that its files are not simulated.
    pub(crate) fn is_unseen(&self, job: JobId, checkpoint: Option<CheckpointId>) -> bool {
        let history = self.jobs.get(&job);
        history.is_some_and(|history| {
            history.is_of_the_past(checkpoint) && !history.starts_from_savepoint()
        })
    }

    /// Whether it is the savepoint from which this job starts.
    pub(crate) fn is_inherited(&self, job: JobId, checkpoint: Option<CheckpointId>) -> bool {
        let history = self.jobs.get(&job);
        history.is_some_and(|history| {
            history.is_of_the_past(checkpoint) && history.starts_from_savepoint()
        })
    }

    /// Whether a job starts from a savepoint after which there is nothing left to do.
    pub(crate) fn begins_at_its_end(&self, job: JobId) -> bool {
        let history = self.jobs.get(&job);
        history.is_some_and(|history| {
            let past = history.past.as_ref();
            past.is_some_and(|past| past.drained)
        })
    }
}

impl Past {
    /// Of a job that got another parallelism.
    pub(super) fn rescaled(id: CheckpointId, states: Option<BTreeMap<TaskId, Contents>>) -> Past {
        Past {
            last: id,
            states,
            drained: false,
        }
    }
}

impl History {
    /// Whether a checkpoint was triggered before the job's history begins.
    pub(super) fn is_of_the_past(&self, checkpoint: Option<CheckpointId>) -> bool {
        let last = self.past.as_ref().map(|past| past.last);
        checkpoint.is_some_and(|id| Some(id) <= last)
    }

    /// Whether an attempt that restores this does so where the job begins. Before it got its present parallelism, it
    /// began elsewhere.
    pub(super) fn begins_from(&self, restore: Option<CheckpointId>) -> bool {
        let last = self.past.as_ref().map(|past| past.last);
        match restore {
            None => self.scale.is_none(),
            Some(_) => restore == last,
        }
    }

    /// The job starts from a savepoint with these snapshots.
    pub(super) fn begins_with(
        &mut self,
        id: CheckpointId,
        states: BTreeMap<TaskId, Contents>,
        drained: bool,
    ) {
        // Of who had finished before there is nothing.
        let tasks = self.tasks.iter();
        let nothing = tasks.map(|task| (*task, Contents::default()));
        self.past = Some(Past {
            last: id,
            states: Some(nothing.chain(states).collect()),
            drained,
        });
        self.mark = id.next();
    }

    fn starts_from_savepoint(&self) -> bool {
        let past = self.past.as_ref();
        past.is_some_and(|past| past.states.is_some())
    }

    /// What a task begins with, if that is known.
    pub(super) fn inherited(&self, task: TaskId) -> Option<&Contents> {
        self.past.as_ref()?.states.as_ref()?.get(&task)
    }

    fn recall_job(&mut self, job: &PastJob) {
        self.past = Some(Past {
            last: job.last,
            states: None,
            drained: false,
        });
        let layout = regions(&job.graph);
        let tasks = (0..layout.subtasks()).zip(&self.tasks);
        let region_of = tasks.map(|(at, task)| (*task, layout.of(at).0 as usize));
        self.region_of = region_of.collect();
        self.last_trigger = Some((job.last, Instance(0), 0));
        for (task, attempt, restored, on) in &job.deployed {
            self.highest.insert(*task, (*attempt, on.clone()));
            self.deployed.insert(*task, *attempt);
            self.own.insert((*task, *attempt));
            self.restored.insert((*task, *attempt), *restored);
        }
    }

    /// Who took part in checkpoints of the past, by a record.
    pub(super) fn recall_checkpoint(&mut self, record: &CheckpointRecord) {
        if record.states.len() != self.tasks.len() {
            return;
        }
        for (region, snapshot) in self.new_in(record) {
            if !self.is_of_the_past(Some(snapshot.checkpoint)) {
                continue;
            }
            let tasks = self.tasks.iter().zip(&record.states);
            let members = tasks.filter(|(task, _)| self.region(**task) == Some(region));
            let acks = members.map(|(task, state)| {
                let ack = Ack {
                    // Nobody takes part in what a job begins with.
                    attempt: snapshot.attempt.unwrap_or_default(),
                    state: state.clone(),
                    end_of_data: snapshot.is_final,
                };
                (*task, ack)
            });
            let acks = acks.collect();
            self.acknowledged
                .insert((region, snapshot.checkpoint), acks);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::checks::forge::{JOB, attempt_id, broken, running};

    #[test]
    fn a_start_from_what_the_savepoint_does_not_have_is_seen() {
        let mut checks = running();
        let (sink, id) = (attempt_id(1, 0), CheckpointId(7));
        let [known, other] = [2, 3].map(|number| Contents {
            groups: [(0, vec![1, number])].into(),
            ..Contents::default()
        });
        let states = BTreeMap::from([(sink.task, known.clone())]);
        let history = checks.jobs.get_mut(&JOB).unwrap();
        history.begins_with(id, states, false);
        let mut restores = |restore, state| checks.restored(sink, restore, state);
        assert_eq!(restores(Some(id), Some(&known)), Ok(()));
        let name = "a_job_starts_from_what_its_savepoint_has";
        assert_eq!(broken(restores(Some(id), Some(&other))), name);
        assert_eq!(broken(restores(Some(id), None)), name);
        assert_eq!(broken(restores(None, None)), name);
    }
}
