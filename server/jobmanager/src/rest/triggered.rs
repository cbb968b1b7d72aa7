//! Checkpoints that a client asks for, and comes back for: this leader alone knows of them.

use super::body::read_json_if_any;
use super::commands::{Accepted, STORE_PATIENCE, failure, fresh_id, order};
use super::error::{Answer, Failure};
use super::path::Names;
use super::savepoints::parse_trigger;
use super::throwable::operation;
use super::{JobOf, Rest};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use jobmanager_core::id::TriggerId;
use jobmanager_core::jobmanager::{Command, Coordinator, DemandState, Reply};
use serde::Deserialize;
use serde_json::json;

/// The class that a failed checkpoint is of for Flink's clients.
const CLASS: &str = "org.apache.flink.runtime.checkpoint.CheckpointException";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CheckpointBody {
    checkpoint_type: Option<Kind>,
    trigger_id: Option<String>,
}

/// What Flink's clients may name. Every checkpoint is a full one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    Configured,
    Full,
    Incremental,
}

/// `POST /jobs/:id/checkpoints`
pub(super) async fn trigger(State(rest): State<Rest>, JobOf(job): JobOf, body: Body) -> Accepted {
    let CheckpointBody {
        checkpoint_type,
        trigger_id,
    } = read_json_if_any(body).await?;
    if let Some(Kind::Incremental) = checkpoint_type {
        let words = "checkpoints are never incremental; ask for CONFIGURED or FULL";
        return Err(Failure::bad_request(words.to_owned()));
    }
    let trigger = match trigger_id {
        None => TriggerId(fresh_id()),
        Some(text) => parse_trigger(&text)?,
    };
    let reply = order(&rest, Command::Checkpoint { job, trigger }, STORE_PATIENCE).await?;
    let Reply::CheckpointAccepted(_, trigger) = reply else {
        return Err(failure(reply));
    };
    let body = json!({ "request-id": trigger.to_string() });
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// `GET /jobs/:id/checkpoints/:trigger`
pub(super) async fn status(State(rest): State<Rest>, names: Names) -> Answer {
    let (job, trigger) = (names.job()?, parse_trigger(names.text("trigger"))?);
    let absent = || {
        Failure::not_found(format!(
            "There is no checkpoint operation with triggerId={trigger} for job {job}: nobody asked this leader for it, it is forgotten by now, or the job has ended"
        ))
    };
    let view = move |coordinator: &Coordinator, _| coordinator.demand(job, trigger);
    let outcome = match rest.find(absent, view).await? {
        DemandState::UnderWay => None,
        DemandState::Completed(id) => Some(Ok(json!({ "checkpointId": id.0 }))),
        DemandState::Failed(cause) => Some(Err(cause)),
    };
    Ok(Json(operation(CLASS, outcome)))
}
