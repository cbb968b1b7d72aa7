//! Checkpoints that are due and not triggered as a cause. Each region has a line of checkpoints of its own, so
//! each may have a reason of its own; regions with the same one are told together.

use super::words::{ahead, counted, shown, verb};
use super::{Cause, Look, Reason};
use crate::config::CheckpointConfig;
use crate::id::{RegionIndex, TriggerId};
use crate::jobmanager::execution::Phase;
use crate::jobmanager::journal::Fact;
use crate::time::Timestamp;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

/// What keeps a checkpoint from being triggered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Trigger {
    /// Regions are due for a checkpoint, or wait for the one with which they finish.
    CheckpointHeldBack {
        /// How many regions.
        regions: u32,
    },
    /// Not all of their tasks run.
    NotAllTasksRun {
        /// How many regions.
        regions: u32,
    },
    /// `execution.checkpointing.max-concurrent-checkpoints` of each are under way.
    TooManyUnderWay {
        /// How many regions.
        regions: u32,
        /// How many checkpoints of a region may be.
        limit: u32,
    },
    /// `execution.checkpointing.min-pause` after their last one is not over.
    PauseNotOver {
        /// How many regions.
        regions: u32,
        /// When the first pause is.
        until: Timestamp,
    },
    /// Their data has ended, and the checkpoint with which they finish begins after those under way.
    EarlierOneUnderWay {
        /// How many regions.
        regions: u32,
    },
    /// Their data has ended, and the checkpoint with which they finish failed: it is tried again after an interval.
    LastTryFailed {
        /// How many regions.
        regions: u32,
        /// When the first is tried again.
        until: Timestamp,
    },
    /// A savepoint goes first.
    SavepointGoesFirst {
        /// How many regions.
        regions: u32,
        /// The savepoint.
        #[serde(serialize_with = "shown")]
        trigger: TriggerId,
    },
    /// An id is used only if it is durable that it may be.
    IdsNotDurable {
        /// How many regions.
        regions: u32,
    },
}

impl From<Trigger> for Reason {
    fn from(reason: Trigger) -> Self {
        Reason::Trigger(reason)
    }
}

impl Trigger {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Trigger::CheckpointHeldBack { regions } => format!(
                "{} {} for a checkpoint that is due.",
                counted(*regions, "region"),
                verb(*regions, "waits", "wait")
            ),
            Trigger::NotAllTasksRun { regions } => {
                format!("Not all tasks of {} run.", counted(*regions, "region"))
            }
            Trigger::TooManyUnderWay { regions, limit } => format!(
                "{} of {} {} under way, and no more may be.",
                counted(*limit, "checkpoint"),
                counted(*regions, "region"),
                verb(*limit, "is", "are")
            ),
            Trigger::PauseNotOver { regions, until } => format!(
                "The pause after the last checkpoint of {} is over {}.",
                counted(*regions, "region"),
                ahead(now, *until)
            ),
            Trigger::EarlierOneUnderWay { regions } => format!(
                "The data of {} has ended; the last checkpoint begins after the one under way.",
                counted(*regions, "region")
            ),
            Trigger::LastTryFailed { regions, until } => format!(
                "The data of {} has ended; the last checkpoint failed, and is tried again {}.",
                counted(*regions, "region"),
                ahead(now, *until)
            ),
            Trigger::SavepointGoesFirst { regions, trigger } => format!(
                "{} {} for savepoint {trigger}.",
                counted(*regions, "region"),
                verb(*regions, "waits", "wait")
            ),
            Trigger::IdsNotDurable { regions } => format!(
                "{} {} until it is durable that further ids are used.",
                counted(*regions, "region"),
                verb(*regions, "waits", "wait")
            ),
        }
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        String::from(match self {
            Trigger::CheckpointHeldBack { .. } => "What stands below has to pass.",
            Trigger::NotAllTasksRun { .. } => {
                "The tasks have to run; their own causes say why not."
            }
            Trigger::TooManyUnderWay { .. } => {
                "Those under way have to end, or \
                 execution.checkpointing.max-concurrent-checkpoints has to be more."
            }
            Trigger::PauseNotOver { .. } => {
                "It passes by itself; execution.checkpointing.min-pause says how long it is."
            }
            Trigger::EarlierOneUnderWay { .. } => "Those under way have to end.",
            Trigger::LastTryFailed { .. } => {
                "It passes by itself; the latest failed checkpoint says why it failed."
            }
            Trigger::SavepointGoesFirst { .. } => "The savepoint has to have an outcome.",
            Trigger::IdsNotDurable { .. } => "The store has to take the write.",
        })
    }
}

