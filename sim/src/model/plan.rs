//! A job as the model sees it: its tasks one by one, and its options read from their text once more.

use crate::plan::job::{JobPlan, OperatorPlan, VertexPlan};
use jobmanager_core::graph::Partitioning;
use jobmanager_core::id::{SubtaskIndex, TaskId, VertexIndex};
use jobmanager_core::record::Bounds;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The tasks of a job, by position: those of vertex 0 first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) job: JobPlan,
    pub(super) tasks: Vec<TaskId>,
    /// The positions of each region, ascending; the region of the first position is the first.
    pub(super) regions: Vec<Vec<usize>>,
    /// The region of each position.
    pub(super) region_of: Vec<usize>,
    /// Whether the task has no inputs.
    pub(super) is_source: Vec<bool>,
    /// Tasks with the same value share a slot: the slot sharing group and the subtask.
    pub(super) shares: Vec<(u32, u32)>,
    pub(super) checkpoints: Option<CheckpointPlan>,
    pub(super) restarts: RestartPlan,
    pub(super) slot_timeout: Duration,
    pub(super) elastic: ElasticPlan,
    /// Higher ones go first when slots are few.
    pub(super) priority: u32,
    /// Of each vertex: the parallelism that it was submitted with, and the most that it may have.
    limits: Vec<(u32, u32)>,
}

/// The options that say how its parallelism follows the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ElasticPlan {
    pub(super) scheduler: Scheduler,
    pub(super) cooldown: Duration,
    /// While it runs, how long less than all must have fitted.
    pub(super) executing: Duration,
    /// While it waits for slots, how long less must have fitted.
    pub(super) waiting: Duration,
    pub(super) max_delay: Option<Duration>,
}

/// Who decides on the parallelism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheduler {
    Default,
    Adaptive,
    Reactive,
}

/// The options under `execution.checkpointing` that the coordinator reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CheckpointPlan {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) longest: Duration,
    pub(super) min_pause: Duration,
    pub(super) max_concurrent: u64,
    pub(super) tolerable: u64,
    pub(super) retained: u64,
    /// Whether the last one outlives a job that has failed, and one that was canceled.
    pub(super) outlives: [bool; 2],
}

/// The options under `restart-strategy`. Delays are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RestartPlan {
    Never,
    Fixed {
        attempts: u64,
        delay: u64,
    },
    Rate {
        failures: u64,
        interval: u64,
        delay: u64,
    },
    Exponential {
        initial: u64,
        max: u64,
        multiplier_permille: u64,
        jitter_permille: u64,
        reset: u64,
        attempts: u64,
    },
}

impl Plan {
    pub(super) fn new(job: &JobPlan) -> Plan {
        let mut tasks = Vec::new();
        let mut shares = Vec::new();
        for (vertex, plan) in (0..).zip(&job.vertices) {
            for subtask in 0..plan.parallelism {
                tasks.push(TaskId {
                    vertex: VertexIndex(vertex),
                    subtask: SubtaskIndex(subtask),
                });
                shares.push((plan.group, subtask));
            }
        }
        let region_of = components(&tasks, job);
        let mut regions: Vec<Vec<usize>> = Vec::new();
        for (position, region) in region_of.iter().enumerate() {
            if *region == regions.len() {
                regions.push(Vec::new());
            }
            regions[*region].push(position);
        }
        let source = |task: &TaskId| {
            let vertex = &job.vertices[task.vertex.0 as usize];
            matches!(vertex.operator, OperatorPlan::Source { .. })
        };
        let options = Options(&job.configuration);
        let checkpoints = options.checkpoints();
        Plan {
            job: job.clone(),
            is_source: tasks.iter().map(source).collect(),
            restarts: options.restarts(checkpoints.is_some()),
            slot_timeout: options.duration("slot.request.timeout", 300_000),
            elastic: options.elastic(checkpoints.is_some()),
            priority: options.priority(),
            limits: job.vertices.iter().map(limits).collect(),
            tasks,
            regions,
            region_of,
            shares,
            checkpoints,
        }
    }

    /// Of the same job with other numbers of subtasks.
    pub(super) fn rescaled(&self, parallelism: &[u32]) -> Plan {
        Plan {
            limits: self.limits.clone(),
            ..Plan::new(&self.job.with_parallelism(parallelism))
        }
    }

    /// What its scheduler allows.
    pub(super) fn bounds(&self) -> Vec<Bounds> {
        let now = self.parallelism().into_iter().zip(&self.limits);
        now.map(|(now, (original, max))| match self.elastic.scheduler {
            Scheduler::Default => Bounds::exactly(now),
            Scheduler::Adaptive => Bounds {
                lower: 1,
                upper: *original,
            },
            Scheduler::Reactive => Bounds {
                lower: 1,
                upper: *max,
            },
        })
        .collect()
    }

