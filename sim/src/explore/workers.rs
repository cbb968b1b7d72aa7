//! TaskManagers' processes: what they hear, what they order, how they die.

use super::state::{Said, Task, TaskManager};
use super::step::{Side, Step};
use jobmanager_core::id::{Incarnation, TaskManagerId};
use jobmanager_core::message::{Hardware, ToTaskManager};
use jobmanager_core::taskmanager::{Effect, Input, Worker, WorkerConfig};
use jobmanager_core::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

impl TaskManager {
    /// A process that has not done anything yet.
    pub(super) fn process(tm: usize, slots: u32, incarnation: u64, now: Timestamp) -> Self {
        let config = WorkerConfig {
            taskmanager: TaskManagerId(format!("tm-{tm}")),
            incarnation: Incarnation(incarnation),
            slots,
            data_address: format!("tm-{tm}:1"),
            hardware: Hardware::default(),
            operators: vec!["sink".to_owned(), "source".to_owned()],
            registration_initial: Duration::ZERO,
            registration_max: Duration::ZERO,
        };
        TaskManager {
            incarnation,
            worker: Some(Worker::new(config, now)),
            connecting: false,
            tasks: BTreeMap::new(),
        }
    }
}

impl Step<'_> {
    /// One step of a worker, and everything that it orders.
    pub(super) fn tell_worker(&mut self, tm: usize, input: Input) {
        let now = self.state.now;
        if self.state.taskmanagers[tm].worker.is_none() {
            return;
        }
        self.note(|| format!("tm-{tm} <-"), &input);
        let mut effects = Vec::new();
        self.state.taskmanagers[tm].change(|node| {
            if let Some(worker) = &mut node.worker {
                worker.step(now, input, &mut effects);
            }
        });
        for effect in effects {
            self.note(|| format!("tm-{tm} ->"), &effect);
            self.obey(tm, effect);
        }
    }

    fn obey(&mut self, tm: usize, effect: Effect) {
        match effect {
            Effect::Connect => self.state.taskmanagers[tm].change(|node| node.connecting = true),
            Effect::Close => {
                self.state.taskmanagers[tm].change(|node| node.connecting = false);
                if let Some(link) = self.state.link_of(tm) {
                    self.state.links[link].change(|link| {
                        link.worker_open = false;
                        link.to_worker.clear();
                    });
                }
            }
            Effect::SendHello(hello) => self.say(tm, Said::Hello(hello)),
            Effect::Send(message) => self.say(tm, Said::Message(message)),
            Effect::Start(start) => {
                self.check_start(tm, &start);
                let attempt = start.attempt;
                self.state.taskmanagers[tm].change(|node| {
                    node.tasks.insert(attempt, Task::new(start));
                });
            }
            Effect::Cancel(attempt) => self.task_is_canceled(tm, attempt),
            Effect::GiveUp(_) | Effect::End => self.worker_dies(tm),
            Effect::Trigger {
                attempt,
                checkpoint,
                ..
            } => self.task_is_triggered(tm, attempt, checkpoint),
            Effect::Complete {
                attempt,
                checkpoint,
                finish,
            } => self.task_completes(tm, attempt, checkpoint, finish),
            Effect::Abort {
                attempt,
                checkpoint,
            } => self.task_aborts(tm, attempt, |aligner| aligner.abort(checkpoint)),
            Effect::AbortBelow { attempt, next } => {
                self.task_aborts(tm, attempt, |aligner| aligner.abort_below(next));
            }
        }
    }

    fn say(&mut self, tm: usize, said: Said) {
        if let Some(link) = self.state.link_of(tm)
            && self.state.links[link].leader_open
            && !self.state.links[link].cut
        {
            self.state.links[link].change(|link| link.to_leader.push_back(said));
        }
    }

    pub(super) fn worker_hears(&mut self, at: usize) {
        let tm = self.state.links[at].tm;
        let heard = self.state.links[at].change(|link| link.to_worker.pop_front());
        let Some(envelope) = heard else {
            self.state.links[at].change(|link| link.worker_open = false);
            self.tell_worker(tm, Input::Disconnected);
            return;
        };
        let node = &self.state.taskmanagers[tm];
        let (seen, epoch) = (node.worker.as_ref().map(Worker::epoch), envelope.epoch);
        let refusal = matches!(envelope.message, ToTaskManager::Refused(_));
        let fenced = seen.is_some_and(|seen| epoch < seen) && !refusal;
        let before = fenced.then(|| node.tasks.clone());
        self.tell_worker(tm, Input::Message(envelope));
        let obeyed = before.is_some_and(|before| self.state.taskmanagers[tm].tasks != before);
        self.ensure(!obeyed, "a_command_of_an_old_epoch_is_never_obeyed", || {
            format!("tm-{tm} has seen {seen:?} and obeyed {epoch:?}")
        });
    }

    /// The process dies with its tasks; what it said and was not heard is lost.
    pub(super) fn worker_dies(&mut self, tm: usize) {
        self.state.taskmanagers[tm].change(|node| {
            node.worker = None;
            node.connecting = false;
            node.tasks.clear();
        });
        self.leave_links(|link| (link.tm == tm && link.worker_open).then_some(Side::Worker));
    }

    pub(super) fn worker_starts(&mut self, tm: usize) {
        let incarnation = self.state.taskmanagers[tm].incarnation + 1;
        let (slots, now) = (self.scope.slots, self.state.now);
        self.state.taskmanagers[tm].change(|node| {
            *node = TaskManager::process(tm, slots, incarnation, now);
        });
        self.tell_worker(tm, Input::Wake);
    }
}
