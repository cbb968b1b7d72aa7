//! A seeded world for the coordinator: many TaskManagers that really run dataflows, a network, a
//! metadata store, a checkpoint storage, clients, faults, and checkers that see everything.
//!
//! One seed is one run: [`Options::draw`] says what the run is like, `world` lets it happen, `checks`
//! and `oracle` say what must never be, `judge` what must happen in the end. The machines under test are
//! the core's own, coordinator and worker; every message between nodes crosses the network as the bytes
//! that the real ones send. Same seed, same bytes, on any platform and any number of threads.
//!
//! Nothing in here knows tokio, reads a clock, or iterates over a hash.

mod batch;
mod checks;
mod dataflow;
pub mod explore;
mod golden;
mod marks;
mod model;
mod nodes;
mod plan;
mod replay;
mod run;
mod storage;
mod tape;
mod trace;
mod world;

pub use batch::{Batch, Ended, THREADS};
pub use checks::oracle::Failure;
pub use golden::{GOLDEN_SEEDS, golden_differences, golden_digests, golden_line};
pub use marks::{Mark, Marks};
pub use plan::{
    BlobOptions, ClientOptions, ClockOptions, CrowdOptions, DemandPlan, EdgePlan, FaultKind,
    FaultOptions, JobPlan, Latency, LeaderOptions, MetamorphicOptions, Micros, OperatorPlan,
    Options, Plight, RescalePlan, RetentionPlan, Rhythm, Row, SavepointPlan, StoreOptions,
    Survives, Tier, VertexPlan, Watcher, When, map_row, source_row,
};
pub use replay::{
    Continued, Divergence, Injection, Injury, JobAfter, Replayed, Then, Verdict, duration, replay,
    replay_then,
};
pub use run::{DIGEST_PACE, Report, Run};
pub use tape::file::{Expectation, NotATape, Tape};
pub use tape::shrink::{Budget, Goal, Shrunk, shrink};
pub use tape::transcript::{promise, shape, transcript};
pub use tape::twice::{Difference, difference};
pub use tape::{Decisions, Draw, Stream};
pub use trace::{
    Entry, Joined, Kind, Lane, Message, Page, Passage, Span, SpanKind, State, Subject, Timeline,
    View,
};
