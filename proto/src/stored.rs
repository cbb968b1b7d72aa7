//! Records of the metadata store: their bytes and the text of their keys, as `record.proto` says.

use crate::bad_message::{BadMessage, Problem};
use crate::check;
use crate::v1;
use crate::v1::job_result::Status;
use crate::v1::savepoint_record::Outcome as SavepointResult;
use crate::wire::ids;
use crate::wire::{after_from_wire, after_to_wire};
use crate::wire::{partitioning_from_wire, partitioning_to_wire, state_from_wire, state_to_wire};
use jobmanager_core::graph::{
    EdgeSpec, JobEdge, JobGraph, JobGraphSpec, JobVertex, MAX_PARALLELISM, MAX_VERTICES, VertexSpec,
};
use jobmanager_core::id::{Attempt, CheckpointId, VertexIndex};
use jobmanager_core::message::SubtaskState;
use jobmanager_core::record::{
    Bounds, CheckpointRecord, CompletedSavepoint, JobRecord, JobResult, Record, RecordKey,
    RegionSnapshot, RescaleRecord, RetainedCheckpoint, SavepointOutcome, SavepointRecord, Scale,
    VertexResult,
};
use jobmanager_core::state::JobStatus;
use jobmanager_core::time::Timestamp;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bytes of a record.
///
/// # Panics
/// If a job result is not of a terminal status.
#[must_use]
pub fn encode_record(record: &Record) -> Vec<u8> {
    v1::Record::from(record).encode_to_vec()
}

/// The record that these bytes are.
///
/// A JobGraph is validated without defaults: what it was accepted with is in its own configuration.
///
/// # Errors
/// The bytes are not a record, or one of a later version, or were damaged.
pub fn decode_record(bytes: &[u8]) -> Result<Record, BadMessage> {
    let wire = v1::Record::decode(bytes);
    let wire = wire.map_err(|error| Problem::NotProtobuf(error).at("record"))?;
    wire.try_into()
}

/// The text under which a record is stored.
#[must_use]
pub fn key_text(key: &RecordKey) -> String {
    match key {
        RecordKey::Job(job) => format!("job/{job}"),
        RecordKey::Cancel(job) => format!("cancel/{job}"),
        RecordKey::Rescale(job) => format!("rescale/{job}"),
        RecordKey::CheckpointMark(job) => format!("mark/{job}"),
        RecordKey::Checkpoint(job, checkpoint) => format!("checkpoint/{job}/{:016x}", checkpoint.0),
        RecordKey::Savepoint(job, trigger) => format!("savepoint/{job}/{trigger}"),
        RecordKey::Result(job) => format!("result/{job}"),
    }
}

/// The key that [`key_text`] made this text from; `None` if it made no such text.
#[must_use]
pub fn parse_key(text: &str) -> Option<RecordKey> {
    let (kind, rest) = text.split_once('/')?;
    let key = match kind {
        "job" => RecordKey::Job(rest.parse().ok()?),
        "cancel" => RecordKey::Cancel(rest.parse().ok()?),
        "rescale" => RecordKey::Rescale(rest.parse().ok()?),
        "mark" => RecordKey::CheckpointMark(rest.parse().ok()?),
        "checkpoint" => {
            let (job, checkpoint) = rest.split_once('/')?;
            let checkpoint = u64::from_str_radix(checkpoint, 16).ok()?;
            RecordKey::Checkpoint(job.parse().ok()?, CheckpointId(checkpoint))
        }
        "savepoint" => {
            let (job, trigger) = rest.split_once('/')?;
            RecordKey::Savepoint(job.parse().ok()?, trigger.parse().ok()?)
        }
        "result" => RecordKey::Result(rest.parse().ok()?),
        _ => return None,
    };
    // One key, one text: no upper case, no sign, no missing digits.
    (key_text(&key) == text).then_some(key)
}

