//! What becomes of the parts that regions have in checkpoints: acknowledged, written, announced, given up.

use super::checkpoints::{Part, Pending, Progress};
use super::job::Job;
use super::orders::{Order, Room, Write};
use jobmanager_core::id::{AttemptId, CheckpointId, SessionId};
use jobmanager_core::jobmanager::Discard;
use jobmanager_core::message::{Acknowledgement, DeclineReason, StateLocation, SubtaskState};
use jobmanager_core::record::{CheckpointRecord, RecordKey, RegionSnapshot};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why a part is given up, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Abort {
    counts: bool,
    /// The tasks could not snapshot.
    snapshot_failed: bool,
    /// A later one is acknowledged.
    has_successor: bool,
}

const SUBSUMED: Abort = Abort {
    counts: false,
    snapshot_failed: false,
    has_successor: true,
};

/// Tasks of it are gone, or will be.
const LOST: Abort = Abort {
    has_successor: false,
    ..SUBSUMED
};

const FAILED: Abort = Abort {
    counts: true,
    snapshot_failed: true,
    has_successor: false,
};

impl Job {
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
        let plan = self.plan.clone();
        let region = position.map(|position| plan.region_of[position]);
        let mut all = self.checkpoints.pending.iter_mut();
        let pending = all.find(|pending| pending.id == id);
        let is_savepoint = pending.as_ref().is_some_and(|pending| pending.is_savepoint);
        let part = pending.and_then(|pending| {
            let parts = pending.parts.iter_mut();
            let mut parts = parts.filter(|part| part.progress == Progress::Collecting);
            let part = parts.find(|part| Some(part.region) == region)?;
            Some((part, &mut pending.acknowledged))
        });
        let Some((position, (part, acknowledged))) = position.zip(part) else {
            if matches!(ack.state.location, StateLocation::File(_)) && self.is_useless(id) {
                let order = Discard::Checkpoint(self.id, id);
                room.orders.push(Order::Discard(order));
            }
            return;
        };
        if part.acks.contains_key(&position) {
            return;
        }
        let snapshot = (ack.state.clone(), ack.state.end_of_data);
        part.acks.insert(position, snapshot);
        part.last_ack = Some(room.now);
        *acknowledged += 1;
        if part.acks.len() == plan.regions[part.region].len() {
            part.progress = Progress::Acknowledged;
            let region = part.region;
            if is_savepoint {
                let is_acknowledged = |part: &Part| part.progress == Progress::Acknowledged;
                if self.checkpoints.parts().all(is_acknowledged) {
                    self.savepoint_collected(room, id);
                }
                return;
            }
            self.abort(room, SUBSUMED, |pending, part| {
                pending.id < id && part.region == region
            });
            self.compose(room);
        }
    }

    pub(super) fn is_useless(&self, id: CheckpointId) -> bool {
        let checkpoints = &self.checkpoints;
        let mut pending = checkpoints.pending.iter();
        let mut records = checkpoints.retained.iter().chain(&checkpoints.writing);
        id < checkpoints.next
            && !pending.any(|pending| pending.id == id)
            && !records.any(|record| record.references().contains(&id))
    }

    /// What every region has completed last is written, if a region has completed something and nothing is
    /// being written: exactly one write, with which what is no longer retained goes.
    pub(super) fn compose(&mut self, room: &mut Room<'_>) {
        let Some(config) = self.plan.checkpoints else {
            return;
        };
        let is_acknowledged = |part: &Part| part.progress == Progress::Acknowledged;
        if self.checkpoints.writing.is_some() || !self.checkpoints.parts().any(is_acknowledged) {
            return;
        }
        let record = Arc::new(self.composition(room.now));
        for pending in &mut self.checkpoints.pending {
            for part in &mut pending.parts {
                if part.progress == Progress::Acknowledged {
                    part.progress = Progress::Storing;
                }
            }
        }
        self.checkpoints.writing = Some(record.clone());
        let retained = self.checkpoints.retained.iter().map(|record| record.id);
        let kept: BTreeSet<CheckpointId> = retained.chain([record.id]).collect();
        let surplus = (kept.len() as u64).saturating_sub(config.retained);
        let mut write = vec![Write::Checkpoint(record)];
        let gone = kept.into_iter().zip(0..surplus);
        write.extend(gone.map(|(id, _)| Write::Delete(RecordKey::Checkpoint(self.id, id))));
        room.writes.push(write);
        self.needs_mark(room);
    }

    /// The latest record with every part in it that all of a region's tasks have acknowledged.
    fn composition(&self, now: Timestamp) -> CheckpointRecord {
        let base = self.checkpoints.retained.last();
        let mut regions = vec![None; self.regions.len()];
        let mut states = vec![SubtaskState::nothing(); self.tasks.len()];
        let mut triggered = now;
        if let Some(base) = base {
            regions.clone_from(&base.regions);
            states.clone_from(&base.states);
            triggered = base.triggered;
        }
        for pending in &self.checkpoints.pending {
            for part in &pending.parts {
                if part.progress != Progress::Acknowledged {
                    continue;
                }
                regions[part.region] = Some(RegionSnapshot {
                    checkpoint: pending.id,
                    attempt: Some(part.attempt),
                    is_final: part.acks.values().all(|(_, end_of_data)| *end_of_data),
                });
                for (position, (state, _)) in &part.acks {
                    states[*position] = SubtaskState::Own(state.clone());
                }
                if base.is_none_or(|base| base.id <= pending.id) {
                    triggered = pending.triggered;
                }
            }
        }
        let snapshots = regions.iter().flatten();
        let latest = snapshots.map(|snapshot| snapshot.checkpoint).max();
        CheckpointRecord {
            job: self.id,
            id: latest.unwrap_or(self.checkpoints.next),
            triggered,
            completed: now,
            inherited: inherited(base.map(Arc::as_ref), &regions),
            regions,
            states,
        }
    }

    /// It is durable: those that took part are told, and what it replaces is deleted.
    pub(super) fn completed(&mut self, room: &mut Room<'_>, record: &Arc<CheckpointRecord>) {
        let Some(config) = self.plan.checkpoints else {
            return;
        };
        let before = self.referenced();
        let checkpoints = &mut self.checkpoints;
        checkpoints.writing = None;
        checkpoints.retained.retain(|known| known.id != record.id);
        checkpoints.retained.push(record.clone());
        let surplus = checkpoints.retained.len() as u64;
        let surplus = surplus.saturating_sub(config.retained);
        for _ in 0..surplus {
            checkpoints.retained.remove(0);
        }
        let mut written = BTreeSet::new();
        for pending in &mut checkpoints.pending {
            let stored = pending.parts.iter();
            let stored = stored.filter(|part| part.progress == Progress::Storing);
            let stored: BTreeSet<usize> = stored.map(|part| part.region).collect();
            pending
                .parts
                .retain(|part| part.progress != Progress::Storing);
            if !stored.is_empty() && !pending.has_completed {
                pending.has_completed = true;
                checkpoints.completed += 1;
            }
            written.extend(stored);
        }
        checkpoints
            .pending
            .retain(|pending| !pending.parts.is_empty());
        for &region in &written {
            checkpoints.rhythms[region].last_completed = Some(room.now);
            checkpoints.rhythms[region].failures = 0;
        }
        for id in before {
            if self.is_useless(id) {
                let order = Discard::Checkpoint(self.id, id);
                room.orders.push(Order::Discard(order));
            }
        }
        self.outgrow_claimed(room);
        if std::mem::take(&mut self.untidy) {
            let rest = self.unreferenced();
            room.orders.push(Order::Discard(rest));
        }
        if !self.has_ended() {
            self.look_for_room(room.now);
            self.demands_completed(&written, record);
            self.announce(room, &written);
            self.compose(room);
        }
    }

    /// The checkpoints whose files retained records need.
    pub(super) fn referenced(&self) -> BTreeSet<CheckpointId> {
        let retained = self.checkpoints.retained.iter();
        retained.flat_map(|record| record.references()).collect()
    }

    pub(super) fn unreferenced(&self) -> Discard {
        let pending = self.checkpoints.pending.iter().map(|pending| pending.id);
        let keep: BTreeSet<CheckpointId> = pending.chain(self.referenced()).collect();
        Discard::Unreferenced {
            job: self.id,
            keep: keep.into_iter().collect(),
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
        let Some(position) = self.current(attempt, on) else {
            return;
        };
        let abort = match reason {
            DeclineReason::TaskNotReady => Abort {
                snapshot_failed: true,
                ..LOST
            },
            DeclineReason::AsyncException => FAILED,
            DeclineReason::Subsumed => SUBSUMED,
        };
        let region = self.plan.region_of[position];
        self.abort(room, abort, |pending, part| {
            pending.id == id && part.region == region
        });
        self.check_tolerance(room);
    }

    pub(super) fn expire_checkpoints(&mut self, room: &mut Room<'_>) {
        let now = room.now;
        let Some(config) = self.plan.checkpoints else {
            return;
        };
        let late = |pending: &Pending, part: &Part| {
            let parts = pending.parts.iter();
            let of_all = parts.filter_map(|part| part.last_ack).max();
            let last = if pending.is_savepoint {
                of_all
            } else {
                part.last_ack
            };
            let patient = last.unwrap_or(pending.triggered) + config.timeout;
            let expires = patient.min(pending.triggered + config.longest);
            part.progress == Progress::Collecting && expires <= now
        };
        self.abort(room, FAILED, late);
        self.check_tolerance(room);
    }

    /// A region of which too many checkpoints failed fails itself.
    fn check_tolerance(&mut self, room: &mut Room<'_>) {
        let Some(config) = &self.plan.checkpoints else {
            return;
        };
        let mut failed = BTreeSet::new();
        for (region, rhythm) in self.checkpoints.rhythms.iter_mut().enumerate() {
            if rhythm.failures > config.tolerable {
                rhythm.failures = 0;
                failed.insert(region);
            }
        }
        if !failed.is_empty() {
            self.fail_regions(room, &failed);
        }
    }

    /// Everything under way is given up, but what is being stored: nobody knows what became of that.
    pub(super) fn abort_all(&mut self, room: &mut Room<'_>) {
        self.abort(room, LOST, |_, _| true);
    }

    /// As [`Self::abort_all`], of these regions.
    pub(super) fn abort_regions(&mut self, room: &mut Room<'_>, regions: &BTreeSet<usize>) {
        self.abort(room, LOST, |_, part| regions.contains(&part.region));
    }

    /// The savepoint under way is given up, for good.
    pub(super) fn abort_savepoint(&mut self, room: &mut Room<'_>) {
        let failed = Abort {
            counts: true,
            ..LOST
        };
        self.abort(room, failed, |pending, _| pending.is_savepoint);
    }

    fn abort(
        &mut self,
        room: &mut Room<'_>,
        abort: Abort,
        which: impl Fn(&Pending, &Part) -> bool,
    ) {
        let Some(config) = self.plan.checkpoints else {
            return;
        };
        for mut pending in std::mem::take(&mut self.checkpoints.pending) {
            let (id, savepoint) = (pending.id, pending.is_savepoint);
            let parts = pending.parts.iter();
            // A savepoint is given up as a whole.
            let all = pending.is_savepoint && parts.clone().any(|part| which(&pending, part));
            let gone: BTreeSet<usize> = parts
                .filter(|part| part.progress != Progress::Storing)
                .filter(|part| all || which(&pending, part))
                .map(|part| part.region)
                .collect();
            pending.parts.retain(|part| !gone.contains(&part.region));
            if !pending.parts.is_empty() {
                self.checkpoints.pending.push(pending);
            } else if !pending.has_completed {
                self.checkpoints.failed += 1;
            }
            if gone.is_empty() {
                continue;
            }
            let is_savepoint = savepoint;
            self.untidy |= !is_savepoint;
            for &region in &gone {
                let rhythm = &mut self.checkpoints.rhythms[region];
                rhythm.failures += u64::from(abort.counts && !is_savepoint);
                if abort.snapshot_failed {
                    rhythm.final_not_before = room.now + config.interval;
                }
            }
            if is_savepoint {
                self.savepoint_given_up(room, id, abort.counts);
            } else {
                if self.is_useless(id) {
                    let order = Discard::Checkpoint(self.id, id);
                    room.orders.push(Order::Discard(order));
                }
                let moving = self.moving.as_mut();
                if let Some(preparing) = moving.and_then(|moving| moving.preparing.as_mut()) {
                    preparing.asked.retain(|region| !gone.contains(region));
                }
                if !abort.has_successor {
                    self.demands_aborted(id, &gone, abort.counts);
                }
            }
            for (on, tasks) in self.where_they_are(&gone, |_| true) {
                let order = Order::Aborted(on, self.id, tasks, id);
                room.orders.push(order);
            }
        }
    }
}

/// The files that a record needs beside those of its own snapshots: as long as a region has none since the job
/// began, or its parallelism changed.
pub(super) fn inherited(
    base: Option<&CheckpointRecord>,
    regions: &[Option<RegionSnapshot>],
) -> Vec<CheckpointId> {
    let own = regions.iter().flatten().all(|it| it.attempt.is_some());
    let base = base.filter(|_| !own);
    base.map(|base| base.inherited.clone()).unwrap_or_default()
}
