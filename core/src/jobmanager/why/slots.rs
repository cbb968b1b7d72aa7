//! Slots as a cause: how many a job needs, how many there are for it, and what else is in the way.
//!
//! A slot sharing group needs slots of TaskManagers that offer all of its operators; a job gets all that its
//! waiting regions need, or none. What is missing is a lower bound where groups differ in who suits them:
//! whether groups can share is a question of which slot goes to whom.

use super::more::first_of;
use super::words::{ahead, counted, shown, span, verb};
use super::{Cause, Filter, Look, Reason, SHOWN};
use crate::id::{JobId, TaskManagerId};
use crate::jobmanager::kinds::Kinds;
use crate::jobmanager::supply::KindKey;
use crate::jobmanager::taskmanagers::{SlotUse, TaskManager};
use crate::state::ExecutionState;
use crate::time::Timestamp;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;
use serde::Serialize;

/// What a job that waits for slots waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Slots {
    /// Regions of the job get all of their slots at once, or none.
    WaitsForSlots {
        /// How many regions wait.
        regions: u32,
        /// How many tasks they have.
        tasks: u32,
        /// How many slots they need beside those that the job holds.
        needed: u32,
        /// How many are free that suit any of them.
        free: u32,
        /// How many more are free, and kept for jobs whose tasks move, or that have a higher priority.
        kept: u32,
        /// How many are missing, at least.
        missing: u32,
        /// In how many that jobs hold, and that would suit, all tasks were told to stop.
        coming_back: u32,
        /// How many TaskManagers are registered, and were looked at.
        taskmanagers: u32,
        /// Since when the first of them waits.
        since: Timestamp,
        /// Then its wait counts as a failure.
        until: Timestamp,
    },
    /// Nobody is registered.
    NoTaskmanager,
    /// No registered TaskManager offers an operator of the job: however many slots there are, it cannot run.
    OperatorNotOffered {
        /// The operator.
        operator: String,
        /// A vertex that needs it.
        vertex: String,
    },
    /// Of several groups, this one has too few slots.
    GroupTooSmall {
        /// The slot sharing group.
        group: String,
        /// How many slots it needs.
        needed: u32,
        /// How many are free that suit it.
        free: u32,
    },
    /// There are enough slots for each group, but groups take each other's.
    GroupsCompete {
        /// How many groups wait.
        groups: u32,
    },
    /// It needs more slots than one job gets.
    BeyondQuota {
        /// How many it needs with its parallelism.
        required: u32,
        /// How many one job gets.
        most: u32,
    },
    /// Slots are left to jobs of a higher priority that wait, as this one has not run yet.
    GoesFirst {
        /// How many of those that are free.
        slots: u32,
        /// The first of these jobs.
        #[serde(serialize_with = "shown")]
        job: JobId,
        /// Its priority.
        priority: u32,
        /// That of this job.
        own: u32,
    },
    /// Jobs of a higher priority, or that were submitted before it, are served first, as far as they fit.
    BehindInLine {
        /// How many.
        jobs: u32,
        /// The first of them.
        #[serde(serialize_with = "shown")]
        first: JobId,
    },
}

impl From<Slots> for Reason {
    fn from(reason: Slots) -> Self {
        Reason::Slots(reason)
    }
}

impl Slots {
    pub(super) fn text(&self, now: Timestamp) -> String {
        match self {
            Slots::WaitsForSlots {
                tasks,
                needed,
                free,
                kept,
                missing,
                taskmanagers,
                since,
                ..
            } => format!(
                "{} {} for {}: of those on {}, {free} {} and {} free, and {missing} {} missing{}; this has lasted {}.",
                counted(*tasks, "task"),
                verb(*tasks, "waits", "wait"),
                counted(*needed, "slot"),
                counted(*taskmanagers, "TaskManager"),
                verb(*free, "suits", "suit"),
                verb(*free, "is", "are"),
                verb(*missing, "is", "are"),
                match kept {
                    0 => String::new(),
                    _ => format!(
                        ", as {kept} more {} kept for other jobs",
                        verb(*kept, "is", "are")
                    ),
                },
                span(now.since(*since)),
            ),
            Slots::NoTaskmanager => String::from("No TaskManager is registered."),
            Slots::OperatorNotOffered { operator, vertex } => format!(
                "No registered TaskManager offers the operator `{operator}` of vertex `{vertex}`."
            ),
            Slots::GroupTooSmall {
                group,
                needed,
                free,
            } => format!(
                "The slot sharing group `{group}` needs {}, and {free} with all of its operators {} free.",
                counted(*needed, "slot"),
                verb(*free, "is", "are")
            ),
            Slots::GroupsCompete { groups } => {
                format!(
                    "There are slots enough for each of {groups} groups, but not for all at once."
                )
            }
            Slots::BeyondQuota { required, most } => format!(
                "The job needs {} with its parallelism, and one job gets at most {most}.",
                counted(*required, "slot")
            ),
            Slots::GoesFirst {
                slots,
                job,
                priority,
                own,
            } => format!(
                "{} {} left to jobs of a higher priority than {own}, the first of which is {job} of priority {priority}.",
                counted(*slots, "free slot"),
                verb(*slots, "is", "are")
            ),
            Slots::BehindInLine { jobs, first } => format!(
                "{} {} before it in line; the first is {first}.",
                counted(*jobs, "job"),
                verb(*jobs, "is", "are")
            ),
        }
    }

