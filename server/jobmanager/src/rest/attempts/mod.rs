//! The attempts of the subtasks of a job, with the times at which they were seen in their states.

mod log;

pub(super) use log::{AttemptLog, MAX_SUBTASKS};

use super::error::Answer;
use super::path::Page;
use super::{JobOf, Rest, hex, job_not_found, time};
use axum::Json;
use axum::extract::State;
use jobmanager_core::id::TaskId;
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::time::Timestamp;
use log::Seen;
use serde_json::{Value, json};

/// `GET /jobs/:id/attempts`: ours alone; Flink has them one by one, and those before the current one only of a job that
/// has not ended.
pub(super) async fn attempts(State(rest): State<Rest>, JobOf(job): JobOf, page: Page) -> Answer {
    let view = move |coordinator: &Coordinator, now: Timestamp| {
        let details = coordinator.job(job)?;
        let vertices = details.vertices.iter().map(|it| it.operator_id);
        Some((vertices.collect::<Vec<u128>>(), details.summary.tasks, now))
    };
    let (vertices, tasks, now) = rest.find(|| job_not_found(job), view).await?;
    let all = rest.events.attempts().of_job(job);
    let line = |(task, seen): (&TaskId, &Vec<Seen>)| {
        let vertex = vertices.get(task.vertex.0 as usize);
        json!({
            "vertex": vertex.map(|id| hex(*id)),
            "subtask": task.subtask.0,
            "attempts": seen.iter().map(attempt_json).collect::<Vec<Value>>(),
        })
    };
    Ok(Json(json!({
        "now": now.0,
        "since": rest.driver.telemetry().since.0,
        "too-many": tasks.total() > MAX_SUBTASKS,
        "subtasks": page.of(all.iter()).map(line).collect::<Vec<Value>>(),
    })))
}

fn attempt_json(seen: &Seen) -> Value {
    let state =
        |(state, at): &(_, Timestamp)| json!({ "state": format!("{state}"), "timestamp": at.0 });
    json!({
        "epoch": seen.attempt.epoch.0,
        "attempt": seen.attempt.number,
        "taskmanager-id": seen.taskmanager.as_ref().map(|id| &id.0),
        "states": seen.states.iter().map(state).collect::<Vec<Value>>(),
        "older": seen.is_older,
        "end-time": time(seen.ended),
    })
}
