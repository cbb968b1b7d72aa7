//! The cluster and its TaskManagers.

use super::error::{Answer, Failure};
use super::path::Page;
use super::{Named, Rest};
use axum::Json;
use axum::extract::State;
use jobmanager_core::id::TaskManagerId;
use jobmanager_core::jobmanager::{Coordinator, Overview, TaskManagerDetails};
use serde_json::{Value, json};

/// What clients that ask for Flink's version may rely on: the shapes of these answers.
const FLINK_VERSION: &str = "2.3.0";
/// Which program answers really.
const REVISION: &str = concat!("jobmanager-", env!("CARGO_PKG_VERSION"));

/// `GET /overview`
pub(super) async fn overview(State(rest): State<Rest>) -> Answer {
    rest.look(|coordinator, _| overview_json(coordinator.overview()))
        .await
}

pub(super) fn taskmanager_not_found(name: &str) -> Failure {
    Failure::not_found(format!("No TaskManager registered under {name}"))
}

pub(super) fn overview_json(overview: Overview) -> Value {
    json!({
        "taskmanagers": overview.taskmanagers,
        "slots-total": overview.slots_total,
        "slots-available": overview.slots_free,
        "jobs-running": overview.jobs_running,
        "jobs-finished": overview.jobs_finished,
        "jobs-cancelled": overview.jobs_canceled,
        "jobs-failed": overview.jobs_failed,
        "flink-version": FLINK_VERSION,
        "flink-commit": REVISION,
        "store-problem": overview.store_problem,
    })
}

/// `GET /config`
pub(super) async fn config(State(rest): State<Rest>) -> Json<Value> {
    Json(json!({
        "refresh-interval": u64::try_from(rest.refresh.as_millis()).unwrap_or(u64::MAX),
        "timezone-name": "Coordinated Universal Time",
        "timezone-offset": 0,
        "flink-version": FLINK_VERSION,
        "flink-revision": REVISION,
        "features": {
            "web-submit": false,
            "web-cancel": true,
            "web-rescale": true,
            "web-history": false,
        },
    }))
}

/// `GET /taskmanagers`
pub(super) async fn taskmanagers(State(rest): State<Rest>, page: Page) -> Answer {
    rest.look(move |coordinator, _| {
        let all = page.of(coordinator.taskmanagers());
        let all: Vec<Value> = all.map(|tm| line_json(&tm)).collect();
        json!({ "taskmanagers": all })
    })
    .await
}

/// `GET /taskmanagers/:id`
pub(super) async fn taskmanager(State(rest): State<Rest>, Named(name): Named) -> Answer {
    let id = TaskManagerId(name.clone());
    let view = move |coordinator: &Coordinator, _| coordinator.taskmanager(&id);
    let absent = || taskmanager_not_found(&name);
    let found = rest.find(absent, view).await?;
    Ok(Json(details_json(&found)))
}

/// A TaskManager in the list. Slots have no sizes here, so resources count slots as cores.
pub(super) fn line_json(tm: &TaskManagerDetails) -> Value {
    let port = tm.data_address.rsplit_once(':');
    let port: u16 = port.and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    let mut line = json!({
        "id": tm.id.0,
        "path": format!("grpc://{}", tm.data_address),
        "dataPort": port,
        "jmxPort": -1,
        "timeSinceLastHeartbeat": tm.last_heard.0,
        "slotsNumber": tm.slots,
        "freeSlots": tm.free_slots,
        "assignedTasks": tm.tasks,
        "totalResource": resource_json(tm.slots),
        "freeResource": resource_json(tm.free_slots),
        "hardware": {
            "cpuCores": tm.hardware.cpu_cores,
            "physicalMemory": tm.hardware.memory,
            "freeMemory": 0,
            "managedMemory": 0,
        },
        "memoryConfiguration": {
            "frameworkHeap": 0,
            "taskHeap": 0,
            "frameworkOffHeap": 0,
            "taskOffHeap": 0,
            "networkMemory": 0,
            "managedMemory": 0,
            "jvmMetaspace": 0,
            "jvmOverhead": 0,
            "totalFlinkMemory": 0,
            "totalProcessMemory": 0,
        },
        "incarnation": tm.incarnation.0.to_string(),
        "answering": tm.answers,
    });
    // As Flink, which says so of those that are blocked alone.
    if tm.leaves {
        line["blocked"] = true.into();
    }
    line
}

fn resource_json(slots: u32) -> Value {
    json!({
        "cpuCores": f64::from(slots),
        "taskHeapMemory": 0,
        "taskOffHeapMemory": 0,
        "managedMemory": 0,
        "networkMemory": 0,
        "extendedResources": {},
    })
}

/// A TaskManager: the line, its slots, and metrics of a virtual machine that it does not have.
pub(super) fn details_json(tm: &TaskManagerDetails) -> Value {
    let mut details = line_json(tm);
    let slots: Vec<Value> = tm
        .allocations
        .iter()
        .map(|(slot, job, tasks)| {
            json!({
                "jobId": job.to_string(),
                "resource": resource_json(1),
                "assignedTasks": tasks,
                "slot": slot.0,
            })
        })
        .collect();
    details["allocatedSlots"] = slots.into();
    let mut metrics = serde_json::Map::new();
    for name in JVM_METRICS {
        metrics.insert(name.to_owned(), 0.into());
    }
    metrics.insert("garbageCollectors".to_owned(), json!([]));
    details["metrics"] = metrics.into();
    details
}

/// Numbers that clients of Flink look for; always 0.
const JVM_METRICS: [&str; 18] = [
    "heapUsed",
    "heapCommitted",
    "heapMax",
    "nonHeapUsed",
    "nonHeapCommitted",
    "nonHeapMax",
    "directCount",
    "directUsed",
    "directMax",
    "mappedCount",
    "mappedUsed",
    "mappedMax",
    "nettyShuffleMemorySegmentsAvailable",
    "nettyShuffleMemorySegmentsUsed",
    "nettyShuffleMemorySegmentsTotal",
    "nettyShuffleMemoryAvailable",
    "nettyShuffleMemoryUsed",
    "nettyShuffleMemoryTotal",
];
