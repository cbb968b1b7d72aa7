//! The checkpoints of one job: which are under way, which are completed, and when the next is due.
//!
//! ```text
//!           last acknowledgement        durable
//! pending ─────────────────────► storing ──────► completed ─► subsumed (discarded)
//!    │
//!    └─► aborted (discarded): expired, declined, a task failed, a later one completed
//! ```
//!
//! Invariants: ids strictly increase and are below the durable mark; a checkpoint is acknowledged once
//! by each task of its plan, which is every task of the job; what is being stored is never aborted,
//! because nobody knows yet whether it is durable; at most `retained` are kept.

use super::execution::Bits;
use super::view::{CheckpointEntry, CheckpointOutcome, CheckpointsDetails, Restore};
use crate::config::CheckpointConfig;
use crate::id::{Attempt, CheckpointId, JobId};
use crate::kept::Kept;
use crate::message::{Acknowledgement, StateHandle};
use crate::record::CheckpointRecord;
use crate::time::Timestamp;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// How many ids are made durable as used at a time: as many checkpoints may fail in a row before a
/// trigger waits for the store, and as many ids are skipped after a failover at the most.
const MARK_STEP: u64 = 16;

/// Why a checkpoint was given up (Flink's `CheckpointFailureReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Abort {
    Expired,
    Declined,
    TaskDeclined,
    Subsumed,
    TaskFailure,
    JobStopped,
}

impl Abort {
    /// Whether it counts against `tolerable-failed-checkpoints` (SEMANTICS §2.3).
    fn counts(self) -> bool {
        match self {
            Abort::Expired | Abort::Declined => true,
            Abort::TaskDeclined | Abort::Subsumed | Abort::TaskFailure | Abort::JobStopped => false,
        }
    }

    /// Whether the tasks could not snapshot, so that an immediate repetition would likely fail as well.
    pub(super) fn is_snapshot_failure(self) -> bool {
        match self {
            Abort::Expired | Abort::Declined | Abort::TaskDeclined => true,
            Abort::Subsumed | Abort::TaskFailure | Abort::JobStopped => false,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Abort::Expired => "CHECKPOINT_EXPIRED: the checkpoint expired before completing",
            Abort::Declined => "CHECKPOINT_ASYNC_EXCEPTION: the snapshot of a task failed",
            Abort::TaskDeclined => "DECLINED_TASK_NOT_READY: a task could not take part",
            Abort::Subsumed => "CHECKPOINT_SUBSUMED: a later checkpoint completed",
            Abort::TaskFailure => "JOB_FAILOVER_REGION: a task of the checkpoint failed",
            Abort::JobStopped => "COORDINATOR_SHUTDOWN: the job ends",
        }
    }
}

/// A checkpoint under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) id: CheckpointId,
    pub(super) triggered: Timestamp,
    deadline: Timestamp,
    acknowledged: Bits,
    pub(super) missing: u32,
    states: Vec<StateHandle>,
    end_of_data: bool,
    /// Of every region.
    attempts: Vec<Attempt>,
    latest_ack: Option<Timestamp>,
    size: u64,
    /// Every task has acknowledged; this is being written.
    storing: Option<Arc<CheckpointRecord>>,
}

/// What an acknowledgement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// Others are missing.
    Counted,
    /// This task has acknowledged already.
    Duplicate,
    /// There is no such checkpoint under way: its state is of no use.
    Unknown,
    /// It was the last one: this is to be written.
    Complete(Arc<CheckpointRecord>),
}

/// What completing a checkpoint brings about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Completion {
    /// The checkpoint.
    pub(super) record: Arc<CheckpointRecord>,
    /// Those that it pushed out of the retained ones.
    pub(super) subsumed: Vec<CheckpointId>,
}

