//! The world: virtual time, every node, and the one loop in which everything happens.
//!
//! The parts of its behaviour live beside what they are about: `jobmanager`, `durable`, `taskmanager`, `exchange`,
//! `tasks`, `client`, `faults` and `judge` each add an `impl World`. Nothing happens but by an event.

pub(crate) mod event;
pub(crate) mod faults;
pub(crate) mod judge;
pub(crate) mod metamorphic;
pub(crate) mod network;
pub(crate) mod sightings;

use crate::checks::oracle::{Failure, Oracle};
use crate::checks::{Checks, Verdict};
use crate::marks::{Mark, Marks};
use crate::nodes::allegiance::Allegiances;
use crate::nodes::client::Wish;
use crate::nodes::election::{Campaign, Candidate, Election};
use crate::nodes::jobmanager::JobManagerNode;
use crate::nodes::passage::Passage;
use crate::nodes::provider::Provider;
use crate::nodes::taskmanager::TaskManagerNode;
use crate::plan::Tier;
use crate::plan::options::{Latency, MS, Micros, Options};
use crate::replay::{Recordings, Sequel};
use crate::storage::blobs::Blobs;
use crate::storage::external::External;
use crate::storage::store::Store;
use crate::tape::{Decisions, Stream};
use crate::trace::{Parcel, Trace};
use event::{Event, Instance, Process, Queue};
use faults::Faults;
use jobmanager_core::id::{CheckpointId, JobId, RequestId, SessionId};
use jobmanager_core::message::SavepointOrder;
use judge::Judge;
use metamorphic::Rest;
use network::{Arrival, ConnectionId, Network, Node, Payload, Side};
use sightings::Sightings;
use std::collections::BTreeMap;

/// A run with more events than this is a storm.
const EVENT_LIMIT: u64 = 3_000_000;
/// More events than this at one time are a livelock.
const INSTANT_LIMIT: u64 = 100_000;

/// Everything there is.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now: Micros,
    pub(crate) queue: Queue,
    pub(crate) decisions: Decisions,
    pub(crate) trace: Trace,
    pub(crate) marks: Marks,
    pub(crate) network: Network,
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) external: External,
    pub(crate) jobmanagers: BTreeMap<Instance, JobManagerNode>,
    /// The one that clients and TaskManagers reach, if any.
    pub(crate) current: Option<Instance>,
    pub(crate) next_instance: u32,
    pub(crate) election: Election,
    pub(crate) allegiances: Allegiances,
    pub(crate) next_session: u64,
    pub(crate) taskmanagers: Vec<TaskManagerNode>,
    pub(crate) provider: Provider,
    pub(crate) passage: Passage,
    /// What is different with checkpoints that are savepoints.
    pub(crate) savepoint_orders: BTreeMap<(JobId, CheckpointId), SavepointOrder>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) requests: BTreeMap<RequestId, usize>,
    pub(crate) checks: Checks,
    /// Absent where no records flow.
    pub(crate) oracle: Option<Oracle>,
    pub(crate) faults: Faults,
    pub(crate) sightings: Sightings,
    pub(crate) judge: Judge,
    pub(crate) rest: Rest,
    /// Faults have ended.
    pub(crate) calm: bool,
    pub(crate) failure: Option<Failure>,
    /// A run without the model: what it says is noted, and changes nothing.
    pub(crate) without_model: bool,
    /// What the model said first in a run without it.
    pub(crate) disagreement: Option<Failure>,
    pub(crate) recordings: Recordings,
    /// What it goes on from, if it goes on from a recording.
    pub(crate) sequel: Option<Sequel>,
    pub(crate) events: u64,
    /// Set once everything that must happen has happened.
    pub(crate) done: bool,
}

impl World {
    pub(crate) fn new(options: Options, decisions: Decisions, trace: Trace) -> World {
        let checks = Checks::new(&options.all_jobs(), options.metamorphic.replays);
        let mut world = World::empty(options, decisions, trace, checks);
        world.begin();
        world
    }

