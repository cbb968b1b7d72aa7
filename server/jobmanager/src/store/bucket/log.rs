//! What a writer knows of the log, and how it goes on: the entries that are in no run, the conditions of the next
//! ones, and the merge that makes room for them.

use super::format::{Base, Change, Entry, Run};
use super::place::{Expected, Prefix};
use super::ring::{Ring, SLOTS, slot_of};
use super::runs::{Merge, Merged};
use object_store::UpdateVersion;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};
use tracing::warn;

/// How many entries are in no run when they begin to be merged: three times as many fit in while that is going on.
const MERGED_AT: usize = 8;
/// How large they may be together before that, so that a leader that takes over has not too much to read. Bytes.
const MERGED_AT_BYTES: usize = 1 << 20;

/// The log of one epoch, as its writer knows it.
#[derive(Debug)]
pub(super) struct Log {
    epoch: u64,
    writer: u64,
    /// The number of the latest entry.
    last: u64,
    expected: Vec<Expected>,
    base: Base,
    /// The changes of the entries after the base.
    tail: VecDeque<Arc<Vec<Change>>>,
    /// At most one is at work. It ends with this.
    merge: JoinSet<Result<Merged, String>>,
    /// Runs that nothing needs any more once the next entry is written, which does not name them.
    obsolete: Vec<Run>,
    /// The entry that may have been written, or may be yet.
    doubt: Option<u64>,
}

impl Log {
    /// What somebody writes who has found this, in the latest epoch.
    pub(super) fn new(ring: &Ring, writer: u64) -> Log {
        let base = ring.last().map(|entry| entry.base.clone());
        let mut log = Log {
            epoch: ring.epoch(),
            writer,
            last: 0,
            expected: Vec::new(),
            base: base.unwrap_or_default(),
            tail: VecDeque::new(),
            merge: JoinSet::new(),
            obsolete: Vec::new(),
            doubt: None,
        };
        log.look(ring);
        log
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Begins the next epoch with the next entry.
    pub(super) fn next_epoch(&self) -> Entry {
        Entry {
            epoch: self.epoch + 1,
            ..self.next_entry(Vec::new())
        }
    }

    /// The next entry of this epoch.
    pub(super) fn next_entry(&self, changes: Vec<Change>) -> Entry {
        Entry {
            number: self.last + 1,
            epoch: self.epoch,
            writer: self.writer,
            base: self.base.clone(),
            changes,
        }
    }

    /// What the slots have to be for the next entry.
    pub(super) fn expected(&self) -> &[Expected] {
        &self.expected
    }

    /// Whether an entry may have been written that is not in here, so that one has to look first.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Leaves it open whether the next entry has been written.
    pub(super) fn doubt(&mut self) {
        self.doubt = Some(self.last + 1);
    }

    /// Takes in what has been found. The ring is of the same epoch.
    pub(super) fn look(&mut self, ring: &Ring) {
        let base = ring.last().map(|entry| &entry.base);
        if let Some(base) = base.filter(|base| base.merged > self.base.merged) {
            // Another process of this epoch has merged; what is merged here would cover less.
            self.base = base.clone();
            self.merge = JoinSet::new();
            self.obsolete.clear();
        }
        self.last = ring.last_number();
        self.expected = ring.expected();
        // The runs of this writer may be newer than those of the latest entry.
        let tail = ring.after(self.base.merged);
        self.tail = tail.map(|entry| Arc::new(entry.changes.clone())).collect();
    }

    /// Ends the doubt; whether the entry was written, with these changes.
    pub(super) fn settle(&mut self, ring: &Ring, changes: &[Change]) -> bool {
        let doubted = self.doubt.take().and_then(|number| ring.entry(number));
        doubted.is_some_and(|entry| entry.writer == self.writer && entry.changes == changes)
    }

    /// Takes in an entry that has been written.
    pub(super) fn written(&mut self, entry: Entry, version: UpdateVersion) {
        assert_eq!(entry.number, self.last + 1);
        self.expected[slot_of(entry.number)] = Expected::Version(version);
        self.epoch = entry.epoch;
        self.last = entry.number;
        self.tail.push_back(Arc::new(entry.changes));
    }

    /// The runs that no entry will name again, now that the latest one does not.
    pub(super) fn take_obsolete(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.obsolete)
    }

    /// The runs that the next entry names.
    pub(super) fn runs(&self) -> &[Run] {
        &self.base.runs
    }

    /// Whether the next entry would take the place of one that is in no run.
    fn is_full(&self) -> bool {
        self.tail.len() as u64 >= SLOTS
    }

    /// Merges what there is to merge; the changes leave the tail when it has ended.
    pub(super) fn merge_some(&mut self, prefix: &Prefix) {
        let sizes = self.tail.iter().flat_map(|changes| changes.iter());
        let sizes = sizes.map(|change| change.record.as_ref().map_or(0, Vec::len));
        let is_due = self.tail.len() >= MERGED_AT || sizes.sum::<usize>() >= MERGED_AT_BYTES;
        if is_due && self.merge.is_empty() {
            self.begin_merge(prefix, self.epoch);
        }
    }

    /// Waits for a place for the next entry, if there is none. The epoch is the entry's.
    ///
    /// # Errors
    /// The merge has failed: the words for people.
    pub(super) async fn make_room(&mut self, prefix: &Prefix, epoch: u64) -> Result<(), String> {
        if let Some(ended) = self.merge.try_join_next() {
            let merged = self.take_in(ended);
            if !self.is_full() {
                // It will be tried again.
                return merged.or(Ok(()));
            }
        }
        if !self.is_full() {
            return Ok(());
        }
        if self.merge.is_empty() {
            self.begin_merge(prefix, epoch);
        }
        let ended = self.merge.join_next().await;
        self.take_in(ended.expect("a merge is under way"))
    }

    /// Returns when no merge is under way any more.
    pub(super) async fn close(mut self) {
        self.merge.shutdown().await;
    }

    fn begin_merge(&mut self, prefix: &Prefix, epoch: u64) {
        let merge = Merge {
            epoch,
            writer: self.writer,
            base: self.base.clone(),
            tail: self.tail.iter().cloned().collect(),
        };
        let prefix = prefix.clone();
        self.merge
            .spawn(async move { merge.carry_out(&prefix).await });
    }

    fn take_in(&mut self, ended: Result<Result<Merged, String>, JoinError>) -> Result<(), String> {
        let ended = ended.unwrap_or_else(|error| Err(error.to_string()));
        let Merged { base, obsolete } = ended.map_err(|words| {
            warn!(problem = words, "the log was not merged");
            format!("the log cannot be merged: {words}")
        })?;
        let gone = base.merged - self.base.merged;
        self.tail.drain(..gone as usize);
        self.base = base;
        self.obsolete.extend(obsolete);
        Ok(())
    }
}
