//! What a TaskManager's session leads to.
//!
//! The end of a session is the end of everything on it: the TaskManager's tasks count as lost at once. A
//! second process that claims a name which is registered is refused, unless the first one owes a sign of
//! life for too long.

use super::Coordinator;
use super::cx::Cx;
use super::effect::Effect;
use super::job::Job;
use super::taskmanagers::{CHALLENGE, Heartbeat, TmKey};
use super::tasks::stop_stranger;
use super::timers::Timer;
use crate::id::{Attempt, AttemptId, JobId, SessionId, TaskId};
use crate::message::{
    Acknowledgement, Envelope, FromTaskManager, Hello, InventoryItem, Refusal, StateLocation,
    TaskStateChange, ToTaskManager, Welcome,
};
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The most TaskManagers at a time.
const MAX_TASKMANAGERS: u32 = 200_000;

impl Coordinator {
    /// A TaskManager says hello.
    pub(super) fn connected(
        &mut self,
        session: SessionId,
        mut hello: Hello,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(reason) = self.objection(&hello, effects) {
            tracing::warn!(taskmanager = %hello.taskmanager, reason, "registration refused");
            let retry_after = CHALLENGE.min(self.config.registration_refused);
            let refusal = Refusal {
                reason,
                retry_after,
            };
            let message = Envelope {
                epoch: self.epoch,
                message: ToTaskManager::Refused(refusal),
            };
            effects.push(Effect::Send { session, message });
            effects.push(Effect::Disconnect { session });
            return;
        }
        tracing::info!(taskmanager = %hello.taskmanager, slots = hello.slots, "TaskManager registered");
        let inventory = core::mem::take(&mut hello.inventory);
        let jobs = core::mem::take(&mut hello.jobs);
        let leaves_within = hello.leaves_within.take();
        let tm = self.tms.insert(session, hello, self.now);
        self.timers.set(
            Timer::TaskManager(tm),
            Some(self.now + self.config.heartbeat_interval),
        );
        let welcome = ToTaskManager::Welcome(Welcome {
            heartbeat_interval: self.config.heartbeat_interval,
            heartbeat_timeout: self.config.heartbeat_timeout,
            grace_period: self.config.grace_period,
            cancellation_timeout: self.config.cancellation_timeout,
            registration_initial: self.config.registration_initial,
            // Whoever comes back comes back while a recovered job still waits for it.
            registration_max: self
                .config
                .registration_max
                .min(self.config.reconciliation_timeout / 4),
            checkpoint_storage: self.config.checkpoint_storage.clone(),
        });
        effects.push(Effect::Send {
            session,
            message: Envelope {
                epoch: self.epoch,
                message: welcome,
            },
        });
        self.tms.ask(tm, self.epoch, effects);
        self.take_inventory(tm, &inventory, effects);
        if let Some(within) = leaves_within {
            self.leaves(tm, within);
        }
        let concerned = inventory.iter().map(|item| item.attempt.job);
        let concerned: BTreeSet<JobId> = concerned.chain(jobs).collect();
        for job in concerned {
            if self.jobs.get(&job).is_none_or(|job| job.is_over()) {
                self.forget_job(tm, job, effects);
            }
        }
    }

    /// Why a TaskManager cannot be registered now.
    fn objection(&mut self, hello: &Hello, effects: &mut Vec<Effect>) -> Option<String> {
        if hello.seen_epoch > self.epoch {
            // Perhaps there is a later leader, and with nothing to write this one would never learn of it.
            self.journal.ask_for_successor();
            let (seen, own) = (hello.seen_epoch.0, self.epoch.0);
            return Some(format!(
                "the TaskManager has obeyed a JobManager of epoch {seen}, this one has epoch {own}: if this is the right one and its store was replaced, restart the TaskManager"
            ));
        }
        if self.tms.count_all() >= MAX_TASKMANAGERS {
            return Some(format!("{MAX_TASKMANAGERS} TaskManagers are registered"));
        }
        let registered = self.tms.by_id(&hello.taskmanager)?;
        let known = self.tms.get(registered).map(|tm| &tm.hello);
        let known = known.filter(|known| known.incarnation == hello.incarnation);
        if known.is_some_and(|known| hello.hellos < known.hellos) {
            // It was on its way while the process has given up waiting for it, and said another one.
            return Some(String::from(
                "a later hello of this TaskManager has come before",
            ));
        }
        if known.is_some()
            || self
                .tms
                .challenge(registered, self.epoch, self.now, effects)
        {
            self.lose(registered, "registered again", true, effects);
            return None;
        }
        let id = &hello.taskmanager;
        Some(format!(
            "a TaskManager named `{id}` is registered already; start this one with another --id"
        ))
    }

    /// A TaskManager may still have something of a job that has ended, or may have written for it since.
    fn forget_job(&mut self, tm: TmKey, job: JobId, effects: &mut Vec<Effect>) {
        let (_, archive, mut cx) = self.parts(effects);
        cx.send(tm, ToTaskManager::ReleaseJob { job });
        if archive.get(job).is_some() {
            self.remove(job, effects);
        }
    }

    /// The attempts of a TaskManager that has just registered: adopted, or told to stop.
    fn take_inventory(
        &mut self,
        tm: TmKey,
        inventory: &[InventoryItem],
        effects: &mut Vec<Effect>,
    ) {
        let mut strangers: BTreeMap<(JobId, Attempt), Vec<TaskId>> = BTreeMap::new();
        let (jobs, _, mut cx) = self.parts(effects);
        for item in inventory {
            let AttemptId { job, task, attempt } = item.attempt;
            let known = jobs.get_mut(&job).filter(|known| !known.is_over());
            if !known.is_some_and(|known| known.reported(&mut cx, tm, item)) {
                strangers.entry((job, attempt)).or_default().push(task);
            }
        }
        for ((job, attempt), tasks) in strangers {
            cx.send(
                tm,
                ToTaskManager::Cancel {
                    job,
                    attempt,
                    tasks,
                },
            );
        }
        self.dirty
            .extend(inventory.iter().map(|item| item.attempt.job));
    }

