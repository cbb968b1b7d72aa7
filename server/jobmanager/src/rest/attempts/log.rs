//! The attempts of each subtask, with the states that each was seen in: the coordinator keeps the current one alone, and
//! no times.
//!
//! It is written by the looks at what has changed, so a time is when a state was first seen, which is some tens of
//! milliseconds after it came about; a state that lasted for less may be missing. Nothing is stored: a leader knows
//! what it has seen itself, and of what ran before only that it did.
//!
//! Invariants: of a subtask the latest attempts are kept, of a job no more subtasks than are worth looking at one by
//! one, and of all jobs a bounded number of attempts; what is forgotten first is the job that was looked at least
//! recently.

use jobmanager_core::id::{
    Attempt, Epoch, JobId, SubtaskIndex, TaskId, TaskManagerId, VertexIndex,
};
use jobmanager_core::jobmanager::{Coordinator, JobDetails, SubtaskDetails, SubtaskLine};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most subtasks of a job of which attempts are kept: so many lines somebody may still look through.
pub(in crate::rest) const MAX_SUBTASKS: u32 = 2_000;
/// The most attempts of a subtask: enough to see that it keeps failing.
const MAX_OF_SUBTASK: usize = 8;
/// The most attempts of all jobs: about 20 MB.
const MAX_ATTEMPTS: usize = 100_000;

/// What was seen of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) attempt: Attempt,
    pub(super) taskmanager: Option<TaskManagerId>,
    /// Each with the time at which it was first seen. There is at least one.
    pub(super) states: Vec<(ExecutionState, Timestamp)>,
    /// An earlier leader began it, so it was in its first state for longer than it was looked at.
    pub(super) is_older: bool,
    pub(super) ended: Option<Timestamp>,
}

impl Seen {
    fn state(&self) -> ExecutionState {
        let last = self.states.last();
        last.map_or(ExecutionState::Created, |(state, _)| *state)
    }

    fn come_into(&mut self, state: ExecutionState, at: Timestamp) {
        if self.state() != state {
            self.states.push((state, at));
        }
        if state.is_terminal() {
            self.end(at);
        }
    }

    fn end(&mut self, at: Timestamp) {
        self.ended.get_or_insert(at);
    }
}

/// The log; clones share it.
#[derive(Debug, Clone, Default)]
pub(in crate::rest) struct AttemptLog(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    jobs: BTreeMap<JobId, OfJob>,
    attempts: usize,
    /// Counts the looks, to know which job was looked at least recently.
    looks: u64,
}

#[derive(Debug, Default)]
struct OfJob {
    looked: u64,
    subtasks: BTreeMap<TaskId, VecDeque<Seen>>,
}

impl AttemptLog {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a job. What has an earlier epoch than this was begun by an earlier leader.
    pub(in crate::rest) fn look(
        &self,
        coordinator: &Coordinator,
        job: &JobDetails,
        now: Timestamp,
        epoch: Epoch,
    ) {
        let id = job.summary.id;
        let mut log = self.lock();
        if job.summary.tasks.total() > MAX_SUBTASKS {
            return log.forget(id);
        }
        let mut of_job = log.take(id);
        match coordinator.subtask_lines(id) {
            Some(lines) => {
                let at = |vertex| coordinator.subtasks(id, vertex).unwrap_or_default();
                of_job.note(job, lines, &at, (now, epoch));
            }
            None => of_job.end(job),
        }
        log.put(id, of_job);
    }

    /// The job is not known any more.
    pub(in crate::rest) fn forget(&self, job: JobId) {
        self.lock().forget(job);
    }

    /// What was seen of a job; nothing if that was not looked at.
    pub(super) fn of_job(&self, job: JobId) -> BTreeMap<TaskId, Vec<Seen>> {
        let log = self.lock();
        let subtasks = log.jobs.get(&job).map(|of_job| of_job.subtasks.iter());
        let subtasks = subtasks.into_iter().flatten();
        subtasks
            .map(|(task, seen)| (*task, seen.iter().cloned().collect()))
            .collect()
    }
}

impl Log {
    fn take(&mut self, job: JobId) -> OfJob {
        let of_job = self.jobs.remove(&job).unwrap_or_default();
        self.attempts -= of_job.attempts();
        of_job
    }

