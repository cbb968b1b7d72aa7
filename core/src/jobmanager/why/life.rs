//! The beginning and the end of a job as causes.

use super::words::{ahead, counted, excerpt, lasting, shown, span, verb};
use super::{Cause, Look, Reason};
use crate::id::{JobId, RequestId};
use crate::jobmanager::Coordinator;
use crate::jobmanager::job::{Cleanup, Ended, Ending, Submitters};
use crate::jobmanager::journal::Fact;
use crate::jobmanager::removals::Step;
use crate::state::JobStatus;
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;

use serde::Serialize;

/// What a job that begins or ends waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Life {
    /// It is not deployed before it is durable.
    SubmissionNotDurable {
        /// How many clients wait for that.
        clients: u32,
        /// When it was submitted.
        since: Timestamp,
    },
    /// It goes on until the wish to cancel it is durable.
    CancellationNotDurable {
        /// How many clients wait for that.
        clients: u32,
    },
    /// It was canceled, and tasks of it have not stopped.
    Canceling {
        /// Since when they are told to.
        since: Timestamp,
        /// How many have not.
        tasks: u32,
    },
    /// It failed, and tasks of it have not stopped.
    Failing {
        /// Since when they are told to.
        since: Timestamp,
        /// How many have not.
        tasks: u32,
        /// Why it failed.
        failure: String,
    },
    /// All its tasks have ended, and nobody is told before the result is durable.
    ResultNotDurable {
        /// As what it ends.
        #[serde(serialize_with = "shown")]
        result: JobStatus,
        /// When the tasks had ended.
        since: Timestamp,
    },
    /// It has ended, and its last checkpoint, which is to outlive it, has no metadata.
    CheckpointNotKept {
        /// When that is tried again, if it failed.
        retry_at: Option<Timestamp>,
    },
    /// It has ended, and files of it, or a savepoint that it has claimed, are in the checkpoint storage.
    FilesLeft {
        /// When their deletion is tried again, if it failed.
        retry_at: Option<Timestamp>,
    },
    /// It has ended, and records of it are in the store.
    RecordsLeft,
}

impl From<Life> for Reason {
    fn from(reason: Life) -> Self {
        Reason::Life(reason)
    }
}

impl Life {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Life::SubmissionNotDurable { clients, since } => format!(
                "The job is not deployed before it is durable; {} {} waited for that {}.",
                counted(*clients, "client"),
                verb(*clients, "has", "have"),
                lasting(now, *since)
            ),
            Life::CancellationNotDurable { clients } => format!(
                "The job goes on until its cancellation is durable, for which {} {}.",
                counted(*clients, "client"),
                verb(*clients, "waits", "wait")
            ),
            Life::Canceling { since, tasks } => format!(
                "The job was canceled, and {} {} not stopped {}.",
                counted(*tasks, "task"),
                verb(*tasks, "has", "have"),
                lasting(now, *since)
            ),
            Life::Failing {
                since,
                tasks,
                failure,
            } => format!(
                "The job failed ({failure}), and {} {} not stopped {}.",
                counted(*tasks, "task"),
                verb(*tasks, "has", "have"),
                lasting(now, *since)
            ),
            Life::ResultNotDurable { result, since } => format!(
                "The job is {result} as soon as that is durable; its tasks have ended {} ago.",
                span(now.since(*since))
            ),
            Life::CheckpointNotKept { retry_at: None } => String::from(
                "The job has ended, and the metadata of its last checkpoint, which is retained, is being written.",
            ),
            Life::CheckpointNotKept { retry_at: Some(at) } => format!(
                "The job has ended, and the metadata of its last checkpoint, which is retained, could not be \
                 written; that is tried again {}.",
                ahead(now, *at)
            ),
            Life::FilesLeft { retry_at: None } => String::from(
                "The job has ended, and its files in the checkpoint storage are being deleted.",
            ),
            Life::FilesLeft { retry_at: Some(at) } => format!(
                "The job has ended, and its files in the checkpoint storage could not be deleted; \
                 that is tried again {}.",
                ahead(now, *at)
            ),
            Life::RecordsLeft => {
                String::from("The job has ended, and its records are being removed from the store.")
            }
        }
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        String::from(match self {
            Life::SubmissionNotDurable { .. }
            | Life::CancellationNotDurable { .. }
            | Life::ResultNotDurable { .. }
            | Life::RecordsLeft => "The store has to take the write.",
            Life::Canceling { .. } | Life::Failing { .. } => {
                "The tasks have to stop, or the processes of their TaskManagers have to end."
            }
            Life::CheckpointNotKept { retry_at: None } | Life::FilesLeft { retry_at: None } => {
                "The checkpoint storage has to answer."
            }
            Life::CheckpointNotKept { .. } | Life::FilesLeft { .. } => {
                "Make the checkpoint storage reachable; the log says why it failed."
            }
        })
    }
}

impl Look<'_> {
    pub(super) fn submission(&self, submitters: &Submitters) -> Cause {
        let id = self.job.id();
        let clients = submitters.of_this.len() + submitters.of_another.len();
        let reason = Life::SubmissionNotDurable {
            clients: count(clients),
            since: self.job.submitted,
        };
        Cause::new(reason, self.store(|fact| *fact == Fact::Submitted(id)))
    }

    pub(super) fn cancellation(&self, clients: &[RequestId]) -> Cause {
        let id = self.job.id();
        let reason = Life::CancellationNotDurable {
            clients: count(clients.len()),
        };
        Cause::new(
            reason,
            self.store(|fact| *fact == Fact::CancelRequested(id)),
        )
    }

    pub(super) fn ending(&self, ending: &Ending) -> Cause {
        let execution = &self.job.execution;
        let since = |status: JobStatus| {
            let entered = self.job.timestamps[status as usize];
            entered.unwrap_or(self.job.last_modified)
        };
        let tasks = execution.alive();
        let reason = match ending {
            Ending::Cancelling => Life::Canceling {
                since: since(JobStatus::Cancelling),
                tasks,
            },
            Ending::Failing(failure) => Life::Failing {
                since: since(JobStatus::Failing),
                tasks,
                failure: excerpt(failure),
            },
        };
        Cause::new(reason, self.stopping(|_| true))
    }

    pub(super) fn ended(&self, ended: &Ended) -> Cause {
        let id = self.job.id();
        match ended.cleanup {
            Cleanup::Storing => {
                let reason = Life::ResultNotDurable {
                    result: ended.result.status,
                    since: ended.result.ended,
                };
                Cause::new(reason, self.store(|fact| *fact == Fact::Ended(id)))
            }
            Cleanup::Discarding => self.coordinator.files_left(id),
            Cleanup::Removing => {
                let write = self.store(|fact| *fact == Fact::Cleaned(id));
                Cause::new(Life::RecordsLeft, write)
            }
        }
    }
}

impl Coordinator {
    /// What is still to be removed of a job of which only the result is left.
    pub(super) fn removal(&self, job: JobId) -> Option<Cause> {
        let concerned = self.removals.concerns(job);
        concerned.then(|| self.files_left(job))
    }

    fn files_left(&self, job: JobId) -> Cause {
        let retry_at = self.removals.retry_of(job);
        Cause::leaf(match self.removals.step(job) {
            Some(Step::Keep) => Life::CheckpointNotKept { retry_at },
            Some(Step::Release | Step::Delete) | None => Life::FilesLeft { retry_at },
        })
    }
}

fn count(clients: usize) -> u32 {
    u32::try_from(clients).expect("those who wait are bounded")
}
