//! Tasks on TaskManagers that leave go on elsewhere, and nothing fails.
//!
//! ```text
//!                     snapshotted, and there are slots        all tasks ended
//! on one that leaves ──────────────────────────────────► Restarting ────────► Scheduled, elsewhere
//!         │ it ends before that
//!         └──► Restarting, without asking the restart strategy
//! ```
//!
//! What is on a TaskManager that leaves moves at once with all that shares its slots; other regions go on as they
//! are. Nothing stops before there are slots for all of it: they are promised to the job, and nobody else gets them until
//! it has them. Then it takes a checkpoint, so that little is processed twice, for which it has half of the time that
//! is left; what has none by then moves without, while it still can. For what there is no room, it works until the
//! TaskManager's time is over. A job that may have fewer subtasks gets fewer, instead of waiting.
//!
//! Promises count slots, whatever they suit. What has finished on a TaskManager is known to this coordinator alone, as
//! after a crash: the next one has what is left of the job go on from its latest checkpoint.

use super::cx::Cx;
use super::execution::Phase;
use super::job::{Job, JobPhase};
use super::kinds::Kinds;
use super::pending::Abort;
use super::taskmanagers::TaskManagers;
use crate::id::RegionIndex;
use crate::time::Timestamp;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// From one look at the slots to the next, while tasks wait for some.
const PAUSE: Duration = Duration::from_secs(1);

/// What a job does about TaskManagers that leave and have tasks of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Moving {
    /// When it looks next whether it can.
    next: Timestamp,
    /// There is room for it: it takes a checkpoint.
    preparing: Option<Preparing>,
    /// The regions that have stopped for it, and were not given slots since.
    stopped: BTreeSet<RegionIndex>,
}

/// A checkpoint of what moves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Preparing {
    /// One that completed since then is good enough.
    since: Timestamp,
    /// Then it moves without.
    until: Timestamp,
    /// The regions that were told to take one.
    asked: BTreeSet<RegionIndex>,
}

/// What keeps tasks on TaskManagers that leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// There are too few slots for them.
    Slots {
        needed: u32,
        /// How many could be had.
        free: u32,
    },
    /// The parallelism changes.
    Rescaling,
    /// A snapshot of theirs is being made durable.
    Writing,
    /// A savepoint is being taken, of which they are a part.
    Savepoint,
    /// They take a checkpoint first, until then at the latest.
    Snapshot(Timestamp),
}

impl Job {
    /// A TaskManager with tasks of the job leaves.
    pub(super) fn taskmanager_leaves(&mut self, now: Timestamp) {
        let moving = self.moving.get_or_insert_with(Moving::default);
        moving.next = now;
        self.look_soon_for_parallelism(now);
    }

    /// Whether the job has tasks on TaskManagers that leave.
    pub(super) fn is_left(&self) -> bool {
        self.moving.is_some()
    }

    /// Until when a checkpoint that begins now may take, if it is taken to move.
    pub(super) fn moves_by(&self, tms: &TaskManagers, now: Timestamp) -> Option<Timestamp> {
        let held = self.execution.slots.iter().filter_map(|slot| slot.at);
        let ends = held.filter_map(|at| tms.get(at.tm)?.leaves).min()?;
        Some(now + ends.since(now) / 2)
    }

    /// Something has happened for which the moving may wait.
    pub(super) fn look_soon_for_moving(&mut self, now: Timestamp) {
        if let Some(moving) = &mut self.moving {
            moving.next = now;
        }
    }

    /// The regions have other numbers now.
    pub(super) fn moving_rewired(&mut self, now: Timestamp) {
        if let Some(moving) = &mut self.moving {
            moving.next = now;
            moving.preparing = None;
            moving.stopped.clear();
        }
    }

    /// Regions have lost their part in a checkpoint: those that it was taken for take another one, after a while.
    pub(super) fn moving_aborted(&mut self, regions: &BTreeSet<RegionIndex>) {
        let preparing = self.moving.as_mut().and_then(|it| it.preparing.as_mut());
        if let Some(preparing) = preparing {
            preparing.asked.retain(|region| !regions.contains(region));
        }
    }

    /// Those that have stopped were given their slots, or there are none for them: nothing is kept for them any more.
    pub(super) fn served(&mut self, cx: &mut Cx<'_>) {
        let restarting = self.execution.restarting();
        if let Some(moving) = &mut self.moving
            && !moving.stopped.is_empty()
            && moving.stopped.is_disjoint(restarting)
        {
            moving.stopped.clear();
            cx.tms.redeem(self.id());
        }
    }

