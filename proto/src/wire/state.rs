//! Where a snapshot is, and what it can be divided into.

use crate::bad_message::{BadMessage, Problem};
use crate::check;
use crate::v1;
use crate::v1::list_part::Mode;
use crate::v1::state_handle::Location;
use jobmanager_core::graph::{KeyGroupRange, MAX_PARALLELISM};
use jobmanager_core::message::{ListPart, StateHandle, StateLocation, StateParts};
use jobmanager_core::redistribute::DistributionMode;
use std::sync::Arc;

pub(crate) fn state_to_wire(state: StateHandle) -> v1::StateHandle {
    let location = match state.location {
        StateLocation::Inline(bytes) => Location::Inline(bytes),
        StateLocation::File(path) => Location::File(path),
        StateLocation::Url(url) => Location::Url(url),
    };
    v1::StateHandle {
        location: Some(location),
        size: state.size,
        end_of_data: state.end_of_data,
        parts: state.parts.as_deref().map(parts_to_wire),
    }
}

fn parts_to_wire(parts: &StateParts) -> v1::StateParts {
    let list = |list: &ListPart| v1::ListPart {
        name: list.name.clone(),
        mode: mode_to_wire(list.mode).into(),
        first: list.partitions.start,
        end: list.partitions.end,
    };
    v1::StateParts {
        key_groups: parts.key_groups.map(|range| v1::KeyGroups {
            first: range.first,
            last: range.last,
        }),
        lists: parts.lists.iter().map(list).collect(),
    }
}

pub(crate) fn state_from_wire(
    wire: v1::StateHandle,
    field: &'static str,
) -> Result<StateHandle, BadMessage> {
    let location = match check::required(wire.location, field)? {
        Location::Inline(bytes) if bytes.len() as u64 != wire.size => {
            return Err(Problem::DoesNotFit("its size").at(field));
        }
        Location::Inline(bytes) => StateLocation::Inline(bytes),
        Location::File(path) => StateLocation::File(plain_path(path, field)?),
        Location::Url(url) => StateLocation::Url(check::address(url, field)?),
    };
    let parts = wire.parts.map(|parts| parts_from_wire(parts, field));
    Ok(StateHandle {
        location,
        size: check::in_range(wire.size, 0..=check::MAX_STATE_BYTES, field)?,
        end_of_data: wire.end_of_data,
        parts: parts.transpose()?.map(Arc::new),
    })
}

fn parts_from_wire(wire: v1::StateParts, field: &'static str) -> Result<StateParts, BadMessage> {
    check::at_most(wire.lists.len(), check::MAX_LISTS, field)?;
    let lists = wire.lists.into_iter().map(|list| {
        check::in_range_u32(list.first, 0..=list.end, field)?;
        Ok(ListPart {
            name: check::name(list.name, field)?,
            mode: mode_from_wire(list.mode, field)?,
            partitions: list.first..list.end,
        })
    });
    let lists: Vec<ListPart> = lists.collect::<Result<_, BadMessage>>()?;
    if !lists.is_sorted_by(|one, next| one.name < next.name) {
        return Err(Problem::NotSorted.at(field));
    }
    let key_groups = wire.key_groups.map(|range| {
        check::in_range_u32(range.last, range.first..=MAX_PARALLELISM - 1, field)?;
        Ok(KeyGroupRange {
            first: range.first,
            last: range.last,
        })
    });
    Ok(StateParts {
        key_groups: key_groups.transpose()?,
        lists,
    })
}

fn mode_to_wire(mode: DistributionMode) -> Mode {
    match mode {
        DistributionMode::Split => Mode::Split,
        DistributionMode::Union => Mode::Union,
        DistributionMode::Broadcast => Mode::Broadcast,
    }
}

fn mode_from_wire(mode: i32, field: &'static str) -> Result<DistributionMode, BadMessage> {
    match Mode::try_from(mode) {
        Ok(Mode::Split) => Ok(DistributionMode::Split),
        Ok(Mode::Union) => Ok(DistributionMode::Union),
        Ok(Mode::Broadcast) => Ok(DistributionMode::Broadcast),
        Ok(Mode::Unspecified) | Err(_) => Err(Problem::UnknownValue(mode).at(field)),
    }
}

/// A path that cannot lead out of the job's folder: whoever discards state deletes what it names.
fn plain_path(path: String, field: &'static str) -> Result<String, BadMessage> {
    let path = check::locator(path, field)?;
    let plain = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains('\\');
    if !path.split('/').all(plain) {
        return Err(Problem::NotAPath.at(field));
    }
    Ok(path)
}