impl From<&Record> for v1::Record {
    fn from(record: &Record) -> Self {
        use v1::record::Record as Wire;
        let wire = match record {
            Record::Job(record) => Wire::Job(v1::JobRecord {
                graph: Some(record.graph.as_ref().into()),
                submitted_ms: record.submitted.0,
                scale: record.scale.as_ref().map(Into::into),
                began: record.began.map_or(0, |began| began.0),
            }),
            Record::Cancel(job) => Wire::Cancel((*job).into()),
            Record::Rescale(record) => Wire::Rescale(v1::RescaleRecord {
                job: Some(record.job.into()),
                bounds: record.bounds.iter().copied().map(Into::into).collect(),
            }),
            Record::CheckpointMark { job, next } => Wire::CheckpointMark(v1::CheckpointMark {
                job: Some((*job).into()),
                next: next.0,
            }),
            Record::Checkpoint(record) => Wire::Checkpoint(record.as_ref().into()),
            Record::Savepoint(record) => Wire::Savepoint(record.as_ref().into()),
            Record::Result(result) => Wire::Result(result.as_ref().into()),
        };
        v1::Record { record: Some(wire) }
    }
}

impl TryFrom<v1::Record> for Record {
    type Error = BadMessage;

    fn try_from(wire: v1::Record) -> Result<Self, BadMessage> {
        use v1::record::Record as Wire;
        Ok(match check::required(wire.record, "record")? {
            Wire::Job(wire) => Record::Job(JobRecord {
                graph: Arc::new(check::required(wire.graph, "job.graph")?.try_into()?),
                submitted: Timestamp(wire.submitted_ms),
                scale: wire.scale.map(scale_from_wire).transpose()?,
                began: check::optional_checkpoint(wire.began, "job.began")?,
            }),
            Wire::Cancel(job) => Record::Cancel(job.into()),
            Wire::Rescale(wire) => Record::Rescale(Arc::new(RescaleRecord {
                job: ids::job(wire.job, "rescale.job")?,
                bounds: bounds(wire.bounds)?,
            })),
            Wire::CheckpointMark(wire) => Record::CheckpointMark {
                job: ids::job(wire.job, "checkpoint_mark.job")?,
                next: check::checkpoint(wire.next, "checkpoint_mark.next")?,
            },
            Wire::Checkpoint(wire) => Record::Checkpoint(Arc::new(wire.try_into()?)),
            Wire::Savepoint(wire) => Record::Savepoint(Arc::new(wire.try_into()?)),
            Wire::Result(wire) => Record::Result(Arc::new(wire.try_into()?)),
        })
    }
}

impl From<&Scale> for v1::job_record::Scale {
    fn from(scale: &Scale) -> Self {
        let vertex = |(&parallelism, &since): (&u32, &Option<Attempt>)| v1::job_record::Vertex {
            parallelism,
            since: since.map(Into::into),
        };
        let vertices = scale.parallelism.iter().zip(&scale.since).map(vertex);
        v1::job_record::Scale {
            vertices: vertices.collect(),
        }
    }
}

fn scale_from_wire(wire: v1::job_record::Scale) -> Result<Scale, BadMessage> {
    let vertices = wire.vertices.iter();
    let parallelism = vertices.map(|vertex| vertex.parallelism).collect();
    let since = |vertex: v1::job_record::Vertex| {
        let since = vertex
            .since
            .map(|it| ids::attempt(Some(it), "job.scale.since"));
        since.transpose()
    };
    Ok(Scale {
        parallelism: self::parallelism(parallelism, "job.scale.parallelism")?,
        since: wire
            .vertices
            .into_iter()
            .map(since)
            .collect::<Result<_, _>>()?,
    })
}

impl From<Bounds> for v1::Bounds {
    fn from(Bounds { lower, upper }: Bounds) -> Self {
        v1::Bounds { lower, upper }
    }
}

/// Of every vertex.
fn bounds(wire: Vec<v1::Bounds>) -> Result<Vec<Bounds>, BadMessage> {
    let field = "rescale.bounds";
    check::at_most(wire.len(), MAX_VERTICES, field)?;
    let valid = |v1::Bounds { lower, upper }| {
        let upper = check::in_range_u32(upper, 1..=MAX_PARALLELISM, "rescale.bounds.upper")?;
        let lower = check::in_range_u32(lower, 1..=upper, "rescale.bounds.lower")?;
        Ok(Bounds { lower, upper })
    };
    wire.into_iter().map(valid).collect()
}

