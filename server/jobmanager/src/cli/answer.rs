//! What the JobManager answers, as far as the commands read it. Fields that they do not know are
//! ignored, fields that an older JobManager does not send have a default.

use jobmanager_core::state::JobStatus;
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
pub(crate) struct Submitted {
    #[serde(rename = "jobUrl")]
    pub(crate) job_url: String,
}

/// A wish that is durable.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Triggered {
    pub(crate) request_id: String,
}

/// How far a savepoint or a checkpoint is.
#[derive(Debug, Deserialize)]
pub(crate) struct SnapshotStatus {
    /// What came of it; absent as long as it is tried.
    pub(crate) operation: Option<SnapshotOperation>,
}

/// What came of it: one of these.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SnapshotOperation {
    /// Of a savepoint.
    pub(crate) location: Option<String>,
    #[serde(rename = "checkpointId")]
    pub(crate) checkpoint_id: Option<u64>,
    pub(crate) failure_cause: Option<FailureCause>,
}

/// Why something failed, in the form of Flink's exceptions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct FailureCause {
    class: String,
    stack_trace: String,
}

impl FailureCause {
    /// The words without the class of the exception.
    pub(crate) fn words(&self) -> &str {
        let words = self.stack_trace.strip_prefix(&self.class);
        let words = words.and_then(|words| words.strip_prefix(": "));
        words.unwrap_or(&self.stack_trace)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) errors: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Jobs {
    pub(crate) jobs: Vec<JobLine>,
}

/// A job in one line.
#[derive(Debug, Deserialize)]
pub(crate) struct JobLine {
    pub(crate) jid: String,
    pub(crate) name: String,
    #[serde(deserialize_with = "job_status")]
    pub(crate) state: JobStatus,
    /// Milliseconds.
    #[serde(default)]
    pub(crate) duration: i64,
    /// How many tasks are in each state, and their `total`.
    #[serde(default)]
    pub(crate) tasks: BTreeMap<String, u64>,
}

/// A job.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Job {
    pub(crate) name: String,
    #[serde(deserialize_with = "job_status")]
    pub(crate) state: JobStatus,
    /// Milliseconds.
    #[serde(default)]
    pub(crate) duration: i64,
    #[serde(default)]
    pub(crate) vertices: Vec<Vertex>,
    /// What it waits for, in words.
    #[serde(default)]
    pub(crate) waiting_for: Option<String>,
    /// How often a region of it was restarted.
    #[serde(default)]
    pub(crate) restarts: u64,
}

impl Job {
    /// How many records its tasks have taken in.
    pub(crate) fn records(&self) -> u64 {
        let read = |vertex: &Vertex| vertex.metrics.read_records;
        self.vertices.iter().map(read).sum()
    }

    /// How many of its tasks run or have finished, and how many there are.
    pub(crate) fn tasks(&self) -> (u64, u64) {
        let running = |vertex: &Vertex| vertex.in_state("RUNNING") + vertex.in_state("FINISHED");
        (
            self.vertices.iter().map(running).sum(),
            self.vertices.iter().map(|vertex| vertex.parallelism).sum(),
        )
    }
}

/// A vertex of a job.
#[derive(Debug, Deserialize)]
pub(crate) struct Vertex {
    pub(crate) name: String,
    pub(crate) parallelism: u64,
    #[serde(default)]
    pub(crate) tasks: BTreeMap<String, u64>,
    #[serde(default)]
    pub(crate) metrics: Metrics,
}

impl Vertex {
    pub(crate) fn in_state(&self, state: &str) -> u64 {
        self.tasks.get(state).copied().unwrap_or(0)
    }
}

/// What the tasks of a vertex have done since they were deployed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Metrics {
    pub(crate) read_records: u64,
    pub(crate) write_records: u64,
}

/// The checkpoints of a job.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Checkpoints {
    pub(crate) counts: CheckpointCounts,
    #[serde(default)]
    pub(crate) latest: LatestCheckpoints,
    pub(crate) retained: Option<RetainedCheckpoint>,
}

/// The checkpoint that outlives a job.
#[derive(Debug, Deserialize)]
pub(crate) struct RetainedCheckpoint {
    status: String,
    external_path: String,
}

impl RetainedCheckpoint {
    /// Whether another job can start from it.
    pub(crate) fn is_written(&self) -> bool {
        self.status == "COMPLETED"
    }

