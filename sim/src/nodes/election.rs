//! The election service, and the JobManager processes that campaign for its one lease.
//!
//! ```text
//!          asks, now and then             the lease is granted
//! follower ──────────────────► follower ─────────────────────► leader: one term, one coordinator
//!    ▲                                                              │ refused; over by its own clock;
//!    └──────────────────────────────────────────────────────────────┘ deposed by the store
//! ```
//!
//! A process believes that it holds the lease for nine tenths of its duration since it asked, by its own
//! clock, which may be a tenth too slow. It looks before everything that it does, and drops the
//! coordinator when the lease is over. What the service promises is not relied upon: sometimes it takes a
//! lease away before its time, and sometimes a process goes on without one. Then two leaders live side by
//! side, and the epoch in the store is all that keeps the old one from doing harm.

use super::clock::Clock;
use crate::marks::Mark;
use crate::plan::options::{MS, Micros, SECOND};
use crate::storage::SLOWEST_STORE;
use crate::tape::Stream;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Instance, Process};
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::state::JobStatus;
use std::collections::{BTreeMap, BTreeSet};

/// A life of a JobManager process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Candidate {
    pub(crate) index: usize,
    pub(crate) life: u64,
}

/// Something about leadership that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Campaign {
    /// A JobManager process starts.
    Start(usize),
    /// It looks at its lease, and asks for it or for more of it.
    Tick(Candidate),
    /// Its call arrives at the election service.
    Call(Call),
    /// An answer arrives: a lease, or none.
    Answer(Call, Option<Grant>),
    /// A process gives its lease back.
    Release(Candidate),
    /// The service prefers anybody to the holder.
    Shun,
    /// A TaskManager goes over to the one that leads.
    GoOver(Process),
    /// What an old leader said arrives once more.
    Echo(Process),
}

/// A call of the election service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) from: Candidate,
    number: u64,
    /// When it was sent, by the clock of the process.
    sent: Micros,
}

/// A lease as the service grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Every new holder's lease has another number, and so has one that was over in between.
    number: u64,
    until: Micros,
}

/// A JobManager process, whichever of its lives.
pub(crate) struct JobManagerProcess {
    pub(crate) candidate: Candidate,
    pub(crate) up: bool,
    pub(crate) paused: bool,
    /// What waits while it stands still.
    pub(crate) backlog: Vec<Event>,
    pub(crate) clock: Clock,
    /// What it leads or is about to lead.
    pub(crate) term: Option<Instance>,
    lease: Option<Held>,
    calls: u64,
    /// The last call that was answered.
    answered: u64,
}

/// A lease as its holder knows it.
struct Held {
    number: u64,
    /// Until when, as the process counts.
    until: Micros,
    /// Until when the service promised it: known to the observer alone.
    promised: Micros,
}

/// The election service and everybody who has to do with it.
#[derive(Default)]
pub(crate) struct Election {
    pub(crate) processes: Vec<JobManagerProcess>,
    lease: Option<(Candidate, Grant)>,
    leases: u64,
    shunned: Option<Candidate>,
    /// The process that led last.
    pub(crate) last: Option<usize>,
    /// Since when nobody leads.
    pub(crate) leaderless_since: Option<Micros>,
    /// What the last term left behind when it ended.
    pub(crate) left_behind: LeftBehind,
    /// The last checkpoint of each region of a job that tasks were told of.
    pub(crate) announced: BTreeMap<(JobId, usize), CheckpointId>,
}

/// What a leader was about when it ended or was replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeftBehind {
    pub(crate) statuses: BTreeSet<JobStatus>,
    pub(crate) checkpoint_pending: bool,
}

impl JobManagerProcess {
    fn new(index: usize) -> Self {
        JobManagerProcess {
            candidate: Candidate { index, life: 0 },
            up: false,
            paused: false,
            backlog: Vec::new(),
            clock: Clock::right(),
            term: None,
            lease: None,
            calls: 0,
            answered: 0,
        }
    }

