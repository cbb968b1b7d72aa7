//! One job of the model: its tasks, regions and phases, written plainly. Nothing is counted ahead or
//! indexed; every question is answered by a look at the tasks.

use super::checkpoints::Checkpoints;
use super::demands::Demand;
use super::moving::Moving;
use super::orders::{Order, Room, Write};
use super::plan::Plan;
use super::removals::Claimed;
use super::rescaling::Rescaling;
use super::restarts::{Around, Budget, Verdict};
use super::savepoints::Wish;
use super::submission::wait;
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::{Attempt, AttemptId, JobId, RequestId, SessionId, SlotIndex, TaskId};
use jobmanager_core::jobmanager::Reply;
use jobmanager_core::message::{TaskReport, TaskStateChange};
use jobmanager_core::record::Scale;
use jobmanager_core::state::{ExecutionState, JobStatus};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where a job is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// Those who wait, and what each is told when the job is durable.
    Submitting(Vec<(RequestId, Reply)>),
    Reconciling {
        deadline: Timestamp,
        /// Of which attempt a task failed.
        failed: BTreeMap<usize, Option<Attempt>>,
    },
    Running,
    Ending(JobStatus),
    Ended(JobStatus, Cleanup),
}

/// What remains to be done for a job that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cleanup {
    Storing,
    Discarding,
    Removing,
}

/// Whether a client wants the job to be canceled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cancel {
    No,
    Storing(Vec<RequestId>),
    Durable,
}

/// What a region does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Reconciling,
    Scheduled { since: Timestamp },
    Active,
    Restarting(Around),
    Stopping,
    Finished,
}

#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) state: ExecutionState,
    /// Where it is, while it is alive.
    pub(super) at: Option<(SessionId, SlotIndex)>,
    pub(super) end_of_data: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Region {
    pub(super) stage: Stage,
    pub(super) attempt: Option<Attempt>,
}

#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) graph: Arc<JobGraph>,
    pub(super) plan: Arc<Plan>,
    pub(super) life: Life,
    pub(super) status: JobStatus,
    pub(super) cancel: Cancel,
    pub(super) end_waiters: Vec<RequestId>,
    pub(super) tasks: Vec<Task>,
    pub(super) regions: Vec<Region>,
    pub(super) checkpoints: Checkpoints,
    /// The savepoints that clients want, in the order in which they asked.
    pub(super) wishes: Vec<Wish>,
    /// The checkpoints that clients want at once, those that have ended included.
    pub(super) demands: Vec<Demand>,
    /// Its parallelism, if that has changed.
    pub(super) scale: Option<Scale>,
    pub(super) rescaling: Rescaling,
    pub(super) moving: Option<Moving>,
    pub(super) budget: Budget,
    pub(super) restarts: u64,
    pub(super) untidy: bool,
    pub(super) claimed: Claimed,
    /// Where its last checkpoint is, which outlives it, once that has its metadata.
    pub(super) outlived: Option<String>,
    /// Whether it has had slots, as far as this coordinator knows.
    pub(super) has_run: bool,
}

impl Job {
    pub(super) fn new(
        graph: Arc<JobGraph>,
        plan: Arc<Plan>,
        submitted: Timestamp,
        life: Life,
    ) -> Job {
        let (state, stage, status) = match life {
            Life::Submitting(_) => (
                ExecutionState::Scheduled,
                Stage::Scheduled { since: submitted },
                JobStatus::Initializing,
            ),
            Life::Reconciling { .. } | Life::Running | Life::Ending(_) | Life::Ended(..) => (
                ExecutionState::Created,
                Stage::Reconciling,
                JobStatus::Reconciling,
            ),
        };
        let task = Task {
            state,
            at: None,
            end_of_data: false,
        };
        let region = Region {
            stage,
            attempt: None,
        };
        Job {
            id: graph.id(),
            tasks: vec![task; plan.tasks.len()],
            regions: vec![region; plan.regions.len()],
            checkpoints: Checkpoints::new(plan.regions.len()),
            wishes: Vec::new(),
            demands: Vec::new(),
            scale: None,
            rescaling: Rescaling::new(None),
            moving: None,
            budget: Budget::new(plan.restarts.clone()),
            restarts: 0,
            untidy: false,
            claimed: Claimed::No,
            outlived: None,
            has_run: false,
            cancel: Cancel::No,
            end_waiters: Vec::new(),
            status,
            graph,
            plan,
            life,
        }
    }

    pub(super) fn is_alive(&self, position: usize) -> bool {
        self.tasks[position].at.is_some()
    }

    pub(super) fn any_alive(&self) -> bool {
        self.tasks.iter().any(|task| task.at.is_some())
    }