/// The checkpoints of one job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Checkpoints {
    /// The next id.
    pub(super) next: CheckpointId,
    /// Ids below this one are durably marked as used.
    pub(super) mark: CheckpointId,
    /// A larger mark is being written.
    pub(super) marking: bool,
    pub(super) pending: Vec<Pending>,
    /// The retained ones, the latest last.
    pub(super) completed: Kept<VecDeque<Arc<CheckpointRecord>>>,
    /// When the next periodic trigger is due; `None` until every task has been running once.
    pub(super) due: Option<Timestamp>,
    /// When the last one completed.
    last_completed: Option<Timestamp>,
    /// Counted failures since the last one that completed.
    failures: u32,
    counts: Kept<CheckpointsDetails>,
}

impl Checkpoints {
    /// The checkpoints of a job of which these are durable.
    pub(super) fn new(
        mark: CheckpointId,
        completed: VecDeque<Arc<CheckpointRecord>>,
        now: Timestamp,
    ) -> Self {
        // By the clock of the coordinator that completed it, which may have been ahead: the pause after it
        // is not to last until that time comes again.
        let last_completed = completed.back().map(|record| record.completed.min(now));
        let counts = CheckpointsDetails {
            latest_completed: completed.back().map(|record| completed_entry(record)),
            history: completed
                .iter()
                .rev()
                .map(|record| completed_entry(record))
                .collect(),
            ..CheckpointsDetails::default()
        };
        Checkpoints {
            next: mark,
            mark,
            marking: false,
            pending: Vec::new(),
            due: None,
            last_completed,
            failures: 0,
            counts: Kept::new(counts),
            completed: Kept::new(completed),
        }
    }

    /// The mark with which a job begins: the first ids can be used at once.
    pub(super) fn first_mark() -> CheckpointId {
        CheckpointId(1 + MARK_STEP)
    }

    /// The latest completed one.
    pub(super) fn latest(&self) -> Option<&Arc<CheckpointRecord>> {
        self.completed.back()
    }

    /// Whether the latest completed one was taken after the end of all input.
    pub(super) fn is_final(&self) -> bool {
        self.latest().is_some_and(|latest| latest.end_of_data)
    }

    /// Whether one is being written, so that nobody knows which the latest is.
    pub(super) fn is_storing(&self) -> bool {
        self.pending.iter().any(|pending| pending.storing.is_some())
    }

    /// When a periodic checkpoint may be triggered; `None` if that depends on something else.
    pub(super) fn trigger_at(&self, config: &CheckpointConfig) -> Option<Timestamp> {
        if self.is_full(config) || self.is_final() {
            return None;
        }
        let paused = self
            .last_completed
            .map_or(Timestamp(0), |at| at + config.min_pause);
        Some(self.due?.max(paused))
    }

    /// Whether no further one may be under way.
    pub(super) fn is_full(&self, config: &CheckpointConfig) -> bool {
        self.pending.len() >= config.max_concurrent as usize
    }

    /// The mark that must be durable before the next one can be triggered, if it is not.
    pub(super) fn needed_mark(&self) -> Option<CheckpointId> {
        (self.next >= self.mark).then(|| CheckpointId(self.next.0 + MARK_STEP))
    }

    /// Starts one in which this many tasks take part, in these attempts of their regions.
    pub(super) fn trigger(
        &mut self,
        now: Timestamp,
        config: &CheckpointConfig,
        tasks: u32,
        attempts: Vec<Attempt>,
    ) -> CheckpointId {
        assert!(
            self.next < self.mark,
            "an id is used only if that is durable"
        );
        let id = self.next;
        self.next = id.next();
        let placeholder = StateHandle {
            location: crate::message::StateLocation::Inline(Vec::new()),
            size: 0,
        };
        self.pending.push(Pending {
            id,
            triggered: now,
            deadline: now + config.timeout,
            acknowledged: Bits::new(tasks),
            missing: tasks,
            states: alloc::vec![placeholder; tasks as usize],
            end_of_data: true,
            attempts,
            latest_ack: None,
            size: 0,
            storing: None,
        });
        if self.due.is_some() {
            self.due = Some(now + config.interval);
        }
        id
    }

