//! What a run is like: everything that is drawn before it starts.

pub(crate) mod job;
mod metamorphic;
pub(crate) mod options;
pub(crate) mod tier;
mod workload;

pub use job::{EdgePlan, JobPlan, OperatorPlan, Row, VertexPlan, map_row, source_row};
pub use metamorphic::MetamorphicOptions;
pub use options::{
    BlobOptions, ClientOptions, FaultKind, FaultOptions, Latency, Micros, Options, StoreOptions,
};
pub use tier::Tier;
