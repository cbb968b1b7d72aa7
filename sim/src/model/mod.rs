//! A slow reference model of the coordinator, fed the same inputs, that foresees what it shows and orders.
//!
//! It shares no code with the coordinator, only the words they speak: it knows no counters, no indexes and
//! no dirty sets, and looks at everything after every input. So a wake-up that the coordinator loses, a
//! count that it gets wrong, an order that it forgets or gives twice is a difference. Two things it does
//! not foresee: where tasks are placed (that is checked: in free slots, a region and all that waits with it
//! at once, and at once when there are slots enough) and how jitter falls (within its range).
//!
//! It applies to every coordinator whose jobs are all among the run's plans, from its recovery on.

mod checkpoints;
mod cluster;
mod compare;
mod demands;
mod job;
mod journal;
mod moving;
mod orders;
mod parts;
mod plan;
mod priorities;
mod reconcile;
mod removals;
mod rescaling;
mod restarts;
mod savepoints;
mod shares;
mod submission;
#[cfg(test)]
mod tests;
mod workers;

use crate::checks::Rules;
use crate::checks::oracle::Failure;
use crate::plan::job::JobPlan;
use cluster::Session;
use job::{Cancel, Job, Life};
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::id::{CheckpointId, Epoch, JobId, SessionId, TaskId, TriggerId};
use jobmanager_core::jobmanager::{Coordinator, Effect, Input, JobLine};
use jobmanager_core::record::{Bounds, Record};
use jobmanager_core::state::JobStatus;
use jobmanager_core::time::Timestamp;
use journal::Journal;
use orders::Order;
use plan::Plan;
use priorities::Line;
use removals::Removal;
use rescaling::Rescaling;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use workers::Workers;

/// The plans of a run's jobs, as models read them.
#[derive(Clone, Default)]
pub(crate) struct Plans(BTreeMap<JobId, Arc<Plan>>);

impl Plans {
    pub(crate) fn new(jobs: &[JobPlan]) -> Plans {
        let plan = |job: &JobPlan| (job.id, Arc::new(Plan::new(job)));
        Plans(jobs.iter().map(plan).collect())
    }

    /// What is said of a job's checkpoints.
    pub(crate) fn rules(&self, job: JobId) -> Option<Rules> {
        let plan = self.0.get(&job)?.checkpoints.as_ref()?;
        Some(Rules {
            interval: plan.interval,
            timeout: plan.timeout,
            longest: plan.longest,
            min_pause: plan.min_pause,
            max_concurrent: plan.max_concurrent,
        })
    }

    /// Within what a job's scheduler keeps its parallelism.
    pub(crate) fn allowed(job: &JobPlan) -> Vec<Bounds> {
        Plan::new(job).bounds()
    }

    /// A job gets another parallelism: as it is then.
    pub(crate) fn rescale(&mut self, job: JobId, parallelism: &[u32]) -> Option<JobPlan> {
        let plan = self.0.get_mut(&job)?;
        *plan = Arc::new(plan.rescaled(parallelism));
        Some(plan.job.clone())
    }

    /// The region of a task.
    pub(crate) fn region(&self, job: JobId, task: TaskId) -> Option<usize> {
        let plan = self.0.get(&job)?;
        plan.position(task).map(|position| plan.region_of[position])
    }

    /// The regions of which an order names tasks; all of them if it names none.
    pub(crate) fn named(&self, job: JobId, tasks: &[TaskId]) -> BTreeSet<usize> {
        if tasks.is_empty() {
            return self.regions(job).iter().copied().collect();
        }
        let regions = tasks.iter().filter_map(|task| self.region(job, *task));
        regions.collect()
    }

    /// How long a job may wait for slots.
    pub(crate) fn slot_timeout(&self, job: JobId) -> Option<std::time::Duration> {
        Some(self.0.get(&job)?.slot_timeout)
    }

    /// The tasks of those regions.
    pub(crate) fn members(&self, job: JobId, tasks: &[TaskId]) -> BTreeSet<TaskId> {
        let (named, plan) = (self.named(job, tasks), self.0.get(&job));
        let regions = plan.into_iter().flat_map(|plan| &plan.region_of);
        let all = plan.into_iter().flat_map(|plan| &plan.tasks).zip(regions);
        let members = all.filter(|(_, region)| named.contains(region));
        members.map(|(task, _)| *task).collect()
    }

    /// Which tasks share a slot: those with the same value, in the order of checkpoint records.
    pub(crate) fn shares(&self, job: JobId) -> &[(u32, u32)] {
        let plan = self.0.get(&job);
        plan.map_or(&[], |plan| plan.shares.as_slice())
    }

    /// The region of each task, in the order of checkpoint records.
    pub(crate) fn regions(&self, job: JobId) -> &[usize] {
        let plan = self.0.get(&job);
        plan.map_or(&[], |plan| plan.region_of.as_slice())
    }

    /// The longest time from one checkpoint to the end of the next, in microseconds.
    pub(crate) fn checkpoint_round(&self, job: JobId) -> u64 {
        let plan = self.0.get(&job).and_then(|plan| plan.checkpoints.as_ref());
        let round = plan.map_or(std::time::Duration::ZERO, |plan| {
            plan.interval + plan.longest + plan.min_pause
        });
        u64::try_from(round.as_micros()).unwrap_or(u64::MAX)
    }
}

