//! Jobs: lists, details, failures.

use super::error::Answer;
use super::path::Page;
use super::plan::plan_json;
use super::vertex::io_json;
use super::{JobOf, Parameters, Rest, elapsed, hex, job_not_found, time};
use crate::metrics::Counters;
use axum::Json;
use axum::extract::State;
use jobmanager_core::digest::Digest;
use jobmanager_core::graph::{JobGraph, JobVertex};
use jobmanager_core::id::{JobId, VertexIndex};
use jobmanager_core::jobmanager::{
    Coordinator, ExceptionEntry, JobDetails, JobSummary, TaskCounts, VertexDetails,
};
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use serde_json::{Map, Value, json};

/// Flink's name of a state that attempts of ours never have: they are adopted, not reconciled.
const RECONCILING: &str = "RECONCILING";

/// `GET /jobs`
pub(super) async fn ids(State(rest): State<Rest>, page: Page) -> Answer {
    rest.look(move |coordinator, _| {
        let line =
            |job: JobSummary| json!({ "id": job.id.to_string(), "status": job.status.to_string() });
        json!({ "jobs": page.of(coordinator.jobs()).map(line).collect::<Vec<Value>>() })
    })
    .await
}

/// `GET /jobs/overview`
pub(super) async fn overview(State(rest): State<Rest>, page: Page) -> Answer {
    rest.look(move |coordinator, now| {
        let jobs = page.of(coordinator.jobs());
        let jobs: Vec<Value> = jobs.map(|job| line_json(&job, now)).collect();
        json!({ "jobs": jobs })
    })
    .await
}

/// `GET /jobs/:id/status`
pub(super) async fn status(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let view = move |coordinator: &Coordinator, _| coordinator.job(job);
    let details = rest.find(|| job_not_found(job), view).await?;
    Ok(Json(
        json!({ "status": details.summary.status.to_string() }),
    ))
}

/// `GET /jobs/:id`
pub(super) async fn details(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let view = move |coordinator: &Coordinator, now| Some((coordinator.job(job)?, now));
    let (details, now) = rest.find(|| job_not_found(job), view).await?;
    let counters = |vertex| rest.metrics.vertex(job, vertex);
    Ok(Json(details_json(&details, now, &counters)))
}

/// `GET /jobs/:id/exceptions?maxExceptions=N`
pub(super) async fn exceptions(
    State(rest): State<Rest>,
    JobOf(job): JobOf,
    parameters: Parameters,
) -> Answer {
    let max = parameters.number("maxExceptions")?.unwrap_or(usize::MAX);
    let view = move |coordinator: &Coordinator, _| {
        let entries = coordinator.exceptions(job)?;
        let endpoint = |entry: &ExceptionEntry| {
            let address = coordinator.data_address(entry.taskmanager.as_ref()?)?;
            Some(address.to_owned())
        };
        let shown: Vec<Value> = entries
            .iter()
            .take(max)
            .map(|entry| exception_json(entry, endpoint(entry)))
            .collect();
        let truncated = shown.len() < entries.len();
        Some(json!({ "exceptionHistory": { "entries": shown, "truncated": truncated } }))
    };
    Ok(Json(rest.find(|| job_not_found(job), view).await?))
}

pub(super) fn exception_json(entry: &ExceptionEntry, endpoint: Option<String>) -> Value {
    let name = match entry.task {
        Some(_) => "TaskException",
        None => "JobException",
    };
    let mut value = json!({
        "exceptionName": name,
        "stacktrace": entry.message,
        "timestamp": entry.at.0,
        "failureLabels": {},
        "concurrentExceptions": [],
    });
    if let Some(task) = &entry.task {
        value["taskName"] = task.as_str().into();
    }
    if let Some(id) = &entry.taskmanager {
        // The TaskManager may be gone, and its address with it; its name is then all that is known.
        value["endpoint"] = endpoint.unwrap_or_else(|| id.0.clone()).into();
        value["taskManagerId"] = id.0.as_str().into();
    }
    value
}

pub(super) fn duration(started: Timestamp, ended: Option<Timestamp>, now: Timestamp) -> i64 {
    elapsed(started, ended.unwrap_or(now))
}

pub(super) fn line_json(job: &JobSummary, now: Timestamp) -> Value {
    let mut tasks = Map::new();
    tasks.insert("total".to_owned(), job.tasks.total().into());
    for state in ExecutionState::ALL {
        let name = state.to_string().to_lowercase();
        tasks.insert(name, job.tasks.get(state).into());
    }
    tasks.insert(RECONCILING.to_lowercase(), 0.into());
    json!({
        "jid": job.id.to_string(),
        "name": job.name,
        "jobType": "STREAMING",
        "schedulerType": "Default",
        "start-time": job.started.0,
        "end-time": time(job.ended),
        "duration": duration(job.started, job.ended, now),
        "state": job.status.to_string(),
        "last-modification": job.last_modified.0,
        "tasks": tasks,
        "pending-operators": 0,
    })
}

