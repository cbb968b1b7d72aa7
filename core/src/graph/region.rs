//! Pipelined regions: the sets of tasks that exchange records while they run, and so fail and restart
//! together (SEMANTICS: Flink's `RegionFailoverStrategy` over pipelined results).
//!
//! A region is a connected component of the tasks over the edges. An all-to-all edge puts every subtask
//! of both vertices into one region. Because every subtask has a partner over a pointwise edge, too, so are all
//! subtasks of whatever vertices are connected to these: they are found vertex by vertex, without a look at
//! subtasks. Where all edges are pointwise and all parallelisms equal, subtasks of one index are connected.
//! Otherwise each consumer is, with the producers that the pointwise formula gives it. The cost is linear in
//! the number of subtasks, whatever the number of channels.

use super::{JobEdge, JobGraph, producers_of};
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

    /// The tasks of a region with their positions, ascending.
    pub fn tasks(&self, region: RegionIndex) -> impl Iterator<Item = (u32, TaskId)> {
        let mut vertex = 0;
        self.members(region).iter().map(move |&position| {
            // Members ascend, and their vertices with them.
            while self.first[vertex + 1] <= position {
                vertex += 1;
            }
            let task = TaskId {
                vertex: VertexIndex(count_u32(vertex)),
                subtask: SubtaskIndex(position - self.first[vertex]),
            };
            (position, task)
        })
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
    let mut numbers = Numbers::new(first, shapes(graph));
    for edge in graph.edges() {
        numbers.connect(edge);
    }
    numbers.into_regions()
}

/// How the subtasks of a vertex are distributed over regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All are in one region, which begins with this vertex.
    Whole(u32),
    /// Each is in the region of the subtask with the same index of this vertex.
    Parallel(u32),
    /// That is found subtask by subtask.
    Mixed,
}

fn shapes(graph: &JobGraph) -> Vec<Shape> {
    let vertices = count_u32(graph.vertices().len());
    let mut sets = DisjointSets::new(vertices);
    for edge in graph.edges() {
        sets.unite(edge.source.0, edge.target.0);
    }
    let mut shapes: Vec<Shape> = (0..vertices).map(Shape::Parallel).collect();
    let parallelism = |vertex: u32| graph.vertices()[vertex as usize].parallelism;
    for edge in graph.edges() {
        let (producers, consumers) = (parallelism(edge.source.0), parallelism(edge.target.0));
        let root = sets.root(edge.source.0);
        let shape = &mut shapes[root as usize];
        if edge.partitioning.is_all_to_all() {
            *shape = Shape::Whole(root);
        } else if producers != consumers && *shape != Shape::Whole(root) {
            *shape = Shape::Mixed;
        }
    }
    let shape = |vertex| shapes[sets.root(vertex) as usize];
    (0..vertices).map(shape).collect()
}

/// The regions, while they are found.
struct Numbers {
    first: Vec<u32>,
    /// By vertex.
    shapes: Vec<Shape>,
    /// The subtasks, if any vertex is mixed.
    sets: DisjointSets,
}

impl Numbers {
    fn new(first: Vec<u32>, shapes: Vec<Shape>) -> Self {
        let total = first.last().copied().unwrap_or(0);
        let mixed = shapes.contains(&Shape::Mixed);
        let sets = DisjointSets::new(if mixed { total } else { 0 });
        Numbers {
            first,
            shapes,
            sets,
        }
    }

    fn positions(&self, vertex: usize) -> Range<u32> {
        self.first[vertex]..self.first[vertex + 1]
    }

    /// Connects the subtasks of two vertices that are mixed.
    fn connect(&mut self, edge: &JobEdge) {
        let (source, target) = (edge.source.0 as usize, edge.target.0 as usize);
        if self.shapes[source] != Shape::Mixed {
            return;
        }
        let (producers, consumers) = (self.positions(source), self.positions(target));
        let (p, c) = (count_u32(producers.len()), count_u32(consumers.len()));
        for consumer in 0..c {
            for producer in producers_of(p, c, consumer) {
                let (producer, consumer) = (producers.start + producer, consumers.start + consumer);
                self.sets.unite(producer, consumer);
            }
        }
    }

    /// Numbers the regions in the order of their first positions.
    fn into_regions(mut self) -> Regions {
        let total = self.first.last().copied().unwrap_or(0);
        let mut sizes: Vec<u32> = Vec::new();
        let mut of = vec![0; total as usize];
        for (vertex, shape) in self.shapes.iter().enumerate() {
            let positions = self.first[vertex]..self.first[vertex + 1];
            let (begin, end) = (positions.start, positions.end);
            if let Shape::Whole(root) = *shape {
                let region = numbered(&mut sizes, &of, self.first[root as usize], begin);
                sizes[region as usize] += end - begin;
                // The memory of the first region is zero already, and need not be touched.
                if region > 0 {
                    of[begin as usize..end as usize].fill(region);
                }
                continue;
            }
            for position in positions {
                let root = match *shape {
                    Shape::Parallel(root) => self.first[root as usize] + (position - begin),
                    Shape::Whole(_) | Shape::Mixed => self.sets.root(position),
                };
                let region = numbered(&mut sizes, &of, root, position);
                sizes[region as usize] += 1;
                of[position as usize] = region;
            }
        }
        let mut start = Vec::with_capacity(sizes.len() + 1);
        start.push(0);
        let mut end = 0;
        for size in sizes {
            end += size;
            start.push(end);
        }
        let members = self.members(&of, &start);
        Regions {
            first: self.first,
            of,
            members,
            start,
        }
    }

