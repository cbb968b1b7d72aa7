//! Tasks as a cause: those that start, stop, or have not been reported, by the TaskManagers that they are on.
//! A TaskManager that owes a sign of life is named below them.

use super::more::first_of;
use super::words::{ahead, counted, excerpt, lasting, listed, millis, span, verb};
use super::{Cause, Look, Reason, SHOWN, Subtask};
use crate::id::{RegionIndex, TaskManagerId, VertexIndex};
use crate::jobmanager::job::Reconciling;
use crate::jobmanager::taskmanagers::TmKey;
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;
use serde::Serialize;

/// What tasks are waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Tasks {
    /// The job was recovered, and not all of its tasks have been reported.
    AttemptsNotReported {
        /// How many tasks.
        missing: u32,
        /// How many the job has.
        tasks: u32,
        /// What is not reported by then is started again.
        until: Timestamp,
        /// How many TaskManagers have registered.
        taskmanagers: u32,
        /// Which tasks; the attempt is that of the latest checkpoint, if there is one.
        awaited: Vec<Subtask>,
    },
    /// A task failed while the job waits for its attempts: its region is started again in any case.
    FailedMeanwhile {
        /// In how many regions.
        regions: u32,
        /// Why, in the first one.
        failure: String,
    },
    /// Tasks were deployed, and do not run yet.
    Starting {
        /// How many have not said that they have begun.
        deploying: u32,
        /// How many restore their state.
        initializing: u32,
    },
    /// Those of them on one TaskManager.
    StartingOn {
        /// Where.
        taskmanager: TaskManagerId,
        /// How many tasks.
        count: u32,
        /// They were deployed at this time or before.
        deployed_by: Option<Timestamp>,
        /// Which tasks.
        tasks: Vec<Subtask>,
    },
    /// Tasks on one TaskManager were told to stop, and have not said that they have.
    StoppingOn {
        /// Where.
        taskmanager: TaskManagerId,
        /// How many tasks.
        count: u32,
        /// A task that takes longer ends the process of its TaskManager; zero if there is no limit.
        #[serde(rename = "limit-ms", serialize_with = "millis")]
        limit: Duration,
        /// Which tasks.
        tasks: Vec<Subtask>,
    },
    /// A TaskManager owes a sign of life.
    TaskmanagerSilent {
        /// Which.
        taskmanager: TaskManagerId,
        /// When it was heard last.
        last_heard: Timestamp,
        /// When it is given up, with all of its tasks.
        lost_at: Timestamp,
    },
}

impl From<Tasks> for Reason {
    fn from(reason: Tasks) -> Self {
        Reason::Tasks(reason)
    }
}

