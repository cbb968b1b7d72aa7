//! Another parallelism for a job of the model: wished for, prepared by a checkpoint, and written in one piece with the
//! checkpoint from which the job goes on.

use super::checkpoints::{Checkpoints, Rhythm};
use super::job::{Job, Life, Region, Stage, Task};
use super::orders::{Order, Room, Write};
use super::plan::{Plan, Scheduler};
use super::restarts::Around;
use super::shares::dealt;
use jobmanager_core::id::{Attempt, CheckpointId, RequestId, SessionId, SlotIndex, TaskId};
use jobmanager_core::jobmanager::{Discard, Reply};
use jobmanager_core::message::{StateHandle, SubtaskState};
use jobmanager_core::record::{Bounds, CheckpointRecord, RecordKey, RegionSnapshot, Scale};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The most wishes that wait for their durability.
const MAX_STORING: usize = 100;
/// From one look to the next, while there is something to wait for.
const PAUSE: Duration = Duration::from_secs(5);

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Idle { next: Timestamp },
    Preparing { since: Timestamp, until: Timestamp },
    Stopping,
    Writing(Arc<CheckpointRecord>),
}

/// The wishes, and what is done about the last one that is durable.
#[derive(Debug, Clone)]
pub(super) struct Rescaling {
    pub(super) wanted: Option<Vec<Bounds>>,
    storing: VecDeque<(Vec<Bounds>, RequestId)>,
    pub(super) step: Step,
    /// What the step is about.
    to: Option<Arc<Plan>>,
    /// What there has been room for, and since when.
    stable: Option<(Vec<u32>, Timestamp)>,
    /// When it changed last.
    last: Option<Timestamp>,
    /// Whether it could not change at the last try.
    is_stuck: bool,
}

impl Rescaling {
    pub(super) fn new(wanted: Option<Vec<Bounds>>) -> Self {
        Rescaling {
            wanted,
            storing: VecDeque::new(),
            step: Step::Idle { next: Timestamp(0) },
            to: None,
            stable: None,
            last: None,
            is_stuck: false,
        }
    }

    fn is_decided(&self) -> bool {
        matches!(self.step, Step::Stopping | Step::Writing(_))
    }
}

impl Job {
    /// What it will be, if that is decided.
    pub(super) fn next_plan(&self) -> Option<&Plan> {
        let next = self.rescaling.to.as_deref();
        next.filter(|_| self.rescaling.is_decided())
    }

    /// A client wants another parallelism, by the ids of vertices; it is valid.
    pub(super) fn rescale_requested(
        &mut self,
        room: &mut Room<'_>,
        request: RequestId,
        of: &BTreeMap<String, Bounds>,
    ) {
        let refusal = match self.life {
            Life::Ending(_) | Life::Ended(..) => Some(Reply::IsEnding(self.id)),
            _ if self.plan.checkpoints.is_none() => Some(Reply::WithoutCheckpoints(self.id)),
            Life::Submitting(_) | Life::Reconciling { .. } | Life::Running => None,
        };
        if let Some(reply) = refusal {
            room.orders.push(Order::Reply(request, reply));
            return;
        }
        if self.rescaling.storing.len() >= MAX_STORING {
            let most = MAX_STORING;
            let reason = format!("{most} changes of its parallelism wait for the metadata store");
            let reply = Reply::Overloaded(reason);
            room.orders.push(Order::Reply(request, reply));
            return;
        }
        let mut wanted = match self.rescaling.storing.back() {
            Some((last, _)) => last.clone(),
            None => self.bounds(),
        };
        for (vertex, bounds) in self.graph.vertices().iter().zip(&mut wanted) {
            *bounds = of.get(&vertex.id).copied().unwrap_or(*bounds);
        }
        room.writes
            .push(vec![Write::Rescale(self.id, wanted.clone())]);
        self.rescaling.storing.push_back((wanted, request));
    }

