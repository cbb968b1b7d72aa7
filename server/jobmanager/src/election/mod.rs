//! Which of several JobManagers leads. The others stand by, and know where the leader answers.
//!
//! ```text
//!              elected            announced
//! campaigning ────────► leading ────────────► leading, and known to the others
//!      ▲                   │ taken, expired, resigned
//!      └───────────────────┘
//! ```
//!
//! An election keeps two from working at cross purposes; it is not what makes that safe. The fence is the
//! epoch in the store, which every new leader raises: whoever an election wrongly lets lead beside another one
//! can write nothing.
//!
//! Invariant: a [`Lease`] ends, by the monotonic clock of this machine, before anybody else can be elected.

#[cfg(feature = "etcd")]
mod etcd;
mod file;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod leaders;
#[cfg(any(
    feature = "etcd",
    feature = "kubernetes",
    feature = "postgres",
    feature = "zookeeper"
))]
mod leased;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "zookeeper")]
mod zookeeper;

#[cfg(feature = "kubernetes")]
pub use crate::kubernetes::KubernetesAccess;
#[cfg(feature = "etcd")]
pub use etcd::{EtcdQueue, EtcdServers, EtcdTls};
pub use file::FileElection;
#[cfg(feature = "kubernetes")]
pub use kubernetes::{KubernetesLease, KubernetesPlace};
pub(crate) use leaders::{KnownSince, Leaders};
#[cfg(any(
    feature = "etcd",
    feature = "kubernetes",
    feature = "postgres",
    feature = "zookeeper"
))]
pub use leased::Leased;
#[cfg(feature = "postgres")]
pub use postgres::PostgresRow;
#[cfg(feature = "zookeeper")]
pub use zookeeper::{ZooKeeperLatch, ZooKeeperPath};

use crate::store::StoreError;
use jobmanager_core::id::Epoch;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The name of a cluster: what tells it from others that use the same database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterId(String);

impl ClusterId {
    /// The longest name. Characters.
    pub const MAX: usize = 200;

    /// The name; nothing if it is empty but for slashes, too long, or has control characters.
    #[must_use]
    pub fn new(name: &str) -> Option<ClusterId> {
        let is_empty = name.trim_matches('/').is_empty();
        let fits = !is_empty && name.chars().count() <= ClusterId::MAX;
        (fits && !name.chars().any(char::is_control)).then(|| ClusterId(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a part of a path: Flink's begin with a slash, and users leave it out.
    #[cfg(any(
        feature = "azure",
        feature = "etcd",
        feature = "gcs",
        feature = "kubernetes",
        feature = "s3"
    ))]
    pub(crate) fn in_paths(&self) -> &str {
        self.0.trim_matches('/')
    }
}

/// Where a leader answers, as others reach it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Leader {
    /// Its epoch, by which a later leader is told from an earlier one.
    #[serde(with = "number")]
    pub epoch: Epoch,
    /// REST, for clients: `host:port`.
    pub rest: String,
    /// gRPC, for TaskManagers: `host:port`.
    pub rpc: String,
}

impl fmt::Display for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in epoch {}", self.rest, self.epoch.0)
    }
}

/// An epoch as a plain number.
mod number {
    use jobmanager_core::id::Epoch;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(epoch: &Epoch, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(epoch.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Epoch, D::Error> {
        u64::deserialize(from).map(Epoch)
    }
}

/// What the candidates of an election know of its leader; nothing while nobody is known to answer.
pub type KnownLeader = watch::Sender<Option<Leader>>;

/// Tells whoever waits for it, if it is news.
fn tell(known: &KnownLeader, leader: Option<Leader>) {
    known.send_if_modified(|known| {
        let changed = *known != leader;
        *known = leader;
        changed
    });
}

/// Who this is, for a service that has to tell candidates apart: another one for every life of the process.
#[cfg(any(feature = "kubernetes", feature = "postgres", feature = "zookeeper"))]
fn holder_name() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// A number that nobody else has, and another one each time.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// At least as long, for services that count in seconds.
#[cfg(any(feature = "etcd", feature = "kubernetes"))]
fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX)
}

