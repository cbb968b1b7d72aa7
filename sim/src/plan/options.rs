//! Everything that is drawn before a run starts: cluster, jobs, latencies, faults. Printed first.

use super::clocks::ClockOptions;
use super::crowd::CrowdOptions;
use super::demands::{self, DemandPlan};
use super::faults::FaultOptions;
use super::leaders::LeaderOptions;
use super::metamorphic::MetamorphicOptions;
use super::patience;
use super::priorities;
use super::rescales;
use super::retentions;
use super::savepoints;
use super::workers::{self, WorkerOptions};
use super::{budget, strands, workload};
use crate::plan::job::JobPlan;
use crate::plan::tier::Tier;
use crate::plan::{RescalePlan, RetentionPlan, SavepointPlan};
use crate::storage::blobs::ROOT;
use crate::tape::{Decisions, Stream};
use jobmanager_core::config::ClusterConfig;
use jobmanager_core::id::JobId;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Simulated time: microseconds since the start of the run.
pub type Micros = u64;

/// A millisecond of simulated time.
pub(crate) const MS: Micros = 1_000;
/// A second of simulated time.
pub(crate) const SECOND: Micros = 1_000_000;

/// Decisions about TaskManagers at most.
const CLUSTER_ROOM: usize = 8;
/// Decisions about clients at most.
const CLIENTS_ROOM: usize = 16;
/// Decisions about leaders at most.
const LEADERS_ROOM: usize = 24;

/// A range of latencies, in microseconds.
pub type Latency = RangeInclusive<Micros>;

/// What a run is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How much is simulated.
    pub tier: Tier,
    /// The slots of each TaskManager.
    pub slots: Vec<u32>,
    /// The jobs that clients submit.
    pub jobs: Vec<JobPlan>,
    /// The options of JobManager and TaskManagers.
    pub cluster: ClusterConfig,
    /// Between any two nodes, one way.
    pub network: Latency,
    /// In how many of a thousand messages the network is a hundred times slower.
    pub slow_messages: u64,
    /// The metadata store.
    pub store: StoreOptions,
    /// The checkpoint storage.
    pub blobs: BlobOptions,
    /// How long a task takes for a few frames.
    pub task_pace: Latency,
    /// From the order to stop to the end of a task.
    pub cancel_delay: Latency,
    /// How many of a thousand tasks never stop when they are told to.
    pub stuck: u64,
    /// Frames that a producer may send ahead on a channel.
    pub credit: u32,
    /// Every message of a session arrives twice: the second time it must change nothing.
    pub twice: bool,
    /// What must change nothing.
    pub metamorphic: MetamorphicOptions,
    /// What breaks.
    pub faults: FaultOptions,
    /// What clients do.
    pub clients: ClientOptions,
    /// Who leads.
    pub leaders: LeaderOptions,
    /// What time it seems to be.
    pub clocks: ClockOptions,
    /// What further clients do.
    pub crowd: CrowdOptions,
    /// Which savepoints clients want.
    pub savepoints: Vec<SavepointPlan>,
    /// Which jobs get another parallelism.
    pub rescales: Vec<RescalePlan>,
    /// Which checkpoints clients want at once.
    pub demands: Vec<DemandPlan>,
    /// Whose last checkpoint outlives it.
    pub retentions: Vec<RetentionPlan>,
    /// Who starts TaskManagers for jobs, if anybody does.
    pub workers: Option<WorkerOptions>,
}

/// How the metadata store behaves during the safety phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Of a write.
    pub latency: Latency,
    /// In how many of a thousand writes it is refused.
    pub unavailable: u64,
    /// In how many of a thousand writes the answer is lost.
    pub unknown: u64,
}

/// How the checkpoint storage behaves during the safety phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobOptions {
    /// Of every call.
    pub latency: Latency,
    /// In how many of a thousand calls it fails.
    pub failing: u64,
}

