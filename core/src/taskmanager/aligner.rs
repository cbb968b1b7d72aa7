//! Barrier alignment of one task.
//!
//! A checkpoint's barrier comes once on every input channel. In exactly-once mode a channel whose
//! barrier came is blocked until the barriers of all channels have come, so one checkpoint is aligned
//! at a time and the barrier of a later one ends it. In at-least-once mode nothing is blocked and
//! several checkpoints are counted at a time; the first that is complete ends the earlier ones.
//!
//! Invariants: a checkpoint is aligned at most once; checkpoints are aligned in the order of their ids;
//! at most [`PENDING`] are counted at a time.

use crate::config::CheckpointMode;
use crate::id::CheckpointId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// How many checkpoints are counted, or remembered as aborted, at a time. More than a coordinator would
/// have under way; the earliest gives way to a further one.
pub const PENDING: usize = 64;

/// Aligns the barriers of one task with at least one input channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Aligner {
    mode: CheckpointMode,
    channels: u32,
    pending: BTreeMap<CheckpointId, Arrived>,
    /// Checkpoints later than [`Self::done`] whose barriers mean nothing any more.
    aborted: BTreeSet<CheckpointId>,
    /// Barriers of checkpoints up to this one are stale.
    done: CheckpointId,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Arrived {
    on: Vec<bool>,
    missing: u32,
}

/// What a barrier means to the task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arrival {
    /// What it means for its own checkpoint.
    pub barrier: Barrier,
    /// Earlier checkpoints that will never be aligned, to be declined as subsumed.
    pub subsumed: Vec<CheckpointId>,
}

/// What a barrier means for its own checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// Too late or repeated: nothing changes.
    Stale,
    /// Others are missing.
    Waiting,
    /// It was the last one: snapshot now and send the barrier on.
    Aligned,
}

impl Aligner {
    /// An aligner for a task with this many input channels.
    #[must_use]
    pub fn new(channels: u32, mode: CheckpointMode) -> Self {
        assert!(
            channels > 0,
            "a task without inputs has no barriers to align"
        );
        Aligner {
            mode,
            channels,
            pending: BTreeMap::new(),
            aborted: BTreeSet::new(),
            done: CheckpointId(0),
        }
    }

    /// A barrier came on a channel.
    pub fn barrier(&mut self, channel: u32, checkpoint: CheckpointId) -> Arrival {
        assert!(
            channel < self.channels,
            "channel {channel} of {}",
            self.channels
        );
        let stale = Arrival {
            barrier: Barrier::Stale,
            subsumed: Vec::new(),
        };
        if checkpoint <= self.done || self.aborted.contains(&checkpoint) {
            return stale;
        }
        let channels = self.channels;
        let arrived = self.pending.entry(checkpoint).or_insert_with(|| Arrived {
            on: vec![false; channels as usize],
            missing: channels,
        });
        if core::mem::replace(&mut arrived.on[channel as usize], true) {
            return stale;
        }
        arrived.missing -= 1;
        let aligned = arrived.missing == 0;
        let one_at_a_time = self.mode == CheckpointMode::ExactlyOnce;
        let subsumed = if aligned || one_at_a_time || self.pending.len() > PENDING {
            self.end_before(checkpoint)
        } else {
            Vec::new()
        };
        if aligned {
            self.pending.remove(&checkpoint);
            self.done_up_to(checkpoint);
        }
        let barrier = if aligned {
            Barrier::Aligned
        } else {
            Barrier::Waiting
        };
        Arrival { barrier, subsumed }
    }

    /// The JobManager gave this checkpoint up: channels that wait for it wait no longer.
    pub fn abort(&mut self, checkpoint: CheckpointId) {
        self.pending.remove(&checkpoint);
        if checkpoint > self.done {
            self.aborted.insert(checkpoint);
        }
        if self.aborted.len() > PENDING {
            let earliest = self
                .aborted
                .pop_first()
                .expect("more than PENDING are there");
            self.end_before(earliest.next());
        }
    }

    /// The JobManager gave up every checkpoint below this one.
    pub fn abort_below(&mut self, next: CheckpointId) {
        self.end_before(next);
    }