    /// Whether it may believe that it leads.
    fn holds_lease(&self, now: Micros) -> bool {
        let counted = self.clock.counted(now);
        self.lease.as_ref().is_some_and(|held| counted < held.until)
    }
}

impl World {
    /// Every JobManager process starts, the first one at once.
    pub(crate) fn begin_election(&mut self) {
        self.election.leaderless_since = Some(0);
        for index in 0..self.options.leaders.processes {
            self.election.processes.push(JobManagerProcess::new(index));
            let after = u64::try_from(index).expect("a handful") * 50 * MS;
            self.campaign(after, Campaign::Start(index));
        }
        let joined = self.late_start(usize::MAX);
        self.plan_rivalry(joined);
        self.lay_ambushes();
    }

    /// The only process leads this term already, and keeps its lease.
    pub(crate) fn is_led_by(&mut self, instance: Instance, clock: Clock) -> Candidate {
        let mut process = JobManagerProcess::new(0);
        process.candidate.life = 1;
        process.up = true;
        process.clock = clock;
        process.term = Some(instance);
        let candidate = process.candidate;
        let grant = self.grant_lease(candidate, false);
        let lease = self.options.leaders.lease;
        process.lease = Some(Held {
            number: grant.number,
            until: clock.counted(self.now) + lease * 9 / 10,
            promised: grant.until,
        });
        self.election.processes.push(process);
        self.election.last = Some(candidate.index);
        self.campaign(lease / 3, Campaign::Tick(candidate));
        candidate
    }

    /// The only process dies, and so its lease is over; it starts again after a while.
    pub(crate) fn process_restarts(&mut self, down: Micros) {
        self.process_dies(0, false);
        self.election.lease = None;
        self.campaign(down, Campaign::Start(0));
    }

    pub(crate) fn campaign(&mut self, after: Micros, what: Campaign) {
        self.queue.push(self.now + after, Event::Campaign(what));
    }

    pub(crate) fn campaigns(&mut self, what: Campaign) {
        match what {
            Campaign::Start(index) => self.process_starts(index),
            Campaign::Tick(candidate) => self.candidate_ticks(candidate),
            Campaign::Call(call) => self.election_is_called(call),
            Campaign::Answer(call, grant) => self.election_answers(call, grant),
            Campaign::Release(candidate) => {
                if self.holder() == Some(candidate) {
                    self.election.lease = None;
                }
            }
            Campaign::Shun => self.shun_holder(),
            Campaign::GoOver(process) => self.goes_over(process),
            Campaign::Echo(process) => self.echo(process),
        }
    }

    /// The process, if this is the life that it lives.
    pub(crate) fn candidate(&mut self, candidate: Candidate) -> Option<&mut JobManagerProcess> {
        let process = self.election.processes.get_mut(candidate.index)?;
        (process.up && process.candidate == candidate).then_some(process)
    }

    /// The process of a term.
    pub(crate) fn leader(&self, instance: Instance) -> Option<&JobManagerProcess> {
        let node = self.jobmanagers.get(&instance)?;
        self.election.processes.get(node.candidate.index)
    }

    fn process_starts(&mut self, index: usize) {
        let process = &self.election.processes[index];
        if process.up {
            return;
        }
        let first = process.candidate.life == 0;
        let clock = process.clock;
        let clock = self.next_clock(&clock, first);
        let process = &mut self.election.processes[index];
        let mut next = JobManagerProcess::new(index);
        next.candidate.life = process.candidate.life + 1;
        next.clock = clock;
        next.up = true;
        let candidate = next.candidate;
        *process = next;
        self.note(Lane::Election, "starts", &candidate);
        self.candidate_ticks(candidate);
    }

    /// A JobManager process is gone, and with it everything that is not in the store.
    pub(crate) fn process_dies(&mut self, index: usize, silently: bool) {
        let process = &mut self.election.processes[index];
        if !process.up {
            return;
        }
        process.up = false;
        process.paused = false;
        process.lease = None;
        process.backlog.clear();
        let (candidate, term) = (process.candidate, process.term);
        self.note(Lane::Election, "dies", &(candidate, silently));
        if let Some(instance) = term {
            self.term_ends(instance, silently);
        }
    }