    pub(super) fn all_in(&self, state: ExecutionState) -> bool {
        self.tasks.iter().all(|task| task.state == state)
    }

    /// Whether a region has nothing left to read: every task waits for its end or has finished.
    pub(super) fn is_at_the_end(&self, region: usize) -> bool {
        let members = self.plan.regions[region].iter();
        let mut members = members.map(|position| &self.tasks[*position]);
        let waits = |task: &Task| task.state == ExecutionState::Running && task.end_of_data;
        let over = |task: &Task| waits(task) || task.state == ExecutionState::Finished;
        members.clone().any(waits) && members.all(over)
    }

    /// Whether a region does nothing but to wait that it may finish, if nothing comes after its snapshot.
    pub(super) fn only_waits(&self, region: usize) -> bool {
        let members = self.plan.regions[region].iter();
        let mut states = members.map(|position| self.tasks[*position].state);
        let waits = |state| state == ExecutionState::Running;
        let over = |state| waits(state) || state == ExecutionState::Finished;
        self.regions[region].stage == Stage::Active && states.clone().any(waits) && states.all(over)
    }

    /// The sessions on which its tasks are.
    pub(super) fn sessions(&self) -> BTreeSet<SessionId> {
        let sessions = self.tasks.iter().filter_map(|task| Some(task.at?.0));
        sessions.collect()
    }

    /// The position of the attempt, if it is what the job runs now, there.
    pub(super) fn current(&self, attempt: AttemptId, on: SessionId) -> Option<usize> {
        let position = self.plan.position(attempt.task)?;
        let region = &self.regions[self.plan.region_of[position]];
        let here = self.tasks[position].at.is_some_and(|at| at.0 == on);
        (here && region.attempt == Some(attempt.attempt)).then_some(position)
    }

    pub(super) fn task_reported(
        &mut self,
        room: &mut Room<'_>,
        on: SessionId,
        change: &TaskStateChange,
    ) {
        let Some(position) = self.current(change.attempt, on) else {
            self.failed_before_adoption(room, change);
            if !self.has_finished(change.attempt) {
                room.stop_stranger(on, change);
            }
            return;
        };
        let task = &mut self.tasks[position];
        let starts = matches!(
            task.state,
            ExecutionState::Deploying | ExecutionState::Initializing
        );
        match change.report {
            TaskReport::Initializing if starts => task.state = ExecutionState::Initializing,
            TaskReport::Running if starts => task.state = ExecutionState::Running,
            TaskReport::Initializing | TaskReport::Running => {}
            TaskReport::EndOfData => task.end_of_data = true,
            TaskReport::Finished => self.end_task(position, ExecutionState::Finished),
            TaskReport::Canceled if task.state == ExecutionState::Canceling => {
                self.end_task(position, ExecutionState::Canceled);
            }
            TaskReport::Failed { .. } if task.state == ExecutionState::Canceling => {
                self.end_task(position, ExecutionState::Failed);
            }
            TaskReport::Canceled | TaskReport::Failed { .. } => {
                self.end_task(position, ExecutionState::Failed);
                let region = self.plan.region_of[position];
                self.fail_regions(room, &BTreeSet::from([region]));
            }
        }
    }

    fn failed_before_adoption(&mut self, room: &Room<'_>, change: &TaskStateChange) {
        let failed = matches!(change.report, TaskReport::Failed { .. });
        let Some(position) = self.plan.position(change.attempt.task).filter(|_| failed) else {
            return;
        };
        let (region, attempt) = (self.plan.region_of[position], change.attempt.attempt);
        let latest = self.regions[region].attempt <= Some(attempt);
        if latest && room.is_earlier(attempt) {
            self.note_failed(region, Some(attempt));
        }
    }

    fn note_failed(&mut self, region: usize, attempt: Option<Attempt>) {
        if let Life::Reconciling { failed, .. } = &mut self.life {
            let last = failed.entry(region).or_insert(attempt);
            *last = attempt.max(*last);
        }
    }

    /// Everything on this session is lost; its TaskManager may have said before that it leaves.
    pub(super) fn session_lost(&mut self, room: &mut Room<'_>, on: SessionId, left: bool) {
        let mut regions = BTreeSet::new();
        for position in 0..self.tasks.len() {
            let task = &self.tasks[position];
            if task.at.is_none_or(|at| at.0 != on) {
                continue;
            }
            if task.state != ExecutionState::Canceling {
                regions.insert(self.plan.region_of[position]);
            }
            self.end_task(position, ExecutionState::Failed);
        }
        self.look_for_room(room.now);
        let reconciling = matches!(self.life, Life::Reconciling { .. });
        if !regions.is_empty() && !reconciling {
            match left {
                true => self.is_left_behind(room, &regions),
                false => self.fail_regions(room, &regions),
            }
        }
    }

