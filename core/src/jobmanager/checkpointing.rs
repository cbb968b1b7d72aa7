//! The checkpoints of a job at work: when one is triggered, what its acknowledgements lead to, and whom
//! it concerns. A completion is announced by the step that learns that it is durable, never before.
//!
//! All regions are due at the same time, and those that run then take part in one checkpoint. A region that
//! restarts, or is not done with its last one, does not hold up the others: it is owed one, and gets it as soon
//! as it can. Flink suspends the checkpoints of the whole job while any region of it restarts.

use super::checkpoints::{Aborted, Aborting, Completion};
use super::cx::Cx;
use super::effect::Effect;
use super::execution::Phase;
use super::input::Discard;
use super::job::{Job, JobPhase};
use super::journal::Fact;
use super::pending::{Abort, Acknowledged, Participant, Pending};
use super::taskmanagers::TmKey;
use crate::config::CheckpointConfig;
use crate::id::{AttemptId, CheckpointId, RegionIndex, TaskId, VertexIndex};
use crate::message::{Acknowledgement, DeclineReason, StateLocation, ToTaskManager};
use crate::record::{Record, RecordKey, RecordOp};
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Tasks of a job, by the TaskManager that they are on. None are named if the job has but one region: then
/// it is all of them.
pub(super) type Addressed = BTreeMap<TmKey, Vec<TaskId>>;

impl Job {
    /// Triggers what is due.
    pub(super) fn drive_checkpoints(&mut self, cx: &mut Cx<'_>) {
        let graph = self.graph.clone();
        let Some(config) = &graph.config().checkpointing else {
            return;
        };
        self.tick(cx.now, config);
        self.announce_finish(cx);
        let ready = self.ready(cx.now, config);
        if !self.holds_back_checkpoints() && !ready.is_empty() {
            self.trigger(cx, config, &ready);
        }
    }

    /// The time has come for every region that can still complete something.
    fn tick(&mut self, now: Timestamp, config: &CheckpointConfig) {
        if self.checkpoints.due.is_none() && self.execution.any_runs() {
            self.checkpoints.due = Some(now + config.interval);
        }
        // Once nothing is left to complete, nobody waits for it.
        let is_due = self.checkpoints.due.is_some_and(|due| due <= now);
        if is_due && self.checkpoints.unfinished() > 0 {
            let regions = self.execution.region_indices();
            let owed: Vec<_> = regions.filter(|region| !self.is_done(*region)).collect();
            self.checkpoints.owed.extend(owed);
            self.checkpoints.due = Some(now + config.interval);
        }
    }

    /// Whether there is nothing left of a region that a checkpoint could keep.
    pub(super) fn is_done(&self, region: RegionIndex) -> bool {
        let finished = self.execution.region(region).phase == Phase::Finished;
        finished || self.checkpoints.is_final(region)
    }

    /// The regions that can take part in a checkpoint now.
    fn ready(&self, now: Timestamp, config: &CheckpointConfig) -> BTreeSet<RegionIndex> {
        let due = |region: &RegionIndex| {
            let at = self.trigger_deadline(*region, config);
            at.is_some_and(|at| at <= now)
        };
        self.candidates().filter(due).collect()
    }

    /// The regions that are owed a checkpoint, or wait for their final one. If the job is to stop with a
    /// savepoint, that is their final one.
    pub(super) fn candidates(&self) -> impl Iterator<Item = RegionIndex> {
        let ending = self.execution.at_end_of_data();
        let stops = self.savepoints.will_stop();
        let owed = self.checkpoints.owed.iter();
        let owed = owed.filter(|region| !ending.contains(region));
        let ending = ending.iter().filter(move |_| !stops);
        ending.chain(owed).copied()
    }

    /// When a candidate is to be triggered: the periodic one, or, when none of its tasks has input left, the
    /// final one as soon as nothing else is under way. `None` if that depends on something else.
    fn trigger_deadline(
        &self,
        region: RegionIndex,
        config: &CheckpointConfig,
    ) -> Option<Timestamp> {
        if !self.execution.runs(region) || self.checkpoints.is_final(region) {
            return None;
        }
        let line = self.checkpoints.line(region);
        if self.execution.at_end_of_data().contains(&region) {
            (line.under_way == 0).then_some(line.final_not_before)
        } else {
            let at_once = self.demands.concern(region) || self.moving_concerns(region);
            (!line.is_full(config)).then(|| match at_once {
                true => Timestamp(0),
                false => line.paused_until(config.min_pause),
            })
        }
    }

