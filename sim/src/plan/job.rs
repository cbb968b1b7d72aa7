//! What a simulated job computes: its vertices as the tasks and the oracle understand them.
//!
//! The functions here are the specification of the operators on single rows. How rows travel, are
//! counted, snapshotted and committed is written twice, independently: in `dataflow` and in `oracle`.

use crate::plan::budget::Survives;
use crate::plan::priorities::PRIORITY;
use crate::tape::mix;
use jobmanager_core::graph::{EdgeSpec, JobGraphSpec, Partitioning, VertexSpec};
use jobmanager_core::id::JobId;
use std::collections::{BTreeMap, BTreeSet};

/// A record of the simulated dataflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// What hash edges partition by and counts count by.
    pub key: u64,
    /// The payload.
    pub value: u64,
}

/// What a vertex does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorPlan {
    /// Of each split, rows 0, 1, 2, …
    Source {
        /// How many splits there are, for its subtasks together.
        splits: u32,
        /// How many rows a split has; without end if `None`.
        count: Option<u64>,
        /// How many different keys.
        keys: u64,
        /// Rows per frame.
        batch: u64,
        /// From one frame to the next, in microseconds.
        pause: u64,
    },
    /// Makes zero, one or two rows of each.
    Map {
        /// Chooses the function.
        salt: u64,
    },
    /// Counts rows per key.
    Count {
        /// Emit each key's count once, at the end of the input, instead of with every row.
        at_end: bool,
    },
    /// Hands rows to the outside in transactions.
    Sink,
}

impl OperatorPlan {
    /// The names under which simulated TaskManagers offer their operators, sorted.
    pub const NAMES: [&'static str; 4] = ["count", "map", "sink", "source"];

    /// The name under which TaskManagers offer it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OperatorPlan::Source { .. } => "source",
            OperatorPlan::Map { .. } => "map",
            OperatorPlan::Count { .. } => "count",
            OperatorPlan::Sink => "sink",
        }
    }

    /// The same, with a split for each of so many subtasks.
    #[must_use]
    pub(crate) fn split_for(mut self, parallelism: u32) -> OperatorPlan {
        if let OperatorPlan::Source { splits, .. } = &mut self {
            *splits = parallelism;
        }
        self
    }

    /// Its configuration as a JSON object.
    #[must_use]
    pub fn config(self) -> String {
        match self {
            OperatorPlan::Source {
                splits,
                count,
                keys,
                batch,
                pause,
            } => {
                let endless = u64::from(count.is_none());
                let count = count.unwrap_or(0);
                format!(
                    r#"{{"splits":{splits},"endless":{endless},"count":{count},"keys":{keys},"batch":{batch},"pause":{pause}}}"#
                )
            }
            OperatorPlan::Map { salt } => format!(r#"{{"salt":{salt}}}"#),
            OperatorPlan::Count { at_end } => format!(r#"{{"at-end":{}}}"#, u64::from(at_end)),
            OperatorPlan::Sink => "{}".to_owned(),
        }
    }

    /// Reads what [`Self::name`] and [`Self::config`] wrote, after its way over the wire.
    #[must_use]
    pub fn parse(name: &str, config: &str) -> Option<OperatorPlan> {
        let number = |key: &str| {
            let (_, rest) = config.split_once(&format!("\"{key}\":"))?;
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            rest[..end].parse::<u64>().ok()
        };
        match name {
            "source" => Some(OperatorPlan::Source {
                splits: u32::try_from(number("splits")?).ok()?,
                count: if number("endless")? == 1 {
                    None
                } else {
                    Some(number("count")?)
                },
                keys: number("keys")?,
                batch: number("batch")?,
                pause: number("pause")?,
            }),
            "map" => Some(OperatorPlan::Map {
                salt: number("salt")?,
            }),
            "count" => Some(OperatorPlan::Count {
                at_end: number("at-end")? == 1,
            }),
            "sink" => Some(OperatorPlan::Sink),
            _ => None,
        }
    }
}

/// Row `offset` of a source's split.
#[must_use]
pub fn source_row(split: u32, offset: u64, keys: u64) -> Row {
    let split = u64::from(split);
    Row {
        key: mix(&[split, offset]) % keys,
        value: (split << 40) | offset,
    }
}

/// What a map makes of a row. Odd salts give rows another key.
#[must_use]
pub fn map_row(salt: u64, row: Row) -> Vec<Row> {
    let scattered = mix(&[salt, row.key, row.value]);
    let copies = [1, 1, 2, 1, 0][usize::try_from(scattered % 5).expect("below 5")];
    let made = |copy| Row {
        key: if salt % 2 == 1 {
            mix(&[scattered, copy]) % 11
        } else {
            row.key
        },
        value: mix(&[salt, row.value, copy]),
    };
    (0..copies).map(made).collect()
}

/// A vertex of a simulated job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VertexPlan {
    /// What it does.
    pub operator: OperatorPlan,
    /// How many subtasks.
    pub parallelism: u32,
    /// How many key groups, if not the default.
    pub max_parallelism: Option<u32>,
    /// Its slot sharing group.
    pub group: u32,
}

/// An edge of a simulated job, by positions of vertices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgePlan {
    /// The producing vertex.
    pub source: u32,
    /// The consuming vertex.
    pub target: u32,
    /// How rows choose their consumer.
    pub partitioning: Partitioning,
}

