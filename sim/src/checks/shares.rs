//! What the subtasks of a vertex start from that had another number of subtasks before: SEMANTICS §2.11, number by
//! number.

use crate::dataflow::contents::{Contents, mode};
use jobmanager_core::id::{SubtaskIndex, TaskId, VertexIndex};
use jobmanager_core::redistribute::DistributionMode;
use std::collections::BTreeMap;

/// The parallelism of a vertex, before and now, and how many key groups it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rescaled {
    pub(super) before: u32,
    pub(super) now: u32,
    pub(super) max_parallelism: u32,
}

/// The contents of all tasks, by task; of vertices that keep their parallelism they stay as they are.
pub(super) fn divided(
    old: &BTreeMap<TaskId, Contents>,
    vertices: &[Rescaled],
) -> BTreeMap<TaskId, Contents> {
    let mut new = BTreeMap::new();
    for (vertex, rescaled) in (0..).map(VertexIndex).zip(vertices) {
        let task = |subtask| TaskId {
            vertex,
            subtask: SubtaskIndex(subtask),
        };
        let contents = (0..rescaled.before).filter_map(|subtask| old.get(&task(subtask)));
        let contents: Vec<&Contents> = contents.collect();
        if rescaled.before == rescaled.now {
            let kept = old.iter().filter(|(task, _)| task.vertex == vertex);
            new.extend(kept.map(|(task, contents)| (*task, contents.clone())));
        } else if !contents.is_empty() {
            let shares = shares(&contents, *rescaled);
            new.extend((0..).map(task).zip(shares));
        }
    }
    new
}

fn shares(old: &[&Contents], rescaled: Rescaled) -> Vec<Contents> {
    let receivers = rescaled.now as usize;
    let mut new = vec![Contents::default(); receivers];
    for (group, numbers) in old.iter().flat_map(|it| &it.groups) {
        let owner = group * rescaled.now / rescaled.max_parallelism;
        new[owner as usize].groups.insert(*group, numbers.clone());
    }
    let mut names: Vec<&'static str> = old.iter().flat_map(|it| it.lists.keys().copied()).collect();
    names.sort_unstable();
    names.dedup();
    let mut start = 0;
    for name in names {
        let reports: Vec<_> = old.iter().filter_map(|it| it.lists.get(name)).collect();
        match mode(name) {
            DistributionMode::Split => {
                let all: Vec<Vec<u64>> = reports.into_iter().flatten().cloned().collect();
                let mut rest = all.as_slice();
                for turn in 0..receivers {
                    let more = usize::from(turn < all.len() % receivers);
                    let (run, later) = rest.split_at(all.len() / receivers + more);
                    rest = later;
                    if !run.is_empty() {
                        new[(start + turn) % receivers]
                            .lists
                            .insert(name, run.to_vec());
                    }
                }
                start = (start + all.len() % receivers) % receivers;
            }
            DistributionMode::Broadcast => {
                for (subtask, share) in new.iter_mut().enumerate() {
                    let report = reports[subtask % reports.len()];
                    share.lists.insert(name, report.clone());
                }
            }
            // Everybody gets everything, whether or not the parallelism is another one.
            DistributionMode::Union => {}
        }
    }
    new
}
