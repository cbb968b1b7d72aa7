//! TaskManagers as pods of Kubernetes, `CLUSTER-ID-taskmanager-EPOCH-NUMBER`, each made of one template.
//!
//! ```text
//!  orders ──► what is wanted ─┐                    ┌── watch: what there is
//!                             └─► one call per pod ◄┘
//!                                 create, delete
//! ```
//!
//! Whatever is told or seen changes what is known of a worker, and then what is missing is done: at most one call at a
//! time of each worker, and few of all of them. A pod is deleted when it is not wanted any more, and when it has ended.
//! What another leader of this cluster has made belongs to this one, too.

mod calls;
mod owner;
mod place;
mod status;
mod template;
mod watch;

pub use place::PodPlace;
pub use template::PodSettings;

use super::{LONGEST_PAUSE, SHORTEST_PAUSE, Term, WorkerOrder, longer};
use calls::{create, delete, look, surroundings};
use jobmanager_core::id::WorkerId;
use jobmanager_core::jobmanager::WorkerReport;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use status::{Stage, brief};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};
use watch::Seen;

/// How many calls are under way at a time.
const CALLS: usize = 16;
/// How many changes of pods may wait.
const WAITING: usize = 1_024;

/// Whether there is a pod, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    Missing,
    There,
    /// It goes by itself.
    Going,
}

/// What is known of a worker.
#[derive(Debug)]
struct Worker {
    existence: Existence,
    /// Whether there is to be a pod. If not, only its end is told.
    is_wanted: bool,
    /// Whether a call is under way, or the pause after one that was in vain.
    is_busy: bool,
    pause: Duration,
    /// What was told last.
    told: Option<WorkerReport>,
}

impl Worker {
    fn new(existence: Existence) -> Worker {
        Worker {
            existence,
            is_wanted: true,
            is_busy: false,
            pause: SHORTEST_PAUSE,
            told: None,
        }
    }
}

/// What comes of a call, or the end of a pause.
#[derive(Debug)]
enum Event {
    Created(WorkerId, Result<(), String>),
    /// Whether it goes by itself from now on; otherwise it is gone.
    Deleted(WorkerId, Result<bool, String>),
    Looked(WorkerId, Option<Stage>),
    /// That cannot be seen; it is looked at again after a pause.
    Missed(WorkerId, Duration),
    Again(WorkerId),
}

struct Provider {
    place: PodPlace,
    term: Arc<Term>,
    api: Api<Pod>,
    owner: Option<OwnerReference>,
    all: BTreeMap<WorkerId, Worker>,
    /// Whether it was told which there are.
    is_listed: bool,
    calls: Arc<Semaphore>,
    events: JoinSet<Event>,
}

/// Carries out the orders of one term.
pub(super) async fn provide(place: PodPlace, term: Term, mut orders: mpsc::Receiver<WorkerOrder>) {
    let mut provider = Provider::begin(place, term).await;
    let (tell, mut seen) = mpsc::channel(WAITING);
    let mut watching = JoinSet::new();
    watching.spawn(watch::watch(
        provider.api.clone(),
        provider.place.names.clone(),
        tell,
    ));
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => provider.order(order).await,
                None => return,
            },
            Some(seen) = seen.recv() => provider.see(seen).await,
            Some(event) = provider.events.join_next() => {
                let event = event.expect("none of them panics or is aborted while there is a provider");
                provider.happens(event).await;
            }
        }
    }
}

impl Provider {
    /// Finds out where to work. That is tried until it succeeds.
    async fn begin(place: PodPlace, term: Term) -> Provider {
        let mut pause = SHORTEST_PAUSE;
        let (api, owner) = loop {
            match surroundings(&place).await {
                Ok(found) => break found,
                Err(problem) => warn!(%problem, "Kubernetes cannot be asked for TaskManagers"),
            }
            sleep(pause).await;
            pause = longer(pause);
        };
        Provider {
            place,
            term: Arc::new(term),
            api,
            owner,
            all: BTreeMap::new(),
            is_listed: false,
            calls: Arc::new(Semaphore::new(CALLS)),
            events: JoinSet::new(),
        }
    }

