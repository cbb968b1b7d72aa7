//! What is explored: the shape of the job, and how much may go wrong.

use clap::{Args, ValueEnum};
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::graph::{EdgeSpec, JobGraph, JobGraphSpec, Partitioning, VertexSpec};
use jobmanager_core::id::{JobId, RegionIndex, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How large the explored world is.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Scope {
    /// The job.
    #[arg(skip)]
    pub shape: Shape,
    /// How many checkpoints every task takes part in before the end of its input; the final one comes on
    /// top.
    #[arg(long, default_value_t = 1)]
    pub checkpoints: u32,
    /// How many faults there may be at most.
    #[arg(long, default_value_t = 2)]
    pub faults: u8,
    /// How often time may pass although something else could happen first.
    #[arg(long, default_value_t = 0)]
    pub hurries: u8,
    /// How often a client may cancel the job.
    #[arg(long, default_value_t = 0)]
    pub cancels: u8,
    /// Slots of each of the two TaskManagers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2))]
    pub slots: u32,
    /// Begin with two leaders: the earlier one lives and does not know that it was replaced, and after its
    /// TaskManagers had left it they completed a checkpoint with the later one.
    #[arg(long)]
    pub divided: bool,
    /// After the last thing that may go wrong, too, go through every order until all has come to rest.
    #[arg(long)]
    pub thorough: bool,
    /// Give up after so many states.
    #[arg(long, default_value_t = 20_000_000)]
    pub limit: u32,
}

/// The job of the explored world: always two tasks, so that each TaskManager gets one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// A source and a sink behind it, in slots of their own: one region.
    #[default]
    Chain,
    /// Two subtasks of one source: two regions.
    Pair,
}

/// The explored job.
pub(super) const JOB: JobId = JobId(1);
/// Longer than anything that is waited for: heartbeats are left out of the explored world.
const NEVER: Duration = Duration::from_secs(1_000_000);

impl Scope {
    /// Short waits are nothing at all, so that what they let happen competes with everything else.
    pub(super) fn cluster(&self) -> ClusterConfig {
        ClusterConfig {
            heartbeat_interval: NEVER / 2,
            heartbeat_timeout: NEVER,
            reconciliation_timeout: Duration::from_secs(15),
            grace_period: Duration::from_secs(60),
            cancellation_timeout: Duration::from_secs(30),
            registration_initial: Duration::ZERO,
            registration_max: Duration::ZERO,
            registration_refused: Duration::from_secs(1),
            checkpoint_storage: "blobs:///".to_owned(),
            exception_history: 1,
            checkpoint_history: 1,
            workers: None,
            job_store_capacity: 1,
            max_slots_per_job: u32::MAX,
        }
    }

    /// The region of a task.
    pub(super) fn region(&self, task: TaskId) -> RegionIndex {
        RegionIndex(match self.shape {
            Shape::Chain => 0,
            Shape::Pair => task.subtask.0,
        })
    }

    /// All regions.
    pub(super) fn regions(&self) -> impl Iterator<Item = RegionIndex> + use<> {
        let count = match self.shape {
            Shape::Chain => 1,
            Shape::Pair => 2,
        };
        (0..count).map(RegionIndex)
    }

    /// The regions of which an order names tasks: all if it names none.
    pub(super) fn named(&self, tasks: &[TaskId]) -> Vec<RegionIndex> {
        if tasks.is_empty() {
            return self.regions().collect();
        }
        tasks.iter().map(|task| self.region(*task)).collect()
    }

    pub(super) fn graph(&self) -> Arc<JobGraph> {
        let vertex = |id: &str, parallelism| VertexSpec {
            id: id.to_owned(),
            name: None,
            operator: id.to_owned(),
            parallelism,
            max_parallelism: None,
            slot_sharing_group: Some(id.to_owned()),
            config: "{}".to_owned(),
        };
        let edge = EdgeSpec {
            source: "source".to_owned(),
            target: "sink".to_owned(),
            partitioning: Partitioning::Hash,
        };
        let (vertices, edges) = match self.shape {
            Shape::Chain => (vec![vertex("source", 1), vertex("sink", 1)], vec![edge]),
            Shape::Pair => (vec![vertex("source", 2)], Vec::new()),
        };
        let configuration = [
            ("execution.checkpointing.interval", "10 s"),
            // Before the next one is due: time that passes once gets to it.
            ("execution.checkpointing.timeout", "9 s"),
            ("restart-strategy.type", "fixed-delay"),
            ("restart-strategy.fixed-delay.attempts", "1000"),
            ("restart-strategy.fixed-delay.delay", "0 ms"),
            ("slot.request.timeout", "3600 s"),
        ];
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let spec = JobGraphSpec {
            id: JOB,
            name: "explored".to_owned(),
            vertices,
            edges,
            configuration: configuration.into_iter().map(owned).collect(),
        };
        let graph = JobGraph::validate(spec, &BTreeMap::new());
        Arc::new(graph.expect("the explored job is right"))
    }
}
