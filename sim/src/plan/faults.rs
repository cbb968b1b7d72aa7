//! What breaks in a run, in which rhythm, and what stays broken for ever once everything else heals.

use crate::plan::Tier;
use crate::plan::options::{Latency, MS, Micros, SECOND};
use crate::tape::{Decisions, Stream};
use std::fmt;

/// The decisions of the tape that the lasting plights have: two for each of some thirty TaskManagers.
const OUTSIDE_ROOM: usize = 64;

/// Something that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A TaskManager's process dies; another of the same name starts later.
    TaskManagerCrash,
    /// A TaskManager's process stands still for a while.
    TaskManagerPause,
    /// Everything that a TaskManager does and hears takes a multiple of its time.
    TaskManagerSlow,
    /// What one TaskManager is told, or says, comes later than it should, for a while.
    TaskManagerLag,
    /// A TaskManager's session breaks while snapshots are slow, and comes back over a slow link.
    Straggler,
    /// Every TaskManager is restarted, one after the other.
    RollingRestart,
    /// All TaskManagers of a rack die, or are cut off, at once.
    RackLoss,
    /// All TaskManagers die, or are cut off, at once.
    TotalLoss,
    /// So many TaskManagers go that slots are missing; they come back, and go and come once more.
    ComeAndGo,
    /// The JobManager's process dies; another one starts later.
    JobManagerCrash,
    /// The JobManager's process stands still; another one takes over; the first one wakes up later.
    JobManagerPause,
    /// One connection breaks.
    ConnectionBreak,
    /// Two nodes, or groups of them, do not hear each other for a while.
    Partition,
    /// One node, or group of them, does not hear another for a while.
    OneWayPartition,
    /// Some TaskManagers are cut off one by one, and come back in another order.
    SwizzleClog,
    /// Messages of sessions come several times, for a while.
    Repetition,
    /// The store refuses, or loses requests, or loses answers, for a while.
    StoreOutage,
    /// The store is slow for a while.
    StoreSlow,
    /// The checkpoint storage fails for a while.
    StorageOutage,
    /// The checkpoint storage is slow for a while.
    StorageSlow,
    /// The checkpoint storage loses a file of a retained checkpoint.
    FileLost,
    /// The checkpoint storage damages a file of a retained checkpoint.
    FileDamaged,
    /// A task throws.
    TaskFailure,
    /// The JobManager dies at the most inconvenient moment of the coming ones.
    TargetedCrash,
    /// A TaskManager is told to leave; another process of the same name starts later.
    TaskManagerLeave,
    /// The resource provider does nothing for a while.
    ProviderOutage,
}

impl FaultKind {
    /// Every kind, in the order of the declaration.
    pub const ALL: [FaultKind; 26] = [
        FaultKind::TaskManagerCrash,
        FaultKind::TaskManagerPause,
        FaultKind::TaskManagerSlow,
        FaultKind::TaskManagerLag,
        FaultKind::Straggler,
        FaultKind::RollingRestart,
        FaultKind::RackLoss,
        FaultKind::TotalLoss,
        FaultKind::ComeAndGo,
        FaultKind::JobManagerCrash,
        FaultKind::JobManagerPause,
        FaultKind::ConnectionBreak,
        FaultKind::Partition,
        FaultKind::OneWayPartition,
        FaultKind::SwizzleClog,
        FaultKind::Repetition,
        FaultKind::StoreOutage,
        FaultKind::StoreSlow,
        FaultKind::StorageOutage,
        FaultKind::StorageSlow,
        FaultKind::FileLost,
        FaultKind::FileDamaged,
        FaultKind::TaskFailure,
        FaultKind::TargetedCrash,
        FaultKind::TaskManagerLeave,
        FaultKind::ProviderOutage,
    ];

    /// A short name for traces.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FaultKind::TaskManagerCrash => "taskmanager crashes",
            FaultKind::TaskManagerPause => "taskmanager pauses",
            FaultKind::TaskManagerSlow => "taskmanager is slow",
            FaultKind::TaskManagerLag => "taskmanager lags",
            FaultKind::Straggler => "straggler",
            FaultKind::RollingRestart => "rolling restart",
            FaultKind::RackLoss => "rack is lost",
            FaultKind::TotalLoss => "all taskmanagers are lost",
            FaultKind::ComeAndGo => "taskmanagers come and go",
            FaultKind::JobManagerCrash => "jobmanager crashes",
            FaultKind::JobManagerPause => "jobmanager pauses",
            FaultKind::ConnectionBreak => "connection breaks",
            FaultKind::Partition => "partition",
            FaultKind::OneWayPartition => "one-way partition",
            FaultKind::SwizzleClog => "swizzle-clog",
            FaultKind::Repetition => "messages are repeated",
            FaultKind::StoreOutage => "store outage",
            FaultKind::StoreSlow => "store is slow",
            FaultKind::StorageOutage => "storage outage",
            FaultKind::StorageSlow => "storage is slow",
            FaultKind::FileLost => "file is lost",
            FaultKind::FileDamaged => "file is damaged",
            FaultKind::TaskFailure => "task throws",
            FaultKind::TargetedCrash => "targeted crash armed",
            FaultKind::TaskManagerLeave => "taskmanager leaves",
            FaultKind::ProviderOutage => "provider outage",
        }
    }

    /// Whether a job may never go on after it: such faults are rarer, so that most jobs are still judged.
    fn is_fatal(self) -> bool {
        matches!(self, FaultKind::FileLost | FaultKind::FileDamaged)
    }

    /// Whether it hits JobManagers: there are fewer of these kinds, and they are on more often.
    fn is_of_jobmanagers(self) -> bool {
        matches!(
            self,
            FaultKind::JobManagerCrash | FaultKind::JobManagerPause | FaultKind::TargetedCrash
        )
    }
}

