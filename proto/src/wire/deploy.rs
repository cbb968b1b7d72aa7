//! What the JobManager says to start tasks, with the table that all tasks of the job share.

use super::{ids, state_from_wire, state_to_wire};
use crate::bad_message::{BadMessage, Problem};
use crate::check;
use crate::v1;
use crate::v1::checkpoints::Mode;
use jobmanager_core::config::CheckpointMode;
use jobmanager_core::graph::{JobEdge, MAX_EDGES, MAX_VERTICES, Partitioning};
use jobmanager_core::id::{SlotIndex, VertexIndex};
use jobmanager_core::message::{
    Deployment, JobTable, TableCheckpoints, TableVertex, TaskDeployment,
};
use std::sync::Arc;

impl From<Deployment> for v1::Deploy {
    fn from(deployment: Deployment) -> Self {
        v1::Deploy {
            job: Some(deployment.job.into()),
            attempt: Some(deployment.attempt.into()),
            table: Some(Arc::unwrap_or_clone(deployment.table).into()),
            restore_checkpoint: deployment.restore.map_or(0, |checkpoint| checkpoint.0),
            tasks: deployment.tasks.into_iter().map(Into::into).collect(),
            finish: deployment.finish,
        }
    }
}

impl From<TaskDeployment> for v1::TaskDeployment {
    fn from(deployment: TaskDeployment) -> Self {
        v1::TaskDeployment {
            task: Some(deployment.task.into()),
            slot: deployment.slot.0,
            end_of_data: deployment.end_of_data,
            state: deployment.state.into_iter().map(state_to_wire).collect(),
        }
    }
}

impl From<JobTable> for v1::JobTable {
    fn from(table: JobTable) -> Self {
        v1::JobTable {
            name: table.name,
            vertices: table.vertices.into_iter().map(Into::into).collect(),
            edges: table.edges.into_iter().map(Into::into).collect(),
            slots: table.slots,
            addresses: table.addresses,
            checkpoints: table.checkpoints.map(Into::into),
        }
    }
}

impl From<TableVertex> for v1::TableVertex {
    fn from(vertex: TableVertex) -> Self {
        v1::TableVertex {
            name: vertex.name,
            operator_id: Some(vertex.operator_id.into()),
            operator: vertex.operator,
            config: vertex.config,
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            first_slot: vertex.first_slot,
            since: vertex.since.map(Into::into),
        }
    }
}

impl From<JobEdge> for v1::TableEdge {
    fn from(edge: JobEdge) -> Self {
        v1::TableEdge {
            source: edge.source.0,
            target: edge.target.0,
            partitioning: partitioning_to_wire(edge.partitioning).into(),
        }
    }
}

impl From<TableCheckpoints> for v1::Checkpoints {
    fn from(checkpoints: TableCheckpoints) -> Self {
        let mode = match checkpoints.mode {
            CheckpointMode::ExactlyOnce => Mode::ExactlyOnce,
            CheckpointMode::AtLeastOnce => Mode::AtLeastOnce,
        };
        v1::Checkpoints {
            mode: mode.into(),
            inline_threshold: checkpoints.inline_threshold,
        }
    }
}

impl TryFrom<v1::Deploy> for Deployment {
    type Error = BadMessage;

    fn try_from(wire: v1::Deploy) -> Result<Self, BadMessage> {
        let table: JobTable = check::required(wire.table, "deploy.table")?.try_into()?;
        let restore =
            check::optional_checkpoint(wire.restore_checkpoint, "deploy.restore_checkpoint")?;
        check::at_most(wire.tasks.len(), check::MAX_ATTEMPTS, "deploy.tasks")?;
        let mut tasks = Vec::with_capacity(wire.tasks.len());
        for task in wire.tasks {
            let task = task_deployment(task, &table)?;
            if restore.is_none() && (task.end_of_data || !task.state.is_empty()) {
                return Err(Problem::DoesNotFit("restore_checkpoint").at("deploy.tasks.state"));
            }
            tasks.push(task);
        }
        Ok(Deployment {
            job: ids::job(wire.job, "deploy.job")?,
            attempt: ids::attempt(wire.attempt, "deploy.attempt")?,
            table: Arc::new(table),
            restore,
            finish: wire.finish,
            tasks,
        })
    }
}

fn task_deployment(
    wire: v1::TaskDeployment,
    table: &JobTable,
) -> Result<TaskDeployment, BadMessage> {
    let task = ids::task(wire.task, "deploy.tasks.task")?;
    let vertices = table.vertices.len();
    let vertex = check::index(task.vertex.0, vertices, "deploy.tasks.task.vertex")?;
    let parallelism = table.vertices[vertex as usize].parallelism as usize;
    check::index(task.subtask.0, parallelism, "deploy.tasks.task.subtask")?;
    let slot = check::index(wire.slot, check::MAX_SLOTS as usize, "deploy.tasks.slot")?;
    let field = "deploy.tasks.state";
    check::at_most(wire.state.len(), check::MAX_HANDLES, field)?;
    let state = wire.state.into_iter();
    Ok(TaskDeployment {
        task,
        slot: SlotIndex(slot),
        end_of_data: wire.end_of_data,
        state: state
            .map(|state| state_from_wire(state, field))
            .collect::<Result<_, _>>()?,
    })
}

impl TryFrom<v1::JobTable> for JobTable {
    type Error = BadMessage;

