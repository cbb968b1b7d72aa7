//! The metadata of a savepoint: the bytes of the file that makes it complete, as `record.proto` says.

use crate::bad_message::{BadMessage, Problem};
use crate::check;
use crate::v1;
use crate::wire::{ids, state_from_wire, state_to_wire};
use jobmanager_core::graph::{MAX_PARALLELISM, MAX_VERTICES};
use jobmanager_core::message::{StateHandle, StateLocation, SubtaskState};
use jobmanager_core::savepoint::{OperatorSnapshots, Savepoint, SubtaskSnapshot};
use jobmanager_core::time::Timestamp;
use prost::Message;
use std::collections::BTreeSet;
use xxhash_rust::xxh3::xxh3_64;

/// What the file begins with.
const MAGIC: &[u8; 24] = b"jobmanager savepoint v1\n";

/// The metadata of a savepoint in this folder.
#[must_use]
pub fn encode_savepoint(savepoint: &Savepoint, location: &str) -> Vec<u8> {
    let message = savepoint_to_wire(savepoint, location).encode_to_vec();
    let mut file = Vec::with_capacity(MAGIC.len() + 8 + message.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&xxh3_64(&message).to_le_bytes());
    file.extend_from_slice(&message);
    file
}

/// Names of files in this folder become relative to it.
pub(crate) fn savepoint_to_wire(savepoint: &Savepoint, location: &str) -> v1::Savepoint {
    let handle = |handle: &StateHandle| state_to_wire(relative(handle, location));
    let subtask = |subtask: &SubtaskSnapshot| {
        let (state, given) = match &subtask.state {
            SubtaskState::Own(state) => (Some(handle(state)), Vec::new()),
            SubtaskState::Given(given) => (None, given.iter().map(handle).collect()),
        };
        v1::savepoint::Subtask {
            state,
            ended: subtask.ended,
            given,
        }
    };
    let operator = |operator: &OperatorSnapshots| v1::savepoint::Operator {
        operator_id: Some(operator.operator_id.into()),
        name: operator.name.clone(),
        max_parallelism: operator.max_parallelism,
        subtasks: operator.subtasks.iter().map(subtask).collect(),
    };
    v1::Savepoint {
        job: Some(savepoint.job.into()),
        checkpoint: savepoint.checkpoint.0,
        triggered_ms: savepoint.triggered.0,
        operators: savepoint.operators.iter().map(operator).collect(),
    }
}

/// The savepoint of which this is the metadata; it was found in this folder.
///
/// # Errors
/// The bytes are not the metadata of a savepoint, or were damaged.
pub fn decode_savepoint(file: &[u8], location: &str) -> Result<Savepoint, BadMessage> {
    let field = "savepoint";
    let rest = file.strip_prefix(MAGIC);
    let parts = rest.and_then(|rest| rest.split_first_chunk());
    let (hash, message) = parts.ok_or(Problem::NotASavepoint.at(field))?;
    if u64::from_le_bytes(*hash) != xxh3_64(message) {
        return Err(Problem::Damaged.at(field));
    }
    let wire = v1::Savepoint::decode(message);
    let wire = wire.map_err(|error| Problem::NotProtobuf(error).at(field))?;
    savepoint_from_wire(wire, location)
}

/// Relative names of files are of this folder.
pub(crate) fn savepoint_from_wire(
    wire: v1::Savepoint,
    location: &str,
) -> Result<Savepoint, BadMessage> {
    check::at_most(wire.operators.len(), MAX_VERTICES, "savepoint.operators")?;
    let operators = wire.operators.into_iter();
    let operators: Vec<_> = operators
        .map(|operator| operator_from_wire(operator, location))
        .collect::<Result<_, _>>()?;
    let ids: BTreeSet<u128> = operators.iter().map(|it| it.operator_id).collect();
    if ids.len() < operators.len() {
        return Err(Problem::Repeated.at("savepoint.operators.operator_id"));
    }
    Ok(Savepoint {
        job: ids::job(wire.job, "savepoint.job")?,
        checkpoint: check::checkpoint(wire.checkpoint, "savepoint.checkpoint")?,
        triggered: Timestamp(wire.triggered_ms),
        operators,
    })
}