/// In which rhythm faults come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rhythm {
    /// None come.
    Calm,
    /// Some of any length, at any time.
    Steady,
    /// Few, of which each lasts.
    FewAndLong,
    /// Many, one into the other.
    ManyAndShort,
    /// Each waits for a moment at which it hurts.
    Targeted,
}

/// How a TaskManager outside of the healed core stays for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plight {
    /// Its process is dead.
    Dead,
    /// Its process stands still.
    Paused,
    /// Nobody hears it, and it hears nobody.
    CutOff,
    /// It hears no JobManager.
    Deaf,
    /// No JobManager hears it.
    Mute,
    /// It starts and dies again and again.
    Flapping,
    /// Everything takes so long that it might as well be dead.
    Slow,
}

impl Plight {
    /// Every one, in the order of the declaration.
    pub const ALL: [Plight; 7] = [
        Plight::Dead,
        Plight::Paused,
        Plight::CutOff,
        Plight::Deaf,
        Plight::Mute,
        Plight::Flapping,
        Plight::Slow,
    ];
}

/// What breaks during the safety phase, and what is not healed after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultOptions {
    /// In which rhythm.
    pub rhythm: Rhythm,
    /// The kinds that are on.
    pub kinds: Vec<FaultKind>,
    /// From one fault to the next.
    pub pause: Latency,
    /// How long a fault lasts.
    pub duration: Latency,
    /// From the start of one storm to the start of the next one.
    pub cycle: Micros,
    /// How many thousandths of each cycle are calm.
    pub lull: u64,
    /// Whether each cycle begins with its calm part.
    pub lull_first: bool,
    /// How long faults come.
    pub safety: Micros,
    /// TaskManagers belong to this many racks, in turn.
    pub racks: usize,
    /// By TaskManager: what it stays like when everything else heals. Without it, it belongs to the
    /// core, which has enough slots for all jobs.
    pub outside: Vec<Option<Plight>>,
}

impl FaultOptions {
    /// Draws them for a cluster with these slots, of which jobs need so many. Adds TaskManagers that the
    /// jobs do not need, so that some can stay broken.
    pub(crate) fn draw(
        tier: Tier,
        decisions: &mut Decisions,
        safety: Micros,
        needed: u32,
        slots: &mut Vec<u32>,
    ) -> FaultOptions {
        let rhythm = decisions.choice(
            Stream::FaultPlan,
            &[
                Rhythm::Calm,
                Rhythm::Steady,
                Rhythm::Steady,
                Rhythm::FewAndLong,
                Rhythm::FewAndLong,
                Rhythm::ManyAndShort,
                Rhythm::ManyAndShort,
                Rhythm::Targeted,
                Rhythm::Targeted,
            ],
        );
        let (pause, duration) = paces(tier, rhythm, decisions);
        let cycles = decisions.choice(Stream::FaultPlan, &[1, 2, 4]);
        let lull = decisions.choice(Stream::FaultPlan, &[0, 0, 300, 600]);
        let lull_first = decisions.chance(Stream::FaultPlan, 400);
        let racks = decisions.choice(Stream::FaultPlan, &[1, 2, 3]);
        let outside = decisions.within(Stream::FaultPlan, OUTSIDE_ROOM, |decisions| {
            outside(decisions, needed, slots)
        });
        FaultOptions {
            rhythm,
            kinds: kinds(rhythm, decisions),
            pause,
            duration,
            cycle: safety / cycles,
            lull,
            lull_first,
            safety,
            racks,
            outside,
        }
    }

    /// The first time from `at` on that is in a storm.
    pub(crate) fn storm(&self, at: Micros) -> Micros {
        let into = at % self.cycle;
        let calm = self.cycle * self.lull / 1000;
        if self.lull_first {
            at + calm.saturating_sub(into)
        } else if into < self.cycle - calm {
            at
        } else {
            at - into + self.cycle
        }
    }

    /// Those at these places recover: a machine on which nothing ever starts could be the only one that a resource
    /// provider tries.
    pub(super) fn spare(&mut self, places: &[bool]) {
        for (plight, spared) in self.outside.iter_mut().zip(places) {
            *plight = plight.filter(|_| !spared);
        }
    }
}

