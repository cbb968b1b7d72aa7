//! What jobs require beside what there is and what is on its way: what is requested, withdrawn and released.

use super::{MAX_WORKERS, Stage, Workers};
use crate::config::{ClusterConfig, Scheduler, WorkersConfig};
use crate::fitting::most_slots;
use crate::id::{Epoch, WorkerId};
use crate::jobmanager::Coordinator;
use crate::jobmanager::effect::Effect;
use crate::jobmanager::job::{Job, JobPhase};
use crate::jobmanager::taskmanagers::TaskManagers;
use crate::time::Timestamp;
use alloc::vec::Vec;
use core::time::Duration;

/// Who is found to be too late by so much was not looked for: the coordinator stood still, and what came meanwhile
/// may wait to be taken in.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// What a job requires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::jobmanager) struct Required {
    /// Whoever has them now.
    pub(in crate::jobmanager) slots: u32,
    /// TaskManagers with tasks of it may still be about to register.
    pub(in crate::jobmanager) is_reconciling: bool,
}

/// All workers in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkersOverview {
    /// How many slots all jobs require, whoever has them.
    pub required_slots: u64,
    /// How many workers were asked for and have not started.
    pub pending: u32,
    /// How many run, and are not registered yet, or not any more.
    pub starting: u32,
    /// How many are registered.
    pub registered: u32,
    /// Why no more are asked for, if jobs require more.
    pub shortage: Option<Shortage>,
}

/// What keeps workers from coming that are required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// It is not known yet which there are.
    NotListed,
    /// Starts fail: none is requested before then.
    Paused(Timestamp),
    /// There are not to be more slots.
    Limit,
    /// There are as many workers as there may be.
    TooMany,
}

impl Workers {
    /// Gives up who does not come, and requests, withdraws and releases what the jobs require.
    pub(in crate::jobmanager) fn drive(
        &mut self,
        tms: &mut TaskManagers,
        now: Timestamp,
        interval: Duration,
        config: &WorkersConfig,
        effects: &mut Vec<Effect>,
    ) {
        self.give_up_late(now, interval, config, effects);
        self.forget_failures(now);
        self.paused_until = self.paused_until.filter(|until| *until > now);
        self.request(tms, config, effects);
        self.withdraw(tms, config, effects);
        self.release_idle(tms, now, config, effects);
    }

    /// Who should have registered is given up, unless nobody looked for it.
    fn give_up_late(
        &mut self,
        now: Timestamp,
        interval: Duration,
        config: &WorkersConfig,
        effects: &mut Vec<Effect>,
    ) {
        while let Some(&(at, worker)) = self.due.first()
            && at <= now
        {
            let mut stage = self.all[&worker].clone();
            if now.since(at) >= STOOD_STILL {
                stage.spare(now + interval);
                self.set(worker, Some(stage));
                continue;
            }
            tracing::warn!(%worker, "worker given up: it does not register");
            if !matches!(stage, Stage::Lost(_)) {
                self.failed(now, config);
            }
            self.release(worker, effects);
        }
    }

    /// How many slots there are to be, as things are.
    fn expected(&self, tms: &TaskManagers, config: &WorkersConfig) -> u64 {
        tms.staying_slots() + self.coming_slots(config)
    }

    /// How many slots those will have that are to come.
    pub(in crate::jobmanager) fn coming_slots(&self, config: &WorkersConfig) -> u64 {
        u64::from(self.coming) * u64::from(config.slots)
    }

    /// Whether it is known who is there, and who is about to come back.
    fn knows_all(&self) -> bool {
        self.listed && self.reconciling.is_empty()
    }

    fn request(&mut self, tms: &TaskManagers, config: &WorkersConfig, effects: &mut Vec<Effect>) {
        let expected = self.expected(tms, config);
        let waits = !self.knows_all() || self.paused_until.is_some();
        if waits || self.sum <= expected {
            return;
        }
        let each = u64::from(config.slots);
        let missing = (self.sum - expected).div_ceil(each);
        let allowed = u64::from(config.max_slots).saturating_sub(expected) / each;
        let there = self.all.len() as u64;
        let count = missing
            .min(allowed)
            .min(u64::from(MAX_WORKERS).saturating_sub(there));
        if count == 0 {
            return;
        }
        let mut workers = Vec::new();
        for _ in 0..count {
            self.requested += 1;
            let worker = WorkerId {
                epoch: self.epoch,
                number: self.requested,
            };
            let (why, until) = (None, None);
            self.set(worker, Some(Stage::Requested { why, until }));
            workers.push(worker);
        }
        effects.push(Effect::RequestWorkers { workers });
    }

