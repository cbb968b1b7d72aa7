//! JobManager processes: each drives one coordinator, carries out its effects, and loses all but the
//! store when it dies. One of them is current; an older one may still run without knowing.

use crate::checks::Verdict;
use crate::marks::Mark;
use crate::plan::options::{MS, Micros};
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Instance};
use crate::world::faults::Moment;
use crate::world::network::{ConnectionId, Node, Payload, Side};
use jobmanager_core::id::{Epoch, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Effect, Input};
use jobmanager_core::message::{Envelope, FromTaskManager, ToTaskManager};
use jobmanager_core::record::Record;
use jobmanager_core::state::ExecutionState;
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

impl World {
    /// A new JobManager process takes the place of whichever was current.
    pub(crate) fn elect(&mut self, delay: Micros) {
        let instance = Instance(self.next_instance);
        self.next_instance += 1;
        self.jobmanagers.insert(
            instance,
            JobManagerNode {
                epoch: Epoch(0),
                coordinator: None,
                paused: false,
                backlog: Vec::new(),
                sessions: BTreeMap::new(),
                connections: BTreeMap::new(),
                names: BTreeMap::new(),
                records: Vec::new(),
                wake_at: None,
                steps: 0,
                had_taskmanagers: false,
            },
        );
        self.current = Some(instance);
        let start = Event::JobManagerStart(instance);
        self.queue.push(self.now + delay, start);
    }

    pub(crate) fn jobmanager_starts(&mut self, instance: Instance) {
        if !self.jobmanagers.contains_key(&instance) {
            return;
        }
        // It stood still while another one was elected: it never comes to lead.
        if self.current != Some(instance) {
            self.jobmanager_dies(instance, false);
            return;
        }
        let latency = self.draw(Stream::Store, &self.options.store.latency.clone());
        let again = Event::JobManagerStart(instance);
        if self.store.outage {
            self.queue.push(self.now + latency + 100 * MS, again);
            return;
        }
        let epoch = self.store.mint();
        let verdict = self.checks.minted(epoch);
        self.verdict(verdict);
        if !self.calm
            && self
                .decisions
                .chance(Stream::Store, self.options.store.unknown)
        {
            self.marks.hit(Mark::EpochAnswerLost);
            self.queue.push(self.now + latency + 100 * MS, again);
            return;
        }
        let records = self.store.read();
        if let Some(node) = self.jobmanagers.get_mut(&instance) {
            node.epoch = epoch;
            node.records = records;
        }
        let recover = Event::JobManagerRecover(instance);
        self.queue.push(self.now + latency, recover);
    }

