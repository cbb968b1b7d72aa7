//! Replay of flight recordings: a real JobManager's coordinator, rebuilt from the state with which the
//! recording begins and told everything once more. It must do the same.
//!
//! Compared are the digest of the effects after every input, the digest of the state wherever the
//! recorder took it, and the whole state at the start of every further segment. What differs is named
//! by the first input after which it does.

mod log;
mod player;
mod record;
mod surroundings;
mod then;

pub(crate) use record::Recordings;
pub use then::{Continued, Injection, Injury, JobAfter, Then, duration, replay_then};
pub(crate) use then::{Sequel, Step};

use crate::plan::Micros;
use crate::trace::{Entry, Timeline};
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::recording::{Header, Reader, RecordingError};
use player::Player;
use std::fmt;
use surroundings::Surroundings;

/// What came of a replay.
#[derive(Debug)]
pub struct Replayed {
    /// Whose recording it is.
    pub header: Header,
    /// From the first frame to the last one.
    pub simulated: Micros,
    /// How many inputs there were.
    pub inputs: u64,
    /// How many segments there were.
    pub segments: u64,
    /// How many digests of the state were compared.
    pub checks: u64,
    /// The digest of the state at the end.
    pub digest: u64,
    /// Where the file was cut off, in bytes, if it was.
    pub cut_off: Option<u64>,
    /// Whether it went as it was recorded.
    pub verdict: Verdict,
    /// The name of each TaskManager, by its number in the log.
    pub taskmanagers: Vec<String>,
    /// What happened; empty unless it was asked for.
    pub log: Vec<Entry>,
    /// What lay between; empty without a log.
    pub timeline: Timeline,
}

/// Whether a replay went as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every digest is the recorded one.
    Same,
    /// The coordinator breaks as it did when it was recorded, with these words.
    Broken {
        /// The input that it takes, counted from 1.
        input: u64,
        /// The invariant's name, and what was seen.
        words: String,
        /// Whether the recording says so, too.
        recorded: bool,
    },
    /// The recorded JobManager panicked with these words, the replayed coordinator does not: the cause
    /// is outside of it.
    NotBroken(String),
    /// It went otherwise.
    Differs {
        /// The first input that was taken otherwise, counted from 1, or the last one before the
        /// difference was seen.
        input: u64,
        /// When it was recorded.
        at: Timestamp,
        /// What differs.
        what: Divergence,
        /// The input, for people.
        shown: String,
    },
    /// The recorded state cannot be rebuilt.
    NoStart(String),
}

/// What differs from the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divergence {
    /// The effects of this input.
    Effects,
    /// The state after this input; it was compared last so many inputs before.
    State {
        /// How many inputs ago the state was the recorded one for sure.
        inputs: u64,
    },
}

impl Verdict {
    /// Whether the coordinator did the same, and nothing is wrong with it.
    #[must_use]
    pub fn is_well(&self) -> bool {
        matches!(self, Verdict::Same)
    }

    /// Whether the coordinator did the same, be it good or bad.
    #[must_use]
    pub fn is_as_recorded(&self) -> bool {
        matches!(self, Verdict::Same | Verdict::Broken { recorded: true, .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Same => f.write_str("all is well: every digest is the recorded one"),
            Verdict::Broken {
                input,
                words,
                recorded: true,
            } => write!(f, "broken by input {input}, as it was recorded: {words}"),
            Verdict::Broken { input, words, .. } => {
                write!(f, "broken by input {input}: {words}")
            }
            Verdict::NotBroken(words) => write!(
                f,
                "the recorded JobManager panicked ({words}), the replayed coordinator does not: look outside of it"
            ),
            Verdict::Differs {
                input,
                at,
                what: Divergence::Effects,
                shown,
            } => write!(f, "the effects of input {input} differ, at {at}: {shown}"),
            Verdict::Differs {
                input,
                at,
                what: Divergence::State { inputs },
                shown,
            } => write!(
                f,
                "the state differs after input {input} or one of the {inputs} before it, at {at}: {shown}"
            ),
            Verdict::NoStart(problem) => f.write_str(problem),
        }
    }
}

/// Replays a recording.
///
/// # Errors
/// The file is no recording, or is damaged.
pub fn replay(file: &[u8], logged: bool) -> Result<Replayed, RecordingError> {
    let (replayed, _) = replay_to_the_end(file, logged)?;
    Ok(replayed)
}

/// Where a recording ends, if it went as it was recorded.
struct TheEnd {
    /// When.
    at: Timestamp,
    coordinator: Coordinator,
    surroundings: Surroundings,
}

/// Replays a recording, and hands out what there is then, if nothing went wrong.
///
/// # Errors
/// The file is no recording, or is damaged.
fn replay_to_the_end(
    file: &[u8],
    logged: bool,
) -> Result<(Replayed, Option<TheEnd>), RecordingError> {
    let mut reader = Reader::new(file)?;
    let header = reader.header().clone();
    let mut player = Player::new(header.clone(), logged);
    while !player.is_over() {
        let offset = reader.offset();
        match reader.next() {
            Some(frame) => player.play(offset, frame?)?,
            None => break,
        }
    }
    let offset = reader.offset();
    let ended = player.end().ok_or(RecordingError::CutOff(offset))?;
    let simulated = ended.log.now();
    let (taskmanagers, log, timeline) = ended.log.into_parts();
    let replayed = Replayed {
        header,
        simulated,
        inputs: ended.inputs,
        segments: ended.segments,
        checks: ended.checks,
        digest: ended.digest,
        cut_off: reader.cut_off(),
        verdict: ended.verdict,
        taskmanagers,
        log,
        timeline,
    };
    let (at, surroundings) = (ended.at, ended.surroundings);
    let end = ended.coordinator.map(|coordinator| TheEnd {
        at,
        coordinator,
        surroundings,
    });
    Ok((replayed, end))
}

#[cfg(test)]
mod tests;
