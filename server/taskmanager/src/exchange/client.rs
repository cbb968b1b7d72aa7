//! The consumers' side: streams to the TaskManagers that have producers for us.

use super::{
    CONNECTION_WINDOW, CREDIT, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_FRAME_MESSAGE,
    STREAM_WINDOW, from_wire,
};
use crate::channel::{Pipe, PushError, Reader};
use crate::tls::Dialer;
use futures::Stream;
use futures::stream::unfold;
use jobmanager_core::message::ChannelId;
use jobmanager_proto::v1;
use jobmanager_proto::v1::task_exchange_client::TaskExchangeClient;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tonic::transport::Endpoint;
use tracing::{debug, info};

/// A TaskManager that was deployed to is there; one that does not answer for so long is not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Credit is returned in portions: half of it keeps the producer busy while the other half travels.
const CREDIT_PORTION: u32 = CREDIT / 2;

/// One stream per TaskManager, shared by all channels from it.
#[derive(Debug)]
pub(crate) struct Peers {
    runtime: Handle,
    dialer: Dialer,
    streams: Mutex<Streams>,
}

type Streams = HashMap<String, (Arc<Peer>, AbortHandle)>;

#[derive(Debug)]
struct Peer {
    address: String,
    state: Mutex<State>,
    /// There is something to request, or the stream is over.
    work: Notify,
}

/// What is requested is kept as a state, not as a queue: it cannot grow beyond the channels there are.
#[derive(Debug, Default)]
struct State {
    last_channel: u32,
    channels: HashMap<u32, Arc<Pipe>>,
    subscribe: Vec<(u32, ChannelId)>,
    credit: BTreeMap<u32, u32>,
    unsubscribe: Vec<u32>,
    broken: bool,
}

/// A channel from another TaskManager. Dropping it unsubscribes.
#[derive(Debug)]
pub(crate) struct Subscription {
    peer: Arc<Peer>,
    channel: u32,
    consumed: AtomicU32,
}

impl Subscription {
    /// The consumer has taken a frame: the producer may send another one.
    pub(crate) fn consumed(&self) {
        // Only the consumer's thread counts.
        let consumed = self.consumed.load(Ordering::Relaxed) + 1;
        if consumed < CREDIT_PORTION {
            self.consumed.store(consumed, Ordering::Relaxed);
            return;
        }
        self.consumed.store(0, Ordering::Relaxed);
        let mut state = self.peer.lock();
        *state.credit.entry(self.channel).or_default() += consumed;
        drop(state);
        self.peer.work.notify_one();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.peer.lock();
        state.channels.remove(&self.channel);
        state.credit.remove(&self.channel);
        state.unsubscribe.push(self.channel);
        drop(state);
        self.peer.work.notify_one();
    }
}

impl Peers {
    pub(crate) fn new(runtime: Handle, dialer: Dialer) -> Arc<Peers> {
        Arc::new(Peers {
            runtime,
            dialer,
            streams: Mutex::default(),
        })
    }

