//! What is different with a savepoint.

use crate::bad_message::{BadMessage, Problem};
use crate::check;
use crate::v1;
use crate::v1::savepoint_order::After;
use jobmanager_core::id::CheckpointId;
use jobmanager_core::message::{AfterSavepoint, SavepointOrder};

impl From<SavepointOrder> for v1::SavepointOrder {
    fn from(order: SavepointOrder) -> Self {
        v1::SavepointOrder {
            location: order.location,
            after: after_to_wire(order.after).into(),
        }
    }
}

impl TryFrom<v1::SavepointOrder> for SavepointOrder {
    type Error = BadMessage;

    fn try_from(wire: v1::SavepointOrder) -> Result<Self, BadMessage> {
        Ok(SavepointOrder {
            location: check::address(wire.location, "savepoint.location")?,
            after: after_from_wire(wire.after, "savepoint.after")?,
        })
    }
}

/// The barrier of a savepoint, as the exchange has it.
#[must_use]
pub fn savepoint_barrier(checkpoint: CheckpointId, order: SavepointOrder) -> v1::SavepointBarrier {
    v1::SavepointBarrier {
        checkpoint: checkpoint.0,
        order: Some(order.into()),
    }
}

/// The checkpoint and the order of a savepoint's barrier.
///
/// # Errors
/// It is not one.
pub fn parse_savepoint_barrier(
    wire: v1::SavepointBarrier,
) -> Result<(CheckpointId, SavepointOrder), BadMessage> {
    let order = check::required(wire.order, "savepoint.order")?;
    let checkpoint = check::checkpoint(wire.checkpoint, "savepoint.checkpoint")?;
    Ok((checkpoint, order.try_into()?))
}

pub(crate) fn after_to_wire(after: AfterSavepoint) -> After {
    match after {
        AfterSavepoint::GoOn => After::GoOn,
        AfterSavepoint::Suspend => After::Suspend,
        AfterSavepoint::Drain => After::Drain,
    }
}

pub(crate) fn after_from_wire(
    wire: i32,
    field: &'static str,
) -> Result<AfterSavepoint, BadMessage> {
    match After::try_from(wire) {
        Ok(After::GoOn) => Ok(AfterSavepoint::GoOn),
        Ok(After::Suspend) => Ok(AfterSavepoint::Suspend),
        Ok(After::Drain) => Ok(AfterSavepoint::Drain),
        Ok(After::Unspecified) | Err(_) => Err(Problem::UnknownValue(wire).at(field)),
    }
}
