//! The checkpoints of one job of the model: when each region is due, and what each has under way.
//!
//! Regions share no data path. Each has its own part in a checkpoint, which it completes or loses alone; one
//! id serves those that were ready at the same time. What becomes of the parts is in [`super::parts`].

use super::job::{Job, Life, Stage};
use super::orders::{Order, Room, Write};
use super::plan::CheckpointPlan;
use jobmanager_core::id::{Attempt, CheckpointId, RegionIndex, SessionId, TaskId};
use jobmanager_core::message::StateHandle;
use jobmanager_core::record::{CheckpointRecord, RegionSnapshot};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many checkpoint ids are reserved at a time.
const RESERVED: u64 = 16;

/// How far a region's part in a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Tasks have still to acknowledge.
    Collecting,
    /// All have; it waits for the write that is under way to end.
    Acknowledged,
    /// It is in the write that is under way: nobody knows what becomes of it.
    Storing,
}

/// A region's part in a checkpoint under way.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) region: usize,
    pub(super) attempt: Attempt,
    /// By position.
    pub(super) acks: BTreeMap<usize, (StateHandle, bool)>,
    pub(super) last_ack: Option<Timestamp>,
    pub(super) progress: Progress,
}

/// A checkpoint of which at least one part is under way.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) id: CheckpointId,
    pub(super) triggered: Timestamp,
    pub(super) parts: Vec<Part>,
    /// How many tasks have acknowledged it, those of parts that are over included.
    pub(super) acknowledged: usize,
    /// A part of it is durable already.
    pub(super) has_completed: bool,
    pub(super) is_savepoint: bool,
}

/// What a region's next checkpoint depends on.
#[derive(Debug, Clone, Default)]
pub(super) struct Rhythm {
    /// The job's tick has come, and it has not been triggered since.
    pub(super) owed: bool,
    pub(super) last_completed: Option<Timestamp>,
    pub(super) failures: u64,
    pub(super) final_not_before: Timestamp,
    pub(super) finish_announced: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    pub(super) next: CheckpointId,
    pub(super) mark: CheckpointId,
    pub(super) marking: bool,
    /// By id.
    pub(super) pending: Vec<Pending>,
    /// The latest last.
    pub(super) retained: Vec<Arc<CheckpointRecord>>,
    /// What is being written.
    pub(super) writing: Option<Arc<CheckpointRecord>>,
    due: Option<Timestamp>,
    /// Of every region.
    pub(super) rhythms: Vec<Rhythm>,
    pub(super) completed: u64,
    pub(super) failed: u64,
}

impl Checkpoints {
    /// Those of a job of so many regions that nobody has run.
    pub(super) fn new(regions: usize) -> Self {
        Checkpoints {
            next: CheckpointId(1),
            mark: CheckpointId(1),
            marking: false,
            pending: Vec::new(),
            retained: Vec::new(),
            writing: None,
            due: None,
            rhythms: vec![Rhythm::default(); regions],
            completed: 0,
            failed: 0,
        }
    }

    /// Those of a job that was recovered.
    pub(super) fn recovered(
        regions: usize,
        mark: CheckpointId,
        retained: Vec<Arc<CheckpointRecord>>,
        now: Timestamp,
    ) -> Self {
        let after = retained.last().map(|latest| latest.id.next());
        let mark = after.map_or(mark, |after| after.max(mark));
        let mut checkpoints = Checkpoints {
            next: mark,
            mark,
            retained,
            ..Checkpoints::new(regions)
        };
        // The clock of whoever completed it may have been ahead.
        let completed = checkpoints.retained.last().map(|it| it.completed.min(now));
        for region in 0..regions {
            if checkpoints.snapshot(region).is_some() {
                checkpoints.rhythms[region].last_completed = completed;
            }
        }
        checkpoints
    }

    /// The mark that a job is submitted with.
    pub(super) fn first_mark(&self) -> CheckpointId {
        CheckpointId(self.next.0 + RESERVED)
    }

