//! Tapes as text: a header that says what the run is kept for, then a line for each decision that is not
//! the quiet one. Made to be read, compared and kept beside the code.
//!
//! ```text
//! tape 1
//! tier control-plane
//! expect passes
//! about the leader dies while the answer to a write is on its way
//! mark LeaderDiesDuringWrite
//! faults 2 5
//! ```
//!
//! `faults 2 5` means: the decision at position 2 of the stream `faults`, counted from 0, is 5. Every
//! decision that has no line is 0. Empty lines and those that begin with `#` mean nothing.

use crate::marks::Mark;
use crate::plan::Tier;
use crate::tape::{Draw, Stream};
use crate::{Report, Run};
use std::fmt;
use std::str::FromStr;

/// Bytes. A run's whole tape, not shrunk, is ten times smaller.
const LARGEST: usize = 8 << 20;
/// Decisions of one stream: what the longest run that is allowed draws. Bounds the memory of a reader.
const LONGEST: usize = 1 << 21;
/// The version of the format.
const VERSION: &str = "1";

/// The decisions of a run, and what must come of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tape {
    /// How much of a cluster the run simulates.
    pub tier: Tier,
    /// What comes of it.
    pub expect: Expectation,
    /// What it is kept for, in one line.
    pub about: String,
    /// What the run must reach, or it no longer does what it is kept for.
    pub marks: Vec<Mark>,
    /// The decisions.
    pub draws: Vec<Draw>,
}

/// What comes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing is wrong.
    Passes,
    /// The invariant of this name is broken.
    Breaks(String),
}

/// Why a text is not a tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotATape {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl fmt::Display for NotATape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for NotATape {}

impl Tape {
    /// What must be expected of a run, given what came of it.
    #[must_use]
    pub fn of(tier: Tier, report: &Report, about: String) -> Tape {
        let failure = report.failure.as_ref();
        let expect = failure.map_or(Expectation::Passes, |failure| {
            Expectation::Breaks(failure.name.to_owned())
        });
        Tape {
            tier,
            expect,
            about: about.replace('\n', " "),
            marks: Vec::new(),
            draws: report.tape.clone(),
        }
    }

    /// The run of these decisions.
    #[must_use]
    pub fn run(&self) -> Run {
        Run::tape(self.tier, self.draws.clone())
    }

    /// What is not as it is expected, if anything is.
    #[must_use]
    pub fn surprise(&self, report: &Report) -> Option<String> {
        let came = report.failure.as_ref();
        match (&self.expect, came) {
            (Expectation::Passes, Some(failure)) => {
                return Some(format!("it breaks {}: {}", failure.name, failure.detail));
            }
            (Expectation::Breaks(name), None) => {
                return Some(format!("it no longer breaks {name}"));
            }
            (Expectation::Breaks(name), Some(failure)) if *name != failure.name => {
                let (other, detail) = (failure.name, &failure.detail);
                return Some(format!("it breaks {other} instead of {name}: {detail}"));
            }
            (Expectation::Breaks(_), Some(_)) | (Expectation::Passes, None) => {}
        }
        let missed = |mark: &&Mark| report.marks.count(**mark) == 0;
        let missed: Vec<_> = self.marks.iter().filter(missed).collect();
        (!missed.is_empty()).then(|| format!("it no longer reaches {missed:?}: record it again"))
    }
}

impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tape {VERSION}")?;
        writeln!(f, "tier {}", self.tier)?;
        match &self.expect {
            Expectation::Passes => writeln!(f, "expect passes")?,
            Expectation::Breaks(name) => writeln!(f, "expect {name}")?,
        }
        writeln!(f, "about {}", self.about)?;
        for mark in &self.marks {
            writeln!(f, "mark {mark:?}")?;
        }
        for stream in Stream::ALL {
            let mine = self.draws.iter().filter(|draw| draw.stream == stream);
            for (position, draw) in mine.enumerate().filter(|(_, draw)| draw.value != 0) {
                writeln!(f, "{} {position} {}", stream.name(), draw.value)?;
            }
        }
        Ok(())
    }
}

/// A tape while it is read.
#[derive(Default)]
struct Draft {
    versioned: bool,
    tier: Option<Tier>,
    expect: Option<Expectation>,
    about: String,
    marks: Vec<Mark>,
    streams: [Vec<u64>; Stream::ALL.len()],
}

impl FromStr for Tape {
    type Err = NotATape;

    /// # Errors
    ///
    /// The first line that is not one of a tape.
    fn from_str(text: &str) -> Result<Tape, NotATape> {
        let mut draft = Draft::default();
        let wrong = |line: usize, problem: String| NotATape { line, problem };
        if text.len() > LARGEST {
            let problem = format!("a tape has at most {LARGEST} bytes: shrink the run first");
            return Err(wrong(1, problem));
        }
        let mut last = 0;
        for (number, line) in (1..).zip(text.lines()) {
            last = number;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            draft.read(line).map_err(|problem| wrong(number, problem))?;
        }
        draft.end().map_err(|problem| wrong(last + 1, problem))
    }
}