/// How a leader's lease is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTiming {
    /// How long the others leave a leader alone that does not renew its lease.
    pub duration: Duration,
    /// How long a leader leads that does not get its lease renewed; less than the duration.
    pub renew_deadline: Duration,
    /// How often a leader renews its lease, and the others look; less than the deadline.
    pub retry_period: Duration,
}

/// How leaders are elected.
#[derive(Debug, Clone)]
pub enum ElectionPlace {
    /// Not at all: there is one JobManager, and it leads.
    None,
    /// By a lock in this folder.
    Folder(PathBuf),
    /// By a row in this database, under the name of this cluster.
    #[cfg(feature = "postgres")]
    Postgres(crate::postgres::Database, ClusterId, LeaseTiming),
    /// By a queue of keys on these servers, under the name of this cluster.
    #[cfg(feature = "etcd")]
    Etcd(EtcdServers, ClusterId, LeaseTiming),
    /// By a queue of nodes at this path.
    #[cfg(feature = "zookeeper")]
    ZooKeeper(ZooKeeperPath, LeaseTiming),
    /// By this Lease.
    #[cfg(feature = "kubernetes")]
    Kubernetes(KubernetesPlace, LeaseTiming),
}

/// A candidate's side of an election.
#[derive(Debug)]
pub enum Election {
    /// See [`ElectionPlace::None`].
    None,
    /// See [`ElectionPlace::Folder`].
    Folder(FileElection),
    /// See [`ElectionPlace::Postgres`].
    #[cfg(feature = "postgres")]
    Postgres(Box<Leased<PostgresRow>>),
    /// See [`ElectionPlace::Etcd`].
    #[cfg(feature = "etcd")]
    Etcd(Box<Leased<EtcdQueue>>),
    /// See [`ElectionPlace::ZooKeeper`].
    #[cfg(feature = "zookeeper")]
    ZooKeeper(Box<Leased<ZooKeeperLatch>>),
    /// See [`ElectionPlace::Kubernetes`].
    #[cfg(feature = "kubernetes")]
    Kubernetes(Box<Leased<KubernetesLease>>),
}

/// Why a leader leads no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another one was elected.
    #[error("another JobManager was elected")]
    Taken,
    /// The lease was not renewed in time.
    #[error("the lease could not be renewed in time")]
    Expired,
}

