//! Flight recordings: what a coordinator was told, from a known state on. `recording.proto` says what
//! the bytes are.
//!
//! | what | by |
//! |---|---|
//! | the start of a file, and frames | [`start`], [`append`], [`append_input`] |
//! | a file | [`Reader`], which says where it is cut off or damaged |
//! | a coordinator's whole state | [`snapshot`], [`restore`] |
//!
//! Whoever records and whoever replays digest the effects the same way: [`EffectsDigest`].

mod frame;
mod input;
mod read;
mod snapshot;

pub use frame::{append, append_input, start};
pub use read::{Reader, RecordingError};
pub use snapshot::{MAX_SNAPSHOT, RestoreError, restore, snapshot};

use jobmanager_core::config::ClusterConfig;
use jobmanager_core::digest::Digest;
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::{Effect, Input};
use jobmanager_core::record::Record;
use jobmanager_core::time::Timestamp;
use std::hash::{Hash, Hasher};

/// The first bytes of every recording. The line ends show a file that was changed as if it were text.
pub const MAGIC: [u8; 12] = *b"\x89JMFLIGHT\r\n\x1a";
/// The version of the format.
pub const VERSION: u32 = 1;
/// How many bytes come before the first frame.
pub const START_BYTES: usize = MAGIC.len() + 4;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When.
    pub at: Timestamp,
    /// The digest of the effects since the last base, before this frame's own.
    pub effects: u64,
    /// What.
    pub entry: Entry,
}

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Whose recording it is; the first frame and no other.
    Header(Header),
    /// From here on everything can be replayed: the coordinator was rebuilt from these records.
    Recovered(Vec<Record>),
    /// From here on everything can be replayed: the coordinator's whole state.
    Snapshot(Vec<u8>),
    /// The coordinator took this.
    Input(Input),
    /// The digest of the coordinator's state.
    Check(u64),
    /// The recording was ended.
    End(End),
}

/// Whose recording it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Who wrote it, for people.
    pub program: String,
    /// The coordinator's epoch.
    pub epoch: Epoch,
    /// What the coordinator was configured with.
    pub config: ClusterConfig,
}

/// Why a recording ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was asked for, in this state.
    Asked(u64),
    /// The JobManager panicked after the last input, with these words.
    Panicked(String),
}

/// The chained digest of effects.
#[derive(Default)]
pub struct EffectsDigest(Digest);

impl EffectsDigest {
    /// These are the next ones.
    pub fn add(&mut self, effects: &[Effect]) {
        for effect in effects {
            effect.hash(&mut self.0);
        }
    }

    /// The digest of all so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.finish()
    }
}

impl std::fmt::Debug for EffectsDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EffectsDigest({:016x})", self.value())
    }
}
