//! Messages between JobManager, TaskManagers and each other.

use jobmanager_core::message::{ChannelId, Envelope};
use jobmanager_proto::{Received, subscribe, v1};
use prost::Message;

/// Reads the bytes as a message of each kind. What the core would be given is written again and must be
/// read as the same.
///
/// # Panics
/// A message that was accepted does not survive.
pub fn wire(bytes: &[u8]) {
    if let Ok(Ok(envelope)) = v1::ToTaskManager::decode(bytes).map(Envelope::try_from) {
        let again = v1::ToTaskManager::from(&envelope).encode_to_vec();
        let again = v1::ToTaskManager::decode(&again[..]).expect("it was just written");
        assert_eq!(Envelope::try_from(again), Ok(envelope));
    }
    if let Ok(Ok(received)) = v1::FromTaskManager::decode(bytes).map(Received::try_from) {
        let again = written(&received).encode_to_vec();
        let again = v1::FromTaskManager::decode(&again[..]).expect("it was just written");
        assert_eq!(Received::try_from(again), Ok(received));
    }
    if let Ok(wire) = v1::Subscribe::decode(bytes)
        && let Ok(channel) = ChannelId::try_from(&wire)
    {
        let again = subscribe(&channel, wire.channel, wire.credit).encode_to_vec();
        let again = v1::Subscribe::decode(&again[..]).expect("it was just written");
        assert_eq!(ChannelId::try_from(&again), Ok(channel));
        assert_eq!((again.channel, again.credit), (wire.channel, wire.credit));
    }
}

fn written(received: &Received) -> v1::FromTaskManager {
    match received {
        Received::Hello(hello) => hello.into(),
        Received::Message(message) => message.into(),
        Received::Metrics(metrics) => metrics[..].into(),
    }
}
