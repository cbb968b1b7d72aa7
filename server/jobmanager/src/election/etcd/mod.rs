//! Election by a queue of keys in etcd. A candidate's key is bound to a lease of its own and named after it; the
//! one that was created first leads, and the others are told when something in the queue changes. This is how
//! etcd's own clients do it, so that `etcdctl elect --listen jobmanager/NAME/leader` tells who leads, too.
//!
//! Where the leader answers is its key's value. It is written only while the key is still the one with which the
//! election was won.

mod api;
mod servers;

pub use servers::{EtcdServers, EtcdTls};

use super::leased::{Seat, Service};
use super::{ClusterId, Leader, LeaseTiming, whole_seconds};
use api::{Link, Watched};
use std::fmt;

/// See the module.
#[derive(Debug)]
pub struct EtcdQueue {
    servers: EtcdServers,
    /// What the keys of all candidates begin with.
    prefix: String,
    /// How long a lease lasts. Seconds, in which etcd counts.
    ttl: i64,
    link: Option<Link>,
    watched: Option<Watched>,
    /// The lease of our key, if there may be one.
    lease: Option<i64>,
    /// In which revision the key with which the election was won came to be.
    created: i64,
    /// What is in that key.
    value: Vec<u8>,
}

impl EtcdQueue {
    pub(super) fn new(servers: EtcdServers, cluster: &ClusterId, timing: LeaseTiming) -> EtcdQueue {
        EtcdQueue {
            servers,
            prefix: format!("jobmanager/{}/leader/", cluster.in_paths()),
            ttl: whole_seconds(timing.duration),
            link: None,
            watched: None,
            lease: None,
            created: 0,
            value: Vec::new(),
        }
    }

    fn key(&self, lease: i64) -> Vec<u8> {
        format!("{}{lease:x}", self.prefix).into_bytes()
    }

    async fn link(&mut self) -> Result<Link, String> {
        if self.link.is_none() {
            self.link = Some(Link::new(self.servers.connect().await?));
        }
        Ok(self.link.clone().expect("it was just made"))
    }

    /// A lease that lasts for its whole time from now on: another one if the last one has ended.
    async fn lease(&mut self, link: &mut Link) -> Result<i64, String> {
        if let Some(lease) = self.lease
            && link.keep_alive(lease).await?
        {
            return Ok(lease);
        }
        let lease = link.grant(self.ttl).await?;
        self.lease = Some(lease);
        Ok(lease)
    }
}

impl Service for EtcdQueue {
    async fn take(&mut self) -> Result<Seat, String> {
        let mut link = self.link().await?;
        let lease = self.lease(&mut link).await?;
        let key = self.key(lease);
        let (revision, mut queue) = link.enter(&key, lease, &self.prefix).await?;
        // What is further below belongs to a cluster whose name continues this one's.
        queue.retain(|entry| !entry.key[self.prefix.len()..].contains(&b'/'));
        let first = queue
            .first()
            .ok_or("the queue is empty after it was entered")?;
        if first.key == key {
            self.watched = None;
            self.created = first.create_revision;
            self.value.clone_from(&first.value);
            return Ok(Seat::Ours);
        }
        if self.watched.is_none() {
            // Nothing between the look and the watch is missed.
            self.watched = Some(link.watch(&self.prefix, revision + 1).await?);
        }
        Ok(Seat::Theirs {
            left: None,
            leader: serde_json::from_slice(&first.value).ok(),
        })
    }

    async fn renew(&mut self, leader: Option<&Leader>) -> Result<bool, String> {
        let Some(lease) = self.lease else {
            return Ok(false);
        };
        let mut link = self.link().await?;
        if !link.keep_alive(lease).await? {
            return Ok(false);
        }
        let value = leader.map_or(Ok(Vec::new()), serde_json::to_vec);
        let value = value.map_err(|problem| problem.to_string())?;
        let changed = (value != self.value).then_some((value, lease));
        let key = self.key(lease);
        let is_ours = link.put_if(&key, self.created, changed.clone()).await?;
        if let Some((value, _)) = changed {
            self.value = value;
        }
        Ok(is_ours)
    }

    async fn resign(&mut self) -> Result<(), String> {
        self.watched = None;
        // Even if it cannot be revoked, nothing is built on it any more.
        match self.lease.take() {
            Some(lease) => self.link().await?.revoke(lease).await,
            None => Ok(()),
        }
    }

    async fn changed(&mut self) {
        if let Some(watched) = &mut self.watched {
            match watched.changed().await {
                Ok(()) => return,
                // Whoever waits looks again after a while, through another server.
                Err(_) => self.disconnect(),
            }
        }
        std::future::pending().await
    }

    fn disconnect(&mut self) {
        self.link = None;
        self.watched = None;
        self.servers.next();
    }
}

impl fmt::Display for EtcdQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.servers.fmt(f)
    }
}
