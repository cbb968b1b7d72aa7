//! The flight recorder: the recent inputs of the coordinator, from a known state on, in bounded memory.
//!
//! A recording is a row of segments. Each begins with a base (the durable records of the start, or a
//! snapshot of the coordinator's whole state) and goes on with every input; when one is full, the next
//! begins, and the oldest are dropped. So what is kept reaches back at least one whole segment, and can
//! be replayed from its first byte: `sim replay FILE`.
//!
//! Invariants: segments follow each other without a gap; memory is bounded by the limit plus one frame;
//! an input is recorded before it is taken, so that the one that breaks the coordinator is there.

mod files;
mod segment;

pub use files::{RecordingFiles, Recordings, WriteProblem, file_name};

use bytes::Bytes;
use jobmanager_core::jobmanager::{Coordinator, Effect, Input};
use jobmanager_core::record::Record;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::recording::{
    EffectsDigest, End, Entry, Frame, Header, append, append_input, snapshot, start,
};
use segment::Segment;
use std::collections::VecDeque;
use std::path::PathBuf;
use tracing::warn;

/// The least memory in which something worth looking at can be kept. Bytes.
pub const LEAST_MEMORY: u64 = 1 << 20;
/// After how many inputs the digest of the state is recorded: it costs a look at everything.
const CHECK_EVERY: u32 = 8_192;
/// After how many inputs a state that was too large is looked at again.
const RETRY_AFTER: u32 = 100_000;
/// A base and the inputs of a segment have at most this part of the memory, so that two segments fit.
const PARTS: usize = 4;

/// How the recorder is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderOptions {
    /// `jobmanager.flight-recorder.memory`: how much is kept, in bytes; 0 for nothing.
    pub memory: u64,
    /// `jobmanager.flight-recorder.dir`: where recordings are written.
    pub dir: PathBuf,
}

/// Why there is no recording to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRecording {
    /// The recorder is off.
    #[error("the flight recorder is off; set jobmanager.flight-recorder.memory and start again")]
    Off,
    /// The coordinator's state does not fit.
    #[error(
        "the coordinator's state is too large for the flight recorder; raise jobmanager.flight-recorder.memory and start again"
    )]
    TooLarge,
}

/// A whole recording, as the pieces of a file.
#[derive(Debug, Clone)]
pub struct Flight(Vec<Bytes>);

impl Flight {
    /// The pieces, in order.
    #[must_use]
    pub fn pieces(self) -> Vec<Bytes> {
        self.0
    }

    /// The size of the file in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

/// The recorder. It belongs to the driver.
#[derive(Debug)]
pub struct Recorder {
    header: Bytes,
    /// Bytes.
    limit: usize,
    /// The oldest first; the last one grows. Empty while the state is too large.
    segments: VecDeque<Segment>,
    /// Of the effects since the last base.
    effects: EffectsDigest,
    /// Inputs since the last base or check.
    unchecked: u32,
}

impl Recorder {
    /// A recorder of a coordinator that is rebuilt from these records, with so much memory in bytes.
    #[must_use]
    pub fn new(memory: u64, header: Header, records: &[Record], now: Timestamp) -> Recorder {
        let mut file = Vec::new();
        start(&mut file);
        let effects = EffectsDigest::default();
        append(
            &mut file,
            &frame(now, effects.value(), Entry::Header(header)),
        );
        let mut recorder = Recorder {
            header: file.into(),
            limit: usize::try_from(memory).unwrap_or(usize::MAX),
            segments: VecDeque::new(),
            effects,
            unchecked: 0,
        };
        recorder.begin(now, Some(Entry::Recovered(records.to_vec())));
        recorder
    }

    /// The coordinator is about to take this.
    pub fn input(&mut self, now: Timestamp, input: &Input) {
        let effects = self.effects.value();
        if let Some(segment) = self.segments.back_mut() {
            segment.write(|file| append_input(file, now, effects, input));
        }
    }

    /// The coordinator took it, with these effects.
    pub fn stepped(&mut self, now: Timestamp, coordinator: &mut Coordinator, effects: &[Effect]) {
        self.effects.add(effects);
        self.unchecked += 1;
        match self.segments.back_mut() {
            Some(segment) if segment.inputs() > self.limit / PARTS => {
                self.begin(now, self.snapshot(coordinator));
            }
            Some(segment) if self.unchecked >= CHECK_EVERY => {
                self.unchecked = 0;
                let check = Entry::Check(coordinator.digest());
                let frame = frame(now, self.effects.value(), check);
                segment.write(|file| append(file, &frame));
            }
            None if self.unchecked >= RETRY_AFTER => {
                self.begin(now, self.snapshot(coordinator));
            }
            Some(_) | None => {}
        }
    }

    /// Everything that is kept, up to now.
    ///
    /// # Errors
    /// Nothing is kept.
    pub fn recording(
        &self,
        now: Timestamp,
        coordinator: &Coordinator,
    ) -> Result<Flight, NoRecording> {
        self.ended(now, End::Asked(coordinator.digest()))
    }

    /// Everything that is kept of a JobManager that panicked with these words.
    ///
    /// # Errors
    /// Nothing is kept.
    pub fn last_recording(&self, now: Timestamp, words: &str) -> Result<Flight, NoRecording> {
        self.ended(now, End::Panicked(words.to_owned()))
    }

    fn ended(&self, now: Timestamp, end: End) -> Result<Flight, NoRecording> {
        if self.segments.is_empty() {
            return Err(NoRecording::TooLarge);
        }
        let mut pieces = vec![self.header.clone()];
        for segment in &self.segments {
            segment.pieces(&mut pieces);
        }
        let mut file = Vec::new();
        append(
            &mut file,
            &frame(now, self.effects.value(), Entry::End(end)),
        );
        pieces.push(file.into());
        Ok(Flight(pieces))
    }

    /// Of no more than the memory of a base.
    fn snapshot(&self, coordinator: &mut Coordinator) -> Option<Entry> {
        snapshot(coordinator, self.limit / PARTS).map(Entry::Snapshot)
    }

    /// The next segment starts from this base, if there is one that fits.
    fn begin(&mut self, now: Timestamp, base: Option<Entry>) {
        self.unchecked = 0;
        let room = self.limit / PARTS;
        let segment = base.map(|base| Segment::new(&frame(now, self.effects.value(), base)));
        let Some(segment) = segment.filter(|segment| segment.size() <= room) else {
            // The one before has come to its end, and the next one cannot follow it.
            self.segments.clear();
            let limit = self.limit;
            warn!(
                limit,
                "not recording: the state is larger than a quarter of jobmanager.flight-recorder.memory"
            );
            return;
        };
        self.effects = EffectsDigest::default();
        self.segments.push_back(segment);
        while self.size() + room > self.limit && self.segments.len() > 2 {
            self.segments.pop_front();
        }
    }

    fn size(&self) -> usize {
        self.segments.iter().map(Segment::size).sum()
    }
}

fn frame(at: Timestamp, effects: u64, entry: Entry) -> Frame {
    Frame { at, effects, entry }
}

#[cfg(test)]
mod tests;
