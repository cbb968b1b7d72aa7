//! The read views, made from the coordinator's facts.

use super::Coordinator;
use super::archive::Archived;
use super::job::Job;
use super::taskmanagers::{SlotUse, TaskManager};
use super::view::{
    CheckpointsDetails, DemandState, ExceptionEntry, JobDetails, JobLine, JobSummary, Outliving,
    Overview, Parallelism, SlotCounts, SubtaskDetails, SubtaskLine, TaskManagerDetails,
    VertexDetails, VertexParallelism,
};
use crate::digest::Digest;
use crate::graph::JobVertex;
use crate::id::{
    Attempt, CheckpointId, JobId, SlotIndex, SubtaskIndex, TaskManagerId, TriggerId, VertexIndex,
};
use crate::record::SavepointRecord;
use crate::state::JobStatus;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Deref;

impl Coordinator {
    /// The cluster in one line.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let jobs = u32::try_from(self.jobs.len()).expect("the number of jobs is bounded");
        let slots = self.slots();
        Overview {
            taskmanagers: slots.taskmanagers,
            slots_total: slots.total,
            slots_free: slots.free,
            jobs_running: jobs - self.over,
            jobs_finished: self.archive.count(JobStatus::Finished),
            jobs_canceled: self.archive.count(JobStatus::Canceled),
            jobs_failed: self.archive.count(JobStatus::Failed),
            store_problem: self.journal.problem().map(String::from),
        }
    }

    /// The slots of all registered TaskManagers.
    #[must_use]
    pub fn slots(&self) -> SlotCounts {
        SlotCounts {
            taskmanagers: self.tms.count_all(),
            total: self.tms.slots(),
            free: self.tms.free_slots(),
            kept: self.tms.promises.sum(),
        }
    }

    /// The slots that are taken, each with its TaskManager and its job, by the TaskManager's name.
    pub fn allocations(&self) -> impl Iterator<Item = (&TaskManagerId, SlotIndex, JobId)> {
        self.tms.iter().flat_map(|(_, tm)| {
            let slots = (0..).map(SlotIndex).zip(&tm.slots);
            slots.filter_map(|(slot, usage)| Some((&tm.hello.taskmanager, slot, (*usage)?.job)))
        })
    }

    /// The jobs that have not ended.
    fn live(&self) -> impl Iterator<Item = &Job> {
        let jobs = self.jobs.values().map(Deref::deref);
        jobs.filter(|job| self.archive.get(job.id()).is_none())
    }

    /// Every job that is remembered: those that have not ended, then those that have, each by id.
    pub fn jobs(&self) -> impl Iterator<Item = JobSummary> {
        let ended = self.archive.iter().map(Archived::summary);
        self.live().map(Job::summary).chain(ended)
    }

    /// As [`Self::jobs`], with less of each.
    pub fn lines(&self) -> impl Iterator<Item = JobLine> {
        let ended = self.archive.iter().map(Archived::line);
        self.live().map(Job::line).chain(ended)
    }

    /// One job.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<JobDetails> {
        if let Some(archived) = self.archive.get(id) {
            return Some(archived.details());
        }
        self.jobs.get(&id).map(|job| job.details())
    }

    /// The subtasks of one vertex of a job that has not ended.
    #[must_use]
    pub fn subtasks(&self, id: JobId, vertex: VertexIndex) -> Option<Vec<SubtaskDetails>> {
        let job = self
            .jobs
            .get(&id)
            .filter(|_| self.archive.get(id).is_none())?;
        if vertex.0 as usize >= job.graph.vertices().len() {
            return None;
        }
        let positions = job.execution.layout().positions(vertex);
        Some(
            (0..)
                .zip(positions)
                .map(|(subtask, position)| self.subtask(job, subtask, position))
                .collect(),
        )
    }

    /// All subtasks of a job that has not ended, vertex by vertex.
    pub fn subtask_lines(&self, id: JobId) -> Option<impl Iterator<Item = SubtaskLine>> {
        let live = self.archive.get(id).is_none();
        let job = self.jobs.get(&id).filter(|_| live)?;
        let positions = 0..job.execution.subtasks();
        Some(positions.map(|position| self.subtask_line(job, position).0))
    }

    /// A subtask, and on which TaskManager it is.
    fn subtask_line(&self, job: &Job, position: u32) -> (SubtaskLine, Option<&TaskManager>) {
        let region = job.execution.region(job.execution.layout().of(position));
        let slot = job
            .is_alive(position)
            .then(|| job.execution.location(position))
            .flatten();
        let at = slot.and_then(|at| Some((self.tms.get(at.tm)?, at.slot)));
        let line = SubtaskLine {
            state: job.execution.state(position),
            attempt: region.attempt.unwrap_or(Attempt {
                epoch: self.epoch,
                number: 0,
            }),
            end_of_data: job.execution.is_end_of_data(position),
            slot: at.map(|(_, slot)| slot),
        };
        (line, at.map(|(tm, _)| tm))
    }

    fn subtask(&self, job: &Job, subtask: u32, position: u32) -> SubtaskDetails {
        let (line, tm) = self.subtask_line(job, position);
        let tm = tm.map(|tm| tm.hello.taskmanager.clone());
        SubtaskDetails {
            subtask: SubtaskIndex(subtask),
            state: line.state,
            attempt: line.attempt,
            end_of_data: line.end_of_data,
            location: tm.zip(line.slot),
        }
    }

    /// How many subtasks the vertices of a job that has not ended have, and are to have.
    #[must_use]
    pub fn parallelism(&self, id: JobId) -> Option<Parallelism> {
        let job = self.jobs.get(&id)?;
        let vertices = job.graph.vertices().iter().zip(job.bounds());
        let vertices = vertices.map(|(vertex, bounds)| VertexParallelism {
            id: vertex.id.clone(),
            operator_id: vertex.operator_id,
            current: vertex.parallelism,
            bounds,
        });
        Some(Parallelism {
            vertices: vertices.collect(),
            is_changing: job.rescaling.is_under_way(),
            problem: job.rescaling.problem.clone(),
        })
    }

    /// The checkpoints of one job.
    #[must_use]
    pub fn checkpoints(&self, id: JobId) -> Option<CheckpointsDetails> {
        if let Some(archived) = self.archive.get(id) {
            return Some(archived.checkpoints(self.outliving(id)));
        }
        let job = self.jobs.get(&id)?;
        Some(job.checkpoints.details(self.config.checkpoint_history))
    }

    /// The checkpoint that outlives a job, once that has ended.
    #[must_use]
    pub fn outliving(&self, id: JobId) -> Option<Outliving> {
        let archived = self.archive.get(id)?;
        // Until it is removed, it has its checkpoints.
        let job = self.jobs.get(&id);
        let coming = job.and_then(|job| job.outliving(&self.config.checkpoint_storage));
        coming.or_else(|| archived.outliving())
    }

    /// Of each subtask of a vertex the size of its snapshot in a retained checkpoint of a job that has not ended, in
    /// bytes; `None` for a subtask that took no part in it.
    #[must_use]
    pub fn snapshot_sizes(
        &self,
        id: JobId,
        checkpoint: CheckpointId,
        vertex: VertexIndex,
    ) -> Option<Vec<Option<u64>>> {
        let live = self.archive.get(id).is_none();
        let job = self.jobs.get(&id).filter(|_| live)?;
        let mut retained = job.checkpoints.completed.iter();
        let record = retained.find(|record| record.id == checkpoint)?;
        job.graph.vertices().get(vertex.0 as usize)?;
        let layout = job.execution.layout();
        let size = |position: u32| {
            let snapshot = record.region(layout.of(position))?;
            let took_part = snapshot.checkpoint == checkpoint;
            took_part.then(|| record.states[position as usize].size())
        };
        Some(layout.positions(vertex).map(size).collect())
    }

    /// The failures that one job has seen, the newest first.
    #[must_use]
    pub fn exceptions(&self, id: JobId) -> Option<Vec<ExceptionEntry>> {
        if let Some(archived) = self.archive.get(id) {
            return Some(archived.exceptions.clone());
        }
        self.jobs
            .get(&id)
            .map(|job| job.exceptions.iter().cloned().collect())
    }

    /// Every registered TaskManager, by name.
    pub fn taskmanagers(&self) -> impl Iterator<Item = TaskManagerDetails> {
        self.tms.iter().map(|(_, tm)| self.taskmanager_details(tm))
    }

    /// One registered TaskManager.
    #[must_use]
    pub fn taskmanager(&self, id: &TaskManagerId) -> Option<TaskManagerDetails> {
        let tm = self.tms.get(self.tms.by_id(id)?)?;
        Some(self.taskmanager_details(tm))
    }

    /// The data exchange address of a registered TaskManager.
    #[must_use]
    pub fn data_address(&self, id: &TaskManagerId) -> Option<&str> {
        let tm = self.tms.get(self.tms.by_id(id)?)?;
        Some(&tm.hello.data_address)
    }

    fn taskmanager_details(&self, tm: &TaskManager) -> TaskManagerDetails {
        let taken = (0..)
            .map(SlotIndex)
            .zip(&tm.slots)
            .filter_map(|(slot, usage)| Some((slot, (*usage)?)));
        let tasks = |usage: SlotUse| {
            let job = self.jobs.get(&usage.job);
            job.map_or(0, |job| job.execution.slots[usage.job_slot as usize].tasks)
        };
        let allocations: Vec<_> = taken
            .map(|(slot, usage)| (slot, usage.job, tasks(usage)))
            .collect();
        TaskManagerDetails {
            id: tm.hello.taskmanager.clone(),
            session: tm.session,
            incarnation: tm.hello.incarnation,
            data_address: tm.hello.data_address.clone(),
            last_heard: tm.last_heard,
            slots: tm.hello.slots,
            free_slots: tm.free_count(),
            answers: tm.answered,
            leaves: tm.leaves.is_some(),
            tasks: allocations.iter().map(|(_, _, tasks)| tasks).sum(),
            hardware: tm.hello.hardware,
            allocations,
        }
    }

    /// A savepoint that a client asked for, as far as it is durable.
    #[must_use]
    pub fn savepoint(&self, job: JobId, trigger: TriggerId) -> Option<&SavepointRecord> {
        if let Some(archived) = self.archive.get(job) {
            return archived.savepoint(trigger).map(Deref::deref);
        }
        let wish = self.jobs.get(&job)?.savepoints.get(trigger)?;
        wish.is_durable.then_some(&*wish.record)
    }

    /// What has become of a checkpoint that a client asked this coordinator for, as far as it is remembered: until
    /// the job has ended.
    #[must_use]
    pub fn demand(&self, job: JobId, trigger: TriggerId) -> Option<DemandState> {
        self.jobs.get(&job)?.demands.state(trigger)
    }

    /// The savepoints of a job that are remembered, those that have ended first.
    #[must_use]
    pub fn savepoints(&self, job: JobId) -> Vec<&SavepointRecord> {
        if let Some(archived) = self.archive.get(job) {
            return archived.savepoints.iter().map(Deref::deref).collect();
        }
        let job = self.jobs.get(&job);
        let records = job.into_iter().flat_map(|job| job.savepoints.records());
        records.map(Deref::deref).collect()
    }

    /// A 64-bit digest of the whole state; equal states, equal digests, on every platform.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let state = (
            &self.config,
            self.epoch,
            self.now,
            &self.tms,
            &self.jobs,
            &self.waiting,
        );
        Digest::of(&(
            state,
            &self.archive,
            &self.journal,
            &self.timers,
            &self.workers,
            self.stepped_down,
        ))
    }
}

impl Job {
    fn line(&self) -> JobLine {
        JobLine {
            id: self.id(),
            status: self.status(),
            tasks: self.execution.total_counts(),
            restarts: self.restarts,
        }
    }

    fn summary(&self) -> JobSummary {
        let JobLine {
            id, status, tasks, ..
        } = self.line();
        JobSummary {
            id,
            name: String::from(self.graph.name()),
            status,
            started: self.submitted,
            ended: None,
            last_modified: self.last_modified,
            tasks,
        }
    }

    fn details(&self) -> JobDetails {
        let vertex = |(index, vertex): (u32, &JobVertex)| VertexDetails {
            operator_id: vertex.operator_id,
            name: vertex.name.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            started: self.execution.deployed[index as usize],
            tasks: self.execution.counts(VertexIndex(index)),
        };
        JobDetails {
            summary: self.summary(),
            timestamps: self.timestamps,
            vertices: (0..).zip(self.graph.vertices()).map(vertex).collect(),
            graph: Some(self.graph.clone()),
            waiting: self.waiting.clone(),
            restarts: self.restarts,
            failure: None,
        }
    }
}
