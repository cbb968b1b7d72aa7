//! The record of a coordinator of which only what it was told and what it ordered is known: the other end of
//! every message is drawn at the same time, and what runs where is what the coordinator believes.

use super::observe::{Group, Thing};
use super::states::{coordinator_text, outcome, things};
use super::timeline::{Message, Passage, SpanKind};
use super::{Lane, Record};
use crate::plan::options::Micros;
use crate::world::event::{Instance, Process};
use jobmanager_core::id::{AttemptId, Epoch, TaskId, VertexIndex};
use jobmanager_core::jobmanager::{Coordinator, JobSummary, SubtaskDetails};
use jobmanager_core::state::ExecutionState;
use std::collections::{BTreeMap, BTreeSet};

/// The one coordinator.
const INSTANCE: Instance = Instance(0);
/// More messages than this are counted, not kept.
const MESSAGES: usize = 1_000_000;
/// States of the coordinator that are kept: each is a text of many lines.
const STATES: usize = 20_000;

impl Record {
    /// Something was said by one lane and heard by another, by the entries of both, as far as there are any.
    pub(crate) fn passes(
        &mut self,
        at: Micros,
        [from, to]: [Lane; 2],
        sent_by: Option<usize>,
        received_as: Option<usize>,
    ) {
        if self.timeline.messages.len() >= MESSAGES {
            self.timeline.left_out += 1;
            return;
        }
        let Some(entry) = sent_by.or(received_as).and_then(|at| self.log.get(at)) else {
            return;
        };
        let what = match sent_by {
            Some(_) => String::new(),
            None => entry.what.clone(),
        };
        self.timeline.messages.push(Message {
            from,
            to,
            sent: at,
            passage: Passage::Arrived(at),
            kind: entry.kind,
            title: entry.title.clone(),
            what,
            about: entry.about.clone(),
            sent_by,
            received_as,
        });
    }

    /// The coordinator is like this. `numbers` are the numbers of TaskManagers.
    pub(crate) fn shows(
        &mut self,
        at: Micros,
        epoch: Epoch,
        coordinator: &Coordinator,
        numbers: &BTreeMap<String, usize>,
    ) {
        if self.timeline.states.len() < STATES {
            let text = coordinator_text(coordinator);
            let lane = Lane::JobManager(INSTANCE.0);
            self.timeline.reached(lane, coordinator.digest(), text);
        }
        let found = believed(epoch, coordinator, numbers);
        self.settle(at, found);
        let group = Group::Coordinator(INSTANCE);
        let outcome = |thing: &Thing| outcome(coordinator, thing);
        let things = things(coordinator);
        self.observed
            .settle(&mut self.timeline, at, group, things, outcome);
    }
}

/// What is there, if the coordinator is right.
fn believed(
    epoch: Epoch,
    coordinator: &Coordinator,
    numbers: &BTreeMap<String, usize>,
) -> BTreeSet<Thing> {
    let leader = Thing::Leader {
        instance: INSTANCE,
        epoch,
        current: true,
    };
    let mut found = BTreeSet::from([Thing::JobManager(INSTANCE), leader]);
    let mut processes = BTreeMap::new();
    for taskmanager in coordinator.taskmanagers() {
        if let Some(index) = numbers.get(&taskmanager.id.0) {
            let process = Process {
                index: *index,
                incarnation: taskmanager.incarnation.0,
            };
            found.insert(Thing::TaskManager(process));
            processes.insert(taskmanager.id, process);
        }
    }
    for job in coordinator.jobs() {
        for (task, shown) in subtasks(coordinator, &job) {
            let place = shown.location.as_ref();
            let process = place.and_then(|(name, _)| processes.get(name));
            if let Some((process, kind)) = process.zip(span_kind(shown.state)) {
                let id = AttemptId {
                    job: job.id,
                    task,
                    attempt: shown.attempt,
                };
                found.insert(Thing::Attempt(*process, id, kind));
            }
        }
    }
    found
}

fn subtasks(coordinator: &Coordinator, job: &JobSummary) -> Vec<(TaskId, SubtaskDetails)> {
    let mut all = Vec::new();
    for vertex in (0..).map(VertexIndex) {
        let Some(subtasks) = coordinator.subtasks(job.id, vertex) else {
            break;
        };
        all.extend(subtasks.into_iter().map(|shown| {
            let subtask = shown.subtask;
            (TaskId { vertex, subtask }, shown)
        }));
    }
    all
}

fn span_kind(state: ExecutionState) -> Option<SpanKind> {
    match state {
        ExecutionState::Deploying | ExecutionState::Initializing => Some(SpanKind::Restoring),
        ExecutionState::Running => Some(SpanKind::Running),
        ExecutionState::Canceling => Some(SpanKind::Stopping),
        ExecutionState::Created
        | ExecutionState::Scheduled
        | ExecutionState::Finished
        | ExecutionState::Canceled
        | ExecutionState::Failed => None,
    }
}
