//! What the coordinator costs at scale where messages arrive as bytes: each at a tenth of the size and at
//! the full one. Decoding and encoding are counted, gRPC is not.
//!
//! `cargo bench -p jobmanager-proto --bench scale`

#![allow(missing_docs)]

mod acks;
#[path = "../../../core/benches/scale/cluster.rs"]
#[allow(dead_code, reason = "the core's benchmark uses the rest")]
mod cluster;
mod heartbeats;

use jobmanager_core::id::SessionId;
use jobmanager_core::jobmanager::Input;
use jobmanager_core::message::FromTaskManager;
use jobmanager_proto::{Received, v1};
use prost::Message;

fn main() {
    divan::main();
}

/// A message of a TaskManager as it arrives.
fn bytes_of(message: &FromTaskManager) -> Vec<u8> {
    v1::FromTaskManager::from(message).encode_to_vec()
}

/// What a session has received.
fn decoded(session: SessionId, bytes: &[u8]) -> Input {
    let wire = v1::FromTaskManager::decode(bytes).expect("the bytes are ours");
    let received = Received::try_from(wire).expect("the message is ours");
    let Received::Message(message) = received else {
        unreachable!("only messages for the coordinator are sent here");
    };
    Input::Message { session, message }
}
