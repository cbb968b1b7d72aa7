//! What the JobManager says to a TaskManager.

use super::ids;
use crate::bad_message::{BadMessage, WireError};
use crate::check::{self, millis};
use crate::v1;
use crate::v1::to_task_manager::Message;
use jobmanager_core::id::TaskId;
use jobmanager_core::message::{Envelope, Refusal, ToTaskManager, Welcome};
use jobmanager_core::time::Timestamp;
use std::time::Duration;

impl From<Envelope> for v1::ToTaskManager {
    fn from(envelope: Envelope) -> Self {
        v1::ToTaskManager {
            epoch: envelope.epoch.0,
            message: Some(envelope.message.into()),
        }
    }
}

impl From<&Envelope> for v1::ToTaskManager {
    fn from(envelope: &Envelope) -> Self {
        // A clone shares the table of a deployment, so its strings are copied once, not twice.
        envelope.clone().into()
    }
}

impl From<ToTaskManager> for Message {
    fn from(message: ToTaskManager) -> Self {
        match message {
            ToTaskManager::Welcome(welcome) => Message::Welcome(welcome.into()),
            ToTaskManager::Refused(refusal) => Message::Refused(refusal.into()),
            ToTaskManager::Heartbeat { sequence } => Message::Heartbeat(v1::Heartbeat { sequence }),
            ToTaskManager::Deploy(deployment) => Message::Deploy(deployment.into()),
            ToTaskManager::Cancel {
                job,
                attempt,
                tasks,
            } => Message::Cancel(v1::Cancel {
                job: Some(job.into()),
                attempt: Some(attempt.into()),
                tasks: tasks.into_iter().map(Into::into).collect(),
            }),
            ToTaskManager::TriggerCheckpoint {
                job,
                tasks,
                checkpoint,
                timestamp,
                savepoint,
            } => Message::TriggerCheckpoint(v1::TriggerCheckpoint {
                job: Some(job.into()),
                checkpoint: checkpoint.0,
                timestamp_ms: timestamp.0,
                tasks: tasks.into_iter().map(Into::into).collect(),
                savepoint: savepoint.map(Into::into),
            }),
            ToTaskManager::NotifyComplete {
                job,
                tasks,
                checkpoint,
                finish,
            } => Message::NotifyComplete(v1::NotifyComplete {
                job: Some(job.into()),
                checkpoint: checkpoint.0,
                finish,
                tasks: tasks.into_iter().map(Into::into).collect(),
            }),
            ToTaskManager::NotifyAborted {
                job,
                tasks,
                checkpoint,
            } => Message::NotifyAborted(v1::NotifyAborted {
                job: Some(job.into()),
                checkpoint: checkpoint.0,
                tasks: tasks.into_iter().map(Into::into).collect(),
            }),
            ToTaskManager::Resume {
                job,
                tasks,
                completed,
                aborted_below,
            } => Message::Resume(v1::Resume {
                job: Some(job.into()),
                completed: completed.map_or(0, |checkpoint| checkpoint.0),
                aborted_below: aborted_below.0,
                tasks: tasks.into_iter().map(Into::into).collect(),
            }),
            ToTaskManager::ReleaseJob { job } => Message::ReleaseJob(v1::ReleaseJob {
                job: Some(job.into()),
            }),
            ToTaskManager::Dismissed => Message::Dismissed(v1::Dismissed {}),
        }
    }
}

impl From<Welcome> for v1::Welcome {
    fn from(welcome: Welcome) -> Self {
        v1::Welcome {
            heartbeat_interval_ms: millis(welcome.heartbeat_interval),
            heartbeat_timeout_ms: millis(welcome.heartbeat_timeout),
            grace_period_ms: millis(welcome.grace_period),
            checkpoint_storage: welcome.checkpoint_storage,
            cancellation_timeout_ms: millis(welcome.cancellation_timeout),
            reconnect_initial_ms: millis(welcome.registration_initial),
            reconnect_max_ms: millis(welcome.registration_max),
        }
    }
}

impl From<Refusal> for v1::Refused {
    fn from(refusal: Refusal) -> Self {
        v1::Refused {
            reason: refusal.reason,
            retry_after_ms: millis(refusal.retry_after),
        }
    }
}

impl TryFrom<v1::ToTaskManager> for Envelope {
    type Error = WireError;

    fn try_from(wire: v1::ToTaskManager) -> Result<Self, WireError> {
        let message = wire.message.ok_or(WireError::UnknownMessage)?;
        // Only who leads has an epoch; who does not lead may refuse.
        let epoch = if matches!(message, Message::Refused(_)) {
            check::epoch_or_zero(wire.epoch, "epoch")?
        } else {
            check::epoch(wire.epoch, "epoch")?
        };
        Ok(Envelope {
            epoch,
            message: message.try_into()?,
        })
    }
}

