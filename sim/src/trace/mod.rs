//! What happened: as a digest always, as a log on demand.

use crate::plan::options::Micros;
use crate::world::World;
use jobmanager_core::digest::Digest;
use std::fmt;
use std::hash::{Hash, Hasher};

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
    log: Option<Vec<Entry>>,
}

impl Trace {
    pub(crate) fn new(logged: bool) -> Self {
        Trace {
            digest: Digest::default(),
            log: logged.then(Vec::new),
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub(crate) fn into_log(self) -> Vec<Entry> {
        self.log.unwrap_or_default()
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
        if let Some(log) = &mut trace.log {
            log.push(Entry {
                at: self.now,
                lane,
                verb,
                what: format!("{what:?}"),
            });
        }
    }
}