    /// A world in which nothing will happen.
    pub(crate) fn empty(
        options: Options,
        decisions: Decisions,
        trace: Trace,
        checks: Checks,
    ) -> World {
        let jobs = options.all_jobs();
        World {
            now: 0,
            queue: Queue::default(),
            decisions,
            trace,
            marks: Marks::default(),
            network: Network::default(),
            store: Store::default(),
            blobs: Blobs::default(),
            external: External::default(),
            jobmanagers: BTreeMap::new(),
            current: None,
            next_instance: 0,
            election: Election::default(),
            allegiances: Allegiances::default(),
            next_session: 0,
            taskmanagers: Vec::new(),
            provider: Provider::new(options.workers.as_ref()),
            passage: Passage::default(),
            savepoint_orders: BTreeMap::new(),
            wishes: Vec::new(),
            requests: BTreeMap::new(),
            checks,
            oracle: match options.tier {
                // Without records there is no output to compare.
                Tier::ControlPlane => None,
                Tier::Dataflow => Some(Oracle::new(&jobs)),
            },
            faults: Faults::new(options.slots.len()),
            sightings: Sightings::new(&jobs),
            judge: Judge::default(),
            rest: Rest::default(),
            calm: false,
            failure: None,
            without_model: false,
            disagreement: None,
            recordings: Recordings::default(),
            sequel: None,
            events: 0,
            done: false,
            options,
        }
    }

    fn begin(&mut self) {
        self.begin_election();
        for index in 0..self.options.taskmanagers() {
            let node = TaskManagerNode::new(index, self.options.slots[index]);
            self.taskmanagers.push(node);
            let at = self.decisions.below(Stream::Options, 100 * MS);
            let at = at + self.late_start(index);
            self.queue.push(at, Event::TaskManagerStart(index));
        }
        self.plan_wishes();
        self.begin_faults();
        self.queue.push(self.options.faults.safety, Event::Heal);
    }

    /// Lets everything happen, until all is well, something is wrong, nothing happens any more, or so many
    /// events have happened.
    pub(crate) fn run(&mut self, events: u64) {
        let mut at_once = 0;
        while !self.done && self.failure.is_none() && self.events < events {
            let Some((at, event)) = self.queue.pop() else {
                self.fail("something_always_happens", "no event is left".to_owned());
                break;
            };
            at_once = if at > self.now { 0 } else { at_once + 1 };
            self.now = at;
            self.events += 1;
            self.trace.keep_digest(self.events);
            if self.events > self.event_limit() || at_once > INSTANT_LIMIT {
                let detail = format!("{} events, the last one {event:?}", self.events);
                self.fail("messages_never_storm", detail);
                break;
            }
            match self.paused_owner(&event) {
                Some(backlog) => backlog.push(event),
                None => self.happen(event),
            }
            self.observe();
        }
        self.close_books();
    }

    /// More events than this are a storm.
    fn event_limit(&self) -> u64 {
        self.sequel
            .as_ref()
            .map_or(EVENT_LIMIT, Sequel::event_limit)
    }

    /// Where an event waits whose owner stands still.
    fn paused_owner(&mut self, event: &Event) -> Option<&mut Vec<Event>> {
        let node = match event {
            Event::Deliver(id, side) | Event::Broken(id, side) => self.network.node(*id, *side)?,
            Event::Reached(process, _)
            | Event::WorkerWake(process)
            | Event::TaskWake(process, _)
            | Event::Passed(process, ..)
            | Event::Restored { process, .. }
            | Event::SnapshotStored { process, .. }
            | Event::TaskStops(process, _) => Node::TaskManager(*process),
            Event::JobManagerRecover(instance)
            | Event::JobManagerWake(instance)
            | Event::Discarded { instance, .. }
            | Event::SavepointWritten { instance, .. } => Node::JobManager(*instance),
            Event::StoreAnswer(write) => Node::JobManager(self.store.sender(*write)?),
            Event::Request(_) => Node::JobManager(self.current?),
            Event::Campaign(Campaign::Echo(process)) => Node::TaskManager(*process),
            Event::Campaign(Campaign::Tick(candidate)) => {
                return self.waiting_room(*candidate);
            }
            Event::Campaign(Campaign::Answer(call, _)) => return self.waiting_room(call.from),
            Event::Campaign(
                Campaign::Start(_)
                | Campaign::Call(_)
                | Campaign::Release(_)
                | Campaign::Shun
                | Campaign::GoOver(_),
            )
            | Event::JobManagerStart(_)
            | Event::StoreApply(_)
            | Event::Provision(_)
            | Event::TaskManagerStart(_)
            | Event::Client(_)
            | Event::Answer(..)
            | Event::Fault
            | Event::Strike(_)
            | Event::Repair(_)
            | Event::Heal
            | Event::Judge
            | Event::Sequel(_) => return None,
        };
        match node {
            Node::JobManager(instance) => {
                let candidate = self.jobmanagers.get(&instance)?.candidate;
                self.waiting_room(candidate)
            }
            Node::TaskManager(process) => {
                let node = self.taskmanagers.get_mut(process.index)?;
                let paused = node.is(process) && node.paused;
                paused.then_some(&mut node.backlog)
            }
        }
    }