    pub(crate) fn in_words(&self) -> String {
        let verb = if self.is_written() { "is" } else { "is being" };
        format!(
            "its last checkpoint {verb} retained in {}",
            self.external_path
        )
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CheckpointCounts {
    pub(crate) restored: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) in_progress: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LatestCheckpoints {
    pub(crate) completed: Option<CheckpointLine>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CheckpointLine {
    pub(crate) id: u64,
    /// Milliseconds.
    #[serde(default)]
    pub(crate) end_to_end_duration: i64,
    /// Bytes.
    #[serde(default)]
    pub(crate) state_size: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exceptions {
    pub(crate) exception_history: ExceptionHistory,
}

impl Exceptions {
    /// The latest failure; if that is of the whole job and repeats what a task said, the task's.
    pub(crate) fn root_cause(&self) -> Option<&Exception> {
        let entries = &self.exception_history.entries;
        let latest = entries.first()?;
        let repeated = |other: &&Exception| {
            other.task_name.is_some() && latest.stacktrace.contains(other.stacktrace.trim_end())
        };
        Some(entries.iter().find(repeated).unwrap_or(latest))
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct ExceptionHistory {
    /// The newest first.
    pub(crate) entries: Vec<Exception>,
}

/// A failure that a job has seen.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exception {
    pub(crate) stacktrace: String,
    #[serde(default)]
    pub(crate) task_name: Option<String>,
    #[serde(default)]
    pub(crate) task_manager_id: Option<String>,
}

impl Exception {
    /// The system's words without what explains them further.
    pub(crate) fn first_line(&self) -> &str {
        let mut lines = self.stacktrace.lines().map(str::trim);
        lines.find(|line| !line.is_empty()).unwrap_or("no reason")
    }

    /// One line for whoever watches the job; the same for every attempt that fails in the same way.
    pub(crate) fn in_a_line(&self) -> String {
        let words = self.first_line();
        match &self.task_name {
            Some(task) => {
                let task = task.split(" - execution #").next().unwrap_or(task);
                format!("FAILED TASK {task}: {words}")
            }
            None => format!("FAILURE: {words}"),
        }
    }

    /// The system's words, and where they were said.
    pub(crate) fn in_words(&self) -> String {
        let mut words = self.stacktrace.trim_end().to_owned();
        if let Some(task) = &self.task_name {
            words = format!("{task}: {words}");
        }
        if let Some(taskmanager) = &self.task_manager_id {
            words = format!("{words} (on {taskmanager})");
        }
        words
    }
}

fn job_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JobStatus, D::Error> {
    let name = String::deserialize(deserializer)?;
    JobStatus::ALL
        .into_iter()
        .find(|status| status.to_string() == name)
        .ok_or_else(|| de::Error::custom(format!("`{name}` is not the state of a job")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_root_cause_is_what_the_task_said() {
        let answer = |latest: &str| {
            let entries = serde_json::json!([
                {"stacktrace": latest},
                {"stacktrace": "no such file: /x", "taskName": "b (1/2) - execution #3"},
                {"stacktrace": "something older", "taskName": "a (1/2) - execution #2"}]);
            let answer = serde_json::json!({"exceptionHistory": {"entries": entries}});
            let answer: Exceptions = serde_json::from_value(answer).unwrap();
            answer.root_cause().unwrap().in_words()
        };
        assert_eq!(
            answer("recovery is suppressed; the failure was: no such file: /x"),
            "b (1/2) - execution #3: no such file: /x"
        );
        assert_eq!(
            answer("too many checkpoints failed"),
            "too many checkpoints failed"
        );
    }

    #[test]
    fn a_failure_in_a_line_is_the_same_for_every_attempt() {
        let line = |task: Option<&str>, words: &str| {
            let answer = serde_json::json!({"stacktrace": words, "taskName": task});
            let answer: Exception = serde_json::from_value(answer).unwrap();
            answer.in_a_line()
        };
        for attempt in ["lines (1/2) - execution #0", "lines (1/2) - execution #7"] {
            assert_eq!(
                line(Some(attempt), "/x: permission denied\n  at line 3"),
                "FAILED TASK lines (1/2): /x: permission denied"
            );
        }
        assert_eq!(line(None, "no slots\n"), "FAILURE: no slots");
    }

    #[test]
    fn a_failed_savepoint_is_told_in_the_systems_words() {
        let answer = serde_json::json!({"status": {"id": "COMPLETED"}, "operation": {
            "failure-cause": {"class": "a.b.C", "stack-trace": "a.b.C: the disk is full"}}});
        let status: SnapshotStatus = serde_json::from_value(answer).unwrap();
        let cause = status.operation.unwrap().failure_cause.unwrap();
        assert_eq!(cause.words(), "the disk is full");
    }

    #[test]
    fn a_state_that_does_not_exist_is_refused() {
        let job = |state: &str| serde_json::json!({"name": "a", "state": state});
        assert!(serde_json::from_value::<Job>(job("RUNNING")).is_ok());
        assert!(serde_json::from_value::<Job>(job("running")).is_err());
    }
}
