//! Restarts as a cause: what a region that failed waits for before it is scheduled again.

use super::words::{ahead, counted, excerpt, span, verb};
use super::{Cause, Look, Reason};
use crate::id::{JobId, RegionIndex};
use crate::jobmanager::execution::Phase;
use crate::jobmanager::journal::Fact;
use crate::time::Timestamp;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

/// What a restart waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Restart {
    /// Regions failed, and have not been scheduled again.
    Restarting {
        /// How many regions.
        regions: u32,
        /// How many tasks they have.
        tasks: u32,
        /// How often regions of the job have been restarted, this time included.
        restarts: u64,
        /// When the job failed last, as far as that is remembered.
        failed: Option<Timestamp>,
        /// How.
        failure: Option<String>,
    },
    /// Their restart delay is not over.
    RestartDelay {
        /// How many regions.
        regions: u32,
        /// When that of the last of them is.
        until: Timestamp,
    },
    /// From where they start is not known before their last checkpoint is durable.
    LastCheckpointNotDurable {
        /// How many regions.
        regions: u32,
    },
}

impl From<Restart> for Reason {
    fn from(reason: Restart) -> Self {
        Reason::Restart(reason)
    }
}

impl Restart {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Restart::Restarting {
                regions,
                tasks,
                restarts,
                failed,
                failure,
            } => {
                let failure = failed.zip(failure.as_ref());
                let failure = failure.map(|(at, failure)| {
                    format!("; the last failure was {}: {failure}", ago(now, at))
                });
                format!(
                    "{} with {} {} restarting, after {} of the job{}.",
                    counted(*regions, "region"),
                    counted(*tasks, "task"),
                    verb(*regions, "is", "are"),
                    counted(u32::try_from(*restarts).unwrap_or(u32::MAX), "restart"),
                    failure.unwrap_or_default()
                )
            }
            Restart::RestartDelay { regions, until } => format!(
                "{} {} for the end of {} restart delay {}.",
                counted(*regions, "region"),
                verb(*regions, "waits", "wait"),
                verb(*regions, "its", "their"),
                ahead(now, *until)
            ),
            Restart::LastCheckpointNotDurable { regions } => format!(
                "{} {} a checkpoint that is being stored, and {} from it if it is durable.",
                counted(*regions, "region"),
                verb(*regions, "has", "have"),
                verb(*regions, "starts", "start"),
            ),
        }
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        String::from(match self {
            Restart::Restarting { .. } => "What stands below has to pass; repair what failed.",
            Restart::RestartDelay { .. } => {
                "It passes by itself; restart-strategy.* says how long it is."
            }
            Restart::LastCheckpointNotDurable { .. } => "The store has to take the write.",
        })
    }
}

fn ago(now: Timestamp, at: Timestamp) -> String {
    format!("{} ago", span(now.since(at)))
}

impl Look<'_> {
    /// Why regions that failed are not scheduled.
    pub(super) fn restarting(&self) -> Option<Cause> {
        let execution = &self.job.execution;
        let restarting = execution.restarting();
        if restarting.is_empty() {
            return None;
        }
        let failure = self.job.exceptions.front();
        let reason = Restart::Restarting {
            regions: count(restarting.len()),
            tasks: restarting.iter().map(|it| execution.size(*it)).sum(),
            restarts: self.job.restarts,
            failed: failure.map(|failure| failure.at),
            failure: failure.map(|failure| match &failure.task {
                Some(task) => format!("{task}: {}", excerpt(&failure.message)),
                None => excerpt(&failure.message),
            }),
        };
        let mut because: Vec<Cause> = self.delay(restarting).into_iter().collect();
        because.extend(self.stopping(|region| restarting.contains(&region)));
        because.extend(self.unknown_start(self.job.id(), restarting));
        Some(Cause::new(reason, because))
    }

    fn delay(&self, restarting: &BTreeSet<RegionIndex>) -> Option<Cause> {
        let until = |region: &RegionIndex| match self.job.execution.region(*region).phase {
            Phase::Restarting { at } => (at > self.coordinator.now).then_some(at),
            Phase::Reconciling
            | Phase::Scheduled { .. }
            | Phase::Active
            | Phase::Stopping
            | Phase::Finished => None,
        };
        let delayed: Vec<Timestamp> = restarting.iter().filter_map(until).collect();
        let until = *delayed.iter().max()?;
        let regions = count(delayed.len());
        Some(Cause::leaf(Restart::RestartDelay { regions, until }))
    }

    fn unknown_start(&self, job: JobId, restarting: &BTreeSet<RegionIndex>) -> Option<Cause> {
        let storing = restarting.iter();
        let storing = storing.filter(|region| self.job.checkpoints.is_storing(**region));
        let regions = count(storing.count());
        let write = || self.store(|fact| *fact == Fact::Completed(job));
        (regions > 0).then(|| Cause::new(Restart::LastCheckpointNotDurable { regions }, write()))
    }
}

fn count(regions: usize) -> u32 {
    u32::try_from(regions).expect("regions are counted in 32 bits")
}
