//! One job: what it is, which phase it is in, and the settling of what has changed.
//!
//! ```text
//! Submitting ──durable──► Running ──► Ending ──all tasks ended──► Ended ──► (only its result is left)
//! Reconciling ──────────────┘ └──────────all finished──────────────┘
//! (recovered)
//! ```
//!
//! Events change facts; [`Job::settle`] then draws the consequences from the facts alone, so that it does
//! not matter which event came first and no wake-up can be lost.

use super::checkpoints::Checkpoints;
use super::cx::Cx;
use super::demands::Demands;
use super::execution::{Execution, Phase};
use super::moving::Moving;
use super::owned::Owned;
use super::rescaling::Rescaling;
use super::restart::RestartBackoff;
use super::savepoints::Savepoints;
use super::view::ExceptionEntry;
use super::waiting::Place;
use crate::graph::JobGraph;
use crate::id::{Attempt, CheckpointId, JobId, RegionIndex, RequestId, TaskManagerId};
use crate::kept::Kept;
use crate::record::{CheckpointRecord, JobResult, Scale};
use crate::state::JobStatus;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Where a job is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum JobPhase {
    /// Not durable yet; these wait for it.
    Submitting(Submitters),
    /// Recovered; its attempts are being reported.
    Reconciling(Reconciling),
    /// Its regions do what they do.
    Running,
    /// Its tasks are told to stop.
    Ending(Ending),
    /// All its tasks have ended.
    Ended(Ended),
}

/// The clients that wait until a job is durable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Submitters {
    /// The one that submitted it, and then those that submitted it again.
    pub(super) of_this: Vec<RequestId>,
    /// Those that submitted another graph under its id. It is in the way only once it is durable: until then
    /// a later leader may have accepted theirs.
    pub(super) of_another: Vec<RequestId>,
}

/// A recovered job that waits for its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Reconciling {
    /// What is not reported by then is missing.
    pub(super) deadline: Timestamp,
    /// Regions of which a task is known to have failed.
    pub(super) failed: BTreeMap<RegionIndex, Failure>,
}

/// The first failure of a region's latest attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) attempt: Option<Attempt>,
    pub(super) cause: String,
}

/// Why a job's tasks are told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Ending {
    Cancelling,
    Failing(String),
}

/// A job all of whose tasks have ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) result: Arc<JobResult>,
    pub(super) cleanup: Cleanup,
}

/// What remains to be done for a job that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Cleanup {
    /// Its result is being written; until then nobody is told.
    Storing,
    /// Its state is being deleted, until that succeeds.
    Discarding,
    /// Its records are being removed.
    Removing,
}

/// Whether a client has asked to cancel the job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum CancelIntent {
    None,
    /// Not durable yet; these wait for it.
    Storing(Vec<RequestId>),
    Durable,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Job {
    /// As it was submitted.
    pub(super) original: Arc<JobGraph>,
    /// The same with the parallelism with which it runs.
    pub(super) graph: Arc<JobGraph>,
    /// That parallelism, if it is not the original one.
    pub(super) scale: Option<Scale>,
    pub(super) submitted: Timestamp,
    pub(super) phase: JobPhase,
    pub(super) cancel: CancelIntent,
    /// Clients that wait to hear how it ended.
    pub(super) end_waiters: Vec<RequestId>,
    pub(super) execution: Execution,
    pub(super) checkpoints: Checkpoints,
    pub(super) demands: Kept<Demands>,
    pub(super) savepoints: Kept<Savepoints>,
    pub(super) rescaling: Kept<Rescaling>,
    pub(super) moving: Option<Moving>,
    /// The checkpoint that it began with, if it took something from a savepoint.
    pub(super) began: Option<CheckpointId>,
    pub(super) owned: Owned,
    /// There may be state to which nothing refers: it is deleted when the next checkpoint has completed.
    pub(super) untidy: bool,
    pub(super) backoff: RestartBackoff,
    pub(super) restarts: u64,
    pub(super) exceptions: Kept<VecDeque<ExceptionEntry>>,
    /// What it waits for, in words.
    pub(super) waiting: Option<String>,
    /// Whether it has had slots, as far as this coordinator knows.
    pub(super) has_run: bool,
    status: JobStatus,
    pub(super) timestamps: [Option<Timestamp>; JobStatus::ALL.len()],
    pub(super) last_modified: Timestamp,
}

