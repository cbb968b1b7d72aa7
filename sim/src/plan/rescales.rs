//! Which jobs get another parallelism while they run: as clients want it, or as there are slots.

use crate::plan::job::JobPlan;
use crate::plan::options::{MS, Micros};
use crate::plan::tier::Tier;
use crate::tape::{Decisions, Stream};
use jobmanager_core::id::JobId;
use jobmanager_core::record::Bounds;
use std::collections::BTreeMap;
use std::fmt;

/// How often a client wants another parallelism of a job, at most.
const RESCALES: u64 = 3;
/// From how many numbers a parallelism is drawn.
const SEEDS: u64 = 100;

/// A parallelism that a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescalePlan {
    /// Of this job.
    pub job: JobId,
    /// When it is asked for.
    pub at: Micros,
    /// By the ids of vertices.
    pub bounds: BTreeMap<String, Bounds>,
}

/// Draws what clients want of these jobs, which are there for so long, and lets some of them follow the slots.
pub(crate) fn draw(
    tier: Tier,
    decisions: &mut Decisions,
    jobs: &mut [JobPlan],
    safety: Micros,
) -> Vec<RescalePlan> {
    let mut plans = Vec::new();
    let is_alone = jobs.len() == 1;
    for job in jobs {
        let count = decisions.choice(Stream::Rescales, &[0, 0, 1, 2, RESCALES]);
        let has_range = decisions.chance(Stream::Rescales, 500);
        for number in 0..RESCALES {
            let at = decisions.range(Stream::Rescales, 100 * MS..=safety);
            let seed = decisions.below(Stream::Rescales, SEEDS);
            // There must be room for it.
            let mut others = (0..8).map(|turn| job.rescaled(seed + turn * SEEDS));
            let other = others.find(|other| other.slots() <= job.slots());
            let wanted = number < count && job.takes_checkpoints();
            plans.extend(other.filter(|_| wanted).map(|other| RescalePlan {
                job: job.id,
                at,
                bounds: other.bounds(has_range),
            }));
        }
        follow_the_slots(tier, decisions, job, is_alone);
    }
    plans
}

/// Draws its scheduler and how long that waits. What would take the slots that others need gets no such scheduler.
fn follow_the_slots(tier: Tier, decisions: &mut Decisions, job: &mut JobPlan, is_alone: bool) {
    let follows = decisions.chance(Stream::Rescales, 300);
    let takes_all = decisions.chance(Stream::Rescales, 300);
    let waits: &[&str] = match tier {
        Tier::ControlPlane => &["10 s", "1 s", "30 s"],
        Tier::Dataflow => &["500 ms", "0 s", "2 s"],
    };
    let mut wait = || decisions.choice(Stream::Rescales, waits).to_owned();
    let (cooldown, executing, submission, max_delay) = (wait(), wait(), wait(), wait());
    if !follows || !job.takes_checkpoints() {
        return;
    }
    let takes_all = takes_all && is_alone && job.ends_as_one();
    let mut set = |key: &str, value: String| job.configuration.insert(key.to_owned(), value);
    match takes_all {
        true => set("scheduler-mode", "reactive".to_owned()),
        false => set("jobmanager.scheduler", "adaptive".to_owned()),
    };
    let options = [
        ("executing.cooldown-after-rescaling", cooldown),
        ("executing.resource-stabilization-timeout", executing),
        ("submission.resource-stabilization-timeout", submission),
        ("rescale-trigger.max-delay", max_delay),
    ];
    for (key, value) in options {
        set(&format!("jobmanager.adaptive-scheduler.{key}"), value);
    }
}

impl JobPlan {
    fn takes_checkpoints(&self) -> bool {
        let interval = "execution.checkpointing.interval";
        self.configuration.contains_key(interval)
    }

    /// Whether a vertex that reads anything is at its end with all of its subtasks or none: else it could not shrink
    /// any more, with more subtasks of a source than that has splits.
    fn ends_as_one(&self) -> bool {
        let mut edges = self.edges.iter();
        edges.all(|edge| edge.partitioning.is_all_to_all())
    }

    /// As many subtasks of each vertex, by its id, or up to as many.
    fn bounds(&self, has_range: bool) -> BTreeMap<String, Bounds> {
        let vertices = self.vertices.iter().enumerate();
        let bounds = |upper| Bounds {
            lower: if has_range { 1 } else { upper },
            upper,
        };
        vertices
            .map(|(index, vertex)| (format!("v{index}"), bounds(vertex.parallelism)))
            .collect()
    }
}

impl fmt::Display for RescalePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rescale      {} at {} us to", self.job, self.at)?;
        for (vertex, Bounds { lower, upper }) in &self.bounds {
            write!(f, " {vertex}={lower}..{upper}")?;
        }
        writeln!(f)
    }
}
