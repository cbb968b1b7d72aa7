//! A store that forgets when the process ends: the contract at its simplest, and for tests.

use super::{Leadership, Store, StoreError};
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::record::{Record, RecordKey, RecordOp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Records in memory. Clones are handles of one store.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    epoch: u64,
    records: BTreeMap<RecordKey, Record>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn with<T>(&self, action: impl FnOnce(&mut Contents) -> T) -> T {
        // No action can panic half way, so a poisoned lock guards whole contents.
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    async fn load(&self) -> Result<Leadership, StoreError> {
        Ok(self.with(|contents| {
            contents.epoch += 1;
            Leadership {
                epoch: Epoch(contents.epoch),
                records: contents.records.values().cloned().collect(),
            }
        }))
    }

    async fn commit(&self, epoch: Epoch, ops: Vec<RecordOp>) -> StoreOutcome {
        self.with(|contents| {
            if contents.epoch != epoch.0 {
                return StoreOutcome::Fenced;
            }
            for op in ops {
                match op {
                    RecordOp::Put(record) => {
                        contents.records.insert(record.key(), record);
                    }
                    RecordOp::Delete(key) => {
                        contents.records.remove(&key);
                    }
                }
            }
            StoreOutcome::Done
        })
    }

    async fn close(&self) {}
}
