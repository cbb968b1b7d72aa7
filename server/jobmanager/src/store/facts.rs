//! What a record says, for people who look at a database with SQL: a JSON object per record, out of which the
//! views of the schema are made. Nothing reads it back.

use jobmanager_core::message::AfterSavepoint;
use jobmanager_core::record::{CheckpointRecord, JobRecord, JobResult, Record, SavepointRecord};
use serde_json::{Value, json};

/// The name of the kind, by which views choose their rows.
pub(super) fn kind(record: &Record) -> &'static str {
    match record {
        Record::Job(_) => "job",
        Record::Cancel(_) => "cancel",
        Record::Rescale(_) => "rescale",
        Record::CheckpointMark { .. } => "mark",
        Record::Checkpoint(_) => "checkpoint",
        Record::Savepoint(_) => "savepoint",
        Record::Result(_) => "result",
    }
}

/// The facts.
pub(super) fn facts(record: &Record) -> Value {
    match record {
        Record::Job(job) => job_facts(job),
        Record::Cancel(_) => json!({}),
        Record::Rescale(rescale) => {
            let bounds = rescale.bounds.iter().map(|it| [it.lower, it.upper]);
            json!({"parallelism": bounds.collect::<Vec<_>>()})
        }
        Record::CheckpointMark { next, .. } => json!({"next": next.0}),
        Record::Checkpoint(checkpoint) => checkpoint_facts(checkpoint),
        Record::Savepoint(savepoint) => savepoint_facts(savepoint),
        Record::Result(result) => result_facts(result),
    }
}

fn job_facts(job: &JobRecord) -> Value {
    let vertices = job.graph.vertices();
    let tasks: u64 = vertices.iter().map(|v| u64::from(v.parallelism)).sum();
    json!({
        "name": text(job.graph.name()),
        "submitted_ms": job.submitted.0,
        "vertices": vertices.len(),
        "tasks": tasks,
    })
}

fn checkpoint_facts(checkpoint: &CheckpointRecord) -> Value {
    json!({
        "id": checkpoint.id.0,
        "triggered_ms": checkpoint.triggered.0,
        "completed_ms": checkpoint.completed.0,
        "bytes": checkpoint.size(),
        "tasks": checkpoint.states.len(),
    })
}

fn savepoint_facts(savepoint: &SavepointRecord) -> Value {
    let outcome = savepoint.outcome.as_ref();
    let completed = outcome.and_then(|outcome| outcome.result.as_ref().ok());
    let failure = outcome.and_then(|outcome| outcome.result.as_ref().err());
    json!({
        "trigger": savepoint.trigger.to_string(),
        "requested_ms": savepoint.requested.0,
        "directory": text(&savepoint.directory),
        "after": match savepoint.after {
            AfterSavepoint::GoOn => "GO_ON",
            AfterSavepoint::Suspend => "SUSPEND",
            AfterSavepoint::Drain => "DRAIN",
        },
        "ended_ms": outcome.map(|outcome| outcome.at.0),
        "location": completed.map(|completed| text(&completed.location)),
        "bytes": completed.map(|completed| completed.size),
        "failure": failure.map(|failure| text(failure)),
    })
}

fn result_facts(result: &JobResult) -> Value {
    json!({
        "name": text(&result.name),
        "status": result.status.to_string(),
        "started_ms": result.started.0,
        "ended_ms": result.ended.0,
        "restarts": result.restarts,
        "checkpoints": result.completed_checkpoints,
        "failure": result.failure.as_deref().map(text),
    })
}

/// The one character that PostgreSQL's texts cannot hold is replaced; the record itself keeps it.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
