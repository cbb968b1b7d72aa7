//! What happens to TaskManager processes and their tasks: crashes alone and together, restarts, pauses,
//! slowness, exceptions.

use crate::marks::Mark;
use crate::plan::options::{MS, Micros, SECOND};
use crate::world::World;
use crate::world::event::{Event, Process, Repair, Strike};
use crate::world::network::{Hosts, Node};
use jobmanager_core::id::{AttemptId, JobId, TaskId};
use jobmanager_core::taskmanager::Input;
use std::time::Duration;

impl World {
    /// A TaskManager's process that lives, if any does.
    fn any_process(&mut self) -> Option<Process> {
        let up = self.taskmanagers.iter().filter(|node| node.is_up());
        let up: Vec<_> = up.map(|node| node.process).collect();
        (!up.is_empty()).then(|| up[self.fault_victim(up.len())])
    }

    pub(super) fn crash_taskmanager(&mut self) -> bool {
        let Some(process) = self.any_process() else {
            return false;
        };
        let duration = self.fault_duration();
        self.crash(process.index, duration);
        true
    }

    /// A process dies, and its peers learn it soon or late; it comes back under its address or a new one.
    pub(super) fn crash(&mut self, index: usize, down: Micros) {
        let silently = self.fault_chance(300);
        let moves = self.fault_chance(400);
        self.taskmanagers[index].moves = moves;
        self.taskmanager_dies(index, silently);
        self.queue
            .push(self.now + down, Event::TaskManagerStart(index));
    }

    /// A TaskManager is told to leave, as a node that is drained does it: in good time, or at short notice.
    pub(super) fn send_taskmanager_away(&mut self) -> bool {
        let Some(process) = self.any_process() else {
            return false;
        };
        let within = self.fault_notice();
        self.send_away(process.index, within);
        true
    }

    /// How long a TaskManager may take to leave.
    fn fault_notice(&mut self) -> Micros {
        let duration = self.fault_duration();
        [25 * SECOND, 5 * SECOND, 300 * MS, duration][self.fault_choice(4)]
    }

    pub(crate) fn send_away(&mut self, index: usize, within: Micros) {
        let node = &mut self.taskmanagers[index];
        // One that stands still does not notice.
        if node.is_up() && !node.paused {
            node.had_tasks = !node.tasks.is_empty();
            let process = node.process;
            let within = Duration::from_micros(within);
            self.worker_input(process, Input::Leave { within });
        }
    }

    pub(super) fn pause_taskmanager(&mut self) -> bool {
        let duration = self.fault_duration() * 2;
        let Some(process) = self.any_process() else {
            return false;
        };
        self.mark_pause(duration);
        if let Some(node) = self.node(process) {
            node.paused = true;
        }
        self.repair_after(duration, Repair::ResumeTaskManager(process));
        true
    }

    pub(super) fn resume_taskmanager(&mut self, process: Process) {
        let now = self.now;
        let Some(node) = self.node(process) else {
            return;
        };
        node.paused = false;
        // What it did not hear meanwhile, it hears now, or its alarm, whichever came first.
        node.heard = node.clock.counted(now);
        for event in std::mem::take(&mut node.backlog) {
            self.queue.push(self.now, event);
        }
    }

    pub(super) fn slow_taskmanager(&mut self) -> bool {
        let index = self.fault_victim(self.taskmanagers.len());
        let duration = 2 * self.fault_duration();
        self.faults.slow[index] = [3, 10, 50, 500][self.fault_choice(4)];
        self.faults.strains = true;
        self.repair_after(duration, Repair::Speed(index));
        true
    }

    /// Snapshots become slow; then a TaskManager loses its session, and is slow when it comes back while
    /// some of them are still under way. What it reports then is about attempts that may have been
    /// replaced long since, and it hears of that only late.
    pub(super) fn make_straggler(&mut self) -> bool {
        let Some(process) = self.any_process() else {
            return false;
        };
        let duration = 400 * MS + self.fault_duration();
        self.blobs.slowness = [50, 200][self.fault_choice(2)];
        self.repair_after(2 * duration, Repair::StorageSpeed);
        let straggle = Strike::Straggle(process.index, duration);
        let at = self.now + duration / [8, 2][self.fault_choice(2)];
        self.queue.push(at, Event::Strike(straggle));
        true
    }

    pub(super) fn straggle(&mut self, index: usize, duration: Micros) {
        let node = Node::TaskManager(self.taskmanagers[index].process);
        let connections = self.network.of(node);
        let mut sessions = connections.into_iter().map(|(id, _)| id);
        if let Some(session) = sessions.find(|id| self.network.is_session(*id)) {
            self.break_connection(session);
        }
        self.faults.slow[index] = 100;
        self.faults.strains = true;
        self.repair_after(2 * duration, Repair::Speed(index));
    }