    /// Subscribes to a channel whose producer runs at `address`. A failure breaks the pipe.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        address: &str,
        id: ChannelId,
        reader: Arc<dyn Reader>,
        number: u32,
    ) -> (Arc<Pipe>, Subscription) {
        let pipe = Arc::new(Pipe::default());
        pipe.attach_reader(reader, number);
        loop {
            let peer = self.peer(address);
            if let Some(channel) = peer.add(id, &pipe) {
                let consumed = AtomicU32::new(0);
                let subscription = Subscription {
                    peer,
                    channel,
                    consumed,
                };
                return (pipe, subscription);
            }
            // It broke in between: the next one is another.
            self.remove(&peer);
        }
    }

    fn peer(self: &Arc<Self>, address: &str) -> Arc<Peer> {
        let mut streams = self.lock();
        if let Some((peer, _)) = streams.get(address) {
            return Arc::clone(peer);
        }
        let peer = Arc::new(Peer {
            address: address.to_owned(),
            state: Mutex::default(),
            work: Notify::new(),
        });
        let (peers, task) = (Arc::clone(self), Arc::clone(&peer));
        let running = self.runtime.spawn(async move {
            let reason = Arc::clone(&task).run(&peers.dialer).await;
            info!(peer = task.address, %reason, "exchange stream ended");
            peers.remove(&task);
            task.break_all(&reason);
        });
        let entry = (Arc::clone(&peer), running.abort_handle());
        streams.insert(address.to_owned(), entry);
        peer
    }

    fn remove(&self, peer: &Arc<Peer>) {
        let mut streams = self.lock();
        let current = streams.get(&peer.address);
        if current.is_some_and(|(current, _)| Arc::ptr_eq(current, peer)) {
            streams.remove(&peer.address);
        }
    }

    /// Ends every stream: the TaskManager stops.
    pub(crate) fn close(&self) {
        for (_, (peer, running)) in self.lock().drain() {
            running.abort();
            peer.break_all("this TaskManager stops");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// `None` if the stream is over.
    fn add(&self, id: ChannelId, pipe: &Arc<Pipe>) -> Option<u32> {
        let mut state = self.lock();
        if state.broken {
            return None;
        }
        state.last_channel += 1;
        let channel = state.last_channel;
        state.channels.insert(channel, Arc::clone(pipe));
        state.subscribe.push((channel, id));
        drop(state);
        self.work.notify_one();
        Some(channel)
    }

    /// Keeps the stream until it ends, and says why it did.
    async fn run(self: Arc<Self>, dialer: &Dialer) -> String {
        let address = &self.address;
        let endpoint = match Endpoint::from_shared(format!("http://{address}")) {
            Ok(endpoint) => endpoint,
            Err(problem) => return format!("{address} is not an address: {problem}"),
        };
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let channel = match dialer.connect(endpoint).await {
            Ok(channel) => channel,
            Err(problem) => {
                let problem = crate::words(&problem);
                return format!("cannot reach the TaskManager at {address}: {problem}");
            }
        };
        let mut client =
            TaskExchangeClient::new(channel).max_decoding_message_size(MAX_FRAME_MESSAGE);
        let mut frames = match client.exchange(Arc::clone(&self).requests()).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return self.lost(&crate::status_words(&status)),
        };
        debug!(peer = address, "exchange stream opened");
        loop {
            match frames.message().await {
                Ok(Some(frame)) => self.deliver(frame),
                Ok(None) => return self.lost("it ended the stream"),
                Err(status) => return self.lost(&crate::status_words(&status)),
            }
        }
    }

    fn lost(&self, problem: &str) -> String {
        let address = &self.address;
        format!("lost the connection to the TaskManager at {address}: {problem}")
    }

    fn deliver(&self, frame: v1::ExchangeFrame) {
        let channel = frame.channel;
        // A channel that is not there was given up a moment ago.
        let Some(pipe) = self.lock().channels.get(&channel).cloned() else {
            return;
        };
        let problem = match from_wire(frame) {
            Ok(frame) => match pipe.push(frame) {
                Ok(()) | Err(PushError::Broken(_)) => return,
                Err(PushError::Full(_)) => "sent more frames than it was granted".to_owned(),
            },
            Err(problem) => problem,
        };
        let address = &self.address;
        pipe.break_off(format!("the TaskManager at {address}: {problem}").into());
    }

    fn break_all(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        let mut state = self.lock();
        state.broken = true;
        let channels = std::mem::take(&mut state.channels);
        drop(state);
        self.work.notify_one();
        for pipe in channels.into_values() {
            pipe.break_off(Arc::clone(&reason));
        }
    }

    /// What we ask for, as it comes up; ends with the stream.
    fn requests(self: Arc<Self>) -> impl Stream<Item = v1::ExchangeRequest> {
        unfold((self, VecDeque::new()), |(peer, mut batch)| async move {
            loop {
                if let Some(request) = batch.pop_front() {
                    let request = Some(request);
                    return Some((v1::ExchangeRequest { request }, (peer, batch)));
                }
                batch = peer.take_requests()?;
                if batch.is_empty() {
                    peer.work.notified().await;
                }
            }
        })
    }

    /// `None` if the stream is over.
    fn take_requests(&self) -> Option<VecDeque<v1::exchange_request::Request>> {
        use v1::exchange_request::Request;
        let mut state = self.lock();
        if state.broken {
            return None;
        }
        let subscribe = std::mem::take(&mut state.subscribe);
        let credit = std::mem::take(&mut state.credit);
        let unsubscribe = std::mem::take(&mut state.unsubscribe);
        let subscribe = subscribe.into_iter().map(|(channel, id)| {
            let subscribe = jobmanager_proto::subscribe(&id, channel, CREDIT);
            Request::Subscribe(subscribe)
        });
        let credit = credit
            .into_iter()
            .map(|(channel, frames)| Request::Credit(v1::Credit { channel, frames }));
        let unsubscribe = unsubscribe
            .into_iter()
            .map(|channel| Request::Unsubscribe(v1::Unsubscribe { channel }));
        Some(subscribe.chain(credit).chain(unsubscribe).collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
