//! Another parallelism for a job that runs.
//!
//! ```text
//!          durable             differs            snapshotted          all tasks ended          durable
//! Storing ────────► (wanted) ──────────► Preparing ─────────► Stopping ──────────────► Writing ────────► (runs)
//!                                           │ it cannot be now
//!                                           └────────► (tried again after a while)
//! ```
//!
//! What a client wants is a durable intent: bounds, between which the slots that there are decide; without one the
//! job's scheduler says what they are. The regions that a change concerns take a checkpoint first, so that little
//! is processed twice, and stop; then one write replaces the job's parallelism and its checkpoints, so that whoever
//! leads next finds the old configuration or the new one. Other regions go on as they are. Nothing is stopped
//! before there are slots for what comes instead.

mod target;
mod wish;

use super::cx::Cx;
use super::effect::Effect;
use super::execution::Phase;
use super::input::Discard;
use super::job::{Job, JobPhase};
use super::journal::Fact;
use super::taskmanagers::SlotUse;
use crate::graph::JobGraph;
use crate::id::{Attempt, CheckpointId, RegionIndex, RequestId};
use crate::record::{CheckpointRecord, Record, RecordKey, RecordOp, RescaleRecord, Scale};
use crate::rewiring::{Rewiring, RewiringProblem};
use crate::time::Timestamp;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// From one look at the slots to the next, while a job has not all that it may have.
const PAUSE: Duration = Duration::from_secs(5);
/// How many intervals of checkpoints the one may take before the change (SEMANTICS §2.12: two of them may fail).
const INTERVALS: u32 = 3;
/// The most wishes of one job that wait for their durability.
const MAX_STORING: usize = 100;

/// The job as it will be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Change {
    graph: Arc<JobGraph>,
    /// The regions that stop for it, by their indices until then.
    concerned: Arc<BTreeSet<RegionIndex>>,
}

/// How far another parallelism is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Nothing is under way.
    Idle {
        /// When slots and wishes are looked at next.
        next: Timestamp,
    },
    /// The regions that are concerned take a checkpoint.
    Preparing {
        change: Change,
        since: Timestamp,
        /// Then it goes on from what there is.
        until: Timestamp,
    },
    /// Their tasks are told to stop.
    Stopping(Change),
    /// The new configuration is being made durable.
    Writing { change: Change, scale: Scale },
}

/// The parallelism that clients want, and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Rescaling {
    /// What is durable.
    pub(super) wanted: Option<Arc<RescaleRecord>>,
    /// What is being made durable, with who waits for it.
    storing: VecDeque<(Arc<RescaleRecord>, RequestId)>,
    pub(super) stage: Stage,
    /// What the slots have allowed, and since when, while the time to act on it has not come.
    stable: Option<(Vec<u32>, Timestamp)>,
    /// When the parallelism changed last, as far as this coordinator knows.
    last: Option<Timestamp>,
    /// Why it cannot be done now.
    pub(super) problem: Option<String>,
}

impl Rescaling {
    pub(super) fn new(wanted: Option<Arc<RescaleRecord>>) -> Self {
        Rescaling {
            wanted,
            storing: VecDeque::new(),
            stage: Stage::Idle { next: Timestamp(0) },
            stable: None,
            last: None,
            problem: None,
        }
    }

    /// What the job becomes, once tasks are told to stop for that.
    fn decided(&self) -> Option<&Change> {
        match &self.stage {
            Stage::Stopping(change) | Stage::Writing { change, .. } => Some(change),
            Stage::Idle { .. } | Stage::Preparing { .. } => None,
        }
    }

    /// What the job becomes, if that is decided.
    pub(super) fn next_graph(&self) -> Option<&JobGraph> {
        self.decided().map(|change| &*change.graph)
    }

    /// Whether anything is being done.
    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Idle { .. })
    }

    /// Whether a region waits for the new configuration.
    pub(super) fn holds(&self, region: RegionIndex) -> bool {
        let decided = self.decided();
        decided.is_some_and(|change| change.concerned.contains(&region))
    }
}