    /// A task has snapshotted.
    pub(super) fn acknowledge(
        &mut self,
        now: Timestamp,
        position: u32,
        ack: Acknowledgement,
    ) -> Acknowledged {
        let job = ack.attempt.job;
        let Some(pending) = self
            .pending
            .iter_mut()
            .find(|pending| pending.id == ack.checkpoint)
        else {
            return Acknowledged::Unknown;
        };
        if !pending.acknowledged.set(position, true) {
            return Acknowledged::Duplicate;
        }
        pending.missing -= 1;
        pending.size += ack.state.size;
        pending.end_of_data &= ack.end_of_data;
        pending.latest_ack = Some(now);
        pending.states[position as usize] = ack.state;
        if pending.missing > 0 {
            return Acknowledged::Counted;
        }
        let record = pending.record(job, now);
        pending.storing = Some(record.clone());
        Acknowledged::Complete(record)
    }

    /// The ids that will no longer be retained once everything that is being stored is completed.
    pub(super) fn surplus(&self, config: &CheckpointConfig) -> Vec<CheckpointId> {
        let storing = self
            .pending
            .iter()
            .filter(|pending| pending.storing.is_some());
        let mut ids: Vec<_> = self.completed.iter().map(|record| record.id).collect();
        ids.extend(storing.map(|pending| pending.id));
        ids.truncate(ids.len().saturating_sub(config.retained as usize));
        ids
    }

    /// A checkpoint that was being stored is durable.
    pub(super) fn complete(
        &mut self,
        now: Timestamp,
        id: CheckpointId,
        config: &CheckpointConfig,
        history: u32,
    ) -> Completion {
        let at = self.pending.iter().position(|pending| pending.id == id);
        let pending = self
            .pending
            .remove(at.expect("what is being stored is never aborted"));
        let record = pending
            .storing
            .expect("only what is being stored becomes durable");
        let entry = completed_entry(&record);
        self.completed.push_back(record.clone());
        let surplus = self
            .completed
            .len()
            .saturating_sub(config.retained as usize);
        let subsumed = self
            .completed
            .drain(..surplus)
            .map(|record| record.id)
            .collect();
        self.last_completed = Some(now);
        self.failures = 0;
        self.counts.completed += 1;
        self.counts.latest_completed = Some(entry.clone());
        self.remember(entry, history);
        Completion { record, subsumed }
    }

