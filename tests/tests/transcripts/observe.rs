//! What a coordinator orders, in words.

use super::script::{Script, Task};
use jobmanager_core::id::{AttemptId, CheckpointId, TaskId};
use jobmanager_core::jobmanager::{Discard, Effect, Reply};
use jobmanager_core::message::{Deployment, SavepointOrder, StateHandle, ToTaskManager};
use jobmanager_core::record::{Record, RecordOp};
use jobmanager_core::state::ExecutionState;

impl Script {
    /// Takes note of an effect; tells it in a line.
    pub(super) fn observe(&mut self, effect: &Effect) -> String {
        match effect {
            Effect::Send { session, message } => {
                let tm = self
                    .sessions
                    .iter()
                    .find(|(_, of)| *of == session)
                    .map(|(tm, _)| tm.clone());
                let tm = tm.unwrap_or_else(|| format!("session {}", session.0));
                let line = self.observe_message(&tm, &message.message);
                format!("{tm} ← {line} (epoch {})", message.epoch.0)
            }
            Effect::Disconnect { session } => format!("end session {}", session.0),
            Effect::Reply {
                request,
                reply: Reply::CannotRestore(_, problems),
            } => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                format!("reply {} CannotRestore: {}", request.0, problems.join("; "))
            }
            Effect::Reply { request, reply } => format!("reply {} {reply:?}", request.0),
            Effect::Store { commit, ops } => {
                self.write = Some((*commit, ops.clone()));
                let ops: Vec<String> = ops.iter().map(op).collect();
                format!("write {}: {}", commit.0, ops.join(", "))
            }
            Effect::Discard(discard) => {
                if matches!(discard, Discard::Job(_) | Discard::Owned { .. }) {
                    self.discard = Some(discard.clone());
                }
                format!("discard {discard:?}")
            }
            Effect::WriteSavepoint {
                location,
                savepoint,
            } => {
                self.savepoint = Some(savepoint.clone());
                let states = savepoint
                    .states()
                    .filter(|state| !state.is_nothing())
                    .count();
                format!("write the metadata of {location}, with {states} snapshots")
            }
            Effect::RequestWorkers { workers } => {
                let workers: Vec<_> = workers.iter().map(ToString::to_string).collect();
                format!("start {}", workers.join(", "))
            }
            Effect::ReleaseWorker { worker } => format!("end {worker}"),
            Effect::StepDown { reason } => format!("step down: {reason}"),
        }
    }

    fn observe_message(&mut self, tm: &str, message: &ToTaskManager) -> String {
        match message {
            ToTaskManager::Deploy(deployment) => self.observe_deployment(tm, deployment),
            ToTaskManager::Cancel {
                job,
                attempt,
                tasks,
            } => {
                let id = |task: &TaskId| AttemptId {
                    job: *job,
                    task: *task,
                    attempt: *attempt,
                };
                self.observe_cancel(tasks.iter().map(id).collect())
            }
            ToTaskManager::TriggerCheckpoint {
                checkpoint,
                tasks,
                savepoint,
                ..
            } => {
                self.checkpoint = Some(*checkpoint);
                trigger(*checkpoint, tasks, savepoint.as_ref())
            }
            ToTaskManager::NotifyComplete {
                checkpoint,
                finish,
                tasks,
                ..
            } => {
                let finish = if *finish { ", finish" } else { "" };
                format!(
                    "checkpoint {}{} is complete{finish}",
                    checkpoint.0,
                    of(tasks)
                )
            }
            ToTaskManager::NotifyAborted {
                checkpoint, tasks, ..
            } => {
                format!("checkpoint {}{} is aborted", checkpoint.0, of(tasks))
            }
            ToTaskManager::Resume {
                completed,
                aborted_below,
                tasks,
                ..
            } => {
                let completed = completed.map(|id| id.0);
                format!(
                    "resume{}: completed {completed:?}, aborted below {}",
                    of(tasks),
                    aborted_below.0
                )
            }
            ToTaskManager::ReleaseJob { job } => {
                self.hosted.entry(tm.into()).or_default().remove(job);
                self.tasks.retain(|attempt, task| {
                    attempt.job != *job || task.tm != tm || !task.state.is_terminal()
                });
                "release the job".into()
            }
            ToTaskManager::Dismissed => "dismissed".into(),
            ToTaskManager::Heartbeat { sequence } => format!("heartbeat {sequence}"),
            ToTaskManager::Welcome(_) => "welcome".into(),
            ToTaskManager::Refused(refusal) => format!("refused: {}", refusal.reason),
        }
    }

    fn observe_deployment(&mut self, tm: &str, deployment: &Deployment) -> String {
        let hosted = self.hosted.entry(tm.into()).or_default();
        hosted.insert(deployment.job);
        let mut names = Vec::new();
        for task in &deployment.tasks {
            let attempt = AttemptId {
                job: deployment.job,
                task: task.task,
                attempt: deployment.attempt,
            };
            let given = given(&task.state);
            names.push(format!("{} in slot {}{given}", name(attempt), task.slot.0));
            let state = ExecutionState::Deploying;
            self.tasks.insert(
                attempt,
                Task {
                    tm: tm.into(),
                    slot: task.slot,
                    state,
                    end_of_data: false,
                    restored: deployment.restore,
                },
            );
        }
        let restore = deployment
            .restore
            .map_or(String::new(), |id| format!(" from checkpoint {}", id.0));
        let finish = if deployment.finish { ", finish" } else { "" };
        format!("deploy {}{restore}{finish}", names.join(", "))
    }

    fn observe_cancel(&mut self, attempts: Vec<AttemptId>) -> String {
        for attempt in &attempts {
            if let Some(task) = self.tasks.get_mut(attempt) {
                task.state = ExecutionState::Canceling;
            }
        }
        let names: Vec<String> = attempts.into_iter().map(name).collect();
        format!("cancel {}", names.join(", "))
    }
}

