//! Jobs that get another parallelism, and what that means for their output.

use crate::marks::Mark;
use crate::world::World;
use jobmanager_core::record::{Record, RecordOp};

impl World {
    /// From now on the concerned parts of jobs go on from a checkpoint, with another parallelism.
    pub(super) fn jobs_are_rescaled(&mut self, ops: &[RecordOp]) {
        for op in ops {
            let RecordOp::Put(Record::Job(job)) = op else {
                continue;
            };
            let Some(rescaled) = self.checks.takes_rescaled(job.graph.id()) else {
                continue;
            };
            self.marks.hit(Mark::Rescaled);
            if rescaled.beside_another {
                self.marks.hit(Mark::RescaledBesideAnother);
            }
            if rescaled.grew {
                self.marks.hit(Mark::GrewWithTheSlots);
            }
            if rescaled.shrank {
                self.marks.hit(Mark::ShrankWithTheSlots);
            }
            if rescaled.again {
                self.marks.hit(Mark::RescaledAgain);
            }
            if let Some(oracle) = &mut self.oracle {
                let offsets = self.checks.began(rescaled.plan.id);
                let verdict = oracle.rescale(&rescaled.plan, &offsets, &rescaled.concerned);
                self.verdict(verdict);
            }
        }
    }
}
