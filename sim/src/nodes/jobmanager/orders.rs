//! What a JobManager process does with the orders of its coordinator.

use crate::checks::Verdict;
use crate::checks::oracle::Failure;
use crate::nodes::provider::Provision;
use crate::storage::store::Fate;
use crate::trace::{Lane, Parcel};
use crate::world::World;
use crate::world::event::{Event, Instance};
use crate::world::faults::Moment;
use crate::world::network::{Payload, Side};
use jobmanager_core::id::{CommitId, SessionId, TaskId};
use jobmanager_core::jobmanager::Effect;
use jobmanager_core::message::{Envelope, ToTaskManager};
use jobmanager_core::record::RecordOp;
use jobmanager_core::state::ExecutionState;
use jobmanager_proto::v1;
use prost::Message as _;

impl World {
    /// Carries out one order of a step; `is_end` tells whether the step was to end a
    /// session: a hello, or the end of a process.
    pub(super) fn carry_out(&mut self, instance: Instance, effect: Effect, is_end: bool) {
        let here = Lane::JobManager(instance.0);
        self.note_told(here, "->", &effect);
        self.sight_effect(instance, &effect);
        let verdict = self
            .check_order(instance, &effect)
            .and_then(|()| self.check_lease(instance))
            .and_then(|()| self.check_patience(instance, &effect, is_end));
        self.verdict(verdict);
        match effect {
            Effect::Send { session, message } => self.say(instance, session, &message),
            Effect::Disconnect { session } => self.end_session(instance, session),
            Effect::Reply { request, reply } => {
                self.departs(|| Parcel::Answer(request), here, Lane::Clients);
                self.reply(request, reply);
            }
            Effect::Store { commit, ops } => self.write(instance, commit, ops),
            Effect::Discard(discard) => {
                let latency = self.blob_latency();
                let done = !self.blob_fails();
                let parcel = || Parcel::Discard(instance, discard.clone());
                self.departs(parcel, here, Lane::Blobs);
                let at = self.now + latency;
                self.queue.push(
                    at,
                    Event::Discarded {
                        instance,
                        discard,
                        done,
                    },
                );
                self.moment(Moment::DiscardSent, instance);
            }
            Effect::WriteSavepoint {
                location,
                savepoint,
            } => {
                let latency = self.blob_latency();
                let done = !self.blob_fails();
                let at = self.now + latency;
                self.queue.push(
                    at,
                    Event::SavepointWritten {
                        instance,
                        location,
                        savepoint,
                        done,
                    },
                );
            }
            Effect::RequestWorkers { workers } => {
                for worker in workers {
                    self.provide(Provision::Create(worker));
                }
            }
            Effect::ReleaseWorker { worker } => {
                self.provide(Provision::Delete(self.epoch_of(instance), worker));
            }
            Effect::StepDown { .. } => self.step_down(instance),
        }
    }

    fn write(&mut self, instance: Instance, commit: CommitId, ops: Vec<RecordOp>) {
        let Some(node) = self.jobmanagers.get(&instance) else {
            return;
        };
        let (epoch, severed) = (node.epoch, node.severed);
        let fate = self.fate();
        let fate = if severed && !self.calm {
            Fate::LostMute
        } else {
            fate
        };
        let write = self.store.send(instance, epoch, commit, ops, fate);
        self.departs(
            || Parcel::Write(write),
            Lane::JobManager(instance.0),
            Lane::Store,
        );
        let latency = self.store_latency();
        self.queue
            .push(self.now + latency, Event::StoreApply(write));
        self.moment(Moment::StoreSent, instance);
    }

    /// Whoever has no lease any more, by a clock that is right, does nothing that anybody sees.
    fn check_lease(&self, instance: Instance) -> Verdict {
        let over = self
            .promised(instance)
            .is_some_and(|promised| promised <= self.now);
        if !over {
            return Ok(());
        }
        let name = "a_leader_without_a_lease_orders_nothing";
        Err(Failure::new(name, format!("{instance:?}")))
    }

