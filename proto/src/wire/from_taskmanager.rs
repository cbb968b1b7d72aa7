//! What a TaskManager says to the JobManager.

use super::{ids, state_from_wire, state_to_wire};
use crate::bad_message::{BadMessage, Problem, WireError};
use crate::check;
use crate::v1;
use crate::v1::from_task_manager::Message;
use jobmanager_core::id::AttemptId;
use jobmanager_core::message::{
    Acknowledgement, DeclineReason, FromTaskManager, Hello, TaskReport, TaskStateChange,
};
use std::time::Duration;

/// A message of a TaskManager, by who reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Received {
    /// The first message of a session.
    Hello(Hello),
    /// For the coordinator.
    Message(FromTaskManager),
    /// For people.
    Metrics(Vec<TaskMetrics>),
}

/// What a task has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskMetrics {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Records that it took from its inputs.
    pub records_in: u64,
    /// Records that it put out.
    pub records_out: u64,
    /// Bytes of the records that it took.
    pub bytes_in: u64,
    /// Bytes of the records that it put out.
    pub bytes_out: u64,
}

impl From<&Hello> for v1::FromTaskManager {
    fn from(hello: &Hello) -> Self {
        v1::FromTaskManager {
            message: Some(Message::Hello(hello.into())),
        }
    }
}

impl From<&[TaskMetrics]> for v1::FromTaskManager {
    fn from(metrics: &[TaskMetrics]) -> Self {
        let tasks = metrics.iter().map(Into::into).collect();
        v1::FromTaskManager {
            message: Some(Message::Metrics(v1::Metrics { tasks })),
        }
    }
}

impl From<&TaskMetrics> for v1::TaskMetrics {
    fn from(metrics: &TaskMetrics) -> Self {
        v1::TaskMetrics {
            attempt: Some(metrics.attempt.into()),
            records_in: metrics.records_in,
            records_out: metrics.records_out,
            bytes_in: metrics.bytes_in,
            bytes_out: metrics.bytes_out,
        }
    }
}

impl From<&FromTaskManager> for v1::FromTaskManager {
    fn from(message: &FromTaskManager) -> Self {
        let message = match message {
            FromTaskManager::Heartbeat { sequence } => Message::Heartbeat(v1::HeartbeatAnswer {
                sequence: *sequence,
            }),
            FromTaskManager::TaskStates(changes) => Message::TaskStates(v1::TaskStates {
                changes: changes.iter().map(Into::into).collect(),
            }),
            FromTaskManager::Acknowledge(acknowledgement) => {
                Message::Acknowledge(acknowledgement.into())
            }
            FromTaskManager::Leave { within } => Message::Leave(v1::Leave {
                within_ms: check::millis(*within),
            }),
            FromTaskManager::Decline {
                attempt,
                checkpoint,
                reason,
                message,
            } => Message::Decline(v1::Decline {
                attempt: Some((*attempt).into()),
                checkpoint: checkpoint.0,
                reason: reason_to_wire(*reason).into(),
                message: message.clone(),
            }),
        };
        v1::FromTaskManager {
            message: Some(message),
        }
    }
}

impl From<&TaskStateChange> for v1::TaskStateChange {
    fn from(change: &TaskStateChange) -> Self {
        let (report, cause) = match &change.report {
            TaskReport::Initializing => (v1::TaskReport::Initializing, ""),
            TaskReport::Running => (v1::TaskReport::Running, ""),
            TaskReport::EndOfData => (v1::TaskReport::EndOfData, ""),
            TaskReport::Finished => (v1::TaskReport::Finished, ""),
            TaskReport::Canceled => (v1::TaskReport::Canceled, ""),
            TaskReport::Failed { cause } => (v1::TaskReport::Failed, cause.as_str()),
        };
        v1::TaskStateChange {
            attempt: Some(change.attempt.into()),
            report: report.into(),
            cause: cause.into(),
        }
    }
}

impl From<&Acknowledgement> for v1::Acknowledge {
    fn from(acknowledgement: &Acknowledgement) -> Self {
        v1::Acknowledge {
            attempt: Some(acknowledgement.attempt.into()),
            checkpoint: acknowledgement.checkpoint.0,
            state: Some(state_to_wire(acknowledgement.state.clone())),
        }
    }
}

impl TryFrom<v1::FromTaskManager> for Received {
    type Error = WireError;

