//! A seeded world for the coordinator: many TaskManagers that really run dataflows, a network, a
//! metadata store, a checkpoint storage, clients, faults, and checkers that see everything.
//!
//! One seed is one run: [`Options::draw`] says what the run is like, `world` lets it happen, `checks`
//! and `oracle` say what must never be, `judge` what must happen in the end. The machines under test are
//! the core's own, coordinator and worker; every message between nodes crosses the network as the bytes
//! that the real ones send. Same seed, same bytes, on any platform and any number of threads.
//!
//! Nothing in here knows tokio, reads a clock, or iterates over a hash.

mod blobs;
mod checks;
mod client;
mod dataflow;
mod durable;
mod event;
mod exchange;
mod external;
mod faults;
mod jobmanager;
mod judge;
mod marks;
mod network;
mod options;
mod oracle;
mod plan;
mod rng;
mod store;
mod taskmanager;
mod tasks;
mod trace;
mod workload;
mod world;

pub use marks::{Mark, Marks};
pub use options::{
    BlobOptions, ClientOptions, FaultKind, FaultOptions, Latency, Micros, Options, StoreOptions,
};
pub use oracle::Failure;
pub use plan::{EdgePlan, JobPlan, OperatorPlan, Row, VertexPlan, map_row, source_row};
pub use rng::{Decisions, Draw, Stream};

use std::panic::{AssertUnwindSafe, catch_unwind};
use trace::Trace;
use world::World;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the run was like.
    pub options: Options,
    /// The first thing that was wrong, if anything was.
    pub failure: Option<Failure>,
    /// The chained digest of every input and output.
    pub digest: u64,
    /// How much time passed in the world, in microseconds.
    pub simulated: Micros,
    /// How many events there were.
    pub events: u64,
    /// What was reached.
    pub marks: Marks,
    /// Every decision, to be repeated by [`run_tape`].
    pub tape: Vec<Draw>,
    /// What happened, line by line; empty unless it was asked for.
    pub trace: String,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64) -> Report {
    run_with(Decisions::from_seed(seed), false)
}

/// Runs a seed and keeps the text of what happened.
#[must_use]
pub fn run_traced(seed: u64) -> Report {
    run_with(Decisions::from_seed(seed), true)
}

/// Repeats a run from its decisions.
#[must_use]
pub fn run_tape(tape: &[Draw]) -> Report {
    run_with(Decisions::from_tape(tape), false)
}

fn run_with(mut decisions: Decisions, with_text: bool) -> Report {
    let options = Options::draw(&mut decisions);
    let mut world = World::new(options, decisions, Trace::new(with_text));
    // A coordinator panics with the name of the invariant that it broke: the seed's failure, not ours.
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = ended {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        world.fail("nothing_panics", text.unwrap_or_default());
    }
    Report {
        options: world.options,
        failure: world.failure,
        digest: world.trace.digest(),
        simulated: world.now,
        events: world.events,
        marks: world.marks,
        tape: world.decisions.into_tape(),
        trace: world.trace.into_text(),
    }
}
