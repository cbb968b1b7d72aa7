//! Election by a queue of nodes in ZooKeeper, made as Curator's `LeaderLatch` makes it, so that its tools and
//! clients understand it: a candidate has an ephemeral sequential node, the first one leads, and whoever comes later
//! watches the one before it alone. Where the leader answers is its node's data.
//!
//! A node lasts as long as the session that made it, and the session as long as its client is heard of; so the
//! session is the lease. A server that is cut off from the others goes on to answer whoever reads, while they
//! end the session: to renew is to write, which takes most of the servers.
//!
//! A node is never taken for ours that an earlier session of ours has made: it ends when that one does.

use super::leased::{Seat, Service};
use super::{ClusterId, Leader, LeaseTiming, holder_name};
use std::fmt;
use std::time::Duration;
use zookeeper_client::{Acls, Client, CreateMode, Error, MultiWriteError, OneshotWatcher};

/// What the names of candidates' nodes have before their numbers.
const NAME: &str = "latch-";

/// Where an election is: the servers, and the path of the queue.
#[derive(Debug, Clone)]
pub struct ZooKeeperPath {
    /// As `HOST:PORT,HOST:PORT/PATH`.
    servers: String,
    latch: String,
    connection_timeout: Duration,
}

impl ZooKeeperPath {
    /// The election of this cluster, below this path of these servers. A server may keep silent for the timeout
    /// before another one is tried.
    ///
    /// # Errors
    /// The servers or the path are malformed: the words for people.
    pub fn new(
        servers: &str,
        root: &str,
        cluster: &ClusterId,
        connection_timeout: Duration,
    ) -> Result<ZooKeeperPath, String> {
        let (hosts, _) = servers.split_once('/').unwrap_or((servers, ""));
        if !hosts.split(',').all(is_server) {
            let servers = servers.escape_debug();
            return Err(format!(
                "`{servers}`: servers are expected with commas between them, each as HOST or HOST:PORT"
            ));
        }
        let mut latch = String::new();
        for name in [root, cluster.as_str(), "leader/latch"] {
            for name in name.split('/').filter(|name| !name.is_empty()) {
                if matches!(name, "." | "..") || name.contains(char::is_control) {
                    let name = name.escape_debug();
                    return Err(format!("`{name}` cannot be the name of a node"));
                }
                latch.extend(["/", name]);
            }
        }
        Ok(ZooKeeperPath {
            servers: servers.to_owned(),
            latch,
            connection_timeout,
        })
    }
}

