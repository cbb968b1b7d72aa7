//! The end of the safety phase: the core heals, and what lies outside of it stays broken for ever.

use crate::marks::Mark;
use crate::plan::Plight;
use crate::plan::options::{MS, Micros, SECOND};
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Strike};
use crate::world::network::Hosts;
use jobmanager_core::taskmanager::Worker;

/// A flapping TaskManager lives for this long.
const FLAP_UP: Micros = 700 * MS;
/// And is away for this long: longer than any restart delay, so that what it took down starts elsewhere.
const FLAP_DOWN: Micros = 15 * SECOND;
/// A TaskManager that is slow for ever takes this multiple of the time for everything.
const FOR_EVER_SLOW: u64 = 50;

impl World {
    /// Whether a TaskManager does not belong to the core that heals.
    pub(crate) fn is_outside(&self, index: usize) -> bool {
        let outside = self.options.faults.outside.get(index);
        outside.is_some_and(Option::is_some)
    }

    /// Whether a TaskManager is in such a state for ever that it cannot even be told to stop its tasks.
    pub(crate) fn is_beyond_reach(&self, index: usize) -> bool {
        let outside = self.options.faults.outside.get(index).copied().flatten();
        self.calm && matches!(outside, Some(Plight::Paused | Plight::Slow))
    }

    /// Faults end: the core goes on, the rest stays as broken as it is.
    pub(crate) fn heal(&mut self) {
        self.note(Lane::Faults, "heal", &self.options.faults.outside.clone());
        self.calm = true;
        self.faults.armed.clear();
        self.faults.aimed = None;
        self.faults.copies = 1;
        self.faults.echo = None;
        self.faults.throws = false;
        self.faults.slow.fill(1);
        self.faults.lag.fill([0; 2]);
        self.faults.strains = false;
        self.store.mend();
        self.store.slowness = 1;
        self.blobs.outage = false;
        self.mend_provider();
        self.blobs.slowness = 1;
        self.network.unblock_all();
        for index in 0..self.taskmanagers.len() {
            let outside = self.options.faults.outside.get(index).copied().flatten();
            match outside {
                None => self.bring_back(index),
                Some(plight) => self.leave_broken(index, plight),
            }
        }
        self.heal_election();
        self.begin_judging();
    }

    fn bring_back(&mut self, index: usize) {
        let process = self.taskmanagers[index].process;
        let leaves = |worker: &Worker| worker.leaves_at().is_some();
        if self.taskmanagers[index].worker.as_ref().is_some_and(leaves) {
            self.taskmanager_dies(index, false);
        }
        if self.is_alive(process) {
            self.resume_taskmanager(process);
        } else {
            self.queue.push(self.now, Event::TaskManagerStart(index));
        }
    }

    fn leave_broken(&mut self, index: usize, plight: Plight) {
        self.marks.hit(Mark::of_plight(plight));
        let here = Hosts::taskmanager(index);
        match plight {
            Plight::Dead => {
                self.taskmanager_dies(index, true);
                return;
            }
            Plight::Paused => {
                self.taskmanagers[index].paused = self.taskmanagers[index].is_up();
                return;
            }
            Plight::CutOff => {
                let others = Hosts::others_than(1 << index);
                self.network.block(here, others);
                self.network.block(others, here);
            }
            Plight::Deaf => {
                self.network.block(Hosts::JOBMANAGERS, here);
            }
            Plight::Mute => {
                self.network.block(here, Hosts::JOBMANAGERS);
            }
            Plight::Flapping => self
                .queue
                .push(self.now, Event::Strike(Strike::Flap(index))),
            Plight::Slow => {
                // Beyond every heartbeat: one that is merely slow would be given tasks, and rightly so. It
                // says hello again and again, and its answer never comes in time.
                let timeout = self.options.cluster.heartbeat_timeout.as_micros();
                let lag = 3 * Micros::try_from(timeout).expect("a timeout of seconds fits");
                self.faults.slow[index] = FOR_EVER_SLOW;
                self.faults.lag[index] = [lag; 2];
                self.faults.strains = true;
            }
        }
        self.bring_back(index);
    }

    /// A TaskManager that never comes to rest dies, or starts.
    pub(super) fn flap(&mut self, index: usize) {
        let up = self.taskmanagers[index].is_up();
        let wait = if up {
            self.taskmanager_dies(index, false);
            FLAP_DOWN
        } else {
            self.queue.push(self.now, Event::TaskManagerStart(index));
            FLAP_UP
        };
        let again = Event::Strike(Strike::Flap(index));
        self.queue.push(self.now + wait, again);
    }
}
