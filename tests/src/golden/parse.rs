//! Reads a line as a vector. What is given (parallelisms, subtasks) must make sense; what is expected may be any
//! number, so that it can be shown to be wrong.

use super::Malformed;
use jobmanager_core::graph::MAX_PARALLELISM;
use jobmanager_core::redistribute::{DistributionMode, Rescale};
use std::str::FromStr;

/// The most states of an operator: the orders in which they may have had their turns are searched.
const MOST_STATES: usize = 20;

pub(super) enum Vector {
    Murmur(Calculated),
    DefaultMaxParallelism(Calculated),
    KeyGroups(Ranges),
    Pointwise(Ranges),
    Mapper(MapperVector),
    OperatorState(OperatorStateVector),
}

/// A function of one number.
pub(super) struct Calculated {
    pub(super) argument: u32,
    pub(super) result: i64,
}

/// A whole that is cut into ranges, one for each subtask.
pub(super) struct Ranges {
    pub(super) whole: u32,
    pub(super) subtasks: u32,
    pub(super) entries: Vec<RangeEntry>,
}

/// `i:first-last`
pub(super) struct RangeEntry {
    pub(super) subtask: u32,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// The names of mappers in vectors.
pub(super) enum MapperKind {
    /// `ROUND_ROBIN`, and `ARBITRARY`, which means the same.
    RoundRobin,
    Range,
    Full,
    First,
    Unsupported,
}

pub(super) struct MapperVector {
    pub(super) kind: MapperKind,
    pub(super) rescale: Rescale,
    pub(super) entries: Vec<Taken>,
}

/// `i:[a,b]`
pub(super) struct Taken {
    pub(super) subtask: u32,
    pub(super) old: Vec<i64>,
}

pub(super) struct OperatorStateVector {
    pub(super) rescale: Rescale,
    /// By state, then by subtask.
    pub(super) reported: Vec<Reported>,
    pub(super) entries: Vec<Given>,
}

/// `oI.sK=PARTITIONS+MODE`
pub(super) struct Reported {
    pub(super) place: Place,
    pub(super) partitions: u32,
    pub(super) mode: DistributionMode,
}

/// `nJ=[…]`
pub(super) struct Given {
    pub(super) subtask: u32,
    pub(super) handles: Vec<Handle>,
}

/// `hI.sK[a,b]`
pub(super) struct Handle {
    pub(super) place: Place,
    pub(super) partitions: Vec<i64>,
}

/// A state of an old subtask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) subtask: u32,
    pub(super) state: u32,
}

/// Reads a line that is not blank.
pub(super) fn vector(line: &str) -> Result<Vector, Malformed> {
    let (kind, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let mut words = rest.split_whitespace();
    match kind {
        "murmur" => Ok(Vector::Murmur(calculated(&mut words, hash)?)),
        "defmax" => {
            let calculated = calculated(&mut words, number)?;
            Ok(Vector::DefaultMaxParallelism(calculated))
        }
        "kgr" => {
            let ranges = ranges(&mut words)?;
            let fits = ranges.subtasks <= ranges.whole;
            require(fits, || "there are more subtasks than key groups".into())?;
            Ok(Vector::KeyGroups(ranges))
        }
        "pointwise" => Ok(Vector::Pointwise(ranges(&mut words)?)),
        "mapper" => Ok(Vector::Mapper(mapper(&mut words)?)),
        "opstate" => Ok(Vector::OperatorState(operator_state(&mut words)?)),
        unknown => Err(Malformed(format!("{unknown:?} is no kind of vector"))),
    }
}

type Words<'a> = std::str::SplitWhitespace<'a>;

fn require(holds: bool, problem: impl Fn() -> String) -> Result<(), Malformed> {
    if holds {
        Ok(())
    } else {
        Err(Malformed(problem()))
    }
}

fn next<'a>(words: &mut Words<'a>, what: &str) -> Result<&'a str, Malformed> {
    words
        .next()
        .ok_or_else(|| Malformed(format!("it ends where {what} is expected")))
}

fn number<N: FromStr>(text: &str) -> Result<N, Malformed> {
    text.parse()
        .map_err(|_| Malformed(format!("{text:?} is not a number that can stand here")))
}