    /// A TaskManager says something.
    pub(super) fn message(
        &mut self,
        session: SessionId,
        message: FromTaskManager,
        effects: &mut Vec<Effect>,
    ) {
        let Some((tm, is_first)) = self.tms.heard(session, self.now) else {
            return;
        };
        if is_first {
            self.has_answered(tm, effects);
        }
        match message {
            FromTaskManager::Heartbeat { .. } => {}
            FromTaskManager::TaskStates(changes) => self.tasks_reported(tm, changes, effects),
            FromTaskManager::Acknowledge(ack) => self.acknowledge(tm, ack, effects),
            FromTaskManager::Leave { within } => self.leaves(tm, within),
            FromTaskManager::Decline {
                attempt,
                checkpoint,
                reason,
                message,
            } => {
                self.with_job(attempt.job, effects, |job, cx| {
                    job.declined(cx, tm, attempt, checkpoint, reason, &message);
                });
            }
        }
    }

    /// A TaskManager leaves, and ends after this time at the latest: its tasks move.
    pub(super) fn leaves(&mut self, tm: TmKey, within: Duration) {
        for id in self.tms.leaves(tm, self.now + within) {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.taskmanager_leaves(self.now);
                self.dirty.insert(id);
            }
        }
    }

    fn tasks_reported(
        &mut self,
        tm: TmKey,
        changes: Vec<TaskStateChange>,
        effects: &mut Vec<Effect>,
    ) {
        let mut ended = BTreeSet::new();
        for change in changes {
            let job = change.attempt.job;
            if self.archive.get(job).is_none() && self.jobs.contains_key(&job) {
                self.with_job(job, effects, |job, cx| job.task_reported(cx, tm, change));
                continue;
            }
            let (.., mut cx) = self.parts(effects);
            if !stop_stranger(&mut cx, tm, &change) {
                ended.insert(job);
            }
        }
        // It has ended now, after its job, and may have written until then.
        for job in ended {
            self.forget_job(tm, job, effects);
        }
    }

    fn acknowledge(&mut self, tm: TmKey, ack: Acknowledgement, effects: &mut Vec<Effect>) {
        let job = ack.attempt.job;
        if self.archive.get(job).is_none() {
            self.with_job(job, effects, |job, cx| job.acknowledged(cx, tm, ack));
        } else if matches!(ack.state.location, StateLocation::File(_)) {
            self.remove(job, effects);
        }
    }

    /// A session has ended.
    pub(super) fn disconnected(&mut self, session: SessionId, effects: &mut Vec<Effect>) {
        if let Some(tm) = self.tms.by_session(session) {
            self.lose(tm, "the connection was lost", true, effects);
        }
    }

    /// A TaskManager's deadline has come; it was armed for this time.
    pub(super) fn heartbeat_due(&mut self, tm: TmKey, at: Timestamp, effects: &mut Vec<Effect>) {
        let late = self.now.since(at);
        match self
            .tms
            .heartbeat(tm, late, &self.config, self.epoch, self.now, effects)
        {
            Heartbeat::Asked(next) => self.timers.set(Timer::TaskManager(tm), Some(next)),
            Heartbeat::Lost => {
                let timeout = self.config.heartbeat_timeout.as_millis();
                let why = format!("no sign of life for heartbeat.timeout ({timeout} ms)");
                self.lose(tm, &why, false, effects);
            }
        }
    }

    /// A TaskManager is gone, or may come back.
    pub(super) fn lose(
        &mut self,
        key: TmKey,
        why: &str,
        may_return: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(tm) = self.tms.remove(key) else {
            return;
        };
        self.timers.set(Timer::TaskManager(key), None);
        effects.push(Effect::Disconnect {
            session: tm.session,
        });
        let name = &tm.hello.taskmanager;
        let back_by = self.now + self.config.heartbeat_timeout;
        let back_by = (may_return && tm.leaves.is_none()).then_some(back_by);
        self.workers.lost(name, back_by, effects);
        let cause = format!("TaskManager {name}: {why}");
        match tm.leaves.is_some() && tm.is_unused() {
            true => tracing::info!(taskmanager = %name, why, "TaskManager has left"),
            false => tracing::warn!(taskmanager = %name, why, "TaskManager lost"),
        }
        let usages = tm.slots.iter().flatten();
        let mut taken: Vec<(JobId, u32)> = usages.map(|it| (it.job, it.job_slot)).collect();
        taken.sort_unstable();
        for slots in taken.chunk_by(|(a, _), (b, _)| a == b) {
            let job_slots = slots.iter().map(|(_, job_slot)| *job_slot);
            self.with_job(slots[0].0, effects, |job: &mut Job, cx: &mut Cx<'_>| {
                job.taskmanager_lost(cx, job_slots, &tm, &cause)
            });
        }
    }

    /// A job has ended for good: every TaskManager may forget it.
    pub(super) fn release_job(&mut self, job: JobId, effects: &mut Vec<Effect>) {
        for (_, tm) in self.tms.iter() {
            let message = Envelope {
                epoch: self.epoch,
                message: ToTaskManager::ReleaseJob { job },
            };
            effects.push(Effect::Send {
                session: tm.session,
                message,
            });
        }
    }
}