    fn try_from(wire: v1::FromTaskManager) -> Result<Self, WireError> {
        let message = match wire.message.ok_or(WireError::UnknownMessage)? {
            Message::Hello(wire) => return Ok(Received::Hello(wire.try_into()?)),
            Message::Metrics(wire) => return Ok(Received::Metrics(metrics(wire)?)),
            Message::Heartbeat(wire) => FromTaskManager::Heartbeat {
                sequence: wire.sequence,
            },
            Message::TaskStates(wire) => FromTaskManager::TaskStates(task_states(wire)?),
            Message::Acknowledge(wire) => FromTaskManager::Acknowledge(wire.try_into()?),
            Message::Leave(wire) => FromTaskManager::Leave {
                within: Duration::from_millis(wire.within_ms),
            },
            Message::Decline(wire) => FromTaskManager::Decline {
                attempt: ids::attempt_id(wire.attempt, "decline.attempt")?,
                checkpoint: check::checkpoint(wire.checkpoint, "decline.checkpoint")?,
                reason: reason_from_wire(wire.reason)?,
                message: check::prose(wire.message),
            },
        };
        Ok(Received::Message(message))
    }
}

fn metrics(wire: v1::Metrics) -> Result<Vec<TaskMetrics>, BadMessage> {
    check::at_most(wire.tasks.len(), check::MAX_ATTEMPTS, "metrics.tasks")?;
    let task = |wire: v1::TaskMetrics| {
        Ok(TaskMetrics {
            attempt: ids::attempt_id(wire.attempt, "metrics.tasks.attempt")?,
            records_in: wire.records_in,
            records_out: wire.records_out,
            bytes_in: wire.bytes_in,
            bytes_out: wire.bytes_out,
        })
    };
    wire.tasks.into_iter().map(task).collect()
}

fn task_states(wire: v1::TaskStates) -> Result<Vec<TaskStateChange>, BadMessage> {
    check::at_most(
        wire.changes.len(),
        check::MAX_ATTEMPTS,
        "task_states.changes",
    )?;
    wire.changes.into_iter().map(TryInto::try_into).collect()
}

impl TryFrom<v1::TaskStateChange> for TaskStateChange {
    type Error = BadMessage;

    fn try_from(wire: v1::TaskStateChange) -> Result<Self, BadMessage> {
        let report = match v1::TaskReport::try_from(wire.report) {
            Ok(v1::TaskReport::Initializing) => TaskReport::Initializing,
            Ok(v1::TaskReport::Running) => TaskReport::Running,
            Ok(v1::TaskReport::EndOfData) => TaskReport::EndOfData,
            Ok(v1::TaskReport::Finished) => TaskReport::Finished,
            Ok(v1::TaskReport::Canceled) => TaskReport::Canceled,
            Ok(v1::TaskReport::Failed) => TaskReport::Failed {
                cause: check::prose(wire.cause),
            },
            Ok(v1::TaskReport::Unspecified) | Err(_) => {
                let field = "task_states.changes.report";
                return Err(Problem::UnknownValue(wire.report).at(field));
            }
        };
        Ok(TaskStateChange {
            attempt: ids::attempt_id(wire.attempt, "task_states.changes.attempt")?,
            report,
        })
    }
}

impl TryFrom<v1::Acknowledge> for Acknowledgement {
    type Error = BadMessage;

    fn try_from(wire: v1::Acknowledge) -> Result<Self, BadMessage> {
        let state = check::required(wire.state, "acknowledge.state")?;
        Ok(Acknowledgement {
            attempt: ids::attempt_id(wire.attempt, "acknowledge.attempt")?,
            checkpoint: check::checkpoint(wire.checkpoint, "acknowledge.checkpoint")?,
            state: state_from_wire(state, "acknowledge.state")?,
        })
    }
}

fn reason_to_wire(reason: DeclineReason) -> v1::DeclineReason {
    match reason {
        DeclineReason::TaskNotReady => v1::DeclineReason::TaskNotReady,
        DeclineReason::AsyncException => v1::DeclineReason::AsyncException,
        DeclineReason::Subsumed => v1::DeclineReason::Subsumed,
    }
}

fn reason_from_wire(wire: i32) -> Result<DeclineReason, BadMessage> {
    match v1::DeclineReason::try_from(wire) {
        Ok(v1::DeclineReason::TaskNotReady) => Ok(DeclineReason::TaskNotReady),
        Ok(v1::DeclineReason::AsyncException) => Ok(DeclineReason::AsyncException),
        Ok(v1::DeclineReason::Subsumed) => Ok(DeclineReason::Subsumed),
        Ok(v1::DeclineReason::Unspecified) | Err(_) => {
            Err(Problem::UnknownValue(wire).at("decline.reason"))
        }
    }
}
