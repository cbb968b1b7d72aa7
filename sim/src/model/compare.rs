//! What the model foresaw beside what the coordinator did and shows.

use super::Model;
use super::cluster::Session;
use super::job::{Job, Life, Stage};
use super::orders::Order;
use super::shares::with_all;
use crate::checks::oracle::Failure;
use jobmanager_core::id::{Attempt, Epoch, JobId, SessionId, SlotIndex, TaskId};
use jobmanager_core::jobmanager::{
    CheckpointOutcome, Coordinator, DemandState, Effect, Input, JobLine,
};
use jobmanager_core::message::{
    Deployment, FromTaskManager, StateHandle, TaskDeployment, ToTaskManager,
};
use jobmanager_core::state::{ExecutionState, JobStatus};
use std::collections::BTreeSet;

const NAME: &str = "the_coordinator_agrees_with_the_model";

fn disagree(detail: String) -> Failure {
    Failure::new(NAME, detail)
}

/// An acknowledgement changes no task but by what changes the job's line.
fn is_acknowledgement(input: &Input) -> bool {
    let Input::Message { message, .. } = input else {
        return false;
    };
    matches!(message, FromTaskManager::Acknowledge(_))
}

impl Model {
    /// Takes note of where tasks were placed: only what is scheduled, all of it, and only in free slots.
    pub(super) fn deployments(&mut self, effects: &[Effect]) -> Result<(), Failure> {
        // In the order in which they were placed.
        let mut deployed: Vec<(JobId, Vec<(SessionId, &Deployment)>)> = Vec::new();
        for effect in effects {
            if let Effect::Send { session, message } = effect
                && let ToTaskManager::Deploy(deployment) = &message.message
            {
                let order = (*session, deployment);
                match deployed.iter_mut().find(|(job, _)| *job == deployment.job) {
                    Some((_, all)) => all.push(order),
                    None => deployed.push((deployment.job, vec![order])),
                }
            }
        }
        for (id, deployments) in deployed {
            self.may_take(id)?;
            let mut taken = self.taken();
            let Some(job) = self.jobs.get_mut(&id) else {
                return Err(disagree(format!("job {id} is deployed and does not exist")));
            };
            // Slots that the job holds may be shared by its own tasks.
            taken.retain(|at| job.tasks.iter().all(|task| task.at != Some(*at)));
            for (on, deployment) in deployments {
                let offered = self.sessions.get(&on).map_or(0, Session::offered);
                for task in &deployment.tasks {
                    let at = (on, task.slot);
                    let held = job.tasks.iter().any(|task| task.at == Some(at));
                    if !held && (task.slot.0 >= offered || taken.contains(&at)) {
                        return Err(disagree(format!("job {id}: {at:?} is not free")));
                    }
                    job.deployed(deployment, task, at, self.epoch)?;
                }
            }
            job.is_deployed_whole(self.epoch)?;
            job.has_run = true;
            self.line_up(id);
            self.touched.insert(id);
        }
        self.serve();
        self.nobody_waits_in_vain()
    }

    /// A job takes no slots that are left to those of a higher priority.
    fn may_take(&self, id: JobId) -> Result<(), Failure> {
        let Some(job) = self.jobs.get(&id) else {
            return Ok(());
        };
        let (missing, free, left) = (
            job.missing_slots(),
            self.free_slots(),
            self.left_to_others(job),
        );
        if job.has_to_shrink(self.config.max_slots_per_job) {
            let own = job.own_slots();
            return Err(disagree(format!("job {id} gets {own} slots")));
        }
        if left == 0 || missing + left <= free {
            return Ok(());
        }
        Err(disagree(format!(
            "job {id} takes {missing} slots of {free}, although {left} are left to others"
        )))
    }

