//! What there is at the end of a recording, as far as it can be known.
//!
//! The tasks are those in which the coordinator believes. What is durable is what the store answered for;
//! if the recording does not begin with the records, the coordinator is asked, and three things remain
//! guesses: the state of a checkpoint that was completed before (tasks restore a stand-in for it), the
//! attempts that took it (the current ones), and how many checkpoint ids are reserved (more than enough).
//! Which operators a TaskManager offers is not known either if it registered before: those of all jobs.

use super::plan;
use crate::plan::JobPlan;
use crate::replay::surroundings::Surroundings;
use jobmanager_core::graph::{JobGraph, regions};
use jobmanager_core::id::{
    Attempt, CheckpointId, JobId, SlotIndex, SubtaskIndex, TaskId, VertexIndex,
};
use jobmanager_core::jobmanager::{
    CheckpointEntry, CheckpointOutcome, Coordinator, JobDetails, SubtaskDetails, TaskManagerDetails,
};
use jobmanager_core::message::{JobTable, StateHandle, StateLocation};
use jobmanager_core::record::{
    CheckpointRecord, JobRecord, JobResult, Record, RecordKey, VertexResult,
};
use jobmanager_core::state::JobStatus;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Ids that a coordinator may have reserved beyond the last one that is known: far more than it reserves
/// at a time.
const RESERVED: u64 = 1_000;

/// A task in which the coordinator believes.
#[derive(Debug, Clone)]
pub(super) struct TaskNow {
    pub(super) id: TaskId,
    pub(super) shown: SubtaskDetails,
    /// The checkpoint from which its attempt was started, where that makes a difference.
    pub(super) restored: Option<CheckpointId>,
}

/// A job that has not ended.
#[derive(Debug, Clone)]
pub(super) struct JobNow {
    pub(super) id: JobId,
    pub(super) name: String,
    /// Its submission is.
    pub(super) is_durable: bool,
    pub(super) graph: Arc<JobGraph>,
    pub(super) table: Arc<JobTable>,
    pub(super) tasks: Vec<TaskNow>,
    /// The checkpoints under way, the first one first.
    pub(super) pending: Vec<CheckpointId>,
    /// The latest that is durable.
    pub(super) latest: Option<Arc<CheckpointRecord>>,
    /// Its state is not in the recording.
    pub(super) latest_is_guessed: bool,
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
#[derive(Debug, Default)]
pub(super) struct Situation {
    pub(super) taskmanagers: Vec<TaskManagerNow>,
    pub(super) jobs: Vec<JobNow>,
    /// Of every job that is known, ended ones included.
    pub(super) plans: Vec<JobPlan>,
    pub(super) records: Vec<Record>,
    /// What had to be guessed, for people.
    pub(super) notes: Vec<String>,
}

impl Situation {
    pub(super) fn of(coordinator: &Coordinator, told: &Surroundings) -> Situation {
        let mut situation = Situation::default();
        let mut records = told.records.clone();
        let mut graphs: BTreeMap<JobId, Arc<JobGraph>> = BTreeMap::new();
        for record in records.values() {
            if let Record::Job(job) = record {
                graphs.insert(job.graph.id(), job.graph.clone());
            }
        }
        for summary in coordinator.jobs() {
            let Some(details) = coordinator.job(summary.id) else {
                continue;
            };
            let graph = details.graph.clone();
            let job = graph.as_ref().filter(|_| !summary.status.is_terminal());
            let job = job.map(|graph| JobNow::of(coordinator, &details, graph, &records));
            if !told.knows_all_records {
                remember(coordinator, &details, job.as_ref(), told, &mut records);
            }
            match graph.or_else(|| graphs.get(&summary.id).cloned()) {
                Some(graph) => situation.plans.push(plan::job(&graph)),
                None => situation.plans.push(plan::past_job(summary.id)),
            }
            situation.jobs.extend(job);
        }
        for job in situation.jobs.iter().filter(|job| job.latest_is_guessed) {
            let id = job.latest.as_ref().map_or(0, |latest| latest.id.0);
            let (job, name) = (job.id, &job.name);
            situation.notes.push(format!(
                "the state of checkpoint {id} of job {job} ({name}) is not in the recording: tasks restore a stand-in"
            ));
        }
        situation.note_unknown_write(told);
        situation.records = records.into_values().collect();
        situation.taskmanagers = taskmanagers(coordinator, told);
        situation
    }

    /// A write that was ordered before the first state of the recording, and not answered in it, will never
    /// be answered.
    fn note_unknown_write(&mut self, told: &Surroundings) {
        if told.knows_all_records || !told.writes.is_empty() {
            return;
        }
        for job in self.jobs.iter().filter(|job| !job.is_durable) {
            self.notes.push(format!(
                "the submission of job {} ({}) was being written before the recording begins: its answer will never come",
                job.id, job.name
            ));
        }
    }

    /// The names under which something can break.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.taskmanagers.iter();
        names.map(|taskmanager| taskmanager.shown.id.0.as_str())
    }
}