/// Why one region is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    NotAllTasksRun,
    TooManyUnderWay,
    PauseNotOver,
    EarlierOneUnderWay,
    LastTryFailed,
    SavepointGoesFirst,
    IdsNotDurable,
}

impl Look<'_> {
    /// Why checkpoints that are due are not triggered.
    pub(super) fn held_back(&self) -> Option<Cause> {
        let config = self.job.graph.config().checkpointing.as_ref()?;
        let mut held: BTreeMap<Held, (u32, Timestamp)> = BTreeMap::new();
        for region in self.job.candidates() {
            if let Some((why, until)) = self.held(region, config) {
                let (regions, first) = held.entry(why).or_insert((0, until));
                *regions += 1;
                *first = until.min(*first);
            }
        }
        let regions = held.values().map(|(regions, _)| regions).sum();
        let because = held.into_iter();
        let because = because.map(|(why, (regions, until))| self.told(why, regions, until, config));
        let because: Vec<Cause> = because.collect();
        let reason = Trigger::CheckpointHeldBack { regions };
        (regions > 0).then(|| Cause::new(reason, because))
    }

    /// Why a region that is due is not triggered, and until when that is so if time alone decides.
    fn held(&self, region: RegionIndex, config: &CheckpointConfig) -> Option<(Held, Timestamp)> {
        let (job, now) = (self.job, self.coordinator.now);
        let finished = job.execution.region(region).phase == Phase::Finished;
        if finished || job.checkpoints.is_final(region) {
            return None;
        }
        if !job.execution.runs(region) {
            return Some((Held::NotAllTasksRun, now));
        }
        if job.holds_back_checkpoints() {
            return Some((Held::SavepointGoesFirst, now));
        }
        let line = job.checkpoints.line(region);
        if job.execution.at_end_of_data().contains(&region) {
            if line.under_way > 0 {
                return Some((Held::EarlierOneUnderWay, now));
            }
            if line.final_not_before > now {
                return Some((Held::LastTryFailed, line.final_not_before));
            }
        } else if line.is_full(config) {
            return Some((Held::TooManyUnderWay, now));
        } else if line.paused_until(config.min_pause) > now {
            return Some((Held::PauseNotOver, line.paused_until(config.min_pause)));
        }
        let used_up = job.checkpoints.needed_mark().is_some();
        used_up.then_some((Held::IdsNotDurable, now))
    }

    fn told(&self, why: Held, regions: u32, until: Timestamp, config: &CheckpointConfig) -> Cause {
        let reason = match why {
            Held::NotAllTasksRun => Trigger::NotAllTasksRun { regions },
            Held::TooManyUnderWay => Trigger::TooManyUnderWay {
                regions,
                limit: config.max_concurrent,
            },
            Held::PauseNotOver => Trigger::PauseNotOver { regions, until },
            Held::EarlierOneUnderWay => Trigger::EarlierOneUnderWay { regions },
            Held::LastTryFailed => Trigger::LastTryFailed { regions, until },
            Held::SavepointGoesFirst => {
                let current = self.job.savepoints.current();
                let current = current.expect("a savepoint holds checkpoints back");
                let trigger = current.record.trigger;
                Trigger::SavepointGoesFirst { regions, trigger }
            }
            Held::IdsNotDurable => Trigger::IdsNotDurable { regions },
        };
        let because = match why {
            Held::IdsNotDurable => self.ids(),
            Held::NotAllTasksRun
            | Held::TooManyUnderWay
            | Held::PauseNotOver
            | Held::EarlierOneUnderWay
            | Held::LastTryFailed
            | Held::SavepointGoesFirst => Vec::new(),
        };
        Cause::new(reason, because)
    }

    /// What keeps further ids from being used.
    pub(super) fn ids(&self) -> Vec<Cause> {
        let id = self.job.id();
        self.store(|fact| matches!(fact, Fact::Marked(job, _) if *job == id))
    }
}
