//! What there is at the end of a recording, as far as it can be known.
//!
//! The tasks are those in which the coordinator believes, and what is durable is what it knows to be. Which
//! operators a TaskManager offers is not known if it registered before the recording begins: those of all
//! jobs.

use super::plan;
use crate::plan::JobPlan;
use crate::replay::surroundings::Surroundings;
use jobmanager_core::graph::{JobGraph, regions};
use jobmanager_core::id::{CheckpointId, JobId, SlotIndex, SubtaskIndex, TaskId, VertexIndex};
use jobmanager_core::jobmanager::{
    CheckpointEntry, CheckpointOutcome, Coordinator, JobDetails, Stored, SubtaskDetails,
    TaskManagerDetails,
};
use jobmanager_core::message::JobTable;
use jobmanager_core::record::{Record, RegionSnapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A task in which the coordinator believes.
#[derive(Debug, Clone)]
pub(super) struct TaskNow {
    pub(super) id: TaskId,
    pub(super) shown: SubtaskDetails,
    /// Those of one region take checkpoints together.
    pub(super) region: usize,
    /// The latest durable snapshot of its region.
    pub(super) latest: Option<RegionSnapshot>,
    /// The checkpoint from which its attempt was started, where that makes a difference.
    pub(super) restored: Option<CheckpointId>,
}

/// A job that has not ended.
#[derive(Debug, Clone)]
pub(super) struct JobNow {
    pub(super) id: JobId,
    pub(super) name: String,
    pub(super) graph: Arc<JobGraph>,
    pub(super) table: Arc<JobTable>,
    pub(super) tasks: Vec<TaskNow>,
    /// The checkpoints that are under way of some regions at least, the first one first.
    pub(super) pending: Vec<CheckpointId>,
    /// The last id that was used, as far as that is known.
    pub(super) last: CheckpointId,
}

/// A registered TaskManager.
#[derive(Debug, Clone)]
pub(super) struct TaskManagerNow {
    pub(super) shown: TaskManagerDetails,
    pub(super) operators: Vec<String>,
}

/// Everything at the end of a recording.
#[derive(Debug)]
pub(super) struct Situation {
    pub(super) taskmanagers: Vec<TaskManagerNow>,
    pub(super) jobs: Vec<JobNow>,
    /// Of every job that is known, ended ones included.
    pub(super) plans: Vec<JobPlan>,
    /// What is durable, and the write that may add to it.
    pub(super) stored: Stored,
}

impl Situation {
    pub(super) fn of(coordinator: &Coordinator, told: &Surroundings) -> Situation {
        let stored = coordinator.what_is_stored();
        let (mut jobs, mut plans) = (Vec::new(), Vec::new());
        for summary in coordinator.jobs() {
            let Some(details) = coordinator.job(summary.id) else {
                continue;
            };
            let graph = details.graph.clone();
            let job = graph.as_ref().filter(|_| !summary.status.is_terminal());
            jobs.extend(job.map(|graph| JobNow::of(coordinator, &details, graph, &stored)));
            let graph = graph.or_else(|| {
                let mut records = stored.records.iter();
                records.find_map(|record| match record {
                    Record::Job(job) if job.graph.id() == summary.id => Some(job.graph.clone()),
                    Record::Job(_)
                    | Record::Cancel(_)
                    | Record::Rescale(_)
                    | Record::CheckpointMark { .. }
                    | Record::Checkpoint(_)
                    | Record::Savepoint(_)
                    | Record::Result(_) => None,
                })
            });
            plans.push(match graph {
                Some(graph) => plan::job(&graph),
                None => plan::past_job(summary.id),
            });
        }
        Situation {
            taskmanagers: taskmanagers(coordinator, told),
            jobs,
            plans,
            stored,
        }
    }

    /// The names under which something can break.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.taskmanagers.iter();
        names.map(|taskmanager| taskmanager.shown.id.0.as_str())
    }
}

