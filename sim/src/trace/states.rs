//! What there is to see of a coordinator or a worker, in a few lines for people.

use crate::trace::Lane;
use crate::trace::observe::{Group, Thing};
use crate::trace::told::name_of_attempt;
use crate::world::World;
use crate::world::event::{Instance, Process};
use jobmanager_core::jobmanager::{CheckpointOutcome, CheckpointsDetails, Coordinator, JobSummary};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::taskmanager::Worker;
use std::collections::BTreeSet;
use std::fmt::Write;

impl World {
    /// A coordinator has taken a step.
    pub(crate) fn show_coordinator(&mut self, instance: Instance) {
        if !self.is_watched() {
            return;
        }
        let Some(mut record) = self.trace.record.take() else {
            return;
        };
        let node = self.jobmanagers.get(&instance);
        if let Some(coordinator) = node.and_then(|node| node.coordinator.as_ref()) {
            let lane = Lane::JobManager(instance.0);
            let text = coordinator_text(coordinator);
            let digest = coordinator.digest();
            record.timeline.reached(lane, digest, text);
            let found = things(coordinator);
            let outcome = |thing: &Thing| outcome(coordinator, thing);
            let group = Group::Coordinator(instance);
            record
                .observed
                .settle(&mut record.timeline, self.now, group, found, outcome);
        }
        self.trace.record = Some(record);
    }

    /// A worker has taken a step.
    pub(crate) fn show_worker(&mut self, process: Process) {
        if !self.is_watched() {
            return;
        }
        let Some(record) = &mut self.trace.record else {
            return;
        };
        let node = self.taskmanagers.get(process.index);
        let node = node.filter(|node| node.is(process));
        if let Some(worker) = node.and_then(|node| node.worker.as_ref()) {
            let lane = Lane::TaskManager(process.index);
            let text = worker_text(worker);
            record.timeline.reached(lane, worker.digest(), text);
        }
    }
}

/// The jobs with their status, and the pending checkpoints.
pub(super) fn things(coordinator: &Coordinator) -> BTreeSet<Thing> {
    let mut things = BTreeSet::new();
    for job in coordinator.jobs() {
        things.insert(Thing::Job(job.id, job.status));
        let checkpoints = coordinator.checkpoints(job.id);
        let history = checkpoints.into_iter().flat_map(|all| all.history);
        let pending = history.filter(|entry| entry.outcome == CheckpointOutcome::InProgress);
        things.extend(pending.map(|entry| Thing::Checkpoint(job.id, entry.id)));
    }
    things
}

/// How a checkpoint that is no longer pending ended.
pub(super) fn outcome(coordinator: &Coordinator, thing: &Thing) -> String {
    let Thing::Checkpoint(job, id) = thing else {
        return String::new();
    };
    let checkpoints = coordinator.checkpoints(*job);
    let mut history = checkpoints.into_iter().flat_map(|all| all.history);
    let entry = history.find(|entry| entry.id == *id);
    entry.map_or_else(String::new, |entry| outcome_text(&entry.outcome))
}

fn outcome_text(outcome: &CheckpointOutcome) -> String {
    match outcome {
        CheckpointOutcome::InProgress => "in progress".to_owned(),
        CheckpointOutcome::Completed => "completed".to_owned(),
        CheckpointOutcome::Failed { reason, .. } => format!("aborted: {reason}"),
    }
}

pub(super) fn coordinator_text(coordinator: &Coordinator) -> String {
    let overview = coordinator.overview();
    let (taskmanagers, free) = (overview.taskmanagers, overview.slots_free);
    let mut text = format!(
        "{taskmanagers} TaskManagers, {free} of {} slots free",
        overview.slots_total
    );
    if let Some(problem) = overview.store_problem {
        write!(text, "\nstore: {problem}").expect("a string takes everything");
    }
    for job in coordinator.jobs() {
        text.push_str(&job_text(coordinator, &job));
    }
    text
}

fn job_text(coordinator: &Coordinator, job: &JobSummary) -> String {
    let mut text = format!("\njob {} {}", job.id, job.status);
    for state in ExecutionState::ALL {
        let count = job.tasks.get(state);
        if count > 0 {
            text += &format!("\n  {count} {state}");
        }
    }
    if let Some(details) = coordinator.job(job.id) {
        if details.restarts > 0 {
            text += &format!("\n  {} restarts", details.restarts);
        }
        if let Some(waiting) = details.waiting {
            text += &format!("\n  waits: {waiting}");
        }
        if let Some(failure) = details.failure {
            text += &format!("\n  failure: {failure}");
        }
    }
    text + &checkpoints_text(coordinator.checkpoints(job.id))
}

/// The pending checkpoints and the latest of the others.
fn checkpoints_text(checkpoints: Option<CheckpointsDetails>) -> String {
    let Some(checkpoints) = checkpoints else {
        return String::new();
    };
    let mut text = String::new();
    for entry in &checkpoints.history {
        if entry.outcome == CheckpointOutcome::InProgress {
            let (id, acknowledged, subtasks) = (entry.id.0, entry.acknowledged, entry.subtasks);
            text += &format!("\n  checkpoint {id} pending, {acknowledged} of {subtasks}");
        }
    }
    let ended = [checkpoints.latest_completed, checkpoints.latest_failed];
    for entry in ended.into_iter().flatten() {
        let (id, outcome) = (entry.id.0, outcome_text(&entry.outcome));
        text += &format!("\n  checkpoint {id} {outcome}");
    }
    if let Some(restore) = checkpoints.latest_restored {
        text += &format!("\n  restored from checkpoint {}", restore.checkpoint.0);
    }
    text
}

fn worker_text(worker: &Worker) -> String {
    let epoch = worker.epoch().0;
    let mut text = if worker.is_registered() {
        format!("registered, epoch {epoch}")
    } else {
        format!("not registered, last epoch {epoch}")
    };
    let mut job = None;
    for (attempt, slot, state) in worker.attempts() {
        if job != Some(attempt.job) {
            job = Some(attempt.job);
            text += &format!("\njob {}", attempt.job);
        }
        let name = name_of_attempt(attempt);
        text += &format!("\n  {name} slot {} {state}", slot.0);
    }
    text
}
