//! Placement and deployment of scheduled regions.
//!
//! Goals of placement: (A) all or nothing: a job that cannot get every slot that its scheduled regions
//! need takes none, so two jobs never hold half each; (B) a slot comes back to where it was; (C) the
//! others go to the TaskManager with the most free slots. A TaskManager qualifies for a slot if it offers
//! every operator of the slot sharing group.

use super::claims::{Claimed, Claims};
use super::cx::Cx;
use super::execution::Phase;
use super::job::Job;
use super::kinds::Kinds;
use super::taskmanagers::{SlotRef, SlotUse, TmKey};
use crate::graph::{JobGraph, JobVertex, Regions};
use crate::id::{Attempt, CheckpointId, RegionIndex, TaskId, VertexIndex};
use crate::message::{
    Deployment, JobTable, StateHandle, TableCheckpoints, TableVertex, TaskDeployment, ToTaskManager,
};
use crate::record::CheckpointRecord;
use crate::redistribute::{United, united};
use crate::state::ExecutionState;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// What the tasks of one deployment have in common: the checkpoint is that from which they start, and may be
/// one after which nothing comes.
type Order = (Attempt, Option<CheckpointId>, bool, TmKey);

impl Job {
    /// Whether regions of the job wait for slots.
    pub(super) fn wants_slots(&self) -> bool {
        self.phase == super::job::JobPhase::Running && !self.execution.scheduled().is_empty()
    }

    /// Places and deploys all scheduled regions, or none of them: then it tells how many slots they need. The
    /// caller may know that, if nothing of the job has changed since it was told.
    pub(super) fn place(&mut self, cx: &mut Cx<'_>, known: Option<u32>) -> Result<(), u32> {
        let kinds = Kinds::new(&self.graph, cx.tms.supply());
        let claimed = self.left_to_others(cx.claims);
        let mut kept = cx.tms.promises.to_others(self.id());
        if !claimed.is_empty() {
            let supply = cx.tms.supply();
            kept += supply.free_and_claimed(kinds.any().iter(), &claimed);
        }
        let free = cx.tms.free_slots().saturating_sub(kept);
        let problem = self
            .check_operators(cx)
            .or_else(|| self.check_quota(cx.config));
        let too_few = |needed: u32| (kinds.all || kept > 0) && needed > free;
        if let Some(needed) = known.filter(|needed| problem.is_some() || too_few(*needed)) {
            let missing = || missing_slots(cx, kept, needed, needed - free);
            self.waiting = Some(problem.unwrap_or_else(missing));
            return Err(needed);
        }
        let slots = self.execution.needed_slots();
        let needed = count_u32(slots.len());
        let taken = match problem {
            Some(problem) => Err(problem),
            None if too_few(needed) => Err(missing_slots(cx, kept, needed, needed - free)),
            None => self
                .take_slots(cx, &kinds, &slots, &claimed)
                .map_err(|missing| missing_slots(cx, kept, needed, missing)),
        };
        if let Err(waiting) = taken {
            self.waiting = Some(waiting);
            return Err(needed);
        }
        self.waiting = None;
        self.has_run = true;
        self.deploy(cx);
        Ok(())
    }

    /// The slots that it does not take although they are free.
    pub(super) fn left_to_others(&self, claims: &Claims) -> Claimed {
        match self.has_run {
            true => Claimed::default(),
            false => claims.above(self.place_in_line()),
        }
    }

