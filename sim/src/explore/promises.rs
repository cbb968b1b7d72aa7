//! What must never be, whatever happens in which order. Beside the core's own `check_invariants`, which
//! runs after every step of a coordinator, these are the promises that no coordinator can check: they are
//! about what several of them, the store and the tasks do together.

use super::scope::JOB;
use super::state::{Leader, Prepared, State};
use super::step::Step;
use jobmanager_core::id::{Attempt, AttemptId, CheckpointId, Epoch, RegionIndex, TaskId};
use jobmanager_core::jobmanager::{Discard, Effect, Reply};
use jobmanager_core::message::{Deployment, StateHandle, StateLocation, ToTaskManager};
use jobmanager_core::record::{
    CheckpointRecord, JobResult, Record, RecordKey, RecordOp, RegionSnapshot,
};
use jobmanager_core::state::JobStatus;
use jobmanager_core::taskmanager::{TaskStart, Worker};
use std::collections::{BTreeMap, BTreeSet};

/// What has to be remembered to judge what comes.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct History {
    deployed: BTreeSet<(TaskId, Attempt)>,
    triggered: BTreeSet<CheckpointId>,
    /// Every checkpoint of a region that was ever durable.
    completed: BTreeSet<(RegionIndex, CheckpointId)>,
    /// Which attempt put out what is visible.
    published: BTreeMap<(TaskId, u32), AttemptId>,
    cancel_accepted: bool,
}

/// Where the snapshot of a task is.
pub(super) fn path(checkpoint: CheckpointId, by: AttemptId) -> String {
    let (task, attempt) = (by.task, by.attempt);
    format!(
        "{}/{}.{}@{}.{}",
        checkpoint.0, task.vertex.0, task.subtask.0, attempt.epoch.0, attempt.number
    )
}

/// The checkpoint to which a file belongs.
pub(super) fn checkpoint_of(path: &str) -> u64 {
    let number = path.split('/').next().and_then(|text| text.parse().ok());
    number.expect("every path was made by `path`")
}

impl State {
    /// The job is over, and nothing of it is left but its result.
    pub(super) fn has_ended(&self) -> bool {
        let keys: Vec<_> = self.store.records.keys().copied().collect();
        let no_attempts = |worker: &Worker| worker.attempts().next().is_none();
        let clean = self
            .taskmanagers
            .iter()
            .all(|node| node.tasks.is_empty() && node.worker.as_ref().is_some_and(no_attempts));
        clean && keys == [RecordKey::Result(JOB)]
    }

    /// The latest checkpoint of a region that the store has.
    fn latest_checkpoint(&self, region: RegionIndex) -> Option<CheckpointId> {
        let latest = self.latest_record()?.region(region)?;
        Some(latest.checkpoint)
    }

    /// The latest checkpoint that the store has.
    pub(super) fn latest_record(&self) -> Option<&CheckpointRecord> {
        self.checkpoints().max_by_key(|record| record.id)
    }

    /// A snapshot of a region that the store has.
    pub(super) fn retained(&self, region: RegionIndex, id: CheckpointId) -> Option<RegionSnapshot> {
        let mut snapshots = self
            .checkpoints()
            .filter_map(|record| record.region(region));
        snapshots.find(|snapshot| snapshot.checkpoint == id)
    }

    fn checkpoints(&self) -> impl Iterator<Item = &CheckpointRecord> {
        self.store.records.values().filter_map(checkpoint)
    }

    /// Checkpoints that are in the store, or may be there soon.
    fn wanted(&self) -> impl Iterator<Item = &CheckpointRecord> {
        let on_its_way = |leader: &super::part::Part<Leader>| leader.epoch == self.store.epoch;
        let writes = self
            .leaders
            .iter()
            .filter(move |leader| on_its_way(leader))
            .filter_map(|leader| leader.write.as_ref().map(|write| write.ops.as_slice()));
        let orphan = self.store.orphan.iter().map(|ops| ops.as_slice());
        let ops = writes.chain(orphan).flatten();
        let puts = ops.filter_map(|op| match op {
            RecordOp::Put(record) => checkpoint(record),
            RecordOp::Delete(_) => None,
        });
        self.checkpoints().chain(puts)
    }
}

fn checkpoint(record: &Record) -> Option<&CheckpointRecord> {
    match record {
        Record::Checkpoint(record) => Some(record),
        Record::Job(_)
        | Record::Cancel(_)
        | Record::Rescale(_)
        | Record::CheckpointMark { .. }
        | Record::Savepoint(_)
        | Record::Result(_) => None,
    }
}

