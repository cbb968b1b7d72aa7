//! The two ends of channels on one TaskManager.
//!
//! A producer's end queues elements until a consumer has subscribed and granted credit; it outlives its
//! task until it is drained. A consumer's end queues what arrived until the task takes it.

use super::frame::Element;
use crate::world::network::ConnectionId;
use jobmanager_core::id::AttemptId;
use jobmanager_core::message::ChannelId;
use std::collections::{BTreeMap, VecDeque};

/// The way from a producer's end to the consumer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The consumer is on this TaskManager.
    Local,
    /// The consumer named the channel so on this connection.
    Remote(ConnectionId, u32),
}

/// A consumer that has subscribed, with its credit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) route: Route,
    pub(crate) credit: u32,
}

/// A producer's end.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) producer: AttemptId,
    pub(crate) queue: VecDeque<Element>,
    pub(crate) subscription: Option<Subscription>,
    /// The task has ended by itself: the end goes when it is drained.
    pub(crate) last: bool,
    /// The consumer has gone: nothing more is sent.
    pub(crate) dropped: bool,
}

/// A consumer's end.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) consumer: AttemptId,
    pub(crate) queue: VecDeque<Element>,
    pub(crate) route: Route,
    /// Elements taken for which no new credit was granted yet.
    pub(crate) owed: u32,
    pub(crate) ended: bool,
}

/// Every end on one TaskManager.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    pub(crate) outgoing: BTreeMap<ChannelId, Outgoing>,
    pub(crate) incoming: BTreeMap<ChannelId, Incoming>,
    /// Consumers that subscribed before their producer was deployed.
    pub(crate) early: BTreeMap<ChannelId, Subscription>,
    /// What the channels that this TaskManager subscribed are called on each connection.
    pub(crate) names: BTreeMap<(ConnectionId, u32), ChannelId>,
    /// The connection to each TaskManager, by its data address, that this one consumes from.
    pub(crate) connections: BTreeMap<String, ConnectionId>,
    pub(crate) next_name: u32,
}

/// A queue of this many elements makes its producer wait.
pub(crate) const BACKPRESSURE: usize = 6;

impl Channels {
    /// Whether any end of this producer is full.
    pub(crate) fn is_full(&self, channels: impl Iterator<Item = ChannelId>) -> bool {
        let full = |id: ChannelId| {
            let end = self.outgoing.get(&id);
            end.is_some_and(|end| !end.dropped && end.queue.len() >= BACKPRESSURE)
        };
        channels.into_iter().any(full)
    }

    /// The next element that may travel on this channel, if any, and its way.
    pub(crate) fn next(&mut self, id: ChannelId) -> Option<(Route, Element)> {
        let end = self.outgoing.get_mut(&id)?;
        let subscription = end.subscription.as_mut().filter(|s| s.credit > 0)?;
        let element = end.queue.pop_front()?;
        subscription.credit -= 1;
        let route = subscription.route;
        if end.last && end.queue.is_empty() {
            self.outgoing.remove(&id);
        }
        Some((route, element))
    }

    /// Puts an element in a producer's queue.
    pub(crate) fn put(&mut self, id: ChannelId, element: Element) {
        if let Some(end) = self.outgoing.get_mut(&id).filter(|end| !end.dropped) {
            end.queue.push_back(element);
        }
    }

    /// A producer was deployed.
    pub(crate) fn add_outgoing(&mut self, id: ChannelId, producer: AttemptId) {
        let subscription = self.early.remove(&id);
        self.outgoing.insert(
            id,
            Outgoing {
                producer,
                queue: VecDeque::new(),
                subscription,
                last: false,
                dropped: false,
            },
        );
    }

    /// A consumer subscribed.
    pub(crate) fn subscribe(&mut self, id: ChannelId, subscription: Subscription) {
        match self.outgoing.get_mut(&id) {
            Some(end) => end.subscription = Some(subscription),
            None => {
                self.early.insert(id, subscription);
            }
        }
    }

    /// The channels whose consumer's end goes over this connection.
    pub(crate) fn incoming_over(&self, connection: ConnectionId) -> Vec<(ChannelId, AttemptId)> {
        let over = |route: Route| matches!(route, Route::Remote(on, _) if on == connection);
        let ends = self.incoming.iter().filter(|(_, end)| over(end.route));
        ends.map(|(id, end)| (*id, end.consumer)).collect()
    }

    /// The channels whose producer's end goes over this connection.
    pub(crate) fn outgoing_over(&self, connection: ConnectionId) -> Vec<(ChannelId, AttemptId)> {
        let over = |end: &Outgoing| {
            let route = end.subscription.map(|subscription| subscription.route);
            !end.dropped && matches!(route, Some(Route::Remote(on, _)) if on == connection)
        };
        let ends = self.outgoing.iter().filter(|(_, end)| over(end));
        ends.map(|(id, end)| (*id, end.producer)).collect()
    }

    /// Nothing more comes or goes over this connection.
    pub(crate) fn forget_connection(&mut self, connection: ConnectionId) {
        let over = |route: Route| matches!(route, Route::Remote(on, _) if on == connection);
        self.early
            .retain(|_, subscription| !over(subscription.route));
        self.names.retain(|(on, _), _| *on != connection);
        self.connections.retain(|_, on| *on != connection);
    }
}
