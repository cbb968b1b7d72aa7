//! What happened: as a digest always; as a log and a timeline on demand.
//!
//! [`World::note`] chains the digest and, if a log was asked for, keeps what it was told. Everything else in
//! this folder is for people who look at a run: it reads, draws nothing from the tape, and changes neither
//! the world nor the digest; without a log it costs nothing. `told` says what an input or an order is about,
//! `timeline` keeps messages and spans, `observe` finds the spans by looking at the world after every
//! event, `states` and `travel` put machines and messages in words, and `page` draws it all.

mod flight;
mod joined;
mod json;
mod observe;
mod page;
mod states;
#[cfg(test)]
mod tests;
mod timeline;
mod told;
mod travel;

pub use joined::Joined;
pub use page::{Page, View};
pub use timeline::{Message, Passage, Span, SpanKind, State, Timeline};
pub use told::{Kind, Subject};

pub(crate) use timeline::Parcel;
pub(crate) use told::{Sketch, Told};

pub(crate) mod words;

use crate::plan::options::Micros;
use crate::run::DIGEST_PACE;
use crate::world::World;
use jobmanager_core::digest::Digest;
use observe::Observed;
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
    /// The election service and the JobManager processes.
    Election,
    /// Where sinks publish.
    Outside,
    /// A term of a JobManager process.
    JobManager(u32),
    /// A TaskManager, whichever of its processes.
    TaskManager(usize),
    /// Those who submit and cancel jobs.
    Clients,
    /// The checkpoint storage.
    Blobs,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lane::Faults => f.pad("faults"),
            Lane::Store => f.pad("store"),
            Lane::Outside => f.pad("outside"),
            Lane::JobManager(instance) => f.pad(&format!("jm-{instance}")),
            Lane::TaskManager(index) => f.pad(&format!("tm-{index}")),
            Lane::Clients => f.pad("clients"),
            Lane::Blobs => f.pad("blobs"),
            Lane::Election => f.pad("election"),
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
    /// What it belongs to.
    pub kind: Kind,
    /// The thing in a few words; empty where `verb` and `what` are as short.
    pub title: String,
    /// The jobs, tasks, attempts and checkpoints that it speaks of.
    pub about: Vec<Subject>,
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

/// What is kept when a log is asked for.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) log: Vec<Entry>,
    pub(crate) timeline: Timeline,
    observed: Observed,
}

impl Record {
    /// Something happens; tells the position in the log.
    pub(crate) fn keep(
        &mut self,
        at: Micros,
        lane: Lane,
        verb: &'static str,
        sketch: Sketch,
        what: String,
    ) -> usize {
        if let (Some(ending), Some(attempt)) = (sketch.ending, sketch.attempt()) {
            self.observed.ended(attempt, ending);
        }
        let index = self.log.len();
        self.log.push(Entry {
            at,
            lane,
            verb,
            what,
            kind: sketch.kind,
            title: sketch.title,
            about: sketch.about,
        });
        self.timeline.noted(index, lane, verb);
        index
    }
}

/// The running digest of every input and output, and perhaps a record.
#[derive(Default)]
pub(crate) struct Trace {
    digest: Digest,
    digests: Vec<u64>,
    /// The events that are logged.
    logged: Range<u64>,
    record: Option<Box<Record>>,
}

impl Trace {
    pub(crate) fn new(logged: Range<u64>) -> Self {
        Trace {
            record: (!logged.is_empty()).then(Box::default),
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

    /// The digest, those that were kept, and the record.
    pub(crate) fn into_parts(self) -> (u64, Vec<u64>, Vec<Entry>, Timeline) {
        let record = self.record.map(|record| *record).unwrap_or_default();
        let (log, timeline) = (record.log, record.timeline);
        (self.digest.finish(), self.digests, log, timeline)
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
        self.digested(lane, verb, what);
        if self.is_watched() {
            self.keep(lane, verb, Sketch::of(lane), format!("{what:?}"));
        }
    }

    /// As [`Self::note`], with what it is about.
    pub(crate) fn note_told(
        &mut self,
        lane: Lane,
        verb: &'static str,
        what: &(impl Hash + fmt::Debug + Told),
    ) {
        self.digested(lane, verb, what);
        if self.is_watched() {
            self.keep(lane, verb, what.sketch(), format!("{what:?}"));
        }
    }

    fn digested(&mut self, lane: Lane, verb: &'static str, what: &(impl Hash + ?Sized)) {
        let digest = &mut self.trace.digest;
        (self.now, lane, verb).hash(digest);
        what.hash(digest);
    }

    /// Whether anybody will look: what is only for looking at need not be made otherwise.
    pub(crate) fn is_watched(&self) -> bool {
        self.trace.logged.contains(&self.events)
    }

    /// What is kept, if anybody will look.
    fn record(&mut self) -> Option<&mut Record> {
        let watched = self.is_watched();
        self.trace.record.as_deref_mut().filter(|_| watched)
    }

    /// Something that follows from what is digested, told to those who look.
    pub(crate) fn show(
        &mut self,
        lane: Lane,
        verb: &'static str,
        told: impl FnOnce() -> (Sketch, String),
    ) {
        if self.is_watched() {
            let (sketch, what) = told();
            self.keep(lane, verb, sketch, what);
        }
    }

    fn keep(&mut self, lane: Lane, verb: &'static str, sketch: Sketch, what: String) {
        let at = self.now;
        if let Some(record) = self.record() {
            record.keep(at, lane, verb, sketch, what);
        }
    }
}
