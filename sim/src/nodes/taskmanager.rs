//! TaskManager processes: each drives one worker of the core and the task runtime around it.

use crate::checks::{WorkerStep, is_not_deaf};
use crate::dataflow::channels::Channels;
use crate::dataflow::task::{Snapshot, Task};
use crate::marks::Mark;
use crate::nodes::clock::Clock;
use crate::plan::job::OperatorPlan;
use crate::plan::options::{MS, Micros, SECOND};
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Process, Try};
use crate::world::network::{ConnectionId, Node, Payload, Side};
use jobmanager_core::id::{AttemptId, CheckpointId, Incarnation, TaskManagerId};
use jobmanager_core::message::{Envelope, Hardware};
use jobmanager_core::taskmanager::{Effect, Input, TaskEvent, Worker, WorkerConfig};
use jobmanager_proto::v1;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A TaskManager: a name under which one process after the other lives.
pub(crate) struct TaskManagerNode {
    pub(crate) name: String,
    pub(crate) process: Process,
    slots: u32,
    /// What its tasks can do.
    operators: Vec<String>,
    /// Where its data exchange is reached.
    pub(crate) address: String,
    /// Absent while no process lives.
    pub(crate) worker: Option<Worker>,
    /// Its next process has another address.
    pub(crate) moves: bool,
    pub(crate) paused: bool,
    pub(crate) backlog: Vec<Event>,
    /// The connection to the JobManager.
    session: Option<ConnectionId>,
    attempt: Try,
    pub(crate) clock: Clock,
    inbox: VecDeque<Input>,
    busy: bool,
    /// When it heard the JobManager that it is registered with, by its own count, or stood still since.
    pub(crate) heard: Micros,
    pub(crate) tasks: BTreeMap<AttemptId, Task>,
    pub(crate) channels: Channels,
    /// Snapshots on their way to the checkpoint storage.
    pub(crate) snapshots: BTreeMap<(AttemptId, CheckpointId), Snapshot>,
    /// How tasks ended that still have such snapshots.
    pub(crate) ended: BTreeMap<AttemptId, TaskEvent>,
    /// Whether it had tasks when it was told to leave.
    pub(crate) had_tasks: bool,
    wake_at: Option<Micros>,
    /// For when alarms are set, those that are of no use any more among them.
    alarms: BTreeSet<Micros>,
}

impl TaskManagerNode {
    pub(crate) fn new(index: usize, slots: u32) -> Self {
        TaskManagerNode {
            name: format!("tm-{index}"),
            process: Process {
                index,
                incarnation: 0,
            },
            slots,
            operators: OperatorPlan::NAMES.map(str::to_owned).into(),
            address: format!("tm-{index}:6121"),
            worker: None,
            moves: false,
            paused: false,
            backlog: Vec::new(),
            session: None,
            attempt: Try(0),
            clock: Clock::right(),
            inbox: VecDeque::new(),
            busy: false,
            heard: 0,
            tasks: BTreeMap::new(),
            channels: Channels::default(),
            snapshots: BTreeMap::new(),
            ended: BTreeMap::new(),
            had_tasks: false,
            wake_at: None,
            alarms: BTreeSet::new(),
        }
    }

    /// One whose process lives already, by this clock and with this worker.
    pub(crate) fn living(index: usize, config: WorkerConfig, worker: Worker, clock: Clock) -> Self {
        TaskManagerNode {
            process: Process {
                index,
                incarnation: config.incarnation.0,
            },
            name: config.taskmanager.0,
            operators: config.operators,
            address: config.data_address,
            worker: Some(worker),
            clock,
            ..TaskManagerNode::new(index, config.slots)
        }
    }

    /// Its connection to the JobManager is this one.
    pub(crate) fn is_connected(&mut self, session: ConnectionId) {
        self.session = Some(session);
    }

    /// Whether this is the process that lives.
    pub(crate) fn is(&self, process: Process) -> bool {
        self.worker.is_some() && self.process == process
    }

    pub(crate) fn is_up(&self) -> bool {
        self.worker.is_some()
    }