    pub(super) fn rescale_accepted(&mut self, room: &mut Room<'_>) {
        let Some((wanted, request)) = self.rescaling.storing.pop_front() else {
            return;
        };
        self.rescaling.wanted = Some(wanted);
        self.rescaling.is_stuck = false;
        if !self.rescaling.is_decided() {
            self.rescaling.step = Step::Idle { next: room.now };
        }
        let reply = Reply::RescaleAccepted(self.id);
        room.orders.push(Order::Reply(request, reply));
    }

    pub(super) fn drive_rescaling(&mut self, room: &mut Room<'_>) {
        if matches!(self.rescaling.step, Step::Idle { next } if next <= room.now) {
            self.look(room);
        }
        match self.rescaling.step {
            Step::Idle { .. } | Step::Writing(_) => {}
            Step::Preparing { since, until } => self.stop_concerned(room, since, until),
            Step::Stopping => self.write_parallelism(room),
        }
    }

    /// Whether its parallelism follows the slots.
    pub(super) fn is_elastic(&self) -> bool {
        self.rescaling.wanted.is_some() || self.plan.elastic.scheduler != Scheduler::Default
    }

    pub(super) fn bounds(&self) -> Vec<Bounds> {
        let wanted = self.rescaling.wanted.clone();
        wanted.unwrap_or_else(|| self.plan.bounds())
    }

    fn is_within(&self, bounds: &[Bounds]) -> bool {
        let now = self.plan.parallelism();
        now.iter().zip(bounds).all(|(it, of)| of.contain(*it))
    }

    /// The parallelism for which there is room, on TaskManagers that stay.
    fn fitting(&self, room: &Room<'_>) -> Option<Vec<u32>> {
        let tasks = self.tasks.iter().zip(&self.plan.shares);
        let stays = |(on, _): &(SessionId, SlotIndex)| !room.leaving.contains_key(on);
        let held: BTreeSet<_> = tasks
            .filter_map(|(task, share)| task.at.filter(stays).map(|_| share))
            .collect();
        let left = room.line.above(self.plan.priority);
        let mut bounds = self.bounds();
        let goes_on = self.has_run && !self.is_whole() && self.is_within(&bounds);
        let mut free = room.free_slots;
        if !goes_on {
            free = free.saturating_sub(left);
        } else if left > 0 {
            for (now, bounds) in self.plan.parallelism().into_iter().zip(&mut bounds) {
                bounds.upper = bounds.upper.min(now);
            }
        }
        let promised = room.promised_to_others(self.id);
        let slots = held.len() + free.saturating_sub(promised);
        let slots = u32::try_from(slots).expect("a handful of slots");
        self.plan
            .fitting(&bounds, slots.min(self.quota(room.max_slots)))
    }

    /// The regions that have a task of a vertex that gets another number of subtasks.
    fn concerned(&self) -> BTreeSet<usize> {
        let Some(to) = &self.rescaling.to else {
            return BTreeSet::new();
        };
        let (now, then) = (self.plan.parallelism(), to.parallelism());
        let changes = |position: &usize| {
            let vertex = self.plan.tasks[*position].vertex.0 as usize;
            now[vertex] != then[vertex]
        };
        let positions = (0..self.plan.tasks.len()).filter(changes);
        positions
            .map(|position| self.plan.region_of[position])
            .collect()
    }

    pub(super) fn is_held(&self, region: usize) -> bool {
        self.rescaling.is_decided() && self.concerned().contains(&region)
    }

    /// It cannot be done now.
    fn is_stuck(&mut self, room: &Room<'_>) {
        self.rescaling.is_stuck = true;
        self.later(room);
    }

    /// Whether it gets no slots before its parallelism has changed.
    pub(super) fn has_to_shrink(&self, most: u32) -> bool {
        self.own_slots() > self.quota(most) && !self.rescaling.is_stuck
    }

    fn later(&mut self, room: &Room<'_>) {
        let next = room.now + PAUSE;
        self.rescaling.step = Step::Idle { next };
    }

