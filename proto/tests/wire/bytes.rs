//! The bytes of one example of each message and record: a change of the wire format is a diff.

use crate::examples;
use jobmanager_core::id::Epoch;
use jobmanager_core::message::Envelope;
use jobmanager_proto::{encode_record, key_text, subscribe, v1};
use prost::Message;
use std::fmt::Write;

/// One line of a snapshot: the name and the bytes, 32 a line.
pub(crate) fn show(text: &mut String, name: &str, bytes: &[u8]) {
    writeln!(text, "{name}").unwrap();
    for line in bytes.chunks(32) {
        let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "    {hex}").unwrap();
    }
}

#[test]
fn messages_to_a_taskmanager_keep_their_bytes() {
    let mut text = String::new();
    for (name, message) in examples::to_taskmanager() {
        let epoch = Epoch(7);
        let wire = v1::ToTaskManager::from(Envelope { epoch, message });
        show(&mut text, name, &wire.encode_to_vec());
    }
    insta::assert_snapshot!(text);
}

#[test]
fn messages_of_a_taskmanager_keep_their_bytes() {
    let mut text = String::new();
    let mut add = |name, wire: v1::FromTaskManager| show(&mut text, name, &wire.encode_to_vec());
    add("hello", (&examples::hello()).into());
    for (name, message) in examples::from_taskmanager() {
        add(name, (&message).into());
    }
    add("metrics", examples::metrics()[..].into());
    insta::assert_snapshot!(text);
}

#[test]
fn messages_of_the_exchange_keep_their_bytes() {
    use v1::exchange_frame::Frame;
    use v1::exchange_request::Request;
    let mut text = String::new();
    let requests = [
        Request::Subscribe(subscribe(&examples::channel(), 9, 16)),
        Request::Credit(v1::Credit {
            channel: 9,
            frames: 8,
        }),
        Request::Unsubscribe(v1::Unsubscribe { channel: 9 }),
    ];
    for request in requests {
        let request = Some(request);
        let bytes = v1::ExchangeRequest { request }.encode_to_vec();
        show(&mut text, "request", &bytes);
    }
    let frames = [
        Frame::Records(vec![0, 0, 0].into()),
        Frame::Watermark(-1),
        Frame::Barrier(300),
        Frame::EndOfData(v1::EndOfData {}),
        Frame::Refused("gone".into()),
    ];
    for frame in frames {
        let frame = Some(frame);
        let bytes = v1::ExchangeFrame { channel: 9, frame }.encode_to_vec();
        show(&mut text, "frame", &bytes);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn records_keep_their_keys_and_bytes() {
    let mut text = String::new();
    for (name, record) in examples::records() {
        let name = format!("{name}: {}", key_text(&record.key()));
        show(&mut text, &name, &encode_record(&record));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn messages_of_the_log_keep_their_bytes() {
    let mut text = String::new();
    let position = v1::LogPosition {
        process: 1_700_000_000_000_000,
        offset: 4_096,
    };
    let request = v1::ReadLogRequest {
        after: Some(position),
        lines: Some(0),
    };
    show(&mut text, "request", &request.encode_to_vec());
    let excerpt = v1::LogExcerpt {
        text: b"one\ntwo\n".to_vec(),
        end: Some(position),
        missed: 3,
        kept: 8,
        modified_ms: 1_700_000_000_001,
    };
    show(&mut text, "excerpt", &excerpt.encode_to_vec());
    insta::assert_snapshot!(text);
}
