//! A coordinator, the store and the TaskManagers around it as far as a scenario needs them, and the
//! text of what happened.

#![allow(clippy::unwrap_used)]

use super::observe::name;
use jobmanager_core::config::{ClusterConfig, cluster_config};
use jobmanager_core::id::{
    AttemptId, CheckpointId, CommitId, Epoch, Incarnation, JobId, RequestId, SessionId, SlotIndex,
    TaskManagerId, TriggerId,
};
use jobmanager_core::jobmanager::{
    Command, Coordinator, Discard, Input, SavepointRequest, StorageOutcome, StoreOutcome,
};
use jobmanager_core::message::{
    Acknowledgement, AfterSavepoint, FromTaskManager, Hardware, Hello, InventoryItem, ListPart,
    StateHandle, StateLocation, StateParts, TaskReport, TaskStateChange,
};
use jobmanager_core::record::{Bounds, Record, RecordKey, RecordOp};
use jobmanager_core::redistribute::DistributionMode;
use jobmanager_core::savepoint::Savepoint;
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::job_json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// What the scenario knows of a deployed task.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) tm: String,
    pub(super) slot: SlotIndex,
    pub(super) state: ExecutionState,
    pub(super) end_of_data: bool,
    pub(super) restored: Option<CheckpointId>,
}

/// A scenario under way.
#[derive(Clone)]
pub(crate) struct Script {
    pub(super) coordinator: Coordinator,
    config: ClusterConfig,
    pub(super) now: u64,
    epoch: u64,
    pub(super) text: String,
    /// What whoever says hello offers.
    operators: Vec<String>,
    pub(super) sessions: BTreeMap<String, SessionId>,
    pub(super) tasks: BTreeMap<AttemptId, Task>,
    /// The jobs that each had tasks of, and was not told to forget.
    pub(super) hosted: BTreeMap<String, BTreeSet<JobId>>,
    last_session: u64,
    last_request: u64,
    /// The latest leader that whoever says hello has obeyed.
    seen_epoch: Epoch,
    /// Which of its hellos the next one is, if not the last so far.
    next_hello: Option<u64>,
    /// The next hello says that it leaves.
    pub(super) leaves_within: Option<Duration>,
    records: BTreeMap<RecordKey, Record>,
    pub(super) write: Option<(CommitId, Vec<RecordOp>)>,
    pub(super) discard: Option<Discard>,
    pub(super) checkpoint: Option<CheckpointId>,
    /// The savepoint whose metadata was to be written last.
    pub(super) savepoint: Option<Arc<Savepoint>>,
    pub(super) job: Option<JobId>,
    /// Snapshots can be divided.
    have_parts: bool,
}

impl Script {
    pub(crate) fn new() -> Self {
        Script::of(cluster_config(&BTreeMap::new(), &[]).unwrap())
    }

    /// One of a cluster with these options.
    pub(super) fn of(config: ClusterConfig) -> Self {
        let (epoch, now) = (Epoch(1), Timestamp(0));
        Script {
            coordinator: Coordinator::recover(config.clone(), epoch, Vec::new(), now).unwrap(),
            config,
            now: 0,
            epoch: 1,
            text: String::new(),
            operators: ["datagen-source", "file-sink"].map(String::from).to_vec(),
            sessions: BTreeMap::new(),
            tasks: BTreeMap::new(),
            hosted: BTreeMap::new(),
            last_session: 0,
            last_request: 0,
            seen_epoch: Epoch(0),
            next_hello: None,
            leaves_within: None,
            records: BTreeMap::new(),
            write: None,
            discard: None,
            checkpoint: None,
            savepoint: None,
            job: None,
            have_parts: false,
        }
    }

    /// Everything since the last cut.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Forgets what happened so far: it was only the way to the scenario.
    pub(crate) fn cut(&mut self) -> &mut Self {
        self.text.clear();
        self
    }