    /// Looks whether another parallelism fits better, and prepares for it when its time has come.
    fn look(&mut self, room: &Room<'_>) {
        if !self.is_elastic() {
            return;
        }
        let (now, bounds) = (self.plan.parallelism(), self.bounds());
        let in_stage = |matching: fn(&Stage) -> bool| {
            self.regions.iter().any(|region| matching(&region.stage))
        };
        let waits = in_stage(|stage| matches!(stage, Stage::Scheduled { .. }));
        let restarts = in_stage(|stage| matches!(stage, Stage::Restarting(_)));
        let most = |it: &[u32]| it.iter().zip(&bounds).all(|(it, of)| *it == of.upper);
        let too_large = self.own_slots() > self.quota(room.max_slots);
        if most(&now) && self.is_whole() && !too_large {
            self.rescaling.stable = None;
            self.rescaling.is_stuck = false;
            return;
        }
        let stable = self.rescaling.stable.take();
        self.later(room);
        let fitting = self.fitting(room);
        self.rescaling.is_stuck = fitting.is_none();
        let Some(target) = fitting.filter(|target| *target != now) else {
            return;
        };
        let since = match stable {
            Some((last, since)) if last == target => since,
            _ => room.now,
        };
        let elastic = self.plan.elastic;
        let due = if !self.is_within(&bounds) || too_large {
            room.now
        } else if restarts {
            room.now + PAUSE
        } else if self.moving.is_some() {
            room.now
        } else if waits {
            since + elastic.waiting
        } else {
            let settled = match most(&target) {
                true => since,
                false => since + elastic.executing,
            };
            match self.rescaling.last {
                Some(last) => settled.max(last + elastic.cooldown),
                None => settled,
            }
        };
        if due <= room.now {
            return self.prepare(room, &target);
        }
        self.rescaling.stable = Some((target, since));
        let next = due.min(room.now + PAUSE);
        self.rescaling.step = Step::Idle { next };
    }

    fn prepare(&mut self, room: &Room<'_>, target: &[u32]) {
        if self.turn_is_taken() {
            return self.is_stuck(room);
        }
        let to = self.plan.rescaled(target);
        self.rescaling.to = Some(Arc::new(to));
        for region in self.concerned() {
            if self.region_runs(region) {
                self.checkpoints.rhythms[region].owed = true;
            }
        }
        let interval = self.plan.checkpoints.map(|it| it.interval);
        let delay = self.plan.elastic.max_delay;
        let delay = delay.unwrap_or(interval.unwrap_or_default() * 3);
        let until = room.now + delay;
        let moves = self.half(room);
        self.rescaling.step = Step::Preparing {
            since: room.now,
            until: moves.map_or(until, |moves| until.min(moves)),
        };
    }

    fn stop_concerned(&mut self, room: &mut Room<'_>, since: Timestamp, until: Timestamp) {
        let concerned = self.concerned();
        let ready = |region: &usize| {
            let last = self.checkpoints.rhythms[*region].last_completed;
            !self.region_runs(*region) || last >= Some(since)
        };
        if until > room.now && !concerned.iter().all(ready) {
            return;
        }
        if self.turn_is_taken() || self.checkpoints.writing.is_some() {
            return;
        }
        let target = self.rescaling.to.as_ref().map(|to| to.parallelism());
        if self.divided(room.now).is_none() || self.fitting(room) != target {
            return self.is_stuck(room);
        }
        self.abort_regions(room, &concerned);
        for region in concerned {
            self.stop_region(room, region);
            self.regions[region].stage = Stage::Restarting(Around::exactly(room.now));
        }
        self.rescaling.step = Step::Stopping;
        self.write_parallelism(room);
    }