/// `vertex.subtask@epoch.number`
pub(super) fn name(attempt: AttemptId) -> String {
    let AttemptId { task, attempt, .. } = attempt;
    format!(
        "{}.{}@{}.{}",
        task.vertex.0, task.subtask.0, attempt.epoch.0, attempt.number
    )
}

/// The tasks that a message names, if it names any.
fn of(tasks: &[TaskId]) -> String {
    let name = |task: &TaskId| format!(" {}.{}", task.vertex.0, task.subtask.0);
    let names: Vec<String> = tasks.iter().map(name).collect();
    match &names[..] {
        [] => String::new(),
        names => format!(" of{}", names.concat()),
    }
}

fn trigger(
    checkpoint: CheckpointId,
    tasks: &[TaskId],
    savepoint: Option<&SavepointOrder>,
) -> String {
    let of = format!("{}{}", checkpoint.0, of(tasks));
    match savepoint {
        None => format!("trigger checkpoint {of}"),
        Some(SavepointOrder { location, after }) => {
            format!("trigger savepoint {of} in {location}, {after:?}")
        }
    }
}

fn op(op: &RecordOp) -> String {
    match op {
        RecordOp::Put(Record::Result(result)) => {
            let failure = result.failure.as_deref().unwrap_or("no failure");
            let retained = result.retained.as_ref();
            let retained = retained.map(|it| format!(", retained in {}", it.location));
            let retained = retained.unwrap_or_default();
            format!("put result {} ({failure}){retained}", result.status)
        }
        RecordOp::Put(Record::Savepoint(savepoint)) => {
            let outcome = savepoint.outcome.as_ref().map(|outcome| &outcome.result);
            let is = match outcome {
                None => "wanted".to_owned(),
                Some(Ok(completed)) => format!("complete in {}", completed.location),
                Some(Err(cause)) => format!("failed: {cause}"),
            };
            format!("put savepoint {:x}, {is}", savepoint.trigger.0)
        }
        RecordOp::Put(record) => format!("put {:?}", record.key()),
        RecordOp::Delete(key) => format!("delete {key:?}"),
    }
}

/// Of which lists a task is given which partitions.
fn given(state: &[StateHandle]) -> String {
    let lists = state.iter().flat_map(StateHandle::lists);
    let lists: Vec<_> = lists
        .map(|list| format!("{} {:?}", list.name, list.partitions))
        .collect();
    match lists.is_empty() {
        true => String::new(),
        false => format!(" with {}", lists.join(" and ")),
    }
}
