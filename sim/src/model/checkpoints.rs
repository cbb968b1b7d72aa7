//! The checkpoints of one job of the model.

use super::job::{Job, Life};
use super::orders::{Order, Room, Write};
use super::plan::CheckpointPlan;
use jobmanager_core::id::{Attempt, AttemptId, CheckpointId, SessionId};
use jobmanager_core::jobmanager::Discard;
use jobmanager_core::message::{Acknowledgement, DeclineReason, StateHandle, StateLocation};
use jobmanager_core::record::{CheckpointRecord, RecordKey};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many checkpoint ids are reserved at a time.
const RESERVED: u64 = 16;

/// The mark that a job is submitted with.
pub(super) const FIRST_MARK: CheckpointId = CheckpointId(1 + RESERVED);

/// A checkpoint under way.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) id: CheckpointId,
    triggered: Timestamp,
    deadline: Timestamp,
    attempts: Vec<Attempt>,
    pub(super) acks: Vec<Option<(StateHandle, bool)>>,
    pub(super) storing: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    pub(super) next: CheckpointId,
    pub(super) mark: CheckpointId,
    pub(super) marking: bool,
    pub(super) pending: Vec<Pending>,
    /// The latest last.
    pub(super) retained: Vec<Arc<CheckpointRecord>>,
    due: Option<Timestamp>,
    last_completed: Option<Timestamp>,
    failures: u64,
    final_not_before: Timestamp,
    pub(super) completed: u64,
    pub(super) failed: u64,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Checkpoints {
            next: CheckpointId(1),
            mark: CheckpointId(1),
            marking: false,
            pending: Vec::new(),
            retained: Vec::new(),
            due: None,
            last_completed: None,
            failures: 0,
            final_not_before: Timestamp(0),
            completed: 0,
            failed: 0,
        }
    }
}

/// Why a checkpoint is given up, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Abort {
    counts: bool,
    /// The tasks could not snapshot.
    snapshot_failed: bool,
}

const SUBSUMED: Abort = Abort {
    counts: false,
    snapshot_failed: false,
};

impl Checkpoints {
    /// Those of a job that was recovered.
    pub(super) fn recovered(
        mark: CheckpointId,
        retained: Vec<Arc<CheckpointRecord>>,
        now: Timestamp,
    ) -> Self {
        // The clock of whoever completed it may have been ahead.
        let last_completed = retained.last().map(|latest| latest.completed.min(now));
        let after = retained.last().map(|latest| latest.id.next());
        let mark = after.map_or(mark, |after| after.max(mark));
        Checkpoints {
            next: mark,
            mark,
            last_completed,
            retained,
            ..Checkpoints::default()
        }
    }

    pub(super) fn is_storing(&self) -> bool {
        self.pending.iter().any(|pending| pending.storing)
    }

    fn is_final(&self) -> bool {
        self.retained
            .last()
            .is_some_and(|latest| latest.end_of_data)
    }
}

impl Job {
    pub(super) fn drive_checkpoints(&mut self, room: &mut Room<'_>) {
        let Some(config) = self.plan.checkpoints else {
            return;
        };
        let running = self.all_in(ExecutionState::Running);
        if running && self.checkpoints.due.is_none() {
            self.checkpoints.due = Some(room.now + config.interval);
        }
        let at_the_end = self.is_at_the_end();
        let is_final = self.checkpoints.is_final();
        if at_the_end && is_final {
            let latest = self.checkpoints.retained.last().map(|latest| latest.id);
            if let Some(latest) = latest.filter(|_| !self.finish_announced) {
                self.announce(room, latest, true);
            }
            return;
        }
        let due = if at_the_end {
            let free = self.checkpoints.pending.is_empty();
            free.then_some(self.checkpoints.final_not_before)
        } else {
            self.periodic(&config).filter(|_| !is_final)
        };
        if running && due.is_some_and(|due| due <= room.now) {
            self.trigger(room, &config);
        }
    }

    /// When the next periodic checkpoint may be triggered.
    fn periodic(&self, config: &CheckpointPlan) -> Option<Timestamp> {
        let checkpoints = &self.checkpoints;
        let free = (checkpoints.pending.len() as u64) < config.max_concurrent;
        let rested = checkpoints.last_completed.map(|at| at + config.min_pause);
        let due = checkpoints.due.filter(|_| free)?;
        Some(rested.map_or(due, |rested| rested.max(due)))
    }