/// From one fault to the next, and how long each lasts.
fn paces(tier: Tier, rhythm: Rhythm, decisions: &mut Decisions) -> (Latency, Latency) {
    let pause = decisions.index(Stream::FaultPlan, 3);
    let duration = decisions.index(Stream::FaultPlan, 3);
    // As many faults in ten minutes as in some seconds, and each as much longer.
    let (pause, duration) = match tier {
        Tier::ControlPlane => (
            [60 * SECOND, 20 * SECOND, 5 * SECOND][pause],
            [SECOND, 10 * SECOND, 60 * SECOND][duration],
        ),
        Tier::Dataflow => (
            [3 * SECOND, SECOND, 300 * MS][pause],
            [100 * MS, SECOND, 5 * SECOND][duration],
        ),
    };
    let scale = match tier {
        Tier::ControlPlane => 15,
        Tier::Dataflow => 1,
    };
    match rhythm {
        Rhythm::Calm | Rhythm::Steady => (pause / 3..=pause, duration / 10..=duration),
        Rhythm::FewAndLong => (
            SECOND * scale..=5 * SECOND * scale,
            500 * MS * scale..=15 * SECOND * scale,
        ),
        Rhythm::ManyAndShort => (
            100 * MS * scale..=500 * MS * scale,
            5 * MS..=400 * MS * scale,
        ),
        Rhythm::Targeted => (300 * MS * scale..=2 * SECOND * scale, 50 * MS..=duration),
    }
}

fn kinds(rhythm: Rhythm, decisions: &mut Decisions) -> Vec<FaultKind> {
    let densities = [0, 100, 250, 500, 250, 500, 900];
    let density = decisions.choice(Stream::FaultPlan, &densities);
    let mut on = FaultKind::ALL.to_vec();
    on.retain(|kind| {
        let permille = if kind.is_fatal() {
            density / 2
        } else if kind.is_of_jobmanagers() {
            900.min(2 * density)
        } else {
            density
        };
        decisions.chance(Stream::FaultPlan, permille)
    });
    if rhythm == Rhythm::Calm {
        on.clear();
    }
    on
}

/// Chooses the core: what is not needed for its slots stays broken, in its own way, with some luck.
fn outside(decisions: &mut Decisions, needed: u32, slots: &mut Vec<u32>) -> Vec<Option<Plight>> {
    let extra = decisions.choice(Stream::FaultPlan, &[0, 0, 1, 1, 2]);
    for _ in 0..extra {
        slots.push(decisions.choice(Stream::FaultPlan, &[1, 2, 4]));
    }
    let mut core: u32 = slots.iter().sum();
    let first = decisions.index(Stream::FaultPlan, slots.len());
    let mut outside = vec![None; slots.len()];
    for turn in 0..slots.len() {
        let at = (first + turn) % slots.len();
        let broken = decisions.chance(Stream::FaultPlan, 750);
        let plight = decisions.choice(Stream::FaultPlan, &Plight::ALL);
        if broken && core - slots[at] >= needed {
            core -= slots[at];
            outside[at] = Some(plight);
        }
    }
    outside
}

impl fmt::Display for FaultOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "faults       {:?} until {} us, every {:?} us for {:?} us, {}/1000 of each {} us calm, first: {}",
            self.rhythm,
            self.safety,
            self.pause,
            self.duration,
            self.lull,
            self.cycle,
            self.lull_first
        )?;
        writeln!(f, "  kinds      {:?}", self.kinds)?;
        writeln!(f, "  racks      {}", self.racks)?;
        writeln!(f, "  for ever   {:?}", self.outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64) -> (FaultOptions, Vec<u32>) {
        let mut slots = vec![2, 2];
        let mut decisions = Decisions::from_seed(seed);
        let options = FaultOptions::draw(Tier::Dataflow, &mut decisions, SECOND, 3, &mut slots);
        (options, slots)
    }

    #[test]
    fn the_core_has_enough_slots_for_all_jobs() {
        for seed in 0..200 {
            let (options, slots) = drawn(seed);
            let core = slots.iter().zip(&options.outside);
            let core = core.filter(|(_, plight)| plight.is_none());
            assert!(core.map(|(slots, _)| slots).sum::<u32>() >= 3);
        }
    }

    #[test]
    fn the_quiet_choice_breaks_nothing() {
        let mut slots = vec![2, 2];
        let mut quiet = Decisions::from_tape(&[]);
        let options = FaultOptions::draw(Tier::Dataflow, &mut quiet, SECOND, 3, &mut slots);
        assert!(options.kinds.is_empty());
        assert_eq!(options.outside, [None, None]);
    }

    #[test]
    fn a_fault_of_a_lull_waits_for_the_next_storm() {
        let (mut options, _) = drawn(0);
        options.cycle = 1_000;
        options.lull = 300;
        options.lull_first = false;
        assert_eq!(options.storm(1_699), 1_699);
        assert_eq!(options.storm(1_700), 2_000);
        options.lull_first = true;
        assert_eq!(options.storm(1_299), 1_300);
        assert_eq!(options.storm(1_700), 1_700);
    }
}
