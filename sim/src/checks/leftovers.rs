//! What must not stay: the state of a coordinator whose jobs and TaskManagers are gone.

use super::{Verdict, ensure};
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::id::{Epoch, JobId, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Discard, Input, StorageOutcome, WorkerReport};
use jobmanager_core::time::Timestamp;
use std::time::Duration;

/// Ends every session and every removal, and compares what is left with a coordinator that never saw anything, apart from
/// the jobs that are remembered.
pub(crate) fn leaves_nothing(
    mut coordinator: Coordinator,
    sessions: &[SessionId],
    config: ClusterConfig,
    epoch: Epoch,
    now: Timestamp,
) -> Verdict {
    for session in sessions {
        let ended = Input::Disconnected { session: *session };
        coordinator.step(now, ended, &mut Vec::new());
    }
    // What an ended job has left may still be under way, or to be tried again.
    let ended: Vec<JobId> = coordinator.lines().map(|job| job.id).collect();
    for job in ended {
        let removed = Input::Discarded {
            discard: Discard::Job(job),
            outcome: StorageOutcome::Done,
        };
        coordinator.step(now, removed, &mut Vec::new());
    }
    let workers: Vec<_> = coordinator.worker_ids().collect();
    for worker in workers {
        let report = WorkerReport::Gone(String::new());
        let ended = Input::Worker { worker, report };
        coordinator.step(now, ended, &mut Vec::new());
    }
    // Failed starts of workers are remembered for a while.
    let now = now + Duration::from_secs(61);
    coordinator.step(now, Input::Wake, &mut Vec::new());
    let Ok(mut fresh) = Coordinator::recover(config, epoch, Vec::new(), now) else {
        return Ok(());
    };
    fresh.step(now, Input::Wake, &mut Vec::new());
    let (left, nothing) = (text(&coordinator), text(&fresh));
    let name = "nothing_is_left_of_what_has_gone";
    ensure(left == nothing, name, || left.clone())
}

/// A coordinator in words, without the jobs that are remembered and the number of the last write.
fn text(coordinator: &Coordinator) -> String {
    let text = format!("{coordinator:?}");
    let cut = |text: &str, from: &str, to: &str| {
        let (before, rest) = text.split_once(from)?;
        let (_, after) = rest.split_once(to)?;
        Some(format!("{before}{to}{after}"))
    };
    let text = cut(&text, "archive: ", "journal: ").unwrap_or(text);
    // How many workers were asked for, and which are not to be heard of any more.
    let text = cut(&text, "workers: Workers", "all: ").unwrap_or(text);
    let text = cut(&text, "released: ", "required: ").unwrap_or(text);
    // The arena keeps the numbers of its entries; who is in it, the indexes say, too.
    let text = cut(&text, "tms: ", "by_session: ").unwrap_or(text);
    // A clock may have gone back since the coordinator looked at it.
    let text = cut(&text, "now: ", "by_session: ").unwrap_or(text);
    cut(&text, "last_commit: ", ", problem: ").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::checks::forge::plan;
    use jobmanager_core::config::cluster_config;
    use jobmanager_core::graph::JobGraph;
    use jobmanager_core::id::RequestId;
    use jobmanager_core::jobmanager::Command;
    use std::collections::BTreeMap;

    #[test]
    fn a_job_that_stays_is_seen() {
        let config = cluster_config(&BTreeMap::new(), &[]).unwrap();
        let (epoch, now) = (Epoch(1), Timestamp(5));
        let recovered = Coordinator::recover(config.clone(), epoch, Vec::new(), now);
        let mut coordinator = recovered.unwrap();
        let left = leaves_nothing(coordinator.clone(), &[], config.clone(), epoch, now);
        assert_eq!(left, Ok(()));
        let graph = JobGraph::validate(plan().spec(), &BTreeMap::new()).unwrap();
        let submit = Input::Command {
            request: RequestId(1),
            command: Command::Submit {
                graph: graph.into(),
                from: None,
            },
        };
        coordinator.step(now, submit, &mut Vec::new());
        let left = leaves_nothing(coordinator, &[], config, epoch, now);
        assert_eq!(left.unwrap_err().name, "nothing_is_left_of_what_has_gone");
    }
}