    fn trigger(&mut self, room: &mut Room<'_>, config: &CheckpointPlan) {
        if self.needs_mark(room) {
            return;
        }
        let id = self.checkpoints.next;
        self.checkpoints.next = id.next();
        let attempts = self.regions.iter().filter_map(|region| region.attempt);
        self.checkpoints.pending.push(Pending {
            id,
            triggered: room.now,
            deadline: room.now + config.timeout,
            attempts: attempts.collect(),
            acks: vec![None; self.tasks.len()],
            storing: false,
        });
        self.checkpoints.due = Some(room.now + config.interval);
        let of_sources = self.tasks.iter().zip(&self.plan.is_source);
        let sources: BTreeSet<SessionId> = of_sources
            .filter(|(_, is_source)| **is_source)
            .filter_map(|(task, _)| Some(task.at?.0))
            .collect();
        for on in sources {
            room.orders.push(Order::Trigger(on, self.id, id));
        }
    }

    /// Whether the next id must be reserved first, which this sees to.
    fn needs_mark(&mut self, room: &mut Room<'_>) -> bool {
        let needed = self.checkpoints.next >= self.checkpoints.mark;
        if needed && !self.checkpoints.marking {
            self.checkpoints.marking = true;
            let next = CheckpointId(self.checkpoints.next.0 + RESERVED);
            room.writes.push(vec![Write::Mark(self.id, next)]);
            self.untidy = true;
        }
        needed
    }

    pub(super) fn marked(&mut self, next: CheckpointId) {
        self.checkpoints.marking = false;
        self.checkpoints.mark = self.checkpoints.mark.max(next);
    }

    pub(super) fn acknowledged(
        &mut self,
        room: &mut Room<'_>,
        on: SessionId,
        ack: &Acknowledgement,
    ) {
        let id = ack.checkpoint;
        let position = self.current(ack.attempt, on);
        let runs = |at: &usize| self.tasks[*at].state == ExecutionState::Running;
        let position = position.filter(runs);
        let mut all = self.checkpoints.pending.iter_mut();
        let pending = all.find(|pending| pending.id == id);
        let Some((position, pending)) = position.zip(pending) else {
            if matches!(ack.state.location, StateLocation::File(_)) && self.is_useless(id) {
                let order = Discard::Checkpoint(self.id, id);
                room.orders.push(Order::Discard(order));
            }
            return;
        };
        if pending.acks[position].is_some() {
            return;
        }
        pending.acks[position] = Some((ack.state.clone(), ack.end_of_data));
        if pending.acks.iter().all(Option::is_some) {
            self.complete(room, id);
        }
    }

    fn is_useless(&self, id: CheckpointId) -> bool {
        let mut pending = self.checkpoints.pending.iter().map(|pending| pending.id);
        let mut retained = self.checkpoints.retained.iter().map(|record| record.id);
        let known = pending.any(|known| known == id) || retained.any(|known| known == id);
        id < self.checkpoints.next && !known
    }

    /// The last acknowledgement came: exactly one write, with which what is no longer retained goes.
    fn complete(&mut self, room: &mut Room<'_>, id: CheckpointId) {
        self.abort(room, SUBSUMED, |pending| pending.id < id);
        let Some(config) = self.plan.checkpoints else {
            return;
        };
        let job = self.id;
        let mut all = self.checkpoints.pending.iter_mut();
        let Some(pending) = all.find(|pending| pending.id == id) else {
            return;
        };
        pending.storing = true;
        let record = record(job, pending, room.now);
        let retained = self.checkpoints.retained.iter().map(|record| record.id);
        let storing = self.checkpoints.pending.iter().filter(|p| p.storing);
        let kept: Vec<_> = retained.chain(storing.map(|pending| pending.id)).collect();
        let surplus = (kept.len() as u64).saturating_sub(config.retained);
        let mut write = vec![Write::Checkpoint(Arc::new(record))];
        let gone = kept.into_iter().zip(0..surplus);
        write.extend(gone.map(|(id, _)| Write::Delete(RecordKey::Checkpoint(job, id))));
        room.writes.push(write);
        self.needs_mark(room);
    }

