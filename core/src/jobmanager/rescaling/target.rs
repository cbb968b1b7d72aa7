//! Which parallelism a job is to have with the slots that there are, and when it changes.

use super::{PAUSE, Stage};
use crate::fitting::{fitting, least_slots};
use crate::jobmanager::claims::Claimed;
use crate::jobmanager::cx::Cx;
use crate::jobmanager::job::Job;
use crate::jobmanager::kinds::operators;
use crate::jobmanager::supply::KindKey;
use crate::record::Bounds;
use crate::time::Timestamp;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Slots that a job has or can get.
struct Room {
    /// By slot sharing group.
    usable: Vec<u32>,
    /// Together.
    slots: u32,
}

impl Job {
    /// The slots for it are others than before.
    pub(in crate::jobmanager) fn look_soon_for_parallelism(&mut self, now: Timestamp) {
        if let Stage::Idle { next } = &mut self.rescaling.stage {
            *next = now;
        }
    }

    /// Looks whether there is another parallelism for it, and starts to change to that one, once the time for it has
    /// come.
    pub(super) fn look_for_parallelism(&mut self, cx: &mut Cx<'_>) {
        if !self.is_elastic() {
            return;
        }
        let bounds = self.bounds();
        let mut vertices = self.graph.vertices().iter().zip(&bounds);
        let is_full = vertices.all(|(vertex, bounds)| vertex.parallelism == bounds.upper);
        let waits = !self.execution.scheduled().is_empty();
        let restarts = !self.execution.restarting().is_empty();
        let is_too_large = self.exceeds_quota(cx.config);
        if is_full && self.is_whole() && !is_too_large {
            self.rescaling.stable = None;
            self.rescaling.problem = None;
            return;
        }
        let target = match self.fitting(cx, &bounds) {
            Ok(target) => target,
            Err(problem) => {
                self.rescaling.stable = None;
                return self.rescale_later(cx, problem);
            }
        };
        self.rescaling.stage = Stage::Idle {
            next: cx.now + PAUSE,
        };
        self.rescaling.problem = None;
        if target == self.graph.parallelism() {
            self.rescaling.stable = None;
            return;
        }
        let stable = self.rescaling.stable.take();
        let since = stable.filter(|(last, _)| *last == target);
        let since = since.map_or(cx.now, |(_, since)| since);
        let config = &self.graph.config().rescaling;
        let is_most = target
            .iter()
            .zip(&bounds)
            .all(|(it, bounds)| *it == bounds.upper);
        let due = if !self.is_within(&bounds) || is_too_large {
            cx.now
        } else if restarts {
            // The delay before a restart is kept.
            cx.now + PAUSE
        } else if self.is_left() {
            cx.now
        } else if waits {
            since + config.waiting_stabilization
        } else {
            let pause = self.rescaling.last.map(|last| last + config.cooldown);
            let stable = match is_most {
                true => since,
                false => since + config.executing_stabilization,
            };
            pause.map_or(stable, |pause| pause.max(stable))
        };
        if due <= cx.now {
            return self.prepare_rescaling(cx, &target);
        }
        self.rescaling.stable = Some((target, since));
        self.rescaling.stage = Stage::Idle {
            next: due.min(cx.now + PAUSE),
        };
    }

    /// The parallelism that its slots and the free ones allow, or what is missing. It does not grow into slots that jobs
    /// of a higher priority claim; but to go on as it was, it may use them.
    pub(super) fn fitting(&self, cx: &Cx<'_>, bounds: &[Bounds]) -> Result<Vec<u32>, String> {
        let vertices = self.graph.vertices().iter().zip(bounds);
        let as_it_was = vertices.map(|(vertex, bounds)| Bounds {
            lower: bounds.lower,
            upper: bounds.upper.min(vertex.parallelism),
        });
        let claimed = cx.claims.above(self.place_in_line());
        let goes_on = self.has_run && !self.is_whole() && self.is_within(bounds);
        let (Room { usable, slots }, bounds) = match goes_on && !claimed.is_empty() {
            true => (self.room(cx, &Claimed::default()), as_it_was.collect()),
            false => (self.room(cx, &claimed), bounds.to_vec()),
        };
        let slots = slots.min(self.quota(cx.config));
        fitting(&self.graph, &bounds, &usable, slots).ok_or_else(|| {
            let needed = least_slots(&self.graph, &bounds);
            format!("at least {needed} slots are needed, and there are {slots} for it")
        })
    }

    /// Whether every vertex has a parallelism between these bounds.
    fn is_within(&self, bounds: &[Bounds]) -> bool {
        let mut vertices = self.graph.vertices().iter().zip(bounds);
        vertices.all(|(vertex, bounds)| bounds.contain(vertex.parallelism))
    }

    /// Whether all of it runs where it stays, or has finished.
    fn is_whole(&self) -> bool {
        self.execution.is_deployed() && !self.is_left()
    }

    /// The slots that the job has and those that are free and not claimed, of TaskManagers that suit and stay.
    fn room(&self, cx: &Cx<'_>, claimed: &Claimed) -> Room {
        let supply = cx.tms.supply();
        let free = supply.free_by_kind(claimed);
        let mut held: BTreeMap<KindKey, u32> = BTreeMap::new();
        let own = self.execution.slots.iter().filter_map(|slot| slot.at);
        let own = own.filter_map(|at| cx.tms.get(at.tm));
        for tm in own.filter(|tm| tm.leaves.is_none()) {
            *held.entry(tm.kind).or_default() += 1;
        }
        let groups = 0..u32::try_from(self.graph.groups().len()).expect("fewer than vertices");
        let suits = |kind: &KindKey, group| supply.suits(*kind, operators(&self.graph, group));
        let usable = |group| {
            let all = free.iter().chain(&held);
            let suitable = all.filter(|(kind, _)| suits(kind, group));
            suitable.map(|(_, count)| count).sum()
        };
        let of_any = |slots: &BTreeMap<KindKey, u32>| -> u32 {
            let any = slots.iter();
            let any = any.filter(|(kind, _)| groups.clone().any(|group| suits(kind, group)));
            any.map(|(_, count)| count).sum()
        };
        let kept = cx.tms.promises.to_others(self.id());
        Room {
            slots: of_any(&held) + of_any(&free).saturating_sub(kept),
            usable: groups.clone().map(usable).collect(),
        }
    }
}
