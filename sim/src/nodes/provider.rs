//! The resource provider: starts TaskManagers for coordinators that ask for them, and tells what becomes of those.
//!
//! It outlives coordinators, and tells each all that it tells any; it obeys none any more once a later one has asked which
//! workers there are. There are as many seats for its processes as the run has; who finds none waits for one. A
//! process that has ended is not started again, except that some take two tries.

use crate::marks::Mark;
use crate::plan::WorkerOptions;
use crate::plan::options::{Micros, SECOND};
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Instance, Repair};
use jobmanager_core::id::{Epoch, WorkerId};
use jobmanager_core::jobmanager::{Input, Shortage, WorkerReport};
use jobmanager_core::taskmanager::Worker;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How long a process may take to leave that is ended.
const NOTICE: Micros = 10 * SECOND;

/// What the provider does next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Provision {
    /// A worker is asked for.
    Create(WorkerId),
    /// This coordinator does not need a worker.
    Delete(Epoch, WorkerId),
    /// A new coordinator learns which workers there are.
    List(Instance),
    /// A coordinator learns what has become of a worker.
    Tell(Instance, WorkerId, WorkerReport),
    /// The process of a worker has ended.
    Ended(WorkerId),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Provider {
    /// By position of the TaskManager: whom it works for now.
    seats: BTreeMap<usize, Option<WorkerId>>,
    /// The seats whose process is to start, and has not.
    starting: BTreeSet<usize>,
    /// Those for which there is no seat.
    pending: VecDeque<WorkerId>,
    /// Those that nobody needs any more: a request may come later than that.
    deleted: BTreeSet<WorkerId>,
    /// The latest coordinator that has learned which workers there are: earlier ones order nothing any more.
    epoch: Epoch,
    /// The coordinators that have learned which workers there are.
    told: BTreeSet<Instance>,
    /// When what was told last arrives: nothing that is told later comes before it.
    told_until: Micros,
    /// It does nothing for a while; what is to be done waits.
    out: Option<Vec<Provision>>,
}

impl Provider {
    /// One with these seats, if there is one.
    pub(crate) fn new(options: Option<&WorkerOptions>) -> Provider {
        let seats = options.into_iter().flat_map(|it| &it.seats);
        let seats = (0..).zip(seats).filter(|(_, seat)| **seat);
        Provider {
            seats: seats.map(|(index, _)| (index, None)).collect(),
            ..Provider::default()
        }
    }

    /// Whether a TaskManager's process may start: that of a seat does once for a worker.
    pub(crate) fn lets_start(&mut self, index: usize) -> bool {
        !self.seats.contains_key(&index) || self.starting.remove(&index)
    }

    fn seat_of(&self, worker: WorkerId) -> Option<usize> {
        let mut seats = self.seats.iter();
        let seat = seats.find(|(_, holder)| **holder == Some(worker))?;
        Some(*seat.0)
    }

    /// All workers that it knows of.
    fn workers(&self) -> impl Iterator<Item = WorkerId> {
        let seated = self.seats.values().flatten();
        seated.chain(&self.pending).copied()
    }
}

impl World {
    /// The provider does this after a while.
    pub(crate) fn provide(&mut self, what: Provision) {
        let Some(workers) = &self.options.workers else {
            return;
        };
        let latency = workers.latency.clone();
        let mut at = self.now + self.decisions.range(Stream::Workers, latency);
        if let Provision::List(_) | Provision::Tell(..) = what {
            at = at.max(self.provider.told_until);
            self.provider.told_until = at;
        }
        self.queue.push(at, Event::Provision(what));
    }

    pub(crate) fn provision(&mut self, what: Provision) {
        if let Some(waiting) = &mut self.provider.out {
            waiting.push(what);
            return;
        }
        self.note(Lane::Faults, "provider", &what);
        match what {
            Provision::Create(worker) if worker.epoch < self.provider.epoch => {}
            Provision::Delete(epoch, _) if epoch < self.provider.epoch => {
                self.marks.hit(Mark::OldLeaderReleases);
            }
            Provision::Create(worker) => self.create_worker(worker),
            Provision::Delete(_, worker) => self.delete_worker(worker),
            Provision::List(instance) => {
                self.provider.epoch = self.provider.epoch.max(self.epoch_of(instance));
                self.provider.told.insert(instance);
                let present: Vec<WorkerId> = self.provider.workers().collect();
                if !present.is_empty() {
                    self.marks.hit(Mark::WorkersTakenOver);
                }
                self.jobmanager_input(instance, &Input::Workers { present });
                for worker in self.provider.pending.clone() {
                    let report = no_room();
                    self.jobmanager_input(instance, &Input::Worker { worker, report });
                }
            }
            Provision::Tell(instance, worker, report) => {
                self.jobmanager_input(instance, &Input::Worker { worker, report });
            }
            Provision::Ended(worker) => {
                if let Some(seat) = self.provider.seat_of(worker) {
                    self.seat_is_free(seat);
                }
            }
        }
    }

