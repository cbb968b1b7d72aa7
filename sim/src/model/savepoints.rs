//! The savepoints that clients want of a job of the model, one after the other.

use super::checkpoints::Progress;
use super::job::{Job, Life, Stage};
use super::orders::{Fate, Order, Room, Write};
use super::submission::wait;
use jobmanager_core::id::{CheckpointId, JobId, RequestId, TriggerId};
use jobmanager_core::jobmanager::{Discard, Reply, SavepointRequest, StorageOutcome};
use jobmanager_core::message::{AfterSavepoint, StateHandle, SubtaskState};
use jobmanager_core::record::{
    CheckpointRecord, Record, RecordKey, RegionSnapshot, SavepointRecord,
};
use jobmanager_core::savepoint::SubtaskSnapshot;
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// So many of a job wait at the most.
const MOST: usize = 16;

/// How far one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Storing,
    Wanted,
    Collecting(CheckpointId),
    Writing(CheckpointId),
    Failing,
    /// Its outcome is being written; with it this checkpoint completes.
    Ending(Option<CheckpointId>),
    Ended,
}

#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) trigger: TriggerId,
    directory: String,
    after: AfterSavepoint,
    waiters: Vec<RequestId>,
    is_durable: bool,
    until: Timestamp,
    phase: Phase,
}

impl Wish {
    fn is_over(&self) -> bool {
        self.phase == Phase::Ended
    }
}

impl Job {
    /// What the store says of savepoints.
    pub(super) fn recall_savepoints(&mut self, records: &[Record], now: Timestamp) {
        let own = records.iter().filter_map(|record| match record {
            Record::Savepoint(savepoint) if savepoint.job == self.id => Some(savepoint),
            Record::Savepoint(_)
            | Record::Job(_)
            | Record::Cancel(_)
            | Record::Rescale(_)
            | Record::CheckpointMark { .. }
            | Record::Checkpoint(_)
            | Record::Result(_) => None,
        });
        let mut own: Vec<&Arc<SavepointRecord>> = own.collect();
        own.sort_by_key(|record| (record.requested, record.trigger));
        let until = now + self.savepoint_timeout();
        self.wishes = own
            .into_iter()
            .map(|record| Wish {
                trigger: record.trigger,
                directory: record.directory.clone(),
                after: record.after,
                waiters: Vec::new(),
                is_durable: true,
                until,
                phase: match record.outcome {
                    Some(_) => Phase::Ended,
                    None => Phase::Wanted,
                },
            })
            .collect();
    }

    pub(super) fn savepoint_requested(
        &mut self,
        room: &mut Room<'_>,
        request: RequestId,
        wanted: &SavepointRequest,
    ) {
        let (id, trigger) = (self.id, wanted.trigger);
        if let Some(known) = self.wishes.iter_mut().find(|wish| wish.trigger == trigger) {
            if known.is_durable {
                let reply = Reply::SavepointAccepted(id, trigger);
                room.orders.push(Order::Reply(request, reply));
            } else {
                wait(&mut known.waiters, request, room.orders);
            }
            return;
        }
        let waiting = self.wishes.iter().filter(|wish| !wish.is_over()).count();
        let refusal = if matches!(self.life, Life::Ending(_) | Life::Ended(..)) {
            Some(Reply::IsEnding(id))
        } else if self.plan.checkpoints.is_none() {
            Some(Reply::WithoutCheckpoints(id))
        } else if waiting >= MOST {
            let reason = "too many savepoints of the job are waiting";
            Some(Reply::Overloaded(reason.to_owned()))
        } else {
            None
        };
        if let Some(reply) = refusal {
            room.orders.push(Order::Reply(request, reply));
            return;
        }
        room.writes
            .push(vec![Write::Savepoint(id, trigger, Fate::Wanted)]);
        self.wishes.push(Wish {
            trigger,
            directory: wanted.directory.clone(),
            after: wanted.after,
            waiters: vec![request],
            is_durable: false,
            until: room.now,
            phase: Phase::Storing,
        });
    }

    pub(super) fn savepoint_accepted(&mut self, room: &mut Room<'_>, trigger: TriggerId) {
        let timeout = self.savepoint_timeout();
        let mut wishes = self.wishes.iter_mut();
        let Some(wish) = wishes.find(|wish| wish.trigger == trigger) else {
            return;
        };
        wish.is_durable = true;
        wish.until = room.now + timeout;
        if wish.phase == Phase::Storing {
            wish.phase = Phase::Wanted;
        }
        for request in std::mem::take(&mut wish.waiters) {
            let reply = Reply::SavepointAccepted(self.id, trigger);
            room.orders.push(Order::Reply(request, reply));
        }
    }

    fn savepoint_timeout(&self) -> Duration {
        let checkpoints = self.plan.checkpoints;
        checkpoints.map_or(Duration::ZERO, |plan| plan.timeout)
    }

    fn turn(&mut self) -> Option<&mut Wish> {
        self.wishes.iter_mut().find(|wish| !wish.is_over())
    }

    /// Whether a savepoint is wanted that has no outcome.
    pub(super) fn turn_is_taken(&self) -> bool {
        self.wishes.iter().any(|wish| !wish.is_over())
    }

