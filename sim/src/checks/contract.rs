//! What a TaskManager promises to those who trust its words: what it reports, what it stops, whom it gives
//! up. Judged by what it is told and does; what never happens, because a coordinator takes care that it
//! does not, is tried out on a copy of it.

use super::{Checks, History, Verdict, ensure};
use crate::plan::Micros;
use crate::plan::options::MS;
use crate::world::event::Process;
use jobmanager_core::id::{AttemptId, CheckpointId, JobId, TaskId};
use jobmanager_core::message::{Deployment, Envelope, FromTaskManager, TaskReport, ToTaskManager};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::taskmanager::{Effect, Input, TaskEvent, Worker};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A checkpoint id that no coordinator comes to.
const NEVER: CheckpointId = CheckpointId(u64::MAX / 2);

/// What is remembered of all TaskManagers.
#[derive(Debug, Default)]
pub(super) struct Contract {
    /// Attempts that finished where nobody has said since that they are of no interest any more.
    finished: BTreeSet<(Process, AttemptId)>,
    /// Failures of which nobody was told.
    untold: BTreeMap<Process, BTreeSet<AttemptId>>,
    /// When those that were refused may try again.
    refused: BTreeMap<Process, Timestamp>,
}

/// A step that a worker took.
pub(crate) struct WorkerStep<'a> {
    pub(crate) process: Process,
    pub(crate) input: &'a Input,
    pub(crate) effects: &'a [Effect],
    pub(crate) worker: &'a Worker,
    /// By its own clock.
    pub(crate) now: Timestamp,
}

impl Checks {
    /// A worker took a step.
    pub(crate) fn worker_stepped(&mut self, step: &WorkerStep<'_>) -> Verdict {
        let process = step.process;
        if let Input::Task { attempt, event } = step.input {
            self.task_told(step, *attempt, event);
        }
        self.says_only_what_is_true(step)?;
        self.contract.comes_back_in_time(step)?;
        let Input::Message(envelope) = step.input else {
            return Ok(());
        };
        if envelope.epoch < step.worker.epoch() || !step.worker.is_registered() {
            return Ok(());
        }
        passes_on_to_those_named(step, &envelope.message)?;
        match &envelope.message {
            ToTaskManager::Welcome(_) => self.tells_what_failed(step),
            ToTaskManager::Deploy(deployment) => {
                let same = |attempt: &AttemptId| {
                    let mut tasks = deployment.tasks.iter();
                    attempt.job == deployment.job && tasks.any(|task| task.task == attempt.task)
                };
                self.contract.forgets(process, same);
                would_stop_the_earlier(step, deployment)?;
                would_not_trigger(step, deployment.job)?;
                would_stop_with_its_job(step, deployment.job)
            }
            ToTaskManager::Cancel {
                job,
                attempt,
                tasks,
            } => {
                let named = |id: &AttemptId| {
                    id.job == *job && id.attempt == *attempt && tasks.contains(&id.task)
                };
                self.contract.forgets(process, named);
                Ok(())
            }
            ToTaskManager::ReleaseJob { job } => {
                self.contract.forgets(process, |id| id.job == *job);
                Ok(())
            }
            ToTaskManager::NotifyComplete {
                job,
                tasks,
                checkpoint,
                ..
            }
            | ToTaskManager::Resume {
                job,
                tasks,
                completed: Some(checkpoint),
                ..
            } => self.tells_who_took_part(step, *job, tasks, *checkpoint),
            ToTaskManager::Resume { .. }
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Dismissed
            | ToTaskManager::TriggerCheckpoint { .. }
            | ToTaskManager::NotifyAborted { .. } => Ok(()),
        }
    }

    /// Whether an attempt has finished there, and its job may still need to know.
    pub(crate) fn has_finished(&self, process: Process, attempt: AttemptId) -> bool {
        self.contract.finished.contains(&(process, attempt))
    }

    /// A process died, and what it knew with it.
    pub(super) fn contract_ends(&mut self, process: Process) {
        self.contract.forgets(process, |_| true);
        self.contract.untold.remove(&process);
        self.contract.refused.remove(&process);
    }

