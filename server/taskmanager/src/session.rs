//! Owns the core's [`Worker`]: facts in, orders out.
//!
//! One task of tokio. It never waits for the network, for a task or for a disk: what is said to the
//! JobManager goes into a bounded outbox, and a full outbox is a lost connection.

use crate::channel::{Barrier, Order};
use crate::jobmanagers::JobManagers;
use crate::link::{Link, LinkEvent};
use crate::storage::Storage;
use crate::task::{Report, Shared};
use crate::tasks::Tasks;
use jobmanager_core::taskmanager::{Effect, Input, TaskEvent, Worker, WorkerConfig};
use jobmanager_core::time::Timestamp;
use jobmanager_proto::{TaskMetrics, v1};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{debug, error, info, warn};

/// How often people are told what the tasks do, and old channels are swept.
const TICK: Duration = Duration::from_secs(1);
/// Messages of the JobManager that wait here; more wait in the connection.
const LINK_EVENTS: usize = 256;
/// How long tasks may take to stop when the TaskManager stops. One in the middle of a record ends with
/// the process.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// When a session is to end.
pub(crate) struct Ends<L, S> {
    /// Ready when the TaskManager is to leave.
    pub(crate) leave: L,
    /// How long its tasks may take then.
    pub(crate) within: Duration,
    /// Ready when it is to end at once.
    pub(crate) stop: S,
}

/// See the module.
pub(crate) struct Session {
    worker: Worker,
    clock: Clock,
    jobmanagers: JobManagers,
    shared: Shared,
    tasks: Tasks,
    link: Option<Link>,
    /// Tells events of the present link from those of an earlier one.
    links: u64,
    link_events: mpsc::Sender<(u64, LinkEvent)>,
    /// Facts that carrying out orders has brought about.
    facts: VecDeque<Input>,
    was_registered: bool,
    storage_url: String,
    /// Why the last link was lost; empty once registered again.
    last_loss: String,
    /// A task does not stop: only the end of the process ends it.
    stuck: bool,
    /// It was to leave, and nothing keeps it any more.
    has_left: bool,
}

impl Session {
    /// Serves the JobManager until it is to end, then stops all tasks. Tells whether one did not stop when it
    /// was told to, so that the process must end.
    pub(crate) async fn run(
        jobmanagers: JobManagers,
        config: WorkerConfig,
        shared: Shared,
        reports: mpsc::Receiver<Report>,
        ends: Ends<impl Future<Output = ()>, impl Future<Output = ()>>,
    ) -> bool {
        let (link_events, events) = mpsc::channel(LINK_EVENTS);
        let clock = Clock::start();
        let mut session = Session {
            worker: Worker::new(config, clock.now()),
            clock,
            jobmanagers,
            tasks: Tasks::new(shared.clone()),
            shared,
            link: None,
            links: 0,
            link_events,
            facts: VecDeque::new(),
            was_registered: false,
            storage_url: String::new(),
            last_loss: String::new(),
            stuck: false,
            has_left: false,
        };
        let reports = session.serve(reports, events, ends).await;
        let stuck = session.stuck;
        session.stop(reports).await;
        stuck
    }

    async fn serve(
        &mut self,
        mut reports: mpsc::Receiver<Report>,
        mut events: mpsc::Receiver<(u64, LinkEvent)>,
        ends: Ends<impl Future<Output = ()>, impl Future<Output = ()>>,
    ) -> mpsc::Receiver<Report> {
        let (mut leave, mut stop) = (pin!(ends.leave), pin!(ends.stop));
        let mut leaves = false;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.learn(Input::Wake);
        while !self.stuck && !self.has_left {
            let deadline = self.worker.next_deadline();
            let wake = self.clock.instant(deadline);
            tokio::select! {
                () = &mut stop => return reports,
                () = &mut leave, if !leaves => {
                    leaves = true;
                    self.leave(ends.within);
                }
                Some(report) = reports.recv() => self.reported(report),
                Some((link, event)) = events.recv() => self.happened(link, event),
                () = sleep_until(wake.into()), if deadline.is_some() => self.learn(Input::Wake),
                _ = tick.tick() => self.tick(),
            }
        }
        reports
    }

