//! Failover that restarts nothing: a recovered job waits for its running attempts to be reported.
//!
//! TaskManagers keep their tasks when the coordinator dies and report them when they register with the
//! next one. A region all of whose tasks are reported with one and the same attempt, each slot in one
//! place, is adopted as it is, if that attempt goes on from where the latest checkpoint is. The job stops waiting when every task is accounted for, or at its
//! deadline; then the regions that are not complete restart from the last completed checkpoint, and the
//! rest of the job never knew. Checkpoints that were in flight are aborted; one that completed without
//! anybody being told is announced now.

use super::cx::Cx;
use super::effect::Effect;
use super::execution::Phase;
use super::job::{Failure, Job, JobPhase};
use super::taskmanagers::{SlotRef, SlotUse, TmKey};
use crate::id::{Attempt, CheckpointId, RegionIndex};
use crate::message::{InventoryItem, TaskReport, TaskStateChange, ToTaskManager};
use crate::state::ExecutionState;
use alloc::collections::{BTreeMap, BTreeSet};

/// Attempt numbers beyond this one are not adopted: there must be room for the next ones.
const MAX_ATTEMPT_NUMBER: u32 = 1 << 30;

impl Job {
    /// A TaskManager that has just registered has this attempt; tells whether it is to keep it.
    pub(super) fn reported(&mut self, cx: &mut Cx<'_>, tm: TmKey, item: &InventoryItem) -> bool {
        let reconciling = matches!(self.phase, JobPhase::Reconciling(_));
        (reconciling && self.adopt(cx, tm, item)) || self.is_known_to_have_finished(item)
    }

    /// What has finished is kept by its TaskManager until the job has ended, for the next coordinator.
    fn is_known_to_have_finished(&self, item: &InventoryItem) -> bool {
        item.state == ExecutionState::Finished && self.has_finished(item.attempt)
    }

    /// A task failed while nobody could be told, or of an attempt that is not complete: its region will
    /// not be adopted.
    pub(super) fn failed_before_adoption(
        &mut self,
        cx: &mut Cx<'_>,
        tm: TmKey,
        change: &TaskStateChange,
    ) {
        let TaskReport::Failed { cause } = &change.report else {
            return;
        };
        let Some(position) = self.execution.layout().position(change.attempt.task) else {
            return;
        };
        let region = self.execution.layout().of(position);
        let attempt = change.attempt.attempt;
        let latest = self.execution.region(region).attempt <= Some(attempt);
        if latest && is_earlier(cx, attempt) && self.note_failed(region, Some(attempt), cause) {
            self.remember(cx, Some(position), cx.name(tm), cause.clone());
        }
    }

    /// The restart strategy is asked about this region once the waiting is over, unless a later attempt of it is
    /// reported; tells whether that was not known yet.
    pub(super) fn note_failed(
        &mut self,
        region: RegionIndex,
        attempt: Option<Attempt>,
        cause: &str,
    ) -> bool {
        let JobPhase::Reconciling(reconciling) = &mut self.phase else {
            return false;
        };
        let known = reconciling.failed.get(&region);
        let is_new = known.is_none_or(|known| known.attempt < attempt);
        if is_new {
            let cause = cause.into();
            let failure = Failure { attempt, cause };
            reconciling.failed.insert(region, failure);
        }
        is_new
    }

    /// Failures of attempts before this one do not matter any more: an old leader has answered them.
    fn forget_failures(&mut self, region: RegionIndex, before: Attempt) {
        if let JobPhase::Reconciling(reconciling) = &mut self.phase {
            let failure = reconciling.failed.get(&region);
            if failure.is_some_and(|failure| failure.attempt < Some(before)) {
                reconciling.failed.remove(&region);
            }
        }
    }

    /// Takes a reported attempt over, unless something speaks against it.
    fn adopt(&mut self, cx: &mut Cx<'_>, tm: TmKey, item: &InventoryItem) -> bool {
        let Some(position) = self.execution.layout().position(item.attempt.task) else {
            return false;
        };
        let finished = item.state == ExecutionState::Finished;
        let running = matches!(
            item.state,
            ExecutionState::Initializing | ExecutionState::Running
        );
        let known =
            self.is_alive(position) || self.execution.state(position) == ExecutionState::Finished;
        if known || !(finished || running) || !is_earlier(cx, item.attempt.attempt) {
            return false;
        }
        let region = self.execution.layout().of(position);
        if !self.agree_on_attempt(cx, region, item) {
            return false;
        }
        if finished {
            self.execution.adopt_finished(position);
            return true;
        }
        let at = SlotRef {
            tm,
            slot: item.slot,
        };
        let job_slot = self.execution.slot_of(position);
        let usage = SlotUse {
            job: self.id(),
            job_slot,
        };
        let held = self.execution.slots[job_slot as usize].at;
        let free = held.is_none() && cx.tms.occupy(at, usage);
        if !free && held != Some(at) {
            return false;
        }
        self.execution.occupy(position, item.state, at);
        self.execution.put_end_of_data(position, item.end_of_data);
        true
    }

    /// Whether an attempt goes on from where the latest checkpoint of its region is: it took part in it, or was
    /// restored from it. Another one has not published what this checkpoint has, and would publish it again,
    /// however late it was ordered: an old leader may have gone on ordering.
    fn continues_latest(&self, region: RegionIndex, item: &InventoryItem) -> bool {
        let latest = self.checkpoints.snapshot(region);
        let took_part = latest.and_then(|snapshot| snapshot.attempt);
        let restored = latest.map(|snapshot| snapshot.checkpoint);
        took_part == Some(item.attempt.attempt) || item.restored == restored
    }

