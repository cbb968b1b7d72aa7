//! Whether a resource provider starts TaskManagers for jobs, and how well it does.

use super::metamorphic::MetamorphicOptions;
use super::options::{Latency, MS, SECOND};
use crate::plan::Tier;
use crate::tape::{Decisions, Stream};
use jobmanager_core::config::WorkersConfig;
use std::fmt;
use std::time::Duration;

/// What the resource provider is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerOptions {
    /// By TaskManager: whether its process lives for workers alone.
    pub seats: Vec<bool>,
    /// Of everything that the provider does.
    pub latency: Latency,
    /// In how many of a thousand starts it fails.
    pub failing: u64,
}

/// Draws one for TaskManagers with these slots, of which the first ones are nobody's business, and jobs that need so many
/// at least, and at most; none in most runs.
pub(crate) fn draw(
    tier: Tier,
    decisions: &mut Decisions,
    slots: &[u32],
    metamorphic: &MetamorphicOptions,
    needed: [u32; 2],
) -> Option<(WorkerOptions, WorkersConfig)> {
    let wanted = decisions.chance(Stream::Workers, 300);
    let share = decisions.choice(Stream::Workers, &[1_000, 500, 800]);
    let seats: Vec<bool> = (0..slots.len())
        .map(|index| decisions.chance(Stream::Workers, share) && index >= metamorphic.idle.len())
        .collect();
    let high = match tier {
        Tier::ControlPlane => decisions.choice(Stream::Workers, &[SECOND, 10 * SECOND, 100 * MS]),
        Tier::Dataflow => decisions.choice(Stream::Workers, &[100 * MS, 10 * MS, SECOND]),
    };
    let failing = decisions.choice(Stream::Workers, &[0, 0, 100, 500]);
    let mut seconds = |choices: &[u64]| {
        let drawn = decisions.choice(Stream::Workers, choices);
        Duration::from_millis(drawn)
    };
    let idle_timeout = seconds(&[30_000, 5_000, 500]);
    let registration_timeout = seconds(&[60_000, 20_000, 5_000]);
    let retry_interval = seconds(&[3_000, 500]);
    let max_failures = decisions.choice(Stream::Workers, &[10, 2, 1]);
    let of_seats = slots.iter().zip(&seats).filter(|(_, seat)| **seat);
    let largest = of_seats.map(|(slots, _)| *slots).max()?;
    let smaller = decisions.range(Stream::Workers, 1..=u64::from(largest));
    let smaller = u32::try_from(smaller).expect("as few as slots");
    let slots_each = decisions.choice(Stream::Workers, &[largest, largest, smaller]);
    // Enough, whatever the last one brings.
    let enough = needed.map(|slots| slots + slots_each - 1);
    let limits = [i32::MAX as u32, enough[1], enough[0]];
    let max_slots = decisions.choice(Stream::Workers, &limits);
    let options = WorkerOptions {
        seats,
        latency: high / 10..=high,
        failing,
    };
    let config = WorkersConfig {
        slots: slots_each,
        max_slots,
        idle_timeout,
        registration_timeout,
        max_failures,
        retry_interval,
    };
    wanted.then_some((options, config))
}

impl fmt::Display for WorkerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seats = self.seats.iter().filter(|seat| **seat).count();
        let (latency, failing) = (&self.latency, self.failing);
        writeln!(
            f,
            "workers      {seats} seats, {latency:?} us, failing {failing}/1000"
        )
    }
}
