//! Of what checkpoints are made: regions complete theirs independently, and a record has of each the latest.

use super::oracle::Failure;
use super::{Ack, Checks, History, Part, Verdict, ensure};
use crate::world::event::Instance;
use jobmanager_core::id::{Attempt, AttemptId, CheckpointId, JobId, RegionIndex, TaskId};
use jobmanager_core::message::SubtaskState;
use jobmanager_core::record::{CheckpointRecord, RegionSnapshot};
use std::collections::{BTreeMap, BTreeSet};

impl Checks {
    /// The last checkpoint of every region of a job that was ever durable.
    pub(crate) fn progress(&self, job: JobId) -> Vec<Option<CheckpointId>> {
        let history = self.jobs.get(&job);
        let regions = history.map_or(0, History::regions);
        let last = |region| history.and_then(|history| history.last_completed(region));
        (0..regions).map(last).collect()
    }

    /// The last of a job's checkpoints, if every region has completed one since, or has nothing left of which
    /// it could take one.
    pub(crate) fn latest_since(
        &self,
        job: JobId,
        since: &[Option<CheckpointId>],
    ) -> Option<CheckpointId> {
        let history = self.jobs.get(&job)?;
        let last = self.progress(job);
        let goes_on = |region: usize| {
            let before = since.get(region).copied().flatten();
            last[region] > before || history.is_final(region)
        };
        let all = (0..last.len()).all(goes_on);
        last.iter().copied().max().flatten().filter(|_| all)
    }

    /// Whether a task's region has ever completed a checkpoint.
    pub(crate) fn is_completed(&self, job: JobId, task: TaskId, checkpoint: CheckpointId) -> bool {
        let history = self.jobs.get(&job);
        history.is_some_and(|history| {
            let region = history.region(task);
            region.is_some_and(|region| history.completed.contains(&(region, checkpoint)))
        })
    }

    /// Whether all regions of a job have ever completed a checkpoint.
    pub(crate) fn all_completed(&self, job: JobId, checkpoint: CheckpointId) -> bool {
        let history = self.jobs.get(&job);
        history.is_some_and(|history| {
            let mut regions = 0..history.regions();
            regions.all(|region| history.completed.contains(&(region, checkpoint)))
        })
    }

    /// Whether a coordinator gave a checkpoint of a task's region up.
    pub(crate) fn is_aborted(&self, job: JobId, task: TaskId, checkpoint: CheckpointId) -> bool {
        let history = self.jobs.get(&job);
        history.is_some_and(|history| {
            let region = history.region(task);
            region.is_some_and(|region| history.aborted.contains(&(region, checkpoint)))
        })
    }

    /// How many tasks of the same region have not acknowledged a checkpoint yet, if any has.
    pub(crate) fn missing_acknowledgements(
        &self,
        attempt: AttemptId,
        checkpoint: CheckpointId,
    ) -> Option<usize> {
        let history = self.jobs.get(&attempt.job)?;
        let acks = history.acks.get(&checkpoint)?;
        let members = history.members(history.region(attempt.task)?);
        Some(members.filter(|task| !acks.contains_key(task)).count())
    }

    /// The tasks of a region, that of this task.
    pub(crate) fn region_of(&self, job: JobId, task: TaskId) -> BTreeSet<TaskId> {
        let history = self.jobs.get(&job);
        let region = history.and_then(|history| Some((history, history.region(task)?)));
        region.map_or(BTreeSet::new(), |(history, region)| {
            history.members(region).collect()
        })
    }

    /// The regions of which an order names tasks: all of them if it names none.
    pub(crate) fn named(&self, job: JobId, tasks: &[TaskId]) -> BTreeSet<usize> {
        let history = self.jobs.get(&job);
        history.map_or(BTreeSet::new(), |history| history.named(tasks))
    }

    /// All tasks in the regions of these.
    pub(crate) fn members_of(&self, job: JobId, tasks: &[TaskId]) -> Vec<TaskId> {
        let Some(history) = self.jobs.get(&job) else {
            return Vec::new();
        };
        let named = history.named(tasks);
        let members = history.tasks.iter().filter(|task| {
            let region = history.region(**task);
            region.is_some_and(|region| named.contains(&region))
        });
        members.copied().collect()
    }