    pub(super) fn step(&mut self, what: &str, input: Input) -> &mut Self {
        writeln!(self.text, "{:>6} > {what}", self.now).unwrap();
        let mut effects = Vec::new();
        self.coordinator
            .step(Timestamp(self.now), input, &mut effects);
        self.coordinator.check_invariants().unwrap();
        for effect in effects {
            let line = self.observe(&effect);
            writeln!(self.text, "         {line}").unwrap();
        }
        self
    }

    /// Time passes, timer by timer.
    pub(crate) fn pass(&mut self, millis: u64) -> &mut Self {
        let end = self.now + millis;
        while let Some(at) = self.coordinator.next_deadline().filter(|at| at.0 <= end) {
            self.now = at.0;
            self.step("wake", Input::Wake);
        }
        self.now = end;
        self
    }

    /// Time passes, and the coordinator does not notice before something else happens.
    pub(crate) fn stand_still(&mut self, millis: u64) -> &mut Self {
        self.now += millis;
        self
    }

    pub(crate) fn submit(&mut self, json: &str) -> &mut Self {
        self.submit_with("submit", json, None)
    }

    /// A client submits a job that starts from the last savepoint.
    pub(crate) fn submit_from_savepoint(&mut self, json: &str) -> &mut Self {
        let from = self.savepoint.clone().unwrap();
        let what = format!("submit, from savepoint {}", from.checkpoint.0);
        self.submit_with(&what, json, Some(from))
    }

    fn submit_with(&mut self, what: &str, json: &str, from: Option<Arc<Savepoint>>) -> &mut Self {
        let defaults = BTreeMap::new();
        let graph = job_json::parse_from(json.as_bytes(), JobId(99), &defaults, from.as_deref());
        let graph = Arc::new(graph.unwrap());
        self.job = Some(graph.id());
        let request = self.request();
        let command = Command::Submit { graph, from };
        self.step(what, Input::Command { request, command })
    }

    pub(crate) fn cancel(&mut self) -> &mut Self {
        let (request, job) = (self.request(), self.job.unwrap());
        self.step(
            "cancel",
            Input::Command {
                request,
                command: Command::Cancel(job),
            },
        )
    }

    /// A client wants this parallelism of vertices.
    pub(crate) fn rescale(&mut self, parallelism: &[(&str, u32)]) -> &mut Self {
        let (request, job) = (self.request(), self.job.unwrap());
        let of = |(vertex, parallelism): &(&str, u32)| {
            ((*vertex).to_owned(), Bounds::exactly(*parallelism))
        };
        let command = Command::Rescale {
            job,
            bounds: parallelism.iter().map(of).collect(),
        };
        let text = format!("rescale {parallelism:?}");
        self.step(&text, Input::Command { request, command })
    }

    /// A client wants a checkpoint at once.
    pub(crate) fn demand(&mut self, trigger: u128) -> &mut Self {
        let (request, job) = (self.request(), self.job.unwrap());
        let command = Command::Checkpoint {
            job,
            trigger: TriggerId(trigger),
        };
        let text = format!("checkpoint, demand {trigger}");
        self.step(&text, Input::Command { request, command })
    }

    /// A client asks what came of its demand.
    pub(crate) fn demanded(&mut self, trigger: u128) -> &mut Self {
        let state = self
            .coordinator
            .demand(self.job.unwrap(), TriggerId(trigger));
        writeln!(self.text, "         demand {trigger} is {state:?}").unwrap();
        self
    }

    /// A client wants a savepoint, always under the same name.
    pub(crate) fn savepoint(&mut self, after: AfterSavepoint) -> &mut Self {
        let (request, job) = (self.request(), self.job.unwrap());
        let wanted = SavepointRequest {
            job,
            trigger: TriggerId(7),
            directory: "file:///s".into(),
            after,
        };
        self.step(
            &format!("savepoint, {after:?}"),
            Input::Command {
                request,
                command: Command::Savepoint(wanted),
            },
        )
    }

    /// The metadata that was ordered last is written, or cannot be.
    pub(crate) fn metadata(&mut self, outcome: StorageOutcome) -> &mut Self {
        let checkpoint = self.savepoint.as_ref().unwrap().checkpoint;
        let job = self.job.unwrap();
        let what = format!("metadata of savepoint {}: {outcome:?}", checkpoint.0);
        let written = Input::SavepointWritten {
            job,
            checkpoint,
            outcome,
        };
        self.step(&what, written)
    }