    fn task_told(&mut self, step: &WorkerStep<'_>, attempt: AttemptId, event: &TaskEvent) {
        let key = (step.process, attempt);
        match event {
            TaskEvent::Finished => {
                // One that was told to stop is of no interest, however it ends.
                if !self.told_to_stop.contains(&key) {
                    self.contract.finished.insert(key);
                }
            }
            TaskEvent::Failed { .. } if !step.effects.iter().any(|said| fails(said, attempt)) => {
                let untold = self.contract.untold.entry(step.process).or_default();
                untold.insert(attempt);
            }
            TaskEvent::Failed { .. }
            | TaskEvent::Running
            | TaskEvent::EndOfData
            | TaskEvent::Canceled
            | TaskEvent::Snapshotted { .. }
            | TaskEvent::Declined { .. } => {}
        }
        let ended = match event {
            TaskEvent::Finished | TaskEvent::Canceled | TaskEvent::Failed { .. } => true,
            TaskEvent::Running
            | TaskEvent::EndOfData
            | TaskEvent::Snapshotted { .. }
            | TaskEvent::Declined { .. } => false,
        };
        if ended {
            self.told_to_stop.remove(&key);
        }
    }

    fn says_only_what_is_true(&mut self, step: &WorkerStep<'_>) -> Verdict {
        for effect in step.effects {
            match effect {
                Effect::SendHello(hello) => {
                    let told = |id: &AttemptId| hello.inventory.iter().any(|i| i.attempt == *id);
                    let here = |(on, _): &&(Process, AttemptId)| *on == step.process;
                    let mut finished = self.contract.finished.iter().filter(here);
                    let missing = finished.find(|(_, id)| !told(id));
                    ensure(
                        missing.is_none(),
                        "what_has_finished_is_reported_until_its_job_has_ended",
                        || format!("{missing:?}"),
                    )?;
                }
                Effect::Cancel(attempt) => {
                    self.told_to_stop.insert((step.process, *attempt));
                }
                Effect::Send(FromTaskManager::Acknowledge(ack)) => ensure(
                    !self.told_to_stop.contains(&(step.process, ack.attempt)),
                    "a_task_that_was_told_to_stop_acknowledges_nothing",
                    || format!("{} {:?}", ack.attempt, ack.checkpoint),
                )?,
                Effect::End => {
                    let is_over = step.worker.leaves_at().is_some_and(|at| at <= step.now);
                    let left = alive(step.worker).next();
                    ensure(
                        is_over || left.is_none(),
                        "who_leaves_early_leaves_no_task_behind",
                        || format!("{left:?}"),
                    )?;
                }
                Effect::Send(_)
                | Effect::Connect
                | Effect::Close
                | Effect::Start(_)
                | Effect::GiveUp(_)
                | Effect::Trigger { .. }
                | Effect::Complete { .. }
                | Effect::Abort { .. }
                | Effect::AbortBelow { .. } => {}
            }
        }
        Ok(())
    }

    fn tells_what_failed(&mut self, step: &WorkerStep<'_>) -> Verdict {
        let untold = self.contract.untold.remove(&step.process);
        let untold = untold.unwrap_or_default();
        let silent = |attempt: &&AttemptId| !step.effects.iter().any(|it| fails(it, **attempt));
        let forgotten = untold.iter().find(silent);
        ensure(
            forgotten.is_none(),
            "a_failure_that_nobody_could_be_told_is_told_to_the_next_leader",
            || format!("{forgotten:?}"),
        )
    }

    /// An attempt that acknowledged a checkpoint learns that it is complete, if its TaskManager does.
    fn tells_who_took_part(
        &self,
        step: &WorkerStep<'_>,
        job: JobId,
        tasks: &[TaskId],
        checkpoint: CheckpointId,
    ) -> Verdict {
        let history = self.jobs.get(&job);
        let runs = |(id, _, state): &(AttemptId, _, ExecutionState)| {
            let named = tasks.is_empty() || tasks.contains(&id.task);
            id.job == job && named && *state == ExecutionState::Running
        };
        let forgotten = step.worker.attempts().filter(runs).find(|(id, ..)| {
            // What comes late or again, after a later one, is not news.
            let news = |history: &History| history.told.get(&id.task) < Some(&checkpoint);
            let now = history.filter(|it| !it.is_former(id.task, id.attempt));
            let acknowledged =
                now.is_some_and(|history| history.made(*id, checkpoint) && news(history));
            let told = |effect: &Effect| match effect {
                Effect::Complete {
                    attempt,
                    checkpoint: complete,
                    ..
                } => attempt == id && *complete == checkpoint,
                Effect::Connect
                | Effect::Close
                | Effect::SendHello(_)
                | Effect::Send(_)
                | Effect::Start(_)
                | Effect::Cancel(_)
                | Effect::GiveUp(_)
                | Effect::End
                | Effect::Trigger { .. }
                | Effect::Abort { .. }
                | Effect::AbortBelow { .. } => false,
            };
            acknowledged && !step.effects.iter().any(told)
        });
        ensure(
            forgotten.is_none(),
            "those_who_took_part_learn_of_a_completion",
            || format!("{forgotten:?} {checkpoint:?}"),
        )
    }

