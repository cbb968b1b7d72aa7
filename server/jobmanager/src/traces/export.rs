//! The thread that sends spans, a batch at a time. A collector that is away is asked again and again, and the log says
//! so once.

use super::otlp::{ExportTraceServiceResponse, request};
use super::{Collector, Counts, Span, Spans, Told};
use crate::https;
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use taskmanager::tls::{FileProblem, FileText};
use tokio::sync::oneshot;
use tracing::{info, warn};
use ureq::Agent;
use ureq::http::header::CONTENT_TYPE;

/// How many spans wait for the thread: those of a minute of checkpoints of some hundred jobs.
const WAITING: usize = 4_096;
/// The most spans of a request.
const BATCH: usize = 512;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(1);
/// How long a collector may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before one that is away is asked again.
const RETRY: Duration = Duration::from_secs(5);
/// How long the end of this process waits for what is still to be sent.
const FAREWELL: Duration = Duration::from_secs(2);
/// What a collector may answer at most. Bytes.
const MAX_ANSWER: u64 = 64 << 10;
/// The statuses with which a collector asks to be asked again, as OTLP says.
const AGAIN: [u16; 4] = [429, 502, 503, 504];

/// Sends spans until it is closed.
#[derive(Debug)]
pub struct Exporter {
    spans: Spans,
    /// Dropped when it ends.
    stop: Sender<()>,
    done: oneshot::Receiver<()>,
}

impl Exporter {
    /// Starts to send the spans of a process with this address.
    ///
    /// # Errors
    /// The file of authorities cannot be used.
    pub fn start(collector: &Collector, address: String) -> Result<Exporter, FileProblem> {
        let agent = agent(collector)?;
        let (queue, told) = sync_channel(WAITING);
        let (stop, stopped) = channel();
        let (ended, done) = oneshot::channel();
        let counts = Arc::<Counts>::default();
        let thread = Thread {
            agent,
            collector: collector.clone(),
            address,
            told,
            stopped,
            counts: counts.clone(),
            is_away: false,
        };
        thread::spawn(move || {
            thread.run();
            let _ = ended.send(());
        });
        Ok(Exporter {
            spans: Spans { queue, counts },
            stop,
            done,
        })
    }

    /// Takes spans.
    #[must_use]
    pub fn spans(&self) -> Spans {
        self.spans.clone()
    }

    /// Sends what waits, if that can be done soon.
    pub async fn close(self) {
        drop(self.stop);
        // If there is no room for it, the thread is busy, and looks whether it is to stop.
        let _ = self.spans.queue.try_send(Told::End);
        let _ = tokio::time::timeout(FAREWELL, self.done).await;
    }
}

fn agent(collector: &Collector) -> Result<Agent, FileProblem> {
    let file = collector.authorities.as_deref().map(FileText::read);
    let file = file.transpose()?;
    let authorities = file.as_ref().map(https::authorities).transpose()?;
    let tls = https::tls(authorities.unwrap_or_default(), None);
    Ok(Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .tls_config(tls)
        .timeout_global(Some(PATIENCE))
        .build()
        .new_agent())
}

struct Thread {
    agent: Agent,
    collector: Collector,
    address: String,
    told: Receiver<Told>,
    stopped: Receiver<()>,
    counts: Arc<Counts>,
    /// Whether that has been said.
    is_away: bool,
}

/// Why a batch was not taken.
struct Refused {
    problem: String,
    /// Whether it may be taken later.
    may_pass: bool,
}

impl Thread {
    fn run(mut self) {
        let mut goes_on = true;
        while goes_on {
            let (batch, more) = self.batch();
            goes_on = more;
            if !batch.is_empty() {
                self.deliver(&batch);
            }
        }
    }

    /// Waits for a span, and a little for those that follow; tells whether more may come.
    fn batch(&self) -> (Vec<Span>, bool) {
        let mut batch = Vec::new();
        match self.told.recv() {
            Ok(Told::Span(span)) => batch.push(span),
            Ok(Told::End) | Err(_) => return (batch, false),
        }
        let until = Instant::now() + DELAY;
        while batch.len() < BATCH {
            let left = until.saturating_duration_since(Instant::now());
            match self.told.recv_timeout(left) {
                Ok(Told::Span(span)) => batch.push(span),
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return (batch, false),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        (batch, true)
    }

    /// Until it is taken, refused for good, or there is no time left.
    fn deliver(&mut self, batch: &[Span]) {
        let body = request(&self.collector.service, &self.address, batch).encode_to_vec();
        let all = batch.len() as u64;
        loop {
            let refused = match self.send(&body) {
                Ok(rejected) => {
                    let rejected = rejected.min(all);
                    self.count(all - rejected, rejected);
                    if std::mem::take(&mut self.is_away) {
                        info!(endpoint = %self.collector.endpoint, "the collector takes traces again");
                    }
                    return;
                }
                Err(refused) => refused,
            };
            if !std::mem::replace(&mut self.is_away, true) {
                let (endpoint, problem) = (&self.collector.endpoint, &refused.problem);
                warn!(%endpoint, problem, "the collector does not take traces: what does not fit into memory is left out");
            }
            let again = refused.may_pass && !self.is_stopped_within(RETRY);
            if !again {
                return self.count(0, all);
            }
        }
    }

    fn is_stopped_within(&self, time: Duration) -> bool {
        self.stopped.recv_timeout(time) != Err(RecvTimeoutError::Timeout)
    }

    /// Tells how many spans were rejected.
    fn send(&self, body: &[u8]) -> Result<u64, Refused> {
        let headers = self.collector.headers.iter();
        let request = headers.fold(self.agent.post(&self.collector.endpoint), |request, it| {
            request.header(&it.0, &it.1)
        });
        let request = request.header(CONTENT_TYPE, "application/x-protobuf");
        let away = |problem: ureq::Error| Refused {
            problem: problem.to_string(),
            may_pass: true,
        };
        let mut response = request.send(body).map_err(away)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Refused {
                problem: format!("HTTP status {status}"),
                may_pass: AGAIN.contains(&status.as_u16()),
            });
        }
        let answer = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_vec();
        // It has taken them, whatever it says of that.
        let answer = answer
            .ok()
            .and_then(|bytes| ExportTraceServiceResponse::decode(&*bytes).ok());
        let rejected = answer.and_then(|answer| answer.partial_success);
        let rejected = rejected.map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or(0))
    }

    fn count(&self, exported: u64, dropped: u64) {
        self.counts.exported.fetch_add(exported, Ordering::Relaxed);
        self.counts.dropped.fetch_add(dropped, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jobmanager_core::time::Timestamp;
    use std::net::TcpListener;

    #[tokio::test]
    async fn nobody_waits_for_a_collector_that_says_nothing_and_what_it_does_not_take_is_counted() {
        // Connections are accepted by the system, and nobody reads them.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/v1/traces", silent.local_addr().unwrap());
        let collector = Collector {
            endpoint: endpoint.parse().unwrap(),
            headers: Vec::new(),
            authorities: None,
            service: "s".to_owned(),
        };
        let exporter = Exporter::start(&collector, "a".to_owned()).unwrap();
        let spans = exporter.spans();
        let begun = Instant::now();
        for _ in 0..WAITING + BATCH + 10 {
            spans.add(Span {
                name: "A",
                start: Timestamp(1),
                end: Timestamp(2),
                failure: None,
                attributes: Vec::new(),
            });
        }
        assert!(spans.dropped() >= 10, "{}", spans.dropped());
        exporter.close().await;
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        assert_eq!(spans.exported(), 0);
    }
}