fn operator_from_wire(
    wire: v1::savepoint::Operator,
    location: &str,
) -> Result<OperatorSnapshots, BadMessage> {
    let field = "savepoint.operators.subtasks";
    check::in_range(
        wire.subtasks.len() as u64,
        1..=MAX_PARALLELISM.into(),
        field,
    )?;
    let key_groups = "savepoint.operators.max_parallelism";
    check::in_range_u32(wire.max_parallelism, 1..=MAX_PARALLELISM, key_groups)?;
    let operator_id = check::required(wire.operator_id, "savepoint.operators.operator_id")?;
    let handle = |handle| Ok(absolute(state_from_wire(handle, field)?, location));
    let subtask = |subtask: v1::savepoint::Subtask| {
        let given = "savepoint.operators.subtasks.given";
        check::at_most(subtask.given.len(), check::MAX_HANDLES, given)?;
        let state = match subtask.state {
            Some(_) if !subtask.given.is_empty() => {
                return Err(Problem::DoesNotFit("state").at(given));
            }
            Some(state) => SubtaskState::Own(handle(state)?),
            None => {
                let handles = subtask.given.into_iter().map(handle);
                SubtaskState::Given(handles.collect::<Result<_, BadMessage>>()?)
            }
        };
        Ok(SubtaskSnapshot {
            state,
            ended: subtask.ended,
        })
    };
    let subtasks = wire.subtasks.into_iter().map(subtask);
    Ok(OperatorSnapshots {
        operator_id: operator_id.into(),
        name: wire.name,
        max_parallelism: wire.max_parallelism,
        subtasks: subtasks.collect::<Result<_, BadMessage>>()?,
    })
}

/// A file in this folder is named relative to it.
fn relative(state: &StateHandle, location: &str) -> StateHandle {
    let mut state = state.clone();
    if let StateLocation::Url(url) = &mut state.location {
        let folder = location.trim_end_matches('/');
        let path = url.strip_prefix(folder).and_then(|it| it.strip_prefix('/'));
        if let Some(path) = path {
            *url = path.to_owned();
        }
    }
    state
}

fn absolute(mut state: StateHandle, location: &str) -> StateHandle {
    if let StateLocation::Url(url) = &mut state.location
        && !url.contains("://")
        && !url.starts_with('/')
    {
        *url = format!("{}/{url}", location.trim_end_matches('/'));
    }
    state
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::id::{CheckpointId, JobId};

    fn savepoint(folder: &str) -> Savepoint {
        let file = StateHandle::whole(StateLocation::Url(format!("{folder}/0-1")), 7);
        Savepoint {
            job: JobId(1),
            checkpoint: CheckpointId(3),
            triggered: Timestamp(9),
            operators: vec![OperatorSnapshots {
                operator_id: 5,
                name: "count".to_owned(),
                max_parallelism: 128,
                subtasks: vec![
                    SubtaskSnapshot {
                        state: SubtaskState::nothing(),
                        ended: true,
                    },
                    SubtaskSnapshot {
                        state: SubtaskState::Own(file),
                        ended: false,
                    },
                ],
            }],
        }
    }

    #[test]
    fn an_operator_is_there_once() {
        let mut twice = savepoint("file:///s");
        twice.operators.push(twice.operators[0].clone());
        let read = decode_savepoint(&encode_savepoint(&twice, "file:///s"), "file:///s");
        assert_eq!(read.unwrap_err().problem, Problem::Repeated);
    }

    #[test]
    fn a_savepoint_can_be_moved() {
        let file = encode_savepoint(&savepoint("file:///a"), "file:///a/");
        let moved = decode_savepoint(&file, "s3://b/c/").unwrap();
        assert_eq!(moved, savepoint("s3://b/c"));
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let file = encode_savepoint(&savepoint("/a"), "/a");
        for at in 0..file.len() {
            let mut file = file.clone();
            file[at] ^= 1;
            assert!(decode_savepoint(&file, "/a").is_err(), "byte {at}");
        }
    }
}
