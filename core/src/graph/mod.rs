//! The JobGraph: what a client submits, checked once and then beyond doubt, and the formulas that
//! follow from it (key groups, pointwise distribution, pipelined regions).
//!
//! [`JobGraphSpec`] is what somebody wrote; [`JobGraph`] can only be had from [`JobGraph::validate`],
//! so no other code asks whether an edge's vertex exists or the graph has a cycle.

#[cfg(test)]
mod golden;
mod key_group;
mod order;
mod pointwise;
mod region;
mod validate;

pub use key_group::{
    KeyGroupRange, default_max_parallelism, key_group, key_group_range, murmur,
    subtask_of_key_group,
};
pub use pointwise::{consumers_of, producers_of};
pub use region::{Regions, regions};
pub use validate::Problem;
pub(crate) use validate::operator_id;

use crate::config::JobConfig;
use crate::digest::Digest;
use crate::id::{JobId, VertexIndex};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use serde::{Deserialize, Serialize};

/// The largest parallelism and max parallelism of a vertex (Flink's bound of key groups, 2^15).
pub const MAX_PARALLELISM: u32 = 32_768;
/// The most vertices of one JobGraph; a graph is drawn by people or by a planner, not by a loop.
pub const MAX_VERTICES: usize = 1_000;
/// The most edges of one JobGraph.
pub const MAX_EDGES: usize = 10_000;

/// A JobGraph as somebody wrote it. Everything in it may be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobGraphSpec {
    /// The job's id: the client's own, or drawn by the shell.
    pub id: JobId,
    /// What people call it.
    pub name: String,
    /// The vertices, in the writer's order.
    pub vertices: Vec<VertexSpec>,
    /// The edges, in the writer's order.
    pub edges: Vec<EdgeSpec>,
    /// Options with Flink's keys and value formats.
    pub configuration: BTreeMap<String, String>,
}

/// A vertex as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VertexSpec {
    /// Unique within the graph; edges name it.
    pub id: String,
    /// What people call it; the id if absent.
    pub name: Option<String>,
    /// The name under which TaskManagers offer the operator.
    pub operator: String,
    /// How many subtasks.
    pub parallelism: u32,
    /// How many key groups; by default Flink's formula.
    pub max_parallelism: Option<u32>,
    /// Subtasks of one group share slots; by default one group for all.
    pub slot_sharing_group: Option<String>,
    /// The operator's own configuration: a JSON object as text. The coordinator does not read it.
    pub config: String,
}

/// An edge as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EdgeSpec {
    /// The id of the producing vertex.
    pub source: String,
    /// The id of the consuming vertex.
    pub target: String,
    /// How records choose their consumer.
    pub partitioning: Partitioning,
}

/// How the records of a producer subtask choose a consumer subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Partitioning {
    /// Subtask i to subtask i; both sides have the same parallelism.
    Forward,
    /// In turn among the consumers that are this producer's by the pointwise formula.
    Rescale,
    /// In turn among all consumers.
    Rebalance,
    /// By the key group of the record's key.
    Hash,
    /// To every consumer.
    Broadcast,
    /// To the first consumer.
    Global,
}

impl Partitioning {
    /// Every partitioning with the name that a JobGraph in JSON gives it.
    pub const NAMES: [(Partitioning, &'static str); 6] = [
        (Partitioning::Forward, "forward"),
        (Partitioning::Rescale, "rescale"),
        (Partitioning::Rebalance, "rebalance"),
        (Partitioning::Hash, "hash"),
        (Partitioning::Broadcast, "broadcast"),
        (Partitioning::Global, "global"),
    ];

    /// Whether every producer is connected to every consumer; otherwise the edge is pointwise.
    #[must_use]
    pub fn is_all_to_all(self) -> bool {
        match self {
            Partitioning::Forward | Partitioning::Rescale => false,
            Partitioning::Rebalance
            | Partitioning::Hash
            | Partitioning::Broadcast
            | Partitioning::Global => true,
        }
    }

    /// The name that a JobGraph in JSON gives it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let named = Self::NAMES
            .iter()
            .find(|(partitioning, _)| *partitioning == self);
        named.expect("NAMES lists every partitioning").1
    }
}

/// A valid JobGraph with its options resolved.
///
/// Every vertex and edge index in it exists, it has no cycle, at least one vertex, and every
/// parallelism lies in 1..=max parallelism ≤ [`MAX_PARALLELISM`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobGraph {
    id: JobId,
    name: String,
    vertices: Vec<JobVertex>,
    edges: Vec<JobEdge>,
    groups: Vec<SlotSharingGroup>,
    topological: Vec<VertexIndex>,
    configuration: BTreeMap<String, String>,
    config: JobConfig,
    /// The digest of everything above: graphs never change and are large, and states that hold them are
    /// digested often.
    digest: u64,
}

