//! Leadership that some service lends for a time: how long the holder leads, when it asks again, and when it
//! gives up. It is written once, for every service that can do what [`Service`] says.
//!
//! Invariant: the end of a lease is counted from before the request that renewed it, and is nearer than what
//! the service grants; so it has passed here before it can have passed there.

use super::{KnownLeader, Leader, Lease, LeaseTiming, Lost, tell};
use std::fmt;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// How long resigning may take: the process ends, and the lease does so by itself.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest wait before the service is asked again.
const LEAST_WAIT: Duration = Duration::from_millis(1);
/// How long a candidate waits for an answer: longer than a database takes to be set up by its first one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One seat in some service, which one candidate at a time holds. Each call may be dropped half way, and then
/// any of them be called again. An error is the words for people; nobody knows then what the call has done.
pub(super) trait Service: fmt::Debug + fmt::Display {
    /// Takes the seat if that can be. From this call on it is held for the lease's duration.
    async fn take(&mut self) -> Result<Seat, String>;
    /// Holds the seat for the lease's duration, from this call on, and says there where the leader answers.
    /// False if it is held no more.
    async fn renew(&mut self, leader: Option<&Leader>) -> Result<bool, String>;
    /// Gives up the seat, or the place in the queue for it, and whatever else was left there.
    async fn resign(&mut self) -> Result<(), String>;
    /// Waits until the service tells of a change; for ever if it does not. Called after [`Service::take`].
    async fn changed(&mut self);
    /// Lets go of a connection on which a call has failed, or come to nothing in time.
    fn disconnect(&mut self);
}

/// Who has the seat.
pub(super) enum Seat {
    Ours,
    Theirs {
        /// How long they have it if nothing happens, where the service does not tell of the end.
        left: Option<Duration>,
        leader: Option<Leader>,
    },
}

/// A candidate for the seat. See the module.
#[derive(Debug)]
pub struct Leased<S> {
    service: S,
    timing: LeaseTiming,
    /// Moves the end of the lease that was won.
    end: watch::Sender<Instant>,
    last_problem: String,
}

#[expect(private_bounds, reason = "the services are known here")]
impl<S: Service> Leased<S> {
    pub(super) fn new(service: S, timing: LeaseTiming) -> Leased<S> {
        Leased {
            service,
            timing,
            end: watch::Sender::new(Instant::now()),
            last_problem: String::new(),
        }
    }

    pub(super) async fn campaign(&mut self, known: &KnownLeader) -> Lease {
        loop {
            let asked = Instant::now();
            let wait = match within(ANSWER_TIMEOUT, self.service.take()).await {
                Ok(Seat::Ours) => {
                    self.works();
                    tell(known, None);
                    self.end = watch::Sender::new(asked + self.timing.renew_deadline);
                    return Lease::until(self.end.subscribe());
                }
                Ok(Seat::Theirs { left, leader }) => {
                    self.works();
                    tell(known, leader);
                    let left = left.unwrap_or(self.timing.retry_period);
                    left.clamp(LEAST_WAIT, self.timing.retry_period)
                }
                Err(problem) => {
                    self.fails(problem);
                    tell(known, None);
                    self.timing.retry_period
                }
            };
            // Either way it is time to look.
            let _ = timeout(wait, self.service.changed()).await;
        }
    }

    pub(super) async fn keep(&mut self, mut announced: watch::Receiver<Option<Leader>>) -> Lost {
        loop {
            let leader = announced.borrow_and_update().clone();
            let (asked, end) = (Instant::now(), *self.end.borrow());
            // A connection on which nothing comes back has to be given up in time for another one.
            let patience = end.saturating_duration_since(asked) / 2;
            if patience < LEAST_WAIT {
                return Lost::Expired;
            }
            match within(patience, self.service.renew(leader.as_ref())).await {
                Ok(true) => {
                    self.works();
                    self.end.send_replace(asked + self.timing.renew_deadline);
                }
                Ok(false) => return Lost::Taken,
                Err(problem) => self.fails(problem),
            }
            let pause = sleep(self.timing.retry_period.min(patience));
            tokio::select! {
                Ok(()) = announced.changed() => {}
                () = pause => {}
            }
        }
    }

    pub(super) async fn resign(&mut self) {
        if let Err(problem) = within(RESIGN_TIMEOUT, self.service.resign()).await {
            info!(problem, "the lease was not given up; it ends by itself");
        }
    }

    fn works(&mut self) {
        if !self.last_problem.is_empty() {
            info!(service = %self.service, "the election goes on");
            self.last_problem.clear();
        }
    }

    /// Every try fails alike while the service is away: said once.
    fn fails(&mut self, problem: String) {
        self.service.disconnect();
        if problem != self.last_problem {
            warn!(service = %self.service, problem, "the election is held up");
            self.last_problem = problem;
        }
    }
}

/// The outcome of a call, or that it has none in time.
async fn within<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let unanswered = |_| Err(format!("no answer within {} ms", patience.as_millis()));
    timeout(patience, call).await.unwrap_or_else(unanswered)
}