/// The model of one coordinator.
pub(crate) struct Model {
    config: ClusterConfig,
    epoch: Epoch,
    now: Timestamp,
    plans: Plans,
    sessions: BTreeMap<SessionId, Session>,
    jobs: BTreeMap<JobId, Job>,
    /// The ends that are durable.
    ended: BTreeMap<JobId, JobStatus>,
    /// The savepoints that clients wanted of them.
    savepoints: BTreeSet<(JobId, TriggerId)>,
    /// What they computed.
    computations: BTreeMap<JobId, u64>,
    /// What is still to be removed of jobs that have ended.
    removals: BTreeMap<JobId, Removal>,
    journal: Journal,
    /// The slots that are kept for jobs that stop tasks to move them.
    promised: BTreeMap<JobId, usize>,
    /// Foreseen in this step.
    orders: Vec<Order>,
    /// Concerned by this step.
    touched: BTreeSet<JobId>,
    /// What each job looked like in one line.
    shown: BTreeMap<JobId, JobLine>,
    workers: Workers,
    line: Line,
    stepped_down: bool,
}

impl Model {
    /// The model of a coordinator that recovers from these records; `None` if it does not apply, because a
    /// job is not among the plans.
    pub(crate) fn recover(
        config: ClusterConfig,
        epoch: Epoch,
        records: &[Record],
        now: Timestamp,
        plans: &Plans,
    ) -> Option<Model> {
        let mut model = Model {
            config,
            epoch,
            now,
            plans: plans.clone(),
            sessions: BTreeMap::new(),
            jobs: BTreeMap::new(),
            ended: BTreeMap::new(),
            savepoints: BTreeSet::new(),
            computations: BTreeMap::new(),
            removals: BTreeMap::new(),
            journal: Journal::default(),
            promised: BTreeMap::new(),
            orders: Vec::new(),
            touched: BTreeSet::new(),
            shown: BTreeMap::new(),
            workers: Workers::default(),
            line: Line::default(),
            stepped_down: false,
        };
        for record in records {
            if let Record::Job(job) = record {
                let mut plan = plans.0.get(&job.graph.id())?.clone();
                if let Some(scale) = &job.scale {
                    plan = Arc::new(plan.rescaled(&scale.parallelism));
                }
                let life = Life::Reconciling {
                    deadline: now + model.config.reconciliation_timeout,
                    failed: BTreeMap::new(),
                };
                let scale = job.scale.clone();
                let mut job = Job::new(job.graph.clone(), plan, job.submitted, life);
                job.scale = scale;
                model.jobs.insert(job.id, job);
            }
        }
        for job in model.jobs.values_mut() {
            job.recall(records, now);
        }
        for record in records {
            if let Record::Result(result) = record {
                model.ended.insert(result.job, result.status);
                model.computations.insert(result.job, result.computation);
                model.resume_removal(result.job);
            }
        }
        for record in records {
            if let Record::Savepoint(savepoint) = record
                && model.ended.contains_key(&savepoint.job)
            {
                let known = (savepoint.job, savepoint.trigger);
                model.savepoints.insert(known);
            }
        }
        model.touched = model.jobs.keys().copied().collect();
        Some(model)
    }

    /// The coordinator took this input at this time and ordered these effects: foresees them, and compares.
    ///
    /// `Ok(false)` if the model does not apply any more: a job came that is not among the plans.
    pub(crate) fn follow(
        &mut self,
        now: Timestamp,
        input: &Input,
        effects: &[Effect],
        coordinator: &Coordinator,
    ) -> Result<bool, Failure> {
        if self.stepped_down {
            return Ok(true);
        }
        if !self.knows(input) {
            return Ok(false);
        }
        self.now = self.now.max(now);
        self.fire(effects, coordinator);
        self.take(input, coordinator);
        self.settle(coordinator);
        self.deployments(effects)?;
        self.provide_workers();
        self.compare_orders(input, effects)?;
        self.compare_views(input, effects, coordinator)?;
        self.orders.clear();
        self.touched.clear();
        Ok(true)
    }
}

impl Job {
    /// What the store says of it.
    fn recall(&mut self, records: &[Record], now: Timestamp) {
        let mut mark = CheckpointId(1);
        let mut retained = Vec::new();
        let (mut result, mut began) = (None, None);
        for record in records {
            match record {
                Record::CheckpointMark { job, next } if *job == self.id => mark = *next,
                Record::Checkpoint(record) if record.job == self.id => {
                    retained.push(record.clone());
                }
                Record::Cancel(job) if *job == self.id => self.cancel = Cancel::Durable,
                Record::Rescale(record) if record.job == self.id => {
                    self.rescaling = Rescaling::new(Some(record.bounds.clone()));
                }
                Record::Result(known) if known.job == self.id => result = Some(known.status),
                Record::Job(known) if known.graph.id() == self.id => began = known.began,
                Record::CheckpointMark { .. }
                | Record::Checkpoint(_)
                | Record::Cancel(_)
                | Record::Rescale(_)
                | Record::Savepoint(_)
                | Record::Result(_)
                | Record::Job(_) => {}
            }
        }
        retained.sort_by_key(|record| record.id);
        self.recall_savepoints(records, now);
        let regions = self.regions.len();
        self.checkpoints = checkpoints::Checkpoints::recovered(regions, mark, retained, now);
        for (at, region) in self.regions.iter_mut().enumerate() {
            let snapshot = self.checkpoints.snapshot(at);
            region.attempt = snapshot.and_then(|snapshot| snapshot.attempt);
        }
        self.begins_with(began);
        if let Some(status) = result {
            self.resume_removal(status);
        } else if self.cancel == Cancel::Durable {
            self.life = Life::Ending(JobStatus::Cancelling);
        }
    }
}
