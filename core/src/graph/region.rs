//! Pipelined regions: the sets of tasks that exchange records while they run, and so fail and restart
//! together (SEMANTICS: Flink's `RegionFailoverStrategy` over pipelined results).
//!
//! A region is a connected component of the tasks over the edges. An all-to-all edge puts every subtask
//! of both vertices into one component without a look at the pairs; a pointwise edge connects each
//! consumer with the producers that the pointwise formula gives it. The cost is linear in the number of
//! subtasks, whatever the number of channels.

use super::{JobGraph, producers_of};
use crate::id::{RegionIndex, SubtaskIndex, TaskId, VertexIndex};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use serde::{Deserialize, Serialize};

/// The regions of a job. Eight bytes per subtask.
///
/// A subtask's position counts the subtasks of vertex 0 first, then those of vertex 1, and so on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Regions {
    /// The position of subtask 0 of each vertex, and the number of subtasks at the end.
    first: Vec<u32>,
    /// The region of each position.
    of: Vec<u32>,
    /// The positions of region 0, then those of region 1, and so on, each ascending.
    members: Vec<u32>,
    /// Where each region starts in [`Self::members`], and its length at the end.
    start: Vec<u32>,
}

impl Regions {
    /// How many regions there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        count_u32(self.start.len() - 1)
    }

    /// How many subtasks there are.
    #[must_use]
    pub fn subtasks(&self) -> u32 {
        count_u32(self.of.len())
    }

    /// The region of a position.
    #[must_use]
    pub fn of(&self, position: u32) -> RegionIndex {
        RegionIndex(self.of[position as usize])
    }

    /// The positions of a region, ascending.
    #[must_use]
    pub fn members(&self, region: RegionIndex) -> &[u32] {
        let region = region.0 as usize;
        &self.members[self.start[region] as usize..self.start[region + 1] as usize]
    }

    /// The region of a position, and its place among the members of that.
    #[must_use]
    pub fn place(&self, position: u32) -> (RegionIndex, u32) {
        let region = self.of(position);
        let place = self.members(region).binary_search(&position);
        let place = place.expect("a position is in its region");
        (region, count_u32(place))
    }

    /// The positions of a vertex.
    #[must_use]
    pub fn positions(&self, vertex: VertexIndex) -> Range<u32> {
        let vertex = vertex.0 as usize;
        self.first[vertex]..self.first[vertex + 1]
    }

    /// The position of a task; `None` if the job has no such task.
    #[must_use]
    pub fn position(&self, task: TaskId) -> Option<u32> {
        let vertex = task.vertex.0 as usize;
        let (&first, &end) = (self.first.get(vertex)?, self.first.get(vertex + 1)?);
        let position = first.checked_add(task.subtask.0)?;
        (position < end).then_some(position)
    }

    /// The task at a position.
    #[must_use]
    pub fn task(&self, position: u32) -> TaskId {
        let vertex = self.first.partition_point(|&first| first <= position) - 1;
        TaskId {
            vertex: VertexIndex(count_u32(vertex)),
            subtask: SubtaskIndex(position - self.first[vertex]),
        }
    }
}

/// The regions of a graph, numbered by their first position.
#[must_use]
pub fn regions(graph: &JobGraph) -> Regions {
    let mut first = Vec::with_capacity(graph.vertices().len() + 1);
    let mut total = 0;
    for vertex in graph.vertices() {
        first.push(total);
        total += vertex.parallelism;
    }
    first.push(total);
    let mut sets = DisjointSets::new(total);
    for edge in graph.edges() {
        let (source, target) = (edge.source.0 as usize, edge.target.0 as usize);
        let producers = first[source]..first[source + 1];
        let consumers = first[target]..first[target + 1];
        if edge.partitioning.is_all_to_all() {
            let root = producers.start;
            producers
                .chain(consumers)
                .for_each(|position| sets.unite(root, position));
            continue;
        }
        let (p, c) = (count_u32(producers.len()), count_u32(consumers.len()));
        for consumer in 0..c {
            for producer in producers_of(p, c, consumer) {
                sets.unite(producers.start + producer, consumers.start + consumer);
            }
        }
    }
    sets.into_regions(first)
}

/// Union-find in which the smallest member of a set is its root.
struct DisjointSets {
    parent: Vec<u32>,
}

impl DisjointSets {
    fn new(count: u32) -> Self {
        DisjointSets {
            parent: (0..count).collect(),
        }
    }

    fn root(&mut self, mut member: u32) -> u32 {
        while self.parent[member as usize] != member {
            let parent = self.parent[member as usize];
            self.parent[member as usize] = self.parent[parent as usize];
            member = self.parent[member as usize];
        }
        member
    }

    fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a.max(b) as usize] = a.min(b);
    }

    /// Numbers the sets in the order of their roots, which come before their other members.
    fn into_regions(mut self, first: Vec<u32>) -> Regions {
        let total = count_u32(self.parent.len());
        let mut sizes: Vec<u32> = Vec::new();
        let mut of = vec![0; total as usize];
        for position in 0..total {
            let root = self.root(position);
            let region = if root == position {
                sizes.push(0);
                count_u32(sizes.len() - 1)
            } else {
                of[root as usize]
            };
            of[position as usize] = region;
            sizes[region as usize] += 1;
        }
        let mut start = Vec::with_capacity(sizes.len() + 1);
        start.push(0);
        let mut end = 0;
        for size in sizes {
            end += size;
            start.push(end);
        }
        let mut next = start.clone();
        let mut members = self.parent;
        for position in 0..total {
            let slot = &mut next[of[position as usize] as usize];
            members[*slot as usize] = position;
            *slot += 1;
        }
        Regions {
            first,
            of,
            members,
            start,
        }
    }
}

fn count_u32(count: usize) -> u32 {
    u32::try_from(count).expect("a valid graph has fewer than 2^32 subtasks")
}