    fn trigger(
        &mut self,
        cx: &mut Cx<'_>,
        config: &CheckpointConfig,
        ready: &BTreeSet<RegionIndex>,
    ) {
        if self.needs_mark(cx) {
            return;
        }
        let participants = ready.iter().map(|region| self.participant(*region));
        let participants: Vec<_> = participants.collect();
        let checkpoint = self.checkpoints.trigger(cx.now, config, &participants);
        let (job, timestamp) = (self.id(), cx.now);
        let regions = participants.len();
        tracing::debug!(%job, checkpoint = checkpoint.0, regions, "checkpoint triggered");
        for (tm, tasks) in self.sources(ready) {
            cx.send(
                tm,
                ToTaskManager::TriggerCheckpoint {
                    job,
                    tasks,
                    checkpoint,
                    timestamp,
                    savepoint: None,
                },
            );
        }
    }

    /// A region that runs, as it takes part in a checkpoint.
    pub(super) fn participant(&self, region: RegionIndex) -> Participant {
        let attempt = self.execution.region(region).attempt;
        Participant {
            region,
            attempt: attempt.expect("a region that runs has an attempt"),
            tasks: self.execution.size(region),
        }
    }

    /// The tasks of these regions that have no inputs.
    pub(super) fn sources(&self, regions: &BTreeSet<RegionIndex>) -> Addressed {
        let edges = self.graph.edges();
        let layout = self.execution.layout();
        let vertices = (0..).map(VertexIndex).take(self.graph.vertices().len());
        let sources = vertices.filter(|vertex| edges.iter().all(|edge| edge.target != *vertex));
        let positions = sources.flat_map(|vertex| layout.positions(vertex));
        self.addressed(positions.filter(|position| regions.contains(&layout.of(*position))))
    }

    /// The tasks of these regions that have not ended.
    pub(super) fn tasks_of(&self, regions: &BTreeSet<RegionIndex>) -> Addressed {
        let layout = self.execution.layout();
        if layout.count() == 1 {
            // The one region holds every slot that the job has.
            let slots = self.execution.slots.iter().filter_map(|slot| slot.at);
            return slots.map(|at| (at.tm, Vec::new())).collect();
        }
        let members = regions.iter().flat_map(|region| layout.members(*region));
        let mut positions: Vec<u32> = members.copied().collect();
        positions.sort_unstable();
        self.addressed(positions.into_iter())
    }

    /// Those tasks at these positions that have not ended.
    fn addressed(&self, positions: impl Iterator<Item = u32>) -> Addressed {
        let layout = self.execution.layout();
        let mut addressed = Addressed::new();
        for position in positions.filter(|position| self.is_alive(*position)) {
            let at = self.execution.location(position);
            let at = at.expect("a task that has not ended is somewhere");
            let tasks = addressed.entry(at.tm).or_default();
            if layout.count() > 1 {
                tasks.push(layout.task(position));
            }
        }
        addressed
    }

    /// Whether the next id must first be made durable as used, which this sees to.
    pub(super) fn needs_mark(&mut self, cx: &mut Cx<'_>) -> bool {
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
        let answer = running.map_or(Acknowledged::Unknown, |position| {
            let (region, place) = self.execution.layout().place(position);
            self.checkpoints.acknowledge(cx.now, region, place, ack)
        });
        match answer {
            Acknowledged::Counted | Acknowledged::Duplicate => {}
            Acknowledged::Unknown => {
                if in_file && self.is_useless(checkpoint) {
                    cx.effects
                        .push(Effect::Discard(Discard::Checkpoint(self.id(), checkpoint)));
                }
            }
            Acknowledged::Last => {
                let position = running.expect("who counts is running");
                let region = BTreeSet::from([self.execution.layout().of(position)]);
                let earlier = |pending: &Pending| pending.id < checkpoint;
                self.abort_checkpoints(cx, Abort::Subsumed, "", Some(&region), earlier);
                self.store(cx);
            }
            Acknowledged::Whole => self.savepoint_collected(cx, checkpoint),
        }
    }

    /// Whether a checkpoint was given up: nothing will ever refer to its state.
    fn is_useless(&self, checkpoint: CheckpointId) -> bool {
        checkpoint < self.checkpoints.next && !self.checkpoints.is_of_use(checkpoint)
    }

