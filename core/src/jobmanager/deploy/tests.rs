//! How good placement is: against a plain reference that looks at everything for each slot.

#![allow(clippy::unwrap_used)]

use crate::config::cluster_config;
use crate::graph::{EdgeSpec, JobGraph, JobGraphSpec, Partitioning, VertexSpec};
use crate::id::{
    AttemptId, Epoch, Incarnation, JobId, RequestId, SessionId, SlotIndex, TaskManagerId,
    VertexIndex,
};
use crate::jobmanager::{Command, Coordinator, Effect, Input, StoreOutcome};
use crate::message::{
    FromTaskManager, Hardware, Hello, TaskReport, TaskStateChange, ToTaskManager,
};
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use proptest::prelude::*;

const DELAY: Duration = Duration::from_secs(1);

type Place = (TaskManagerId, SlotIndex);

/// The free slots of those TaskManagers that offer what the tasks need.
type Free = BTreeMap<TaskManagerId, BTreeSet<SlotIndex>>;

/// A coordinator whose store answers at once, and the attempts that it has deployed.
struct Cluster {
    coordinator: Coordinator,
    now: Timestamp,
    useful: BTreeMap<TaskManagerId, u32>,
    sessions: BTreeMap<TaskManagerId, SessionId>,
    deployed: BTreeMap<SessionId, Vec<AttemptId>>,
}

impl Cluster {
    fn start() -> Self {
        let config = cluster_config(&BTreeMap::new(), &[]).unwrap();
        let recovered = Coordinator::recover(config, Epoch(1), Vec::new(), Timestamp(0));
        Cluster {
            coordinator: recovered.unwrap(),
            now: Timestamp(0),
            useful: BTreeMap::new(),
            sessions: BTreeMap::new(),
            deployed: BTreeMap::new(),
        }
    }

    fn take(&mut self, input: Input) {
        let mut inputs = Vec::from([input]);
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.coordinator.step(self.now, input, &mut effects);
            assert_eq!(self.coordinator.check_invariants(), Ok(()));
            for effect in effects {
                if let Effect::Store { commit, .. } = effect {
                    let outcome = StoreOutcome::Done;
                    inputs.push(Input::Stored { commit, outcome });
                } else if let Effect::Send { session, message } = effect {
                    self.obey(session, message.message);
                }
            }
        }
    }

    fn obey(&mut self, session: SessionId, message: ToTaskManager) {
        if let ToTaskManager::Deploy(order) = message {
            let (job, attempt) = (order.job, order.attempt);
            let tasks = order.tasks.iter().map(|it| it.task);
            let attempts = tasks.map(|task| AttemptId { job, task, attempt });
            self.deployed.entry(session).or_default().extend(attempts);
        }
    }

    fn register(&mut self, slots: u32, useful: bool) {
        let number = self.sessions.len() as u64;
        let (session, name) = (SessionId(number), TaskManagerId(number.to_string()));
        self.sessions.insert(name.clone(), session);
        if useful {
            self.useful.insert(name.clone(), slots);
        }
        let operator = if useful { "filter" } else { "other" };
        let hello = Hello {
            taskmanager: name,
            incarnation: Incarnation(1),
            seen_epoch: Epoch(0),
            hellos: 1,
            slots,
            data_address: String::new(),
            hardware: Hardware::default(),
            operators: Vec::from([operator.to_string()]),
            inventory: Vec::new(),
            jobs: Vec::new(),
            leaves_within: None,
        };
        self.take(Input::Connected { session, hello });
        let message = FromTaskManager::Heartbeat { sequence: 1 };
        self.take(Input::Message { session, message });
    }

    fn lose(&mut self, name: &TaskManagerId) {
        self.useful.remove(name);
        let session = self.sessions[name];
        self.deployed.remove(&session);
        self.take(Input::Disconnected { session });
    }

    fn submit(&mut self, job: JobId, parallelism: &[u32], strategy: &str) {
        let graph = Arc::new(graph(job, parallelism, strategy));
        let (request, command) = (RequestId(0), Command::Submit { graph, from: None });
        self.take(Input::Command { request, command });
    }

    /// Every task of a job ends as this says.
    fn end(&mut self, job: JobId, report: &TaskReport) {
        let mut ended = Vec::new();
        for (session, attempts) in &mut self.deployed {
            let of_job = attempts.extract_if(.., |attempt| attempt.job == job);
            ended.extend(of_job.map(|attempt| (*session, attempt)));
        }
        for (session, attempt) in ended {
            let report = report.clone();
            let change = TaskStateChange { attempt, report };
            let message = FromTaskManager::TaskStates(Vec::from([change]));
            self.take(Input::Message { session, message });
        }
    }

    fn free(&self) -> Free {
        let all = |(name, slots): (&TaskManagerId, &u32)| {
            (name.clone(), (0..*slots).map(SlotIndex).collect())
        };
        let mut free: Free = self.useful.iter().map(all).collect();
        for (name, slot, _) in self.coordinator.allocations() {
            free.get_mut(name).unwrap().remove(&slot);
        }
        free
    }

    /// Where the job's slots are, in their order.
    fn places(&self, job: JobId, vertices: u32) -> Vec<Option<Place>> {
        let subtasks = (0..vertices).map(VertexIndex);
        let subtasks = subtasks.flat_map(|vertex| self.coordinator.subtasks(job, vertex).unwrap());
        subtasks.map(|subtask| subtask.location).collect()
    }
}