impl Job {
    /// Does what can be done now.
    pub(super) fn drive_rescaling(&mut self, cx: &mut Cx<'_>) {
        if matches!(&self.rescaling.stage, Stage::Idle { next } if *next <= cx.now) {
            self.look_for_parallelism(cx);
        }
        match self.rescaling.stage.clone() {
            Stage::Idle { .. } | Stage::Writing { .. } => {}
            Stage::Preparing {
                change,
                since,
                until,
            } => self.stop_for_rescaling(cx, change, since, until),
            Stage::Stopping(change) => self.write_rescaling(cx, change),
        }
    }

    fn rewiring(&self, graph: &JobGraph) -> Rewiring {
        Rewiring::new(&self.graph, self.execution.layout(), graph)
    }

    /// Starts it, if nothing speaks against that.
    fn prepare_rescaling(&mut self, cx: &mut Cx<'_>, target: &[u32]) {
        if self.savepoints.current().is_some() {
            return self.rescale_later(cx, String::from("a savepoint is being taken"));
        }
        let graph = self.with_parallelism(target);
        let config = self.graph.config();
        let checkpoints = config.checkpointing.as_ref();
        let usual = checkpoints.map_or(Duration::ZERO, |config| config.interval * INTERVALS);
        let delay = config.rescaling.max_delay.unwrap_or(usual);
        let until = cx.now + delay;
        let moves = self.moves_by(cx.tms, cx.now);
        let until = moves.map_or(until, |moves| until.min(moves));
        let concerned = self.rewiring(&graph).concerned;
        let runs = |region: &&RegionIndex| self.execution.runs(**region);
        let owed: Vec<_> = concerned.iter().filter(runs).copied().collect();
        self.checkpoints.owed.extend(owed);
        let change = Change {
            graph,
            concerned: Arc::new(concerned),
        };
        self.rescaling.stage = Stage::Preparing {
            change,
            since: cx.now,
            until,
        };
    }

    /// Stops the regions that are concerned, once they have snapshotted or the time for that is over.
    fn stop_for_rescaling(
        &mut self,
        cx: &mut Cx<'_>,
        change: Change,
        since: Timestamp,
        until: Timestamp,
    ) {
        let snapshotted = |region: &RegionIndex| {
            let line = self.checkpoints.line(*region);
            !self.execution.runs(*region) || line.has_completed_since(since)
        };
        if until > cx.now && !change.concerned.iter().all(snapshotted) {
            return;
        }
        if self.savepoints.current().is_some() || self.checkpoints.is_writing() {
            return;
        }
        let rewiring = self.rewiring(&change.graph);
        if let Err(problem) = self.rewired_record(&rewiring, &change.graph, cx.now) {
            return self.rescale_later(cx, problem.to_string());
        }
        let now = self.fitting(cx, &self.bounds());
        if now.as_ref() != Ok(&change.graph.parallelism()) {
            return self.rescale_later(cx, String::from("the slots have changed meanwhile"));
        }
        let (job, regions) = (self.id(), change.concerned.len());
        tracing::info!(%job, regions, "the parallelism changes");
        let detail = "the parallelism of the job changes";
        self.restart_without_failure(cx, &change.concerned, detail);
        self.rescaling.stage = Stage::Stopping(change.clone());
        self.write_rescaling(cx, change);
    }

    fn rewired_record(
        &self,
        rewiring: &Rewiring,
        graph: &JobGraph,
        now: Timestamp,
    ) -> Result<CheckpointRecord, RewiringProblem> {
        rewiring.record(
            (&self.graph, self.execution.layout()),
            graph,
            self.checkpoints.latest().map(Arc::as_ref),
            self.checkpoints.next,
            now,
        )
    }

    /// It cannot be done now.
    fn rescale_later(&mut self, cx: &Cx<'_>, problem: String) {
        let job = self.id();
        tracing::debug!(%job, problem, "the parallelism cannot change now");
        self.rescaling.problem = Some(problem);
        self.rescaling.stage = Stage::Idle {
            next: cx.now + PAUSE,
        };
    }