    /// Every TaskManager is restarted, one after the other.
    pub(super) fn restart_all(&mut self) -> bool {
        let count = self.taskmanagers.len();
        let first = self.fault_victim(count);
        let gap = self.fault_duration() / count as u64;
        let down = [gap / 2, gap * 2][self.fault_choice(2)];
        let gently = self.fault_choice(2) == 1;
        let notice = self.fault_notice();
        for turn in 0..count {
            let index = (first + turn) % count;
            let strike = match gently {
                true => Strike::Leave(index, notice),
                false => Strike::Crash(index, down),
            };
            let at = self.now + gap * turn as u64;
            self.queue.push(at, Event::Strike(strike));
        }
        true
    }

    pub(super) fn lose_rack(&mut self) -> bool {
        let racks = self.options.faults.racks;
        let rack = self.fault_victim(racks);
        let count = self.taskmanagers.len();
        let lost: Vec<_> = (0..count).filter(|at| at % racks == rack).collect();
        self.lose(&lost)
    }

    pub(super) fn lose_all(&mut self) -> bool {
        let lost: Vec<_> = (0..self.taskmanagers.len()).collect();
        self.lose(&lost)
    }

    /// All of these die, or are cut off from everybody else, at once.
    fn lose(&mut self, lost: &[usize]) -> bool {
        let duration = self.fault_duration();
        if self.fault_choice(2) == 0 {
            let mask = lost.iter().fold(0, |mask, index| mask | 1 << index);
            self.cut_off(
                Hosts::taskmanagers(mask),
                Hosts::others_than(mask),
                duration,
            );
            return !lost.is_empty();
        }
        for index in lost {
            self.crash(*index, duration);
        }
        !lost.is_empty()
    }

    /// As many TaskManagers go as it takes for slots to be missing; twice, with a short return.
    pub(super) fn come_and_go(&mut self) -> bool {
        let count = self.taskmanagers.len();
        let first = self.fault_victim(count);
        let away = 10 * MS + self.fault_duration();
        let back = [away / 4, away][self.fault_choice(2)];
        let needed: u32 = self.options.jobs.iter().map(|job| job.slots()).sum();
        let mut left: u32 = self.options.slots.iter().sum();
        for turn in 0..count {
            let index = (first + turn) % count;
            left -= self.options.slots[index];
            for round in 0..2 {
                let at = self.now + round * (away + back);
                let crash = Strike::Crash(index, away);
                self.queue.push(at, Event::Strike(crash));
            }
            if left < needed {
                return true;
            }
        }
        true
    }

    /// A task throws: now, or when a checkpoint waits for nothing but its last acknowledgement.
    pub(super) fn fail_any_task(&mut self) -> bool {
        if self.fault_choice(2) == 1 {
            self.faults.throws = true;
            return true;
        }
        let tasks: Vec<_> = self.checks.running().collect();
        if tasks.is_empty() {
            return false;
        }
        let (process, attempt) = tasks[self.fault_victim(tasks.len())];
        self.fail_task(process, attempt)
    }

    /// A checkpoint waits for the acknowledgement of this task only.
    pub(crate) fn one_acknowledgement_is_missing(&mut self, job: JobId, missing: TaskId) {
        if std::mem::take(&mut self.faults.throws) {
            let throw = Strike::Throw(job, missing);
            self.queue.push(self.now, Event::Strike(throw));
        }
    }

    pub(super) fn fail_another_task(&mut self, job: JobId, spared: TaskId) {
        let others = self.checks.running();
        let others = others.filter(|(_, it)| it.job == job && it.task != spared);
        let others: Vec<_> = others.collect();
        if !others.is_empty() {
            let (process, attempt) = others[self.fault_victim(others.len())];
            self.fail_task(process, attempt);
        }
    }

    /// Tells whether the task threw: one whose process stands still does not.
    pub(super) fn fail_task(&mut self, process: Process, attempt: AttemptId) -> bool {
        let paused = self.node(process).is_none_or(|node| node.paused);
        if !paused {
            self.task_fails(process, attempt, "it was told to throw");
        }
        !paused
    }

    /// A TaskManager's new process has its address, or another one.
    pub(crate) fn mark_restart(&mut self, moved: bool) {
        self.marks.hit(Mark::NewIncarnation);
        self.marks.hit(if moved {
            Mark::RestartedAtNewAddress
        } else {
            Mark::RestartedAtSameAddress
        });
    }
}
