//! One checkpoint of a job, by vertex and subtask, and how the job takes them.
//!
//! When each subtask acknowledged is not kept, only when the first and the last one did; its size only as long as the
//! checkpoint is retained. What is not known is -1, as with Flink.

use super::checkpoints::{look, status};
use super::error::{Answer, Failure};
use super::path::Names;
use super::statistics::Sorted;
use super::{JobOf, Rest, hex, job_not_found};
use axum::Json;
use axum::extract::State;
use jobmanager_core::config::{CheckpointConfig, CheckpointMode};
use jobmanager_core::id::{CheckpointId, JobId, VertexIndex};
use jobmanager_core::jobmanager::{
    CheckpointEntry, CheckpointOutcome, CheckpointsDetails, Coordinator, JobDetails,
};
use serde_json::{Map, Value, json};

/// `GET /jobs/:id/checkpoints/config`
pub(super) async fn config(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let view = move |coordinator: &Coordinator, _| coordinator.job(job);
    let details = rest.find(|| job_not_found(job), view).await?;
    let Some(graph) = details.graph else {
        let words = format!("Job {job} has ended: how it took checkpoints is not kept");
        return Err(Failure::not_found(words));
    };
    match &graph.config().checkpointing {
        Some(config) => Ok(Json(config_json(config))),
        None => Err(Failure::not_found(format!(
            "Job {job} takes no checkpoints: execution.checkpointing.interval is not set"
        ))),
    }
}

fn config_json(config: &CheckpointConfig) -> Value {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({
        "mode": match config.mode {
            CheckpointMode::ExactlyOnce => "exactly_once",
            CheckpointMode::AtLeastOnce => "at_least_once",
        },
        "interval": ms(config.interval),
        "timeout": ms(config.timeout),
        "min_pause": ms(config.min_pause),
        "max_concurrent": config.max_concurrent,
        "externalization": { "enabled": false, "delete_on_cancellation": true },
        "state_backend": "HashMapStateBackend",
        "checkpoint_storage": "FileSystemCheckpointStorage",
        "unaligned_checkpoints": false,
        "tolerable_failed_checkpoints": config.tolerable_failures,
        "aligned_checkpoint_timeout": 0,
        "checkpoints_after_tasks_finish": true,
        "state_changelog_enabled": false,
        "changelog_periodic_materialization_interval": 0,
        "changelog_storage": "memory",
    })
}

/// `GET /jobs/:id/checkpoints/details/:checkpoint`
pub(super) async fn details(State(rest): State<Rest>, names: Names) -> Answer {
    let (job, checkpoint) = (names.job()?, names.checkpoint()?);
    let (details, shown) = look(&rest, job).await?;
    let entry = find(&details, checkpoint)?;
    let mut value = shown.entry(entry);
    let view = move |coordinator: &Coordinator, _| parts(coordinator, job, checkpoint);
    let parts = rest.find(|| job_not_found(job), view).await?;
    let vertex = |part: &Part| (hex(part.id), part.json(entry));
    let tasks: Map<String, Value> = parts.iter().map(vertex).collect();
    value["tasks"] = tasks.into();
    Ok(Json(value))
}

/// `GET /jobs/:id/checkpoints/details/:checkpoint/subtasks/:vertex`
pub(super) async fn subtasks(State(rest): State<Rest>, names: Names) -> Answer {
    let (job, checkpoint, vertex) = (names.job()?, names.checkpoint()?, names.vertex()?);
    let (details, _) = look(&rest, job).await?;
    let entry = find(&details, checkpoint)?;
    let view = move |coordinator: &Coordinator, _| {
        let job = coordinator.job(job)?;
        let part = |index| part(coordinator, &job, checkpoint, index);
        Some(vertex.index(&job).map(part))
    };
    let part = rest.find(|| job_not_found(job), view).await?;
    let part = part.ok_or_else(|| vertex.not_found())?;
    let mut value = part.json(entry);
    value["summary"] = part.summary();
    value["subtasks"] = part.subtasks(entry).into();
    Ok(Json(value))
}

fn find(
    details: &CheckpointsDetails,
    checkpoint: CheckpointId,
) -> Result<&CheckpointEntry, Failure> {
    let latest = [
        &details.latest_completed,
        &details.latest_savepoint,
        &details.latest_failed,
    ];
    let mut all = details.history.iter().chain(latest.into_iter().flatten());
    all.find(|entry| entry.id == checkpoint).ok_or_else(|| {
        Failure::not_found(format!(
            "Could not find checkpointing statistics for checkpoint {}: it was never taken, or is forgotten by now",
            checkpoint.0
        ))
    })
}

