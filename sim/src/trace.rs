//! What happened, as a digest always and as text on demand.

use crate::options::Micros;
use jobmanager_core::digest::Digest;
use std::fmt::Write;
use std::hash::Hash;

/// The chained digest of every input and output, the number of events, and perhaps the text.
#[derive(Default)]
pub(crate) struct Trace {
    digest: u64,
    text: Option<String>,
}

impl Trace {
    pub(crate) fn new(with_text: bool) -> Self {
        Trace {
            digest: 0,
            text: with_text.then(String::new),
        }
    }

    /// Something happened to somebody.
    pub(crate) fn note(&mut self, now: Micros, what: &(impl Hash + std::fmt::Debug), who: &str) {
        self.digest = Digest::of(&(self.digest, now, who, what));
        if let Some(text) = &mut self.text {
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            writeln!(text, "{seconds:>4}.{micros:06} {who:<8} {what:?}")
                .expect("a String takes everything");
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn into_text(self) -> String {
        self.text.unwrap_or_default()
    }
}
