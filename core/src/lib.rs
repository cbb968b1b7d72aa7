//! The two pure state machines of a stream-processing cluster: [`jobmanager`] (the coordinator) and
//! [`taskmanager`] (the worker's half of the protocol), with the vocabulary they share.
//!
//! Time and messages are inputs, orders are outputs. There is no I/O, no clock, no thread, no
//! randomness and no hash-order iteration in here: the crate is `no_std`, so the compiler keeps it so.
//! A shell (the server) or a world (the simulator) calls `step` and carries out the effects.
//!
//! Three rules hold everywhere:
//!
//! * **An effect that has been emitted may be carried out at once.** What depends on a durable write
//!   is emitted by the step that learns of the write's success.
//! * **A peer's mistake is answered, our own mistake panics** with the broken invariant's name.
//! * **Everything is fenced**: a message that is not about something current changes nothing.

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::float_arithmetic,
    clippy::disallowed_types,
    clippy::too_many_lines
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
pub mod digest;
mod fitting;
pub mod graph;
pub mod id;
pub mod jobmanager;
mod kept;
pub mod message;
pub mod record;
pub mod redistribute;
pub mod rewiring;
pub mod savepoint;
pub mod state;
pub mod taskmanager;
pub mod time;
