//! What a resource provider is told, and by whom: the driver passes the coordinator's orders on, and a provider says
//! what became of each worker.

use jobmanager_core::id::WorkerId;
use jobmanager_core::jobmanager::{Input, WorkerReport};
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tracing::error;

/// How many orders may wait for a provider. The coordinator bounds how many workers there are.
const WAITING: usize = 32_768;

/// What a provider is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerOrder {
    /// Start it, once.
    Start(WorkerId),
    /// End it, or do not start it; nothing is to be said of it any more.
    End(WorkerId),
}

/// The driver's end of a provider, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Workers(Option<mpsc::Sender<WorkerOrder>>);

impl Workers {
    /// That of a provider, and the provider's.
    pub(crate) fn channel() -> (Workers, mpsc::Receiver<WorkerOrder>) {
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