impl Tasks {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Tasks::AttemptsNotReported {
                missing,
                tasks,
                until,
                taskmanagers,
                awaited,
            } => format!(
                "The job was recovered, and {missing} of {} {} not been reported by {}: {}. \
                 What is still missing {} starts again.",
                counted(*tasks, "task"),
                verb(*missing, "has", "have"),
                counted(*taskmanagers, "TaskManager"),
                listed(awaited, *missing),
                ahead(now, *until),
            ),
            Tasks::FailedMeanwhile { regions, failure } => format!(
                "Tasks failed in {} meanwhile: {failure}.",
                counted(*regions, "region")
            ),
            Tasks::Starting {
                deploying,
                initializing,
            } => format!(
                "{} {} been deployed and {} not begun yet; {initializing} {} restoring state.",
                counted(*deploying, "task"),
                verb(*deploying, "has", "have"),
                verb(*deploying, "has", "have"),
                verb(*initializing, "is", "are"),
            ),
            Tasks::StartingOn {
                taskmanager,
                count,
                deployed_by,
                tasks,
            } => {
                let since = deployed_by.map(|at| format!(" {} at least", lasting(now, at)));
                format!(
                    "{taskmanager} has not reported{} that these run: {}.",
                    since.unwrap_or_default(),
                    listed(tasks, *count)
                )
            }
            Tasks::StoppingOn {
                taskmanager,
                count,
                tasks,
                ..
            } => format!(
                "{taskmanager} has not reported that these have stopped: {}.",
                listed(tasks, *count)
            ),
            Tasks::TaskmanagerSilent {
                taskmanager,
                last_heard,
                lost_at,
            } => format!(
                "{taskmanager} has been silent {}; it is given up {}.",
                lasting(now, *last_heard),
                ahead(now, *lost_at)
            ),
        }
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        match self {
            Tasks::AttemptsNotReported { .. } => String::from(
                "The TaskManagers that run them have to register with this JobManager.",
            ),
            Tasks::FailedMeanwhile { .. } => {
                String::from("The waiting has to end; then the restart strategy is asked.")
            }
            Tasks::Starting { .. } => String::from("The TaskManagers below have to report."),
            Tasks::StartingOn { taskmanager, .. } => format!(
                "{taskmanager} has to begin with them, or to say why it cannot; its log says what it does."
            ),
            Tasks::StoppingOn {
                taskmanager, limit, ..
            } if limit.is_zero() => {
                format!("They have to stop, or the process of {taskmanager} has to end.")
            }
            Tasks::StoppingOn {
                taskmanager, limit, ..
            } => format!(
                "They have to stop; a task that takes longer than {} ends the process of {taskmanager}.",
                span(*limit)
            ),
            Tasks::TaskmanagerSilent { taskmanager, .. } => format!(
                "See whether {taskmanager} runs and reaches this JobManager; to end it makes its loss known at once."
            ),
        }
    }
}

/// Tasks on one TaskManager.
pub(super) struct Gathered {
    pub(super) tm: TmKey,
    pub(super) taskmanager: TaskManagerId,
    pub(super) count: u32,
    /// The positions of the first of them.
    pub(super) shown: Vec<u32>,
    is_silent: bool,
}