    pub(crate) fn jobmanager_recovers(&mut self, instance: Instance) {
        let now = self.timestamp();
        let config = self.options.cluster.clone();
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let (epoch, records) = (node.epoch, std::mem::take(&mut node.records));
        self.note(Lane::JobManager(instance.0), "recover", &(epoch, &records));
        match Coordinator::recover(config, epoch, records, now) {
            Ok(coordinator) => {
                if let Some(node) = self.jobmanagers.get_mut(&instance) {
                    node.coordinator = Some(coordinator);
                }
                self.jobmanager_input(instance, Input::Wake);
            }
            Err(problem) => self.fail("what_is_stored_can_be_recovered", problem.to_string()),
        }
    }

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
        self.jobmanager_input(instance, input.clone());
        if self.options.twice && matches!(input, Input::Message { .. }) {
            self.jobmanager_hears_again(instance, input);
        }
    }

    /// The same message once more at the same time: nothing changes.
    fn jobmanager_hears_again(&mut self, instance: Instance, input: Input) {
        let digest = |world: &World| {
            let node = world.jobmanagers.get(&instance)?;
            node.coordinator.as_ref().map(Coordinator::digest)
        };
        let first = digest(self);
        self.jobmanager_input(instance, input.clone());
        // A coordinator that the message killed has no opinion any more.
        let second = digest(self).or(first);
        if first.is_some() && second != first {
            self.fail("a_repeated_message_changes_nothing", format!("{input:?}"));
        }
    }

    fn mark_acknowledgement(&mut self, input: &Input) {
        let Input::Message { message, .. } = input else {
            return;
        };
        match message {
            FromTaskManager::Acknowledge(ack) => {
                if !self.checks.is_current(ack.attempt) {
                    self.marks.hit(Mark::StaleAcknowledgement);
                }
                if self.checks.is_aborted(ack.attempt.job, ack.checkpoint) {
                    self.marks.hit(Mark::LateAcknowledgement);
                }
            }
            FromTaskManager::Decline { .. } => self.marks.hit(Mark::CheckpointDeclined),
            FromTaskManager::Heartbeat { .. } | FromTaskManager::TaskStates(_) => {}
        }
    }

    /// The session of a connection has ended.
    pub(crate) fn session_ends(&mut self, instance: Instance, id: ConnectionId) {
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        if let Some(session) = node.connections.remove(&id) {
            node.sessions.remove(&session);
            self.jobmanager_input(instance, Input::Disconnected { session });
        }
    }

    /// One step of a coordinator, with everything that can be checked about it.
    pub(crate) fn jobmanager_input(&mut self, instance: Instance, input: Input) {
        let now = self.timestamp();
        let node = self.jobmanagers.get(&instance);
        if node.is_none_or(|node| node.coordinator.is_none()) {
            return;
        }
        self.note(Lane::JobManager(instance.0), "<-", &input);
        self.checks.received(&input);
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let Some(coordinator) = &mut node.coordinator else {
            return;
        };
        let mut effects = Vec::new();
        coordinator.step(now, input, &mut effects);
        node.steps += 1;
        let digest = (node.steps % STEPS_PER_DIGEST == 0).then(|| coordinator.digest());
        if let Err(violation) = coordinator.check_invariants() {
            self.fail(violation.name, violation.detail);
        }
        if effects.len() > EFFECTS_PER_INPUT {
            let detail = format!("{} effects of one input", effects.len());
            self.fail("messages_never_storm", detail);
        }
        if let Some(digest) = digest {
            self.note(Lane::JobManager(instance.0), "digest", &digest);
        }
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

    /// Looks at what clients would see now.
    fn look(&mut self, instance: Instance) {
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let Some(coordinator) = &node.coordinator else {
            return;
        };
        let jobs: Vec<_> = coordinator.jobs().collect();
        let registered = coordinator.overview().taskmanagers;
        let lost = node.had_taskmanagers && registered == 0;
        node.had_taskmanagers = registered > 0;
        if lost {
            self.marks.hit(Mark::AllTaskManagersLost);
        }
        for job in jobs {
            if job.tasks.get(ExecutionState::Scheduled) > 0 {
                self.marks.hit(Mark::WaitedForSlots);
            }
            let verdict = self.checks.status(instance, &job);
            self.verdict(verdict);
        }
    }

    fn carry_out(&mut self, instance: Instance, effect: Effect) {
        self.note(Lane::JobManager(instance.0), "->", &effect);
        let verdict = self.check_order(instance, &effect);
        self.verdict(verdict);
        match effect {
            Effect::Send { session, message } => self.say(instance, session, &message),
            Effect::Disconnect { session } => self.end_session(instance, session),
            Effect::Reply { request, reply } => self.reply(request, reply),
            Effect::Store { commit, ops } => {
                let fate = self.fate();
                let Some(epoch) = self.jobmanagers.get(&instance).map(|node| node.epoch) else {
                    return;
                };
                let write = self.store.send(instance, epoch, commit, ops, fate);
                let latency = self.draw(Stream::Store, &self.options.store.latency.clone());
                self.queue
                    .push(self.now + latency, Event::StoreApply(write));
                self.moment(Moment::StoreSent, instance);
            }
            Effect::Discard(discard) => {
                let latency = self.draw(Stream::Blobs, &self.options.blobs.latency.clone());
                let done = !self.blob_fails();
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

    fn mark_message(&mut self, message: &ToTaskManager) {
        let mark = match message {
            ToTaskManager::Refused(_) => Mark::SessionRefused,
            ToTaskManager::Deploy(deployment) if deployment.restore.is_some() => {
                Mark::RegionRestored
            }
            ToTaskManager::Deploy(deployment) if deployment.attempt.number > 0 => {
                Mark::RestartedFromNothing
            }
            ToTaskManager::NotifyComplete { finish: true, .. } => Mark::FinalCheckpoint,
            ToTaskManager::NotifyAborted { .. } => Mark::CheckpointAborted,
            ToTaskManager::Resume { .. } => Mark::AttemptsAdopted,
            ToTaskManager::Welcome(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Deploy(_)
            | ToTaskManager::Cancel { .. }
            | ToTaskManager::TriggerCheckpoint { .. }
            | ToTaskManager::NotifyComplete { .. }
            | ToTaskManager::ReleaseJob { .. } => return,
        };
        self.marks.hit(mark);
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

    fn step_down(&mut self, instance: Instance) {
        self.jobmanager_dies(instance, false);
        if self.current.is_none() {
            self.elect(100 * MS);
        }
    }

    /// The process is gone, and with it everything that is not in the store.
    pub(crate) fn jobmanager_dies(&mut self, instance: Instance, silently: bool) {
        let Some(node) = self.jobmanagers.remove(&instance) else {
            return;
        };
        if self
            .store
            .under_way()
            .any(|write| write.instance == instance)
        {
            self.marks.hit(Mark::LeaderDiesDuringWrite);
        }
        let coordinator = node.coordinator.as_ref();
        let pending = coordinator.is_some_and(|coordinator| {
            let mut jobs = coordinator.jobs();
            let pending = |id| {
                coordinator
                    .checkpoints(id)
                    .is_some_and(|c| c.in_progress > 0)
            };
            jobs.any(|job| pending(job.id))
        });
        if pending {
            self.marks.hit(Mark::LeaderDiesWithCheckpointPending);
        }
        self.abandon(Node::JobManager(instance), silently);
        if self.current == Some(instance) {
            self.current = None;
        }
    }
}