impl TryFrom<Message> for ToTaskManager {
    type Error = BadMessage;

    fn try_from(wire: Message) -> Result<Self, BadMessage> {
        Ok(match wire {
            Message::Welcome(wire) => ToTaskManager::Welcome(wire.try_into()?),
            Message::Refused(wire) => ToTaskManager::Refused(Refusal {
                reason: check::prose(wire.reason),
                retry_after: Duration::from_millis(wire.retry_after_ms),
            }),
            Message::Heartbeat(wire) => ToTaskManager::Heartbeat {
                sequence: wire.sequence,
            },
            Message::Deploy(wire) => ToTaskManager::Deploy(wire.try_into()?),
            Message::Cancel(wire) => cancel(wire)?,
            Message::TriggerCheckpoint(wire) => ToTaskManager::TriggerCheckpoint {
                job: ids::job(wire.job, "trigger_checkpoint.job")?,
                tasks: tasks(wire.tasks, "trigger_checkpoint.tasks")?,
                checkpoint: check::checkpoint(wire.checkpoint, "trigger_checkpoint.checkpoint")?,
                timestamp: Timestamp(wire.timestamp_ms),
                savepoint: wire.savepoint.map(TryInto::try_into).transpose()?,
            },
            Message::NotifyComplete(wire) => ToTaskManager::NotifyComplete {
                job: ids::job(wire.job, "notify_complete.job")?,
                tasks: tasks(wire.tasks, "notify_complete.tasks")?,
                checkpoint: check::checkpoint(wire.checkpoint, "notify_complete.checkpoint")?,
                finish: wire.finish,
            },
            Message::NotifyAborted(wire) => ToTaskManager::NotifyAborted {
                job: ids::job(wire.job, "notify_aborted.job")?,
                tasks: tasks(wire.tasks, "notify_aborted.tasks")?,
                checkpoint: check::checkpoint(wire.checkpoint, "notify_aborted.checkpoint")?,
            },
            Message::Resume(wire) => ToTaskManager::Resume {
                job: ids::job(wire.job, "resume.job")?,
                tasks: tasks(wire.tasks, "resume.tasks")?,
                completed: check::optional_checkpoint(wire.completed, "resume.completed")?,
                aborted_below: check::checkpoint(wire.aborted_below, "resume.aborted_below")?,
            },
            Message::ReleaseJob(wire) => ToTaskManager::ReleaseJob {
                job: ids::job(wire.job, "release_job.job")?,
            },
            Message::Dismissed(v1::Dismissed {}) => ToTaskManager::Dismissed,
        })
    }
}

impl TryFrom<v1::Welcome> for Welcome {
    type Error = BadMessage;

    fn try_from(wire: v1::Welcome) -> Result<Self, BadMessage> {
        let positive =
            |millis, field| check::in_range(millis, 1..=u64::MAX, field).map(Duration::from_millis);
        Ok(Welcome {
            heartbeat_interval: positive(
                wire.heartbeat_interval_ms,
                "welcome.heartbeat_interval_ms",
            )?,
            heartbeat_timeout: positive(wire.heartbeat_timeout_ms, "welcome.heartbeat_timeout_ms")?,
            grace_period: Duration::from_millis(wire.grace_period_ms),
            checkpoint_storage: check::locator(
                wire.checkpoint_storage,
                "welcome.checkpoint_storage",
            )?,
            cancellation_timeout: Duration::from_millis(wire.cancellation_timeout_ms),
            registration_initial: positive(
                wire.reconnect_initial_ms,
                "welcome.reconnect_initial_ms",
            )?,
            registration_max: positive(wire.reconnect_max_ms, "welcome.reconnect_max_ms")?,
        })
    }
}

fn cancel(wire: v1::Cancel) -> Result<ToTaskManager, BadMessage> {
    Ok(ToTaskManager::Cancel {
        job: ids::job(wire.job, "cancel.job")?,
        attempt: ids::attempt(wire.attempt, "cancel.attempt")?,
        tasks: tasks(wire.tasks, "cancel.tasks")?,
    })
}

fn tasks(wire: Vec<v1::TaskId>, field: &'static str) -> Result<Vec<TaskId>, BadMessage> {
    check::at_most(wire.len(), check::MAX_ATTEMPTS, field)?;
    let tasks = wire.into_iter().map(|task| ids::task(Some(task), field));
    tasks.collect()
}
