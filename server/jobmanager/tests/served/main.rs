//! A JobManager as its users meet it: REST and gRPC of one that runs inside the test's process, and the
//! binary itself.

#![allow(clippy::unwrap_used)]

mod attempts;
mod binary;
mod conformance;
mod events;
mod exposition;
mod http;
mod jwt;
mod logs;
mod parallelism;
mod rest;
mod security;
mod session;
mod shapes;
mod standby;
mod support;