    pub(super) fn request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    /// Another process of this name says hello, and answers if it is registered.
    pub(crate) fn connect(&mut self, name: &str, slots: u32) -> &mut Self {
        self.connect_mute(name, slots).answer(name)
    }

    /// Another process of this name says hello, and nothing more.
    pub(crate) fn connect_mute(&mut self, name: &str, slots: u32) -> &mut Self {
        let incarnation = Incarnation(self.last_session + 1);
        self.hello(name, slots, incarnation, Vec::new())
    }

    /// Whoever said hello last answers the first heartbeat, if it was asked.
    pub(crate) fn answer(&mut self, name: &str) -> &mut Self {
        let session = SessionId(self.last_session);
        let registered: Vec<_> = self.coordinator.taskmanagers().collect();
        if registered.iter().all(|tm| tm.session != session) {
            return self;
        }
        let message = FromTaskManager::Heartbeat { sequence: 1 };
        self.step(
            &format!("{name} answers"),
            Input::Message { session, message },
        )
    }

    /// The process of this name, which never died, says hello to the next coordinator.
    pub(crate) fn connect_again(&mut self, name: &str, slots: u32) -> &mut Self {
        let inventory = self.tasks_of(name);
        self.hello_with(name, slots, inventory)
    }

    fn hello(
        &mut self,
        name: &str,
        slots: u32,
        incarnation: Incarnation,
        inventory: Vec<InventoryItem>,
    ) -> &mut Self {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let what = format!(
            "{name} says hello on session {}, with {} attempts",
            session.0,
            inventory.len()
        );
        self.sessions.entry(name.into()).or_insert(session);
        let operators = self.operators.clone();
        let hello = Hello {
            taskmanager: TaskManagerId(name.into()),
            incarnation,
            seen_epoch: self.seen_epoch,
            hellos: self.next_hello.take().unwrap_or(session.0),
            slots,
            data_address: format!("{name}:1"),
            hardware: Hardware::default(),
            operators,
            inventory,
            jobs: self
                .hosted
                .get(name)
                .into_iter()
                .flatten()
                .copied()
                .collect(),
            leaves_within: self.leaves_within.take(),
        };
        self.step(&what, Input::Connected { session, hello })
    }

    /// The next hello was said long ago: before all that were heard.
    pub(crate) fn late(&mut self) -> &mut Self {
        self.next_hello = Some(1);
        self
    }

    /// From now on, whoever says hello has obeyed the leader of this epoch.
    pub(crate) fn after_epoch(&mut self, epoch: u64) -> &mut Self {
        self.seen_epoch = Epoch(epoch);
        self
    }

    /// From now on, whoever says hello offers these operators, which are sorted.
    pub(crate) fn offering(&mut self, operators: &[&str]) -> &mut Self {
        self.operators = operators.iter().map(|it| (*it).to_owned()).collect();
        self
    }

    /// The attempts that a TaskManager has.
    pub(crate) fn tasks_of(&self, name: &str) -> Vec<InventoryItem> {
        let of_tm = self.tasks.iter().filter(|(_, task)| task.tm == name);
        let item = |(attempt, task): (&AttemptId, &Task)| InventoryItem {
            attempt: *attempt,
            slot: task.slot,
            state: task.state,
            end_of_data: task.end_of_data,
            restored: task.restored,
        };
        of_tm.map(item).collect()
    }

    /// A process says hello with these attempts.
    pub(crate) fn hello_with(
        &mut self,
        name: &str,
        slots: u32,
        inventory: Vec<InventoryItem>,
    ) -> &mut Self {
        for item in &inventory {
            let task = Task {
                tm: name.into(),
                slot: item.slot,
                state: item.state,
                end_of_data: item.end_of_data,
                restored: item.restored,
            };
            self.tasks.entry(item.attempt).or_insert(task);
        }
        self.hello(name, slots, Incarnation(1), inventory)
            .answer(name)
    }

