//! A Kubernetes API server with its etcd. There are no nodes, and nothing runs.

use super::daemon::Daemon;
use super::etcd::Etcd;
use super::{cache, free_port};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::{NamedTempFile, TempDir};

/// Whom a token stands for, each its own: who may do everything, and who may do what a JobManager has to.
const USERS: &str =
    "admin,admin,admin,\"system:masters\"\njobmanager,jobmanager,jobmanager,\"jobmanagers\"\n";

/// What is remembered of requests: who of the pods wanted what, and whether he was let.
const AUDIT: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]}"#;

/// Something that a service account has asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// What was to be done.
    pub verb: String,
    /// What to.
    pub resource: String,
    /// The name of that, unless it was to be made.
    pub name: Option<String>,
    /// Whether it was refused.
    pub refused: bool,
}

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
            ("audit.json", AUDIT),
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
            .args(["--audit-policy-file", "audit.json"])
            .args(["--audit-log-path", "audit.log"])
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

    /// Removes an object although the server is away: nobody is told, and nobody is asked.
    pub fn lose(&self, resource: &str, namespace: &str, name: &str) {
        let key = format!("/registry/{resource}/{namespace}/{name}");
        self.etcd.delete(&key);
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
        let user = |name: &str| (name.to_owned(), name.to_owned());
        let users = [user("jobmanager"), user("admin")];
        self.write_config(&format!("config-{port}"), port, "default", &users)
    }

    /// A file that tells how to reach it as somebody who may do everything.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn admin_file(&self) -> PathBuf {
        let admin = ("admin".to_owned(), "admin".to_owned());
        self.write_config("admin", self.port, "default", &[admin])
    }

    /// A file that tells how to reach it as a service account, with a token as pods are given.
    ///
    /// # Panics
    /// There is no such account.
    #[must_use]
    pub fn account_file(&self, namespace: &str, account: &str) -> PathBuf {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request =
            r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}"#;
        let made = self.kubectl_with(request, &["create", "--raw", &path, "-f", "-"]);
        let made = made.unwrap_or_else(|problem| panic!("{account}: {problem}"));
        let made: Value = serde_json::from_str(&made).expect("the answer is JSON");
        let token = made["status"]["token"].as_str().expect("it has a token");
        let user = (account.to_owned(), token.to_owned());
        self.write_config(
            &format!("{namespace}-{account}"),
            self.port,
            namespace,
            &[user],
        )
    }

    /// The first of the users, each with a token, is whom the file stands for by itself.
    fn write_config(
        &self,
        name: &str,
        port: u16,
        namespace: &str,
        users: &[(String, String)],
    ) -> PathBuf {
        let context = |user: &String| {
            let context = json!({"cluster": "it", "user": user, "namespace": namespace});
            json!({"name": user, "context": context})
        };
        let with_token =
            |(name, token): &(String, String)| json!({"name": name, "user": {"token": token}});
        let cluster = json!({
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": self.path("server.pem"),
        });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": users.iter().map(with_token).collect::<Vec<_>>(),
            "contexts": users.iter().map(|(name, _)| context(name)).collect::<Vec<_>>(),
            "current-context": users.first().map(|(name, _)| name),
        });
        // In one step, as others may read it.
        let mut whole = NamedTempFile::new_in(self.folder.path()).expect("the folder is ours");
        let written = whole.write_all(config.to_string().as_bytes());
        written.expect("the folder is ours");
        let file = self.path(name);
        whole.persist(&file).expect("the folder is ours");
        file
    }

    /// What `kubectl` says, as somebody who may do everything.
    ///
    /// # Panics
    /// It fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let said = self.kubectl_with("", arguments);
        said.unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"))
    }

    /// The same with something to read.
    ///
    /// # Errors
    /// It fails: what it says then.
    pub fn kubectl_with(&self, input: &str, arguments: &[&str]) -> Result<String, String> {
        output(&mut self.kubectl_on(self.port, arguments), input)
    }

    /// What `kubectl` says to whom one of our files stands for.
    ///
    /// # Errors
    /// It fails: what it says then.
    pub fn kubectl_as(&self, config_file: &Path, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.kubectl_by(config_file);
        output(command.args(arguments), "")
    }

    /// What a service account has asked for until now.
    ///
    /// # Panics
    /// The server has not written it down.
    #[must_use]
    pub fn asked_by(&self, namespace: &str, account: &str) -> BTreeSet<Asked> {
        let log = std::fs::read_to_string(self.path("audit.log"));
        let log = log.expect("it is written from the start");
        let user = format!("system:serviceaccount:{namespace}:{account}");
        // The last line may not be whole yet.
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let lines = lines.filter(|line: &Value| line["user"]["username"] == *user);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let asked = lines.map(|line| Asked {
            verb: text(&line["verb"]).unwrap_or_default(),
            resource: text(&line["objectRef"]["resource"]).unwrap_or_default(),
            name: text(&line["objectRef"]["name"]).filter(|_| line["verb"] != "create"),
            refused: line["responseStatus"]["code"] == 403,
        });
        asked.collect()
    }

    fn kubectl_on(&self, port: u16, arguments: &[&str]) -> Command {
        let mut command = self.kubectl_by(&self.config_file(port));
        command.args(["--context", "admin"]).args(arguments);
        command
    }

    fn kubectl_by(&self, config_file: &Path) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(config_file);
        command.arg("--cache-dir").arg(self.path("kubectl"));
        command
    }

    fn is_ready(&self, port: u16) -> bool {
        output(&mut self.kubectl_on(port, &["get", "--raw", "/readyz"]), "").is_ok()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// What a program says that is given this to read; or what it says when it fails.
fn output(command: &mut Command, input: &str) -> Result<String, String> {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("kubectl can be run; tests/run installs it");
    let mut stdin = child.stdin.take().expect("it was asked for");
    // One that fails at once reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output: Output = child.wait_with_output().expect("it is our process");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
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
