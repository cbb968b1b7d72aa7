//! Free slots that are kept for jobs that stop tasks to move them.

use crate::id::JobId;
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

/// All of them.
#[derive(Debug, Clone, Default, Hash, Serialize, Deserialize)]
pub(super) struct Promises {
    of: BTreeMap<JobId, u32>,
    sum: u32,
}

impl Promises {
    /// So many slots are given to nobody else than this job.
    pub(super) fn make(&mut self, job: JobId, slots: u32) {
        let before = self.of.insert(job, slots).unwrap_or(0);
        self.sum = self.sum - before + slots;
    }

    /// The job has got its slots, or wants none any more; `false` if none were kept for it.
    pub(super) fn redeem(&mut self, job: JobId) -> bool {
        let slots = self.of.remove(&job);
        self.sum -= slots.unwrap_or(0);
        slots.is_some()
    }

    /// How many slots are kept for other jobs than this one.
    pub(super) fn to_others(&self, job: JobId) -> u32 {
        self.sum - self.of.get(&job).copied().unwrap_or(0)
    }

    /// How many slots are kept.
    pub(super) fn sum(&self) -> u32 {
        self.sum
    }

    /// The jobs for which slots are kept, with how many.
    pub(super) fn iter(&self) -> impl Iterator<Item = (JobId, u32)> {
        self.of.iter().map(|(job, slots)| (*job, *slots))
    }
}