    /// Every task runs or has finished with its whole region.
    fn stands_still(&self) -> bool {
        (0..self.regions.len()).all(|region| {
            let members = self.plan.regions[region].iter();
            let mut states = members.map(|at| self.tasks[*at].state);
            self.regions[region].stage == Stage::Finished
                || states.all(|state| state == ExecutionState::Running)
                    && !self.checkpoints.is_final(region)
        })
    }

    /// No other checkpoint begins while a savepoint is, or could be, under way.
    pub(super) fn makes_room_for_a_savepoint(&self) -> bool {
        let turn = self.wishes.iter().find(|wish| !wish.is_over());
        turn.is_some_and(|wish| match wish.phase {
            Phase::Wanted => self.stands_still(),
            Phase::Collecting(_) | Phase::Writing(_) | Phase::Ending(_) => true,
            Phase::Storing | Phase::Failing | Phase::Ended => false,
        })
    }

    /// Whether it ends with a savepoint, and in no other way.
    pub(super) fn is_to_stop(&self) -> bool {
        self.wishes.iter().any(|wish| {
            let decided = matches!(wish.phase, Phase::Storing | Phase::Failing | Phase::Ended);
            wish.after != AfterSavepoint::GoOn && !decided
        })
    }

    /// What takes too long, or cannot be taken, fails.
    pub(super) fn expire_savepoints(&mut self, room: &mut Room<'_>) {
        let now = room.now;
        let failed = self.turn().is_some_and(|wish| {
            wish.phase == Phase::Failing || wish.phase == Phase::Wanted && wish.until <= now
        });
        if failed {
            self.fail_savepoint(room);
        }
    }

    pub(super) fn drive_savepoints(&mut self, room: &mut Room<'_>) {
        let free = self.stands_still() && self.checkpoints.pending.is_empty();
        let wanted = self.turn().is_some_and(|wish| wish.phase == Phase::Wanted);
        if wanted && free && !self.needs_mark(room) {
            self.take_savepoint(room);
        }
    }

    fn take_savepoint(&mut self, room: &mut Room<'_>) {
        if self.plan.checkpoints.is_none() {
            return;
        }
        let regions = 0..self.regions.len();
        let regions = regions.filter(|at| self.regions[*at].stage != Stage::Finished);
        let regions: BTreeSet<usize> = regions.collect();
        let id = self.begin(room.now, &regions, true);
        let sources = |position: usize| self.plan.is_source[position];
        let told = self.where_they_are(&regions, sources);
        let job = self.id;
        if let Some(wish) = self.turn() {
            wish.phase = Phase::Collecting(id);
            let (after, location) = (wish.after, location(wish, job, id));
            for (on, tasks) in told {
                let order = Order::Savepoint(on, job, tasks, id, location.clone(), after);
                room.orders.push(order);
            }
        }
    }

    /// Every task has acknowledged it.
    pub(super) fn savepoint_collected(&mut self, room: &mut Room<'_>, id: CheckpointId) {
        let subtasks = self.collected(id);
        for pending in &mut self.checkpoints.pending {
            for part in &mut pending.parts {
                part.progress = Progress::Storing;
            }
        }
        let last = self.last_record(room.now, id);
        let job = self.id;
        let Some(wish) = self.turn() else {
            return;
        };
        wish.phase = Phase::Writing(id);
        let order = Order::WriteSavepoint(location(wish, job, id), subtasks);
        room.orders.push(order);
        if wish.after != AfterSavepoint::GoOn {
            self.checkpoints.writing = Some(Arc::new(last));
        }
    }

    /// What tasks have acknowledged, by position. Those that have finished did so at the end of their data.
    fn collected(&self, id: CheckpointId) -> Vec<SubtaskSnapshot> {
        let finished = SubtaskSnapshot {
            state: SubtaskState::Own(StateHandle::nothing()),
            ended: true,
        };
        let mut subtasks = vec![finished; self.tasks.len()];
        let pending = self.checkpoints.pending.iter();
        let parts = pending.filter(|pending| pending.id == id);
        for part in parts.flat_map(|it| &it.parts) {
            let ended = part.acks.values().all(|(_, end_of_data)| *end_of_data);
            for (position, (state, _)) in &part.acks {
                let state = SubtaskState::Own(state.clone());
                subtasks[*position] = SubtaskSnapshot { state, ended };
            }
        }
        subtasks
    }

    /// The record of a checkpoint after which nothing comes.
    fn last_record(&self, now: Timestamp, id: CheckpointId) -> CheckpointRecord {
        let base = self.checkpoints.retained.last();
        let mut regions = base.map_or(vec![None; self.regions.len()], |it| it.regions.clone());
        let mut states = match base {
            Some(base) => base.states.clone(),
            None => vec![SubtaskState::nothing(); self.tasks.len()],
        };
        let mut triggered = now;
        for pending in self.checkpoints.pending.iter().filter(|it| it.id == id) {
            triggered = pending.triggered;
            for part in &pending.parts {
                regions[part.region] = Some(RegionSnapshot {
                    checkpoint: id,
                    attempt: Some(part.attempt),
                    is_final: true,
                });
                for (position, (state, _)) in &part.acks {
                    states[*position] = SubtaskState::Own(state.clone());
                }
            }
        }
        CheckpointRecord {
            job: self.id,
            id,
            triggered,
            completed: now,
            inherited: super::parts::inherited(base.map(Arc::as_ref), &regions),
            regions,
            states,
        }
    }