    fn put(&mut self, job: JobId, mut of_job: OfJob) {
        self.looks += 1;
        of_job.looked = self.looks;
        self.attempts += of_job.attempts();
        self.jobs.insert(job, of_job);
        while self.attempts > MAX_ATTEMPTS {
            let oldest = self.jobs.iter().min_by_key(|(_, of_job)| of_job.looked);
            let Some((oldest, _)) = oldest else {
                return;
            };
            self.forget(*oldest);
        }
    }

    fn forget(&mut self, job: JobId) {
        drop(self.take(job));
    }
}

impl OfJob {
    fn attempts(&self) -> usize {
        self.subtasks.values().map(VecDeque::len).sum()
    }

    /// Notes the current attempt of every subtask. `at` tells where those of a vertex are.
    fn note(
        &mut self,
        job: &JobDetails,
        mut lines: impl Iterator<Item = SubtaskLine>,
        at: &dyn Fn(VertexIndex) -> Vec<SubtaskDetails>,
        (now, epoch): (Timestamp, Epoch),
    ) {
        for (vertex, details) in (0..).map(VertexIndex).zip(&job.vertices) {
            let mut located = None;
            for (subtask, line) in (0..details.parallelism).zip(&mut lines) {
                let task = TaskId {
                    vertex,
                    subtask: SubtaskIndex(subtask),
                };
                let Some(seen) = self.attempt(task, line, (now, epoch)) else {
                    continue;
                };
                if seen.taskmanager.is_none() && line.slot.is_some() {
                    let located = located.get_or_insert_with(|| at(vertex));
                    let location = located.get(subtask as usize).map(|it| it.location.clone());
                    seen.taskmanager = location.flatten().map(|(taskmanager, _)| taskmanager);
                }
            }
            // After a change of parallelism there may be fewer of them.
            self.end_from(vertex, details.parallelism, now);
        }
    }

    /// The current attempt of a subtask, if it has one.
    fn attempt(
        &mut self,
        task: TaskId,
        line: SubtaskLine,
        (now, epoch): (Timestamp, Epoch),
    ) -> Option<&mut Seen> {
        let all = self.subtasks.entry(task).or_default();
        let is_known = all.back().is_some_and(|seen| seen.attempt == line.attempt);
        let waits = matches!(
            line.state,
            ExecutionState::Created | ExecutionState::Scheduled
        );
        if let Some(last) = all.back_mut()
            && (waits || !is_known)
        {
            last.end(now);
        }
        if waits {
            return None;
        }
        if !is_known {
            all.push_back(Seen {
                attempt: line.attempt,
                taskmanager: None,
                states: Vec::from([(line.state, now)]),
                is_older: line.attempt.epoch < epoch,
                ended: None,
            });
        }
        while all.len() > MAX_OF_SUBTASK {
            all.pop_front();
        }
        let last = all.back_mut()?;
        last.come_into(line.state, now);
        Some(last)
    }

    fn end_from(&mut self, vertex: VertexIndex, parallelism: u32, now: Timestamp) {
        let task = |subtask| TaskId {
            vertex,
            subtask: SubtaskIndex(subtask),
        };
        let gone = self.subtasks.range_mut(task(parallelism)..=task(u32::MAX));
        for seen in gone.filter_map(|(_, all)| all.back_mut()) {
            seen.end(now);
        }
    }