    /// A process stands still.
    pub(crate) fn pause_process(&mut self, candidate: Candidate, duration: Micros) {
        self.note(Lane::Election, "pauses", &candidate);
        if duration > self.options.leaders.lease {
            self.marks.hit(Mark::PauseLongerThanLease);
        }
        if let Some(process) = self.candidate(candidate) {
            process.paused = true;
        }
    }

    /// It goes on with what has waited, and knows nothing of the time between.
    pub(crate) fn resume_process(&mut self, candidate: Candidate) {
        let Some(process) = self.candidate(candidate) else {
            return;
        };
        process.paused = false;
        for event in std::mem::take(&mut process.backlog) {
            self.waits_to_be_heard(&event);
            self.queue.push(self.now, event);
        }
    }

    /// Whether processes go on without a lease.
    fn is_careless(&self) -> bool {
        self.options.leaders.linger > 0 && !self.calm
    }

    /// A process is about to do something for this term: whether it still may, as far as it can tell.
    /// If not, the term ends.
    pub(crate) fn looks_at_its_lease(&mut self, instance: Instance) -> bool {
        let now = self.now;
        let holds = |process: &JobManagerProcess| process.holds_lease(now);
        let Some(holds) = self.leader(instance).map(holds) else {
            return false;
        };
        if holds || self.is_careless() {
            return true;
        }
        self.marks.hit(Mark::LeaseRanOut);
        self.note(Lane::Election, "is over", &instance);
        self.term_ends(instance, false);
        false
    }

    /// Until when the service promised the lease of this term, unless its process goes on without one.
    pub(crate) fn promised(&self, instance: Instance) -> Option<Micros> {
        let held = self.leader(instance)?.lease.as_ref();
        (!self.is_careless()).then(|| held.map_or(0, |held| held.promised))
    }

    fn candidate_ticks(&mut self, candidate: Candidate) {
        let lease = self.options.leaders.lease;
        let Some(process) = self.candidate(candidate) else {
            return;
        };
        process.calls += 1;
        let term = process.term;
        let call = Call {
            from: candidate,
            number: process.calls,
            sent: 0,
        };
        let leads = term.is_some_and(|instance| self.looks_at_its_lease(instance));
        let after = if leads { lease / 3 } else { lease / 2 };
        self.campaign(after, Campaign::Tick(candidate));
        let lost = self.options.leaders.lost;
        if !self.calm && self.decisions.chance(Stream::Leaders, lost) {
            return;
        }
        let latency = self.election_latency();
        let now = self.now;
        let sent = self
            .candidate(candidate)
            .map_or(0, |process| process.clock.counted(now));
        self.campaign(latency, Campaign::Call(Call { sent, ..call }));
    }

    fn election_latency(&mut self) -> Micros {
        let range = self.options.leaders.latency.clone();
        self.draw(Stream::Leaders, &range)
    }

    /// Who holds the lease, as the service sees it.
    fn holder(&self) -> Option<Candidate> {
        let (holder, grant) = self.election.lease?;
        (self.now < grant.until).then_some(holder)
    }

    fn election_is_called(&mut self, call: Call) {
        let holder = self.holder();
        let revoked = self.options.leaders.revoked;
        let revoked = holder == Some(call.from)
            && !self.calm
            && self.decisions.chance(Stream::Leaders, revoked);
        let shunned = self.election.shunned == Some(call.from);
        if revoked || (shunned && holder == Some(call.from)) {
            self.election.lease = None;
        }
        if revoked || shunned || holder.is_some_and(|holder| holder != call.from) {
            self.answer(0, call, None);
            return;
        }
        let grant = self.grant_lease(call.from, holder == Some(call.from));
        self.answer(0, call, Some(grant));
        let flaps = self.options.leaders.flaps;
        if !self.calm && self.decisions.chance(Stream::Leaders, flaps) {
            self.marks.hit(Mark::LeaseFlapped);
            self.answer(MS / 10, call, None);
            let again = self.grant_lease(call.from, false);
            self.answer(MS / 5, call, Some(again));
        }
    }

