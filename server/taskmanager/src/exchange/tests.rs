//! The exchange over real connections on the loopback interface.

#![allow(clippy::unwrap_used)]

use super::{CREDIT, Exchange, Peers, Subscription, serve};
use crate::channel::{Barrier, Frame, Hub, Inbox, Next, Pipe, Popped, PushError, Side};
use crate::options::exchange_limits;
use crate::tls::{Dialer, Incoming};
use jobmanager_core::id::{Attempt, CheckpointId, Epoch, JobId, SubtaskIndex};
use jobmanager_core::message::{AfterSavepoint, ChannelId, SavepointOrder};
use jobmanager_proto::v1;
use jobmanager_proto::v1::task_exchange_client::TaskExchangeClient;
use jobmanager_proto::v1::task_exchange_server::{TaskExchange, TaskExchangeServer};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::block_in_place;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// Far more than anything here takes; only a test that fails waits for so long.
const LONG: Duration = Duration::from_secs(20);

/// A TaskManager's exchange, as others see it.
struct Producers {
    hub: Arc<Hub>,
    address: String,
    running: watch::Sender<()>,
}

async fn producers(wait: Duration) -> Producers {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (running, is_running) = watch::channel(());
    let hub = Arc::new(Hub::default());
    let exchange = Exchange::new(Arc::clone(&hub), is_running).waiting(wait);
    let incoming = Incoming::new(listener, None, None, exchange_limits(1_024));
    tokio::spawn(serve(incoming, exchange));
    Producers {
        hub,
        address,
        running,
    }
}

impl Producers {
    /// The producer's end of a channel, and the inbox of its task.
    fn write(&self, consumer: u32) -> (Arc<Pipe>, Arc<Inbox>) {
        let pipe = self.hub.take(channel(consumer), Side::Producer).unwrap();
        let inbox = Arc::new(Inbox::default());
        pipe.attach_writer(Arc::clone(&inbox));
        (pipe, inbox)
    }
}

/// A task that consumes one channel.
struct Consumer {
    inbox: Arc<Inbox>,
    pipe: Arc<Pipe>,
    subscription: Subscription,
}

fn consume(peers: &Arc<Peers>, address: &str, consumer: u32) -> Consumer {
    let inbox = Arc::new(Inbox::default());
    let reader = inbox.clone();
    let (pipe, subscription) = peers.subscribe(address, channel(consumer), reader, 0);
    Consumer {
        inbox,
        pipe,
        subscription,
    }
}

impl Consumer {
    fn next(&self) -> Result<Frame, String> {
        loop {
            match self.pipe.pop() {
                Popped::Frame { frame, .. } => {
                    self.subscription.consumed();
                    return Ok(frame);
                }
                Popped::Broken(reason) => return Err(reason.to_string()),
                Popped::Empty => {}
                Popped::Closed => panic!("the network does not close a pipe"),
            }
            let woken = block_in_place(|| self.inbox.next(Some(Instant::now() + LONG)));
            assert_ne!(woken, Ok(Next::Timeout), "nothing came");
        }
    }
}

fn channel(consumer: u32) -> ChannelId {
    ChannelId {
        job: JobId(1),
        attempt: Attempt {
            epoch: Epoch(1),
            number: 0,
        },
        edge: 0,
        producer: SubtaskIndex(0),
        consumer: SubtaskIndex(consumer),
    }
}

fn peers() -> Arc<Peers> {
    Peers::new(Handle::current(), Dialer::default())
}

fn savepoint(checkpoint: u64) -> Barrier {
    let (location, after) = ("file:///savepoint".to_owned(), AfterSavepoint::Suspend);
    Barrier {
        checkpoint: CheckpointId(checkpoint),
        savepoint: Some(SavepointOrder { location, after }.into()),
    }
}

