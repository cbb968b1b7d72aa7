//! The checkers: an omniscient observer of the whole world. Each broken promise has its own name.
//!
//! [`Checks`] is told what every coordinator receives and orders ([`orders`]), what the store applies and
//! what is deleted ([`storage`]), and what TaskManagers do ([`workers`]). It never looks into a
//! coordinator, so nothing that a coordinator believes can talk it out of what happened.

mod apart;
mod budget;
mod composed;
mod contract;
mod demands;
mod leftovers;
mod limits;
mod mute;
pub(crate) mod oracle;
mod orders;
mod outliving;
mod past;
mod pending;
mod regions;
mod replay;
mod rescaled;
mod routes;
mod savepoints;
mod shares;
mod state;
mod steps;
mod storage;
mod waits;
mod why;
mod workers;

pub(crate) use contract::{WorkerStep, is_not_deaf};
pub(crate) use leftovers::leaves_nothing;
pub(crate) use orders::Orderer;
pub(crate) use past::PastJob;
pub(crate) use pending::Rules;
pub(crate) use steps::Step;
pub(crate) use workers::refused;

use crate::checks::oracle::Failure;
use crate::dataflow::contents::Contents;
use crate::marks::Mark;
use crate::model::Plans;
use crate::plan::Survives;
use crate::plan::job::{JobPlan, OperatorPlan};
use crate::world::event::{Instance, Process};
use contract::Contract;
use demands::Demands;
use jobmanager_core::id::{
    Attempt, AttemptId, CheckpointId, Epoch, JobId, SessionId, SlotIndex, TaskId, TriggerId,
    WorkerId,
};
use jobmanager_core::jobmanager::{Input, JobLine};
use jobmanager_core::message::{FromTaskManager, SubtaskState, TaskReport};
use jobmanager_core::record::{Bounds, CheckpointRecord, Scale};
use jobmanager_core::state::JobStatus;
use outliving::Outliving;
use past::Past;
use regions::Parts;
use rescaled::RescaledJob;
use savepoints::Savepoints;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use steps::Watched;

/// How often a task may be started again once everything that broke has been noticed.
const RESTARTS_AFTER_FAULTS: u32 = 2;

/// What a check says.
pub(crate) type Verdict = Result<(), Failure>;

/// `Err` with this name unless the condition holds.
pub(crate) fn ensure(holds: bool, name: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(name, detail()))
    }
}

/// An acknowledgement that a coordinator received.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ack {
    attempt: Attempt,
    state: SubtaskState,
    end_of_data: bool,
}

/// What a region has in a checkpoint.
type Part = (usize, CheckpointId);

