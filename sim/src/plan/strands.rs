//! Strands: short pipelines beside those that a job has, whose subtasks exchange nothing with each other. Every
//! subtask of one is a region of its own, which completes checkpoints, fails and ends for itself.

use crate::plan::job::{EdgePlan, JobPlan, OperatorPlan, VertexPlan};
use crate::plan::options::{MS, Micros};
use crate::plan::tier::Tier;
use crate::tape::{Decisions, Stream};
use jobmanager_core::graph::Partitioning;

/// What a strand is like.
struct Strand {
    width: u32,
    /// How many rows each of its sources makes, if it ends.
    count: Option<u64>,
    pause: Micros,
    salt: Option<u64>,
    group: u32,
}

/// Gives some jobs a strand.
pub(crate) fn add(tier: Tier, decisions: &mut Decisions, jobs: &mut [JobPlan]) {
    let counts = match tier {
        Tier::ControlPlane => [100, 0, 1_000],
        Tier::Dataflow => [20, 0, 100],
    };
    for job in jobs {
        let wanted = decisions.chance(Stream::Regions, 250);
        let width = decisions.choice(Stream::Regions, &[2, 1, 3, 4]);
        let count = decisions.choice(Stream::Regions, &counts);
        // One that ends in a job that does not: the rest goes on without it.
        let ends = decisions.chance(Stream::Regions, 300);
        let pause = decisions.choice(Stream::Regions, &[50 * MS, 10 * MS, 200 * MS]);
        let maps = decisions.chance(Stream::Regions, 300);
        let salt = decisions.below(Stream::Regions, 100);
        let apart = decisions.chance(Stream::Regions, 300);
        if wanted {
            let strand = Strand {
                width,
                count: (ends || job.is_bounded()).then_some(count),
                pause,
                salt: maps.then_some(salt),
                group: if apart { job.groups() } else { 0 },
            };
            job.gets(&strand);
        }
    }
}

impl JobPlan {
    fn groups(&self) -> u32 {
        let groups = self.vertices.iter().map(|vertex| vertex.group);
        groups.max().map_or(0, |last| last + 1)
    }

    fn gets(&mut self, strand: &Strand) {
        let source = OperatorPlan::Source {
            splits: strand.width,
            count: strand.count,
            keys: 3,
            batch: 5,
            pause: strand.pause,
        };
        let map = strand.salt.map(|salt| OperatorPlan::Map { salt });
        let operators = [Some(source), map, Some(OperatorPlan::Sink)];
        let mut last = None;
        for operator in operators.into_iter().flatten() {
            let this = u32::try_from(self.vertices.len()).expect("a handful of vertices");
            self.vertices.push(VertexPlan {
                operator,
                parallelism: strand.width,
                max_parallelism: None,
                group: strand.group,
            });
            let edge = last.replace(this).map(|before| EdgePlan {
                source: before,
                target: this,
                partitioning: Partitioning::Forward,
            });
            self.edges.extend(edge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::forge::plan;
    use crate::model::Plans;

    #[test]
    fn every_subtask_of_a_strand_is_a_region() {
        let mut job = plan();
        job.gets(&Strand {
            width: 2,
            count: Some(1),
            pause: MS,
            salt: Some(1),
            group: 0,
        });
        let plans = Plans::new(&[job.clone()]);
        assert_eq!(plans.regions(job.id), [0, 0, 1, 2, 1, 2, 1, 2]);
        assert!(!job.is_bounded(), "the rest of the job goes on");
    }

    #[test]
    fn the_quiet_choice_adds_nothing() {
        let mut jobs = [plan()];
        let mut quiet = Decisions::from_tape(&[]);
        add(Tier::Dataflow, &mut quiet, &mut jobs);
        assert_eq!(jobs, [plan()]);
    }
}
