//! What TaskManagers say their tasks have done so far. For people: the coordinator never sees it.
//!
//! The table keeps the last report of every task of a bounded number of tasks; when it is full, the job
//! that was heard of least recently is forgotten.

use jobmanager_core::id::{Attempt, JobId, SubtaskIndex, TaskId, VertexIndex};
use jobmanager_proto::TaskMetrics;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many tasks are remembered: about 20 MB.
const MAX_TASKS: usize = 200_000;

/// What one or several tasks have done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records read.
    pub records_in: u64,
    /// Records written.
    pub records_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
}

impl Counters {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Counters) -> Counters {
        Counters {
            records_in: self.records_in.saturating_add(other.records_in),
            records_out: self.records_out.saturating_add(other.records_out),
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
        }
    }
}

/// The table; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MetricsTable(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    jobs: BTreeMap<JobId, JobMetrics>,
    tasks: usize,
    /// Counts the reports, to know which job was heard of least recently.
    reports: u64,
}

#[derive(Debug, Default)]
struct JobMetrics {
    heard: u64,
    tasks: BTreeMap<TaskId, (Attempt, Counters)>,
}

impl MetricsTable {
    /// Takes a report in. What an older attempt says of a task no longer counts.
    pub fn report(&self, metrics: &[TaskMetrics]) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for task in metrics {
            table.report(task);
        }
    }

    /// What the tasks of a vertex have done, and how many of them have said so.
    #[must_use]
    pub fn vertex(&self, job: JobId, vertex: VertexIndex) -> (Counters, usize) {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = table.tasks(job, vertex);
        tasks.fold((Counters::default(), 0), |(sum, count), (_, counters)| {
            (sum.plus(counters), count + 1)
        })
    }

    /// The same, of each subtask that has said something.
    #[must_use]
    pub fn tasks(&self, job: JobId, vertex: VertexIndex) -> BTreeMap<SubtaskIndex, Counters> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.tasks(job, vertex).collect()
    }
}

impl Table {
    fn tasks(
        &self,
        job: JobId,
        vertex: VertexIndex,
    ) -> impl Iterator<Item = (SubtaskIndex, Counters)> {
        let task = move |subtask| TaskId {
            vertex,
            subtask: SubtaskIndex(subtask),
        };
        let tasks = self.jobs.get(&job).into_iter();
        let tasks = tasks.flat_map(move |job| job.tasks.range(task(0)..=task(u32::MAX)));
        tasks.map(|(task, (_, counters))| (task.subtask, *counters))
    }

    fn report(&mut self, metrics: &TaskMetrics) {
        let TaskMetrics {
            attempt,
            records_in,
            records_out,
            bytes_in,
            bytes_out,
        } = *metrics;
        let counters = Counters {
            records_in,
            records_out,
            bytes_in,
            bytes_out,
        };
        self.reports += 1;
        let job = self.jobs.entry(attempt.job).or_default();
        job.heard = self.reports;
        let known = job.tasks.get(&attempt.task);
        if known.is_some_and(|(known, _)| *known > attempt.attempt) {
            return;
        }
        let value = (attempt.attempt, counters);
        if job.tasks.insert(attempt.task, value).is_none() {
            self.tasks += 1;
        }
        while self.tasks > MAX_TASKS {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        let oldest = self.jobs.iter().min_by_key(|(_, job)| job.heard);
        let Some(job) = oldest.map(|(id, _)| *id) else {
            return;
        };
        if let Some(gone) = self.jobs.remove(&job) {
            self.tasks -= gone.tasks.len();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::id::{AttemptId, Epoch};

    fn metrics(job: u128, subtask: u32, number: u32, records_in: u64) -> TaskMetrics {
        TaskMetrics {
            attempt: AttemptId {
                job: JobId(job),
                task: TaskId {
                    vertex: VertexIndex(1),
                    subtask: SubtaskIndex(subtask),
                },
                attempt: Attempt {
                    epoch: Epoch(1),
                    number,
                },
            },
            records_in,
            records_out: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    #[test]
    fn a_vertex_has_the_sum_of_its_tasks_latest_attempts() {
        let table = MetricsTable::default();
        table.report(&[
            metrics(1, 0, 2, 10),
            metrics(1, 1, 2, 5),
            metrics(2, 0, 1, 99),
        ]);
        table.report(&[metrics(1, 0, 1, 1_000), metrics(1, 1, 2, 6)]);
        assert_eq!(table.vertex(JobId(1), VertexIndex(1)).0.records_in, 16);
        assert_eq!(table.vertex(JobId(1), VertexIndex(0)).0.records_in, 0);
    }

    #[test]
    fn the_table_does_not_grow_without_bound() {
        let table = MetricsTable::default();
        for task in 0..=u32::try_from(MAX_TASKS).unwrap() {
            table.report(&[metrics(u128::from(task / 1_000), task % 1_000, 1, 1)]);
        }
        assert!(table.0.lock().unwrap().tasks <= MAX_TASKS);
        assert_eq!(
            table.vertex(JobId(0), VertexIndex(1)),
            (Counters::default(), 0)
        );
    }
}
