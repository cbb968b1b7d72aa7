//! Draws jobs: topologies, parallelisms, sources with and without end, checkpoint options, restart
//! strategies.

use crate::plan::Tier;
use crate::plan::budget::Survives;
use crate::plan::job::{EdgePlan, JobPlan, OperatorPlan, VertexPlan};
use crate::plan::options::{MS, Micros};
use crate::tape::{Decisions, Stream};
use jobmanager_core::graph::Partitioning;
use jobmanager_core::id::JobId;
use std::collections::BTreeMap;

const CHECKPOINT_TIMEOUT: &str = "execution.checkpointing.timeout";

/// Jobs at most.
const JOBS: u64 = 3;
/// Pipelines of a job at most.
const PIPELINES: u32 = 2;
/// Decisions of a job at most: its pipelines and its configuration.
const JOB_ROOM: usize = 160;
/// Decisions of a pipeline at most: six vertices and the edges between them.
const PIPELINE_ROOM: usize = 48;

/// The jobs of a run. Every job, and every pipeline in it, has its room on the tape.
pub(crate) fn jobs(tier: Tier, decisions: &mut Decisions) -> Vec<JobPlan> {
    let count = decisions.choice(Stream::Options, &[1, 1, 2, JOBS]);
    let jobs = (1..=JOBS).map(|number| {
        decisions.within(Stream::Options, JOB_ROOM, |decisions| {
            (number <= count).then(|| job(tier, decisions, number))
        })
    });
    jobs.flatten().collect()
}

fn job(tier: Tier, decisions: &mut Decisions, number: u64) -> JobPlan {
    let endless = match tier {
        Tier::ControlPlane => 700,
        Tier::Dataflow => 350,
    };
    let mut draft = Draft {
        tier,
        vertices: Vec::new(),
        edges: Vec::new(),
        bounded: !decisions.chance(Stream::Options, endless),
    };
    let pipelines = decisions.choice(Stream::Options, &[1, 1, 1, PIPELINES]);
    let apart = decisions.chance(Stream::Options, 300);
    for pipeline in 0..PIPELINES {
        decisions.within(Stream::Options, PIPELINE_ROOM, |decisions| {
            if pipeline < pipelines {
                let group = if apart { pipeline } else { 0 };
                draft.pipeline(decisions, group);
            }
        });
    }
    let mut configuration = BTreeMap::new();
    checkpoints(tier, decisions, draft.bounded, &mut configuration);
    if draft.is_heavy() && configuration.contains_key(CHECKPOINT_TIMEOUT) {
        configuration.insert(CHECKPOINT_TIMEOUT.to_owned(), "10 s".to_owned());
    }
    let (survives, restart_delay) = restart_strategy(tier, decisions, &mut configuration);
    let slot_timeout = decisions.choice(Stream::Options, &["10 s", "2 s", "60 s"]);
    configuration.insert("slot.request.timeout".to_owned(), slot_timeout.to_owned());
    JobPlan {
        id: JobId((u128::from(number) << 64) | 0xf00d),
        vertices: draft.vertices,
        edges: draft.edges,
        configuration,
        survives,
        restart_delay,
    }
}

/// A topology under construction.
struct Draft {
    tier: Tier,
    vertices: Vec<VertexPlan>,
    edges: Vec<EdgePlan>,
    bounded: bool,
}

impl Draft {
    /// Adds source(s) → maps → count → map → sink, where all but the ends are optional.
    fn pipeline(&mut self, decisions: &mut Decisions, group: u32) {
        let source = self.source(decisions);
        let mut last = vec![self.add(decisions, source, group)];
        if decisions.chance(Stream::Options, 150) {
            let second = self.source(decisions);
            last.push(self.add(decisions, second, group));
        }
        if decisions.chance(Stream::Options, 400) {
            last = vec![self.map(decisions, group, &last)];
        }
        if decisions.chance(Stream::Options, 700) {
            let at_end = self.bounded && decisions.chance(Stream::Options, 250);
            let count = self.add(decisions, OperatorPlan::Count { at_end }, group);
            self.connect_all(&last, count, Partitioning::Hash);
            last = vec![count];
        }
        if decisions.chance(Stream::Options, 200) {
            last = vec![self.map(decisions, group, &last)];
        }
        let sink = self.add(decisions, OperatorPlan::Sink, group);
        for source in last {
            let partitioning = self.any_partitioning(decisions, source, sink);
            self.connect(source, sink, partitioning);
        }
    }

    /// Whether its tasks may be so far behind that barriers take long to get through: a short timeout
    /// would let no checkpoint complete, whatever the coordinator does.
    fn is_heavy(&self) -> bool {
        let broadcast = |edge: &EdgePlan| edge.partitioning == Partitioning::Broadcast;
        let busy = |vertex: &VertexPlan| match vertex.operator {
            OperatorPlan::Source { batch, pause, .. } => batch * (50 * MS) / pause >= 20,
            OperatorPlan::Map { .. } | OperatorPlan::Count { .. } | OperatorPlan::Sink => false,
        };
        self.edges.iter().any(broadcast) || self.vertices.iter().any(busy)
    }