    /// Takes no more tasks, and has those that there are go on elsewhere.
    fn leave(&mut self, within: Duration) {
        let (tasks, seconds) = (self.tasks.metrics().len(), within.as_secs());
        info!(
            tasks,
            "leaving: it ends when its tasks go on elsewhere, and after {seconds} s"
        );
        self.learn(Input::Leave { within });
    }

    /// Ends the session, so that the JobManager knows at once, and waits a little for the tasks and for what is
    /// still to be sent.
    async fn stop(mut self, mut reports: mpsc::Receiver<Report>) {
        let link = self.link.take();
        let farewell = async {
            if let Some(link) = link {
                link.finish().await;
            }
        };
        self.tasks.cancel_all();
        let ended = async {
            while !self.tasks.is_empty()
                && let Some((attempt, event)) = reports.recv().await
            {
                if is_terminal(&event) {
                    self.tasks.ended(attempt);
                }
            }
        };
        let (ended, ()) = tokio::join!(timeout(STOP_WAIT, ended), farewell);
        if ended.is_err() {
            let tasks = self.tasks.metrics().len();
            warn!(tasks, "tasks did not stop in time and end with the process");
        }
    }

    fn reported(&mut self, (attempt, event): Report) {
        // A snapshot may be stored after its task has ended.
        if !self.tasks.has(attempt) {
            return;
        }
        if is_terminal(&event) {
            if let TaskEvent::Failed { cause } = &event {
                warn!(%attempt, cause, "task failed");
            } else {
                debug!(%attempt, ?event, "task ended");
            }
            // Before the state: of a task that has ended, the JobManager takes nothing.
            let metrics = self.tasks.ended(attempt);
            self.send_metrics(metrics.as_slice());
        }
        self.learn(Input::Task { attempt, event });
    }

    fn happened(&mut self, link: u64, event: LinkEvent) {
        if self.link.as_ref().map(Link::number) != Some(link) {
            return;
        }
        match event {
            LinkEvent::Connected { jobmanager } => {
                self.jobmanagers.prefer(jobmanager);
                self.learn(Input::Connected);
            }
            LinkEvent::Message(envelope) => self.learn(Input::Message(envelope)),
            LinkEvent::Lost { reason, leader } => {
                if let Some(leader) = leader {
                    self.jobmanagers.prefer(leader);
                }
                // Every try fails alike while the JobManager is away: said once.
                if reason == self.last_loss {
                    debug!(reason, "still no session with the JobManager");
                } else {
                    warn!(reason, "no session with the JobManager");
                    self.last_loss = reason;
                }
                self.link = None;
                self.learn(Input::Disconnected);
            }
        }
    }

    /// Opens the checkpoint storage that the JobManager has named, if that is another one.
    fn follow_storage(&mut self) {
        let welcome = self.worker.welcome();
        let Some(url) = welcome.map(|welcome| &welcome.checkpoint_storage) else {
            return;
        };
        if *url == self.storage_url {
            return;
        }
        self.storage_url.clone_from(url);
        self.use_storage(&self.storage_url);
    }

    fn use_storage(&self, url: &str) {
        let storage = Storage::open(url).unwrap_or_else(|problem| {
            error!(%problem, "the checkpoint storage cannot be used: set execution.checkpointing.dir");
            Storage::Unusable(problem.to_string())
        });
        let mut current = self.shared.storage.write();
        match &mut current {
            Ok(current) => **current = storage,
            Err(poisoned) => **poisoned.get_mut() = storage,
        }
    }

    fn tick(&mut self) {
        self.shared.hub.sweep(Instant::now());
        let metrics = self.tasks.metrics();
        self.send_metrics(&metrics);
    }

    /// Metrics are for people: without a session, or with a full outbox, they are left out.
    fn send_metrics(&self, metrics: &[TaskMetrics]) {
        if let Some(link) = &self.link
            && self.worker.is_registered()
            && !metrics.is_empty()
        {
            let _ = link.send(metrics.into());
        }
    }

