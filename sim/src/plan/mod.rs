//! What a run is like: everything that is drawn before it starts.

mod budget;
mod clocks;
pub(crate) mod crowd;
mod demands;
pub(crate) mod faults;
pub(crate) mod job;
mod leaders;
mod metamorphic;
pub(crate) mod options;
mod patience;
mod priorities;
mod rescales;
mod retentions;
pub(crate) mod savepoints;
mod strands;
pub(crate) mod tier;
mod workers;
mod workload;

pub use budget::Survives;
pub use clocks::ClockOptions;
pub use crowd::{CrowdOptions, Watcher};
pub use demands::DemandPlan;
pub use faults::{FaultKind, FaultOptions, Plight, Rhythm};
pub use job::{EdgePlan, JobPlan, OperatorPlan, Row, VertexPlan, map_row, source_row};
pub use leaders::LeaderOptions;
pub use metamorphic::MetamorphicOptions;
pub use options::{BlobOptions, ClientOptions, Latency, Micros, Options, StoreOptions};
pub use rescales::RescalePlan;
pub use retentions::RetentionPlan;
pub(crate) use savepoints::Sight;
pub use savepoints::{SavepointPlan, When};
pub use tier::Tier;
pub(crate) use workers::WorkerOptions;
