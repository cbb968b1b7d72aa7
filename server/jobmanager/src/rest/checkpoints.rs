//! The checkpoints of a job, its savepoints among them.

use super::error::{Answer, Failure};
use super::statistics::Sorted;
use super::{JobOf, Rest, elapsed, hex, job_not_found, time};
use crate::driver::Acknowledged;
use axum::Json;
use axum::extract::State;
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::jobmanager::{
    CheckpointEntry, CheckpointOutcome, CheckpointsDetails, Coordinator, Outliving,
};
use jobmanager_core::record::SavepointRecord;
use jobmanager_core::savepoint::Savepoint;
use jobmanager_core::time::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// `GET /jobs/:id/checkpoints`
pub(super) async fn checkpoints(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let (details, shown) = look(&rest, job).await?;
    Ok(Json(shown.checkpoints(&details)))
}

/// The checkpoints of a job, and what is needed to show one.
pub(super) async fn look(rest: &Rest, job: JobId) -> Result<(CheckpointsDetails, Shown), Failure> {
    let storage = Arc::clone(&rest.checkpoint_storage);
    let acks = rest.driver.acks().of_job(job);
    let view = move |coordinator: &Coordinator, now: Timestamp| {
        let details = coordinator.checkpoints(job)?;
        let outliving = coordinator.outliving(job);
        let shown = Shown {
            job,
            storage,
            kept: kept(&details, retained(coordinator, job), outliving.as_ref()),
            outliving,
            savepoints: savepoints(&coordinator.savepoints(job)),
            vertices: vertices(coordinator, job),
            acks,
            now,
        };
        Some((details, shown))
    };
    rest.find(|| job_not_found(job), view).await
}

/// How many completed checkpoints of the job are kept: none once it has ended.
fn retained(coordinator: &Coordinator, job: JobId) -> usize {
    let graph = coordinator.job(job).and_then(|details| details.graph);
    let checkpointing = graph.and_then(|graph| graph.config().checkpointing.clone());
    checkpointing.map_or(0, |config| config.retained as usize)
}

fn vertices(coordinator: &Coordinator, job: JobId) -> Vec<u128> {
    let details = coordinator.job(job);
    let vertices = details.into_iter().flat_map(|details| details.vertices);
    vertices.map(|vertex| vertex.operator_id).collect()
}

/// What is known of a savepoint that is complete.
struct CompletedSavepoint {
    location: String,
    /// The job was stopped with it.
    stopped: bool,
}

fn savepoints(records: &[&SavepointRecord]) -> BTreeMap<CheckpointId, CompletedSavepoint> {
    let completed = records.iter().filter_map(|record| {
        let completed = record.outcome.as_ref()?.result.as_ref().ok()?;
        let savepoint = CompletedSavepoint {
            location: completed.location.clone(),
            stopped: record.after.stops(),
        };
        Some((completed.checkpoint, savepoint))
    });
    completed.collect()
}

/// The completed checkpoints whose state is still there, apart from savepoints: theirs is not ours to delete.
fn kept(
    details: &CheckpointsDetails,
    retained: usize,
    outliving: Option<&Outliving>,
) -> BTreeSet<CheckpointId> {
    let completed: BTreeSet<CheckpointId> = details
        .history
        .iter()
        .filter(|entry| !entry.is_savepoint && entry.outcome == CheckpointOutcome::Completed)
        .map(|entry| entry.id)
        .collect();
    let outliving = outliving.map(|outliving| outliving.checkpoint.checkpoint);
    let retained = completed.into_iter().rev().take(retained);
    retained.chain(outliving).collect()
}

/// What one answer has in common.
pub(super) struct Shown {
    job: JobId,
    storage: Arc<str>,
    kept: BTreeSet<CheckpointId>,
    outliving: Option<Outliving>,
    /// Those that are remembered.
    savepoints: BTreeMap<CheckpointId, CompletedSavepoint>,
    /// The ids of the vertices, in the order of the graph.
    vertices: Vec<u128>,
    /// Who acknowledged first and last, of those of which that was noted.
    acks: BTreeMap<CheckpointId, Acknowledged>,
    now: Timestamp,
}

