//! `GET /metrics`, for Prometheus: Flink's names and scopes where Flink has the metric, and ours beside them. In the
//! OpenMetrics format.
//!
//! The metrics of a job are there until it ends. The coordinator is looked at for some jobs at a time, so that many jobs
//! do not keep others waiting.

use super::error::Failure;
use super::metrics::{Metric, Metrics, job_metrics};
use super::{Rest, hex};
use crate::traces::Spans;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use jobmanager_core::id::{Epoch, JobId, VertexIndex};
use jobmanager_core::jobmanager::{Coordinator, Overview, VertexDetails, WorkersOverview};
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How many jobs are looked at between two steps.
const AT_ONCE: usize = 128;
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Flink's metrics of a job, as `/jobs/ID/metrics` has them, with what they are.
const OF_JOB: [(&str, &str); 26] = [
    ("numRestarts", "Restarts of a region of the job"),
    ("fullRestarts", "The same as numRestarts"),
    ("numRescales", "Changes of the parallelism"),
    (
        "uptime",
        "Milliseconds for which the job has been RUNNING; -1 once it has ended",
    ),
    (
        "downtime",
        "Milliseconds for which the job has been RESTARTING; -1 once it has ended",
    ),
    (
        "initializingTime",
        "Milliseconds for which the job has been INITIALIZING",
    ),
    (
        "createdTime",
        "Milliseconds for which the job has been CREATED",
    ),
    (
        "runningTime",
        "Milliseconds for which the job has been RUNNING",
    ),
    (
        "restartingTime",
        "Milliseconds for which the job has been RESTARTING",
    ),
    (
        "failingTime",
        "Milliseconds for which the job has been FAILING",
    ),
    (
        "cancellingTime",
        "Milliseconds for which the job has been CANCELLING",
    ),
    (
        "deployingTime",
        "Milliseconds for which the job has been RUNNING without all of its tasks",
    ),
    (
        "allSubTasksRunningOrFinishedTime",
        "Milliseconds for which the job has been RUNNING with all of its tasks",
    ),
    (
        "totalNumberOfCheckpoints",
        "Checkpoints that were triggered",
    ),
    ("numberOfCompletedCheckpoints", "Checkpoints that completed"),
    ("numberOfFailedCheckpoints", "Checkpoints that failed"),
    (
        "numberOfInProgressCheckpoints",
        "Checkpoints that are under way",
    ),
    (
        "lastCompletedCheckpointId",
        "Id of the last completed checkpoint; -1 if there is none",
    ),
    (
        "lastCheckpointSize",
        "Bytes of the last completed checkpoint; -1 if there is none",
    ),
    ("lastCheckpointFullSize", "The same as lastCheckpointSize"),
    (
        "lastCheckpointMetadataSize",
        "Always 0, or -1 before the first checkpoint: metadata is in the store",
    ),
    (
        "lastCheckpointProcessedData",
        "Always 0, or -1 before the first checkpoint: barriers wait their turn",
    ),
    (
        "lastCheckpointPersistedData",
        "Always 0, or -1 before the first checkpoint: barriers wait their turn",
    ),
    (
        "lastCheckpointDuration",
        "Milliseconds that the last completed checkpoint took; -1 if there is none",
    ),
    (
        "lastCheckpointCompletedTimestamp",
        "When the last completed checkpoint completed, in milliseconds since 1970; -1 if none did",
    ),
    (
        "lastCheckpointRestoreTimestamp",
        "When the job was restored last, in milliseconds since 1970; -1 if it was not",
    ),
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Host {
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfJob {
    job_id: String,
    job_name: String,
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVertex {
    job_id: String,
    job_name: String,
    task_id: String,
    task_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFiles {
    of: &'static str,
}

/// The cluster between two steps.
struct Seen {
    overview: Overview,
    /// TaskManagers that are started for jobs, if they are.
    workers: Option<WorkersOverview>,
    jobs: [u32; JobStatus::ALL.len()],
    tasks: [u32; ExecutionState::ALL.len()],
    /// The jobs that have not ended.
    live: Vec<JobId>,
}

/// A job between two steps.
struct SeenJob {
    id: JobId,
    name: String,
    metrics: Metrics,
    vertices: Vec<VertexDetails>,
    adopted: u32,
}

/// `GET /metrics`
pub(super) async fn exposition(State(rest): State<Rest>) -> Result<impl IntoResponse, Failure> {
    let seen = rest.driver.look(rest.timeout, see).await?;
    let mut registry = Registry::default();
    of_cluster(&mut registry, &rest, &seen);
    of_files(&mut registry, &rest);
    if let Some(spans) = &rest.spans {
        of_spans(&mut registry, spans);
    }
    let jobs = OfJobs::register(&mut registry, &rest);
    for ids in seen.live.chunks(AT_ONCE) {
        let (ids, storage) = (ids.to_vec(), rest.checkpoint_storage.clone());
        let telemetry = rest.driver.telemetry();
        let (epoch, since) = (telemetry.epoch, telemetry.since);
        let view = move |coordinator: &Coordinator, now: Timestamp| {
            let see = |id: JobId| see_job(coordinator, id, now, &storage, (epoch, since));
            ids.into_iter().filter_map(see).collect::<Vec<_>>()
        };
        for job in rest.driver.look(rest.timeout, view).await? {
            jobs.add(&rest, &job);
        }
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a String takes whatever is written");
    Ok(([(CONTENT_TYPE, FORMAT)], text))
}

fn see(coordinator: &Coordinator, _: Timestamp) -> Seen {
    let mut seen = Seen {
        overview: coordinator.overview(),
        workers: coordinator.workers(),
        jobs: Default::default(),
        tasks: Default::default(),
        live: Vec::new(),
    };
    for job in coordinator.lines() {
        seen.jobs[job.status as usize] += 1;
        if job.status.is_terminal() {
            continue;
        }
        seen.live.push(job.id);
        for (sum, count) in seen.tasks.iter_mut().zip(job.tasks.0) {
            *sum += count;
        }
    }
    seen
}

/// `term` is the epoch of the coordinator, and since when it leads.
fn see_job(
    coordinator: &Coordinator,
    id: JobId,
    now: Timestamp,
    storage: &str,
    term: (Epoch, Timestamp),
) -> Option<SeenJob> {
    let job = coordinator.job(id)?;
    let (epoch, since) = term;
    // A job of this term has no attempts of an earlier one.
    let recovered = job.summary.started < since;
    let adopted = match recovered {
        true => super::events::adopted(coordinator, id, epoch),
        false => 0,
    };
    Some(SeenJob {
        id,
        metrics: job_metrics(coordinator, id, now, storage)?,
        adopted,
        name: job.summary.name,
        vertices: job.vertices,
    })
}

fn of_cluster(registry: &mut Registry, rest: &Rest, seen: &Seen) {
    let host = Host { host: host(rest) };
    let Overview {
        taskmanagers,
        slots_total,
        slots_free,
        jobs_running,
        store_problem,
        ..
    } = &seen.overview;
    for (name, help, number) in [
        (
            "numRegisteredTaskManagers",
            "Registered TaskManagers",
            taskmanagers,
        ),
        ("numRunningJobs", "Jobs that have not ended", jobs_running),
        (
            "taskSlotsAvailable",
            "Slots in which no task is",
            slots_free,
        ),
        (
            "taskSlotsTotal",
            "Slots of the registered TaskManagers",
            slots_total,
        ),
    ] {
        let family = Family::<Host, Gauge>::default();
        family.get_or_create(&host).set(i64::from(*number));
        registry.register(format!("flink_jobmanager_{name}"), help, family);
    }
    let jobs = by_state(JobStatus::ALL.iter().zip(seen.jobs));
    registry.register("jobmanager_jobs", "Jobs, by their state", jobs);
    let tasks = by_state(ExecutionState::ALL.iter().zip(seen.tasks));
    registry.register(
        "jobmanager_tasks",
        "Tasks of jobs that have not ended, by their state",
        tasks,
    );
    if let Some(workers) = &seen.workers {
        of_workers(registry, workers);
    }

    let telemetry = rest.driver.telemetry();
    let epoch = i64::try_from(telemetry.epoch.0).unwrap_or(i64::MAX);
    registry.register(
        "jobmanager_epoch",
        "The epoch of this leader, which grows with every one",
        one(epoch),
    );
    let problem = one(i64::from(store_problem.is_some()));
    registry.register(
        "jobmanager_store_problem",
        "1 while the store takes no writes",
        problem,
    );
    let queues = Family::<Queue, Gauge>::default();
    for (queue, depth) in [
        ("events", rest.driver.waiting_events()),
        ("commands", telemetry.commands.get()),
        ("deletions", telemetry.deletions.get()),
    ] {
        queues.get_or_create(&Queue { queue }).set(depth);
    }
    registry.register("jobmanager_queue_depth", "What waits in a queue", queues);
    telemetry.register(registry);
}

fn of_files(registry: &mut Registry, rest: &Rest) {
    let failed = Family::<OfFiles, Counter>::default();
    let stale = Family::<OfFiles, Gauge>::default();
    for reloads in rest.reloads.iter() {
        let labels = OfFiles { of: reloads.what() };
        failed.get_or_create(&labels).inc_by(reloads.failed());
        let is_stale = i64::from(reloads.is_stale());
        stale.get_or_create(&labels).set(is_stale);
    }
    registry.register(
        "jobmanager_reloads_failed",
        "Files of certificates or tokens that were replaced by some of which nothing can be made",
        failed,
    );
    registry.register(
        "jobmanager_reload_stale",
        "1 while what is in these files does not count",
        stale,
    );
    let ends = Family::<OfFiles, Gauge>::default();
    for shown in rest.shown.iter() {
        let of = shown.reloads().what();
        let end = shown.current().expires().as_secs();
        let end = i64::try_from(end).unwrap_or(i64::MAX);
        ends.get_or_create(&OfFiles { of }).set(end);
    }
    registry.register(
        "jobmanager_certificate_not_after_seconds",
        "When a certificate that is shown to others expires, in seconds since the beginning of 1970",
        ends,
    );
}

fn of_spans(registry: &mut Registry, spans: &Spans) {
    for (name, words, count) in [
        (
            "jobmanager_spans_exported",
            "Spans that the collector of traces has taken",
            spans.exported(),
        ),
        (
            "jobmanager_spans_dropped",
            "Spans that the collector of traces has not taken, or not in time",
            spans.dropped(),
        ),
    ] {
        let counter = Counter::<u64>::default();
        counter.inc_by(count);
        registry.register(name, words, counter);
    }
}

fn of_workers(registry: &mut Registry, workers: &WorkersOverview) {
    let states = [
        ("pending", workers.pending),
        ("starting", workers.starting),
        ("registered", workers.registered),
    ];
    registry.register(
        "jobmanager_workers",
        "TaskManagers that were asked for, by their state",
        by_state(states.into_iter()),
    );
    registry.register(
        "jobmanager_required_slots",
        "Slots that all jobs require, whoever has them",
        one(i64::try_from(workers.required_slots).unwrap_or(i64::MAX)),
    );
}

fn one(number: i64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(number);
    gauge
}

fn by_state<S: ToString>(counts: impl Iterator<Item = (S, u32)>) -> Family<InState, Gauge> {
    let family = Family::<InState, Gauge>::default();
    for (state, count) in counts {
        let state = state.to_string();
        family
            .get_or_create(&InState { state })
            .set(i64::from(count));
    }
    family
}

/// Under which name Flink's metrics have this JobManager.
fn host(rest: &Rest) -> String {
    let address = &rest.address;
    let host = address
        .rsplit_once(':')
        .map_or(&**address, |(host, _)| host);
    host.to_owned()
}

/// The metrics of all jobs.
struct OfJobs {
    host: String,
    /// By the order of [`OF_JOB`].
    flinks: Vec<Family<OfJob, Gauge>>,
    adopted: Family<OfJob, Gauge>,
    records_in: Family<OfVertex, Gauge>,
    records_out: Family<OfVertex, Gauge>,
}

impl OfJobs {
    fn register(registry: &mut Registry, rest: &Rest) -> OfJobs {
        let flinks = OF_JOB.map(|(name, help)| {
            let family = Family::<OfJob, Gauge>::default();
            registry.register(format!("flink_jobmanager_job_{name}"), help, family.clone());
            family
        });
        let jobs = OfJobs {
            host: host(rest),
            flinks: flinks.into(),
            adopted: Family::default(),
            records_in: Family::default(),
            records_out: Family::default(),
        };
        registry.register(
            "jobmanager_job_adopted_attempts",
            "Attempts that run since an earlier leader, which this one has adopted",
            jobs.adopted.clone(),
        );
        registry.register(
            "jobmanager_vertex_records_in",
            "Records that the current attempts of a vertex have read",
            jobs.records_in.clone(),
        );
        registry.register(
            "jobmanager_vertex_records_out",
            "Records that the current attempts of a vertex have written",
            jobs.records_out.clone(),
        );
        jobs
    }

    fn add(&self, rest: &Rest, job: &SeenJob) {
        let labels = OfJob {
            job_id: job.id.to_string(),
            job_name: job.name.clone(),
            host: self.host.clone(),
        };
        for ((name, _), family) in OF_JOB.iter().zip(&self.flinks) {
            if let Some(Metric::Number(number)) = job.metrics.get(*name) {
                family.get_or_create(&labels).set(*number);
            }
        }
        self.adopted
            .get_or_create(&labels)
            .set(i64::from(job.adopted));
        for (index, vertex) in (0..).map(VertexIndex).zip(&job.vertices) {
            let (counters, _) = rest.metrics.vertex(job.id, index);
            let labels = OfVertex {
                job_id: job.id.to_string(),
                job_name: job.name.clone(),
                task_id: hex(vertex.operator_id),
                task_name: vertex.name.clone(),
            };
            let number = |records: u64| i64::try_from(records).unwrap_or(i64::MAX);
            let (read, written) = (number(counters.records_in), number(counters.records_out));
            self.records_in.get_or_create(&labels).set(read);
            self.records_out.get_or_create(&labels).set(written);
        }
    }
}
