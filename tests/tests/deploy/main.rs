//! What `server/deploy` has for those who run a cluster: that it is whole, and agrees with itself and with the
//! binaries. `tests/tests/process/kubernetes` tries it on a real API server.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "services")]
mod helm_chart;
mod image;
#[cfg(feature = "services")]
mod kinds;
mod manifests;
mod network;
mod objects;
#[cfg(feature = "services")]
mod on_demand;