    /// In which epoch a coordinator leads, or has led.
    pub(crate) fn epoch_of(&self, instance: Instance) -> Epoch {
        let node = self.jobmanagers.get(&instance);
        node.map_or(Epoch(0), |node| node.epoch)
    }

    fn tells(&mut self, worker: WorkerId, report: &WorkerReport) {
        for instance in self.provider.told.clone() {
            self.provide(Provision::Tell(instance, worker, report.clone()));
        }
    }

    fn create_worker(&mut self, worker: WorkerId) {
        if self.provider.deleted.contains(&worker) {
            return;
        }
        let failing = self.options.workers.as_ref().map_or(0, |it| it.failing);
        if self.decisions.chance(Stream::Workers, failing) && !self.calm {
            self.marks.hit(Mark::WorkerFails);
            return self.tells(worker, &gone("it could not start"));
        }
        let mut seats = self.provider.seats.iter();
        let free =
            seats.find(|(index, holder)| holder.is_none() && !self.taskmanagers[**index].is_up());
        let Some(seat) = free.map(|(index, _)| *index) else {
            self.marks.hit(Mark::WorkerFindsNoSeat);
            self.provider.pending.push_back(worker);
            return self.tells(worker, &no_room());
        };
        self.provider.seats.insert(seat, Some(worker));
        self.provider.starting.insert(seat);
        self.taskmanagers[seat].name = worker.name().0;
        self.marks.hit(Mark::WorkerStarts);
        self.queue.push(self.now, Event::TaskManagerStart(seat));
        if self.decisions.chance(Stream::Workers, 200) {
            self.marks.hit(Mark::WorkerStartsAgain);
            self.tells(worker, &WorkerReport::Started);
            self.tells(worker, &WorkerReport::Pending("it starts again".to_owned()));
        }
        self.tells(worker, &WorkerReport::Started);
    }

    fn delete_worker(&mut self, worker: WorkerId) {
        self.provider.deleted.insert(worker);
        self.provider.pending.retain(|pending| *pending != worker);
        let Some(seat) = self.provider.seat_of(worker) else {
            return self.tells(worker, &gone("it was not started"));
        };
        let node = &self.taskmanagers[seat];
        if node.is_up() && !node.paused {
            self.send_away(seat, NOTICE);
        } else {
            self.taskmanager_dies(seat, false);
            self.seat_is_free(seat);
        }
    }

    /// A process has ended: if it was a worker's, the provider notices that after a while.
    pub(crate) fn process_ended(&mut self, index: usize) {
        if let Some(worker) = self.provider.seats.get(&index).copied().flatten() {
            self.provide(Provision::Ended(worker));
        }
    }

    /// A coordinator releases a worker: why?
    pub(crate) fn sight_release(&mut self, worker: WorkerId) {
        let seat = self.provider.seat_of(worker);
        let node = seat.map(|seat| &self.taskmanagers[seat]);
        let is_idle = node.is_some_and(|node| {
            let registered = node.worker.as_ref().is_some_and(Worker::is_registered);
            registered && node.tasks.is_empty()
        });
        self.marks.hit(match node {
            None => Mark::WorkerWithdrawn,
            Some(_) if is_idle => Mark::IdleWorkerReleased,
            Some(_) => Mark::WorkerGivenUp,
        });
    }

    /// What a coordinator says about workers.
    pub(crate) fn sight_workers(&mut self, instance: Instance) {
        let node = self.jobmanagers.get(&instance);
        let coordinator = node.and_then(|node| node.coordinator.as_ref());
        let shortage = coordinator.and_then(|it| it.workers()?.shortage);
        match shortage {
            Some(Shortage::Paused(_)) => self.marks.hit(Mark::WorkersPaused),
            Some(Shortage::Limit) => self.marks.hit(Mark::WorkersAtLimit),
            Some(Shortage::NotListed | Shortage::TooMany) | None => {}
        }
    }

    fn seat_is_free(&mut self, seat: usize) {
        let holder = self.provider.seats.get_mut(&seat).and_then(Option::take);
        self.provider.starting.remove(&seat);
        let Some(worker) = holder else {
            return;
        };
        self.tells(worker, &gone("its process has ended"));
        if let Some(next) = self.provider.pending.pop_front() {
            self.create_worker(next);
        }
    }

    /// The provider does nothing for a while. Tells whether there is one.
    pub(crate) fn break_provider(&mut self, duration: Micros) -> bool {
        if self.options.workers.is_none() {
            return false;
        }
        self.provider.out.get_or_insert_default();
        let mended = Event::Repair(Repair::Provider);
        self.queue.push(self.now + duration, mended);
        true
    }

    pub(crate) fn mend_provider(&mut self) {
        for what in self.provider.out.take().unwrap_or_default() {
            self.queue.push(self.now, Event::Provision(what));
        }
    }
}

fn gone(why: &str) -> WorkerReport {
    WorkerReport::Gone(why.to_owned())
}

fn no_room() -> WorkerReport {
    WorkerReport::Pending("there is no room for it".to_owned())
}