impl Shown {
    fn checkpoints(&self, details: &CheckpointsDetails) -> Value {
        let entry = |entry: &Option<CheckpointEntry>| {
            entry
                .as_ref()
                .map_or(Value::Null, |entry| self.entry(entry))
        };
        let restored = details.latest_restored.as_ref().map(|restore| {
            json!({
                "id": restore.checkpoint.0,
                "restore_timestamp": restore.at.0,
                "is_savepoint": self.savepoints.contains_key(&restore.checkpoint),
                "external_path": self.path(restore.checkpoint),
            })
        });
        let history: Vec<Value> = details.history.iter().map(|e| self.entry(e)).collect();
        json!({
            "counts": {
                "restored": details.restored,
                "total": details.completed + details.failed + details.in_progress,
                "in_progress": details.in_progress,
                "completed": details.completed,
                "failed": details.failed,
            },
            "summary": self.summary(&details.history),
            "latest": {
                "completed": entry(&latest(details, false)),
                "savepoint": entry(&latest(details, true)),
                "failed": entry(&details.latest_failed),
                "restored": restored,
            },
            "retained": self.outliving.as_ref().map(|outliving| {
                json!({
                    "id": outliving.checkpoint.checkpoint.0,
                    "status": if outliving.is_written { "COMPLETED" } else { "IN_PROGRESS" },
                    "external_path": outliving.checkpoint.location,
                })
            }),
            "history": history,
        })
    }

    pub(super) fn entry(&self, entry: &CheckpointEntry) -> Value {
        let (class, status) = status(&entry.outcome);
        let mut value = json!({
            "className": class,
            "id": entry.id.0,
            "status": status,
            "is_savepoint": entry.is_savepoint,
            "savepointFormat": entry.is_savepoint.then_some("NATIVE"),
            "trigger_timestamp": entry.triggered.0,
            "latest_ack_timestamp": time(entry.latest_ack),
            "checkpointed_size": entry.size,
            "state_size": entry.size,
            "end_to_end_duration": self.duration(entry),
            "alignment_buffered": 0,
            "processed_data": 0,
            "persisted_data": 0,
            "num_subtasks": entry.subtasks,
            "num_acknowledged_subtasks": entry.acknowledged,
            "checkpoint_type": self.kind(entry),
            "tasks": {},
        });
        self.phases(entry, &mut value);
        match &entry.outcome {
            CheckpointOutcome::InProgress => {}
            CheckpointOutcome::Completed => {
                value["external_path"] = self.path(entry.id).into();
                let is_there = entry.is_savepoint || self.kept.contains(&entry.id);
                value["discarded"] = (!is_there).into();
            }
            CheckpointOutcome::Failed { at, reason } => {
                value["failure_timestamp"] = at.0.into();
                value["failure_message"] = reason.as_str().into();
            }
        }
        value
    }

    /// How long the tasks took, and which one took longest: ours alone. Flink has the times of every task.
    fn phases(&self, entry: &CheckpointEntry, value: &mut Value) {
        let noted = self.acks.get(&entry.id);
        let noted = noted.filter(|noted| entry.latest_ack == Some(noted.last));
        value["first_ack_timestamp"] = time(noted.map(|noted| noted.first)).into();
        value["slowest"] = noted
            .filter(|_| entry.acknowledged == entry.subtasks)
            .and_then(|noted| {
                let vertex = self.vertices.get(noted.by.vertex.0 as usize)?;
                Some(json!({ "vertex": hex(*vertex), "subtask": noted.by.subtask.0 }))
            })
            .into();
    }

    fn kind(&self, entry: &CheckpointEntry) -> &'static str {
        let savepoint = self.savepoints.get(&entry.id);
        match savepoint {
            _ if !entry.is_savepoint => "CHECKPOINT",
            Some(savepoint) if savepoint.stopped => "SYNC_SAVEPOINT",
            Some(_) | None => "SAVEPOINT",
        }
    }

    fn duration(&self, entry: &CheckpointEntry) -> i64 {
        let end = match entry.outcome {
            CheckpointOutcome::InProgress => self.now,
            CheckpointOutcome::Completed => entry.latest_ack.unwrap_or(entry.triggered),
            CheckpointOutcome::Failed { at, .. } => at,
        };
        elapsed(entry.triggered, end)
    }

    fn path(&self, checkpoint: CheckpointId) -> String {
        if let Some(savepoint) = self.savepoints.get(&checkpoint) {
            return savepoint.location.clone();
        }
        Savepoint::retained_location(&self.storage, self.job, checkpoint)
    }

    fn summary(&self, history: &[CheckpointEntry]) -> Value {
        let completed: Vec<&CheckpointEntry> = history
            .iter()
            .filter(|entry| entry.outcome == CheckpointOutcome::Completed)
            .collect();
        let of = |number: &dyn Fn(&CheckpointEntry) -> u64| {
            Sorted::new(completed.iter().map(|entry| number(entry)).collect()).of_checkpoints()
        };
        let size = of(&|entry| entry.size);
        let nothing = of(&|_| 0);
        json!({
            "checkpointed_size": size,
            "state_size": size,
            "end_to_end_duration": of(&|entry| u64::try_from(self.duration(entry)).unwrap_or(0)),
            "alignment_buffered": nothing,
            "processed_data": nothing,
            "persisted_data": nothing,
        })
    }
}