    fn source(&self, decisions: &mut Decisions) -> OperatorPlan {
        let counts = match self.tier {
            Tier::ControlPlane => [100, 0, 1_000, 4_000],
            Tier::Dataflow => [20, 0, 100, 400],
        };
        let count = decisions.choice(Stream::Options, &counts);
        OperatorPlan::Source {
            splits: 1,
            count: self.bounded.then_some(count),
            keys: decisions.choice(Stream::Options, &[3, 1, 8, 50]),
            batch: decisions.choice(Stream::Options, &[5, 1, 20]),
            pause: decisions.choice(Stream::Options, &[50 * MS, 10 * MS, 200 * MS]),
        }
    }

    fn map(&mut self, decisions: &mut Decisions, group: u32, inputs: &[u32]) -> u32 {
        let salt = decisions.below(Stream::Options, 100);
        let map = self.add(decisions, OperatorPlan::Map { salt }, group);
        for input in inputs {
            let partitioning = self.any_partitioning(decisions, *input, map);
            self.connect(*input, map, partitioning);
        }
        map
    }

    fn add(&mut self, decisions: &mut Decisions, operator: OperatorPlan, group: u32) -> u32 {
        let position = u32::try_from(self.vertices.len()).expect("a handful of vertices");
        let max_parallelism = decisions.choice(Stream::Options, &[None, Some(8), Some(5)]);
        let parallelism = decisions.choice(Stream::Options, &[1, 2, 2, 3, 4]);
        self.vertices.push(VertexPlan {
            operator: operator.split_for(parallelism),
            parallelism,
            max_parallelism,
            group,
        });
        position
    }

    fn any_partitioning(&self, decisions: &mut Decisions, from: u32, to: u32) -> Partitioning {
        let drawn = decisions.choice(
            Stream::Options,
            &[
                Partitioning::Rebalance,
                Partitioning::Forward,
                Partitioning::Rescale,
                Partitioning::Hash,
                Partitioning::Broadcast,
                Partitioning::Global,
            ],
        );
        let parallelism = |vertex: u32| self.vertices[vertex as usize].parallelism;
        if drawn == Partitioning::Forward && parallelism(from) != parallelism(to) {
            return Partitioning::Rescale;
        }
        drawn
    }

    fn connect_all(&mut self, sources: &[u32], target: u32, partitioning: Partitioning) {
        for source in sources {
            self.connect(*source, target, partitioning);
        }
    }

    fn connect(&mut self, source: u32, target: u32, partitioning: Partitioning) {
        self.edges.push(EdgePlan {
            source,
            target,
            partitioning,
        });
    }
}

fn checkpoints(
    tier: Tier,
    decisions: &mut Decisions,
    bounded: bool,
    configuration: &mut BTreeMap<String, String>,
) {
    if bounded && decisions.chance(Stream::Options, 100) {
        return;
    }
    let mut set = |key: &str, choices: &[&str]| {
        let value = decisions.choice(Stream::Options, choices);
        let key = format!("execution.checkpointing.{key}");
        configuration.insert(key, value.to_owned());
    };
    match tier {
        Tier::ControlPlane => {
            set("interval", &["10 s", "3 s", "20 s", "60 s"]);
            set("timeout", &["60 s", "1 s", "10 s"]);
            set("min-pause", &["0 ms", "1 s", "10 s"]);
        }
        Tier::Dataflow => {
            set("interval", &["500 ms", "100 ms", "1 s", "2 s"]);
            set("timeout", &["10 s", "300 ms", "2 s"]);
            set("min-pause", &["0 ms", "100 ms", "500 ms"]);
        }
    }
    set("max-concurrent-checkpoints", &["1", "2", "3"]);
    set("tolerable-failed-checkpoints", &["1000", "0", "3"]);
    set(
        "mode",
        &[
            "EXACTLY_ONCE",
            "EXACTLY_ONCE",
            "EXACTLY_ONCE",
            "AT_LEAST_ONCE",
        ],
    );
    set("num-retained", &["1", "2", "3"]);
    set("data-inline-threshold", &["20 kb", "0 b", "100 b"]);
}

/// Which failures the job survives, and the upper bound of restart delays.
fn restart_strategy(
    tier: Tier,
    decisions: &mut Decisions,
    configuration: &mut BTreeMap<String, String>,
) -> (Survives, Micros) {
    let kinds = [
        "fixed-delay",
        "fixed-delay",
        "exponential-delay",
        "failure-rate",
        "none",
    ];
    let mut kind = decisions.choice(Stream::Options, &kinds);
    if kind == "none" && !decisions.chance(Stream::Options, 500) {
        kind = "fixed-delay";
    }
    let delays = match tier {
        Tier::ControlPlane => [1_000, 0, 10_000],
        Tier::Dataflow => [100, 0, 500],
    };
    let delay = decisions.choice(Stream::Options, &delays);
    let mut set = |key: &str, value: String| {
        configuration.insert(format!("restart-strategy.{key}"), value);
    };
    set("type", kind.to_owned());
    match kind {
        "fixed-delay" => {
            set("fixed-delay.attempts", "1000000".to_owned());
            set("fixed-delay.delay", format!("{delay} ms"));
        }
        "failure-rate" => {
            set(
                "failure-rate.max-failures-per-interval",
                "100000".to_owned(),
            );
            set("failure-rate.failure-rate-interval", "1 s".to_owned());
            set("failure-rate.delay", format!("{delay} ms"));
        }
        "exponential-delay" => {
            set("exponential-delay.initial-backoff", "50 ms".to_owned());
            set("exponential-delay.max-backoff", "2 s".to_owned());
            return (Survives::All, 2_000 * MS);
        }
        _ => return (Survives::First(0), 0),
    }
    (Survives::All, delay * MS)
}
