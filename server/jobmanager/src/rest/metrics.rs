//! Metrics by Flink's names: a list of those that there are, or the values of those asked for, of one thing or
//! aggregated over several. A name that is not known is left out, as with Flink.

use super::cluster::taskmanager_not_found;
use super::error::{Answer, Failure};
use super::path::Names;
use super::{JobOf, Named, Parameters, Rest, elapsed, job_not_found, time};
use crate::metrics::Counters;
use axum::Json;
use axum::extract::State;
use jobmanager_core::id::{JobId, TaskManagerId};
use jobmanager_core::jobmanager::{CheckpointEntry, CheckpointsDetails, Coordinator, JobDetails};
use jobmanager_core::savepoint::Savepoint;
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The metrics of one thing, by name.
pub(super) type Metrics = BTreeMap<String, Metric>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Metric {
    Number(i64),
    Text(String),
}

/// `get=a,b`: the names that are wanted; nothing if the list of names itself is.
fn wanted(parameters: &Parameters) -> Option<Vec<&str>> {
    let names = parameters.text("get")?;
    Some(names.split(',').filter(|name| !name.is_empty()).collect())
}

fn answer(metrics: &Metrics, parameters: &Parameters) -> Json<Value> {
    let value = |name: &str| {
        let value = match metrics.get(name)? {
            Metric::Number(number) => number.to_string(),
            Metric::Text(text) => text.clone(),
        };
        Some(json!({ "id": name, "value": value }))
    };
    match wanted(parameters) {
        Some(names) => Json(names.into_iter().filter_map(value).collect()),
        None => Json(ids(metrics.keys().map(String::as_str))),
    }
}

fn ids<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    names.map(|name| json!({ "id": name })).collect()
}

/// The numbers of several things, aggregated as `agg=` wants it; all ways unless it says so.
fn aggregated(all: &[Metrics], parameters: &Parameters) -> Answer {
    let known = ["min", "max", "avg", "sum", "skew"];
    let asked: Vec<&str> = match parameters.text("agg") {
        None => known.to_vec(),
        Some(text) => text.split(',').collect(),
    };
    if let Some(wrong) = asked.iter().find(|way| !known.contains(way)) {
        return Err(Failure::bad_request(format!(
            "agg `{}` is not known; {} are",
            wrong.escape_debug(),
            known.join(", ")
        )));
    }
    let Some(names) = wanted(parameters) else {
        let names: BTreeSet<&str> = all.iter().flatten().map(|(name, _)| &**name).collect();
        return Ok(Json(ids(names.into_iter())));
    };
    let line = |name: &str| {
        let number = |metrics: &Metrics| match metrics.get(name)? {
            Metric::Number(number) => Some(*number as f64),
            Metric::Text(_) => None,
        };
        let numbers: Vec<f64> = all.iter().filter_map(number).collect();
        let mut line = Map::from_iter([("id".to_owned(), name.into())]);
        for way in &asked {
            line.insert((*way).to_owned(), aggregate(&numbers, way).into());
        }
        (!numbers.is_empty()).then_some(Value::from(line))
    };
    Ok(Json(names.into_iter().filter_map(line).collect()))
}

/// Of at least one number.
fn aggregate(numbers: &[f64], way: &str) -> f64 {
    let sum: f64 = numbers.iter().sum();
    let average = sum / numbers.len() as f64;
    match way {
        "min" => numbers.iter().copied().fold(f64::INFINITY, f64::min),
        "max" => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "avg" => average,
        "sum" => sum,
        // How far the numbers are from their mean, on the average, in percent of the mean.
        _ if average == 0.0 => 0.0,
        _ => {
            let distances = numbers.iter().map(|number| (number - average).abs());
            let distance = distances.sum::<f64>() / numbers.len() as f64;
            (distance / average * 100.0).min(100.0)
        }
    }
}

/// `GET /jobmanager/metrics`
pub(super) async fn jobmanager(State(rest): State<Rest>, parameters: Parameters) -> Answer {
    let view = |coordinator: &Coordinator, _| coordinator.overview();
    let overview = rest.driver.look(rest.timeout, view).await?;
    let numbers = [
        ("numRegisteredTaskManagers", overview.taskmanagers),
        ("numRunningJobs", overview.jobs_running),
        ("taskSlotsAvailable", overview.slots_free),
        ("taskSlotsTotal", overview.slots_total),
    ];
    let metrics = numbers.map(|(name, number)| (name.to_owned(), Metric::Number(number.into())));
    Ok(answer(&Metrics::from(metrics), &parameters))
}

/// `GET /taskmanagers/:id/metrics`: none; what its tasks do is with the tasks.
pub(super) async fn taskmanager(State(rest): State<Rest>, Named(name): Named) -> Answer {
    let id = TaskManagerId(name.clone());
    let view = move |coordinator: &Coordinator, _| coordinator.data_address(&id).map(drop);
    rest.find(|| taskmanager_not_found(&name), view).await?;
    Ok(Json(json!([])))
}

/// `GET /taskmanagers/metrics`: none either.
pub(super) async fn taskmanagers() -> Json<Value> {
    Json(json!([]))
}