/// Pushes, waiting for room.
fn push(pipe: &Pipe, inbox: &Inbox, mut frame: Frame) {
    loop {
        match pipe.push(frame) {
            Ok(()) => return,
            Err(PushError::Full(again)) => frame = again,
            Err(PushError::Broken(reason)) => panic!("{reason}"),
        }
        block_in_place(|| inbox.wait_writable()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_frame_arrives_as_it_was_sent_and_in_order() {
    let producers = producers(LONG).await;
    let (pipe, inbox) = producers.write(0);
    let consumer = consume(&peers(), &producers.address, 0);
    let frames = [
        Frame::Records(vec![1; 100_000].into()),
        Frame::Watermark(-5),
        Frame::Barrier(CheckpointId(9).into()),
        Frame::Barrier(savepoint(10)),
        Frame::EndOfData,
    ];
    for frame in &frames {
        push(&pipe, &inbox, frame.clone());
    }
    for frame in frames {
        assert_eq!(consumer.next(), Ok(frame));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_ask_before_its_producer_is_there() {
    let producers = producers(LONG).await;
    let peers = peers();
    let early = consume(&peers, &producers.address, 0);
    let (late, _inbox) = producers.write(1);
    late.push(Frame::EndOfData).unwrap();
    // When the second channel is served, the first one has been asked for.
    let other = consume(&peers, &producers.address, 1);
    assert_eq!(other.next(), Ok(Frame::EndOfData));
    let (pipe, _inbox) = producers.write(0);
    pipe.push(Frame::EndOfData).unwrap();
    assert_eq!(early.next(), Ok(Frame::EndOfData));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_consumer_holds_up_its_own_producer_and_nobody_else() {
    let producers = producers(LONG).await;
    let peers = peers();
    let (slow_pipe, slow_inbox) = producers.write(0);
    let (pipe, inbox) = producers.write(1);
    let slow = consume(&peers, &producers.address, 0);
    let fast = consume(&peers, &producers.address, 1);
    // As much as is granted, and as much as waits on the producer's side.
    let capacity = u64::from(2 * CREDIT);
    for id in 0..capacity {
        push(
            &slow_pipe,
            &slow_inbox,
            Frame::Barrier(CheckpointId(id).into()),
        );
    }
    let many = 1_000;
    for id in 0..many {
        push(&pipe, &inbox, Frame::Barrier(CheckpointId(id).into()));
        assert_eq!(fast.next(), Ok(Frame::Barrier(CheckpointId(id).into())));
    }
    let full = slow_pipe.push(Frame::EndOfData);
    assert_eq!(full, Err(PushError::Full(Frame::EndOfData)));
    for id in 0..capacity {
        assert_eq!(slow.next(), Ok(Frame::Barrier(CheckpointId(id).into())));
    }
    push(&slow_pipe, &slow_inbox, Frame::EndOfData);
    assert_eq!(slow.next(), Ok(Frame::EndOfData));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_never_comes_is_refused_and_others_are_not_disturbed() {
    let producers = producers(Duration::from_millis(10)).await;
    let peers = peers();
    let (pipe, inbox) = producers.write(1);
    let good = consume(&peers, &producers.address, 1);
    let absent = consume(&peers, &producers.address, 0);
    let refused = absent.next().unwrap_err();
    assert!(refused.contains("was not deployed"), "{refused}");
    assert!(refused.contains(&producers.address), "{refused}");
    push(&pipe, &inbox, Frame::EndOfData);
    assert_eq!(good.next(), Ok(Frame::EndOfData));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_consumer_of_a_channel_is_refused() {
    let producers = producers(LONG).await;
    let first = peers();
    let waiting = consume(&first, &producers.address, 0);
    let (other, _inbox) = producers.write(1);
    other.push(Frame::EndOfData).unwrap();
    let asked = consume(&first, &producers.address, 1);
    assert_eq!(asked.next(), Ok(Frame::EndOfData));
    let second = consume(&peers(), &producers.address, 0);
    assert!(
        second
            .next()
            .unwrap_err()
            .contains("has a consumer already")
    );
    let (pipe, _inbox) = producers.write(0);
    pipe.push(Frame::EndOfData).unwrap();
    assert_eq!(waiting.next(), Ok(Frame::EndOfData));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_stream_breaks_its_channels_at_both_ends() {
    let producers = producers(LONG).await;
    let (pipe, inbox) = producers.write(0);
    let consumer = consume(&peers(), &producers.address, 0);
    push(&pipe, &inbox, Frame::Watermark(1));
    assert_eq!(consumer.next(), Ok(Frame::Watermark(1)));
    drop(producers.running);
    let lost = consumer.next().unwrap_err();
    assert!(lost.contains(&producers.address), "{lost}");
    block_in_place(|| inbox.wait_writable()).unwrap();
    let refused = pipe.push(Frame::EndOfData);
    assert!(matches!(refused, Err(PushError::Broken(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_stream_the_next_subscription_opens_another() {
    let first = producers(LONG).await;
    let peers = peers();
    let lost = consume(&peers, &first.address, 0);
    drop(first.running);
    lost.next().unwrap_err();
    let second = producers(LONG).await;
    let (pipe, _inbox) = second.write(0);
    pipe.push(Frame::EndOfData).unwrap();
    assert_eq!(
        consume(&peers, &second.address, 0).next(),
        Ok(Frame::EndOfData)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let lost = consume(&peers(), &address, 0).next().unwrap_err();
    assert!(
        lost.contains(&address) && lost.contains("refused"),
        "{lost}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_protocol_is_refused_and_others_are_not_disturbed() {
    let producers = producers(LONG).await;
    let (pipe, inbox) = producers.write(0);
    let consumer = consume(&peers(), &producers.address, 0);
    push(&pipe, &inbox, Frame::Watermark(1));

    let mut garbage = TcpStream::connect(&producers.address).await.unwrap();
    garbage.write_all(&[0x5a; 4_096]).await.unwrap();
    let mut answer = Vec::new();
    // Either an orderly end or a reset.
    let _ = garbage.read_to_end(&mut answer).await;

    let address = format!("http://{}", producers.address);
    let mut client = TaskExchangeClient::connect(address).await.unwrap();
    let nameless = v1::ExchangeRequest {
        request: Some(v1::exchange_request::Request::Subscribe(v1::Subscribe {
            channel: 1,
            ..Default::default()
        })),
    };
    let requests = tokio_stream::iter([nameless]).chain_pending();
    let mut frames = client.exchange(requests).await.unwrap().into_inner();
    let refused = frames.message().await.unwrap().unwrap();
    let Some(v1::exchange_frame::Frame::Refused(reason)) = refused.frame else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("job"), "{reason}");

    push(&pipe, &inbox, Frame::EndOfData);
    assert_eq!(consumer.next(), Ok(Frame::Watermark(1)));
    assert_eq!(consumer.next(), Ok(Frame::EndOfData));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_gone_frees_the_name_of_its_channel() {
    let producers = producers(LONG).await;
    let peers = peers();
    drop(consume(&peers, &producers.address, 0));
    let (pipe, _inbox) = producers.write(1);
    pipe.push(Frame::EndOfData).unwrap();
    let after = consume(&peers, &producers.address, 1);
    assert_eq!(after.next(), Ok(Frame::EndOfData));
    let again = consume(&peers, &producers.address, 0);
    let (pipe, _inbox) = producers.write(0);
    pipe.push(Frame::EndOfData).unwrap();
    assert_eq!(again.next(), Ok(Frame::EndOfData));
}

/// A producers' side that does not count credit. Sends when it is told to.
struct Greedy(Arc<Notify>);

#[tonic::async_trait]
impl TaskExchange for Greedy {
    type ExchangeStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<v1::ExchangeFrame, Status>> + Send>>;

    async fn exchange(
        &self,
        _: Request<Streaming<v1::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        self.0.notified().await;
        let frames = (0..=CREDIT).map(|_| Ok(super::to_wire(1, Frame::Watermark(0))));
        let frames = tokio_stream::iter(frames).chain_pending();
        Ok(Response::new(Box::pin(frames)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_sends_more_than_it_was_granted_breaks_its_channel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let go = Arc::new(Notify::new());
    let service = TaskExchangeServer::new(Greedy(Arc::clone(&go)));
    tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
    let consumer = consume(&peers(), &address, 0);
    // Whoever writes to a pipe is told when it breaks.
    let writer = Arc::new(Inbox::default());
    consumer.pipe.attach_writer(Arc::clone(&writer));
    go.notify_one();
    block_in_place(|| writer.wait_writable()).unwrap();
    let frames: Vec<_> = (0..=CREDIT).map(|_| consumer.next()).collect();
    let reason = frames.last().unwrap().as_ref().unwrap_err();
    assert!(
        reason.contains("more frames than it was granted"),
        "{reason}"
    );
}

/// A stream that stays open after its last item.
trait ChainPending: Stream + Sized {
    fn chain_pending(self) -> impl Stream<Item = Self::Item>;
}

impl<S: Stream> ChainPending for S {
    fn chain_pending(self) -> impl Stream<Item = Self::Item> {
        futures::StreamExt::chain(self, futures::stream::pending())
    }
}
