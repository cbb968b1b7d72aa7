//! Bytes of a peer that is broken, hostile or of a later version: an answer, never a panic.

use crate::{examples, generate};
use jobmanager_core::message::{ChannelId, Envelope};
use jobmanager_proto::records::{FrameRecord, RecordReader};
use jobmanager_proto::{Received, WireError, decode_record, encode_record, parse_key, v1};
use proptest::prelude::*;
use prost::Message;

fn read_everything(bytes: &[u8]) {
    let _ = v1::ToTaskManager::decode(bytes).map(Envelope::try_from);
    let _ = v1::FromTaskManager::decode(bytes).map(Received::try_from);
    let _ = v1::Subscribe::decode(bytes).map(|wire| ChannelId::try_from(&wire));
    let _ = decode_record(bytes);
    let lent = |(key, value, _): FrameRecord<'_>| key.map_or(0, <[u8]>::len) + value.len();
    let lent: usize = RecordReader::new(bytes).flatten().map(lent).sum();
    assert!(lent <= bytes.len());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_everything(&bytes);
    }

    #[test]
    fn no_damaged_message_panics(
        envelope in generate::envelope(), at: proptest::sample::Index, byte: u8, cut: bool,
    ) {
        read_everything(&damaged(v1::ToTaskManager::from(envelope).encode_to_vec(), at, byte, cut));
    }

    #[test]
    fn no_damaged_hello_panics(
        hello in generate::hello(), at: proptest::sample::Index, byte: u8, cut: bool,
    ) {
        read_everything(&damaged(v1::FromTaskManager::from(&hello).encode_to_vec(), at, byte, cut));
    }

    #[test]
    fn no_damaged_report_panics(
        message in generate::from_taskmanager(), at: proptest::sample::Index, byte: u8, cut: bool,
    ) {
        read_everything(&damaged(v1::FromTaskManager::from(&message).encode_to_vec(), at, byte, cut));
    }

    #[test]
    fn no_damaged_record_panics(
        record in generate::record(), at: proptest::sample::Index, byte: u8, cut: bool,
    ) {
        read_everything(&damaged(encode_record(&record), at, byte, cut));
    }

    #[test]
    fn no_text_panics_as_a_key(text in ".{0,60}") {
        let _ = parse_key(&text);
    }
}

/// With one byte replaced, and perhaps nothing after it.
fn damaged(mut bytes: Vec<u8>, at: proptest::sample::Index, byte: u8, cut: bool) -> Vec<u8> {
    if bytes.is_empty() {
        return vec![byte];
    }
    let at = at.index(bytes.len());
    bytes[at] = byte;
    if cut {
        bytes.truncate(at + 1);
    }
    bytes
}

#[test]
fn a_message_of_a_later_version_is_unknown_and_not_bad() {
    // Field 900, a text: no such message today.
    let later = [0xa2, 0x38, 0x02, b'h', b'i'];
    let to = v1::ToTaskManager::decode(&later[..]).unwrap();
    assert_eq!(Envelope::try_from(to), Err(WireError::UnknownMessage));
    let from = v1::FromTaskManager::decode(&later[..]).unwrap();
    assert_eq!(Received::try_from(from), Err(WireError::UnknownMessage));
}

#[test]
fn a_field_of_a_later_version_is_ignored() {
    let hello = examples::hello();
    let mut bytes = v1::Hello::from(&hello).encode_to_vec();
    bytes.extend([0xa2, 0x38, 0x02, b'h', b'i']);
    let wire = v1::Hello::decode(&bytes[..]).unwrap();
    assert_eq!(wire.try_into(), Ok(hello));
}
