//! An order of the vertices in which every producer comes before its consumers, or the cycles that
//! make one impossible.

use super::JobEdge;
use crate::id::VertexIndex;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// How many cycles are looked for; each costs a pass over the graph.
const MAX_CYCLES: usize = 20;

/// The vertices in topological order; of those that could be next, the one with the smallest index
/// comes first.
///
/// # Errors
/// Cycles, no two of which share a vertex, each in the direction of its edges. Every cycle of the graph
/// shares a vertex with one of them, unless there are more than [`MAX_CYCLES`]. An edge from a vertex to
/// itself is not looked at.
pub(super) fn topological(
    vertices: usize,
    edges: &[JobEdge],
) -> Result<Vec<VertexIndex>, Vec<Vec<VertexIndex>>> {
    let neighbours = Neighbours::new(vertices, edges);
    let mut cycles = Vec::new();
    let mut taken_out = BTreeSet::new();
    loop {
        let order = neighbours.sort(&taken_out);
        let all = order.len() + taken_out.len() == vertices;
        if all || cycles.len() == MAX_CYCLES {
            return if cycles.is_empty() {
                Ok(order.into_iter().map(vertex_index).collect())
            } else {
                Err(cycles)
            };
        }
        let sorted: BTreeSet<usize> = order.into_iter().collect();
        let cycle =
            neighbours.cycle(|vertex| !sorted.contains(&vertex) && !taken_out.contains(&vertex));
        taken_out.extend(cycle.iter().copied());
        cycles.push(cycle.into_iter().map(vertex_index).collect());
    }
}

fn vertex_index(index: usize) -> VertexIndex {
    VertexIndex(u32::try_from(index).expect("a graph has few vertices"))
}

struct Neighbours {
    consumers: Vec<Vec<usize>>,
    producers: Vec<Vec<usize>>,
}

impl Neighbours {
    fn new(vertices: usize, edges: &[JobEdge]) -> Self {
        let mut consumers = alloc::vec![Vec::new(); vertices];
        let mut producers = consumers.clone();
        for edge in edges.iter().filter(|edge| edge.source != edge.target) {
            let (source, target) = (edge.source.0 as usize, edge.target.0 as usize);
            consumers[source].push(target);
            producers[target].push(source);
        }
        Neighbours {
            consumers,
            producers,
        }
    }

    /// The vertices that can be sorted (Kahn), as if those taken out did not exist.
    fn sort(&self, taken_out: &BTreeSet<usize>) -> Vec<usize> {
        let exists = |vertex: &usize| !taken_out.contains(vertex);
        let count = |producers: &Vec<usize>| producers.iter().filter(|p| exists(p)).count();
        let mut waiting: Vec<usize> = self.producers.iter().map(count).collect();
        let free = |vertex: &usize| waiting[*vertex] == 0 && exists(vertex);
        let mut ready: BTreeSet<usize> = (0..waiting.len()).filter(free).collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(vertex) = ready.pop_first() {
            order.push(vertex);
            for consumer in self.consumers[vertex].iter().copied().filter(exists) {
                waiting[consumer] -= 1;
                if waiting[consumer] == 0 {
                    ready.insert(consumer);
                }
            }
        }
        order
    }

    /// A cycle among vertices each of which has a producer among them. It begins with its smallest
    /// vertex.
    fn cycle(&self, among: impl Fn(usize) -> bool) -> Vec<usize> {
        let first = (0..self.producers.len()).find(|vertex| among(*vertex));
        let mut vertex = first.expect("some vertex could not be sorted");
        let mut walked: Vec<usize> = Vec::new();
        let start = loop {
            if let Some(position) = walked.iter().position(|seen| *seen == vertex) {
                break position;
            }
            walked.push(vertex);
            let mut producers = self.producers[vertex].iter().copied();
            let producer = producers.find(|producer| among(*producer));
            vertex = producer.expect("a vertex that could not be sorted waits for a producer");
        };
        // The walk went against the edges.
        let mut cycle = walked.split_off(start);
        cycle.reverse();
        let smallest = cycle.iter().enumerate().min_by_key(|(_, vertex)| **vertex);
        let smallest = smallest.map_or(0, |(position, _)| position);
        cycle.rotate_left(smallest);
        cycle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Partitioning;
    use proptest::prelude::*;

    fn edges(pairs: &[(u32, u32)]) -> Vec<JobEdge> {
        let edge = |(source, target): &(u32, u32)| JobEdge {
            source: VertexIndex(*source),
            target: VertexIndex(*target),
            partitioning: Partitioning::Hash,
        };
        pairs.iter().map(edge).collect()
    }

    fn numbers(indices: &[VertexIndex]) -> Vec<u32> {
        indices.iter().map(|index| index.0).collect()
    }

    #[test]
    fn the_smallest_ready_vertex_comes_first() {
        let order = topological(5, &edges(&[(4, 1), (1, 3), (0, 3)]));
        assert_eq!(
            order.map(|order| numbers(&order)),
            Ok(alloc::vec![0, 2, 4, 1, 3])
        );
    }

    #[test]
    fn each_cycle_is_named_without_its_neighbours() {
        let graph = edges(&[
            (0, 1),
            (1, 2),
            (2, 3),
            (3, 1),
            (3, 4),
            (5, 6),
            (6, 5),
            (4, 5),
            (7, 7),
        ]);
        let cycles = topological(8, &graph).map_err(|cycles| {
            let cycles = cycles.iter().map(|cycle| numbers(cycle));
            cycles.collect::<Vec<_>>()
        });
        assert_eq!(
            cycles,
            Err(alloc::vec![alloc::vec![1, 2, 3], alloc::vec![5, 6]])
        );
    }

    #[test]
    fn a_bounded_number_of_cycles_is_looked_for() {
        let pairs = (0..50).flat_map(|i| [(2 * i, 2 * i + 1), (2 * i + 1, 2 * i)]);
        let pairs: Vec<_> = pairs.collect();
        let cycles = topological(100, &edges(&pairs)).map_err(|cycles| cycles.len());
        assert_eq!(cycles, Err(MAX_CYCLES));
    }

    proptest! {
        #[test]
        fn an_order_respects_every_edge_and_a_cycle_consists_of_edges(
            pairs in proptest::collection::vec((0_u32..12, 0_u32..12), 0..20)
        ) {
            match topological(12, &edges(&pairs)) {
                Ok(order) => {
                    let at = |vertex: u32| order.iter().position(|index| index.0 == vertex);
                    for (source, target) in pairs {
                        prop_assert!(source == target || at(source) < at(target));
                    }
                }
                Err(cycles) => for cycle in cycles {
                    let cycle = numbers(&cycle);
                    let next = cycle.iter().cycle().skip(1);
                    for (source, target) in cycle.iter().zip(next) {
                        prop_assert!(pairs.contains(&(*source, *target)));
                    }
                }
            }
        }
    }
}
