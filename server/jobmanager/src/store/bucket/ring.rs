//! The log: a ring of objects in which each entry takes the place of the one that was written a round before.

use super::format::{Entry, decode, encode};
use super::place::{Expected, Prefix, PutFailure};
use super::runs::FOLDER as RUNS;
use futures::future::try_join_all;
use object_store::UpdateVersion;

/// How many objects there are, and so how many entries there may be that are in no run. Google allows one write
/// per second to each; a leader that takes over reads all of them.
pub(super) const SLOTS: u64 = 32;
/// How often the slots are read that somebody wrote while the others were read. Who writes needs a whole round for
/// another time to be needed.
const REREADS: usize = 8;

/// Why something cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadFailure {
    /// There is no answer: the words for people.
    Away(String),
    /// There is one that cannot be used: the words for people, as the end of a sentence about the bucket.
    Unusable(String),
}

/// The slots as they were read. Every entry up to the last one is there that has a slot.
#[derive(Debug)]
pub(super) struct Ring {
    slots: Vec<Slot>,
    last: u64,
}

#[derive(Debug)]
struct Slot {
    expected: Expected,
    entry: Option<Entry>,
}

impl Slot {
    /// The number of the entry in it; 0 if there is none.
    fn number(&self) -> u64 {
        self.entry.as_ref().map_or(0, |entry| entry.number)
    }

    async fn read(prefix: &Prefix, index: u64) -> Result<Slot, ReadFailure> {
        let name = slot_name(index);
        let found = prefix.get(&name).await.map_err(ReadFailure::Away)?;
        let Some((bytes, version)) = found else {
            return Ok(Slot {
                expected: Expected::Absent,
                entry: None,
            });
        };
        let entry: Entry = decode(&name, &bytes).map_err(ReadFailure::Unusable)?;
        if entry.number == 0 || entry.number % SLOTS != index {
            let words = format!("{name} has entry {}", entry.number);
            return Err(ReadFailure::Unusable(words));
        }
        Ok(Slot {
            expected: Expected::Version(version),
            entry: Some(entry),
        })
    }
}

impl Ring {
    /// Reads all of it.
    ///
    /// # Errors
    /// It cannot be read, or an entry is missing.
    pub(super) async fn read(prefix: &Prefix) -> Result<Ring, ReadFailure> {
        let mut slots = read_slots(prefix, (0..SLOTS).collect()).await?;
        for _ in 0..REREADS {
            let last = slots.iter().map(Slot::number).max().unwrap_or(0);
            let late: Vec<u64> = (0..SLOTS)
                .filter(|index| slots[*index as usize].number() != latest_in(*index, last))
                .collect();
            if late.is_empty() {
                return Ring { slots, last }.checked(prefix).await;
            }
            let read = read_slots(prefix, late.clone()).await?;
            for (index, slot) in late.into_iter().zip(read) {
                slots[index as usize] = slot;
            }
        }
        Err(ReadFailure::Unusable(
            "has lost entries of its log: restore it from a copy of the whole prefix".to_owned(),
        ))
    }

    /// Itself, if what is not in it is in runs.
    async fn checked(self, prefix: &Prefix) -> Result<Ring, ReadFailure> {
        let Some(last) = self.last() else {
            let runs = prefix.list(RUNS).await.map_err(ReadFailure::Away)?;
            if runs.is_empty() {
                return Ok(self);
            }
            let words =
                "has lost its log, but not its runs: restore it from a copy of the whole prefix";
            return Err(ReadFailure::Unusable(words.to_owned()));
        };
        let merged = last.base.merged;
        if merged >= self.last || merged + SLOTS < self.last {
            let words = format!("{} says that {merged} are merged", slot_name_of(self.last));
            return Err(ReadFailure::Unusable(words));
        }
        Ok(self)
    }

    /// The latest entry, which is the only one whose base is true.
    pub(super) fn last(&self) -> Option<&Entry> {
        self.slots[slot_of(self.last)].entry.as_ref()
    }

    /// The number of the latest entry; 0 if there is none.
    pub(super) fn last_number(&self) -> u64 {
        self.last
    }

    /// The latest epoch that has begun; 0 if none has.
    pub(super) fn epoch(&self) -> u64 {
        self.last().map_or(0, |entry| entry.epoch)
    }

    /// This entry, if it is still there.
    pub(super) fn entry(&self, number: u64) -> Option<&Entry> {
        let entry = self.slots[slot_of(number)].entry.as_ref();
        entry.filter(|entry| entry.number == number)
    }

    /// The entries after this one, in order. None of them may be older than a round.
    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = &Entry> {
        (number + 1..=self.last).filter_map(|number| self.entry(number))
    }

    /// What the slots have to be for whoever writes after the latest entry.
    pub(super) fn expected(&self) -> Vec<Expected> {
        let slots = self.slots.iter();
        slots.map(|slot| slot.expected.clone()).collect()
    }
}

/// Writes an entry over the one of a round before.
///
/// # Errors
/// It was not written, or may not have been.
pub(super) async fn write_entry(
    prefix: &Prefix,
    expected: &[Expected],
    entry: &Entry,
) -> Result<UpdateVersion, PutFailure> {
    let name = slot_name_of(entry.number);
    let expected = expected[slot_of(entry.number)].clone();
    prefix.put(&name, expected, encode(&name, entry)).await
}

/// In which slot an entry is.
pub(super) fn slot_of(number: u64) -> usize {
    (number % SLOTS) as usize
}

fn slot_name_of(number: u64) -> String {
    slot_name(number % SLOTS)
}

fn slot_name(index: u64) -> String {
    format!("log/{index:02}")
}

/// The latest entry of a slot if `last` is the latest of all; 0 if there is none.
fn latest_in(index: u64, last: u64) -> u64 {
    let behind = (last % SLOTS + SLOTS - index) % SLOTS;
    last.saturating_sub(behind)
}

async fn read_slots(prefix: &Prefix, indices: Vec<u64>) -> Result<Vec<Slot>, ReadFailure> {
    // All at once: whoever wants to lead is in a hurry.
    try_join_all(indices.into_iter().map(|index| Slot::read(prefix, index))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_the_entry_of_this_round_or_of_the_one_before() {
        for last in 0..3 * SLOTS {
            for index in 0..SLOTS {
                let written = (1..=last).filter(|number| number % SLOTS == index);
                assert_eq!(latest_in(index, last), written.max().unwrap_or(0));
            }
        }
    }
}
