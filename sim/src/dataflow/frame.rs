//! Elements of a channel and their bytes, as `exchange.proto` specifies them.

use crate::plan::job::Row;
use jobmanager_core::id::CheckpointId;
use jobmanager_core::message::SavepointOrder;
use jobmanager_proto::records::{RecordReader, RecordWriter};
use jobmanager_proto::v1::{self, exchange_frame::Frame};
use jobmanager_proto::{parse_savepoint_barrier, savepoint_barrier};

/// What travels on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Element {
    Rows(Vec<Row>),
    Barrier(CheckpointId),
    Savepoint(CheckpointId, SavepointOrder),
    EndOfData,
}

/// The key of a row on the wire, and what its hash is taken of.
pub(crate) fn key_bytes(key: u64) -> Vec<u8> {
    format!("key-{key}").into_bytes()
}

/// The frame of an element.
pub(crate) fn to_wire(channel: u32, element: &Element) -> v1::ExchangeFrame {
    let frame = match element {
        Element::Rows(rows) => {
            let mut writer = RecordWriter::new();
            for row in rows {
                let value = row.value.to_le_bytes();
                writer.push(Some(&key_bytes(row.key)), &value, 0);
            }
            Frame::Records(writer.take())
        }
        Element::Barrier(checkpoint) => Frame::Barrier(checkpoint.0),
        Element::Savepoint(checkpoint, order) => {
            Frame::Savepoint(savepoint_barrier(*checkpoint, order.clone()))
        }
        Element::EndOfData => Frame::EndOfData(v1::EndOfData {}),
    };
    v1::ExchangeFrame {
        channel,
        frame: Some(frame),
    }
}

/// The element of a frame; `Err` is the producer's refusal, or what is wrong with the frame.
pub(crate) fn from_wire(frame: Option<Frame>) -> Result<Element, String> {
    match frame {
        Some(Frame::Records(bytes)) => rows(&bytes).map(Element::Rows),
        Some(Frame::Barrier(checkpoint)) => Ok(Element::Barrier(CheckpointId(checkpoint))),
        Some(Frame::Savepoint(barrier)) => {
            let parsed = parse_savepoint_barrier(barrier);
            let parsed = parsed.map(|(checkpoint, order)| Element::Savepoint(checkpoint, order));
            parsed.map_err(|problem| problem.to_string())
        }
        Some(Frame::EndOfData(_)) => Ok(Element::EndOfData),
        Some(Frame::Refused(reason)) => Err(reason),
        Some(Frame::Watermark(_)) | None => Err("a frame that was never sent".to_owned()),
    }
}

fn rows(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let row = |record| {
        let (key, value, _) = record;
        let key: &[u8] = Option::unwrap_or_default(key);
        let key = std::str::from_utf8(key).ok()?;
        let key = key.strip_prefix("key-")?.parse().ok()?;
        let value: &[u8] = value;
        let value = u64::from_le_bytes(value.try_into().ok()?);
        Some(Row { key, value })
    };
    RecordReader::new(bytes)
        .map(|record| {
            let record = record.map_err(|problem| problem.to_string())?;
            row(record).ok_or_else(|| "a record that was never sent".to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobmanager_core::message::AfterSavepoint;

    #[test]
    fn an_element_survives_its_bytes() {
        let rows = vec![
            Row { key: 7, value: 1 },
            Row {
                key: 0,
                value: u64::MAX,
            },
        ];
        let order = SavepointOrder {
            location: "mem:///a".to_owned(),
            after: AfterSavepoint::Drain,
        };
        for element in [
            Element::Rows(rows),
            Element::Barrier(CheckpointId(9)),
            Element::Savepoint(CheckpointId(9), order),
            Element::EndOfData,
        ] {
            let frame = to_wire(3, &element);
            assert_eq!(from_wire(frame.frame), Ok(element));
        }
    }
}