    fn write_parallelism(&mut self, room: &mut Room<'_>) {
        let concerned = self.concerned();
        let alive = |at: usize| self.is_alive(at) && concerned.contains(&self.plan.region_of[at]);
        let busy = (0..self.tasks.len()).any(alive) || self.checkpoints.writing.is_some();
        if busy || self.needs_mark(room) {
            return;
        }
        let Some(record) = self.divided(room.now).map(Arc::new) else {
            return self.is_stuck(room);
        };
        let Some(to) = &self.rescaling.to else {
            return;
        };
        let attempts = concerned.iter().filter_map(|at| self.regions[*at].attempt);
        let since = Attempt {
            epoch: room.epoch,
            number: attempts.max().map_or(0, |last| last.number + 1),
        };
        let parallelism = to.parallelism();
        let mut scale = self.scale.clone().unwrap_or_else(|| Scale {
            since: vec![None; parallelism.len()],
            parallelism: Vec::new(),
        });
        scale.parallelism = parallelism;
        for (position, task) in self.plan.tasks.iter().enumerate() {
            if concerned.contains(&self.plan.region_of[position]) {
                scale.since[task.vertex.0 as usize] = Some(since);
            }
        }
        let mut write = vec![
            Write::Rescaled(self.id, scale.clone()),
            Write::Checkpoint(record.clone()),
        ];
        let retained = self.checkpoints.retained.iter();
        let key = |id: CheckpointId| RecordKey::Checkpoint(self.id, id);
        write.extend(retained.map(|old| Write::Delete(key(old.id))));
        room.writes.push(write);
        self.checkpoints.next = record.id.next();
        self.checkpoints.writing = Some(record.clone());
        self.scale = Some(scale);
        self.rescaling.step = Step::Writing(record);
    }

    /// The record from which the job goes on with the other parallelism; none if that cannot be now.
    fn divided(&self, now: Timestamp) -> Option<CheckpointRecord> {
        let to = self.rescaling.to.as_ref()?;
        let concerned = self.concerned();
        let latest = self.checkpoints.retained.last();
        let (before, after) = (self.plan.parallelism(), to.parallelism());
        let mut states = Vec::new();
        let mut at = 0;
        for (vertex, (p, q)) in before.iter().zip(&after).enumerate() {
            let positions: Vec<usize> = (at..at + *p as usize).collect();
            at += *p as usize;
            let regions = positions
                .iter()
                .map(|position| self.plan.region_of[*position]);
            let regions: BTreeSet<usize> = regions.filter(|it| concerned.contains(it)).collect();
            let snapshots: Vec<_> = regions
                .iter()
                .map(|it| self.checkpoints.snapshot(*it))
                .collect();
            let known = snapshots.iter().flatten().count();
            if snapshots.iter().flatten().any(|it| it.is_final)
                || (known > 0 && known < snapshots.len())
            {
                return None;
            }
            let nothing = || (0..*q).map(|_| SubtaskState::nothing());
            let Some(latest) = latest else {
                states.extend(nothing());
                continue;
            };
            let held: Vec<_> = positions
                .iter()
                .map(|at| latest.states[*at].clone())
                .collect();
            if p == q {
                states.extend(held);
                continue;
            }
            let held: Vec<Vec<StateHandle>> = held.iter().map(|it| it.handles().to_vec()).collect();
            let at_end =
                |it: &Vec<StateHandle>| !it.is_empty() && it.iter().all(|it| it.end_of_data);
            let ends: BTreeSet<bool> = held.iter().map(at_end).collect();
            if ends.len() == 2 && !self.plan.is_source[positions[0]] {
                return None;
            }
            let groups = self.graph.vertices()[vertex].max_parallelism;
            states.extend(
                dealt(&held, groups, *q)
                    .into_iter()
                    .map(SubtaskState::Given),
            );
        }
        Some(self.goes_on_with(to, states, now))
    }

    /// The record of that.
    fn goes_on_with(
        &self,
        to: &Plan,
        states: Vec<SubtaskState>,
        now: Timestamp,
    ) -> CheckpointRecord {
        let latest = self.checkpoints.retained.last();
        let id = self.checkpoints.next;
        let began = RegionSnapshot {
            checkpoint: id,
            attempt: None,
            is_final: false,
        };
        let mut regions = vec![Some(began); to.regions.len()];
        for (old, new) in self.kept(to) {
            regions[new] = self.checkpoints.snapshot(old);
        }
        CheckpointRecord {
            job: self.id,
            id,
            triggered: now,
            completed: now,
            regions,
            inherited: latest
                .map(|it| it.references())
                .into_iter()
                .flatten()
                .collect(),
            states,
        }
    }

