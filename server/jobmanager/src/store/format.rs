//! The files of the embedded store: what a data folder looks like, and how one is told from a foreign
//! or damaged one before anything in it is changed.
//!
//! A data folder holds `metadata.redb` (the records), `lock`, by default `checkpoints` and
//! `flight-recordings`, and with several JobManagers what they elect their leader by. A new
//! `metadata.redb` comes into being under another name and is renamed when it is complete, so a crash
//! while it is made leaves nothing that could be mistaken for a damaged store.

use super::StoreError;
use super::overlay::Overlay;
use redb::{Builder, Database, ReadableDatabase, TableDefinition};
use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Numbers about the store itself, by [`FORMAT`] and [`EPOCH`].
pub(super) const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
/// The records by their keys, both as the wire crate defines them.
pub(super) const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
/// In [`NUMBERS`]: the version of this layout.
pub(super) const FORMAT: &str = "jobmanager-format";
/// In [`NUMBERS`]: the last epoch minted.
pub(super) const EPOCH: &str = "epoch";

/// The version of this layout.
const VERSION: u64 = 1;
/// The records.
const FILE: &str = "metadata.redb";
/// A file that never became [`FILE`]: whoever made it crashed.
const UNFINISHED: &str = "metadata.redb.new";
/// Held while a process uses the folder.
const LOCK: &str = "lock";
/// Held by the process that leads, of those that share the folder.
pub(crate) const ELECTION_LOCK: &str = "election.lock";
/// Where that process answers.
pub(crate) const ELECTION_LEADER: &str = "leader.json";
/// The same before it is complete.
pub(crate) const ELECTION_UNFINISHED: &str = "leader.json.new";
/// The folder of the flight recordings, unless another one is chosen.
pub(crate) const RECORDINGS_FOLDER: &str = "flight-recordings";
/// The folder of what was started for jobs on this machine.
pub(crate) const WORKERS_FOLDER: &str = "workers";
/// What else may be in a data folder without records.
const OURS: [&str; 8] = [
    UNFINISHED,
    LOCK,
    "checkpoints",
    RECORDINGS_FOLDER,
    WORKERS_FOLDER,
    ELECTION_LOCK,
    ELECTION_LEADER,
    ELECTION_UNFINISHED,
];
/// The first bytes of every redb file.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
/// Memory for pages read. Bytes; records are read once, at the start.
const CACHE: usize = 4 << 20;

/// A data folder that is known to be ours and is used by nobody else.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The system drops the lock with the file, also when the process is killed.
    _lock: File,
}

