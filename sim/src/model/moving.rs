//! What a job of the model does about TaskManagers that leave: its tasks there go on elsewhere.

use super::Model;
use super::job::{Job, Life, Stage};
use super::orders::{Order, Room};
use super::rescaling::Step;
use super::restarts::Around;
use jobmanager_core::id::SessionId;
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// It has tasks on TaskManagers that leave, or had some.
#[derive(Debug, Clone)]
pub(super) struct Moving {
    ends: Timestamp,
    /// When it looks next.
    pub(super) next: Timestamp,
    pub(super) preparing: Option<Preparing>,
}

/// There are slots, and what moves takes a checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Preparing {
    /// What completed since then is a snapshot from which a region may go on elsewhere.
    since: Timestamp,
    /// Then it need not have one.
    until: Timestamp,
    /// The regions that were made to owe one.
    asked: BTreeSet<usize>,
}

impl Moving {
    /// Half of what is left of its time.
    pub(super) fn half(&self, now: Timestamp) -> Timestamp {
        now + self.ends.since(now) / 2
    }
}

impl Model {
    /// A TaskManager leaves within this time.
    pub(super) fn leaves(&mut self, on: SessionId, within: Duration, coordinator: &Coordinator) {
        let Some(session) = self.sessions.get_mut(&on) else {
            return;
        };
        if std::mem::replace(&mut session.leaves, true) {
            return;
        }
        let there = |job: &&Job| job.sessions().contains(&on);
        let concerned: Vec<_> = self.jobs.values().filter(there).map(|job| job.id).collect();
        for id in concerned {
            self.with(id, coordinator, |job, room| job.is_left(room.now, within));
        }
    }

    /// Who leaves and has no task of anybody is told that it can go, once.
    pub(super) fn dismiss(&mut self) {
        let used: BTreeSet<SessionId> = self.taken().into_iter().map(|(on, _)| on).collect();
        for (on, session) in &mut self.sessions {
            if session.leaves && !session.dismissed && !used.contains(on) {
                session.dismissed = true;
                self.orders.push(Order::Dismiss(*on));
            }
        }
    }
}

impl Job {
    fn is_left(&mut self, now: Timestamp, within: Duration) {
        let ends = now + within;
        let moving = self.moving.get_or_insert(Moving {
            ends,
            next: now,
            preparing: None,
        });
        moving.ends = moving.ends.min(ends);
        moving.next = now;
        if let Step::Idle { next } = &mut self.rescaling.step {
            *next = now;
        }
    }

    /// Whether a region is to take a checkpoint at once, to move then.
    pub(super) fn is_to_move(&self, region: usize) -> bool {
        let last = self.checkpoints.rhythms[region].last_completed;
        let preparing = self.moving.as_ref().and_then(|it| it.preparing.as_ref());
        let asked = preparing.filter(|it| it.asked.contains(&region));
        asked.is_some_and(|preparing| last < Some(preparing.since))
    }

    pub(super) fn drive_moving(&mut self, room: &mut Room<'_>) {
        let Some(mut moving) = self.moving.clone().filter(|it| it.next <= room.now) else {
            return;
        };
        let leaves = |at: &usize| {
            let at = self.tasks[*at].at;
            at.is_some_and(|(on, _)| room.leaving.contains(&on))
        };
        let left: Vec<usize> = (0..self.tasks.len()).filter(leaves).collect();
        if left.is_empty() {
            self.moving = None;
            room.promised.remove(&self.id);
            return;
        }
        let slots: BTreeSet<_> = left.iter().map(|at| self.plan.shares[*at]).collect();
        let regions = left.iter().map(|at| self.plan.region_of[*at]);
        let active = |region: &usize| self.regions[*region].stage == Stage::Active;
        let regions: BTreeSet<usize> = regions.filter(active).collect();
        moving.next = room.now + PAUSE;
        if regions.is_empty() {
            self.moving = Some(moving);
            return;
        }
        if room.free_slots < slots.len() + room.promised_to_others(self.id) {
            room.promised.remove(&self.id);
            moving.preparing = None;
            self.moving = Some(moving);
            return;
        }
        room.promised.insert(self.id, slots.len());
        let half = moving.half(room.now);
        let mut preparing = moving.preparing.take().unwrap_or_else(|| Preparing {
            since: room.now,
            until: half,
            asked: BTreeSet::new(),
        });
        for &region in &regions {
            if self.region_runs(region) && preparing.asked.insert(region) {
                self.checkpoints.rhythms[region].owed = true;
            }
        }
        let is_rescaled = !matches!(self.rescaling.step, Step::Idle { .. });
        let busy = self.turn_is_taken() || is_rescaled || self.checkpoints.writing.is_some();
        let ready = |region: &usize| self.may_stop(*region, preparing.since);
        let waits = preparing.until > room.now && !regions.iter().all(ready);
        if waits && !busy {
            moving.next = moving.next.min(preparing.until);
        }
        moving.preparing = (busy || waits).then_some(preparing);
        self.moving = Some(moving);
        if !busy && !waits {
            self.restart(room, &regions);
        }
    }

    fn may_stop(&self, region: usize, since: Timestamp) -> bool {
        let finished = |at: &usize| self.tasks[*at].state == ExecutionState::Finished;
        let begun = self.region_runs(region) || self.plan.regions[region].iter().any(finished);
        let last = self.checkpoints.rhythms[region].last_completed;
        !self.checkpoints.is_final(region) && (!begun || last >= Some(since))
    }

    /// These regions begin again, though nothing has failed.
    fn restart(&mut self, room: &mut Room<'_>, regions: &BTreeSet<usize>) {
        self.abort_regions(room, regions);
        for &region in regions {
            self.stop_region(room, region);
            self.regions[region].stage = Stage::Restarting(Around::exactly(room.now));
        }
    }

    /// What was on a TaskManager that had said that it leaves is lost: the budget is not asked.
    pub(super) fn is_left_behind(&mut self, room: &mut Room<'_>, regions: &BTreeSet<usize>) {
        if self.life == Life::Running {
            self.restarts += 1;
            self.restart(room, regions);
        }
    }
}