/// A job whose vertices share no slots and send to the next one. If it restarts, then after [`DELAY`].
fn graph(id: JobId, parallelism: &[u32], strategy: &str) -> JobGraph {
    let vertex = |(id, parallelism): (usize, &u32)| VertexSpec {
        id: id.to_string(),
        name: None,
        operator: "filter".into(),
        parallelism: *parallelism,
        max_parallelism: None,
        slot_sharing_group: Some(id.to_string()),
        config: "{}".into(),
    };
    let edge = |target: usize| EdgeSpec {
        source: (target - 1).to_string(),
        target: target.to_string(),
        partitioning: Partitioning::Hash,
    };
    let options = [
        ("restart-strategy.type", strategy),
        ("restart-strategy.fixed-delay.attempts", "1000"),
        ("restart-strategy.fixed-delay.delay", "1 s"),
    ];
    let options = options.map(|(key, value)| (key.to_string(), value.to_string()));
    let spec = JobGraphSpec {
        id,
        name: "job".into(),
        vertices: parallelism.iter().enumerate().map(vertex).collect(),
        edges: (1..parallelism.len()).map(edge).collect(),
        configuration: options.into(),
    };
    JobGraph::validate(spec, &BTreeMap::new()).unwrap()
}

/// How many slots stay where they were, and what is left free on each TaskManager, the most first.
fn score(previous: &[Option<Place>], places: &[Option<Place>], free: &Free) -> (usize, Vec<usize>) {
    let stay = previous.iter().zip(places).filter(|(a, b)| a == b).count();
    let mut left: Vec<usize> = free.values().map(BTreeSet::len).collect();
    left.sort_unstable_by(|a, b| b.cmp(a));
    (stay, left)
}

/// For each slot first where it was, then wherever the most is free; nothing if one finds no place.
fn reference(previous: &[Option<Place>], mut free: Free) -> Option<(usize, Vec<usize>)> {
    let mut places = Vec::new();
    for was in previous {
        let back = was
            .clone()
            .filter(|(tm, slot)| free.get_mut(tm).is_some_and(|free| free.remove(slot)));
        places.push(back);
    }
    for place in places.iter_mut().filter(|place| place.is_none()) {
        let (tm, slots) = free.iter_mut().max_by_key(|(_, slots)| slots.len())?;
        *place = Some((tm.clone(), slots.pop_first()?));
    }
    Some(score(previous, &places, &free))
}

proptest! {
    #[test]
    fn a_placement_is_as_good_as_one_that_looks_at_everything(
        taskmanagers in proptest::collection::vec((0_u32..5, proptest::bool::weighted(0.8)), 1..7),
        in_the_way in 1_u32..6,
        makes_room in proptest::bool::ANY,
        parallelism in proptest::collection::vec(1_u32..6, 1..3),
        lost in proptest::collection::vec(proptest::bool::weighted(0.3), 6),
        joins in proptest::collection::vec((1_u32..5, proptest::bool::weighted(0.8)), 0..4),
    ) {
        let (other, job) = (JobId(1), JobId(2));
        let vertices = parallelism.len() as u32;
        let nowhere: Vec<Option<Place>> = vec![None; parallelism.iter().sum::<u32>() as usize];
        let mut cluster = Cluster::start();
        for (slots, useful) in taskmanagers {
            cluster.register(slots, useful);
        }
        cluster.submit(other, &[in_the_way], "none");
        let free = cluster.free();
        cluster.submit(job, &parallelism, "fixed-delay");
        let first = cluster.places(job, vertices);
        let placed = first.iter().all(Option::is_some);
        let expected = reference(&nowhere, free);
        prop_assert_eq!(placed.then(|| score(&nowhere, &first, &cluster.free())), expected);
        if !placed {
            return Ok(());
        }
        cluster.end(job, &TaskReport::Failed { cause: "disk full".into() });
        if makes_room {
            cluster.end(other, &TaskReport::Finished);
        }
        let names: Vec<TaskManagerId> = cluster.sessions.keys().cloned().collect();
        for (name, _) in names.iter().zip(lost).filter(|(_, lost)| *lost) {
            cluster.lose(name);
        }
        for (slots, useful) in joins {
            cluster.register(slots, useful);
        }
        let free = cluster.free();
        cluster.now = cluster.now + DELAY;
        cluster.take(Input::Wake);
        let second = cluster.places(job, vertices);
        let placed = second.iter().all(Option::is_some);
        let expected = reference(&first, free);
        prop_assert_eq!(placed.then(|| score(&first, &second, &cluster.free())), expected);
    }
}
