//! Spans for OpenTelemetry: what took how long, told to a collector by OTLP over HTTP, if one is named.
//!
//! ```text
//! what is seen between two steps ──► Spans (bounded) ──► a thread ──HTTP──► the collector
//! ```
//!
//! What becomes a span is decided by whoever sees it. The messages are few and do not change any more, and a client for
//! HTTP with TLS is here already: so there is no library for this, and nothing to be built in on demand.
//!
//! Invariant: nobody waits for a collector. What it does not take in time is counted and forgotten.

mod export;
pub mod otlp;

pub use export::Exporter;

use jobmanager_core::time::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use ureq::http::{HeaderName, HeaderValue, Uri};

/// Where spans are sent.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Where it takes them.
    pub endpoint: Uri,
    /// What it is told with each request: often a secret.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The file of the authorities that may have signed its certificate, for https.
    pub authorities: Option<PathBuf>,
    /// What this JobManager is called.
    pub service: String,
}

/// Something that took a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) name: &'static str,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// Why it did not come to what it should have.
    pub(crate) failure: Option<String>,
    pub(crate) attributes: Vec<(&'static str, Value)>,
}

/// What is said of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    Flag(bool),
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

/// Takes spans for the collector; clones share the queue.
#[derive(Debug, Clone)]
pub struct Spans {
    queue: SyncSender<Told>,
    counts: Arc<Counts>,
}

/// What the thread is told.
#[derive(Debug)]
enum Told {
    Span(Span),
    /// Nothing comes after it.
    End,
}

/// What became of spans.
#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Spans {
    /// Sends a span on its way, or forgets it if too many wait.
    pub(crate) fn add(&self, span: Span) {
        if self.queue.try_send(Told::Span(span)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many the collector has taken.
    pub(crate) fn exported(&self) -> u64 {
        self.counts.exported.load(Ordering::Relaxed)
    }

    /// How many were forgotten.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }
}