    /// Lets the worker learn a fact, and carries out what it orders.
    fn learn(&mut self, fact: Input) {
        self.facts.push_back(fact);
        let mut effects = Vec::new();
        while let Some(fact) = self.facts.pop_front() {
            self.worker.step(self.clock.now(), fact, &mut effects);
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
        }
        let registered = self.worker.is_registered();
        if registered != self.was_registered {
            self.was_registered = registered;
            let jobmanager = self.jobmanagers.preferred();
            if registered {
                info!(jobmanager, "registered");
                self.last_loss.clear();
            } else {
                info!(jobmanager, "not registered any more");
            }
        }
        self.follow_storage();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect => {
                self.links += 1;
                let events = self.link_events.clone();
                self.link = Some(Link::open(self.links, self.jobmanagers.clone(), events));
            }
            Effect::Close => self.link = None,
            Effect::SendHello(hello) => self.send((&hello).into()),
            Effect::Send(message) => self.send((&message).into()),
            Effect::Start(start) => {
                let attempt = start.attempt;
                debug!(%attempt, "task starts");
                if let Err(cause) = self.tasks.start(start) {
                    let event = TaskEvent::Failed { cause };
                    self.facts.push_back(Input::Task { attempt, event });
                }
            }
            Effect::Cancel(attempt) => self.tasks.cancel(attempt),
            Effect::End => {
                let tasks = self.tasks.metrics().len();
                if tasks > 0 {
                    warn!(
                        tasks,
                        "the time to leave is over: what is left starts again elsewhere"
                    );
                }
                self.has_left = true;
            }
            Effect::GiveUp(attempt) => {
                error!(%attempt, "a task does not stop within task.cancellation.timeout: the process ends");
                self.stuck = true;
            }
            Effect::Trigger {
                attempt,
                checkpoint,
                timestamp: _,
                savepoint,
            } => {
                let savepoint = savepoint.map(Arc::new);
                let barrier = Barrier {
                    checkpoint,
                    savepoint,
                };
                self.tasks.order(attempt, Order::Trigger(barrier));
            }
            Effect::Complete {
                attempt,
                checkpoint,
                finish,
            } => {
                let order = Order::Complete { checkpoint, finish };
                self.tasks.order(attempt, order);
            }
            Effect::Abort {
                attempt,
                checkpoint,
            } => self.tasks.order(attempt, Order::Abort(checkpoint)),
            Effect::AbortBelow { attempt, next } => {
                self.tasks.order(attempt, Order::AbortBelow(next));
            }
        }
    }

    fn send(&mut self, message: v1::FromTaskManager) {
        let Some(link) = &self.link else {
            return;
        };
        if !link.send(message) {
            warn!("the JobManager does not take messages: the session is given up");
            self.link = None;
            self.facts.push_back(Input::Disconnected);
        }
    }
}

fn is_terminal(event: &TaskEvent) -> bool {
    match event {
        TaskEvent::Finished | TaskEvent::Canceled | TaskEvent::Failed { .. } => true,
        TaskEvent::Running
        | TaskEvent::EndOfData
        | TaskEvent::Snapshotted { .. }
        | TaskEvent::Declined { .. } => false,
    }
}

/// The wall clock at the start, and the monotonic time since then.
#[derive(Debug)]
struct Clock {
    wall: Timestamp,
    start: Instant,
}

impl Clock {
    fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Clock {
            wall: Timestamp(0) + wall.unwrap_or_default(),
            start: Instant::now(),
        }
    }

    fn now(&self) -> Timestamp {
        self.wall + self.start.elapsed()
    }

    /// When a deadline is due: never before its millisecond has begun. Without one, now.
    fn instant(&self, deadline: Option<Timestamp>) -> Instant {
        let deadline = deadline.unwrap_or(self.wall);
        let due = self.start.checked_add(deadline.since(self.wall));
        due.unwrap_or_else(|| self.start + FAR)
    }
}

/// A deadline further away than any process lives.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
