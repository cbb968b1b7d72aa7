//! What is written is read back the same.

use crate::generate;
use jobmanager_core::graph::JobGraph;
use jobmanager_core::id::{CheckpointId, JobId};
use jobmanager_core::message::{ChannelId, Envelope};
use jobmanager_core::record::{JobRecord, Record, RecordKey};
use jobmanager_core::time::Timestamp;
use jobmanager_proto::limits::MAX_COUNTER;
use jobmanager_proto::records::{RecordReader, RecordWriter};
use jobmanager_proto::{
    Received, decode_record, encode_record, key_text, parse_key, subscribe, v1,
};
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A message of a TaskManager after its way over the wire.
fn received(wire: v1::FromTaskManager) -> Received {
    let bytes = wire.encode_to_vec();
    v1::FromTaskManager::decode(&bytes[..])
        .unwrap()
        .try_into()
        .unwrap()
}

proptest! {
    #[test]
    fn a_message_to_a_taskmanager_arrives_as_it_was(envelope in generate::envelope()) {
        let bytes = v1::ToTaskManager::from(&envelope).encode_to_vec();
        let wire = v1::ToTaskManager::decode(&bytes[..]).unwrap();
        prop_assert_eq!(Envelope::try_from(wire), Ok(envelope.clone()));
        prop_assert_eq!(v1::ToTaskManager::from(envelope).encode_to_vec(), bytes);
    }

    #[test]
    fn a_hello_arrives_as_it_was(hello in generate::hello()) {
        prop_assert_eq!(received((&hello).into()), Received::Hello(hello));
    }

    #[test]
    fn a_message_of_a_taskmanager_arrives_as_it_was(message in generate::from_taskmanager()) {
        prop_assert_eq!(received((&message).into()), Received::Message(message));
    }

    #[test]
    fn metrics_arrive_as_they_were(metrics in generate::metrics()) {
        prop_assert_eq!(received(metrics[..].into()), Received::Metrics(metrics));
    }

    #[test]
    fn a_channel_is_subscribed_by_its_name(channel in generate::channel(), name: u32, credit: u32) {
        let wire = subscribe(&channel, name, credit);
        prop_assert_eq!((wire.channel, wire.credit), (name, credit));
        prop_assert_eq!(ChannelId::try_from(&wire), Ok(channel));
    }

    #[test]
    fn a_record_is_read_as_it_was_written(record in generate::record()) {
        prop_assert_eq!(decode_record(&encode_record(&record)), Ok(record));
    }

    #[test]
    fn a_job_is_read_as_it_was_accepted(
        spec in generate::graph(), submitted: u64, scale in option::of(generate::scale()),
        began in option::of(generate::checkpoint()),
    ) {
        let graph = JobGraph::validate(spec, &BTreeMap::new()).unwrap();
        let record = Record::Job(JobRecord {
            graph: Arc::new(graph),
            submitted: Timestamp(submitted),
            scale,
            began,
        });
        prop_assert_eq!(decode_record(&encode_record(&record)), Ok(record));
    }

    #[test]
    fn a_key_is_read_as_it_was_written(key in generate::key()) {
        prop_assert_eq!(parse_key(&key_text(&key)), Some(key));
    }

    #[test]
    fn the_texts_of_checkpoint_keys_sort_like_the_keys(
        job: u8, one in 1..=MAX_COUNTER, other: u8, two in 1..=MAX_COUNTER,
    ) {
        let key = |job: u8, id| RecordKey::Checkpoint(JobId(job.into()), CheckpointId(id));
        let (one, other) = (key(job, one), key(other, two));
        prop_assert_eq!(one.cmp(&other), key_text(&one).cmp(&key_text(&other)));
    }

    #[test]
    fn a_frame_lends_the_records_that_were_put_in(records in generate::frame()) {
        let mut writer = RecordWriter::new();
        for (key, value, time) in &records {
            writer.push(key.as_deref(), value, *time);
        }
        let length = writer.len();
        let frame = writer.take();
        prop_assert_eq!(frame.len(), length);
        let own = |record: (Option<&[u8]>, &[u8], i64)| (record.0.map(<[u8]>::to_vec), record.1.to_vec(), record.2);
        let read: Vec<_> = RecordReader::new(&frame).map(|record| own(record.unwrap())).collect();
        prop_assert_eq!(read, records);
    }
}

#[test]
fn a_text_that_is_not_exactly_a_key_is_none() {
    let job = "00112233445566778899aabbccddeeff";
    let texts = [
        String::new(),
        "job".into(),
        "job/".into(),
        format!("jobs/{job}"),
        format!("job/{job}/"),
        format!("job/{}", job.to_uppercase()),
        format!("checkpoint/{job}"),
        format!("checkpoint/{job}/1"),
        format!("checkpoint/{job}/+000000000000001"),
        format!("checkpoint/{job}/000000000000000G"),
        format!("checkpoint/{job}/000000000000000F"),
    ];
    for text in texts {
        assert_eq!(parse_key(&text), None, "{text}");
    }
}
