//! The ExecutionGraph of a job as a data layout: one byte of state per subtask and one bit for the end
//! of its data; regions carry the rest. Nothing is kept per channel.
//!
//! ```text
//!              place                 all finished
//! Scheduled ───────────► Active ─────────────────────► Finished
//!     ▲                  │    ▲                           ▲
//!     │ all ended, and   │    │ adopted                   │
//!     │ the delay over   ▼    │                           │
//!     └─────────── Restarting ◄── Reconciling ────────────┘
//!
//!  any ─► Stopping        (the job ends)
//! ```
//!
//! Invariants: every count equals a recount; a region's tasks have the region's attempt; a slot of the
//! job is held exactly while a task that has not ended is in it.

mod rewired;
mod slots;

use super::taskmanagers::{SlotRef, TmKey};
use super::view::TaskCounts;
use crate::graph::{JobGraph, Regions, regions};
use crate::id::{Attempt, Epoch, RegionIndex, TaskId, VertexIndex};
use crate::kept::Kept;
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use slots::{GroupSlots, JobSlot, group_slots, slots_of};

/// A set of positions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(len: u32) -> Self {
        Bits(vec![0; len.div_ceil(64) as usize])
    }

    pub(super) fn get(&self, position: u32) -> bool {
        self.0[position as usize / 64] >> (position % 64) & 1 == 1
    }

    /// Adds or removes a position; tells whether that changed anything.
    pub(super) fn set(&mut self, position: u32, value: bool) -> bool {
        let changed = self.get(position) != value;
        if changed {
            self.0[position as usize / 64] ^= 1 << (position % 64);
        }
        changed
    }
}

/// What a region does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Recovered; its attempts are being reported.
    Reconciling,
    /// Waits for slots.
    Scheduled {
        /// Since when.
        since: Timestamp,
    },
    /// Deployed.
    Active,
    /// Failed: its tasks are told to stop. Scheduled again once all have ended and the time has come.
    Restarting {
        /// The end of the restart delay.
        at: Timestamp,
    },
    /// The job ends: its tasks are told to stop.
    Stopping,
    /// Every task has finished.
    Finished,
}

/// A pipelined region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Region {
    pub(super) phase: Phase,
    /// The current attempt, or the last one; `None` before the first.
    pub(super) attempt: Option<Attempt>,
    /// How many of its tasks have been deployed and have not ended.
    pub(super) alive: u32,
    /// How many of its tasks have finished in the current attempt.
    pub(super) finished: u32,
    /// How many of its tasks are RUNNING.
    pub(super) running: u32,
    /// How many of these are at the end of their data.
    pub(super) ended_data: u32,
}

/// The states of all tasks of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Execution {
    layout: Kept<Regions>,
    state: Vec<ExecutionState>,
    end_of_data: Bits,
    regions: Vec<Region>,
    /// The regions in [`Phase::Scheduled`].
    scheduled: BTreeSet<RegionIndex>,
    /// Counts the changes of [`Self::scheduled`].
    demand: u64,
    /// The regions in [`Phase::Restarting`].
    restarting: BTreeSet<RegionIndex>,
    /// How many regions are in [`Phase::Finished`].
    finished: u32,
    /// How many tasks have been deployed and have not ended.
    alive: u32,
    pub(super) slots: Vec<JobSlot>,
    groups: Vec<GroupSlots>,
    /// By vertex.
    counts: Vec<TaskCounts>,
    /// By vertex: when its tasks were deployed last.
    pub(super) deployed: Vec<Option<Timestamp>>,
    /// By vertex: its first slot among the job's.
    first_slot: Vec<u32>,
    /// How many regions run.
    running: u32,
    /// See [`Self::at_end_of_data`].
    at_end: BTreeSet<RegionIndex>,
}

impl Execution {
    /// An execution in which nothing has happened; every region is in this phase.
    pub(super) fn new(graph: &JobGraph, phase: Phase) -> Self {
        let layout = regions(graph);
        let state = match phase {
            Phase::Scheduled { .. } => ExecutionState::Scheduled,
            Phase::Reconciling
            | Phase::Active
            | Phase::Restarting { .. }
            | Phase::Stopping
            | Phase::Finished => ExecutionState::Created,
        };
        let counts = |vertex: &crate::graph::JobVertex| {
            let mut counts = TaskCounts::default();
            counts.0[state as usize] = vertex.parallelism;
            counts
        };
        let first_slot =
            |vertex: &crate::graph::JobVertex| graph.groups()[vertex.group as usize].first_slot;
        let region = Region {
            phase,
            attempt: None,
            alive: 0,
            finished: 0,
            running: 0,
            ended_data: 0,
        };
        let all = (0..layout.count()).map(RegionIndex);
        let scheduled = if matches!(phase, Phase::Scheduled { .. }) {
            all.collect()
        } else {
            BTreeSet::new()
        };
        Execution {
            scheduled,
            demand: 0,
            restarting: BTreeSet::new(),
            finished: 0,
            alive: 0,
            state: vec![state; layout.subtasks() as usize],
            end_of_data: Bits::new(layout.subtasks()),
            regions: vec![region; layout.count() as usize],
            slots: slots_of(graph),
            groups: group_slots(graph),
            counts: graph.vertices().iter().map(counts).collect(),
            deployed: vec![None; graph.vertices().len()],
            first_slot: graph.vertices().iter().map(first_slot).collect(),
            running: 0,
            at_end: BTreeSet::new(),
            layout: Kept::new(layout),
        }
    }