    pub(super) fn unblock(&self, now: Timestamp) -> String {
        match self {
            Slots::WaitsForSlots {
                missing: 0, until, ..
            } => format!(
                "What stands below has to change; the wait counts as a failure {}.",
                ahead(now, *until)
            ),
            Slots::WaitsForSlots {
                missing,
                coming_back,
                until,
                ..
            } if coming_back >= missing => format!(
                "The tasks in {} were told to stop, and have to; the wait counts as a failure {}.",
                counted(*coming_back, "slot"),
                ahead(now, *until)
            ),
            Slots::WaitsForSlots { missing, until, .. } => format!(
                "Start TaskManagers with {} that offer its operators, or end a job that holds some; \
                 the wait counts as a failure {}.",
                counted(*missing, "more slot"),
                ahead(now, *until)
            ),
            Slots::NoTaskmanager => {
                String::from("Start a TaskManager, or let those that run reach this JobManager.")
            }
            Slots::OperatorNotOffered { operator, .. } => format!(
                "Start a TaskManager that offers `{operator}`, or correct the name in the job."
            ),
            Slots::GroupTooSmall {
                group,
                needed,
                free,
            } => format!(
                "Start TaskManagers with {} that offer all operators of `{group}`.",
                counted(needed.saturating_sub(*free), "more slot")
            ),
            Slots::GroupsCompete { .. } => {
                String::from("Start a TaskManager that offers the operators of all groups.")
            }
            Slots::BeyondQuota { .. } => String::from(
                "Its parallelism changes by itself as soon as it can; jobmanager.scheduler.max-slots-per-job says how many one job gets.",
            ),
            Slots::GoesFirst { .. } => String::from(
                "Start TaskManagers for all of them, end one, or submit this job again with a higher jobmanager.scheduler.priority.",
            ),
            Slots::BehindInLine { .. } => {
                String::from("They have to get their slots, or to be canceled.")
            }
        }
    }
}

/// A slot sharing group of which slots are needed.
struct Group<'a> {
    name: &'a str,
    operators: BTreeSet<&'a str>,
    needed: u32,
    /// Free slots that suit it.
    free: u32,
}

/// What the look at all TaskManagers came to.
#[derive(Default)]
struct Supply {
    /// Free slots that suit any group.
    free: u32,
    lacking: Filtered,
    lacked: BTreeSet<String>,
    leaving: Filtered,
    mute: Filtered,
    mute_since: Option<Timestamp>,
    /// By job: how many of its slots would suit, and how many of those come back.
    held: BTreeMap<JobId, (u32, u32)>,
}

/// TaskManagers that are out.
#[derive(Default)]
struct Filtered {
    taskmanagers: u32,
    slots: u32,
    names: Vec<TaskManagerId>,
}

impl Filtered {
    fn add(&mut self, tm: &TaskManager) {
        self.taskmanagers += 1;
        self.slots += count(tm.free.len());
        if self.names.len() < SHOWN {
            self.names.push(tm.hello.taskmanager.clone());
        }
    }
}

