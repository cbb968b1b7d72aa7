//! How a job ended, as Flink's clients ask for it, and its accumulators, of which there are none.

use super::error::Answer;
use super::throwable::failure_cause;
use super::{JobOf, Rest, elapsed, job_not_found, time};
use axum::Json;
use axum::extract::State;
use jobmanager_core::jobmanager::{Coordinator, JobDetails};
use jobmanager_core::state::JobStatus;
use serde_json::{Value, json};

/// The class that a failed job is of for Flink's clients.
const CLASS: &str = "org.apache.flink.runtime.JobException";

/// `GET /jobs/:id/execution-result`
pub(super) async fn execution_result(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let view = move |coordinator: &Coordinator, _| coordinator.job(job);
    let details = rest.find(|| job_not_found(job), view).await?;
    Ok(Json(result_json(&details)))
}

fn result_json(job: &JobDetails) -> Value {
    let summary = &job.summary;
    let (Some(ended), Some(status)) = (summary.ended, application_status(summary.status)) else {
        return json!({ "status": { "id": "IN_PROGRESS" } });
    };
    let id = summary.id.to_string();
    let mut result = json!({
        "id": id,
        "name": summary.name,
        "application-status": status,
        "accumulator-results": {},
        "net-runtime": elapsed(summary.started, ended),
        "application-id": id,
        "start-time": summary.started.0,
        "end-time": time(summary.ended),
    });
    if summary.status == JobStatus::Failed {
        let words = job.failure.as_deref().unwrap_or("the job failed");
        result["failure-cause"] = failure_cause(CLASS, words);
    }
    json!({ "status": { "id": "COMPLETED" }, "job-execution-result": result })
}

fn application_status(status: JobStatus) -> Option<&'static str> {
    match status {
        JobStatus::Finished => Some("SUCCEEDED"),
        JobStatus::Canceled => Some("CANCELED"),
        JobStatus::Failed => Some("FAILED"),
        JobStatus::Initializing
        | JobStatus::Created
        | JobStatus::Running
        | JobStatus::Restarting
        | JobStatus::Failing
        | JobStatus::Cancelling
        | JobStatus::Reconciling
        | JobStatus::Suspended => None,
    }
}

/// `GET /jobs/:id/accumulators`
pub(super) async fn accumulators(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    rest.must_exist(job).await?;
    Ok(Json(json!({
        "job-accumulators": [],
        "user-task-accumulators": [],
        "serialized-user-task-accumulators": {},
    })))
}
