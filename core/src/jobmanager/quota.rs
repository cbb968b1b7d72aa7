//! How many slots one job gets.
//!
//! One that cannot do with so few is refused. One that can gets no more: it neither starts nor grows beyond them, and
//! shrinks if a coordinator allows it less than the one before. What cannot be kept waiting for that runs as it is: a job
//! that was accepted before and needs more, and one whose parallelism cannot change now.

use super::effect::TooManySlots;
use super::job::Job;
use crate::config::ClusterConfig;
use alloc::format;
use alloc::string::String;

impl Job {
    /// How many slots it gets at most.
    pub(super) fn quota(&self, config: &ClusterConfig) -> u32 {
        config.max_slots_per_job.max(self.least_slots())
    }

    /// Whether its parallelism is larger than it may be.
    pub(super) fn exceeds_quota(&self, config: &ClusterConfig) -> bool {
        let required = self.execution.required_slots();
        required > config.max_slots_per_job && required > self.quota(config)
    }

    /// Whether it gets no slots before its parallelism has changed.
    pub(super) fn has_to_shrink(&self, config: &ClusterConfig) -> bool {
        self.exceeds_quota(config) && self.rescaling.problem.is_none()
    }

    /// What keeps it from running, if it has to shrink.
    pub(super) fn check_quota(&self, config: &ClusterConfig) -> Option<String> {
        let (required, most) = (self.execution.required_slots(), config.max_slots_per_job);
        self.has_to_shrink(config).then(|| {
            format!("{required} slots are needed, and one job gets at most {most}: its parallelism has to change")
        })
    }
}

/// Whether a job that needs at least so many slots gets them.
pub(super) fn within_quota(needed: u32, config: &ClusterConfig) -> Result<(), TooManySlots> {
    let most = config.max_slots_per_job;
    match needed <= most {
        true => Ok(()),
        false => Err(TooManySlots { needed, most }),
    }
}
