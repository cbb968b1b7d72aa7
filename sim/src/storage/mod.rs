//! What survives processes: the metadata store, the checkpoint storage, and the world outside.

pub(crate) mod blobs;
mod durable;
pub(crate) mod external;
mod rescales;
mod savepoints;
pub(crate) mod store;

pub(crate) use durable::SLOWEST_STORE;
