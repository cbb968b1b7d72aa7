//! What is stored, under what, and the frames of the exchange.

use jobmanager_proto::records::{RecordReader, RecordWriter};
use jobmanager_proto::{decode_record, encode_record, key_text, parse_key};

/// Reads the bytes as a stored record, as a key and as a frame of records. What is accepted is written
/// again and must be read as the same.
///
/// # Panics
/// What was accepted does not survive.
pub fn record(bytes: &[u8]) {
    stored(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(key) = parse_key(text)
    {
        assert_eq!(key_text(&key), text);
    }
    frame(bytes);
}

fn stored(bytes: &[u8]) {
    let Ok(record) = decode_record(bytes) else {
        return;
    };
    let key = record.key();
    assert_eq!(parse_key(&key_text(&key)), Some(key));
    assert_eq!(decode_record(&encode_record(&record)), Ok(record));
}

fn frame(bytes: &[u8]) {
    let mut writer = RecordWriter::new();
    let mut records = Vec::new();
    for record in RecordReader::new(bytes) {
        let Ok((key, value, time)) = record else {
            return;
        };
        writer.push(key, value, time);
        records.push((key, value, time));
    }
    let again = writer.take();
    // Numbers may have been written longer than they need to be, never shorter.
    assert!(again.len() <= bytes.len());
    let read: Result<Vec<_>, _> = RecordReader::new(&again).collect();
    assert_eq!(read, Ok(records));
}
