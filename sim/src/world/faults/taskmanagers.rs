//! What happens to TaskManager processes and their tasks: crashes, pauses, exceptions.

use crate::tape::Stream;
use crate::world::World;
use crate::world::event::{Event, Process, Repair};

impl World {
    /// A TaskManager's process that lives, if any does.
    pub(super) fn any_process(&mut self) -> Option<Process> {
        let up = self.taskmanagers.iter().filter(|node| node.is_up());
        let up: Vec<_> = up.map(|node| node.process).collect();
        (!up.is_empty()).then(|| self.decisions.choice(Stream::Faults, &up))
    }

    pub(super) fn crash_taskmanager(&mut self) {
        if let Some(process) = self.any_process() {
            let silently = self.decisions.chance(Stream::Faults, 300);
            self.taskmanager_dies(process.index, silently);
            let back = self.now + self.fault_duration();
            self.queue
                .push(back, Event::TaskManagerStart(process.index));
        }
    }

    pub(super) fn pause_taskmanager(&mut self) {
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

    pub(super) fn resume_taskmanager(&mut self, process: Process) {
        let Some(node) = self.node(process) else {
            return;
        };
        node.paused = false;
        for event in std::mem::take(&mut node.backlog) {
            self.queue.push(self.now, event);
        }
    }

    pub(super) fn fail_any_task(&mut self) {
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
}
