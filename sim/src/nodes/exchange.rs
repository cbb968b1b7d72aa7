//! The data exchange between TaskManagers: subscriptions, credit and frames, as bytes.

use crate::dataflow::channels::{Incoming, Route, Subscription};
use crate::dataflow::frame;
use crate::world::World;
use crate::world::event::Process;
use crate::world::network::{ConnectionId, Node, Payload, Side};
use jobmanager_core::id::{AttemptId, TaskId};
use jobmanager_core::message::ChannelId;
use jobmanager_proto::v1::{self, exchange_request::Request};
use prost::Message as _;
use std::collections::VecDeque;

impl World {
    /// Connects the consumer's end of a channel. `Err` if the producer cannot be reached.
    pub(crate) fn connect_input(
        &mut self,
        process: Process,
        consumer: AttemptId,
        id: ChannelId,
        address: Option<String>,
    ) -> Result<(), String> {
        let credit = self.options.credit;
        let address = address.ok_or_else(|| format!("{id:?}: the producer is nowhere"))?;
        let Some(node) = self.node(process) else {
            return Ok(());
        };
        let route = if node.address == address {
            let route = Route::Local;
            node.channels.subscribe(id, Subscription { route, credit });
            route
        } else {
            let connection = self.exchange_connection(process, &address)?;
            let Some(node) = self.node(process) else {
                return Ok(());
            };
            node.channels.next_name += 1;
            let name = node.channels.next_name;
            node.channels.names.insert((connection, name), id);
            let subscribe = jobmanager_proto::subscribe(&id, name, credit);
            self.request(connection, Request::Subscribe(subscribe));
            Route::Remote(connection, name)
        };
        if let Some(node) = self.node(process) {
            let end = Incoming {
                consumer,
                queue: VecDeque::new(),
                route,
                owed: 0,
                ended: false,
            };
            node.channels.incoming.insert(id, end);
        }
        Ok(())
    }

    fn exchange_connection(
        &mut self,
        process: Process,
        address: &str,
    ) -> Result<ConnectionId, String> {
        let known = self.node(process);
        let known = known.and_then(|node| node.channels.connections.get(address).copied());
        if let Some(connection) = known {
            return Ok(connection);
        }
        let mut nodes = self.taskmanagers.iter();
        let peer = nodes.find(|node| node.is_up() && node.address == address);
        let peer = peer.ok_or_else(|| format!("{address}: connection refused"))?;
        let there = Node::TaskManager(peer.process);
        let connection = self.network.open(Node::TaskManager(process), there);
        if let Some(node) = self.node(process) {
            node.channels
                .connections
                .insert(address.to_owned(), connection);
        }
        Ok(connection)
    }

    fn request(&mut self, connection: ConnectionId, request: Request) {
        let request = v1::ExchangeRequest {
            request: Some(request),
        };
        let bytes = request.encode_to_vec();
        self.send(connection, Side::Acceptor, Payload::Bytes(bytes));
    }

    pub(crate) fn exchange_hears(
        &mut self,
        process: Process,
        id: ConnectionId,
        side: Side,
        bytes: &[u8],
    ) {
        match side {
            Side::Opener => {
                let frame = v1::ExchangeFrame::decode(bytes).expect("bytes arrive as sent");
                self.consumer_hears(process, id, frame);
            }
            Side::Acceptor => {
                let request = v1::ExchangeRequest::decode(bytes).expect("bytes arrive as sent");
                if let Some(request) = request.request {
                    self.producer_hears(process, id, request);
                }
            }
        }
    }

    fn consumer_hears(&mut self, process: Process, on: ConnectionId, frame: v1::ExchangeFrame) {
        let Some(node) = self.node(process) else {
            return;
        };
        let Some(id) = node.channels.names.get(&(on, frame.channel)).copied() else {
            return;
        };
        let Some(end) = node.channels.incoming.get_mut(&id) else {
            return;
        };
        let consumer = end.consumer;
        match frame::from_wire(frame.frame) {
            Ok(element) => {
                end.queue.push_back(element);
                self.wake_task(process, consumer);
            }
            Err(refusal) => self.task_fails(process, consumer, &format!("a producer: {refusal}")),
        }
    }

    fn producer_hears(&mut self, process: Process, on: ConnectionId, request: Request) {
        let Some(node) = self.node(process) else {
            return;
        };
        match request {
            Request::Subscribe(subscribe) => {
                let id = ChannelId::try_from(&subscribe).expect("a subscription names a channel");
                let subscription = Subscription {
                    route: Route::Remote(on, subscribe.channel),
                    credit: subscribe.credit,
                };
                node.channels.subscribe(id, subscription);
                self.pump(process, id);
            }
            Request::Credit(credit) => {
                let route = Route::Remote(on, credit.channel);
                if let Some(id) = self.grant(process, route, credit.frames) {
                    self.pump(process, id);
                }
            }
            Request::Unsubscribe(unsubscribe) => {
                let route = Route::Remote(on, unsubscribe.channel);
                if let Some(id) = self.grant(process, route, 0) {
                    self.drop_output(process, id);
                }
            }
        }
    }

    /// Adds credit to the channel on this route; tells which it is.
    fn grant(&mut self, process: Process, route: Route, frames: u32) -> Option<ChannelId> {
        let channels = &mut self.node(process)?.channels;
        let produced = channels.outgoing.iter_mut();
        let mut subscriptions =
            produced.filter_map(|(id, end)| Some((*id, end.subscription.as_mut()?)));
        if let Some((id, subscription)) = subscriptions.find(|(_, s)| s.route == route) {
            subscription.credit += frames;
            return Some(id);
        }
        // The consumer was faster than the deployment of the producer.
        channels.early.retain(|_, s| s.route != route || frames > 0);
        None
    }