    /// Whether a task goes on from a snapshot after which there is nothing to read.
    pub(crate) fn restores_the_end(&self, attempt: AttemptId, from: CheckpointId) -> bool {
        let history = self.jobs.get(&attempt.job);
        history.is_some_and(|history| {
            let region = history.region(attempt.task);
            let snapshot = region.and_then(|region| history.latest_snapshot(region));
            snapshot.is_some_and(|snapshot| snapshot.checkpoint == from && snapshot.is_final)
        })
    }

    /// The record of a job's latest checkpoint has this id.
    pub(crate) fn latest_record(&self, job: JobId) -> Option<CheckpointId> {
        let latest = self.jobs.get(&job)?.latest.as_ref();
        latest.map(|latest| latest.id)
    }

    /// The records of checkpoints that the store has.
    pub(crate) fn retained(&self, job: JobId) -> impl Iterator<Item = CheckpointId> {
        let history = self.jobs.get(&job);
        let retained = history.into_iter().flat_map(|history| &history.retained);
        retained.map(|(id, _)| *id)
    }

    /// The checkpoints whose files the store's records need.
    pub(crate) fn referenced(&self, job: JobId) -> BTreeSet<CheckpointId> {
        let history = self.jobs.get(&job);
        let retained = history.into_iter().flat_map(|history| &history.retained);
        retained
            .flat_map(|(_, record)| record.references())
            .collect()
    }

    /// Whether a record replaces another one of its id.
    pub(crate) fn is_written_again(&self, record: &CheckpointRecord) -> bool {
        let history = self.jobs.get(&record.job);
        let before = history.and_then(|history| history.retained.get(&record.id));
        before.is_some_and(|before| **before != *record)
    }

    /// Whether a record has a new snapshot of a checkpoint that another region has completed before.
    pub(crate) fn completes_later(&self, record: &CheckpointRecord) -> bool {
        self.jobs.get(&record.job).is_some_and(|history| {
            let mut new = history.new_in(record).into_iter();
            new.any(|(_, snapshot)| {
                let mut completed = history.completed.iter();
                completed.any(|(_, id)| *id == snapshot.checkpoint)
            })
        })
    }
}

impl History {
    pub(super) fn region(&self, task: TaskId) -> Option<usize> {
        self.region_of.get(&task).copied()
    }

    /// How many regions there are.
    pub(super) fn regions(&self) -> usize {
        self.region_of.values().max().map_or(0, |last| last + 1)
    }

    /// The tasks of a region.
    pub(super) fn members(&self, region: usize) -> impl Iterator<Item = TaskId> {
        let tasks = self.tasks.iter().copied();
        tasks.filter(move |task| self.region(*task) == Some(region))
    }

    pub(super) fn named(&self, tasks: &[TaskId]) -> BTreeSet<usize> {
        if tasks.is_empty() {
            return (0..self.regions()).collect();
        }
        tasks.iter().filter_map(|task| self.region(*task)).collect()
    }

    /// The regions that an order concerns. One that names no tasks is to all of them: only to those of a job
    /// that is one region.
    pub(super) fn concerned(
        &self,
        job: JobId,
        tasks: &[TaskId],
    ) -> Result<BTreeSet<usize>, Failure> {
        ensure(
            !tasks.is_empty() || self.regions() <= 1,
            "a_region_is_told_only_of_its_own_checkpoints",
            || format!("job {job}: all regions are told at once"),
        )?;
        Ok(self.named(tasks))
    }

    /// The last checkpoint of a region that was ever durable.
    pub(super) fn last_completed(&self, region: usize) -> Option<CheckpointId> {
        let of_region = (region, CheckpointId(0))..=(region, CheckpointId(u64::MAX));
        self.completed
            .range(of_region)
            .next_back()
            .map(|(_, id)| *id)
    }

