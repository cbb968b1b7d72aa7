//! Answers to "why" are honest: whoever waits is told why, who waits for nothing is told so, and what is said
//! to be missing is missing, counted by what the coordinator was told and has ordered.

mod facts;
mod slots;
mod tasks;
mod writes;

use super::{Step, Verdict, ensure};
use crate::model::Plans;
use facts::Facts;
use jobmanager_core::id::{AttemptId, CheckpointId, JobId};
use jobmanager_core::jobmanager::why::{
    Cause, Checkpoint, Life, Moving, Reason, Restart, Rhythm, Savepoint, Slots, Tasks, Trigger,
    Why, Workers, Write,
};
use jobmanager_core::jobmanager::{Coordinator, Input, JobLine};
use jobmanager_core::message::FromTaskManager;
use jobmanager_core::record::Record;
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;

/// What one coordinator was told and has ordered.
#[derive(Debug, Default)]
pub(super) struct Honesty {
    facts: Facts,
}

/// A job about which somebody asks.
struct Asked<'a> {
    facts: &'a Facts,
    plans: &'a Plans,
    coordinator: &'a Coordinator,
    line: &'a JobLine,
}

impl Honesty {
    /// Of a coordinator that recovers from these records.
    pub(super) fn new(max_slots_per_job: u32, records: &[Record], now: Timestamp) -> Self {
        let facts = Facts::new(max_slots_per_job, records, now);
        Honesty { facts }
    }

    /// A coordinator took a step: asks it about every job, unless it was nothing but a sign of life.
    pub(super) fn stepped(&mut self, step: &Step<'_>, plans: &Plans) -> Verdict {
        self.facts
            .stepped(step, |job, tasks| plans.members(job, tasks))?;
        let quiet = is_heartbeat(step.input) && step.effects.is_empty();
        if self.facts.is_over || quiet {
            return Ok(());
        }
        for line in step.coordinator.lines() {
            // Of another job it is not known what its tasks are.
            if plans.regions(line.id).is_empty() {
                continue;
            }
            let asked = Asked {
                facts: &self.facts,
                plans,
                coordinator: step.coordinator,
                line: &line,
            };
            let why = step.coordinator.why(line.id, self.facts.now);
            asked.judge(why.as_ref())?;
        }
        Ok(())
    }
}

fn is_heartbeat(input: &Input) -> bool {
    let Input::Message { message, .. } = input else {
        return false;
    };
    matches!(message, FromTaskManager::Heartbeat { .. })
}