    /// The consumer of this channel is gone: its producer need not wait for it.
    fn drop_output(&mut self, process: Process, id: ChannelId) {
        let Some(node) = self.node(process) else {
            return;
        };
        let Some(end) = node.channels.outgoing.get_mut(&id) else {
            return;
        };
        end.dropped = true;
        end.queue.clear();
        let producer = end.producer;
        if end.last {
            node.channels.outgoing.remove(&id);
        }
        self.wake_task(process, producer);
    }

    /// Sends what may be sent on a channel.
    pub(crate) fn pump(&mut self, process: Process, id: ChannelId) {
        let producer = {
            let Some(node) = self.node(process) else {
                return;
            };
            node.channels.outgoing.get(&id).map(|end| end.producer)
        };
        let mut moved = false;
        while let Some((route, element)) = self.node(process).and_then(|n| n.channels.next(id)) {
            moved = true;
            match route {
                Route::Local => {
                    let Some(node) = self.node(process) else {
                        return;
                    };
                    let Some(end) = node.channels.incoming.get_mut(&id) else {
                        continue;
                    };
                    end.queue.push_back(element);
                    let consumer = end.consumer;
                    self.wake_task(process, consumer);
                }
                Route::Remote(connection, name) => {
                    let bytes = frame::to_wire(name, &element).encode_to_vec();
                    self.send(connection, Side::Opener, Payload::Bytes(bytes));
                }
            }
        }
        if let Some(producer) = producer.filter(|_| moved) {
            self.wake_if_blocked(process, producer);
        }
    }

    /// A task took an element from a channel: its producer may send another one.
    pub(crate) fn return_credit(&mut self, process: Process, id: ChannelId) {
        let batch = (self.options.credit / 2).max(1);
        let Some(node) = self.node(process) else {
            return;
        };
        let Some(end) = node.channels.incoming.get_mut(&id) else {
            return;
        };
        end.owed += 1;
        match end.route {
            Route::Local => {
                end.owed = 0;
                let outgoing = node.channels.outgoing.get_mut(&id);
                if let Some(subscription) = outgoing.and_then(|end| end.subscription.as_mut()) {
                    subscription.credit += 1;
                }
                self.pump(process, id);
            }
            Route::Remote(connection, channel) if end.owed >= batch => {
                let frames = std::mem::take(&mut end.owed);
                self.request(connection, Request::Credit(v1::Credit { channel, frames }));
            }
            Route::Remote(..) => {}
        }
    }

    /// The consumer's end of a channel goes with its task.
    pub(crate) fn remove_input(&mut self, process: Process, id: ChannelId) {
        let Some(node) = self.node(process) else {
            return;
        };
        let Some(end) = node.channels.incoming.remove(&id) else {
            return;
        };
        match end.route {
            Route::Local => {
                node.channels.early.remove(&id);
                self.drop_output(process, id);
            }
            Route::Remote(connection, channel) => {
                node.channels.names.remove(&(connection, channel));
                let gone = Request::Unsubscribe(v1::Unsubscribe { channel });
                self.request(connection, gone);
            }
        }
    }

    /// The producer's end of a channel goes with its task: at once, or when it is drained.
    pub(crate) fn remove_output(&mut self, process: Process, id: ChannelId, finished: bool) {
        let Some(node) = self.node(process) else {
            return;
        };
        let Some(end) = node.channels.outgoing.get_mut(&id) else {
            return;
        };
        end.last = true;
        let drained = end.queue.is_empty() || end.dropped;
        if finished && !drained {
            return;
        }
        let route = end.subscription.map(|subscription| subscription.route);
        let dropped = end.dropped;
        node.channels.outgoing.remove(&id);
        if let Some(Route::Remote(connection, channel)) = route
            && !finished
            && !dropped
        {
            let refused = v1::exchange_frame::Frame::Refused("the task has ended".to_owned());
            let frame = v1::ExchangeFrame {
                channel,
                frame: Some(refused),
            };
            let bytes = frame.encode_to_vec();
            self.send(connection, Side::Opener, Payload::Bytes(bytes));
        }
    }

    /// A connection is gone: both tasks of each of its channels fail.
    pub(crate) fn exchange_ends(&mut self, process: Process, on: ConnectionId) {
        let Some(node) = self.node(process) else {
            return;
        };
        let inputs = node.channels.incoming_over(on);
        let outputs = node.channels.outgoing_over(on);
        node.channels.forget_connection(on);
        for (id, task) in inputs.into_iter().chain(outputs) {
            let cause = format!("the connection of channel {id:?} broke");
            self.task_fails(process, task, &cause);
            if let Some(node) = self.node(process) {
                // What is left belongs to tasks that had ended already.
                node.channels.incoming.remove(&id);
                node.channels.outgoing.remove(&id);
            }
        }
    }

    /// Where the producer of a channel is, as the consumer's deployment says.
    pub(crate) fn producer_address(
        &mut self,
        process: Process,
        consumer: AttemptId,
        id: ChannelId,
    ) -> Option<String> {
        let table = &self.node(process)?.tasks.get(&consumer)?.start.table;
        let edge = table.edges.get(id.edge as usize)?;
        let producer = TaskId {
            vertex: edge.source,
            subtask: id.producer,
        };
        table.address(producer).map(str::to_owned)
    }
}
