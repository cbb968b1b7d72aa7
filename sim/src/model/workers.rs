//! TaskManagers that are started for jobs: what they all require beside what there is, counted anew in every step.

use super::Model;
use super::cluster::Session;
use super::job::{Job, Life, Stage as RegionStage};
use super::orders::Order;
use super::plan::Scheduler;
use jobmanager_core::config::WorkersConfig;
use jobmanager_core::id::{SessionId, TaskManagerId, WorkerId};
use jobmanager_core::jobmanager::{Coordinator, WorkerReport};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Failures to start are remembered for so long.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Who should have registered so long before anybody looked was not looked for.
const STOOD_STILL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To register by then, if it has started before.
    Asked(Option<Timestamp>),
    /// To register by then.
    Started(Timestamp),
    /// To come back by then.
    Lost(Timestamp),
    /// With since when it has no task, if it has none.
    Registered(Option<Timestamp>),
}

/// All workers.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers {
    listed: bool,
    count: u64,
    all: BTreeMap<WorkerId, Stage>,
    /// Those of earlier coordinators that are not wanted any more.
    given_up: BTreeSet<WorkerId>,
    failures: Vec<Timestamp>,
    paused: Option<Timestamp>,
}

impl Workers {
    fn of(&mut self, name: &TaskManagerId) -> Option<(WorkerId, &mut Stage)> {
        let mut all = self.all.iter_mut();
        let (worker, stage) = all.find(|(worker, _)| worker.name() == *name)?;
        Some((*worker, stage))
    }

    fn failed(&mut self, now: Timestamp, config: &WorkersConfig) {
        self.failures.retain(|at| now.since(*at) < REMEMBERED);
        self.failures.push(now);
        if self.failures.len() >= config.max_failures as usize {
            self.failures.clear();
            self.paused = Some(now + config.retry_interval);
        }
    }

    pub(super) fn coming(&self) -> u32 {
        let comes = |stage: &&Stage| !matches!(stage, Stage::Registered(_));
        u32::try_from(self.all.values().filter(comes).count()).expect("a handful")
    }
}

impl Model {
    pub(super) fn workers_listed(&mut self, present: &[WorkerId]) {
        if self.config.workers.is_some() {
            self.workers.listed = true;
            present.iter().for_each(|worker| self.adopt(*worker));
        }
    }

    /// A worker that another coordinator has asked for: it is there, or has to come.
    fn adopt(&mut self, worker: WorkerId) {
        if worker.epoch > self.epoch {
            return;
        }
        if worker.epoch == self.epoch {
            self.workers.count = self.workers.count.max(worker.number);
        }
        let mut sessions = self.sessions.values();
        let is_there = sessions.any(|it| it.name == worker.name() && it.has_been_heard());
        let patience = [
            self.config.heartbeat_timeout,
            self.config.reconciliation_timeout,
        ];
        let stage = match is_there {
            true => Stage::Registered(None),
            false => Stage::Lost(self.now + patience.into_iter().max().expect("two")),
        };
        self.workers.all.entry(worker).or_insert(stage);
    }

    pub(super) fn worker_reported(
        &mut self,
        worker: WorkerId,
        report: &WorkerReport,
        coordinator: &Coordinator,
    ) {
        let Some(config) = self.config.workers else {
            return;
        };
        if let WorkerReport::Gone(_) = report {
            self.workers.given_up.remove(&worker);
            let stage = self.workers.all.remove(&worker);
            if let Some(Stage::Asked(_) | Stage::Started(_)) = stage {
                self.workers.failed(self.now, &config);
            }
            let mut sessions = self.sessions.iter();
            let own = sessions.find(|(_, session)| session.name == worker.name());
            if let Some(on) = own.map(|(on, _)| *on) {
                self.lose(on, false, coordinator);
            }
            return;
        }
        let is_known = self.workers.all.contains_key(&worker);
        let is_given_up = self.workers.given_up.contains(&worker);
        if !is_known && !is_given_up && worker.epoch < self.epoch {
            self.adopt(worker);
        }
        let Some(stage) = self.workers.all.get_mut(&worker) else {
            return;
        };
        let registers_by = self.now + config.registration_timeout;
        let is_pending = matches!(report, WorkerReport::Pending(_));
        *stage = match *stage {
            Stage::Asked(by) if !is_pending => Stage::Started(by.unwrap_or(registers_by)),
            Stage::Started(by) if is_pending => Stage::Asked(Some(by)),
            Stage::Lost(_) if is_pending => Stage::Asked(None),
            Stage::Asked(_) | Stage::Started(_) | Stage::Lost(_) | Stage::Registered(_) => *stage,
        };
    }

