//! What breaks, when, for how long; and how everything but the permanently dead heals in the end.

use crate::event::{Event, Instance, Process, Repair};
use crate::marks::Mark;
use crate::network::Node;
use crate::options::{FaultKind, Micros};
use crate::rng::Stream;
use crate::world::World;

/// A moment at which a crash hurts most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Moment {
    /// A write is ordered and on its way.
    StoreSent,
    /// A write is applied and its answer on the way.
    StoreApplied,
    /// An acknowledgement arrives.
    BeforeAcknowledgement,
    /// A deployment is on its way to one TaskManager, not yet to the next.
    DeploySent,
    /// One TaskManager will learn that a checkpoint is complete.
    CompletionSent,
    /// One TaskManager will learn of a checkpoint.
    TriggerSent,
}

const MOMENTS: [Moment; 6] = [
    Moment::StoreSent,
    Moment::StoreApplied,
    Moment::BeforeAcknowledgement,
    Moment::DeploySent,
    Moment::CompletionSent,
    Moment::TriggerSent,
];

/// What is armed.
#[derive(Default)]
pub(crate) struct Faults {
    /// The JobManager dies when this moment has come so many times.
    armed: Option<(Moment, u64)>,
}

impl World {
    /// A moment has come. Tells whether the JobManager died of it.
    pub(crate) fn moment(&mut self, moment: Moment, instance: Instance) -> bool {
        let Some((armed, left)) = &mut self.faults.armed else {
            return false;
        };
        if *armed != moment || self.current != Some(instance) {
            return false;
        }
        if *left > 0 {
            *left -= 1;
            return false;
        }
        self.faults.armed = None;
        self.marks.hit(Mark::TargetedCrashHit);
        self.trace.note(self.now, &moment, "crash at");
        self.crash_jobmanager(instance);
        true
    }

