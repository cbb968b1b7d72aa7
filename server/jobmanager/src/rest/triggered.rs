//! Checkpoints that a client asks for. The coordinator takes checkpoints by its own clock alone, so such a request
//! waits for the next one that begins, and tells which that was.
//!
//! A request is remembered by this process alone.

use super::commands::{Accepted, fresh_id};
use super::error::{Answer, Failure};
use super::path::Names;
use super::savepoints::{checkpointing, parse_trigger, read};
use super::throwable::operation;
use super::{JobOf, Rest, job_not_found};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use jobmanager_core::id::{CheckpointId, JobId, TriggerId};
use jobmanager_core::jobmanager::{CheckpointOutcome, CheckpointsDetails, Coordinator};
use jobmanager_core::time::Timestamp;
use serde::Deserialize;
use serde_json::json;

/// The class that a failed checkpoint is of for Flink's clients.
const CLASS: &str = "org.apache.flink.runtime.checkpoint.CheckpointException";

/// A client's wish for a checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    job: JobId,
    /// A checkpoint that was triggered later fulfils it.
    asked: Timestamp,
    outcome: Option<Result<CheckpointId, String>>,
}

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
    } = read(body).await?;
    if let Some(Kind::Incremental) = checkpoint_type {
        let words = "checkpoints are never incremental; ask for CONFIGURED or FULL";
        return Err(Failure::bad_request(words.to_owned()));
    }
    let trigger = match trigger_id {
        None => TriggerId(fresh_id()),
        Some(text) => parse_trigger(&text)?,
    };
    let view = move |coordinator: &Coordinator, now| Some((coordinator.job(job)?, now));
    let (details, asked) = rest.find(|| job_not_found(job), view).await?;
    checkpointing(&details)?;
    if rest.wishes.get(trigger).is_none() {
        let outcome = None;
        let wish = Wish {
            job,
            asked,
            outcome,
        };
        rest.wishes.put(trigger, wish);
    }
    let body = json!({ "request-id": trigger.to_string() });
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// `GET /jobs/:id/checkpoints/:trigger`
pub(super) async fn status(State(rest): State<Rest>, names: Names) -> Answer {
    let (job, trigger) = (names.job()?, parse_trigger(names.text("trigger"))?);
    let wish = rest.wishes.get(trigger).filter(|wish| wish.job == job);
    let mut wish = wish.ok_or_else(|| {
        Failure::not_found(format!(
            "There is no checkpoint operation with triggerId={trigger} for job {job}: nobody asked this JobManager for it, or it is forgotten by now"
        ))
    })?;
    if wish.outcome.is_none() {
        let view = move |coordinator: &Coordinator, _| {
            let ended = coordinator.job(job)?.summary.ended.is_some();
            Some((coordinator.checkpoints(job)?, ended))
        };
        let (checkpoints, ended) = rest.find(|| job_not_found(job), view).await?;
        wish.outcome = outcome(&checkpoints, wish.asked, ended);
        rest.wishes.put(trigger, wish.clone());
    }
    let completed = |id: CheckpointId| json!({ "checkpointId": id.0 });
    let outcome = wish.outcome.map(|outcome| outcome.map(completed));
    Ok(Json(operation(CLASS, outcome)))
}

/// What came of the first checkpoint that was triggered after the wish, or if that is forgotten, of a later one.
fn outcome(
    checkpoints: &CheckpointsDetails,
    asked: Timestamp,
    ended: bool,
) -> Option<Result<CheckpointId, String>> {
    let CheckpointsDetails {
        history,
        latest_completed,
        latest_failed,
        ..
    } = checkpoints;
    let all = history.iter().chain(latest_completed).chain(latest_failed);
    let later = all.filter(|entry| !entry.is_savepoint && entry.triggered > asked);
    let first = later.min_by_key(|entry| entry.id);
    match first.map(|entry| (&entry.outcome, entry.id)) {
        Some((CheckpointOutcome::Completed, id)) => Some(Ok(id)),
        Some((CheckpointOutcome::Failed { reason, .. }, _)) => Some(Err(reason.clone())),
        Some((CheckpointOutcome::InProgress, _)) | None if ended => Some(Err(
            "the job has ended before its next checkpoint".to_owned(),
        )),
        Some((CheckpointOutcome::InProgress, _)) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::jobmanager::CheckpointEntry;

    fn entry(id: u64, triggered: u64, outcome: CheckpointOutcome) -> CheckpointEntry {
        CheckpointEntry {
            id: CheckpointId(id),
            is_savepoint: id == 9,
            outcome,
            triggered: Timestamp(triggered),
            latest_ack: None,
            subtasks: 1,
            acknowledged: 0,
            size: 0,
        }
    }

    #[test]
    fn a_wish_is_fulfilled_by_the_first_checkpoint_that_begins_after_it() {
        let failed = CheckpointOutcome::Failed {
            at: Timestamp(40),
            reason: "expired".to_owned(),
        };
        let mut details = CheckpointsDetails {
            history: vec![
                entry(9, 30, CheckpointOutcome::Completed),
                entry(5, 10, CheckpointOutcome::Completed),
            ],
            ..CheckpointsDetails::default()
        };
        let asked = Timestamp(10);
        assert_eq!(outcome(&details, asked, false), None);
        assert!(outcome(&details, asked, true).is_some_and(|outcome| outcome.is_err()));
        let begun = entry(10, 20, CheckpointOutcome::InProgress);
        details.history.insert(0, begun);
        assert_eq!(outcome(&details, asked, false), None);
        details.history[0].outcome = failed;
        assert_eq!(
            outcome(&details, asked, false),
            Some(Err("expired".to_owned()))
        );
        details.history[0].outcome = CheckpointOutcome::Completed;
        assert_eq!(outcome(&details, asked, true), Some(Ok(CheckpointId(10))));
    }
}
