//! One vertex of a job, its subtasks, and where they run.
//!
//! Of a subtask only its current attempt is known, and not when it came into which state: `status-duration` is -1, as
//! with Flink if it does not know, and its times are those of the vertex. Of the subtasks of a job that has ended only the states are known.

use super::error::{Answer, Failure};
use super::job::{aggregate, counts_json, duration};
use super::path::{Names, Page, VertexName};
use super::statistics::Sorted;
use super::{Rest, hex, job_not_found, time};
use crate::metrics::Counters;
use axum::Json;
use axum::extract::State;
use jobmanager_core::id::{JobId, SubtaskIndex, TaskManagerId, VertexIndex};
use jobmanager_core::jobmanager::{Coordinator, SubtaskDetails, TaskCounts, VertexDetails};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What Flink says of a task that is nowhere.
const UNASSIGNED: &str = "(unassigned)";

/// A vertex between two steps.
pub(super) struct Seen {
    pub(super) index: VertexIndex,
    vertex: VertexDetails,
    pub(super) subtasks: Vec<Subtask>,
    /// Where the TaskManagers of its subtasks are reached.
    endpoints: BTreeMap<TaskManagerId, String>,
    ended: Option<Timestamp>,
    now: Timestamp,
}

/// A subtask of it.
pub(super) struct Subtask {
    pub(super) index: u32,
    pub(super) attempt: u32,
    state: ExecutionState,
    pub(super) taskmanager: Option<TaskManagerId>,
    /// What its current attempt has said that it did.
    pub(super) counters: Option<Counters>,
}

impl Rest {
    /// Looks at a vertex.
    pub(super) async fn see(&self, job: JobId, vertex: VertexName) -> Result<Seen, Failure> {
        let view = move |coordinator: &Coordinator, now| see(coordinator, job, vertex, now);
        let seen = self.find(|| job_not_found(job), view).await?;
        let mut seen = seen.ok_or_else(|| vertex.not_found())?;
        let mut counters = self.metrics.tasks(job, seen.index);
        for subtask in &mut seen.subtasks {
            subtask.counters = counters.remove(&SubtaskIndex(subtask.index));
        }
        Ok(seen)
    }

    /// Looks at the subtask that a path names.
    pub(super) async fn see_subtask(&self, names: &Names) -> Result<(Seen, usize), Failure> {
        let (job, vertex, subtask) = (names.job()?, names.vertex()?, names.subtask()?);
        let seen = self.see(job, vertex).await?;
        let place = subtask.0 as usize;
        if place < seen.subtasks.len() {
            return Ok((seen, place));
        }
        let id = hex(seen.vertex.operator_id);
        Err(Failure::not_found(format!(
            "Invalid subtask index for vertex {id}: it has {} subtasks",
            seen.subtasks.len()
        )))
    }

    /// The same, if the path also names its current attempt.
    async fn see_attempt(&self, names: &Names) -> Result<(Seen, usize), Failure> {
        let attempt = names.attempt()?;
        let (seen, place) = self.see_subtask(names).await?;
        let current = seen.subtasks[place].attempt;
        if attempt == current {
            return Ok((seen, place));
        }
        Err(Failure::not_found(format!(
            "Invalid attempt num {attempt}: only the current one is known, which is {current}"
        )))
    }
}

fn see(
    coordinator: &Coordinator,
    job: JobId,
    vertex: VertexName,
    now: Timestamp,
) -> Option<Option<Seen>> {
    let mut details = coordinator.job(job)?;
    let Some(index) = vertex.index(&details) else {
        return Some(None);
    };
    let vertex = details.vertices.swap_remove(index.0 as usize);
    let subtasks: Vec<Subtask> = match coordinator.subtasks(job, index) {
        Some(subtasks) => subtasks.into_iter().map(Subtask::from).collect(),
        None => ended_subtasks(&vertex.tasks),
    };
    let endpoint = |subtask: &Subtask| {
        let id = subtask.taskmanager.as_ref()?;
        Some((id.clone(), coordinator.data_address(id)?.to_owned()))
    };
    Some(Some(Seen {
        index,
        endpoints: subtasks.iter().filter_map(endpoint).collect(),
        vertex,
        subtasks,
        ended: details.summary.ended,
        now,
    }))
}

impl From<SubtaskDetails> for Subtask {
    fn from(details: SubtaskDetails) -> Subtask {
        Subtask {
            index: details.subtask.0,
            attempt: details.attempt.number,
            state: details.state,
            taskmanager: details.location.map(|(taskmanager, _)| taskmanager),
            counters: None,
        }
    }
}

/// As many as are known to have ended in each state; which of them did is not kept.
fn ended_subtasks(tasks: &TaskCounts) -> Vec<Subtask> {
    let states = ExecutionState::ALL.into_iter();
    let states = states.flat_map(|state| (0..tasks.get(state)).map(move |_| state));
    let subtask = |(index, state)| Subtask {
        index,
        attempt: 0,
        state,
        taskmanager: None,
        counters: None,
    };
    (0..).zip(states).map(subtask).collect()
}

