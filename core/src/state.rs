//! The states that users see: of a job and of an execution attempt, with one transition table each.
//!
//! ```text
//!                        ┌──────────── RECONCILING ◄── (recovered from the store)
//!                        ▼
//! INITIALIZING ─► CREATED ─► RUNNING ◄─► RESTARTING
//!                             │  │  ╲       │ │
//!                             │  │   ╲      │ │
//!                  FINISHED ◄─┘  ▼    ▼     ▼ ▼
//!                      CANCELLING ◄── FAILING
//!                          ▼             ▼
//!                       CANCELED       FAILED
//! ```
//!
//! ```text
//! CREATED ─► SCHEDULED ─► DEPLOYING ─► INITIALIZING ─► RUNNING ─► FINISHED
//!                │             ╲            │           ╱
//!                ▼              ╲──► CANCELING ◄───────╱
//!             CANCELED ◄──────────────────╯              any state that is not terminal ─► FAILED
//! ```

use core::fmt;
use serde::{Deserialize, Serialize};

/// The state of a job, in Flink's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum JobStatus {
    /// Submitted, but not yet durable.
    Initializing,
    /// Durable; nothing scheduled yet.
    Created,
    /// Its tasks are scheduled, deployed or running.
    Running,
    /// At least one region waits for its tasks to end, or for its restart delay.
    Restarting,
    /// Failed for good; its tasks are being canceled.
    Failing,
    /// Canceled by a client; its tasks are being canceled.
    Cancelling,
    /// Recovered from the store; its running attempts are being accounted for.
    Reconciling,
    /// Ended by a failure.
    Failed,
    /// Ended by a client.
    Canceled,
    /// Ended by itself.
    Finished,
    /// Its coordinator lost the leadership; another one continues it.
    Suspended,
}

impl JobStatus {
    /// Every status, in the order of the declaration.
    pub const ALL: [JobStatus; 11] = [
        JobStatus::Initializing,
        JobStatus::Created,
        JobStatus::Running,
        JobStatus::Restarting,
        JobStatus::Failing,
        JobStatus::Cancelling,
        JobStatus::Reconciling,
        JobStatus::Failed,
        JobStatus::Canceled,
        JobStatus::Finished,
        JobStatus::Suspended,
    ];

    /// Whether a job in this status may become `next`.
    #[must_use]
    pub fn can_become(self, next: JobStatus) -> bool {
        use JobStatus::*;
        match self {
            Initializing => matches!(next, Created | Failed | Canceled | Suspended),
            Created => matches!(next, Running | Cancelling | Failing | Suspended),
            Running => matches!(
                next,
                Restarting | Cancelling | Failing | Finished | Suspended
            ),
            Restarting => matches!(next, Running | Cancelling | Failing | Suspended),
            Failing => matches!(next, Failed | Cancelling | Suspended),
            Cancelling => matches!(next, Canceled | Failed | Suspended),
            Reconciling => matches!(
                next,
                Running | Restarting | Cancelling | Failing | Finished | Suspended
            ),
            Failed | Canceled | Finished | Suspended => false,
        }
    }

    /// Whether the job has ended for every coordinator, now and later.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            JobStatus::Failed | JobStatus::Canceled | JobStatus::Finished
        )
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            JobStatus::Initializing => "INITIALIZING",
            JobStatus::Created => "CREATED",
            JobStatus::Running => "RUNNING",
            JobStatus::Restarting => "RESTARTING",
            JobStatus::Failing => "FAILING",
            JobStatus::Cancelling => "CANCELLING",
            JobStatus::Reconciling => "RECONCILING",
            JobStatus::Failed => "FAILED",
            JobStatus::Canceled => "CANCELED",
            JobStatus::Finished => "FINISHED",
            JobStatus::Suspended => "SUSPENDED",
        })
    }
}

