//! Terms of leadership, one after the other: elected, the store opened, the coordinator rebuilt, led until the
//! lease or the store says otherwise, and everything let go of before the next campaign.
//!
//! Invariant: the store is closed, and nothing of the coordinator runs, before the lease is given up.

use super::{ServeError, join_words};
use crate::clock::Clock;
use crate::discard::CheckpointStorage;
use crate::driver::{Driver, DriverEnd, driver};
use crate::election::{Election, KnownLeader, Leader, Leaders, Lease, Lost};
use crate::gate::{Gate, Leading, Scheme};
use crate::logs::Logs;
use crate::metrics::MetricsTable;
use crate::options::Options;
use crate::recorder::{Recorder, RecordingFiles, Recordings};
use crate::rest::{Events, Latest, Rest, Submissions};
use crate::security::Guard;
use crate::store::{ChosenStore, Leadership, Store, StoreError};
use crate::traces::Spans;
use crate::workers::{self, Workers};
use jobmanager_core::id::Epoch;
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::recording::Header;
use std::sync::Arc;
use std::time::Duration;
use taskmanager::tls::{Called, Fresh, Reloads};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

/// How long a JobManager that has just lost or given up leadership lets others go first.
const AFTER_YOU: Duration = Duration::from_millis(500);

/// This process as a candidate and as a leader.
pub(super) struct Terms {
    election: Election,
    known: watch::Sender<Option<Leader>>,
    office: Office,
}

/// What a leader needs, and what is open while it leads.
struct Office {
    options: Options,
    storage: CheckpointStorage,
    addresses: Addresses,
    guard: Guard,
    others: Others,
    here: watch::Sender<Option<Arc<Leading>>>,
    /// Who has led before.
    leaders: Leaders,
    store: Option<ChosenStore>,
    driver: Option<DriverTask>,
    /// Who starts TaskManagers.
    provider: JoinSet<()>,
}

/// What has to do with others than those who have sessions or ask a leader, whoever leads.
pub(super) struct Others {
    /// How the replacement of certificates and tokens goes.
    pub(super) reloads: Arc<[Reloads]>,
    /// The certificates that others are shown.
    pub(super) shown: Arc<[Fresh<Called>]>,
    /// Reads the logs of TaskManagers.
    pub(super) logs: Logs,
    /// Takes spans for a collector of traces.
    pub(super) spans: Option<Spans>,
}

/// Where others reach this process.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    pub(super) rest: String,
    pub(super) rest_scheme: Scheme,
    pub(super) rpc: String,
}

/// Why a term is over.
enum End {
    /// Somebody else's turn.
    Lost(Lost),
    /// The store is not to be had now.
    Store(StoreError),
    /// The driver's own.
    Driver(DriverEnd),
    /// Nothing that another term would cure.
    Broken(ServeError),
}

impl Terms {
    /// A candidate that is reached at these addresses.
    ///
    /// # Errors
    /// The election cannot be taken part in.
    pub(super) fn new(
        options: Options,
        storage: CheckpointStorage,
        addresses: Addresses,
        guard: Guard,
        others: Others,
    ) -> Result<Terms, ServeError> {
        let known = watch::Sender::new(None);
        let leaders = Leaders::follow(known.subscribe());
        Ok(Terms {
            election: Election::open(options.election.clone())?,
            known,
            office: Office {
                options,
                storage,
                addresses,
                guard,
                others,
                here: watch::Sender::new(None),
                leaders,
                store: None,
                driver: None,
                provider: JoinSet::new(),
            },
        })
    }

    pub(super) fn gate(&self) -> Gate {
        let scheme = self.office.addresses.rest_scheme;
        Gate::new(self.office.here.subscribe(), self.known.subscribe(), scheme)
    }

    /// Whether this is one of several.
    pub(super) fn has_rivals(&self) -> bool {
        self.election.has_rivals()
    }

    /// The store that is open.
    #[cfg(test)]
    pub(super) fn store(&self) -> Option<&ChosenStore> {
        self.office.store.as_ref()
    }

    /// Takes the lead without asking anybody.
    ///
    /// # Errors
    /// The store cannot be opened or read.
    pub(super) async fn lead_alone(&mut self) -> Result<(), ServeError> {
        self.office.begin(Lease::endless()).await.map(drop)
    }

    /// Stands by and leads by turns, until something is beyond repair. May be dropped at any time; then
    /// [`Terms::end`] has to follow.
    pub(super) async fn serve(&mut self) -> ServeError {
        loop {
            let end = self.term().await;
            self.end().await;
            match end {
                End::Broken(error) => return error,
                End::Driver(end @ DriverEnd::Panicked(_)) => return end.into(),
                End::Driver(end) if !self.has_rivals() => return end.into(),
                End::Driver(end) => warn!(reason = %end, "leading no more; standing by"),
                End::Lost(lost) => warn!(reason = %lost, "leading no more; standing by"),
                End::Store(problem) => {
                    warn!(%problem, "elected, but the store cannot be used; standing by");
                }
            }
            tokio::time::sleep(AFTER_YOU).await;
        }
    }

    /// From the campaign to the end of leadership.
    async fn term(&mut self) -> End {
        let Terms {
            election,
            known,
            office,
        } = self;
        if office.driver.is_some() {
            return End::Driver(office.driver_ended().await);
        }
        info!("standing by");
        let lease = election.campaign(known).await;
        let (announce, announced) = watch::channel(None);
        // The lease is kept while the store is read, however long that takes.
        tokio::select! {
            end = office.lead(lease, known, &announce) => end,
            lost = election.keep(announced) => End::Lost(lost),
        }
    }