    fn grant_lease(&mut self, to: Candidate, renewed: bool) -> Grant {
        if !renewed {
            self.election.leases += 1;
            self.election.shunned = None;
        }
        let grant = Grant {
            number: self.election.leases,
            until: self.now + self.options.leaders.lease,
        };
        self.election.lease = Some((to, grant));
        grant
    }

    fn answer(&mut self, after: Micros, call: Call, grant: Option<Grant>) {
        // Answers to one call arrive in order.
        let latency = *self.options.leaders.latency.start();
        self.campaign(latency + after, Campaign::Answer(call, grant));
    }

    fn election_answers(&mut self, call: Call, grant: Option<Grant>) {
        let lease = self.options.leaders.lease;
        let (now, careless) = (self.now, self.is_careless());
        let Some(process) = self.candidate(call.from) else {
            return;
        };
        if call.number < process.answered {
            return;
        }
        process.answered = call.number;
        let term = process.term;
        let Some(grant) = grant else {
            process.lease = None;
            if let Some(instance) = term {
                self.is_told_that_it_lost(instance);
            }
            return;
        };
        let before = process.lease.replace(Held {
            number: grant.number,
            until: call.sent + lease * 9 / 10,
            promised: grant.until,
        });
        let renewed = before.is_some_and(|held| held.number == grant.number);
        if (term.is_some() && renewed) || !(process.holds_lease(now) || careless) {
            return;
        }
        // Whatever it led before was in the time of another lease.
        if let Some(instance) = term {
            self.term_ends(instance, false);
        }
        self.begin_term(call.from);
    }

    /// A process learns that it has no lease any more: it stops, or goes on for a while.
    fn is_told_that_it_lost(&mut self, instance: Instance) {
        if !self.is_careless() {
            self.term_ends(instance, false);
            return;
        }
        let Some(node) = self.jobmanagers.get_mut(&instance) else {
            return;
        };
        if !std::mem::replace(&mut node.doomed, true) {
            let linger = self.options.leaders.linger;
            let after = self.decisions.range(Stream::Leaders, linger / 2..=linger);
            self.depose(after, instance);
        }
    }

    /// The holder will be shunned some time after this.
    fn plan_rivalry(&mut self, earliest: Micros) {
        if let Some(pause) = self.options.leaders.rivalry.clone() {
            let after = earliest + self.draw(Stream::Leaders, &pause);
            self.campaign(after, Campaign::Shun);
        }
    }

    fn shun_holder(&mut self) {
        if self.calm {
            return;
        }
        self.plan_rivalry(0);
        if let Some(holder) = self.holder() {
            self.note(Lane::Election, "shuns", &holder);
            self.election.shunned = Some(holder);
            self.election.lease = None;
        }
    }

    /// Faults end: every process lives, and the service has no favourites.
    pub(crate) fn heal_election(&mut self) {
        self.election.shunned = None;
        for index in 0..self.election.processes.len() {
            let candidate = self.election.processes[index].candidate;
            self.resume_process(candidate);
            self.campaign(0, Campaign::Start(index));
        }
        self.heal_allegiance();
        if self.election.leaderless_since.is_some() {
            self.election.leaderless_since = Some(self.now);
        }
    }

    /// How long it may take until somebody leads, once nothing breaks any more.
    pub(crate) fn succession(&self) -> Micros {
        let options = &self.options.leaders;
        // The old lease runs out, the next tick asks, by slow clocks; the store is read, and once more if
        // an answer from before was under way, perhaps from when the store was slow.
        3 * options.lease
            + 4 * options.latency.end()
            + 4 * self.options.store.latency.end()
            + 2 * SLOWEST_STORE
            + SECOND
    }

    /// With the store up, somebody leads before long.
    pub(crate) fn judge_election(&mut self) {
        let patience = self.succession();
        let since = self.election.leaderless_since;
        if since.is_some_and(|since| self.now > since + patience) {
            let detail = format!("nobody has led since {since:?} us");
            self.fail("with_the_store_up_somebody_leads", detail);
        }
    }
}