    /// The job has ended: of its subtasks only is known how many came into which state.
    fn end(&mut self, job: &JobDetails) {
        let at = job.summary.ended.unwrap_or(job.summary.last_modified);
        for (task, all) in &mut self.subtasks {
            let Some(last) = all.back_mut().filter(|last| last.ended.is_none()) else {
                continue;
            };
            let vertex = job.vertices.get(task.vertex.0 as usize);
            let common = vertex.and_then(|vertex| {
                let is_common = |state: &ExecutionState| {
                    state.is_terminal() && vertex.tasks.get(*state) == vertex.tasks.total()
                };
                ExecutionState::ALL.into_iter().find(is_common)
            });
            if let Some(state) = common {
                last.come_into(state, at);
            }
            last.end(at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::jobmanager::{JobSummary, TaskCounts, VertexDetails};
    use jobmanager_core::state::JobStatus;

    const JOB: JobId = JobId(1);

    fn details(parallelism: u32, tasks: TaskCounts) -> JobDetails {
        JobDetails {
            summary: JobSummary {
                id: JOB,
                name: "job".to_owned(),
                status: JobStatus::Running,
                started: Timestamp(1),
                ended: Some(Timestamp(90)),
                last_modified: Timestamp(90),
                tasks,
            },
            timestamps: Default::default(),
            vertices: Vec::from([VertexDetails {
                operator_id: 7,
                name: "vertex".to_owned(),
                parallelism,
                max_parallelism: 128,
                tasks,
                started: None,
            }]),
            graph: None,
            waiting: None,
            restarts: 0,
            failure: None,
        }
    }

    fn line(number: u32, state: ExecutionState) -> SubtaskLine {
        SubtaskLine {
            state,
            attempt: Attempt {
                epoch: Epoch(1),
                number,
            },
            end_of_data: false,
            slot: None,
        }
    }

    fn note(of_job: &mut OfJob, at: u64, lines: &[SubtaskLine]) {
        let parallelism = u32::try_from(lines.len()).unwrap();
        let job = details(parallelism, TaskCounts::default());
        let nowhere = |_| Vec::new();
        of_job.note(
            &job,
            lines.iter().copied(),
            &nowhere,
            (Timestamp(at), Epoch(1)),
        );
    }

    fn told(of_job: &OfJob, subtask: u32) -> Vec<(u32, Vec<ExecutionState>, Option<u64>)> {
        let task = TaskId {
            vertex: VertexIndex(0),
            subtask: SubtaskIndex(subtask),
        };
        let all = of_job.subtasks[&task].iter();
        let states = |seen: &Seen| seen.states.iter().map(|(state, _)| *state).collect();
        all.map(|seen| (seen.attempt.number, states(seen), seen.ended.map(|at| at.0)))
            .collect()
    }

    #[test]
    fn an_attempt_ends_when_it_fails_when_it_waits_again_and_when_another_one_begins() {
        use ExecutionState::*;
        let mut of_job = OfJob::default();
        note(&mut of_job, 5, &[line(0, Created)]);
        note(&mut of_job, 10, &[line(1, Deploying)]);
        note(&mut of_job, 20, &[line(1, Running)]);
        note(&mut of_job, 30, &[line(1, Failed)]);
        note(&mut of_job, 40, &[line(1, Scheduled)]);
        note(&mut of_job, 50, &[line(2, Running)]);
        note(&mut of_job, 60, &[line(2, Created)]);
        note(&mut of_job, 70, &[line(3, Running)]);
        note(&mut of_job, 80, &[line(4, Running)]);
        let expected = [
            (1, Vec::from([Deploying, Running, Failed]), Some(30)),
            (2, Vec::from([Running]), Some(60)),
            (3, Vec::from([Running]), Some(80)),
            (4, Vec::from([Running]), None),
        ];
        assert_eq!(told(&of_job, 0), expected);
    }

    #[test]
    fn subtasks_that_are_not_any_more_have_ended() {
        let running = line(1, ExecutionState::Running);
        let mut of_job = OfJob::default();
        note(&mut of_job, 10, &[running, running]);
        note(&mut of_job, 20, &[running]);
        assert_eq!(told(&of_job, 0)[0].2, None);
        assert_eq!(told(&of_job, 1)[0].2, Some(20));
    }

    #[test]
    fn at_the_end_of_a_job_a_state_is_told_that_all_subtasks_came_into() {
        let mut finished = TaskCounts::default();
        finished.0[ExecutionState::Finished as usize] = 1;
        let mut mixed = finished;
        mixed.0[ExecutionState::Failed as usize] = 1;
        for (tasks, last) in [
            (finished, ExecutionState::Finished),
            (mixed, ExecutionState::Running),
        ] {
            let mut of_job = OfJob::default();
            note(&mut of_job, 10, &[line(1, ExecutionState::Running)]);
            of_job.end(&details(1, tasks));
            let [(_, states, ended)] = &told(&of_job, 0)[..] else {
                panic!("there is one attempt");
            };
            assert_eq!((states.last(), *ended), (Some(&last), Some(90)));
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut of_job = OfJob::default();
        for number in 1..100 {
            note(
                &mut of_job,
                number.into(),
                &[line(number, ExecutionState::Running)],
            );
        }
        assert_eq!(of_job.attempts(), MAX_OF_SUBTASK);
        let mut log = Log::default();
        let lines = Vec::from([line(1, ExecutionState::Running); MAX_SUBTASKS as usize]);
        for job in 0..60 {
            let mut of_job = OfJob::default();
            note(&mut of_job, 1, &lines);
            log.put(JobId(job), of_job);
        }
        assert_eq!(log.attempts, MAX_ATTEMPTS);
        assert!(!log.jobs.contains_key(&JobId(9)) && log.jobs.contains_key(&JobId(10)));
    }
}