impl Folder {
    /// Takes the folder, which is made if it does not exist, and checks what is in it.
    ///
    /// # Errors
    /// It is foreign, damaged or in use; nothing was changed.
    pub(super) fn open(path: &Path) -> Result<Folder, StoreError> {
        let exists = check_data_folder(path)?;
        let file = path.join(FILE);
        let lock = take_lock(path.join(LOCK))?;
        if exists {
            verify(&file)?;
        } else {
            create(path)?;
        }
        Ok(Folder {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The database in it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn database(&self) -> Result<Database, StoreError> {
        let file = self.file();
        builder().open(&file).map_err(|error| damaged(&file, error))
    }

    /// The file with the records.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }
}

/// Looks whether a folder, which is made if it does not exist, can be a data folder, and tells whether there
/// are records in it.
///
/// # Errors
/// It is foreign or cannot be read; nothing in it was changed.
pub(crate) fn check_data_folder(path: &Path) -> Result<bool, StoreError> {
    fs::create_dir_all(path).map_err(|error| system(path, &error))?;
    let file = path.join(FILE);
    let exists = file.try_exists().map_err(|error| system(&file, &error))?;
    if exists {
        check_magic(&file)?;
    } else {
        check_no_strangers(path)?;
    }
    Ok(exists)
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

fn check_magic(file: &Path) -> Result<(), StoreError> {
    let mut start = Vec::new();
    File::open(file)
        .and_then(|open| open.take(MAGIC.len() as u64).read_to_end(&mut start))
        .map_err(|error| system(file, &error))?;
    if start == MAGIC {
        return Ok(());
    }
    if start.is_empty() || MAGIC.starts_with(&start) {
        return Err(damaged(file, "it ends within its first bytes"));
    }
    Err(foreign(file, "is not a metadata file of a JobManager"))
}

/// A folder without records may only hold what we would have put there.
fn check_no_strangers(folder: &Path) -> Result<(), StoreError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| system(folder, &error))? {
        let entry = entry.map_err(|error| system(folder, &error))?;
        names.push(entry.file_name());
    }
    names.sort();
    let stranger = names
        .iter()
        .find(|name| !OURS.iter().any(|ours| name.as_os_str() == *ours));
    match stranger {
        None => Ok(()),
        Some(name) => {
            let problem = format!(
                "is in a folder that is not empty and holds no {FILE}, so it is not a JobManager's data folder"
            );
            Err(foreign(&folder.join(name), &problem))
        }
    }
}

/// A file for its lock alone, which is made if it does not exist.
pub(crate) fn open_lock(path: &Path) -> Result<File, StoreError> {
    let lock = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path);
    lock.map_err(|error| system(path, &error))
}

fn take_lock(path: PathBuf) -> Result<File, StoreError> {
    let lock = open_lock(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
        Err(TryLockError::Error(error)) => Err(system(&path, &error)),
    }
}

/// Makes an empty store that is either there as a whole or not at all.
fn create(folder: &Path) -> Result<(), StoreError> {
    let unfinished = folder.join(UNFINISHED);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(system(&unfinished, &error));
        }
        Ok(()) | Err(_) => {}
    }
    write_format(&unfinished).map_err(|error| system(&unfinished, &error))?;
    let file = folder.join(FILE);
    fs::rename(&unfinished, &file).map_err(|error| system(&file, &error))?;
    // The new name is durable only when its folder is.
    File::open(folder)
        .and_then(|open| open.sync_all())
        .map_err(|error| system(folder, &error))
}

fn write_format(file: &Path) -> Result<(), redb::Error> {
    let database = builder().create(file)?;
    let transaction = database.begin_write()?;
    {
        let mut numbers = transaction.open_table(NUMBERS)?;
        numbers.insert(FORMAT, VERSION)?;
        numbers.insert(EPOCH, 0)?;
        transaction.open_table(RECORDS)?;
    }
    transaction.commit()?;
    database.close()?;
    Ok(())
}

/// Reads every page and checks its sum, on a copy of whatever would have to be repaired.
///
/// Every commit of ours is in two phases, so the state that the file calls its last one is whole unless
/// something else changed the file. Without that, the database would quietly go back to the state before.
fn verify(file: &Path) -> Result<(), StoreError> {
    let overlay = File::open(file)
        .and_then(Overlay::new)
        .map_err(|error| system(file, &error))?;
    // The database may panic about pages that make no sense; that is a damaged file, not our mistake.
    let looked = catch_unwind(AssertUnwindSafe(|| read_format(overlay)));
    match looked {
        Ok(Ok(Some(VERSION))) => Ok(()),
        Ok(Ok(Some(other))) => Err(foreign(
            file,
            &format!("has format {other}; this JobManager reads format {VERSION}"),
        )),
        Ok(Ok(None)) => Err(foreign(file, "is a database of another program")),
        Ok(Err(error)) => Err(damaged(file, error)),
        Err(_) => Err(damaged(file, "its pages contradict each other")),
    }
}

fn read_format(overlay: Overlay) -> Result<Option<u64>, redb::Error> {
    let database = builder()
        .set_check_integrity_on_open(true)
        .create_with_backend(overlay)?;
    let transaction = database.begin_read()?;
    let numbers = match transaction.open_table(NUMBERS) {
        Ok(table) => table,
        Err(
            redb::TableError::TableDoesNotExist(_) | redb::TableError::TableTypeMismatch { .. },
        ) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    Ok(numbers.get(FORMAT)?.map(|version| version.value()))
}

fn foreign(path: &Path, problem: &str) -> StoreError {
    StoreError::Foreign {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}

pub(super) fn damaged(path: &Path, problem: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

pub(crate) fn system(path: &Path, problem: &impl std::fmt::Display) -> StoreError {
    StoreError::System {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}
