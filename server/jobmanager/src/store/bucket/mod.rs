//! The store in an object storage: S3, Azure Blob Storage or Google Cloud Storage, and no database.
//!
//! ```text
//! log/00 … log/31   the latest entries: each a write, or the beginning of an epoch
//! runs/…            the changes of all entries before, each object written once
//! ```
//!
//! Entry *n* is written to slot *n* mod 32, over entry *n* - 32, on condition that this is still there. So of
//! several who write entry *n* one does, in one round trip, and the others learn who was faster. A new leader reads
//! the log, and writes the beginning of its epoch as the next entry: whoever led before finds its next slot taken.
//!
//! Why a ring, and not a new object per entry, created if it is absent: entries have to be deleted some day, and then
//! a leader that has slept for as long would create its next one in an empty place and believe that it was written.
//! A slot is never empty again, and never has the same content again, so an old condition is never true again,
//! however late. Why not one object: Google lets an object be written once per second.
//!
//! Entries leave the ring for [`runs`], while others are written. Each entry names the runs that everything before
//! the ring is in, and only the latest one counts, so naming new ones is as atomic as the write of the entry. What a
//! later entry does not name is deleted; a run that is named by nobody, because its writer has died, by the next
//! leader.
//!
//! A write without an answer is [`StoreOutcome::Unknown`]: before the next one the log is read, and a write that is
//! repeated and has been made is done. One that comes late, after others, finds its condition broken.

mod format;
mod log;
mod pace;
mod place;
mod probe;
mod ring;
mod runs;

use super::records::{Rows, decode};
use super::{Leadership, Store, StoreError};
use crate::election::{ClusterId, random};
use crate::objects::Bucket;
use format::{Change, Run};
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::record::{Record, RecordOp};
use log::Log;
use pace::Pace;
use place::{Prefix, PutFailure};
use probe::{ProbeFailure, probe};
use ring::{ReadFailure, Ring, write_entry};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long it may take to read all records and to begin an epoch.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a write is tried that somebody else's gets in the way of.
const TRIES: usize = 8;

/// A handle of the store; clones use the same log.
#[derive(Debug, Clone)]
pub struct BucketStore {
    prefix: Prefix,
    /// Who this is, to tell its own entries from others'.
    writer: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Absent until something is loaded or written.
    log: Option<Log>,
    pace: Pace,
    /// What is being deleted. It is given up with this.
    deletions: JoinSet<()>,
    closed: bool,
}

impl BucketStore {
    /// Opens the part of the bucket that belongs to a cluster, if the bucket keeps the conditions of writes.
    ///
    /// # Errors
    /// The bucket does not answer, or is not one that can be used.
    pub async fn open(bucket: &Bucket, cluster: &ClusterId) -> Result<BucketStore, StoreError> {
        BucketStore::open_prefix(Prefix::of(bucket, cluster), bucket.variables()).await
    }

    /// The variables are those of the environment that credentials are in.
    async fn open_prefix(prefix: Prefix, variables: &str) -> Result<BucketStore, StoreError> {
        let store = BucketStore {
            prefix,
            writer: random(),
            state: Arc::default(),
        };
        let probed = probe(&store.prefix, &format!("probe-{:016x}", store.writer)).await;
        probed.map_err(|failure| match failure {
            ProbeFailure::Away(words) => store.unreachable(format!(
                "{words} (see the environment variables {variables})"
            )),
            ProbeFailure::Unfit(words) => store.unusable(words),
        })?;
        Ok(store)
    }

    fn unreachable(&self, problem: String) -> StoreError {
        StoreError::Unreachable {
            server: self.prefix.to_string(),
            problem,
        }
    }

    fn unusable(&self, problem: String) -> StoreError {
        StoreError::Unusable {
            server: self.prefix.to_string(),
            problem,
        }
    }

    fn unreadable(&self, failure: ReadFailure) -> StoreError {
        match failure {
            ReadFailure::Away(words) => self.unreachable(words),
            ReadFailure::Unusable(words) => self.unusable(words),
        }
    }

    async fn read_ring(&self) -> Result<Ring, StoreError> {
        let ring = Ring::read(&self.prefix).await;
        ring.map_err(|failure| self.unreadable(failure))
    }

