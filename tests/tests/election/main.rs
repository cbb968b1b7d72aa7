//! Elections by services, real ones: a lease of one leader is over before the next one is elected.
#![cfg(feature = "services")]
#![allow(clippy::unwrap_used)]

mod conformance;
mod etcd;
mod kubernetes;
mod postgres;
mod zookeeper;