    /// Ends the term: nothing runs, the store is closed, and others may lead.
    pub(super) async fn end(&mut self) {
        self.known.send_replace(None);
        self.office.close().await;
        self.election.resign().await;
    }
}

impl Office {
    async fn lead(
        &mut self,
        lease: Lease,
        known: &KnownLeader,
        announce: &watch::Sender<Option<Leader>>,
    ) -> End {
        let epoch = match self.begin(lease).await {
            Ok(epoch) => epoch,
            Err(ServeError::Store(problem)) if problem.may_pass() => return End::Store(problem),
            Err(error) => return End::Broken(error),
        };
        let Addresses { rest, rpc, .. } = self.addresses.clone();
        let leader = Some(Leader { epoch, rest, rpc });
        announce.send_replace(leader.clone());
        known.send_replace(leader);
        End::Driver(self.driver_ended().await)
    }

    /// Waits for the end of the driver that was started.
    async fn driver_ended(&mut self) -> DriverEnd {
        let driver = self.driver.as_mut().expect("it was started before");
        let ended = (&mut driver.0).await;
        self.driver = None;
        ended.unwrap_or_else(|error| DriverEnd::Panicked(join_words(error)))
    }

    /// Opens the store and starts the coordinator.
    async fn begin(&mut self, lease: Lease) -> Result<Epoch, ServeError> {
        let options = &self.options;
        // The folder first: the checkpoints may be inside it, and it has to be empty or ours.
        let store = self.store.insert(options.store.open().await?).clone();
        self.storage.make_folder()?;
        let leadership = store.load().await?;
        let (epoch, clock) = (leadership.epoch, Clock::start());
        let (records, now) = (leadership.records.len(), clock.now());
        let recorder = recorder(options, &leadership, now);
        let config = options.cluster.clone();
        let coordinator = Coordinator::recover(config, epoch, leadership.records, now);
        let coordinator = coordinator.map_err(|problem| ServeError::Recover {
            store: options.store.to_string(),
            problem,
        })?;
        let Addresses { rest, rpc, .. } = &self.addresses;
        let address: Arc<str> = rest.as_str().into();
        info!(epoch = epoch.0, records, store = %options.store, rest, rpc, "leading");
        let (driver, driver_loop) = driver(coordinator, epoch, clock, store, self.storage.clone());
        let files = RecordingFiles::new(options.flight_recorder.dir.clone());
        let (workers, provider) = self.provide_workers(&driver, &lease);
        self.provider = provider;
        let driver_loop = driver_loop.leased(lease.clone()).with_workers(workers);
        let mut driver_loop = driver_loop.limited(options.limits.jobs);
        if let Some(recorder) = recorder {
            driver_loop = driver_loop.recorded(recorder, files.clone());
        }
        let metrics = MetricsTable::default();
        let events = Events::of(
            &driver,
            lease.clone(),
            address.clone(),
            self.others.spans.clone(),
        );
        let rest = Rest {
            driver: driver.clone(),
            metrics: metrics.clone(),
            timeout: options.web_timeout,
            refresh: options.web_refresh,
            job_defaults: Arc::new(options.job_defaults.clone()),
            checkpoint_storage: options.cluster.checkpoint_storage.as_str().into(),
            submissions: Submissions::limited(options.limits.submissions),
            guard: self.guard.clone(),
            reloads: self.others.reloads.clone(),
            shown: self.others.shown.clone(),
            logs: self.others.logs.clone(),
            spans: self.others.spans.clone(),
            web: options.web_dir.as_deref().map(Arc::from),
            address,
            events,
            leaders: self.leaders.clone(),
            disposals: Latest::default(),
        };
        self.driver = Some(DriverTask(tokio::spawn(driver_loop.run())));
        self.here.send_replace(Some(Arc::new(Leading {
            lease,
            router: rest.router(),
            recordings: Recordings::new(driver.clone(), files),
            driver,
            metrics,
        })));
        Ok(epoch)
    }

    /// Begins to provide TaskManagers, if somebody does.
    fn provide_workers(&self, driver: &Driver, lease: &Lease) -> (Workers, JoinSet<()>) {
        let Options {
            provider,
            jobmanagers,
            cluster,
            security,
            log_memory,
            ..
        } = &self.options;
        let jobmanagers = jobmanagers.as_ref().unwrap_or(&self.addresses.rpc);
        let term = workers::Term {
            #[cfg(feature = "kubernetes")]
            epoch: driver.telemetry().epoch,
            driver: driver.clone(),
            lease: lease.clone(),
            jobmanagers: jobmanagers.clone(),
            slots: cluster.workers.as_ref().map_or(1, |workers| workers.slots),
            log_memory: *log_memory,
            tls: security.internal.clone(),
            allow_insecure: security.allow_insecure,
        };
        provider.begin(term)
    }

    async fn close(&mut self) {
        self.here.send_replace(None);
        self.provider.shutdown().await;
        if let Some(mut driver) = self.driver.take() {
            // With the driver its outboxes are dropped, and so every session ends.
            driver.0.abort();
            let _ = (&mut driver.0).await;
        }
        if let Some(store) = self.store.take() {
            store.close().await;
        }
    }
}

/// The driver on a task of its own, which ends with this.
struct DriverTask(JoinHandle<DriverEnd>);

impl Drop for DriverTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What records the coordinator that starts from these records, unless that is switched off.
fn recorder(options: &Options, leadership: &Leadership, now: Timestamp) -> Option<Recorder> {
    let header = Header {
        program: concat!("jobmanager ", env!("CARGO_PKG_VERSION")).to_owned(),
        epoch: leadership.epoch,
        config: options.cluster.clone(),
    };
    let memory = options.flight_recorder.memory;
    (memory > 0).then(|| Recorder::new(memory, header, &leadership.records, now))
}