/// Of every vertex.
fn parallelism(wire: Vec<u32>, field: &'static str) -> Result<Vec<u32>, BadMessage> {
    check::at_most(wire.len(), MAX_VERTICES, field)?;
    let valid = |parallelism: u32| check::in_range_u32(parallelism, 1..=MAX_PARALLELISM, field);
    wire.into_iter().map(valid).collect()
}

impl From<&JobGraph> for v1::JobGraph {
    fn from(graph: &JobGraph) -> Self {
        let vertex = |vertex: &JobVertex| v1::job_graph::Vertex {
            id: vertex.id.clone(),
            name: vertex.name.clone(),
            operator: vertex.operator.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            slot_sharing_group: graph.groups()[vertex.group as usize].name.clone(),
            config: vertex.config.clone(),
        };
        let vertex_id = |index: VertexIndex| graph.vertices()[index.0 as usize].id.clone();
        let edge = |edge: &JobEdge| v1::job_graph::Edge {
            source: vertex_id(edge.source),
            target: vertex_id(edge.target),
            partitioning: partitioning_to_wire(edge.partitioning).into(),
        };
        v1::JobGraph {
            id: Some(graph.id().into()),
            name: graph.name().into(),
            vertices: graph.vertices().iter().map(vertex).collect(),
            edges: graph.edges().iter().map(edge).collect(),
            configuration: graph.configuration().clone(),
        }
    }
}

impl TryFrom<v1::JobGraph> for JobGraph {
    type Error = BadMessage;

    fn try_from(wire: v1::JobGraph) -> Result<Self, BadMessage> {
        let vertex = |vertex: v1::job_graph::Vertex| VertexSpec {
            id: vertex.id,
            name: Some(vertex.name),
            operator: vertex.operator,
            parallelism: vertex.parallelism,
            max_parallelism: Some(vertex.max_parallelism),
            slot_sharing_group: Some(vertex.slot_sharing_group),
            config: vertex.config,
        };
        let edge = |edge: v1::job_graph::Edge| {
            let field = "job.graph.edges.partitioning";
            Ok(EdgeSpec {
                source: edge.source,
                target: edge.target,
                partitioning: partitioning_from_wire(edge.partitioning, field)?,
            })
        };
        let edges = wire.edges.into_iter().map(edge);
        let spec = JobGraphSpec {
            id: ids::job(wire.id, "job.graph.id")?,
            name: wire.name,
            vertices: wire.vertices.into_iter().map(vertex).collect(),
            edges: edges.collect::<Result<_, _>>()?,
            configuration: wire.configuration,
        };
        JobGraph::validate(spec, &BTreeMap::new())
            .map_err(|problems| Problem::InvalidGraph(problems).at("job.graph"))
    }
}

impl From<&CheckpointRecord> for v1::CheckpointRecord {
    fn from(record: &CheckpointRecord) -> Self {
        v1::CheckpointRecord {
            job: Some(record.job.into()),
            id: record.id.0,
            triggered_ms: record.triggered.0,
            completed_ms: record.completed.0,
            states: record.states.iter().map(subtask_to_wire).collect(),
            inherited: record.inherited.iter().map(|id| id.0).collect(),
            regions: record.regions.iter().map(region_to_wire).collect(),
        }
    }
}

impl TryFrom<v1::CheckpointRecord> for CheckpointRecord {
    type Error = BadMessage;

    fn try_from(wire: v1::CheckpointRecord) -> Result<Self, BadMessage> {
        let field = "checkpoint.states";
        check::at_most(wire.states.len(), check::MAX_SUBTASKS, field)?;
        let states = wire.states.into_iter();
        let regions = "checkpoint.regions";
        check::at_most(wire.regions.len(), check::MAX_SUBTASKS, regions)?;
        let inherited = "checkpoint.inherited";
        check::at_most(wire.inherited.len(), check::MAX_SUBTASKS, inherited)?;
        let inherited = wire
            .inherited
            .into_iter()
            .map(|id| check::checkpoint(id, inherited));
        Ok(CheckpointRecord {
            job: ids::job(wire.job, "checkpoint.job")?,
            id: check::checkpoint(wire.id, "checkpoint.id")?,
            triggered: Timestamp(wire.triggered_ms),
            completed: Timestamp(wire.completed_ms),
            inherited: inherited.collect::<Result<_, _>>()?,
            states: states
                .map(|state| subtask_from_wire(state, field))
                .collect::<Result<_, _>>()?,
            regions: wire
                .regions
                .into_iter()
                .map(region_from_wire)
                .collect::<Result<_, _>>()?,
        })
    }
}