    /// Writes what is acknowledged, unless a write is under way: then it has its turn when that has ended.
    pub(super) fn store(&mut self, cx: &mut Cx<'_>) {
        let graph = self.graph.clone();
        let Some(config) = &graph.config().checkpointing else {
            return;
        };
        let job = self.id();
        let layout = self.execution.layout();
        let Some(record) = self.checkpoints.compose(job, layout, cx.now) else {
            return;
        };
        let surplus = self.checkpoints.surplus(config);
        let delete = |id: CheckpointId| RecordOp::Delete(RecordKey::Checkpoint(job, id));
        let mut ops = Vec::from([RecordOp::Put(Record::Checkpoint(record))]);
        ops.extend(surplus.into_iter().map(delete));
        cx.journal.write(ops, Fact::Completed(job));
        self.needs_mark(cx);
    }

    /// A record of checkpoints is durable: what it completes is announced, and what it replaces is deleted.
    pub(super) fn completed(&mut self, cx: &mut Cx<'_>) {
        let graph = self.graph.clone();
        let Some(config) = &graph.config().checkpointing else {
            return;
        };
        let completion = self
            .checkpoints
            .complete(cx.now, config, cx.config.checkpoint_history);
        let (job, record) = (self.id(), &completion.record);
        let regions = completion.regions.len();
        tracing::info!(%job, checkpoint = record.id.0, bytes = record.size(), regions, "checkpoint completed");
        self.last_modified = cx.now;
        for id in &completion.subsumed {
            cx.effects
                .push(Effect::Discard(Discard::Checkpoint(job, *id)));
        }
        self.release_owned(cx, &completion.subsumed);
        if core::mem::take(&mut self.untidy) {
            cx.effects.push(Effect::Discard(self.unreferenced()));
        }
        if matches!(self.phase, JobPhase::Ended(_)) {
            return;
        }
        self.demands_completed(&completion);
        self.look_soon_for_moving(cx.now);
        self.announce_completion(cx, &completion);
        self.store(cx);
    }

    fn announce_completion(&mut self, cx: &mut Cx<'_>, completion: &Completion) {
        let mut groups: BTreeMap<(CheckpointId, bool), BTreeSet<RegionIndex>> = BTreeMap::new();
        for &region in &completion.regions {
            let snapshot = completion.record.region(region);
            let snapshot = snapshot.expect("it has what was stored by it");
            let finish = snapshot.is_final && self.execution.runs_on(region);
            let group = groups.entry((snapshot.checkpoint, finish)).or_default();
            group.insert(region);
        }
        for ((checkpoint, finish), regions) in groups {
            self.announce(cx, checkpoint, finish, &regions);
        }
    }

    /// Everything below the next id that is not retained and not under way.
    pub(super) fn unreferenced(&self) -> Discard {
        let mut keep = self.checkpoints.references();
        keep.extend(self.checkpoints.pending.iter().map(|pending| pending.id));
        Discard::Unreferenced {
            job: self.id(),
            keep: keep.into_iter().collect(),
            next: self.checkpoints.next,
        }
    }

    fn announce(
        &mut self,
        cx: &mut Cx<'_>,
        checkpoint: CheckpointId,
        finish: bool,
        regions: &BTreeSet<RegionIndex>,
    ) {
        if finish {
            for region in regions {
                self.checkpoints.line_mut(*region).finish_announced = true;
            }
            self.abort_checkpoints(cx, Abort::Subsumed, "", Some(regions), |_| true);
        }
        let job = self.id();
        for (tm, tasks) in self.tasks_of(regions) {
            cx.send(
                tm,
                ToTaskManager::NotifyComplete {
                    job,
                    tasks,
                    checkpoint,
                    finish,
                },
            );
        }
    }