/// What is known about a job.
#[derive(Debug)]
struct History {
    /// The tasks in the order of checkpoint records.
    tasks: Vec<TaskId>,
    /// The region of each: those take checkpoints together.
    region_of: BTreeMap<TaskId, usize>,
    sources: Vec<TaskId>,
    sinks: Vec<TaskId>,
    retained_limit: usize,
    survives: Survives,
    parts: Parts,
    /// The job's record is in the store.
    recorded: bool,
    /// The job's intended end is in the store.
    cancel_recorded: bool,
    rescale_recorded: bool,
    /// The parallelism that is in the store, if it is not the first one.
    scale: Option<Scale>,
    /// Up to which durable checkpoint attempts took part that had another parallelism.
    former: BTreeMap<(TaskId, Attempt), CheckpointId>,
    /// Within what its parallelism was to be so far: by its scheduler first, then by what clients want durably.
    wishes: Vec<Vec<Bounds>>,
    /// It got that just now.
    rescaled: Option<RescaledJob>,
    /// A client was told that the job will be canceled.
    cancel_accepted: bool,
    result: Option<JobStatus>,
    /// The first checkpoint id that the store does not say may have been used.
    mark: CheckpointId,
    last_trigger: Option<(CheckpointId, Instance, u64)>,
    retained: BTreeMap<CheckpointId, Arc<CheckpointRecord>>,
    /// The latest record that was ever durable.
    latest: Option<Arc<CheckpointRecord>>,
    /// The checkpoints for which each region was triggered.
    triggered: BTreeSet<Part>,
    /// The checkpoints of each region that were ever durable.
    completed: BTreeSet<Part>,
    aborted: BTreeSet<Part>,
    acks: BTreeMap<CheckpointId, BTreeMap<TaskId, Vec<Ack>>>,
    /// Checkpoints that every task of a region had acknowledged at some time, with the acknowledgements.
    acknowledged: BTreeMap<Part, BTreeMap<TaskId, Ack>>,
    /// What each attempt snapshotted.
    snapshots: BTreeMap<(CheckpointId, TaskId, Attempt), Contents>,
    /// The last checkpoint of which each task was told that it is durable.
    told: BTreeMap<TaskId, CheckpointId>,
    /// Records of checkpoints that are on their way to the store: they may become durable.
    on_their_way: BTreeMap<CheckpointId, Arc<CheckpointRecord>>,
    /// How often each task was deployed since restarts count.
    redeployed: BTreeMap<TaskId, u32>,
    /// Writes of checkpoints that were ordered: of which snapshots they are made.
    ordered: BTreeSet<(Instance, Vec<Option<CheckpointId>>)>,
    /// The last attempt of each task that was ever deployed, and to whom.
    highest: BTreeMap<TaskId, (Attempt, String)>,
    /// The last attempt of each task that the current leader deployed.
    deployed: BTreeMap<TaskId, Attempt>,
    /// Every attempt that the current leader deployed.
    own: BTreeSet<(TaskId, Attempt)>,
    /// Attempts that other leaders deployed: the current one may adopt them.
    adoptable: BTreeSet<(TaskId, Attempt)>,
    /// Attempts that a coordinator knows to have ended without success.
    lost: BTreeSet<(TaskId, Attempt)>,
    /// From which checkpoint each attempt was started.
    restored: BTreeMap<(TaskId, Attempt), Option<CheckpointId>>,
    savepoints: Savepoints,
    outliving: Outliving,
    demands: Demands,
    /// All that were ever accepted.
    demanded: BTreeSet<(Instance, TriggerId)>,
    /// What was before, if the observer came late.
    past: Option<Past>,
}

/// The observer.
#[derive(Default)]
pub(crate) struct Checks {
    jobs: BTreeMap<JobId, History>,
    statuses: BTreeMap<(Instance, JobId), JobStatus>,
    seen_epochs: BTreeMap<Process, Epoch>,
    /// The attempts that run, with their slots.
    running: BTreeMap<(Process, AttemptId), SlotIndex>,
    /// Those of them that were told to stop.
    stopping: BTreeSet<(Process, AttemptId)>,
    /// Those that their TaskManager has told to stop.
    told_to_stop: BTreeSet<(Process, AttemptId)>,
    contract: Contract,
    stored_epoch: Epoch,
    /// The epoch of the last leader.
    minted: Epoch,
    /// The workers that any coordinator has asked for.
    asked_for: BTreeSet<WorkerId>,
    plans: Plans,
    /// The jobs of a recording, of which the model knows nothing.
    recorded: BTreeMap<JobId, JobPlan>,
    /// Coordinators are replayed when they are gone.
    replays: bool,
    /// The jobs are not of our making: how much they write and say has no bound.
    unbounded: bool,
    watched: BTreeMap<Instance, Watched>,
    /// What was seen and not yet fetched.
    seen: Vec<Mark>,
}

impl Checks {
    pub(crate) fn new(plans: &[JobPlan], replays: bool) -> Self {
        let known = Plans::new(plans);
        let history = |plan: &JobPlan| {
            let mut history = History::new(plan);
            let regions = known.regions(plan.id);
            let region_of = history.tasks.iter().copied().zip(regions.iter().copied());
            history.region_of = region_of.collect();
            history.parts = Parts::new(plan, &history.tasks, regions);
            (plan.id, history)
        };
        Checks {
            jobs: plans.iter().map(history).collect(),
            plans: known,
            replays,
            ..Checks::default()
        }
    }

    /// A new leader has this epoch.
    pub(crate) fn minted(&mut self, epoch: Epoch) -> Verdict {
        let before = std::mem::replace(&mut self.minted, epoch);
        for history in self.jobs.values_mut() {
            history.deployed.clear();
            history.on_their_way.clear();
            history.adoptable.append(&mut history.own);
        }
        ensure(before < epoch, "epochs_strictly_increase", || {
            format!("{before:?}, then {epoch:?}")
        })
    }

    fn history(&mut self, job: JobId) -> Result<&mut History, Failure> {
        let unknown = || Failure::new("every_job_was_submitted", format!("job {job}"));
        self.jobs.get_mut(&job).ok_or_else(unknown)
    }

