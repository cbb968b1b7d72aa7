//! The producers' side: the service that consumers on other TaskManagers call.

use super::{
    CONNECTION_WINDOW, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_REQUEST_MESSAGE, STREAM_WINDOW,
    refused, to_wire,
};
use crate::channel::{Hub, Pipe, Popped, Reader, Side};
use crate::recent_log;
use crate::tls::{Incoming, Peer};
use futures::FutureExt;
use jobmanager_core::message::ChannelId;
use jobmanager_proto::v1;
use jobmanager_proto::v1::exchange_request::Request as Asked;
use jobmanager_proto::v1::task_exchange_server::{TaskExchange, TaskExchangeServer};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info};

/// How long a subscription waits for its producer to be deployed. Both are deployed at the same moment.
const PRODUCER_WAIT: Duration = Duration::from_secs(30);
/// The most channels of one stream: the largest region, times a few.
const MAX_CHANNELS: usize = 1 << 18;
/// Frames between a stream's task and its connection. More would only wait in another place.
const STREAM_QUEUE: usize = 16;
/// The most streams of one connection; a peer needs one.
const MAX_STREAMS: u32 = 16;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    hub: Arc<Hub>,
    producer_wait: Duration,
    /// Its sender is dropped when the TaskManager stops.
    running: watch::Receiver<()>,
}

/// Serves until the future is dropped; the log of this process, too.
pub(crate) async fn serve(
    incoming: Incoming,
    exchange: Exchange,
) -> Result<(), tonic::transport::Error> {
    let service = TaskExchangeServer::new(exchange).max_decoding_message_size(MAX_REQUEST_MESSAGE);
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(service)
        .add_service(recent_log::server())
        .serve_with_incoming(incoming)
        .await
}

impl Exchange {
    /// Serves the producers of `hub`. Its streams end when the sender of `running` is dropped.
    pub(crate) fn new(hub: Arc<Hub>, running: watch::Receiver<()>) -> Exchange {
        Exchange {
            hub,
            producer_wait: PRODUCER_WAIT,
            running,
        }
    }

    /// With another time for a subscription to wait for its producer.
    #[cfg(test)]
    pub(super) fn waiting(self, producer_wait: Duration) -> Exchange {
        Exchange {
            producer_wait,
            ..self
        }
    }
}

