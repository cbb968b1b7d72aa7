//! How a recovered job of the model takes over what its TaskManagers report.

use super::job::{Job, Life, Stage};
use super::orders::{Order, Room};
use super::restarts::Around;
use jobmanager_core::id::{AttemptId, SessionId};
use jobmanager_core::message::InventoryItem;
use jobmanager_core::state::ExecutionState;

impl Job {
    /// A TaskManager that has just registered has this; tells whether it may keep it.
    pub(super) fn reported(
        &mut self,
        room: &mut Room<'_>,
        on: SessionId,
        item: &InventoryItem,
        is_free: bool,
    ) -> bool {
        let reconciling = matches!(self.life, Life::Reconciling { .. });
        let adopted = reconciling && self.adopt(room, on, item, is_free);
        let ended = item.state == ExecutionState::Finished;
        adopted || ended && self.has_finished(item.attempt)
    }

    /// Whether the task has finished as this attempt, which is the last one.
    pub(super) fn has_finished(&self, attempt: AttemptId) -> bool {
        let Some(position) = self.plan.position(attempt.task) else {
            return false;
        };
        let region = &self.regions[self.plan.region_of[position]];
        self.tasks[position].state == ExecutionState::Finished
            && region.attempt == Some(attempt.attempt)
    }

    fn adopt(
        &mut self,
        room: &mut Room<'_>,
        on: SessionId,
        item: &InventoryItem,
        is_free: bool,
    ) -> bool {
        let Some(position) = self.plan.position(item.attempt.task) else {
            return false;
        };
        let finished = item.state == ExecutionState::Finished;
        let runs = matches!(
            item.state,
            ExecutionState::Initializing | ExecutionState::Running
        );
        let state = self.tasks[position].state;
        let known = self.is_alive(position) || state == ExecutionState::Finished;
        if known || !(finished || runs) || !room.is_earlier(item.attempt.attempt) {
            return false;
        }
        if !self.agrees(room, position, item) {
            return false;
        }
        if finished {
            self.tasks[position].state = ExecutionState::Finished;
            return true;
        }
        let share = self.plan.shares[position];
        let shared = (0..self.tasks.len()).filter(|other| self.plan.shares[*other] == share);
        let held = shared.filter_map(|other| self.tasks[other].at).next();
        let at = (on, item.slot);
        if !(held == Some(at) || (held.is_none() && is_free)) {
            return false;
        }
        let task = &mut self.tasks[position];
        task.state = item.state;
        task.at = Some(at);
        task.end_of_data = item.end_of_data;
        true
    }

    /// Whether the item's attempt is, or becomes, that of its region: the latest one that goes on from
    /// the region's latest snapshot.
    fn agrees(&mut self, room: &mut Room<'_>, position: usize, item: &InventoryItem) -> bool {
        let region = self.plan.region_of[position];
        let attempt = Some(item.attempt.attempt);
        let latest = self.checkpoints.snapshot(region);
        let took_part = latest.is_some_and(|latest| latest.attempt == attempt);
        let restored = item.restored == latest.map(|latest| latest.checkpoint);
        if self.regions[region].attempt > attempt || !(took_part || restored) {
            return false;
        }
        if self.regions[region].attempt < attempt {
            self.stop_region(room, region);
            for position in self.plan.regions[region].clone() {
                let task = &mut self.tasks[position];
                task.state = ExecutionState::Created;
                task.at = None;
                task.end_of_data = false;
            }
            self.regions[region].attempt = attempt;
            if let Life::Reconciling { failed, .. } = &mut self.life
                && failed.get(&region).is_some_and(|last| *last < attempt)
            {
                failed.remove(&region);
            }
        }
        true
    }

    fn is_complete(&self, region: usize) -> bool {
        self.plan.regions[region].iter().all(|position| {
            matches!(
                self.tasks[*position].state,
                ExecutionState::Initializing | ExecutionState::Running | ExecutionState::Finished
            )
        })
    }

    pub(super) fn is_accounted_for(&self) -> bool {
        let Life::Reconciling { failed, .. } = &self.life else {
            return false;
        };
        let mut regions = 0..self.regions.len();
        if regions.clone().all(|region| self.is_complete(region)) {
            return true;
        }
        let known = |region| failed.contains_key(&region) || self.is_complete(region);
        !failed.is_empty() && regions.all(known)
    }

    /// The waiting is over.
    pub(super) fn resolve(&mut self, room: &mut Room<'_>) {
        let life = std::mem::replace(&mut self.life, Life::Running);
        let Life::Reconciling { failed, .. } = life else {
            self.life = life;
            return;
        };
        let mut incomplete = 0;
        for region in 0..self.regions.len() {
            if self.is_complete(region) {
                let members = &self.plan.regions[region];
                let alive = members.iter().any(|position| self.is_alive(*position));
                let stage = if alive {
                    Stage::Active
                } else {
                    Stage::Finished
                };
                self.regions[region].stage = stage;
            } else {
                incomplete += 1;
                self.stop_region(room, region);
                self.regions[region].stage = Stage::Restarting(Around::exactly(room.now));
            }
        }
        self.restarts += u64::from(incomplete > failed.len());
        self.has_run = self.regions.iter().any(|region| region.attempt.is_some());
        self.resume(room);
        let rest = self.unreferenced();
        room.orders.push(Order::Discard(rest));
        if !failed.is_empty() {
            let failed = failed.into_keys().collect();
            self.fail_regions(room, &failed);
        }
    }
}
