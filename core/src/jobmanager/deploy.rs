//! Placement and deployment of scheduled regions.
//!
//! Goals of placement: (A) all or nothing: a job that cannot get every slot that its scheduled regions
//! need takes none, so two jobs never hold half each; (B) a slot comes back to where it was; (C) the
//! others go to the TaskManager with the most free slots. A TaskManager qualifies for a slot if it offers
//! every operator of the slot sharing group.

use super::cx::Cx;
use super::execution::Phase;
use super::job::Job;
use super::taskmanagers::{SlotRef, SlotUse, TaskManager, TmKey};
use crate::graph::JobVertex;
use crate::id::{Attempt, CheckpointId, RegionIndex, VertexIndex};
use crate::message::{
    Deployment, JobTable, TableCheckpoints, TableVertex, TaskDeployment, ToTaskManager,
};
use crate::record::CheckpointRecord;
use crate::state::ExecutionState;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

/// What the tasks of one deployment have in common: the checkpoint is that from which they start.
type Order = (Attempt, Option<CheckpointId>, TmKey);

impl Job {
    /// Whether regions of the job wait for slots.
    pub(super) fn wants_slots(&self) -> bool {
        self.phase == super::job::JobPhase::Running && !self.execution.scheduled().is_empty()
    }

    /// Places and deploys all scheduled regions, or none of them.
    pub(super) fn place(&mut self, cx: &mut Cx<'_>) -> bool {
        let needed = self.needed_slots();
        match self.take_slots(cx, &needed) {
            Ok(slots) => {
                self.waiting = None;
                self.deploy(cx, slots);
                true
            }
            Err(waiting) => {
                self.waiting = Some(waiting);
                false
            }
        }
    }

    /// The job's slots that scheduled regions need and no running region holds.
    fn needed_slots(&self) -> BTreeSet<u32> {
        let mut needed = BTreeSet::new();
        for &region in self.execution.scheduled() {
            let slots = self.execution.layout().members(region).iter();
            needed.extend(slots.map(|&position| self.execution.slot_of(position)));
        }
        needed.retain(|&slot| self.execution.slots[slot as usize].at.is_none());
        needed
    }

    /// Takes a free slot for each, or says in words what is missing.
    fn take_slots(
        &self,
        cx: &mut Cx<'_>,
        needed: &BTreeSet<u32>,
    ) -> Result<BTreeMap<u32, SlotRef>, String> {
        self.check_operators(cx)?;
        let mut taken = BTreeMap::new();
        let job = self.id();
        for &job_slot in needed {
            let previous = self.execution.slots[job_slot as usize].previous;
            let suits = |at: &SlotRef| cx.tms.get(at.tm).is_some_and(|tm| self.suits(tm, job_slot));
            let previous = previous.filter(suits);
            if let Some(at) = previous.filter(|at| cx.tms.take(*at, SlotUse { job, job_slot })) {
                taken.insert(job_slot, at);
            }
        }
        for &job_slot in needed {
            if taken.contains_key(&job_slot) {
                continue;
            }
            let Some(at) = cx.tms.free_slot(|tm| self.suits(tm, job_slot)) else {
                let missing = needed.len() - taken.len();
                taken.into_values().for_each(|at| cx.tms.put_back(at));
                return Err(missing_slots(cx, needed.len(), missing));
            };
            assert!(
                cx.tms.take(at, SlotUse { job, job_slot }),
                "an indexed slot is free"
            );
            taken.insert(job_slot, at);
        }
        Ok(taken)
    }

    /// Whether a TaskManager offers every operator of a slot's group.
    fn suits(&self, tm: &TaskManager, job_slot: u32) -> bool {
        let groups = self.graph.groups();
        let group = groups.partition_point(|group| group.first_slot <= job_slot) - 1;
        let in_group = |vertex: &&JobVertex| vertex.group as usize == group;
        tm.offers(
            self.graph
                .vertices()
                .iter()
                .filter(in_group)
                .map(|vertex| vertex.operator.as_str()),
        )
    }

