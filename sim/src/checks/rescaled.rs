//! A job that gets another parallelism: what is known of it from then on.
//!
//! It is another job with the same id: of the parts that are concerned, nothing that was under way counts any more,
//! and they start from what their checkpoints had, divided anew. The others go on as they were.

use super::past::Past;
use super::regions::Parts;
use super::shares::{Rescaled, divided};
use super::state::{Offsets, offsets};
use super::{Checks, History, Verdict, ensure};
use crate::dataflow::contents::Contents;
use crate::plan::JobPlan;
use jobmanager_core::graph::{JobGraph, regions};
use jobmanager_core::id::{Attempt, CheckpointId, JobId, TaskId};
use jobmanager_core::record::{Bounds, Record, RecordOp};
use std::collections::{BTreeMap, BTreeSet};

/// A job that got another parallelism.
#[derive(Debug, Clone)]
pub(crate) struct RescaledJob {
    /// As it is now.
    pub(crate) plan: JobPlan,
    /// The vertices that start anew.
    pub(crate) concerned: BTreeSet<u32>,
    /// Others go on as they were.
    pub(crate) beside_another: bool,
    /// Some of it had no checkpoint of its own yet.
    pub(crate) again: bool,
    /// Nobody asked: there were slots for more.
    pub(crate) grew: bool,
    /// Nobody asked: there were not enough slots.
    pub(crate) shrank: bool,
}

impl Checks {
    /// If a write gives a job another parallelism, the job is another one from then on.
    pub(super) fn rescales(&mut self, ops: &[RecordOp]) -> Verdict {
        for op in ops {
            let RecordOp::Put(Record::Job(job)) = op else {
                continue;
            };
            let id = job.graph.id();
            let known = self.jobs.get(&id).and_then(|history| history.scale.clone());
            let Some(scale) = job
                .scale
                .clone()
                .filter(|scale| Some(scale) != known.as_ref())
            else {
                continue;
            };
            let began = ops.iter().find_map(|op| match op {
                RecordOp::Put(Record::Checkpoint(record)) if record.job == id => Some(record.id),
                RecordOp::Put(_) | RecordOp::Delete(_) => None,
            });
            let history = self.history(id)?;
            let now = history.parallelisms();
            let within = |bounds: &Vec<Bounds>| contain(bounds, &scale.parallelism);
            ensure(
                history.wishes.iter().any(within),
                "a_job_gets_a_parallelism_that_it_may_have",
                || format!("job {id}: {scale:?} with {:?}", history.wishes),
            )?;
            let last = history.wishes.last();
            let by_itself = last.is_some_and(|bounds| contain(bounds, &now));
            let Some((plan, regions)) = self.rescaled_plan(&job.graph, &scale.parallelism) else {
                continue;
            };
            // Whoever does not know of it yet is watched by the model alone.
            for watched in self.watched.values_mut() {
                watched.looks_no_more();
            }
            let history = self.history(id)?;
            history.scale = Some(scale.clone());
            if let Some(began) = began {
                history.rescaled(&job.graph, &plan, &regions, began);
            }
            if let Some(rescaled) = history.rescaled.as_mut().filter(|_| by_itself) {
                let pairs = || now.iter().zip(&scale.parallelism);
                rescaled.grew = pairs().any(|(before, now)| before < now);
                rescaled.shrank = pairs().any(|(before, now)| before > now);
            }
        }
        Ok(())
    }

    /// The job as it is then, and the region of each of its tasks.
    fn rescaled_plan(
        &mut self,
        graph: &JobGraph,
        parallelism: &[u32],
    ) -> Option<(JobPlan, Vec<usize>)> {
        let id = graph.id();
        if let Some(plan) = self.plans.rescale(id, parallelism) {
            return Some((plan, self.plans.regions(id).to_vec()));
        }
        let plan = self.recorded.get_mut(&id)?;
        *plan = plan.with_parallelism(parallelism);
        let layout = regions(&graph.rescaled(parallelism).ok()?);
        let region_of = (0..layout.subtasks()).map(|at| layout.of(at).0 as usize);
        Some((plan.clone(), region_of.collect()))
    }

    /// Whether a job that has not ended has another parallelism than at first.
    pub(crate) fn has_rescaled(&self) -> bool {
        let has_changed = |it: &History| it.scale.is_some() && it.result.is_none();
        self.jobs.values().any(has_changed)
    }