    pub(super) fn layout(&self) -> &Regions {
        &self.layout
    }

    pub(super) fn state(&self, position: u32) -> ExecutionState {
        self.state[position as usize]
    }

    pub(super) fn is_end_of_data(&self, position: u32) -> bool {
        self.end_of_data.get(position)
    }

    pub(super) fn region(&self, index: RegionIndex) -> &Region {
        &self.regions[index.0 as usize]
    }

    /// The regions that wait for slots.
    pub(super) fn scheduled(&self) -> &BTreeSet<RegionIndex> {
        &self.scheduled
    }

    /// Another number whenever other regions wait for slots.
    pub(super) fn demand(&self) -> u64 {
        self.demand
    }

    /// The regions that wait for the end of their tasks or of their restart delay.
    pub(super) fn restarting(&self) -> &BTreeSet<RegionIndex> {
        &self.restarting
    }

    /// A region goes on to another phase.
    pub(super) fn set_phase(&mut self, index: RegionIndex, phase: Phase) {
        self.demand += u64::from(self.scheduled.remove(&index));
        self.restarting.remove(&index);
        let region = &mut self.regions[index.0 as usize];
        let before = core::mem::replace(&mut region.phase, phase);
        let (was_over, is_over) = (before == Phase::Finished, phase == Phase::Finished);
        self.finished -= u32::from(was_over);
        if was_over != is_over {
            self.need_slots(index, !is_over);
        }
        match phase {
            Phase::Scheduled { .. } => {
                self.scheduled.insert(index);
                self.demand += 1;
            }
            Phase::Restarting { .. } => {
                self.restarting.insert(index);
            }
            Phase::Finished => self.finished += 1,
            Phase::Reconciling | Phase::Active | Phase::Stopping => {}
        }
    }

    /// A region gets a new attempt, in which nothing has happened yet.
    pub(super) fn set_attempt(&mut self, index: RegionIndex, attempt: Option<Attempt>) {
        let region = &mut self.regions[index.0 as usize];
        assert!(
            region.alive == 0,
            "a new attempt starts when every task of the old one has ended"
        );
        assert!(attempt >= region.attempt, "attempts do not go back");
        region.attempt = attempt;
        region.finished = 0;
        self.note_end(index);
    }

    pub(super) fn region_indices(&self) -> impl Iterator<Item = RegionIndex> + use<> {
        (0..self.layout.count()).map(RegionIndex)
    }

    /// What `item` makes of the tasks of a region that are somewhere, by their TaskManagers.
    pub(super) fn by_taskmanager<T>(
        &self,
        index: RegionIndex,
        item: impl Fn(u32, TaskId, SlotRef) -> Option<T>,
    ) -> Vec<(TmKey, Vec<T>)> {
        // Where most slots are used by several tasks, each TaskManager is looked up once for each slot.
        let remembers = self.size(index) as usize >= self.slots.len();
        let mut of_slot = vec![None; if remembers { self.slots.len() } else { 0 }];
        let mut of_tm: BTreeMap<TmKey, usize> = BTreeMap::new();
        let mut groups: Vec<(TmKey, Vec<T>)> = Vec::new();
        for (position, task) in self.layout.tasks(index) {
            let slot = self.slot_of_task(task) as usize;
            let Some(at) = self.slots[slot].at else {
                continue;
            };
            let Some(item) = item(position, task, at) else {
                continue;
            };
            let known = of_slot.get(slot).copied().flatten();
            let group = known.unwrap_or_else(|| {
                *of_tm.entry(at.tm).or_insert_with(|| {
                    groups.push((at.tm, Vec::new()));
                    groups.len() - 1
                })
            });
            if let Some(of_slot) = of_slot.get_mut(slot) {
                *of_slot = Some(group);
            }
            groups[group].1.push(item);
        }
        groups.sort_unstable_by_key(|(tm, _)| *tm);
        groups
    }

