//! How many subtasks the vertices of a job get if there are so many slots for it.
//!
//! The formula is that of Flink's adaptive scheduler (SEMANTICS §2.5): every slot sharing group gets what it needs
//! at least, and what is left is divided evenly among them, those that can take the least served first.

use crate::graph::{JobGraph, Partitioning};
use crate::record::Bounds;
use alloc::vec::Vec;

/// The parallelism of every vertex with `slots` slots, of which each slot sharing group can use so many; none if
/// that is too few.
///
/// Subtasks joined by a forward edge stay in pairs.
pub(crate) fn fitting(
    graph: &JobGraph,
    bounds: &[Bounds],
    usable: &[u32],
    slots: u32,
) -> Option<Vec<u32>> {
    let least = minimum(graph, bounds);
    let total: u32 = least.iter().sum();
    let mut left = slots.checked_sub(total)?;
    let mut groups = Vec::with_capacity(least.len());
    for (group, (&lower, &usable)) in least.iter().zip(usable).enumerate() {
        let upper = of_group(graph, bounds, group, |bounds| bounds.upper);
        let range = upper.min(usable).checked_sub(lower)?;
        groups.push((range, group));
    }
    groups.sort_unstable();
    let mut given = least;
    let mut remaining = u32::try_from(groups.len()).expect("fewer groups than vertices");
    for (range, group) in groups {
        let more = range.min(left / remaining);
        given[group] += more;
        left -= more;
        remaining -= 1;
    }
    let vertices = graph.vertices().iter().zip(bounds);
    let parallelism =
        vertices.map(|(vertex, bounds)| bounds.upper.min(given[vertex.group as usize]));
    let parallelism = in_pairs(graph, parallelism.collect());
    let mut fits = parallelism.iter().zip(bounds);
    fits.all(|(parallelism, bounds)| bounds.lower <= *parallelism)
        .then_some(parallelism)
}

/// How many slots each slot sharing group needs at least.
pub(crate) fn minimum(graph: &JobGraph, bounds: &[Bounds]) -> Vec<u32> {
    let groups = 0..graph.groups().len();
    groups
        .map(|group| of_group(graph, bounds, group, |bounds| bounds.lower))
        .collect()
}

/// How many these are together.
pub(crate) fn least_slots(graph: &JobGraph, bounds: &[Bounds]) -> u32 {
    minimum(graph, bounds).iter().sum()
}

/// How many slots the largest parallelism needs.
pub(crate) fn most_slots(graph: &JobGraph, bounds: &[Bounds]) -> u32 {
    let upper = bounds.iter().map(|bounds| bounds.upper).collect();
    let most = in_pairs(graph, upper);
    let most: Vec<Bounds> = most.into_iter().map(Bounds::exactly).collect();
    least_slots(graph, &most)
}

/// The largest bound of its vertices.
fn of_group(graph: &JobGraph, bounds: &[Bounds], group: usize, of: fn(&Bounds) -> u32) -> u32 {
    let vertices = graph.vertices().iter().zip(bounds);
    let members = vertices.filter(|(vertex, _)| vertex.group as usize == group);
    members.map(|(_, bounds)| of(bounds)).max().unwrap_or(0)
}

