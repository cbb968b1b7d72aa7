//! The tasks that run when a recording ends, on the TaskManagers that have them: the core's worker is told
//! what its predecessor in the real cluster was told, so that it knows its attempts, and their stand-ins go
//! on from there.

use super::situation::{ANYWHERE, JobNow, TaskNow};
use crate::dataflow::task::{Phase, Task};
use crate::nodes::passage::Signal;
use crate::world::World;
use crate::world::event::{Instance, Process};
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::id::{AttemptId, CheckpointId, Epoch, JobId, SlotIndex, TaskId};
use jobmanager_core::jobmanager::Input;
use jobmanager_core::message::{
    Deployment, Envelope, StateHandle, TaskDeployment, ToTaskManager, Welcome,
};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::taskmanager::{
    Effect, Input as WorkerInput, TaskEvent, TaskStart, Worker, WorkerConfig,
};
use jobmanager_core::time::Timestamp;
use std::collections::BTreeMap;

impl TaskNow {
    /// Whether its attempt was deployed for sure: of one that has ended without success, the coordinator may
    /// show the attempt that will be the first.
    pub(super) fn was_deployed(&self) -> bool {
        match self.shown.state {
            ExecutionState::Deploying
            | ExecutionState::Initializing
            | ExecutionState::Running
            | ExecutionState::Finished
            | ExecutionState::Canceling => true,
            ExecutionState::Created
            | ExecutionState::Scheduled
            | ExecutionState::Canceled
            | ExecutionState::Failed => false,
        }
    }

    /// Whether some TaskManager has it, and its slot.
    fn place(&self, index: usize, name: &str) -> Option<SlotIndex> {
        match self.shown.state {
            ExecutionState::Deploying
            | ExecutionState::Initializing
            | ExecutionState::Running
            | ExecutionState::Canceling => {
                let (on, slot) = self.shown.location.as_ref()?;
                (on.0 == name).then_some(*slot)
            }
            // Its TaskManager keeps it for the next coordinator.
            ExecutionState::Finished => (index == 0).then_some(ANYWHERE),
            ExecutionState::Created
            | ExecutionState::Scheduled
            | ExecutionState::Canceled
            | ExecutionState::Failed => None,
        }
    }
}

/// The tasks of one TaskManager.
pub(super) struct Placed<'a> {
    tasks: Vec<(&'a JobNow, &'a TaskNow, SlotIndex)>,
}

impl<'a> Placed<'a> {
    pub(super) fn new(index: usize, name: &str, jobs: &'a [JobNow]) -> Placed<'a> {
        let all = jobs
            .iter()
            .flat_map(|job| job.tasks.iter().map(move |task| (job, task)));
        let here = all.filter_map(|(job, task)| Some((job, task, task.place(index, name)?)));
        Placed {
            tasks: here.collect(),
        }
    }

    /// A worker that knows these tasks, and what it was told to start.
    pub(super) fn worker(
        &self,
        config: WorkerConfig,
        cluster: &ClusterConfig,
        epoch: Epoch,
        now: Timestamp,
    ) -> (Worker, Vec<TaskStart>) {
        let mut novice = Novice {
            worker: Worker::new(config, now),
            epoch,
            now,
            starts: Vec::new(),
        };
        novice.told(WorkerInput::Wake);
        novice.told(WorkerInput::Connected);
        novice.hears(ToTaskManager::Welcome(welcome(cluster)));
        for (job, task, slot) in &self.tasks {
            novice.learns(job, task, *slot);
        }
        (novice.worker, novice.starts)
    }
}

/// As a coordinator accepts a session.
fn welcome(cluster: &ClusterConfig) -> Welcome {
    Welcome {
        heartbeat_interval: cluster.heartbeat_interval,
        heartbeat_timeout: cluster.heartbeat_timeout,
        grace_period: cluster.grace_period,
        cancellation_timeout: cluster.cancellation_timeout,
        registration_initial: cluster.registration_initial,
        registration_max: cluster
            .registration_max
            .min(cluster.reconciliation_timeout / 4),
        checkpoint_storage: cluster.checkpoint_storage.clone(),
    }
}

/// A worker that is told its past. What it wants to say and do about that has been said and done, but for
/// the tasks that it starts.
struct Novice {
    worker: Worker,
    epoch: Epoch,
    now: Timestamp,
    starts: Vec<TaskStart>,
}

impl Novice {
    fn told(&mut self, input: WorkerInput) {
        let mut effects = Vec::new();
        self.worker.step(self.now, input, &mut effects);
        for effect in effects {
            if let Effect::Start(start) = effect {
                self.starts.push(start);
            }
        }
    }