    fn slot_of_task(&self, task: TaskId) -> u32 {
        self.first_slot[task.vertex.0 as usize] + task.subtask.0
    }

    /// Where a task that has not ended is.
    pub(super) fn location(&self, position: u32) -> Option<SlotRef> {
        self.slots[self.slot_of(position) as usize].at
    }

    pub(super) fn counts(&self, vertex: VertexIndex) -> TaskCounts {
        self.counts[vertex.0 as usize]
    }

    pub(super) fn total_counts(&self) -> TaskCounts {
        let mut total = TaskCounts::default();
        for counts in &self.counts {
            for (sum, count) in total.0.iter_mut().zip(counts.0) {
                *sum += count;
            }
        }
        total
    }

    pub(super) fn subtasks(&self) -> u32 {
        self.layout.subtasks()
    }

    /// How many tasks have been deployed and have not ended.
    pub(super) fn alive(&self) -> u32 {
        self.alive
    }

    /// Whether every task of a region is RUNNING.
    pub(super) fn runs(&self, index: RegionIndex) -> bool {
        self.region(index).running == self.size(index)
    }

    /// How many tasks a region has.
    pub(super) fn size(&self, index: RegionIndex) -> u32 {
        let members = self.layout.members(index).len();
        u32::try_from(members).expect("subtasks are counted in 32 bits")
    }

    /// Whether a region runs.
    pub(super) fn any_runs(&self) -> bool {
        self.running > 0
    }

    /// Whether every region either runs or has finished.
    pub(super) fn all_run_or_finished(&self) -> bool {
        self.running + self.finished == self.layout.count()
    }

    /// How many regions have finished.
    pub(super) fn finished(&self) -> u32 {
        self.finished
    }

    /// Whether a region is active and all of its tasks either have finished or are RUNNING, and there is one that
    /// has not finished.
    pub(super) fn runs_on(&self, index: RegionIndex) -> bool {
        let region = self.region(index);
        let active = region.phase == Phase::Active && region.running > 0;
        active && region.running + region.finished == self.size(index)
    }

    /// The regions whose tasks all either have finished, or are RUNNING and have no more input, and there is one
    /// that has not finished.
    pub(super) fn at_end_of_data(&self) -> &BTreeSet<RegionIndex> {
        &self.at_end
    }

    /// Whether every region has finished.
    pub(super) fn all_finished(&self) -> bool {
        self.finished == self.layout.count()
    }

    /// The state of an attempt changes, in accordance with [`ExecutionState::can_become`].
    pub(super) fn change(&mut self, position: u32, next: ExecutionState) {
        let current = self.state(position);
        assert!(
            current.can_become(next),
            "task at {position}: {current} cannot become {next}"
        );
        self.put(position, next);
        if next.is_terminal() && current != ExecutionState::Scheduled {
            let region = &mut self.regions[self.layout.of(position).0 as usize];
            region.alive -= 1;
            region.finished += u32::from(next == ExecutionState::Finished);
            self.alive -= 1;
            self.note_end(self.layout.of(position));
        }
    }

    /// A new attempt of a task begins. It has no slot any more.
    pub(super) fn reset(&mut self, position: u32, state: ExecutionState) {
        self.put(position, state);
        self.put_end_of_data(position, false);
    }

    /// A slot of the job is at this place, for tasks that are about to be deployed.
    pub(super) fn assign(&mut self, job_slot: u32, at: SlotRef) {
        self.slots[job_slot as usize].at = Some(at);
        self.group_mut(job_slot).held += 1;
    }

    /// No task is deployed into a slot after all. Tells where it was.
    pub(super) fn withdraw(&mut self, job_slot: u32) -> Option<SlotRef> {
        let at = self.slots[job_slot as usize].at.take();
        self.group_mut(job_slot).held -= u32::from(at.is_some());
        at
    }

    /// Every task of a scheduled region is deployed into its slot, which is assigned.
    pub(super) fn deploy_region(&mut self, index: RegionIndex) {
        for (position, task) in self.layout.tasks(index) {
            let vertex = task.vertex.0 as usize;
            let state = &mut self.state[position as usize];
            assert!(
                *state == ExecutionState::Scheduled,
                "a region is scheduled with all of its tasks"
            );
            *state = ExecutionState::Deploying;
            let counts = &mut self.counts[vertex].0;
            counts[ExecutionState::Scheduled as usize] -= 1;
            counts[ExecutionState::Deploying as usize] += 1;
            let slot = &mut self.slots[(self.first_slot[vertex] + task.subtask.0) as usize];
            assert!(slot.at.is_some(), "every slot of a region is taken or held");
            slot.previous = slot.at;
            slot.tasks += 1;
        }
        let size = self.size(index);
        self.regions[index.0 as usize].alive += size;
        self.alive += size;
    }