    /// Takes a free slot for each, or tells how many are missing.
    fn take_slots(
        &mut self,
        cx: &mut Cx<'_>,
        kinds: &Kinds,
        needed: &[u32],
        claimed: &Claimed,
    ) -> Result<(), u32> {
        let job = self.id();
        let mut missing = Vec::new();
        for &job_slot in needed {
            let previous = self.execution.slots[job_slot as usize].previous;
            let suits = |at: &SlotRef| cx.tms.is_among(at.tm, kinds.of(job_slot));
            let previous = previous.filter(suits);
            match previous.filter(|at| cx.tms.take(*at, SlotUse { job, job_slot })) {
                Some(at) => self.execution.assign(job_slot, at),
                None => missing.push(job_slot),
            }
        }
        let missing = kinds.rarest_first(missing);
        for (assigned, &job_slot) in missing.iter().enumerate() {
            let Some(at) = cx.tms.free_slot(kinds.by_choice(job_slot), claimed) else {
                for &job_slot in needed {
                    self.execution
                        .withdraw(job_slot)
                        .into_iter()
                        .for_each(|at| cx.tms.put_back(at));
                }
                return Err(count_u32(missing.len() - assigned));
            };
            assert!(
                cx.tms.take(at, SlotUse { job, job_slot }),
                "a slot of the supply is free"
            );
            self.execution.assign(job_slot, at);
        }
        cx.tms.keep_taken();
        Ok(())
    }

    /// What keeps the job from running on whatever number of TaskManagers of these kinds.
    fn check_operators(&self, cx: &Cx<'_>) -> Option<String> {
        if cx.tms.count_all() == 0 {
            return None;
        }
        let mut vertices = self.graph.vertices().iter();
        let vertex = vertices.find(|vertex| !cx.tms.supply().is_offered(&vertex.operator))?;
        let (operator, id) = (&vertex.operator, &vertex.id);
        Some(format!(
            "no registered TaskManager offers the operator `{operator}` of vertex `{id}`"
        ))
    }

    /// Sends every scheduled region to the TaskManagers of its slots.
    fn deploy(&mut self, cx: &mut Cx<'_>) {
        let latest = self.checkpoints.latest().cloned();
        let start = Start::new(latest, &self.graph, self.execution.layout());
        let mut restored = None;
        let regions: Vec<RegionIndex> = self.execution.scheduled().iter().copied().collect();
        let mut orders: BTreeMap<Order, Vec<TaskDeployment>> = BTreeMap::new();
        for index in regions {
            let attempt = self.execution.next_attempt(index, cx.epoch);
            self.execution.set_attempt(index, Some(attempt));
            self.execution.set_phase(index, Phase::Active);
            self.execution.deploy_region(index);
            let snapshot = self.checkpoints.snapshot(index);
            let finish = snapshot.is_some_and(|snapshot| snapshot.is_final);
            self.checkpoints.line_mut(index).finish_announced = finish;
            let restore = snapshot.map(|snapshot| snapshot.checkpoint);
            restored = restored.max(restore);
            let task = |position, task, at| {
                Some(match restore {
                    Some(_) => start.task(position, task, at),
                    None => fresh(task, at),
                })
            };
            for (tm, mut tasks) in self.execution.by_taskmanager(index, task) {
                match orders.entry((attempt, restore, finish, tm)) {
                    Entry::Vacant(order) => {
                        order.insert(tasks);
                    }
                    Entry::Occupied(mut order) => order.get_mut().append(&mut tasks),
                }
            }
        }
        self.deployed_at(cx);
        if let Some(restored) = restored {
            self.checkpoints.restored(restored, cx.now);
        }
        let (job, table) = (self.id(), Arc::new(self.table(cx)));
        for ((attempt, restore, finish, tm), tasks) in orders {
            let table = table.clone();
            cx.send(
                tm,
                ToTaskManager::Deploy(Deployment {
                    job,
                    attempt,
                    table,
                    restore,
                    finish,
                    tasks,
                }),
            );
        }
    }

    fn deployed_at(&mut self, cx: &Cx<'_>) {
        for vertex in 0..self.graph.vertices().len() {
            let index = vertex_index(vertex);
            if self.execution.counts(index).get(ExecutionState::Deploying) > 0 {
                self.execution.deployed[vertex] = Some(cx.now);
            }
        }
    }