impl JobNow {
    fn of(
        coordinator: &Coordinator,
        details: &JobDetails,
        graph: &Arc<JobGraph>,
        records: &BTreeMap<RecordKey, Record>,
    ) -> JobNow {
        let id = details.summary.id;
        let checkpoints = coordinator.checkpoints(id).unwrap_or_default();
        let under_way =
            |entry: &&CheckpointEntry| matches!(entry.outcome, CheckpointOutcome::InProgress);
        let pending = checkpoints.history.iter().rev().filter(under_way);
        let pending = pending.map(|entry| entry.id).collect();
        let mut tasks = tasks(coordinator, id, graph);
        let known = checkpoints.latest_completed.as_ref().and_then(|latest| {
            match records.get(&RecordKey::Checkpoint(id, latest.id))? {
                Record::Checkpoint(record) => Some(record.clone()),
                Record::Job(_)
                | Record::Cancel(_)
                | Record::CheckpointMark { .. }
                | Record::Result(_) => None,
            }
        });
        let guessed = checkpoints.latest_completed.as_ref();
        let guessed = guessed.map(|latest| Arc::new(stand_in(id, latest, graph, &tasks)));
        let latest_is_guessed = known.is_none() && guessed.is_some();
        let latest = known.or(guessed);
        let layout = regions(graph);
        for (position, task) in (0..).zip(&mut tasks) {
            let region = layout.of(position).0 as usize;
            let took = |latest: &&Arc<CheckpointRecord>| {
                latest.attempts.get(region) != Some(&task.shown.attempt)
            };
            // Whoever did not take it was deployed after it, and so from it.
            task.restored = latest.as_ref().filter(took).map(|latest| latest.id);
        }
        let ids = checkpoints.history.iter().map(|entry| entry.id);
        let others = [&checkpoints.latest_completed, &checkpoints.latest_failed];
        let others = others.into_iter().flatten().map(|entry| entry.id);
        JobNow {
            id,
            name: details.summary.name.clone(),
            is_durable: details.summary.status != JobStatus::Initializing,
            graph: graph.clone(),
            table: Arc::new(plan::table(graph)),
            tasks,
            pending,
            latest,
            latest_is_guessed,
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
            restored: None,
        })
    };
    vertices.flat_map(of_vertex).collect()
}

/// A checkpoint of which it is known only that it is complete.
fn stand_in(
    job: JobId,
    latest: &CheckpointEntry,
    graph: &JobGraph,
    tasks: &[TaskNow],
) -> CheckpointRecord {
    let layout = regions(graph);
    let mut attempts = vec![Attempt::default(); layout.count() as usize];
    for (position, task) in (0..).zip(tasks) {
        attempts[layout.of(position).0 as usize] = task.shown.attempt;
    }
    let nothing = StateHandle {
        location: StateLocation::Inline(Vec::new()),
        size: 0,
    };
    CheckpointRecord {
        job,
        id: latest.id,
        triggered: latest.triggered,
        completed: latest.latest_ack.unwrap_or(latest.triggered),
        end_of_data: tasks.iter().all(|task| task.shown.end_of_data),
        attempts,
        states: vec![nothing; tasks.len()],
    }
}

/// What must be durable of a job, for all that its coordinator shows.
fn remember(
    coordinator: &Coordinator,
    details: &JobDetails,
    job: Option<&JobNow>,
    told: &Surroundings,
    records: &mut BTreeMap<RecordKey, Record>,
) {
    let id = details.summary.id;
    let mut put = |record: Record| {
        let key = record.key();
        if !told.deleted.contains(&key) {
            records.entry(key).or_insert(record);
        }
    };
    if details.summary.status.is_terminal() {
        put(Record::Result(Arc::new(result(coordinator, details))));
        return;
    }
    // A job that is not durable yet is in the write that is under way.
    let job = job.filter(|job| job.is_durable);
    let (Some(graph), Some(job)) = (details.graph.clone(), job) else {
        return;
    };
    put(Record::Job(JobRecord {
        graph,
        submitted: details.summary.started,
    }));
    if details.summary.status == JobStatus::Cancelling {
        put(Record::Cancel(id));
    }
    put(Record::CheckpointMark {
        job: id,
        next: CheckpointId(job.last.0.saturating_add(RESERVED)),
    });
    put_latest(job, put);
}

fn put_latest(job: &JobNow, mut put: impl FnMut(Record)) {
    if let Some(latest) = &job.latest {
        put(Record::Checkpoint(latest.clone()));
    }
}

/// How a job ended, from what clients may see of it.
fn result(coordinator: &Coordinator, details: &JobDetails) -> JobResult {
    let summary = &details.summary;
    let vertices = details.vertices.iter();
    let checkpoints = coordinator.checkpoints(summary.id).unwrap_or_default();
    JobResult {
        job: summary.id,
        name: summary.name.clone(),
        status: summary.status,
        // It tells graphs apart that are submitted later: nobody submits anything here.
        computation: 0,
        started: summary.started,
        ended: summary.ended.unwrap_or(summary.last_modified),
        failure: details.failure.clone(),
        vertices: vertices
            .map(|vertex| VertexResult {
                operator_id: vertex.operator_id,
                name: vertex.name.clone(),
                parallelism: vertex.parallelism,
                max_parallelism: vertex.max_parallelism,
            })
            .collect(),
        completed_checkpoints: checkpoints.completed,
        restarts: details.restarts,
    }
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