impl Job {
    /// Its place among those that wait for slots.
    pub(super) fn place_in_line(&self) -> Place {
        Place {
            priority: Reverse(self.graph.config().priority),
            submitted: self.submitted,
            job: self.id(),
        }
    }

    /// A job that was submitted just now, and starts from this record.
    pub(super) fn submitted(
        graph: Arc<JobGraph>,
        now: Timestamp,
        start: Option<Arc<CheckpointRecord>>,
        request: RequestId,
    ) -> Self {
        let phase = JobPhase::Submitting(Submitters {
            of_this: Vec::from([request]),
            of_another: Vec::new(),
        });
        let execution = Execution::new(&graph, Phase::Scheduled { since: now });
        let regions = execution.layout().count();
        let next = start
            .as_ref()
            .map_or(CheckpointId(1), |start| start.id.next());
        let began = start.as_ref().map(|start| start.id);
        let completed = start.into_iter().collect();
        let checkpoints = Checkpoints::new(next, completed, regions, now);
        let mut job = Self::new(graph, now, phase, execution, checkpoints, now);
        job.begins_with(began);
        job
    }

    /// A job that is durable, of which nothing else is known. Its checkpoints fit it.
    pub(super) fn recovered(
        graph: Arc<JobGraph>,
        submitted: Timestamp,
        mut execution: Execution,
        mark: CheckpointId,
        completed: VecDeque<Arc<CheckpointRecord>>,
        deadline: Timestamp,
        now: Timestamp,
    ) -> Self {
        let regions = execution.layout().count();
        let checkpoints = Checkpoints::new(mark, completed, regions, now);
        for region in execution.region_indices() {
            if let Some(snapshot) = checkpoints.snapshot(region) {
                execution.set_attempt(region, snapshot.attempt);
            }
        }
        let mut job = Self::new(
            graph,
            submitted,
            JobPhase::Reconciling(Reconciling {
                deadline,
                failed: BTreeMap::new(),
            }),
            execution,
            checkpoints,
            now,
        );
        job.status = JobStatus::Reconciling;
        job.timestamps[JobStatus::Reconciling as usize] = Some(now);
        job
    }

    fn new(
        graph: Arc<JobGraph>,
        submitted: Timestamp,
        phase: JobPhase,
        execution: Execution,
        checkpoints: Checkpoints,
        now: Timestamp,
    ) -> Self {
        let mut timestamps = [None; JobStatus::ALL.len()];
        timestamps[JobStatus::Initializing as usize] = Some(submitted);
        let seed = jitter_seed(graph.id(), now);
        Job {
            submitted,
            phase,
            cancel: CancelIntent::None,
            end_waiters: Vec::new(),
            execution,
            checkpoints,
            demands: Kept::default(),
            savepoints: Kept::default(),
            rescaling: Kept::new(Rescaling::new(None)),
            moving: None,
            began: None,
            owned: Owned::Nothing,
            untidy: false,
            backoff: RestartBackoff::new(&graph.config().restart_strategy, seed),
            restarts: 0,
            exceptions: Kept::default(),
            waiting: None,
            has_run: false,
            status: JobStatus::Initializing,
            timestamps,
            last_modified: now,
            original: graph.clone(),
            scale: None,
            graph,
        }
    }

    /// An earlier coordinator brought the job into this status.
    pub(super) fn set_recovered_status(&mut self, status: JobStatus) {
        self.status = status;
    }

    pub(super) fn id(&self) -> JobId {
        self.graph.id()
    }

    /// What clients see.
    pub(super) fn status(&self) -> JobStatus {
        self.status
    }