    /// What all tasks of a deployment share.
    fn table(&self, cx: &Cx<'_>) -> JobTable {
        let mut addresses = Vec::new();
        let mut known: BTreeMap<TmKey, u32> = BTreeMap::new();
        let mut slots = vec![JobTable::NOWHERE; self.execution.slots.len()];
        for (index, slot) in slots.iter_mut().zip(&self.execution.slots) {
            let Some(tm) = slot.at.and_then(|at| Some((at.tm, cx.tms.get(at.tm)?))) else {
                continue;
            };
            *index = *known.entry(tm.0).or_insert_with(|| {
                addresses.push(tm.1.hello.data_address.clone());
                u32::try_from(addresses.len() - 1).expect("TaskManagers are counted in 32 bits")
            });
        }
        let checkpoints = self.graph.config().checkpointing.as_ref();
        JobTable {
            name: String::from(self.graph.name()),
            vertices: self
                .graph
                .vertices()
                .iter()
                .enumerate()
                .map(|(index, vertex)| self.table_vertex(index, vertex))
                .collect(),
            edges: self.graph.edges().to_vec(),
            slots,
            addresses,
            checkpoints: checkpoints.map(|config| TableCheckpoints {
                mode: config.mode,
                inline_threshold: config.inline_threshold,
            }),
        }
    }

    fn table_vertex(&self, index: usize, vertex: &JobVertex) -> TableVertex {
        let scale = self.scale.as_ref();
        TableVertex {
            name: vertex.name.clone(),
            operator_id: vertex.operator_id,
            operator: vertex.operator.clone(),
            config: vertex.config.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            first_slot: self.graph.groups()[vertex.group as usize].first_slot,
            since: scale.and_then(|scale| scale.since[index]),
        }
    }
}

/// From what the tasks of a deployment start.
struct Start {
    record: Option<Arc<CheckpointRecord>>,
    /// By vertex.
    united: Vec<Option<United>>,
}

impl Start {
    fn new(record: Option<Arc<CheckpointRecord>>, graph: &JobGraph, layout: &Regions) -> Self {
        let united = |record: &Arc<CheckpointRecord>| {
            let vertices = (0..graph.vertices().len()).map(vertex_index);
            let positions = vertices.map(|vertex| layout.positions(vertex));
            let states = |positions: Range<u32>| {
                &record.states[positions.start as usize..positions.end as usize]
            };
            positions.map(|it| united(states(it).iter())).collect()
        };
        Start {
            united: record.as_ref().map(united).unwrap_or_default(),
            record,
        }
    }

    /// A task that starts from the record.
    fn task(&self, position: u32, task: TaskId, at: SlotRef) -> TaskDeployment {
        let record = self.record.as_deref();
        let own = record.map(|record| record.states[position as usize].handles());
        let own = own.unwrap_or_default().iter();
        let own: Vec<StateHandle> = own.filter(|it| !it.is_nothing()).cloned().collect();
        let united = self.united.get(task.vertex.0 as usize);
        TaskDeployment {
            task,
            slot: at.slot,
            end_of_data: !own.is_empty() && own.iter().all(|handle| handle.end_of_data),
            state: match united.and_then(Option::as_ref) {
                Some(united) => united.with(task.subtask, &own),
                None => own,
            },
        }
    }
}

/// A task that starts from nothing.
fn fresh(task: TaskId, at: SlotRef) -> TaskDeployment {
    TaskDeployment {
        task,
        slot: at.slot,
        end_of_data: false,
        state: Vec::new(),
    }
}

fn vertex_index(vertex: usize) -> VertexIndex {
    VertexIndex(u32::try_from(vertex).expect("vertices are counted in 32 bits"))
}

fn count_u32(slots: usize) -> u32 {
    u32::try_from(slots).expect("slots are counted in 32 bits")
}

/// What is missing, if so many free slots are kept for others.
fn missing_slots(cx: &Cx<'_>, kept: u32, needed: u32, missing: u32) -> String {
    let (free, tms) = (cx.tms.free_slots(), cx.tms.count_all());
    let needed = format!("{needed} slots are needed");
    match (tms, kept.min(free)) {
        (0, _) => format!("{needed}, and no TaskManager is registered"),
        (_, 0) => format!("{needed}, {missing} are missing: {free} free on {tms} TaskManagers"),
        (_, kept) => format!(
            "{needed}, {missing} are missing: {free} free on {tms} TaskManagers, {kept} of these kept for other jobs"
        ),
    }
}

#[cfg(test)]
mod tests;