    /// A coordinator receives this.
    pub(crate) fn received(&mut self, input: &Input) {
        let Input::Message { message, .. } = input else {
            return;
        };
        match message {
            FromTaskManager::Acknowledge(ack) => {
                if let Some(history) = self.jobs.get_mut(&ack.attempt.job) {
                    let acks = history.acks.entry(ack.checkpoint).or_default();
                    acks.entry(ack.attempt.task).or_default().push(Ack {
                        attempt: ack.attempt.attempt,
                        state: SubtaskState::Own(ack.state.clone()),
                        end_of_data: ack.state.end_of_data,
                    });
                    // Of what a durable one is made does not change with what is said of it later.
                    if let Some(region) = history.region(ack.attempt.task)
                        && !history.completed.contains(&(region, ack.checkpoint))
                        && let Some(acks) = history.current_acknowledgements(region, ack.checkpoint)
                    {
                        history.acknowledged.insert((region, ack.checkpoint), acks);
                    }
                }
            }
            FromTaskManager::TaskStates(changes) => {
                for change in changes {
                    let lost = match change.report {
                        TaskReport::Canceled | TaskReport::Failed { .. } => true,
                        TaskReport::Initializing
                        | TaskReport::Running
                        | TaskReport::EndOfData
                        | TaskReport::Finished => false,
                    };
                    let history = self.jobs.get_mut(&change.attempt.job);
                    if let Some(history) = history.filter(|_| lost) {
                        let attempt = (change.attempt.task, change.attempt.attempt);
                        history.lost.insert(attempt);
                    }
                }
            }
            FromTaskManager::Heartbeat { .. }
            | FromTaskManager::Leave { .. }
            | FromTaskManager::Decline { .. } => {}
        }
    }

    /// What a coordinator shows after a step: states change only as they may, ends are durable and final.
    pub(crate) fn status(&mut self, instance: Instance, job: &JobLine) -> Verdict {
        let before = self.statuses.insert((instance, job.id), job.status);
        if let Some(before) = before.filter(|before| *before != job.status) {
            ensure(
                reaches(before, job.status),
                "job_states_change_only_as_they_may",
                || format!("job {}: {before} became {}", job.id, job.status),
            )?;
        }
        let history = self.history(job.id)?;
        if job.status.is_terminal() {
            ensure(
                history.result == Some(job.status),
                "a_terminal_state_is_durable",
                || {
                    format!(
                        "job {} shows {}, stored {:?}",
                        job.id, job.status, history.result
                    )
                },
            )?;
        }
        Ok(())
    }

    /// The durable end of a job.
    pub(crate) fn result(&self, job: JobId) -> Option<JobStatus> {
        self.jobs.get(&job)?.result
    }

    /// The last checkpoint of a job that a leader triggered.
    pub(crate) fn last_triggered(&self, job: JobId) -> Option<CheckpointId> {
        Some(self.jobs.get(&job)?.last_trigger?.0)
    }

    /// Whether an attempt has no part in the latest checkpoint of its region.
    pub(crate) fn is_left_behind(&self, attempt: AttemptId) -> bool {
        is_left_behind(&self.jobs, attempt)
    }

    /// The longest time from one checkpoint to the end of the next, in microseconds.
    pub(crate) fn checkpoint_round(&self, job: JobId) -> u64 {
        self.plans.checkpoint_round(job)
    }

    /// What a job's options say of its checkpoints.
    pub(crate) fn rules(&self, job: JobId) -> Option<Rules> {
        self.plans.rules(job)
    }

    /// From now on hardly anything restarts.
    pub(crate) fn count_restarts(&mut self) {
        for history in self.jobs.values_mut() {
            history.redeployed.clear();
        }
    }

    /// What was broken when faults ended may restart a job, and what that broke once more; no more.
    pub(crate) fn restarts_have_ended(&self) -> Verdict {
        for (job, history) in &self.jobs {
            let most = history.redeployed.iter().max_by_key(|(_, times)| **times);
            let few = most.is_none_or(|(_, times)| *times <= RESTARTS_AFTER_FAULTS);
            ensure(few, "restarts_end_once_faults_have_ended", || {
                format!("job {job}: {most:?}")
            })?;
        }
        Ok(())
    }

    /// Whether this is the last attempt of its task that was deployed.
    pub(crate) fn is_current(&self, attempt: AttemptId) -> bool {
        let history = self.jobs.get(&attempt.job);
        history.is_some_and(|history| history.is_current(attempt.task, attempt.attempt))
    }
}

