//! JobManager processes: each drives one coordinator, carries out its effects, and loses all but the
//! store when it dies. One of them is current; an older one may still run without knowing.
//!
//! Here is what a process hears and one step of its coordinator; `terms` is how it comes to lead and how
//! that ends, `orders` what it does with what the coordinator orders.

mod marks;
mod orders;
mod terms;

use crate::checks::Step;
use crate::nodes::clock::Clock;
use crate::nodes::election::Candidate;
use crate::plan::options::Micros;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Instance};
use crate::world::faults::Moment;
use crate::world::network::{ConnectionId, Node};
use jobmanager_core::id::{CommitId, Epoch, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Effect, Input, WorkerReport};
use jobmanager_core::message::FromTaskManager;
use jobmanager_core::record::Record;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::{Received, v1};
use prost::Message as _;
use std::collections::BTreeMap;

/// More effects than this from one input are a storm: deployments, a notification per session, and the
/// like all stay far below it in worlds of this size.
const EFFECTS_PER_INPUT: usize = 500;

/// The state of a coordinator is digested after so many steps. Its inputs and effects always are: a state
/// that differs shows in them, this only shows it sooner.
const STEPS_PER_DIGEST: u64 = 16;

/// One term of a JobManager process.
pub(crate) struct JobManagerNode {
    /// The process that leads, or believes that it does.
    pub(crate) candidate: Candidate,
    pub(crate) epoch: Epoch,
    /// Absent while it reads the store.
    pub(crate) coordinator: Option<Coordinator>,
    /// It was told that it lost its lease, and goes on for a while.
    pub(crate) doomed: bool,
    /// Its writes reach the store no more.
    pub(crate) severed: bool,
    sessions: BTreeMap<SessionId, ConnectionId>,
    connections: BTreeMap<ConnectionId, SessionId>,
    /// The TaskManager of each session.
    names: BTreeMap<SessionId, String>,
    records: Vec<Record>,
    wake_at: Option<Micros>,
    steps: u64,
    had_taskmanagers: bool,
    /// When the process could last hear something on each session, whether or not it looks at the time first.
    heard: BTreeMap<SessionId, Micros>,
    /// The write that was answered last.
    pub(crate) answered: Option<CommitId>,
}

impl JobManagerNode {
    fn new(candidate: Candidate) -> Self {
        JobManagerNode {
            candidate,
            epoch: Epoch(0),
            coordinator: None,
            doomed: false,
            severed: false,
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            names: BTreeMap::new(),
            records: Vec::new(),
            wake_at: None,
            steps: 0,
            had_taskmanagers: false,
            heard: BTreeMap::new(),
            answered: None,
        }
    }

    /// A term that is under way elsewhere and goes on here.
    pub(crate) fn leading(candidate: Candidate, epoch: Epoch, coordinator: Coordinator) -> Self {
        JobManagerNode {
            epoch,
            coordinator: Some(coordinator),
            ..JobManagerNode::new(candidate)
        }
    }

    /// A session of this TaskManager is open over this connection, and was heard at that time, if not before
    /// all time.
    pub(crate) fn keeps(
        &mut self,
        session: SessionId,
        connection: ConnectionId,
        name: String,
        heard: Option<Micros>,
    ) {
        self.sessions.insert(session, connection);
        self.connections.insert(connection, session);
        self.names.insert(session, name);
        self.heard.extend(heard.map(|heard| (session, heard)));
    }

    /// The sessions that have not ended.
    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }
}

impl World {
    /// The time as the process of a term tells it.
    pub(crate) fn jobmanager_time(&self, instance: Instance) -> Timestamp {
        let clock = self
            .leader(instance)
            .map_or_else(Clock::right, |process| process.clock);
        clock.reading(self.now)
    }

    pub(crate) fn jobmanager_wakes(&mut self, instance: Instance) {
        let now = self.now;
        if let Some(node) = self.jobmanagers.get_mut(&instance)
            && node.wake_at.is_some_and(|at| at <= now)
        {
            node.wake_at = None;
            self.jobmanager_input(instance, &Input::Wake);
        }
    }

