//! What happened: as a digest always, as a log on demand.

pub(crate) mod words;

use crate::plan::options::Micros;
use crate::run::DIGEST_PACE;
use crate::world::World;
use jobmanager_core::digest::Digest;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// Where something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What breaks and heals.
    Faults,
    /// The metadata store.
    Store,
    /// Where sinks publish.
    Outside,
    /// A life of a JobManager process.
    JobManager(u32),
    /// A TaskManager, whichever of its processes.
    TaskManager(usize),
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lane::Faults => f.write_str("faults"),
            Lane::Store => f.write_str("store"),
            Lane::Outside => f.write_str("outside"),
            Lane::JobManager(instance) => write!(f, "jm-{instance}"),
            Lane::TaskManager(index) => write!(f, "tm-{index}"),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, in microseconds since the start of the run.
    pub at: Micros,
    /// Where.
    pub lane: Lane,
    /// What kind of thing: `<-` is an input, `->` an order, anything else a word of its own.
    pub verb: &'static str,
    /// The thing itself.
    pub what: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at / 1_000_000, self.at % 1_000_000);
        let Entry {
            lane, verb, what, ..
        } = self;
        write!(f, "{seconds:>4}.{micros:06} {lane:<7} {verb:<8} {what}")
    }
}

/// The running digest of every input and output, and perhaps the log.
#[derive(Default)]
pub(crate) struct Trace {
    digest: Digest,
    digests: Vec<u64>,
    /// The events that are logged.
    logged: Range<u64>,
    log: Vec<Entry>,
}

impl Trace {
    pub(crate) fn new(logged: Range<u64>) -> Self {
        Trace {
            logged,
            ..Trace::default()
        }
    }

    /// Keeps the digest of all that has happened, if an event of this number is due for it.
    pub(crate) fn keep_digest(&mut self, event: u64) {
        if event.is_multiple_of(DIGEST_PACE) {
            self.digests.push(self.digest.finish());
        }
    }

    /// The digest, those that were kept, and the log.
    pub(crate) fn into_parts(self) -> (u64, Vec<u64>, Vec<Entry>) {
        (self.digest.finish(), self.digests, self.log)
    }
}

impl World {
    /// Something happens now.
    pub(crate) fn note(
        &mut self,
        lane: Lane,
        verb: &'static str,
        what: &(impl Hash + fmt::Debug + ?Sized),
    ) {
        let trace = &mut self.trace;
        (self.now, lane, verb).hash(&mut trace.digest);
        what.hash(&mut trace.digest);
        if trace.logged.contains(&self.events) {
            trace.log.push(Entry {
                at: self.now,
                lane,
                verb,
                what: format!("{what:?}"),
            });
        }
    }
}
