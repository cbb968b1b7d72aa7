//! How a TaskManager introduces itself.

use super::ids;
use crate::bad_message::{BadMessage, Problem};
use crate::check;
use crate::v1;
use jobmanager_core::id::{Incarnation, JobId, SlotIndex, TaskManagerId};
use jobmanager_core::message::{Hardware, Hello, InventoryItem};
use jobmanager_core::state::ExecutionState;
use std::collections::BTreeSet;
use std::time::Duration;

/// The version of the protocol that this crate speaks. A peer of the next one is understood too.
pub const PROTOCOL_VERSION: u32 = 1;

impl From<&Hello> for v1::Hello {
    fn from(hello: &Hello) -> Self {
        v1::Hello {
            protocol_version: PROTOCOL_VERSION,
            taskmanager: hello.taskmanager.0.clone(),
            incarnation: hello.incarnation.0,
            seen_epoch: hello.seen_epoch.0,
            hellos: hello.hellos,
            slots: hello.slots,
            data_address: hello.data_address.clone(),
            cpu_cores: hello.hardware.cpu_cores,
            memory_bytes: hello.hardware.memory,
            operators: hello.operators.clone(),
            inventory: hello.inventory.iter().map(Into::into).collect(),
            jobs: hello.jobs.iter().map(|job| (*job).into()).collect(),
            leaves_within_ms: hello.leaves_within.map(check::millis),
        }
    }
}

impl From<&InventoryItem> for v1::InventoryItem {
    fn from(item: &InventoryItem) -> Self {
        v1::InventoryItem {
            attempt: Some(item.attempt.into()),
            slot: item.slot.0,
            state: inventory_state_to_wire(item.state).into(),
            end_of_data: item.end_of_data,
            restored_checkpoint: item.restored.map_or(0, |id| id.0),
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = BadMessage;

    fn try_from(wire: v1::Hello) -> Result<Self, BadMessage> {
        let versions = 1..=PROTOCOL_VERSION + 1;
        check::in_range_u32(wire.protocol_version, versions, "hello.protocol_version")?;
        let slots = check::in_range_u32(wire.slots, 1..=check::MAX_SLOTS, "hello.slots")?;
        Ok(Hello {
            taskmanager: TaskManagerId(check::name(wire.taskmanager, "hello.taskmanager")?),
            incarnation: Incarnation(wire.incarnation),
            seen_epoch: check::epoch_or_zero(wire.seen_epoch, "hello.seen_epoch")?,
            hellos: wire.hellos,
            slots,
            data_address: check::address(wire.data_address, "hello.data_address")?,
            hardware: Hardware {
                cpu_cores: wire.cpu_cores,
                memory: wire.memory_bytes,
            },
            operators: operators(wire.operators)?,
            inventory: inventory(wire.inventory, slots)?,
            jobs: jobs(wire.jobs)?,
            leaves_within: wire.leaves_within_ms.map(Duration::from_millis),
        })
    }
}

/// Sorted and each once, as the core wants them.
fn operators(wire: Vec<String>) -> Result<Vec<String>, BadMessage> {
    let field = "hello.operators";
    check::at_most(wire.len(), check::MAX_OPERATORS, field)?;
    let names = wire.into_iter().map(|name| check::name(name, field));
    let mut operators = names.collect::<Result<Vec<_>, _>>()?;
    operators.sort_unstable();
    operators.dedup();
    Ok(operators)
}

/// As [`operators`].
fn jobs(wire: Vec<v1::Uuid>) -> Result<Vec<JobId>, BadMessage> {
    check::at_most(wire.len(), check::MAX_ATTEMPTS, "hello.jobs")?;
    let mut jobs: Vec<JobId> = wire.into_iter().map(JobId::from).collect();
    jobs.sort_unstable();
    jobs.dedup();
    Ok(jobs)
}

fn inventory(wire: Vec<v1::InventoryItem>, slots: u32) -> Result<Vec<InventoryItem>, BadMessage> {
    check::at_most(wire.len(), check::MAX_ATTEMPTS, "hello.inventory")?;
    let mut seen = BTreeSet::new();
    let mut inventory = Vec::with_capacity(wire.len());
    for item in wire {
        let item = inventory_item(item, slots)?;
        if !seen.insert(item.attempt) {
            return Err(Problem::Repeated.at("hello.inventory.attempt"));
        }
        inventory.push(item);
    }
    Ok(inventory)
}

fn inventory_item(wire: v1::InventoryItem, slots: u32) -> Result<InventoryItem, BadMessage> {
    let slot = check::index(wire.slot, slots as usize, "hello.inventory.slot")?;
    Ok(InventoryItem {
        attempt: ids::attempt_id(wire.attempt, "hello.inventory.attempt")?,
        slot: SlotIndex(slot),
        state: inventory_state_from_wire(wire.state)?,
        end_of_data: wire.end_of_data,
        restored: check::optional_checkpoint(
            wire.restored_checkpoint,
            "hello.inventory.restored_checkpoint",
        )?,
    })
}

fn inventory_state_to_wire(state: ExecutionState) -> v1::ExecutionState {
    match state {
        ExecutionState::Initializing => v1::ExecutionState::Initializing,
        ExecutionState::Running => v1::ExecutionState::Running,
        ExecutionState::Canceling => v1::ExecutionState::Canceling,
        ExecutionState::Finished => v1::ExecutionState::Finished,
        ExecutionState::Created
        | ExecutionState::Scheduled
        | ExecutionState::Deploying
        | ExecutionState::Canceled
        | ExecutionState::Failed => {
            panic!("a TaskManager does not keep an attempt that is {state}")
        }
    }
}

fn inventory_state_from_wire(wire: i32) -> Result<ExecutionState, BadMessage> {
    match v1::ExecutionState::try_from(wire) {
        Ok(v1::ExecutionState::Initializing) => Ok(ExecutionState::Initializing),
        Ok(v1::ExecutionState::Running) => Ok(ExecutionState::Running),
        Ok(v1::ExecutionState::Canceling) => Ok(ExecutionState::Canceling),
        Ok(v1::ExecutionState::Finished) => Ok(ExecutionState::Finished),
        Ok(v1::ExecutionState::Unspecified) | Err(_) => {
            Err(Problem::UnknownValue(wire).at("hello.inventory.state"))
        }
    }
}
