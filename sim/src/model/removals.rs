//! What jobs that have ended leave behind, and how it goes, one thing after the other: first the last checkpoint gets
//! its metadata, if it is to outlive the job; then the savepoint goes that the job claimed, if it has gone beyond
//! that; then all else. And how a job that goes on rids itself of what it claimed.

use super::Model;
use super::job::{Cleanup, Job, Life};
use super::orders::{Order, Room, Write};
use jobmanager_core::config::ClaimMode;
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::jobmanager::{Coordinator, Discard, StorageOutcome};
use jobmanager_core::message::{StateHandle, StateLocation, SubtaskState};
use jobmanager_core::record::{CheckpointRecord, RecordKey};
use jobmanager_core::savepoint::SubtaskSnapshot;
use jobmanager_core::state::JobStatus;
use jobmanager_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Between the first two tries to remove what a job left; doubled with each further one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is done about what a job left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Removal {
    left: Left,
    /// When it is tried again, if it is not under way.
    retry: Option<Timestamp>,
    /// That after the next failure.
    pause: Duration,
}

/// What is left of a job that is dealt with next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Checkpoint,
    Claimed,
    Files,
}

/// What a job has of the savepoint that it claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    No,
    /// It began with this, to which something refers.
    Needed(CheckpointId),
    /// It is to be deleted.
    Useless,
    /// That was ordered.
    Ordered,
}

impl Removal {
    fn of(left: Left, retry: Option<Timestamp>) -> Removal {
        let pause = FIRST_PAUSE;
        Removal { left, retry, pause }
    }
}

impl Model {
    /// A job ended under an earlier coordinator: what that did not remove is tried at once.
    pub(super) fn resume_removal(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(&id) {
            let removal = Removal::of(job.left(), Some(Timestamp(0)));
            self.removals.insert(id, removal);
        }
    }

    /// What is due is tried again.
    pub(super) fn retry_removals(&mut self) {
        let mut due = Vec::new();
        for (id, removal) in &mut self.removals {
            if removal.retry.is_some_and(|at| at <= self.now) {
                removal.retry = None;
                due.push((*id, removal.left));
            }
        }
        due.into_iter().for_each(|(id, left)| self.see_to(id, left));
    }

    /// All that the job left is removed, from now on.
    pub(super) fn remove(&mut self, id: JobId) {
        let left = self.jobs.get(&id).map_or(Left::Files, Job::left);
        match self.removals.get_mut(&id) {
            None => {
                self.removals.insert(id, Removal::of(left, None));
                self.see_to(id, left);
            }
            Some(removal) if removal.left == Left::Files => {
                removal.retry = None;
                self.see_to(id, Left::Files);
            }
            Some(_) => {}
        }
    }

    fn see_to(&mut self, id: JobId, left: Left) {
        let job = self.jobs.get(&id);
        let order = match left {
            Left::Checkpoint => {
                job.and_then(|job| job.outliving_order(&self.config.checkpoint_storage))
            }
            Left::Claimed => job.map(|job| Order::Discard(job.claimed_order())),
            Left::Files => Some(Order::Discard(Discard::Job(id))),
        };
        self.orders.extend(order);
    }

    /// Metadata is written, or not: of the checkpoint that outlives a job, or of a savepoint.
    pub(super) fn metadata_written(
        &mut self,
        id: JobId,
        checkpoint: CheckpointId,
        outcome: &StorageOutcome,
        coordinator: &Coordinator,
    ) {
        let outliving = self.jobs.get(&id).and_then(Job::outliving);
        let is_it = outliving.is_some_and(|record| record.id == checkpoint);
        if !is_it || !self.is_under_way(id, Left::Checkpoint) {
            return self.with(id, coordinator, |job, room| {
                job.savepoint_written(room, checkpoint, outcome);
            });
        }
        if *outcome == StorageOutcome::Done {
            let storage = self.config.checkpoint_storage.clone();
            self.with(id, coordinator, |job, _| {
                job.outlived = Some(job.outliving_at(&storage, checkpoint));
            });
        }
        self.seen_to(id, Left::Checkpoint, outcome, coordinator);
    }

    pub(super) fn discarded(
        &mut self,
        what: &Discard,
        outcome: &StorageOutcome,
        coordinator: &Coordinator,
    ) {
        let failed = matches!(outcome, StorageOutcome::Failed(_));
        match what {
            Discard::Job(id) => self.seen_to(*id, Left::Files, outcome, coordinator),
            Discard::Savepoint { .. } => {}
            Discard::Owned { job: id, .. } if self.is_under_way(*id, Left::Claimed) => {
                self.seen_to(*id, Left::Claimed, outcome, coordinator);
            }
            Discard::Owned { job: id, .. } => self.with(*id, coordinator, |job, _| {
                job.claimed = if failed {
                    Claimed::Useless
                } else {
                    Claimed::No
                };
            }),
            Discard::Checkpoint(id, _) | Discard::Unreferenced { job: id, .. } => {
                self.with(*id, coordinator, |job, _| job.untidy |= failed);
            }
        }
    }

    fn is_under_way(&self, id: JobId, left: Left) -> bool {
        let removal = self.removals.get(&id);
        removal.is_some_and(|removal| removal.left == left && removal.retry.is_none())
    }