impl History {
    /// Whether this is the last attempt that the leader deployed, or one that it may have adopted.
    fn is_current(&self, task: TaskId, attempt: Attempt) -> bool {
        let deployed = self.deployed.get(&task).copied();
        let later = deployed.is_none_or(|last| last < attempt);
        deployed == Some(attempt) || (later && self.adoptable.contains(&(task, attempt)))
    }

    fn new(plan: &JobPlan) -> Self {
        let mut tasks = Vec::new();
        for (vertex, plan) in (0..).zip(&plan.vertices) {
            tasks.extend((0..plan.parallelism).map(|subtask| task(vertex, subtask)));
        }
        let of = |wanted: fn(&OperatorPlan) -> bool| {
            let vertex = |task: &&TaskId| &plan.vertices[task.vertex.0 as usize];
            let chosen = tasks.iter().filter(|task| wanted(&vertex(task).operator));
            chosen.copied().collect::<Vec<_>>()
        };
        let retained = plan
            .configuration
            .get("execution.checkpointing.num-retained");
        History {
            sources: of(|operator| matches!(operator, OperatorPlan::Source { .. })),
            sinks: of(|operator| *operator == OperatorPlan::Sink),
            tasks,
            region_of: BTreeMap::new(),
            survives: plan.survives,
            savepoints: Savepoints::default(),
            outliving: Outliving::default(),
            demands: Demands::new(),
            demanded: BTreeSet::new(),
            parts: Parts::default(),
            snapshots: BTreeMap::new(),
            told: BTreeMap::new(),
            on_their_way: BTreeMap::new(),
            redeployed: BTreeMap::new(),
            retained_limit: retained.and_then(|text| text.parse().ok()).unwrap_or(1),
            recorded: false,
            cancel_recorded: false,
            rescale_recorded: false,
            scale: None,
            former: BTreeMap::new(),
            wishes: vec![Plans::allowed(plan)],
            rescaled: None,
            cancel_accepted: false,
            result: None,
            mark: CheckpointId(1),
            last_trigger: None,
            retained: BTreeMap::new(),
            latest: None,
            triggered: BTreeSet::new(),
            completed: BTreeSet::new(),
            aborted: BTreeSet::new(),
            acks: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            ordered: BTreeSet::new(),
            highest: BTreeMap::new(),
            deployed: BTreeMap::new(),
            own: BTreeSet::new(),
            adoptable: BTreeSet::new(),
            lost: BTreeSet::new(),
            restored: BTreeMap::new(),
            past: None,
        }
    }
}

/// On which session a TaskManager says that it leaves, if one does.
fn who_leaves(input: &Input) -> Option<SessionId> {
    match input {
        Input::Connected { session, hello } => hello.leaves_within.map(|_| *session),
        Input::Message {
            session,
            message: FromTaskManager::Leave { .. },
        } => Some(*session),
        Input::Message { .. }
        | Input::Disconnected { .. }
        | Input::Stored { .. }
        | Input::Discarded { .. }
        | Input::SavepointWritten { .. }
        | Input::Command { .. }
        | Input::Workers { .. }
        | Input::Worker { .. }
        | Input::Wake => None,
    }
}

/// Whether an attempt has no part in the latest checkpoint of its region.
fn is_left_behind(jobs: &BTreeMap<JobId, History>, attempt: AttemptId) -> bool {
    jobs.get(&attempt.job).is_some_and(|history| {
        let region = history.region(attempt.task);
        let latest = region.and_then(|region| history.last_completed(region));
        latest.is_some_and(|latest| !history.took_part(attempt.task, attempt.attempt, latest))
    })
}

fn task(vertex: u32, subtask: u32) -> TaskId {
    TaskId {
        vertex: jobmanager_core::id::VertexIndex(vertex),
        subtask: jobmanager_core::id::SubtaskIndex(subtask),
    }
}

/// Whether a job may get from one status to another within one step.
fn reaches(from: JobStatus, to: JobStatus) -> bool {
    let mut reached = vec![from];
    let mut at = 0;
    while let Some(status) = reached.get(at).copied() {
        for next in JobStatus::ALL {
            if status.can_become(next) && !reached.contains(&next) {
                reached.push(next);
            }
        }
        at += 1;
    }
    reached[1..].contains(&to)
}

#[cfg(test)]
pub(crate) mod forge;
#[cfg(test)]
mod tests;