/// Both ends of a forward edge get the lesser parallelism of the two.
fn in_pairs(graph: &JobGraph, mut parallelism: Vec<u32>) -> Vec<u32> {
    let forward = graph.edges().iter();
    let forward = forward.filter(|edge| edge.partitioning == Partitioning::Forward);
    loop {
        let mut changed = false;
        for edge in forward.clone() {
            let ends = [edge.source.0 as usize, edge.target.0 as usize];
            let less = parallelism[ends[0]].min(parallelism[ends[1]]);
            for end in ends {
                changed |= parallelism[end] != less;
                parallelism[end] = less;
            }
        }
        if !changed {
            return parallelism;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::graph::{EdgeSpec, JobGraphSpec, VertexSpec};
    use crate::id::JobId;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    /// A graph with a vertex of each slot sharing group, each connected to the next one.
    fn graph(groups: &[&str], partitioning: Partitioning) -> JobGraph {
        let vertices = groups.iter().enumerate();
        let vertices = vertices.map(|(index, group)| VertexSpec {
            id: format!("{index}"),
            name: None,
            operator: String::from(if index == 0 { "a-source" } else { "map" }),
            parallelism: 1,
            max_parallelism: None,
            slot_sharing_group: Some(String::from(*group)),
            config: String::from("{}"),
        });
        let edges = (1..groups.len()).map(|index| EdgeSpec {
            source: format!("{}", index - 1),
            target: format!("{index}"),
            partitioning,
        });
        let spec = JobGraphSpec {
            id: JobId(1),
            name: String::from("fitting"),
            vertices: vertices.collect(),
            edges: edges.collect(),
            configuration: BTreeMap::new(),
        };
        JobGraph::validate(spec, &BTreeMap::new()).unwrap()
    }

    fn fit(groups: &[&str], bounds: &[(u32, u32)], slots: u32) -> Option<Vec<u32>> {
        let graph = graph(groups, Partitioning::Hash);
        let usable = vec![slots; graph.groups().len()];
        fitting(&graph, &of(bounds), &usable, slots)
    }

    fn of(bounds: &[(u32, u32)]) -> Vec<Bounds> {
        let bounds = bounds.iter();
        bounds
            .map(|&(lower, upper)| Bounds { lower, upper })
            .collect()
    }

    #[test]
    fn who_shares_slots_needs_no_more_than_the_largest() {
        assert_eq!(fit(&["a", "a"], &[(1, 4), (1, 8)], 6), Some(vec![4, 6]));
        assert_eq!(fit(&["a", "a"], &[(1, 4), (1, 8)], 99), Some(vec![4, 8]));
    }

    #[test]
    fn too_few_slots_for_the_lower_bounds_are_none() {
        assert_eq!(fit(&["a", "b"], &[(2, 4), (3, 8)], 4), None);
        assert_eq!(fit(&["a", "b"], &[(2, 4), (3, 8)], 5), Some(vec![2, 3]));
    }

    #[test]
    fn what_is_left_is_divided_evenly_those_with_the_least_range_first() {
        let bounds = [(1, 9), (1, 2), (1, 5)];
        assert_eq!(fit(&["a", "b", "c"], &bounds, 9), Some(vec![4, 2, 3]));
        assert_eq!(fit(&["a", "b", "c"], &bounds, 16), Some(vec![9, 2, 5]));
    }

    #[test]
    fn a_group_gets_no_slots_that_it_cannot_use() {
        let graph = graph(&["a", "b"], Partitioning::Hash);
        let bounds = of(&[(1, 9), (1, 9)]);
        assert_eq!(fitting(&graph, &bounds, &[2, 9], 9), Some(vec![2, 7]));
        assert_eq!(fitting(&graph, &bounds, &[0, 9], 9), None);
    }

    #[test]
    fn the_largest_parallelism_needs_slots_for_what_is_used_of_each_bound() {
        let graph_of = |partitioning| graph(&["a", "b", "b"], partitioning);
        let bounds = of(&[(1, 3), (1, 8), (1, 8)]);
        assert_eq!(most_slots(&graph_of(Partitioning::Hash), &bounds), 11);
        assert_eq!(most_slots(&graph_of(Partitioning::Forward), &bounds), 6);
    }

    #[test]
    fn both_ends_of_a_forward_edge_are_equal() {
        let graph = graph(&["a", "b", "b"], Partitioning::Forward);
        let bounds = of(&[(1, 3), (1, 8), (1, 8)]);
        assert_eq!(fitting(&graph, &bounds, &[9, 9], 9), Some(vec![3, 3, 3]));
        let bounds = of(&[(1, 3), (1, 8), (4, 8)]);
        assert_eq!(fitting(&graph, &bounds, &[9, 9], 9), None);
    }
}
