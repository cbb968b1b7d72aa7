//! What becomes of the heartbeats of others when a job of a million subtasks is submitted: messages come at
//! their times, and wait while the coordinator is busy.

use crate::cluster::Cluster;
use crate::graph::graph;
use jobmanager_core::graph::Partitioning;
use jobmanager_core::id::SessionId;
use jobmanager_core::message::FromTaskManager;
use std::time::{Duration, Instant};

const TASKMANAGERS: u32 = 1_000;
/// 20,000 messages in each second.
const APART: Duration = Duration::from_micros(50);
const MESSAGES: u32 = 20_000;

/// How long messages waited and were worked on.
struct Latencies {
    p50: Duration,
    p99: Duration,
    longest: Duration,
}

/// Takes messages for a second; in its middle `other` is done, which is not one of them.
fn latencies(
    cluster: &mut Cluster,
    sessions: &[SessionId],
    mut other: impl FnMut(&mut Cluster),
) -> Latencies {
    let start = Instant::now();
    let mut waited = Vec::with_capacity(MESSAGES as usize);
    for number in 0..MESSAGES {
        let due = start + APART * number;
        if number == MESSAGES / 2 {
            other(cluster);
        }
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let session = sessions[number as usize % sessions.len()];
        let sequence = u64::from(number);
        cluster.say(session, FromTaskManager::Heartbeat { sequence });
        waited.push(due.elapsed());
    }
    waited.sort_unstable();
    let at = |permille: usize| waited[waited.len() * permille / 1_000];
    Latencies {
        p50: at(500),
        p99: at(990),
        longest: waited[waited.len() - 1],
    }
}

/// Prints the latencies of heartbeats without and with a submission among them, and its steps.
pub(crate) fn print_latencies() {
    for parallelism in [3_277, 32_768] {
        for (name, partitioning) in [
            ("all-to-all", Partitioning::Rebalance),
            ("pointwise", Partitioning::Forward),
        ] {
            let mut cluster = Cluster::start(&[]);
            let sessions = cluster.register(TASKMANAGERS, 1);
            let alone = latencies(&mut cluster, &sessions, |_| {});
            let (graph, mut steps) = (graph(parallelism, partitioning), Vec::new());
            let with = latencies(&mut cluster, &sessions, |cluster| {
                let before = Instant::now();
                let commit = cluster.submit(graph.clone());
                steps.push(before.elapsed());
                let before = Instant::now();
                cluster.stored(commit.expect("no write is under way"));
                steps.push(before.elapsed());
            });
            println!(
                "heartbeats beside a submission of 31 x {parallelism} {name} in steps of {:.1?} and {:.1?}: \
                 p50 {:.1?} -> {:.1?}, p99 {:.1?} -> {:.1?}, longest {:.1?} -> {:.1?}",
                steps[0],
                steps[1],
                alone.p50,
                with.p50,
                alone.p99,
                with.p99,
                alone.longest,
                with.longest,
            );
        }
    }
}