    /// The last snapshot of a region in the latest record.
    pub(super) fn latest_snapshot(&self, region: usize) -> Option<RegionSnapshot> {
        self.latest.as_ref()?.region(index(region))
    }

    /// Whether a region has nothing left to snapshot.
    pub(super) fn is_final(&self, region: usize) -> bool {
        let latest = self.latest_snapshot(region);
        latest.is_some_and(|latest| latest.is_final)
    }

    /// Whether an attempt is one of those of which a checkpoint is made, or was started from it.
    pub(super) fn took_part(
        &self,
        task: TaskId,
        attempt: Attempt,
        checkpoint: CheckpointId,
    ) -> bool {
        let restored = self.restored.get(&(task, attempt)).copied().flatten();
        self.is_made_of(task, attempt, checkpoint) || restored == Some(checkpoint)
    }

    /// Whether a checkpoint of the task's region is made of what this attempt acknowledged.
    pub(super) fn is_made_of(&self, task: TaskId, attempt: Attempt, id: CheckpointId) -> bool {
        let acks = self
            .region(task)
            .and_then(|region| self.acknowledged.get(&(region, id)));
        let ack = acks.and_then(|acks| acks.get(&task));
        ack.is_some_and(|ack| ack.attempt == attempt)
    }

    /// The snapshots in a record that were never durable before.
    pub(super) fn new_in(&self, record: &CheckpointRecord) -> Vec<(usize, RegionSnapshot)> {
        let regions = record.regions.iter().enumerate();
        let snapshots = regions.filter_map(|(region, snapshot)| Some((region, (*snapshot)?)));
        snapshots
            .filter(|(region, snapshot)| !self.completed.contains(&(*region, snapshot.checkpoint)))
            .collect()
    }

    /// The states of a region's tasks in a record.
    fn states_in<'a>(
        &'a self,
        record: &'a CheckpointRecord,
        region: usize,
    ) -> BTreeMap<TaskId, &'a SubtaskState> {
        let tasks = self.tasks.iter().copied().zip(&record.states);
        let tasks = tasks.filter(|(task, _)| self.region(*task) == Some(region));
        tasks.collect()
    }

    /// A record may be written if each of its regions is as in the record before, or new and complete: when
    /// its last acknowledgement came, all and only the current attempts of its tasks had acknowledged it and
    /// none of them had ended.
    pub(super) fn completes(&mut self, instance: Instance, record: &CheckpointRecord) -> Verdict {
        let name = "a_checkpoint_completes_when_every_current_attempt_acknowledged";
        let (job, id) = (record.job, record.id);
        let ids = record.regions.iter();
        let ids = ids.map(|snapshot| Some((*snapshot)?.checkpoint)).collect();
        let repeated = !self.ordered.insert((instance, ids));
        let past = self.is_of_the_past(Some(id));
        if repeated || past || self.retained.get(&id).is_some_and(|it| **it == *record) {
            return Ok(());
        }
        ensure(record.references().last() == Some(&id), name, || {
            format!("job {job} {record:?}")
        })?;
        for region in 0..self.regions() {
            let snapshot = record.region(index(region));
            let part = snapshot.map(|snapshot| (region, snapshot.checkpoint));
            let new = part.filter(|part| !self.completed.contains(part));
            match new.zip(snapshot) {
                Some((part, _)) if self.is_of_the_past(Some(part.1)) => {}
                Some((part, snapshot)) => self.is_complete(record, part, snapshot)?,
                None => self.is_as_before(record, region)?,
            }
        }
        Ok(())
    }

    fn is_complete(
        &self,
        record: &CheckpointRecord,
        part: Part,
        snapshot: RegionSnapshot,
    ) -> Verdict {
        let job = record.job;
        ensure(
            !self.aborted.contains(&part),
            "an_aborted_checkpoint_never_completes",
            || format!("job {job} {part:?}"),
        )?;
        let (region, _) = part;
        let acks = self.acknowledged.get(&part);
        let states = acks.map(|acks| {
            let states = acks.iter().map(|(task, ack)| (*task, &ack.state));
            states.collect::<BTreeMap<_, _>>()
        });
        let same = acks.is_some_and(|acks| {
            let end_of_data = acks.values().all(|ack| ack.end_of_data);
            let attempt = acks
                .values()
                .all(|ack| Some(ack.attempt) == snapshot.attempt);
            let is_final = end_of_data || self.savepoints.is_last(snapshot.checkpoint);
            attempt && is_final == snapshot.is_final
        });
        ensure(
            same && states == Some(self.states_in(record, region)),
            "a_checkpoint_completes_when_every_current_attempt_acknowledged",
            || format!("job {job} {part:?} of {record:?}: {acks:?}"),
        )
    }

    /// A region of which a record has nothing new is as it was.
    fn is_as_before(&self, record: &CheckpointRecord, region: usize) -> Verdict {
        let latest = self.latest.as_ref();
        let snapshot = record.region(index(region));
        let states = self.states_in(record, region);
        let nothing = |state: &&SubtaskState| state.handles().is_empty();
        let same = match latest.filter(|_| snapshot.is_some()) {
            Some(latest) => self.states_in(latest, region) == states,
            None => states.values().all(nothing),
        };
        ensure(
            same && snapshot == self.latest_snapshot(region),
            "a_checkpoint_keeps_what_other_regions_have_completed",
            || {
                format!(
                    "job {} region {region} of {record:?}: {latest:?}",
                    record.job
                )
            },
        )
    }

    /// The acknowledgement of every task of a region, if every current attempt has acknowledged and none has
    /// ended.
    pub(super) fn current_acknowledgements(
        &self,
        region: usize,
        id: CheckpointId,
    ) -> Option<BTreeMap<TaskId, Ack>> {
        let acks = self.acks.get(&id)?;
        let of = |task: TaskId| {
            let mut acks = acks.get(&task)?.iter();
            let ack = acks.find(|ack| self.is_current(task, ack.attempt))?;
            let lost = self.lost.contains(&(task, ack.attempt));
            (!lost).then_some(ack)
        };
        // Most often some are missing: then nothing is copied.
        if self.members(region).any(|task| of(task).is_none()) {
            return None;
        }
        let members = self.members(region);
        members
            .map(|task| Some((task, of(task)?.clone())))
            .collect()
    }
}

