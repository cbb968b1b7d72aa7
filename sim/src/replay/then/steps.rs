//! What happens after a recording because somebody asked for it, step by step.

use super::injection::{Injection, Injury, JOBMANAGER};
use super::situation::Situation;
use super::tasks::UnderWay;
use super::{Micros, Then};
use crate::plan::options::SECOND;
use crate::storage::store::Trouble;
use crate::trace::Lane;
use crate::world::World;
use crate::world::event::{Event, Repair};
use crate::world::network::Hosts;
use jobmanager_core::id::{CheckpointId, JobId};
use std::collections::BTreeMap;

/// A JobManager that has died is started again after this time.
const RESTART: Micros = SECOND;
/// More events than this take minutes, and every decision of them is kept.
const EVENT_LIMIT: u64 = 20_000_000;

/// A step of what goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// What was on its way arrives.
    Begin,
    /// Something breaks: the one at this position.
    Strike(usize),
    /// Nothing more breaks or is repaired.
    AllOver,
    /// The time is over.
    End,
}

/// Who breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    JobManager,
    /// By position in the world.
    TaskManager(usize),
    Store,
}

/// What goes on from a recording.
pub(crate) struct Sequel {
    strikes: Vec<(Injection, Victim)>,
    steps: Vec<(Micros, Step)>,
    pub(super) under_way: UnderWay,
    /// The latest checkpoint of each region of a job when nothing more broke.
    pub(super) completed: BTreeMap<JobId, Vec<Option<CheckpointId>>>,
}

impl Sequel {
    /// `Err` if something is to break that does not exist. `begin` is when the recording ends.
    pub(super) fn new(situation: &Situation, then: &Then, begin: Micros) -> Result<Sequel, String> {
        let victim = |injection: &Injection| {
            let victim = victim(injection, situation)?;
            Ok::<_, String>((injection.clone(), victim))
        };
        let strikes: Vec<_> = then
            .injections
            .iter()
            .map(victim)
            .collect::<Result<_, _>>()?;
        let mut steps = vec![(begin, Step::Begin)];
        for (at, (injection, _)) in strikes.iter().enumerate() {
            steps.push((begin + injection.after, Step::Strike(at)));
        }
        let over = |(injection, _): &(Injection, _)| {
            let lasts = injection.lasts.unwrap_or(0);
            injection.after.saturating_add(lasts).min(then.lasts)
        };
        let over = strikes.iter().map(over).max().unwrap_or(0);
        steps.push((begin + over, Step::AllOver));
        steps.push((begin.saturating_add(then.lasts), Step::End));
        Ok(Sequel {
            strikes,
            steps,
            under_way: UnderWay::default(),
            completed: BTreeMap::new(),
        })
    }

    pub(super) fn steps(&self) -> Vec<(Micros, Step)> {
        self.steps.clone()
    }

    /// More events than this are a storm, or those of a cluster that is too large for this.
    pub(crate) fn event_limit(&self) -> u64 {
        EVENT_LIMIT
    }
}

/// Who is meant, or who could be.
fn victim(injection: &Injection, situation: &Situation) -> Result<Victim, String> {
    match injection.whom.as_deref() {
        None => return Ok(Victim::Store),
        Some(JOBMANAGER) => return Ok(Victim::JobManager),
        Some(name) => {
            if let Some(at) = situation.names().position(|known| known == name) {
                return Ok(Victim::TaskManager(at));
            }
        }
    }
    let known: Vec<_> = [JOBMANAGER].into_iter().chain(situation.names()).collect();
    Err(format!(
        "{injection}: nobody of this name is registered at the end of the recording; there are {}",
        known.join(", ")
    ))
}

impl World {
    /// Comes to the next step.
    pub(crate) fn goes_on(&mut self, step: Step) {
        match step {
            Step::Begin => {
                self.note(Lane::Faults, "ends", "the recording");
                self.hears_what_was_under_way();
            }
            Step::Strike(at) => self.strikes_as_told(at),
            Step::AllOver => self.takes_stock(),
            Step::End => self.done = true,
        }
    }

    /// From here on, something must come about.
    fn takes_stock(&mut self) {
        let jobs = self.options.jobs.iter();
        let completed: BTreeMap<_, _> = jobs
            .map(|job| (job.id, self.checks.progress(job.id)))
            .collect();
        if let Some(sequel) = &mut self.sequel {
            sequel.completed = completed;
        }
    }

    fn strikes_as_told(&mut self, at: usize) {
        let strikes = self.sequel.as_ref().map(|sequel| &sequel.strikes);
        let Some((injection, victim)) = strikes.and_then(|all| all.get(at)).cloned() else {
            return;
        };
        self.note(Lane::Faults, "fault", &injection.to_string());
        match (victim, injection.injury) {
            (Victim::JobManager, Injury::Crash) => self.process_restarts(RESTART),
            (Victim::JobManager, Injury::Restart) => self.process_restarts(0),
            (Victim::JobManager, Injury::Pause) => self.jobmanager_stands_still(injection.lasts),
            (Victim::JobManager, Injury::Cut) => {
                let everybody = Hosts::taskmanagers(u64::MAX);
                self.cuts(Hosts::JOBMANAGERS, everybody, injection.lasts);
            }
            (Victim::TaskManager(index), Injury::Crash) => self.taskmanager_dies(index, false),
            (Victim::TaskManager(index), Injury::Restart) => {
                self.taskmanager_dies(index, false);
                self.queue.push(self.now, Event::TaskManagerStart(index));
            }
            (Victim::TaskManager(index), Injury::Pause) => {
                self.taskmanager_stands_still(index, injection.lasts);
            }
            (Victim::TaskManager(index), Injury::Cut) => {
                let here = Hosts::taskmanager(index);
                self.cuts(here, Hosts::JOBMANAGERS, injection.lasts);
            }
            (_, Injury::StoreDown) | (Victim::Store, _) => {
                self.store.trouble(Trouble::Refuses);
                self.repairs(injection.lasts, Repair::Store);
            }
        }
    }

    /// Without a time, it is for ever.
    fn repairs(&mut self, after: Option<Micros>, repair: Repair) {
        if let Some(after) = after {
            self.queue.push(self.now + after, Event::Repair(repair));
        }
    }

    fn jobmanager_stands_still(&mut self, lasts: Option<Micros>) {
        let process = self.current.and_then(|instance| self.leader(instance));
        let Some(candidate) = process.map(|process| process.candidate) else {
            return;
        };
        self.pause_process(candidate, lasts.unwrap_or(Micros::MAX));
        self.repairs(lasts, Repair::ResumeJobManager(candidate));
    }

    fn taskmanager_stands_still(&mut self, index: usize, lasts: Option<Micros>) {
        let node = &mut self.taskmanagers[index];
        node.paused = node.is_up();
        let process = node.process;
        self.repairs(lasts, Repair::ResumeTaskManager(process));
    }

    fn cuts(&mut self, here: Hosts, there: Hosts, lasts: Option<Micros>) {
        for (from, to) in [(here, there), (there, here)] {
            let block = self.network.block(from, to);
            self.repairs(lasts, Repair::Link(block));
        }
    }
}