/// What clients do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// When each job is submitted.
    pub submit: Vec<Micros>,
    /// When each job is canceled, if it is.
    pub cancel: Vec<Option<Micros>>,
    /// How often each job is submitted once more, at any time.
    pub repeats: u64,
    /// How long a client waits for an answer before it asks again.
    pub patience: Micros,
}

impl Options {
    /// Draws what a run is like.
    #[must_use]
    pub fn draw(tier: Tier, decisions: &mut Decisions) -> Options {
        let mut jobs = workload::jobs(tier, decisions);
        strands::add(tier, decisions, &mut jobs);
        budget::limit(decisions, &mut jobs);
        let needed = jobs.iter().map(JobPlan::slots).sum();
        let mut slots = decisions.within(Stream::Options, CLUSTER_ROOM, |decisions| {
            taskmanagers(tier, decisions, needed)
        });
        let metamorphic = MetamorphicOptions::draw(decisions);
        // The last ones may die for ever.
        slots.splice(0..0, metamorphic.idle.iter().copied());
        let safety = safety(tier, decisions);
        let clients = decisions.within(Stream::Options, CLIENTS_ROOM, |decisions| {
            clients(decisions, jobs.len(), safety)
        });
        let leaders = leaders(tier, decisions, &mut slots);
        let mut faults = FaultOptions::draw(tier, decisions, safety, needed, &mut slots);
        let crowd = CrowdOptions::draw(decisions, &jobs);
        let savepoints = savepoints::draw(tier, decisions, &jobs, safety);
        let rescales = rescales::draw(tier, decisions, &mut jobs, safety);
        let demands = demands::draw(decisions, &jobs, safety);
        patience::draw(decisions, &mut jobs);
        let retentions = retentions::draw(decisions, &mut jobs);
        priorities::draw(decisions, &mut jobs);
        let needed = [least_slots(&jobs, &rescales), needed];
        let drawn = workers::draw(tier, decisions, &slots, &metamorphic, needed);
        let (workers, config) = drawn.unzip();
        if let Some(workers) = &workers {
            faults.spare(&workers.seats);
        }
        let all = with_successors(&jobs, &savepoints, &retentions);
        let max_slots_per_job = priorities::quota(decisions, &all, !rescales.is_empty());
        Options {
            tier,
            slots,
            cluster: ClusterConfig {
                workers: config,
                max_slots_per_job,
                ..cluster(tier, decisions)
            },
            network: latency(decisions, Stream::Options, 20, 5 * MS),
            slow_messages: decisions.choice(Stream::Options, &[0, 0, 1, 10, 50]),
            store: StoreOptions {
                latency: latency(decisions, Stream::Options, 50, 40 * MS),
                unavailable: decisions.choice(Stream::Options, &[0, 0, 20, 200]),
                unknown: decisions.choice(Stream::Options, &[0, 0, 20, 200]),
            },
            blobs: BlobOptions {
                latency: latency(decisions, Stream::Options, 50, 40 * MS),
                failing: decisions.choice(Stream::Options, &[0, 0, 5, 50]),
            },
            task_pace: latency(decisions, Stream::Options, 50, 2 * MS),
            cancel_delay: latency(decisions, Stream::Options, 100, 500 * MS),
            stuck: decisions.choice(Stream::Options, &[0, 0, 0, 20, 200]),
            credit: decisions.choice(Stream::Options, &[8, 4, 2]),
            twice: decisions.chance(Stream::Options, 200),
            metamorphic,
            faults,
            clients,
            crowd,
            savepoints,
            rescales,
            demands,
            retentions,
            workers,
            leaders,
            clocks: ClockOptions::draw(decisions),
            jobs,
        }
    }

    /// The jobs that may come to be: those that are submitted, and those that start where one of them stops.
    pub(crate) fn all_jobs(&self) -> Vec<JobPlan> {
        with_successors(&self.jobs, &self.savepoints, &self.retentions)
    }

