//! Of which jobs and TaskManagers the views may show something else than before: those that a step was about, by
//! what the coordinator was told and by what it ordered. Whoever wants to see changes looks at these alone.
//!
//! It is a guess from the outside, as the coordinator does not say what a step has changed. Two things name no job:
//! a deadline, which changes jobs that wait for something, and the loss of a TaskManager, which may change any.
//! Acknowledgements are left out: what comes of them is named by the write that follows.
//!
//! Invariant: a job of which a view shows another state, checkpoint or savepoint than before is named, or waits
//! while a deadline is said to have passed, or may be anyone because a TaskManager is gone.

use jobmanager_core::id::{JobId, SessionId, TaskManagerId};
use jobmanager_core::jobmanager::{Command, Discard, Effect, Input};
use jobmanager_core::message::{FromTaskManager, ToTaskManager};
use jobmanager_core::record::RecordOp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What some steps were about.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub(crate) jobs: BTreeSet<JobId>,
    pub(crate) taskmanagers: BTreeSet<TaskManagerId>,
    /// A deadline has passed, and whose it was is not known.
    pub(crate) deadline: bool,
    /// A TaskManager may be gone, and with it tasks of any job.
    pub(crate) lost: bool,
}

/// What was touched since it was last taken; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Touches {
    touched: Arc<Mutex<Touched>>,
    news: watch::Receiver<()>,
}

/// The driver's end: notes what each step is about.
#[derive(Debug)]
pub(super) struct Notes {
    taskmanagers: BTreeMap<SessionId, TaskManagerId>,
    /// The jobs of the write under way.
    written: BTreeSet<JobId>,
    touched: Arc<Mutex<Touched>>,
    news: watch::Sender<()>,
}

impl Touches {
    /// Waits until there is something to take; `false` once the driver has ended.
    pub(crate) async fn come(&mut self) -> bool {
        self.news.changed().await.is_ok()
    }

    /// What was touched since the last time.
    pub(crate) fn take(&self) -> Touched {
        std::mem::take(&mut *lock(&self.touched))
    }
}

/// Both ends.
pub(super) fn notes() -> (Notes, Touches) {
    let touched = Arc::<Mutex<Touched>>::default();
    let (sender, news) = watch::channel(());
    let notes = Notes {
        taskmanagers: BTreeMap::new(),
        written: BTreeSet::new(),
        touched: touched.clone(),
        news: sender,
    };
    (notes, Touches { touched, news })
}

fn lock(touched: &Mutex<Touched>) -> MutexGuard<'_, Touched> {
    touched.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notes {
    /// Before a step: what its input is about, and whether a deadline has passed.
    pub(super) fn input(&mut self, input: &Input, is_due: bool) -> Touched {
        let mut touched = Touched {
            deadline: is_due,
            ..Touched::default()
        };
        match input {
            Input::Connected { session, hello } => {
                self.taskmanagers
                    .insert(*session, hello.taskmanager.clone());
                touched.taskmanagers.insert(hello.taskmanager.clone());
                let attempts = hello.inventory.iter().map(|item| item.attempt.job);
                touched.jobs.extend(attempts);
            }
            Input::Disconnected { session } => {
                touched.lost = true;
                touched
                    .taskmanagers
                    .extend(self.taskmanagers.remove(session));
            }
            Input::Message { session, message } => {
                touched.message(message);
                if let FromTaskManager::Leave { .. } = message {
                    touched
                        .taskmanagers
                        .extend(self.taskmanagers.get(session).cloned());
                }
            }
            Input::Stored { .. } => touched.jobs.append(&mut self.written),
            Input::Discarded { discard, .. } => drop(touched.jobs.insert(job_of(discard))),
            Input::SavepointWritten { job, .. } => drop(touched.jobs.insert(*job)),
            Input::Command { command, .. } => {
                let job = match command {
                    Command::Submit { graph, .. } => graph.id(),
                    Command::Cancel(job)
                    | Command::Rescale { job, .. }
                    | Command::Checkpoint { job, .. } => *job,
                    Command::Savepoint(request) => request.job,
                };
                touched.jobs.insert(job);
            }
            Input::Workers { .. } | Input::Worker { .. } | Input::Wake => {}
        }
        touched
    }

    /// After the step: what its effects are about. Whoever waits for news hears of them.
    pub(super) fn effects(&mut self, mut touched: Touched, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Send { session, message } => match job_told(&message.message) {
                    Some(job) => drop(touched.jobs.insert(job)),
                    None => touched
                        .taskmanagers
                        .extend(self.taskmanagers.get(session).cloned()),
                },
                Effect::Disconnect { session } => {
                    touched.lost = true;
                    touched
                        .taskmanagers
                        .extend(self.taskmanagers.get(session).cloned());
                }
                Effect::Store { ops, .. } => {
                    let jobs = ops.iter().map(|op| match op {
                        RecordOp::Put(record) => record.key().job(),
                        RecordOp::Delete(key) => key.job(),
                    });
                    self.written.extend(jobs);
                    touched.jobs.extend(&self.written);
                }
                Effect::WriteSavepoint { savepoint, .. } => {
                    touched.jobs.insert(savepoint.job);
                }
                Effect::Discard(discard) => drop(touched.jobs.insert(job_of(discard))),
                Effect::Reply { .. }
                | Effect::RequestWorkers { .. }
                | Effect::ReleaseWorker { .. }
                | Effect::StepDown { .. } => {}
            }
        }
        if touched.is_empty() {
            return;
        }
        lock(&self.touched).add(touched);
        self.news.send_replace(());
    }
}