    /// What a region would go on from.
    pub(super) fn snapshot(&self, region: usize) -> Option<RegionSnapshot> {
        let latest = self.retained.last()?;
        latest.region(RegionIndex(u32::try_from(region).ok()?))
    }

    /// Whether a region has nothing left to snapshot.
    pub(super) fn is_final(&self, region: usize) -> bool {
        self.snapshot(region).is_some_and(|it| it.is_final)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.pending.iter().flat_map(|pending| &pending.parts)
    }

    pub(super) fn is_storing(&self, region: usize) -> bool {
        let stored = |part: &Part| part.region == region && part.progress == Progress::Storing;
        self.writing.is_some() && self.parts().any(stored)
    }

    /// What was being written is not, after all.
    pub(super) fn give_up_writing(&mut self) {
        let savepoints = self.pending.iter_mut().filter(|it| it.is_savepoint);
        for part in savepoints.flat_map(|it| &mut it.parts) {
            part.progress = Progress::Acknowledged;
            self.writing = None;
        }
    }

    /// How many parts of a region are under way.
    fn under_way(&self, region: usize) -> u64 {
        self.parts().filter(|part| part.region == region).count() as u64
    }
}

impl Job {
    /// Whether all of a region's tasks run, and nothing is known to be wrong with it.
    pub(super) fn region_runs(&self, region: usize) -> bool {
        let mut members = self.plan.regions[region].iter();
        self.regions[region].stage == Stage::Active
            && members.all(|at| self.tasks[*at].state == ExecutionState::Running)
    }

    /// Whether it is worth a checkpoint now or later.
    pub(super) fn may_be_owed(&self, region: usize) -> bool {
        self.regions[region].stage != Stage::Finished && !self.checkpoints.is_final(region)
    }

    pub(super) fn drive_checkpoints(&mut self, room: &mut Room<'_>) {
        let Some(config) = self.plan.checkpoints else {
            return;
        };
        let mut regions = 0..self.regions.len();
        if self.checkpoints.due.is_none() && regions.any(|region| self.region_runs(region)) {
            self.checkpoints.due = Some(room.now + config.interval);
        }
        let mut regions = 0..self.regions.len();
        let is_left = regions.any(|region| !self.checkpoints.is_final(region));
        if is_left && self.checkpoints.due.is_some_and(|due| due <= room.now) {
            for region in 0..self.regions.len() {
                self.checkpoints.rhythms[region].owed |= self.may_be_owed(region);
            }
            self.checkpoints.due = Some(room.now + config.interval);
        }
        let finished: BTreeSet<usize> = (0..self.regions.len())
            .filter(|region| {
                let announced = self.checkpoints.rhythms[*region].finish_announced;
                let is_final = self.checkpoints.is_final(*region);
                self.only_waits(*region) && is_final && !announced
            })
            .collect();
        self.announce(room, &finished);
        let ready: BTreeSet<usize> = (0..self.regions.len())
            .filter(|region| self.is_ready(*region, room.now, &config))
            .collect();
        let held_back = self.makes_room_for_a_savepoint();
        if !held_back && !ready.is_empty() && !self.needs_mark(room) {
            self.trigger(room, &config, &ready);
        }
    }

    /// Whether a region takes its next checkpoint now.
    fn is_ready(&self, region: usize, now: Timestamp, config: &CheckpointPlan) -> bool {
        if !self.region_runs(region) || self.checkpoints.is_final(region) {
            return false;
        }
        let rhythm = &self.checkpoints.rhythms[region];
        let under_way = self.checkpoints.under_way(region);
        if self.is_at_the_end(region) {
            let otherwise = self.is_to_stop();
            return !otherwise && under_way == 0 && rhythm.final_not_before <= now;
        }
        let last = rhythm.last_completed;
        let rested = last.is_none_or(|last| last + config.min_pause <= now);
        let rested = rested || self.is_demanded(region) || self.is_to_move(region);
        rhythm.owed && under_way < config.max_concurrent && rested
    }

