//! What stores that keep bytes under texts have in common: how records come back from them.

use jobmanager_core::record::Record;
use jobmanager_proto::{decode_record, key_text};

/// Every key with its bytes.
pub(super) type Rows = Vec<(String, Vec<u8>)>;

/// The records, ordered by key.
///
/// # Errors
/// One is not what its key says: the words for people.
pub(super) fn decode(rows: Rows) -> Result<Vec<Record>, String> {
    let mut records = Vec::with_capacity(rows.len());
    for (key, bytes) in rows {
        let record = decode_record(&bytes).map_err(|error| format!("record {key}: {error}"))?;
        if key_text(&record.key()) != key {
            return Err(format!("record {key} holds another one"));
        }
        records.push(record);
    }
    records.sort_by_key(Record::key);
    Ok(records)
}
