//! What the flight recorder costs: the same load of the coordinator with it and without it, in turns.
//!
//! `cargo bench -p jobmanager --bench recorder`
//!
//! The load is that of 20,000 tasks on 100 TaskManagers at 10,000 messages per second: a checkpoint
//! every two seconds, and heartbeats.

#![allow(clippy::unwrap_used)]

use jobmanager::recorder::Recorder;
use jobmanager_core::config::{ClusterConfig, cluster_config};
use jobmanager_core::id::*;
use jobmanager_core::jobmanager::{
    Command, Coordinator, Effect, Input, StorageOutcome, StoreOutcome,
};
use jobmanager_core::message::*;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::job_json;
use jobmanager_proto::recording::{Header, MAX_SNAPSHOT, snapshot};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TASKS: u32 = 20_000;
const TASKMANAGERS: u32 = 100;
const MESSAGES: u32 = 200_000;
const MESSAGES_PER_MS: u32 = 10;
const ROUNDS: usize = 5;
const MEMORY: u64 = 64 << 20;

fn config() -> ClusterConfig {
    cluster_config(&BTreeMap::new(), &[]).unwrap()
}

/// A coordinator, and the TaskManagers and the store that answer it at once.
struct Cluster {
    coordinator: Coordinator,
    recorder: Option<Recorder>,
    now: Timestamp,
    inputs: VecDeque<Input>,
    tasks: BTreeMap<SessionId, Vec<AttemptId>>,
    effects: Vec<Effect>,
    taken: u32,
    spent: Duration,
}

impl Cluster {
    fn start(recorded: bool) -> Cluster {
        let (epoch, now) = (Epoch(1), Timestamp(1_000));
        let header = Header {
            program: "bench".to_owned(),
            epoch,
            config: config(),
        };
        let mut cluster = Cluster {
            coordinator: Coordinator::recover(config(), epoch, Vec::new(), now).unwrap(),
            recorder: recorded.then(|| Recorder::new(MEMORY, header, &[], now)),
            now,
            inputs: VecDeque::new(),
            tasks: BTreeMap::new(),
            effects: Vec::new(),
            taken: 0,
            spent: Duration::ZERO,
        };
        for number in 0..TASKMANAGERS {
            let (session, hello) = (SessionId(number.into()), hello(number));
            cluster
                .inputs
                .push_back(Input::Connected { session, hello });
        }
        let graph = format!(
            r#"{{"name": "x", "vertices": [{{"id": "a", "operator": "x", "parallelism": {TASKS}}}],
                "configuration": {{"execution.checkpointing.interval": "2 s"}}}}"#
        );
        let graph = job_json::parse(graph.as_bytes(), JobId(1), &BTreeMap::new()).unwrap();
        let command = Command::Submit {
            graph: Arc::new(graph),
            from: None,
        };
        let request = RequestId(1);
        cluster
            .inputs
            .push_back(Input::Command { request, command });
        while let Some(input) = cluster.inputs.pop_front() {
            cluster.take(input);
        }
        cluster
    }

    /// Takes so many messages; what comes after them is heartbeats.
    fn run(&mut self, messages: u32) -> Duration {
        self.spent = Duration::ZERO;
        for number in 0..messages {
            let input = self.inputs.pop_front().unwrap_or_else(|| {
                let session = SessionId((number % TASKMANAGERS).into());
                let message = FromTaskManager::Heartbeat {
                    sequence: number.into(),
                };
                Input::Message { session, message }
            });
            self.take(input);
        }
        self.spent
    }

    /// As the driver does it.
    fn take(&mut self, input: Input) {
        self.taken += 1;
        self.now.0 += u64::from(self.taken.is_multiple_of(MESSAGES_PER_MS));
        let started = Instant::now();
        if let Some(recorder) = &mut self.recorder {
            recorder.input(self.now, &input);
        }
        self.coordinator.step(self.now, input, &mut self.effects);
        if let Some(recorder) = &mut self.recorder {
            recorder.stepped(self.now, &mut self.coordinator, &self.effects);
        }
        self.spent += started.elapsed();
        for effect in std::mem::take(&mut self.effects) {
            self.answer(effect);
        }
    }

    fn answer(&mut self, effect: Effect) {
        match effect {
            Effect::Store { commit, .. } => {
                let outcome = StoreOutcome::Done;
                self.inputs.push_back(Input::Stored { commit, outcome });
            }
            Effect::Discard(discard) => {
                let outcome = StorageOutcome::Done;
                self.inputs.push_back(Input::Discarded { discard, outcome });
            }
            Effect::Send { session, message } => self.obey(session, message.message),
            Effect::WriteSavepoint { .. } => unreachable!("nobody asks for one"),
            Effect::Disconnect { .. }
            | Effect::Reply { .. }
            | Effect::RequestWorkers { .. }
            | Effect::ReleaseWorker { .. }
            | Effect::StepDown { .. } => {}
        }
    }

    fn obey(&mut self, session: SessionId, message: ToTaskManager) {
        match message {
            ToTaskManager::Deploy(deployment) => {
                let Deployment {
                    job,
                    attempt,
                    tasks,
                    ..
                } = deployment;
                let ids = tasks.iter().map(|task| AttemptId {
                    job,
                    task: task.task,
                    attempt,
                });
                let ids: Vec<_> = ids.collect();
                let change = |report: TaskReport| {
                    let change = |attempt: &AttemptId| TaskStateChange {
                        attempt: *attempt,
                        report: report.clone(),
                    };
                    FromTaskManager::TaskStates(ids.iter().map(change).collect())
                };
                for report in [TaskReport::Initializing, TaskReport::Running] {
                    let message = change(report);
                    self.inputs.push_back(Input::Message { session, message });
                }
                self.tasks.entry(session).or_default().extend(ids);
            }
            ToTaskManager::TriggerCheckpoint { checkpoint, .. } => {
                for attempt in self.tasks.get(&session).into_iter().flatten() {
                    let path = format!(
                        "chk-{}/{}-{}",
                        checkpoint.0, attempt.task.vertex.0, attempt.task.subtask.0
                    );
                    let state = StateHandle::whole(StateLocation::File(path), 1_000);
                    let ack = Acknowledgement {
                        attempt: *attempt,
                        checkpoint,
                        state,
                    };
                    let message = FromTaskManager::Acknowledge(ack);
                    self.inputs.push_back(Input::Message { session, message });
                }
            }
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Cancel { .. }
            | ToTaskManager::NotifyComplete { .. }
            | ToTaskManager::NotifyAborted { .. }
            | ToTaskManager::Resume { .. }
            | ToTaskManager::ReleaseJob { .. }
            | ToTaskManager::Dismissed => {}
        }
    }
}