    /// A checkpoint of these regions is under way.
    pub(super) fn begin(
        &mut self,
        now: Timestamp,
        regions: &BTreeSet<usize>,
        is_savepoint: bool,
    ) -> CheckpointId {
        let id = self.checkpoints.next;
        self.checkpoints.next = id.next();
        let part = |region: &usize| Part {
            region: *region,
            attempt: self.regions[*region].attempt.unwrap_or_default(),
            acks: BTreeMap::new(),
            last_ack: None,
            progress: Progress::Collecting,
        };
        let parts = regions.iter().map(part).collect();
        self.checkpoints.pending.push(Pending {
            id,
            triggered: now,
            parts,
            acknowledged: 0,
            has_completed: false,
            is_savepoint,
        });
        id
    }

    /// One id for all these regions.
    fn trigger(&mut self, room: &mut Room<'_>, config: &CheckpointPlan, ready: &BTreeSet<usize>) {
        let id = self.begin(room.now, ready, false);
        for &region in ready {
            self.checkpoints.rhythms[region].owed = false;
        }
        let mut regions = 0..self.regions.len();
        if regions.all(|region| ready.contains(&region) || !self.may_be_owed(region)) {
            self.checkpoints.due = Some(room.now + config.interval);
        }
        let sources = |position: usize| self.plan.is_source[position];
        for (on, tasks) in self.where_they_are(ready, sources) {
            let order = Order::Trigger(on, self.id, tasks, id);
            room.orders.push(order);
        }
    }

    /// The tasks of these regions that have not ended, by session; they are not named if the job is one
    /// region.
    pub(super) fn where_they_are(
        &self,
        regions: &BTreeSet<usize>,
        which: impl Fn(usize) -> bool,
    ) -> BTreeMap<SessionId, Vec<TaskId>> {
        let mut named: BTreeMap<SessionId, Vec<TaskId>> = BTreeMap::new();
        for position in 0..self.tasks.len() {
            let concerned = regions.contains(&self.plan.region_of[position]);
            let at = self.tasks[position].at.filter(|_| concerned);
            if let Some((on, _)) = at.filter(|_| which(position)) {
                let tasks = named.entry(on).or_default();
                if self.regions.len() > 1 {
                    tasks.push(self.plan.tasks[position]);
                }
            }
        }
        named
    }

    /// Whether the next id must be reserved first, which this sees to.
    pub(super) fn needs_mark(&mut self, room: &mut Room<'_>) -> bool {
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

    /// The tasks of these regions learn that their latest snapshots are durable, those of one checkpoint
    /// together; those that have nothing left to do, that they may finish.
    pub(super) fn announce(&mut self, room: &mut Room<'_>, regions: &BTreeSet<usize>) {
        let mut groups: BTreeMap<(CheckpointId, bool), BTreeSet<usize>> = BTreeMap::new();
        for &region in regions {
            if let Some(snapshot) = self.checkpoints.snapshot(region) {
                let finish = snapshot.is_final && self.only_waits(region);
                let group = groups.entry((snapshot.checkpoint, finish)).or_default();
                group.insert(region);
            }
        }
        for ((id, finish), regions) in groups {
            if finish {
                for &region in &regions {
                    self.checkpoints.rhythms[region].finish_announced = true;
                }
                self.abort_regions(room, &regions);
            }
            for (on, tasks) in self.where_they_are(&regions, |_| true) {
                let order = Order::Complete(on, self.id, tasks, id, finish);
                room.orders.push(order);
            }
        }
    }

    /// It is known which attempts go on: each learns what it may have missed.
    pub(super) fn resume(&self, room: &mut Room<'_>) {
        let mut groups: BTreeMap<Option<CheckpointId>, BTreeSet<usize>> = BTreeMap::new();
        for region in 0..self.regions.len() {
            let snapshot = self.checkpoints.snapshot(region);
            let completed = snapshot.map(|snapshot| snapshot.checkpoint);
            groups.entry(completed).or_default().insert(region);
        }
        for (completed, regions) in groups {
            for (on, tasks) in self.where_they_are(&regions, |_| true) {
                let next = self.checkpoints.next;
                let order = Order::Resume(on, self.id, tasks, completed, next);
                room.orders.push(order);
            }
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ended(..))
    }
}
