//! Connects a task to the tasks around it, as its deployment says.

use super::gate::Inlet;
use super::output::{Edge, Outlet, Outputs};
use super::partition::{Ends, Partitioner, consumers, producers};
use super::{Stop, Task};
use crate::channel::{Hub, Pipe, Reader, Side};
use jobmanager_core::graph::JobEdge;
use jobmanager_core::id::{SubtaskIndex, TaskId, VertexIndex};
use jobmanager_core::message::{ChannelId, TableVertex};
use std::sync::Arc;

/// A task's channels.
pub(crate) struct Wiring {
    pub(crate) inlets: Vec<Inlet>,
    pub(crate) outputs: Outputs,
    pub(crate) has_outputs: bool,
    /// After the outputs, so that it is dropped after them.
    pub(crate) claims: Claims,
}

/// The ends of channels that a task holds. Dropped, the hub forgets those whose other end has not come.
pub(crate) struct Claims {
    hub: Arc<Hub>,
    held: Vec<(ChannelId, Arc<Pipe>, Side)>,
}

impl Claims {
    /// The task has finished: what it wrote waits for consumers that have not come yet.
    pub(crate) fn finish(mut self) {
        self.held.retain(|(_, _, side)| *side == Side::Consumer);
    }

    fn take(&mut self, id: ChannelId, side: Side) -> Result<Arc<Pipe>, Stop> {
        let Ok(pipe) = self.hub.take(id, side) else {
            let problem = "another task holds an end of a channel that is this task's";
            return Err(Stop::Failed(problem.to_owned()));
        };
        self.held.push((id, Arc::clone(&pipe), side));
        Ok(pipe)
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        for (id, pipe, _) in &self.held {
            self.hub.forget(*id, pipe);
        }
    }
}

/// Opens every channel of the task.
pub(crate) fn connect(task: &Task) -> Result<Wiring, Stop> {
    let mut claims = Claims {
        hub: Arc::clone(&task.shared.hub),
        held: Vec::new(),
    };
    let edges = connect_outputs(task, &mut claims)?;
    Ok(Wiring {
        has_outputs: !edges.is_empty(),
        outputs: Outputs::new(edges, Arc::clone(&task.inbox), Arc::clone(&task.counters)),
        inlets: connect_inputs(task, &mut claims)?,
        claims,
    })
}

fn connect_outputs(task: &Task, claims: &mut Claims) -> Result<Vec<Edge>, Stop> {
    let TaskId { vertex, subtask } = task.start.attempt.task;
    let mut edges = Vec::new();
    for (position, edge) in task.table().outputs(vertex) {
        let (ends, target) = ends(task, edge)?;
        let mut outlets = Vec::new();
        for consumer in consumers(edge.partitioning, ends, subtask.0) {
            let id = channel(task, position, subtask, SubtaskIndex(consumer));
            let pipe = claims.take(id, Side::Producer)?;
            pipe.attach_writer(Arc::clone(&task.inbox));
            outlets.push(Outlet::new(pipe));
        }
        let partitioner = Partitioner::new(
            edge.partitioning,
            subtask.0,
            outlets.len(),
            target.max_parallelism,
        );
        edges.push(Edge {
            partitioner,
            outlets,
        });
    }
    Ok(edges)
}

fn connect_inputs(task: &Task, claims: &mut Claims) -> Result<Vec<Inlet>, Stop> {
    let TaskId { vertex, subtask } = task.start.attempt.task;
    let mut inlets = Vec::new();
    for (position, edge) in task.table().inputs(vertex) {
        let (ends, _) = ends(task, edge)?;
        for producer in producers(edge.partitioning, ends, subtask.0) {
            let producer = TaskId {
                vertex: edge.source,
                subtask: SubtaskIndex(producer),
            };
            let number = u32::try_from(inlets.len()).expect("bounded by the size of a deployment");
            let id = channel(task, position, producer.subtask, subtask);
            inlets.push(connect_input(task, claims, id, producer, number)?);
        }
    }
    Ok(inlets)
}

fn connect_input(
    task: &Task,
    claims: &mut Claims,
    id: ChannelId,
    producer: TaskId,
    number: u32,
) -> Result<Inlet, Stop> {
    let reader: Arc<dyn Reader> = task.inbox.clone();
    let Some(address) = task.table().address(producer) else {
        let name = &vertex(task, producer.vertex)?.name;
        let subtask = producer.subtask.0;
        let problem = format!("the deployment does not say where subtask {subtask} of {name} runs");
        return Err(Stop::Failed(problem));
    };
    if address != &*task.shared.data_address {
        let peers = &task.shared.peers;
        let (pipe, subscription) = peers.subscribe(address, id, reader, number);
        let subscription = Some(subscription);
        return Ok(Inlet { pipe, subscription });
    }
    let pipe = claims.take(id, Side::Consumer)?;
    pipe.attach_reader(reader, number);
    let subscription = None;
    Ok(Inlet { pipe, subscription })
}

fn channel(task: &Task, edge: u32, producer: SubtaskIndex, consumer: SubtaskIndex) -> ChannelId {
    ChannelId {
        job: task.start.attempt.job,
        attempt: task.start.attempt.attempt,
        edge,
        producer,
        consumer,
    }
}

fn ends<'a>(task: &'a Task, edge: &JobEdge) -> Result<(Ends, &'a TableVertex), Stop> {
    let target = vertex(task, edge.target)?;
    let ends = Ends {
        producers: vertex(task, edge.source)?.parallelism,
        consumers: target.parallelism,
    };
    Ok((ends, target))
}

fn vertex(task: &Task, index: VertexIndex) -> Result<&TableVertex, Stop> {
    let vertex = task.table().vertices.get(index.0 as usize);
    let problem = || format!("the deployment has no vertex {}", index.0);
    vertex.ok_or_else(|| Stop::Failed(problem()))
}