#[tonic::async_trait]
impl TaskExchange for Exchange {
    type ExchangeStream = ReceiverStream<Result<v1::ExchangeFrame, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<v1::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (frames, receiver) = mpsc::channel(STREAM_QUEUE);
        let stream = ExchangeStream {
            exchange: self.clone(),
            peer: request.extensions().get().map(|peer: &Peer| peer.address),
            channels: HashMap::new(),
            waiting: VecDeque::new(),
            ready: Arc::default(),
            frames,
        };
        tokio::spawn(stream.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Channels that have frames, as their pipes tell it.
#[derive(Debug, Default)]
struct Ready {
    channels: Mutex<VecDeque<u32>>,
    news: Notify,
}

impl Ready {
    fn next(&self) -> Option<u32> {
        let channels = self.channels.lock();
        let mut channels = channels.unwrap_or_else(PoisonError::into_inner);
        channels.pop_front()
    }
}

impl Reader for Ready {
    fn ready(&self, channel: u32) {
        let channels = self.channels.lock();
        channels
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(channel);
        self.news.notify_one();
    }
}

/// One stream: all channels to one TaskManager.
struct ExchangeStream {
    exchange: Exchange,
    peer: Option<SocketAddr>,
    channels: HashMap<u32, Served>,
    /// Subscriptions whose producer had not come, with the time when they are refused.
    waiting: VecDeque<(Instant, u32)>,
    ready: Arc<Ready>,
    frames: mpsc::Sender<Result<v1::ExchangeFrame, Status>>,
}

struct Served {
    id: ChannelId,
    pipe: Arc<Pipe>,
    credit: u32,
}

/// The consumer's side is gone, or does not speak the protocol.
struct Over(String);

impl ExchangeStream {
    async fn run(mut self, mut requests: Streaming<v1::ExchangeRequest>) {
        let reason = loop {
            if let Err(Over(reason)) = self.turn(&mut requests).await {
                break reason;
            }
        };
        let peer = self.peer.map_or("?".to_owned(), |peer| peer.to_string());
        debug!(peer, reason, "exchange stream ended");
        let reason =
            format!("lost the connection from the consumers' TaskManager at {peer}: {reason}");
        let reason: Arc<str> = reason.into();
        for served in self.channels.into_values() {
            self.exchange.hub.forget(served.id, &served.pipe);
            served.pipe.break_off(Arc::clone(&reason));
        }
    }

    /// One request, one frame, or one refusal.
    async fn turn(&mut self, requests: &mut Streaming<v1::ExchangeRequest>) -> Result<(), Over> {
        // One of each at a time: neither a flood of requests nor of frames holds the other up.
        if let Some(request) = requests.message().now_or_never() {
            self.requested(request).await?;
        }
        if let Some(channel) = self.ready.next() {
            return self.serve(channel).await;
        }
        let deadline = self.waiting.front().map(|(deadline, _)| *deadline);
        tokio::select! {
            request = requests.message() => self.requested(request).await,
            () = self.ready.news.notified() => Ok(()),
            () = sleep_until(deadline) => self.refuse_first().await,
            _ = self.exchange.running.changed() => Err(Over("this TaskManager stops".to_owned())),
            () = self.frames.closed() => Err(Over("it closed the stream".to_owned())),
        }
    }

    async fn requested(
        &mut self,
        request: Result<Option<v1::ExchangeRequest>, Status>,
    ) -> Result<(), Over> {
        let request = match request {
            Ok(Some(request)) => request.request,
            Ok(None) => return Err(Over("it closed the stream".to_owned())),
            Err(status) => return Err(Over(crate::status_words(&status))),
        };
        match request {
            Some(Asked::Subscribe(subscribe)) => self.subscribe(subscribe).await,
            Some(Asked::Credit(v1::Credit { channel, frames })) => {
                // A channel that is not there has ended meanwhile.
                let Some(served) = self.channels.get_mut(&channel) else {
                    return Ok(());
                };
                if served.credit == 0 && frames > 0 {
                    self.ready.ready(channel);
                }
                served.credit = served.credit.saturating_add(frames);
                Ok(())
            }
            Some(Asked::Unsubscribe(v1::Unsubscribe { channel })) => {
                self.end(channel);
                Ok(())
            }
            // A request of a later version.
            None => Ok(()),
        }
    }

    async fn subscribe(&mut self, subscribe: v1::Subscribe) -> Result<(), Over> {
        let channel = subscribe.channel;
        let id = match ChannelId::try_from(&subscribe) {
            Ok(id) => id,
            Err(problem) => return self.refuse(channel, problem.to_string()).await,
        };
        if self.channels.contains_key(&channel) {
            let problem = format!("channel {channel} was subscribed twice on one stream");
            return Err(Over(problem));
        }
        if self.channels.len().max(self.waiting.len()) == MAX_CHANNELS {
            let problem = format!("a stream has at most {MAX_CHANNELS} channels");
            return self.refuse(channel, problem).await;
        }
        let Ok(pipe) = self.exchange.hub.take(id, Side::Consumer) else {
            return self
                .refuse(channel, "the channel has a consumer already")
                .await;
        };
        pipe.attach_reader(self.ready.clone(), channel);
        if !pipe.has_writer() {
            let deadline = Instant::now() + self.exchange.producer_wait;
            self.waiting.push_back((deadline, channel));
        }
        let credit = subscribe.credit;
        self.channels.insert(channel, Served { id, pipe, credit });
        Ok(())
    }

    /// Sends one frame of a channel that has one, if it has credit.
    async fn serve(&mut self, channel: u32) -> Result<(), Over> {
        let Some(served) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        if served.credit == 0 {
            // The next credit makes it ready again.
            return Ok(());
        }
        match served.pipe.pop() {
            Popped::Frame { frame, more } => {
                served.credit -= 1;
                if more {
                    self.ready.ready(channel);
                }
                self.send(to_wire(channel, frame)).await
            }
            Popped::Empty => Ok(()),
            Popped::Closed | Popped::Broken(_) => {
                self.end(channel);
                Ok(())
            }
        }
    }

    /// Refuses the first waiting subscription if its producer has still not come.
    async fn refuse_first(&mut self) -> Result<(), Over> {
        let Some((_, channel)) = self.waiting.pop_front() else {
            return Ok(());
        };
        let absent = |served: &Served| !served.pipe.has_writer();
        if !self.channels.get(&channel).is_some_and(absent) {
            return Ok(());
        }
        self.end(channel);
        let wait = self.exchange.producer_wait;
        let problem = format!("the producer was not deployed here within {wait:?}");
        info!(peer = ?self.peer, problem, "subscription refused");
        self.refuse(channel, problem).await
    }

    async fn refuse(&mut self, channel: u32, reason: impl Into<String>) -> Result<(), Over> {
        self.send(refused(channel, reason)).await
    }

    async fn send(&mut self, frame: v1::ExchangeFrame) -> Result<(), Over> {
        let sent = self.frames.send(Ok(frame)).await;
        sent.map_err(|_| Over("it closed the stream".to_owned()))
    }

    fn end(&mut self, channel: u32) {
        if let Some(served) = self.channels.remove(&channel) {
            self.exchange.hub.forget(served.id, &served.pipe);
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
