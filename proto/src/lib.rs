//! The wire format between JobManager, TaskManagers and stores: generated code in [`v1`], and
//! conversions to and from the types of the core that cannot produce a value the core would doubt.
//!
//! | what | where it is specified | where it is read and written |
//! |---|---|---|
//! | the session between TaskManager and JobManager | `v1/session.proto` | [`Envelope`] ⇄ [`v1::ToTaskManager`]; [`Received`] ⇄ [`v1::FromTaskManager`] |
//! | the exchange of records between TaskManagers | `v1/exchange.proto` | [`ChannelId`] ⇄ [`v1::Subscribe`] by [`subscribe`]; frames by [`records`] |
//! | what a TaskManager has logged | `v1/log.proto` | as it is generated: nothing of it reaches the core |
//! | recordings of what a JobManager was told | `v1/recording.proto` | [`recording`] |
//! | what the JobManager stores | `v1/record.proto` | [`encode_record`], [`decode_record`]; keys by [`key_text`], [`parse_key`] |
//! | the metadata of a savepoint | `v1/record.proto` | [`encode_savepoint`], [`decode_savepoint`] |
//!
//! To the wire is `From` and cannot fail. From the wire is `TryFrom`: a [`BadMessage`] names the field
//! and what is wrong with it; [`WireError::UnknownMessage`] is a message of a later version, which the
//! caller ignores. The limits beyond the `.proto` files are in [`limits`].
//!
//! This crate decides nothing: whether a message is stale is the core's question.
//!
//! [`Envelope`]: jobmanager_core::message::Envelope
//! [`ChannelId`]: jobmanager_core::message::ChannelId

mod bad_message;
mod check;
mod savepoint;
mod stored;
mod wire;

pub mod recording;
pub mod records;

pub use bad_message::{BadMessage, Problem, WireError};
pub use savepoint::{decode_savepoint, encode_savepoint};
pub use stored::{decode_record, encode_record, key_text, parse_key};
pub use wire::{
    PROTOCOL_VERSION, Received, TaskMetrics, parse_savepoint_barrier, savepoint_barrier, subscribe,
};

/// What a peer may say at most.
pub mod limits {
    pub use crate::check::{
        MAX_ATTEMPT_NUMBER, MAX_ATTEMPTS, MAX_COUNTER, MAX_LISTS, MAX_NAME, MAX_OPERATORS,
        MAX_PATH, MAX_PROSE, MAX_SLOTS, MAX_STATE_BYTES, MAX_SUBTASKS,
    };
}

pub mod job_json;

/// Messages and services, generated from `v1/*.proto`; the comments there are the specification.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::wildcard_enum_match_arm
)]
pub mod v1 {
    tonic::include_proto!("jobmanager.v1");
}
