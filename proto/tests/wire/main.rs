//! The wire format from outside: what is written is read back, what is malformed is refused with its
//! field's name, no bytes panic, and no byte changes unnoticed.

#![allow(clippy::unwrap_used)]

mod arbitrary;
mod bytes;
mod examples;
mod generate;
mod malformed;
mod recording;
mod round_trip;
