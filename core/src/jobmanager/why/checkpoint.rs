//! Checkpoints under way as a cause: which tasks have not acknowledged, and how far each can be.
//!
//! A task says nothing between the order to snapshot and its acknowledgement. But barriers travel along edges:
//! a task all of whose inputs have acknowledged has their barriers, or they are on their way, and one of whose
//! inputs one has not acknowledged may have to wait for it. So whom the others wait for comes first.

use super::more::first_of;
use super::words::{ahead, counted, lasting, listed, shown, verb};
use super::{Cause, Look, Reason, Savepoint, Subtask};
use crate::graph::producers_of;
use crate::id::{CheckpointId, TaskManagerId, VertexIndex};
use crate::jobmanager::execution::Bits;
use crate::jobmanager::journal::Fact;
use crate::jobmanager::pending::{Pending, Stage};
use crate::jobmanager::savepoints;
use crate::jobmanager::view::CheckpointOutcome;
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use serde::Serialize;

/// What a checkpoint under way waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Checkpoint {
    /// It is neither complete nor given up.
    CheckpointUnderWay {
        /// Which.
        checkpoint: CheckpointId,
        /// Whether it is taken for a savepoint.
        is_savepoint: bool,
        /// When it was triggered.
        triggered: Timestamp,
        /// When it is given up if tasks have not acknowledged it; `None` if all have.
        expires: Option<Timestamp>,
        /// How many tasks take part that have not acknowledged.
        missing: u32,
        /// How many tasks took part when it was triggered.
        subtasks: u32,
        /// When the last acknowledgement came.
        latest_ack: Option<Timestamp>,
    },
    /// Tasks on one TaskManager have not acknowledged.
    NotAcknowledged {
        /// Where.
        taskmanager: TaskManagerId,
        /// How far they can be.
        #[serde(serialize_with = "shown")]
        phase: AckPhase,
        /// How many tasks.
        count: u32,
        /// Which tasks.
        tasks: Vec<Subtask>,
    },
    /// All tasks of regions have acknowledged, and a record with their snapshots is being written.
    RecordNotDurable {
        /// How many regions.
        regions: u32,
    },
    /// All tasks of regions have acknowledged, and their snapshots are in the record after the one being written.
    RecordNotBegun {
        /// How many regions.
        regions: u32,
    },
}

/// How far a task can be that has not acknowledged a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AckPhase {
    /// It has no inputs, and was told to snapshot.
    Triggered,
    /// All of its inputs have acknowledged: their barriers come through what was sent before, and then it
    /// snapshots.
    Snapshot,
    /// An input has not acknowledged: perhaps its barrier has not been sent.
    Barriers,
}

impl fmt::Display for AckPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AckPhase::Triggered => "triggered",
            AckPhase::Snapshot => "snapshot",
            AckPhase::Barriers => "barriers",
        })
    }
}

impl From<Checkpoint> for Reason {
    fn from(reason: Checkpoint) -> Self {
        Reason::Checkpoint(reason)
    }
}

impl Checkpoint {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Checkpoint::CheckpointUnderWay {
                checkpoint,
                is_savepoint,
                triggered,
                missing,
                subtasks,
                ..
            } => format!(
                "{} {} has been under way {}; {missing} of {} {} not acknowledged.",
                if *is_savepoint {
                    "The savepoint that is checkpoint"
                } else {
                    "Checkpoint"
                },
                checkpoint.0,
                lasting(now, *triggered),
                counted(*subtasks, "task"),
                verb(*missing, "has", "have"),
            ),
            Checkpoint::NotAcknowledged {
                taskmanager,
                phase,
                count,
                tasks,
            } => {
                let which = match phase {
                    AckPhase::Triggered => "told to snapshot",
                    AckPhase::Snapshot => "behind inputs that all have",
                    AckPhase::Barriers => "behind inputs that have not either",
                };
                format!(
                    "{taskmanager} has not acknowledged for {} {which}: {}.",
                    counted(*count, "task"),
                    listed(tasks, *count)
                )
            }
            Checkpoint::RecordNotDurable { regions } => format!(
                "What {} {} snapshotted is being stored.",
                counted(*regions, "region"),
                verb(*regions, "has", "have")
            ),
            Checkpoint::RecordNotBegun { regions } => format!(
                "What {} {} snapshotted is stored after what is being stored now.",
                counted(*regions, "region"),
                verb(*regions, "has", "have")
            ),
        }
    }

    pub(super) fn unblock(&self, now: Timestamp) -> String {
        match self {
            Checkpoint::CheckpointUnderWay {
                expires: Some(at), ..
            } => format!(
                "The tasks have to acknowledge; what has not is given up {}.",
                ahead(now, *at)
            ),
            Checkpoint::CheckpointUnderWay { expires: None, .. } => {
                String::from("What all have acknowledged has to become durable.")
            }
            Checkpoint::NotAcknowledged { phase, .. } => String::from(match phase {
                AckPhase::Triggered => {
                    "The order has to reach them, and their snapshots the checkpoint storage."
                }
                AckPhase::Snapshot => {
                    "They have to get through what came before the barriers, and their snapshots \
                     have to reach the checkpoint storage."
                }
                AckPhase::Barriers => "Those that they read from have to go on.",
            }),
            Checkpoint::RecordNotDurable { .. } | Checkpoint::RecordNotBegun { .. } => {
                String::from("The store has to take the write.")
            }
        }
    }
}

/// Tasks that have not acknowledged a checkpoint.
struct Missing {
    positions: Vec<u32>,
    set: Bits,
    /// How many of each vertex.
    by_vertex: Vec<u32>,
}

