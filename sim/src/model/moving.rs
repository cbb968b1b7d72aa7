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
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// It has tasks on TaskManagers that leave, or had some.
#[derive(Debug, Clone, Default)]
pub(super) struct Moving {
    /// When it looks next.
    pub(super) next: Timestamp,
    pub(super) preparing: Option<Preparing>,
    /// The regions that have stopped, and were not tried to be placed since.
    pub(super) stopped: BTreeSet<usize>,
}

/// There are slots, and what moves takes a checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Preparing {
    /// What completed since then is a snapshot from which a region may go on elsewhere.
    since: Timestamp,
    /// Then it need not have one.
    until: Timestamp,
    /// The regions that were made to owe one.
    pub(super) asked: BTreeSet<usize>,
}

impl Model {
    /// A TaskManager leaves within this time.
    pub(super) fn leaves(&mut self, on: SessionId, within: Duration, coordinator: &Coordinator) {
        let Some(session) = self.sessions.get_mut(&on) else {
            return;
        };
        session.dismissed = false;
        if session.leaves.is_some() {
            return;
        }
        session.leaves = Some(self.now + within);
        let there = |job: &&Job| job.sessions().contains(&on);
        let concerned: Vec<_> = self.jobs.values().filter(there).map(|job| job.id).collect();
        for id in concerned {
            self.with(id, coordinator, |job, room| job.is_left(room.now));
        }
    }

    /// Nothing is kept any more for those that have stopped to move, once they had their turn.
    pub(super) fn serve(&mut self) {
        for job in self.jobs.values_mut() {
            if job.is_served() {
                self.promised.remove(&job.id);
            }
        }
    }

    /// Who leaves and has no task of anybody is told that it can go, once.
    pub(super) fn dismiss(&mut self) {
        let used: BTreeSet<SessionId> = self.taken().into_iter().map(|(on, _)| on).collect();
        for (on, session) in &mut self.sessions {
            if session.leaves.is_some() && !session.dismissed && !used.contains(on) {
                session.dismissed = true;
                self.orders.push(Order::Dismiss(*on));
            }
        }
    }
}

impl Job {
    fn is_left(&mut self, now: Timestamp) {
        self.moving.get_or_insert_with(Moving::default).next = now;
        if let Step::Idle { next } = &mut self.rescaling.step {
            *next = now;
        }
    }

    /// Half of the time that is left where the first of its TaskManagers leaves.
    pub(super) fn half(&self, room: &Room<'_>) -> Option<Timestamp> {
        let on = self.sessions();
        let ends = on.iter().filter_map(|on| room.leaving.get(on)).min()?;
        Some(room.now + ends.since(room.now) / 2)
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
            at.is_some_and(|(on, _)| room.leaving.contains_key(&on))
        };
        let left: Vec<usize> = (0..self.tasks.len()).filter(leaves).collect();
        if left.is_empty() && moving.stopped.is_empty() {
            return self.moves_no_more(room);
        }
        let slots: BTreeSet<_> = left.iter().map(|at| self.plan.shares[*at]).collect();
        let regions = left.iter().map(|at| self.plan.region_of[*at]);
        let active = |region: &usize| self.regions[*region].stage == Stage::Active;
        let regions: BTreeSet<usize> = regions.filter(active).collect();
        moving.next = room.now + PAUSE;
        if regions.is_empty() || !moving.stopped.is_empty() {
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
        let half = self.half(room).filter(|_| self.plan.checkpoints.is_some());
        let half = half.unwrap_or(room.now);
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
        let is_over = preparing.until <= room.now;
        let is_stored = regions
            .iter()
            .any(|region| self.checkpoints.is_storing(*region));
        let is_saved = self.turn_is_taken() && !is_over;
        let busy = is_rescaled || is_stored || is_saved;
        let ready = |region: &usize| self.may_stop(*region, preparing.since);
        let waits = !is_over && !regions.iter().all(ready);
        if waits && !busy {
            moving.next = moving.next.min(preparing.until);
        }
        if busy || waits {
            moving.preparing = Some(preparing);
            self.moving = Some(moving);
            return;
        }
        room.promised.insert(self.id, self.vacated_by(&regions));
        moving.stopped.clone_from(&regions);
        self.moving = Some(moving);
        self.restart(room, &regions);
    }

    /// Nothing of it is where somebody leaves, or it ends.
    pub(super) fn moves_no_more(&mut self, room: &mut Room<'_>) {
        self.moving = None;
        room.promised.remove(&self.id);
    }

    /// It looks in this step.
    pub(super) fn look_for_room(&mut self, now: Timestamp) {
        if let Some(moving) = &mut self.moving {
            moving.next = now;
        }
    }

    /// How many slots nobody else is in than tasks of these regions.
    fn vacated_by(&self, regions: &BTreeSet<usize>) -> usize {
        let mut used: BTreeMap<_, bool> = BTreeMap::new();
        for (at, task) in self
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, it)| it.at.is_some())
        {
            let own = regions.contains(&self.plan.region_of[at]);
            *used.entry(task.at).or_insert(true) &= own;
        }
        used.values().filter(|own| **own).count()
    }

    /// What has stopped waits for its slots in the line now, or has them.
    pub(super) fn is_served(&mut self) -> bool {
        let Some(moving) = &mut self.moving else {
            return false;
        };
        let stops = |at: &usize| matches!(self.regions[*at].stage, Stage::Restarting(_));
        if moving.stopped.is_empty() || moving.stopped.iter().any(stops) {
            return false;
        }
        moving.stopped.clear();
        true
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
