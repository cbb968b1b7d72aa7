//! Deadlines: one entry for each thing that waits, so that an armed timer always has an owner.

use super::taskmanagers::TmKey;
use crate::id::JobId;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use serde::{Deserialize, Serialize};

/// Whose deadline it is. What is due, its owner knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Timer {
    /// The write that is to be tried again.
    Journal,
    /// State of jobs that have ended that is to be removed.
    Removals,
    /// TaskManagers that are started for jobs.
    Workers,
    /// A TaskManager's heartbeat.
    TaskManager(TmKey),
    /// Whatever a job waits for first.
    Job(JobId),
}

/// The armed deadlines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Timers {
    queue: BTreeSet<(Timestamp, Timer)>,
    armed: BTreeMap<Timer, Timestamp>,
}

impl Timers {
    /// Arms, moves or disarms a timer.
    pub(super) fn set(&mut self, timer: Timer, at: Option<Timestamp>) {
        if self.armed.get(&timer).copied() == at {
            return;
        }
        if let Some(old) = self.armed.remove(&timer) {
            self.queue.remove(&(old, timer));
        }
        if let Some(at) = at {
            self.armed.insert(timer, at);
            self.queue.insert((at, timer));
        }
    }

    /// Takes the earliest timer that is due, with the time for which it was armed.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, Timer)> {
        let &(at, timer) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.armed.remove(&timer);
        Some((at, timer))
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|&(at, _)| at)
    }

    /// Everything that is armed.
    pub(super) fn armed(&self) -> impl Iterator<Item = Timer> {
        self.armed.keys().copied()
    }
}