    /// Begins the next epoch, and reads what there was before it.
    async fn lead(&self) -> Result<(Log, Vec<Record>), StoreError> {
        let mut runs = Runs::default();
        // Before the epoch begins: a store that cannot be read is left as it was.
        let (mut ring, mut records) = self.read_all(&mut runs).await?;
        let read = ring.last_number();
        let log = loop {
            match self.claim(&ring).await? {
                Claim::Won(log) => break log,
                // Read at once, and claimed again: whoever writes on is faster than who reads all records.
                Claim::Lost(newer) => ring = newer,
            }
        };
        if ring.last_number() > read {
            let found = self.records(&ring, &mut runs).await?;
            records = found.map_err(|run| self.lost(&run))?;
        }
        Ok((log, records))
    }

    /// Writes the beginning of the next epoch after what was read.
    async fn claim(&self, ring: &Ring) -> Result<Claim, StoreError> {
        let mut log = Log::new(ring, self.writer);
        let room = log.make_room(&self.prefix, ring.epoch() + 1).await;
        room.map_err(|words| self.unreachable(words))?;
        let entry = log.next_epoch();
        let failure = match write_entry(&self.prefix, log.expected(), &entry).await {
            Ok(version) => {
                log.written(entry, version);
                return Ok(Claim::Won(log));
            }
            Err(failure) => failure,
        };
        let words = match failure {
            PutFailure::Refused => return Ok(Claim::Lost(self.read_ring().await?)),
            PutFailure::Unsupported(words) | PutFailure::NotDone(words) => {
                return Err(self.unreachable(words));
            }
            PutFailure::Unknown(words) => words,
        };
        let ring = self.read_ring().await?;
        let is_last = ring.last().is_some_and(|last| *last == entry);
        match is_last {
            true => Ok(Claim::Won(Log::new(&ring, self.writer))),
            false => Err(self.unreachable(words)),
        }
    }

    /// The log, and what all its entries and runs come to.
    async fn read_all(&self, runs: &mut Runs) -> Result<(Ring, Vec<Record>), StoreError> {
        let mut before = None;
        loop {
            let ring = self.read_ring().await?;
            match self.records(&ring, runs).await? {
                Ok(records) => return Ok((ring, records)),
                Err(missing) if before == Some(ring.last_number()) => {
                    return Err(self.lost(&missing));
                }
                // Whoever leads may have deleted it, and then there is a later entry that does not name it.
                Err(_) => before = Some(ring.last_number()),
            }
        }
    }

    fn lost(&self, run: &Run) -> StoreError {
        let name = &run.name;
        self.unusable(format!(
            "has lost {name}: restore it from a copy of the whole prefix"
        ))
    }

    /// Every record; or a run that is not there.
    async fn records(
        &self,
        ring: &Ring,
        runs: &mut Runs,
    ) -> Result<Result<Vec<Record>, Run>, StoreError> {
        let base = ring.last().map(|entry| entry.base.clone());
        let base = base.unwrap_or_default();
        let mut rows = BTreeMap::new();
        for run in base.runs {
            let known = runs.contains_key(&run.name);
            if !known {
                let found = runs::read(&self.prefix, &run).await;
                let found = found.map_err(|failure| self.unreadable(failure))?;
                let Some(changes) = found else {
                    return Ok(Err(run));
                };
                runs.insert(run.name.clone(), changes);
            }
            apply(&runs[&run.name], &mut rows);
        }
        for entry in ring.after(base.merged) {
            apply(&entry.changes, &mut rows);
        }
        let rows: Rows = rows.into_iter().collect();
        let records = decode(rows);
        let records = records.map_err(|problem| self.unusable(format!("is damaged: {problem}")))?;
        Ok(Ok(records))
    }

    /// Writes an entry with these changes, all of them or none.
    async fn write(
        &self,
        state: &mut State,
        epoch: u64,
        mut changes: Vec<Change>,
    ) -> Result<(), WriteFailure> {
        let rest = state.pace.rest(Instant::now());
        if !rest.is_zero() {
            // Whatever is to be written meanwhile goes into one write.
            sleep(rest).await;
        }
        for _ in 0..TRIES {
            let is_known = |log: &Log| log.epoch() >= epoch && !log.is_in_doubt();
            if !state.log.as_ref().is_some_and(is_known)
                && self.look(&mut state.log, epoch, &changes).await?
            {
                return Ok(());
            }
            let Some(log) = state.log.as_mut().filter(|log| log.epoch() == epoch) else {
                return Err(WriteFailure::Fenced);
            };
            let room = log.make_room(&self.prefix, epoch).await;
            room.map_err(WriteFailure::NotDone)?;
            let entry = log.next_entry(changes);
            let began = Instant::now();
            let written = write_entry(&self.prefix, log.expected(), &entry).await;
            state.pace.wrote(began, Instant::now());
            match written {
                Ok(version) => {
                    log.written(entry, version);
                    log.merge_some(&self.prefix);
                    let obsolete = log.take_obsolete();
                    self.delete(state, obsolete);
                    return Ok(());
                }
                Err(PutFailure::Refused) => log.doubt(),
                Err(PutFailure::Unsupported(words) | PutFailure::NotDone(words)) => {
                    return Err(WriteFailure::NotDone(words));
                }
                Err(PutFailure::Unknown(words)) => {
                    log.doubt();
                    return Err(WriteFailure::Unknown(words));
                }
            }
            changes = entry.changes;
        }
        let words = "it was refused each time, although nobody else has written";
        Err(WriteFailure::NotDone(words.to_owned()))
    }

