//! Which job may start from a savepoint, and from what each of its subtasks then starts.
//!
//! State finds its operator by the operator's id, in whatever job that is. A vertex of which the savepoint knows
//! nothing starts from nothing. The snapshots become the first checkpoint record of the job, from which its
//! regions start as they would after a failure, until they have completed one of their own.

use super::{OperatorSnapshots, Savepoint, SubtaskSnapshot};
use crate::config::UnclaimedState;
use crate::graph::{JobGraph, JobGraphSpec, JobVertex, operator_id, regions};
use crate::id::{CheckpointId, RegionIndex, VertexIndex};
use crate::message::SubtaskState;
use crate::record::{CheckpointRecord, RegionSnapshot};
use crate::redistribute::{
    Indivisible, MaxParallelism, MaxParallelismConflict, adopt_max_parallelism, redistribute,
};
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// The largest checkpoint id with which a job starts: the next ones are counted from there.
const MAX_CHECKPOINT: CheckpointId = CheckpointId(1 << 62);

/// Why a job cannot start from a savepoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RestoreProblem {
    /// The job names a savepoint, and nobody has read it.
    #[error("the savepoint {0} was not read")]
    NotRead(String),
    /// State would be lost.
    #[error(
        "no vertex takes the state of `{name}`: give one the id that it had, or {id:032x}, or let unclaimed state \
         be ignored (execution.state-recovery.ignore-unclaimed-state)"
    )]
    Unclaimed {
        /// The name of the vertex that had it.
        name: String,
        /// The operator's id.
        id: u128,
    },
    /// The state cannot be divided anew.
    #[error(
        "vertex `{vertex}` has another parallelism than when the savepoint was taken: {problem}"
    )]
    Indivisible {
        /// The vertex.
        vertex: String,
        /// Why not.
        problem: Indivisible,
    },
    /// A subtask would have emitted at the end of its input what it has to emit again.
    #[error(
        "some subtasks of vertex `{0}` had processed all of their input when the savepoint was taken, and others had \
         not: keep its parallelism"
    )]
    PartlyAtEnd(String),
    /// Some of the state would be lost.
    #[error(
        "some subtasks of vertex `{0}` had not completed a checkpoint when the job ended, and start over: keep its \
         parallelism"
    )]
    PartlyMissing(String),
    /// Keys would change their groups.
    #[error("vertex `{vertex}`: {conflict}")]
    KeyGroups {
        /// The vertex.
        vertex: String,
        /// What is wrong.
        conflict: MaxParallelismConflict,
    },
    /// A subtask whose data had ended would exchange records with one whose data had not.
    #[error(
        "vertex `{ended}` had processed all of its input when the savepoint was taken, and `{other}`, with which \
         it exchanges records, had not: separate them"
    )]
    PartlyEnded {
        /// The one that would have to be started again.
        ended: String,
        /// One that would wait for it.
        other: String,
    },
    /// There would be no ids left for checkpoints.
    #[error("the savepoint has checkpoint id {}: the largest from which a job starts is {}", .0.0, MAX_CHECKPOINT.0)]
    Exhausted(CheckpointId),
}

impl Savepoint {
    /// Vertices that do not say how many key groups they have get as many as their state has.
    pub fn lend_key_groups(&self, spec: &mut JobGraphSpec) {
        let operators = self.by_id();
        for vertex in &mut spec.vertices {
            if vertex.max_parallelism.is_none()
                && let Some(operator) = operators.get(&operator_id(&vertex.id))
            {
                vertex.max_parallelism = Some(operator.max_parallelism);
            }
        }
    }

