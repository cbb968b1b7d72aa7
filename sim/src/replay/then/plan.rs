//! What the simulated part is like: the cluster of the recording, on a quick network, with nothing that
//! breaks by itself; and the recorded jobs in the words of the simulator.

use crate::plan::options::{Latency, MS, Micros};
use crate::plan::{
    BlobOptions, ClientOptions, ClockOptions, CrowdOptions, EdgePlan, FaultOptions, JobPlan,
    LeaderOptions, MetamorphicOptions, OperatorPlan, Options, Rhythm, StoreOptions, Survives, Tier,
    VertexPlan,
};
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::graph::{JobGraph, JobVertex};
use jobmanager_core::id::{JobId, VertexIndex};
use jobmanager_core::message::{JobTable, TableCheckpoints, TableVertex};
use std::collections::BTreeMap;

/// There is one JobManager, and nobody takes its lease away: longer than any run.
const LEASE: Micros = 1 << 50;
/// Between two machines of one cluster, one way.
const NETWORK: Latency = 200..=2 * MS;
/// Of a write that is durable when it is answered, one way.
const STORE: Latency = MS..=5 * MS;
/// Of a checkpoint storage.
const BLOBS: Latency = 5 * MS..=50 * MS;
/// A barrier takes this long from one task to the next.
const PACE: Latency = MS..=10 * MS;
/// From the order to stop to the end of a task.
const CANCEL: Latency = 10 * MS..=200 * MS;

/// Options under which nothing breaks by itself.
pub(super) fn options(cluster: ClusterConfig, jobs: Vec<JobPlan>, slots: Vec<u32>) -> Options {
    Options {
        workers: None,
        tier: Tier::ControlPlane,
        cluster,
        network: NETWORK,
        slow_messages: 0,
        store: StoreOptions {
            latency: STORE,
            unavailable: 0,
            unknown: 0,
        },
        blobs: BlobOptions {
            latency: BLOBS,
            failing: 0,
        },
        task_pace: PACE,
        cancel_delay: CANCEL,
        stuck: 0,
        credit: 1,
        twice: false,
        metamorphic: MetamorphicOptions::default(),
        faults: faults(slots.len()),
        clients: ClientOptions {
            submit: Vec::new(),
            cancel: Vec::new(),
            repeats: 0,
            patience: 1,
        },
        leaders: leaders(),
        clocks: ClockOptions {
            drift: 0,
            jumps: 0,
            stutter: 0,
        },
        crowd: CrowdOptions {
            conflicts: 0,
            strangers: 0,
            cancels: 0,
            hasty: 0,
            storm: false,
            watchers: Vec::new(),
        },
        savepoints: Vec::new(),
        rescales: Vec::new(),
        demands: Vec::new(),
        retentions: Vec::new(),
        slots,
        jobs,
    }
}

fn faults(taskmanagers: usize) -> FaultOptions {
    FaultOptions {
        rhythm: Rhythm::Calm,
        kinds: Vec::new(),
        pause: 0..=0,
        duration: 0..=0,
        cycle: 1,
        lull: 0,
        lull_first: false,
        safety: 0,
        racks: 1,
        outside: vec![None; taskmanagers],
    }
}

fn leaders() -> LeaderOptions {
    LeaderOptions {
        processes: 1,
        lease: LEASE,
        latency: NETWORK,
        lost: 0,
        revoked: 0,
        flaps: 0,
        rivalry: None,
        linger: 0,
        severed: 0,
        groups: false,
        group: 0,
        loyalty: 0,
        seesaw: false,
        astray: 0,
        echoes: 0,
        ambushes: 0,
    }
}

/// The shape of a job, as the observer reads it. Of what its operators compute it says nothing.
pub(super) fn job(graph: &JobGraph) -> JobPlan {
    let edges = graph.edges();
    let vertex = |(index, vertex): (u32, &JobVertex)| {
        let index = VertexIndex(index);
        let operator = if edges.iter().all(|edge| edge.target != index) {
            OperatorPlan::Source {
                splits: 1,
                count: None,
                keys: 1,
                batch: 1,
                pause: 1,
            }
        } else if edges.iter().all(|edge| edge.source != index) {
            OperatorPlan::Sink
        } else {
            OperatorPlan::Map { salt: 0 }
        };
        VertexPlan {
            operator,
            parallelism: vertex.parallelism,
            max_parallelism: Some(vertex.max_parallelism),
            group: vertex.group,
        }
    };
    let edge = |edge: &jobmanager_core::graph::JobEdge| EdgePlan {
        source: edge.source.0,
        target: edge.target.0,
        partitioning: edge.partitioning,
    };
    JobPlan {
        id: graph.id(),
        vertices: (0..).zip(graph.vertices()).map(vertex).collect(),
        edges: edges.iter().map(edge).collect(),
        configuration: graph.configuration().clone(),
        survives: Survives::All,
        restart_delay: 0,
    }
}

/// A job that has ended, of which the graph is gone.
pub(super) fn past_job(id: JobId) -> JobPlan {
    JobPlan {
        id,
        vertices: Vec::new(),
        edges: Vec::new(),
        configuration: BTreeMap::new(),
        survives: Survives::All,
        restart_delay: 0,
    }
}

/// What the tasks of a job share. Where they are is left out: they exchange no records.
pub(super) fn table(graph: &JobGraph) -> JobTable {
    let vertex = |vertex: &JobVertex| TableVertex {
        name: vertex.name.clone(),
        operator_id: vertex.operator_id,
        operator: vertex.operator.clone(),
        config: vertex.config.clone(),
        parallelism: vertex.parallelism,
        max_parallelism: vertex.max_parallelism,
        first_slot: graph.groups()[vertex.group as usize].first_slot,
        since: None,
    };
    let checkpoints = graph.config().checkpointing.as_ref();
    JobTable {
        name: graph.name().to_owned(),
        vertices: graph.vertices().iter().map(vertex).collect(),
        edges: graph.edges().to_vec(),
        slots: vec![JobTable::NOWHERE; graph.slots() as usize],
        addresses: Vec::new(),
        checkpoints: checkpoints.map(|config| TableCheckpoints {
            mode: config.mode,
            inline_threshold: config.inline_threshold,
        }),
    }
}