    /// The regions that stay, before and after.
    fn kept(&self, to: &Plan) -> BTreeMap<usize, usize> {
        let concerned = self.concerned();
        let old = (0..self.regions.len()).filter(|old| !concerned.contains(old));
        let after = |old: usize| {
            let first: TaskId = self.plan.tasks[self.plan.regions[old][0]];
            Some((old, to.region_of[to.position(first)?]))
        };
        old.filter_map(after).collect()
    }

    /// It is durable: the job is another one, but for the regions that stay.
    pub(super) fn rescaled(&mut self, room: &mut Room<'_>) {
        let Some(to) = self.rescaling.to.take() else {
            return;
        };
        let idle = Step::Idle { next: room.now };
        self.rescaling.last = Some(room.now);
        let Step::Writing(record) = std::mem::replace(&mut self.rescaling.step, idle) else {
            return;
        };
        self.rescaling.to = Some(to.clone());
        let (kept, concerned) = (self.kept(&to), self.concerned());
        let last = concerned
            .iter()
            .filter_map(|at| self.regions[*at].attempt)
            .max();
        let fresh = Region {
            stage: Stage::Scheduled { since: room.now },
            attempt: last,
        };
        let waiting = Task {
            state: ExecutionState::Scheduled,
            at: None,
            end_of_data: false,
        };
        let mut regions = vec![fresh; to.regions.len()];
        let mut tasks = vec![waiting; to.tasks.len()];
        for (&old, &new) in &kept {
            regions[new] = self.regions[old].clone();
            for &position in &self.plan.regions[old] {
                if let Some(at) = to.position(self.plan.tasks[position]) {
                    tasks[at] = self.tasks[position].clone();
                }
            }
        }
        let before = self.referenced();
        let (plan, checkpoints) = (self.plan.clone(), &mut self.checkpoints);
        checkpoints.carry(&kept, &plan, &to, record, room.now);
        self.regions = regions;
        self.tasks = tasks;
        self.plan = to;
        self.demands_carried(&kept);
        if let Some(moving) = &mut self.moving {
            moving.next = room.now;
            moving.preparing = None;
            moving.stopped.clear();
        }
        for id in before {
            if self.is_useless(id) {
                room.orders
                    .push(Order::Discard(Discard::Checkpoint(self.id, id)));
            }
        }
        self.outgrow_claimed(room);
        if self.life != Life::Running {
            for region in 0..self.regions.len() {
                if !kept.values().any(|it| *it == region) {
                    self.stop_region(room, region);
                    self.regions[region].stage = Stage::Stopping;
                }
            }
        }
        if !self.has_ended() {
            self.compose(room);
        }
    }
}

impl Checkpoints {
    fn carry(
        &mut self,
        kept: &BTreeMap<usize, usize>,
        before: &Plan,
        after: &Plan,
        record: Arc<CheckpointRecord>,
        now: Timestamp,
    ) {
        let began = Rhythm {
            last_completed: Some(now),
            ..Rhythm::default()
        };
        let mut rhythms = vec![began; after.regions.len()];
        for (old, new) in kept {
            rhythms[*new] = self.rhythms[*old].clone();
        }
        self.rhythms = rhythms;
        for pending in &mut self.pending {
            for part in &mut pending.parts {
                part.region = kept[&part.region];
                let acks = std::mem::take(&mut part.acks).into_iter();
                let moved = acks.filter_map(|(position, ack)| {
                    Some((after.position(before.tasks[position])?, ack))
                });
                part.acks = moved.collect();
            }
        }
        self.retained = vec![record];
        self.writing = None;
    }
}