/// `GET /jobs/:id/metrics`
pub(super) async fn job(
    State(rest): State<Rest>,
    JobOf(job): JobOf,
    parameters: Parameters,
) -> Answer {
    let storage = rest.checkpoint_storage.clone();
    let view = move |coordinator: &Coordinator, now| job_metrics(coordinator, job, now, &storage);
    let metrics = rest.find(|| job_not_found(job), view).await?;
    Ok(answer(&metrics, &parameters))
}

/// `GET /jobs/metrics?jobs=ID,ID`
pub(super) async fn jobs(State(rest): State<Rest>, parameters: Parameters) -> Answer {
    let chosen = parameters.text("jobs");
    let chosen: Option<Vec<JobId>> = chosen
        .map(|ids| ids.split(',').map(super::parse_job).collect())
        .transpose()?;
    let storage = rest.checkpoint_storage.clone();
    let view = move |coordinator: &Coordinator, now| {
        let ids = chosen.unwrap_or_else(|| coordinator.lines().map(|job| job.id).collect());
        let metrics = |id: JobId| job_metrics(coordinator, id, now, &storage);
        ids.into_iter().filter_map(metrics).collect::<Vec<_>>()
    };
    let all = rest.driver.look(rest.timeout, view).await?;
    aggregated(&all, &parameters)
}

pub(super) fn job_metrics(
    coordinator: &Coordinator,
    id: JobId,
    now: Timestamp,
    storage: &str,
) -> Option<Metrics> {
    let job = coordinator.job(id)?;
    let checkpoints = coordinator.checkpoints(id)?;
    let mut metrics = Metrics::new();
    let mut put = |name: &str, number: i64| {
        metrics.insert(name.to_owned(), Metric::Number(number));
    };
    let restarts = i64::try_from(job.restarts).unwrap_or(i64::MAX);
    put("numRestarts", restarts);
    put("fullRestarts", restarts);
    put("numRescales", 0);
    state_times(&job, now, &mut put);
    checkpoint_numbers(&checkpoints, &mut put);
    let path = checkpoints.latest_completed.map_or_else(
        || "n/a".to_owned(),
        |entry| Savepoint::retained_location(storage, id, entry.id),
    );
    let path = Metric::Text(path);
    metrics.insert("lastCheckpointExternalPath".to_owned(), path);
    Some(metrics)
}

/// For how long the job has been in the state in which it is; 0 for the others.
fn state_times(job: &JobDetails, now: Timestamp, put: &mut impl FnMut(&str, i64)) {
    let summary = &job.summary;
    let since = |status: JobStatus| job.timestamps[status as usize];
    let current = |status: JobStatus| {
        let since = since(status).filter(|_| summary.status == status);
        since.map_or(0, |since| elapsed(since, now))
    };
    for (name, status) in [
        ("initializingTime", JobStatus::Initializing),
        ("createdTime", JobStatus::Created),
        ("runningTime", JobStatus::Running),
        ("restartingTime", JobStatus::Restarting),
        ("failingTime", JobStatus::Failing),
        ("cancellingTime", JobStatus::Cancelling),
    ] {
        put(name, current(status));
    }
    let all = summary.tasks.total();
    let up =
        summary.tasks.get(ExecutionState::Running) + summary.tasks.get(ExecutionState::Finished);
    let running = current(JobStatus::Running);
    let all_up = summary.status == JobStatus::Running && up == all;
    put(
        "allSubTasksRunningOrFinishedTime",
        if all_up { running } else { 0 },
    );
    put("deployingTime", if all_up { 0 } else { running });
    let ended = summary.status.is_terminal();
    put("uptime", if ended { -1 } else { running });
    put(
        "downtime",
        if ended {
            -1
        } else {
            current(JobStatus::Restarting)
        },
    );
}

fn checkpoint_numbers(checkpoints: &CheckpointsDetails, put: &mut impl FnMut(&str, i64)) {
    let CheckpointsDetails {
        completed,
        failed,
        in_progress,
        latest_completed: latest,
        latest_restored,
        ..
    } = checkpoints;
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    put(
        "totalNumberOfCheckpoints",
        count(completed + failed + in_progress),
    );
    put("numberOfCompletedCheckpoints", count(*completed));
    put("numberOfFailedCheckpoints", count(*failed));
    put("numberOfInProgressCheckpoints", count(*in_progress));
    let latest = latest.as_ref();
    let of = |number: &dyn Fn(&CheckpointEntry) -> i64| latest.map_or(-1, number);
    put("lastCompletedCheckpointId", of(&|entry| count(entry.id.0)));
    put("lastCheckpointSize", of(&|entry| count(entry.size)));
    put("lastCheckpointFullSize", of(&|entry| count(entry.size)));
    put("lastCheckpointProcessedData", of(&|_| 0));
    put("lastCheckpointPersistedData", of(&|_| 0));
    put("lastCheckpointMetadataSize", of(&|_| 0));
    put(
        "lastCheckpointCompletedTimestamp",
        of(&|entry| time(entry.latest_ack)),
    );
    let took = |entry: &CheckpointEntry| {
        let ack = entry.latest_ack.unwrap_or(entry.triggered);
        elapsed(entry.triggered, ack)
    };
    put("lastCheckpointDuration", of(&took));
    let restored = latest_restored.as_ref().map(|restore| restore.at);
    put("lastCheckpointRestoreTimestamp", time(restored));
}

