//! Real processes, real sockets, real files: what a cluster must do while its processes are killed,
//! stopped and lied to. Processes are watched over REST alone, as their users would.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod clients;
mod cluster;
mod completions;
mod dashboard;
mod events;
mod failures;
mod flink;
mod jobs;
mod kills;
#[cfg(feature = "services")]
mod kubelet;
#[cfg(feature = "services")]
mod kubernetes;
mod leaving;
mod local;
mod logs;
mod metrics;
#[cfg(feature = "services")]
mod objects;
mod openapi;
mod process;
mod recording;
mod rescale;
mod rest;
mod restore;
mod retained;
mod run;
mod savepoints;
#[cfg(feature = "services")]
mod schemathesis;
mod security;
mod standby;
mod text;
mod traces;
mod why;
mod word_count;
mod workers;
