//! How a JobManager process comes to lead, and how it ends.

use super::JobManagerNode;
use crate::marks::Mark;
use crate::plan::options::{MS, Micros};
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Instance};
use crate::world::network::Node;
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::{Coordinator, Input};
use std::collections::BTreeMap;

impl World {
    /// A new JobManager process takes the place of whichever was current.
    pub(crate) fn elect(&mut self, delay: Micros) {
        let instance = Instance(self.next_instance);
        self.next_instance += 1;
        self.jobmanagers.insert(
            instance,
            JobManagerNode {
                epoch: Epoch(0),
                coordinator: None,
                paused: false,
                backlog: Vec::new(),
                sessions: BTreeMap::new(),
                connections: BTreeMap::new(),
                names: BTreeMap::new(),
                records: Vec::new(),
                wake_at: None,
                steps: 0,
                had_taskmanagers: false,
            },
        );
        self.current = Some(instance);
        let start = Event::JobManagerStart(instance);
        self.queue.push(self.now + delay, start);
    }

    pub(crate) fn jobmanager_starts(&mut self, instance: Instance) {
        if !self.jobmanagers.contains_key(&instance) {
            return;
        }
        // It stood still while another one was elected: it never comes to lead.
        if self.current != Some(instance) {
            self.jobmanager_dies(instance, false);
            return;
        }
        let latency = self.draw(Stream::Store, &self.options.store.latency.clone());
        let again = Event::JobManagerStart(instance);
        if self.store.outage {
            self.queue.push(self.now + latency + 100 * MS, again);
            return;
        }
        let epoch = self.store.mint();
        let verdict = self.checks.minted(epoch);
        self.verdict(verdict);
        if !self.calm
            && self
                .decisions
                .chance(Stream::Store, self.options.store.unknown)
        {
            self.marks.hit(Mark::EpochAnswerLost);
            self.queue.push(self.now + latency + 100 * MS, again);
            return;
        }
        let records = self.store.read();
        if let Some(node) = self.jobmanagers.get_mut(&instance) {
            node.epoch = epoch;
            node.records = records;
        }
        let recover = Event::JobManagerRecover(instance);
        self.queue.push(self.now + latency, recover);
    }

    pub(crate) fn jobmanager_recovers(&mut self, instance: Instance) {
        let now = self.timestamp();
        let config = self.options.cluster.clone();
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        let (epoch, records) = (node.epoch, std::mem::take(&mut node.records));
        self.note(Lane::JobManager(instance.0), "recover", &(epoch, &records));
        self.checks
            .recovers(instance, config.clone(), epoch, &records, now);
        self.recordings
            .recovers(instance, now, &config, epoch, &records);
        match Coordinator::recover(config, epoch, records, now) {
            Ok(coordinator) => {
                if let Some(node) = self.jobmanagers.get_mut(&instance) {
                    node.coordinator = Some(coordinator);
                }
                self.jobmanager_input(instance, Input::Wake);
            }
            Err(problem) => self.fail("what_is_stored_can_be_recovered", problem.to_string()),
        }
    }

    pub(super) fn step_down(&mut self, instance: Instance) {
        self.jobmanager_dies(instance, false);
        if self.current.is_none() {
            self.elect(100 * MS);
        }
    }

    /// The process is gone, and with it everything that is not in the store.
    pub(crate) fn jobmanager_dies(&mut self, instance: Instance, silently: bool) {
        let Some(node) = self.jobmanagers.remove(&instance) else {
            return;
        };
        if self
            .store
            .under_way()
            .any(|write| write.instance == instance)
        {
            self.marks.hit(Mark::LeaderDiesDuringWrite);
        }
        let coordinator = node.coordinator.as_ref();
        let pending = coordinator.is_some_and(|coordinator| {
            let mut jobs = coordinator.jobs();
            let pending = |id| {
                coordinator
                    .checkpoints(id)
                    .is_some_and(|c| c.in_progress > 0)
            };
            jobs.any(|job| pending(job.id))
        });
        if pending {
            self.marks.hit(Mark::LeaderDiesWithCheckpointPending);
        }
        let verdict = self.checks.gone(instance, node.coordinator.as_ref());
        self.verdict(verdict);
        self.abandon(Node::JobManager(instance), silently);
        if self.current == Some(instance) {
            self.current = None;
        }
    }
}