/// What is read from the counters of a task.
type Counted = fn(&Counters) -> u64;

const OF_TASK: [(&str, Counted); 4] = [
    ("numBytesIn", |counters| counters.bytes_in),
    ("numBytesOut", |counters| counters.bytes_out),
    ("numRecordsIn", |counters| counters.records_in),
    ("numRecordsOut", |counters| counters.records_out),
];

fn task_metrics(prefix: String, counters: Counters) -> impl Iterator<Item = (String, Metric)> {
    OF_TASK.iter().map(move |(name, number)| {
        let number = i64::try_from(number(&counters)).unwrap_or(i64::MAX);
        (format!("{prefix}{name}"), Metric::Number(number))
    })
}

/// `GET /jobs/:id/vertices/:vertex/metrics`: each name begins with the number of the subtask.
pub(super) async fn vertex(
    State(rest): State<Rest>,
    names: Names,
    parameters: Parameters,
) -> Answer {
    let seen = rest.see(names.job()?, names.vertex()?).await?;
    let metrics: Metrics = seen
        .subtasks
        .iter()
        .filter_map(|subtask| Some((subtask.index, subtask.counters?)))
        .flat_map(|(index, counters)| task_metrics(format!("{index}."), counters))
        .collect();
    Ok(answer(&metrics, &parameters))
}

/// `GET /jobs/:id/vertices/:vertex/subtasks/:subtask/metrics`
pub(super) async fn subtask(
    State(rest): State<Rest>,
    names: Names,
    parameters: Parameters,
) -> Answer {
    let (seen, place) = rest.see_subtask(&names).await?;
    let counters = seen.subtasks[place].counters;
    let metrics: Metrics = counters
        .map(|counters| task_metrics(String::new(), counters).collect())
        .unwrap_or_default();
    Ok(answer(&metrics, &parameters))
}

/// `GET /jobs/:id/vertices/:vertex/subtasks/metrics?subtasks=0,2-4`
pub(super) async fn subtasks(
    State(rest): State<Rest>,
    names: Names,
    parameters: Parameters,
) -> Answer {
    let chosen = parameters.text("subtasks").map(parse_ranges).transpose()?;
    let seen = rest.see(names.job()?, names.vertex()?).await?;
    let is_chosen = |index: u32| {
        let chosen = chosen.as_ref();
        chosen.is_none_or(|ranges| ranges.iter().any(|range| range.contains(&index)))
    };
    let all: Vec<Metrics> = seen
        .subtasks
        .iter()
        .filter(|subtask| is_chosen(subtask.index))
        .filter_map(|subtask| Some(task_metrics(String::new(), subtask.counters?).collect()))
        .collect();
    aggregated(&all, &parameters)
}

/// `0,2-4`: numbers and ranges, both ends included.
fn parse_ranges(text: &str) -> Result<Vec<std::ops::RangeInclusive<u32>>, Failure> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    ranges.ok_or_else(|| {
        let words = "is not a list of numbers and ranges, such as 0,2-4";
        Failure::bad_request(format!("subtasks `{}` {words}", text.escape_debug()))
    })
}

/// `GET /jobs/:id/vertices/:vertex/jm-operator-metrics` and `…/watermarks`: operators run on TaskManagers alone,
/// and do not tell their watermarks.
pub(super) async fn none(State(rest): State<Rest>, names: Names) -> Answer {
    rest.see(names.job()?, names.vertex()?).await?;
    Ok(Json(json!([])))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_are_aggregated_as_asked() {
        let one = |number| Metrics::from([("n".to_owned(), Metric::Number(number))]);
        let all = [one(1), one(3), Metrics::new()];
        let query = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            Parameters(
                pairs
                    .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                    .collect(),
            )
        };
        let ask = |pairs| aggregated(&all, &query(pairs)).unwrap().0;
        assert_eq!(ask(&[]), json!([{ "id": "n" }]));
        assert_eq!(
            ask(&[("get", "n,nosuch")]),
            json!([{ "id": "n", "min": 1.0, "max": 3.0, "avg": 2.0, "sum": 4.0, "skew": 50.0 }])
        );
        let some = ask(&[("get", "n"), ("agg", "max,sum")]);
        assert_eq!(some, json!([{ "id": "n", "max": 3.0, "sum": 4.0 }]));
        assert!(aggregated(&all, &query(&[("get", "n"), ("agg", "foo")])).is_err());
        assert!(aggregated(&all, &query(&[("agg", "foo")])).is_err());
    }

    #[test]
    fn subtasks_are_chosen_by_numbers_and_ranges() {
        assert_eq!(parse_ranges("0,2-4").unwrap(), [0..=0, 2..=4]);
        assert!(parse_ranges("1-").is_err());
        assert!(parse_ranges("x").is_err());
    }
}
