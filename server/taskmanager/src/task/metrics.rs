//! What a task has done so far, for people.

use jobmanager_core::id::AttemptId;
use jobmanager_proto::TaskMetrics;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counted by the task once per frame, read by the session once per second. They order nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    records_in: AtomicU64,
    records_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Counters {
    pub(crate) fn received(&self, records: u64, bytes: u64) {
        self.records_in.fetch_add(records, Ordering::Relaxed);
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, records: u64, bytes: u64) {
        self.records_out.fetch_add(records, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn metrics(&self, attempt: AttemptId) -> TaskMetrics {
        TaskMetrics {
            attempt,
            records_in: self.records_in.load(Ordering::Relaxed),
            records_out: self.records_out.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}
