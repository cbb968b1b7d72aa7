//! What breaks, when, for how long; and how the core heals in the end while the rest stays broken.
//!
//! Every fault is drawn with the same number of draws, whatever it is: the wait for the next one, its
//! kind, its victim, how long it lasts, and a variant from which everything else about it follows. So one
//! fault of a tape can be lowered or deleted without moving the others. Kind 0 is that nothing happens.

mod healing;
mod jobmanagers;
mod network;
mod storage;
mod taskmanagers;

pub(crate) use jobmanagers::Moment;

use crate::marks::Mark;
use crate::plan::options::{Latency, Micros};
use crate::plan::{FaultKind, Rhythm};
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Repair, Strike};
use jobmanager_core::id::{JobId, TaskId};
use std::collections::{BTreeSet, VecDeque};

/// Durations and waits are drawn as a share of their range.
const SHARES: u64 = 1_000;
/// Victims and variants are drawn below this, and taken modulo what there is to choose from.
const CHOICES: u64 = 1 << 40;
/// So many of the values of a kind's draw mean each kind; one value means that nothing happens.
const WEIGHT: u64 = 8;

/// A fault as it was drawn. What is taken from the victim or the variant is gone from it.
#[derive(Debug, Clone, Copy, Default)]
struct Drawn {
    kind: Option<FaultKind>,
    victim: u64,
    duration: Micros,
    variant: u64,
}

/// A fault that waits for its moment.
#[derive(Debug, Clone, Copy)]
struct Aimed {
    moment: Moment,
    /// How often the moment passes before it strikes.
    left: u64,
    drawn: Drawn,
}

/// What is armed, and what is not as it should be.
#[derive(Default)]
pub(crate) struct Faults {
    /// The JobManager dies when one of these moments has come so many times.
    armed: VecDeque<(Moment, u64)>,
    aimed: Option<Aimed>,
    /// The fault that is happening, or that happened last.
    drawn: Drawn,
    /// By TaskManager: the multiple of the time that everything takes.
    slow: Vec<u64>,
    /// By TaskManager: how much later it hears and is heard.
    lag: Vec<[Micros; 2]>,
    /// Whether anybody is slow or lags.
    strains: bool,
    /// How often each message of a session comes.
    copies: u64,
    /// What a JobManager hears it hears once more so much later.
    echo: Option<Micros>,
    /// A task throws when a checkpoint waits for its last acknowledgement.
    throws: bool,
    /// Tasks that could not restore their state when they tried last.
    pub(crate) unrestored: BTreeSet<(JobId, TaskId)>,
}

impl Faults {
    pub(crate) fn new(taskmanagers: usize) -> Self {
        Faults {
            slow: vec![1; taskmanagers],
            lag: vec![[0; 2]; taskmanagers],
            copies: 1,
            ..Faults::default()
        }
    }
}

impl World {
    pub(crate) fn begin_faults(&mut self) {
        let options = &self.options.faults;
        if !options.kinds.is_empty() {
            let first = options.storm(*options.pause.start());
            self.queue.push(first, Event::Fault);
        }
    }

