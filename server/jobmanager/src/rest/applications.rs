//! Applications, of which Flink's dashboard shows lists. Here every job is an application of its own, under the id
//! and the name of the job.

use super::commands::{Accepted, cancel_job};
use super::error::Answer;
use super::job::{duration, line_json};
use super::path::{Names, Page};
use super::{Rest, job_not_found, settings, time};
use axum::Json;
use axum::extract::State;
use jobmanager_core::jobmanager::{Coordinator, ExceptionEntry, JobSummary};
use jobmanager_core::state::JobStatus;
use jobmanager_core::time::Timestamp;
use serde_json::{Map, Value, json};

/// Every state of an application, with the states in which its job is then.
const STATES: [(&str, &[JobStatus]); 7] = [
    ("CREATED", &[JobStatus::Initializing]),
    (
        "RUNNING",
        &[
            JobStatus::Created,
            JobStatus::Running,
            JobStatus::Restarting,
            JobStatus::Reconciling,
            JobStatus::Suspended,
        ],
    ),
    ("FAILING", &[JobStatus::Failing]),
    ("FAILED", &[JobStatus::Failed]),
    ("CANCELING", &[JobStatus::Cancelling]),
    ("CANCELED", &[JobStatus::Canceled]),
    ("FINISHED", &[JobStatus::Finished]),
];

fn state(job: JobStatus) -> &'static str {
    let found = STATES.iter().find(|(_, states)| states.contains(&job));
    found.map_or("RUNNING", |(name, _)| name)
}

/// `GET /applications/overview`
pub(super) async fn overview(State(rest): State<Rest>, page: Page) -> Answer {
    rest.look(move |coordinator, now| {
        let jobs = page.of(coordinator.jobs());
        let lines: Vec<Value> = jobs
            .map(|job| {
                let mut line = application_json(&job, now);
                line["jobs"] = json!({ job.status.to_string(): 1 });
                line
            })
            .collect();
        json!({ "applications": lines })
    })
    .await
}

/// `GET /applications/:id`
pub(super) async fn details(State(rest): State<Rest>, names: Names) -> Answer {
    let job = names.job()?;
    let view = move |coordinator: &Coordinator, now| Some((coordinator.job(job)?, now));
    let (details, now) = rest.find(|| job_not_found(job), view).await?;
    let entered = |states: &[JobStatus]| {
        let times = states
            .iter()
            .map(|status| details.timestamps[*status as usize]);
        let first = times.flatten().min();
        first.map_or(0, |at| at.0)
    };
    let timestamps: Map<String, Value> = STATES
        .iter()
        .map(|(name, states)| ((*name).to_owned(), entered(states).into()))
        .collect();
    let mut value = application_json(&details.summary, now);
    value["timestamps"] = timestamps.into();
    value["jobs"] = json!([line_json(&details.summary, now)]);
    Ok(Json(value))
}

fn application_json(job: &JobSummary, now: Timestamp) -> Value {
    json!({
        "id": job.id.to_string(),
        "name": job.name,
        "start-time": job.started.0,
        "end-time": time(job.ended),
        "duration": duration(job.started, job.ended, now),
        "status": state(job.status),
    })
}

/// `POST /applications/:id/cancel`
pub(super) async fn cancel(State(rest): State<Rest>, names: Names) -> Accepted {
    cancel_job(&rest, names.job()?).await
}

/// `GET /applications/:id/exceptions`: why its job failed for good.
pub(super) async fn exceptions(State(rest): State<Rest>, names: Names) -> Answer {
    let job = names.job()?;
    let view = move |coordinator: &Coordinator, _| {
        let failed = coordinator.job(job)?.summary.status == JobStatus::Failed;
        let last = coordinator.exceptions(job)?.into_iter().next();
        Some(last.filter(|_| failed))
    };
    let last = rest.find(|| job_not_found(job), view).await?;
    let entry = |entry: ExceptionEntry| {
        json!({
            "exceptionName": "JobException",
            "stacktrace": entry.message,
            "timestamp": entry.at.0,
            "jobId": job.to_string(),
        })
    };
    let entries: Vec<Value> = last.into_iter().map(entry).collect();
    Ok(Json(json!({ "exceptionHistory": { "entries": entries } })))
}

/// `GET /applications/:id/jobmanager/config`
pub(super) async fn config(rest: State<Rest>, names: Names) -> Answer {
    rest.must_exist(names.job()?).await?;
    Ok(settings::cluster(rest).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_job_is_one_of_its_application() {
        for status in JobStatus::ALL {
            let states = STATES.iter().filter(|(_, states)| states.contains(&status));
            assert_eq!(states.count(), 1, "{status}");
        }
    }
}
