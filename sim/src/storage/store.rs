//! The metadata store: fenced by epoch, alive through every crash, sometimes slow, refusing, or mute.
//!
//! It keeps bytes under text keys, as the real ones do. A write is applied when it arrives; whoever sent
//! it may be dead by then, and then only the epoch decides.

use crate::world::event::Instance;
use jobmanager_core::id::{CommitId, Epoch};
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::record::{Record, RecordKey, RecordOp};
use jobmanager_proto::{decode_record, encode_record, key_text};
use std::collections::BTreeMap;

/// A write, numbered by the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WriteId(pub(crate) u64);

/// What will become of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Done,
    /// Refused, and the answer says so.
    Refused,
    /// Applied, but the answer is lost.
    AppliedMute,
    /// Lost on the way, and so is the answer.
    LostMute,
}

/// What may be wrong with the whole store for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trouble {
    /// It refuses everything.
    Refuses,
    /// It does what it is asked, and nobody hears of it.
    LosesAnswers,
    /// Nothing reaches it.
    LosesRequests,
}

/// A write on its way.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) instance: Instance,
    pub(crate) epoch: Epoch,
    pub(crate) commit: CommitId,
    pub(crate) ops: Vec<RecordOp>,
    pub(crate) fate: Fate,
    outcome: Option<StoreOutcome>,
}

/// The store and the writes on their way.
pub(crate) struct Store {
    /// Each as its bytes say. What they say does not change, so they are read once, when they come.
    records: BTreeMap<String, Record>,
    epoch: Epoch,
    writes: BTreeMap<WriteId, Write>,
    next_write: u64,
    pub(crate) outage: bool,
    trouble: Option<Trouble>,
    /// How many times slower than usual it is.
    pub(crate) slowness: u64,
}

impl Default for Store {
    fn default() -> Self {
        Store {
            records: BTreeMap::new(),
            epoch: Epoch::default(),
            writes: BTreeMap::new(),
            next_write: 0,
            outage: false,
            trouble: None,
            slowness: 1,
        }
    }
}

impl Store {
    /// A store that was led in this epoch last, and holds these records.
    pub(crate) fn holding(epoch: Epoch, records: &[Record]) -> Store {
        let stored = |record: &Record| (key_text(&record.key()), record.clone());
        Store {
            epoch,
            records: records.iter().map(stored).collect(),
            ..Store::default()
        }
    }

    /// Something is wrong from now on.
    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        self.outage = trouble == Trouble::Refuses;
        self.trouble = Some(trouble);
    }

    /// All is well from now on.
    pub(crate) fn mend(&mut self) {
        self.outage = false;
        self.trouble = None;
    }

    /// What an outage makes of a write that is sent now.
    pub(crate) fn troubled_fate(&self) -> Option<Fate> {
        match self.trouble? {
            // Whether it still refuses when the write arrives is seen then.
            Trouble::Refuses => None,
            Trouble::LosesAnswers => Some(Fate::AppliedMute),
            Trouble::LosesRequests => Some(Fate::LostMute),
        }
    }

    /// A new leader's epoch; from now on lower ones are refused.
    pub(crate) fn mint(&mut self) -> Epoch {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.epoch
    }

    /// The last leader's epoch.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Everything.
    pub(crate) fn read(&self) -> Vec<Record> {
        self.records.values().cloned().collect()
    }

    /// One record.
    pub(crate) fn get(&self, key: RecordKey) -> Option<&Record> {
        self.records.get(&key_text(&key))
    }

    /// Whether these are all that it has.
    pub(crate) fn has_just(&self, records: &[Record]) -> bool {
        self.records.values().eq(records)
    }

    pub(crate) fn send(
        &mut self,
        instance: Instance,
        epoch: Epoch,
        commit: CommitId,
        ops: Vec<RecordOp>,
        fate: Fate,
    ) -> WriteId {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        let write = Write {
            instance,
            epoch,
            commit,
            ops,
            fate,
            outcome: None,
        };
        self.writes.insert(id, write);
        id
    }

    /// The write arrives. Tells what it changed, if it changed anything.
    pub(crate) fn apply(&mut self, id: WriteId) -> Option<(Epoch, Vec<RecordOp>)> {
        let outage = self.outage;
        let current = self.epoch;
        let write = self.writes.get_mut(&id)?;
        let outcome = match write.fate {
            Fate::LostMute => StoreOutcome::Unknown("the answer was lost".to_owned()),
            Fate::Refused => StoreOutcome::Unavailable("the store is busy".to_owned()),
            Fate::Done | Fate::AppliedMute if outage => {
                StoreOutcome::Unavailable("the store is out".to_owned())
            }
            Fate::Done | Fate::AppliedMute if write.epoch < current => StoreOutcome::Fenced,
            Fate::AppliedMute => StoreOutcome::Unknown("the answer was lost".to_owned()),
            Fate::Done => StoreOutcome::Done,
        };
        let reached = matches!(write.fate, Fate::Done | Fate::AppliedMute);
        let applied = reached && !outage && write.epoch >= current;
        write.outcome = Some(outcome);
        if !applied {
            return None;
        }
        let (epoch, ops) = (write.epoch, write.ops.clone());
        for op in &ops {
            match op {
                RecordOp::Put(record) => {
                    let key = key_text(&record.key());
                    let bytes = encode_record(record);
                    let record = decode_record(&bytes).expect("what is encoded can be decoded");
                    self.records.insert(key, record);
                }
                RecordOp::Delete(key) => {
                    self.records.remove(&key_text(key));
                }
            }
        }
        Some((epoch, ops))
    }

    /// The answer arrives: whose it is and what it says.
    pub(crate) fn answer(
        &mut self,
        id: WriteId,
    ) -> Option<(Instance, CommitId, Fate, StoreOutcome)> {
        let write = self.writes.remove(&id)?;
        let outcome = write
            .outcome
            .expect("a write is applied before it is answered");
        Some((write.instance, write.commit, write.fate, outcome))
    }

    /// What will become, or became, of a write that is not answered yet.
    pub(crate) fn fate(&self, id: WriteId) -> Option<Fate> {
        self.writes.get(&id).map(|write| write.fate)
    }

    /// The answer that is on its way.
    pub(crate) fn outcome(&self, id: WriteId) -> Option<&StoreOutcome> {
        self.writes.get(&id)?.outcome.as_ref()
    }

    /// Whether every write was answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.writes.is_empty()
    }

    /// Who sent a write that is not answered yet.
    pub(crate) fn sender(&self, id: WriteId) -> Option<Instance> {
        self.writes.get(&id).map(|write| write.instance)
    }

    /// The writes on their way that may still change something.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = &Write> {
        self.writes.values().filter(|write| write.outcome.is_none())
    }
}
