//! The worker's half of the protocol: [`Worker`] keeps a session with the JobManager and knows which
//! attempts run; [`Aligner`] aligns the barriers of one task. What the tasks compute is the shell's.

mod aligner;
mod attempts;
mod contract;
mod worker;

pub use aligner::{Aligner, Arrival, Barrier, PENDING};
pub use contract::{Effect, Input, TaskEvent, TaskStart, WorkerConfig};
pub use worker::Worker;

#[cfg(test)]
mod tests;