    fn seen_to(
        &mut self,
        id: JobId,
        left: Left,
        outcome: &StorageOutcome,
        coordinator: &Coordinator,
    ) {
        if matches!(outcome, StorageOutcome::Failed(_)) {
            let removal = self.removals.entry(id);
            let removal = removal.or_insert(Removal::of(left, None));
            removal.retry = Some(self.now + removal.pause);
            removal.pause = LONGEST_PAUSE.min(removal.pause * 2);
            return;
        }
        let job = self.jobs.get(&id);
        let leaves_claimed = job.is_some_and(Job::leaves_claimed);
        let next = match left {
            Left::Checkpoint if leaves_claimed => Left::Claimed,
            Left::Checkpoint | Left::Claimed => Left::Files,
            Left::Files => {
                self.removals.remove(&id);
                return self.with(id, coordinator, Job::state_removed);
            }
        };
        self.removals.insert(id, Removal::of(next, None));
        self.see_to(id, next);
    }
}

impl Job {
    fn left(&self) -> Left {
        if matches!(self.life, Life::Ended(_, Cleanup::Removing)) {
            Left::Files
        } else if self.outliving().is_some() {
            Left::Checkpoint
        } else if self.leaves_claimed() {
            Left::Claimed
        } else {
            Left::Files
        }
    }

    /// The checkpoint that outlives it, now that it has ended.
    fn outliving(&self) -> Option<&Arc<CheckpointRecord>> {
        let Life::Ended(status, _) = self.life else {
            return None;
        };
        let [failed, canceled] = self.plan.checkpoints?.outlives;
        let keeps =
            status == JobStatus::Failed && failed || status == JobStatus::Canceled && canceled;
        let last = self.checkpoints.retained.last().filter(|_| keeps)?;
        let is_over = last.regions.iter().flatten().any(|region| region.is_final);
        let has_state = last.states.iter().any(|it| !it.handles().is_empty());
        (is_over || has_state).then_some(last)
    }

    fn folder_in(&self, storage: &str) -> String {
        let storage = storage.strip_suffix('/').unwrap_or(storage);
        format!("{storage}/{}", self.id)
    }

    fn outliving_at(&self, storage: &str, id: CheckpointId) -> String {
        format!("{}/chk-{}", self.folder_in(storage), id.0)
    }

    /// Where its metadata is written, and what each task has in it.
    fn outliving_order(&self, storage: &str) -> Option<Order> {
        let record = self.outliving()?;
        let folder = self.folder_in(storage);
        let there = |handle: &StateHandle| {
            let mut handle = handle.clone();
            if let StateLocation::File(path) = &handle.location {
                handle.location = StateLocation::Url(format!("{folder}/{path}"));
            }
            handle
        };
        let subtask = |(position, state): (usize, &SubtaskState)| {
            let snapshot = record.regions[self.plan.region_of[position]];
            let state = match state {
                SubtaskState::Own(handle) => SubtaskState::Own(there(handle)),
                SubtaskState::Given(all) => SubtaskState::Given(all.iter().map(there).collect()),
            };
            SubtaskSnapshot {
                state,
                ended: snapshot.is_some_and(|snapshot| snapshot.is_final),
            }
        };
        let subtasks = record.states.iter().enumerate().map(subtask);
        let location = self.outliving_at(storage, record.id);
        Some(Order::WriteSavepoint(location, subtasks.collect()))
    }

    /// It began with this checkpoint.
    pub(super) fn begins_with(&mut self, began: Option<CheckpointId>) {
        let restore = self.graph.config().restore.as_ref();
        let claims = restore.is_some_and(|restore| restore.claim == ClaimMode::Claim);
        self.claimed = match began.filter(|_| claims) {
            None => Claimed::No,
            Some(id) if self.is_useless(id) => Claimed::Useless,
            Some(id) => Claimed::Needed(id),
        };
    }

    fn claimed_order(&self) -> Discard {
        let restore = self.graph.config().restore.as_ref();
        Discard::Owned {
            job: self.id,
            location: restore
                .map(|restore| restore.path.clone())
                .unwrap_or_default(),
        }
    }

    /// A record is durable: perhaps nothing refers to what it claimed any more.
    pub(super) fn outgrow_claimed(&mut self, room: &mut Room<'_>) {
        let goes = match self.claimed {
            Claimed::Needed(id) => self.is_useless(id),
            Claimed::Useless => true,
            Claimed::No | Claimed::Ordered => false,
        };
        if goes {
            self.claimed = Claimed::Ordered;
            room.orders.push(Order::Discard(self.claimed_order()));
        }
    }

    /// Whether it has ended and has gone beyond what it claimed.
    fn leaves_claimed(&self) -> bool {
        match self.claimed {
            Claimed::No => false,
            Claimed::Needed(id) => {
                let latest = self.checkpoints.retained.last();
                latest.is_some_and(|latest| !latest.references().contains(&id))
            }
            Claimed::Useless | Claimed::Ordered => true,
        }
    }

    /// What it left in the checkpoint storage is gone; its records follow.
    fn state_removed(&mut self, room: &mut Room<'_>) {
        let Life::Ended(status, cleanup) = &mut self.life else {
            return;
        };
        if *cleanup != Cleanup::Discarding {
            return;
        }
        *cleanup = Cleanup::Removing;
        let outlived = self.outlived.clone();
        let result = outlived.map(|location| Write::Result(self.id, *status, Some(location)));
        let retained = self.checkpoints.retained.iter();
        let mut keys: Vec<_> = retained
            .map(|record| RecordKey::Checkpoint(self.id, record.id))
            .collect();
        keys.push(RecordKey::Cancel(self.id));
        keys.push(RecordKey::CheckpointMark(self.id));
        keys.push(RecordKey::Rescale(self.id));
        keys.push(RecordKey::Job(self.id));
        let deletes = keys.into_iter().map(Write::Delete);
        room.writes
            .push(result.into_iter().chain(deletes).collect());
    }
}
