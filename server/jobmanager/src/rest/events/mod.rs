//! What happens, as it happens: `GET /events`, server-sent events. Ours alone; Flink has no such thing.
//!
//! ```text
//! driver ── what steps touched ──► watch ── a look between steps ──► ring ──► one pump per client
//! ```
//!
//! [`watch`] looks at what was touched and compares it with what it showed before; what is new goes into a [`ring`]
//! under a number; each client has a [`pump`] that reads the ring. A client that asks for what is not there any more,
//! or was another leader's, first hears `reset`, then all that is kept: it reads the state anew from the views.
//!
//! Invariants: the looks take at most a small part of the coordinator's time; with nothing touched, nothing is looked
//! at; memory does not grow with the number of events or with what a client does not read; after the end of the lease
//! nothing is told.

mod kind;
mod pump;
mod ring;
mod tell;
mod trace;
mod watch;

use super::attempts::AttemptLog;
use super::error::Failure;
use super::{Parameters, Rest, parse_job};
use crate::driver::{Driver, Touches, Unavailable};
use crate::election::Lease;
use crate::traces::Spans;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use axum::response::sse::Sse;
use axum::response::{IntoResponse, Response};
use jobmanager_core::id::{Epoch, JobId};
use jobmanager_core::jobmanager::Coordinator;
use jobmanager_core::time::Timestamp;
use kind::Kind;
use pump::{Pace, Start};
use ring::{Bounds, Place, Ring, Writer, ring};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use trace::Tracer;
use watch::Watch;
pub(super) use watch::adopted;

/// How many clients may follow the events; each has a task, and a few events wait for it.
const MAX_CLIENTS: usize = 256;
/// How many jobs are looked at between two steps.
const AT_ONCE: usize = 64;
/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Looks take at most one of so many parts of the coordinator's time.
const SHARE: u32 = 20;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A proxy that knows this header passes each event on at once.
const UNBUFFERED: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

/// The events of one leader; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    epoch: Epoch,
    ring: Ring,
    lease: Lease,
    clients: Arc<Semaphore>,
    pace: Pace,
    attempts: AttemptLog,
}

impl Events {
    /// Watches a coordinator until its driver ends. `address` is where clients reach it, and `spans` takes what took a
    /// while.
    pub(crate) fn of(
        driver: &Driver,
        lease: Lease,
        address: Arc<str>,
        spans: Option<Spans>,
    ) -> Events {
        let (writer, ring) = ring(Bounds::USUAL);
        let events = Events::from_ring(driver.telemetry().epoch, ring, lease, Pace::USUAL);
        let attempts = events.attempts.clone();
        let touches = driver.touches();
        let seen = (attempts, spans);
        tokio::spawn(follow(driver.clone(), touches, writer, address, seen));
        events
    }

    fn from_ring(epoch: Epoch, ring: Ring, lease: Lease, pace: Pace) -> Events {
        Events {
            epoch,
            ring,
            lease,
            clients: Arc::new(Semaphore::new(MAX_CLIENTS)),
            pace,
            attempts: AttemptLog::default(),
        }
    }

    /// The attempts that were seen on the way.
    pub(super) fn attempts(&self) -> &AttemptLog {
        &self.attempts
    }

    /// The events after this id, or those to come; of these jobs alone, if any are named.
    fn stream(&self, asked: Option<&str>, jobs: BTreeSet<JobId>) -> Result<Response, Failure> {
        let start = self.start(asked)?;
        let Ok(permit) = self.clients.clone().try_acquire_owned() else {
            let words = format!(
                "{MAX_CLIENTS} clients follow the events already: end one of them, or ask the views, which have ETags"
            );
            return Err(Failure::unavailable(words));
        };
        let frames = pump::start(self.clone(), start, jobs, permit);
        Ok(([UNBUFFERED], Sse::new(frames)).into_response())
    }

