//! What clients may order: submit a job, cancel a job.

use super::access::About;
use super::body;
use super::error::Failure;
use super::submissions::Submitter;
use super::{JobOf, Parameters, Rest, job_not_found};
use crate::savepoints;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use jobmanager_core::graph::Problem;
use jobmanager_core::id::JobId;
use jobmanager_core::jobmanager::{Command, Coordinator, Reply};
use jobmanager_core::savepoint::Savepoint;
use jobmanager_proto::job_json;
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How long a command may go unanswered before it is looked whether the store is why.
pub(super) const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// How long an unanswered client still waits to hear why.
const STORE_QUESTION: Duration = Duration::from_secs(1);

pub(super) type Accepted = Result<(StatusCode, Json<Value>), Failure>;

/// `POST /jobs`: the body is a JobGraph as JSON.
pub(super) async fn submit(
    State(rest): State<Rest>,
    _submitter: Submitter,
    body: Body,
) -> Result<(StatusCode, Extension<About>, Json<Value>), Failure> {
    let command = read_submission(&body::read(body).await?, &rest).await?;
    if let Some(problem) = store_problem(&rest).await {
        return Err(Failure::unavailable(format!(
            "the store takes no writes: {problem}; submit the job again when that is repaired"
        )));
    }
    let reply = order(&rest, command, STORE_PATIENCE).await?;
    let (Reply::Submitted(job) | Reply::AlreadySubmitted(job)) = reply else {
        return Err(failure(reply));
    };
    let body = json!({ "jobUrl": format!("/jobs/{job}"), "jobid": job.to_string() });
    Ok((StatusCode::ACCEPTED, Extension(About(job)), Json(body)))
}

/// `PATCH /jobs/:id?mode=cancel`
pub(super) async fn cancel(
    State(rest): State<Rest>,
    JobOf(job): JobOf,
    parameters: Parameters,
) -> Accepted {
    let mode = parameters.text("mode").unwrap_or("cancel");
    if !mode.eq_ignore_ascii_case("cancel") {
        let words = format!("mode `{}` is not known; `cancel` is", mode.escape_debug());
        return Err(Failure::bad_request(words));
    }
    cancel_job(&rest, job).await
}

/// `GET /jobs/:id/yarn-cancel`: what the button of Flink's dashboard asks for.
pub(super) async fn yarn_cancel(State(rest): State<Rest>, JobOf(job): JobOf) -> Accepted {
    cancel_job(&rest, job).await
}

pub(super) async fn cancel_job(rest: &Rest, job: JobId) -> Accepted {
    let reply = order(rest, Command::Cancel(job), STORE_PATIENCE).await?;
    let Reply::CancelAccepted(_) = reply else {
        return Err(failure(reply));
    };
    Ok((StatusCode::ACCEPTED, Json(json!({}))))
}

/// Brings a command to the coordinator. One that gets no reply because nothing can be made durable is
/// told so, the first time after `patience`.
pub(super) async fn order(
    rest: &Rest,
    command: Command,
    patience: Duration,
) -> Result<Reply, Failure> {
    let mut reply = pin!(rest.driver.command(command, rest.timeout));
    loop {
        let answer = tokio::time::timeout(patience, &mut reply).await;
        if let Ok(Ok(reply)) = answer {
            return Ok(reply);
        }
        if let Some(problem) = store_problem(rest).await {
            return Err(Failure::unavailable(format!(
                "the store takes no writes: {problem}; the command may still be carried out when it does"
            )));
        }
        if let Ok(Err(unavailable)) = answer {
            return Err(unavailable.into());
        }
    }
}

/// Why the store did not take the last write.
async fn store_problem(rest: &Rest) -> Option<String> {
    let problem = |coordinator: &Coordinator, _| coordinator.overview().store_problem;
    let seen = rest.driver.look(STORE_QUESTION, problem).await;
    seen.ok().flatten()
}

/// What a reply that is not the hoped-for one means to the client.
pub(super) fn failure(reply: Reply) -> Failure {
    match reply {
        Reply::UnknownJob(job) => job_not_found(job),
        Reply::AlreadyEnded(job, status) => Failure::conflict(format!(
            "Job {job} has already reached another terminal state: {status}"
        )),
        Reply::Conflict(job) => Failure::conflict(format!(
            "Job {job} exists with another graph; choose another jobId, or leave it out"
        )),
        Reply::WithoutCheckpoints(job) => Failure::conflict(format!(
            "Job {job} takes no checkpoints, which savepoints and another parallelism need: submit it with execution.checkpointing.interval"
        )),
        Reply::IsEnding(job) => Failure::conflict(format!(
            "Job {job} is about to end: nothing can be done with it any more"
        )),
        Reply::TooManySlots(_, problem) => Failure::bad_body([problem]),
        Reply::CannotRestore(_, problems) => Failure::bad_body(problems),
        Reply::CannotRescale(_, problems) => Failure::bad_body(problems),
        Reply::Overloaded(reason) => Failure::unavailable(reason),
        Reply::Submitted(job)
        | Reply::AlreadySubmitted(job)
        | Reply::CancelAccepted(job)
        | Reply::RescaleAccepted(job)
        | Reply::CheckpointAccepted(job, _)
        | Reply::SavepointAccepted(job, _) => {
            Failure::unavailable(format!("the answer for job {job} was lost; try again"))
        }
    }
}