    pub(crate) fn jobmanager_hears(&mut self, instance: Instance, id: ConnectionId, bytes: &[u8]) {
        let message = v1::FromTaskManager::decode(bytes).expect("bytes arrive as they were sent");
        let message = Received::try_from(message).expect("a worker says nothing malformed");
        let now = self.now;
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let session = node.connections.get(&id).copied();
        let input = match (message, session) {
            (Received::Hello(hello), None) => {
                let session = self.new_session();
                let node = self.jobmanagers.get_mut(&instance).expect("it was there");
                node.sessions.insert(session, id);
                node.heard.insert(session, now);
                node.connections.insert(id, session);
                node.names.insert(session, hello.taskmanager.0.clone());
                self.mark_inventory(instance, &hello);
                Input::Connected { session, hello }
            }
            (Received::Message(message), Some(session)) => Input::Message { session, message },
            (Received::Hello(_) | Received::Metrics(_) | Received::Message(_), _) => return,
        };
        self.mark_acknowledgement(&input);
        let acknowledged = match &input {
            Input::Message {
                message: FromTaskManager::Acknowledge(ack),
                ..
            } => Some((ack.attempt, ack.checkpoint)),
            Input::Message { .. }
            | Input::Connected { .. }
            | Input::Disconnected { .. }
            | Input::Stored { .. }
            | Input::Discarded { .. }
            | Input::SavepointWritten { .. }
            | Input::Command { .. }
            | Input::Workers { .. }
            | Input::Worker { .. }
            | Input::Wake => None,
        };
        if acknowledged.is_some() && self.moment(Moment::BeforeAcknowledgement, instance) {
            return;
        }
        self.jobmanager_is_told(instance, &input);
        // Only now: what is due at this moment comes first.
        if let Some(node) = self.jobmanagers.get_mut(&instance)
            && let Some(heard) = session.and_then(|session| node.heard.get_mut(&session))
        {
            *heard = now;
        }
        if let Some((attempt, checkpoint)) = acknowledged
            && self.checks.missing_acknowledgements(attempt, checkpoint) == Some(1)
        {
            self.moment(Moment::LastButOneAcknowledgement, instance);
        }
    }

    /// Something has come while the process stood still, which it is about to look at.
    pub(crate) fn waits_to_be_heard(&mut self, event: &Event) {
        let Event::Deliver(id, side) = event else {
            return;
        };
        let here = self.network.node(*id, *side);
        let Some(Node::JobManager(instance)) = here.filter(|_| self.network.is_at_hand(*id, *side))
        else {
            return;
        };
        let now = self.now;
        if let Some(node) = self.jobmanagers.get_mut(&instance)
            && let Some(session) = node.connections.get(id)
            && let Some(heard) = node.heard.get_mut(session)
        {
            *heard = now;
        }
    }

    /// The session of a connection has ended.
    pub(crate) fn session_ends(&mut self, instance: Instance, id: ConnectionId) {
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        if let Some(session) = node.connections.remove(&id) {
            node.sessions.remove(&session);
            node.heard.remove(&session);
            self.jobmanager_input(instance, &Input::Disconnected { session });
            self.hears_past_session(instance, session);
        }
    }

    /// One step of a coordinator, with everything that can be checked about it.
    pub(crate) fn jobmanager_input(&mut self, instance: Instance, input: &Input) {
        let node = self.jobmanagers.get(&instance);
        if node.is_none_or(|node| node.coordinator.is_none()) {
            return;
        }
        if !self.looks_at_its_lease(instance) {
            return;
        }
        let now = self.jobmanager_time(instance);
        let is_end = may_end_a_session(input);
        self.note_told(Lane::JobManager(instance.0), "<-", input);
        self.sight_input(instance, input);
        self.checks.received(input);
        self.recordings.takes(instance, now, input);
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let Some(coordinator) = &mut node.coordinator else {
            return;
        };
        let mut effects = Vec::new();
        coordinator.step(now, input.clone(), &mut effects);
        self.recordings.took(instance, coordinator, &effects);
        let step = Step {
            instance,
            now,
            input,
            effects: &effects,
            coordinator,
        };
        let verdict = self.checks.stepped(&step);
        let agreed = self.checks.agrees_with_model(&step);
        node.steps += 1;
        let digest = (node.steps % STEPS_PER_DIGEST == 0).then(|| coordinator.digest());
        if let Err(violation) = coordinator.check_invariants() {
            self.fail(violation.name, violation.detail);
        }
        self.verdict(verdict);
        for mark in self.checks.takes_marks() {
            self.marks.hit(mark);
        }
        self.model_says(agreed);
        // Answers are not counted: as many as waited are due at once.
        let orders = effects
            .iter()
            .filter(|e| !matches!(e, Effect::Reply { .. }));
        let orders = orders.count();
        if orders > EFFECTS_PER_INPUT && self.sequel.is_none() {
            let detail = format!("{orders} effects of one input");
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
            self.carry_out(instance, effect, is_end);
        }
        self.look(instance);
        self.sight_workers(instance);
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
        let clock = self.leader(instance).map(|process| process.clock);
        let due = clock
            .zip(deadline)
            .map(|(clock, deadline)| clock.due(deadline, self.now));
        let Some(due) = due.filter(|due| node.wake_at.is_none_or(|at| *due < at)) else {
            return;
        };
        self.queue.push(due, Event::JobManagerWake(instance));
        if let Some(node) = self.jobmanagers.get_mut(&instance) {
            node.wake_at = Some(due);
        }
    }
}

/// A hello, or the end of a process.
fn may_end_a_session(input: &Input) -> bool {
    match input {
        Input::Connected { .. } => true,
        Input::Worker { report, .. } => matches!(report, WorkerReport::Gone(_)),
        Input::Message { .. }
        | Input::Disconnected { .. }
        | Input::Stored { .. }
        | Input::Discarded { .. }
        | Input::SavepointWritten { .. }
        | Input::Command { .. }
        | Input::Workers { .. }
        | Input::Wake => false,
    }
}