/// The name of an outcome, as a class and as a state.
pub(super) fn status(outcome: &CheckpointOutcome) -> (&'static str, &'static str) {
    match outcome {
        CheckpointOutcome::InProgress => ("in_progress", "IN_PROGRESS"),
        CheckpointOutcome::Completed => ("completed", "COMPLETED"),
        CheckpointOutcome::Failed { .. } => ("failed", "FAILED"),
    }
}

/// The last savepoint, or the last checkpoint that is none, as far as it is remembered.
fn latest(details: &CheckpointsDetails, is_savepoint: bool) -> Option<CheckpointEntry> {
    let latest = details.latest_completed.iter().chain(&details.history);
    let wanted = latest.filter(|entry| {
        entry.is_savepoint == is_savepoint && entry.outcome == CheckpointOutcome::Completed
    });
    wanted.max_by_key(|entry| entry.id).cloned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::id::{SubtaskIndex, TaskId, VertexIndex};

    /// That a checkpoint had its last acknowledgement at this time.
    fn noted(checkpoint: u64, last: u64) -> (CheckpointId, Acknowledged) {
        let by = TaskId {
            vertex: VertexIndex(1),
            subtask: SubtaskIndex(3),
        };
        let noted = Acknowledged {
            first: Timestamp(11),
            last: Timestamp(last),
            by,
        };
        (CheckpointId(checkpoint), noted)
    }

    #[test]
    fn savepoints_and_the_retained_checkpoints_are_shown_as_there() {
        let entry = |id, outcome| CheckpointEntry {
            id: CheckpointId(id),
            is_savepoint: id == 5,
            outcome,
            triggered: Timestamp(10),
            latest_ack: Some(Timestamp(12)),
            subtasks: 3,
            acknowledged: 3,
            size: 5,
        };
        let failed = CheckpointOutcome::Failed {
            at: Timestamp(15),
            reason: "CHECKPOINT_EXPIRED".to_owned(),
        };
        let details = CheckpointsDetails {
            history: vec![
                entry(5, CheckpointOutcome::Completed),
                entry(4, CheckpointOutcome::InProgress),
                entry(3, failed),
                entry(2, CheckpointOutcome::Completed),
                entry(1, CheckpointOutcome::Completed),
            ],
            ..CheckpointsDetails::default()
        };
        let savepoint = CompletedSavepoint {
            location: "file:///s/savepoint-1-5".to_owned(),
            stopped: true,
        };
        let shown = Shown {
            job: JobId(1),
            storage: "file:///c/".into(),
            kept: kept(&details, 1, None),
            outliving: None,
            savepoints: BTreeMap::from([(CheckpointId(5), savepoint)]),
            vertices: Vec::from([10, 11]),
            acks: BTreeMap::from([noted(5, 12), noted(4, 12), noted(2, 13)]),
            now: Timestamp(20),
        };
        let value = shown.checkpoints(&details);
        let slowest = json!({ "vertex": hex(11), "subtask": 3 });
        let named: Vec<&Value> = (0..5).map(|i| &value["history"][i]["slowest"]).collect();
        // Of the first two it is known; nothing was noted of the third and the last, and of the other one something else.
        let null = &Value::Null;
        assert_eq!(named, [&slowest, &slowest, null, null, null]);
        assert_eq!(value["history"][0]["first_ack_timestamp"], 11);
        assert_eq!(value["history"][3]["first_ack_timestamp"], -1);
        let discarded: Vec<Option<bool>> = (0..5)
            .map(|i| value["history"][i]["discarded"].as_bool())
            .collect();
        assert_eq!(
            discarded,
            [Some(false), None, None, Some(false), Some(true)]
        );
        let savepoint = &value["latest"]["savepoint"];
        assert_eq!(*savepoint, value["history"][0]);
        assert_eq!(savepoint["checkpoint_type"], "SYNC_SAVEPOINT");
        assert_eq!(savepoint["external_path"], "file:///s/savepoint-1-5");
        assert_eq!(value["latest"]["completed"]["id"], 2);
        assert_eq!(
            value["history"][3]["external_path"],
            "file:///c/00000000000000000000000000000001/chk-2"
        );
        assert_eq!(value["history"][2]["failure_timestamp"], 15);
        assert_eq!(value["summary"]["end_to_end_duration"]["avg"], 2);
    }
}