    /// The job that starts from what this one leaves, if one does, and so long after its end.
    pub(crate) fn successor(&self, job: JobId) -> Option<(Micros, JobPlan)> {
        let savepoints = self.savepoints.iter();
        let mut savepoints = savepoints.filter(|it| it.request.job == job);
        let from_savepoint =
            savepoints.find_map(|it| Some((it.successor?, it.successor(&self.jobs)?)));
        let mut retentions = self.retentions.iter();
        let retention = retentions.find(|it| it.job == job);
        let from_checkpoint =
            || retention.and_then(|it| Some((it.successor?, it.successor(&self.jobs)?)));
        from_savepoint.or_else(from_checkpoint)
    }

    /// Whether who starts from what this job leaves claims that.
    pub(crate) fn is_claimed(&self, job: JobId) -> bool {
        let mut retentions = self.retentions.iter();
        retentions.any(|it| it.job == job && it.claims)
    }

    /// How many TaskManagers there are at first.
    #[must_use]
    pub fn taskmanagers(&self) -> usize {
        self.slots.len()
    }
}

/// These jobs, and those that start where one of them ends: one at the most.
fn with_successors(
    jobs: &[JobPlan],
    savepoints: &[SavepointPlan],
    retentions: &[RetentionPlan],
) -> Vec<JobPlan> {
    let stopped = savepoints.iter().filter_map(|it| it.successor(jobs));
    let mut all: Vec<JobPlan> = jobs.iter().cloned().chain(stopped).collect();
    for successor in retentions.iter().filter_map(|it| it.successor(jobs)) {
        if all.iter().all(|known| known.id != successor.id) {
            all.push(successor);
        }
    }
    all
}

/// A range of latencies: from its lower end up to somewhere below `high`.
pub(super) fn latency(
    decisions: &mut Decisions,
    stream: Stream,
    low: Micros,
    high: Micros,
) -> Latency {
    let magnitude = decisions.choice(stream, &[100, 10, 3, 1]);
    let low = decisions.range(stream, low..=2 * low);
    low..=low.max(high / magnitude)
}

fn leaders(tier: Tier, decisions: &mut Decisions, slots: &mut Vec<u32>) -> LeaderOptions {
    let mut leaders = decisions.within(Stream::Leaders, LEADERS_ROOM, |decisions| {
        LeaderOptions::draw(tier, decisions)
    });
    leaders.double(slots);
    leaders
}

/// With how many slots all jobs run: one that follows the slots, and has them for itself, with few.
fn least_slots(jobs: &[JobPlan], rescales: &[RescalePlan]) -> u32 {
    match (jobs, rescales) {
        ([job], []) => job.least_slots(),
        (jobs, _) => jobs.iter().map(JobPlan::slots).sum(),
    }
}

/// For how long faults come.
fn safety(tier: Tier, decisions: &mut Decisions) -> Micros {
    match tier {
        // Most runs take the ten minutes that this tier is for.
        Tier::ControlPlane => {
            let minutes = decisions.choice(Stream::Options, &[1, 4, 9, 9, 9, 9, 9, 9]);
            minutes * 60 * SECOND
        }
        Tier::Dataflow => decisions.range(Stream::Options, 2 * SECOND..=15 * SECOND),
    }
}

/// The slots of each TaskManager, so that all jobs fit.
fn taskmanagers(tier: Tier, decisions: &mut Decisions, needed: u32) -> Vec<u32> {
    let (counts, sizes): (&[u64], &[u32]) = match tier {
        Tier::ControlPlane => (&[2, 3, 4, 4, 4, 4, 4, 4], &[4]),
        Tier::Dataflow => (&[1, 2, 3, 4], &[2, 1, 3, 4]),
    };
    let count = decisions.choice(Stream::Options, counts);
    let mut slots: Vec<u32> = (0..count)
        .map(|_| decisions.choice(Stream::Options, sizes))
        .collect();
    for at in (0..slots.len()).cycle() {
        if slots.iter().sum::<u32>() >= needed {
            break;
        }
        slots[at] += 1;
    }
    slots
}