pub(super) fn details_json(
    job: &JobDetails,
    now: Timestamp,
    counters: &dyn Fn(VertexIndex) -> (Counters, usize),
) -> Value {
    let summary = &job.summary;
    let id = summary.id.to_string();
    let timestamps: Map<String, Value> = JobStatus::ALL
        .iter()
        .zip(job.timestamps)
        .map(|(status, at)| (status.to_string(), at.map_or(0, |at| at.0).into()))
        .collect();
    let mut vertices = Vec::with_capacity(job.vertices.len());
    let mut status_counts = TaskCounts::default();
    for (index, vertex) in (0..).zip(&job.vertices) {
        let index = VertexIndex(index);
        status_counts.0[aggregate(&vertex.tasks) as usize] += 1;
        vertices.push(vertex_json(job, index, vertex, now, counters(index)));
    }
    let max_parallelism = job.vertices.iter().map(|vertex| vertex.max_parallelism);
    json!({
        "jid": id,
        "application-id": id,
        "name": summary.name,
        "isStoppable": false,
        "state": summary.status.to_string(),
        "job-type": "STREAMING",
        "schedulerType": "Default",
        "start-time": summary.started.0,
        "end-time": time(summary.ended),
        "duration": duration(summary.started, summary.ended, now),
        "maxParallelism": max_parallelism.max().map_or(-1, i64::from),
        "now": now.0,
        "timestamps": timestamps,
        "vertices": vertices,
        "status-counts": counts_json(&status_counts),
        "plan": plan_json(job),
        "pending-operators": 0,
        "waiting-for": job.waiting,
        "restarts": job.restarts,
        "failure-cause": job.failure,
    })
}

fn vertex_json(
    job: &JobDetails,
    index: VertexIndex,
    vertex: &VertexDetails,
    now: Timestamp,
    (counters, said): (Counters, usize),
) -> Value {
    let written = job.graph.as_ref();
    let written = written.map(|graph| (graph, &graph.vertices()[index.0 as usize]));
    let state = aggregate(&vertex.tasks);
    let ended = state.is_terminal().then_some(job.summary.ended).flatten();
    json!({
        "id": hex(vertex.operator_id),
        "slotSharingGroupId": written.map_or_else(
            || hex(0),
            |(graph, vertex)| group_id(graph, vertex),
        ),
        "name": vertex.name,
        "maxParallelism": vertex.max_parallelism,
        "parallelism": vertex.parallelism,
        "status": state.to_string(),
        "start-time": time(vertex.started),
        "end-time": vertex.started.map_or(-1, |_| time(ended)),
        "duration": vertex.started.map_or(-1, |started| duration(started, ended, now)),
        "tasks": counts_json(&vertex.tasks),
        "metrics": io_json(counters, state.is_terminal() || said >= vertex.parallelism as usize),
        "operator": written.map(|(_, vertex)| vertex.operator.as_str()),
    })
}

/// A group has no id of its own in a JobGraph: one that is stable for the job and the group's name.
fn group_id(graph: &JobGraph, vertex: &JobVertex) -> String {
    let name = &graph.groups()[vertex.group as usize].name;
    let JobId(job) = graph.id();
    hex(u128::from(Digest::of(&(job, name.as_str()))))
}

/// The state of a vertex by the states of its subtasks: the one that most wants to be looked at.
pub(super) fn aggregate(tasks: &TaskCounts) -> ExecutionState {
    use ExecutionState::*;
    let first = [Failed, Canceling, Canceled, Initializing, Running]
        .into_iter()
        .find(|state| tasks.get(*state) > 0);
    match first {
        Some(state) => state,
        None if tasks.get(Finished) == 0 => Created,
        None if tasks.get(Finished) == tasks.total() => Finished,
        None => Running,
    }
}

/// The names of all states of an attempt that Flink knows.
pub(super) fn state_names() -> impl Iterator<Item = String> {
    let names = ExecutionState::ALL.iter().map(ToString::to_string);
    names.chain([RECONCILING.to_owned()])
}

pub(super) fn counts_json(counts: &TaskCounts) -> Value {
    let mut map: Map<String, Value> = ExecutionState::ALL
        .iter()
        .map(|state| (state.to_string(), counts.get(*state).into()))
        .collect();
    map.insert(RECONCILING.to_owned(), 0.into());
    map.into()
}
