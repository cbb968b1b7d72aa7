//! Events as JSON, with Flink's names and units where Flink has the thing: times in milliseconds since 1970, ids in hex.

use crate::rest::checkpoints::status;
use crate::rest::{elapsed, time};
use jobmanager_core::id::{TaskManagerId, TriggerId};
use jobmanager_core::jobmanager::{
    CheckpointEntry, CheckpointOutcome, JobDetails, TaskManagerDetails,
};
use jobmanager_core::record::SavepointOutcome;
use jobmanager_core::state::JobStatus;
use jobmanager_core::time::Timestamp;
use serde_json::{Value, json};

/// A leader begins, with so many jobs that have not ended, and so many that have.
pub(super) fn leader(
    epoch: u64,
    since: Timestamp,
    address: &str,
    (live, ended): (u32, u32),
) -> Value {
    json!({
        "epoch": epoch,
        "timestamp": since.0,
        "address": address,
        "jobs-recovered": live,
        "jobs-ended": ended,
    })
}

/// What every event of a job has.
fn of_job(job: &JobDetails, at: Timestamp) -> Value {
    json!({
        "jid": job.summary.id.to_string(),
        "name": job.summary.name,
        "timestamp": at.0,
    })
}

pub(super) fn job_appeared(job: &JobDetails) -> Value {
    let mut value = of_job(job, job.summary.started);
    value["state"] = JobStatus::Initializing.to_string().into();
    value["tasks"] = job.summary.tasks.total().into();
    value
}

pub(super) fn job_changed(
    job: &JobDetails,
    (was, is): (JobStatus, JobStatus),
    at: Timestamp,
    adopted: Option<u32>,
) -> Value {
    let mut value = of_job(job, at);
    value["state"] = is.to_string().into();
    value["previous-state"] = was.to_string().into();
    value["restarts"] = job.restarts.into();
    if let Some(adopted) = adopted {
        value["adopted"] = adopted.into();
    }
    value
}

pub(super) fn job_ended(job: &JobDetails) -> Value {
    let summary = &job.summary;
    let ended = summary.ended.unwrap_or(summary.last_modified);
    let mut value = of_job(job, ended);
    value["state"] = summary.status.to_string().into();
    value["start-time"] = summary.started.0.into();
    value["end-time"] = ended.0.into();
    value["duration"] = elapsed(summary.started, ended).into();
    value["restarts"] = job.restarts.into();
    if let Some(failure) = &job.failure {
        value["failure-cause"] = failure.as_str().into();
    }
    value
}

fn of_checkpoint(job: &JobDetails, entry: &CheckpointEntry, at: Timestamp) -> Value {
    let mut value = of_job(job, at);
    value["id"] = entry.id.0.into();
    value["is_savepoint"] = entry.is_savepoint.into();
    value["trigger_timestamp"] = entry.triggered.0.into();
    value["num_subtasks"] = entry.subtasks.into();
    value
}

pub(super) fn checkpoint_triggered(job: &JobDetails, entry: &CheckpointEntry) -> Value {
    let mut value = of_checkpoint(job, entry, entry.triggered);
    value["status"] = status(&CheckpointOutcome::InProgress).1.into();
    value
}

pub(super) fn checkpoint_ended(job: &JobDetails, entry: &CheckpointEntry, at: Timestamp) -> Value {
    let mut value = of_checkpoint(job, entry, at);
    value["status"] = status(&entry.outcome).1.into();
    value["num_acknowledged_subtasks"] = entry.acknowledged.into();
    value["latest_ack_timestamp"] = time(entry.latest_ack).into();
    value["state_size"] = entry.size.into();
    value["end_to_end_duration"] = elapsed(entry.triggered, at).into();
    if let CheckpointOutcome::Failed { at, reason } = &entry.outcome {
        value["failure_timestamp"] = at.0.into();
        value["failure_message"] = reason.as_str().into();
    }
    value
}

pub(super) fn savepoint_ended(
    job: &JobDetails,
    trigger: TriggerId,
    outcome: &SavepointOutcome,
) -> Value {
    let mut value = of_job(job, outcome.at);
    value["request-id"] = trigger.to_string().into();
    match &outcome.result {
        Ok(completed) => {
            value["status"] = "COMPLETED".into();
            value["id"] = completed.checkpoint.0.into();
            value["location"] = completed.location.as_str().into();
            value["state_size"] = completed.size.into();
        }
        Err(cause) => {
            value["status"] = "FAILED".into();
            value["failure-cause"] = cause.as_str().into();
        }
    }
    value
}

pub(super) fn taskmanager(shown: &TaskManagerDetails, at: Timestamp) -> Value {
    json!({
        "id": shown.id.0,
        "path": format!("grpc://{}", shown.data_address),
        "slotsNumber": shown.slots,
        "freeSlots": shown.free_slots,
        "timeSinceLastHeartbeat": shown.last_heard.0,
        "incarnation": shown.incarnation.0.to_string(),
        "timestamp": at.0,
    })
}

pub(super) fn taskmanager_lost(id: &TaskManagerId, at: Timestamp) -> Value {
    json!({ "id": id.0, "timestamp": at.0 })
}

/// A client has missed something.
pub(super) fn reset(asked: &str, epoch: u64, reason: &str) -> Value {
    json!({ "asked": asked, "epoch": epoch, "reason": reason })
}
