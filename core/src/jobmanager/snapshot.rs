//! The whole state of a coordinator, volatile parts included, to be copied: a recording starts from one.
//!
//! The coordinator is serializable; which bytes it becomes is not decided here. This is not durability:
//! only the very program that wrote a copy reads it. What outlives a program is in [`crate::record`].

use super::Coordinator;
use super::archive::Archived;
use super::job::{CancelIntent, Job, JobPhase};
use crate::id::{CheckpointId, CommitId};
use crate::record::{JobRecord, Record, RecordOp, Scale};
use alloc::vec::Vec;

/// What a coordinator knows of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What is durable for certain.
    pub records: Vec<Record>,
    /// The write under way, if there is one: the store has not answered it.
    pub under_way: Option<(CommitId, Vec<RecordOp>)>,
}

impl Coordinator {
    /// The version of the serialized layout. To be raised with every change of a type in the state, and of
    /// what its digest is made of.
    pub const LAYOUT: u32 = 17;

    /// To be called right before the coordinator is serialized: from then on it and the copy do the same,
    /// input by input. Without it they would give TaskManagers that register later other keys.
    pub fn prepare_copy(&mut self) {
        self.tms.order_gaps();
    }

    /// The records from which another coordinator would recover, and the write that may add to them.
    #[must_use]
    pub fn what_is_stored(&self) -> Stored {
        let archived = |archived: &Archived| {
            let savepoints = archived.savepoints.iter().cloned().map(Record::Savepoint);
            let result = Record::Result(archived.result.clone());
            savepoints.chain([result]).collect::<Vec<_>>()
        };
        let results = self.archive.iter().flat_map(archived);
        let jobs = self.jobs.values().flat_map(|job| job.records());
        Stored {
            records: jobs.chain(results).collect(),
            under_way: self.journal.under_way(),
        }
    }
}

impl Job {
    /// What is durable of the job, apart from its result.
    fn records(&self) -> Vec<Record> {
        if matches!(self.phase, JobPhase::Submitting(_)) {
            return Vec::new();
        }
        let mut records = self.own_records(self.checkpoints.mark);
        if self.cancel == CancelIntent::Durable {
            records.push(Record::Cancel(self.id()));
        }
        let rescale = self.rescaling.wanted.iter().cloned();
        records.extend(rescale.map(Record::Rescale));
        if !self.is_over() {
            // Afterwards they belong to its result.
            let savepoints = self.savepoints.records();
            records.extend(savepoints.cloned().map(Record::Savepoint));
        }
        records
    }

    /// What is made durable of a job before it runs.
    pub(super) fn first_records(&self) -> Vec<Record> {
        self.own_records(self.checkpoints.first_mark())
    }

    /// The job's own record, with this parallelism.
    pub(super) fn record(&self, scale: Option<Scale>) -> Record {
        Record::Job(JobRecord {
            graph: self.original.clone(),
            submitted: self.submitted,
            scale,
            began: self.began,
        })
    }

    fn own_records(&self, mark: CheckpointId) -> Vec<Record> {
        let mut records = Vec::from([self.record(self.scale.clone())]);
        if self.graph.config().checkpointing.is_some() {
            records.push(Record::CheckpointMark {
                job: self.id(),
                next: mark,
            });
        }
        let completed = self.checkpoints.completed.iter();
        records.extend(completed.cloned().map(Record::Checkpoint));
        records
    }
}
