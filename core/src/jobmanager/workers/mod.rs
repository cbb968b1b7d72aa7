//! TaskManagers that are started for jobs, and ended when no job needs them: what a resource provider is asked for.
//!
//! ```text
//!         Requested ◄──► Started ───► Registered ◄──► Idle ───► released
//!   withdrawn ◄─┘           │             │ ▲
//!      released, too late ◄─┘             ▼ │ comes back
//!   those of earlier leaders ──────────► Lost ───► released, too late
//! ```
//!
//! Every job requires slots, whoever holds them. What the TaskManagers that stay have and what is on its way is compared with
//! the sum: what is missing is requested at once, as far as the limit allows; of what is too much, the requests that
//! nobody has carried out yet are withdrawn, and who has had no task for a while is released. A worker registers
//! under its id as its name, and counts as registered once it has answered; so does any TaskManager. From whatever stage it
//! ends when the provider says so, or when it stays silent; one that comes back after it was released is sent away.
//!
//! Nothing of this is durable: the provider tells a new leader which workers there are, and nothing is requested before
//! that. An id has the epoch of the coordinator that requested it, so that none is used twice.
//!
//! Slots count alike, whatever they suit: where TaskManagers that others start do not offer what jobs need, too few workers
//! are requested.

mod balance;

pub use balance::{Shortage, WorkersOverview};

use super::Coordinator;
use super::effect::Effect;
use super::taskmanagers::{TaskManagers, TmKey};
use super::timers::Timer;
use crate::config::WorkersConfig;
use crate::id::{Epoch, JobId, TaskManagerId, WorkerId};
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use balance::Required;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The most workers at a time.
pub(super) const MAX_WORKERS: u32 = 10_000;
/// The interval in which failed starts are counted.
const FAILURE_INTERVAL: Duration = Duration::from_secs(60);

/// What a provider says about a worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum WorkerReport {
    /// It cannot start yet. The text is for people.
    Pending(String),
    /// Its process runs.
    Started,
    /// It could not start, or has ended. The text is for people.
    Gone(String),
}

/// How far a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Stage {
    /// It was asked for.
    Requested {
        /// Why it is not there.
        why: Option<String>,
        /// To register by then, if it had started before.
        until: Option<Timestamp>,
    },
    /// Its process runs, and has to register by then.
    Started(Timestamp),
    /// It is registered.
    Registered(TmKey),
    /// It is registered, and has had no task since then.
    Idle(TmKey, Timestamp),
    /// Its session has ended, or was with an earlier coordinator, and it has to come back by then.
    Lost(Timestamp),
}

/// All of them, and what jobs require.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Workers {
    /// Of the coordinator.
    epoch: Epoch,
    /// Whether the provider has told which there are.
    listed: bool,
    /// How many were requested.
    requested: u64,
    all: BTreeMap<WorkerId, Stage>,
    /// How many of them are not registered.
    coming: u32,
    /// Those that were asked for, and have not started.
    asked: BTreeSet<WorkerId>,
    /// Those that have to register, by when.
    due: BTreeSet<(Timestamp, WorkerId)>,
    /// Those without tasks, by since when.
    idle: BTreeSet<(Timestamp, WorkerId)>,
    /// Those of earlier coordinators that were released, and have not ended as far as is known.
    released: BTreeSet<WorkerId>,
    /// By job: how many slots it requires.
    required: BTreeMap<JobId, u32>,
    /// These together.
    sum: u64,
    /// The jobs whose TaskManagers may still be about to register.
    reconciling: BTreeSet<JobId>,
    /// When starts failed lately.
    failures: VecDeque<Timestamp>,
    /// Nothing is requested before then, because too many starts failed.
    paused_until: Option<Timestamp>,
}

impl Workers {
    /// None, in this epoch.
    pub(super) fn new(epoch: Epoch) -> Self {
        Workers {
            epoch,
            ..Workers::default()
        }
    }