impl Look<'_> {
    /// A recovered job waits for its attempts.
    pub(super) fn reconciling(&self, reconciling: &Reconciling) -> Cause {
        let execution = &self.job.execution;
        let positions = 0..execution.subtasks();
        let awaited = positions.filter(|position| !self.job.was_reported(*position));
        let reason = Tasks::AttemptsNotReported {
            missing: self.job.missing_tasks(),
            tasks: execution.subtasks(),
            until: reconciling.deadline,
            taskmanagers: self.coordinator.tms.count_all(),
            awaited: awaited.take(SHOWN).map(|it| self.subtask(it)).collect(),
        };
        let failed = reconciling.failed.first_key_value();
        let failed = failed.map(|(_, failure)| Tasks::FailedMeanwhile {
            regions: u32::try_from(reconciling.failed.len()).unwrap_or(u32::MAX),
            failure: excerpt(&failure.cause),
        });
        Cause::new(reason, failed.into_iter().map(Cause::leaf).collect())
    }

    /// Tasks that were deployed and do not run yet.
    pub(super) fn starting(&self) -> Option<Cause> {
        let execution = &self.job.execution;
        let counts = execution.total_counts();
        let states = [ExecutionState::Deploying, ExecutionState::Initializing];
        let [deploying, initializing] = states.map(|state| counts.get(state));
        if deploying + initializing == 0 {
            return None;
        }
        let deployed_by = |position: &u32| {
            let vertex = execution.layout().task(*position).vertex.0;
            execution.deployed[vertex as usize]
        };
        let on = |it: Gathered| {
            let silent = self.silence(it.tm);
            let reason = Tasks::StartingOn {
                count: it.count,
                deployed_by: it.shown.first().and_then(deployed_by),
                tasks: self.subtasks(&it.shown),
                taskmanager: it.taskmanager,
            };
            Cause::new(reason, silent.into_iter().collect())
        };
        let gathered = self.gather(&states, |_| true);
        let reason = Tasks::Starting {
            deploying,
            initializing,
        };
        Some(Cause::new(reason, first_of(gathered, on)))
    }

    /// Tasks of these regions that were told to stop.
    pub(super) fn stopping(&self, of: impl Fn(RegionIndex) -> bool) -> Vec<Cause> {
        let on = |it: Gathered| {
            let silent = self.silence(it.tm);
            let reason = Tasks::StoppingOn {
                count: it.count,
                limit: self.coordinator.config.cancellation_timeout,
                tasks: self.subtasks(&it.shown),
                taskmanager: it.taskmanager,
            };
            Cause::new(reason, silent.into_iter().collect())
        };
        first_of(self.gather(&[ExecutionState::Canceling], of), on)
    }

    /// The tasks in these states of these regions, by TaskManager.
    fn gather(&self, states: &[ExecutionState], of: impl Fn(RegionIndex) -> bool) -> Vec<Gathered> {
        let execution = &self.job.execution;
        let layout = execution.layout();
        let vertices = u32::try_from(self.job.graph.vertices().len()).unwrap_or(u32::MAX);
        let vertices = (0..vertices).map(VertexIndex).filter(|vertex| {
            let counts = execution.counts(*vertex);
            states.iter().any(|state| counts.get(*state) > 0)
        });
        let positions = vertices.flat_map(|vertex| layout.positions(vertex));
        let wanted = |at: &u32| states.contains(&execution.state(*at)) && of(layout.of(*at));
        self.by_taskmanager(positions.filter(wanted))
    }

    /// Tasks that have not ended, by the TaskManagers that they are on: the silent ones first, then those with the
    /// most.
    pub(super) fn by_taskmanager(&self, positions: impl Iterator<Item = u32>) -> Vec<Gathered> {
        let mut found: BTreeMap<TmKey, (u32, Vec<u32>)> = BTreeMap::new();
        for position in positions {
            let Some(at) = self.job.execution.location(position) else {
                continue;
            };
            let (count, shown) = found.entry(at.tm).or_default();
            *count += 1;
            if shown.len() < SHOWN {
                shown.push(position);
            }
        }
        let tms = &self.coordinator.tms;
        let gathered = |(tm, (count, shown)): (TmKey, (u32, Vec<u32>))| {
            let taskmanager = tms.get(tm)?.hello.taskmanager.clone();
            Some(Gathered {
                tm,
                taskmanager,
                count,
                shown,
                is_silent: self.silence(tm).is_some(),
            })
        };
        let mut gathered: Vec<Gathered> = found.into_iter().filter_map(gathered).collect();
        gathered.sort_by(|one, other| {
            let key = |it: &Gathered| (Reverse(it.is_silent), Reverse(it.count));
            let order = key(one).cmp(&key(other));
            order.then_with(|| one.taskmanager.cmp(&other.taskmanager))
        });
        gathered
    }

    /// A TaskManager that was asked for a sign of life and has not given it.
    pub(super) fn silence(&self, tm: TmKey) -> Option<Cause> {
        let tm = self.coordinator.tms.get(tm)?;
        let config = &self.coordinator.config;
        let silent = self.now.since(tm.last_heard) > config.heartbeat_interval;
        silent.then(|| {
            Cause::leaf(Tasks::TaskmanagerSilent {
                taskmanager: tm.hello.taskmanager.clone(),
                last_heard: tm.last_heard,
                lost_at: tm.lost_at(config),
            })
        })
    }

    pub(super) fn subtasks(&self, positions: &[u32]) -> Vec<Subtask> {
        positions.iter().map(|it| self.subtask(*it)).collect()
    }

    fn subtask(&self, position: u32) -> Subtask {
        let layout = self.job.execution.layout();
        let task = layout.task(position);
        let vertex = &self.job.graph.vertices()[task.vertex.0 as usize];
        Subtask {
            vertex: vertex.id.clone(),
            task,
            parallelism: vertex.parallelism,
            attempt: self.job.execution.region(layout.of(position)).attempt,
        }
    }
}
