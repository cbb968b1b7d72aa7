//! Savepoints: asking for one, stopping a job with one, and what came of it.

use super::body::read_json_if_any;
use super::commands::{Accepted, STORE_PATIENCE, failure, fresh_id, order};
use super::error::{Answer, Failure};
use super::path::Names;
use super::throwable::operation;
use super::{JobOf, Rest, job_not_found};
use crate::savepoints::folder_url;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use jobmanager_core::config::CheckpointConfig;
use jobmanager_core::id::{JobId, TriggerId};
use jobmanager_core::jobmanager::{
    Command, Coordinator, JobDetails, JobSummary, Reply, SavepointRequest,
};
use jobmanager_core::message::AfterSavepoint;
use jobmanager_core::record::{CompletedSavepoint, SavepointRecord};
use serde::Deserialize;
use serde_json::{Value, json};

/// The class that a failed savepoint is of for Flink's clients.
const CLASS: &str = "org.apache.flink.runtime.checkpoint.CheckpointException";
/// The option that says where savepoints go for which no folder is named.
const DIRECTORY: &str = "execution.checkpointing.savepoint-dir";

/// The body of `POST /jobs/:id/savepoints`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavepointBody {
    #[serde(rename = "target-directory")]
    target_directory: Option<String>,
    #[serde(rename = "cancel-job")]
    cancel_job: Option<bool>,
    trigger_id: Option<String>,
    format_type: Option<Format>,
}

/// The body of `POST /jobs/:id/stop`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopBody {
    target_directory: Option<String>,
    drain: Option<bool>,
    trigger_id: Option<String>,
    format_type: Option<Format>,
}

/// What Flink's clients may name. Savepoints have one format here, which both stand for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Format {
    Canonical,
    Native,
}

/// `POST /jobs/:id/savepoints`
pub(super) async fn trigger(State(rest): State<Rest>, JobOf(job): JobOf, body: Body) -> Accepted {
    let SavepointBody {
        target_directory,
        cancel_job,
        trigger_id,
        format_type: None | Some(Format::Canonical | Format::Native),
    } = read_json_if_any(body).await?;
    if cancel_job == Some(true) {
        let words = format!(
            "a job is not canceled with a savepoint any more: its output after the savepoint would be lost or doubled; stop it with POST /jobs/{job}/stop"
        );
        return Err(Failure::bad_request(words));
    }
    let after = AfterSavepoint::GoOn;
    ask(&rest, job, target_directory, trigger_id, after).await
}

/// `POST /jobs/:id/stop`
pub(super) async fn stop(State(rest): State<Rest>, JobOf(job): JobOf, body: Body) -> Accepted {
    let StopBody {
        target_directory,
        drain,
        trigger_id,
        format_type: None | Some(Format::Canonical | Format::Native),
    } = read_json_if_any(body).await?;
    let after = match drain {
        Some(true) => AfterSavepoint::Drain,
        Some(false) | None => AfterSavepoint::Suspend,
    };
    ask(&rest, job, target_directory, trigger_id, after).await
}

async fn ask(
    rest: &Rest,
    job: JobId,
    directory: Option<String>,
    trigger: Option<String>,
    after: AfterSavepoint,
) -> Accepted {
    let trigger = match trigger {
        None => TriggerId(fresh_id()),
        Some(text) => parse_trigger(&text)?,
    };
    let directory = match directory {
        Some(directory) => directory,
        None => default_directory(rest, job, trigger).await?,
    };
    let unusable = |problem: crate::savepoints::NoFolder| Failure::bad_request(problem.to_string());
    let directory = folder_url(&directory).map_err(unusable)?;
    let command = Command::Savepoint(SavepointRequest {
        job,
        trigger,
        directory,
        after,
    });
    let reply = order(rest, command, STORE_PATIENCE).await?;
    let Reply::SavepointAccepted(_, trigger) = reply else {
        return Err(failure(reply));
    };
    let body = json!({ "request-id": trigger.to_string() });
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// Where a savepoint of the job goes if the client does not say where: where it went if it was asked for before,
/// else where the options say. A job that cannot have one says so first.
async fn default_directory(rest: &Rest, job: JobId, trigger: TriggerId) -> Result<String, Failure> {
    let view = move |coordinator: &Coordinator, _| {
        let asked = coordinator.savepoint(job, trigger);
        let asked = asked.map(|record| record.directory.clone());
        Some((asked, coordinator.job(job)?))
    };
    let (asked, details) = rest.find(|| job_not_found(job), view).await?;
    if let Some(directory) = asked {
        return Ok(directory);
    }
    let checkpointing = checkpointing(&details)?;
    // The cluster's may have been set after the job was submitted.
    let of_cluster = rest.job_defaults.get(DIRECTORY).map(String::as_str);
    let directory = match checkpointing.savepoint_dir.as_str() {
        "" => of_cluster.unwrap_or_default(),
        of_job => of_job,
    };
    match directory.trim() {
        "" => Err(Failure::bad_request(
            "no folder for the savepoint: name one in the request, or set execution.checkpointing.savepoint-dir for the cluster or the job".to_owned(),
        )),
        directory => Ok(directory.to_owned()),
    }
}

/// How a job takes checkpoints; one that has ended takes none any more.
fn checkpointing(details: &JobDetails) -> Result<&CheckpointConfig, Failure> {
    let JobSummary { id, status, .. } = details.summary;
    let Some(graph) = &details.graph else {
        return Err(failure(Reply::AlreadyEnded(id, status)));
    };
    let config = graph.config().checkpointing.as_ref();
    config.ok_or_else(|| failure(Reply::WithoutCheckpoints(id)))
}

pub(super) fn parse_trigger(text: &str) -> Result<TriggerId, Failure> {
    let parsed = text.parse();
    parsed.map_err(|error| Failure::bad_request(format!("`{}` is {error}", text.escape_debug())))
}

/// `GET /jobs/:id/savepoints/:triggerid`
pub(super) async fn status(State(rest): State<Rest>, names: Names) -> Answer {
    let (job, trigger) = (names.job()?, parse_trigger(names.text("trigger"))?);
    let absent = || {
        Failure::not_found(format!(
            "Savepoint {trigger} of job {job} not found: nobody asked for it, or it is forgotten by now"
        ))
    };
    let view = move |coordinator: &Coordinator, _| coordinator.savepoint(job, trigger).map(shown);
    Ok(Json(rest.find(absent, view).await?))
}

fn shown(record: &SavepointRecord) -> Value {
    let completed = |it: &CompletedSavepoint| json!({ "location": it.location });
    let outcome = record.outcome.as_ref().map(|it| it.result.as_ref());
    operation(CLASS, outcome.map(|result| result.map(completed)))
}