    /// Reads the log, for whoever does not know it, or not whether its own last entry is in it. Returns whether
    /// it is, and has these changes.
    async fn look(
        &self,
        known: &mut Option<Log>,
        epoch: u64,
        changes: &[Change],
    ) -> Result<bool, WriteFailure> {
        let ring = Ring::read(&self.prefix).await;
        let ring = ring.map_err(|failure| {
            let (ReadFailure::Away(words) | ReadFailure::Unusable(words)) = failure;
            match known {
                Some(log) if log.is_in_doubt() => WriteFailure::Unknown(words),
                Some(_) | None => WriteFailure::NotDone(words),
            }
        })?;
        match known {
            Some(log) if log.epoch() == ring.epoch() => {
                let is_written = log.settle(&ring, changes);
                log.look(&ring);
                Ok(is_written && log.epoch() == epoch)
            }
            Some(_) | None => {
                *known = Some(Log::new(&ring, self.writer));
                Ok(false)
            }
        }
    }

    fn delete(&self, state: &mut State, runs: Vec<Run>) {
        // Those that have ended are forgotten.
        while state.deletions.try_join_next().is_some() {}
        if !runs.is_empty() {
            let names = runs.into_iter().map(|run| run.name).collect();
            let prefix = self.prefix.clone();
            state.deletions.spawn(runs::delete(prefix, names));
        }
    }
}

/// The runs that have been read, by name: they never change.
type Runs = HashMap<String, Vec<Change>>;

/// What has become of the beginning of an epoch.
enum Claim {
    /// It is written.
    Won(Log),
    /// Somebody else has written, and this is what there is now.
    Lost(Ring),
}

/// Why nothing was written, or maybe nothing.
enum WriteFailure {
    Fenced,
    NotDone(String),
    Unknown(String),
}

fn apply(changes: &[Change], rows: &mut BTreeMap<String, Vec<u8>>) {
    for Change { key, record } in changes {
        match record {
            Some(record) => rows.insert(key.clone(), record.clone()),
            None => rows.remove(key),
        };
    }
}

impl Store for BucketStore {
    async fn load(&self) -> Result<Leadership, StoreError> {
        let mut state = self.state.lock().await;
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.log = None;
        let (mut log, records) = match timeout(LOAD_TIMEOUT, self.lead()).await {
            Ok(found) => found?,
            Err(_) => {
                return Err(self.unreachable(format!(
                    "no epoch was begun within {} s",
                    LOAD_TIMEOUT.as_secs()
                )));
            }
        };
        let epoch = log.epoch();
        let obsolete = log.take_obsolete();
        self.delete(&mut state, obsolete);
        let left_overs = runs::delete_left_overs(self.prefix.clone(), epoch, log.runs().to_vec());
        state.deletions.spawn(left_overs);
        state.log = Some(log);
        let epoch = Epoch(epoch);
        Ok(Leadership { epoch, records })
    }

    async fn commit(&self, epoch: Epoch, ops: Vec<RecordOp>) -> StoreOutcome {
        let mut state = self.state.lock().await;
        if state.closed {
            return StoreOutcome::Unavailable(StoreError::Closed.to_string());
        }
        let changes = Change::of(&ops);
        let shown = &self.prefix;
        match self.write(&mut state, epoch.0, changes).await {
            Ok(()) => StoreOutcome::Done,
            Err(WriteFailure::Fenced) => StoreOutcome::Fenced,
            Err(WriteFailure::NotDone(words)) => {
                StoreOutcome::Unavailable(format!("{shown}: {words}"))
            }
            Err(WriteFailure::Unknown(words)) => StoreOutcome::Unknown(format!("{shown}: {words}")),
        }
    }

    async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(log) = state.log.take() {
            log.close().await;
        }
        state.deletions.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