    fn hears(&mut self, message: ToTaskManager) {
        let epoch = self.epoch;
        self.told(WorkerInput::Message(Envelope { epoch, message }));
    }

    fn learns(&mut self, job: &JobNow, task: &TaskNow, slot: SlotIndex) {
        let attempt = job.attempt(task);
        self.hears(ToTaskManager::Deploy(Deployment {
            job: job.id,
            attempt: attempt.attempt,
            table: job.table.clone(),
            restore: task.restored,
            finish: false,
            tasks: vec![TaskDeployment {
                task: task.id,
                slot,
                end_of_data: false,
                state: Vec::new(),
            }],
        }));
        let mut does = |event| self.told(WorkerInput::Task { attempt, event });
        match task.shown.state {
            ExecutionState::Running | ExecutionState::Canceling => does(TaskEvent::Running),
            ExecutionState::Finished => {
                does(TaskEvent::Running);
                does(TaskEvent::Finished);
                return;
            }
            ExecutionState::Created
            | ExecutionState::Scheduled
            | ExecutionState::Deploying
            | ExecutionState::Initializing
            | ExecutionState::Canceled
            | ExecutionState::Failed => return,
        }
        if task.shown.end_of_data {
            does(TaskEvent::EndOfData);
        }
        if task.restored.is_none()
            && let Some(latest) = &task.latest
        {
            does(acknowledged(latest.checkpoint));
            self.hears(ToTaskManager::NotifyComplete {
                job: job.id,
                tasks: vec![task.id],
                checkpoint: latest.checkpoint,
                finish: false,
            });
        }
        // By the time at which one of these is complete, the task has acknowledged it.
        for checkpoint in task.pending(job) {
            self.told(WorkerInput::Task {
                attempt,
                event: acknowledged(checkpoint),
            });
        }
    }
}

fn acknowledged(checkpoint: CheckpointId) -> TaskEvent {
    TaskEvent::Snapshotted {
        checkpoint,
        state: StateHandle::nothing(),
    }
}

impl JobNow {
    fn attempt(&self, task: &TaskNow) -> AttemptId {
        AttemptId {
            job: self.id,
            task: task.id,
            attempt: task.shown.attempt,
        }
    }

    /// The tasks of a region were told to finish.
    fn is_to_finish(&self, region: usize) -> bool {
        let at_end = |task: &TaskNow| match task.shown.state {
            ExecutionState::Finished => true,
            ExecutionState::Running => task.shown.end_of_data,
            ExecutionState::Created
            | ExecutionState::Scheduled
            | ExecutionState::Deploying
            | ExecutionState::Initializing
            | ExecutionState::Canceling
            | ExecutionState::Canceled
            | ExecutionState::Failed => false,
        };
        let mut members = self.tasks.iter().filter(|task| task.region == region);
        members.all(|task| task.latest.is_some_and(|it| it.is_final) && at_end(task))
    }
}

/// What is on its way to the TaskManagers when the recording ends.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    messages: Vec<(Process, ToTaskManager)>,
    /// Tasks that have processed all their input, and whose consumers may not know.
    ended: Vec<(Process, AttemptId)>,
}

impl World {
    /// The tasks that a TaskManager's worker knows are there.
    pub(super) fn tasks_go_on(
        &mut self,
        process: Process,
        placed: &Placed<'_>,
        starts: Vec<TaskStart>,
    ) {
        let mut starts: BTreeMap<AttemptId, TaskStart> =
            starts.into_iter().map(|it| (it.attempt, it)).collect();
        for (job, task, _) in &placed.tasks {
            let attempt = job.attempt(task);
            let Some(start) = starts.remove(&attempt) else {
                continue;
            };
            match task.shown.state {
                ExecutionState::Running | ExecutionState::Canceling => {
                    self.task_goes_on(process, start, task.shown.end_of_data);
                }
                ExecutionState::Deploying | ExecutionState::Initializing => {
                    self.task_starts(process, start);
                }
                ExecutionState::Created
                | ExecutionState::Scheduled
                | ExecutionState::Finished
                | ExecutionState::Canceled
                | ExecutionState::Failed => continue,
            }
            if task.shown.state == ExecutionState::Canceling {
                let message = ToTaskManager::Cancel {
                    job: job.id,
                    attempt: attempt.attempt,
                    tasks: vec![task.id],
                };
                self.under_way(|it| it.messages.push((process, message)));
            } else if task.shown.end_of_data {
                self.under_way(|it| it.ended.push((process, attempt)));
            }
        }
        self.checkpoints_go_on(process, placed);
    }
}