    /// A job waits for slots only while there are too few.
    fn nobody_waits_in_vain(&self) -> Result<(), Failure> {
        let most = self.config.max_slots_per_job;
        let waits = |job: &&Job| {
            let may_start = job.waits_for_slots() && !job.has_to_shrink(most);
            job.life == Life::Running && may_start
        };
        let mut waiting = self.jobs.values().filter(waits).peekable();
        if waiting.peek().is_none() {
            return Ok(());
        }
        let free = self.free_slots();
        let kept: usize = self.promised.values().sum();
        let own = |job: &Job| self.promised.get(&job.id).copied().unwrap_or(0);
        let kept = |job: &Job| kept - own(job) + self.left_to_others(job).min(free);
        let served = waiting.find(|job| job.missing_slots() + kept(job) <= free);
        served.map_or(Ok(()), |job| {
            let missing = job.missing_slots();
            let id = job.id;
            Err(disagree(format!(
                "job {id} waits for {missing} slots, {free} are free"
            )))
        })
    }

    /// Every effect was foreseen, and what was foreseen came.
    pub(super) fn compare_orders(
        &mut self,
        input: &Input,
        effects: &[Effect],
    ) -> Result<(), Failure> {
        let mut foreseen = std::mem::take(&mut self.orders);
        for effect in effects {
            if let Effect::Store { commit, .. } = effect
                && !self.journal.named(*commit)
            {
                return Err(disagree(format!("{commit:?} names two writes")));
            }
            let Some(order) = Order::of(effect) else {
                continue;
            };
            let at = foreseen.iter().position(|known| *known == order);
            let Some(at) = at else {
                let now = self.now;
                return Err(disagree(format!(
                    "{now}, {input:?}: ordered {order:?}, foreseen {foreseen:?}"
                )));
            };
            foreseen.swap_remove(at);
        }
        if foreseen.is_empty() {
            return Ok(());
        }
        let now = self.now;
        Err(disagree(format!(
            "{now}, {input:?}: {foreseen:?} did not come"
        )))
    }

    /// Every job looks as it should: those that the step concerned in full, the others as before.
    pub(super) fn compare_views(
        &mut self,
        input: &Input,
        effects: &[Effect],
        coordinator: &Coordinator,
    ) -> Result<(), Failure> {
        let mut seen = Vec::with_capacity(self.jobs.len() + self.ended.len());
        for line in coordinator.lines() {
            let JobLine { id, status, .. } = line;
            seen.push(id);
            let before = self.shown.insert(id, line);
            let expected = self.status(id);
            if expected != Some(status) {
                return Err(disagree(format!(
                    "{input:?}: job {id} is {status}, foreseen {expected:?}"
                )));
            }
            let changed = before != Some(line);
            let (touched, ended) = (self.touched.contains(&id), self.ended.contains_key(&id));
            let job = self
                .jobs
                .get(&id)
                .filter(|_| !ended && (changed || touched));
            if let Some(job) = job {
                let tasks = changed || !is_acknowledgement(input);
                let same = job.compare(&line, tasks, coordinator);
                same.map_err(|failure| disagree(format!("{input:?}: {}", failure.detail)))?;
            }
        }
        if !self.touched.is_empty() || !effects.is_empty() {
            self.compare_slots(coordinator)?;
        }
        let known = self.jobs.keys().chain(self.ended.keys());
        let missing = known.copied().find(|id| !seen.contains(id));
        missing.map_or(Ok(()), |id| {
            Err(disagree(format!("{input:?}: job {id} is not shown")))
        })
    }

    /// Every slot of every session is free or has a task of a job that has not ended in it.
    fn compare_slots(&self, coordinator: &Coordinator) -> Result<(), Failure> {
        let shown = coordinator.slots();
        let sessions = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let total: u32 = self.sessions.values().map(|session| session.slots).sum();
        let free = u32::try_from(self.free_slots()).unwrap_or(u32::MAX);
        let kept: usize = self.promised.values().sum();
        let own = (sessions, total, free, kept);
        let kept = shown.kept as usize;
        let shown = (shown.taskmanagers, shown.total, shown.free, kept);
        if shown == own {
            return Ok(());
        }
        Err(disagree(format!(
            "TaskManagers, slots, free and kept slots are {shown:?}, foreseen {own:?}"
        )))
    }

    fn status(&self, id: JobId) -> Option<JobStatus> {
        let ended = self.ended.get(&id).copied();
        ended.or_else(|| self.jobs.get(&id).map(|job| job.status))
    }
}