    /// The positions by region.
    fn members(&self, of: &[u32], start: &[u32]) -> Vec<u32> {
        let total = count_u32(of.len());
        if start.len() == 2 {
            return (0..total).collect();
        }
        let mut next = start.to_vec();
        let mut members = vec![0; of.len()];
        for position in 0..total {
            let slot = &mut next[of[position as usize] as usize];
            members[*slot as usize] = position;
            *slot += 1;
        }
        members
    }
}

/// The number of the region whose first position is `root`, at a position of it: a new one at the first.
fn numbered(sizes: &mut Vec<u32>, of: &[u32], root: u32, position: u32) -> u32 {
    if root < position {
        return of[root as usize];
    }
    sizes.push(0);
    count_u32(sizes.len() - 1)
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
}

fn count_u32(count: usize) -> u32 {
    u32::try_from(count).expect("a valid graph has fewer than 2^32 subtasks")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::graph::{EdgeSpec, JobGraphSpec, Partitioning, VertexSpec};
    use crate::id::JobId;
    use alloc::collections::BTreeMap;
    use alloc::string::{String, ToString};
    use proptest::prelude::*;

    /// A graph of vertices of these sizes. An edge that does not lead to a later vertex is left out.
    fn graph(parallelism: &[u32], edges: &[(usize, usize, Partitioning)]) -> JobGraph {
        let vertex = |(id, parallelism): (usize, &u32)| VertexSpec {
            id: id.to_string(),
            name: None,
            operator: "filter".into(),
            parallelism: *parallelism,
            max_parallelism: None,
            slot_sharing_group: None,
            config: "{}".into(),
        };
        let edges = edges.iter().map(|(from, to, how)| ((*from, *to), *how));
        let edges: BTreeMap<(usize, usize), Partitioning> = edges.collect();
        let forwards = edges.into_iter();
        let forwards = forwards.filter(|((from, to), _)| from < to && *to < parallelism.len());
        let edge = |((source, target), partitioning): ((usize, usize), _)| EdgeSpec {
            source: source.to_string(),
            target: target.to_string(),
            partitioning,
        };
        let spec = JobGraphSpec {
            id: JobId(1),
            name: String::from("job"),
            vertices: parallelism.iter().enumerate().map(vertex).collect(),
            edges: forwards.map(edge).collect(),
            configuration: BTreeMap::new(),
        };
        JobGraph::validate(spec, &BTreeMap::new()).unwrap()
    }

    /// Labels sink to the lowest one of all pairs of subtasks that exchange records, until nothing changes.
    fn by_pairs(graph: &JobGraph) -> Vec<u32> {
        let mut first = vec![0];
        for vertex in graph.vertices() {
            first.push(first.last().unwrap() + vertex.parallelism);
        }
        let mut labels: Vec<u32> = (0..*first.last().unwrap()).collect();
        let mut changed = true;
        while core::mem::take(&mut changed) {
            for edge in graph.edges() {
                let (source, target) = (edge.source.0 as usize, edge.target.0 as usize);
                let (p, c) = (
                    first[source + 1] - first[source],
                    first[target + 1] - first[target],
                );
                for (producer, consumer) in (0..p).flat_map(|p| (0..c).map(move |c| (p, c))) {
                    let all = edge.partitioning.is_all_to_all();
                    if !all && !producers_of(p, c, consumer).contains(&producer) {
                        continue;
                    }
                    let a = (first[source] + producer) as usize;
                    let b = (first[target] + consumer) as usize;
                    let lowest = labels[a].min(labels[b]);
                    changed |= labels[a] != labels[b];
                    (labels[a], labels[b]) = (lowest, lowest);
                }
            }
        }
        labels
    }

    #[test]
    fn vertices_beside_an_all_to_all_edge_are_in_its_region() {
        use Partitioning::{Hash, Rescale};
        let graph = graph(
            &[2, 4, 2, 3, 3],
            &[(0, 1, Rescale), (1, 2, Hash), (3, 4, Rescale)],
        );
        let regions = regions(&graph);
        assert_eq!(regions.count(), 4);
        assert_eq!(regions.members(RegionIndex(0)), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(regions.members(RegionIndex(2)), [9, 12]);
    }

    proptest! {
        #[test]
        fn regions_are_the_connected_subtasks_in_the_order_of_their_first(
            parallelism in proptest::collection::vec(1_u32..6, 1..7),
            edges in proptest::collection::vec(
                (0_usize..7, 0_usize..7, proptest::sample::select(&[
                    Partitioning::Rescale, Partitioning::Rescale, Partitioning::Rescale,
                    Partitioning::Hash, Partitioning::Broadcast,
                ][..])),
                0..7,
            ),
        ) {
            let graph = graph(&parallelism, &edges);
            let (regions, labels) = (regions(&graph), by_pairs(&graph));
            let mut firsts = labels.clone();
            firsts.sort_unstable();
            firsts.dedup();
            prop_assert_eq!(regions.count() as usize, firsts.len());
            for (position, label) in (0..).zip(&labels) {
                let expected = firsts.binary_search(label).unwrap();
                prop_assert_eq!(regions.of(position).0 as usize, expected);
            }
            for (region, first) in firsts.iter().enumerate() {
                let members = (0..).zip(&labels).filter(|(_, label)| *label == first);
                let members: Vec<u32> = members.map(|(position, _)| position).collect();
                let region = RegionIndex(count_u32(region));
                prop_assert_eq!(regions.members(region), &members[..]);
                for (place, position) in (0..).zip(members) {
                    prop_assert_eq!(regions.place(position), (region, place));
                    prop_assert_eq!(regions.position(regions.task(position)), Some(position));
                }
                for (position, task) in regions.tasks(region) {
                    prop_assert_eq!(regions.task(position), task);
                }
            }
        }
    }
}