impl World {
    fn under_way(&mut self, add: impl FnOnce(&mut UnderWay)) {
        if let Some(sequel) = &mut self.sequel {
            add(&mut sequel.under_way);
        }
    }

    /// A task runs as it did when the recording ended.
    fn task_goes_on(&mut self, process: Process, start: TaskStart, end_of_data: bool) {
        let attempt = start.attempt;
        if let Err(failure) = self.checks.started(process, &start) {
            self.verdict(Err(failure));
            return;
        }
        let mut task = Task::stand_in(start, end_of_data);
        task.phase = Phase::Running;
        task.end_of_data = end_of_data;
        self.passage_opens(process, &task);
        if let Some(node) = self.node(process) {
            node.tasks.insert(attempt, task);
        }
    }

    /// The barriers of checkpoints under way start once more, since nobody knows how far they have come;
    /// tasks that were told to finish are told again.
    fn checkpoints_go_on(&mut self, process: Process, placed: &Placed<'_>) {
        let mut triggers: BTreeMap<(JobId, CheckpointId), Vec<TaskId>> = BTreeMap::new();
        let mut finishes: BTreeMap<(JobId, CheckpointId), Vec<TaskId>> = BTreeMap::new();
        for (job, task, _) in &placed.tasks {
            let is_source = job.table.inputs(task.id.vertex).next().is_none();
            if is_source && task.shown.state == ExecutionState::Running {
                for checkpoint in task.pending(job) {
                    let named = triggers.entry((job.id, checkpoint)).or_default();
                    named.push(task.id);
                }
            }
            if let Some(latest) = task.latest.filter(|_| job.is_to_finish(task.region)) {
                let named = finishes.entry((job.id, latest.checkpoint)).or_default();
                named.push(task.id);
            }
        }
        let timestamp = self.jobmanager_time(Instance(0));
        let triggers = triggers.into_iter().map(|((job, checkpoint), tasks)| {
            ToTaskManager::TriggerCheckpoint {
                job,
                tasks,
                checkpoint,
                timestamp,
                savepoint: None,
            }
        });
        let finishes =
            finishes
                .into_iter()
                .map(|((job, checkpoint), tasks)| ToTaskManager::NotifyComplete {
                    job,
                    tasks,
                    checkpoint,
                    finish: true,
                });
        let messages = triggers.chain(finishes).map(|message| (process, message));
        let messages: Vec<_> = messages.collect();
        self.under_way(|it| it.messages.extend(messages));
    }

    /// What was on its way when the recording ended arrives, and everybody looks at the time. Who had just
    /// said hello was asked for a sign of life; nobody knows who has given it, so everybody does.
    pub(super) fn hears_what_was_under_way(&mut self) {
        let epoch = self.store.epoch();
        let mut under_way = UnderWay::default();
        self.under_way(|it| std::mem::swap(it, &mut under_way));
        for index in 0..self.taskmanagers.len() {
            let process = self.taskmanagers[index].process;
            let message = ToTaskManager::Heartbeat { sequence: 0 };
            let asked = Envelope { epoch, message };
            self.worker_input(process, WorkerInput::Message(asked));
        }
        for (process, message) in under_way.messages {
            let envelope = Envelope { epoch, message };
            self.worker_input(process, WorkerInput::Message(envelope));
        }
        let ended: Vec<_> = under_way
            .ended
            .iter()
            .map(|(_, attempt)| *attempt)
            .collect();
        for (process, attempt) in under_way.ended {
            self.end_goes_on(process, attempt, &ended);
        }
        self.jobmanager_input(Instance(0), &Input::Wake);
    }

    /// A task that has processed all its input finishes, or those downstream hear of it.
    fn end_goes_on(&mut self, process: Process, attempt: AttemptId, ended: &[AttemptId]) {
        let task = self.taskmanagers[process.index].tasks.get(&attempt);
        let Some(task) = task else {
            return;
        };
        if task.start.table.checkpoints.is_none() {
            self.task_finishes(process, attempt);
            return;
        }
        let channels: Vec<_> = task.output_channels().collect();
        for id in channels {
            let consumer = self.consumer(process, attempt, id);
            if consumer.is_some_and(|consumer| !ended.contains(&consumer)) {
                self.pass_over(process, attempt, id, Signal::EndOfData);
            }
        }
    }

    /// What stands in for a task that is started.
    pub(crate) fn stand_in(&self, start: TaskStart) -> Task {
        let restored = start.restore;
        let ended = restored.is_some_and(|id| self.checks.restores_the_end(start.attempt, id));
        Task::stand_in(start, ended)
    }
}