    fn check_operators(&self, cx: &Cx<'_>) -> Result<(), String> {
        for vertex in self.graph.vertices() {
            let offered = cx
                .tms
                .iter()
                .any(|(_, tm)| tm.offers([vertex.operator.as_str()].into_iter()));
            if !offered && cx.tms.count_all() > 0 {
                let (operator, id) = (&vertex.operator, &vertex.id);
                return Err(format!(
                    "no registered TaskManager offers the operator `{operator}` of vertex `{id}`"
                ));
            }
        }
        Ok(())
    }

    /// Sends every scheduled region to the TaskManagers of its slots.
    fn deploy(&mut self, cx: &mut Cx<'_>, slots: BTreeMap<u32, SlotRef>) {
        let latest = self.checkpoints.latest().cloned();
        let mut restored = None;
        let regions: Vec<RegionIndex> = self.execution.scheduled().iter().copied().collect();
        let mut orders: BTreeMap<Order, Vec<TaskDeployment>> = BTreeMap::new();
        for index in regions {
            let attempt = self.execution.next_attempt(index, cx.epoch);
            self.execution.set_attempt(index, Some(attempt));
            self.execution.set_phase(index, Phase::Active);
            self.checkpoints.line_mut(index).finish_announced = false;
            let snapshot = self.checkpoints.snapshot(index);
            let restore = snapshot.map(|snapshot| snapshot.checkpoint);
            let record = latest.as_deref().filter(|_| restore.is_some());
            restored = restored.max(restore);
            let members = self.execution.layout().members(index).to_vec();
            for position in members {
                let slot = self.execution.slot_of(position);
                let at = slots
                    .get(&slot)
                    .copied()
                    .or(self.execution.slots[slot as usize].at);
                let at = at.expect("every slot that a scheduled region needs was taken or is held");
                self.execution
                    .occupy(position, ExecutionState::Deploying, at);
                let task = self.task_deployment(position, at, record);
                let order = (attempt, restore, at.tm);
                orders.entry(order).or_default().push(task);
            }
        }
        self.deployed_at(cx);
        if let Some(restored) = restored {
            self.checkpoints.restored(restored, cx.now);
        }
        let (job, table) = (self.id(), Arc::new(self.table(cx)));
        for ((attempt, restore, tm), tasks) in orders {
            let table = table.clone();
            cx.send(
                tm,
                ToTaskManager::Deploy(Deployment {
                    job,
                    attempt,
                    table,
                    restore,
                    tasks,
                }),
            );
        }
    }

    fn task_deployment(
        &self,
        position: u32,
        at: SlotRef,
        restore: Option<&CheckpointRecord>,
    ) -> TaskDeployment {
        let state = restore.map(|restore| restore.states[position as usize].clone());
        let task = self.execution.layout().task(position);
        TaskDeployment {
            task,
            slot: at.slot,
            state: state.into_iter().collect(),
        }
    }

    fn deployed_at(&mut self, cx: &Cx<'_>) {
        for vertex in 0..self.graph.vertices().len() {
            let index =
                VertexIndex(u32::try_from(vertex).expect("vertices are counted in 32 bits"));
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
                .map(|vertex| self.table_vertex(vertex))
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

    fn table_vertex(&self, vertex: &JobVertex) -> TableVertex {
        TableVertex {
            name: vertex.name.clone(),
            operator_id: vertex.operator_id,
            operator: vertex.operator.clone(),
            config: vertex.config.clone(),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            first_slot: self.graph.groups()[vertex.group as usize].first_slot,
        }
    }
}

fn missing_slots(cx: &Cx<'_>, needed: usize, missing: usize) -> String {
    let (free, tms) = (cx.tms.free_slots(), cx.tms.count_all());
    match tms {
        0 => format!("{needed} slots are needed, and no TaskManager is registered"),
        _ => format!(
            "{needed} slots are needed, {missing} are missing: {free} free on {tms} TaskManagers"
        ),
    }
}
