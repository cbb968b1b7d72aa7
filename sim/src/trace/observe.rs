//! Spans of time, found by looking at the world after every event: what is there and was not begins, what
//! was there and is not ends. So nothing that lives, dies, breaks or heals has to tell.

use crate::dataflow::task::Phase;
use crate::plan::options::Micros;
use crate::trace::told::{Subject, name_of_attempt};
use crate::trace::{Lane, Record, Span, SpanKind, Timeline};
use crate::world::World;
use crate::world::event::{Instance, Process};
use crate::world::network::{Hosts, Node};
use jobmanager_core::id::{AttemptId, CheckpointId, Epoch, JobId};
use jobmanager_core::state::JobStatus;
use std::collections::{BTreeMap, BTreeSet};

/// Whose things are compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// What the world has.
    World,
    /// What a coordinator shows.
    Coordinator(Instance),
}

/// Something that is there for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    JobManager(Instance),
    Leader {
        instance: Instance,
        epoch: Epoch,
        current: bool,
    },
    TaskManager(Process),
    Pause(Node),
    Cut {
        from: Hosts,
        to: Hosts,
    },
    Outage,
    Attempt(Process, AttemptId, SpanKind),
    Job(JobId, JobStatus),
    Checkpoint(JobId, CheckpointId),
}

/// The spans that have not ended.
#[derive(Debug, Default)]
pub(super) struct Observed {
    open: BTreeMap<(Group, Thing), usize>,
    endings: BTreeMap<AttemptId, &'static str>,
}

impl Observed {
    /// An attempt ended so; its span will end within the same event.
    pub(super) fn ended(&mut self, attempt: AttemptId, ending: &'static str) {
        self.endings.insert(attempt, ending);
    }

    /// These things of a group are there now.
    pub(super) fn settle(
        &mut self,
        timeline: &mut Timeline,
        now: Micros,
        group: Group,
        found: BTreeSet<Thing>,
        outcome: impl Fn(&Thing) -> String,
    ) {
        let gone = |(of, thing): &(Group, Thing)| *of == group && !found.contains(thing);
        let gone: Vec<_> = self.open.keys().copied().filter(gone).collect();
        for key in gone {
            if let Some(at) = self.open.remove(&key) {
                timeline.spans[at].end = Some(now);
                timeline.spans[at].outcome = outcome(&key.1);
            }
        }
        for thing in found {
            if self.open.contains_key(&(group, thing)) {
                continue;
            }
            if let Some(at) = timeline.begin(span(group, &thing, now)) {
                self.open.insert((group, thing), at);
            }
        }
    }

    fn coordinators(&self) -> BTreeSet<Instance> {
        let groups = self.open.keys().filter_map(|(group, _)| match group {
            Group::World => None,
            Group::Coordinator(instance) => Some(*instance),
        });
        groups.collect()
    }
}

/// The lane of a node.
pub(crate) fn lane_of(node: Node) -> Lane {
    match node {
        Node::JobManager(instance) => Lane::JobManager(instance.0),
        Node::TaskManager(process) => Lane::TaskManager(process.index),
    }
}