    /// Its slot sharing groups.
    pub(super) fn groups(&self) -> BTreeSet<u32> {
        self.job.vertices.iter().map(|it| it.group).collect()
    }

    /// How many slots it needs within these bounds.
    pub(super) fn least_slots(&self, bounds: &[Bounds]) -> u32 {
        let groups = self.groups().into_iter();
        groups.map(|group| self.least_of(bounds, group)).sum()
    }

    /// How many of these a group needs.
    pub(super) fn least_of(&self, bounds: &[Bounds], group: u32) -> u32 {
        self.most_of(bounds, group, |it| it.lower)
    }

    /// How many slots a group has.
    pub(super) fn slots_of(&self, group: u32) -> u32 {
        let own: BTreeSet<_> = self.shares.iter().filter(|(of, _)| *of == group).collect();
        u32::try_from(own.len()).expect("a handful of slots")
    }

    /// The largest bound of the vertices of a group.
    fn most_of(&self, bounds: &[Bounds], group: u32, of: fn(&Bounds) -> u32) -> u32 {
        let members = self.job.vertices.iter().zip(bounds);
        let members = members.filter(|(vertex, _)| vertex.group == group);
        members.map(|(_, bounds)| of(bounds)).max().unwrap_or(0)
    }

    /// What it can be with so many slots: one slot after the other goes to the groups, to all that want more in turn.
    pub(super) fn fitting(&self, bounds: &[Bounds], slots: u32) -> Option<Vec<u32>> {
        let mut groups: Vec<u32> = Vec::new();
        for vertex in &self.job.vertices {
            if !groups.contains(&vertex.group) {
                groups.push(vertex.group);
            }
        }
        let most = |group, of| self.most_of(bounds, group, of);
        let mut given: BTreeMap<u32, u32> = groups
            .iter()
            .map(|group| (*group, most(*group, |bounds| bounds.lower)))
            .collect();
        let mut left = slots.checked_sub(given.values().sum())?;
        let mut wants: BTreeMap<u32, u32> = BTreeMap::new();
        for (group, given) in &given {
            let upper = most(*group, |bounds| bounds.upper).min(slots);
            wants.insert(*group, upper.checked_sub(*given)?);
        }
        groups.sort_by_key(|group| wants[group]);
        while left > 0 && wants.values().any(|wants| *wants > 0) {
            let open: Vec<u32> = groups.iter().copied().filter(|it| wants[it] > 0).collect();
            // Those that want the most come last, and get what is too little for all.
            let turn = open.len().min(left as usize);
            for group in &open[open.len() - turn..] {
                *given.entry(*group).or_default() += 1;
                *wants.entry(*group).or_default() -= 1;
                left -= 1;
            }
        }
        let vertices = self.job.vertices.iter().zip(bounds);
        let mut fits: Vec<u32> = vertices
            .map(|(vertex, bounds)| bounds.upper.min(given[&vertex.group]))
            .collect();
        self.join_forward(&mut fits);
        let enough = fits.iter().zip(bounds).all(|(it, of)| of.lower <= *it);
        enough.then_some(fits)
    }

    /// How many slots it needs with as many subtasks as it may have.
    pub(super) fn most_slots(&self, bounds: &[Bounds]) -> u32 {
        let mut most: Vec<u32> = bounds.iter().map(|bounds| bounds.upper).collect();
        self.join_forward(&mut most);
        let mut groups: BTreeMap<u32, u32> = BTreeMap::new();
        for (vertex, most) in self.job.vertices.iter().zip(most) {
            let group = groups.entry(vertex.group).or_default();
            *group = most.max(*group);
        }
        groups.values().sum()
    }

    /// Both ends of a forward edge have as many as the lesser of the two.
    fn join_forward(&self, parallelism: &mut [u32]) {
        for _ in 0..parallelism.len() {
            for edge in &self.job.edges {
                if edge.partitioning == Partitioning::Forward {
                    let (a, b) = (edge.source as usize, edge.target as usize);
                    let least = parallelism[a].min(parallelism[b]);
                    (parallelism[a], parallelism[b]) = (least, least);
                }
            }
        }
    }

    /// By vertex.
    pub(super) fn parallelism(&self) -> Vec<u32> {
        self.job.vertices.iter().map(|it| it.parallelism).collect()
    }

    pub(super) fn position(&self, task: TaskId) -> Option<usize> {
        self.tasks.iter().position(|known| *known == task)
    }
}

