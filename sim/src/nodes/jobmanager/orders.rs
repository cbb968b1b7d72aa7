//! What a JobManager process does with the orders of its coordinator.

use crate::checks::Verdict;
use crate::tape::Stream;
use crate::trace::{Lane, Parcel};
use crate::world::World;
use crate::world::event::{Event, Instance};
use crate::world::faults::Moment;
use crate::world::network::{Payload, Side};
use jobmanager_core::id::SessionId;
use jobmanager_core::jobmanager::Effect;
use jobmanager_core::message::{Envelope, ToTaskManager};
use jobmanager_core::state::ExecutionState;
use jobmanager_proto::v1;
use prost::Message as _;

impl World {
    pub(super) fn carry_out(&mut self, instance: Instance, effect: Effect) {
        let here = Lane::JobManager(instance.0);
        self.note_told(here, "->", &effect);
        let verdict = self.check_order(instance, &effect);
        self.verdict(verdict);
        match effect {
            Effect::Send { session, message } => self.say(instance, session, &message),
            Effect::Disconnect { session } => self.end_session(instance, session),
            Effect::Reply { request, reply } => {
                self.departs(|| Parcel::Answer(request), here, Lane::Clients);
                self.reply(request, reply);
            }
            Effect::Store { commit, ops } => {
                let fate = self.fate();
                let Some(epoch) = self.jobmanagers.get(&instance).map(|node| node.epoch) else {
                    return;
                };
                let write = self.store.send(instance, epoch, commit, ops, fate);
                self.departs(|| Parcel::Write(write), here, Lane::Store);
                let latency = self.draw(Stream::Store, &self.options.store.latency.clone());
                self.queue
                    .push(self.now + latency, Event::StoreApply(write));
                self.moment(Moment::StoreSent, instance);
            }
            Effect::Discard(discard) => {
                let latency = self.draw(Stream::Blobs, &self.options.blobs.latency.clone());
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
            }
            Effect::StepDown { .. } => self.step_down(instance),
        }
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
            | Effect::StepDown { .. } => None,
        };
        self.checks.ordered(by, effect, to)?;
        let Effect::Send { message, .. } = effect else {
            return Ok(());
        };
        let ToTaskManager::TriggerCheckpoint { job, .. } = message.message else {
            return Ok(());
        };
        let details = node.coordinator.as_ref().and_then(|c| c.job(job));
        let all_run = details.is_some_and(|details| {
            let tasks = details.summary.tasks;
            tasks.get(ExecutionState::Running) == tasks.total()
        });
        if all_run {
            return Ok(());
        }
        let detail = format!("job {job}");
        Err(crate::checks::oracle::Failure::new(
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
            | ToTaskManager::ReleaseJob { .. } => return,
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
