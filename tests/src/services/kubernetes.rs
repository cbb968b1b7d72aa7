//! A Kubernetes API server with its etcd. There are no nodes, and nothing runs.

use super::daemon::Daemon;
use super::etcd::Etcd;
use super::{cache, free_port};
use serde_json::json;
use std::cell::Cell;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Whom a token stands for, each its own: who may do everything, and who may do what a JobManager has to.
const USERS: &str =
    "admin,admin,admin,\"system:masters\"\njobmanager,jobmanager,jobmanager,\"jobmanagers\"\n";

/// A server with a folder of its own. Dropping it stops the server and removes the folder.
pub struct Kubernetes {
    folder: TempDir,
    port: u16,
    server: Option<Daemon>,
    etcd: Etcd,
}

impl Kubernetes {
    /// Starts a server with nothing in it but who may do what.
    ///
    /// # Panics
    /// It was not built, or does not start.
    #[must_use]
    pub fn start() -> Kubernetes {
        let mut kubernetes = Kubernetes {
            folder: tempfile::tempdir().expect("temporary folders can be made"),
            port: 0,
            server: None,
            etcd: Etcd::start(),
        };
        let names = vec!["127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("the name is one");
        let key = made.signing_key.serialize_pem();
        for (name, text) in [
            ("server.pem", made.cert.pem().as_str()),
            ("server.key", &key),
            ("tokens.csv", USERS),
        ] {
            std::fs::write(kubernetes.path(name), text).expect("the folder is ours");
        }
        let log = kubernetes.path("log");
        let port = Cell::new(0);
        let command = || {
            port.set(free_port());
            kubernetes.command(port.get())
        };
        let server = Daemon::start_on_ports(command, &log, |_| kubernetes.is_ready(port.get()));
        (kubernetes.server, kubernetes.port) = (Some(server), port.get());
        let verbs = "--verb=get,create,update,watch";
        let leases = "--resource=leases.coordination.k8s.io";
        kubernetes.kubectl(&["create", "role", "jobmanager", verbs, leases]);
        let names = ["--role=jobmanager", "--user=jobmanager"];
        kubernetes.kubectl(&[&["create", "rolebinding", "jobmanager"], &names[..]].concat());
        kubernetes
    }

    /// Ends the server at once.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts what [`Kubernetes::stop`] has stopped.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self) {
        let (mut command, log) = (self.command(self.port), self.path("log"));
        let server = Daemon::start(&mut command, &log, |_| self.is_ready(self.port));
        self.server = Some(server);
    }

    fn command(&self, port: u16) -> Command {
        let mut command = Command::new(server());
        command
            .current_dir(self.folder.path())
            .args(["--etcd-servers", &self.etcd.url(self.etcd.port())])
            .args(["--bind-address", "127.0.0.1"])
            .args(["--secure-port", &port.to_string()])
            .args(["--tls-cert-file", "server.pem"])
            .args(["--tls-private-key-file", "server.key"])
            .args(["--token-auth-file", "tokens.csv"])
            .args(["--authorization-mode", "RBAC"])
            .args(["--service-cluster-ip-range", "10.0.0.0/24"])
            // Told to nobody, and yet it must not be the loopback's.
            .args(["--endpoint-reconciler-type", "none"])
            .args(["--advertise-address", "10.0.0.1"])
            // Nothing runs here that would have such an account.
            .args(["--disable-admission-plugins", "ServiceAccount"])
            .args(["--service-account-issuer", "https://127.0.0.1"])
            .args(["--service-account-key-file", "server.pem"])
            .args(["--service-account-signing-key-file", "server.key"]);
        command
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file that tells how to reach it behind this port, as who may do what a JobManager has to.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn config_file(&self, port: u16) -> PathBuf {
        let context = |user| json!({"name": user, "context": {"cluster": "it", "user": user}});
        let user = |name| json!({"name": name, "user": {"token": name}});
        let cluster = json!({
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": self.path("server.pem"),
        });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [user("admin"), user("jobmanager")],
            "contexts": [context("admin"), context("jobmanager")],
            "current-context": "jobmanager",
        });
        let file = self.path(&format!("config-{port}"));
        std::fs::write(&file, config.to_string()).expect("the folder is ours");
        file
    }

    /// What `kubectl` says, as somebody who may do everything.
    ///
    /// # Panics
    /// It fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.kubectl_on(self.port, arguments).output();
        let output = output.expect("kubectl can be run; tests/run installs it");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {problem}");
        said
    }

    fn kubectl_on(&self, port: u16, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(self.config_file(port))
            .args(["--context", "admin", "--cache-dir"])
            .arg(self.path("kubectl"))
            .args(arguments);
        command
    }

    fn is_ready(&self, port: u16) -> bool {
        let mut kubectl = self.kubectl_on(port, &["get", "--raw", "/readyz"]);
        let output = kubectl
            .output()
            .expect("kubectl can be run; tests/run installs it");
        output.status.success()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Where `tests/kube-apiserver` puts what it builds.
fn server() -> PathBuf {
    let server = cache().join("kube-apiserver");
    assert!(
        server.is_file(),
        "there is no {}; tests/kube-apiserver builds it, and tests/run that",
        server.display()
    );
    server
}
