//! Resource providers: who starts TaskManagers when jobs need them, and ends them when none does. The driver passes
//! the coordinator's orders on, and a provider says what became of each worker.
//!
//! A provider works for one term of leadership, on a task of its own, so that nobody waits for it. It says first which
//! workers there are, whoever has started them, and from then on what happens to each, in that order. It starts none
//! again that has ended: the coordinator asks for another one. Of a worker that was to be ended it says only that it has.
//! What fails is tried again after longer and longer pauses, and why is told of the worker.
//!
//! Invariant: nothing is started or ended after the end of the lease.

#[cfg(feature = "kubernetes")]
mod kubernetes;
mod process;

#[cfg(feature = "kubernetes")]
pub use kubernetes::{PodPlace, PodSettings};
pub use process::ProcessPlace;

use crate::driver::Driver;
use crate::election::Lease;
#[cfg(feature = "kubernetes")]
use jobmanager_core::id::Epoch;
use jobmanager_core::id::WorkerId;
use jobmanager_core::jobmanager::{Input, WorkerReport};
use std::collections::VecDeque;
use std::time::Duration;
use taskmanager::tls::Credentials;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::error;

/// The first pause after something has failed, and the longest one: each is twice as long as the one before.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// See [`SHORTEST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a TaskManager that is told to end may take to leave, and then to say what is left to say.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(20);
/// See [`LEAVE_TIMEOUT`].
const LEAVE_MARGIN: Duration = Duration::from_secs(10);

/// Who starts TaskManagers.
#[derive(Debug, Clone)]
pub enum ProviderPlace {
    /// Somebody else, before jobs need them.
    None,
    /// This program, as processes of this machine.
    Process(ProcessPlace),
    /// Kubernetes, as pods.
    #[cfg(feature = "kubernetes")]
    Kubernetes(Box<PodPlace>),
}

/// What a provider has to know of the term in which it works.
pub(crate) struct Term {
    /// Which term.
    #[cfg(feature = "kubernetes")]
    pub(crate) epoch: Epoch,
    /// Who is told.
    pub(crate) driver: Driver,
    /// For how long it may do something.
    pub(crate) lease: Lease,
    /// Where a TaskManager finds the JobManagers: `HOST:PORT`, with commas between several.
    pub(crate) jobmanagers: String,
    /// How many slots a TaskManager has.
    pub(crate) slots: u32,
    /// How much of its log a process of this machine keeps in memory. Bytes.
    pub(crate) log_memory: u64,
    /// What a process of this machine shows to the other members of the cluster, and asks of them.
    pub(crate) tls: Option<Credentials>,
    /// Whether the members do without that.
    pub(crate) allow_insecure: bool,
}

impl Term {
    async fn list(&self, present: Vec<WorkerId>) {
        self.driver.input(Input::Workers { present }).await;
    }

    async fn report(&self, worker: WorkerId, report: WorkerReport) {
        self.driver.input(Input::Worker { worker, report }).await;
    }
}

impl ProviderPlace {
    /// Begins a term: the driver's end of the provider, and what runs until it is dropped.
    pub(crate) fn begin(&self, term: Term) -> (Workers, JoinSet<()>) {
        let mut running = JoinSet::new();
        let (workers, orders) = Workers::channel();
        match self {
            ProviderPlace::None => return (Workers::default(), running),
            ProviderPlace::Process(place) => {
                running.spawn(process::provide(place.clone(), term, orders));
            }
            #[cfg(feature = "kubernetes")]
            ProviderPlace::Kubernetes(place) => {
                running.spawn(kubernetes::provide((**place).clone(), term, orders));
            }
        }
        (workers, running)
    }
}

/// The pause after one that was in vain.
fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

/// How many orders may wait for a provider. The coordinator bounds how many workers there are.
const WAITING: usize = 32_768;

/// What a provider is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerOrder {
    /// Start it, once.
    Start(WorkerId),
    /// End it, or do not start it; only its end is to be told.
    End(WorkerId),
}

/// The driver's end of a provider, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Workers(Option<mpsc::Sender<WorkerOrder>>);

impl Workers {
    /// That of a provider, and the provider's.
    fn channel() -> (Workers, mpsc::Receiver<WorkerOrder>) {
        let (orders, taken) = mpsc::channel(WAITING);
        (Workers(Some(orders)), taken)
    }

    /// Starts these; who cannot be asked for is gone.
    pub(crate) fn request(&self, workers: Vec<WorkerId>, follow_ups: &mut VecDeque<Input>) {
        for worker in workers {
            if !self.order(WorkerOrder::Start(worker)) {
                let report = WorkerReport::Gone("the resource provider takes no orders".to_owned());
                follow_ups.push_back(Input::Worker { worker, report });
            }
        }
    }

    /// Ends this one.
    pub(crate) fn release(&self, worker: WorkerId) {
        if !self.order(WorkerOrder::End(worker)) {
            error!(%worker, "the resource provider takes no orders: the worker is not ended");
        }
    }

    fn order(&self, order: WorkerOrder) -> bool {
        let orders = self.0.as_ref();
        orders.is_some_and(|orders| orders.try_send(order).is_ok())
    }
}