    /// Every task of a region goes on to the state that `next` gives for its own, if it gives one. None runs
    /// then that did not, and none that was deployed has ended.
    pub(super) fn change_region(
        &mut self,
        index: RegionIndex,
        next: impl Fn(ExecutionState) -> Option<ExecutionState>,
    ) {
        let ran = self.runs(index);
        let region = &mut self.regions[index.0 as usize];
        for (position, task) in self.layout.tasks(index) {
            let state = &mut self.state[position as usize];
            let Some(next) = next(*state) else {
                continue;
            };
            if *state == ExecutionState::Running {
                region.running -= 1;
                region.ended_data -= u32::from(self.end_of_data.get(position));
            }
            let counts = &mut self.counts[task.vertex.0 as usize].0;
            counts[*state as usize] -= 1;
            counts[next as usize] += 1;
            *state = next;
        }
        self.running -= u32::from(ran && !self.runs(index));
        self.note_end(index);
    }

    /// A new attempt of all tasks of a region begins. They have no slots any more.
    pub(super) fn reset_region(&mut self, index: RegionIndex, state: ExecutionState) {
        self.change_region(index, |_| Some(state));
        for &position in self.layout.members(index) {
            self.end_of_data.set(position, false);
        }
    }

    /// A task is in a slot now, in this state.
    pub(super) fn occupy(&mut self, position: u32, state: ExecutionState, at: SlotRef) {
        let job_slot = self.slot_of(position);
        let slot = &mut self.slots[job_slot as usize];
        assert!(
            slot.at.is_none_or(|held| held == at),
            "tasks that share a slot are in one slot"
        );
        let is_new = slot.at.is_none();
        slot.at = Some(at);
        slot.previous = Some(at);
        slot.tasks += 1;
        self.group_mut(job_slot).held += u32::from(is_new);
        self.put(position, state);
        self.regions[self.layout.of(position).0 as usize].alive += 1;
        self.alive += 1;
    }

    /// A task had finished before its job was recovered.
    pub(super) fn adopt_finished(&mut self, position: u32) {
        self.put(position, ExecutionState::Finished);
        let index = self.layout.of(position);
        self.regions[index.0 as usize].finished += 1;
        self.note_end(index);
    }

    /// A task leaves its slot. If it was the last one, the slot is to be given back.
    pub(super) fn vacate(&mut self, position: u32) -> Option<SlotRef> {
        let job_slot = self.slot_of(position);
        let slot = &mut self.slots[job_slot as usize];
        slot.tasks -= 1;
        if slot.tasks > 0 {
            return None;
        }
        self.withdraw(job_slot)
    }

    /// A task has processed the end of its input.
    pub(super) fn put_end_of_data(&mut self, position: u32, value: bool) {
        let before = self.standing(position);
        self.end_of_data.set(position, value);
        self.recount(position, before);
    }

    fn put(&mut self, position: u32, next: ExecutionState) {
        let before = self.standing(position);
        let vertex = self.layout.task(position).vertex.0 as usize;
        let state = &mut self.state[position as usize];
        let counts = &mut self.counts[vertex].0;
        counts[*state as usize] -= 1;
        counts[next as usize] += 1;
        *state = next;
        if before != self.standing(position) {
            self.recount(position, before);
        }
    }

    /// Whether a task is RUNNING, and whether it also is at the end of its data.
    fn standing(&self, position: u32) -> (bool, bool) {
        let running = self.state(position) == ExecutionState::Running;
        (running, running && self.end_of_data.get(position))
    }

    /// A task's standing may have changed, and with it that of its region.
    fn recount(&mut self, position: u32, before: (bool, bool)) {
        let after = self.standing(position);
        let index = self.layout.of(position);
        let ran = self.runs(index);
        let region = &mut self.regions[index.0 as usize];
        region.running = region.running - u32::from(before.0) + u32::from(after.0);
        region.ended_data = region.ended_data - u32::from(before.1) + u32::from(after.1);
        self.running = self.running - u32::from(ran) + u32::from(self.runs(index));
        self.note_end(index);
    }

    fn note_end(&mut self, index: RegionIndex) {
        let region = self.region(index);
        let ended = region.ended_data + region.finished == self.size(index);
        if region.ended_data > 0 && ended {
            self.at_end.insert(index);
        } else {
            self.at_end.remove(&index);
        }
    }

    /// The attempt after the last one of a region.
    pub(super) fn next_attempt(&self, region: RegionIndex, epoch: Epoch) -> Attempt {
        Attempt::after(self.region(region).attempt, epoch)
    }
}