    fn start(&self, asked: Option<&str>) -> Result<Start, Failure> {
        let Some(asked) = asked else {
            return Ok(Start::Now(self.ring.last()));
        };
        let bad = |error: ring::BadPlace| {
            Failure::bad_request(format!("`{}` is {error}", asked.escape_debug()))
        };
        let place: Place = asked.parse().map_err(bad)?;
        if place.epoch != self.epoch {
            let reason = "another JobManager leads since then: read the state anew";
            return Ok(Start::Reset(place, reason));
        }
        match self.ring.after(place.sequence, 0) {
            ring::After::Events(_) => Ok(Start::After(place.sequence)),
            ring::After::Gone => {
                let reason = "what came next is not kept any more: read the state anew";
                Ok(Start::Reset(place, reason))
            }
        }
    }
}

/// `GET /events?after=ID&jobs=ID,…`
pub(super) async fn events(
    State(rest): State<Rest>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Failure> {
    let jobs = parameters.text("jobs").unwrap_or_default();
    let jobs = jobs.split(',').filter(|id| !id.is_empty()).map(parse_job);
    let jobs = jobs.collect::<Result<BTreeSet<JobId>, Failure>>()?;
    // A browser that comes back asks as it did at first, and names the last event in the header.
    let last = headers.get(LAST_EVENT_ID);
    let last = last.map(|id| String::from_utf8_lossy(id.as_bytes()));
    let asked = last.as_deref().or(parameters.text("after"));
    rest.events.stream(asked.filter(|id| !id.is_empty()), jobs)
}

/// Looks at what is touched, and tells what has changed, until the driver ends.
async fn follow(
    driver: Driver,
    mut touches: Touches,
    writer: Writer,
    address: Arc<str>,
    seen: (AttemptLog, Option<Spans>),
) {
    let told = tell_all(&driver, &mut touches, &writer, &address, seen).await;
    // There is no timeout, so the driver has ended; with the writer the streams end.
    debug_assert_eq!(told, Err(Unavailable::Ended));
}

async fn tell_all(
    driver: &Driver,
    touches: &mut Touches,
    writer: &Writer,
    address: &str,
    (attempts, spans): (AttemptLog, Option<Spans>),
) -> Result<(), Unavailable> {
    let (epoch, since) = (driver.telemetry().epoch, driver.telemetry().since);
    let begin = move |coordinator: &Coordinator, now: Timestamp| {
        let mut watch = Watch::begin(coordinator, epoch, now, attempts);
        if let Some(spans) = spans {
            watch.trace(Tracer::begin(spans, coordinator, (epoch, since), now));
        }
        (watch, coordinator.overview())
    };
    let (mut watch, overview) = driver.look(Duration::MAX, begin).await?;
    let ended = overview.jobs_finished + overview.jobs_canceled + overview.jobs_failed;
    let leader = tell::leader(epoch.0, since, address, (overview.jobs_running, ended));
    writer.add(Kind::Leader, None, &leader);
    writer.announce();
    while touches.come().await {
        let (seen, took) = look_at_touched(driver, touches, watch).await?;
        watch = seen;
        for news in watch.take_news() {
            writer.add(news.kind, news.job, &news.data);
        }
        writer.announce();
        tokio::time::sleep(PAUSE.max(took * SHARE)).await;
    }
    Err(Unavailable::Ended)
}

/// Looks at what was touched, some of it at a time; tells how long that has kept the coordinator.
async fn look_at_touched(
    driver: &Driver,
    touches: &Touches,
    watch: Watch,
) -> Result<(Watch, Duration), Unavailable> {
    let touched = touches.take();
    let first = move |coordinator: &Coordinator, now: Timestamp| {
        let (mut watch, begun) = (watch, Instant::now());
        for taskmanager in &touched.taskmanagers {
            watch.taskmanager(coordinator, taskmanager, now);
        }
        let jobs = watch.candidates(coordinator, &touched);
        (watch, jobs, begun.elapsed())
    };
    let (mut watch, jobs, mut took) = driver.look(Duration::MAX, first).await?;
    let jobs: Vec<JobId> = jobs.into_iter().collect();
    for some in jobs.chunks(AT_ONCE) {
        let some = some.to_vec();
        let look = move |coordinator: &Coordinator, now: Timestamp| {
            let (mut watch, begun) = (watch, Instant::now());
            for job in some {
                watch.job(coordinator, job, now);
            }
            (watch, begun.elapsed())
        };
        let (seen, more) = driver.look(Duration::MAX, look).await?;
        watch = seen;
        took += more;
    }
    Ok((watch, took))
}

#[cfg(test)]
mod tests;