    /// Whether records of this channel must wait.
    #[must_use]
    pub fn is_blocked(&self, channel: u32) -> bool {
        let waits = || {
            self.pending
                .values()
                .any(|arrived| arrived.on[channel as usize])
        };
        self.mode == CheckpointMode::ExactlyOnce && waits()
    }

    /// The earliest checkpoint that is being aligned.
    #[must_use]
    pub fn aligning(&self) -> Option<CheckpointId> {
        self.pending.keys().next().copied()
    }

    /// Ends what is before `next`; tells which alignments that ended.
    fn end_before(&mut self, next: CheckpointId) -> Vec<CheckpointId> {
        let kept = self.pending.split_off(&next);
        let ended = core::mem::replace(&mut self.pending, kept);
        self.done_up_to(CheckpointId(next.0.saturating_sub(1)));
        ended.into_keys().collect()
    }

    fn done_up_to(&mut self, checkpoint: CheckpointId) {
        self.done = self.done.max(checkpoint);
        self.aborted = self.aborted.split_off(&self.done.next());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Barrier::{Aligned, Stale, Waiting};

    fn exactly_once(channels: u32) -> Aligner {
        Aligner::new(channels, CheckpointMode::ExactlyOnce)
    }

    fn at(aligner: &mut Aligner, channel: u32, checkpoint: u64) -> Barrier {
        aligner.barrier(channel, CheckpointId(checkpoint)).barrier
    }

    #[test]
    fn a_channel_waits_until_every_channel_has_delivered_the_barrier() {
        let mut aligner = exactly_once(2);
        assert_eq!(at(&mut aligner, 0, 1), Waiting);
        assert!(aligner.is_blocked(0) && !aligner.is_blocked(1));
        assert_eq!(at(&mut aligner, 1, 1), Aligned);
        assert!(!aligner.is_blocked(0) && !aligner.is_blocked(1));
    }

    #[test]
    fn at_least_once_never_blocks_and_counts_overlapping_checkpoints() {
        let mut aligner = Aligner::new(2, CheckpointMode::AtLeastOnce);
        assert_eq!(at(&mut aligner, 0, 1), Waiting);
        assert_eq!(at(&mut aligner, 0, 2), Waiting);
        assert!(!aligner.is_blocked(0));
        assert_eq!(at(&mut aligner, 1, 1), Aligned);
        assert_eq!(at(&mut aligner, 1, 2), Aligned);
    }

    #[test]
    fn a_later_barrier_ends_an_alignment_and_names_it() {
        let mut aligner = exactly_once(2);
        at(&mut aligner, 0, 1);
        let arrival = aligner.barrier(1, CheckpointId(2));
        assert_eq!(arrival.subsumed, [CheckpointId(1)]);
        assert_eq!(arrival.barrier, Waiting);
        assert!(!aligner.is_blocked(0) && aligner.is_blocked(1));
        assert_eq!(at(&mut aligner, 1, 1), Stale);
    }

    #[test]
    fn a_repeated_barrier_is_stale_and_a_complete_one_does_not_start_again() {
        let mut aligner = exactly_once(2);
        at(&mut aligner, 0, 1);
        assert_eq!(at(&mut aligner, 0, 1), Stale);
        at(&mut aligner, 1, 1);
        assert_eq!(at(&mut aligner, 0, 1), Stale);
        assert_eq!(aligner.aligning(), None);
    }

    #[test]
    fn an_aborted_checkpoint_blocks_nothing_and_leaves_its_neighbours_alone() {
        let mut aligner = exactly_once(2);
        at(&mut aligner, 0, 5);
        aligner.abort(CheckpointId(6));
        assert!(aligner.is_blocked(0));
        assert_eq!(at(&mut aligner, 1, 5), Aligned);
        assert_eq!(at(&mut aligner, 0, 6), Stale);
        assert!(!aligner.is_blocked(0));
        assert_eq!(at(&mut aligner, 0, 7), Waiting);
    }

    #[test]
    fn aborting_below_an_id_releases_everything_before_it() {
        let mut aligner = exactly_once(2);
        at(&mut aligner, 0, 5);
        aligner.abort_below(CheckpointId(8));
        assert!(!aligner.is_blocked(0));
        assert_eq!(at(&mut aligner, 1, 7), Stale);
        assert_eq!(at(&mut aligner, 1, 8), Waiting);
    }
}