/// A number of subtasks.
fn parallelism(text: &str) -> Result<u32, Malformed> {
    let parallelism = number(text)?;
    let fits = (1..=MAX_PARALLELISM).contains(&parallelism);
    require(fits, || {
        format!("a parallelism of {text} is not between 1 and {MAX_PARALLELISM}")
    })?;
    Ok(parallelism)
}

/// One of so many subtasks.
fn subtask(text: &str, parallelism: u32) -> Result<u32, Malformed> {
    let subtask = number(text)?;
    require(subtask < parallelism, || {
        format!("there is no subtask {subtask} of {parallelism}")
    })?;
    Ok(subtask)
}

/// 32 bits, with or without a sign.
fn hash(text: &str) -> Result<u32, Malformed> {
    match text.parse::<i32>() {
        Ok(signed) => Ok(signed.cast_unsigned()),
        Err(_) => number(text),
    }
}

fn calculated(
    words: &mut Words<'_>,
    argument: impl Fn(&str) -> Result<u32, Malformed>,
) -> Result<Calculated, Malformed> {
    let argument = argument(next(words, "the argument")?)?;
    let result = number(next(words, "the result")?)?;
    match words.next() {
        None => Ok(Calculated { argument, result }),
        Some(word) => Err(Malformed(format!("{word:?} follows the result"))),
    }
}

fn ranges(words: &mut Words<'_>) -> Result<Ranges, Malformed> {
    let whole = parallelism(next(words, "a number to be divided")?)?;
    let subtasks = parallelism(next(words, "a parallelism")?)?;
    Ok(Ranges {
        whole,
        subtasks,
        entries: entries(words, |word| range_entry(word, subtasks))?,
    })
}

/// The rest of a line: at least one entry.
fn entries<E>(
    words: &mut Words<'_>,
    entry: impl Fn(&str) -> Result<E, Malformed>,
) -> Result<Vec<E>, Malformed> {
    let mut entries = vec![entry(next(words, "an entry")?)?];
    for word in words {
        entries.push(entry(word)?);
    }
    Ok(entries)
}

fn range_entry(word: &str, subtasks: u32) -> Result<RangeEntry, Malformed> {
    let parts = word.split_once(':');
    let parts = parts.and_then(|(index, range)| Some((index, range.split_once('-')?)));
    let Some((index, (first, last))) = parts else {
        return Err(Malformed(format!("{word:?} is not like i:first-last")));
    };
    Ok(RangeEntry {
        subtask: subtask(index, subtasks)?,
        first: number(first)?,
        last: number(last)?,
    })
}

/// `old=N new=M`
fn rescale(words: &mut Words<'_>) -> Result<Rescale, Malformed> {
    let mut named = |name: &str| {
        let word = next(words, name)?;
        match word.strip_prefix(name) {
            Some(value) => parallelism(value),
            None => Err(Malformed(format!("{word:?} stands where {name} belongs"))),
        }
    };
    Ok(Rescale {
        old: named("old=")?,
        new: named("new=")?,
    })
}

fn mapper(words: &mut Words<'_>) -> Result<MapperVector, Malformed> {
    let kind = match next(words, "the mapper")? {
        "ROUND_ROBIN" | "ARBITRARY" => MapperKind::RoundRobin,
        "RANGE" => MapperKind::Range,
        "FULL" => MapperKind::Full,
        "FIRST" => MapperKind::First,
        "UNSUPPORTED" => MapperKind::Unsupported,
        unknown => return Err(Malformed(format!("{unknown:?} is no mapper"))),
    };
    let rescale = rescale(words)?;
    let taken = |word: &str| taken(word, rescale.new);
    let entries = match kind {
        MapperKind::Unsupported => words.map(taken).collect::<Result<_, _>>()?,
        MapperKind::RoundRobin | MapperKind::Range | MapperKind::Full | MapperKind::First => {
            entries(words, taken)?
        }
    };
    Ok(MapperVector {
        kind,
        rescale,
        entries,
    })
}