    pub(super) fn end_task(&mut self, position: usize, state: ExecutionState) {
        let task = &mut self.tasks[position];
        task.state = state;
        task.at = None;
        let region = self.plan.region_of[position];
        let mut members = self.plan.regions[region].iter();
        let finished = members.all(|at| self.tasks[*at].state == ExecutionState::Finished);
        if finished && self.regions[region].stage == Stage::Active {
            self.regions[region].stage = Stage::Finished;
        }
    }

    /// One failure took these regions down.
    pub(super) fn fail_regions(&mut self, room: &mut Room<'_>, regions: &BTreeSet<usize>) {
        self.abort_regions(room, regions);
        for region in regions {
            self.note_failed(*region, self.regions[*region].attempt);
        }
        if self.life != Life::Running {
            return;
        }
        let shown = room.hints.restarts(self.id);
        let counted =
            shown.is_none_or(|shown| shown > self.restarts) || room.hints.has_given_up(self.id);
        match self.budget.failure(room.now, counted) {
            Verdict::GiveUp => self.stop(room, JobStatus::Failing),
            Verdict::Restart { at, counted } => {
                self.restarts += u64::from(counted);
                for region in regions {
                    self.stop_region(room, *region);
                    self.regions[*region].stage = Stage::Restarting(at);
                }
            }
        }
    }

    /// The tasks of a region are told to stop: those of this region and nothing else.
    pub(super) fn stop_region(&mut self, room: &mut Room<'_>, region: usize) {
        let mut told: BTreeMap<SessionId, Vec<TaskId>> = BTreeMap::new();
        for &position in &self.plan.regions[region] {
            let task = &mut self.tasks[position];
            match task.state {
                ExecutionState::Created | ExecutionState::Scheduled => {
                    task.state = ExecutionState::Canceled;
                    task.end_of_data = false;
                }
                ExecutionState::Deploying
                | ExecutionState::Initializing
                | ExecutionState::Running => {
                    task.state = ExecutionState::Canceling;
                    let on = task.at.map(|at| at.0);
                    let tasks = on.map(|on| told.entry(on).or_default());
                    tasks
                        .into_iter()
                        .for_each(|tasks| tasks.push(self.plan.tasks[position]));
                }
                ExecutionState::Canceling
                | ExecutionState::Finished
                | ExecutionState::Canceled
                | ExecutionState::Failed => {}
            }
        }
        let attempt = self.regions[region].attempt.unwrap_or_default();
        for (on, tasks) in told {
            room.orders.push(Order::Cancel(on, self.id, attempt, tasks));
        }
    }

    /// All tasks are told to stop, for good.
    pub(super) fn stop(&mut self, room: &mut Room<'_>, ending: JobStatus) {
        self.abort_all(room);
        for region in 0..self.regions.len() {
            if self.regions[region].stage != Stage::Finished {
                self.stop_region(room, region);
                self.regions[region].stage = Stage::Stopping;
            }
        }
        self.moves_no_more(room);
        self.life = Life::Ending(ending);
    }

    pub(super) fn submission_durable(&mut self, room: &mut Room<'_>) {
        let life = std::mem::replace(&mut self.life, Life::Running);
        let Life::Submitting(mut waiters) = life else {
            self.life = life;
            return;
        };
        for region in &mut self.regions {
            region.stage = Stage::Scheduled { since: room.now };
        }
        waiters.sort_by_key(|(_, reply)| matches!(reply, Reply::Conflict(_)));
        let replies = waiters.into_iter();
        let replies = replies.map(|(request, reply)| Order::Reply(request, reply));
        room.orders.extend(replies);
    }

    pub(super) fn cancel_requested(&mut self, room: &mut Room<'_>, request: RequestId) {
        if matches!(self.life, Life::Ended(..)) {
            wait(&mut self.end_waiters, request, room.orders);
            return;
        }
        match &mut self.cancel {
            Cancel::No => {
                self.cancel = Cancel::Storing(vec![request]);
                room.writes.push(vec![Write::Cancel(self.id)]);
            }
            Cancel::Storing(waiters) => wait(waiters, request, room.orders),
            Cancel::Durable => {
                let reply = Reply::CancelAccepted(self.id);
                room.orders.push(Order::Reply(request, reply));
            }
        }
    }

    pub(super) fn cancel_durable(&mut self, room: &mut Room<'_>) {
        let before = std::mem::replace(&mut self.cancel, Cancel::Durable);
        let Cancel::Storing(waiters) = before else {
            return;
        };
        if matches!(self.life, Life::Ended(..)) {
            self.end_waiters.extend(waiters);
            return;
        }
        for request in waiters {
            let reply = Reply::CancelAccepted(self.id);
            room.orders.push(Order::Reply(request, reply));
        }
        self.stop(room, JobStatus::Cancelling);
    }

