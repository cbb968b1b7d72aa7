//! What comes after a recording: the coordinator, as it is at its end, goes on in a simulated world in which
//! something may break.
//!
//! | what | is |
//! |---|---|
//! | the JobManager | the replayed coordinator with its sessions; after a crash, one that recovers from the store |
//! | the TaskManagers | those that are registered; the core's worker with the tasks in which the coordinator believes |
//! | tasks | stand-ins: they start, snapshot, pass barriers on and stop; a source has no end that is not recorded |
//! | the store | what the coordinator knows to be durable, with the write that is under way |
//! | state | what was written before is there; what its files hold is not simulated |
//! | clients | nobody asks for anything more |
//!
//! What was on its way to a TaskManager when the recording ended arrives: deployments, orders to stop, and
//! the barriers of checkpoints under way. What TaskManagers had said and the coordinator had not heard is
//! not known; they go on from where it believes them to be.
//!
//! All checks of simulated runs are on, with these differences. What happened before is not judged: who
//! acknowledged a checkpoint that was under way, and what its state is. The reference model does not run,
//! and neither orders per second nor orders per input are limited: it and they are made for jobs that the
//! simulator has drawn. There is no output to compare. In the place of the liveness checks, which expect
//! that everything heals, every job is looked at once, at the end ([`JobAfter`]).

mod injection;
mod outcome;
mod plan;
mod situation;
mod steps;
mod tasks;
#[cfg(test)]
mod tests;
mod world;

pub use injection::{Injection, Injury, duration};
pub use outcome::{Continued, JobAfter};
pub(crate) use steps::{Sequel, Step};

use super::{Replayed, TheEnd, Verdict, replay_to_the_end};
use crate::plan::Micros;
use crate::run::caught;
use crate::tape::Decisions;
use crate::trace::Trace;
use crate::world::World;
use injection::Span;
use jobmanager_proto::recording::RecordingError;
use outcome::Outcome;
use situation::Situation;
use std::fmt;

/// TaskManagers at most: links between them are kept as the bits of one number.
const TASKMANAGERS: usize = 64;

/// How a recording goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Then {
    /// What breaks.
    pub injections: Vec<Injection>,
    /// For how long it goes on, in microseconds.
    pub lasts: Micros,
    /// Decides latencies.
    pub seed: u64,
}

impl fmt::Display for Then {
    /// As the arguments of a command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut before, lasts) = ("--then ", Span(self.lasts));
        for injection in &self.injections {
            write!(f, "{before}{injection}")?;
            before = ",";
        }
        let space = if self.injections.is_empty() { "" } else { " " };
        write!(f, "{space}--for {lasts}")?;
        if self.seed > 0 {
            write!(f, " --seed {}", self.seed)?;
        }
        Ok(())
    }
}

/// Replays a recording and goes on from its end. The second answer is why it cannot go on, if it cannot.
///
/// # Errors
/// The file is no recording, or is damaged.
pub fn replay_then(
    file: &[u8],
    then: &Then,
    logged: bool,
) -> Result<(Replayed, Result<Continued, String>), RecordingError> {
    let (replayed, end) = replay_to_the_end(file, logged)?;
    let continued = match end {
        Some(end) => go_on(&replayed, end, then, logged),
        None => Err(no_end(&replayed.verdict)),
    };
    Ok((replayed, continued))
}

fn no_end(verdict: &Verdict) -> String {
    format!("there is nothing to go on from: {verdict}")
}

fn go_on(replayed: &Replayed, end: TheEnd, then: &Then, logged: bool) -> Result<Continued, String> {
    if end.surroundings.stepped_down {
        return Err("there is nothing to go on from: another JobManager led at the end".to_owned());
    }
    let situation = Situation::of(&end.coordinator, &end.surroundings);
    go_on_from(replayed, end, situation, then, logged)
}

fn go_on_from(
    replayed: &Replayed,
    end: TheEnd,
    situation: Situation,
    then: &Then,
    logged: bool,
) -> Result<Continued, String> {
    let count = situation.taskmanagers.len();
    if count > TASKMANAGERS {
        return Err(format!(
            "{count} TaskManagers are registered at the end, and only {TASKMANAGERS} can be simulated"
        ));
    }
    let (last, whole) = (Span(then.lasts), then.lasts);
    if let Some(late) = then.injections.iter().find(|it| it.after >= whole) {
        return Err(format!(
            "{late} comes when all is over, after {last}: make --for longer"
        ));
    }
    let begin = replayed.simulated;
    let sequel = Sequel::new(&situation, then, begin)?;
    let events = if logged { 0..u64::MAX } else { 0..0 };
    let decisions = Decisions::from_seed(then.seed);
    let trace = Trace::new(events);
    let mut world = World::after(replayed, end, &situation, sequel, decisions, trace);
    let ended = caught(|| world.run(u64::MAX));
    if let Err(panic) = ended {
        world.fail("nothing_panics", panic);
    }
    let outcome = Outcome::of(&world, &situation);
    Ok(outcome.report(world, situation))
}
