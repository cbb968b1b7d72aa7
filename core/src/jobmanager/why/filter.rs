//! TaskManagers whose slots a waiting job does not get, by what speaks against it. Each registered one is
//! counted once: it suits none of the groups that wait, or leaves, or has not answered yet, or its slots are free
//! or held.

use super::Reason;
use super::words::{counted, in_brackets, lasting, listed, shown, verb};
use crate::id::{JobId, TaskManagerId};
use crate::time::Timestamp;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

/// What keeps slots from a job that waits for some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Filter {
    /// These TaskManagers do not offer all operators of any group that waits.
    OperatorsLacking {
        /// How many TaskManagers.
        taskmanagers: u32,
        /// How many free slots they have.
        free: u32,
        /// How many operators any of them lacks.
        lacked: u32,
        /// Which operators.
        operators: Vec<String>,
        /// Which TaskManagers.
        names: Vec<TaskManagerId>,
    },
    /// These TaskManagers have said hello, and nothing since: they are given nothing yet.
    TaskmanagersNotAnswered {
        /// How many TaskManagers.
        taskmanagers: u32,
        /// How many slots they have in which no task is.
        slots: u32,
        /// When the first of them was heard last.
        since: Timestamp,
        /// Which TaskManagers.
        names: Vec<TaskManagerId>,
    },
    /// These TaskManagers leave: they are given nothing any more.
    TaskmanagersLeave {
        /// How many TaskManagers.
        taskmanagers: u32,
        /// How many slots they have in which no task is.
        slots: u32,
        /// Which TaskManagers.
        names: Vec<TaskManagerId>,
    },
    /// A job holds slots that suit.
    SlotsHeld {
        /// The job; it may be the one that waits, with other regions.
        #[serde(serialize_with = "shown")]
        job: JobId,
        /// How many.
        slots: u32,
        /// In how many of them all tasks were told to stop: they come back without more ado.
        stopping: u32,
    },
    /// Further jobs hold slots that suit.
    SlotsHeldByMore {
        /// How many jobs.
        jobs: u32,
        /// How many slots.
        slots: u32,
    },
    /// What waits was last on TaskManagers that have gone.
    TaskmanagersGone {
        /// How many of the needed slots were there.
        slots: u32,
        /// How many TaskManagers, as far as the failures of the job tell.
        taskmanagers: u32,
        /// Which.
        names: Vec<TaskManagerId>,
    },
}

impl From<Filter> for Reason {
    fn from(reason: Filter) -> Self {
        Reason::Filter(reason)
    }
}

impl Filter {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Filter::OperatorsLacking {
                taskmanagers,
                free,
                lacked,
                operators,
                names,
            } => format!(
                "{}{} with {} {} not offer {}.",
                counted(*taskmanagers, "TaskManager"),
                in_brackets(names, *taskmanagers),
                counted(*free, "free slot"),
                verb(*taskmanagers, "does", "do"),
                listed(operators, *lacked),
            ),
            Filter::TaskmanagersNotAnswered {
                taskmanagers,
                slots,
                since,
                names,
            } => format!(
                "{} {} not answered {}.",
                with_slots(*taskmanagers, names, *slots),
                verb(*taskmanagers, "has", "have"),
                lasting(now, *since),
            ),
            Filter::TaskmanagersLeave {
                taskmanagers,
                slots,
                names,
            } => format!(
                "{} {}.",
                with_slots(*taskmanagers, names, *slots),
                verb(*taskmanagers, "leaves", "leave"),
            ),
            Filter::SlotsHeld {
                job,
                slots,
                stopping: 0,
            } => format!("Job {job} holds {}.", counted(*slots, "slot")),
            Filter::SlotsHeld {
                job,
                slots,
                stopping,
            } => format!(
                "Job {job} holds {}; its tasks in {stopping} of them were told to stop.",
                counted(*slots, "slot")
            ),
            Filter::SlotsHeldByMore { jobs, slots } => format!(
                "{} {} {}.",
                counted(*jobs, "more job"),
                verb(*jobs, "holds", "hold"),
                counted(*slots, "slot")
            ),
            Filter::TaskmanagersGone {
                slots,
                taskmanagers,
                names,
            } => format!(
                "{} {} on TaskManagers that have gone{}.",
                counted(*slots, "needed slot"),
                verb(*slots, "was", "were"),
                in_brackets(names, *taskmanagers)
            ),
        }
    }

    pub(super) fn unblock(&self, _: Timestamp) -> String {
        match self {
            Filter::OperatorsLacking {
                lacked, operators, ..
            } => format!("Let them offer {}, too.", listed(operators, *lacked)),
            Filter::TaskmanagersNotAnswered { .. } => String::from(
                "They have to answer a heartbeat; who does not is given up after heartbeat.timeout.",
            ),
            Filter::SlotsHeld {
                job,
                slots,
                stopping,
            } => match stopping < slots {
                true => format!("Cancel or stop job {job}, if it matters less."),
                false => String::from("Its tasks have to stop, or their TaskManagers have to end."),
            },
            Filter::SlotsHeldByMore { .. } => String::from("Cancel or stop what matters less."),
            Filter::TaskmanagersGone { .. } | Filter::TaskmanagersLeave { .. } => {
                String::from("Start them again, or others in their place.")
            }
        }
    }
}

fn with_slots(taskmanagers: u32, names: &[TaskManagerId], slots: u32) -> String {
    format!(
        "{}{} with {}",
        counted(taskmanagers, "TaskManager"),
        in_brackets(names, taskmanagers),
        counted(slots, "slot")
    )
}