impl TaskNow {
    /// Those of these checkpoints that the task's region may have under way.
    pub(super) fn pending(&self, job: &JobNow) -> Vec<CheckpointId> {
        let latest = self.latest.map(|latest| latest.checkpoint);
        let pending = job.pending.iter().copied();
        pending.filter(|id| Some(*id) > latest).collect()
    }
}

impl JobNow {
    fn of(
        coordinator: &Coordinator,
        details: &JobDetails,
        graph: &Arc<JobGraph>,
        stored: &Stored,
    ) -> JobNow {
        let id = details.summary.id;
        let checkpoints = coordinator.checkpoints(id).unwrap_or_default();
        // What one region has completed another one may still have under way.
        let under_way = |entry: &&CheckpointEntry| match entry.outcome {
            CheckpointOutcome::InProgress | CheckpointOutcome::Completed => true,
            CheckpointOutcome::Failed { .. } => false,
        };
        let pending = checkpoints.history.iter().rev().filter(under_way);
        let pending = pending.map(|entry| entry.id).collect();
        let mut tasks = tasks(coordinator, id, graph);
        let completed = stored.records.iter().filter_map(|record| match record {
            Record::Checkpoint(record) if record.job == id => Some(record),
            Record::Checkpoint(_)
            | Record::Job(_)
            | Record::Cancel(_)
            | Record::Rescale(_)
            | Record::CheckpointMark { .. }
            | Record::Savepoint(_)
            | Record::Result(_) => None,
        });
        let latest = completed.max_by_key(|record| record.id);
        let layout = regions(graph);
        for (position, task) in (0..).zip(&mut tasks) {
            let region = layout.of(position);
            task.region = region.0 as usize;
            task.latest = latest.and_then(|latest| latest.region(region));
            let later = |latest: &RegionSnapshot| latest.attempt != Some(task.shown.attempt);
            // Whoever did not take it was deployed after it, and so from it.
            task.restored = task.latest.filter(later).map(|latest| latest.checkpoint);
        }
        let ids = checkpoints.history.iter().map(|entry| entry.id);
        let others = [&checkpoints.latest_completed, &checkpoints.latest_failed];
        let others = others.into_iter().flatten().map(|entry| entry.id);
        JobNow {
            id,
            name: details.summary.name.clone(),
            graph: graph.clone(),
            table: Arc::new(plan::table(graph)),
            tasks,
            pending,
            last: ids.chain(others).max().unwrap_or(CheckpointId(0)),
        }
    }
}

/// The tasks by position.
fn tasks(coordinator: &Coordinator, job: JobId, graph: &JobGraph) -> Vec<TaskNow> {
    let vertices = (0..).map(VertexIndex).take(graph.vertices().len());
    let of_vertex = |vertex| {
        let subtasks = coordinator.subtasks(job, vertex).unwrap_or_default();
        subtasks.into_iter().map(move |shown| TaskNow {
            id: TaskId {
                vertex,
                subtask: SubtaskIndex(shown.subtask.0),
            },
            shown,
            region: 0,
            latest: None,
            restored: None,
        })
    };
    vertices.flat_map(of_vertex).collect()
}

fn taskmanagers(coordinator: &Coordinator, told: &Surroundings) -> Vec<TaskManagerNow> {
    let jobs = coordinator.jobs().filter_map(|job| coordinator.job(job.id));
    let graphs = jobs.filter_map(|details| details.graph);
    let needed: BTreeSet<String> = graphs
        .flat_map(|graph| {
            let vertices = graph.vertices().iter();
            vertices
                .map(|vertex| vertex.operator.clone())
                .collect::<Vec<_>>()
        })
        .collect();
    let taskmanager = |shown: TaskManagerDetails| {
        let hello = told.hellos.get(&shown.session);
        let offered = hello.map(|hello| hello.operators.clone());
        let operators = offered.unwrap_or_else(|| needed.iter().cloned().collect());
        TaskManagerNow { shown, operators }
    };
    coordinator.taskmanagers().map(taskmanager).collect()
}

/// A place that a finished task may have: where it was is not known, and makes no difference.
pub(super) const ANYWHERE: SlotIndex = SlotIndex(0);
