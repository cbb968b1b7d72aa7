//! Names: jobs, tasks, attempts, and the channels of the exchange.

use crate::bad_message::BadMessage;
use crate::check;
use crate::v1;
use jobmanager_core::graph::{MAX_EDGES, MAX_PARALLELISM, MAX_VERTICES};
use jobmanager_core::id::{
    Attempt, AttemptId, JobId, SubtaskIndex, TaskId, TriggerId, VertexIndex,
};
use jobmanager_core::message::ChannelId;

impl From<u128> for v1::Uuid {
    fn from(number: u128) -> Self {
        v1::Uuid {
            high: (number >> 64) as u64,
            low: number as u64,
        }
    }
}

impl From<v1::Uuid> for u128 {
    fn from(uuid: v1::Uuid) -> Self {
        u128::from(uuid.high) << 64 | u128::from(uuid.low)
    }
}

impl From<JobId> for v1::Uuid {
    fn from(job: JobId) -> Self {
        job.0.into()
    }
}

impl From<v1::Uuid> for JobId {
    fn from(uuid: v1::Uuid) -> Self {
        JobId(uuid.into())
    }
}

impl From<TriggerId> for v1::Uuid {
    fn from(trigger: TriggerId) -> Self {
        trigger.0.into()
    }
}

impl From<Attempt> for v1::Attempt {
    fn from(attempt: Attempt) -> Self {
        v1::Attempt {
            epoch: attempt.epoch.0,
            number: attempt.number,
        }
    }
}

impl From<TaskId> for v1::TaskId {
    fn from(task: TaskId) -> Self {
        v1::TaskId {
            vertex: task.vertex.0,
            subtask: task.subtask.0,
        }
    }
}

impl From<AttemptId> for v1::AttemptId {
    fn from(attempt: AttemptId) -> Self {
        v1::AttemptId {
            job: Some(attempt.job.into()),
            task: Some(attempt.task.into()),
            attempt: Some(attempt.attempt.into()),
        }
    }
}

/// The request that opens a channel under a name of the caller's, with its first credit in frames.
#[must_use]
pub fn subscribe(id: &ChannelId, channel: u32, credit: u32) -> v1::Subscribe {
    v1::Subscribe {
        channel,
        job: Some(id.job.into()),
        attempt: Some(id.attempt.into()),
        edge: id.edge,
        producer: id.producer.0,
        consumer: id.consumer.0,
        credit,
    }
}

impl TryFrom<&v1::Subscribe> for ChannelId {
    type Error = BadMessage;

    fn try_from(wire: &v1::Subscribe) -> Result<Self, BadMessage> {
        let subtask =
            |value, field| check::index(value, MAX_PARALLELISM as usize, field).map(SubtaskIndex);
        Ok(ChannelId {
            job: job(wire.job, "subscribe.job")?,
            attempt: attempt(wire.attempt, "subscribe.attempt")?,
            edge: check::index(wire.edge, MAX_EDGES, "subscribe.edge")?,
            producer: subtask(wire.producer, "subscribe.producer")?,
            consumer: subtask(wire.consumer, "subscribe.consumer")?,
        })
    }
}

pub(crate) fn job(wire: Option<v1::Uuid>, field: &'static str) -> Result<JobId, BadMessage> {
    check::required(wire, field).map(JobId::from)
}

pub(crate) fn trigger(
    wire: Option<v1::Uuid>,
    field: &'static str,
) -> Result<TriggerId, BadMessage> {
    check::required(wire, field).map(|id| TriggerId(id.into()))
}

pub(crate) fn attempt(
    wire: Option<v1::Attempt>,
    field: &'static str,
) -> Result<Attempt, BadMessage> {
    let wire = check::required(wire, field)?;
    Ok(Attempt {
        epoch: check::epoch(wire.epoch, field)?,
        number: check::in_range_u32(wire.number, 0..=check::MAX_ATTEMPT_NUMBER, field)?,
    })
}

/// A task of some job: positions that some job can have.
pub(crate) fn task(wire: Option<v1::TaskId>, field: &'static str) -> Result<TaskId, BadMessage> {
    let wire = check::required(wire, field)?;
    check::index(wire.vertex, MAX_VERTICES, field)?;
    check::index(wire.subtask, MAX_PARALLELISM as usize, field)?;
    Ok(TaskId {
        vertex: VertexIndex(wire.vertex),
        subtask: SubtaskIndex(wire.subtask),
    })
}

pub(crate) fn attempt_id(
    wire: Option<v1::AttemptId>,
    field: &'static str,
) -> Result<AttemptId, BadMessage> {
    let wire = check::required(wire, field)?;
    Ok(AttemptId {
        job: job(wire.job, field)?,
        task: task(wire.task, field)?,
        attempt: attempt(wire.attempt, field)?,
    })
}
