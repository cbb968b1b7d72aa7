//! The names of things. Every id is a type of its own, so that one cannot be passed for another.
//!
//! Uniqueness needs no luck: an attempt carries the epoch that minted it, a checkpoint id never goes
//! back or repeats within a job, a TaskManager's process has an incarnation.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// A job, for its whole life. 128 bits, shown as 32 hex digits (Flink's form).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u128);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

/// A text that is not 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a job id: 32 hex digits are expected")]
pub struct NotAJobId;

impl FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<Self, NotAJobId> {
        from_hex(text).map(JobId).ok_or(NotAJobId)
    }
}

/// A number written as 32 hex digits.
fn from_hex(text: &str) -> Option<u128> {
    let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// A savepoint that a client asked for; the client may choose it, which makes asking twice harmless. Shown as
/// 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TriggerId(pub u128);

impl fmt::Display for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TriggerId({self})")
    }
}

/// A text that is not 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a trigger id: 32 hex digits are expected")]
pub struct NotATriggerId;

impl FromStr for TriggerId {
    type Err = NotATriggerId;

    fn from_str(text: &str) -> Result<Self, NotATriggerId> {
        from_hex(text).map(TriggerId).ok_or(NotATriggerId)
    }
}

/// The term of one leading JobManager. Minted by the store, strictly increasing, at least 1.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// The position of a job vertex in its JobGraph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VertexIndex(pub u32);

/// The position of a subtask in its vertex, from 0 to parallelism − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubtaskIndex(pub u32);

/// The position of a pipelined region in its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RegionIndex(pub u32);

/// One parallel instance of one vertex of a job, whatever attempt runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Which vertex.
    pub vertex: VertexIndex,
    /// Which of its subtasks.
    pub subtask: SubtaskIndex,
}

/// One try at running a region: all its tasks share it. Later attempts compare greater.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Attempt {
    /// The epoch in which the attempt was minted.
    pub epoch: Epoch,
    /// Counts the attempts of the region, over all epochs as far as they are remembered.
    pub number: u32,
}

impl Attempt {
    /// The next one, minted in this epoch.
    #[must_use]
    pub fn after(last: Option<Attempt>, epoch: Epoch) -> Attempt {
        Attempt {
            epoch,
            number: last.map_or(0, |attempt| attempt.number + 1),
        }
    }
}

/// One attempt of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
}

impl fmt::Display for AttemptId {
    /// `job/vertex.subtask@epoch.number`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AttemptId { job, task, attempt } = self;
        let (vertex, subtask) = (task.vertex.0, task.subtask.0);
        write!(
            f,
            "{job}/{vertex}.{subtask}@{}.{}",
            attempt.epoch.0, attempt.number
        )
    }
}

/// A checkpoint of a job. Strictly increasing within the job, from 1, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckpointId(pub u64);

impl CheckpointId {
    /// The id after this one.
    #[must_use]
    pub fn next(self) -> CheckpointId {
        CheckpointId(self.0 + 1)
    }
}

/// The name of a TaskManager, chosen by whoever starts it. Two of one name do not register together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskManagerId(pub String);

impl fmt::Display for TaskManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A TaskManager that the coordinator has asked a resource provider for, over all coordinators of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId {
    /// In which epoch it was asked for.
    pub epoch: Epoch,
    /// Counts those of the epoch, from 1.
    pub number: u64,
}

impl WorkerId {
    /// Under which name its process registers: `taskmanager-EPOCH-NUMBER`.
    #[must_use]
    pub fn name(self) -> TaskManagerId {
        TaskManagerId(self.to_string())
    }

    /// Which one has this name, if one has.
    #[must_use]
    pub fn named(name: &TaskManagerId) -> Option<WorkerId> {
        let numbers = name.0.strip_prefix("taskmanager-")?;
        let (epoch, number) = numbers.split_once('-')?;
        let (epoch, number) = (Epoch(epoch.parse().ok()?), number.parse().ok()?);
        let worker = WorkerId { epoch, number };
        // There are other ways to write a number.
        (worker.name() == *name).then_some(worker)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "taskmanager-{}-{}", self.epoch.0, self.number)
    }
}

/// One life of a TaskManager process: another process of the same name has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// One connection of a TaskManager to the JobManager. Numbered by the shell, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// One call of a client. Numbered by the shell, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// A slot of one TaskManager, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotIndex(pub u32);

/// One write to the store. Numbered by the coordinator in the order of the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_worker_has_one_name() {
        let (epoch, number) = (Epoch(3), 14);
        let worker = WorkerId { epoch, number };
        assert_eq!(worker.name().0, "taskmanager-3-14");
        let named = |name: &str| WorkerId::named(&TaskManagerId(String::from(name)));
        assert_eq!(named("taskmanager-3-14"), Some(worker));
        for other in [
            "taskmanager-03-14",
            "taskmanager-3",
            "tm-3-14",
            "taskmanager-3-+1",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn a_job_id_reads_what_it_shows() {
        let id = JobId(0xdead_beef);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_job_id_is_exactly_32_hex_digits() {
        for text in [
            "",
            "1",
            "+0000000000000000000000000000001",
            "zz000000000000000000000000000000",
        ] {
            assert_eq!(text.parse::<JobId>(), Err(NotAJobId), "{text}");
        }
    }

    #[test]
    fn an_attempt_of_a_later_epoch_is_later() {
        let old = Attempt {
            epoch: Epoch(1),
            number: 9,
        };
        let new = Attempt {
            epoch: Epoch(2),
            number: 0,
        };
        assert!(old < new);
    }
}