impl Asked<'_> {
    fn judge(&self, why: Option<&Why>) -> Verdict {
        let (line, name) = (self.line, "whoever_waits_is_told_why");
        let told = why.is_some_and(|why| !why.causes.is_empty() || !self.waits());
        ensure(told, name, || format!("{line:?} is told {why:?}"))?;
        let Some(why) = why else {
            return Ok(());
        };
        for cause in &why.causes {
            let name = "who_waits_for_nothing_is_told_so";
            let detail = || format!("{line:?} is told {cause:?}");
            ensure(self.has_begun(cause), name, detail)?;
            self.is_true(cause)?;
        }
        why.next_checkpoint
            .iter()
            .try_for_each(|it| self.is_true(it))
    }

    /// Whether a TaskManager leaves that has tasks of the job.
    fn is_left(&self) -> bool {
        let leaving = self.facts.sessions.values().filter(|it| it.leaves);
        let runs = leaving.flat_map(|it| &it.attempts);
        let mut runs = runs.filter(|(attempt, run)| attempt.job == self.line.id && !run.stops);
        runs.any(|(attempt, _)| self.is_current(attempt))
    }

    /// Whether the coordinator shows an attempt as that of its task.
    fn is_current(&self, of: &AttemptId) -> bool {
        let subtasks = self.coordinator.subtasks(of.job, of.task.vertex);
        let shown = subtasks.and_then(|all| Some(all.get(of.task.subtask.0 as usize)?.attempt));
        shown == Some(of.attempt)
    }

    /// Tasks are said to be on TaskManagers that leave.
    fn is_where_somebody_leaves(&self, moving: &Moving) -> Verdict {
        let told = match moving {
            Moving::TasksToMove { names, .. } => names.iter().all(|name| self.facts.leaves(name)),
            Moving::NoRoom { needed, free } => free < needed,
            Moving::SavepointFirst | Moving::CheckpointNotDurable => {
                self.plans.rules(self.line.id).is_some()
            }
            Moving::CheckpointFirst { .. } | Moving::RescaleFirst => true,
        };
        ensure(told, "who_is_said_to_leave_does", || {
            format!("{:?} is told {moving:?}", self.line)
        })
    }

    /// TaskManagers are said to be on their way.
    fn workers_are_not_there(&self, workers: &Workers) -> Verdict {
        let told = match workers {
            Workers::WorkersComing {
                taskmanagers,
                pending,
                lost,
                names,
                ..
            } => {
                let is_there = |name| {
                    let session = self.facts.named(name);
                    session.is_some_and(|session| session.answered)
                };
                pending + lost <= *taskmanagers && !names.iter().any(is_there)
            }
            Workers::WorkersAtLimit { required, .. } | Workers::WorkersTooMany { required, .. } => {
                *required > 0
            }
            Workers::WorkersPaused { .. } | Workers::WorkersNotListed => true,
        };
        ensure(told, "who_is_said_to_come_is_not_there", || {
            format!("{:?} is told {workers:?}", self.line)
        })
    }

    fn has(&self, state: ExecutionState) -> bool {
        self.line.tasks.get(state) > 0
    }

    /// Whether anything of the job is shown that is not over.
    fn waits(&self) -> bool {
        let JobLine { id, status, .. } = *self.line;
        if status.is_terminal() {
            return false;
        }
        let tasks = &self.line.tasks;
        let run = tasks.get(ExecutionState::Running) + tasks.get(ExecutionState::Finished);
        let open = |id: JobId| {
            let shown = self.coordinator.checkpoints(id);
            let savepoints = self.coordinator.savepoints(id);
            shown.is_some_and(|shown| shown.in_progress > 0)
                || savepoints.iter().any(|it| it.outcome.is_none())
        };
        let left = status == JobStatus::Running && self.is_left();
        status != JobStatus::Running || run < tasks.total() || left || open(id)
    }

    /// Whether that which is said not to be over has begun at all.
    fn has_begun(&self, cause: &Cause) -> bool {
        let JobLine { id, status, .. } = *self.line;
        let goes_on = [JobStatus::Running, JobStatus::Restarting].contains(&status);
        match &cause.reason {
            Reason::Life(life) => match life {
                Life::SubmissionNotDurable { .. } => status == JobStatus::Initializing,
                Life::CancellationNotDurable { .. } => self.facts.cancels.contains(&id),
                Life::Canceling { .. } => status == JobStatus::Cancelling,
                Life::Failing { .. } => status == JobStatus::Failing,
                Life::ResultNotDurable { .. } => !status.is_terminal(),
                Life::CheckpointNotKept { .. } | Life::FilesLeft { .. } | Life::RecordsLeft => {
                    status.is_terminal()
                }
            },
            Reason::Slots(_) => goes_on && self.has(ExecutionState::Scheduled),
            Reason::Tasks(Tasks::AttemptsNotReported { .. }) => status == JobStatus::Reconciling,
            Reason::Tasks(_) => {
                let starts = [ExecutionState::Deploying, ExecutionState::Initializing];
                goes_on && starts.into_iter().any(|state| self.has(state))
            }
            Reason::Restart(_) => status == JobStatus::Restarting,
            Reason::Checkpoint(_) | Reason::Trigger(_) => {
                self.plans.rules(id).is_some() && !status.is_terminal()
            }
            Reason::Rhythm(_) => {
                let every = (id, CheckpointId(0))..=(id, CheckpointId(u64::MAX));
                goes_on && self.facts.triggered.range(every).next().is_some()
            }
            Reason::Savepoint(_) => !status.is_terminal(),
            Reason::Moving(_) => goes_on && self.is_left(),
            // There are so many checkpoints.
            Reason::NotShown(it) => {
                let shown = self.coordinator.checkpoints(id);
                shown.is_some_and(|shown| shown.in_progress > u64::from(it.count))
            }
            // These stand below others.
            Reason::Write(_) | Reason::Filter(_) | Reason::Workers(_) => false,
        }
    }

    /// Whether a cause and all below it are true.
    fn is_true(&self, cause: &Cause) -> Verdict {
        self.lies_ahead(cause)?;
        match &cause.reason {
            Reason::Life(life) => self.tasks_have_not_stopped(life)?,
            Reason::Write(write) => self.is_at_the_store(write)?,
            Reason::Slots(slots) => self.slots_are_missing(slots)?,
            Reason::Filter(filter) => self.is_no_help(filter)?,
            Reason::Tasks(tasks) => self.tasks_are_awaited(tasks)?,
            Reason::Checkpoint(checkpoint) => {
                self.has_not_acknowledged(checkpoint, &cause.because)?
            }
            Reason::Savepoint(savepoint) => self.is_wanted(savepoint, &cause.because)?,
            Reason::Moving(moving) => self.is_where_somebody_leaves(moving)?,
            Reason::Workers(workers) => self.workers_are_not_there(workers)?,
            Reason::Restart(_) | Reason::Trigger(_) | Reason::Rhythm(_) | Reason::NotShown(_) => {}
        }
        self.waits_for_the_right_write(cause)?;
        cause.because.iter().try_for_each(|it| self.is_true(it))
    }

    /// What is said to come has not come.
    fn lies_ahead(&self, cause: &Cause) -> Verdict {
        let at = match &cause.reason {
            Reason::Slots(Slots::WaitsForSlots { until, .. }) => Some(*until),
            Reason::Tasks(Tasks::AttemptsNotReported { until, .. }) => Some(*until),
            Reason::Tasks(Tasks::TaskmanagerSilent { lost_at, .. }) => Some(*lost_at),
            Reason::Restart(Restart::RestartDelay { until, .. }) => Some(*until),
            Reason::Trigger(
                Trigger::PauseNotOver { until, .. } | Trigger::LastTryFailed { until, .. },
            ) => Some(*until),
            Reason::Checkpoint(Checkpoint::CheckpointUnderWay { expires, .. }) => *expires,
            Reason::Rhythm(Rhythm::NextCheckpoint { due }) => Some(*due),
            Reason::Savepoint(Savepoint::SavepointWanted { until, .. }) => *until,
            Reason::Write(Write::WriteToBeRepeated { retry_at, .. }) => Some(*retry_at),
            Reason::Life(Life::CheckpointNotKept { retry_at } | Life::FilesLeft { retry_at }) => {
                *retry_at
            }
            Reason::Moving(Moving::CheckpointFirst { until })
            | Reason::Workers(Workers::WorkersPaused { until }) => Some(*until),
            Reason::Life(_)
            | Reason::Write(_)
            | Reason::Slots(_)
            | Reason::Filter(_)
            | Reason::Tasks(_)
            | Reason::Restart(_)
            | Reason::Checkpoint(_)
            | Reason::Trigger(_)
            | Reason::Rhythm(_)
            | Reason::Savepoint(_)
            | Reason::Moving(_)
            | Reason::Workers(_)
            | Reason::NotShown(_) => None,
        };
        let (now, name) = (self.facts.now, "a_time_that_is_awaited_lies_ahead");
        let detail = || format!("job {}: {cause:?}, now {now}", self.line.id);
        ensure(at.is_none_or(|at| at > now), name, detail)
    }
}

#[cfg(test)]
mod tests;