fn span(group: Group, thing: &Thing, now: Micros) -> Span {
    let coordinator = match group {
        Group::World => Lane::Faults,
        Group::Coordinator(instance) => Lane::JobManager(instance.0),
    };
    let (lane, kind, label, about) = match thing {
        Thing::JobManager(instance) => {
            let lane = Lane::JobManager(instance.0);
            (lane, SpanKind::Life, "process".to_owned(), None)
        }
        Thing::Leader {
            instance,
            epoch,
            current,
        } => {
            let lane = Lane::JobManager(instance.0);
            let (kind, verb) = if *current {
                (SpanKind::Leads, "leads")
            } else {
                (SpanKind::Outdated, "outdated")
            };
            (lane, kind, format!("{verb}, epoch {}", epoch.0), None)
        }
        Thing::TaskManager(process) => {
            let lane = Lane::TaskManager(process.index);
            let label = format!("life {}", process.incarnation);
            (lane, SpanKind::Life, label, None)
        }
        Thing::Pause(node) => (lane_of(*node), SpanKind::Pause, "paused".to_owned(), None),
        Thing::Cut { from, to } => {
            let label = format!("{to} does not hear {from}");
            (Lane::Faults, SpanKind::Cut, label, None)
        }
        Thing::Outage => (Lane::Store, SpanKind::Outage, "outage".to_owned(), None),
        Thing::Attempt(process, id, kind) => {
            let lane = Lane::TaskManager(process.index);
            let about = Subject {
                task: Some(id.task),
                attempt: Some(id.attempt),
                ..Subject::job(id.job)
            };
            (lane, *kind, name_of_attempt(*id), Some(about))
        }
        Thing::Job(job, status) => {
            let about = Some(Subject::job(*job));
            (coordinator, SpanKind::Job, status.to_string(), about)
        }
        Thing::Checkpoint(job, id) => {
            let about = Subject {
                checkpoint: Some(*id),
                ..Subject::job(*job)
            };
            let label = format!("checkpoint {}", id.0);
            (coordinator, SpanKind::Checkpoint, label, Some(about))
        }
    };
    Span {
        lane,
        kind,
        begin: now,
        end: None,
        label,
        outcome: String::new(),
        about,
    }
}

impl Record {
    /// These things of the world are there now.
    pub(super) fn settle(&mut self, now: Micros, found: BTreeSet<Thing>) {
        let endings = std::mem::take(&mut self.observed.endings);
        let outcome = |thing: &Thing| match thing {
            Thing::Attempt(_, id, _) => endings.get(id).copied().unwrap_or_default().to_owned(),
            Thing::JobManager(_)
            | Thing::Leader { .. }
            | Thing::TaskManager(_)
            | Thing::Pause(_)
            | Thing::Cut { .. }
            | Thing::Outage
            | Thing::Job(..)
            | Thing::Checkpoint(..) => String::new(),
        };
        self.observed
            .settle(&mut self.timeline, now, Group::World, found, outcome);
    }
}

impl World {
    /// An event has happened: what began, what ended, what was lost?
    pub(crate) fn observe(&mut self) {
        if !self.is_watched() {
            return;
        }
        let Some(mut record) = self.trace.record.take() else {
            return;
        };
        record.timeline.event_ends();
        let under_way = self.network.under_way();
        record.timeline.keep_only(&under_way, self.now);
        record.settle(self.now, self.things());
        let (timeline, observed) = (&mut record.timeline, &mut record.observed);
        for instance in observed.coordinators() {
            if !self.jobmanagers.contains_key(&instance) {
                let group = Group::Coordinator(instance);
                let outcome = |_: &Thing| "its JobManager ended".to_owned();
                observed.settle(timeline, self.now, group, BTreeSet::new(), outcome);
            }
        }
        self.trace.record = Some(record);
    }

    /// What is there now.
    fn things(&self) -> BTreeSet<Thing> {
        let mut things = BTreeSet::new();
        for (&instance, node) in &self.jobmanagers {
            things.insert(Thing::JobManager(instance));
            if node.coordinator.is_some() {
                things.insert(Thing::Leader {
                    instance,
                    epoch: node.epoch,
                    current: self.current == Some(instance),
                });
            }
            let process = self.leader(instance);
            if process.is_some_and(|process| process.paused) {
                things.insert(Thing::Pause(Node::JobManager(instance)));
            }
        }
        for node in self.taskmanagers.iter().filter(|node| node.is_up()) {
            things.insert(Thing::TaskManager(node.process));
            if node.paused {
                things.insert(Thing::Pause(Node::TaskManager(node.process)));
            }
            for (attempt, task) in &node.tasks {
                let kind = match task.phase {
                    Phase::Restoring => SpanKind::Restoring,
                    Phase::Running => SpanKind::Running,
                    Phase::Stopping => SpanKind::Stopping,
                };
                things.insert(Thing::Attempt(node.process, *attempt, kind));
            }
        }
        for (from, to) in self.network.blocks() {
            things.insert(Thing::Cut { from, to });
        }
        if self.store.outage {
            things.insert(Thing::Outage);
        }
        things
    }
}
