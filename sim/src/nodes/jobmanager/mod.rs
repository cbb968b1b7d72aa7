//! JobManager processes: each drives one coordinator, carries out its effects, and loses all but the
//! store when it dies. One of them is current; an older one may still run without knowing.
//!
//! Here is what a process hears and one step of its coordinator; `terms` is how it comes to lead and how
//! that ends, `orders` what it does with what the coordinator orders.

mod marks;
mod orders;
mod terms;

use crate::checks::Step;
use crate::marks::Mark;
use crate::plan::options::Micros;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Instance};
use crate::world::faults::Moment;
use crate::world::network::ConnectionId;
use jobmanager_core::id::{Epoch, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Input};
use jobmanager_core::message::FromTaskManager;
use jobmanager_core::record::Record;
use jobmanager_proto::{Received, v1};
use prost::Message as _;
use std::collections::BTreeMap;

/// More effects than this from one input are a storm: deployments, a notification per session, and the
/// like all stay far below it in worlds of this size.
const EFFECTS_PER_INPUT: usize = 500;

/// The state of a coordinator is digested after so many steps. Its inputs and effects always are: a state
/// that differs shows in them, this only shows it sooner.
const STEPS_PER_DIGEST: u64 = 16;

/// One life of a JobManager process.
pub(crate) struct JobManagerNode {
    pub(crate) epoch: Epoch,
    /// Absent while it reads the store.
    pub(crate) coordinator: Option<Coordinator>,
    pub(crate) paused: bool,
    pub(crate) backlog: Vec<Event>,
    sessions: BTreeMap<SessionId, ConnectionId>,
    connections: BTreeMap<ConnectionId, SessionId>,
    /// The TaskManager of each session.
    names: BTreeMap<SessionId, String>,
    records: Vec<Record>,
    wake_at: Option<Micros>,
    steps: u64,
    had_taskmanagers: bool,
}

impl JobManagerNode {
    /// The sessions that have not ended.
    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }
}

impl World {
    pub(crate) fn jobmanager_wakes(&mut self, instance: Instance) {
        let now = self.now;
        if let Some(node) = self.jobmanagers.get_mut(&instance)
            && node.wake_at.is_some_and(|at| at <= now)
        {
            node.wake_at = None;
            self.jobmanager_input(instance, Input::Wake);
        }
    }

    pub(crate) fn jobmanager_hears(&mut self, instance: Instance, id: ConnectionId, bytes: &[u8]) {
        let message = v1::FromTaskManager::decode(bytes).expect("bytes arrive as they were sent");
        let message = Received::try_from(message).expect("a worker says nothing malformed");
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let session = node.connections.get(&id).copied();
        let input = match (message, session) {
            (Received::Hello(hello), None) => {
                let session = self.new_session();
                let node = self.jobmanagers.get_mut(&instance).expect("it was there");
                node.sessions.insert(session, id);
                node.connections.insert(id, session);
                node.names.insert(session, hello.taskmanager.0.clone());
                if !hello.inventory.is_empty() {
                    self.marks.hit(Mark::ReconnectedWithInventory);
                }
                Input::Connected { session, hello }
            }
            (Received::Message(message), Some(session)) => Input::Message { session, message },
            (Received::Hello(_) | Received::Metrics(_) | Received::Message(_), _) => return,
        };
        self.mark_acknowledgement(&input);
        let last_but_one = matches!(
            input,
            Input::Message {
                message: FromTaskManager::Acknowledge(_),
                ..
            }
        );
        if last_but_one && self.moment(Moment::BeforeAcknowledgement, instance) {
            return;
        }
        self.jobmanager_is_told(instance, input);
    }

    /// The session of a connection has ended.
    pub(crate) fn session_ends(&mut self, instance: Instance, id: ConnectionId) {
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        if let Some(session) = node.connections.remove(&id) {
            node.sessions.remove(&session);
            self.jobmanager_input(instance, Input::Disconnected { session });
            self.echo(instance, session);
        }
    }

    /// One step of a coordinator, with everything that can be checked about it.
    pub(crate) fn jobmanager_input(&mut self, instance: Instance, input: Input) {
        let now = self.timestamp();
        let node = self.jobmanagers.get(&instance);
        if node.is_none_or(|node| node.coordinator.is_none()) {
            return;
        }
        self.note_told(Lane::JobManager(instance.0), "<-", &input);
        self.checks.received(&input);
        self.recordings.takes(instance, now, &input);
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let Some(coordinator) = &mut node.coordinator else {
            return;
        };
        let mut effects = Vec::new();
        coordinator.step(now, input.clone(), &mut effects);
        self.recordings.took(instance, coordinator, &effects);
        let verdict = self.checks.stepped(&Step {
            instance,
            now,
            input: &input,
            effects: &effects,
            coordinator,
        });
        node.steps += 1;
        let digest = (node.steps % STEPS_PER_DIGEST == 0).then(|| coordinator.digest());
        if let Err(violation) = coordinator.check_invariants() {
            self.fail(violation.name, violation.detail);
        }
        self.verdict(verdict);
        if effects.len() > EFFECTS_PER_INPUT {
            let detail = format!("{} effects of one input", effects.len());
            self.fail("messages_never_storm", detail);
        }
        if let Some(digest) = digest {
            self.note(Lane::JobManager(instance.0), "digest", &digest);
        }
        self.show_coordinator(instance);
        for effect in effects {
            // Dead men order nothing.
            if self.failure.is_some() || !self.jobmanagers.contains_key(&instance) {
                return;
            }
            self.carry_out(instance, effect);
        }
        self.look(instance);
        self.set_alarm(instance);
    }

    fn set_alarm(&mut self, instance: Instance) {
        let Some(node) = self.jobmanagers.get(&instance) else {
            return;
        };
        let deadline = node
            .coordinator
            .as_ref()
            .and_then(Coordinator::next_deadline);
        let due = deadline.map(|deadline| self.due(deadline));
        let Some(due) = due.filter(|due| node.wake_at.is_none_or(|at| *due < at)) else {
            return;
        };
        self.queue.push(due, Event::JobManagerWake(instance));
        if let Some(node) = self.jobmanagers.get_mut(&instance) {
            node.wake_at = Some(due);
        }
    }
}