/// What a vertex contributed to a checkpoint.
struct Part {
    id: u128,
    parallelism: u32,
    /// By subtask, in bytes, and `None` for one that took no part; known only of a checkpoint that is retained.
    sizes: Option<Vec<Option<u64>>>,
}

fn parts(coordinator: &Coordinator, job: JobId, checkpoint: CheckpointId) -> Option<Vec<Part>> {
    let job = coordinator.job(job)?;
    let indices = (0..).map(VertexIndex).take(job.vertices.len());
    let parts = indices.map(|index| part(coordinator, &job, checkpoint, index));
    Some(parts.collect())
}

fn part(
    coordinator: &Coordinator,
    job: &JobDetails,
    checkpoint: CheckpointId,
    index: VertexIndex,
) -> Part {
    let vertex = &job.vertices[index.0 as usize];
    Part {
        id: vertex.operator_id,
        parallelism: vertex.parallelism,
        sizes: coordinator.snapshot_sizes(job.summary.id, checkpoint, index),
    }
}

impl Part {
    fn json(&self, entry: &CheckpointEntry) -> Value {
        let size = self.sizes.as_ref().map_or(-1, |sizes| {
            let sum = sizes.iter().flatten().sum::<u64>();
            i64::try_from(sum).unwrap_or(i64::MAX)
        });
        let (_, status) = status(&entry.outcome);
        json!({
            "id": entry.id.0,
            "status": status,
            "latest_ack_timestamp": -1,
            "checkpointed_size": size,
            "state_size": size,
            "end_to_end_duration": -1,
            "alignment_buffered": 0,
            "processed_data": 0,
            "persisted_data": 0,
            "num_subtasks": self.parallelism,
            "num_acknowledged_subtasks": self.acknowledged(entry),
        })
    }

    fn acknowledged(&self, entry: &CheckpointEntry) -> i64 {
        match &self.sizes {
            Some(sizes) => i64::try_from(sizes.iter().flatten().count()).unwrap_or(i64::MAX),
            None if entry.acknowledged == 0 => 0,
            None if entry.acknowledged == entry.subtasks => i64::from(self.parallelism),
            None => -1,
        }
    }

    fn subtasks(&self, entry: &CheckpointEntry) -> Vec<Value> {
        let completed = entry.outcome == CheckpointOutcome::Completed;
        let size = |index: u32| match &self.sizes {
            Some(sizes) => sizes
                .get(index as usize)
                .copied()
                .flatten()
                .map(i64::try_from),
            None => completed.then_some(Ok(-1)),
        };
        let line = |index| subtask_json(index, size(index).map(|size| size.unwrap_or(i64::MAX)));
        (0..self.parallelism).map(line).collect()
    }

    fn summary(&self) -> Value {
        let sizes = self.sizes.iter().flatten().flatten();
        let sizes = Sorted::new(sizes.copied().collect());
        let size = sizes.of_checkpoints();
        let unknown = Sorted::new(Vec::new()).of_checkpoints();
        json!({
            "checkpointed_size": size,
            "state_size": size,
            "end_to_end_duration": unknown,
            "checkpoint_duration": { "sync": unknown, "async": unknown },
            "alignment": {
                "buffered": unknown,
                "processed": unknown,
                "persisted": unknown,
                "duration": unknown,
            },
            "start_delay": unknown,
        })
    }
}

/// `size` is -1 for one that is not known, and `None` for a subtask that took no part.
fn subtask_json(index: u32, size: Option<i64>) -> Value {
    let Some(size) = size else {
        return json!({
            "className": "pending",
            "index": index,
            "status": "pending_or_failed",
        });
    };
    json!({
        "className": "completed",
        "index": index,
        "ack_timestamp": -1,
        "end_to_end_duration": -1,
        "checkpointed_size": size,
        "state_size": size,
        "checkpoint": { "sync": -1, "async": -1 },
        "alignment": { "buffered": 0, "processed": 0, "persisted": 0, "duration": -1 },
        "start_delay": -1,
        "unaligned_checkpoint": false,
        "aborted": false,
        "status": "completed",
    })
}