    /// The first checkpoint record of a job that starts from this now; none if it takes nothing.
    ///
    /// # Errors
    /// Every problem.
    pub fn restore(
        &self,
        graph: &JobGraph,
        unclaimed: UnclaimedState,
        now: Timestamp,
    ) -> Result<Option<CheckpointRecord>, Vec<RestoreProblem>> {
        let operators = self.by_id();
        let mut problems = self.problems(graph, unclaimed);
        let mut taken = Vec::with_capacity(graph.vertices().len());
        for (index, vertex) in (0..).map(VertexIndex).zip(graph.vertices()) {
            let has_input = graph.edges().iter().any(|edge| edge.target == index);
            let operator = operators.get(&vertex.operator_id);
            match operator.map(|operator| operator.divided(vertex, has_input)) {
                None => taken.push(None),
                Some(Ok(subtasks)) => taken.push(Some(subtasks)),
                Some(Err(problem)) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let record = self.record(graph, taken, now)?;
        Ok(record.regions.iter().any(Option::is_some).then_some(record))
    }

    fn by_id(&self) -> BTreeMap<u128, &OperatorSnapshots> {
        let operators = self.operators.iter();
        operators.map(|it| (it.operator_id, it)).collect()
    }

    /// What is wrong with it as a whole.
    fn problems(&self, graph: &JobGraph, unclaimed: UnclaimedState) -> Vec<RestoreProblem> {
        let mut problems = Vec::new();
        if self.checkpoint > MAX_CHECKPOINT {
            problems.push(RestoreProblem::Exhausted(self.checkpoint));
        }
        if unclaimed == UnclaimedState::Refused {
            let ids = graph.vertices().iter().map(|vertex| vertex.operator_id);
            let ids: BTreeSet<u128> = ids.collect();
            let left = self.operators.iter();
            let left = left.filter(|it| it.has_state() && !ids.contains(&it.operator_id));
            problems.extend(left.map(|it| RestoreProblem::Unclaimed {
                name: it.name.clone(),
                id: it.operator_id,
            }));
        }
        problems
    }

    /// With what each region starts, and each subtask, by vertex.
    fn record(
        &self,
        graph: &JobGraph,
        mut taken: Vec<Option<Vec<Start>>>,
        now: Timestamp,
    ) -> Result<CheckpointRecord, Vec<RestoreProblem>> {
        let layout = regions(graph);
        let id = |vertex: VertexIndex| graph.vertices()[vertex.0 as usize].id.clone();
        let mut states = vec![SubtaskState::nothing(); layout.subtasks() as usize];
        let mut snapshots = Vec::with_capacity(layout.count() as usize);
        let mut problems = Vec::new();
        for region in (0..layout.count()).map(RegionIndex) {
            let (mut known, mut ended, mut other) = (false, None, None);
            for (position, task) in layout.tasks(region) {
                let starts = taken[task.vertex.0 as usize].as_mut();
                let subtask = starts.map(|it| &mut it[task.subtask.0 as usize]);
                match &subtask {
                    Some(subtask) if subtask.ended => ended = Some(task.vertex),
                    Some(_) | None => other = Some(task.vertex),
                }
                if let Some(subtask) = subtask {
                    known |= subtask.ended || !subtask.state.handles().is_empty();
                    states[position as usize] =
                        core::mem::replace(&mut subtask.state, SubtaskState::nothing());
                }
            }
            if let (Some(ended), Some(other)) = (ended, other) {
                let (ended, other) = (id(ended), id(other));
                let problem = RestoreProblem::PartlyEnded { ended, other };
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
            snapshots.push(known.then_some(RegionSnapshot {
                checkpoint: self.checkpoint,
                attempt: None,
                is_final: ended.is_some(),
            }));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(CheckpointRecord {
            job: graph.id(),
            id: self.checkpoint,
            triggered: self.triggered,
            completed: now,
            regions: snapshots,
            inherited: Vec::new(),
            states,
        })
    }
}

impl OperatorSnapshots {
    /// Whether something is lost if nobody takes its snapshots.
    fn has_state(&self) -> bool {
        let subtasks = self.subtasks.iter();
        let mut states = subtasks.flat_map(|subtask| subtask.state.handles());
        states.any(|state| !state.is_nothing())
    }

    /// With what each subtask of this vertex starts.
    fn divided(&self, vertex: &JobVertex, has_input: bool) -> Result<Vec<Start>, RestoreProblem> {
        let name = || vertex.id.clone();
        let set = MaxParallelism::Set(vertex.max_parallelism);
        if let Err(conflict) = adopt_max_parallelism(set, vertex.parallelism, self.max_parallelism)
        {
            let vertex = name();
            return Err(RestoreProblem::KeyGroups { vertex, conflict });
        }
        let own = self.subtasks.iter().map(|subtask| Start {
            state: subtask.state.clone(),
            ended: subtask.ended,
        });
        if self.subtasks.len() == vertex.parallelism as usize {
            return Ok(own.collect());
        }
        if has_input && self.is_partly_at_end() {
            return Err(RestoreProblem::PartlyAtEnd(name()));
        }
        if self.is_partly_missing() {
            return Err(RestoreProblem::PartlyMissing(name()));
        }
        let states: Vec<SubtaskState> = own.map(|start| start.state).collect();
        let divided = redistribute(&states, self.max_parallelism, vertex.parallelism);
        let ended = self.subtasks.iter().all(|subtask| subtask.ended);
        match divided {
            Ok(states) => Ok(states
                .into_iter()
                .map(|state| Start { state, ended })
                .collect()),
            Err(problem) => Err(RestoreProblem::Indivisible {
                vertex: name(),
                problem,
            }),
        }
    }

    /// Whether some of its subtasks had processed the end of their input, and others had not.
    fn is_partly_at_end(&self) -> bool {
        self.differ(|subtask| subtask.ended || subtask.state.is_at_end())
    }

    /// Whether some of its subtasks had completed a checkpoint, and others had not.
    fn is_partly_missing(&self) -> bool {
        self.differ(|subtask| subtask.state.handles().is_empty())
    }

    /// Whether this holds of some of its subtasks, and not of others.
    fn differ(&self, of: impl Fn(&SubtaskSnapshot) -> bool) -> bool {
        let first = self.subtasks.first().is_some_and(&of);
        self.subtasks.iter().any(|subtask| of(subtask) != first)
    }
}

/// With what a subtask starts.
struct Start {
    state: SubtaskState,
    /// It is not to be run again.
    ended: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::graph::{EdgeSpec, Partitioning, VertexSpec, key_group_range};
    use crate::id::JobId;
    use crate::message::{ListPart, StateHandle, StateLocation, StateParts};
    use crate::redistribute::DistributionMode;
    use crate::savepoint::SubtaskSnapshot;
    use std::string::ToString;

    fn vertex(id: &str, parallelism: u32) -> VertexSpec {
        VertexSpec {
            id: id.into(),
            name: None,
            operator: "any".into(),
            parallelism,
            max_parallelism: None,
            slot_sharing_group: None,
            config: "{}".into(),
        }
    }

    /// Vertices that are connected in a row.
    fn spec(vertices: &[(&str, u32)]) -> JobGraphSpec {
        let edge = |pair: &[(&str, u32)]| EdgeSpec {
            source: pair[0].0.into(),
            target: pair[1].0.into(),
            partitioning: Partitioning::Hash,
        };
        let vertex = |(id, parallelism): &(&str, u32)| vertex(id, *parallelism);
        JobGraphSpec {
            id: JobId(2),
            name: "second".into(),
            vertices: vertices.iter().map(vertex).collect(),
            edges: vertices.windows(2).map(edge).collect(),
            configuration: BTreeMap::new(),
        }
    }

    fn graph(spec: JobGraphSpec) -> JobGraph {
        JobGraph::validate(spec, &BTreeMap::new()).unwrap()
    }

    fn state(byte: u8) -> StateHandle {
        StateHandle::whole(StateLocation::Inline(vec![byte]), 1)
    }

    fn subtask(byte: u8, ended: bool) -> SubtaskSnapshot {
        let state = state(byte);
        let state = SubtaskState::Own(state);
        SubtaskSnapshot { state, ended }
    }

    /// Operators with these ids and snapshots.
    fn savepoint(operators: &[(&str, bool, &[u8])]) -> Savepoint {
        let operator = |(id, ended, states): &(&str, bool, &[u8])| OperatorSnapshots {
            operator_id: operator_id(id),
            name: (*id).into(),
            max_parallelism: 8,
            subtasks: states.iter().map(|byte| subtask(*byte, *ended)).collect(),
        };
        Savepoint {
            job: JobId(1),
            checkpoint: CheckpointId(40),
            triggered: Timestamp(5),
            operators: operators.iter().map(operator).collect(),
        }
    }

    fn restored(
        savepoint: &Savepoint,
        mut spec: JobGraphSpec,
        unclaimed: UnclaimedState,
    ) -> Result<Option<CheckpointRecord>, Vec<String>> {
        savepoint.lend_key_groups(&mut spec);
        let record = savepoint.restore(&graph(spec), unclaimed, Timestamp(9));
        record.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_vertex_starts_from_the_snapshots_of_its_operator() {
        let savepoint = savepoint(&[("count", false, &[3, 4]), ("in", false, &[1, 2])]);
        let spec = spec(&[("in", 2), ("count", 2), ("new", 1)]);
        let record = restored(&savepoint, spec, UnclaimedState::Refused);
        let record = record.unwrap().unwrap();
        let own = [1, 2, 3, 4].map(|byte| SubtaskState::Own(state(byte)));
        let states: Vec<_> = own.into_iter().chain([SubtaskState::nothing()]).collect();
        assert_eq!(record.states, states);
        assert_eq!((record.job, record.id), (JobId(2), CheckpointId(40)));
        let snapshot = RegionSnapshot {
            checkpoint: CheckpointId(40),
            attempt: None,
            is_final: false,
        };
        assert_eq!(record.regions, [Some(snapshot)]);
    }

    /// A snapshot with the key groups of one of two subtasks, and one split.
    fn divisible(subtask: u32) -> StateHandle {
        let partitions = ListPart {
            name: "splits".into(),
            mode: DistributionMode::Split,
            partitions: 0..1,
        };
        state(0).narrowed(StateParts {
            key_groups: Some(key_group_range(8, 2, subtask)),
            lists: vec![partitions],
        })
    }

    #[test]
    fn state_is_divided_among_another_number_of_subtasks() {
        let mut savepoint = savepoint(&[("in", false, &[0, 0]), ("count", false, &[0, 0])]);
        for operator in &mut savepoint.operators {
            for (subtask, snapshot) in (0..).zip(&mut operator.subtasks) {
                snapshot.state = SubtaskState::Own(divisible(subtask));
            }
        }
        let record = restored(
            &savepoint,
            spec(&[("in", 3), ("count", 4)]),
            UnclaimedState::Refused,
        );
        let states = record.unwrap().unwrap().states;
        let handles: Vec<usize> = states.iter().map(|state| state.handles().len()).collect();
        assert_eq!(handles, [1, 2, 1, 1, 2, 1, 1]);
        let kept = restored(
            &savepoint,
            spec(&[("in", 2), ("count", 2)]),
            UnclaimedState::Refused,
        );
        assert!(matches!(
            kept.unwrap().unwrap().states[0],
            SubtaskState::Own(_)
        ));
    }

    #[test]
    fn a_vertex_that_is_partly_at_its_end_keeps_its_parallelism_unless_it_is_a_source() {
        let mut savepoint = savepoint(&[("in", false, &[0, 0]), ("out", false, &[0, 0])]);
        for operator in &mut savepoint.operators {
            let mut at_end = divisible(1);
            at_end.end_of_data = true;
            operator.subtasks[0].state = SubtaskState::Own(divisible(0));
            operator.subtasks[1].state = SubtaskState::Own(at_end);
        }
        let source = restored(
            &savepoint,
            spec(&[("in", 1), ("out", 2)]),
            UnclaimedState::Refused,
        );
        assert!(source.is_ok());
        let sink = restored(
            &savepoint,
            spec(&[("in", 2), ("out", 1)]),
            UnclaimedState::Refused,
        );
        let problem = &sink.unwrap_err()[0];
        assert!(
            problem.starts_with("some subtasks of vertex `out`"),
            "{problem}"
        );
    }

    #[test]
    fn a_vertex_of_which_some_subtasks_never_completed_a_checkpoint_keeps_its_parallelism() {
        let mut savepoint = savepoint(&[("in", false, &[0, 0])]);
        savepoint.operators[0].subtasks[0].state = SubtaskState::Own(divisible(0));
        savepoint.operators[0].subtasks[1].state = SubtaskState::nothing();
        let restored = |parallelism| {
            restored(
                &savepoint,
                spec(&[("in", parallelism)]),
                UnclaimedState::Refused,
            )
        };
        let record = restored(2).unwrap().unwrap();
        let began: Vec<bool> = record.regions.iter().map(Option::is_some).collect();
        assert_eq!(began, [true, false]);
        let problem = &restored(3).unwrap_err()[0];
        assert!(
            problem.starts_with("some subtasks of vertex `in` had not completed"),
            "{problem}"
        );
    }

    #[test]
    fn a_region_of_which_the_savepoint_knows_nothing_starts_from_nothing() {
        let savepoint = savepoint(&[("in", false, &[1])]);
        let mut apart = spec(&[("in", 1), ("other", 1)]);
        apart.edges.clear();
        let record = restored(&savepoint, apart, UnclaimedState::Refused);
        let regions = record.unwrap().unwrap().regions;
        assert_eq!((regions[0].is_some(), regions[1]), (true, None));
        let nothing = restored(&savepoint, spec(&[("other", 1)]), UnclaimedState::Ignored);
        assert_eq!(nothing, Ok(None));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let savepoint = savepoint(&[("in", false, &[1]), ("gone", false, &[2])]);
        let mut wrong = spec(&[("in", 2), ("out", 1)]);
        let problems = restored(&savepoint, wrong.clone(), UnclaimedState::Refused);
        let problems = problems.unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("the state of `gone`"), "{problems:?}");
        assert!(
            problems[1].contains("subtask 0 can only be taken as a whole"),
            "{problems:?}"
        );
        wrong.vertices[0].parallelism = 1;
        wrong.vertices[0].max_parallelism = Some(16);
        let problems = restored(&savepoint, wrong, UnclaimedState::Ignored);
        let problem = &problems.unwrap_err()[0];
        assert!(
            problem.contains("set it to 8, or leave it unset"),
            "{problem}"
        );
    }

    #[test]
    fn what_had_ended_is_not_started_again_and_cannot_feed_what_had_not() {
        let row = || spec(&[("in", 1), ("out", 1)]);
        let all = savepoint(&[("in", true, &[1]), ("out", true, &[2])]);
        let record = restored(&all, row(), UnclaimedState::Refused);
        assert!(record.unwrap().unwrap().regions[0].unwrap().is_final);
        let part = savepoint(&[("in", true, &[1]), ("out", false, &[2])]);
        let problems = restored(&part, row(), UnclaimedState::Refused).unwrap_err();
        assert!(
            problems[0].contains("`in` had processed all"),
            "{problems:?}"
        );
    }

    #[test]
    fn each_part_of_a_vertex_ends_for_itself() {
        let mut savepoint = savepoint(&[("in", false, &[1, 2]), ("out", false, &[3, 4])]);
        for operator in &mut savepoint.operators {
            operator.subtasks[0] = SubtaskSnapshot {
                state: SubtaskState::Own(StateHandle::nothing()),
                ended: true,
            };
        }
        let mut row = spec(&[("in", 2), ("out", 2)]);
        let connected = restored(&savepoint, row.clone(), UnclaimedState::Refused);
        assert_eq!(connected.unwrap_err().len(), 1);
        row.edges[0].partitioning = Partitioning::Forward;
        let record = restored(&savepoint, row, UnclaimedState::Refused);
        let regions = record.unwrap().unwrap().regions.into_iter();
        let is_final: Vec<bool> = regions.map(|region| region.unwrap().is_final).collect();
        assert_eq!(is_final, [true, false]);
    }
}