    /// Whether the process of a coordinator stands still.
    pub(crate) fn stands_still(&mut self, instance: Instance) -> bool {
        let candidate = self.jobmanagers.get(&instance).map(|node| node.candidate);
        candidate.is_some_and(|candidate| self.waiting_room(candidate).is_some())
    }

    /// Where a JobManager process keeps what it is to do later, while it stands still.
    fn waiting_room(&mut self, candidate: Candidate) -> Option<&mut Vec<Event>> {
        let process = self.candidate(candidate)?;
        process.paused.then_some(&mut process.backlog)
    }

    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver(id, side) => self.deliver(id, side),
            Event::Broken(id, side) => self.broken(id, side),
            Event::Reached(process, attempt) => self.reached(process, attempt),
            Event::JobManagerStart(instance) => self.jobmanager_starts(instance),
            Event::JobManagerRecover(instance) => self.jobmanager_recovers(instance),
            Event::JobManagerWake(instance) => self.jobmanager_wakes(instance),
            Event::StoreApply(write) => self.store_applies(write),
            Event::StoreAnswer(write) => self.store_answers(write),
            Event::Discarded {
                instance,
                discard,
                done,
            } => self.discard_ends(instance, discard, done),
            Event::SavepointWritten {
                instance,
                location,
                savepoint,
                done,
            } => self.savepoint_written(instance, &location, &savepoint, done),
            Event::Provision(what) => self.provision(what),
            Event::TaskManagerStart(index) => self.taskmanager_starts(index),
            Event::WorkerWake(process) => self.worker_wakes(process),
            Event::TaskWake(process, attempt) => self.task_wakes(process, attempt),
            Event::Passed(process, attempt, signal) => {
                self.signal_arrives(process, attempt, signal);
            }
            Event::Restored {
                process,
                attempt,
                failed,
            } => self.task_restores(process, attempt, failed),
            Event::SnapshotStored {
                process,
                attempt,
                checkpoint,
                failed,
            } => self.snapshot_stored(process, attempt, checkpoint, failed),
            Event::TaskStops(process, attempt) => self.task_stops(process, attempt),
            Event::Campaign(what) => self.campaigns(what),
            Event::Client(wish) => self.client_acts(wish),
            Event::Request(request) => self.request_arrives(request),
            Event::Answer(request, reply) => self.answer_arrives(request, reply),
            Event::Fault => self.fault(),
            Event::Strike(strike) => self.strike(strike),
            Event::Repair(repair) => self.repair(repair),
            Event::Heal => self.heal(),
            Event::Judge => self.judge(),
            Event::Sequel(step) => self.goes_on(step),
        }
    }

    fn deliver(&mut self, id: ConnectionId, side: Side) {
        let arrival = self.network.arrive(id, side, self.now);
        if let Arrival::Payload(_, _, number, _) = &arrival {
            self.arrives(|| Parcel::Message(*number));
        }
        match arrival {
            Arrival::Nobody | Arrival::Waits => {}
            Arrival::Stalled(until) => self.queue.push(until, Event::Deliver(id, side)),
            Arrival::TimedOut => {
                self.marks.hit(Mark::StalledConnectionBroke);
                self.break_connection(id);
            }
            Arrival::Payload(node, payload, _, waited) => {
                for _ in 0..waited {
                    self.queue.push(self.now, Event::Deliver(id, side));
                }
                self.hear(node, id, side, payload);
            }
        }
    }

    /// What arrived is taken in; in a session perhaps several times.
    fn hear(&mut self, node: Node, id: ConnectionId, side: Side, payload: Payload) {
        let Payload::Bytes(bytes) = payload else {
            self.broken(id, side);
            return;
        };
        for _ in 0..self.copies(id) {
            if !self.network.is_open(id, side) {
                return;
            }
            match node {
                Node::JobManager(instance) => {
                    self.jobmanager_hears(instance, id, &bytes);
                    self.echo_later(id, &bytes);
                }
                Node::TaskManager(process) => self.taskmanager_hears(process, id, side, &bytes),
            }
        }
    }

    /// One end learns that the connection is gone.
    fn broken(&mut self, id: ConnectionId, side: Side) {
        let Some(node) = self.network.node(id, side) else {
            return;
        };
        if !self.network.is_open(id, side) {
            return;
        }
        self.network.leave(id, side);
        match node {
            Node::JobManager(instance) => self.session_ends(instance, id),
            Node::TaskManager(process) => self.connection_ends(process, id),
        }
    }

    /// Puts bytes on their way to the other side of a connection.
    pub(crate) fn send(&mut self, id: ConnectionId, to: Side, payload: Payload) {
        self.show_send(id, to, &payload);
        let mut latency = self.network_latency();
        if !self.calm
            && self
                .decisions
                .chance(Stream::Network, self.options.slow_messages)
        {
            latency *= 100;
        }
        let latency = self.strained(id, to, latency);
        if let Some(at) = self.network.send(id, to, payload, self.now + latency) {
            self.queue.push(at, Event::Deliver(id, to));
        }
    }

    /// One process closes a connection after everything that it sent.
    pub(crate) fn close(&mut self, id: ConnectionId, side: Side) {
        self.send(id, side.other(), Payload::Close);
        self.network.leave(id, side);
    }

    /// A connection breaks: both ends learn it, each in its own time.
    pub(crate) fn break_connection(&mut self, id: ConnectionId) {
        self.network.drop_in_flight(id);
        for side in [Side::Opener, Side::Acceptor] {
            let at = self.now + self.network_latency();
            self.queue.push(at, Event::Broken(id, side));
        }
    }

    /// A node is gone: its peers learn it soon, or only when they have waited for long.
    pub(crate) fn abandon(&mut self, node: Node, silently: bool) {
        for (id, side) in self.network.of(node) {
            self.network.drop_in_flight(id);
            self.network.leave(id, side);
            let wait = if silently {
                network::STALL_LIMIT
            } else {
                self.network_latency()
            };
            let peer = Event::Broken(id, side.other());
            self.queue.push(self.now + wait, peer);
        }
    }

    pub(crate) fn network_latency(&mut self) -> Micros {
        let range = self.options.network.clone();
        self.draw(Stream::Network, &range)
    }

    pub(crate) fn draw(&mut self, stream: Stream, range: &Latency) -> Micros {
        self.decisions.range(stream, range.clone())
    }

    pub(crate) fn new_session(&mut self) -> SessionId {
        self.next_session += 1;
        SessionId(self.next_session)
    }

    /// Something is wrong; the first thing counts.
    pub(crate) fn fail(&mut self, name: &'static str, detail: String) {
        self.failure.get_or_insert(Failure::new(name, detail));
    }

    /// As [`Self::fail`], if the verdict says so.
    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        if let Err(failure) = verdict {
            self.failure.get_or_insert(failure);
        }
    }

    /// As [`Self::verdict`], if what the model says counts.
    pub(crate) fn model_says(&mut self, verdict: Verdict) {
        if !self.without_model {
            self.verdict(verdict);
        } else if self.failure.is_none() && self.disagreement.is_none() {
            self.disagreement = verdict.err();
        }
    }

    /// Whether this is the life of the process that the world knows.
    pub(crate) fn is_alive(&self, process: Process) -> bool {
        let node = self.taskmanagers.get(process.index);
        node.is_some_and(|node| node.is(process))
    }
}