    /// Something breaks, or will at the moment for which it waits; and the next fault is planned.
    pub(crate) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let drawn = self.draw_fault();
        if self.options.faults.rhythm != Rhythm::Targeted {
            self.strike_now(drawn);
            return;
        }
        let mut drawn = drawn;
        let moment = jobmanagers::MOMENTS[take(&mut drawn.variant, jobmanagers::MOMENTS.len())];
        let left = take(&mut drawn.variant, 8) as u64;
        self.faults.aimed = Some(Aimed {
            moment,
            left,
            drawn,
        });
    }

    fn draw_fault(&mut self) -> Drawn {
        let options = &self.options.faults;
        let kinds = options.kinds.len() as u64;
        let mut draw = |bound| self.decisions.below(Stream::Faults, bound);
        let wait = draw(SHARES);
        let kind = draw(1 + WEIGHT * kinds);
        let victim = draw(CHOICES);
        let long = draw(SHARES);
        let variant = draw(CHOICES);
        // The lowest value is the longest wait and the shortest fault; long faults are rarer than short ones.
        let wait = share(&options.pause, SHARES - 1 - wait);
        let next = options.storm(self.now + wait);
        self.queue.push(next, Event::Fault);
        let position = kind.checked_sub(1).map(|kind| kind % kinds);
        Drawn {
            kind: position.map(|at| options.kinds[usize::try_from(at).expect("a position fits")]),
            victim,
            duration: share(&options.duration, long * long / SHARES),
            variant,
        }
    }

    /// A moment has come at which a fault may have waited to strike: it does so right after it.
    fn aim(&mut self, moment: Moment) {
        if let Some(aimed) = self.faults.aimed.as_mut()
            && aimed.moment == moment
        {
            if aimed.left > 0 {
                aimed.left -= 1;
                return;
            }
            self.queue.push(self.now, Event::Strike(Strike::Aimed));
        }
    }

    pub(crate) fn strike(&mut self, strike: Strike) {
        match strike {
            Strike::Flap(index) => self.flap(index),
            Strike::Aimed
            | Strike::Clog(..)
            | Strike::Crash(..)
            | Strike::Leave(..)
            | Strike::Straggle(..)
            | Strike::Throw(..)
            | Strike::Echo(..)
                if self.calm => {}
            Strike::Aimed => {
                if let Some(aimed) = self.faults.aimed.take() {
                    self.marks.hit(Mark::FaultHitsItsMoment);
                    self.strike_now(aimed.drawn);
                }
            }
            Strike::Clog(index, until) => self.clog(index, until),
            Strike::Crash(index, down) => self.crash(index, down),
            Strike::Leave(index, within) => self.send_away(index, within),
            Strike::Straggle(index, duration) => self.straggle(index, duration),
            Strike::Throw(job, spared) => self.fail_another_task(job, spared),
            Strike::Echo(connection, bytes) => self.hear_once_more(connection, &bytes),
        }
    }

    fn strike_now(&mut self, drawn: Drawn) {
        self.faults.drawn = drawn;
        let Some(kind) = drawn.kind else {
            return;
        };
        self.note(Lane::Faults, "fault", kind.name());
        let happened = self.break_something(kind);
        if happened {
            self.marks.hit(Mark::of_fault(kind));
        }
    }

    /// Tells whether there was anything to break.
    fn break_something(&mut self, kind: FaultKind) -> bool {
        match kind {
            FaultKind::TaskManagerCrash => self.crash_taskmanager(),
            FaultKind::TaskManagerPause => self.pause_taskmanager(),
            FaultKind::TaskManagerSlow => self.slow_taskmanager(),
            FaultKind::TaskManagerLag => self.lag_taskmanager(),
            FaultKind::Straggler => self.make_straggler(),
            FaultKind::RollingRestart => self.restart_all(),
            FaultKind::RackLoss => self.lose_rack(),
            FaultKind::TotalLoss => self.lose_all(),
            FaultKind::ComeAndGo => self.come_and_go(),
            FaultKind::JobManagerCrash => self.current.is_some_and(|instance| {
                self.crash_jobmanager(instance);
                true
            }),
            FaultKind::JobManagerPause => {
                self.pause_jobmanager();
                true
            }
            FaultKind::ConnectionBreak => self.break_any_connection(),
            FaultKind::Partition => self.partition(true),
            FaultKind::OneWayPartition => self.partition(false),
            FaultKind::SwizzleClog => self.swizzle_clog(),
            FaultKind::Repetition => self.repeat_messages(),
            FaultKind::StoreOutage => self.break_store(),
            FaultKind::StoreSlow => self.slow_store(),
            FaultKind::StorageOutage => self.break_storage(),
            FaultKind::StorageSlow => self.slow_storage(),
            FaultKind::FileLost => self.spoil_file(true),
            FaultKind::FileDamaged => self.spoil_file(false),
            FaultKind::TaskFailure => self.fail_any_task(),
            FaultKind::TargetedCrash => {
                self.target_crash();
                true
            }
            FaultKind::TaskManagerLeave => self.send_taskmanager_away(),
            FaultKind::ProviderOutage => {
                let duration = self.fault_duration();
                self.break_provider(duration)
            }
        }
    }

    /// How long the fault that is happening lasts.
    fn fault_duration(&mut self) -> Micros {
        self.faults.drawn.duration
    }

    /// One of so many, as the fault's variant says.
    fn fault_choice(&mut self, of: usize) -> usize {
        take(&mut self.faults.drawn.variant, of)
    }

    /// True in this many of a thousand faults, as the variant says; never for variant 0.
    fn fault_chance(&mut self, permille: usize) -> bool {
        self.fault_choice(1000) >= 1000 - permille
    }

    /// One of so many, as the fault's victim says.
    fn fault_victim(&mut self, of: usize) -> usize {
        take(&mut self.faults.drawn.victim, of)
    }

    fn mark_pause(&mut self, duration: Micros) {
        let timeout = self.options.cluster.heartbeat_timeout.as_micros();
        if u128::from(duration) > timeout {
            self.marks.hit(Mark::LongPause);
        }
    }

    fn repair_after(&mut self, duration: Micros, repair: Repair) {
        self.queue.push(self.now + duration, Event::Repair(repair));
    }

    pub(crate) fn repair(&mut self, repair: Repair) {
        match repair {
            Repair::ResumeTaskManager(process) => {
                if !(self.calm && self.is_outside(process.index)) {
                    self.resume_taskmanager(process);
                }
            }
            Repair::ResumeJobManager(candidate) => self.resume_process(candidate),
            Repair::Depose(instance) => {
                if self.current != Some(instance) {
                    self.term_ends(instance, false);
                }
            }
            Repair::Link(block) => self.network.unblock(block),
            Repair::Provider => self.mend_provider(),
            Repair::Store => self.store.mend(),
            Repair::StoreSpeed => self.store.slowness = 1,
            Repair::Storage => self.blobs.outage = false,
            Repair::StorageSpeed => self.blobs.slowness = 1,
            // All of these were as fast as ever when they healed, and the others stay as they are.
            Repair::Speed(_) | Repair::Lag(_) if self.calm => {}
            Repair::Speed(index) => self.faults.slow[index] = 1,
            Repair::Lag(index) => self.faults.lag[index] = [0; 2],
            Repair::Repetition => {
                self.faults.copies = 1;
                self.faults.echo = None;
            }
        }
    }
}

