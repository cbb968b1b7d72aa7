//! Tokens of an identity provider: what a user with one, and the log, see of it.

use super::Said;
use super::tokens::endless_in;
use crate::cluster::{QUICK, free_ports, jobmanager, own_address, serve};
use crate::process::{Process, wait_for};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;
use tempfile::TempDir;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An identity provider, which publishes its key for as long as it is there.
pub(crate) struct Provider {
    pub(crate) url: String,
    key: KeyPair,
    is_away: Arc<AtomicBool>,
}

impl Provider {
    pub(crate) fn start() -> Provider {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let public = base64(key.der_bytes());
        let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": public}]});
        let listener = TcpListener::bind((own_address(), 0)).unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let is_away = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&is_away);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if gone.load(Ordering::SeqCst) {
                    return;
                }
                let _ = stream.read(&mut [0; 4096]);
                let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{keys}");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Provider { url, key, is_away }
    }

    /// A token for somebody with this role, which expires in so many seconds.
    pub(crate) fn token(&self, role: &str, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap().as_secs()).unwrap();
        let head = json!({"alg": "EdDSA", "kid": "one"});
        let claims = json!({
            "sub": "1234", "email": "alice@example.com", "aud": "flows",
            "groups": ["staff", role], "exp": now + seconds,
        });
        let message = [head, claims]
            .map(|part: Value| base64(part.to_string()))
            .join(".");
        let signature = self.key.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", base64(signature))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.is_away.store(true, Ordering::SeqCst);
        // What waits for somebody to come ends with this one.
        let address = self
            .url
            .trim_start_matches("http://")
            .trim_end_matches("/keys");
        let _ = std::net::TcpStream::connect(address);
    }
}

/// A JobManager that asks for the provider's tokens.
pub(crate) struct Asking {
    pub(crate) address: String,
    pub(crate) process: Process,
    folder: TempDir,
}

impl Asking {
    pub(crate) fn start(provider: &Provider) -> Asking {
        let folder = tempfile::tempdir().unwrap();
        let [rest, rpc] = free_ports(own_address());
        let mut command = serve(&rest, &rpc, &folder.path().join("data"));
        command
            .arg(format!("-Dsecurity.jwt.jwks={}", provider.url))
            .args([
                "-Dsecurity.jwt.audience=flows",
                "-Dsecurity.jwt.roles-claim=groups",
                "-Dsecurity.jwt.viewer-role=staff",
                "-Dsecurity.jwt.operator-role=data",
                "-Dsecurity.jwt.user-claim=email",
            ])
            .args(QUICK.map(|(key, value)| format!("-D{key}={value}")));
        let process = Process::start(&mut command, &folder.path().join("log"));
        wait_for("the start", || {
            process.output().contains("ready").then_some(())
        });
        Asking {
            address: format!("http://{rest}"),
            process,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of somebody with this token in a file.
    fn say(&self, token: &str, arguments: &[&str]) -> Said {
        let file = self.path("token");
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let mut command = jobmanager();
        command
            .args(arguments)
            .args(["--jobmanager", &self.address, "--token-file"])
            .arg(file)
            .env_remove("JOBMANAGER_TOKEN");
        command.output().unwrap().into()
    }
}

#[test]
fn a_users_own_token_does_what_their_role_allows_and_the_log_has_their_name() {
    let provider = Provider::start();
    let asking = Asking::start(&provider);
    let job = endless_in(&asking.path("endless.json"));
    let run = ["run", job.to_str().unwrap(), "--detached"];
    let [operator, viewer] = ["data", "none"].map(|role| provider.token(role, 300));
    let expired = provider.token("data", -300);
    for (token, words) in [
        (&expired, "the token has expired"),
        (
            &viewer,
            "`alice@example.com` is viewer, and only operator may do that",
        ),
    ] {
        let refused = asking.say(token, &run);
        assert_eq!(refused.code, 4, "{}", refused.text);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    // It is away from now on.
    drop(provider);
    let done = asking.say(&operator, &run);
    assert_eq!(done.code, 0, "{}", done.text);
    let seen = asking.say(&viewer, &["list"]);
    assert!(seen.text.contains("endless"), "{}", seen.text);

    let log = asking.process.output();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" audit "))
        .collect();
    let wanted = [
        [
            "WARN",
            "who=\"nobody\"",
            "status=401",
            "the token has expired",
        ],
        [
            "WARN",
            "who=\"alice@example.com\" by=\"jwt\"",
            "status=403",
            "outcome=\"refused\"",
        ],
        [
            "INFO",
            "who=\"alice@example.com\" by=\"jwt\"",
            "status=202",
            "outcome=\"done\"",
        ],
    ];
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for (line, parts) in lines.iter().zip(wanted) {
        let has_all = parts.iter().all(|part| line.contains(part));
        assert!(has_all, "{line}: {parts:?}");
    }
    for token in [operator, viewer, expired] {
        assert!(token.split('.').all(|part| !log.contains(part)), "{log}");
    }
}