    /// Requests that nobody has carried out yet are withdrawn if they are not needed any more, the last ones first.
    fn withdraw(&mut self, tms: &TaskManagers, config: &WorkersConfig, effects: &mut Vec<Effect>) {
        let too_many = self.expected(tms, config).saturating_sub(self.sum);
        let too_many = too_many / u64::from(config.slots);
        for _ in 0..too_many {
            let Some(&last) = self.asked.last() else {
                return;
            };
            self.release(last, effects);
        }
    }

    /// Those that have had no tasks for a while are released, as far as the others have slots enough.
    fn release_idle(
        &mut self,
        tms: &mut TaskManagers,
        now: Timestamp,
        config: &WorkersConfig,
        effects: &mut Vec<Effect>,
    ) {
        let mut surplus = tms.staying_slots().saturating_sub(self.sum);
        if surplus == 0 {
            return;
        }
        let is_due = |(since, _): &&(Timestamp, WorkerId)| *since + config.idle_timeout <= now;
        let due: Vec<_> = self.idle.iter().take_while(is_due).copied().collect();
        for (_, worker) in due {
            let Stage::Idle(key, _) = self.all[&worker] else {
                unreachable!("only who is idle is among them");
            };
            let tm = tms.get(key).expect("who is idle is registered");
            let slots = u64::from(tm.staying_slots());
            if !tm.is_unused() || tm.leaves.is_some() {
                self.set(worker, Some(Stage::Registered(key)));
            } else if slots <= surplus {
                surplus -= slots;
                self.release(worker, effects);
                tms.retire(key, now);
            }
        }
    }

    /// When something is to be done although nothing happens.
    pub(in crate::jobmanager) fn deadline(
        &self,
        now: Timestamp,
        config: &WorkersConfig,
    ) -> Option<Timestamp> {
        // Those before that are still needed, and wait for a change.
        let from = (now + Duration::from_millis(1)).back(config.idle_timeout);
        let first = WorkerId {
            epoch: Epoch(0),
            number: 0,
        };
        let idle = self.idle.range((from, first)..).next();
        let idle = idle.map(|(since, _)| *since + config.idle_timeout);
        let due = self.due.first().map(|(at, _)| *at);
        [idle, due, self.paused_until].into_iter().flatten().min()
    }

    /// How many slots all jobs require.
    pub(in crate::jobmanager) fn sum(&self) -> u64 {
        self.sum
    }

    /// What keeps more from coming, if more are required.
    pub(in crate::jobmanager) fn shortage(
        &self,
        tms: &TaskManagers,
        config: &WorkersConfig,
    ) -> Option<Shortage> {
        let missing = self.sum > self.expected(tms, config);
        missing.then_some(match self.paused_until {
            _ if !self.knows_all() => Shortage::NotListed,
            Some(until) => Shortage::Paused(until),
            None if self.all.len() >= MAX_WORKERS as usize => Shortage::TooMany,
            None => Shortage::Limit,
        })
    }
}

impl Coordinator {
    /// TaskManagers that are started for jobs; `None` if others start them all.
    #[must_use]
    pub fn workers(&self) -> Option<WorkersOverview> {
        let config = self.config.workers.as_ref()?;
        let workers = &self.workers;
        let count = |workers: usize| u32::try_from(workers).expect("workers are bounded");
        let pending = count(workers.asked.len());
        Some(WorkersOverview {
            required_slots: workers.sum,
            pending,
            starting: workers.coming - pending,
            registered: count(workers.all.len()) - workers.coming,
            shortage: workers.shortage(&self.tms, config),
        })
    }
}

impl Job {
    /// What the job requires: as many slots as it can use, unless it takes what there is.
    pub(in crate::jobmanager) fn required(&self, config: &ClusterConfig) -> Required {
        let own = self.execution.required_slots();
        let (slots, is_reconciling) = match &self.phase {
            JobPhase::Submitting(_) | JobPhase::Ending(_) | JobPhase::Ended(_) => (0, false),
            JobPhase::Reconciling(_) => (own, true),
            JobPhase::Running if self.takes_more() => {
                let most = most_slots(&self.graph, &self.bounds());
                (own.max(most.min(self.quota(config))), false)
            }
            JobPhase::Running => (own, false),
        };
        Required {
            slots,
            is_reconciling,
        }
    }

    /// Whether there may be slots that the job would use as well. One that takes whatever there is asks for none.
    fn takes_more(&self) -> bool {
        let scheduler = self.graph.config().rescaling.scheduler;
        self.rescaling.wanted.is_some() || scheduler == Scheduler::Adaptive
    }
}