    /// However clocks drift, jump and stutter: nobody is given up before its time.
    fn check_patience(&self, instance: Instance, effect: &Effect, is_end: bool) -> Verdict {
        let Effect::Disconnect { session } = effect else {
            return Ok(());
        };
        // Another process with its name, a refusal, or no process any more.
        if is_end {
            return Ok(());
        }
        let node = self.jobmanagers.get(&instance);
        let heard = node.and_then(|node| node.heard.get(session).copied());
        let Some((heard, process)) = heard.zip(self.leader(instance)) else {
            return Ok(());
        };
        let timeout = self.options.cluster.heartbeat_timeout.as_micros();
        let timeout = u64::try_from(timeout).unwrap_or(u64::MAX);
        let silence = self.now - heard;
        if silence >= process.clock.at_least(timeout) {
            return Ok(());
        }
        let name = "no_taskmanager_is_given_up_before_its_timeout";
        let detail = format!("{session:?} was silent for {silence} us of {timeout} us");
        Err(Failure::new(name, detail))
    }

    fn check_order(&mut self, instance: Instance, effect: &Effect) -> Verdict {
        let Some(node) = self.jobmanagers.get(&instance) else {
            return Ok(());
        };
        let by = crate::checks::Orderer {
            instance,
            epoch: node.epoch,
            now: self.now,
        };
        let to = match effect {
            Effect::Send { session, .. } => node.names.get(session).map(String::as_str),
            Effect::Disconnect { .. }
            | Effect::Reply { .. }
            | Effect::Store { .. }
            | Effect::Discard(_)
            | Effect::WriteSavepoint { .. }
            | Effect::RequestWorkers { .. }
            | Effect::ReleaseWorker { .. }
            | Effect::StepDown { .. } => None,
        };
        self.checks.ordered(by, effect, to)?;
        let Effect::Send { message, .. } = effect else {
            return Ok(());
        };
        let ToTaskManager::TriggerCheckpoint { job, tasks, .. } = &message.message else {
            return Ok(());
        };
        if self.checks.is_of_before(message.epoch, &message.message) {
            return Ok(());
        }
        let members = self.checks.members_of(*job, tasks);
        // It may not know yet that others of its tasks have another parallelism.
        let shown = |task: &TaskId| {
            let coordinator = node.coordinator.as_ref()?;
            let subtasks = coordinator.subtasks(*job, task.vertex)?;
            Some(subtasks.get(task.subtask.0 as usize)?.state)
        };
        let runs = |task: &TaskId| shown(task) == Some(ExecutionState::Running);
        if members.iter().all(runs) {
            return Ok(());
        }
        let detail = format!("job {job} {tasks:?}");
        Err(Failure::new(
            "a_checkpoint_is_triggered_only_when_all_tasks_run",
            detail,
        ))
    }

    fn say(&mut self, instance: Instance, session: SessionId, envelope: &Envelope) {
        self.mark_message(&envelope.message);
        let node = self.jobmanagers.get(&instance);
        let Some(id) = node.and_then(|node| node.sessions.get(&session).copied()) else {
            return;
        };
        let bytes = v1::ToTaskManager::from(envelope).encode_to_vec();
        self.send(id, Side::Opener, Payload::Bytes(bytes));
        let moment = match &envelope.message {
            ToTaskManager::Deploy(_) => Moment::DeploySent,
            ToTaskManager::NotifyComplete { .. } => Moment::CompletionSent,
            ToTaskManager::TriggerCheckpoint { .. } => Moment::TriggerSent,
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Cancel { .. }
            | ToTaskManager::NotifyAborted { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => return,
        };
        self.moment(moment, instance);
    }

    /// The coordinator ended a session; like every end it is a fact for the coordinator, too.
    fn end_session(&mut self, instance: Instance, session: SessionId) {
        let node = self.jobmanagers.get(&instance);
        let Some(id) = node.and_then(|node| node.sessions.get(&session).copied()) else {
            return;
        };
        self.send(id, Side::Opener, Payload::Close);
        let at = self.now + 1;
        self.queue.push(at, Event::Broken(id, Side::Acceptor));
    }
}