impl Hash for JobGraph {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

/// A vertex of a valid JobGraph.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobVertex {
    /// Unique within the graph, as the client wrote it.
    pub id: String,
    /// A 128-bit id, stable over submissions: the client's 32 hex digits, or a hash of [`Self::id`].
    /// State finds its operator by it.
    pub operator_id: u128,
    /// What people call it.
    pub name: String,
    /// The name under which TaskManagers offer the operator.
    pub operator: String,
    /// How many subtasks.
    pub parallelism: u32,
    /// How many key groups.
    pub max_parallelism: u32,
    /// Index into [`JobGraph::groups`].
    pub group: u32,
    /// The operator's own configuration: a JSON object as text.
    pub config: String,
}

/// An edge of a valid JobGraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobEdge {
    /// The producing vertex.
    pub source: VertexIndex,
    /// The consuming vertex.
    pub target: VertexIndex,
    /// How records choose their consumer.
    pub partitioning: Partitioning,
}

/// Vertices whose subtasks share slots: subtask i of each of them runs in the group's slot i.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SlotSharingGroup {
    /// Its name.
    pub name: String,
    /// How many slots it needs: the largest parallelism of its vertices.
    pub slots: u32,
    /// Where its slots start among all slots of the job.
    pub first_slot: u32,
}

impl JobGraph {
    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The vertices, in the writer's order.
    #[must_use]
    pub fn vertices(&self) -> &[JobVertex] {
        &self.vertices
    }

    /// The edges, in the writer's order.
    #[must_use]
    pub fn edges(&self) -> &[JobEdge] {
        &self.edges
    }

    /// The slot sharing groups, in the order of their first vertex.
    #[must_use]
    pub fn groups(&self) -> &[SlotSharingGroup] {
        &self.groups
    }

    /// The vertices so that every producer comes before its consumers.
    #[must_use]
    pub fn topological(&self) -> &[VertexIndex] {
        &self.topological
    }

    /// The job's options: the cluster's defaults when it was submitted, overlaid by the client's.
    #[must_use]
    pub fn configuration(&self) -> &BTreeMap<String, String> {
        &self.configuration
    }

    /// The job's options, resolved.
    #[must_use]
    pub fn config(&self) -> &JobConfig {
        &self.config
    }

    /// Whether another graph is this one but for its options, which also follow the cluster's defaults
    /// of the day; and starts from the same savepoint, if any.
    #[must_use]
    pub fn computes_like(&self, other: &JobGraph) -> bool {
        let start = |graph: &JobGraph| graph.config.restore.as_ref().map(|it| it.path.clone());
        (&self.name, &self.vertices, &self.edges) == (&other.name, &other.vertices, &other.edges)
            && start(self) == start(other)
    }

    /// A digest of what [`computes_like`](Self::computes_like) compares, for when the graph itself is gone.
    #[must_use]
    pub fn computation(&self) -> u64 {
        let graph = (&self.name, &self.vertices, &self.edges);
        match &self.config.restore {
            None => Digest::of(&graph),
            Some(restore) => Digest::of(&(graph, &restore.path)),
        }
    }

    /// The same graph with other numbers of subtasks, by vertex.
    ///
    /// # Errors
    /// What [`JobGraph::validate`] finds wrong with them.
    pub fn rescaled(&self, parallelism: &[u32]) -> Result<JobGraph, Vec<Problem>> {
        let mut spec = self.to_spec();
        for (vertex, parallelism) in spec.vertices.iter_mut().zip(parallelism) {
            vertex.parallelism = *parallelism;
        }
        JobGraph::validate(spec, &BTreeMap::new())
    }

    /// How many subtasks each vertex has.
    #[must_use]
    pub fn parallelism(&self) -> Vec<u32> {
        self.vertices
            .iter()
            .map(|vertex| vertex.parallelism)
            .collect()
    }

    /// How many slots the job needs: the sum over its slot sharing groups.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.groups
            .last()
            .map_or(0, |group| group.first_slot + group.slots)
    }

    /// How many subtasks all vertices have together.
    #[must_use]
    pub fn subtasks(&self) -> u32 {
        self.vertices.iter().map(|vertex| vertex.parallelism).sum()
    }

    /// The graph as somebody would have to write it to get this one.
    #[must_use]
    pub fn to_spec(&self) -> JobGraphSpec {
        let vertex_id = |index: VertexIndex| self.vertices[index.0 as usize].id.clone();
        let edge = |edge: &JobEdge| EdgeSpec {
            source: vertex_id(edge.source),
            target: vertex_id(edge.target),
            partitioning: edge.partitioning,
        };
        let vertex = |vertex: &JobVertex| VertexSpec {
            id: vertex.id.clone(),
            name: Some(vertex.name.clone()),
            operator: vertex.operator.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: Some(vertex.max_parallelism),
            slot_sharing_group: Some(self.groups[vertex.group as usize].name.clone()),
            config: vertex.config.clone(),
        };
        JobGraphSpec {
            id: self.id,
            name: self.name.clone(),
            vertices: self.vertices.iter().map(vertex).collect(),
            edges: self.edges.iter().map(edge).collect(),
            configuration: self.configuration.clone(),
        }
    }
}