    /// Every task has ended: the result is written, and nothing is said before it is durable.
    fn end(&mut self, room: &mut Room<'_>, status: JobStatus) {
        let mut write = self.end_savepoints();
        write.push(Write::Result(self.id, status, None));
        self.moves_no_more(room);
        room.writes.push(write);
        self.life = Life::Ended(status, Cleanup::Storing);
    }

    pub(super) fn end_durable(&mut self, room: &mut Room<'_>) {
        let Life::Ended(status, cleanup) = &mut self.life else {
            return;
        };
        *cleanup = Cleanup::Discarding;
        let reply = Reply::AlreadyEnded(self.id, *status);
        for request in std::mem::take(&mut self.end_waiters) {
            room.orders.push(Order::Reply(request, reply.clone()));
        }
    }

    /// A later coordinator goes on with the removal.
    pub(super) fn resume_removal(&mut self, status: JobStatus) {
        self.status = status;
        self.life = Life::Ended(status, Cleanup::Discarding);
    }

    /// What follows from how things are now, until nothing more does.
    pub(super) fn settle(&mut self, room: &mut Room<'_>) {
        if let Life::Reconciling { deadline, .. } = &self.life
            && (*deadline <= room.now || self.is_accounted_for())
        {
            self.resolve(room);
        }
        if self.life == Life::Running {
            self.settle_running(room);
        }
        if let Life::Ending(ending) = self.life {
            self.status = ending;
            if !self.any_alive() {
                let status = if ending == JobStatus::Failing {
                    JobStatus::Failed
                } else {
                    JobStatus::Canceled
                };
                self.end(room, status);
            }
        }
        self.show();
    }

    fn settle_running(&mut self, room: &mut Room<'_>) {
        self.expire_slot_requests(room);
        self.expire_checkpoints(room);
        self.expire_demands(room.now);
        self.expire_savepoints(room);
        self.drive_rescaling(room);
        self.drive_moving(room);
        self.reschedule(room);
        if self.all_in(ExecutionState::Finished) {
            self.end(room, JobStatus::Finished);
        }
        if self.life == Life::Running {
            self.drive_savepoints(room);
        }
        if self.life == Life::Running {
            self.drive_checkpoints(room);
        }
    }

    /// The status that clients see.
    fn show(&mut self) {
        let restarting = |region: &Region| matches!(region.stage, Stage::Restarting(_));
        self.status = match &self.life {
            Life::Submitting(_) => JobStatus::Initializing,
            Life::Reconciling { .. } => JobStatus::Reconciling,
            Life::Running if self.regions.iter().any(restarting) => JobStatus::Restarting,
            Life::Running => JobStatus::Running,
            Life::Ending(ending) => *ending,
            Life::Ended(_, Cleanup::Storing) => self.status,
            Life::Ended(status, _) => *status,
        };
    }

    fn expire_slot_requests(&mut self, room: &mut Room<'_>) {
        let timeout = self.plan.slot_timeout;
        let expired = |region: &Region| match region.stage {
            Stage::Scheduled { since } => since + timeout <= room.now,
            Stage::Reconciling
            | Stage::Active
            | Stage::Restarting(_)
            | Stage::Stopping
            | Stage::Finished => false,
        };
        let regions = self.regions.iter().enumerate();
        let expired: BTreeSet<usize> = regions
            .filter(|(_, region)| expired(region))
            .map(|(at, _)| at)
            .collect();
        if !expired.is_empty() {
            self.fail_regions(room, &expired);
        }
    }

    /// Regions whose tasks have ended and whose delay is over are scheduled; not while it is open which
    /// snapshot is their latest.
    fn reschedule(&mut self, room: &mut Room<'_>) {
        for region in 0..self.regions.len() {
            let Stage::Restarting(at) = self.regions[region].stage else {
                continue;
            };
            let members = &self.plan.regions[region];
            let ended = members.iter().all(|position| !self.is_alive(*position));
            let due = at.latest <= room.now
                || (at.earliest <= room.now
                    && room
                        .hints
                        .is_scheduled(self.id, self.plan.tasks[members[0]]));
            if !ended || !due || self.checkpoints.is_storing(region) || self.is_held(region) {
                continue;
            }
            for &position in members {
                self.tasks[position].state = ExecutionState::Scheduled;
                self.tasks[position].end_of_data = false;
            }
            self.regions[region].stage = Stage::Scheduled { since: room.now };
        }
    }
}
