//! What can happen, by name.

/// The kind of an event: the `event:` of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rest) enum Kind {
    Leader,
    JobAppeared,
    JobChanged,
    JobEnded,
    CheckpointTriggered,
    CheckpointCompleted,
    CheckpointFailed,
    SavepointEnded,
    TaskManagerRegistered,
    TaskManagerSuspected,
    TaskManagerHeard,
    TaskManagerLeaves,
    TaskManagerLost,
}

/// The `event:` of what is said to one client alone: it has missed something.
pub(in crate::rest) const RESET: &str = "reset";

impl Kind {
    /// All of them.
    #[cfg(test)]
    const ALL: [Kind; 13] = [
        Kind::Leader,
        Kind::JobAppeared,
        Kind::JobChanged,
        Kind::JobEnded,
        Kind::CheckpointTriggered,
        Kind::CheckpointCompleted,
        Kind::CheckpointFailed,
        Kind::SavepointEnded,
        Kind::TaskManagerRegistered,
        Kind::TaskManagerSuspected,
        Kind::TaskManagerHeard,
        Kind::TaskManagerLeaves,
        Kind::TaskManagerLost,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Leader => "leader",
            Kind::JobAppeared => "job-appeared",
            Kind::JobChanged => "job-changed",
            Kind::JobEnded => "job-ended",
            Kind::CheckpointTriggered => "checkpoint-triggered",
            Kind::CheckpointCompleted => "checkpoint-completed",
            Kind::CheckpointFailed => "checkpoint-failed",
            Kind::SavepointEnded => "savepoint-ended",
            Kind::TaskManagerRegistered => "taskmanager-registered",
            Kind::TaskManagerSuspected => "taskmanager-suspected",
            Kind::TaskManagerHeard => "taskmanager-heard",
            Kind::TaskManagerLeaves => "taskmanager-leaves",
            Kind::TaskManagerLost => "taskmanager-lost",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_readme_has_every_kind_and_no_other() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let (_, section) = readme.split_once("\n## Events\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(','));
        let listed: Vec<&str> = cells.map(|cell| cell.trim().trim_matches('`')).collect();
        let kinds = Kind::ALL.map(Kind::name);
        let wanted: Vec<&str> = kinds.into_iter().chain([RESET]).collect();
        assert_eq!(listed, wanted);
    }
}
