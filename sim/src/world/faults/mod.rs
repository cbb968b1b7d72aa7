//! What breaks, when, for how long; and how everything but the permanently dead heals in the end.

mod jobmanagers;
mod network;
mod taskmanagers;

pub(crate) use jobmanagers::Moment;

use crate::marks::Mark;
use crate::plan::options::{FaultKind, Micros};
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Repair};
use std::collections::VecDeque;

/// What is armed.
#[derive(Default)]
pub(crate) struct Faults {
    /// The JobManager dies when one of these moments has come so many times.
    armed: VecDeque<(Moment, u64)>,
}

impl World {
    /// Something breaks, and the next fault is planned.
    pub(crate) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let next = self.now + self.draw(Stream::Faults, &self.options.faults.pause.clone());
        self.queue.push(next, Event::Fault);
        let kinds = self.options.faults.kinds.clone();
        let kind = self.decisions.choice(Stream::Faults, &kinds);
        self.note(Lane::Faults, "fault", kind.name());
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
                self.lay_ambush();
            }
        }
    }

    fn fault_duration(&mut self) -> Micros {
        self.draw(Stream::Faults, &self.options.faults.duration.clone())
    }

    fn mark_pause(&mut self, duration: Micros) {
        let timeout = self.options.cluster.heartbeat_timeout.as_micros();
        if u128::from(duration) > timeout {
            self.marks.hit(Mark::LongPause);
        }
    }

    pub(crate) fn repair(&mut self, repair: Repair) {
        match repair {
            Repair::ResumeTaskManager(process) => self.resume_taskmanager(process),
            Repair::ResumeJobManager(candidate) => self.resume_process(candidate),
            Repair::Depose(instance) => {
                if self.current != Some(instance) {
                    self.term_ends(instance, false);
                }
            }
            Repair::Link(block) => self.network.unblock(block),
            Repair::Store => self.store.outage = false,
        }
    }

    /// Faults end: everything goes on but the TaskManagers that stay dead.
    pub(crate) fn heal(&mut self) {
        self.note(Lane::Faults, "heal", "everything heals");
        self.calm = true;
        self.faults.armed.clear();
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
        self.heal_election();
        self.begin_judging();
    }
}
