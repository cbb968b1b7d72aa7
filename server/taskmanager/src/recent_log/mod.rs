//! The lines that this process has logged most recently, in memory, for people who ask over the network.
//!
//! They are the lines of standard error, without colours. A line costs one copy of its bytes under a lock that nobody
//! holds while waiting for a file or a peer: readers copy what they want, and send it later.
//!
//! Invariant: no more bytes are kept than the limit, and what is kept are whole lines.

mod service;
#[cfg(test)]
mod tests;

pub(crate) use service::server;
pub use service::{MAX_MESSAGE, Wanted};

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::str::FromStr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many bytes are kept unless somebody says otherwise.
pub const DEFAULT_MEMORY: u64 = 1 << 20;
/// The most that may be kept: an answer with all of it is one message, in memory here and there. Bytes.
pub const MAX_MEMORY: u64 = 16 << 20;

/// The log of this process.
pub static OWN: LazyLock<RecentLog> = LazyLock::new(|| RecentLog::new(DEFAULT_MEMORY));

/// What was logged most recently.
#[derive(Debug)]
pub struct RecentLog(Mutex<Lines>);

#[derive(Debug)]
struct Lines {
    /// See [`Position::process`].
    process: u64,
    limit: usize,
    bytes: VecDeque<u8>,
    /// How many bytes there were in all.
    end: u64,
    modified_ms: u64,
}

/// A place between two lines of the log of one life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Another number for every life of a process.
    pub process: u64,
    /// How many bytes were logged before.
    pub offset: u64,
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// Whole lines.
    pub text: Vec<u8>,
    /// The end of the log.
    pub end: Position,
    /// How many bytes came after the position that was asked for and are not kept any more.
    pub missed: u64,
    /// How many bytes are kept.
    pub kept: u64,
    /// When the latest line was logged, in milliseconds since the Unix epoch; 0 if there is none.
    pub modified_ms: u64,
}

impl RecentLog {
    fn new(limit: u64) -> RecentLog {
        let mut lines = Lines {
            process: since_epoch().as_micros().try_into().unwrap_or(u64::MAX),
            limit: 0,
            bytes: VecDeque::new(),
            end: 0,
            modified_ms: 0,
        };
        lines.set_limit(limit);
        RecentLog(Mutex::new(lines))
    }

    /// Keeps so many bytes from now on, at most [`MAX_MEMORY`]; nothing with 0.
    pub fn set_limit(&self, bytes: u64) {
        self.lines().set_limit(bytes);
    }

    /// Adds a line, or several, with their line feeds.
    pub fn append(&self, text: &[u8]) {
        self.lines().append(text);
    }

    /// What is kept of what is wanted; nothing if nothing is to be kept.
    pub fn read(&self, wanted: Wanted) -> Option<Excerpt> {
        self.lines().read(wanted)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Nothing in here panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn set_limit(&mut self, bytes: u64) {
        self.limit = usize::try_from(bytes.min(MAX_MEMORY)).expect("16 MiB are addressed");
        self.make_room(0);
        self.bytes.shrink_to_fit();
    }

    fn append(&mut self, text: &[u8]) {
        if self.limit == 0 {
            return;
        }
        self.end += text.len() as u64;
        self.modified_ms = since_epoch().as_millis().try_into().unwrap_or(u64::MAX);
        if text.len() > self.limit {
            // Half of it would be no line.
            return self.bytes.clear();
        }
        self.make_room(text.len());
        self.bytes.extend(text);
    }

    /// Drops the oldest lines, as many as have to go.
    fn make_room(&mut self, bytes: usize) {
        let over = (self.bytes.len() + bytes).saturating_sub(self.limit);
        if let Some(last) = over.checked_sub(1) {
            let more = self.bytes.range(last..).position(|byte| *byte == b'\n');
            let dropped = more.map_or(self.bytes.len(), |more| over + more);
            self.bytes.drain(..dropped);
        }
    }

    fn read(&self, wanted: Wanted) -> Option<Excerpt> {
        if self.limit == 0 {
            return None;
        }
        let start = self.end - self.bytes.len() as u64;
        let after = wanted.after.filter(|after| after.process == self.process);
        let after = after.map_or(start, |after| after.offset.min(self.end));
        let mut from = usize::try_from(after.saturating_sub(start)).expect("within what is kept");
        if let Some(lines) = wanted.lines {
            from = from.max(self.start_of_last(lines));
        }
        let (older, newer) = self.bytes.as_slices();
        let skipped = from.min(older.len());
        Some(Excerpt {
            text: [&older[skipped..], &newer[from - skipped..]].concat(),
            end: Position {
                process: self.process,
                offset: self.end,
            },
            missed: start.saturating_sub(after),
            kept: self.bytes.len() as u64,
            modified_ms: self.modified_ms,
        })
    }

    /// Where so many of the last lines begin.
    fn start_of_last(&self, lines: u64) -> usize {
        let ends = self.bytes.iter().enumerate().rev();
        let mut ends = ends.filter(|(_, byte)| **byte == b'\n');
        let before = usize::try_from(lines).unwrap_or(usize::MAX);
        ends.nth(before).map_or(0, |(end, _)| end + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.process, self.offset)
    }
}

impl FromStr for Position {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Position, Self::Err> {
        let parts = text.split_once('-');
        let parsed = parts.and_then(|(process, offset)| {
            Some(Position {
                process: process.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        });
        parsed.ok_or("not a position in a log: take one from the header log-position")
    }
}

/// Standard error, which [`OWN`] hears, too. For `with_writer` of `tracing_subscriber::fmt`, which gives it one whole
/// event at a time.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    has_colours: bool,
}

impl Heard {
    /// Of a process that uses colours if somebody sees them.
    #[must_use]
    pub fn stderr() -> Heard {
        Heard {
            has_colours: io::stderr().is_terminal(),
        }
    }

    /// Whether lines are to have colours.
    #[must_use]
    pub fn has_colours(self) -> bool {
        self.has_colours
    }
}

impl Write for Heard {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        // First, as standard error may be closed, or keep everybody waiting.
        match self.has_colours {
            true => OWN.append(&without_colours(text)),
            false => OWN.append(text),
        }
        io::stderr().write_all(text).map(|()| text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Without `ESC [ … letter`, which is all that log lines have: what is logged has its control characters escaped.
fn without_colours(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(escape) = rest.windows(2).position(|two| two == b"\x1b[") {
        plain.extend_from_slice(&rest[..escape]);
        let code = &rest[escape + 2..];
        let end = code.iter().position(|byte| (b'@'..=b'~').contains(byte));
        rest = end.map_or(&[], |end| &code[end + 1..]);
    }
    plain.extend_from_slice(rest);
    plain
}

fn since_epoch() -> std::time::Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}