    /// It is durable: those that took part are told, and what it replaces is deleted.
    pub(super) fn completed(&mut self, room: &mut Room<'_>, record: &Arc<CheckpointRecord>) {
        let Some(config) = self.plan.checkpoints else {
            return;
        };
        let checkpoints = &mut self.checkpoints;
        checkpoints
            .pending
            .retain(|pending| pending.id != record.id);
        checkpoints.retained.push(record.clone());
        checkpoints.last_completed = Some(room.now);
        checkpoints.failures = 0;
        checkpoints.completed += 1;
        while checkpoints.retained.len() as u64 > config.retained {
            let gone = checkpoints.retained.remove(0);
            let order = Discard::Checkpoint(self.id, gone.id);
            room.orders.push(Order::Discard(order));
        }
        if std::mem::take(&mut self.untidy) {
            let rest = self.unreferenced();
            room.orders.push(Order::Discard(rest));
        }
        if !matches!(self.life, Life::Ended(..)) {
            let finish = record.end_of_data && self.is_at_the_end();
            self.announce(room, record.id, finish);
        }
    }

    fn announce(&mut self, room: &mut Room<'_>, id: CheckpointId, finish: bool) {
        if finish {
            self.finish_announced = true;
            self.abort(room, SUBSUMED, |_| true);
        }
        for on in self.sessions() {
            room.orders.push(Order::Complete(on, self.id, id, finish));
        }
    }

    pub(super) fn unreferenced(&self) -> Discard {
        let retained = self.checkpoints.retained.iter().map(|record| record.id);
        let pending = self.checkpoints.pending.iter().map(|pending| pending.id);
        Discard::Unreferenced {
            job: self.id,
            keep: retained.chain(pending).collect(),
            next: self.checkpoints.next,
        }
    }

    pub(super) fn declined(
        &mut self,
        room: &mut Room<'_>,
        on: SessionId,
        attempt: AttemptId,
        id: CheckpointId,
        reason: DeclineReason,
    ) {
        if self.current(attempt, on).is_none() {
            return;
        }
        let abort = match reason {
            DeclineReason::TaskNotReady => Abort {
                counts: false,
                snapshot_failed: true,
            },
            DeclineReason::AsyncException => Abort {
                counts: true,
                snapshot_failed: true,
            },
            DeclineReason::Subsumed => SUBSUMED,
        };
        self.abort(room, abort, |pending| pending.id == id);
        self.check_tolerance(room);
    }

    pub(super) fn expire_checkpoints(&mut self, room: &mut Room<'_>) {
        let now = room.now;
        let late = |pending: &Pending| !pending.storing && pending.deadline <= now;
        if self.checkpoints.pending.iter().any(late) {
            let abort = Abort {
                counts: true,
                snapshot_failed: true,
            };
            self.abort(room, abort, late);
            self.check_tolerance(room);
        }
    }

    fn check_tolerance(&mut self, room: &mut Room<'_>) {
        let Some(config) = &self.plan.checkpoints else {
            return;
        };
        if self.checkpoints.failures > config.tolerable {
            self.checkpoints.failures = 0;
            let all = (0..self.regions.len()).collect();
            self.fail_regions(room, &all);
        }
    }

    /// Everything under way is given up, but what is being stored: nobody knows what became of that.
    pub(super) fn abort_all(&mut self, room: &mut Room<'_>) {
        self.abort(room, SUBSUMED, |_| true);
    }

    fn abort(&mut self, room: &mut Room<'_>, abort: Abort, which: impl Fn(&Pending) -> bool) {
        let Some(config) = &self.plan.checkpoints else {
            return;
        };
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.checkpoints.pending)
            .into_iter()
            .partition(|pending| !pending.storing && which(pending));
        self.checkpoints.pending = kept;
        if gone.is_empty() {
            return;
        }
        if abort.snapshot_failed {
            self.checkpoints.final_not_before = room.now + config.interval;
        }
        self.untidy = true;
        for pending in gone {
            self.checkpoints.failed += 1;
            self.checkpoints.failures += u64::from(abort.counts);
            let order = Discard::Checkpoint(self.id, pending.id);
            room.orders.push(Order::Discard(order));
            for on in self.sessions() {
                room.orders.push(Order::Aborted(on, self.id, pending.id));
            }
        }
    }
}

fn record(job: jobmanager_core::id::JobId, pending: &Pending, now: Timestamp) -> CheckpointRecord {
    let acks = pending.acks.iter().flatten();
    CheckpointRecord {
        job,
        id: pending.id,
        triggered: pending.triggered,
        completed: now,
        end_of_data: acks.clone().all(|(_, end_of_data)| *end_of_data),
        attempts: pending.attempts.clone(),
        states: acks.map(|(state, _)| state.clone()).collect(),
    }
}