/// Takes one of so many choices out of a number, and leaves the rest of it for others.
fn take(from: &mut u64, of: usize) -> usize {
    let of = of as u64;
    let taken = *from % of;
    *from /= of;
    usize::try_from(taken).expect("a choice fits")
}

/// The value at this share of a range.
fn share(range: &Latency, share: u64) -> Micros {
    range.start() + (range.end() - range.start()) * share / SHARES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Draw, Run, Tier};

    #[test]
    fn what_is_taken_from_a_number_leaves_the_rest() {
        let mut number = 7 + 10 * 3;
        assert_eq!(take(&mut number, 10), 7);
        assert_eq!(take(&mut number, 4), 3);
        assert_eq!(take(&mut number, 5), 0);
    }

    #[test]
    fn the_quiet_choices_are_a_calm_run_that_passes() {
        for tier in Tier::ALL {
            let report = Run::tape(tier, Vec::new()).run();
            assert_eq!(report.failure, None, "{tier}");
            let struck = FaultKind::ALL.map(|kind| report.marks.count(Mark::of_fault(kind)));
            assert_eq!(struck.iter().sum::<u64>(), 0, "{tier}");
        }
    }

    #[test]
    fn every_fault_takes_the_same_number_of_draws() {
        for seed in 0..8 {
            let report = Run::seed(Tier::ControlPlane, seed).run();
            let draws = report.tape.iter();
            let draws = draws.filter(|draw| draw.stream == Stream::Faults).count();
            assert_eq!(draws % 5, 0, "seed {seed}");
        }
    }

    #[test]
    fn a_fault_that_is_deleted_does_not_move_the_others() {
        let first = Run::seed(Tier::ControlPlane, 4).run();
        let is_fault = |draw: &&mut Draw| draw.stream == Stream::Faults;
        let mut tape = first.tape.clone();
        let kind = tape.iter_mut().filter(is_fault).nth(1);
        kind.expect("this seed has faults").value = 0;
        let second = Run::tape(Tier::ControlPlane, tape).run();
        let later = |tape: &[Draw]| {
            let faults = tape.iter().filter(|draw| draw.stream == Stream::Faults);
            faults
                .map(|draw| draw.value)
                .skip(5)
                .take(5)
                .collect::<Vec<_>>()
        };
        assert_eq!(later(&first.tape), later(&second.tape));
        assert_ne!(first.digest, second.digest);
    }

    #[test]
    fn the_lowest_share_is_the_start_of_the_range() {
        assert_eq!(share(&(10..=110), 0), 10);
        assert_eq!(share(&(10..=110), 500), 60);
    }
}
