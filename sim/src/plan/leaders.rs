//! Who may lead, and how badly: JobManager processes, the leases of the election service, leaders that
//! go on although they were replaced, and TaskManagers that stay with them.

use super::options::{Latency, MS, Micros, SECOND, latency};
use crate::plan::tier::Tier;
use crate::tape::{Decisions, Stream};
use std::fmt;

/// How leaders come and go during the safety phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderOptions {
    /// How many JobManager processes campaign.
    pub processes: usize,
    /// How long a lease lasts.
    pub lease: Micros,
    /// Of a call of the election service, one way.
    pub latency: Latency,
    /// In how many of a thousand calls of the election service it is lost.
    pub lost: u64,
    /// In how many of a thousand renewals the lease is taken away instead.
    pub revoked: u64,
    /// In how many of a thousand answers a lease is granted, taken away and granted again at once.
    pub flaps: u64,
    /// From one time that the holder is shunned, so that another process takes over, to the next.
    pub rivalry: Option<Latency>,
    /// Up to how long a process goes on after it was told that it lost its lease; at 0 it looks at its
    /// lease before everything that it does.
    pub linger: Micros,
    /// How many of a thousand replaced leaders do not reach the store any more.
    pub severed: u64,
    /// Whether there are two groups of TaskManagers, each of which can run every job.
    pub groups: bool,
    /// How many TaskManagers the first group has.
    pub group: usize,
    /// Up to how long TaskManagers stay with a leader that was replaced.
    pub loyalty: Micros,
    /// Whether both groups change sides in turn. The group on which the tasks run goes over to a new
    /// leader, and the old one starts them again on the other group; then that group goes over to the next
    /// leader while the first stays behind; then all are together again. The second group starts late.
    pub seesaw: bool,
    /// In how many of a thousand cases a TaskManager or a client reaches any JobManager process instead
    /// of the one that leads.
    pub astray: u64,
    /// In how many of a thousand registrations and deployments what a TaskManager was told before arrives
    /// there once more.
    pub echoes: u64,
    /// How many crashes lie in wait from the start.
    pub ambushes: u64,
}

impl LeaderOptions {
    pub(super) fn draw(tier: Tier, decisions: &mut Decisions) -> LeaderOptions {
        // The longer a run, the slower what happens in it, so that neither is only elections.
        let second = match tier {
            Tier::ControlPlane => 10 * SECOND,
            Tier::Dataflow => SECOND,
        };
        let mut choice = |from: &[u64]| decisions.choice(Stream::Leaders, from);
        let processes = choice(&[1, 2, 2, 3]);
        let lease = choice(&[second, second / 3, 3 * second]);
        let lost = choice(&[0, 0, 20, 200]);
        let revoked = choice(&[0, 0, 10, 50]);
        let flaps = choice(&[0, 0, 50, 300]);
        let astray = choice(&[0, 0, 100, 300]);
        let echoes = choice(&[0, 300, 700]);
        let ambushes = choice(&[0, 0, 1, 4]);
        let mut options = LeaderOptions {
            processes: usize::try_from(processes).expect("a handful"),
            lease,
            latency: 0..=0,
            lost,
            revoked,
            flaps,
            rivalry: None,
            linger: 0,
            severed: 0,
            groups: false,
            group: 0,
            loyalty: 0,
            seesaw: false,
            astray,
            echoes,
            ambushes,
        };
        options.latency = latency(decisions, Stream::Leaders, 100, 20 * MS);
        if options.processes > 1 {
            options.draw_rivalry(decisions, second);
        }
        options
    }

    /// Leaders that follow each other soon, and perhaps live side by side.
    fn draw_rivalry(&mut self, decisions: &mut Decisions, second: Micros) {
        let mut choice = |from: &[u64]| decisions.choice(Stream::Leaders, from);
        let pause = choice(&[0, 5 * second, 3 * second, second]);
        self.rivalry = (pause > 0).then_some(pause / 2..=pause);
        self.linger = choice(&[0, 5 * second, 15 * second]);
        self.severed = choice(&[0, 500, 1_000]);
        self.groups = choice(&[0, 1, 1]) == 1;
        self.loyalty = choice(&[0, 2 * second, 5 * second, 10 * second]);
        self.seesaw = pause > 0 && choice(&[0, 1]) == 1;
        if self.seesaw {
            self.groups = true;
            self.loyalty = 3 * pause;
            self.linger = self.linger.max(3 * pause);
        }
    }

    /// If there are two groups of TaskManagers, the second one is as large as the first.
    pub(super) fn double(&mut self, slots: &mut Vec<u32>) {
        self.group = slots.len();
        if self.groups {
            slots.extend_from_within(..);
        } else {
            self.group /= 2;
        }
    }
}

impl fmt::Display for LeaderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} processes, lease {} us, calls {:?} us, lost {}, revoked {}, flaps {}, rivalry {:?}, ",
            self.processes,
            self.lease,
            self.latency,
            self.lost,
            self.revoked,
            self.flaps,
            self.rivalry
        )?;
        write!(
            f,
            "linger {} us, severed {}, groups {}, loyalty {} us, seesaw {}, astray {}, echoes {}, ambushes {}",
            self.linger,
            self.severed,
            self.groups,
            self.loyalty,
            self.seesaw,
            self.astray,
            self.echoes,
            self.ambushes
        )
    }
}