    /// All tasks of a region have one attempt: the latest that was reported.
    fn agree_on_attempt(
        &mut self,
        cx: &mut Cx<'_>,
        region: RegionIndex,
        item: &InventoryItem,
    ) -> bool {
        let reported = Some(item.attempt.attempt);
        let agreed = self.execution.region(region).attempt;
        if agreed > reported || !self.continues_latest(region, item) {
            return false;
        }
        if agreed < reported {
            self.evict(cx, region);
            self.execution.set_attempt(region, reported);
            self.forget_failures(region, item.attempt.attempt);
        }
        true
    }

    /// Gives up what was adopted of an attempt that turned out not to be the latest.
    fn evict(&mut self, cx: &mut Cx<'_>, region: RegionIndex) {
        self.stop_region(cx, region);
        let members = self.execution.layout().members(region).to_vec();
        for position in members {
            if self.is_alive(position) {
                self.end_task(cx, position, ExecutionState::Canceled);
            }
            self.execution.reset(position, ExecutionState::Created);
        }
    }

    /// Whether of every region it is known that it can be adopted, or that it cannot.
    pub(super) fn is_accounted_for(&self) -> bool {
        let JobPhase::Reconciling(reconciling) = &self.phase else {
            return false;
        };
        if self.missing_tasks() == 0 {
            return true;
        }
        let known = |region| reconciling.failed.contains_key(&region) || self.is_complete(region);
        !reconciling.failed.is_empty() && self.execution.region_indices().all(known)
    }

    /// The waiting is over: complete regions are adopted, the others restart. Those of which a task
    /// failed ask the restart strategy; those that nobody reported do not, since nothing failed.
    pub(super) fn resolve(&mut self, cx: &mut Cx<'_>) {
        let JobPhase::Reconciling(reconciling) =
            core::mem::replace(&mut self.phase, JobPhase::Running)
        else {
            unreachable!("a job that does not wait for its attempts has nothing to resolve");
        };
        let mut adopted = 0;
        for region in self.execution.region_indices() {
            if self.is_complete(region) {
                adopted += 1;
                let all_finished = self.execution.region(region).alive == 0;
                let phase = if all_finished {
                    Phase::Finished
                } else {
                    Phase::Active
                };
                self.execution.set_phase(region, phase);
            } else {
                self.stop_region(cx, region);
                self.execution
                    .set_phase(region, Phase::Restarting { at: cx.now });
            }
        }
        let (job, regions) = (self.id(), self.execution.layout().count());
        tracing::info!(%job, adopted, regions, "running attempts are accounted for");
        let missing =
            regions - adopted > u32::try_from(reconciling.failed.len()).unwrap_or(u32::MAX);
        self.restarts += u64::from(missing);
        for vertex in &mut self.execution.deployed {
            vertex.get_or_insert(cx.now);
        }
        self.has_run = self.execution.has_attempts();
        self.resume(cx);
        cx.effects.push(Effect::Discard(self.unreferenced()));
        if let Some((_, failure)) = reconciling.failed.first_key_value() {
            let regions = reconciling.failed.keys().copied().collect();
            self.fail_regions(cx, &regions, failure.cause.clone());
        }
    }

    /// Whether every task of a region runs or has finished.
    fn is_complete(&self, region: RegionIndex) -> bool {
        let mut members = self.execution.layout().members(region).iter();
        members.all(|position| self.was_reported(*position))
    }

    /// Whether a task of a job that waits for its attempts runs or has finished.
    pub(super) fn was_reported(&self, position: u32) -> bool {
        is_of_a_report(self.execution.state(position))
    }

    /// How many tasks of such a job do not and have not.
    pub(super) fn missing_tasks(&self) -> u32 {
        let counts = self.execution.total_counts();
        let missing = ExecutionState::ALL
            .iter()
            .filter(|state| !is_of_a_report(**state));
        missing.map(|state| counts.get(*state)).sum()
    }

    /// Tells the adopted tasks what became of their checkpoints.
    fn resume(&mut self, cx: &mut Cx<'_>) {
        let (job, aborted_below) = (self.id(), self.checkpoints.next);
        let mut latest: BTreeMap<Option<CheckpointId>, BTreeSet<RegionIndex>> = BTreeMap::new();
        for region in self.execution.region_indices() {
            let snapshot = self.checkpoints.snapshot(region);
            let completed = snapshot.map(|snapshot| snapshot.checkpoint);
            latest.entry(completed).or_default().insert(region);
        }
        for (completed, regions) in latest {
            for (tm, tasks) in self.tasks_of(&regions) {
                cx.send(
                    tm,
                    ToTaskManager::Resume {
                        job,
                        tasks,
                        completed,
                        aborted_below,
                    },
                );
            }
        }
    }
}

/// Whether an attempt can have been minted by an earlier coordinator; one that cannot is a peer's mistake.
fn is_earlier(cx: &Cx<'_>, attempt: Attempt) -> bool {
    attempt.epoch < cx.epoch && attempt.number < MAX_ATTEMPT_NUMBER
}

/// Whether a task of a job that waits for its attempts is in this state only because its TaskManager said so.
fn is_of_a_report(state: ExecutionState) -> bool {
    match state {
        ExecutionState::Initializing | ExecutionState::Running | ExecutionState::Finished => true,
        ExecutionState::Created
        | ExecutionState::Scheduled
        | ExecutionState::Deploying
        | ExecutionState::Canceling
        | ExecutionState::Canceled
        | ExecutionState::Failed => false,
    }
}