    fn try_from(wire: v1::JobTable) -> Result<Self, BadMessage> {
        let limits = [
            (wire.vertices.len(), MAX_VERTICES, "deploy.table.vertices"),
            (wire.edges.len(), MAX_EDGES, "deploy.table.edges"),
            (wire.slots.len(), check::MAX_SUBTASKS, "deploy.table.slots"),
        ];
        for (length, max, field) in limits {
            check::at_most(length, max, field)?;
        }
        for &slot in wire.slots.iter().filter(|&&slot| slot != Self::NOWHERE) {
            check::index(slot, wire.addresses.len(), "deploy.table.slots")?;
        }
        let addresses = wire.addresses.into_iter();
        let addresses = addresses
            .map(|address| check::address(address, "deploy.table.addresses"))
            .collect::<Result<_, _>>()?;
        let slots = wire.slots.len();
        let vertices = wire.vertices.into_iter();
        let vertices = vertices
            .map(|vertex| table_vertex(vertex, slots))
            .collect::<Result<Vec<_>, _>>()?;
        let edges = wire.edges.into_iter();
        let edges = edges
            .map(|edge| table_edge(edge, &vertices))
            .collect::<Result<_, _>>()?;
        Ok(JobTable {
            name: wire.name,
            vertices,
            edges,
            slots: wire.slots,
            addresses,
            checkpoints: wire.checkpoints.map(TryInto::try_into).transpose()?,
        })
    }
}

fn table_vertex(wire: v1::TableVertex, slots: usize) -> Result<TableVertex, BadMessage> {
    check::parallelism(
        wire.parallelism,
        wire.max_parallelism,
        [
            "deploy.table.vertices.parallelism",
            "deploy.table.vertices.max_parallelism",
        ],
    )?;
    // The parallelism is at least 1, so the last slot exists if the first one does or the sum overflows.
    let last = u64::from(wire.first_slot) + u64::from(wire.parallelism) - 1;
    let max = (slots as u64).checked_sub(1);
    if max.is_none_or(|max| last > max) {
        return Err(Problem::DoesNotFit("slots").at("deploy.table.vertices.first_slot"));
    }
    let operator_id = check::required(wire.operator_id, "deploy.table.vertices.operator_id")?;
    Ok(TableVertex {
        name: wire.name,
        operator_id: operator_id.into(),
        operator: wire.operator,
        config: wire.config,
        parallelism: wire.parallelism,
        max_parallelism: wire.max_parallelism,
        first_slot: wire.first_slot,
        since: wire
            .since
            .map(|since| ids::attempt(Some(since), "deploy.table.vertices.since"))
            .transpose()?,
    })
}

fn table_edge(wire: v1::TableEdge, vertices: &[TableVertex]) -> Result<JobEdge, BadMessage> {
    let source = check::index(wire.source, vertices.len(), "deploy.table.edges.source")?;
    let target = check::index(wire.target, vertices.len(), "deploy.table.edges.target")?;
    let field = "deploy.table.edges.partitioning";
    let partitioning = partitioning_from_wire(wire.partitioning, field)?;
    let parallelism = |vertex: u32| vertices[vertex as usize].parallelism;
    if partitioning == Partitioning::Forward && parallelism(source) != parallelism(target) {
        return Err(Problem::DoesNotFit("the parallelism of its vertices").at(field));
    }
    Ok(JobEdge {
        source: VertexIndex(source),
        target: VertexIndex(target),
        partitioning,
    })
}

impl TryFrom<v1::Checkpoints> for TableCheckpoints {
    type Error = BadMessage;

    fn try_from(wire: v1::Checkpoints) -> Result<Self, BadMessage> {
        let mode = match Mode::try_from(wire.mode) {
            Ok(Mode::ExactlyOnce) => CheckpointMode::ExactlyOnce,
            Ok(Mode::AtLeastOnce) => CheckpointMode::AtLeastOnce,
            Ok(Mode::Unspecified) | Err(_) => {
                let field = "deploy.table.checkpoints.mode";
                return Err(Problem::UnknownValue(wire.mode).at(field));
            }
        };
        Ok(TableCheckpoints {
            mode,
            inline_threshold: wire.inline_threshold,
        })
    }
}

pub(crate) fn partitioning_to_wire(partitioning: Partitioning) -> v1::Partitioning {
    match partitioning {
        Partitioning::Forward => v1::Partitioning::Forward,
        Partitioning::Rescale => v1::Partitioning::Rescale,
        Partitioning::Rebalance => v1::Partitioning::Rebalance,
        Partitioning::Hash => v1::Partitioning::Hash,
        Partitioning::Broadcast => v1::Partitioning::Broadcast,
        Partitioning::Global => v1::Partitioning::Global,
    }
}

pub(crate) fn partitioning_from_wire(
    wire: i32,
    field: &'static str,
) -> Result<Partitioning, BadMessage> {
    match v1::Partitioning::try_from(wire) {
        Ok(v1::Partitioning::Forward) => Ok(Partitioning::Forward),
        Ok(v1::Partitioning::Rescale) => Ok(Partitioning::Rescale),
        Ok(v1::Partitioning::Rebalance) => Ok(Partitioning::Rebalance),
        Ok(v1::Partitioning::Hash) => Ok(Partitioning::Hash),
        Ok(v1::Partitioning::Broadcast) => Ok(Partitioning::Broadcast),
        Ok(v1::Partitioning::Global) => Ok(Partitioning::Global),
        Ok(v1::Partitioning::Unspecified) | Err(_) => Err(Problem::UnknownValue(wire).at(field)),
    }
}