fn index(region: usize) -> RegionIndex {
    RegionIndex(u32::try_from(region).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::checks::forge::*;
    use crate::checks::{Checks, task};
    use jobmanager_core::jobmanager::{Effect, Input};
    use jobmanager_core::message::{Acknowledgement, FromTaskManager, ToTaskManager};
    use jobmanager_core::record::Record;

    /// The source and the sink of a region.
    fn of(region: u32) -> [TaskId; 2] {
        [task(0, region), task(1, region)]
    }

    fn trigger_region(region: u32, id: u64) -> Effect {
        let Effect::Send { mut message, .. } = trigger(id) else {
            unreachable!("a trigger is sent");
        };
        if let ToTaskManager::TriggerCheckpoint { tasks, .. } = &mut message.message {
            tasks.push(task(0, region));
        }
        say(message.message)
    }

    /// An observer of a job of two regions that runs, of which both were triggered and one has acknowledged.
    fn half() -> Checks {
        let mut checks = Checks::new(&[pair()], false);
        checks.minted(EPOCH).unwrap();
        store(&mut checks, [job_record(), mark(10)]).unwrap();
        let history = checks.jobs.get_mut(&JOB).unwrap();
        let current = history.tasks.clone().into_iter();
        history
            .deployed
            .extend(current.map(|task| (task, attempt(0))));
        for region in 0..2 {
            order(&mut checks, &trigger_region(region, 1)).unwrap();
        }
        acknowledge_region(&mut checks, 0, 1);
        checks
    }

    fn acknowledge_region(checks: &mut Checks, region: u32, id: u64) {
        for task in of(region) {
            let attempt = AttemptId {
                job: JOB,
                task,
                attempt: attempt(0),
            };
            let ack = Acknowledgement {
                attempt,
                checkpoint: CheckpointId(id),
                state: state(u8::try_from(id).unwrap()),
            };
            checks.received(&Input::Message {
                session: jobmanager_core::id::SessionId(1),
                message: FromTaskManager::Acknowledge(ack),
            });
        }
    }

    /// A record with these snapshots.
    fn record(id: u64, snapshots: [Option<u64>; 2]) -> Record {
        let snapshot = |id| RegionSnapshot {
            checkpoint: CheckpointId(id),
            attempt: Some(attempt(0)),
            is_final: false,
        };
        let state = |id: Option<u64>| match id {
            None => SubtaskState::nothing(),
            Some(id) => SubtaskState::Own(state(u8::try_from(id).unwrap())),
        };
        let states = snapshots.map(state);
        let Record::Checkpoint(record) = checkpoint(id) else {
            unreachable!("it was just made");
        };
        let record = CheckpointRecord {
            regions: snapshots.map(|id| id.map(snapshot)).into(),
            states: [states.clone(), states].concat(),
            ..(*record).clone()
        };
        Record::Checkpoint(record.into())
    }

    #[test]
    fn regions_complete_one_after_the_other() {
        let mut checks = half();
        for record in [record(1, [Some(1), None]), record(1, [Some(1), Some(1)])] {
            order(&mut checks, &write(record.clone())).unwrap();
            store(&mut checks, [record]).unwrap();
            acknowledge_region(&mut checks, 1, 1);
        }
        assert!(checks.all_completed(JOB, CheckpointId(1)));
        assert_eq!(
            checks.latest_since(JOB, &[None, None]),
            Some(CheckpointId(1))
        );
        let once = [Some(CheckpointId(1)), None];
        assert_eq!(
            checks.latest_since(JOB, &once),
            None,
            "the first one has no other"
        );
    }

    #[test]
    fn a_record_that_forgets_a_region_is_seen() {
        let mut checks = half();
        store(&mut checks, [record(1, [Some(1), None])]).unwrap();
        order(&mut checks, &trigger_region(1, 2)).unwrap();
        acknowledge_region(&mut checks, 1, 2);
        let name = "a_checkpoint_keeps_what_other_regions_have_completed";
        let forgets = write(record(2, [None, Some(2)]));
        assert_eq!(broken(order(&mut checks, &forgets)), name);
        let keeps = write(record(2, [Some(1), Some(2)]));
        assert_eq!(order(&mut checks, &keeps), Ok(()));
    }

    #[test]
    fn a_region_that_has_not_acknowledged_and_completes_is_seen() {
        let name = "a_checkpoint_completes_when_every_current_attempt_acknowledged";
        let early = write(record(1, [Some(1), Some(1)]));
        assert_eq!(broken(order(&mut half(), &early)), name);
    }

    #[test]
    fn what_is_told_to_a_region_that_it_does_not_concern_is_seen() {
        let name = "a_region_is_told_only_of_its_own_checkpoints";
        let mut checks = half();
        assert_eq!(broken(order(&mut checks, &aborted(1))), name);
        order(&mut checks, &trigger_region(0, 2)).unwrap();
        let abort = |region| {
            say(ToTaskManager::NotifyAborted {
                job: JOB,
                tasks: of(region).into(),
                checkpoint: CheckpointId(2),
            })
        };
        assert_eq!(order(&mut checks, &abort(0)), Ok(()));
        assert_eq!(broken(order(&mut checks, &abort(1))), name);
    }

    #[test]
    fn the_deletion_of_what_another_region_needs_is_seen() {
        let mut checks = half();
        store(&mut checks, [record(1, [Some(1), None])]).unwrap();
        order(&mut checks, &trigger_region(1, 2)).unwrap();
        acknowledge_region(&mut checks, 1, 2);
        store(&mut checks, [record(2, [Some(1), Some(2)])]).unwrap();
        let discard = jobmanager_core::jobmanager::Discard::Checkpoint(JOB, CheckpointId(1));
        let name = "retained_state_is_never_deleted";
        assert_eq!(broken(order(&mut checks, &Effect::Discard(discard))), name);
    }
}