    /// Something breaks, and the next fault is planned.
    pub(crate) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let next = self.now + self.draw(Stream::Faults, &self.options.faults.pause.clone());
        self.queue.push(next, Event::Fault);
        let kinds = self.options.faults.kinds.clone();
        let kind = self.decisions.choice(Stream::Faults, &kinds);
        self.trace.note(self.now, &kind.name(), "fault");
        match kind {
            FaultKind::TaskManagerCrash => self.crash_taskmanager(),
            FaultKind::TaskManagerPause => self.pause_taskmanager(),
            FaultKind::JobManagerCrash => {
                if let Some(instance) = self.current {
                    self.crash_jobmanager(instance);
                }
            }
            FaultKind::JobManagerPause => self.pause_jobmanager(),
            FaultKind::ConnectionBreak => self.break_any_connection(),
            FaultKind::Partition => self.partition(true),
            FaultKind::OneWayPartition => self.partition(false),
            FaultKind::StoreOutage => {
                self.store.outage = true;
                let until = self.now + self.fault_duration();
                self.queue.push(until, Event::Repair(Repair::Store));
            }
            FaultKind::TaskFailure => self.fail_any_task(),
            FaultKind::TargetedCrash => {
                let moment = self.decisions.choice(Stream::Faults, &MOMENTS);
                let times = self.decisions.below(Stream::Faults, 8);
                self.faults.armed = Some((moment, times));
            }
        }
    }

    fn fault_duration(&mut self) -> Micros {
        self.draw(Stream::Faults, &self.options.faults.duration.clone())
    }

    /// A TaskManager's process that lives, if any does.
    fn any_process(&mut self) -> Option<Process> {
        let up = self.taskmanagers.iter().filter(|node| node.is_up());
        let up: Vec<_> = up.map(|node| node.process).collect();
        (!up.is_empty()).then(|| self.decisions.choice(Stream::Faults, &up))
    }

    fn crash_taskmanager(&mut self) {
        if let Some(process) = self.any_process() {
            let silently = self.decisions.chance(Stream::Faults, 300);
            self.taskmanager_dies(process.index, silently);
            let back = self.now + self.fault_duration();
            self.queue
                .push(back, Event::TaskManagerStart(process.index));
        }
    }

    fn pause_taskmanager(&mut self) {
        let duration = self.fault_duration() * 2;
        let Some(process) = self.any_process() else {
            return;
        };
        self.mark_pause(duration);
        if let Some(node) = self.node(process) {
            node.paused = true;
        }
        let resume = Repair::ResumeTaskManager(process);
        self.queue.push(self.now + duration, Event::Repair(resume));
    }

    fn mark_pause(&mut self, duration: Micros) {
        let timeout = self.options.cluster.heartbeat_timeout.as_micros();
        if u128::from(duration) > timeout {
            self.marks.hit(Mark::LongPause);
        }
    }

    fn crash_jobmanager(&mut self, instance: Instance) {
        let silently = self.decisions.chance(Stream::Faults, 300);
        self.trace
            .note(self.now, &(instance.0, silently), "jm dies");
        self.jobmanager_dies(instance, silently);
        let delay = self.fault_duration();
        self.elect(delay);
    }

    /// The JobManager stands still; another one takes over; the first one wakes up and does not know.
    fn pause_jobmanager(&mut self) {
        let Some(instance) = self.current else {
            return;
        };
        let Some(node) = self
            .jobmanagers
            .get_mut(&instance)
            .filter(|node| !node.paused)
        else {
            return;
        };
        node.paused = true;
        let duration = self.fault_duration();
        self.mark_pause(duration);
        let resume = Repair::ResumeJobManager(instance);
        self.queue.push(self.now + duration, Event::Repair(resume));
        if self.decisions.chance(Stream::Faults, 700) {
            self.elect(duration / 2);
        }
    }

    fn break_any_connection(&mut self) {
        let ids = self.network.ids();
        if !ids.is_empty() {
            let id = self.decisions.choice(Stream::Faults, &ids);
            self.break_connection(id);
        }
    }

    fn partition(&mut self, both_ways: bool) {
        let Some(process) = self.any_process() else {
            return;
        };
        let here = Node::TaskManager(process);
        let mut others: Vec<_> = self.current.map(Node::JobManager).into_iter().collect();
        let peers = self.taskmanagers.iter().filter(|node| node.is_up());
        let peers = peers.map(|node| Node::TaskManager(node.process));
        others.extend(peers.filter(|node| *node != here));
        if others.is_empty() {
            return;
        }
        let there = self.decisions.choice(Stream::Faults, &others);
        let (from, to) = self
            .decisions
            .choice(Stream::Faults, &[(here, there), (there, here)]);
        let until = self.now + 2 * self.fault_duration();
        let block = self.network.block(from, to);
        self.queue.push(until, Event::Repair(Repair::Link(block)));
        if both_ways {
            let block = self.network.block(to, from);
            self.queue.push(until, Event::Repair(Repair::Link(block)));
        }
    }

    fn fail_any_task(&mut self) {
        let tasks: Vec<_> = self.checks.running().collect();
        if tasks.is_empty() {
            return;
        }
        let (process, attempt) = self.decisions.choice(Stream::Faults, &tasks);
        let paused = self.node(process).is_none_or(|node| node.paused);
        if !paused {
            self.task_fails(process, attempt, "it was told to throw");
        }
    }

    pub(crate) fn repair(&mut self, repair: Repair) {
        match repair {
            Repair::ResumeTaskManager(process) => self.resume_taskmanager(process),
            Repair::ResumeJobManager(instance) => {
                self.resume_jobmanager(instance);
                // For a while it acts as if it still led; then its election tells it.
                let depose = Repair::Depose(instance);
                let until = self.now + self.fault_duration();
                self.queue.push(until, Event::Repair(depose));
            }
            Repair::Depose(instance) => {
                if self.current != Some(instance) {
                    self.jobmanager_dies(instance, false);
                }
            }
            Repair::Link(block) => self.network.unblock(block),
            Repair::Store => self.store.outage = false,
        }
    }

    fn resume_taskmanager(&mut self, process: Process) {
        let Some(node) = self.node(process) else {
            return;
        };
        node.paused = false;
        for event in std::mem::take(&mut node.backlog) {
            self.queue.push(self.now, event);
        }
    }

    fn resume_jobmanager(&mut self, instance: Instance) {
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        node.paused = false;
        for event in std::mem::take(&mut node.backlog) {
            self.queue.push(self.now, event);
        }
    }

    /// Faults end: everything goes on but the TaskManagers that stay dead.
    pub(crate) fn heal(&mut self) {
        self.trace.note(self.now, &"everything heals", "fault");
        self.calm = true;
        self.faults.armed = None;
        self.store.outage = false;
        self.network.unblock_all();
        let living = self.taskmanagers.len() - self.options.faults.dead;
        for index in 0..self.taskmanagers.len() {
            let process = self.taskmanagers[index].process;
            if index >= living {
                self.taskmanager_dies(index, true);
            } else if self.is_alive(process) {
                self.resume_taskmanager(process);
            } else {
                self.queue.push(self.now, Event::TaskManagerStart(index));
            }
        }
        let instances: Vec<_> = self.jobmanagers.keys().copied().collect();
        for instance in instances {
            self.repair(Repair::ResumeJobManager(instance));
        }
        if self.current.is_none() {
            self.elect(0);
        }
        self.begin_judging();
    }
}
