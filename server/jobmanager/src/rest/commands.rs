//! What clients may order: submit a job, cancel a job.

use super::body;
use super::error::Failure;
use super::{JobOf, Parameters, Rest, job_not_found};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use jobmanager_core::graph::{JobGraph, Problem};
use jobmanager_core::id::JobId;
use jobmanager_core::jobmanager::{Command, Coordinator, Reply};
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// How long an unanswered client still waits to hear why.
const STORE_QUESTION: Duration = Duration::from_secs(1);

type Accepted = Result<(StatusCode, Json<Value>), Failure>;

/// `POST /jobs`: the body is a JobGraph as JSON.
pub(super) async fn submit(State(rest): State<Rest>, body: Body) -> Accepted {
    let graph = parse(body::read(body).await?, &rest)?;
    let command = Command::Submit(Arc::new(graph));
    match order(&rest, command).await? {
        Reply::Submitted(job) | Reply::AlreadySubmitted(job) => {
            let body = json!({ "jobUrl": format!("/jobs/{job}"), "jobid": job.to_string() });
            Ok((StatusCode::ACCEPTED, Json(body)))
        }
        reply @ (Reply::CancelAccepted(_)
        | Reply::AlreadyEnded(..)
        | Reply::UnknownJob(_)
        | Reply::Conflict(_)
        | Reply::Overloaded(_)) => Err(failure(reply)),
    }
}

/// `PATCH /jobs/:id?mode=cancel`
pub(super) async fn cancel(
    State(rest): State<Rest>,
    JobOf(job): JobOf,
    Parameters(parameters): Parameters,
) -> Accepted {
    let mode = parameters.get("mode").map_or("cancel", String::as_str);
    if !mode.eq_ignore_ascii_case("cancel") {
        let words = format!("mode `{}` is not known; `cancel` is", mode.escape_debug());
        return Err(Failure::bad_request(words));
    }
    match order(&rest, Command::Cancel(job)).await? {
        Reply::CancelAccepted(_) => Ok((StatusCode::ACCEPTED, Json(json!({})))),
        reply @ (Reply::Submitted(_)
        | Reply::AlreadySubmitted(_)
        | Reply::AlreadyEnded(..)
        | Reply::UnknownJob(_)
        | Reply::Conflict(_)
        | Reply::Overloaded(_)) => Err(failure(reply)),
    }
}

/// Brings a command to the coordinator. One that gets no reply because nothing can be made durable is
/// told so.
async fn order(rest: &Rest, command: Command) -> Result<Reply, Failure> {
    let unavailable = match rest.driver.command(command, rest.timeout).await {
        Ok(reply) => return Ok(reply),
        Err(unavailable) => unavailable,
    };
    let problem = |coordinator: &Coordinator, _| coordinator.overview().store_problem;
    match rest.driver.look(STORE_QUESTION, problem).await {
        Ok(Some(problem)) => Err(Failure::unavailable(format!(
            "the store takes no writes: {problem}; the command may still be carried out when it does"
        ))),
        Ok(None) | Err(_) => Err(unavailable.into()),
    }
}

/// What a reply that is not the hoped-for one means to the client.
fn failure(reply: Reply) -> Failure {
    match reply {
        Reply::UnknownJob(job) => job_not_found(job),
        Reply::AlreadyEnded(job, status) => Failure::conflict(format!(
            "Job {job} has already reached another terminal state: {status}"
        )),
        Reply::Conflict(job) => Failure::conflict(format!(
            "Job {job} exists with another graph; choose another jobId, or leave it out"
        )),
        Reply::Overloaded(reason) => Failure::unavailable(reason),
        Reply::Submitted(job) | Reply::AlreadySubmitted(job) | Reply::CancelAccepted(job) => {
            Failure::unavailable(format!("the answer for job {job} was lost; try again"))
        }
    }
}

fn parse(bytes: Vec<u8>, rest: &Rest) -> Result<JobGraph, Failure> {
    let parsed = jobmanager_proto::job_json::parse(&bytes, fresh_job_id(), &rest.job_defaults);
    parsed.map_err(|problems| Failure::bad_body(problems.iter().map(describe).collect()))
}

fn describe(problem: &Problem) -> String {
    if problem.path.is_empty() {
        return problem.problem.clone();
    }
    format!("{}: {}", problem.path, problem.problem)
}

/// An id for a job whose client gave none. Drawn from the keys that the standard library takes from the
/// system for its hash maps: 128 bits that two clients or two processes do not share.
fn fresh_job_id() -> JobId {
    let half = || u128::from(RandomState::new().hash_one(std::time::Instant::now()));
    JobId(half() << 64 | half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_job_ids_differ() {
        assert_ne!(fresh_job_id(), fresh_job_id());
    }
}