    /// Moves what is on TaskManagers that leave, if it can.
    pub(super) fn drive_moving(&mut self, cx: &mut Cx<'_>) {
        let moving = self.moving.as_mut().filter(|it| it.next <= cx.now);
        let Some(moving) = moving else {
            return;
        };
        moving.next = cx.now + PAUSE;
        // One thing after the other: what has stopped has its slots first.
        let stopped = !moving.stopped.is_empty();
        let slots = self.slots_on_leaving(cx.tms);
        let regions = self.regions_in(&slots);
        if slots.is_empty() && !stopped {
            self.moves_no_more(cx);
        } else if !regions.is_empty() && !stopped {
            self.prepare_to_move(cx, &slots, &regions);
        }
    }

    /// Nothing of it is on a TaskManager that leaves, or it ends.
    pub(super) fn moves_no_more(&mut self, cx: &mut Cx<'_>) {
        cx.tms.redeem(self.id());
        self.moving = None;
    }

    /// These regions, with tasks in these slots, move as soon as they can.
    fn prepare_to_move(&mut self, cx: &mut Cx<'_>, slots: &[u32], regions: &BTreeSet<RegionIndex>) {
        if self.lacks_slots(cx.tms, slots).is_some() {
            cx.tms.redeem(self.id());
            if let Some(moving) = &mut self.moving {
                moving.preparing = None;
            }
            return;
        }
        cx.tms.promises.make(self.id(), count(slots));
        self.ask_for_snapshots(cx, regions);
        match self.obstacle(cx.now, regions) {
            None => self.move_regions(cx, regions),
            Some(Obstacle::Snapshot(until)) => {
                if let Some(moving) = &mut self.moving {
                    moving.next = moving.next.min(until);
                }
            }
            Some(_) => {}
        }
    }

    /// The slots of the job on TaskManagers that leave.
    pub(super) fn slots_on_leaving(&self, tms: &TaskManagers) -> Vec<u32> {
        let slots = (0..).zip(&self.execution.slots);
        let leaves = |tm| tms.get(tm).is_some_and(|tm| tm.leaves.is_some());
        let left = slots.filter(|(_, slot)| slot.at.is_some_and(|at| leaves(at.tm)));
        left.map(|(slot, _)| slot).collect()
    }

    /// The regions that are at work with tasks in these slots.
    pub(super) fn regions_in(&self, slots: &[u32]) -> BTreeSet<RegionIndex> {
        let tasks = slots.iter().flat_map(|slot| self.execution.tasks_in(*slot));
        let alive = tasks.filter(|task| self.is_alive(*task));
        let regions = alive.map(|task| self.execution.layout().of(task));
        let at_work = |region: &RegionIndex| self.execution.region(*region).phase == Phase::Active;
        regions.filter(at_work).collect()
    }

    /// Those of these regions that run take a checkpoint, once.
    fn ask_for_snapshots(&mut self, cx: &Cx<'_>, regions: &BTreeSet<RegionIndex>) {
        let known = self.moving.as_mut().and_then(|it| it.preparing.take());
        let mut preparing = known.unwrap_or_else(|| self.preparation(cx));
        let execution = &self.execution;
        let runs = |region: &&RegionIndex| execution.runs(**region);
        for &region in regions.iter().filter(runs) {
            if preparing.asked.insert(region) {
                self.checkpoints.owed.insert(region);
            }
        }
        if let Some(moving) = &mut self.moving {
            moving.preparing = Some(preparing);
        }
    }

    /// One that begins now. Without checkpoints, there is nothing to wait for.
    fn preparation(&self, cx: &Cx<'_>) -> Preparing {
        let checkpoints = self.graph.config().checkpointing.as_ref();
        let until = checkpoints.and_then(|_| self.moves_by(cx.tms, cx.now));
        Preparing {
            since: cx.now,
            until: until.unwrap_or(cx.now),
            asked: BTreeSet::new(),
        }
    }

    fn preparing(&self) -> Option<&Preparing> {
        self.moving.as_ref()?.preparing.as_ref()
    }