    /// Whether a job has not all that it may have.
    pub(crate) fn may_rescale(&self) -> bool {
        let lives = self.jobs.values().filter(|it| it.result.is_none());
        lives.clone().any(|history| {
            let bounds = history.wishes.last().into_iter().flatten();
            !bounds.map(|it| it.upper).eq(history.parallelisms())
        })
    }

    /// Whether the parallelism of a job is not within the bounds that are durable.
    pub(crate) fn is_out_of_bounds(&self, job: JobId) -> bool {
        let history = self.jobs.get(&job);
        history.is_some_and(History::is_out_of_bounds)
    }

    /// What became of a job by the last write, if that gave it another parallelism.
    pub(crate) fn takes_rescaled(&mut self, job: JobId) -> Option<RescaledJob> {
        self.jobs.get_mut(&job)?.rescaled.take()
    }

    /// Where the sources of a job began that got another parallelism.
    pub(crate) fn began(&self, job: JobId) -> Offsets {
        let history = self.jobs.get(&job);
        let past = history.and_then(|history| Some((history, history.past.as_ref()?)));
        let Some((history, states)) = past.and_then(|(it, past)| Some((it, past.states.as_ref()?)))
        else {
            return Offsets::new();
        };
        let sources = history.sources.iter();
        let states = sources.filter_map(|task| Some((task.vertex, states.get(task)?)));
        states
            .flat_map(|(source, contents)| offsets(source, contents))
            .collect()
    }
}

impl History {
    fn rescaled(&mut self, graph: &JobGraph, plan: &JobPlan, regions: &[usize], id: CheckpointId) {
        let vertices: Vec<Rescaled> = graph
            .vertices()
            .iter()
            .zip(&plan.vertices)
            .zip(0..)
            .map(|((vertex, now), index)| Rescaled {
                before: self.parallelism(index),
                now: now.parallelism,
                max_parallelism: vertex.max_parallelism,
            })
            .collect();
        let concerned = concerned(plan, &vertices);
        let latest = self.latest.iter();
        let latest = latest.flat_map(|latest| latest.regions.iter().flatten());
        self.rescaled = Some(RescaledJob {
            plan: plan.clone(),
            concerned: concerned.clone(),
            beside_another: concerned.len() < vertices.len(),
            again: latest.into_iter().any(|it| it.attempt.is_none()),
            grew: false,
            shrank: false,
        });
        let old = self
            .tasks
            .iter()
            .filter(|task| concerned.contains(&task.vertex.0));
        let old = old.filter_map(|task| Some((*task, self.goes_on_from(*task)?.clone())));
        let mut states = divided(&old.collect(), &vertices);
        self.remember_former(&concerned);
        let fresh = History::new(plan);
        let stays = |task: &TaskId| !concerned.contains(&task.vertex.0);
        for task in fresh.tasks.iter().filter(|task| !stays(task)) {
            states.entry(*task).or_default();
        }
        states.extend(self.still_inherited(&concerned));
        let region_of = fresh.tasks.iter().copied().zip(regions.iter().copied());
        let region_of: BTreeMap<TaskId, usize> = region_of.collect();
        let before = std::mem::replace(&mut self.region_of, region_of);
        // By what they were, what they are.
        let kept = before.iter().filter(|(task, _)| stays(task));
        let kept: BTreeMap<usize, usize> = kept
            .map(|(task, old)| (*old, self.region_of[task]))
            .collect();
        let moved = |(region, id): (usize, CheckpointId)| Some((*kept.get(&region)?, id));
        let move_all = |parts: &mut BTreeSet<_>| {
            *parts = std::mem::take(parts)
                .into_iter()
                .filter_map(moved)
                .collect();
        };
        move_all(&mut self.triggered);
        move_all(&mut self.completed);
        move_all(&mut self.aborted);
        let acknowledged = std::mem::take(&mut self.acknowledged).into_iter();
        let acknowledged = acknowledged.filter_map(|(part, acks)| Some((moved(part)?, acks)));
        self.acknowledged = acknowledged.collect();
        let began = regions
            .iter()
            .filter(|region| !kept.values().any(|it| it == *region));
        self.completed.extend(began.map(|region| (*region, id)));
        self.told.retain(|task, _| stays(task));
        self.ordered.clear();
        self.parts = Parts::new(plan, &fresh.tasks, regions);
        self.tasks = fresh.tasks;
        self.sources = fresh.sources;
        self.sinks = fresh.sinks;
        let is_recorded = self.past.as_ref().is_some_and(|past| past.states.is_none());
        self.past = Some(Past::rescaled(id, (!is_recorded).then_some(states)));
    }

