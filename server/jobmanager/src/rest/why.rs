//! Why a job is not further than it is.

use super::error::{Answer, Failure};
use super::{JobOf, Rest, job_not_found};
use axum::Json;
use axum::extract::State;
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::time::Timestamp;

/// `GET /jobs/:id/why`: ours alone; Flink has no such thing.
pub(super) async fn why(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let view = move |coordinator: &Coordinator, now: Timestamp| coordinator.why(job, now);
    let why = rest.find(|| job_not_found(job), view).await?;
    let answer = serde_json::to_value(&why);
    let answer = answer.map_err(|problem| Failure::broken(problem.to_string()))?;
    Ok(Json(answer))
}