    /// Whether a region owes a checkpoint before it moves.
    pub(super) fn moving_concerns(&self, region: RegionIndex) -> bool {
        let last = self.checkpoints.line(region);
        let asked = self.preparing().filter(|it| it.asked.contains(&region));
        asked.is_some_and(|preparing| !last.has_completed_since(preparing.since))
    }

    /// Whether there are too few others for these slots.
    pub(super) fn lacks_slots(&self, tms: &TaskManagers, slots: &[u32]) -> Option<Obstacle> {
        let kinds = Kinds::new(&self.graph, tms.supply());
        let (needed, free) = (count(slots), tms.room_for(self.id(), slots, &kinds));
        (free < needed).then_some(Obstacle::Slots { needed, free })
    }

    /// What keeps these regions where they are, if there are slots for them.
    pub(super) fn obstacle(
        &self,
        now: Timestamp,
        regions: &BTreeSet<RegionIndex>,
    ) -> Option<Obstacle> {
        if self.rescaling.is_under_way() {
            return Some(Obstacle::Rescaling);
        }
        let mut of_theirs = regions.iter();
        if of_theirs.any(|region| self.checkpoints.is_storing(*region)) {
            return Some(Obstacle::Writing);
        }
        let preparing = self.preparing().filter(|it| it.until > now)?;
        if self.savepoints.current().is_some() {
            return Some(Obstacle::Savepoint);
        }
        let may_stop = |region: &RegionIndex| self.may_stop(*region, preparing.since);
        let waits = !regions.iter().all(may_stop);
        waits.then_some(Obstacle::Snapshot(preparing.until))
    }

    /// Whether little of a region is lost if it stops now.
    fn may_stop(&self, region: RegionIndex, since: Timestamp) -> bool {
        let started = self.execution.runs(region) || self.execution.region(region).finished > 0;
        let snapshotted = self.checkpoints.line(region).has_completed_since(since);
        !self.checkpoints.is_final(region) && (snapshotted || !started)
    }

    /// How many slots become free if these regions stop.
    fn slots_of(&self, regions: &BTreeSet<RegionIndex>) -> u32 {
        let layout = self.execution.layout();
        let stops = |slot: &u32| {
            let mut tasks = self.execution.tasks_in(*slot);
            tasks.all(|task| !self.is_alive(task) || regions.contains(&layout.of(task)))
        };
        let members = regions.iter().flat_map(|region| layout.members(*region));
        let alive = members.filter(|task| self.is_alive(**task));
        let slots: BTreeSet<u32> = alive.map(|task| self.execution.slot_of(*task)).collect();
        u32::try_from(slots.iter().filter(|slot| stops(slot)).count())
            .expect("slots are counted in 32 bits")
    }

    fn move_regions(&mut self, cx: &mut Cx<'_>, regions: &BTreeSet<RegionIndex>) {
        let job = self.id();
        tracing::info!(%job, regions = regions.len(), "tasks move from TaskManagers that leave");
        // Those that it has elsewhere are its own to come back to.
        cx.tms.promises.make(job, self.slots_of(regions));
        if let Some(moving) = &mut self.moving {
            moving.preparing = None;
            moving.stopped.clone_from(regions);
        }
        self.restart_without_failure(cx, regions, "its tasks move to other TaskManagers");
    }

    /// These regions stop, and are scheduled again when their tasks have ended: nothing has failed.
    pub(super) fn restart_without_failure(
        &mut self,
        cx: &mut Cx<'_>,
        regions: &BTreeSet<RegionIndex>,
        detail: &str,
    ) {
        self.abort_checkpoints(cx, Abort::Suspended, detail, Some(regions), |_| true);
        for &region in regions {
            self.restart_region(cx, region, cx.now);
        }
    }

    /// A TaskManager has ended, as it had said, before its tasks of these regions have moved.
    pub(super) fn left_behind(
        &mut self,
        cx: &mut Cx<'_>,
        regions: &BTreeSet<RegionIndex>,
        cause: &str,
    ) {
        if self.phase == JobPhase::Running {
            self.restarts += 1;
            self.restart_without_failure(cx, regions, cause);
        }
    }

    /// When it looks next.
    pub(super) fn moving_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let next = self.moving.as_ref().map(|moving| moving.next);
        next.filter(|at| *at > now)
    }
}

fn count(slots: &[u32]) -> u32 {
    u32::try_from(slots.len()).expect("slots are counted in 32 bits")
}