    async fn order(&mut self, order: WorkerOrder) {
        let (worker, is_wanted) = match order {
            WorkerOrder::Start(worker) => (worker, true),
            WorkerOrder::End(worker) => (worker, false),
        };
        // A pod of that name may be there from before the records were lost.
        let known = self.all.entry(worker);
        let known = known.or_insert_with(|| Worker::new(Existence::Missing));
        known.is_wanted = is_wanted;
        self.drive(worker).await;
    }

    async fn see(&mut self, seen: Seen) {
        match seen {
            Seen::All(pods) if self.is_listed => {
                let there: BTreeSet<_> = pods.iter().map(|(worker, _)| *worker).collect();
                for (worker, stage) in pods {
                    self.see_one(worker, stage).await;
                }
                self.look_for_all_but(&there);
            }
            Seen::All(pods) => self.list(pods).await,
            Seen::One(worker, stage) => self.see_one(worker, stage).await,
            Seen::Gone(worker) => self.gone(worker).await,
        }
    }

    /// Tells which workers there are, and how far they are.
    async fn list(&mut self, pods: Vec<(WorkerId, Stage)>) {
        let epoch = self.term.epoch;
        let mut later = pods.iter().filter(|(worker, _)| worker.epoch > epoch);
        if let Some((worker, _)) = later.next() {
            warn!(%worker, epoch = epoch.0, "there are pods of a later leader, or of a cluster that has lost its records");
        }
        // Those of this epoch would be ours, but we have asked for none yet: nobody knows them any more.
        let is_present = |(worker, stage): &(WorkerId, Stage)| {
            worker.epoch < epoch && matches!(stage, Stage::Waits(_) | Stage::Runs)
        };
        let present = pods.iter().filter(|pod| is_present(pod));
        let present: Vec<_> = present.map(|(worker, _)| *worker).collect();
        info!(
            taskmanagers = present.len(),
            cluster = self.place.names.cluster,
            "found"
        );
        self.term.list(present).await;
        self.is_listed = true;
        for pod in pods.into_iter().filter(|(worker, _)| worker.epoch <= epoch) {
            let mut found = Worker::new(Existence::There);
            found.is_wanted = is_present(&pod);
            let (worker, stage) = pod;
            self.all.insert(worker, found);
            self.see_one(worker, stage).await;
        }
    }

    /// Changes were missed: who was there and is not any more is asked for by name, as it may have been made since.
    fn look_for_all_but(&mut self, there: &BTreeSet<WorkerId>) {
        let is_missed = |(worker, known): &(&WorkerId, &Worker)| {
            known.existence != Existence::Missing && !there.contains(worker)
        };
        let missed = self.all.iter().filter(is_missed);
        for worker in missed.map(|(worker, _)| *worker).collect::<Vec<_>>() {
            self.look(worker, Duration::ZERO);
        }
    }

    /// Asks after a pause what has become of it.
    fn look(&mut self, worker: WorkerId, pause: Duration) {
        let (api, names) = (self.api.clone(), self.place.names.clone());
        self.call(pause, async move {
            match look(&api, &names, worker).await {
                Ok(stage) => Event::Looked(worker, stage),
                Err(_) => Event::Missed(worker, longer(pause.max(SHORTEST_PAUSE))),
            }
        });
    }

    async fn see_one(&mut self, worker: WorkerId, stage: Stage) {
        if worker.epoch > self.term.epoch {
            // It is a later leader's, who tells us soon.
            return;
        }
        let is_ours = worker.epoch == self.term.epoch;
        let known = self.all.entry(worker).or_insert_with(|| {
            let mut unknown = Worker::new(Existence::There);
            // Ours has been given up before it was made.
            unknown.is_wanted = !is_ours;
            unknown
        });
        known.existence = match stage {
            Stage::Leaves => Existence::Going,
            Stage::Waits(_) | Stage::Runs | Stage::Ended(_)
                if known.existence == Existence::Going =>
            {
                Existence::Going
            }
            Stage::Waits(_) | Stage::Runs | Stage::Ended(_) => Existence::There,
        };
        match stage {
            Stage::Waits(reason) => self.report(worker, WorkerReport::Pending(reason)).await,
            Stage::Runs => self.report(worker, WorkerReport::Started).await,
            Stage::Ended(reason) => self.report(worker, WorkerReport::Gone(reason)).await,
            Stage::Leaves => {}
        }
        self.drive(worker).await;
    }