impl Seen {
    pub(super) fn endpoint<'a>(&'a self, taskmanager: Option<&'a TaskManagerId>) -> &'a str {
        let Some(id) = taskmanager else {
            return UNASSIGNED;
        };
        // One that has just gone is known by its name alone.
        self.endpoints.get(id).map_or(&id.0, String::as_str)
    }

    fn times(&self, state: ExecutionState) -> (i64, i64, i64) {
        let started = self.vertex.started;
        let ended = state.is_terminal().then_some(self.ended).flatten();
        (
            time(started),
            started.map_or(-1, |_| time(ended)),
            started.map_or(-1, |started| duration(started, ended, self.now)),
        )
    }

    fn subtask_json(&self, subtask: &Subtask) -> Value {
        let (start, end, duration) = self.times(subtask.state);
        let id = subtask.taskmanager.as_ref();
        json!({
            "subtask": subtask.index,
            "status": subtask.state.to_string(),
            "attempt": subtask.attempt,
            "endpoint": self.endpoint(id),
            "start-time": start,
            "end-time": end,
            "duration": duration,
            "metrics": io_json(subtask.counters.unwrap_or_default(), subtask.counters.is_some()),
            "taskmanager-id": id.map_or(UNASSIGNED, |id| &id.0),
            "status-duration": durations_json(&(-1).into()),
            "start_time": start,
        })
    }

    fn taskmanager_json(&self, id: Option<&TaskManagerId>, subtasks: &[&Subtask]) -> Value {
        let mut counts = TaskCounts::default();
        for subtask in subtasks {
            counts.0[subtask.state as usize] += 1;
        }
        let state = aggregate(&counts);
        let (start, end, duration) = self.times(state);
        let known = subtasks.iter().filter_map(|subtask| subtask.counters);
        let sum = known.fold(Counters::default(), Counters::plus);
        let complete = subtasks.iter().all(|subtask| subtask.counters.is_some());
        json!({
            "endpoint": self.endpoint(id),
            "status": state.to_string(),
            "start-time": start,
            "end-time": end,
            "duration": duration,
            "metrics": io_json(sum, complete),
            "status-counts": counts_json(&counts),
            "taskmanager-id": id.map_or(UNASSIGNED, |id| &id.0),
            "aggregated": aggregated_json(subtasks.iter().copied()),
        })
    }
}

/// What a task, or several, have read and written.
pub(super) fn io_json(counters: Counters, complete: bool) -> Value {
    json!({
        "read-bytes": counters.bytes_in,
        "read-bytes-complete": complete,
        "write-bytes": counters.bytes_out,
        "write-bytes-complete": complete,
        "read-records": counters.records_in,
        "read-records-complete": complete,
        "write-records": counters.records_out,
        "write-records-complete": complete,
        "accumulated-backpressured-time": 0,
        "accumulated-idle-time": 0,
        "accumulated-busy-time": 0.0,
    })
}

fn aggregated_json<'a>(subtasks: impl Iterator<Item = &'a Subtask>) -> Value {
    let counters: Vec<Counters> = subtasks
        .map(|subtask| subtask.counters.unwrap_or_default())
        .collect();
    let of = |number: fn(&Counters) -> u64| {
        Sorted::new(counters.iter().map(number).collect()).of_subtasks()
    };
    let nothing = of(|_| 0);
    json!({
        "metrics": {
            "read-bytes": of(|counters| counters.bytes_in),
            "write-bytes": of(|counters| counters.bytes_out),
            "read-records": of(|counters| counters.records_in),
            "write-records": of(|counters| counters.records_out),
            "accumulated-backpressured-time": nothing,
            "accumulated-idle-time": nothing,
            "accumulated-busy-time": nothing,
        },
        "status-duration": durations_json(&Sorted::unknown()),
    })
}

/// For each state of an attempt that does not last for ever how long it was in it, which is not kept.
fn durations_json(unknown: &Value) -> Value {
    let states = [
        "CREATED",
        "SCHEDULED",
        "DEPLOYING",
        "INITIALIZING",
        "RUNNING",
    ];
    let durations = states.map(|state| (state.to_owned(), unknown.clone()));
    Map::from_iter(durations).into()
}

/// `GET /jobs/:id/vertices/:vertex`
pub(super) async fn details(State(rest): State<Rest>, names: Names, page: Page) -> Answer {
    let seen = rest.see(names.job()?, names.vertex()?).await?;
    let shown = page.of(seen.subtasks.iter());
    let subtasks: Vec<Value> = shown.map(|subtask| seen.subtask_json(subtask)).collect();
    Ok(Json(json!({
        "id": hex(seen.vertex.operator_id),
        "name": seen.vertex.name,
        "parallelism": seen.vertex.parallelism,
        "maxParallelism": seen.vertex.max_parallelism,
        "now": seen.now.0,
        "subtasks": subtasks,
        "aggregated": aggregated_json(seen.subtasks.iter()),
    })))
}