    /// A TaskManager has said its first word. One that was given up is sent away.
    pub(super) fn worker_registers(
        &mut self,
        on: SessionId,
        name: &TaskManagerId,
        coordinator: &Coordinator,
    ) {
        if let Some((_, stage)) = self.workers.of(name) {
            *stage = Stage::Registered(None);
            return;
        }
        let own = (1..=self.workers.count).map(|number| WorkerId {
            epoch: self.epoch,
            number,
        });
        let mut unwanted = own.chain(self.workers.given_up.iter().copied());
        if let Some(worker) = unwanted.find(|worker| worker.name() == *name) {
            self.leaves(on, Duration::ZERO, coordinator);
            self.orders.push(Order::ReleaseWorker(worker));
        }
    }

    /// The session of a TaskManager has ended.
    pub(super) fn worker_lost(&mut self, name: &TaskManagerId, may_return: bool) {
        let back_by = self.now + self.config.heartbeat_timeout;
        if let Some((worker, stage @ Stage::Registered(_))) = self.workers.of(name) {
            *stage = Stage::Lost(back_by);
            if !may_return {
                self.give_up(worker);
            }
        }
    }

    fn give_up(&mut self, worker: WorkerId) {
        self.workers.all.remove(&worker);
        if worker.epoch < self.epoch {
            self.workers.given_up.insert(worker);
        }
        self.orders.push(Order::ReleaseWorker(worker));
    }

    /// What the jobs require beside what there is, once everything is placed.
    pub(super) fn provide_workers(&mut self) {
        let Some(config) = self.config.workers else {
            return;
        };
        self.note_idle();
        self.give_up_late(&config);
        self.workers.paused = self.workers.paused.filter(|until| *until > self.now);
        let most = self.config.max_slots_per_job;
        let required: u32 = self.jobs.values().map(|job| job.required_slots(most)).sum();
        self.ask_for_workers(required, &config);
        self.withdraw(required, &config);
        let surplus = self.staying_slots().saturating_sub(required);
        self.release_idle(surplus, &config);
    }

    pub(super) fn staying_slots(&self) -> u32 {
        self.sessions.values().map(Session::staying).sum()
    }

    /// How many slots there are to be.
    fn expected_slots(&self, config: &WorkersConfig) -> u32 {
        self.staying_slots() + self.workers.coming() * config.slots
    }

    fn ask_for_workers(&mut self, required: u32, config: &WorkersConfig) {
        let reconciling = |job: &Job| matches!(job.life, Life::Reconciling { .. });
        let is_settled = self.workers.listed && !self.jobs.values().any(reconciling);
        let there = self.expected_slots(config);
        if !is_settled || self.workers.paused.is_some() || required <= there {
            return;
        }
        let missing = (required - there).div_ceil(config.slots);
        let allowed = config.max_slots.saturating_sub(there) / config.slots;
        let mut asked = Vec::new();
        for _ in 0..missing.min(allowed) {
            self.workers.count += 1;
            let (epoch, number) = (self.epoch, self.workers.count);
            let worker = WorkerId { epoch, number };
            self.workers.all.insert(worker, Stage::Asked(None));
            asked.push(worker);
        }
        if !asked.is_empty() {
            self.orders.push(Order::RequestWorkers(asked));
        }
    }

