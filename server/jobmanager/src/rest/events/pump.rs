//! What one client gets of the events: a task reads the ring for it, and ends when the client is gone, does not
//! read, or nobody leads here any more.
//!
//! A client knows at any time where it is: what is sent in silence has the id of the last event, too, of those that it
//! is not told of as well.

use super::kind::RESET;
use super::ring::{After, Place};
use super::{Events, tell};
use axum::response::sse::Event as Frame;
use futures::{Stream, StreamExt};
use jobmanager_core::id::JobId;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// How many events wait for a client to take them.
const WAITING: usize = 16;
/// How many are read from the ring at a time.
const AT_ONCE: usize = 64;

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// After so much silence something is sent, so that whoever is in between keeps the connection.
    pub(super) keep_alive: Duration,
    /// A client that takes nothing for so long is cut off.
    pub(super) patience: Duration,
}

impl Pace {
    pub(super) const USUAL: Pace = Pace {
        keep_alive: Duration::from_secs(15),
        patience: Duration::from_secs(30),
    };
}

/// Where a client begins.
#[derive(Debug)]
pub(super) enum Start {
    /// With what happens after the last event, which has this number.
    Now(u64),
    /// With what happened after this event.
    After(u64),
    /// With everything that is kept: what it asked for cannot be had, for this reason.
    Reset(Place, &'static str),
}

/// Starts the task; gives what it sends.
pub(super) fn start(
    events: Events,
    start: Start,
    jobs: BTreeSet<JobId>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Frame, Infallible>> + Send + 'static {
    let (frames, sent) = mpsc::channel(WAITING);
    let pump = Pump {
        events,
        jobs,
        frames,
    };
    tokio::spawn(async move {
        pump.run(start).await;
        drop(permit);
    });
    ReceiverStream::new(sent).map(Ok)
}

struct Pump {
    events: Events,
    /// Of which jobs; of everything, if it names none.
    jobs: BTreeSet<JobId>,
    frames: mpsc::Sender<Frame>,
}

/// The client has gone, does not read, or is not to be told any more.
struct Ended;

impl Pump {
    async fn run(mut self, start: Start) {
        let mut at = match start {
            Start::Now(last) | Start::After(last) => last,
            Start::Reset(..) => self.events.ring.before_first(),
        };
        let first = match start {
            Start::Now(_) => Some(self.sign_of_life(at)),
            Start::After(_) => None,
            Start::Reset(asked, reason) => {
                let data = tell::reset(&asked.to_string(), self.events.epoch.0, reason);
                Some(self.frame(at).event(RESET).data(data.to_string()))
            }
        };
        if let Some(first) = first
            && self.send(first).await.is_err()
        {
            return;
        }
        while self.tell_from(&mut at).await.is_ok() {}
    }

    /// Sends what comes after this number; waits if nothing does.
    async fn tell_from(&mut self, at: &mut u64) -> Result<(), Ended> {
        let After::Events(events) = self.events.ring.after(*at, AT_ONCE) else {
            return Err(Ended);
        };
        if events.is_empty() {
            return self.wait(*at).await;
        }
        for event in events {
            *at = event.sequence;
            let is_wanted = match event.job {
                _ if self.jobs.is_empty() => true,
                Some(job) => self.jobs.contains(&job),
                None => event.kind == super::Kind::Leader,
            };
            if is_wanted {
                let frame = self.frame(*at).event(event.kind.name());
                self.send(frame.data(&event.data)).await?;
            }
        }
        Ok(())
    }

    async fn wait(&mut self, at: u64) -> Result<(), Ended> {
        let keep_alive = self.events.pace.keep_alive;
        let news = tokio::select! {
            news = timeout(keep_alive, self.events.ring.news()) => news,
            () = self.frames.closed() => return Err(Ended),
        };
        match news {
            Ok(true) => Ok(()),
            Ok(false) => Err(Ended),
            Err(_) => self.send(self.sign_of_life(at)).await,
        }
    }

    fn frame(&self, sequence: u64) -> Frame {
        let epoch = self.events.epoch;
        Frame::default().id(Place { epoch, sequence }.to_string())
    }

    /// No event, but a comment, and the place.
    fn sign_of_life(&self, at: u64) -> Frame {
        self.frame(at).comment("nothing new")
    }

    async fn send(&self, frame: Frame) -> Result<(), Ended> {
        // Before each thing that is said: this process may have stood still.
        if !self.events.lease.is_valid() {
            return Err(Ended);
        }
        let sent = self
            .frames
            .send_timeout(frame, self.events.pace.patience)
            .await;
        sent.map_err(|_| Ended)
    }
}