fn cluster(tier: Tier, decisions: &mut Decisions) -> ClusterConfig {
    let mut ms = |choices: &[u64]| {
        let drawn = decisions.choice(Stream::Options, choices);
        Duration::from_millis(drawn)
    };
    let heartbeat_interval = match tier {
        Tier::ControlPlane => ms(&[10_000, 5_000, 3_000, 1_000]),
        Tier::Dataflow => ms(&[500, 200, 1_000, 2_000]),
    };
    ClusterConfig {
        heartbeat_interval,
        heartbeat_timeout: heartbeat_interval * 4,
        reconciliation_timeout: ms(&[2_000, 500, 5_000, 10_000]),
        grace_period: ms(&[10_000, 2_000, 30_000]),
        cancellation_timeout: ms(&[1_000, 3_000, 10_000]),
        registration_initial: ms(&[100, 20, 500]),
        registration_max: ms(&[1_000, 500, 3_000, 30_000]),
        registration_refused: ms(&[500, 100, 2_000]),
        checkpoint_storage: ROOT.to_owned(),
        exception_history: 16,
        checkpoint_history: 10,
        job_store_capacity: 50,
        max_slots_per_job: u32::MAX,
        workers: None,
    }
}

fn clients(decisions: &mut Decisions, jobs: usize, safety: Micros) -> ClientOptions {
    let submit = (0..jobs)
        .map(|_| decisions.range(Stream::Options, 0..=safety / 3))
        .collect();
    let cancel = (0..jobs)
        .map(|_| {
            let wanted = decisions.chance(Stream::Options, 200);
            wanted.then(|| decisions.range(Stream::Options, 0..=safety + SECOND))
        })
        .collect();
    ClientOptions {
        submit,
        cancel,
        repeats: decisions.choice(Stream::Options, &[0, 1, 3]),
        patience: decisions.choice(Stream::Options, &[SECOND, 200 * MS, 5 * SECOND]),
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tier         {}", self.tier)?;
        writeln!(f, "slots        {:?}", self.slots)?;
        writeln!(
            f,
            "network      {:?} us, slow {}/1000",
            self.network, self.slow_messages
        )?;
        writeln!(f, "store        {:?}", self.store)?;
        writeln!(f, "blobs        {:?}", self.blobs)?;
        writeln!(
            f,
            "tasks        pace {:?} us, cancel {:?} us, stuck {}/1000, credit {}",
            self.task_pace, self.cancel_delay, self.stuck, self.credit
        )?;
        writeln!(f, "messages     twice: {}", self.twice)?;
        write!(f, "{}", self.metamorphic)?;
        write!(f, "{}", self.faults)?;
        writeln!(f, "clients      {:?}", self.clients)?;
        write!(f, "{}", self.crowd)?;
        for rescale in &self.rescales {
            write!(f, "{rescale}")?;
        }
        for demand in &self.demands {
            write!(f, "{demand}")?;
        }
        for savepoint in &self.savepoints {
            write!(f, "{savepoint}")?;
        }
        for retention in &self.retentions {
            write!(f, "{retention}")?;
        }
        if let Some(workers) = &self.workers {
            write!(f, "{workers}")?;
        }
        writeln!(f, "leaders      {}", self.leaders)?;
        writeln!(f, "clocks       {}", self.clocks)?;
        writeln!(f, "cluster      {:?}", self.cluster)?;
        for job in &self.jobs {
            writeln!(f, "job          {}", job.id)?;
            for vertex in &job.vertices {
                writeln!(f, "  vertex     {vertex:?}")?;
            }
            for edge in &job.edges {
                let partitioning = edge.partitioning.name();
                writeln!(
                    f,
                    "  edge       {} -> {} {partitioning}",
                    edge.source, edge.target
                )?;
            }
            for (key, value) in &job.configuration {
                writeln!(f, "  {key}: {value}")?;
            }
        }
        Ok(())
    }
}