impl Election {
    /// Prepares to stand for election. Nobody is asked yet.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(place: ElectionPlace) -> Result<Election, StoreError> {
        Ok(match place {
            ElectionPlace::None => Election::None,
            ElectionPlace::Folder(folder) => Election::Folder(FileElection::open(&folder)?),
            #[cfg(feature = "postgres")]
            ElectionPlace::Postgres(database, cluster, timing) => {
                let row = PostgresRow::new(database, cluster, timing);
                Election::Postgres(Box::new(Leased::new(row, timing)))
            }
            #[cfg(feature = "etcd")]
            ElectionPlace::Etcd(servers, cluster, timing) => {
                let queue = EtcdQueue::new(servers, &cluster, timing);
                Election::Etcd(Box::new(Leased::new(queue, timing)))
            }
            #[cfg(feature = "zookeeper")]
            ElectionPlace::ZooKeeper(path, timing) => {
                let latch = ZooKeeperLatch::new(path, timing);
                Election::ZooKeeper(Box::new(Leased::new(latch, timing)))
            }
            #[cfg(feature = "kubernetes")]
            ElectionPlace::Kubernetes(place, timing) => {
                let lease = KubernetesLease::new(place, timing);
                Election::Kubernetes(Box::new(Leased::new(lease, timing)))
            }
        })
    }

    /// Whether there may be others.
    #[must_use]
    pub fn has_rivals(&self) -> bool {
        !matches!(self, Election::None)
    }

    /// Waits until this process is elected; tells `known` who leads meanwhile. May be dropped at any time,
    /// and then be called again, or [`Election::resign`].
    pub async fn campaign(&mut self, known: &KnownLeader) -> Lease {
        match self {
            Election::None => Lease::endless(),
            Election::Folder(election) => election.campaign(known).await,
            #[cfg(feature = "postgres")]
            Election::Postgres(election) => election.campaign(known).await,
            #[cfg(feature = "etcd")]
            Election::Etcd(election) => election.campaign(known).await,
            #[cfg(feature = "zookeeper")]
            Election::ZooKeeper(election) => election.campaign(known).await,
            #[cfg(feature = "kubernetes")]
            Election::Kubernetes(election) => election.campaign(known).await,
        }
    }

    /// Keeps the lease, and tells the others where the leader answers once it does; until the lease is lost.
    pub async fn keep(&mut self, announced: watch::Receiver<Option<Leader>>) -> Lost {
        match self {
            Election::None => std::future::pending().await,
            Election::Folder(election) => election.keep(announced).await,
            #[cfg(feature = "postgres")]
            Election::Postgres(election) => election.keep(announced).await,
            #[cfg(feature = "etcd")]
            Election::Etcd(election) => election.keep(announced).await,
            #[cfg(feature = "zookeeper")]
            Election::ZooKeeper(election) => election.keep(announced).await,
            #[cfg(feature = "kubernetes")]
            Election::Kubernetes(election) => election.keep(announced).await,
        }
    }

    /// Gives the lease up, so that the others need not wait for its end. Without one, nothing happens.
    pub async fn resign(&mut self) {
        match self {
            Election::None => {}
            Election::Folder(election) => election.resign(),
            #[cfg(feature = "postgres")]
            Election::Postgres(election) => election.resign().await,
            #[cfg(feature = "etcd")]
            Election::Etcd(election) => election.resign().await,
            #[cfg(feature = "zookeeper")]
            Election::ZooKeeper(election) => election.resign().await,
            #[cfg(feature = "kubernetes")]
            Election::Kubernetes(election) => election.resign().await,
        }
    }
}

/// The time for which a leader may act. Clones are of one lease.
///
/// The clock is that of a running machine: one that is suspended as a whole, or a virtual machine that is,
/// may not notice. Then only the store's fence holds.
#[derive(Debug, Clone)]
pub struct Lease(Option<watch::Receiver<Instant>>);

impl Lease {
    /// A lease without end.
    #[must_use]
    pub fn endless() -> Lease {
        Lease(None)
    }

    /// A lease whose end is told, and moved, by the other half of the channel.
    #[must_use]
    pub fn until(end: watch::Receiver<Instant>) -> Lease {
        Lease(Some(end))
    }

    /// When it ends, if it is not renewed before.
    #[must_use]
    pub fn end(&self) -> Option<Instant> {
        self.0.as_ref().map(|end| *end.borrow())
    }

    /// Whether the leader may still act.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.end().is_none_or(|end| Instant::now() < end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lease_is_valid_until_its_end_and_further_when_it_is_renewed() {
        let now = Instant::now();
        let (end, seen) = watch::channel(now);
        let lease = Lease::until(seen);
        assert!(!lease.is_valid());
        end.send(now + Duration::from_secs(3600)).unwrap();
        assert!(lease.is_valid());
        assert!(Lease::endless().is_valid());
    }

    #[test]
    fn a_cluster_has_a_name_that_can_be_shown() {
        let longest = "x".repeat(ClusterId::MAX);
        for (name, fits) in [
            ("/default", true),
            (&longest, true),
            ("", false),
            ("//", false),
            ("a\nb", false),
        ] {
            assert_eq!(ClusterId::new(name).is_some(), fits, "{name:?}");
        }
        assert!(ClusterId::new(&format!("{longest}x")).is_none());
    }
}