/// `GET /jobs/:id/vertices/:vertex/taskmanagers`
pub(super) async fn taskmanagers(State(rest): State<Rest>, names: Names) -> Answer {
    let seen = rest.see(names.job()?, names.vertex()?).await?;
    let mut by_taskmanager: BTreeMap<Option<&TaskManagerId>, Vec<&Subtask>> = BTreeMap::new();
    for subtask in &seen.subtasks {
        let of = by_taskmanager.entry(subtask.taskmanager.as_ref());
        of.or_default().push(subtask);
    }
    let taskmanagers: Vec<Value> = by_taskmanager
        .into_iter()
        .map(|(id, subtasks)| seen.taskmanager_json(id, &subtasks))
        .collect();
    Ok(Json(json!({
        "id": hex(seen.vertex.operator_id),
        "name": seen.vertex.name,
        "now": seen.now.0,
        "taskmanagers": taskmanagers,
    })))
}

/// `GET /jobs/:id/vertices/:vertex/subtasktimes`. When a subtask came into which state is not kept: 0, as with Flink
/// for a state that it never had.
pub(super) async fn times(State(rest): State<Rest>, names: Names) -> Answer {
    let seen = rest.see(names.job()?, names.vertex()?).await?;
    let timestamps: Map<String, Value> = super::job::state_names()
        .map(|name| (name, 0.into()))
        .collect();
    let line = |subtask: &Subtask| {
        let (_, _, duration) = seen.times(subtask.state);
        json!({
            "subtask": subtask.index,
            "endpoint": seen.endpoint(subtask.taskmanager.as_ref()),
            "duration": duration,
            "timestamps": timestamps,
        })
    };
    Ok(Json(json!({
        "id": hex(seen.vertex.operator_id),
        "name": seen.vertex.name,
        "now": seen.now.0,
        "subtasks": seen.subtasks.iter().map(line).collect::<Vec<Value>>(),
    })))
}

/// `GET /jobs/:id/vertices/:vertex/subtasks/:subtask`
pub(super) async fn subtask(State(rest): State<Rest>, names: Names) -> Answer {
    let (seen, place) = rest.see_subtask(&names).await?;
    Ok(Json(seen.subtask_json(&seen.subtasks[place])))
}

/// `GET /jobs/:id/vertices/:vertex/subtasks/:subtask/attempts/:attempt`
pub(super) async fn attempt(State(rest): State<Rest>, names: Names) -> Answer {
    let (seen, place) = rest.see_attempt(&names).await?;
    Ok(Json(seen.subtask_json(&seen.subtasks[place])))
}

/// `GET /jobs/:id/vertices/:vertex/backpressure`: nothing measures it, which is Flink's word for that.
pub(super) async fn backpressure(State(rest): State<Rest>, names: Names) -> Answer {
    rest.see(names.job()?, names.vertex()?).await?;
    Ok(Json(json!({ "status": "deprecated" })))
}

/// `GET /jobs/:id/vertices/:vertex/flamegraph`: -2 says that there are none.
pub(super) async fn flamegraph(State(rest): State<Rest>, names: Names) -> Answer {
    rest.see(names.job()?, names.vertex()?).await?;
    Ok(Json(json!({ "endTimestamp": -2 })))
}

/// `GET /jobs/:id/vertices/:vertex/accumulators`: operators have none.
pub(super) async fn accumulators(State(rest): State<Rest>, names: Names) -> Answer {
    let seen = rest.see(names.job()?, names.vertex()?).await?;
    let id = hex(seen.vertex.operator_id);
    Ok(Json(json!({ "id": id, "user-accumulators": [] })))
}

/// `GET /jobs/:id/vertices/:vertex/subtasks/accumulators`
pub(super) async fn subtask_accumulators(State(rest): State<Rest>, names: Names) -> Answer {
    let seen = rest.see(names.job()?, names.vertex()?).await?;
    let line = |subtask: &Subtask| {
        json!({
            "subtask": subtask.index,
            "attempt": subtask.attempt,
            "endpoint": seen.endpoint(subtask.taskmanager.as_ref()),
            "user-accumulators": [],
        })
    };
    Ok(Json(json!({
        "id": hex(seen.vertex.operator_id),
        "parallelism": seen.vertex.parallelism,
        "subtasks": seen.subtasks.iter().map(line).collect::<Vec<Value>>(),
    })))
}

/// `GET /jobs/:id/vertices/:vertex/subtasks/:subtask/attempts/:attempt/accumulators`
pub(super) async fn attempt_accumulators(State(rest): State<Rest>, names: Names) -> Answer {
    let (seen, place) = rest.see_attempt(&names).await?;
    let subtask = &seen.subtasks[place];
    let (job, vertex) = (names.job()?, hex(seen.vertex.operator_id));
    Ok(Json(json!({
        "subtask": subtask.index,
        "attempt": subtask.attempt,
        "id": format!("{job}_{vertex}_{}_{}", subtask.index, subtask.attempt),
        "user-accumulators": [],
    })))
}
