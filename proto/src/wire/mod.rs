//! Conversions between the core's values and the generated messages.
//!
//! To the wire is `From` and cannot fail. From the wire is `TryFrom`: what it returns satisfies
//! everything that `v1/*.proto` promises, so no other code asks again.
//!
//! * `ids`: names, and the channels of the exchange;
//! * `state`: where a snapshot is;
//! * `savepoint`: what is different with a savepoint;
//! * `to_taskmanager` and `deploy`: what the JobManager says;
//! * `from_taskmanager` and `hello`: what a TaskManager says.

mod deploy;
mod from_taskmanager;
mod hello;
pub(crate) mod ids;
mod savepoint;
mod state;
mod to_taskmanager;

pub(crate) use deploy::{partitioning_from_wire, partitioning_to_wire};
pub use from_taskmanager::{Received, TaskMetrics};
pub use hello::PROTOCOL_VERSION;
pub use ids::subscribe;
pub(crate) use savepoint::{after_from_wire, after_to_wire};
pub use savepoint::{parse_savepoint_barrier, savepoint_barrier};
pub(crate) use state::{state_from_wire, state_to_wire};
