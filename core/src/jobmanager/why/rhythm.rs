//! The checkpoints of a job in the long run: whether they fail, and when the next one is due.

use super::words::{ahead, counted, excerpt};
use super::{Cause, Look, Reason};
use crate::id::CheckpointId;
use crate::jobmanager::job::JobPhase;
use crate::jobmanager::view::CheckpointOutcome;
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;
use serde::Serialize;

/// How checkpoints go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Rhythm {
    /// Checkpoints have failed since the last one that completed.
    CheckpointsFailing {
        /// Of how many regions.
        regions: u32,
        /// How often in a row, of the region with the most.
        failures: u32,
        /// How many in a row do not fail the job.
        tolerable: u32,
        /// The checkpoint of the job that failed last.
        checkpoint: Option<CheckpointId>,
        /// When.
        at: Option<Timestamp>,
        /// Why.
        failure: Option<String>,
    },
    /// No checkpoints are taken.
    CheckpointingOff,
    /// Checkpoints begin when all tasks of a region run.
    NoRegionRuns,
    /// The next one.
    NextCheckpoint {
        /// When it is due.
        due: Timestamp,
    },
}

impl From<Rhythm> for Reason {
    fn from(reason: Rhythm) -> Self {
        Reason::Rhythm(reason)
    }
}

impl Rhythm {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Rhythm::CheckpointsFailing {
                regions,
                failures,
                tolerable,
                checkpoint,
                failure,
                ..
            } => {
                let latest = checkpoint.zip(failure.as_ref());
                let latest =
                    latest.map(|(id, failure)| format!("; the latest, {}, by {failure}", id.0));
                format!(
                    "Checkpoints of {} have failed {} in a row, {tolerable} are tolerated{}.",
                    counted(*regions, "region"),
                    counted(*failures, "time"),
                    latest.unwrap_or_default()
                )
            }
            Rhythm::CheckpointingOff => String::from("The job takes no checkpoints."),
            Rhythm::NoRegionRuns => {
                String::from("Checkpoints begin when all tasks of a region run.")
            }
            Rhythm::NextCheckpoint { due } => {
                format!("The next checkpoint is due {}.", ahead(now, *due))
            }
        }
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        String::from(match self {
            Rhythm::CheckpointsFailing { .. } => {
                "Repair what made them fail; the next one that completes starts the count again."
            }
            Rhythm::CheckpointingOff => {
                "Set execution.checkpointing.interval in the configuration of the job."
            }
            Rhythm::NoRegionRuns => "The tasks have to run; their own causes say why not.",
            Rhythm::NextCheckpoint { .. } => {
                "It comes by itself; execution.checkpointing.interval says how often."
            }
        })
    }
}

impl Look<'_> {
    /// What made checkpoints fail since the last one that completed.
    pub(super) fn failing_checkpoints(&self) -> Option<Cause> {
        let config = self.job.graph.config().checkpointing.as_ref()?;
        let regions = self.job.execution.region_indices();
        let failures = regions.map(|region| self.job.checkpoints.line(region).failures());
        let (mut regions, mut most) = (0, 0);
        for failures in failures.filter(|failures| *failures > 0) {
            regions += 1;
            most = failures.max(most);
        }
        if regions == 0 {
            return None;
        }
        let details = self.job.checkpoints.details(0);
        let latest = details.latest_failed;
        let (at, failure) = match latest.as_ref().map(|entry| &entry.outcome) {
            Some(CheckpointOutcome::Failed { at, reason }) => (Some(*at), Some(excerpt(reason))),
            Some(CheckpointOutcome::InProgress | CheckpointOutcome::Completed) | None => {
                (None, None)
            }
        };
        Some(Cause::leaf(Rhythm::CheckpointsFailing {
            regions,
            failures: most,
            tolerable: config.tolerable_failures,
            checkpoint: latest.map(|entry| entry.id),
            at,
            failure,
        }))
    }

    /// When the next periodic checkpoint is due, or why none is.
    pub(super) fn next_checkpoint(&self) -> Option<Cause> {
        if self.job.phase != JobPhase::Running {
            return None;
        }
        let checkpoints = &self.job.checkpoints;
        let reason = match (&self.job.graph.config().checkpointing, checkpoints.due) {
            (None, _) => Rhythm::CheckpointingOff,
            (Some(_), _) if checkpoints.unfinished() == 0 => return None,
            (Some(_), None) => Rhythm::NoRegionRuns,
            (Some(_), Some(due)) => Rhythm::NextCheckpoint { due },
        };
        Some(Cause::leaf(reason))
    }
}