    /// The session ends, but not the process.
    pub(crate) fn lose_sight_of(&mut self, name: &str) -> &mut Self {
        self.disconnect(name)
    }

    /// The write under way is applied, and the coordinator dies before it hears of it.
    pub(crate) fn durable_but_unheard(&mut self) -> &mut Self {
        let (_, ops) = self.write.take().unwrap();
        self.apply(ops);
        self
    }

    pub(crate) fn disconnect(&mut self, name: &str) -> &mut Self {
        let session = self.sessions.remove(name).unwrap();
        self.tasks.retain(|_, task| task.tm != name);
        self.step(&format!("{name} is gone"), Input::Disconnected { session })
    }

    /// The store answers the write that is under way.
    pub(crate) fn stored(&mut self, how: &str) -> &mut Self {
        let (commit, ops) = self.write.take().unwrap();
        let outcome = match how {
            "done" => {
                self.apply(ops);
                StoreOutcome::Done
            }
            "unknown" => StoreOutcome::Unknown("the answer was lost".into()),
            "unavailable" => StoreOutcome::Unavailable("the disk is full".into()),
            "fenced" => StoreOutcome::Fenced,
            other => panic!("no such outcome: {other}"),
        };
        self.step(
            &format!("write {} is {how}", commit.0),
            Input::Stored { commit, outcome },
        )
    }

    fn apply(&mut self, ops: Vec<RecordOp>) {
        for op in ops {
            match op {
                RecordOp::Put(record) => {
                    self.records.insert(record.key(), record);
                }
                RecordOp::Delete(key) => {
                    self.records.remove(&key);
                }
            }
        }
    }

    pub(crate) fn discarded(&mut self) -> &mut Self {
        self.discard_ends("discarded", StorageOutcome::Done)
    }

    pub(crate) fn not_discarded(&mut self) -> &mut Self {
        let outcome = StorageOutcome::Failed("no route to the storage".into());
        self.discard_ends("not discarded", outcome)
    }

    fn discard_ends(&mut self, what: &str, outcome: StorageOutcome) -> &mut Self {
        let discard = self.discard.take().unwrap();
        self.step(what, Input::Discarded { discard, outcome })
    }

    /// The coordinator dies; another one starts with what is durable. TaskManagers lose their sessions.
    pub(crate) fn recover(&mut self) -> &mut Self {
        self.epoch += 1;
        let config = self.config.clone();
        let records = self.records.values().cloned().collect();
        let now = Timestamp(self.now);
        self.coordinator = Coordinator::recover(config, Epoch(self.epoch), records, now).unwrap();
        self.sessions.clear();
        self.write = None;
        self.step("a new coordinator recovers", Input::Wake)
    }

    /// Every deployed task reports what a fresh task reports.
    pub(crate) fn all_running(&mut self) -> &mut Self {
        for attempt in self.alive() {
            self.report(attempt, TaskReport::Initializing);
            self.report(attempt, TaskReport::Running);
        }
        self
    }

    pub(crate) fn all_at_end_of_data(&mut self) -> &mut Self {
        for attempt in self.alive() {
            self.report(attempt, TaskReport::EndOfData);
        }
        self
    }

    pub(crate) fn all_finished(&mut self) -> &mut Self {
        for attempt in self.alive() {
            self.report(attempt, TaskReport::Finished);
        }
        self
    }

    /// The first task finishes, and something that it said before is heard once more.
    pub(crate) fn one_finished_and_repeated(&mut self) -> &mut Self {
        let attempt = self.alive()[0];
        self.report(attempt, TaskReport::Finished);
        self.report(attempt, TaskReport::Initializing);
        self
    }

    /// Every running task acknowledges the checkpoint that was triggered last.
    pub(crate) fn acknowledge_all(&mut self) -> &mut Self {
        self.acknowledge(|_| true)
    }

    /// The running tasks of these vertices acknowledge the latest checkpoint.
    pub(crate) fn acknowledge_of(&mut self, vertices: &[u32]) -> &mut Self {
        self.acknowledge(|attempt| vertices.contains(&attempt.task.vertex.0))
    }

