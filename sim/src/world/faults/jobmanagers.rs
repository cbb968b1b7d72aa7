//! What happens to JobManager processes: crashes, at the worst of moments too, and pauses.

use crate::marks::Mark;
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Instance, Repair};

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

pub(super) const MOMENTS: [Moment; 6] = [
    Moment::StoreSent,
    Moment::StoreApplied,
    Moment::BeforeAcknowledgement,
    Moment::DeploySent,
    Moment::CompletionSent,
    Moment::TriggerSent,
];

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
        self.note(Lane::Faults, "armed", &moment);
        self.crash_jobmanager(instance);
        true
    }

    pub(super) fn crash_jobmanager(&mut self, instance: Instance) {
        let silently = self.decisions.chance(Stream::Faults, 300);
        self.note(Lane::JobManager(instance.0), "dies", &silently);
        self.jobmanager_dies(instance, silently);
        let delay = self.fault_duration();
        self.elect(delay);
    }

    /// The JobManager stands still; another one takes over; the first one wakes up and does not know.
    pub(super) fn pause_jobmanager(&mut self) {
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

    pub(super) fn resume_jobmanager(&mut self, instance: Instance) {
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        node.paused = false;
        for event in std::mem::take(&mut node.backlog) {
            self.queue.push(self.now, event);
        }
    }
}