impl Job {
    fn is_scheduled(&self, position: usize) -> bool {
        let region = &self.regions[self.plan.region_of[position]];
        matches!(region.stage, Stage::Scheduled { .. })
    }

    fn waits_for_slots(&self) -> bool {
        (0..self.tasks.len()).any(|position| self.is_scheduled(position))
    }

    /// How many slots its scheduled tasks need beside those that it holds.
    fn missing_slots(&self) -> usize {
        let scheduled = (0..self.tasks.len()).filter(|position| self.is_scheduled(*position));
        let needed: BTreeSet<_> = scheduled.map(|it| self.plan.shares[it]).collect();
        needed.difference(&self.held_shares()).count()
    }

    /// Which of its slots it holds.
    pub(super) fn held_shares(&self) -> BTreeSet<(u32, u32)> {
        let alive = (0..self.tasks.len()).filter(|position| self.is_alive(*position));
        alive.map(|position| self.plan.shares[position]).collect()
    }

    /// A task was deployed there: a new attempt of a region that waits, from its latest snapshot.
    fn deployed(
        &mut self,
        deployment: &Deployment,
        task: &TaskDeployment,
        at: (SessionId, SlotIndex),
        epoch: Epoch,
    ) -> Result<(), Failure> {
        let id = self.id;
        let wrong = |what: &str| disagree(format!("job {id} {:?}: {what}", task.task));
        let position = self.plan.position(task.task);
        let position = position.ok_or_else(|| wrong("no such task"))?;
        let region = self.plan.region_of[position];
        if !self.is_scheduled(position) || self.life != Life::Running {
            return Err(wrong("deployed although it does not wait for a slot"));
        }
        let number = self.regions[region]
            .attempt
            .map_or(0, |last| last.number + 1);
        if deployment.attempt != (Attempt { epoch, number }) {
            return Err(wrong("not deployed as its next attempt"));
        }
        let latest = self.checkpoints.snapshot(region);
        let record = self
            .checkpoints
            .retained
            .last()
            .filter(|_| latest.is_some());
        let (own, state) = record.map_or_else(Default::default, |record| {
            let vertex = self.plan.tasks[position].vertex;
            let of_vertex = |at: &usize| self.plan.tasks[*at].vertex == vertex;
            let all = (0..self.plan.tasks.len()).filter(of_vertex);
            let handles = |at: usize| {
                let handles = record.states[at].handles().iter();
                handles.filter(|it| !it.is_nothing()).cloned().collect()
            };
            let states: Vec<Vec<StateHandle>> = all.map(handles).collect();
            let subtask = self.plan.tasks[position].subtask.0 as usize;
            (states[subtask].clone(), with_all(subtask, &states))
        });
        let at_end = !own.is_empty() && own.iter().all(|handle| handle.end_of_data);
        if task.end_of_data != at_end {
            return Err(wrong("told wrongly whether it is at its end"));
        }
        if deployment.restore != latest.map(|latest| latest.checkpoint) || task.state != state {
            return Err(wrong("not deployed from the latest snapshot of its region"));
        }
        let finish = latest.is_some_and(|latest| latest.is_final);
        if deployment.finish != finish {
            return Err(wrong(
                "not told that nothing comes after its snapshot, or told so wrongly",
            ));
        }
        let share = self.plan.shares[position];
        for other in 0..self.tasks.len() {
            let together = self.plan.shares[other] == share;
            let there = self.tasks[other].at;
            if there.is_some() && (there == Some(at)) != together {
                return Err(wrong("not in the slot that it shares"));
            }
        }
        if self.tasks[position].at.is_some() {
            return Err(wrong("deployed twice"));
        }
        self.tasks[position].state = ExecutionState::Deploying;
        self.tasks[position].at = Some(at);
        Ok(())
    }

    /// Regions are deployed whole, and all that wait at once.
    fn is_deployed_whole(&mut self, epoch: Epoch) -> Result<(), Failure> {
        for position in 0..self.tasks.len() {
            if self.is_scheduled(position) && !self.is_alive(position) {
                let (id, task) = (self.id, self.plan.tasks[position]);
                return Err(disagree(format!("job {id} {task:?} was left behind")));
            }
        }
        for (at, region) in self.regions.iter_mut().enumerate() {
            if let Stage::Scheduled { .. } = region.stage {
                region.stage = Stage::Active;
                let number = region.attempt.map_or(0, |last| last.number + 1);
                region.attempt = Some(Attempt { epoch, number });
                let finish = self.checkpoints.is_final(at);
                self.checkpoints.rhythms[at].finish_announced = finish;
            }
        }
        Ok(())
    }