fn is_server(server: &str) -> bool {
    let (host, port) = server.rsplit_once(':').unwrap_or((server, "2181"));
    !host.trim().is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// See the module.
#[derive(Debug)]
pub struct ZooKeeperLatch {
    path: ZooKeeperPath,
    timing: LeaseTiming,
    /// The session; none after one that has ended.
    client: Option<Client>,
    /// What the names of the nodes begin with that this session has made: without an answer nobody knows how many.
    mark: String,
    watched: Option<OneshotWatcher>,
    /// The node with which the election was won, and what is in it.
    node: String,
    value: Vec<u8>,
}

impl ZooKeeperLatch {
    pub(super) fn new(path: ZooKeeperPath, timing: LeaseTiming) -> ZooKeeperLatch {
        ZooKeeperLatch {
            path,
            timing,
            client: None,
            mark: String::new(),
            watched: None,
            node: String::new(),
            value: Vec::new(),
        }
    }

    /// The session, or a new one if there is none. Its client finds another server by itself if it loses one.
    async fn client(&mut self) -> Result<Client, String> {
        if let Some(client) = &self.client
            && !client.state().is_terminated()
        {
            return Ok(client.clone());
        }
        self.client = None;
        let duration = self.timing.duration;
        // A session survives the loss of one server if there is time to find the next.
        let patience = self.path.connection_timeout.min(duration * 2 / 5);
        let connector = Client::connector()
            .with_session_timeout(duration)
            .with_connection_timeout(patience)
            .with_fail_eagerly();
        let client = connector.connect(&self.path.servers).await.map_err(said)?;
        let given = client.session_timeout();
        if given < duration {
            return Err(format!(
                "a session of {} ms was asked for, and one of {} ms given; ask for a shorter one, or let the \
                 servers' maxSessionTimeout be longer",
                duration.as_millis(),
                given.as_millis()
            ));
        }
        self.mark = format!("_c_{}-{NAME}", uuid(&holder_name()));
        self.client = Some(client.clone());
        Ok(client)
    }

    /// The nodes of the queue, the first one first. It is made if it is not there.
    async fn queue(&self, client: &Client) -> Result<Vec<String>, String> {
        let mut names = match client.list_children(&self.path.latch).await {
            Err(Error::NoNode) => {
                let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
                let made = client.mkdir(&self.path.latch, &persistent).await;
                made.map_err(said)?;
                Vec::new()
            }
            listed => listed.map_err(said)?,
        };
        names.retain(|name| number(name).is_some());
        names.sort_by_key(|name| number(name));
        Ok(names)
    }

    fn is_ours(&self, name: &str) -> bool {
        name.starts_with(&self.mark)
    }

    fn node(&self, name: &str) -> String {
        format!("{}/{name}", self.path.latch)
    }

    /// Enters the queue if that is not done, and tells who is in it, and how many are before us.
    async fn enter(&self, client: &Client) -> Result<(Vec<String>, usize), String> {
        let mut queue = self.queue(client).await?;
        if !queue.iter().any(|name| self.is_ours(name)) {
            let ephemeral = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
            let node = self.node(&self.mark);
            client.create(&node, b"", &ephemeral).await.map_err(said)?;
            queue = self.queue(client).await?;
        }
        let place = queue.iter().position(|name| self.is_ours(name));
        let place = place.ok_or("the queue does not have what was put into it")?;
        Ok((queue, place))
    }
}

impl Service for ZooKeeperLatch {
    async fn take(&mut self) -> Result<Seat, String> {
        self.watched = None;
        let client = self.client().await?;
        let (queue, place) = self.enter(&client).await?;
        let Some(before) = place.checked_sub(1) else {
            // What was read may be old. What is written is not.
            let node = self.node(&queue[place]);
            client.set_data(&node, b"", None).await.map_err(said)?;
            (self.node, self.value) = (node, Vec::new());
            return Ok(Seat::Ours);
        };
        let watched = client.get_and_watch_data(&self.node(&queue[before]));
        let first = match watched.await {
            Ok((data, _, watcher)) => {
                self.watched = Some(watcher);
                match before {
                    0 => Ok(data),
                    _ => client
                        .get_data(&self.node(&queue[0]))
                        .await
                        .map(|(data, _)| data),
                }
            }
            Err(problem) => Err(problem),
        };
        match first {
            Ok(data) => Ok(Seat::Theirs {
                left: None,
                leader: serde_json::from_slice(&data).ok(),
            }),
            // Gone since.
            Err(Error::NoNode) => Ok(Seat::Theirs {
                left: Some(Duration::ZERO),
                leader: None,
            }),
            Err(problem) => Err(said(problem)),
        }
    }

    async fn renew(&mut self, leader: Option<&Leader>) -> Result<bool, String> {
        let Some(client) = &self.client else {
            return Ok(false);
        };
        let value = leader.map_or(Ok(Vec::new()), serde_json::to_vec);
        let value = value.map_err(|problem| problem.to_string())?;
        let renewed = if value == self.value {
            // Nobody is told of this, as it changes nothing.
            let mut write = client.new_multi_writer();
            let any_version = -1;
            let checked = write.add_check_version(&self.node, any_version);
            checked.map_err(said)?;
            let written = write.commit().await.map(drop);
            written.map_err(|problem: MultiWriteError| Error::from(problem))
        } else {
            client.set_data(&self.node, &value, None).await.map(drop)
        };
        match renewed {
            Ok(()) => {
                self.value = value;
                Ok(true)
            }
            Err(Error::NoNode | Error::SessionExpired) => Ok(false),
            Err(problem) => Err(said(problem)),
        }
    }

    async fn resign(&mut self) -> Result<(), String> {
        self.watched = None;
        // The session ends with its client, but nobody could wait for that.
        let Some(client) = self.client.take() else {
            return Ok(());
        };
        let queue = self.queue(&client).await?;
        for name in queue.iter().filter(|name| self.is_ours(name)) {
            match client.delete(&self.node(name), None).await {
                Ok(()) | Err(Error::NoNode) => {}
                Err(problem) => return Err(said(problem)),
            }
        }
        Ok(())
    }

    async fn changed(&mut self) {
        match self.watched.take() {
            Some(watched) => drop(watched.changed().await),
            None => std::future::pending().await,
        }
    }

    /// The session is more than a connection, and its client makes a new one by itself.
    fn disconnect(&mut self) {
        self.watched = None;
    }
}

impl fmt::Display for ZooKeeperLatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.servers)
    }
}

/// The place of a node in the queue; none if it is something else.
fn number(name: &str) -> Option<u64> {
    name.rsplit_once(NAME)?.1.parse().ok()
}

/// 32 hexadecimal digits, written as Curator does.
fn uuid(digits: &str) -> String {
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts.map(|part| &digits[part]).join("-")
}

fn said(problem: Error) -> String {
    problem.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path(servers: &str, root: &str, cluster: &str) -> Result<ZooKeeperPath, String> {
        let cluster = ClusterId::new(cluster).unwrap();
        ZooKeeperPath::new(servers, root, &cluster, Duration::from_secs(1))
    }

    #[test]
    fn the_queue_is_below_the_root_and_the_name_of_the_cluster() {
        let servers = "a,b:1,[::1]:2/apps";
        for root in ["/jobs", "jobs/", "//jobs"] {
            let path = path(servers, root, "/team//default/").unwrap();
            assert_eq!(path.latch, "/jobs/team/default/leader/latch");
        }
        assert_eq!(path("a", "", "x").unwrap().latch, "/x/leader/latch");
    }

    #[test]
    fn what_cannot_be_reached_is_said() {
        for servers in ["", "a,", ":1", "a:b", "a:0", "/apps"] {
            let problem = path(servers, "/", "x").unwrap_err();
            assert!(problem.contains("are expected"), "{servers}: {problem}");
        }
        let problem = path("a", "/..", "x").unwrap_err();
        assert!(problem.contains("`..` cannot"), "{problem}");
    }

    #[test]
    fn the_queue_is_in_the_order_of_the_numbers_whoever_made_the_nodes() {
        let name = format!("_c_{}-{NAME}0000000012", uuid(&holder_name()));
        assert_eq!(name.len(), 3 + 36 + 1 + NAME.len() + 10);
        assert_eq!(number(&name), Some(12));
        assert_eq!(number("latch-0000000003"), Some(3));
        assert_eq!(number("leader"), None);
    }
}