    /// Writes the new configuration, once all tasks that it concerns have ended.
    fn write_rescaling(&mut self, cx: &mut Cx<'_>, change: Change) {
        let ended = self.execution.has_ended(&change.concerned);
        if !ended || self.checkpoints.is_writing() || self.needs_mark(cx) {
            return;
        }
        let rewiring = self.rewiring(&change.graph);
        let record = match self.rewired_record(&rewiring, &change.graph, cx.now) {
            Ok(record) => Arc::new(record),
            Err(problem) => return self.rescale_later(cx, problem.to_string()),
        };
        let job = self.id();
        let scale = self.next_scale(cx, &change);
        let put = self.record(Some(scale.clone()));
        let put = [put, Record::Checkpoint(record.clone())].map(RecordOp::Put);
        let mut ops = Vec::from(put);
        let retained = self.checkpoints.completed.iter();
        let delete = |id: CheckpointId| RecordOp::Delete(RecordKey::Checkpoint(job, id));
        ops.extend(retained.map(|record| delete(record.id)));
        self.checkpoints.rewire(record);
        cx.journal.write(ops, Fact::Rescaled(job));
        self.rescaling.stage = Stage::Writing { change, scale };
    }

    /// The attempts of the vertices that are concerned are others from the next one on.
    fn next_scale(&self, cx: &Cx<'_>, change: &Change) -> Scale {
        let last = self.execution.last_attempt(&change.concerned);
        let known = self.scale.as_ref().map(|scale| scale.since.clone());
        let mut since = known.unwrap_or_else(|| vec![None; change.graph.vertices().len()]);
        let layout = self.execution.layout();
        let concerned = change.concerned.iter();
        for (_, task) in concerned.flat_map(|region| layout.tasks(*region)) {
            since[task.vertex.0 as usize] = Some(Attempt::after(last, cx.epoch));
        }
        Scale {
            parallelism: change.graph.parallelism(),
            since,
        }
    }

    /// The new configuration is durable.
    pub(super) fn rescaled(&mut self, cx: &mut Cx<'_>) {
        let idle = Stage::Idle { next: cx.now };
        let stage = core::mem::replace(&mut self.rescaling.stage, idle);
        let Stage::Writing { change, scale } = stage else {
            unreachable!("what becomes durable was being written");
        };
        let graph = change.graph;
        let rewiring = self.rewiring(&graph);
        let phase = Phase::Scheduled { since: cx.now };
        let history = cx.config.checkpoint_history;
        let completion = self.checkpoints.rewired(&rewiring, cx.now, history);
        self.execution = self.execution.rewired(&graph, &rewiring, phase);
        self.scale = Some(scale);
        self.graph = graph;
        self.demands_rewired(&rewiring);
        self.moving_rewired(cx.now);
        self.rescaling.last = Some(cx.now);
        let job = self.id();
        for (job_slot, at) in self.execution.held_slots() {
            cx.tms.renumber(at, SlotUse { job, job_slot });
        }
        for id in &completion.subsumed {
            cx.effects
                .push(Effect::Discard(Discard::Checkpoint(job, *id)));
        }
        self.release_owned(cx, &completion.subsumed);
        if self.phase != JobPhase::Running {
            // It ends meanwhile: nothing is started any more.
            for region in self.execution.region_indices() {
                if self.execution.region(region).phase == phase {
                    self.stop_region(cx, region);
                    self.execution.set_phase(region, Phase::Stopping);
                }
            }
        }
        if matches!(self.phase, JobPhase::Ended(_)) {
            return;
        }
        self.last_modified = cx.now;
        self.store(cx);
        tracing::info!(%job, parallelism = ?self.graph.parallelism(), "the parallelism has changed");
    }

    /// When something is to be done about it, if nothing happens.
    pub(super) fn rescaling_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let at = match &self.rescaling.stage {
            Stage::Idle { next: at } | Stage::Preparing { until: at, .. } => Some(*at),
            Stage::Stopping(_) | Stage::Writing { .. } => None,
        };
        at.filter(|at| *at > now)
    }
}