impl Look<'_> {
    /// Why scheduled regions are not placed.
    pub(super) fn slots(&self) -> Option<Cause> {
        let execution = &self.job.execution;
        let scheduled = execution.scheduled();
        let since = self.job.first_scheduled()?;
        let needed = execution.needed_slots();
        let mut groups = self.groups(&needed);
        let mut supply = self.supply(&mut groups);
        let tms = &self.coordinator.tms;
        let claimed = self.job.left_to_others(&self.coordinator.claims);
        let kinds = Kinds::new(&self.job.graph, tms.supply()).any();
        let claimed = tms.supply().free_and_claimed(kinds.iter(), &claimed);
        let claimed = claimed.min(supply.free);
        let promised = tms.promises.to_others(self.job.id());
        let kept = (promised + claimed).min(supply.free);
        supply.free -= kept;
        let short = groups.iter().map(|it| it.needed.saturating_sub(it.free));
        let too_few = count(needed.len()).saturating_sub(supply.free);
        let missing = too_few.max(short.sum());
        let reason = Slots::WaitsForSlots {
            regions: count(scheduled.len()),
            tasks: scheduled.iter().map(|it| execution.size(*it)).sum(),
            needed: count(needed.len()),
            free: supply.free,
            kept,
            missing,
            coming_back: supply.held.values().map(|(_, stopping)| stopping).sum(),
            taskmanagers: self.coordinator.tms.count_all(),
            since,
            until: since + self.job.graph.config().slot_request_timeout,
        };
        let mut because = self.demand(&groups, missing);
        because.extend(supply.filters());
        because.extend(self.gone(&needed));
        because.extend(self.workers());
        because.extend(self.beyond_quota());
        because.extend(self.goes_first(claimed, &kinds));
        because.extend(self.line());
        Some(Cause::new(reason, because))
    }

    /// The groups of these slots of the job.
    fn groups(&self, needed: &[u32]) -> Vec<Group<'_>> {
        let graph = &self.job.graph;
        let group = |(index, group): (u32, &'_ crate::graph::SlotSharingGroup)| {
            let end = group.first_slot + group.slots;
            let before = |bound: u32| needed.partition_point(|slot| *slot < bound);
            let needed = count(before(end) - before(group.first_slot));
            (index, needed)
        };
        let wanted = (0..).zip(graph.groups()).map(group);
        let wanted = wanted.filter(|(_, needed)| *needed > 0);
        let make = |(index, needed): (u32, u32)| {
            let members = graph.vertices().iter();
            let members = members.filter(|vertex| vertex.group == index);
            Group {
                name: &graph.groups()[index as usize].name,
                operators: members.map(|vertex| vertex.operator.as_str()).collect(),
                needed,
                free: 0,
            }
        };
        wanted.map(make).collect()
    }

    /// Looks at every TaskManager.
    fn supply(&self, groups: &mut [Group<'_>]) -> Supply {
        let mut supply = Supply::default();
        if groups.is_empty() {
            return supply;
        }
        // Most TaskManagers offer what others offer, too.
        let mut known: BTreeMap<&[String], Vec<bool>> = BTreeMap::new();
        for (_, tm) in self.coordinator.tms.iter() {
            let offered: &[String] = &tm.hello.operators;
            let suits = known.entry(offered).or_insert_with(|| {
                let offers = |name: &&str| offered.iter().any(|it| it.as_str() == *name);
                let suits = |group: &Group<'_>| group.operators.iter().all(offers);
                groups.iter().map(suits).collect()
            });
            if !suits.contains(&true) {
                let all = groups.iter().flat_map(|group| &group.operators);
                let lacks = |name: &&&str| offered.iter().all(|it| it.as_str() != **name);
                let lacked = all.filter(lacks).map(|name| String::from(*name));
                supply.lacked.extend(lacked);
                supply.lacking.add(tm);
                continue;
            }
            if tm.leaves.is_some() {
                supply.leaving.add(tm);
                continue;
            }
            if !tm.answered {
                supply.mute.add(tm);
                let since = supply.mute_since.unwrap_or(tm.last_heard);
                supply.mute_since = Some(since.min(tm.last_heard));
            }
            let free = tm.free_count();
            supply.free += free;
            for (group, _) in groups.iter_mut().zip(suits).filter(|(_, suits)| **suits) {
                group.free += free;
            }
            for usage in tm.slots.iter().flatten() {
                let (slots, stopping) = supply.held.entry(usage.job).or_default();
                *slots += 1;
                *stopping += u32::from(self.is_stopping(*usage));
            }
        }
        supply
    }

    /// Whether all tasks in a slot were told to stop.
    fn is_stopping(&self, usage: SlotUse) -> bool {
        let Some(job) = self.coordinator.jobs.get(&usage.job) else {
            return false;
        };
        let mut tasks = job.execution.tasks_in(usage.job_slot);
        tasks.all(|task| {
            !job.is_alive(task) || job.execution.state(task) == ExecutionState::Canceling
        })
    }

    /// What of the job itself cannot be served.
    fn demand(&self, groups: &[Group<'_>], missing: u32) -> Vec<Cause> {
        let tms = &self.coordinator.tms;
        if tms.count_all() == 0 {
            return vec![Cause::leaf(Slots::NoTaskmanager)];
        }
        let vertices = self.job.graph.vertices().iter();
        let unknown = vertices.filter(|vertex| !tms.supply().is_offered(&vertex.operator));
        let mut because = first_of(unknown.collect(), |vertex| {
            Cause::leaf(Slots::OperatorNotOffered {
                operator: vertex.operator.clone(),
                vertex: vertex.id.clone(),
            })
        });
        if groups.len() > 1 {
            let short = groups.iter().filter(|group| group.needed > group.free);
            because.extend(first_of(short.collect(), |group| {
                Cause::leaf(Slots::GroupTooSmall {
                    group: String::from(group.name),
                    needed: group.needed,
                    free: group.free,
                })
            }));
        }
        if because.is_empty() && missing == 0 && groups.len() > 1 {
            let groups = count(groups.len());
            because.push(Cause::leaf(Slots::GroupsCompete { groups }));
        }
        because
    }

    /// Slots that were on TaskManagers which are not registered any more.
    fn gone(&self, needed: &[u32]) -> Option<Cause> {
        let tms = &self.coordinator.tms;
        let slots = needed.iter().filter(|slot| {
            let previous = self.job.execution.slots[**slot as usize].previous;
            previous.is_some_and(|at| tms.get(at.tm).is_none())
        });
        let slots = count(slots.count());
        let failures = self.job.exceptions.iter();
        let names = failures.filter_map(|failure| failure.taskmanager.as_ref());
        let names = names.filter(|name| tms.by_id(name).is_none());
        let names: BTreeSet<&TaskManagerId> = names.collect();
        let gone = Filter::TaskmanagersGone {
            slots,
            taskmanagers: count(names.len()),
            names: names.into_iter().take(SHOWN).cloned().collect(),
        };
        (slots > 0).then(|| Cause::leaf(gone))
    }

    fn beyond_quota(&self) -> Option<Cause> {
        let config = &self.coordinator.config;
        let (required, most) = (
            self.job.execution.required_slots(),
            config.max_slots_per_job,
        );
        let beyond = Slots::BeyondQuota { required, most };
        self.job.has_to_shrink(config).then(|| Cause::leaf(beyond))
    }

    fn goes_first(&self, slots: u32, kinds: &BTreeSet<KindKey>) -> Option<Cause> {
        let place = self.job.place_in_line();
        let first = self.coordinator.claims.first_above(place, kinds)?;
        (slots > 0).then(|| {
            Cause::leaf(Slots::GoesFirst {
                slots,
                job: first.job,
                priority: first.priority.0,
                own: place.priority.0,
            })
        })
    }

    fn line(&self) -> Option<Cause> {
        let place = self.job.place_in_line();
        let mut before = self.coordinator.waiting.before(place);
        let first = before.next()?;
        let jobs = 1 + count(before.count());
        Some(Cause::leaf(Slots::BehindInLine { jobs, first }))
    }
}

impl Supply {
    /// What speaks against TaskManagers.
    fn filters(self) -> Vec<Cause> {
        let mut filters = Vec::new();
        if self.lacking.taskmanagers > 0 {
            filters.push(Cause::leaf(Filter::OperatorsLacking {
                taskmanagers: self.lacking.taskmanagers,
                free: self.lacking.slots,
                lacked: count(self.lacked.len()),
                operators: self.lacked.into_iter().take(SHOWN).collect(),
                names: self.lacking.names,
            }));
        }
        if self.leaving.taskmanagers > 0 {
            filters.push(Cause::leaf(Filter::TaskmanagersLeave {
                taskmanagers: self.leaving.taskmanagers,
                slots: self.leaving.slots,
                names: self.leaving.names,
            }));
        }
        if let Some(since) = self.mute_since {
            filters.push(Cause::leaf(Filter::TaskmanagersNotAnswered {
                taskmanagers: self.mute.taskmanagers,
                slots: self.mute.slots,
                since,
                names: self.mute.names,
            }));
        }
        let mut held: Vec<_> = self.held.into_iter().collect();
        held.sort_unstable_by_key(|(job, (slots, _))| (Reverse(*slots), *job));
        let more = held.split_off(held.len().min(SHOWN));
        let by_job = held
            .into_iter()
            .map(|(job, (slots, stopping))| Filter::SlotsHeld {
                job,
                slots,
                stopping,
            });
        filters.extend(by_job.map(Cause::leaf));
        if !more.is_empty() {
            filters.push(Cause::leaf(Filter::SlotsHeldByMore {
                jobs: count(more.len()),
                slots: more.iter().map(|(_, (slots, _))| slots).sum(),
            }));
        }
        filters
    }
}

fn count(things: usize) -> u32 {
    u32::try_from(things).expect("slots and jobs are counted in 32 bits")
}