    /// Whether something of a task is on its way to the checkpoint storage.
    pub(crate) fn writes_for(&self, attempt: AttemptId) -> bool {
        let all = (attempt, CheckpointId(0))..=(attempt, CheckpointId(u64::MAX));
        self.snapshots.range(all).next().is_some()
    }
}

impl World {
    pub(crate) fn node(&mut self, process: Process) -> Option<&mut TaskManagerNode> {
        let node = self.taskmanagers.get_mut(process.index)?;
        node.is(process).then_some(node)
    }

    /// The position of the TaskManager of this name.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.taskmanagers.iter().position(|node| node.name == name)
    }

    pub(crate) fn taskmanager_starts(&mut self, index: usize) {
        if !self.provider.lets_start(index) {
            return;
        }
        let machine = self.taskmanagers[index].clock;
        let first = self.taskmanagers[index].process.incarnation == 0;
        let clock = self.next_clock(&machine, first);
        let now = clock.reading(self.now);
        let cluster = &self.options.cluster;
        let (initial, max) = (cluster.registration_initial, cluster.registration_max);
        let fresh = |node: &TaskManagerNode| {
            let mut next = TaskManagerNode::new(index, node.slots);
            next.process.incarnation = node.process.incarnation.wrapping_add(1);
            next.name.clone_from(&node.name);
            next.operators.clone_from(&node.operators);
            next.clock = clock;
            next.address = if node.moves {
                format!("tm-{index}:{}", 6121 + next.process.incarnation)
            } else {
                node.address.clone()
            };
            next
        };
        let Some(node) = self
            .taskmanagers
            .get_mut(index)
            .filter(|node| !node.is_up())
        else {
            return;
        };
        let mut next = fresh(node);
        let incarnation = next.process.incarnation;
        next.worker = Some(Worker::new(
            WorkerConfig {
                taskmanager: TaskManagerId(next.name.clone()),
                incarnation: Incarnation(incarnation),
                slots: node.slots,
                data_address: next.address.clone(),
                hardware: Hardware::default(),
                operators: next.operators.clone(),
                registration_initial: initial,
                registration_max: max,
            },
            now,
        ));
        let (process, moved) = (next.process, node.moves);
        *node = next;
        if incarnation > 1 {
            self.mark_restart(moved);
        }
        self.note(Lane::TaskManager(index), "starts", &incarnation);
        self.worker_input(process, Input::Wake);
    }

    /// The process is gone, with all its tasks.
    pub(crate) fn taskmanager_dies(&mut self, index: usize, silently: bool) {
        let Some(node) = self.taskmanagers.get_mut(index).filter(|node| node.is_up()) else {
            return;
        };
        node.worker = None;
        node.paused = false;
        node.backlog.clear();
        let tasks = std::mem::take(&mut node.tasks);
        node.channels = Channels::default();
        let process = node.process;
        self.note(Lane::TaskManager(index), "dies", &silently);
        self.process_ended(index);
        self.checks.died(process);
        for attempt in tasks.into_keys() {
            self.passage_closes(attempt);
        }
        self.abandon(Node::TaskManager(process), silently);
    }

    pub(crate) fn worker_wakes(&mut self, process: Process) {
        let now = self.now;
        let Some(node) = self.node(process) else {
            return;
        };
        while node.alarms.first().is_some_and(|at| *at <= now) {
            node.alarms.pop_first();
        }
        if node.wake_at.is_some_and(|at| at <= now) {
            node.wake_at = None;
            self.worker_input(process, Input::Wake);
        }
    }

    /// A try to reach the JobManager ends.
    pub(crate) fn reached(&mut self, process: Process, attempt: Try) {
        let Some(node) = self.node(process).filter(|node| node.attempt == attempt) else {
            return;
        };
        if node.session.is_some() {
            return;
        }
        let here = Node::TaskManager(process);
        let target = self.find_jobmanager(process);
        let listening = target.filter(|target| {
            let there = Node::JobManager(*target);
            !self.network.is_blocked(here, there)
        });
        let Some(current) = listening else {
            self.worker_input(process, Input::Disconnected);
            return;
        };
        let id = self.network.open(here, Node::JobManager(current));
        if let Some(node) = self.node(process) {
            node.session = Some(id);
        }
        self.worker_input(process, Input::Connected);
    }

    pub(crate) fn taskmanager_hears(
        &mut self,
        process: Process,
        id: ConnectionId,
        side: Side,
        bytes: &[u8],
    ) {
        let Some(node) = self.node(process) else {
            return;
        };
        if node.session != Some(id) {
            self.exchange_hears(process, id, side, bytes);
            return;
        }
        let message = v1::ToTaskManager::decode(bytes).expect("bytes arrive as they were sent");
        let envelope = Envelope::try_from(message).expect("a coordinator says nothing malformed");
        self.overhear(process, &envelope);
        self.worker_input(process, Input::Message(envelope.clone()));
        self.worker_hears_again(process, &envelope);
    }

    /// A connection of this process is gone.
    pub(crate) fn connection_ends(&mut self, process: Process, id: ConnectionId) {
        let Some(node) = self.node(process) else {
            return;
        };
        if node.session == Some(id) {
            node.session = None;
            self.worker_input(process, Input::Disconnected);
        } else {
            self.exchange_ends(process, id);
        }
    }

    /// Steps a worker, and goes on until nothing of what that caused is left to be told.
    pub(crate) fn worker_input(&mut self, process: Process, input: Input) {
        let Some(node) = self.node(process) else {
            return;
        };
        if std::mem::replace(&mut node.busy, true) {
            node.inbox.push_back(input);
            return;
        }
        self.listens(process);
        self.worker_steps(process, input);
        while let Some(input) = self.node(process).and_then(|node| node.inbox.pop_front()) {
            self.worker_steps(process, input);
        }
        if let Some(node) = self.node(process) {
            node.busy = false;
        }
        self.set_worker_alarm(process);
    }

    /// Whoever is registered has heard its JobManager lately.
    pub(crate) fn listens(&mut self, process: Process) {
        let (now, timeout) = (self.now, self.options.cluster.heartbeat_timeout);
        let registered = |node: &&mut TaskManagerNode| {
            let worker = node.worker.as_ref();
            worker.is_some_and(Worker::is_registered) && !node.paused
        };
        if let Some(node) = self.node(process).filter(registered) {
            let silence = node.clock.counted(now).saturating_sub(node.heard);
            let verdict = is_not_deaf(process, silence, timeout);
            self.verdict(verdict);
        }
    }

    fn worker_steps(&mut self, process: Process, input: Input) {
        self.note_told(Lane::TaskManager(process.index), "<-", &input);
        let epoch = match &input {
            Input::Message(envelope) => Some(envelope.epoch),
            Input::Connected
            | Input::Disconnected
            | Input::Task { .. }
            | Input::Leave { .. }
            | Input::Wake => None,
        };
        let mut effects = Vec::new();
        let now = self.now;
        let node = self.taskmanagers.get_mut(process.index);
        let Some(node) = node.filter(|node| node.is(process)) else {
            return;
        };
        let clock = node.clock;
        let Some(worker) = &mut node.worker else {
            return;
        };
        let reading = clock.reading(now);
        // What was due comes first, and is nothing that was commanded.
        let due = worker.next_deadline().is_some_and(|at| at <= reading);
        worker.step(reading, input.clone(), &mut effects);
        if epoch.is_some() {
            node.heard = clock.counted(now);
        }
        let told = self.checks.worker_stepped(&WorkerStep {
            process,
            input: &input,
            effects: &effects,
            worker,
            now: reading,
        });
        self.verdict(told);
        self.show_worker(process);
        if let Some(epoch) = epoch {
            if self.checks.has_seen_later(process, epoch) {
                self.marks.hit(Mark::OldEpochIgnored);
            }
            let commanded = if due { &[] } else { effects.as_slice() };
            let verdict = self.checks.obeyed(process, epoch, commanded);
            self.verdict(verdict);
        }
        for effect in effects {
            if !self.is_alive(process) {
                // It ended itself, and does nothing more.
                return;
            }
            self.note_told(Lane::TaskManager(process.index), "->", &effect);
            self.obey(process, effect);
        }
    }

    fn set_worker_alarm(&mut self, process: Process) {
        let now = self.now;
        let Some(node) = self.node(process) else {
            return;
        };
        let deadline = node.worker.as_ref().and_then(Worker::next_deadline);
        let Some(due) = deadline.map(|deadline| node.clock.due(deadline, now)) else {
            return;
        };
        if node.wake_at.is_none_or(|at| due < at) {
            node.wake_at = Some(due);
            // One that was set before and became too late may be right once more.
            if node.alarms.insert(due) {
                self.queue.push(due, Event::WorkerWake(process));
            }
        }
    }

    fn obey(&mut self, process: Process, effect: Effect) {
        match effect {
            Effect::Connect => self.try_to_reach(process),
            Effect::Close => {
                let Some(node) = self.node(process) else {
                    return;
                };
                node.attempt.0 += 1;
                if let Some(id) = node.session.take() {
                    self.close(id, Side::Opener);
                }
            }
            Effect::SendHello(hello) => self.tell(process, &v1::FromTaskManager::from(&hello)),
            Effect::Send(message) => self.tell(process, &v1::FromTaskManager::from(&message)),
            Effect::Start(start) => self.task_starts(process, start),
            Effect::Cancel(attempt) => self.task_is_canceled(process, attempt),
            Effect::GiveUp(_) => {
                self.marks.hit(Mark::TaskManagerGaveUp);
                self.taskmanager_ends(process);
            }
            Effect::End => {
                self.mark_leave(process);
                self.taskmanager_ends(process);
            }
            Effect::Trigger {
                attempt,
                checkpoint,
                savepoint,
                ..
            } => {
                if let Some(order) = &savepoint {
                    let known = (attempt.job, checkpoint);
                    self.savepoint_orders.insert(known, order.clone());
                }
                self.task_is_triggered(process, attempt, checkpoint, savepoint.as_ref());
            }
            Effect::Complete {
                attempt,
                checkpoint,
                finish,
            } => self.task_completes(process, attempt, checkpoint, finish),
            Effect::Abort {
                attempt,
                checkpoint,
            } => {
                let this = |left| left == checkpoint;
                self.task_aborts(process, attempt, |task| task.abort(checkpoint), this);
            }
            Effect::AbortBelow { attempt, next } => {
                let verdict = self.checks.gives_up_below(attempt, next);
                self.verdict(verdict);
                self.task_aborts(
                    process,
                    attempt,
                    |task| task.abort_below(next),
                    |left| left < next,
                );
            }
        }
    }

    /// A process ends of its own accord, and is started again.
    fn taskmanager_ends(&mut self, process: Process) {
        self.taskmanager_dies(process.index, false);
        let back = self.now + SECOND;
        self.queue
            .push(back, Event::TaskManagerStart(process.index));
    }

    /// It was told to leave, and ends.
    fn mark_leave(&mut self, process: Process) {
        let Some(node) = self.node(process) else {
            return;
        };
        let (had, has) = (node.had_tasks, !node.tasks.is_empty());
        if has {
            self.marks.hit(Mark::LeftWithTasks);
        } else if had {
            self.marks.hit(Mark::LeftInTime);
        }
    }

    fn try_to_reach(&mut self, process: Process) {
        let here = Node::TaskManager(process);
        let current = self.current.map(Node::JobManager);
        let blocked = current.is_some_and(|there| self.network.is_blocked(here, there));
        let wait = if blocked { SECOND } else { MS / 5 };
        let at = self.now + wait + 2 * self.network_latency();
        let Some(node) = self.node(process) else {
            return;
        };
        node.attempt.0 += 1;
        let attempt = node.attempt;
        self.queue.push(at, Event::Reached(process, attempt));
    }

    fn tell(&mut self, process: Process, message: &v1::FromTaskManager) {
        if let Some(id) = self.node(process).and_then(|node| node.session) {
            let bytes = message.encode_to_vec();
            self.send(id, Side::Acceptor, Payload::Bytes(bytes));
        }
    }

    pub(crate) fn tell_worker(&mut self, process: Process, attempt: AttemptId, event: TaskEvent) {
        self.worker_input(process, Input::Task { attempt, event });
    }
}