    /// What tasks of other vertices than these began with: they may go on from what they got with an earlier
    /// parallelism of others.
    fn still_inherited(&self, concerned: &BTreeSet<u32>) -> BTreeMap<TaskId, Contents> {
        let tasks = self.tasks.iter();
        let stay = tasks.filter(|task| !concerned.contains(&task.vertex.0));
        let began = stay.filter_map(|task| Some((*task, self.inherited(*task)?.clone())));
        began.collect()
    }

    /// What attempts of these vertices closed up to a durable checkpoint may be published later, by whoever gets their
    /// state.
    fn remember_former(&mut self, concerned: &BTreeSet<u32>) {
        let durable = self.acknowledged.iter();
        let durable = durable.filter(|(part, _)| self.completed.contains(part));
        for ((_, id), acks) in durable {
            for (task, ack) in acks
                .iter()
                .filter(|(task, _)| concerned.contains(&task.vertex.0))
            {
                let last = self.former.entry((*task, ack.attempt)).or_insert(*id);
                *last = id.max(last).to_owned();
            }
        }
    }

    /// Whether an attempt of an earlier parallelism took part in this checkpoint, or a later one, that became durable.
    pub(super) fn had_completed(&self, of: (TaskId, Attempt), id: CheckpointId) -> bool {
        self.former.get(&of).is_some_and(|last| id <= *last)
    }

    /// Whether an attempt is of a parallelism that the job has no more.
    pub(super) fn is_former(&self, task: TaskId, attempt: Attempt) -> bool {
        let scale = self.scale.as_ref();
        let since = scale.and_then(|scale| scale.since[task.vertex.0 as usize]);
        Some(attempt) < since
    }

    /// Whether it may get another parallelism than it has.
    pub(super) fn is_to_change(&self) -> bool {
        let now = self.parallelisms();
        let exactly: Vec<Bounds> = now.into_iter().map(Bounds::exactly).collect();
        self.wishes.last() != Some(&exactly)
    }

    /// Whether it has none that is wanted.
    fn is_out_of_bounds(&self) -> bool {
        let now = self.parallelisms();
        let last = self.wishes.last();
        !last.is_some_and(|bounds| contain(bounds, &now))
    }

    /// How many subtasks its vertices have.
    fn parallelisms(&self) -> Vec<u32> {
        let vertices = self.tasks.iter().map(|task| task.vertex.0);
        let count = vertices.max().map_or(0, |last| last + 1);
        (0..count).map(|vertex| self.parallelism(vertex)).collect()
    }

    /// How many subtasks a vertex has.
    fn parallelism(&self, vertex: u32) -> u32 {
        let of_vertex = self.tasks.iter().filter(|task| task.vertex.0 == vertex);
        u32::try_from(of_vertex.count()).expect("a handful of subtasks")
    }

    /// From what a task would start now.
    fn goes_on_from(&self, task: TaskId) -> Option<&Contents> {
        let snapshot = self.latest_snapshot(self.region(task)?)?;
        match snapshot.attempt {
            Some(_) => self.snapshot(snapshot.checkpoint, task),
            None => self.inherited(task),
        }
    }
}

fn contain(bounds: &[Bounds], parallelism: &[u32]) -> bool {
    let mut pairs = bounds.iter().zip(parallelism);
    pairs.all(|(bounds, it)| bounds.contain(*it))
}

/// The vertices that are connected to one that gets another number of subtasks.
fn concerned(plan: &JobPlan, vertices: &[Rescaled]) -> BTreeSet<u32> {
    let changed = (0..).zip(vertices).filter(|(_, it)| it.before != it.now);
    let mut concerned: BTreeSet<u32> = changed.map(|(vertex, _)| vertex).collect();
    for _ in 0..vertices.len() {
        for edge in &plan.edges {
            if concerned.contains(&edge.source) || concerned.contains(&edge.target) {
                concerned.extend([edge.source, edge.target]);
            }
        }
    }
    concerned
}