    /// Gives up those under way that `which` selects, unless they are being stored.
    pub(super) fn abort(
        &mut self,
        now: Timestamp,
        abort: Abort,
        detail: &str,
        history: u32,
        which: impl Fn(&Pending) -> bool,
    ) -> Vec<CheckpointId> {
        let (aborted, kept): (Vec<_>, Vec<_>) = core::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| pending.storing.is_none() && which(pending));
        self.pending = kept;
        for pending in &aborted {
            self.failures += u32::from(abort.counts());
            let reason = if detail.is_empty() {
                String::from(abort.text())
            } else {
                format!("{}: {detail}", abort.text())
            };
            let entry = pending.entry(CheckpointOutcome::Failed { at: now, reason });
            self.counts.failed += 1;
            self.counts.latest_failed = Some(entry.clone());
            self.remember(entry, history);
        }
        aborted.into_iter().map(|pending| pending.id).collect()
    }

    /// Whether more failed in a row than the job tolerates; asking starts the count again.
    pub(super) fn take_intolerable(&mut self, config: &CheckpointConfig) -> bool {
        let intolerable = self.failures > config.tolerable_failures;
        if intolerable {
            self.failures = 0;
        }
        intolerable
    }

    /// When the first one under way expires.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.pending
            .iter()
            .filter(|pending| pending.storing.is_none())
            .map(|pending| pending.deadline)
            .min()
    }

    /// Whether a checkpoint under way has expired.
    pub(super) fn is_expired(pending: &Pending, now: Timestamp) -> bool {
        pending.deadline <= now
    }

    /// Tasks were started from a checkpoint.
    pub(super) fn restored(&mut self, checkpoint: CheckpointId, at: Timestamp) {
        self.counts.restored += 1;
        self.counts.latest_restored = Some(Restore { checkpoint, at });
    }

    /// How many completed, as far as this coordinator knows.
    pub(super) fn completed_count(&self) -> u64 {
        self.counts.completed
    }

    /// What clients may see.
    pub(super) fn details(&self, history: u32) -> CheckpointsDetails {
        let pending = self.pending.iter().rev();
        let pending = pending.map(|pending| pending.entry(CheckpointOutcome::InProgress));
        let CheckpointsDetails {
            restored,
            completed,
            failed,
            in_progress: _,
            latest_completed,
            latest_failed,
            latest_restored,
            history: past,
        } = &*self.counts;
        CheckpointsDetails {
            restored: *restored,
            completed: *completed,
            failed: *failed,
            in_progress: self.pending.len() as u64,
            latest_completed: latest_completed.clone(),
            latest_failed: latest_failed.clone(),
            latest_restored: latest_restored.clone(),
            history: pending
                .chain(past.iter().cloned())
                .take(history as usize)
                .collect(),
        }
    }

    fn remember(&mut self, entry: CheckpointEntry, history: u32) {
        self.counts.history.insert(0, entry);
        self.counts.history.truncate(history as usize);
    }
}

impl Pending {
    fn record(&self, job: JobId, now: Timestamp) -> Arc<CheckpointRecord> {
        Arc::new(CheckpointRecord {
            job,
            id: self.id,
            triggered: self.triggered,
            completed: now,
            end_of_data: self.end_of_data,
            attempts: self.attempts.clone(),
            states: self.states.clone(),
        })
    }

    fn entry(&self, outcome: CheckpointOutcome) -> CheckpointEntry {
        let subtasks = u32::try_from(self.states.len()).expect("subtasks are counted in 32 bits");
        CheckpointEntry {
            id: self.id,
            outcome,
            triggered: self.triggered,
            latest_ack: self.latest_ack,
            subtasks,
            acknowledged: subtasks - self.missing,
            size: self.size,
        }
    }
}

fn completed_entry(record: &CheckpointRecord) -> CheckpointEntry {
    let subtasks = u32::try_from(record.states.len()).expect("subtasks are counted in 32 bits");
    CheckpointEntry {
        id: record.id,
        outcome: CheckpointOutcome::Completed,
        triggered: record.triggered,
        latest_ack: Some(record.completed),
        subtasks,
        acknowledged: subtasks,
        size: record.size(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::CheckpointMode;
    use core::time::Duration;

    #[test]
    fn a_predecessor_whose_clock_was_ahead_does_not_hold_up_checkpoints() {
        let hour = Duration::from_secs(3_600);
        let (now, pause) = (Timestamp(0) + hour, Duration::from_millis(20));
        let record = CheckpointRecord {
            job: crate::id::JobId(1),
            id: CheckpointId(1),
            triggered: now + hour,
            completed: now + hour,
            end_of_data: false,
            attempts: Vec::new(),
            states: Vec::new(),
        };
        let mut checkpoints =
            Checkpoints::new(CheckpointId(9), VecDeque::from([Arc::new(record)]), now);
        checkpoints.due = Some(now);
        let config = CheckpointConfig {
            interval: pause,
            timeout: pause,
            min_pause: pause,
            max_concurrent: 1,
            tolerable_failures: 0,
            mode: CheckpointMode::ExactlyOnce,
            retained: 1,
            inline_threshold: 0,
        };
        assert_eq!(checkpoints.trigger_at(&config), Some(now + pause));
    }
}
