//! The savepoints of a job at work: what a client's wish leads to, until it has an outcome.
//!
//! A wish is durable before it is acknowledged, and is tried until it is fulfilled, its time is over, or a
//! snapshot of it fails: a task or a coordinator that dies meanwhile costs a try. While one is taken, no other
//! checkpoint of the job is under way. A job that stops with a savepoint does not finish in any other way: the
//! savepoint becomes the last of its checkpoints in the write that makes it durable, so whatever crashes then,
//! its tasks publish what it has, and finish. Flink restarts the job if a task fails at that moment, and
//! publishes once more what the savepoint has.

use super::checkpoints::Aborted;
use super::commands::wait;
use super::cx::Cx;
use super::effect::{Effect, Reply};
use super::execution::Phase;
use super::input::{Discard, SavepointRequest, StorageOutcome};
use super::job::{Job, JobPhase};
use super::journal::Fact;
use super::pending::{Abort, Participant, Pending};
use super::savepoints::{Stage, Wish};
use crate::config::CheckpointConfig;
use crate::id::{CheckpointId, RegionIndex, RequestId, TriggerId};
use crate::message::{AfterSavepoint, SavepointOrder, StateHandle, SubtaskState, ToTaskManager};
use crate::record::{
    CompletedSavepoint, Record, RecordKey, RecordOp, SavepointOutcome, SavepointRecord,
};
use crate::savepoint::{OperatorSnapshots, Savepoint, SubtaskSnapshot};
use crate::state::JobStatus;
use crate::time::Timestamp;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Job {
    /// A client wants a savepoint.
    pub(super) fn savepoint_requested(
        &mut self,
        cx: &mut Cx<'_>,
        request: RequestId,
        wanted: SavepointRequest,
    ) {
        let (job, trigger) = (wanted.job, wanted.trigger);
        if let Some(wish) = self.savepoints.get_mut(trigger) {
            if wish.is_durable {
                let reply = Reply::SavepointAccepted(job, trigger);
                cx.effects.push(Effect::Reply { request, reply });
            } else {
                wait(&mut wish.waiters, request, cx.effects);
            }
            return;
        }
        let full = "too many savepoints of the job are waiting";
        let full = self
            .savepoints
            .is_full()
            .then(|| Reply::Overloaded(String::from(full)));
        if let Some(reply) = self.refuses_snapshots().or(full) {
            cx.effects.push(Effect::Reply { request, reply });
            return;
        }
        let record = SavepointRecord {
            job,
            trigger,
            requested: cx.now,
            directory: wanted.directory,
            after: wanted.after,
            outcome: None,
        };
        let put = Record::Savepoint(Arc::new(record.clone()));
        cx.journal.write(
            Vec::from([RecordOp::Put(put)]),
            Fact::SavepointRequested(job, trigger),
        );
        self.savepoints.add(record, request);
    }

    /// Why no snapshot of the job can be asked for.
    pub(super) fn refuses_snapshots(&self) -> Option<Reply> {
        let job = self.id();
        if matches!(self.phase, JobPhase::Ending(_) | JobPhase::Ended(_)) {
            return Some(Reply::IsEnding(job));
        }
        let has_none = self.graph.config().checkpointing.is_none();
        has_none.then_some(Reply::WithoutCheckpoints(job))
    }

    /// The wish for a savepoint is durable: whoever asked for it is told.
    pub(super) fn savepoint_accepted(&mut self, cx: &mut Cx<'_>, trigger: TriggerId) {
        let (job, until) = (self.id(), self.savepoint_timeout(cx.now));
        let Some(wish) = self.savepoints.get_mut(trigger) else {
            return;
        };
        wish.is_durable = true;
        if wish.stage == Stage::Storing {
            wish.stage = Stage::Wanted { until };
        }
        for request in core::mem::take(&mut wish.waiters) {
            let reply = Reply::SavepointAccepted(job, trigger);
            cx.effects.push(Effect::Reply { request, reply });
        }
    }

    /// When a savepoint whose turn it is from now on is given up.
    pub(super) fn savepoint_timeout(&self, now: Timestamp) -> Timestamp {
        let checkpointing = self.graph.config().checkpointing.as_ref();
        checkpointing.map_or(now, |config| now + config.timeout)
    }

    /// Gives up the savepoint whose turn it is, if it has taken too long or cannot be taken.
    pub(super) fn expire_savepoints(&mut self, cx: &mut Cx<'_>) {
        let Some(wish) = self.savepoints.current() else {
            return;
        };
        let cause = match &wish.stage {
            Stage::Wanted { until } if *until <= cx.now => self.too_late(wish),
            Stage::Failing { cause } => cause.clone(),
            Stage::Wanted { .. }
            | Stage::Storing
            | Stage::Collecting { .. }
            | Stage::Writing(_)
            | Stage::Ending { .. }
            | Stage::Ended => return,
        };
        self.fail_savepoint(cx, cause);
    }

    fn too_late(&self, wish: &Wish) -> String {
        let config = self.graph.config().checkpointing.as_ref();
        let timeout = config.map_or(0, |config| config.timeout.as_millis());
        let problem = wish.problem.as_deref();
        let problem = problem.unwrap_or("not all tasks were running");
        format!("not possible within execution.checkpointing.timeout ({timeout} ms): {problem}")
    }

    /// Takes the savepoint whose turn it is, if that is possible.
    pub(super) fn drive_savepoints(&mut self, cx: &mut Cx<'_>) {
        let graph = self.graph.clone();
        let current = self.savepoints.current();
        let wanted = current.is_some_and(|wish| matches!(wish.stage, Stage::Wanted { .. }));
        if let Some(config) = &graph.config().checkpointing
            && wanted
            && self.can_take_savepoint()
            && self.checkpoints.pending.is_empty()
        {
            self.trigger_savepoint(cx, config);
        }
    }

    /// Whether every task runs, apart from those of regions that have finished, and no region is about to finish.
    pub(super) fn can_take_savepoint(&self) -> bool {
        self.execution.all_run_or_finished()
            && self.checkpoints.finals() == self.execution.finished()
    }

    /// Whether other checkpoints have to wait for a savepoint.
    pub(super) fn holds_back_checkpoints(&self) -> bool {
        let current = self.savepoints.current();
        current.is_some_and(|wish| match wish.stage {
            Stage::Wanted { .. } => self.can_take_savepoint(),
            Stage::Collecting { .. } | Stage::Writing(_) | Stage::Ending { .. } => true,
            Stage::Storing | Stage::Failing { .. } | Stage::Ended => false,
        })
    }

    fn trigger_savepoint(&mut self, cx: &mut Cx<'_>, config: &CheckpointConfig) {
        if self.needs_mark(cx) {
            return;
        }
        let regions = self.execution.region_indices();
        let unfinished =
            |region: &RegionIndex| self.execution.region(*region).phase != Phase::Finished;
        let regions: BTreeSet<RegionIndex> = regions.filter(unfinished).collect();
        let participants: Vec<Participant> = regions
            .iter()
            .map(|region| self.participant(*region))
            .collect();
        let id = self.checkpoints.start(cx.now, config, true, &participants);
        let job = self.id();
        let wish = self.savepoints.current_mut().expect("it is its turn");
        let Stage::Wanted { until } = wish.stage else {
            unreachable!("only what is wanted is triggered");
        };
        wish.stage = Stage::Collecting { id, until };
        let order = SavepointOrder {
            location: Savepoint::location(&wish.record.directory, job, id),
            after: wish.record.after,
        };
        tracing::info!(%job, checkpoint = id.0, location = order.location, "savepoint triggered");
        let timestamp = cx.now;
        for (tm, tasks) in self.sources(&regions) {
            let savepoint = Some(order.clone());
            let trigger = ToTaskManager::TriggerCheckpoint {
                job,
                tasks,
                checkpoint: id,
                timestamp,
                savepoint,
            };
            cx.send(tm, trigger);
        }
    }

    /// All tasks have snapshotted: the savepoint gets its metadata.
    pub(super) fn savepoint_collected(&mut self, cx: &mut Cx<'_>, id: CheckpointId) {
        let savepoint = Arc::new(self.savepoint(id));
        let (job, layout) = (self.id(), self.execution.layout());
        let wish = self.savepoints.current_mut().expect("it is its turn");
        let stops = wish.record.after.stops();
        self.checkpoints
            .store_savepoint(job, layout, id, cx.now, stops);
        let location = Savepoint::location(&wish.record.directory, job, id);
        wish.stage = Stage::Writing(CompletedSavepoint {
            checkpoint: id,
            location: location.clone(),
            size: savepoint.size(),
        });
        cx.effects.push(Effect::WriteSavepoint {
            location,
            savepoint,
        });
    }

    /// What all tasks have acknowledged.
    fn savepoint(&self, id: CheckpointId) -> Savepoint {
        let whole = self.checkpoints.whole(id).expect("all have acknowledged");
        let layout = self.execution.layout();
        // Those of regions that have finished are not run again.
        let finished = SubtaskSnapshot {
            state: SubtaskState::Own(StateHandle::nothing()),
            ended: true,
        };
        let mut subtasks = alloc::vec![finished; layout.subtasks() as usize];
        for region in self.execution.region_indices() {
            let Some((ended, states)) = whole.snapshots(region) else {
                continue;
            };
            for (&position, state) in layout.members(region).iter().zip(states) {
                let state = SubtaskState::Own(state.clone());
                subtasks[position as usize] = SubtaskSnapshot { state, ended };
            }
        }
        Savepoint {
            job: self.id(),
            checkpoint: id,
            triggered: whole.triggered,
            operators: OperatorSnapshots::of_job(&self.graph, layout, &subtasks),
        }
    }

    /// The metadata of a savepoint is written, or could not be.
    pub(super) fn savepoint_written(
        &mut self,
        cx: &mut Cx<'_>,
        id: CheckpointId,
        outcome: &StorageOutcome,
    ) {
        let graph = self.graph.clone();
        let (Some(config), Some(wish)) =
            (&graph.config().checkpointing, self.savepoints.current_mut())
        else {
            return;
        };
        let Stage::Writing(completed) = &wish.stage else {
            return;
        };
        if completed.checkpoint != id {
            return;
        }
        if let StorageOutcome::Failed(problem) = outcome {
            let cause = format!("its metadata could not be written: {problem}");
            wish.stage = Stage::Failing { cause };
            return;
        }
        let ended = wish.ended(SavepointOutcome {
            at: cx.now,
            result: Ok(completed.clone()),
        });
        wish.stage = Stage::Ending {
            ended: ended.clone(),
            completes: Some(id),
        };
        let (job, trigger) = (ended.job, ended.trigger);
        let mut ops = Vec::from([RecordOp::Put(Record::Savepoint(ended))]);
        if let Some(last) = self.checkpoints.being_stored() {
            ops.push(RecordOp::Put(Record::Checkpoint(last.clone())));
            let surplus = self.checkpoints.surplus(config).into_iter();
            ops.extend(surplus.map(|id| RecordOp::Delete(RecordKey::Checkpoint(job, id))));
        }
        cx.journal.write(ops, Fact::SavepointEnded(job, trigger));
    }

    /// The savepoint whose turn it is cannot be taken; the job goes on. What was drained has come to the end of its
    /// data, and goes on from its latest checkpoint, unless nothing comes after that one anyway.
    fn fail_savepoint(&mut self, cx: &mut Cx<'_>, cause: String) {
        self.checkpoints.withdraw_savepoint();
        let this = |pending: &Pending| pending.is_savepoint;
        self.abort_checkpoints(cx, Abort::NotFinalized, &cause, None, this);
        let job = self.id();
        let wish = self.savepoints.current_mut().expect("it is its turn");
        let (trigger, after) = (wish.record.trigger, wish.record.after);
        tracing::warn!(%job, %trigger, cause, "savepoint failed");
        let ended = wish.ended(SavepointOutcome {
            at: cx.now,
            result: Err(cause.clone()),
        });
        wish.stage = Stage::Ending {
            ended: ended.clone(),
            completes: None,
        };
        let put = RecordOp::Put(Record::Savepoint(ended));
        cx.journal
            .write(Vec::from([put]), Fact::SavepointEnded(job, trigger));
        if after == AfterSavepoint::Drain {
            let cause = format!("the job was drained, but its savepoint failed: {cause}");
            self.remember(cx, None, None, cause.clone());
            let regions = self.execution.region_indices();
            let goes_on = |region: &RegionIndex| {
                let deployed = self.execution.region(*region).phase == Phase::Active;
                deployed && !self.checkpoints.is_final(*region)
            };
            let regions = regions.filter(goes_on).collect();
            self.fail_regions(cx, &regions, cause);
        }
    }

    /// A savepoint that was being taken was given up: it is tried again, unless a snapshot has failed.
    pub(super) fn savepoint_aborted(
        &mut self,
        cx: &mut Cx<'_>,
        aborted: &Aborted,
        why: Abort,
        detail: &str,
    ) {
        let job = self.id();
        let Some(wish) = self.savepoints.current_mut() else {
            return;
        };
        let location = Savepoint::location(&wish.record.directory, job, aborted.id);
        cx.effects
            .push(Effect::Discard(Discard::Savepoint { job, location }));
        let Stage::Collecting { until, .. } = wish.stage else {
            return;
        };
        let cause = why.cause(detail);
        wish.stage = match why {
            Abort::Expired | Abort::Declined | Abort::NotFinalized => Stage::Failing { cause },
            Abort::TaskDeclined
            | Abort::Subsumed
            | Abort::TaskFailure
            | Abort::JobStopped
            | Abort::Suspended => {
                wish.problem = Some(cause);
                Stage::Wanted { until }
            }
        };
    }

    /// The outcome of a savepoint is durable.
    pub(super) fn savepoint_ended(&mut self, cx: &mut Cx<'_>, trigger: TriggerId) {
        let Some(wish) = self.savepoints.get_mut(trigger) else {
            return;
        };
        let Stage::Ending { ended, completes } = &wish.stage else {
            return;
        };
        let (completes, after) = (*completes, wish.record.after);
        wish.record = ended.clone();
        let job = self.id();
        let timeout = self.savepoint_timeout(cx.now);
        let forgotten = self.savepoints.end(job, trigger, timeout);
        if !forgotten.is_empty() {
            cx.journal.write(forgotten, Fact::Nothing);
        }
        let Some(id) = completes else {
            return;
        };
        tracing::info!(%job, %trigger, checkpoint = id.0, "savepoint completed");
        if after.stops() {
            self.completed(cx);
            return;
        }
        let history = cx.config.checkpoint_history;
        let regions = self.checkpoints.complete_savepoint(id, history);
        // What sinks have prepared for it is published with the job's next checkpoint.
        self.notify_aborted(cx, id, &regions);
    }

    /// The job ends: savepoints that have no outcome get one, to be written with the job's result.
    pub(super) fn end_savepoints(&mut self, now: Timestamp, status: JobStatus) -> Vec<RecordOp> {
        let mut ops = Vec::new();
        for wish in self.savepoints.iter_mut() {
            let cause = match &wish.stage {
                Stage::Ending { .. } | Stage::Ended => continue,
                Stage::Writing(CompletedSavepoint { location, .. }) => {
                    format!(
                        "the job was {status} before it was known whether {location} is complete"
                    )
                }
                Stage::Failing { cause } => cause.clone(),
                Stage::Storing | Stage::Wanted { .. } | Stage::Collecting { .. } => {
                    format!("the job was {status} before")
                }
            };
            let result = Err(cause);
            let ended = wish.ended(SavepointOutcome { at: now, result });
            ops.push(RecordOp::Put(Record::Savepoint(ended.clone())));
            let completes = None;
            wish.stage = Stage::Ending { ended, completes };
        }
        ops
    }

    /// When the savepoint whose turn it is is given up.
    pub(super) fn savepoint_deadline(&self) -> Option<Timestamp> {
        self.savepoints.current()?.stage.deadline()
    }
}
