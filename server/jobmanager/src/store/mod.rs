//! Where the coordinator's records survive it: the [`Store`] contract with its implementations.
//!
//! A store holds one number, the epoch, and a set of records. [`Store::load`] mints the next epoch and
//! makes it durable before it returns; from then on every write of an older epoch is refused by the
//! store itself, whatever the writer believes. A write is one transaction: all of it or nothing.
//!
//! What is not here: any decision. When to write, and what to do when a write fails, is the core's.

#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
mod bucket;
mod chosen;
mod embedded;
#[cfg(feature = "postgres")]
mod facts;
mod format;
mod memory;
mod overlay;
#[cfg(feature = "postgres")]
mod postgres;
mod records;

#[cfg(any(feature = "azure", feature = "gcs", feature = "s3"))]
pub use bucket::BucketStore;
pub use chosen::{ChosenStore, StorePlace};
pub use embedded::EmbeddedStore;
pub(crate) use format::{
    ELECTION_LEADER, ELECTION_LOCK, ELECTION_UNFINISHED, RECORDINGS_FOLDER, WORKERS_FOLDER,
    check_data_folder, open_lock,
};
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;

use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::record::{Record, RecordOp};
use std::future::Future;
use std::path::PathBuf;

/// What a new leader finds.
#[derive(Debug)]
pub struct Leadership {
    /// Its epoch: later than every one before, and durable.
    pub epoch: Epoch,
    /// Every record, ordered by key.
    pub records: Vec<Record>,
}

/// Why a store cannot be opened or read. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The folder or file belongs to something else.
    #[error(
        "{path} {problem}; nothing was changed: choose another folder with --data-dir, or move it away"
    )]
    Foreign {
        /// What was found.
        path: PathBuf,
        /// Why it is not ours.
        problem: String,
    },
    /// The file is ours, but what it holds cannot be trusted.
    #[error(
        "{path} is damaged: {problem}; nothing was changed: restore the file from a copy, or choose another folder with --data-dir to start without its jobs"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process has it open.
    #[error(
        "{path} is locked by another process: stop the JobManager that uses this folder, or choose another one with --data-dir"
    )]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The system refused.
    #[error(
        "{path}: {problem}; check the folder given by --data-dir, its permissions and its disk"
    )]
    System {
        /// What was to be read or written.
        path: PathBuf,
        /// The system's words.
        problem: String,
    },
    /// A server does not answer, or not as it should.
    #[error(
        "{server} cannot be used now: {problem}; see that it runs, that jobmanager.store (--store) is right, and that it lets this JobManager in"
    )]
    Unreachable {
        /// The server, without a password.
        server: String,
        /// Its words, or the system's.
        problem: String,
    },
    /// A server answers, but what it holds is not for this program.
    #[error("{server} {problem}")]
    Unusable {
        /// The server, without a password.
        server: String,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether it may go away by itself, so that a standby tries again later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            StoreError::Locked { .. } | StoreError::Unreachable { .. } => true,
            StoreError::Foreign { .. }
            | StoreError::Damaged { .. }
            | StoreError::System { .. }
            | StoreError::Unusable { .. }
            | StoreError::Closed => false,
        }
    }
}

/// A durable, fenced set of records.
///
/// Handles of one store may be used at the same time; the one that loaded last wins.
pub trait Store: Send + Sync + 'static {
    /// Makes the caller the leader: mints the next epoch and returns it with every record.
    ///
    /// # Errors
    /// The epoch could not be made durable, or a record could not be read.
    fn load(&self) -> impl Future<Output = Result<Leadership, StoreError>> + Send;

    /// Writes all of `ops`, in order, or nothing, if `epoch` is the one minted last.
    fn commit(&self, epoch: Epoch, ops: Vec<RecordOp>)
    -> impl Future<Output = StoreOutcome> + Send;

    /// Returns when nothing of this store is open any more. Later calls fail.
    fn close(&self) -> impl Future<Output = ()> + Send;
}
