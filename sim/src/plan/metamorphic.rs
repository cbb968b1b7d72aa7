//! Changes to a run that must not change what comes of it: messages that come once more, TaskManagers
//! that nobody needs, a failover while nothing happens.

use crate::tape::{Decisions, Stream};
use std::fmt;

/// What is done to the run beside its faults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetamorphicOptions {
    /// How often every message of a session comes again at once: it must change nothing.
    pub repeats: u64,
    /// The slots of TaskManagers beyond those that the jobs need.
    pub idle: Vec<u32>,
    /// Once all is well, the JobManager is replaced: no attempt may restart.
    pub failover: bool,
    /// The last message of every session comes again after its end: it must change nothing.
    pub echoes: bool,
    /// The inputs of every coordinator are given to another one, which must do the same; and to a third
    /// one with two messages about different jobs exchanged.
    pub replays: bool,
}

impl MetamorphicOptions {
    pub(crate) fn draw(decisions: &mut Decisions) -> Self {
        let repeats = decisions.choice(Stream::Metamorphic, &[0, 0, 0, 0, 0, 1, 2]);
        let idle = decisions.choice(Stream::Metamorphic, &[0, 0, 0, 0, 1, 2]);
        let slots = (0..idle).map(|_| decisions.choice(Stream::Metamorphic, &[2, 1, 4]));
        MetamorphicOptions {
            repeats,
            idle: slots.collect(),
            failover: decisions.chance(Stream::Metamorphic, 300),
            echoes: decisions.chance(Stream::Metamorphic, 200),
            replays: decisions.chance(Stream::Metamorphic, 150),
        }
    }
}

impl fmt::Display for MetamorphicOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MetamorphicOptions {
            repeats,
            idle,
            failover,
            echoes,
            replays,
        } = self;
        writeln!(
            f,
            "metamorphic  repeats: {repeats}, idle: {idle:?}, failover: {failover}, echoes: {echoes}, replays: {replays}"
        )
    }
}