impl Step<'_> {
    /// A leader orders something.
    pub(super) fn check_order(&mut self, epoch: Epoch, effect: &Effect) {
        match effect {
            Effect::Send { message, .. } => self.check_message(epoch, &message.message),
            Effect::Reply { reply, .. } => self.check_reply(reply),
            Effect::Discard(discard) => self.check_discard(discard),
            Effect::Disconnect { .. }
            | Effect::Store { .. }
            | Effect::WriteSavepoint { .. }
            | Effect::RequestWorkers { .. }
            | Effect::ReleaseWorker { .. }
            | Effect::StepDown { .. } => {}
        }
    }

    fn check_message(&mut self, epoch: Epoch, message: &ToTaskManager) {
        match message {
            ToTaskManager::Deploy(deployment) => self.check_deploy(epoch, deployment),
            ToTaskManager::TriggerCheckpoint { checkpoint, .. } => self.check_trigger(*checkpoint),
            ToTaskManager::NotifyComplete {
                tasks, checkpoint, ..
            } => self.check_announced(tasks, *checkpoint),
            ToTaskManager::Resume {
                tasks, completed, ..
            } => {
                completed
                    .iter()
                    .for_each(|checkpoint| self.check_announced(tasks, *checkpoint));
            }
            ToTaskManager::ReleaseJob { .. } => self.check_result_is_durable("released"),
            ToTaskManager::Welcome(_)
            | ToTaskManager::Refused(_)
            | ToTaskManager::Heartbeat { .. }
            | ToTaskManager::Cancel { .. }
            | ToTaskManager::Dismissed
            | ToTaskManager::NotifyAborted { .. } => {}
        }
    }

    fn check_deploy(&mut self, epoch: Epoch, deployment: &Deployment) {
        let latest_leader = self.is_latest(epoch);
        for task in &deployment.tasks {
            let latest = self.state.latest_checkpoint(self.scope.region(task.task));
            self.ensure(
                !latest_leader || deployment.restore == latest,
                "the_latest_checkpoint_is_restored",
                || format!("{:?}, but {latest:?} is durable", deployment.restore),
            );
            let (task, attempt) = (task.task, deployment.attempt);
            let deployed = &self.state.history.deployed;
            let of_task = deployed.iter().filter(|(other, _)| *other == task);
            let highest = of_task.map(|(_, attempt)| *attempt).max();
            let known = deployed.contains(&(task, attempt));
            let rises = !latest_leader || highest < Some(attempt);
            self.ensure(
                !known && rises,
                "attempt_numbers_increase_and_never_repeat",
                || format!("{task:?} {attempt:?} after {highest:?}"),
            );
            self.state
                .history
                .change(|history| history.deployed.insert((task, attempt)));
        }
    }

    fn check_trigger(&mut self, checkpoint: CheckpointId) {
        let mark = self
            .state
            .store
            .records
            .get(&RecordKey::CheckpointMark(JOB));
        let below_mark = match mark {
            Some(Record::CheckpointMark { next, .. }) => checkpoint < *next,
            // A leader that does not know that the job has ended may go on for a while.
            Some(_) | None => self.result().is_some(),
        };
        self.ensure(below_mark, "an_id_is_used_only_if_that_is_durable", || {
            format!("{checkpoint:?}")
        });
        // One step tells every TaskManager with a source.
        let again = self.state.history.triggered.contains(&checkpoint)
            && self.last_trigger != Some(checkpoint);
        self.ensure(!again, "checkpoint_ids_never_repeat", || {
            format!("{checkpoint:?}")
        });
        self.last_trigger = Some(checkpoint);
        self.state
            .history
            .change(|history| history.triggered.insert(checkpoint));
    }

    fn check_announced(&mut self, tasks: &[TaskId], checkpoint: CheckpointId) {
        for region in self.scope.named(tasks) {
            let durable = self.state.history.completed.contains(&(region, checkpoint));
            self.ensure(
                durable,
                "a_checkpoint_is_announced_only_after_it_is_durable",
                || format!("{region:?} {checkpoint:?}"),
            );
        }
    }

    fn result(&self) -> Option<&JobResult> {
        match self.state.store.records.get(&RecordKey::Result(JOB)) {
            Some(Record::Result(result)) => Some(result),
            Some(_) | None => None,
        }
    }

    fn check_result_is_durable(&mut self, what: &'static str) {
        let durable = self.result().is_some();
        self.ensure(
            durable,
            "a_job_is_over_only_when_its_result_is_durable",
            || what.to_owned(),
        );
    }

    fn check_reply(&mut self, reply: &Reply) {
        match reply {
            Reply::CancelAccepted(_) => {
                let recorded = self
                    .state
                    .store
                    .records
                    .contains_key(&RecordKey::Cancel(JOB));
                let durable = recorded || self.result().is_some();
                self.ensure(durable, "an_accepted_cancellation_is_durable", String::new);
                self.state
                    .history
                    .change(|history| history.cancel_accepted = true);
            }
            Reply::AlreadyEnded(..) => self.check_result_is_durable("a client was told"),
            Reply::UnknownJob(_)
            | Reply::RescaleAccepted(_)
            | Reply::CannotRescale(..)
            | Reply::Conflict(_)
            | Reply::CannotRestore(..)
            | Reply::TooManySlots(..)
            | Reply::Overloaded(_)
            | Reply::CheckpointAccepted(..)
            | Reply::SavepointAccepted(..)
            | Reply::WithoutCheckpoints(_)
            | Reply::IsEnding(_) => {
                self.ensure(false, "a_durable_job_is_known", || format!("{reply:?}"));
            }
            Reply::Submitted(_) | Reply::AlreadySubmitted(_) => {
                let durable = self.state.store.records.contains_key(&RecordKey::Job(JOB));
                self.ensure(durable, "an_accepted_job_is_durable", String::new);
            }
        }
    }

    fn check_discard(&mut self, discard: &Discard) {
        let lost = |id: CheckpointId| match discard {
            Discard::Checkpoint(_, discarded) => *discarded == id,
            Discard::Job(_) | Discard::Savepoint { .. } | Discard::Owned { .. } => false,
            Discard::Unreferenced { keep, next, .. } => id < *next && !keep.contains(&id),
        };
        if matches!(discard, Discard::Job(_)) {
            self.check_result_is_durable("its state is deleted");
        }
        let ended = self.result().is_some();
        let wanted = self.state.wanted().flat_map(|record| record.references());
        let wanted: BTreeSet<CheckpointId> = wanted.collect();
        let wanted = wanted.into_iter().find(|id| lost(*id)).filter(|_| !ended);
        self.ensure(
            wanted.is_none(),
            "state_that_may_be_restored_is_never_deleted",
            || format!("{discard:?} deletes {wanted:?}"),
        );
    }

    /// The store has applied these.
    pub(super) fn became_durable(&mut self, ops: &[RecordOp]) {
        for op in ops {
            let RecordOp::Put(record) = op else {
                continue;
            };
            if let Some(record) = checkpoint(record) {
                self.check_completed(record);
            }
            if let Record::Result(result) = record {
                self.check_result(result);
            }
        }
    }

    fn check_completed(&mut self, record: &CheckpointRecord) {
        for region in self.scope.regions() {
            let Some(snapshot) = record.region(region) else {
                continue;
            };
            let part = (region, snapshot.checkpoint);
            let of_region = (region, CheckpointId(0))..=(region, CheckpointId(u64::MAX));
            let last = self.state.history.completed.range(of_region);
            let last = last.copied().next_back();
            self.ensure(
                last <= Some(part),
                "checkpoints_complete_in_the_order_of_their_ids",
                || format!("{part:?} after {last:?}"),
            );
            self.state
                .history
                .change(|history| history.completed.insert(part));
        }
        // Of a region that has completed nothing there is nothing.
        let whole = record.regions.iter().all(Option::is_some);
        let is_missing = |state: &StateHandle| match &state.location {
            StateLocation::File(path) => !self.state.blobs.contains_key(path),
            StateLocation::Inline(_) | StateLocation::Url(_) => true,
        };
        let missing = record.states.iter().find(|state| {
            let handles = state.handles();
            (whole && handles.is_empty()) || handles.iter().any(is_missing)
        });
        let missing = missing.cloned();
        self.ensure(
            missing.is_none(),
            "a_completed_checkpoint_has_the_state_of_every_task",
            || format!("{:?}: {missing:?}", record.id),
        );
    }

    fn check_result(&mut self, result: &JobResult) {
        let accepted = self.state.history.cancel_accepted;
        let canceled = result.status == JobStatus::Canceled;
        self.ensure(
            canceled || !accepted,
            "an_accepted_cancellation_is_carried_out",
            || format!("{}", result.status),
        );
        if result.status == JobStatus::Finished {
            let tasks = self.state.history.deployed.iter().map(|(task, _)| *task);
            let tasks: BTreeSet<TaskId> = tasks.collect();
            let missing = tasks
                .into_iter()
                .flat_map(|task| (0..=self.scope.checkpoints).map(move |segment| (task, segment)))
                .find(|output| !self.state.history.published.contains_key(output));
            self.ensure(
                missing.is_none(),
                "a_finished_job_has_published_everything",
                || format!("{missing:?} is missing"),
            );
        } else {
            self.ensure(canceled, "a_job_ends_as_it_was_told_to", || {
                format!("{}: {:?}", result.status, result.failure)
            });
        }
    }

    /// A task makes a segment of its output visible.
    pub(super) fn publish(&mut self, prepared: Prepared) {
        let output = (prepared.by.task, prepared.segment);
        let before = self.state.history.published.get(&output).copied();
        self.ensure(
            before.is_none_or(|before| before == prepared.by),
            "an_output_is_published_once",
            || format!("{output:?} by {before:?} and by {}", prepared.by),
        );
        let region = self.scope.region(prepared.by.task);
        let later = (region, prepared.checkpoint)..=(region, CheckpointId(u64::MAX));
        let durable = self.state.history.completed.range(later).next().is_some();
        self.ensure(
            durable,
            "output_is_published_only_after_its_checkpoint",
            || format!("{prepared:?}"),
        );
        if before.is_none() {
            self.state
                .history
                .change(|history| history.published.insert(output, prepared.by));
        }
    }

    /// A task is told that a checkpoint is complete.
    pub(super) fn check_complete(
        &mut self,
        tm: usize,
        attempt: AttemptId,
        checkpoint: CheckpointId,
    ) {
        let part = (self.scope.region(attempt.task), checkpoint);
        let durable = self.state.history.completed.contains(&part);
        self.ensure(durable, "a_task_commits_only_what_is_durable", || {
            format!("{attempt}: {checkpoint:?}")
        });
        let has_part = self.has_part(tm, attempt, checkpoint);
        self.ensure(
            has_part != Some(false),
            "only_those_who_took_part_learn_of_a_completion",
            || format!("{attempt}: {checkpoint:?}"),
        );
    }

    /// A task finds no state. An old leader may go on ordering from what the latest has replaced.
    pub(super) fn check_missing_state(&mut self, attempt: AttemptId) {
        let led = self.is_latest(attempt.attempt.epoch);
        let ended = self.result().is_some();
        self.ensure(!led || ended, "the_state_of_a_restore_exists", || {
            format!("{attempt}")
        });
    }

    /// A task starts: its earlier attempts that still run must be beyond the reach of this leader, or
    /// have been told to stop.
    pub(super) fn check_start(&mut self, tm: usize, start: &TaskStart) {
        let attempt = start.attempt;
        let epoch = attempt.attempt.epoch;
        let mut unfenced = None;
        for link in self.state.links.iter().filter(|link| link.tm != tm) {
            let heard = link.session.is_some() && link.leader_open && link.worker_open && !link.cut;
            if link.leader != epoch || !heard {
                continue;
            }
            let told = |other: &AttemptId| {
                link.to_worker
                    .iter()
                    .any(|envelope| match &envelope.message {
                        ToTaskManager::Cancel { attempt, tasks, .. } => {
                            *attempt == other.attempt && tasks.contains(&other.task)
                        }
                        ToTaskManager::Welcome(_)
                        | ToTaskManager::Refused(_)
                        | ToTaskManager::Heartbeat { .. }
                        | ToTaskManager::Deploy(_)
                        | ToTaskManager::TriggerCheckpoint { .. }
                        | ToTaskManager::NotifyComplete { .. }
                        | ToTaskManager::NotifyAborted { .. }
                        | ToTaskManager::Resume { .. }
                        | ToTaskManager::ReleaseJob { .. }
                        | ToTaskManager::Dismissed => false,
                    })
            };
            let tasks = &self.state.taskmanagers[link.tm].tasks;
            let runs = tasks.iter().find(|(other, task)| {
                other.task == attempt.task && !task.is_stopping() && !told(other)
            });
            unfenced = runs.map(|(other, _)| *other).or(unfenced);
        }
        self.ensure(
            unfenced.is_none(),
            "two_attempts_of_a_task_never_run_unfenced",
            || format!("{attempt} beside {unfenced:?}"),
        );
    }
}
