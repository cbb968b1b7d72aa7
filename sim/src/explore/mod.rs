//! Exhaustive exploration: every order of events in a tiny world over the real coordinator and worker.
//!
//! Seeds draw one order of events out of very many; here all of them are gone through, in a world small
//! enough for that: one job of two tasks, two TaskManagers, up to two leaders at a time, one checkpoint
//! before the final one, and a few faults at any instant. A state is a value ([`state`]); what can happen
//! in it is a list ([`action`]); the search ([`search`]) takes every item of the list in every state,
//! breadth first, and knows a state that it has seen by a 128-bit digest of everything in it.
//!
//! *Checked in every state*: the core's own invariants, and the promises that span processes
//! ([`promises`]). *Checked of every state*: by the default schedule, without further faults, the job
//! ends, with all of its output published and nothing of it left but its result.
//!
//! What is reduced, and what that costs:
//!
//! * **Time passes only when nothing else can happen**, unless one of a few [`Scope::hurries`] is spent. So
//!   without them no timeout overtakes a message that is on its way. Waits that could be short are zero
//!   (reconnecting, restarting): what they delay competes with everything else.
//! * **Heartbeats are left out** (their interval is beyond the end): both sides learn of a broken
//!   connection, each in its own time. A silent peer is the seeds' business.
//! * **What is on a connection when it breaks is lost.** Any prefix of it may have been delivered before,
//!   and a message that arrives after its sender's death might as well have arrived before it: nothing
//!   that happens in between depends on the receiver.
//! * **Electing is one step**: the new epoch fences every write on its way, so what is read after it does
//!   not depend on when.
//! * **State is deleted at once**, and only that of a whole job is answered: of the others the coordinator
//!   does nothing with the answer.
//! * **A leader that was replaced learns it some time**, as its lease runs out, if no write is refused before.
//!   What it takes to get there and do harm is more than two faults: [`Scope::divided`] begins there.
//! * **A task's next thing is determined**; its order with everything else is not.
//! * **After the last fault only the default schedule is followed.** So with two faults every order is gone
//!   through between them, and everything that one fault leads to in every order. [`Scope::thorough`] goes
//!   on until all has come to rest; what follows then is, up to the names of attempts and the times, a part
//!   of the run without faults, all orders of which are gone through.
//! * **Messages are values**, not bytes: the wire has tests of its own.

mod action;
mod divided;
mod leaders;
mod part;
mod promises;
mod scope;
mod search;
mod state;
mod step;
mod tasks;
#[cfg(test)]
mod tests;
mod workers;

pub use divided::Situation;
pub use scope::{Scope, Shape};
pub use search::{Found, explore};

use crate::checks::oracle::Failure;
use action::Enabled;
use jobmanager_core::id::{Epoch, RequestId};
use jobmanager_core::jobmanager::{Command, Input};
use jobmanager_core::record::RecordKey;
use jobmanager_core::time::Timestamp;
use part::Part;
use scope::JOB;
use state::{Budget, State, TaskManager};
use std::collections::{BTreeMap, BTreeSet};
use step::Step;

/// What came of an exploration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explored {
    /// How many different states there are.
    pub states: usize,
    /// How many steps between them.
    pub transitions: u64,
    /// The length of the longest of the shortest paths to a state.
    pub depth: usize,
    /// In how many of the states the job has ended.
    pub ends: usize,
    /// What was reached on the way that is worth knowing.
    pub reached: BTreeSet<Situation>,
    /// Whether every state was seen, that is, the limit was not reached.
    pub complete: bool,
    /// The broken promise with the shortest path, if there is one.
    pub found: Option<Found>,
}

/// When the explored world begins.
fn start() -> Timestamp {
    Timestamp(1_000_000)
}

/// The steps of the default schedule that are taken before anything is explored, at most.
const BEGINNING: usize = 200;

/// The state in which exploration begins: both TaskManagers are registered, the job has just become
/// durable, and its deployment is on its way.
///
/// # Errors
/// Even that breaks a promise.
fn beginning(scope: &Scope) -> Result<State, Failure> {
    let process = |tm| Part::new(TaskManager::process(tm, scope.slots, 1, start()));
    let state = State {
        now: start(),
        store: Part::new(state::Store::default()),
        blobs: Part::new(BTreeMap::new()),
        leaders: Vec::new(),
        taskmanagers: [process(0), process(1)],
        links: Vec::new(),
        channels: Part::new(BTreeMap::new()),
        history: Part::new(promises::History::default()),
        budget: Budget::NOTHING,
        settled: false,
    };
    let mut step = Step::from(scope, &state, None);
    step.elect();
    for tm in 0..step.state.taskmanagers.len() {
        step.tell_worker(tm, jobmanager_core::taskmanager::Input::Wake);
    }
    let mut submitted = false;
    for _ in 0..BEGINNING {
        if step.state.store.records.contains_key(&RecordKey::Job(JOB))
            && step.state.leaders[0].write.is_none()
        {
            break;
        }
        let enabled = Enabled::in_state(&step.state, scope);
        if enabled.ordinary == 0 && !submitted {
            let (request, command) = (
                RequestId(1),
                Command::Submit {
                    graph: scope.graph(),
                    from: None,
                },
            );
            step.tell_leader(Epoch(1), Input::Command { request, command });
            submitted = true;
            continue;
        }
        let Some(&action) = enabled.actions.first() else {
            break;
        };
        step.take(action);
    }
    if scope.divided {
        step.divide();
    }
    step.state.budget = Budget::of(scope);
    match step.broken {
        Some(failure) => Err(failure),
        None => Ok(step.state),
    }
}