    /// From now on snapshots have a list of which each partition goes to one subtask, and one of which each goes to
    /// all.
    pub(crate) fn snapshots_have_parts(&mut self) -> &mut Self {
        self.have_parts = true;
        self
    }

    fn acknowledge(&mut self, which: impl Fn(&AttemptId) -> bool) -> &mut Self {
        let checkpoint = self.checkpoint.unwrap();
        for attempt in self.alive().into_iter().filter(which) {
            let state = StateHandle {
                end_of_data: self.tasks[&attempt].end_of_data,
                parts: self.have_parts.then(|| Arc::new(parts())),
                ..StateHandle::whole(StateLocation::Inline(vec![7]), 1)
            };
            let ack = Acknowledgement {
                attempt,
                checkpoint,
                state,
            };
            let what = format!("{} acknowledges {}", name(attempt), checkpoint.0);
            self.say(attempt, &what, FromTaskManager::Acknowledge(ack));
        }
        self
    }

    /// The tasks of a TaskManager that were told to stop report that they have.
    pub(crate) fn canceled(&mut self, tm: &str, epoch_back: u64) -> &mut Self {
        let epoch = self.epoch - epoch_back;
        let canceling = |(attempt, task): (&AttemptId, &Task)| {
            let wanted = task.tm == tm && task.state == ExecutionState::Canceling;
            (wanted && attempt.attempt.epoch.0 == epoch).then_some(*attempt)
        };
        let attempts: Vec<_> = self.tasks.iter().filter_map(canceling).collect();
        for attempt in attempts {
            self.report(attempt, TaskReport::Canceled);
        }
        self
    }

    /// The first task of a TaskManager fails.
    pub(crate) fn failed(&mut self, tm: &str, cause: &str) -> &mut Self {
        let attempt = self
            .alive()
            .into_iter()
            .find(|attempt| self.tasks[attempt].tm == tm)
            .unwrap();
        self.report(
            attempt,
            TaskReport::Failed {
                cause: cause.into(),
            },
        );
        self
    }

    /// A task of a vertex fails.
    pub(crate) fn failed_of(&mut self, vertex: u32, cause: &str) -> &mut Self {
        let of_vertex = |attempt: &AttemptId| attempt.task.vertex.0 == vertex;
        let attempt = self.alive().into_iter().find(of_vertex).unwrap();
        let cause = cause.into();
        self.report(attempt, TaskReport::Failed { cause });
        self
    }

    pub(super) fn alive(&self) -> Vec<AttemptId> {
        let alive = |state| matches!(state, ExecutionState::Deploying | ExecutionState::Running);
        self.tasks
            .iter()
            .filter(|(_, task)| alive(task.state))
            .map(|(attempt, _)| *attempt)
            .collect()
    }

    pub(super) fn report(&mut self, attempt: AttemptId, report: TaskReport) {
        let task = self.tasks.get_mut(&attempt).unwrap();
        match report {
            TaskReport::Running => task.state = ExecutionState::Running,
            TaskReport::Finished => task.state = ExecutionState::Finished,
            TaskReport::Canceled => task.state = ExecutionState::Canceled,
            TaskReport::Failed { .. } => task.state = ExecutionState::Failed,
            TaskReport::EndOfData => task.end_of_data = true,
            TaskReport::Initializing => {}
        }
        let what = format!("{} is {report:?}", name(attempt));
        self.say(
            attempt,
            &what,
            FromTaskManager::TaskStates(vec![TaskStateChange { attempt, report }]),
        );
    }

    pub(super) fn say(&mut self, attempt: AttemptId, what: &str, message: FromTaskManager) {
        let session = self.sessions[&self.tasks[&attempt].tm];
        self.step(what, Input::Message { session, message });
    }
}

fn parts() -> StateParts {
    let list = |name: &str, mode, partitions| ListPart {
        name: name.into(),
        mode,
        partitions,
    };
    StateParts {
        key_groups: None,
        lists: vec![
            list("splits", DistributionMode::Split, 0..2),
            list("times", DistributionMode::Union, 0..1),
        ],
    }
}
