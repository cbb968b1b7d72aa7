//! The checkpoints of a job at work: when one is triggered, what its acknowledgements lead to, and whom
//! it concerns. A completion is announced by the step that learns that it is durable, never before.
//!
//! A checkpoint spans the job. While a region restarts none can be taken, but the schedule goes on: one
//! that fell due meanwhile is triggered as soon as all tasks run again, so a region that fails again and
//! again does not keep the others from ever completing one.

use super::checkpoints::{Abort, Acknowledged, Checkpoints, Pending};
use super::cx::Cx;
use super::effect::Effect;
use super::input::Discard;
use super::job::{Job, JobPhase};
use super::journal::Fact;
use super::taskmanagers::TmKey;
use crate::config::CheckpointConfig;
use crate::id::{AttemptId, CheckpointId, VertexIndex};
use crate::message::{Acknowledgement, DeclineReason, StateLocation, ToTaskManager};
use crate::record::{Record, RecordKey, RecordOp};
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Job {
    /// Triggers what is due.
    pub(super) fn drive_checkpoints(&mut self, cx: &mut Cx<'_>) {
        let graph = self.graph.clone();
        let Some(config) = &graph.config().checkpointing else {
            return;
        };
        let running = self.execution.all_running();
        if running && self.checkpoints.due.is_none() {
            self.checkpoints.due = Some(cx.now + config.interval);
        }
        if self.execution.all_at_end_of_data() && self.checkpoints.is_final() {
            self.announce_finish(cx);
        } else if running && self.trigger_deadline(config).is_some_and(|at| at <= cx.now) {
            self.trigger(cx, config);
        }
    }

    /// When the next checkpoint is to be triggered, provided that every task is running: the periodic
    /// one, or, when no task has input left, the final one as soon as nothing else is under way.
    fn trigger_deadline(&self, config: &CheckpointConfig) -> Option<Timestamp> {
        if !self.execution.all_at_end_of_data() {
            return self.checkpoints.trigger_at(config);
        }
        let free = self.checkpoints.pending.is_empty() && !self.checkpoints.is_final();
        free.then_some(self.final_not_before)
    }

    fn trigger(&mut self, cx: &mut Cx<'_>, config: &CheckpointConfig) {
        if self.needs_mark(cx) {
            return;
        }
        let (job, timestamp) = (self.id(), cx.now);
        let (tasks, attempts) = (self.execution.subtasks(), self.execution.attempts());
        let checkpoint = self.checkpoints.trigger(cx.now, config, tasks, attempts);
        tracing::debug!(%job, checkpoint = checkpoint.0, "checkpoint triggered");
        for tm in self.source_taskmanagers() {
            cx.send(
                tm,
                ToTaskManager::TriggerCheckpoint {
                    job,
                    checkpoint,
                    timestamp,
                },
            );
        }
    }

    /// The TaskManagers of the tasks without inputs.
    fn source_taskmanagers(&self) -> BTreeSet<TmKey> {
        let edges = self.graph.edges();
        let vertices = (0..).map(VertexIndex).take(self.graph.vertices().len());
        let sources = vertices.filter(|vertex| edges.iter().all(|edge| edge.target != *vertex));
        let positions = sources.flat_map(|vertex| self.execution.layout().positions(vertex));
        positions
            .filter_map(|position| self.execution.location(position))
            .map(|at| at.tm)
            .collect()
    }

    /// Whether the next id must first be made durable as used, which this sees to.
    fn needs_mark(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(next) = self.checkpoints.needed_mark() else {
            return false;
        };
        if !core::mem::replace(&mut self.checkpoints.marking, true) {
            let job = self.id();
            let put = RecordOp::Put(Record::CheckpointMark { job, next });
            cx.journal.write(Vec::from([put]), Fact::Marked(job, next));
            // As good a rhythm as any for state that was written long after its checkpoint was given up.
            self.untidy = true;
        }
        true
    }

    /// Further ids are durable as used.
    pub(super) fn marked(&mut self, next: CheckpointId) {
        self.checkpoints.marking = false;
        self.checkpoints.mark = self.checkpoints.mark.max(next);
    }

    /// A task has snapshotted.
    pub(super) fn acknowledged(&mut self, cx: &mut Cx<'_>, tm: TmKey, ack: Acknowledgement) {
        let checkpoint = ack.checkpoint;
        let in_file = matches!(ack.state.location, StateLocation::File(_));
        let current = self.current(ack.attempt, tm);
        let running =
            current.filter(|position| self.execution.state(*position) == ExecutionState::Running);
        let answer = match running {
            Some(position) => self.checkpoints.acknowledge(cx.now, position, ack),
            None => Acknowledged::Unknown,
        };
        match answer {
            Acknowledged::Counted | Acknowledged::Duplicate => {}
            Acknowledged::Unknown => {
                if in_file && self.is_useless(checkpoint) {
                    cx.effects
                        .push(Effect::Discard(Discard::Checkpoint(self.id(), checkpoint)));
                }
            }
            Acknowledged::Complete(record) => {
                let earlier = |pending: &Pending| pending.id < checkpoint;
                self.abort_checkpoints(cx, Abort::Subsumed, "", earlier);
                self.store(cx, Record::Checkpoint(record), checkpoint);
            }
        }
    }

    /// Whether a checkpoint was given up: nothing will ever refer to its state.
    fn is_useless(&self, checkpoint: CheckpointId) -> bool {
        let pending = self
            .checkpoints
            .pending
            .iter()
            .any(|pending| pending.id == checkpoint);
        let retained = self
            .checkpoints
            .completed
            .iter()
            .any(|record| record.id == checkpoint);
        checkpoint < self.checkpoints.next && !pending && !retained
    }

    fn store(&mut self, cx: &mut Cx<'_>, record: Record, checkpoint: CheckpointId) {
        let graph = self.graph.clone();
        let Some(config) = &graph.config().checkpointing else {
            return;
        };
        let job = self.id();
        let surplus = self.checkpoints.surplus(config);
        let delete = |id: CheckpointId| RecordOp::Delete(RecordKey::Checkpoint(job, id));
        let mut ops = Vec::from([RecordOp::Put(record)]);
        ops.extend(surplus.into_iter().map(delete));
        cx.journal.write(ops, Fact::Completed(job, checkpoint));
        self.needs_mark(cx);
    }

    /// A checkpoint is durable: it is announced, and what it replaces is deleted.
    pub(super) fn completed(&mut self, cx: &mut Cx<'_>, checkpoint: CheckpointId) {
        let graph = self.graph.clone();
        let Some(config) = &graph.config().checkpointing else {
            return;
        };
        let completion =
            self.checkpoints
                .complete(cx.now, checkpoint, config, cx.config.checkpoint_history);
        let job = self.id();
        tracing::info!(%job, checkpoint = checkpoint.0, bytes = completion.record.size(), "checkpoint completed");
        self.last_modified = cx.now;
        for id in completion.subsumed {
            cx.effects
                .push(Effect::Discard(Discard::Checkpoint(job, id)));
        }
        if core::mem::take(&mut self.untidy) {
            cx.effects.push(Effect::Discard(self.unreferenced()));
        }
        if matches!(self.phase, JobPhase::Ended(_)) {
            return;
        }
        let finish = completion.record.end_of_data && self.execution.all_at_end_of_data();
        self.announce(cx, checkpoint, finish);
    }

    /// Everything below the next id that is not retained and not under way.
    pub(super) fn unreferenced(&self) -> Discard {
        let retained = self.checkpoints.completed.iter().map(|record| record.id);
        let pending = self.checkpoints.pending.iter().map(|pending| pending.id);
        let keep = retained.chain(pending).collect();
        Discard::Unreferenced {
            job: self.id(),
            keep,
            next: self.checkpoints.next,
        }
    }

    fn announce(&mut self, cx: &mut Cx<'_>, checkpoint: CheckpointId, finish: bool) {
        if finish {
            self.finish_announced = true;
            self.abort_checkpoints(cx, Abort::Subsumed, "", |_| true);
        }
        let job = self.id();
        for tm in self.taskmanagers() {
            cx.send(
                tm,
                ToTaskManager::NotifyComplete {
                    job,
                    checkpoint,
                    finish,
                },
            );
        }
    }

    /// No task has input left and the final checkpoint is durable: the tasks finish.
    fn announce_finish(&mut self, cx: &mut Cx<'_>) {
        let latest = self.checkpoints.latest().map(|latest| latest.id);
        if let Some(latest) = latest.filter(|_| !self.finish_announced) {
            self.announce(cx, latest, true);
        }
    }

    /// A task cannot take part in a checkpoint.
    pub(super) fn declined(
        &mut self,
        cx: &mut Cx<'_>,
        tm: TmKey,
        attempt: AttemptId,
        checkpoint: CheckpointId,
        reason: DeclineReason,
        message: &str,
    ) {
        let Some(position) = self.current(attempt, tm) else {
            return;
        };
        let abort = match reason {
            DeclineReason::TaskNotReady => Abort::TaskDeclined,
            DeclineReason::AsyncException => Abort::Declined,
            DeclineReason::Subsumed => Abort::Subsumed,
        };
        let detail = format!("{}: {message}", self.task_name(position));
        let aborted =
            self.abort_checkpoints(cx, abort, &detail, |pending| pending.id == checkpoint);
        if aborted && abort == Abort::Declined {
            self.remember(
                cx,
                Some(position),
                cx.name(tm),
                format!("checkpoint {}: {message}", checkpoint.0),
            );
        }
        self.check_tolerance(cx);
    }

    /// Gives up what has taken too long.
    pub(super) fn expire_checkpoints(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        if self.checkpoints.expires_at().is_some_and(|at| at <= now) {
            self.abort_checkpoints(cx, Abort::Expired, "", |pending| {
                Checkpoints::is_expired(pending, now)
            });
            self.check_tolerance(cx);
        }
    }

    fn check_tolerance(&mut self, cx: &mut Cx<'_>) {
        let graph = self.graph.clone();
        let Some(config) = &graph.config().checkpointing else {
            return;
        };
        if self.checkpoints.take_intolerable(config) {
            self.fail_all(
                cx,
                String::from("exceeded checkpoint tolerable failure threshold"),
            );
        }
    }

    /// Gives up the checkpoints under way that `which` selects; tells whether there were any.
    pub(super) fn abort_checkpoints(
        &mut self,
        cx: &mut Cx<'_>,
        abort: Abort,
        detail: &str,
        which: impl Fn(&Pending) -> bool,
    ) -> bool {
        let aborted =
            self.checkpoints
                .abort(cx.now, abort, detail, cx.config.checkpoint_history, which);
        if aborted.is_empty() {
            return false;
        }
        if let (true, Some(config)) = (
            abort.is_snapshot_failure(),
            &self.graph.config().checkpointing,
        ) {
            self.final_not_before = cx.now + config.interval;
        }
        self.untidy = true;
        let job = self.id();
        let tms = self.taskmanagers();
        for checkpoint in aborted {
            tracing::info!(%job, checkpoint = checkpoint.0, ?abort, detail, "checkpoint aborted");
            cx.effects
                .push(Effect::Discard(Discard::Checkpoint(job, checkpoint)));
            for &tm in &tms {
                cx.send(tm, ToTaskManager::NotifyAborted { job, checkpoint });
            }
        }
        true
    }

    /// When a checkpoint is to be triggered, or one under way expires.
    pub(super) fn checkpoint_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let config = self.graph.config().checkpointing.as_ref()?;
        let trigger = self
            .execution
            .all_running()
            .then(|| self.trigger_deadline(config))
            .flatten();
        let trigger = trigger.filter(|at| *at > now);
        [trigger, self.checkpoints.expires_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// State of this job could not be deleted.
    pub(super) fn discard_failed(&mut self, discard: &Discard, problem: &str) {
        tracing::warn!(job = %self.id(), ?discard, problem, "state could not be deleted");
        self.untidy = true;
    }

    /// The records of the job's checkpoints.
    pub(super) fn checkpoint_keys(&self) -> Vec<RecordKey> {
        let completed: &alloc::collections::VecDeque<Arc<_>> = &self.checkpoints.completed;
        completed
            .iter()
            .map(|record| RecordKey::Checkpoint(self.id(), record.id))
            .collect()
    }
}