    /// Who has not started is not needed any more: the last first.
    fn withdraw(&mut self, required: u32, config: &WorkersConfig) {
        while self.expected_slots(config) >= required + config.slots {
            let mut all = self.workers.all.iter().rev();
            let last = all.find(|(_, stage)| matches!(stage, Stage::Asked(_)));
            match last.map(|(worker, _)| *worker) {
                Some(worker) => self.give_up(worker),
                None => break,
            }
        }
    }

    /// Those that had no task for long, as far as so many slots are too many.
    fn release_idle(&mut self, mut surplus: u32, config: &WorkersConfig) {
        for (worker, on) in self.idle_for(config.idle_timeout) {
            let Some(session) = self.sessions.get_mut(&on) else {
                continue;
            };
            if session.slots > surplus {
                continue;
            }
            surplus -= session.slots;
            // It has not said so: that it can go, it is told when it does.
            session.dismissed = true;
            session.leaves = Some(self.now);
            self.give_up(worker);
        }
    }

    /// Who has no task and stays, and since when.
    fn note_idle(&mut self) {
        let used: BTreeSet<SessionId> = self.taken().into_iter().map(|(on, _)| on).collect();
        for (on, session) in &self.sessions {
            let known = self.workers.of(&session.name);
            if let Some((_, Stage::Registered(idle))) = known {
                let since = idle.unwrap_or(self.now);
                let is_idle = !used.contains(on) && session.leaves.is_none();
                *idle = is_idle.then_some(since);
            }
        }
    }

    /// Who does not come in time, unless the coordinator has stood still meanwhile.
    fn give_up_late(&mut self, config: &WorkersConfig) {
        let mut late: Vec<(Timestamp, WorkerId, bool)> = Vec::new();
        let spared = self.now + self.config.heartbeat_interval;
        for (worker, stage) in &mut self.workers.all {
            let was_lost = matches!(stage, Stage::Lost(_));
            let by = match stage {
                Stage::Asked(Some(by)) | Stage::Started(by) | Stage::Lost(by) => by,
                Stage::Asked(None) | Stage::Registered(_) => continue,
            };
            if *by + STOOD_STILL <= self.now {
                *by = spared;
            } else if *by <= self.now {
                late.push((*by, *worker, !was_lost));
            }
        }
        late.sort_unstable();
        for (_, worker, is_failure) in late {
            if is_failure {
                self.workers.failed(self.now, config);
            }
            self.give_up(worker);
        }
    }

    /// Those who have had no task for so long, the longest first.
    fn idle_for(&self, timeout: Duration) -> Vec<(WorkerId, SessionId)> {
        let mut idle = Vec::new();
        for (on, session) in &self.sessions {
            let mut all = self.workers.all.iter();
            let known = all.find(|(worker, _)| worker.name() == session.name);
            if let Some((worker, Stage::Registered(Some(since)))) = known
                && *since + timeout <= self.now
            {
                idle.push((*since, *worker, *on));
            }
        }
        idle.sort_unstable();
        idle.into_iter()
            .map(|(_, worker, on)| (worker, on))
            .collect()
    }
}

impl Job {
    /// How many slots it requires, whoever has them.
    fn required_slots(&self, most: u32) -> u32 {
        let is_adaptive = self.plan.elastic.scheduler == Scheduler::Adaptive;
        let at_most = match self.life {
            Life::Submitting(_) | Life::Ending(_) | Life::Ended(..) => return 0,
            Life::Running if self.rescaling.wanted.is_some() || is_adaptive => {
                self.plan.most_slots(&self.bounds()).min(self.quota(most))
            }
            Life::Running | Life::Reconciling { .. } => 0,
        };
        at_most.max(self.own_slots())
    }

    /// How many slots its parallelism needs, where it has not finished.
    pub(super) fn own_slots(&self) -> u32 {
        u32::try_from(self.open_shares().len()).expect("a handful of slots")
    }

    /// Which of its slots it needs where it has not finished.
    pub(super) fn open_shares(&self) -> BTreeSet<(u32, u32)> {
        let open =
            |at: &usize| self.regions[self.plan.region_of[*at]].stage != RegionStage::Finished;
        let tasks = (0..self.tasks.len()).filter(open);
        tasks.map(|at| self.plan.shares[at]).collect()
    }
}