fn subtask_to_wire(state: &SubtaskState) -> v1::SubtaskState {
    let handles = state.handles().iter().cloned();
    v1::SubtaskState {
        handles: handles.map(state_to_wire).collect(),
        own: matches!(state, SubtaskState::Own(_)),
    }
}

fn subtask_from_wire(
    wire: v1::SubtaskState,
    field: &'static str,
) -> Result<SubtaskState, BadMessage> {
    check::at_most(wire.handles.len(), check::MAX_HANDLES, field)?;
    let handles = wire.handles.into_iter();
    let mut handles = handles.map(|handle| state_from_wire(handle, field));
    if !wire.own {
        return Ok(SubtaskState::Given(handles.collect::<Result<_, _>>()?));
    }
    match (handles.next(), handles.next()) {
        (Some(own), None) => Ok(SubtaskState::Own(own?)),
        (None, _) | (Some(_), Some(_)) => Err(Problem::DoesNotFit("own").at(field)),
    }
}

fn region_to_wire(region: &Option<RegionSnapshot>) -> v1::RegionSnapshot {
    region.map_or_else(v1::RegionSnapshot::default, |snapshot| v1::RegionSnapshot {
        checkpoint: snapshot.checkpoint.0,
        attempt: snapshot.attempt.map(Into::into),
        is_final: snapshot.is_final,
    })
}

fn region_from_wire(wire: v1::RegionSnapshot) -> Result<Option<RegionSnapshot>, BadMessage> {
    let field = "checkpoint.regions.checkpoint";
    let Some(checkpoint) = check::optional_checkpoint(wire.checkpoint, field)? else {
        return Ok(None);
    };
    Ok(Some(RegionSnapshot {
        checkpoint,
        attempt: wire
            .attempt
            .map(|attempt| ids::attempt(Some(attempt), "checkpoint.regions.attempt"))
            .transpose()?,
        is_final: wire.is_final,
    }))
}

impl From<&SavepointRecord> for v1::SavepointRecord {
    fn from(record: &SavepointRecord) -> Self {
        let outcome = record.outcome.as_ref();
        v1::SavepointRecord {
            job: Some(record.job.into()),
            trigger: Some(record.trigger.into()),
            requested_ms: record.requested.0,
            directory: record.directory.clone(),
            after: after_to_wire(record.after).into(),
            ended_ms: outcome.map_or(0, |outcome| outcome.at.0),
            outcome: outcome.map(|outcome| result_to_wire(&outcome.result)),
        }
    }
}

impl TryFrom<v1::SavepointRecord> for SavepointRecord {
    type Error = BadMessage;

    fn try_from(wire: v1::SavepointRecord) -> Result<Self, BadMessage> {
        let at = Timestamp(wire.ended_ms);
        let result = wire.outcome.map(result_from_wire).transpose()?;
        Ok(SavepointRecord {
            job: ids::job(wire.job, "savepoint.job")?,
            trigger: ids::trigger(wire.trigger, "savepoint.trigger")?,
            requested: Timestamp(wire.requested_ms),
            directory: check::address(wire.directory, "savepoint.directory")?,
            after: after_from_wire(wire.after, "savepoint.after")?,
            outcome: result.map(|result| SavepointOutcome { at, result }),
        })
    }
}

fn result_to_wire(result: &Result<CompletedSavepoint, String>) -> SavepointResult {
    match result {
        Ok(completed) => SavepointResult::Completed(v1::savepoint_record::Completed {
            checkpoint: completed.checkpoint.0,
            location: completed.location.clone(),
            size: completed.size,
        }),
        Err(cause) => SavepointResult::Failed(cause.clone()),
    }
}

fn result_from_wire(
    wire: SavepointResult,
) -> Result<Result<CompletedSavepoint, String>, BadMessage> {
    Ok(match wire {
        SavepointResult::Completed(wire) => Ok(CompletedSavepoint {
            checkpoint: check::checkpoint(wire.checkpoint, "savepoint.checkpoint")?,
            location: check::address(wire.location, "savepoint.location")?,
            size: wire.size,
        }),
        SavepointResult::Failed(cause) => Err(cause),
    })
}

