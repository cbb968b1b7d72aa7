//! Tasks in answers to "why": those that are waited for have said nothing that would end the wait.

use super::Asked;
use super::facts::{Run, Session};
use crate::checks::{Verdict, ensure};
use jobmanager_core::id::{Attempt, AttemptId, TaskId, TaskManagerId};
use jobmanager_core::jobmanager::why::{Cause, Checkpoint, Life, Reason, Subtask, Tasks};

const NAME: &str = "tasks_that_are_awaited_have_not_reported";

fn starts(run: &Run) -> bool {
    !run.stops && !run.runs
}

fn stops(run: &Run) -> bool {
    run.stops
}

impl Asked<'_> {
    /// The attempts of these subtasks.
    fn attempts(&self, tasks: &[Subtask]) -> Vec<AttemptId> {
        let attempt = |subtask: &Subtask| {
            Some(AttemptId {
                job: self.line.id,
                task: subtask.task,
                attempt: subtask.attempt?,
            })
        };
        tasks.iter().filter_map(attempt).collect()
    }

    /// How many attempts of the job anywhere are like this.
    fn count(&self, wanted: fn(&Run) -> bool) -> usize {
        let sessions = self.facts.sessions.values();
        sessions.map(|it| it.count(self.line.id, wanted)).sum()
    }

    /// So many tasks, these among them, are on a TaskManager and are like this.
    fn are_there(
        &self,
        taskmanager: &TaskManagerId,
        count: u32,
        tasks: &[Subtask],
        wanted: fn(&Run) -> bool,
    ) -> bool {
        let Some(session) = self.facts.named(taskmanager) else {
            return false;
        };
        let there = |attempt: &AttemptId| session.attempts.get(attempt).is_some_and(wanted);
        let attempts = self.attempts(tasks);
        let all = session.count(self.line.id, wanted);
        attempts.len() == tasks.len()
            && attempts.iter().all(there)
            && (tasks.len()..=all).contains(&(count as usize))
            && !tasks.is_empty()
    }

    /// A job that ends is said to wait for tasks that stop.
    pub(super) fn tasks_have_not_stopped(&self, life: &Life) -> Verdict {
        let (Life::Canceling { tasks, .. } | Life::Failing { tasks, .. }) = life else {
            return Ok(());
        };
        let stop = self.count(stops);
        let detail = || format!("job {}: {life:?}, {stop} were told to stop", self.line.id);
        ensure((1..=stop).contains(&(*tasks as usize)), NAME, detail)
    }

    /// Tasks are said to be awaited.
    pub(super) fn tasks_are_awaited(&self, tasks: &Tasks) -> Verdict {
        let told = match tasks {
            Tasks::AttemptsNotReported {
                taskmanagers,
                awaited,
                ..
            } => {
                let none = awaited.iter().all(|it| !self.is_reported(it));
                none && *taskmanagers as usize == self.facts.sessions.len()
            }
            Tasks::Starting {
                deploying,
                initializing,
            } => self.count(starts) == (deploying + initializing) as usize,
            Tasks::StartingOn {
                taskmanager,
                count,
                tasks,
                ..
            } => self.are_there(taskmanager, *count, tasks, starts),
            Tasks::StoppingOn {
                taskmanager,
                count,
                tasks,
                ..
            } => self.are_there(taskmanager, *count, tasks, stops),
            Tasks::TaskmanagerSilent {
                taskmanager,
                last_heard,
                ..
            } => {
                let session = self.facts.named(taskmanager);
                session.is_some_and(|session| session.heard == *last_heard)
            }
            Tasks::FailedMeanwhile { .. } => true,
        };
        ensure(told, NAME, || {
            let sessions: Vec<&Session> = self.facts.sessions.values().collect();
            format!("job {}: {tasks:?}, {sessions:?}", self.line.id)
        })
    }

    /// Whether an attempt of a task that could be taken over was reported.
    fn is_reported(&self, subtask: &Subtask) -> bool {
        let Some(&attempt) = self.attempts(std::slice::from_ref(subtask)).first() else {
            return false;
        };
        let mut sessions = self.facts.sessions.values();
        sessions.any(|session| {
            let run = session.attempts.get(&attempt);
            run.is_some_and(|run| !run.stops && run.runs)
        })
    }

    /// A checkpoint is said to wait for tasks.
    pub(super) fn has_not_acknowledged(
        &self,
        checkpoint: &Checkpoint,
        because: &[Cause],
    ) -> Verdict {
        let Checkpoint::CheckpointUnderWay {
            checkpoint: id,
            missing,
            ..
        } = checkpoint
        else {
            return Ok(());
        };
        let of = (self.line.id, *id);
        let acknowledged = self.facts.acknowledged.get(&of);
        let has = |task, attempt| acknowledged.is_some_and(|it| it.contains(&(task, attempt)));
        let (mut blamed, mut right, mut all) = (0, true, true);
        for cause in because {
            let Reason::Checkpoint(Checkpoint::NotAcknowledged {
                taskmanager,
                count,
                tasks,
                ..
            }) = &cause.reason
            else {
                all &= !matches!(cause.reason, Reason::NotShown(_));
                continue;
            };
            blamed += count;
            let session = self.facts.named(taskmanager);
            let there = |id: &AttemptId| session.is_some_and(|it| it.attempts.contains_key(id));
            let owes = |id: &AttemptId| there(id) && !has(id.task, id.attempt);
            let attempts = self.attempts(tasks);
            right &= attempts.len() == tasks.len() && attempts.iter().all(owes);
        }
        let taking_part = self.facts.triggered.get(&of);
        let owes = |it: &&(TaskId, Attempt)| !has(it.0, it.1);
        let left = taking_part.map(|tasks| tasks.iter().filter(owes).count());
        let told = left.is_some_and(|left| *missing as usize <= left)
            && right
            && if all {
                blamed == *missing
            } else {
                blamed < *missing
            };
        let name = "who_is_blamed_for_a_checkpoint_has_not_acknowledged";
        ensure(told, name, || {
            format!("{of:?}: {checkpoint:?}, {because:?}, acknowledged {acknowledged:?}")
        })
    }
}
