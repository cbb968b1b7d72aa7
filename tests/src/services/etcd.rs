//! A cluster of one etcd server.

use super::daemon::Daemon;
use super::free_port;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A server with a folder of its own. Dropping it stops the server and removes the folder.
pub struct Etcd {
    folder: TempDir,
    port: u16,
    scheme: &'static str,
    server: Option<Daemon>,
}

impl Etcd {
    /// Starts a server with an empty store.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn start() -> Etcd {
        Etcd::start_with("http", &[])
    }

    /// Starts a server that speaks TLS alone, and only with clients whose certificate this authority has signed.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn start_with_tls(authority: &str, certificate: &str, key: &str) -> Etcd {
        let files = [
            ("ca.pem", authority),
            ("server.pem", certificate),
            ("server.key", key),
        ];
        Etcd::start_with("https", &files)
    }

    fn start_with(scheme: &'static str, files: &[(&str, &str)]) -> Etcd {
        let mut etcd = Etcd {
            folder: tempfile::tempdir().expect("temporary folders can be made"),
            port: 0,
            scheme,
            server: None,
        };
        for (name, text) in files {
            std::fs::write(etcd.path(name), text).expect("the folder is ours");
        }
        let log = etcd.path("log");
        let command = || {
            etcd.port = free_port();
            etcd.command()
        };
        etcd.server = Some(Daemon::start_on_ports(command, &log, is_up));
        etcd
    }

    /// Ends the server at once.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts what [`Etcd::stop`] has stopped.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self) {
        let server = Daemon::start(&mut self.command(), &self.path("log"), is_up);
        self.server = Some(server);
    }

    fn command(&self) -> Command {
        let clients = self.url(self.port);
        // It has no peers, and needs no port for them.
        let peers = "unix://localhost:1";
        let mut command = Command::new("etcd");
        command
            .current_dir(self.folder.path())
            .args(["--name", "one", "--data-dir", "data"])
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", peers])
            .args(["--initial-advertise-peer-urls", peers])
            .args(["--initial-cluster", &format!("one={peers}")])
            // Leases of a second are possible with short elections alone.
            .args(["--heartbeat-interval", "50", "--election-timeout", "300"]);
        if self.scheme == "https" {
            command
                .arg("--client-cert-auth")
                .args(["--trusted-ca-file", "ca.pem"])
                .args(["--cert-file", "server.pem"])
                .args(["--key-file", "server.key"]);
        }
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

    /// The URL of this port.
    #[must_use]
    pub fn url(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}", self.scheme)
    }

    /// Deletes every key.
    ///
    /// # Panics
    /// It does not.
    pub fn delete_all(&self) {
        self.ask("deleterange", &all());
    }

    /// Deletes this key.
    ///
    /// # Panics
    /// It does not.
    pub fn delete(&self, key: &str) {
        let key = json!({"key": BASE64_STANDARD.encode(key)});
        let answer = self.ask("deleterange", &key);
        assert_eq!(answer["deleted"], "1", "{answer}");
    }

    /// How many keys there are.
    ///
    /// # Panics
    /// It does not say.
    #[must_use]
    pub fn count_keys(&self) -> usize {
        let answer = self.ask("range", &all());
        answer["kvs"].as_array().map_or(0, Vec::len)
    }

    /// Asks for something to do with keys, in JSON.
    fn ask(&self, what: &str, keys: &Value) -> Value {
        let url = format!("{}/v3/kv/{what}", self.url(self.port));
        let answer = ureq::post(&url).send_json(keys);
        let mut answer = answer.expect("etcd does what it is told to");
        answer.body_mut().read_json().expect("it answers in JSON")
    }
}

/// The range of all keys.
fn all() -> Value {
    let zero = BASE64_STANDARD.encode([0]);
    json!({"key": zero, "range_end": zero})
}

fn is_up(said: &str) -> bool {
    said.contains("ready to serve client requests")
}