fn taken(word: &str, subtasks: u32) -> Result<Taken, Malformed> {
    let parts = word.split_once(":[");
    let parts = parts.and_then(|(index, rest)| Some((index, rest.strip_suffix(']')?)));
    let Some((index, old)) = parts else {
        return Err(Malformed(format!("{word:?} is not like i:[a,b]")));
    };
    Ok(Taken {
        subtask: subtask(index, subtasks)?,
        old: numbers(old)?,
    })
}

/// `a,b`, or nothing.
fn numbers(text: &str) -> Result<Vec<i64>, Malformed> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(number).collect()
}

fn operator_state(words: &mut Words<'_>) -> Result<OperatorStateVector, Malformed> {
    let rescale = rescale(words)?;
    let mut all_reported: Vec<Reported> = Vec::new();
    loop {
        match next(words, "=>")? {
            "=>" => break,
            word => all_reported.push(reported(word, rescale.old)?),
        }
    }
    all_reported.sort_by_key(|reported| (reported.place.state, reported.place.subtask));
    for pair in all_reported.windows(2) {
        let [one, other] = [&pair[0], &pair[1]].map(|reported| reported.place);
        let Place { subtask, state } = other;
        require(one != other, || format!("o{subtask}.s{state} comes twice"))?;
        let fits = one.state != state || pair[0].mode == pair[1].mode;
        require(fits, || format!("s{state} has two modes"))?;
    }
    let starts_state = |pair: &[Reported]| pair[0].place.state != pair[1].place.state;
    let states = 1 + all_reported
        .windows(2)
        .filter(|pair| starts_state(pair))
        .count();
    require(states <= MOST_STATES, || {
        format!("it has more than {MOST_STATES} states")
    })?;
    Ok(OperatorStateVector {
        rescale,
        reported: all_reported,
        entries: entries(words, |word| given(word, rescale.new))?,
    })
}

fn reported(word: &str, old: u32) -> Result<Reported, Malformed> {
    let malformed = || Malformed(format!("{word:?} is not like oI.sK=PARTITIONS+MODE"));
    let (place, value) = word.split_once('=').ok_or_else(malformed)?;
    let modes = [
        ('S', DistributionMode::Split),
        ('U', DistributionMode::Union),
        ('B', DistributionMode::Broadcast),
    ];
    let read = |(letter, mode)| Some((value.strip_suffix(letter)?, mode));
    let (count, mode) = modes.into_iter().find_map(read).ok_or_else(malformed)?;
    let place = place_of(place, 'o').ok_or_else(malformed)?;
    require(place.subtask < old, || {
        format!("there is no old subtask {} of {old}", place.subtask)
    })?;
    Ok(Reported {
        place,
        partitions: number(count)?,
        mode,
    })
}

fn given(word: &str, new: u32) -> Result<Given, Malformed> {
    let malformed = || Malformed(format!("{word:?} is not like nJ=[hI.sK[a,b],…]"));
    let parts = word.strip_prefix('n').and_then(|rest| rest.split_once('='));
    let (index, handles) = parts.ok_or_else(malformed)?;
    let handles = handles
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    Ok(Given {
        subtask: subtask(index, new)?,
        handles: handles_of(handles.ok_or_else(malformed)?)?,
    })
}

/// `hI.sK[a,b],…`, or nothing.
fn handles_of(text: &str) -> Result<Vec<Handle>, Malformed> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let Some(text) = text.strip_suffix(']') else {
        return Err(Malformed(format!("{text:?} does not end with ]")));
    };
    text.split("],").map(handle).collect()
}

/// `hI.sK[a,b`
fn handle(text: &str) -> Result<Handle, Malformed> {
    let malformed = || Malformed(format!("\"{text}]\" is not like hI.sK[a,b]"));
    let (place, partitions) = text.split_once('[').ok_or_else(malformed)?;
    Ok(Handle {
        place: place_of(place, 'h').ok_or_else(malformed)?,
        partitions: numbers(partitions)?,
    })
}

/// `oI.sK` or `hI.sK`
fn place_of(text: &str, letter: char) -> Option<Place> {
    let (subtask, state) = text.strip_prefix(letter)?.split_once(".s")?;
    Some(Place {
        subtask: subtask.parse().ok()?,
        state: state.parse().ok()?,
    })
}
