//! The tokio shell of the coordinator: everything that touches the world, and nothing that decides.
//!
//! ```text
//!  TaskManagers ──gRPC──► grpc ──┐                ┌──► store (a file, a database, or object storage)
//!                                ├─► driver ──────┼──► discard (checkpoint storage)
//!  clients ─────REST────► rest ──┘  owns the      └──► savepoints (wherever clients want them)
//!                                   Coordinator
//! ```
//!
//! All of that is there while this process leads, which [`election`] tells; otherwise `grpc` and `rest` send
//! everybody to the leader. [`security`] tells who may ask. [`objects`] knows object storage. [`serve`] puts it together; [`main`] is the binary.

mod args;
pub mod cli;
pub mod clock;
pub mod discard;
pub mod driver;
pub mod election;
pub mod gate;
pub mod grpc;
mod https;
#[cfg(feature = "kubernetes")]
mod kubernetes;
pub mod local;
pub mod logging;
pub mod logs;
pub mod metrics;
pub mod objects;
pub mod options;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod recorder;
pub mod rest;
mod savepoints;
pub mod security;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod traces;
pub mod workers;

pub use args::main;
