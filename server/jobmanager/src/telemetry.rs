//! How the driver does: how long its steps and writes take, and what waits for it. Kept where it happens, read by
//! whoever scrapes.
//!
//! Not what the coordinator knows, which is in its views; and the coordinator knows nothing of this.

use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::StoreOutcome;
use jobmanager_core::time::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// The numbers of one term; clones share them.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// The epoch of the coordinator.
    pub epoch: Epoch,
    /// When its term began.
    pub since: Timestamp,
    steps: Histogram,
    commits: Histogram,
    outcomes: Family<Outcome, Counter>,
    silences: Histogram,
    /// Commands that wait for their reply.
    pub(crate) commands: Gauge,
    /// Deletions that wait.
    pub(crate) deletions: Gauge,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Telemetry {
    /// Of a term that begins now.
    #[must_use]
    pub fn new(epoch: Epoch, since: Timestamp) -> Telemetry {
        Telemetry {
            epoch,
            since,
            // 1 µs to 4 s.
            steps: Histogram::new(exponential_buckets(1e-6, 4.0, 12)),
            // 100 µs to 26 s.
            commits: Histogram::new(exponential_buckets(1e-4, 4.0, 10)),
            outcomes: Family::default(),
            // 1 ms to 65 s.
            silences: Histogram::new(exponential_buckets(1e-3, 4.0, 9)),
            commands: Gauge::default(),
            deletions: Gauge::default(),
        }
    }

    /// The coordinator has taken an input.
    pub(crate) fn step(&self, took: Duration) {
        self.steps.observe(took.as_secs_f64());
    }

    /// The store has answered.
    pub(crate) fn commit(&self, took: Duration, outcome: &StoreOutcome) {
        self.commits.observe(took.as_secs_f64());
        let outcome = match outcome {
            StoreOutcome::Done => "done",
            StoreOutcome::Fenced => "fenced",
            StoreOutcome::Unavailable(_) => "unavailable",
            StoreOutcome::Unknown(_) => "unknown",
        };
        self.outcomes.get_or_create(&Outcome { outcome }).inc();
    }

    /// A session has ended whose TaskManager was last heard so long ago.
    pub(crate) fn lost(&self, silence: Duration) {
        self.silences.observe(silence.as_secs_f64());
    }

    /// Registers all of them.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "jobmanager_step_seconds",
            "Time of a step of the coordinator, in which nobody else is heard",
            self.steps.clone(),
        );
        registry.register(
            "jobmanager_store_commit_seconds",
            "Time of a write to the store",
            self.commits.clone(),
        );
        registry.register(
            "jobmanager_store_commits",
            "Writes to the store, by what came of them",
            self.outcomes.clone(),
        );
        registry.register(
            "jobmanager_detection_seconds",
            "Silence of a TaskManager before the end of its session was noticed, no less than the time to notice it",
            self.silences.clone(),
        );
    }
}