    /// What a job requires now.
    pub(super) fn require(&mut self, job: JobId, required: Required) {
        let Required {
            slots,
            is_reconciling,
        } = required;
        match is_reconciling {
            true => drop(self.reconciling.insert(job)),
            false => drop(self.reconciling.remove(&job)),
        }
        let before = match slots {
            0 => self.required.remove(&job),
            slots => self.required.insert(job, slots),
        };
        self.sum = self.sum - u64::from(before.unwrap_or(0)) + u64::from(slots);
    }

    /// The provider tells which workers there are.
    pub(super) fn listed(
        &mut self,
        present: Vec<WorkerId>,
        tms: &TaskManagers,
        now: Timestamp,
        until: Timestamp,
    ) {
        self.listed = true;
        for worker in present {
            self.adopt(worker, tms, now, until);
        }
    }

    /// A worker that an earlier coordinator has asked for.
    fn adopt(&mut self, worker: WorkerId, tms: &TaskManagers, now: Timestamp, until: Timestamp) {
        let is_full = self.all.len() >= MAX_WORKERS as usize;
        if self.all.contains_key(&worker) || is_full || worker.epoch > self.epoch {
            return;
        }
        if worker.epoch == self.epoch {
            // The store is another one than when that was asked for.
            self.requested = self.requested.max(worker.number);
        }
        self.set(worker, Some(Stage::Lost(until)));
        if let Some(key) = tms.by_id(&worker.name()).filter(|key| tms.counts(*key)) {
            self.set(worker, Some(Stage::Registered(key)));
            self.unused(key, tms, now);
        }
    }

    /// The provider tells something about a worker.
    pub(super) fn reported(
        &mut self,
        worker: WorkerId,
        report: WorkerReport,
        tms: &TaskManagers,
        now: Timestamp,
        until: Timestamp,
        config: &WorkersConfig,
    ) {
        if let WorkerReport::Gone(reason) = report {
            return self.ended(worker, &reason, now, config);
        }
        // Of its own ones, it knows all that it has not released.
        if worker.epoch < self.epoch && !self.released.contains(&worker) {
            self.adopt(worker, tms, now, until);
        }
        let Some(stage) = self.all.get(&worker) else {
            return;
        };
        let stage = match (report, stage) {
            (WorkerReport::Pending(why), Stage::Requested { until, .. }) => Stage::Requested {
                why: Some(why),
                until: *until,
            },
            (WorkerReport::Pending(why), Stage::Started(until)) => Stage::Requested {
                why: Some(why),
                until: Some(*until),
            },
            // Its process does not run yet, or not any more: it has all the time to start.
            (WorkerReport::Pending(why), Stage::Lost(_)) => Stage::Requested {
                why: Some(why),
                until: None,
            },
            (WorkerReport::Started, Stage::Requested { until, .. }) => {
                Stage::Started(until.unwrap_or(now + config.registration_timeout))
            }
            (
                WorkerReport::Started,
                Stage::Started(_) | Stage::Lost(_) | Stage::Registered(_) | Stage::Idle(..),
            )
            | (WorkerReport::Pending(_), Stage::Registered(_) | Stage::Idle(..))
            | (WorkerReport::Gone(_), _) => return,
        };
        self.set(worker, Some(stage));
    }

    /// The process of a worker has ended, or never was.
    fn ended(&mut self, worker: WorkerId, why: &str, now: Timestamp, config: &WorkersConfig) {
        self.released.remove(&worker);
        let Some(stage) = self.all.get(&worker) else {
            return;
        };
        tracing::warn!(%worker, why, "worker gone");
        if matches!(stage, Stage::Requested { .. } | Stage::Started(_)) {
            self.failed(now, config);
        }
        self.set(worker, None);
    }

    /// A start has failed.
    fn failed(&mut self, now: Timestamp, config: &WorkersConfig) {
        self.forget_failures(now);
        self.failures.push_back(now);
        if self.failures.len() >= config.max_failures as usize {
            self.failures.clear();
            self.paused_until = Some(now + config.retry_interval);
        }
    }

    fn forget_failures(&mut self, now: Timestamp) {
        let is_old = |at: &Timestamp| now.since(*at) >= FAILURE_INTERVAL;
        while self.failures.front().is_some_and(is_old) {
            self.failures.pop_front();
        }
    }