/// The job in a body, with the savepoint from which it is to start.
async fn read_submission(bytes: &[u8], rest: &Rest) -> Result<Command, Failure> {
    let id = JobId(fresh_id());
    let parse = |from: Option<&Savepoint>| {
        job_json::parse_from(bytes, id, &rest.job_defaults, from)
            .map_err(|problems| Failure::bad_body(problems.iter().map(describe)))
    };
    let graph = parse(None)?;
    let Some(restore) = &graph.config().restore else {
        let graph = Arc::new(graph);
        return Ok(Command::Submit { graph, from: None });
    };
    let savepoint = savepoints::read(&restore.path).await.map_err(|problem| {
        let words = format!("configuration.execution.state-recovery.path: {problem}");
        Failure::bad_body([words])
    })?;
    Ok(Command::Submit {
        graph: Arc::new(parse(Some(&savepoint))?),
        from: Some(Arc::new(savepoint)),
    })
}

fn describe(problem: &Problem) -> String {
    if problem.path.is_empty() {
        return problem.problem.clone();
    }
    format!("{}: {}", problem.path, problem.problem)
}

/// An id for what a client gave none. Drawn from the keys that the standard library takes from the
/// system for its hash maps: 128 bits that two clients or two processes do not share.
pub(super) fn fresh_id() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(std::time::Instant::now()));
    half() << 64 | half()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::Clock;
    use crate::discard::CheckpointStorage;
    use crate::driver::driver;
    use crate::election::Lease;
    use crate::metrics::MetricsTable;
    use crate::options::Options;
    use crate::rest::{Events, Submissions};
    use crate::security::Guard;
    use crate::store::{Leadership, MemoryStore, Store, StoreError};
    use axum::response::IntoResponse;
    use jobmanager_core::id::Epoch;
    use jobmanager_core::jobmanager::StoreOutcome;
    use jobmanager_core::record::RecordOp;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A store on a disk that may be full.
    #[derive(Clone, Default)]
    struct Disk {
        store: MemoryStore,
        full: Arc<AtomicBool>,
    }

    impl Store for Disk {
        async fn load(&self) -> Result<Leadership, StoreError> {
            self.store.load().await
        }

        async fn commit(&self, epoch: Epoch, ops: Vec<RecordOp>) -> StoreOutcome {
            if self.full.load(Ordering::Relaxed) {
                return StoreOutcome::Unavailable("the disk is full".to_owned());
            }
            self.store.commit(epoch, ops).await
        }

        async fn close(&self) {}
    }

    /// A JobManager without a network, on this store and folder.
    async fn rest_on(disk: &Disk, folder: &std::path::Path) -> Rest {
        let options = Options::from_map(Default::default()).unwrap();
        let clock = Clock::start();
        let Leadership { epoch, records } = disk.load().await.unwrap();
        let coordinator = Coordinator::recover(options.cluster, epoch, records, clock.now());
        let url = format!("file://{}", folder.display());
        let storage = CheckpointStorage::open(&url).await.unwrap();
        let (driver, driver_loop) =
            driver(coordinator.unwrap(), epoch, clock, disk.clone(), storage);
        tokio::spawn(driver_loop.run());
        let address: Arc<str> = "127.0.0.1:0".into();
        let events = Events::of(&driver, Lease::endless(), address.clone(), None);
        Rest {
            driver,
            metrics: MetricsTable::default(),
            timeout: options.web_timeout,
            refresh: options.web_refresh,
            job_defaults: Arc::default(),
            checkpoint_storage: url.into(),
            guard: Guard::default(),
            spans: None,
            logs: crate::logs::Logs::new(None, false).unwrap(),
            reloads: Arc::new([]),
            shown: Arc::new([]),
            submissions: Submissions::limited(None),
            web: None,
            address,
            events,
            leaders: crate::election::Leaders::default(),
            disposals: crate::rest::Latest::default(),
        }
    }

    const GRAPH: &str = r#"{"name": "x", "vertices": [{"id": "a", "operator": "x"}]}"#;

    #[tokio::test]
    async fn a_job_is_refused_with_the_reason_while_the_store_takes_no_writes() {
        let (disk, folder) = (Disk::default(), tempfile::tempdir().unwrap());
        let rest = rest_on(&disk, folder.path()).await;
        disk.full.store(true, Ordering::Relaxed);
        // The first one finds it out; the next are refused before they are carried out.
        let command = read_submission(GRAPH.as_bytes(), &rest).await.unwrap();
        let refused = order(&rest, command, Duration::from_millis(1)).await;
        let second = submit(State(rest.clone()), Submitter, Body::from(GRAPH)).await;
        for failure in [refused.unwrap_err(), second.unwrap_err()] {
            let words = format!("{failure:?}");
            assert!(words.contains("the disk is full"), "{words}");
            let status = failure.into_response().status();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        }
        disk.full.store(false, Ordering::Relaxed);
        while store_problem(&rest).await.is_some() {
            tokio::task::yield_now().await;
        }
        let (status, Extension(About(_)), _) = submit(State(rest), Submitter, Body::from(GRAPH))
            .await
            .unwrap();
        assert_eq!(status, StatusCode::ACCEPTED);
    }

    #[test]
    fn fresh_ids_differ() {
        assert_ne!(fresh_id(), fresh_id());
    }
}
