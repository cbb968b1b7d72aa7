//! What the jobs of the model share: sessions with their slots and heartbeats, commands, writes.

use super::Model;
use super::job::Job;
use super::journal::Answer;
use super::orders::{Fate, Hints, Order, Room, Write};
use jobmanager_core::id::{
    Attempt, Incarnation, JobId, RequestId, SessionId, SlotIndex, TaskId, TaskManagerId, TriggerId,
};
use jobmanager_core::jobmanager::{Command, Coordinator, Effect, Input, Reply, SavepointRequest};
use jobmanager_core::message::{FromTaskManager, Hello, StateLocation, TaskReport};
use jobmanager_core::state::JobStatus;
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a registered process may owe a sign of life when another one claims its name.
const CHALLENGE: Duration = Duration::from_secs(3);

/// Who looks so late at a heartbeat has stood still.
const STOOD_STILL: Duration = Duration::from_millis(10);

/// So often nobody is given up for having been silent meanwhile, if that was for less than an interval.
const SPARED: u32 = 3;

/// A registered TaskManager.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) name: TaskManagerId,
    incarnation: Incarnation,
    hellos: u64,
    pub(super) slots: u32,
    /// Whether it has said anything since its hello, and does not owe an answer for an interval: else it is given
    /// nothing.
    pub(super) answered: bool,
    /// Whether it has said anything since its hello.
    heard: bool,
    /// When it ends at the latest, if it has said that it leaves.
    pub(super) leaves: Option<Timestamp>,
    pub(super) dismissed: bool,
    last_heard: Timestamp,
    /// Not given up before then, because the coordinator was late to look.
    spared_until: Option<Timestamp>,
    spared: u32,
    challenged: Option<Timestamp>,
    ask_at: Timestamp,
}

impl Session {
    /// How many slots it has, if it is there, and stays.
    pub(super) fn staying(&self) -> u32 {
        match self.leaves {
            None if self.heard => self.slots,
            None | Some(_) => 0,
        }
    }

    pub(super) fn has_been_heard(&self) -> bool {
        self.heard
    }

    /// How many slots it has for tasks.
    pub(super) fn offered(&self) -> u32 {
        if self.answered && self.leaves.is_none() {
            self.slots
        } else {
            0
        }
    }
}

