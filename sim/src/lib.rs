//! A seeded world for the coordinator: many TaskManagers that really run dataflows, a network, a
//! metadata store, a checkpoint storage, clients, faults, and checkers that see everything.
//!
//! One seed is one run: [`Options::draw`] says what the run is like, `world` lets it happen, `checks`
//! and `oracle` say what must never be, `judge` what must happen in the end. The machines under test are
//! the core's own, coordinator and worker; every message between nodes crosses the network as the bytes
//! that the real ones send. Same seed, same bytes, on any platform and any number of threads.
//!
//! Nothing in here knows tokio, reads a clock, or iterates over a hash.

mod checks;
mod dataflow;
mod marks;
mod nodes;
mod plan;
mod storage;
mod tape;
mod trace;
mod world;

pub use checks::oracle::Failure;
pub use marks::{Mark, Marks};
pub use plan::{
    BlobOptions, ClientOptions, EdgePlan, FaultKind, FaultOptions, JobPlan, Latency, Micros,
    OperatorPlan, Options, Row, StoreOptions, Tier, VertexPlan, map_row, source_row,
};
pub use tape::file::{Expectation, NotATape, Tape};
pub use tape::{Decisions, Draw, Stream};
pub use trace::{Entry, Lane};

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
    /// What happened; empty unless it was asked for.
    pub log: Vec<Entry>,
}

/// A run to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    tier: Tier,
    source: Source,
    logged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Seed(u64),
    Tape(Vec<Draw>),
}

impl Run {
    /// The run of a seed.
    #[must_use]
    pub fn seed(tier: Tier, seed: u64) -> Run {
        Run {
            tier,
            source: Source::Seed(seed),
            logged: false,
        }
    }

    /// The run of these decisions; after their end, the quiet ones.
    #[must_use]
    pub fn tape(tier: Tier, tape: Vec<Draw>) -> Run {
        Run {
            tier,
            source: Source::Tape(tape),
            logged: false,
        }
    }

    /// The same run, with a log of what happens.
    #[must_use]
    pub fn logged(self) -> Run {
        Run {
            logged: true,
            ..self
        }
    }

    /// Lets it happen.
    #[must_use]
    pub fn run(&self) -> Report {
        let mut decisions = match &self.source {
            Source::Seed(seed) => Decisions::from_seed(*seed),
            Source::Tape(tape) => Decisions::from_tape(tape),
        };
        let options = Options::draw(self.tier, &mut decisions);
        let mut world = World::new(options, decisions, Trace::new(self.logged));
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
            log: world.trace.into_log(),
        }
    }
}
