//! Who lives in the world: JobManager and TaskManager processes, the tasks in them, and clients.

pub(crate) mod allegiance;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod election;
mod exchange;
pub(crate) mod jobmanager;
pub(crate) mod passage;
pub(crate) mod provider;
mod restoring;
pub(crate) mod taskmanager;
mod tasks;
