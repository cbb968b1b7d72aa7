//! Where a snapshot is.

use crate::bad_message::{BadMessage, Problem};
use crate::check;
use crate::v1;
use crate::v1::state_handle::Location;
use jobmanager_core::message::{StateHandle, StateLocation};

pub(crate) fn state_to_wire(state: StateHandle) -> v1::StateHandle {
    let location = match state.location {
        StateLocation::Inline(bytes) => Location::Inline(bytes),
        StateLocation::File(path) => Location::File(path),
        StateLocation::Url(url) => Location::Url(url),
    };
    v1::StateHandle {
        location: Some(location),
        size: state.size,
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
    let size = check::in_range(wire.size, 0..=check::MAX_STATE_BYTES, field)?;
    Ok(StateHandle { location, size })
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