    /// Draws the consequences of what has changed.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) {
        match &self.phase {
            JobPhase::Submitting(_) | JobPhase::Ended(_) => {}
            JobPhase::Reconciling(Reconciling { deadline, .. }) => {
                if *deadline <= cx.now || self.is_accounted_for() {
                    self.resolve(cx);
                    self.settle(cx);
                    return;
                }
            }
            JobPhase::Running => {
                self.settle_running(cx);
                if matches!(self.phase, JobPhase::Ending(_)) {
                    self.settle(cx);
                    return;
                }
            }
            JobPhase::Ending(ending) => {
                let ending = ending.clone();
                self.update_status(cx.now);
                if self.execution.alive() == 0 {
                    self.ended(cx, ending);
                }
            }
        }
        self.update_status(cx.now);
    }

    fn settle_running(&mut self, cx: &mut Cx<'_>) {
        self.expire_slot_requests(cx);
        self.expire_checkpoints(cx);
        self.expire_demands(cx.now);
        self.expire_savepoints(cx);
        self.drive_rescaling(cx);
        self.drive_moving(cx);
        self.reschedule(cx.now);
        if self.execution.all_finished() {
            self.finished(cx);
        }
        if self.phase == JobPhase::Running {
            self.drive_savepoints(cx);
        }
        if self.phase == JobPhase::Running {
            self.drive_checkpoints(cx);
        }
    }

    /// The status follows from the phases; nothing else sets it.
    fn update_status(&mut self, now: Timestamp) {
        let next = match &self.phase {
            JobPhase::Submitting(_) => JobStatus::Initializing,
            JobPhase::Reconciling(_) => JobStatus::Reconciling,
            JobPhase::Running if self.execution.restarting().is_empty() => JobStatus::Running,
            JobPhase::Running => JobStatus::Restarting,
            JobPhase::Ending(Ending::Cancelling) => JobStatus::Cancelling,
            JobPhase::Ending(Ending::Failing(_)) => JobStatus::Failing,
            JobPhase::Ended(Ended {
                cleanup: Cleanup::Storing,
                ..
            }) => self.status,
            JobPhase::Ended(ended) => ended.result.status,
        };
        if self.status == JobStatus::Initializing && next != JobStatus::Initializing {
            self.enter(JobStatus::Created, now);
        }
        if self.status == JobStatus::Created && next == JobStatus::Restarting {
            self.enter(JobStatus::Running, now);
        }
        if self.status != next {
            self.enter(next, now);
        }
    }

    fn enter(&mut self, next: JobStatus, now: Timestamp) {
        assert!(
            self.status.can_become(next),
            "job {}: {} cannot become {next}",
            self.id(),
            self.status
        );
        tracing::info!(job = %self.id(), from = %self.status, to = %next, "job changed its state");
        self.status = next;
        self.timestamps[next as usize] = Some(now);
        self.last_modified = now;
    }

    /// When the job is to be settled if nothing happens. Always later than the last settling.
    pub(super) fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.phase {
            JobPhase::Submitting(_) | JobPhase::Ending(_) | JobPhase::Ended(_) => None,
            JobPhase::Reconciling(reconciling) => Some(reconciling.deadline),
            JobPhase::Running => {
                let restarts = self.restart_deadline(now);
                let slots = self.slot_deadline();
                let checkpoints = self.checkpoint_deadline(now);
                let savepoint = self.savepoint_deadline();
                let rescaling = self.rescaling_deadline(now);
                let demands = self.demands.deadline();
                let moving = self.moving_deadline(now);
                let all = [
                    restarts,
                    slots,
                    checkpoints,
                    demands,
                    savepoint,
                    rescaling,
                    moving,
                ];
                all.into_iter().flatten().min()
            }
        }
    }

    /// Takes note of a failure, for clients.
    pub(super) fn remember(
        &mut self,
        cx: &Cx<'_>,
        position: Option<u32>,
        taskmanager: Option<TaskManagerId>,
        message: String,
    ) {
        let task = position.map(|position| self.task_name(position));
        tracing::warn!(job = %self.id(), task, message, "failure");
        self.exceptions.push_front(ExceptionEntry {
            at: cx.now,
            message,
            task,
            taskmanager,
        });
        self.exceptions
            .truncate(cx.config.exception_history as usize);
        self.last_modified = cx.now;
    }

    /// A task in Flink's words: `count (2/4) - execution #1`.
    pub(super) fn task_name(&self, position: u32) -> String {
        let layout = self.execution.layout();
        let task = layout.task(position);
        let vertex = &self.graph.vertices()[task.vertex.0 as usize];
        let attempt = self.execution.region(layout.of(position)).attempt;
        let number = attempt.map_or(0, |attempt| attempt.number);
        let (subtask, of) = (task.subtask.0 + 1, vertex.parallelism);
        alloc::format!("{} ({subtask}/{of}) - execution #{number}", vertex.name)
    }

    /// Whether a task has been deployed and has not ended.
    pub(super) fn is_alive(&self, position: u32) -> bool {
        self.execution.state(position).is_alive()
    }
}

/// From what a job's jitter is drawn.
fn jitter_seed(job: JobId, now: Timestamp) -> u64 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&job.0.to_le_bytes());
    bytes[16..].copy_from_slice(&now.0.to_le_bytes());
    xxh3_64(&bytes)
}
