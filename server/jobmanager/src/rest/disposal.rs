//! Disposing of savepoints: a client names one, and its folder is deleted.
//!
//! What came of it is remembered by this process alone, for the latest requests. Only a folder that holds the
//! metadata of a savepoint is touched.

use super::Rest;
use super::body::read_json;
use super::commands::{Accepted, fresh_id};
use super::error::{Answer, Failure};
use super::path::Names;
use super::savepoints::parse_trigger;
use super::throwable::operation;
use crate::savepoints;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use jobmanager_core::id::TriggerId;
use serde::Deserialize;
use serde_json::json;

/// The class that a failed disposal is of for Flink's clients.
const CLASS: &str = "org.apache.flink.util.FlinkException";

/// What came of it; `None` while it goes on.
pub(crate) type Outcome = Option<Result<(), String>>;

#[derive(Debug, Deserialize)]
struct DisposalBody {
    #[serde(rename = "savepoint-path")]
    path: String,
}

/// `POST /savepoint-disposal`
pub(super) async fn trigger(State(rest): State<Rest>, body: Body) -> Accepted {
    let DisposalBody { path } = read_json(body).await?;
    let trigger = TriggerId(fresh_id());
    rest.disposals.put(trigger, None);
    let disposals = rest.disposals.clone();
    tokio::spawn(async move {
        let outcome = savepoints::dispose(&path).await;
        let outcome = outcome.map_err(|problem| problem.to_string());
        disposals.put(trigger, Some(outcome));
    });
    let body = json!({ "request-id": trigger.to_string() });
    Ok((StatusCode::OK, Json(body)))
}

/// `GET /savepoint-disposal/:trigger`
pub(super) async fn status(State(rest): State<Rest>, names: Names) -> Answer {
    let trigger = parse_trigger(names.text("trigger"))?;
    let outcome = rest.disposals.get(trigger).ok_or_else(|| {
        Failure::not_found(format!(
            "Operation not found under key {trigger}: nobody asked this JobManager for it, or it is forgotten by now"
        ))
    })?;
    let outcome = outcome.map(|outcome| outcome.map(|()| json!({})));
    Ok(Json(operation(CLASS, outcome)))
}
