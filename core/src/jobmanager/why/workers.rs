//! TaskManagers that are started for jobs, as a cause: those on their way, and why no more are asked for.

use super::words::{ahead, counted, excerpt, in_brackets, verb};
use super::{Cause, Look, Reason, SHOWN};
use crate::id::TaskManagerId;
use crate::jobmanager::workers::{MAX_WORKERS, Shortage, Stage};
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

/// What keeps TaskManagers from coming that are started for jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Workers {
    /// TaskManagers were asked for, and are not registered yet, or not any more.
    WorkersComing {
        /// How many.
        taskmanagers: u32,
        /// How many of them have not been started.
        pending: u32,
        /// How many of them were registered before, with this JobManager or an earlier one.
        lost: u32,
        /// What the resource provider says about one of those.
        reason: Option<String>,
        /// Which.
        names: Vec<TaskManagerId>,
    },
    /// Jobs require more slots than there are to be.
    WorkersAtLimit {
        /// How many slots all jobs require.
        required: u64,
        /// How many there may be.
        limit: u32,
    },
    /// Jobs require more TaskManagers than there may be.
    WorkersTooMany {
        /// How many slots all jobs require.
        required: u64,
        /// How many TaskManagers are started at most.
        limit: u32,
    },
    /// Too many starts have failed.
    WorkersPaused {
        /// None is asked for before then.
        until: Timestamp,
    },
    /// It is not known yet which TaskManagers there are.
    WorkersNotListed,
}

impl From<Workers> for Reason {
    fn from(reason: Workers) -> Self {
        Reason::Workers(reason)
    }
}

impl Workers {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Workers::WorkersComing {
                taskmanagers,
                pending,
                lost,
                reason,
                names,
            } => format!(
                "{}{} {} asked for and {} not registered; {pending} of them {} not started, {lost} {} registered before{}.",
                counted(*taskmanagers, "TaskManager"),
                in_brackets(names, *taskmanagers),
                verb(*taskmanagers, "was", "were"),
                verb(*taskmanagers, "is", "are"),
                verb(*pending, "is", "are"),
                verb(*lost, "was", "were"),
                match reason {
                    Some(reason) => format!(": {}", excerpt(reason)),
                    None => String::new(),
                }
            ),
            Workers::WorkersAtLimit { required, limit } => format!(
                "The jobs require {required} slots, and no TaskManager is started beyond {limit}."
            ),
            Workers::WorkersTooMany { required, limit } => format!(
                "The jobs require {required} slots, and there are {limit} TaskManagers that were started for jobs, the most there may be."
            ),
            Workers::WorkersPaused { until } => format!(
                "Too many starts of TaskManagers have failed; the next ones are asked for {}.",
                ahead(now, *until)
            ),
            Workers::WorkersNotListed => String::from(
                "It is not known yet which TaskManagers an earlier JobManager has started.",
            ),
        }
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        String::from(match self {
            Workers::WorkersComing { pending: 0, .. } => {
                "They have to register; who does not is replaced after resourcemanager.taskmanager-registration.timeout."
            }
            Workers::WorkersComing { .. } => {
                "The resource provider has to start them: see what it says about them."
            }
            Workers::WorkersAtLimit { .. } => {
                "Raise slotmanager.number-of-slots.max, or end a job that holds slots."
            }
            Workers::WorkersTooMany { .. } => {
                "Raise taskmanager.numberOfTaskSlots, or end a job that holds slots."
            }
            Workers::WorkersPaused { .. } => {
                "See the JobManager's log and the resource provider for why they fail."
            }
            Workers::WorkersNotListed => {
                "The resource provider has to answer, and recovered jobs have to find their TaskManagers."
            }
        })
    }
}

impl Look<'_> {
    /// What is done to have more slots.
    pub(super) fn workers(&self) -> Vec<Cause> {
        let coordinator = self.coordinator;
        let Some(config) = &coordinator.config.workers else {
            return Vec::new();
        };
        let workers = &coordinator.workers;
        let mut because = Vec::new();
        let (mut taskmanagers, mut pending, mut lost) = (0, 0, 0);
        let (mut reason, mut names) = (None, Vec::new());
        for (worker, stage) in workers.coming() {
            taskmanagers += 1;
            match stage {
                Stage::Requested { why, .. } => {
                    pending += 1;
                    reason = reason.or_else(|| why.clone());
                }
                Stage::Lost(_) => lost += 1,
                Stage::Started(_) | Stage::Registered(_) | Stage::Idle(..) => {}
            }
            if names.len() < SHOWN {
                names.push(worker.name());
            }
        }
        if taskmanagers > 0 {
            because.push(Cause::leaf(Workers::WorkersComing {
                taskmanagers,
                pending,
                lost,
                reason,
                names,
            }));
        }
        because.extend(workers.shortage(&coordinator.tms, config).map(|shortage| {
            Cause::leaf(match shortage {
                Shortage::NotListed => Workers::WorkersNotListed,
                Shortage::Paused(until) => Workers::WorkersPaused { until },
                Shortage::Limit => Workers::WorkersAtLimit {
                    required: workers.sum(),
                    limit: config.max_slots,
                },
                Shortage::TooMany => Workers::WorkersTooMany {
                    required: workers.sum(),
                    limit: MAX_WORKERS,
                },
            })
        }));
        because
    }
}