    pub(super) fn savepoint_written(
        &mut self,
        room: &mut Room<'_>,
        id: CheckpointId,
        outcome: &StorageOutcome,
    ) {
        let Some(config) = self.plan.checkpoints else {
            return;
        };
        let Some(wish) = self.turn().filter(|wish| wish.phase == Phase::Writing(id)) else {
            return;
        };
        if *outcome != StorageOutcome::Done {
            wish.phase = Phase::Failing;
            return;
        }
        wish.phase = Phase::Ending(Some(id));
        let trigger = wish.trigger;
        let mut write = vec![Write::Savepoint(self.id, trigger, Fate::Completed(id))];
        if let Some(last) = &self.checkpoints.writing {
            write.push(Write::Checkpoint(last.clone()));
            let retained = self.checkpoints.retained.iter().map(|record| record.id);
            let surplus = (retained.len() as u64 + 1).saturating_sub(config.retained);
            let gone = retained.zip(0..surplus);
            write.extend(gone.map(|(id, _)| Write::Delete(RecordKey::Checkpoint(self.id, id))));
        }
        room.writes.push(write);
    }

    fn fail_savepoint(&mut self, room: &mut Room<'_>) {
        self.checkpoints.give_up_writing();
        self.abort_savepoint(room);
        let Some(wish) = self.turn() else {
            return;
        };
        wish.phase = Phase::Ending(None);
        let (trigger, drained) = (wish.trigger, wish.after == AfterSavepoint::Drain);
        room.writes
            .push(vec![Write::Savepoint(self.id, trigger, Fate::Failed)]);
        if drained {
            let regions = 0..self.regions.len();
            let goes_on = |at: &usize| {
                let latest = self.checkpoints.snapshot(*at);
                let is_final = latest.is_some_and(|latest| latest.is_final);
                self.regions[*at].stage == Stage::Active && !is_final
            };
            self.fail_regions(room, &regions.filter(goes_on).collect());
        }
    }

    /// What was under way as a savepoint was given up: that is no outcome yet, unless a snapshot failed.
    pub(super) fn savepoint_given_up(
        &mut self,
        room: &mut Room<'_>,
        id: CheckpointId,
        snapshot_failed: bool,
    ) {
        let job = self.id;
        let Some(wish) = self.turn() else {
            return;
        };
        let location = location(wish, job, id);
        if wish.phase == Phase::Collecting(id) {
            wish.phase = match snapshot_failed {
                true => Phase::Failing,
                false => Phase::Wanted,
            };
        }
        let order = Discard::Savepoint { job, location };
        room.orders.push(Order::Discard(order));
    }

    /// The outcome is durable.
    pub(super) fn savepoint_ended(
        &mut self,
        room: &mut Room<'_>,
        trigger: TriggerId,
        last: Option<&Arc<CheckpointRecord>>,
    ) {
        let mut wishes = self.wishes.iter_mut();
        let Some(wish) = wishes.find(|wish| wish.trigger == trigger) else {
            return;
        };
        let Phase::Ending(completes) = wish.phase else {
            return;
        };
        wish.phase = Phase::Ended;
        // The time of the next one begins with its turn.
        let until = room.now + self.savepoint_timeout();
        if let Some(next) = self.turn() {
            next.until = until;
        }
        let Some(id) = completes else {
            return;
        };
        if let Some(last) = last {
            self.completed(room, last);
            return;
        }
        let mut regions = BTreeSet::new();
        for pending in std::mem::take(&mut self.checkpoints.pending) {
            regions.extend(pending.parts.iter().map(|part| part.region));
        }
        self.checkpoints.completed += 1;
        for (on, tasks) in self.where_they_are(&regions, |_| true) {
            room.orders.push(Order::Aborted(on, self.id, tasks, id));
        }
    }

    /// The job ends: whatever is wanted of it will never be.
    pub(super) fn end_savepoints(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        for wish in &mut self.wishes {
            if !matches!(wish.phase, Phase::Ending(_) | Phase::Ended) {
                wish.phase = Phase::Ending(None);
                writes.push(Write::Savepoint(self.id, wish.trigger, Fate::Failed));
            }
        }
        writes
    }

    /// The savepoints of which a client may ask when the job has ended.
    pub(super) fn all_savepoints_ended(&mut self) -> Vec<TriggerId> {
        let known = self.wishes.iter_mut().filter(|wish| wish.is_durable);
        known
            .map(|wish| {
                wish.phase = Phase::Ended;
                wish.trigger
            })
            .collect()
    }
}

fn location(wish: &Wish, job: JobId, id: CheckpointId) -> String {
    let folder = wish.directory.trim_end_matches('/');
    format!("{folder}/savepoint-{job}-{}", id.0)
}
