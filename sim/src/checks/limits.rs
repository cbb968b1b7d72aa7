//! What a coordinator keeps for people to look at: so much and no more.

use super::{Verdict, ensure};
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::jobmanager::Coordinator;

/// How much of what a coordinator may keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    jobs: usize,
    failures: usize,
    checkpoints: usize,
}

impl Limits {
    pub(super) fn new(config: &ClusterConfig) -> Self {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Limits {
            jobs: size(config.job_store_capacity),
            failures: size(config.exception_history),
            checkpoints: size(config.checkpoint_history),
        }
    }

    /// The coordinator's time is over: what has it piled up?
    pub(super) fn hold(self, coordinator: &Coordinator) -> Verdict {
        let name = "no_history_grows_without_bound";
        let ended = coordinator.jobs().filter(|job| job.status.is_terminal());
        let ended = ended.count();
        ensure(ended <= self.jobs, name, || format!("{ended} ended jobs"))?;
        for job in coordinator.jobs() {
            let failures = coordinator.exceptions(job.id).unwrap_or_default().len();
            let checkpoints = coordinator.checkpoints(job.id);
            let checkpoints = checkpoints.map_or(0, |checkpoints| checkpoints.history.len());
            let few = failures <= self.failures && checkpoints <= self.checkpoints;
            ensure(few, name, || {
                format!(
                    "job {}: {failures} failures, {checkpoints} checkpoints",
                    job.id
                )
            })?;
        }
        Ok(())
    }
}