    /// Its tasks, if they may have changed, and its checkpoints, as the coordinator shows them.
    fn compare(
        &self,
        line: &JobLine,
        tasks: bool,
        coordinator: &Coordinator,
    ) -> Result<(), Failure> {
        if tasks {
            self.compare_tasks(line, coordinator)?;
        }
        self.compare_demands(coordinator)?;
        self.compare_checkpoints(coordinator)
    }

    /// Clients are told the same of the checkpoints that they asked for.
    fn compare_demands(&self, coordinator: &Coordinator) -> Result<(), Failure> {
        for (job, trigger, own) in self.demand_states() {
            let shown = coordinator.demand(job, trigger);
            let same = match (&shown, own) {
                (Some(DemandState::Failed(_)), DemandState::Failed(_)) => true,
                (shown, own) => shown.as_ref() == Some(own),
            };
            if !same {
                return Err(disagree(format!(
                    "job {job} shows {shown:?} of {trigger}, foreseen {own:?}"
                )));
            }
        }
        Ok(())
    }

    fn compare_tasks(&self, line: &JobLine, coordinator: &Coordinator) -> Result<(), Failure> {
        let id = self.id;
        if line.restarts != self.restarts {
            let (restarts, own) = (line.restarts, self.restarts);
            return Err(disagree(format!(
                "job {id} counts {restarts} restarts, foreseen {own}"
            )));
        }
        let shown = coordinator.subtask_lines(id);
        let shown: Vec<_> = shown.into_iter().flatten().collect();
        if shown.len() != self.tasks.len() || line.tasks.total() as usize != self.tasks.len() {
            return Err(disagree(format!("job {id} shows {} tasks", shown.len())));
        }
        for (position, shown) in shown.iter().enumerate() {
            let task = &self.tasks[position];
            let attempt = self.regions[self.plan.region_of[position]].attempt;
            let same = shown.state == task.state
                && shown.end_of_data == task.end_of_data
                && attempt.is_none_or(|attempt| attempt == shown.attempt)
                && shown.slot == task.at.map(|at| at.1);
            if !same {
                let name: TaskId = self.plan.tasks[position];
                return Err(disagree(format!(
                    "job {id} {name:?} is {shown:?}, foreseen {task:?} {attempt:?}"
                )));
            }
        }
        Ok(())
    }

    fn compare_checkpoints(&self, coordinator: &Coordinator) -> Result<(), Failure> {
        let id = self.id;
        let Some(shown) = coordinator.checkpoints(id) else {
            return Err(disagree(format!("job {id} shows no checkpoints")));
        };
        let history = shown.history.iter();
        let mut pending: Vec<_> = history
            .filter(|entry| entry.outcome == CheckpointOutcome::InProgress)
            .map(|entry| (entry.id, entry.acknowledged as usize))
            .collect();
        pending.sort_unstable();
        let own: Vec<_> = self
            .checkpoints
            .pending
            .iter()
            .filter(|pending| !pending.has_completed)
            .map(|pending| (pending.id, pending.acknowledged))
            .collect();
        let counts = (shown.completed, shown.failed);
        let own_counts = (self.checkpoints.completed, self.checkpoints.failed);
        let latest = shown.latest_completed.map(|entry| entry.id);
        let own_latest = self.checkpoints.retained.last().map(|record| record.id);
        // If there are too many to show all, those that are shown are the last ones.
        let all = pending.len() == own.len() || pending.len() == shown.history.len();
        let same = all && own.ends_with(&pending) && shown.in_progress == own.len() as u64;
        if same && counts == own_counts && latest == own_latest {
            return Ok(());
        }
        Err(disagree(format!(
            "job {id} shows checkpoints {pending:?} {counts:?} {latest:?}, foreseen {own:?} {own_counts:?} {own_latest:?}"
        )))
    }
}
