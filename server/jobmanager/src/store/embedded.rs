//! The default store: one redb file in the data folder, written by a thread of its own.
//!
//! A write that was answered with `Done` survives SIGKILL and the loss of power: it is on the disk, in
//! two phases, before the answer. The epoch is compared within the same transaction.

use super::format::{EPOCH, Folder, NUMBERS, RECORDS, damaged, system};
use super::records::{Rows, decode};
use super::{Leadership, Store, StoreError};
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::record::RecordOp;
use jobmanager_proto::{encode_record, key_text};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, WriteTransaction};
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// How many calls may wait for the thread. One writer has one write under way; the rest is for tests.
const WAITING_CALLS: usize = 16;

/// A handle of the store; clones use the same one.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    calls: mpsc::Sender<Call>,
}

/// What the thread is asked to do.
#[derive(Debug)]
enum Call {
    Load(oneshot::Sender<Result<Leadership, StoreError>>),
    Commit {
        epoch: Epoch,
        ops: Vec<RecordOp>,
        answer: oneshot::Sender<StoreOutcome>,
    },
    Close(oneshot::Sender<()>),
}

impl EmbeddedStore {
    /// Opens the store in a data folder, which is made if it does not exist.
    ///
    /// # Errors
    /// The folder is foreign, damaged or in use; nothing was changed.
    pub async fn open(folder: PathBuf) -> Result<EmbeddedStore, StoreError> {
        let (calls, inbox) = mpsc::channel(WAITING_CALLS);
        let (opened, result) = oneshot::channel();
        let path = folder.clone();
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || serve_calls(&folder, opened, inbox))
            .map_err(|error| system(&path, &error))?;
        result.await.map_err(|_| StoreError::Closed)??;
        Ok(EmbeddedStore { calls })
    }

    async fn call<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Option<T> {
        let (answer, result) = oneshot::channel();
        self.calls.send(call(answer)).await.ok()?;
        result.await.ok()
    }
}

impl Store for EmbeddedStore {
    async fn load(&self) -> Result<Leadership, StoreError> {
        self.call(Call::Load)
            .await
            .unwrap_or(Err(StoreError::Closed))
    }

    async fn commit(&self, epoch: Epoch, ops: Vec<RecordOp>) -> StoreOutcome {
        let call = |answer| Call::Commit { epoch, ops, answer };
        let lost = || StoreOutcome::Unknown("the store was closed during the write".to_owned());
        self.call(call).await.unwrap_or_else(lost)
    }

    async fn close(&self) {
        // No answer means that it was closed already.
        let _ = self.call(Call::Close).await;
    }
}

/// The thread: opens the folder, then answers calls until it is closed or nobody is left to call.
fn serve_calls(
    folder: &std::path::Path,
    opened: oneshot::Sender<Result<(), StoreError>>,
    mut inbox: mpsc::Receiver<Call>,
) {
    let mut file = match open(folder) {
        Ok(file) => file,
        Err(error) => {
            // The opener may have given up; then nobody wants to know.
            let _ = opened.send(Err(error));
            return;
        }
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    while let Some(call) = inbox.blocking_recv() {
        // A caller that gave up does not change what was done.
        match call {
            Call::Load(answer) => drop(answer.send(file.load())),
            Call::Commit { epoch, ops, answer } => drop(answer.send(file.commit(epoch, &ops))),
            Call::Close(answer) => {
                drop(file);
                let _ = answer.send(());
                return;
            }
        }
    }
}

fn open(folder: &std::path::Path) -> Result<StoreFile, StoreError> {
    let folder = Folder::open(folder)?;
    let database = Some(folder.database()?);
    Ok(StoreFile { database, folder })
}

/// The open file, as the thread has it. Fields drop in order: the database before its lock.
struct StoreFile {
    /// Absent after a failed write: the database answers nothing more until it is opened again.
    database: Option<Database>,
    folder: Folder,
}

impl StoreFile {
    fn load(&mut self) -> Result<Leadership, StoreError> {
        let file = self.folder.file();
        let database = self.database()?;
        let rows = read_rows(database).map_err(|error| damaged(&file, error))?;
        // Minted last: a store that cannot be read is left as it was.
        let records = decode(rows).map_err(|problem| damaged(&file, problem))?;
        let epoch = mint_epoch(database).map_err(|error| system(&file, &error))?;
        Ok(Leadership { epoch, records })
    }

    fn commit(&mut self, epoch: Epoch, ops: &[RecordOp]) -> StoreOutcome {
        let outcome = match self.database() {
            Ok(database) => commit(database, epoch, ops),
            Err(error) => StoreOutcome::Unavailable(error.to_string()),
        };
        if matches!(
            outcome,
            StoreOutcome::Unavailable(_) | StoreOutcome::Unknown(_)
        ) {
            self.database = None;
        }
        outcome
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.folder.database()?,
        };
        Ok(self.database.insert(database))
    }
}

fn read_rows(database: &Database) -> Result<Rows, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(RECORDS)?;
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (key, bytes) = row?;
        rows.push((key.value().to_owned(), bytes.value().to_owned()));
    }
    Ok(rows)
}

fn mint_epoch(database: &Database) -> Result<Epoch, redb::Error> {
    let transaction = begin(database)?;
    let next = {
        let mut numbers = transaction.open_table(NUMBERS)?;
        let last = numbers.get(EPOCH)?.map_or(0, |epoch| epoch.value());
        numbers.insert(EPOCH, last + 1)?;
        last + 1
    };
    transaction.commit()?;
    Ok(Epoch(next))
}

/// Before the commit call nothing can have been written; after it, everything or nothing.
fn commit(database: &Database, epoch: Epoch, ops: &[RecordOp]) -> StoreOutcome {
    match prepare(database, epoch, ops) {
        Err(error) => StoreOutcome::Unavailable(error.to_string()),
        Ok(None) => StoreOutcome::Fenced,
        Ok(Some(transaction)) => match transaction.commit() {
            Ok(()) => StoreOutcome::Done,
            Err(error) => StoreOutcome::Unknown(error.to_string()),
        },
    }
}

/// The transaction that does it, or nothing if the epoch is not the current one.
fn prepare(
    database: &Database,
    epoch: Epoch,
    ops: &[RecordOp],
) -> Result<Option<WriteTransaction>, redb::Error> {
    let transaction = begin(database)?;
    let current = {
        let numbers = transaction.open_table(NUMBERS)?;
        numbers.get(EPOCH)?.map_or(0, |epoch| epoch.value())
    };
    if current != epoch.0 {
        transaction.abort()?;
        return Ok(None);
    }
    {
        let mut table = transaction.open_table(RECORDS)?;
        for op in ops {
            match op {
                RecordOp::Put(record) => {
                    let key = key_text(&record.key());
                    table.insert(key.as_str(), encode_record(record).as_slice())?;
                }
                RecordOp::Delete(key) => {
                    table.remove(key_text(key).as_str())?;
                }
            }
        }
    }
    Ok(Some(transaction))
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}
