//! The tokio shell of the coordinator: everything that touches the world, and nothing that decides.
//!
//! ```text
//!  TaskManagers ──gRPC──► grpc ──┐                ┌──► store (redb, on its own thread)
//!                                ├─► driver ──────┤
//!  clients ─────REST────► rest ──┘  owns the      └──► discard (checkpoint storage)
//!                                   Coordinator
//! ```
//!
//! [`serve`] puts it together; [`main`] is the binary.

mod args;
pub mod cli;
pub mod clock;
pub mod discard;
pub mod driver;
pub mod grpc;
pub mod local;
pub mod logging;
pub mod metrics;
pub mod options;
pub mod recorder;
pub mod rest;
pub mod serve;
pub mod store;

pub use args::main;