impl Look<'_> {
    /// What checkpoints under way wait for, apart from savepoints.
    pub(super) fn checkpoints(&self) -> Vec<Cause> {
        let pending = self.job.checkpoints.pending.iter();
        let pending = pending.filter(|pending| !pending.is_savepoint);
        first_of(pending.collect(), |pending| self.under_way(pending))
    }

    pub(super) fn under_way(&self, pending: &Pending) -> Cause {
        let entry = pending.entry(CheckpointOutcome::InProgress);
        let missing = self.missing(pending);
        let reason = Checkpoint::CheckpointUnderWay {
            checkpoint: pending.id,
            is_savepoint: pending.is_savepoint,
            triggered: pending.triggered,
            expires: pending.expires_at(),
            missing: count(missing.positions.len()),
            subtasks: entry.subtasks,
            latest_ack: entry.latest_ack,
        };
        let mut because = self.blame(&missing);
        if !pending.is_savepoint {
            because.extend(self.not_durable(pending));
        }
        Cause::new(reason, because)
    }

    fn missing(&self, pending: &Pending) -> Missing {
        let layout = self.job.execution.layout();
        let mut missing = Missing {
            positions: Vec::new(),
            set: Bits::new(layout.subtasks()),
            by_vertex: vec![0; self.job.graph.vertices().len()],
        };
        for region in pending.collecting() {
            let part = &pending.parts[&region];
            for (place, &position) in (0..).zip(layout.members(region)) {
                if !part.has_acknowledged(place) {
                    missing.positions.push(position);
                    missing.set.set(position, true);
                    missing.by_vertex[layout.task(position).vertex.0 as usize] += 1;
                }
            }
        }
        missing
    }

    /// Those that have not acknowledged, by how far they can be and where they are.
    fn blame(&self, missing: &Missing) -> Vec<Cause> {
        let phases = [AckPhase::Triggered, AckPhase::Snapshot, AckPhase::Barriers];
        let mut by_phase: [Vec<u32>; 3] = Default::default();
        for &position in &missing.positions {
            by_phase[self.phase(missing, position) as usize].push(position);
        }
        let mut blame = Vec::new();
        for (phase, positions) in phases.into_iter().zip(by_phase) {
            let gathered = self.by_taskmanager(positions.into_iter());
            blame.extend(gathered.into_iter().map(|it| (phase, it)));
        }
        first_of(blame, |(phase, it)| {
            let silent = self.silence(it.tm);
            let reason = Checkpoint::NotAcknowledged {
                phase,
                count: it.count,
                tasks: self.subtasks(&it.shown),
                taskmanager: it.taskmanager,
            };
            Cause::new(reason, silent.into_iter().collect())
        })
    }

    fn phase(&self, missing: &Missing, position: u32) -> AckPhase {
        let (graph, layout) = (&self.job.graph, self.job.execution.layout());
        let task = layout.task(position);
        let parallelism = |vertex: VertexIndex| graph.vertices()[vertex.0 as usize].parallelism;
        let inputs = graph.edges().iter();
        let mut inputs = inputs.filter(|edge| edge.target == task.vertex).peekable();
        if inputs.peek().is_none() {
            return AckPhase::Triggered;
        }
        let waits = inputs.any(|edge| {
            let source = edge.source;
            if edge.partitioning.is_all_to_all() {
                return missing.by_vertex[source.0 as usize] > 0;
            }
            let (producers, consumers) = (parallelism(source), parallelism(task.vertex));
            let mut producers = producers_of(producers, consumers, task.subtask.0);
            let first = layout.positions(source).start;
            producers.any(|producer| missing.set.get(first + producer))
        });
        match waits {
            true => AckPhase::Barriers,
            false => AckPhase::Snapshot,
        }
    }

    /// The parts of a checkpoint that all tasks have acknowledged.
    fn not_durable(&self, pending: &Pending) -> Vec<Cause> {
        let regions = |stage: Stage| {
            let parts = pending.parts.values();
            count(parts.filter(|part| part.stage() == stage).count())
        };
        let mut because = Vec::new();
        let storing = regions(Stage::Storing);
        if storing > 0 {
            let reason = Checkpoint::RecordNotDurable { regions: storing };
            because.push(Cause::new(reason, self.record()));
        }
        let waiting = regions(Stage::Acknowledged);
        if waiting > 0 {
            let reason = Checkpoint::RecordNotBegun { regions: waiting };
            because.push(Cause::new(reason, self.record()));
        }
        because
    }

    /// What keeps the record of the job's checkpoints that is being written from being durable.
    pub(super) fn record(&self) -> Vec<Cause> {
        let job = self.job.id();
        let write = self.store(|fact| *fact == Fact::Completed(job));
        match self.job.savepoints.current() {
            Some(wish) if write.is_empty() => match &wish.stage {
                savepoints::Stage::Writing(completed) => {
                    let location = completed.location.clone();
                    vec![Cause::leaf(Savepoint::MetadataNotWritten { location })]
                }
                savepoints::Stage::Ending { .. } => self.outcome(wish),
                savepoints::Stage::Storing
                | savepoints::Stage::Wanted { .. }
                | savepoints::Stage::Collecting { .. }
                | savepoints::Stage::Failing { .. }
                | savepoints::Stage::Ended => write,
            },
            Some(_) | None => write,
        }
    }
}

fn count(things: usize) -> u32 {
    u32::try_from(things).expect("subtasks and regions are counted in 32 bits")
}