    /// A task is told that checkpoints below this one are given up, all but those that it knows to be
    /// complete.
    pub(crate) fn gives_up_below(&self, attempt: AttemptId, next: CheckpointId) -> Verdict {
        let history = self.jobs.get(&attempt.job);
        let now = history.filter(|it| !it.is_former(attempt.task, attempt.attempt));
        let forgotten = now.and_then(|history| {
            let region = history.region(attempt.task)?;
            let before = (region, CheckpointId(0))..(region, next);
            let (_, latest) = history.completed.range(before).next_back().copied()?;
            let told = history.told.get(&attempt.task).copied();
            (history.made(attempt, latest) && told < Some(latest)).then_some(latest)
        });
        ensure(
            forgotten.is_none(),
            "what_is_complete_is_told_before_the_rest_is_given_up",
            || format!("{attempt} {forgotten:?}"),
        )
    }
}

impl Contract {
    /// One that was refused tries again when it was told to, not earlier.
    fn comes_back_in_time(&mut self, step: &WorkerStep<'_>) -> Verdict {
        if let Input::Message(envelope) = step.input
            && let ToTaskManager::Refused(refusal) = &envelope.message
            && step.effects.contains(&Effect::Close)
        {
            let at = step.now + refusal.retry_after;
            self.refused.insert(step.process, at);
        }
        if !step.effects.contains(&Effect::Connect) {
            return Ok(());
        }
        let at = self.refused.remove(&step.process);
        let name = "who_was_refused_comes_back_when_it_was_told_to";
        ensure(at.is_none_or(|at| at <= step.now), name, || {
            format!(
                "{:?} tries again at {}, not at {at:?}",
                step.process, step.now
            )
        })
    }

    fn forgets(&mut self, process: Process, which: impl Fn(&AttemptId) -> bool) {
        self.finished
            .retain(|(on, attempt)| *on != process || !which(attempt));
    }
}

impl History {
    /// Whether a complete checkpoint is made of what this attempt acknowledged.
    fn made(&self, id: AttemptId, checkpoint: CheckpointId) -> bool {
        let region = self.region(id.task);
        let complete = region.is_some_and(|it| self.completed.contains(&(it, checkpoint)));
        complete && self.is_made_of(id.task, id.attempt, checkpoint)
    }
}

/// Whether this tells that the attempt failed.
fn fails(said: &Effect, attempt: AttemptId) -> bool {
    let Effect::Send(FromTaskManager::TaskStates(changes)) = said else {
        return false;
    };
    let failed = |report: &TaskReport| matches!(report, TaskReport::Failed { .. });
    let mut changes = changes.iter();
    changes.any(|change| change.attempt == attempt && failed(&change.report))
}

/// What concerns some tasks of a job only is passed on to no others.
fn passes_on_to_those_named(step: &WorkerStep<'_>, message: &ToTaskManager) -> Verdict {
    let named = match message {
        ToTaskManager::TriggerCheckpoint { tasks, .. }
        | ToTaskManager::NotifyComplete { tasks, .. }
        | ToTaskManager::NotifyAborted { tasks, .. }
        | ToTaskManager::Resume { tasks, .. } => tasks,
        ToTaskManager::Welcome(_)
        | ToTaskManager::Refused(_)
        | ToTaskManager::Heartbeat { .. }
        | ToTaskManager::Deploy(_)
        | ToTaskManager::Cancel { .. }
        | ToTaskManager::Dismissed
        | ToTaskManager::ReleaseJob { .. } => return Ok(()),
    };
    let others = step.effects.iter().filter_map(|effect| match effect {
        Effect::Trigger { attempt, .. }
        | Effect::Complete { attempt, .. }
        | Effect::Abort { attempt, .. }
        | Effect::AbortBelow { attempt, .. } => Some(*attempt),
        Effect::Connect
        | Effect::Close
        | Effect::SendHello(_)
        | Effect::Send(_)
        | Effect::Start(_)
        | Effect::Cancel(_)
        | Effect::GiveUp(_)
        | Effect::End => None,
    });
    let mut others = others.filter(|it| !named.is_empty() && !named.contains(&it.task));
    let other = others.next();
    ensure(
        other.is_none(),
        "a_region_is_told_only_of_its_own_checkpoints",
        || format!("{message:?} is passed on to {other:?}"),
    )
}