/// What a vertex is submitted with, and the most that it may have: few enough for the default are submitted.
fn limits(vertex: &VertexPlan) -> (u32, u32) {
    (vertex.parallelism, vertex.max_parallelism.unwrap_or(128))
}

/// For each task the number of its connected component, counted from the first task on.
fn components(tasks: &[TaskId], job: &JobPlan) -> Vec<usize> {
    let mut label: Vec<usize> = (0..tasks.len()).collect();
    // Labels sink to the lowest neighbour's until nothing changes: slow, and plainly right.
    let neighbours: BTreeSet<(usize, usize)> = (0..tasks.len())
        .flat_map(|a| (0..tasks.len()).map(move |b| (a, b)))
        .filter(|(a, b)| exchange(tasks[*a], tasks[*b], job))
        .collect();
    loop {
        let before = label.clone();
        for (a, b) in &neighbours {
            let lowest = label[*a].min(label[*b]);
            label[*a] = lowest;
            label[*b] = lowest;
        }
        if label == before {
            break;
        }
    }
    let distinct: BTreeSet<usize> = label.iter().copied().collect();
    let number: BTreeMap<usize, usize> = distinct.into_iter().zip(0..).collect();
    label.iter().map(|label| number[label]).collect()
}

/// Whether rows go from one task to the other.
fn exchange(from: TaskId, to: TaskId, job: &JobPlan) -> bool {
    let parallelism = |task: TaskId| job.vertices[task.vertex.0 as usize].parallelism;
    let (p, c) = (parallelism(from), parallelism(to));
    let (producer, consumer) = (from.subtask.0, to.subtask.0);
    job.edges.iter().any(|edge| {
        let between = edge.source == from.vertex.0 && edge.target == to.vertex.0;
        between
            && match edge.partitioning {
                Partitioning::Rebalance
                | Partitioning::Hash
                | Partitioning::Broadcast
                | Partitioning::Global => true,
                Partitioning::Forward | Partitioning::Rescale if p >= c => {
                    (consumer * p / c..(consumer + 1) * p / c).contains(&producer)
                }
                Partitioning::Forward | Partitioning::Rescale => ((producer * c).div_ceil(p)
                    ..((producer + 1) * c).div_ceil(p))
                    .contains(&consumer),
            }
    })
}

/// The options of a job as text.
struct Options<'a>(&'a BTreeMap<String, String>);

impl Options<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn priority(&self) -> u32 {
        let priority = self.number("jobmanager.scheduler.priority", 0);
        u32::try_from(priority).expect("at most a thousand")
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.text(key)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }

    /// In thousandths, from a decimal fraction.
    fn permille(&self, key: &str, default: u64) -> u64 {
        let Some(text) = self.text(key) else {
            return default;
        };
        let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
        let digits: String = rest.chars().chain("000".chars()).take(3).collect();
        let parse = |text: &str| text.parse::<u64>().unwrap_or(0);
        parse(whole) * 1_000 + parse(&digits)
    }

    fn millis(&self, key: &str, default: u64) -> u64 {
        self.text(key).map_or(default, parse_millis)
    }

    fn duration(&self, key: &str, default: u64) -> Duration {
        Duration::from_millis(self.millis(key, default))
    }

    fn checkpoints(&self) -> Option<CheckpointPlan> {
        let of = |key: &str| format!("execution.checkpointing.{key}");
        let interval = self.duration(&of("interval"), 0);
        (!interval.is_zero()).then(|| CheckpointPlan {
            interval,
            timeout: self.duration(&of("timeout"), 600_000),
            longest: self.duration(&of("max-timeout"), self.millis(&of("timeout"), 600_000)),
            min_pause: self.duration(&of("min-pause"), 0),
            max_concurrent: self.number(&of("max-concurrent-checkpoints"), 1),
            tolerable: self.number(&of("tolerable-failed-checkpoints"), 0),
            retained: self.number(&of("num-retained"), 1),
            outlives: match self.text(&of("externalized-checkpoint-retention")) {
                Some("RETAIN_ON_CANCELLATION") => [true, true],
                Some("DELETE_ON_CANCELLATION") => [true, false],
                _ => [false, false],
            },
        })
    }

    fn elastic(&self, checkpoints: bool) -> ElasticPlan {
        let of = |key: &str| format!("jobmanager.adaptive-scheduler.{key}");
        let mode = self.text("scheduler-mode");
        let scheduler = match self.text("jobmanager.scheduler") {
            _ if !checkpoints => Scheduler::Default,
            _ if mode == Some("reactive") => Scheduler::Reactive,
            Some("adaptive") => Scheduler::Adaptive,
            _ => Scheduler::Default,
        };
        let max_delay = of("rescale-trigger.max-delay");
        let resources = |stage: &str| of(&format!("{stage}.resource-stabilization-timeout"));
        ElasticPlan {
            scheduler,
            cooldown: self.duration(&of("executing.cooldown-after-rescaling"), 30_000),
            executing: self.duration(&resources("executing"), 60_000),
            waiting: self.duration(&resources("submission"), 10_000),
            max_delay: self
                .text(&max_delay)
                .map(|text| Duration::from_millis(parse_millis(text))),
        }
    }

    fn restarts(&self, checkpoints: bool) -> RestartPlan {
        let of = |key: &str| format!("restart-strategy.{key}");
        let default = if checkpoints {
            "exponential-delay"
        } else {
            "none"
        };
        match self.text("restart-strategy.type").unwrap_or(default) {
            "fixed-delay" => RestartPlan::Fixed {
                attempts: self.number(&of("fixed-delay.attempts"), 1),
                delay: self.millis(&of("fixed-delay.delay"), 1_000),
            },
            "failure-rate" => RestartPlan::Rate {
                failures: self.number(&of("failure-rate.max-failures-per-interval"), 1),
                interval: self.millis(&of("failure-rate.failure-rate-interval"), 60_000),
                delay: self.millis(&of("failure-rate.delay"), 1_000),
            },
            "exponential-delay" => {
                let of = |key: &str| format!("restart-strategy.exponential-delay.{key}");
                RestartPlan::Exponential {
                    initial: self.millis(&of("initial-backoff"), 1_000),
                    max: self.millis(&of("max-backoff"), 60_000),
                    multiplier_permille: self.permille(&of("backoff-multiplier"), 1_500),
                    jitter_permille: self.permille(&of("jitter-factor"), 100),
                    reset: self.millis(&of("reset-backoff-threshold"), 3_600_000),
                    attempts: self.number(&of("attempts-before-reset-backoff"), 2_147_483_647),
                }
            }
            _ => RestartPlan::Never,
        }
    }
}

