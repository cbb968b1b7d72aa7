//! Another parallelism for a job that has run: which of its regions it concerns, and from what the others and those
//! start then.
//!
//! A vertex with another number of subtasks concerns every region in which it has one. The others exchange
//! nothing with it, so they are regions of the new graph as well, task by task, and go on as they are.
//!
//! The state of the regions that are concerned is divided anew (SEMANTICS §2.11), and becomes a checkpoint record
//! of its own, with an id that no attempt has restored: so no attempt of the old parallelism is taken for one of
//! the new, whatever it began with.

use crate::graph::{JobGraph, Regions, regions};
use crate::id::{CheckpointId, RegionIndex, VertexIndex};
use crate::message::SubtaskState;
use crate::record::{CheckpointRecord, RegionSnapshot};
use crate::redistribute::{Indivisible, redistribute};
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// Why a job cannot have another parallelism now.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RewiringProblem {
    /// Some of the state would be lost.
    #[error(
        "not all subtasks of vertex `{0}` have a checkpoint yet: those that have none would start over"
    )]
    WithoutCheckpoint(String),
    /// A region would have to be started again that is done.
    #[error("a part of vertex `{0}` has processed all of its input")]
    Done(String),
    /// A subtask would have emitted at the end of its input what it has to emit again.
    #[error("some subtasks of vertex `{0}` have processed all of their input, and others have not")]
    PartlyAtEnd(String),
    /// The state cannot be divided.
    #[error("vertex `{vertex}`: {problem}")]
    Indivisible {
        /// The vertex.
        vertex: String,
        /// Why not.
        problem: Indivisible,
    },
}

/// The regions of a job, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewiring {
    /// The regions of the new graph.
    pub(crate) layout: Regions,
    /// Those that go on as they are: by what they were, what they are.
    pub(crate) kept: BTreeMap<RegionIndex, RegionIndex>,
    /// The old ones that are concerned.
    pub(crate) concerned: BTreeSet<RegionIndex>,
}

impl Rewiring {
    /// Both graphs differ in nothing but their parallelism; the regions are those of the old one.
    pub(crate) fn new(old: &JobGraph, before: &Regions, new: &JobGraph) -> Self {
        let layout = regions(new);
        let changed = is_rescaled(old, new);
        let (mut kept, mut concerned) = (BTreeMap::new(), BTreeSet::new());
        for region in (0..before.count()).map(RegionIndex) {
            let mut tasks = before.tasks(region).map(|(_, task)| task);
            let first = tasks.next().expect("a region has tasks");
            let stays = |vertex: VertexIndex| !changed[vertex.0 as usize];
            if stays(first.vertex) && tasks.all(|task| stays(task.vertex)) {
                let position = layout.position(first).expect("its vertex has not changed");
                kept.insert(region, layout.of(position));
            } else {
                concerned.insert(region);
            }
        }
        Rewiring {
            layout,
            kept,
            concerned,
        }
    }

    /// The new regions that come in the place of old ones.
    pub(crate) fn fresh(&self) -> BTreeSet<RegionIndex> {
        let kept: BTreeSet<RegionIndex> = self.kept.values().copied().collect();
        let regions = (0..self.layout.count()).map(RegionIndex);
        regions.filter(|region| !kept.contains(region)).collect()
    }

    /// The latest checkpoint, as the job goes on from it with the new graph.
    ///
    /// # Errors
    /// It cannot.
    pub(crate) fn record(
        &self,
        (old, before): (&JobGraph, &Regions),
        new: &JobGraph,
        latest: Option<&CheckpointRecord>,
        id: CheckpointId,
        now: Timestamp,
    ) -> Result<CheckpointRecord, RewiringProblem> {
        let mut states = Vec::with_capacity(self.layout.subtasks() as usize);
        let vertices = old.vertices().iter().zip(new.vertices());
        for (index, (vertex, rescaled)) in (0..).map(VertexIndex).zip(vertices) {
            let positions = before.positions(index);
            let held = latest.map(|latest| {
                let states = &latest.states;
                &states[positions.start as usize..positions.end as usize]
            });
            let name = || vertex.id.clone();
            let of = |position| latest.and_then(|latest| latest.region(before.of(position)));
            let snapshots = positions.filter(|at| self.concerned.contains(&before.of(*at)));
            let snapshots: Vec<_> = snapshots.map(of).collect();
            if snapshots.iter().flatten().any(|it| it.is_final) {
                return Err(RewiringProblem::Done(name()));
            }
            let missing = snapshots.iter().filter(|it| it.is_none()).count();
            if missing > 0 && missing < snapshots.len() {
                return Err(RewiringProblem::WithoutCheckpoint(name()));
            }
            let nothing = || SubtaskState::nothing();
            let Some(held) = held else {
                states.extend((0..rescaled.parallelism).map(|_| nothing()));
                continue;
            };
            if vertex.parallelism == rescaled.parallelism {
                states.extend_from_slice(held);
                continue;
            }
            let has_input = old.edges().iter().any(|edge| edge.target == index);
            if has_input && is_partly_at_end(held) {
                return Err(RewiringProblem::PartlyAtEnd(name()));
            }
            let divided = redistribute(held, vertex.max_parallelism, rescaled.parallelism);
            states.extend(divided.map_err(|problem| {
                let vertex = name();
                RewiringProblem::Indivisible { vertex, problem }
            })?);
        }
        let began = RegionSnapshot {
            checkpoint: id,
            attempt: None,
            is_final: false,
        };
        let mut snapshots = alloc::vec![Some(began); self.layout.count() as usize];
        for (before, after) in &self.kept {
            snapshots[after.0 as usize] = latest.and_then(|latest| latest.region(*before));
        }
        let references = latest.map(CheckpointRecord::references);
        Ok(CheckpointRecord {
            job: old.id(),
            id,
            triggered: now,
            completed: now,
            regions: snapshots,
            inherited: references.into_iter().flatten().collect(),
            states,
        })
    }
}

/// By vertex: whether it gets another number of subtasks.
fn is_rescaled(old: &JobGraph, new: &JobGraph) -> Vec<bool> {
    let vertices = old.vertices().iter().zip(new.vertices());
    vertices
        .map(|(old, new)| old.parallelism != new.parallelism)
        .collect()
}

fn is_partly_at_end(states: &[SubtaskState]) -> bool {
    let ends = states.iter().map(SubtaskState::is_at_end);
    ends.clone().any(|end| end) && !ends.clone().all(|end| end)
}
