//! The removal of everything that jobs which have ended left in the checkpoint storage, each tried until
//! it succeeds.
//!
//! A job's end is not the last that its attempts write: an earlier leader may run it once more before it
//! learns that it leads no longer, and a task that is told to stop may be writing. So a job is removed
//! again whenever somebody shows up who may have written for it.

use super::effect::Effect;
use super::input::{Discard, StorageOutcome};
use crate::id::JobId;
use crate::time::Timestamp;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Those that are under way, or to be tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Removals(BTreeMap<JobId, Removal>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Removal {
    /// When it is ordered again; absent while it is under way.
    retry: Option<Timestamp>,
    /// If it fails: how long until the next try.
    pause: Duration,
}

impl Removals {
    /// Orders the removal of a job's state, also if one is under way that may have looked too early.
    pub(super) fn order(&mut self, job: JobId, effects: &mut Vec<Effect>) {
        self.0.entry(job).or_insert(Removal::new(None)).retry = None;
        effects.push(Effect::Discard(Discard::Job(job)));
    }

    /// Orders the removal that an earlier coordinator did not live to see done.
    pub(super) fn resume(&mut self, job: JobId) {
        self.0.insert(job, Removal::new(Some(Timestamp(0))));
    }

    /// A removal has ended; tells whether it succeeded.
    pub(super) fn ended(&mut self, now: Timestamp, job: JobId, outcome: &StorageOutcome) -> bool {
        match outcome {
            StorageOutcome::Done => {
                self.0.remove(&job);
                true
            }
            StorageOutcome::Failed(problem) => {
                tracing::warn!(%job, problem, "the job's state could not be deleted");
                let removal = self.0.entry(job).or_insert(Removal::new(None));
                removal.retry = Some(now + removal.pause);
                removal.pause = LAST_RETRY.min(removal.pause * 2);
                false
            }
        }
    }

    /// Orders again what is due.
    pub(super) fn retry(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for (job, removal) in &mut self.0 {
            if removal.retry.is_some_and(|at| at <= now) {
                removal.retry = None;
                effects.push(Effect::Discard(Discard::Job(*job)));
            }
        }
    }

    /// Whether something of the job is still to be removed.
    pub(super) fn concerns(&self, job: JobId) -> bool {
        self.0.contains_key(&job)
    }

    /// When the removal of a job is ordered again; `None` while it is under way, or if there is none.
    pub(super) fn retry_of(&self, job: JobId) -> Option<Timestamp> {
        self.0.get(&job)?.retry
    }

    /// When something is to be ordered again.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.0.values().filter_map(|removal| removal.retry).min()
    }
}

impl Removal {
    fn new(retry: Option<Timestamp>) -> Self {
        let pause = FIRST_RETRY;
        Removal { retry, pause }
    }
}
