//! The latest events of a leader, each under its number: who follows them reads on from where it was.
//!
//! Invariant: numbers begin with 1 and have no gaps; at least the last event is kept, and of the others as many as
//! the bounds allow.

use serde_json::Value;
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

use super::kind::Kind;
use jobmanager_core::id::{Epoch, JobId};

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Bounds {
    /// Some minutes of a busy cluster, or 4 MB: failures may have long words.
    pub(super) const USUAL: Bounds = Bounds {
        events: 4_096,
        bytes: 4 << 20,
    };
}

/// Something that happened.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) sequence: u64,
    pub(super) kind: Kind,
    /// To which job.
    pub(super) job: Option<JobId>,
    /// JSON.
    pub(super) data: String,
}

/// The id of an event: whose it is, and its number. `<epoch>-<sequence>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: Epoch,
    pub(super) sequence: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.0, self.sequence)
    }
}

/// It is not the id of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an event: EPOCH-NUMBER is expected, such as 3-17")]
pub(super) struct BadPlace;

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Place, BadPlace> {
        let (epoch, sequence) = text.split_once('-').ok_or(BadPlace)?;
        let number = |text: &str| text.parse().map_err(|_| BadPlace);
        Ok(Place {
            epoch: Epoch(number(epoch)?),
            sequence: number(sequence)?,
        })
    }
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The number of the last event there was.
    last: u64,
}

/// What readers have of it; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    kept: Arc<Mutex<Kept>>,
    news: watch::Receiver<()>,
}

/// What can be read from a number on.
#[derive(Debug)]
pub(super) enum After {
    /// These come next; nothing if it was the last.
    Events(Vec<Arc<Event>>),
    /// Some of what comes next is not kept any more, or the number has not been given yet.
    Gone,
}

/// What the writer has of it. Readers know when it is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    kept: Arc<Mutex<Kept>>,
    bounds: Bounds,
    news: watch::Sender<()>,
}

/// An empty one.
pub(super) fn ring(bounds: Bounds) -> (Writer, Ring) {
    let kept = Arc::<Mutex<Kept>>::default();
    let (sender, news) = watch::channel(());
    let writer = Writer {
        kept: kept.clone(),
        bounds,
        news: sender,
    };
    (writer, Ring { kept, news })
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Adds an event, and forgets the oldest ones beyond the bounds. Readers hear of it with [`Self::announce`].
    pub(super) fn add(&self, kind: Kind, job: Option<JobId>, data: &Value) {
        let data = data.to_string();
        let mut kept = lock(&self.kept);
        kept.last += 1;
        kept.bytes += data.len();
        let sequence = kept.last;
        kept.events.push_back(Arc::new(Event {
            sequence,
            kind,
            job,
            data,
        }));
        while kept.events.len() > self.bounds.events.max(1)
            || (kept.bytes > self.bounds.bytes && kept.events.len() > 1)
        {
            let forgotten = kept.events.pop_front();
            kept.bytes -= forgotten.map_or(0, |event| event.data.len());
        }
    }

    /// Wakes whoever waits for news.
    pub(super) fn announce(&self) {
        self.news.send_replace(());
    }
}

impl Ring {
    /// The number of the last event there was.
    pub(super) fn last(&self) -> u64 {
        lock(&self.kept).last
    }

    /// The number before that of the oldest event that is kept.
    pub(super) fn before_first(&self) -> u64 {
        let kept = lock(&self.kept);
        let first = kept.events.front();
        first.map_or(kept.last, |event| event.sequence - 1)
    }

    /// At most so many events after this number.
    pub(super) fn after(&self, sequence: u64, limit: usize) -> After {
        let kept = lock(&self.kept);
        let before_first = kept.last - kept.events.len() as u64;
        if sequence < before_first || sequence > kept.last {
            return After::Gone;
        }
        // What is skipped is in memory, so it is less than `usize::MAX`.
        let skipped = usize::try_from(sequence - before_first).unwrap_or(usize::MAX);
        let events = kept.events.iter().skip(skipped).take(limit);
        After::Events(events.cloned().collect())
    }

    /// Waits for news since the last time; `false` if there will be none.
    pub(super) async fn news(&mut self) -> bool {
        self.news.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn numbers(ring: &Ring, sequence: u64) -> Option<Vec<u64>> {
        match ring.after(sequence, 10) {
            After::Events(events) => Some(events.iter().map(|event| event.sequence).collect()),
            After::Gone => None,
        }
    }

    #[test]
    fn who_is_too_far_behind_is_told_so_and_who_is_not_reads_on() {
        let bounds = Bounds {
            events: 3,
            bytes: 1_000,
        };
        let (writer, ring) = ring(bounds);
        assert_eq!(numbers(&ring, 0), Some(vec![]));
        assert_eq!(numbers(&ring, 1), None, "there was no such event");
        for number in 1..=5 {
            writer.add(Kind::Leader, None, &json!(number));
        }
        assert_eq!(numbers(&ring, 1), None);
        assert_eq!(numbers(&ring, 2), Some(vec![3, 4, 5]));
        assert_eq!(numbers(&ring, 5), Some(vec![]));
        assert_eq!((ring.before_first(), ring.last()), (2, 5));
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_but_for_the_last_event() {
        let bounds = Bounds {
            events: 100,
            bytes: 10,
        };
        let (writer, ring) = ring(bounds);
        for text in ["aaaa", "bbb", "ccccccccccccccc"] {
            writer.add(Kind::Leader, None, &json!(text));
        }
        assert_eq!(numbers(&ring, 2), Some(vec![3]));
        writer.add(Kind::Leader, None, &json!("d"));
        writer.add(Kind::Leader, None, &json!("e"));
        assert_eq!(numbers(&ring, 3), Some(vec![4, 5]));
        assert_eq!(numbers(&ring, 2), None);
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let place: Place = "3-17".parse().unwrap();
        assert_eq!((place.epoch, place.sequence), (Epoch(3), 17));
        assert_eq!(place.to_string(), "3-17");
        for wrong in ["", "3", "3-", "-1", "3-x", "3-1-2", " 3-1"] {
            assert_eq!(wrong.parse::<Place>(), Err(BadPlace), "{wrong}");
        }
    }
}
