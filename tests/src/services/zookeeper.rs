//! A ZooKeeper server.

use super::daemon::Daemon;
use super::free_port;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use zookeeper_client::Client;

/// Java's libraries, where Debian puts them.
const LIBRARIES: &str = "/usr/share/java";

/// A server with a folder of its own. Dropping it stops the server and removes the folder.
pub struct ZooKeeper {
    folder: TempDir,
    port: u16,
    server: Option<Daemon>,
}

impl ZooKeeper {
    /// Starts a server with an empty store.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn start() -> ZooKeeper {
        let mut zookeeper = ZooKeeper {
            folder: tempfile::tempdir().expect("temporary folders can be made"),
            port: 0,
            server: None,
        };
        let log = zookeeper.path("log");
        let port = Cell::new(0);
        let command = || {
            port.set(free_port());
            zookeeper.configure(port.get());
            zookeeper.command()
        };
        let server = Daemon::start_on_ports(command, &log, |_| serves(port.get()));
        (zookeeper.server, zookeeper.port) = (Some(server), port.get());
        zookeeper
    }

    /// Ends the server at once.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts what [`ZooKeeper::stop`] has stopped.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self) {
        let port = self.port;
        let server = Daemon::start(&mut self.command(), &self.path("log"), |_| serves(port));
        self.server = Some(server);
    }

    /// Sessions may be as short, and as long, as a test wants them.
    fn configure(&self, port: u16) {
        let data = self.path("data");
        let settings = format!(
            "tickTime=100\nmaxSessionTimeout=36000000\ndataDir={}\nclientPort={port}\n\
             clientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            data.display()
        );
        std::fs::write(self.path("zoo.cfg"), settings).expect("the folder is ours");
    }

    fn command(&self) -> Command {
        let mut command = java(&["zookeeper"]);
        command
            .args(["-Dzookeeper.jmx.log4j.disable=true", "-Xmx128m"])
            .arg("org.apache.zookeeper.server.ZooKeeperServerMain")
            .arg(self.path("zoo.cfg"));
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server as clients name it, behind this port.
    #[must_use]
    pub fn address(&self, port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    /// The names of the nodes below this one.
    ///
    /// # Panics
    /// There is no such node.
    pub async fn children(&self, node: &str) -> Vec<String> {
        let children = self.client().await.list_children(node).await;
        children.expect("the node is there")
    }

    /// Deletes a node.
    ///
    /// # Panics
    /// There is no such node, or there are others below it.
    pub async fn delete(&self, node: &str) {
        let deleted = self.client().await.delete(node, None).await;
        deleted.expect("the node is there, and nothing below it");
    }

    async fn client(&self) -> Client {
        let client = Client::connect(&self.address(self.port)).await;
        client.expect("the server is there")
    }
}

/// A candidate that Curator makes, Java's library for ZooKeeper. A byte asks it who leads, and the end of its input
/// lets it resign; it says when it leads.
#[must_use]
pub fn curator_candidate(server: &str, latch: &str, id: &str) -> Command {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/services/Candidate.java");
    let mut command = java(&[
        "curator-client",
        "curator-framework",
        "curator-recipes",
        "guava",
        "zookeeper",
    ]);
    command.args([source, server, latch, id]);
    command
}

/// Java that starts soon, with these libraries and those that they need.
fn java(libraries: &[&str]) -> Command {
    let jars = libraries
        .iter()
        .map(|name| format!("{LIBRARIES}/{name}.jar"));
    let jars: Vec<_> = jars.collect();
    let mut command = Command::new("java");
    command
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-cp", &jars.join(":")]);
    command
}

/// Whether a server answers there, and not only listens.
fn serves(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        // A server that has just begun to listen may not answer at all.
        connection.set_read_timeout(Some(Duration::from_millis(200)))?;
        connection.write_all(b"srvr")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("Mode: "))
}