    /// Nothing comes after what is durable of a region: its tasks finish.
    fn announce_finish(&mut self, cx: &mut Cx<'_>) {
        if self.checkpoints.finals() == self.execution.finished() {
            return;
        }
        let mut groups: BTreeMap<CheckpointId, BTreeSet<RegionIndex>> = BTreeMap::new();
        let regions = self.execution.region_indices();
        for region in regions.filter(|region| self.execution.runs_on(*region)) {
            let snapshot = self.checkpoints.snapshot(region);
            let snapshot = snapshot.filter(|snapshot| snapshot.is_final);
            let announced = self.checkpoints.line(region).finish_announced;
            if let Some(snapshot) = snapshot.filter(|_| !announced) {
                groups
                    .entry(snapshot.checkpoint)
                    .or_default()
                    .insert(region);
            }
        }
        for (checkpoint, regions) in groups {
            self.announce(cx, checkpoint, true, &regions);
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
        let region = BTreeSet::from([self.execution.layout().of(position)]);
        let this = |pending: &Pending| pending.id == checkpoint;
        let aborted = self.abort_checkpoints(cx, abort, &detail, Some(&region), this);
        if !aborted.is_empty() && abort == Abort::Declined {
            self.remember(
                cx,
                Some(position),
                cx.name(tm),
                format!("checkpoint {}: {message}", checkpoint.0),
            );
        }
        self.check_tolerance(cx, aborted);
    }

    /// Gives up what has taken too long.
    pub(super) fn expire_checkpoints(&mut self, cx: &mut Cx<'_>) {
        if self.checkpoints.expires_at().is_none_or(|at| at > cx.now) {
            return;
        }
        let mut aborted = BTreeSet::new();
        for (id, regions) in self.checkpoints.take_late(cx.now) {
            let this = |pending: &Pending| pending.id == id;
            aborted.extend(self.abort_checkpoints(cx, Abort::Expired, "", Some(&regions), this));
        }
        self.check_tolerance(cx, aborted);
    }

    fn check_tolerance(&mut self, cx: &mut Cx<'_>, regions: BTreeSet<RegionIndex>) {
        let graph = self.graph.clone();
        let Some(config) = &graph.config().checkpointing else {
            return;
        };
        let intolerable = self
            .checkpoints
            .take_intolerable(config, regions.into_iter());
        if !intolerable.is_empty() {
            let cause = String::from("exceeded checkpoint tolerable failure threshold");
            self.remember(cx, None, None, cause.clone());
            self.fail_regions(cx, &intolerable, cause);
        }
    }

    /// Gives up the parts of these regions, or of all, in the checkpoints under way that `which` selects;
    /// tells the regions that had one.
    pub(super) fn abort_checkpoints(
        &mut self,
        cx: &mut Cx<'_>,
        why: Abort,
        detail: &str,
        regions: Option<&BTreeSet<RegionIndex>>,
        which: impl Fn(&Pending) -> bool,
    ) -> BTreeSet<RegionIndex> {
        let aborting = Aborting {
            why,
            detail,
            regions,
            history: cx.config.checkpoint_history,
            now: cx.now,
        };
        let mut concerned = BTreeSet::new();
        for aborted in self.checkpoints.abort(aborting, which) {
            self.tell_aborted(cx, &aborted, why, detail);
            concerned.extend(aborted.regions);
        }
        if let (true, Some(config)) = (
            why.is_snapshot_failure(),
            &self.graph.config().checkpointing,
        ) {
            for region in &concerned {
                self.checkpoints.line_mut(*region).final_not_before = cx.now + config.interval;
            }
        }
        concerned
    }

    fn tell_aborted(&mut self, cx: &mut Cx<'_>, aborted: &Aborted, why: Abort, detail: &str) {
        let (job, checkpoint) = (self.id(), aborted.id);
        tracing::info!(%job, checkpoint = checkpoint.0, abort = ?why, detail, "checkpoint aborted");
        if aborted.is_savepoint {
            self.savepoint_aborted(cx, aborted, why, detail);
        } else {
            self.untidy = true;
            if !self.checkpoints.is_of_use(checkpoint) {
                cx.effects
                    .push(Effect::Discard(Discard::Checkpoint(job, checkpoint)));
            }
            self.demands_aborted(aborted, why, detail);
            self.moving_aborted(&aborted.regions);
        }
        self.notify_aborted(cx, checkpoint, &aborted.regions);
    }

    /// The tasks of these regions are to drop what they have of a checkpoint.
    pub(super) fn notify_aborted(
        &self,
        cx: &mut Cx<'_>,
        checkpoint: CheckpointId,
        regions: &BTreeSet<RegionIndex>,
    ) {
        let job = self.id();
        for (tm, tasks) in self.tasks_of(regions) {
            cx.send(
                tm,
                ToTaskManager::NotifyAborted {
                    job,
                    tasks,
                    checkpoint,
                },
            );
        }
    }

    /// When a checkpoint is to be triggered, or one under way expires.
    pub(super) fn checkpoint_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let config = self.graph.config().checkpointing.as_ref()?;
        let held_back = self.holds_back_checkpoints();
        let deadlines = self.candidates().filter(|_| !held_back);
        let deadlines = deadlines.filter_map(|region| self.trigger_deadline(region, config));
        let due = self.checkpoints.due;
        let due = due.filter(|_| self.checkpoints.unfinished() > 0);
        let trigger = deadlines.chain(due).filter(|at| *at > now).min();
        let expiry = self.checkpoints.expires_at();
        [trigger, expiry].into_iter().flatten().min()
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