/// The state of the current attempt of a task, in Flink's words. One byte per subtask.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[repr(u8)]
pub enum ExecutionState {
    /// Not wanted yet.
    #[default]
    Created,
    /// Waits for a slot.
    Scheduled,
    /// Sent to its TaskManager.
    Deploying,
    /// Its TaskManager restores its state.
    Initializing,
    /// Processes records.
    Running,
    /// Told to stop.
    Canceling,
    /// Ended by itself.
    Finished,
    /// Ended because it was told to.
    Canceled,
    /// Ended by an error, or its TaskManager was lost.
    Failed,
}

impl ExecutionState {
    /// Every state, in the order of the declaration.
    pub const ALL: [ExecutionState; 9] = [
        ExecutionState::Created,
        ExecutionState::Scheduled,
        ExecutionState::Deploying,
        ExecutionState::Initializing,
        ExecutionState::Running,
        ExecutionState::Canceling,
        ExecutionState::Finished,
        ExecutionState::Canceled,
        ExecutionState::Failed,
    ];

    /// Whether an attempt in this state may become `next`. An attempt never leaves a terminal state;
    /// what comes after it is another attempt.
    #[must_use]
    pub fn can_become(self, next: ExecutionState) -> bool {
        use ExecutionState::*;
        match self {
            Created => matches!(next, Scheduled | Canceled | Failed),
            Scheduled => matches!(next, Deploying | Canceled | Failed),
            Deploying => matches!(
                next,
                Initializing | Running | Finished | Canceling | Canceled | Failed
            ),
            Initializing => matches!(next, Running | Finished | Canceling | Canceled | Failed),
            Running => matches!(next, Finished | Canceling | Canceled | Failed),
            Canceling => matches!(next, Finished | Canceled | Failed),
            Finished | Canceled | Failed => false,
        }
    }

    /// Whether the attempt has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            ExecutionState::Finished | ExecutionState::Canceled | ExecutionState::Failed
        )
    }

    /// Whether the attempt has been deployed and has not ended.
    #[must_use]
    pub fn is_alive(self) -> bool {
        match self {
            ExecutionState::Deploying
            | ExecutionState::Initializing
            | ExecutionState::Running
            | ExecutionState::Canceling => true,
            ExecutionState::Created
            | ExecutionState::Scheduled
            | ExecutionState::Finished
            | ExecutionState::Canceled
            | ExecutionState::Failed => false,
        }
    }
}

impl fmt::Display for ExecutionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ExecutionState::Created => "CREATED",
            ExecutionState::Scheduled => "SCHEDULED",
            ExecutionState::Deploying => "DEPLOYING",
            ExecutionState::Initializing => "INITIALIZING",
            ExecutionState::Running => "RUNNING",
            ExecutionState::Canceling => "CANCELING",
            ExecutionState::Finished => "FINISHED",
            ExecutionState::Canceled => "CANCELED",
            ExecutionState::Failed => "FAILED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use core::fmt::{Display, Write};

    /// One row per state: the states that it may become.
    fn matrix<S: Copy + Display>(all: &[S], can_become: impl Fn(S, S) -> bool) -> String {
        let mut text = String::new();
        for &from in all {
            write!(text, "{from:<13}→").expect("a string takes everything");
            for &to in all.iter().filter(|to| can_become(from, **to)) {
                write!(text, " {to}").expect("a string takes everything");
            }
            text.push('\n');
        }
        text
    }

    #[test]
    fn job_status_transitions_are_these() {
        insta::assert_snapshot!(matrix(&JobStatus::ALL, JobStatus::can_become));
    }

    #[test]
    fn execution_state_transitions_are_these() {
        insta::assert_snapshot!(matrix(&ExecutionState::ALL, ExecutionState::can_become));
    }

    #[test]
    fn a_terminal_state_is_final() {
        for status in JobStatus::ALL
            .into_iter()
            .filter(|status| status.is_terminal())
        {
            assert!(
                !JobStatus::ALL.iter().any(|next| status.can_become(*next)),
                "{status}"
            );
        }
        for state in ExecutionState::ALL
            .into_iter()
            .filter(|state| state.is_terminal())
        {
            assert!(
                !ExecutionState::ALL
                    .iter()
                    .any(|next| state.can_become(*next)),
                "{state}"
            );
        }
    }
}