impl From<&JobResult> for v1::JobResult {
    fn from(result: &JobResult) -> Self {
        v1::JobResult {
            job: Some(result.job.into()),
            name: result.name.clone(),
            status: status_to_wire(result.status).into(),
            started_ms: result.started.0,
            ended_ms: result.ended.0,
            failure: result.failure.clone(),
            vertices: result.vertices.iter().map(Into::into).collect(),
            completed_checkpoints: result.completed_checkpoints,
            restarts: result.restarts,
            computation: result.computation,
            retained: result.retained.as_ref().map(retained_to_wire),
        }
    }
}

fn retained_to_wire(retained: &RetainedCheckpoint) -> v1::job_result::Retained {
    v1::job_result::Retained {
        checkpoint: retained.checkpoint.0,
        location: retained.location.clone(),
        triggered_ms: retained.triggered.0,
        completed_ms: retained.completed.0,
        size: retained.size,
    }
}

fn retained_from_wire(wire: v1::job_result::Retained) -> Result<RetainedCheckpoint, BadMessage> {
    Ok(RetainedCheckpoint {
        checkpoint: check::checkpoint(wire.checkpoint, "result.retained.checkpoint")?,
        location: check::address(wire.location, "result.retained.location")?,
        triggered: Timestamp(wire.triggered_ms),
        completed: Timestamp(wire.completed_ms),
        size: wire.size,
    })
}

impl From<&VertexResult> for v1::job_result::Vertex {
    fn from(vertex: &VertexResult) -> Self {
        v1::job_result::Vertex {
            operator_id: Some(vertex.operator_id.into()),
            name: vertex.name.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
        }
    }
}

impl TryFrom<v1::JobResult> for JobResult {
    type Error = BadMessage;

    fn try_from(wire: v1::JobResult) -> Result<Self, BadMessage> {
        check::at_most(wire.vertices.len(), MAX_VERTICES, "result.vertices")?;
        let vertices = wire.vertices.into_iter();
        Ok(JobResult {
            job: ids::job(wire.job, "result.job")?,
            name: wire.name,
            status: status_from_wire(wire.status)?,
            started: Timestamp(wire.started_ms),
            ended: Timestamp(wire.ended_ms),
            failure: wire.failure,
            vertices: vertices.map(vertex_result).collect::<Result<_, _>>()?,
            completed_checkpoints: wire.completed_checkpoints,
            restarts: wire.restarts,
            computation: wire.computation,
            retained: wire.retained.map(retained_from_wire).transpose()?,
        })
    }
}

fn vertex_result(wire: v1::job_result::Vertex) -> Result<VertexResult, BadMessage> {
    check::parallelism(
        wire.parallelism,
        wire.max_parallelism,
        [
            "result.vertices.parallelism",
            "result.vertices.max_parallelism",
        ],
    )?;
    let operator_id = check::required(wire.operator_id, "result.vertices.operator_id")?;
    Ok(VertexResult {
        operator_id: operator_id.into(),
        name: wire.name,
        parallelism: wire.parallelism,
        max_parallelism: wire.max_parallelism,
    })
}

fn status_to_wire(status: JobStatus) -> Status {
    match status {
        JobStatus::Finished => Status::Finished,
        JobStatus::Canceled => Status::Canceled,
        JobStatus::Failed => Status::Failed,
        JobStatus::Initializing
        | JobStatus::Created
        | JobStatus::Running
        | JobStatus::Restarting
        | JobStatus::Failing
        | JobStatus::Cancelling
        | JobStatus::Reconciling
        | JobStatus::Suspended => panic!("a job that is {status} has no result"),
    }
}

fn status_from_wire(wire: i32) -> Result<JobStatus, BadMessage> {
    match Status::try_from(wire) {
        Ok(Status::Finished) => Ok(JobStatus::Finished),
        Ok(Status::Canceled) => Ok(JobStatus::Canceled),
        Ok(Status::Failed) => Ok(JobStatus::Failed),
        Ok(Status::Unspecified) | Err(_) => Err(Problem::UnknownValue(wire).at("result.status")),
    }
}
