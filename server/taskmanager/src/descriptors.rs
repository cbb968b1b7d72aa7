//! How many files and sockets this process may have open.
//!
//! Systems start processes with a low limit that each may raise by itself, up to a higher one: the low one is for
//! programs that keep a table of a fixed size, of which this is none. How many connections are let in follows from it,
//! so that connections leave something for the files that tasks and stores need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the system allows. For the start of a process.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // What it was is enough for a start, if the system does not keep its word; connections follow from it.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// How many there may be now.
#[must_use]
pub fn limit() -> usize {
    // None is no limit.
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}
