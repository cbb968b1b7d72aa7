//! Tasks on TaskManagers that leave as a cause: what they wait for before they go on elsewhere.

use super::words::{ahead, counted, in_brackets, verb};
use super::{Cause, Look, Reason, SHOWN};
use crate::id::TaskManagerId;
use crate::jobmanager::moving::Obstacle;
use crate::jobmanager::taskmanagers::TmKey;
use crate::time::Timestamp;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

/// What a job that has tasks on TaskManagers that leave waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Moving {
    /// Its tasks there have not moved yet.
    TasksToMove {
        /// How many TaskManagers that leave have tasks of the job.
        taskmanagers: u32,
        /// How many slots of theirs the job holds.
        slots: u32,
        /// Which TaskManagers.
        names: Vec<TaskManagerId>,
    },
    /// They take a checkpoint first, so that little is processed twice.
    CheckpointFirst {
        /// Then they move without.
        until: Timestamp,
    },
    /// What takes the tasks of a savepoint down, takes the savepoint down, too.
    SavepointFirst,
    /// Its parallelism changes, which moves tasks, too.
    RescaleFirst,
    /// Nobody knows from what they would start.
    CheckpointNotDurable,
    /// They stay until there are slots for them.
    NoRoom {
        /// How many slots of TaskManagers that stay they need.
        needed: u32,
        /// How many of these are free, and not promised to other jobs that move.
        free: u32,
    },
}

impl From<Moving> for Reason {
    fn from(reason: Moving) -> Self {
        Reason::Moving(reason)
    }
}

impl Moving {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Moving::TasksToMove {
                taskmanagers,
                slots,
                names,
            } => format!(
                "{} of the job {} on {}{} that {}.",
                counted(*slots, "slot"),
                verb(*slots, "is", "are"),
                counted(*taskmanagers, "TaskManager"),
                in_brackets(names, *taskmanagers),
                verb(*taskmanagers, "leaves", "leave"),
            ),
            Moving::CheckpointFirst { until } => format!(
                "The tasks there take a checkpoint before they move, or move without one {}.",
                ahead(now, *until)
            ),
            Moving::SavepointFirst => String::from("A savepoint is being taken."),
            Moving::RescaleFirst => String::from("The parallelism of the job changes."),
            Moving::CheckpointNotDurable => {
                String::from("A checkpoint of the job is being made durable.")
            }
            Moving::NoRoom { needed, free } => format!(
                "The tasks there need {} of other TaskManagers, and {free} can be had.",
                counted(*needed, "slot")
            ),
        }
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        match self {
            Moving::TasksToMove { .. } => String::from(
                "They move as soon as they can; what is still there at the end starts again elsewhere.",
            ),
            Moving::CheckpointFirst { .. } => {
                String::from("The tasks have to acknowledge the checkpoint.")
            }
            Moving::SavepointFirst => String::from("The savepoint has to end."),
            Moving::RescaleFirst => String::from("The change has to end."),
            Moving::CheckpointNotDurable => String::from("The store has to take the write."),
            Moving::NoRoom { needed, free } => format!(
                "Start TaskManagers with {}.",
                counted(needed.saturating_sub(*free), "more slot")
            ),
        }
    }
}

impl Look<'_> {
    /// Why tasks are still on TaskManagers that leave.
    pub(super) fn moving(&self) -> Option<Cause> {
        let (job, tms) = (self.job, &self.coordinator.tms);
        if !job.is_left() {
            return None;
        }
        let slots = job.slots_on_leaving(tms);
        let regions = job.regions_in(&slots);
        if regions.is_empty() {
            return None;
        }
        let at = slots
            .iter()
            .map(|slot| job.execution.slots[*slot as usize].at);
        let distinct: BTreeSet<TmKey> = at.flatten().map(|at| at.tm).collect();
        let known = distinct.iter().filter_map(|tm| tms.get(*tm));
        let mut names: Vec<_> = known.map(|tm| tm.hello.taskmanager.clone()).collect();
        names.sort_unstable();
        names.truncate(SHOWN);
        let reason = Moving::TasksToMove {
            taskmanagers: count(distinct.len()),
            slots: count(slots.len()),
            names,
        };
        let now = self.coordinator.now;
        let obstacle = job.lacks_slots(tms, &slots);
        let obstacle = obstacle.or_else(|| job.obstacle(now, &regions));
        let because = obstacle.map(|obstacle| match obstacle {
            Obstacle::Savepoint => Moving::SavepointFirst,
            Obstacle::Rescaling => Moving::RescaleFirst,
            Obstacle::Writing => Moving::CheckpointNotDurable,
            Obstacle::Snapshot(until) => Moving::CheckpointFirst { until },
            Obstacle::Slots { needed, free } => Moving::NoRoom { needed, free },
        });
        Some(Cause::new(
            reason,
            because.map(Cause::leaf).into_iter().collect(),
        ))
    }
}

fn count(things: usize) -> u32 {
    u32::try_from(things).expect("slots are counted in 32 bits")
}
