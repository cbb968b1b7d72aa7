//! Decisions: independent named streams of random numbers, drawn through one door that writes a tape.
//!
//! Every draw is a whole number below a bound, made by our own samplers, so that no library release can
//! change what a seed means. The tape of a run, played back, gives the same run; a shortened or lowered
//! tape gives a calmer one, because zero is always the quiet choice.

pub(crate) mod file;
pub(crate) mod shrink;
pub(crate) mod transcript;
pub(crate) mod twice;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// Who draws. Streams are independent: more draws on one do not move the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// What the run is like.
    Options,
    /// Latencies and losses of the network.
    Network,
    /// Latencies and failures of the metadata store.
    Store,
    /// Latencies and failures of the checkpoint storage.
    Blobs,
    /// Which fault comes when.
    Faults,
    /// What clients do.
    Clients,
    /// How long tasks take.
    Tasks,
    /// What must change nothing.
    Metamorphic,
    /// Who leads, and who follows whom.
    Leaders,
    /// How wrong clocks are.
    Clocks,
    /// Which faults a run has, and in which rhythm.
    FaultPlan,
    /// What clients do beyond the ordinary.
    Crowd,
    /// Which jobs may fail only so often.
    Budget,
    /// Which jobs have parts that exchange nothing with the others.
    Regions,
    /// Which savepoints clients want.
    Savepoints,
    /// Which jobs start from the savepoint of another one.
    Successors,
    /// With which parallelism.
    Rescales,
    /// Which checkpoints clients want at once.
    Demands,
    /// Who starts TaskManagers for jobs, and how well.
    Workers,
    /// Which jobs go first when slots are few.
    Priorities,
    /// How many slots one job gets.
    Quotas,
    /// Whose last checkpoint outlives it.
    Retentions,
    /// Whose checkpoints are given time by acknowledgements.
    Patience,
}

impl Stream {
    /// Every stream, in the order of the declaration.
    pub const ALL: [Stream; 23] = [
        Stream::Options,
        Stream::Network,
        Stream::Store,
        Stream::Blobs,
        Stream::Faults,
        Stream::Clients,
        Stream::Tasks,
        Stream::Metamorphic,
        Stream::Leaders,
        Stream::Clocks,
        Stream::FaultPlan,
        Stream::Crowd,
        Stream::Budget,
        Stream::Regions,
        Stream::Savepoints,
        Stream::Successors,
        Stream::Rescales,
        Stream::Demands,
        Stream::Workers,
        Stream::Priorities,
        Stream::Quotas,
        Stream::Retentions,
        Stream::Patience,
    ];

    /// Its name on tapes. Part of the stream's seed, too: renaming a stream changes every run.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stream::Options => "options",
            Stream::Network => "network",
            Stream::Store => "store",
            Stream::Blobs => "blobs",
            Stream::Faults => "faults",
            Stream::Clients => "clients",
            Stream::Tasks => "tasks",
            Stream::Metamorphic => "metamorphic",
            Stream::Leaders => "leaders",
            Stream::Clocks => "clocks",
            Stream::FaultPlan => "fault-plan",
            Stream::Crowd => "crowd",
            Stream::Budget => "budget",
            Stream::Regions => "regions",
            Stream::Savepoints => "savepoints",
            Stream::Successors => "successors",
            Stream::Rescales => "rescales",
            Stream::Demands => "demands",
            Stream::Workers => "workers",
            Stream::Priorities => "priorities",
            Stream::Quotas => "quotas",
            Stream::Retentions => "retentions",
            Stream::Patience => "patience",
        }
    }

    fn generator(self, seed: u64) -> ChaCha8Rng {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let name = self.name().as_bytes();
        bytes[8..8 + name.len()].copy_from_slice(name);
        ChaCha8Rng::from_seed(bytes)
    }
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Who drew.
    pub stream: Stream,
    /// What came out: below the bound that was asked for.
    pub value: u64,
}

enum Source {
    Seed(Vec<ChaCha8Rng>),
    Tape(Vec<VecDeque<u64>>),
}

/// The source of every decision of a run.
pub struct Decisions {
    source: Source,
    tape: Vec<Draw>,
    /// How many there were of each stream.
    drawn: [usize; Stream::ALL.len()],
}