impl Touched {
    fn is_empty(&self) -> bool {
        let Touched {
            jobs,
            taskmanagers,
            deadline,
            lost,
        } = self;
        jobs.is_empty() && taskmanagers.is_empty() && !deadline && !lost
    }

    fn add(&mut self, mut other: Touched) {
        self.jobs.append(&mut other.jobs);
        self.taskmanagers.append(&mut other.taskmanagers);
        self.deadline |= other.deadline;
        self.lost |= other.lost;
    }

    fn message(&mut self, message: &FromTaskManager) {
        match message {
            FromTaskManager::TaskStates(changes) => {
                self.jobs
                    .extend(changes.iter().map(|change| change.attempt.job));
            }
            FromTaskManager::Decline { attempt, .. } => drop(self.jobs.insert(attempt.job)),
            FromTaskManager::Heartbeat { .. }
            | FromTaskManager::Acknowledge(_)
            | FromTaskManager::Leave { .. } => {}
        }
    }
}

fn job_of(discard: &Discard) -> JobId {
    match discard {
        Discard::Checkpoint(job, _)
        | Discard::Job(job)
        | Discard::Savepoint { job, .. }
        | Discard::Owned { job, .. }
        | Discard::Unreferenced { job, .. } => *job,
    }
}

/// The job that a message to a TaskManager is about; others are about the TaskManager.
fn job_told(message: &ToTaskManager) -> Option<JobId> {
    match message {
        ToTaskManager::Deploy(deployment) => Some(deployment.job),
        ToTaskManager::Cancel { job, .. }
        | ToTaskManager::TriggerCheckpoint { job, .. }
        | ToTaskManager::NotifyComplete { job, .. }
        | ToTaskManager::NotifyAborted { job, .. }
        | ToTaskManager::Resume { job, .. }
        | ToTaskManager::ReleaseJob { job } => Some(*job),
        ToTaskManager::Welcome(_)
        | ToTaskManager::Refused(_)
        | ToTaskManager::Heartbeat { .. }
        | ToTaskManager::Dismissed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::id::Epoch;
    use jobmanager_core::message::Envelope;

    #[test]
    fn a_heartbeat_touches_its_taskmanager_and_no_job() {
        let (mut notes, touches) = notes();
        let (session, name) = (SessionId(1), TaskManagerId("tm".to_owned()));
        notes.taskmanagers.insert(session, name.clone());
        let message = FromTaskManager::Heartbeat { sequence: 1 };
        let touched = notes.input(&Input::Message { session, message }, false);
        notes.effects(touched, &[]);
        assert!(!touches.news.has_changed().unwrap_or(true));
        let message = Envelope {
            epoch: Epoch(1),
            message: ToTaskManager::Heartbeat { sequence: 2 },
        };
        let touched = notes.input(&Input::Wake, true);
        notes.effects(touched, &[Effect::Send { session, message }]);
        let Touched {
            jobs,
            taskmanagers,
            deadline,
            lost,
        } = touches.take();
        assert!(jobs.is_empty() && deadline && !lost);
        assert_eq!(taskmanagers, BTreeSet::from([name]));
        assert!(touches.take().is_empty());
    }

    #[test]
    fn what_is_durable_touches_the_jobs_of_the_write() {
        use jobmanager_core::id::CommitId;
        use jobmanager_core::jobmanager::StoreOutcome;
        use jobmanager_core::record::Record;
        let (mut notes, touches) = notes();
        let (commit, job) = (CommitId(1), JobId(7));
        let ops = vec![RecordOp::Put(Record::Cancel(job))];
        let touched = notes.input(&Input::Wake, false);
        notes.effects(touched, &[Effect::Store { commit, ops }]);
        assert_eq!(touches.take().jobs, BTreeSet::from([job]));
        let outcome = StoreOutcome::Done;
        let touched = notes.input(&Input::Stored { commit, outcome }, false);
        notes.effects(touched, &[]);
        assert_eq!(touches.take().jobs, BTreeSet::from([job]));
    }
}