impl Model {
    /// Has a job do something, if there is such a job.
    pub(super) fn with(
        &mut self,
        id: JobId,
        coordinator: &Coordinator,
        act: impl FnOnce(&mut Job, &mut Room<'_>),
    ) {
        self.within(id, coordinator, |job, room| {
            act(job, room);
            true
        });
    }

    /// As [`Self::with`]; the answer tells whether the job was touched.
    fn within(
        &mut self,
        id: JobId,
        coordinator: &Coordinator,
        act: impl FnOnce(&mut Job, &mut Room<'_>) -> bool,
    ) {
        let mut writes = Vec::new();
        let looks = |job: &Job| job.is_elastic() || job.moving.is_some();
        let free_slots = match self.jobs.get(&id).is_some_and(looks) {
            true => self.free_slots(),
            false => 0,
        };
        let sessions = self.sessions.iter();
        let leaving = sessions.filter_map(|(on, session)| Some((*on, session.leaves?)));
        let leaving = leaving.collect();
        if let Some(job) = self.jobs.get_mut(&id) {
            let mut room = Room {
                now: self.now,
                epoch: self.epoch,
                free_slots,
                leaving,
                max_slots: self.config.max_slots_per_job,
                line: &self.line,
                promised: &mut self.promised,
                hints: Hints(coordinator),
                orders: &mut self.orders,
                writes: &mut writes,
            };
            if act(job, &mut room) {
                self.touched.insert(id);
            }
        }
        self.journal.queue(writes);
    }

    /// Heartbeats that are due, the earliest first; of those that are due at one time, in the order in
    /// which the coordinator gave sessions up.
    pub(super) fn fire(&mut self, effects: &[Effect], coordinator: &Coordinator) {
        let given_up = |on: SessionId| {
            let end = |effect: &Effect| *effect == Effect::Disconnect { session: on };
            effects.iter().position(end)
        };
        let sessions = self.sessions.iter();
        let mut due: Vec<_> = sessions
            .filter(|(_, session)| session.ask_at <= self.now)
            .map(|(on, session)| (session.ask_at, given_up(*on), *on))
            .collect();
        due.sort_unstable();
        for (_, _, on) in due {
            let Some(session) = self.sessions.get_mut(&on) else {
                continue;
            };
            let silent_at = session.last_heard + self.config.heartbeat_timeout;
            let late = self.now.since(session.ask_at);
            let interval = self.config.heartbeat_interval;
            let stood_still = late >= interval || late >= STOOD_STILL && session.spared < SPARED;
            if silent_at <= self.now && stood_still {
                session.spared += u32::from(late < interval);
                session.spared_until = Some(self.now + interval);
            }
            let lost_at = session.spared_until.unwrap_or(silent_at);
            if lost_at <= self.now {
                self.lose(on, false, coordinator);
                continue;
            }
            if late < STOOD_STILL && self.now.since(session.last_heard) > interval + late {
                session.answered = false;
            }
            session.ask_at = lost_at.min(self.now + self.config.heartbeat_interval);
            self.orders.push(Order::Ask(on));
        }
        self.retry_removals();
    }

    pub(super) fn take(&mut self, input: &Input, coordinator: &Coordinator) {
        match input {
            Input::Connected { session, hello } => self.connected(*session, hello, coordinator),
            Input::Message { session, message } => self.heard(*session, message, coordinator),
            Input::Disconnected { session } => self.lose(*session, true, coordinator),
            Input::Stored { commit, outcome } => {
                match self.journal.answered(self.now, *commit, outcome) {
                    Answer::Durable(writes) => self.durable(&writes, coordinator),
                    Answer::Nothing => {}
                    Answer::Fenced => {
                        self.stepped_down = true;
                        self.orders.push(Order::StepDown);
                    }
                }
            }
            Input::Discarded { discard, outcome } => {
                self.discarded(discard, outcome, coordinator);
            }
            Input::Command { request, command } => match command {
                Command::Submit { graph, from } => {
                    self.submit(*request, graph, from.as_deref());
                }
                Command::Cancel(job) => self.of_job(*request, *job, coordinator, |job, room| {
                    job.cancel_requested(room, *request);
                }),
                Command::Rescale { job, bounds } => {
                    self.of_job(*request, *job, coordinator, |job, room| {
                        job.rescale_requested(room, *request, bounds);
                    });
                }
                Command::Checkpoint { job, trigger } => {
                    self.of_job(*request, *job, coordinator, |job, room| {
                        job.checkpoint_demanded(room, *request, *trigger);
                    });
                }
                Command::Savepoint(wanted) => self.savepoint(*request, wanted, coordinator),
            },
            Input::SavepointWritten {
                job,
                checkpoint,
                outcome,
            } => self.metadata_written(*job, *checkpoint, outcome, coordinator),
            Input::Workers { present } => self.workers_listed(present),
            Input::Worker { worker, report } => {
                self.worker_reported(*worker, report, coordinator);
            }
            Input::Wake => {}
        }
    }

    fn connected(&mut self, on: SessionId, hello: &Hello, coordinator: &Coordinator) {
        if self.is_refused(hello, coordinator) {
            self.orders.push(Order::Refuse(on));
            self.orders.push(Order::Disconnect(on));
            return;
        }
        self.orders.push(Order::Welcome(on));
        self.orders.push(Order::Ask(on));
        self.sessions.insert(
            on,
            Session {
                name: hello.taskmanager.clone(),
                incarnation: hello.incarnation,
                hellos: hello.hellos,
                slots: hello.slots,
                answered: false,
                heard: false,
                leaves: None,
                dismissed: false,
                last_heard: self.now,
                spared_until: None,
                spared: 0,
                challenged: None,
                ask_at: self.now + self.config.heartbeat_interval,
            },
        );
        let mut strangers: BTreeMap<(JobId, Attempt), Vec<TaskId>> = BTreeMap::new();
        for item in &hello.inventory {
            let id = item.attempt.job;
            let is_free = item.slot.0 < hello.slots && !self.taken().contains(&(on, item.slot));
            let mut kept = false;
            if self.lives(id) {
                self.with(id, coordinator, |job, room| {
                    kept = job.reported(room, on, item, is_free);
                });
            }
            if !kept {
                let tasks = strangers.entry((id, item.attempt.attempt)).or_default();
                tasks.push(item.attempt.task);
            }
        }
        for ((job, attempt), tasks) in strangers {
            self.orders.push(Order::Cancel(on, job, attempt, tasks));
        }
        if let Some(within) = hello.leaves_within {
            self.leaves(on, within, coordinator);
        }
        let concerned = hello.inventory.iter().map(|item| item.attempt.job);
        let mut concerned: BTreeSet<JobId> = concerned.chain(hello.jobs.iter().copied()).collect();
        concerned.retain(|id| !self.lives(*id));
        concerned.into_iter().for_each(|id| self.forget(on, id));
    }

    /// A job whose result is durable is as unknown as one that nobody submitted.
    fn lives(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id) && !self.ended.contains_key(&id)
    }

    fn forget(&mut self, on: SessionId, id: JobId) {
        self.orders.push(Order::Release(on, id));
        if self.ended.contains_key(&id) {
            self.remove(id);
        }
    }

    /// Whether a TaskManager may not register: it has seen a later leader, or its name is taken by a
    /// process that does not owe a sign of life for too long.
    fn is_refused(&mut self, hello: &Hello, coordinator: &Coordinator) -> bool {
        if hello.seen_epoch > self.epoch {
            // Whether the one that it has seen still counts, the store knows.
            if self.journal.is_idle() {
                self.journal.queue(vec![Vec::new()]);
            }
            return true;
        }
        let mut sessions = self.sessions.iter_mut();
        let known = sessions.find(|(_, known)| known.name == hello.taskmanager);
        let Some((&on, known)) = known else {
            return false;
        };
        if known.incarnation == hello.incarnation && hello.hellos < known.hellos {
            return true;
        }
        let replaced = known.incarnation == hello.incarnation
            || match known.challenged {
                Some(since) => self.now.since(since) >= CHALLENGE,
                None => {
                    known.challenged = Some(self.now);
                    self.orders.push(Order::Ask(on));
                    false
                }
            };
        if replaced {
            self.lose(on, true, coordinator);
        }
        !replaced
    }

    fn heard(&mut self, on: SessionId, message: &FromTaskManager, coordinator: &Coordinator) {
        let Some(session) = self.sessions.get_mut(&on) else {
            return;
        };
        session.answered = true;
        session.last_heard = self.now;
        session.spared_until = None;
        session.spared = 0;
        session.challenged = None;
        if !std::mem::replace(&mut session.heard, true) {
            let name = session.name.clone();
            self.worker_registers(on, &name, coordinator);
        }
        match message {
            FromTaskManager::Heartbeat { .. } => {}
            FromTaskManager::Leave { within } => self.leaves(on, *within, coordinator),
            FromTaskManager::TaskStates(changes) => {
                let mut late = BTreeSet::new();
                for change in changes {
                    let id = change.attempt.job;
                    if self.lives(id) {
                        self.with(id, coordinator, |job, room| {
                            job.task_reported(room, on, change);
                        });
                    } else {
                        if is_end(&change.report) {
                            late.insert(id);
                        }
                        let mut writes = Vec::new();
                        let hints = Hints(coordinator);
                        let mut room = Room {
                            now: self.now,
                            epoch: self.epoch,
                            free_slots: 0,
                            leaving: BTreeMap::new(),
                            max_slots: self.config.max_slots_per_job,
                            line: &self.line,
                            promised: &mut self.promised,
                            hints,
                            orders: &mut self.orders,
                            writes: &mut writes,
                        };
                        room.stop_stranger(on, change);
                    }
                }
                late.into_iter().for_each(|id| self.forget(on, id));
            }
            FromTaskManager::Acknowledge(ack) => {
                let id = ack.attempt.job;
                let in_file = matches!(ack.state.location, StateLocation::File(_));
                if !self.ended.contains_key(&id) {
                    self.with(id, coordinator, |job, room| job.acknowledged(room, on, ack));
                } else if in_file {
                    self.remove(id);
                }
            }
            FromTaskManager::Decline {
                attempt,
                checkpoint,
                reason,
                ..
            } => self.with(attempt.job, coordinator, |job, room| {
                job.declined(room, on, *attempt, *checkpoint, *reason);
            }),
        }
    }

    pub(super) fn lose(&mut self, on: SessionId, may_return: bool, coordinator: &Coordinator) {
        let Some(session) = self.sessions.remove(&on) else {
            return;
        };
        self.worker_lost(&session.name, may_return && session.leaves.is_none());
        self.orders.push(Order::Disconnect(on));
        let there = |job: &&Job| job.sessions().contains(&on);
        let concerned: Vec<JobId> = self.jobs.values().filter(there).map(|job| job.id).collect();
        for id in concerned {
            self.with(id, coordinator, |job, room| {
                job.session_lost(room, on, session.leaves.is_some());
            });
        }
    }

    fn savepoint(
        &mut self,
        request: RequestId,
        wanted: &SavepointRequest,
        coordinator: &Coordinator,
    ) {
        let (id, trigger) = (wanted.job, wanted.trigger);
        if self.savepoints.contains(&(id, trigger)) {
            let reply = Reply::SavepointAccepted(id, trigger);
            return self.orders.push(Order::Reply(request, reply));
        }
        self.of_job(request, id, coordinator, |job, room| {
            job.savepoint_requested(room, request, wanted);
        });
    }

    /// A client asks something of a job.
    fn of_job(
        &mut self,
        request: RequestId,
        id: JobId,
        coordinator: &Coordinator,
        act: impl FnOnce(&mut Job, &mut Room<'_>),
    ) {
        let reply = if let Some(status) = self.ended.get(&id) {
            Reply::AlreadyEnded(id, *status)
        } else if self.jobs.contains_key(&id) {
            return self.with(id, coordinator, act);
        } else {
            Reply::UnknownJob(id)
        };
        self.orders.push(Order::Reply(request, reply));
    }

    /// These are durable now: what waited for them happens, in the order of the writes.
    fn durable(&mut self, writes: &[Vec<Write>], coordinator: &Coordinator) {
        for write in writes {
            // What is written with a savepoint or the end of a job follows from that.
            let first = write
                .iter()
                .find(|write| !matches!(write, Write::Savepoint(..)));
            match write.first() {
                Some(Write::Savepoint(id, trigger, fate)) => {
                    self.savepoint_durable((*id, *trigger, *fate), first, coordinator);
                }
                Some(Write::Job(id)) => {
                    let mark = write.iter().any(|write| matches!(write, Write::Mark(..)));
                    self.with(*id, coordinator, |job, room| {
                        job.submission_durable(room);
                        if mark {
                            job.marked(job.checkpoints.first_mark());
                        }
                    });
                }
                Some(Write::Cancel(id)) => self.with(*id, coordinator, Job::cancel_durable),
                Some(Write::Rescale(id, _)) => {
                    self.with(*id, coordinator, Job::rescale_accepted);
                }
                Some(Write::Rescaled(id, ..)) => self.with(*id, coordinator, Job::rescaled),
                Some(Write::Mark(id, next)) => {
                    self.with(*id, coordinator, |job, _| job.marked(*next));
                }
                Some(Write::Checkpoint(record)) => {
                    self.with(record.job, coordinator, |job, room| {
                        job.completed(room, record);
                    });
                }
                Some(Write::Result(id, status, None)) => {
                    self.has_ended(*id, *status, coordinator);
                }
                // The last of a job's records are removed together, and its result may say what outlives it.
                Some(Write::Result(id, _, Some(_))) => {
                    self.jobs.remove(id);
                }
                Some(Write::Delete(key)) => {
                    let id = key.job();
                    self.jobs.remove(&id);
                }
                None => {}
            }
        }
    }

    fn savepoint_durable(
        &mut self,
        (id, trigger, fate): (JobId, TriggerId, Fate),
        with: Option<&Write>,
        coordinator: &Coordinator,
    ) {
        match with {
            Some(Write::Result(id, status, _)) => {
                self.has_ended(*id, *status, coordinator);
            }
            Some(Write::Checkpoint(last)) => self.with(id, coordinator, |job, room| {
                job.savepoint_ended(room, trigger, Some(last));
            }),
            _ if fate == Fate::Wanted => self.with(id, coordinator, |job, room| {
                job.savepoint_accepted(room, trigger);
            }),
            _ => self.with(id, coordinator, |job, room| {
                job.savepoint_ended(room, trigger, None);
            }),
        }
    }

    /// The result of a job is durable.
    fn has_ended(&mut self, id: JobId, status: JobStatus, coordinator: &Coordinator) {
        self.ended.insert(id, status);
        if let Some(job) = self.jobs.get_mut(&id) {
            let computation = job.graph.computation();
            self.computations.insert(id, computation);
            let savepoints = job.all_savepoints_ended().into_iter();
            self.savepoints
                .extend(savepoints.map(|trigger| (id, trigger)));
        }
        self.with(id, coordinator, Job::end_durable);
        self.remove(id);
        for on in self.sessions.keys() {
            self.orders.push(Order::Release(*on, id));
        }
    }

    /// Every job draws its consequences, and the next write starts.
    pub(super) fn settle(&mut self, coordinator: &Coordinator) {
        self.look_at_line();
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.within(id, coordinator, |job, room| {
                let before = (job.status, room.orders.len());
                job.settle(room);
                before != (job.status, room.orders.len()) || !room.writes.is_empty()
            });
            self.line_up(id);
        }
        self.dismiss();
        if let Some(writes) = self.journal.pump(self.now) {
            self.orders.push(Order::Store(writes));
        }
    }

    /// How many slots can be given to tasks.
    pub(super) fn free_slots(&self) -> usize {
        let offered = self.sessions.values().map(Session::offered).sum::<u32>();
        let offers = |on| {
            let session = self.sessions.get(&on);
            session.is_some_and(|session| session.offered() > 0)
        };
        let taken = self.taken().into_iter().filter(|(on, _)| offers(*on));
        (offered as usize).saturating_sub(taken.count())
    }

    /// The slots in which tasks are, each once.
    pub(super) fn taken(&self) -> Vec<(SessionId, SlotIndex)> {
        let tasks = self.jobs.values().flat_map(|job| &job.tasks);
        let mut taken = Vec::with_capacity(self.jobs.values().map(|job| job.tasks.len()).sum());
        for at in tasks.filter_map(|task| task.at) {
            if !taken.contains(&at) {
                taken.push(at);
            }
        }
        taken
    }
}

/// Whether the attempt has ended.
fn is_end(report: &TaskReport) -> bool {
    match report {
        TaskReport::Finished | TaskReport::Canceled | TaskReport::Failed { .. } => true,
        TaskReport::Initializing | TaskReport::Running | TaskReport::EndOfData => false,
    }
}
