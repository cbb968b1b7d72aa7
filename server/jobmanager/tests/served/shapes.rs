//! The shapes of Flink 2.3.0's answers: every field with an example of its type.

use serde_json::{Value, json};

/// Checks that `value` has every field of `shape` with a value of the same JSON type. Every element of a
/// list has the shape of the list's only element; `null` in a shape fits everything.
pub(crate) fn has_shape(value: &Value, shape: &Value, path: &str) {
    match (value, shape) {
        (_, Value::Null) | (Value::Bool(_), Value::Bool(_)) => {}
        (Value::Number(_), Value::Number(_)) | (Value::String(_), Value::String(_)) => {}
        (Value::Array(values), Value::Array(shapes)) => {
            for (index, value) in values.iter().enumerate() {
                has_shape(value, &shapes[0], &format!("{path}[{index}]"));
            }
        }
        (Value::Object(_), Value::Object(fields)) => {
            for (name, shape) in fields {
                let field = value.get(name);
                let field = field.unwrap_or_else(|| panic!("{path}.{name} is missing"));
                has_shape(field, shape, &format!("{path}.{name}"));
            }
        }
        (value, shape) => panic!("{path} is {value}, expected something like {shape}"),
    }
}

/// An object with these fields, all numbers.
fn numbers(names: &str) -> Value {
    let fields = names
        .split_whitespace()
        .map(|name| (name.to_owned(), json!(0)));
    Value::Object(fields.collect())
}

pub(crate) fn with(mut object: Value, fields: Value) -> Value {
    let more = fields.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(more);
    object
}

const STATES: &str = "CREATED SCHEDULED DEPLOYING INITIALIZING RUNNING FINISHED CANCELING CANCELED \
                      FAILED RECONCILING";

pub(crate) fn job_line() -> Value {
    json!({
        "jid": "", "name": "", "jobType": "", "schedulerType": "", "start-time": 0, "end-time": 0,
        "duration": 0, "state": "", "last-modification": 0, "pending-operators": 0,
        "tasks": numbers(&format!("{} total", STATES.to_lowercase())),
    })
}

pub(crate) fn job_details() -> Value {
    let metrics = with(
        numbers(
            "read-bytes write-bytes read-records write-records accumulated-backpressured-time \
                 accumulated-idle-time accumulated-busy-time",
        ),
        json!({
            "read-bytes-complete": true, "write-bytes-complete": true,
            "read-records-complete": true, "write-records-complete": true,
        }),
    );
    let vertex = json!({
        "id": "", "slotSharingGroupId": "", "name": "", "maxParallelism": 0, "parallelism": 0,
        "status": "", "start-time": 0, "end-time": 0, "duration": 0, "tasks": numbers(STATES),
        "metrics": metrics,
    });
    let node = json!({
        "id": "", "operator": "", "parallelism": 0, "operator_strategy": "", "description": "",
        "optimizer_properties": {},
    });
    json!({
        "jid": "", "application-id": "", "name": "", "isStoppable": false, "state": "",
        "job-type": "", "schedulerType": "", "start-time": 0, "end-time": 0, "duration": 0,
        "maxParallelism": 0, "now": 0, "vertices": [vertex], "status-counts": numbers(STATES),
        "plan": { "jid": "", "name": "", "type": "", "nodes": [node] }, "pending-operators": 0,
        "timestamps": numbers("INITIALIZING CREATED RUNNING RESTARTING FAILING FAILED CANCELLING \
                               CANCELED FINISHED SUSPENDED RECONCILING"),
    })
}

pub(crate) fn taskmanager() -> Value {
    let resource = json!({
        "cpuCores": 0, "taskHeapMemory": 0, "taskOffHeapMemory": 0, "managedMemory": 0,
        "networkMemory": 0, "extendedResources": {},
    });
    json!({
        "id": "", "path": "", "dataPort": 0, "jmxPort": 0, "timeSinceLastHeartbeat": 0,
        "slotsNumber": 0, "freeSlots": 0, "assignedTasks": 0, "totalResource": resource.clone(),
        "freeResource": resource,
        "hardware": numbers("cpuCores physicalMemory freeMemory managedMemory"),
        "memoryConfiguration": numbers("frameworkHeap taskHeap frameworkOffHeap taskOffHeap \
            networkMemory managedMemory jvmMetaspace jvmOverhead totalFlinkMemory totalProcessMemory"),
    })
}

pub(crate) fn checkpoints() -> Value {
    let summary = json!({
        "min": 0, "max": 0, "avg": 0, "p50": null, "p90": null, "p95": null, "p99": null, "p999": null,
    });
    json!({
        "counts": numbers("restored total in_progress completed failed"),
        "summary": {
            "checkpointed_size": summary, "state_size": summary, "end_to_end_duration": summary,
            "alignment_buffered": summary, "processed_data": summary, "persisted_data": summary,
        },
        "latest": { "completed": null, "savepoint": null, "failed": null, "restored": null },
        "history": [{ "className": "", "id": 0, "status": "", "trigger_timestamp": 0 }],
    })
}

pub(crate) fn cluster_overview() -> Value {
    with(
        numbers(
            "taskmanagers slots-total slots-available jobs-running jobs-finished jobs-cancelled \
             jobs-failed",
        ),
        json!({ "flink-version": "", "flink-commit": "" }),
    )
}

pub(crate) fn config() -> Value {
    json!({
        "refresh-interval": 3000, "timezone-name": "", "timezone-offset": 0, "flink-version": "",
        "flink-revision": "", "features": {
            "web-submit": true, "web-cancel": true, "web-rescale": false, "web-history": false,
        },
    })
}