    /// A TaskManager of this name has registered, and answered. Tells whether it is to end: it was released.
    pub(super) fn registered(&mut self, name: &TaskManagerId, key: TmKey) -> Option<WorkerId> {
        let worker = WorkerId::named(name)?;
        if self.all.contains_key(&worker) {
            self.set(worker, Some(Stage::Registered(key)));
            return None;
        }
        let was_requested = worker.epoch == self.epoch && worker.number <= self.requested;
        (was_requested || self.released.contains(&worker)).then_some(worker)
    }

    /// The session of a TaskManager has ended. One that is not to come back is released.
    pub(super) fn lost(
        &mut self,
        name: &TaskManagerId,
        back_by: Option<Timestamp>,
        effects: &mut Vec<Effect>,
    ) {
        let worker = WorkerId::named(name);
        let was_there = |worker: &WorkerId| {
            let stage = self.all.get(worker);
            stage.is_some_and(|stage| !stage.comes())
        };
        let Some(worker) = worker.filter(was_there) else {
            return;
        };
        match back_by {
            Some(until) => self.set(worker, Some(Stage::Lost(until))),
            None => self.release(worker, effects),
        }
    }

    /// A TaskManager has no tasks any more, or has none yet.
    pub(super) fn unused(&mut self, key: TmKey, tms: &TaskManagers, now: Timestamp) {
        let Some(tm) = tms.get(key).filter(|tm| tm.is_unused()) else {
            return;
        };
        let Some(worker) = WorkerId::named(&tm.hello.taskmanager) else {
            return;
        };
        match self.all.get(&worker) {
            Some(Stage::Registered(_) | Stage::Idle(..)) => {
                self.set(worker, Some(Stage::Idle(key, now)));
            }
            Some(Stage::Requested { .. } | Stage::Started(_) | Stage::Lost(_)) | None => {}
        }
    }

    /// A worker is in another stage, or is none any more.
    fn set(&mut self, worker: WorkerId, stage: Option<Stage>) {
        let before = match stage.clone() {
            Some(stage) => self.all.insert(worker, stage),
            None => self.all.remove(&worker),
        };
        if let Some(before) = &before {
            self.coming -= u32::from(before.comes());
            self.asked.remove(&worker);
            before.due().map(|until| self.due.remove(&(until, worker)));
            before
                .idle()
                .map(|since| self.idle.remove(&(since, worker)));
        }
        if let Some(stage) = &stage {
            self.coming += u32::from(stage.comes());
            if matches!(stage, Stage::Requested { .. }) {
                self.asked.insert(worker);
            }
            stage.due().map(|until| self.due.insert((until, worker)));
            stage.idle().map(|since| self.idle.insert((since, worker)));
        }
    }

    /// Nobody needs it any more, or it does not come.
    fn release(&mut self, worker: WorkerId, effects: &mut Vec<Effect>) {
        self.set(worker, None);
        if worker.epoch < self.epoch {
            self.released.insert(worker);
        }
        effects.push(Effect::ReleaseWorker { worker });
    }

    /// Those that are not registered yet, or not any more.
    pub(super) fn coming(&self) -> impl Iterator<Item = (WorkerId, &Stage)> {
        let all = self.all.iter().map(|(worker, stage)| (*worker, stage));
        all.filter(|(_, stage)| stage.comes())
    }

    /// What does not fit together, if anything does not.
    pub(super) fn check(&self, tms: &TaskManagers) -> Option<String> {
        let wrong = |worker: &WorkerId, stage: &Stage| match stage {
            Stage::Requested { .. } => !self.asked.contains(worker),
            Stage::Started(_) | Stage::Lost(_) => false,
            Stage::Registered(key) | Stage::Idle(key, _) => tms.by_id(&worker.name()) != Some(*key),
        };
        let mut all = self.all.iter();
        if let Some((worker, stage)) = all.find(|(worker, stage)| wrong(worker, stage)) {
            return Some(format!("{worker} is {stage:?}"));
        }
        let all = || self.all.iter();
        let coming = all().filter(|(_, stage)| stage.comes()).count();
        let due = all().filter_map(|(worker, stage)| Some((stage.due()?, *worker)));
        let idle = all().filter_map(|(worker, stage)| Some((stage.idle()?, *worker)));
        let counted = coming == self.coming as usize
            && self.due.iter().copied().eq(due.collect::<BTreeSet<_>>())
            && self.idle.iter().copied().eq(idle.collect::<BTreeSet<_>>());
        (!counted).then(|| format!("{coming} come, and {} are counted", self.coming))
    }
}