impl Draft {
    fn read(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !self.versioned {
            if line != format!("tape {VERSION}") {
                return Err(format!("a tape begins with `tape {VERSION}`"));
            }
            self.versioned = true;
            return Ok(());
        }
        match word {
            "tier" => set(&mut self.tier, word, rest.parse()?),
            "expect" => set(&mut self.expect, word, expectation(rest)?),
            "about" => {
                rest.clone_into(&mut self.about);
                Ok(())
            }
            "mark" => {
                let mut all = Mark::ALL.into_iter();
                let mark = all.find(|mark| format!("{mark:?}") == rest);
                let unknown = || format!("there is no mark `{rest}`: record the tape again");
                self.marks.push(mark.ok_or_else(unknown)?);
                Ok(())
            }
            _ => self.decision(word, rest),
        }
    }

    fn decision(&mut self, stream: &str, rest: &str) -> Result<(), String> {
        let mut all = Stream::ALL.into_iter();
        let unknown = || {
            let names = Stream::ALL.map(Stream::name).join(", ");
            format!("there is no stream `{stream}`: {names}")
        };
        let stream = all
            .find(|known| known.name() == stream)
            .ok_or_else(unknown)?;
        let numbers = rest.split_once(' ');
        let numbers = numbers.and_then(|(position, value)| {
            Some((position.parse::<usize>().ok()?, value.parse::<u64>().ok()?))
        });
        let shape = || {
            format!(
                "a stream, a position and a value are expected: {} 2 5",
                stream.name()
            )
        };
        let (position, value) = numbers.ok_or_else(shape)?;
        if position >= LONGEST {
            return Err(format!(
                "a position lies below {LONGEST}: shrink the run first"
            ));
        }
        let values = &mut self.streams[stream as usize];
        if position < values.len() {
            let problem = "positions of one stream grow: remove one of the lines";
            return Err(problem.to_owned());
        }
        values.resize(position, 0);
        values.push(value);
        Ok(())
    }

    fn end(self) -> Result<Tape, String> {
        let missing = |what: &str| format!("the header has no `{what}`: add that line");
        if !self.versioned {
            return Err(missing("tape"));
        }
        let draws = Stream::ALL.into_iter().zip(self.streams);
        let draws = draws.flat_map(|(stream, values)| {
            values.into_iter().map(move |value| Draw { stream, value })
        });
        Ok(Tape {
            tier: self.tier.ok_or_else(|| missing("tier"))?,
            expect: self.expect.ok_or_else(|| missing("expect"))?,
            about: self.about,
            marks: self.marks,
            draws: draws.collect(),
        })
    }
}

fn set<T>(place: &mut Option<T>, word: &str, value: T) -> Result<(), String> {
    if place.is_some() {
        return Err(format!("`{word}` is said twice: remove one of the lines"));
    }
    *place = Some(value);
    Ok(())
}

fn expectation(text: &str) -> Result<Expectation, String> {
    match text {
        "" => Err("`passes` or the name of the broken invariant is expected".to_owned()),
        "passes" => Ok(Expectation::Passes),
        name => Ok(Expectation::Breaks(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tape() -> Tape {
        let draw = |stream, value| Draw { stream, value };
        Tape {
            tier: Tier::Dataflow,
            expect: Expectation::Breaks("nothing_panics".to_owned()),
            about: "two words".to_owned(),
            marks: vec![Mark::CheckpointAborted],
            draws: vec![
                draw(Stream::Options, 0),
                draw(Stream::Options, 3),
                draw(Stream::Tasks, 7),
            ],
        }
    }

    fn problem(text: &str) -> String {
        text.parse::<Tape>().expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_tape_is_read_as_it_is_written() {
        assert_eq!(tape().to_string().parse(), Ok(tape()));
    }

    #[test]
    fn only_decisions_that_are_not_quiet_have_a_line() {
        let text = tape().to_string();
        assert!(text.ends_with("options 1 3\ntasks 0 7\n"), "{text}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let head = "tape 1\ntier dataflow\nexpect passes\n";
        let said = |line: &str| problem(&format!("{head}{line}\n"));
        let about = [
            (problem("nonsense"), "line 1: a tape begins"),
            (problem("tape 2"), "line 1: a tape begins"),
            (problem(""), "line 1: the header has no `tape`"),
            (problem("tape 1\n"), "line 2: the header has no `tier`"),
            (said("tier dataflow"), "line 4: `tier` is said twice"),
            (said("mark Nothing"), "line 4: there is no mark `Nothing`"),
            (said("weather 1 2"), "line 4: there is no stream `weather`"),
            (said("tasks 1"), "line 4: a stream, a position"),
            (said("tasks 1 -2"), "line 4: a stream, a position"),
            (said("tasks 99999999999 2"), "line 4: a position lies below"),
            (said("tasks 1 2\ntasks 1 3"), "line 5: positions of one"),
        ];
        for (said, expected) in about {
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn comments_and_empty_lines_mean_nothing() {
        let text = tape().to_string().replace('\n', "\n\n# a word\n");
        assert_eq!(text.parse(), Ok(tape()));
    }
}