/// What the worker would do if it were told this next.
fn would_do(step: &WorkerStep<'_>, message: ToTaskManager) -> Vec<Effect> {
    let mut effects = Vec::new();
    let envelope = Envelope {
        epoch: step.worker.epoch(),
        message,
    };
    let mut copy = step.worker.clone();
    copy.step(step.now, Input::Message(envelope), &mut effects);
    effects
}

/// The attempts that are starting or run.
fn alive(worker: &Worker) -> impl Iterator<Item = AttemptId> {
    let alive = |state| {
        matches!(
            state,
            ExecutionState::Initializing | ExecutionState::Running
        )
    };
    let attempts = worker.attempts();
    attempts.filter_map(move |(attempt, _, state)| alive(state).then_some(attempt))
}

fn would_stop_the_earlier(step: &WorkerStep<'_>, deployment: &Deployment) -> Verdict {
    let mut next = deployment.clone();
    next.attempt.number += 1;
    let effects = would_do(step, ToTaskManager::Deploy(next));
    let starts = |id: AttemptId| {
        effects.iter().position(|effect| {
            let Effect::Start(start) = effect else {
                return false;
            };
            start.attempt.job == id.job && start.attempt.task == id.task
        })
    };
    let stops = |id: AttemptId| {
        let stopped = |effect: &Effect| *effect == Effect::Cancel(id);
        effects.iter().position(stopped)
    };
    let left = alive(step.worker).find(|id| {
        let started = starts(*id);
        started.is_some() && stops(*id).is_none_or(|stopped| Some(stopped) > started)
    });
    let name = "a_later_attempt_stops_the_earlier_one";
    ensure(left.is_none(), name, || format!("{left:?}"))
}

fn would_not_trigger(step: &WorkerStep<'_>, job: JobId) -> Verdict {
    let trigger = ToTaskManager::TriggerCheckpoint {
        job,
        tasks: Vec::new(),
        checkpoint: NEVER,
        timestamp: step.now,
        savepoint: None,
    };
    let effects = would_do(step, trigger);
    let runs = |id: AttemptId| {
        let mut attempts = step.worker.attempts();
        attempts.any(|(other, _, state)| other == id && state == ExecutionState::Running)
    };
    let early = effects.iter().find(|effect| match effect {
        Effect::Trigger { attempt, .. } => !runs(*attempt),
        Effect::Connect
        | Effect::Close
        | Effect::SendHello(_)
        | Effect::Send(_)
        | Effect::Start(_)
        | Effect::Cancel(_)
        | Effect::GiveUp(_)
        | Effect::End
        | Effect::Complete { .. }
        | Effect::Abort { .. }
        | Effect::AbortBelow { .. } => false,
    });
    let name = "only_tasks_that_run_are_triggered";
    ensure(early.is_none(), name, || format!("{early:?}"))
}

fn would_stop_with_its_job(step: &WorkerStep<'_>, job: JobId) -> Verdict {
    let effects = would_do(step, ToTaskManager::ReleaseJob { job });
    let mut left = alive(step.worker).filter(|id| id.job == job);
    let left = left.find(|id| !effects.contains(&Effect::Cancel(*id)));
    let name = "what_runs_of_a_job_that_has_ended_is_stopped";
    ensure(left.is_none(), name, || format!("{left:?}"))
}

/// How much later than at its deadline a silent JobManager may be given up: clocks stutter.
const LATE: Micros = 200 * MS;

/// A TaskManager that believes to be registered heard its JobManager not so long ago, by its own clock.
pub(crate) fn is_not_deaf(process: Process, silence: Micros, timeout: Duration) -> Verdict {
    let timeout = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
    ensure(
        silence <= timeout.saturating_add(LATE),
        "a_silent_jobmanager_is_given_up",
        || format!("{process:?} has heard nothing for {silence} us"),
    )
}