fn parse_millis(text: &str) -> u64 {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let unit = match text[end..].trim() {
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 1,
    };
    text[..end].parse::<u64>().unwrap_or(0) * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::job::EdgePlan;
    use jobmanager_core::id::JobId;

    fn job(parallelism: [u32; 2], partitioning: Partitioning) -> JobPlan {
        let vertex = |(operator, parallelism)| VertexPlan {
            operator,
            parallelism,
            max_parallelism: None,
            group: 0,
        };
        let source = OperatorPlan::Source {
            splits: 1,
            count: None,
            keys: 1,
            batch: 1,
            pause: 1,
        };
        let operators = [source, OperatorPlan::Sink];
        JobPlan {
            id: JobId(1),
            vertices: operators.into_iter().zip(parallelism).map(vertex).collect(),
            edges: vec![EdgePlan {
                source: 0,
                target: 1,
                partitioning,
            }],
            configuration: BTreeMap::new(),
            survives: crate::plan::Survives::All,
            restart_delay: 0,
        }
    }

    #[test]
    fn regions_are_the_connected_tasks() {
        let regions =
            |parallelism, partitioning| Plan::new(&job(parallelism, partitioning)).regions;
        let forward = vec![vec![0, 2], vec![1, 3]];
        assert_eq!(regions([2, 2], Partitioning::Forward), forward);
        let fan_out = vec![vec![0, 2, 3], vec![1, 4]];
        assert_eq!(regions([2, 3], Partitioning::Rescale), fan_out);
        let fan_in = vec![vec![0, 3], vec![1, 2, 4]];
        assert_eq!(regions([3, 2], Partitioning::Rescale), fan_in);
        let all = vec![vec![0, 1, 2, 3]];
        assert_eq!(regions([2, 2], Partitioning::Hash), all);
    }

    #[test]
    fn options_have_flinks_formats_and_defaults() {
        assert_eq!(parse_millis("500 ms"), 500);
        assert_eq!(parse_millis("10 min"), 600_000);
        assert_eq!(parse_millis("2s"), 2_000);
        let text = [("a", "1.25"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let map = text.into();
        let options = Options(&map);
        assert_eq!(options.permille("a", 0), 1_250);
        assert_eq!(options.permille("b", 0), 2_000);
        assert_eq!(options.permille("c", 7), 7);
        assert_eq!(options.restarts(false), RestartPlan::Never);
        assert!(matches!(
            options.restarts(true),
            RestartPlan::Exponential { initial: 1_000, .. }
        ));
    }
}