impl Decisions {
    /// Fresh decisions.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let generators = Stream::ALL.map(|stream| stream.generator(seed));
        Decisions {
            source: Source::Seed(generators.into()),
            tape: Vec::new(),
            drawn: [0; Stream::ALL.len()],
        }
    }

    /// The decisions of an earlier run; after the end of the tape, zeros.
    #[must_use]
    pub fn from_tape(tape: &[Draw]) -> Self {
        let of = |stream| {
            let mine = tape.iter().filter(move |draw| draw.stream == stream);
            mine.map(|draw| draw.value).collect()
        };
        Decisions {
            source: Source::Tape(Stream::ALL.map(of).into()),
            tape: Vec::new(),
            drawn: [0; Stream::ALL.len()],
        }
    }

    /// A number from 0 to `bound` − 1. `bound` is at least 1.
    pub fn below(&mut self, stream: Stream, bound: u64) -> u64 {
        assert!(bound > 0, "nothing lies below zero");
        let value = match &mut self.source {
            Source::Seed(generators) => {
                let wide = u128::from(generators[stream as usize].next_u64()) * u128::from(bound);
                u64::try_from(wide >> 64).expect("the product's upper half is below the bound")
            }
            Source::Tape(streams) => {
                let next = streams[stream as usize].pop_front();
                next.unwrap_or(0).min(bound - 1)
            }
        };
        self.write(stream, value);
        value
    }

    fn write(&mut self, stream: Stream, value: u64) {
        self.tape.push(Draw { stream, value });
        self.drawn[stream as usize] += 1;
    }

    /// Draws from this stream what has room in so many decisions, and leaves the rest of the room quiet.
    /// What is drawn afterwards has the same place on the tape however much of the room is used: shrinking
    /// can take away what is within without moving what comes after it.
    pub fn within<T>(
        &mut self,
        stream: Stream,
        room: usize,
        draw: impl FnOnce(&mut Decisions) -> T,
    ) -> T {
        let end = self.drawn[stream as usize] + room;
        let drawn = draw(self);
        let used = self.drawn[stream as usize];
        assert!(
            used <= end,
            "a room of {room} decisions of {stream:?} is too small"
        );
        for _ in used..end {
            if let Source::Tape(streams) = &mut self.source {
                streams[stream as usize].pop_front();
            }
            self.write(stream, 0);
        }
        drawn
    }

    /// A number within the range, both ends included.
    pub fn range(&mut self, stream: Stream, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        assert!(low <= high, "an empty range");
        low + self.below(stream, high - low + 1)
    }

    /// True in this many of a thousand cases. Never draws for 0, so that what is off costs nothing.
    pub fn chance(&mut self, stream: Stream, permille: u64) -> bool {
        permille > 0 && self.below(stream, 1000) >= 1000 - permille.min(1000)
    }

    /// One of these; the first one is the quiet choice.
    pub fn choice<T: Copy>(&mut self, stream: Stream, from: &[T]) -> T {
        from[self.index(stream, from.len())]
    }

    /// A position in a list of this length.
    pub fn index(&mut self, stream: Stream, length: usize) -> usize {
        let drawn = self.below(stream, length as u64);
        usize::try_from(drawn).expect("a position fits")
    }

    /// Everything drawn so far.
    #[must_use]
    pub fn into_tape(self) -> Vec<Draw> {
        self.tape
    }
}

/// Scatters the bits of some numbers: equal numbers, equal result, on every platform (splitmix64).
#[must_use]
pub(crate) fn mix(numbers: &[u64]) -> u64 {
    numbers
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15, |state: u64, number| {
            let mut z = (state ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(decisions: &mut Decisions, stream: Stream) -> Vec<u64> {
        (0..20).map(|_| decisions.below(stream, 1000)).collect()
    }

    #[test]
    fn streams_do_not_move_each_other() {
        let mut alone = Decisions::from_seed(7);
        let mut after = Decisions::from_seed(7);
        draws(&mut after, Stream::Network);
        assert_eq!(
            draws(&mut alone, Stream::Store),
            draws(&mut after, Stream::Store)
        );
    }

    #[test]
    fn a_tape_repeats_what_was_drawn_and_then_is_quiet() {
        let mut fresh = Decisions::from_seed(7);
        let drawn = draws(&mut fresh, Stream::Tasks);
        let mut again = Decisions::from_tape(&fresh.into_tape());
        assert_eq!(draws(&mut again, Stream::Tasks), drawn);
        assert!(!again.chance(Stream::Tasks, 999));
        assert_eq!(again.range(Stream::Tasks, 3..=9), 3);
    }

    #[test]
    fn what_comes_after_a_room_does_not_move_when_less_of_it_is_used() {
        let in_room = |decisions: &mut Decisions, count: u64| {
            decisions.within(Stream::Tasks, 10, |decisions| {
                for _ in 0..count {
                    decisions.below(Stream::Tasks, 1000);
                }
            });
            decisions.below(Stream::Tasks, 1000)
        };
        let mut fresh = Decisions::from_seed(7);
        let after = in_room(&mut fresh, 5);
        let mut again = Decisions::from_tape(&fresh.into_tape());
        assert_eq!(in_room(&mut again, 2), after);
        assert_eq!(again.into_tape().len(), 11);
    }

    #[test]
    fn every_number_below_the_bound_comes_and_none_beyond() {
        let mut decisions = Decisions::from_seed(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[decisions.index(Stream::Options, 5)] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