    async fn gone(&mut self, worker: WorkerId) {
        let reason = "its pod was deleted".to_owned();
        self.report(worker, WorkerReport::Gone(reason)).await;
        self.all.remove(&worker);
    }

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Created(worker, outcome) => {
                let Some(known) = self.all.get_mut(&worker) else {
                    // It has ended already.
                    return;
                };
                match outcome {
                    Ok(()) => {
                        (known.is_busy, known.pause) = (false, SHORTEST_PAUSE);
                        if known.existence == Existence::Missing {
                            known.existence = Existence::There;
                        }
                        info!(%worker, "its pod is made");
                    }
                    Err(problem) => {
                        let reason = format!("its pod cannot be made: {problem}");
                        self.again(worker, &reason);
                        self.report(worker, WorkerReport::Pending(brief(&reason)))
                            .await;
                    }
                }
                self.drive(worker).await;
            }
            Event::Deleted(worker, Ok(goes)) => {
                let Some(known) = self.all.get_mut(&worker) else {
                    return;
                };
                (known.is_busy, known.pause) = (false, SHORTEST_PAUSE);
                known.existence = match goes {
                    true => Existence::Going,
                    false => Existence::Missing,
                };
                self.drive(worker).await;
            }
            Event::Deleted(worker, Err(problem)) => {
                self.again(worker, &format!("its pod cannot be deleted: {problem}"));
            }
            Event::Looked(worker, Some(stage)) => self.see_one(worker, stage).await,
            Event::Looked(worker, None) => self.gone(worker).await,
            Event::Missed(worker, pause) => self.look(worker, pause),
            Event::Again(worker) => {
                if let Some(known) = self.all.get_mut(&worker) {
                    known.is_busy = false;
                }
                self.drive(worker).await;
            }
        }
    }

    /// Tells something new of a worker that is wanted, or the end of any.
    async fn report(&mut self, worker: WorkerId, report: WorkerReport) {
        let Some(known) = self.all.get_mut(&worker) else {
            return;
        };
        let is_end = matches!(report, WorkerReport::Gone(_));
        let is_over = matches!(known.told, Some(WorkerReport::Gone(_)));
        let is_news = known.is_wanted || is_end;
        if !is_news || is_over || known.told.as_ref() == Some(&report) {
            return;
        }
        known.told = Some(report.clone());
        // Nothing is told of it any more, and what is left of it goes.
        known.is_wanted &= !is_end;
        self.term.report(worker, report).await;
    }

    /// Does what is missing.
    async fn drive(&mut self, worker: WorkerId) {
        let Some(known) = self.all.get_mut(&worker) else {
            return;
        };
        if known.is_busy {
            return;
        }
        match (known.is_wanted, known.existence) {
            (true, Existence::There | Existence::Going) | (false, Existence::Going) => {}
            (false, Existence::Missing) => {
                let reason = "there is no pod of it".to_owned();
                self.report(worker, WorkerReport::Gone(reason)).await;
                self.all.remove(&worker);
            }
            (true, Existence::Missing) => {
                known.is_busy = true;
                let pod = self.place.pod(worker, &self.term, self.owner.as_ref());
                let api = self.api.clone();
                self.call(Duration::ZERO, async move {
                    Event::Created(worker, create(&api, &pod).await)
                });
            }
            (false, Existence::There) => {
                known.is_busy = true;
                let (api, name) = (self.api.clone(), self.place.names.name(worker));
                self.call(Duration::ZERO, async move {
                    Event::Deleted(worker, delete(&api, &name).await)
                });
            }
        }
    }

    /// Has something done after a pause, when it is its turn.
    fn call(&mut self, pause: Duration, call: impl Future<Output = Event> + Send + 'static) {
        let (calls, lease) = (Arc::clone(&self.calls), self.term.lease.clone());
        self.events.spawn(async move {
            sleep(pause).await;
            let _turn = calls.acquire().await;
            if !lease.is_valid() {
                // The term ends, and this with it.
                std::future::pending::<()>().await;
            }
            call.await
        });
    }

    /// Something was in vain, and is tried again.
    fn again(&mut self, worker: WorkerId, problem: &str) {
        let Some(known) = self.all.get_mut(&worker) else {
            return;
        };
        let pause = known.pause;
        known.pause = longer(pause);
        if pause < LONGEST_PAUSE {
            warn!(%worker, problem);
        }
        self.events.spawn(async move {
            sleep(pause).await;
            Event::Again(worker)
        });
    }
}