impl Coordinator {
    /// Those that were asked for, or taken over, and not released.
    pub fn worker_ids(&self) -> impl Iterator<Item = WorkerId> {
        self.workers.all.keys().copied()
    }

    /// The resource provider tells which workers there are.
    pub(super) fn workers_listed(&mut self, present: Vec<WorkerId>) {
        if self.config.workers.is_some() {
            let until = self.now + self.comes_back_within();
            self.workers.listed(present, &self.tms, self.now, until);
        }
    }

    /// The resource provider tells something about a worker.
    pub(super) fn worker_reported(
        &mut self,
        worker: WorkerId,
        report: WorkerReport,
        effects: &mut Vec<Effect>,
    ) {
        let Some(config) = &self.config.workers else {
            return;
        };
        let is_gone = matches!(report, WorkerReport::Gone(_));
        let until = self.now + self.comes_back_within();
        let (tms, now) = (&self.tms, self.now);
        self.workers
            .reported(worker, report, tms, now, until, config);
        if let Some(key) = self.tms.by_id(&worker.name()).filter(|_| is_gone) {
            self.lose(key, "its process has ended", false, effects);
        }
    }

    /// How long a worker of an earlier coordinator may take to register with this one: as one whose session has
    /// ended, and as long as recovered jobs wait for the tasks in it.
    fn comes_back_within(&self) -> Duration {
        let config = &self.config;
        config.heartbeat_timeout.max(config.reconciliation_timeout)
    }

    /// A TaskManager has answered for the first time in its session: it counts, unless it was to end.
    pub(super) fn has_answered(&mut self, key: TmKey, effects: &mut Vec<Effect>) {
        let Some(tm) = self.tms.get(key) else {
            return;
        };
        let name = tm.hello.taskmanager.clone();
        if let Some(worker) = self.workers.registered(&name, key) {
            self.leaves(key, Duration::ZERO);
            effects.push(Effect::ReleaseWorker { worker });
        }
    }

    /// Requests the workers that jobs require, and releases those that none does; these TaskManagers have no tasks any
    /// more.
    pub(super) fn provide_workers(&mut self, unused: &[TmKey], effects: &mut Vec<Effect>) {
        let Some(config) = &self.config.workers else {
            return;
        };
        for key in unused {
            self.workers.unused(*key, &self.tms, self.now);
        }
        let (tms, now) = (&mut self.tms, self.now);
        let interval = self.config.heartbeat_interval;
        self.workers.drive(tms, now, interval, config, effects);
        let deadline = self.workers.deadline(now, config);
        self.timers.set(Timer::Workers, deadline);
    }
}

impl Stage {
    /// Whether it is not registered.
    fn comes(&self) -> bool {
        match self {
            Stage::Requested { .. } | Stage::Started(_) | Stage::Lost(_) => true,
            Stage::Registered(_) | Stage::Idle(..) => false,
        }
    }

    /// When it is given up, if it has not registered by then.
    fn due(&self) -> Option<Timestamp> {
        match self {
            Stage::Requested { until, .. } => *until,
            Stage::Started(until) | Stage::Lost(until) => Some(*until),
            Stage::Registered(_) | Stage::Idle(..) => None,
        }
    }

    /// It is given up later.
    fn spare(&mut self, later: Timestamp) {
        match self {
            Stage::Requested { until, .. } => *until = Some(later),
            Stage::Started(until) | Stage::Lost(until) => *until = later,
            Stage::Registered(_) | Stage::Idle(..) => {}
        }
    }

    /// Since when it has had no task.
    fn idle(&self) -> Option<Timestamp> {
        match self {
            Stage::Idle(_, since) => Some(*since),
            Stage::Requested { .. } | Stage::Started(_) | Stage::Lost(_) | Stage::Registered(_) => {
                None
            }
        }
    }
}