fn hello(number: u32) -> Hello {
    Hello {
        taskmanager: TaskManagerId(format!("tm-{number}")),
        incarnation: Incarnation(1),
        seen_epoch: Epoch::default(),
        hellos: 1,
        slots: TASKS / TASKMANAGERS,
        data_address: "127.0.0.1:1".to_owned(),
        hardware: Hardware::default(),
        operators: vec!["x".to_owned()],
        inventory: Vec::new(),
        jobs: Vec::new(),
        leaves_within: None,
    }
}

fn main() {
    let mut clusters = [Cluster::start(false), Cluster::start(true)];
    let mut best = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        for (cluster, best) in clusters.iter_mut().zip(&mut best) {
            *best = cluster.run(MESSAGES).min(*best);
        }
    }
    let per_message = best.map(|time| time.as_secs_f64() * 1e9 / f64::from(MESSAGES));
    let [without, with] = per_message;
    println!(
        "{TASKS} tasks on {TASKMANAGERS} TaskManagers, the best of {ROUNDS} rounds of {MESSAGES} messages"
    );
    println!("without the recorder {without:>8.0} ns per message");
    println!(
        "with the recorder    {with:>8.0} ns per message, {:.2} times as long",
        with / without
    );
    let share = (with - without) * 10_000.0 / 1e9 * 100.0;
    println!("of one core at 10,000 messages per second {share:.2} % (goal: at most 2 %)");
    let cluster = &mut clusters[1];
    let started = Instant::now();
    let size = snapshot(&mut cluster.coordinator, MAX_SNAPSHOT)
        .unwrap()
        .len();
    let taken = started.elapsed();
    println!(
        "a snapshot has {size} bytes and takes {:.2} ms",
        taken.as_secs_f64() * 1e3
    );
    let started = Instant::now();
    let digest = cluster.coordinator.digest();
    println!(
        "a digest ({digest:016x}) takes {:.2} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    let recorder = cluster.recorder.as_ref().unwrap();
    let flight = recorder
        .recording(cluster.now, &cluster.coordinator)
        .unwrap();
    println!("a recording has {} bytes", flight.size());
}