/// A simulated job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPlan {
    /// Its id.
    pub id: JobId,
    /// In topological order.
    pub vertices: Vec<VertexPlan>,
    /// Its edges.
    pub edges: Vec<EdgePlan>,
    /// Its options, with Flink's keys and value formats.
    pub configuration: BTreeMap<String, String>,
    /// Which failures do not end it.
    pub survives: Survives,
    /// The upper bound of its restart delays, in microseconds.
    pub restart_delay: u64,
}

impl JobPlan {
    /// How early it gets slots when they are few.
    pub(crate) fn priority(&self) -> u32 {
        let drawn = self.configuration.get(PRIORITY);
        drawn.map_or(0, |text| text.parse().expect("a number was drawn"))
    }

    /// The JobGraph that a client submits.
    #[must_use]
    pub fn spec(&self) -> JobGraphSpec {
        let vertex = |(index, vertex): (usize, &VertexPlan)| VertexSpec {
            id: format!("v{index}"),
            name: None,
            operator: vertex.operator.name().to_owned(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            slot_sharing_group: Some(format!("group-{}", vertex.group)),
            config: vertex.operator.config(),
        };
        let edge = |edge: &EdgePlan| EdgeSpec {
            source: format!("v{}", edge.source),
            target: format!("v{}", edge.target),
            partitioning: edge.partitioning,
        };
        JobGraphSpec {
            id: self.id,
            name: format!("job-{:x}", self.id.0),
            vertices: self.vertices.iter().enumerate().map(vertex).collect(),
            edges: self.edges.iter().map(edge).collect(),
            configuration: self.configuration.clone(),
        }
    }

    /// The same with other numbers of subtasks: the same for those that forward edges connect.
    #[must_use]
    pub(crate) fn rescaled(&self, seed: u64) -> JobPlan {
        let mut plan = self.clone();
        let mut class: Vec<usize> = (0..self.vertices.len()).collect();
        for _ in 0..self.vertices.len() {
            let forward = |edge: &&EdgePlan| edge.partitioning == Partitioning::Forward;
            for edge in self.edges.iter().filter(forward) {
                let ends = [edge.source as usize, edge.target as usize];
                let least = class[ends[0]].min(class[ends[1]]);
                for end in ends {
                    class[end] = least;
                }
            }
        }
        for (vertex, class) in plan.vertices.iter_mut().zip(class) {
            let drawn = mix(&[seed, class as u64]) % 4;
            vertex.parallelism = 1 + u32::try_from(drawn).expect("below 4");
        }
        plan
    }

    /// The job with so many subtasks.
    pub(crate) fn with_parallelism(&self, parallelism: &[u32]) -> JobPlan {
        let mut plan = self.clone();
        for (vertex, parallelism) in plan.vertices.iter_mut().zip(parallelism) {
            vertex.parallelism = *parallelism;
        }
        plan
    }

    /// Whether every source ends.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let endless = |vertex: &VertexPlan| {
            matches!(vertex.operator, OperatorPlan::Source { count: None, .. })
        };
        !self.vertices.iter().any(endless)
    }

    /// How many slots it needs.
    #[must_use]
    pub fn slots(&self) -> u32 {
        let mut groups = BTreeMap::<u32, u32>::new();
        for vertex in &self.vertices {
            let slots = groups.entry(vertex.group).or_default();
            *slots = (*slots).max(vertex.parallelism);
        }
        groups.into_values().sum()
    }

    /// How many slots it can do with: if its parallelism follows the slots, few.
    pub(crate) fn least_slots(&self) -> u32 {
        let follows = self.configuration.contains_key("jobmanager.scheduler");
        let groups: BTreeSet<u32> = self.vertices.iter().map(|vertex| vertex.group).collect();
        match follows {
            true => u32::try_from(groups.len()).expect("a handful of groups"),
            false => self.slots(),
        }
    }

    /// How long its longest source takes without any pause with a single subtask, in microseconds.
    #[must_use]
    pub fn duration(&self) -> u64 {
        let duration = |vertex: &VertexPlan| match vertex.operator {
            OperatorPlan::Source {
                splits,
                count: Some(count),
                batch,
                pause,
                ..
            } => u64::from(splits) * count.div_ceil(batch) * pause,
            OperatorPlan::Source { .. }
            | OperatorPlan::Map { .. }
            | OperatorPlan::Count { .. }
            | OperatorPlan::Sink => 0,
        };
        self.vertices.iter().map(duration).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_operator_reads_the_configuration_it_wrote() {
        let endless = OperatorPlan::Source {
            splits: 2,
            count: None,
            keys: 3,
            batch: 4,
            pause: 5,
        };
        let bounded = OperatorPlan::Source {
            splits: 1,
            count: Some(0),
            keys: 3,
            batch: 4,
            pause: 5,
        };
        let map = OperatorPlan::Map { salt: 9 };
        let count = OperatorPlan::Count { at_end: true };
        for plan in [endless, bounded, map, count, OperatorPlan::Sink] {
            assert_eq!(
                OperatorPlan::parse(plan.name(), &plan.config()).unwrap(),
                plan
            );
        }
    }
}
