//! JSON Web Tokens, as an identity provider would issue them, and as somebody would who would like to be one.

use crate::security::{filled, head, routes, status};
use crate::support::{Running, job};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jobmanager::security::{Role, mint};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair,
};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of a provider.
struct Signer {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn p256(id: &'static str) -> Signer {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, pair.as_ref(), &random).unwrap();
        let pair = Pair::P256(pair);
        Signer { id, pair }
    }

    fn p384(id: &'static str) -> Signer {
        let (kind, random) = (&ECDSA_P384_SHA384_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, pair.as_ref(), &random).unwrap();
        let pair = Pair::P384(pair);
        Signer { id, pair }
    }

    fn ed25519(id: &'static str) -> Signer {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Pair::Ed25519(Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap());
        Signer { id, pair }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    fn public(&self) -> &[u8] {
        match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    fn jwk(&self) -> Value {
        let point = self.public();
        let half = point.len() / 2;
        match &self.pair {
            Pair::Ed25519(_) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": base64(point)})
            }
            Pair::P256(_) | Pair::P384(_) => json!({
                "kty": "EC",
                "crv": if half == 32 { "P-256" } else { "P-384" },
                "kid": self.id,
                "use": "sig",
                "x": base64(&point[1..=half]),
                "y": base64(&point[half + 1..]),
            }),
        }
    }

    /// A token with this head, whatever it says, and these claims.
    fn token_with(&self, head: &Value, claims: &Value) -> String {
        let message = [head, claims]
            .map(|part| base64(part.to_string()))
            .join(".");
        let bytes = message.as_bytes();
        let signature = match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => {
                base64(pair.sign(&SystemRandom::new(), bytes).unwrap())
            }
            Pair::Ed25519(pair) => base64(pair.sign(bytes)),
        };
        format!("{message}.{signature}")
    }

    fn token(&self, claims: &Value) -> String {
        let head = json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.id});
        self.token_with(&head, claims)
    }
}

/// So many seconds from now.
fn at(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap() + seconds
}

/// What is said of Alice, but for what is said here.
fn claims(other: Value) -> Value {
    let mut claims = json!({
        "sub": "alice",
        "iss": "https://login.example",
        "aud": ["others", "flows"],
        "exp": at(300),
        "nbf": at(-10),
        "realm_access": {"roles": ["offline_access", "operator"]},
    });
    for (claim, value) in other.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        } else {
            claims[claim] = value.clone();
        }
    }
    claims
}

fn write_keys(file: &Path, signers: &[&Signer]) {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    std::fs::write(file, json!({ "keys": keys }).to_string()).unwrap();
}

/// A JobManager that asks for tokens by keys from there.
async fn asking(folder: &Path, jwks: &str) -> Running {
    let jwks = format!("security.jwt.jwks={jwks}");
    let define = [
        &*jwks,
        "security.jwt.issuer=https://login.example",
        "security.jwt.audience=flows",
        "security.jwt.roles-claim=realm_access.roles",
        "security.jwt.admin-role=root, admin",
    ];
    Running::start(&folder.join("data"), &define).await
}

/// The status, what the head says of the token, and the body of the answer to somebody who submits a job.
async fn submit(running: &Running, token: &str) -> (u16, String, String) {
    let shown = [("authorization", &*format!("Bearer {token}"))];
    let (head, body) = running.fetch("POST", "/jobs", &shown, job("")).await;
    let challenge = head.headers.get("www-authenticate");
    let challenge = challenge.map_or("", |challenge| challenge.to_str().unwrap());
    let body = String::from_utf8(body).unwrap();
    (head.status.as_u16(), challenge.to_owned(), body)
}

/// The status of the answer to somebody who looks.
async fn look(running: &Running, token: &str) -> u16 {
    let shown = [("authorization", &*format!("Bearer {token}"))];
    let (head, _) = running.fetch("GET", "/jobs", &shown, "").await;
    head.status.as_u16()
}

#[tokio::test]
async fn a_token_counts_if_a_known_key_has_signed_it_for_this_cluster_and_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let signers = [Signer::p256("a"), Signer::p384("b"), Signer::ed25519("c")];
    write_keys(&file, &signers.each_ref());
    let running = asking(folder.path(), file.to_str().unwrap()).await;
    for signer in &signers {
        let (status, _, body) = submit(&running, &signer.token(&claims(json!({})))).await;
        assert_eq!(status, 202, "{}: {body}", signer.algorithm());
    }
    let roles = |roles: Value| claims(json!({"realm_access": {"roles": roles}}));
    for (right, wanted) in [
        (claims(json!({"aud": "flows"})), 202),
        (claims(json!({"exp": at(-15)})), 202),
        (claims(json!({"nbf": at(15)})), 202),
        (claims(json!({"nbf": null})), 202),
        (roles(json!("viewer root")), 202),
        (roles(json!(["viewer", "operator"])), 202),
        (roles(json!("viewer")), 403),
        (roles(json!(["offline_access"])), 403),
        (claims(json!({"realm_access": null})), 403),
    ] {
        let (status, _, body) = submit(&running, &signers[0].token(&right)).await;
        assert_eq!(status, wanted, "{right}: {body}");
    }
    let (_, _, body) = submit(&running, &signers[0].token(&roles(json!("viewer")))).await;
    assert!(
        body.contains("`alice` is viewer, and only operator may do that"),
        "{body}"
    );
    let nothing = signers[0].token(&roles(json!("none")));
    let (_, _, body) = submit(&running, &nothing).await;
    assert!(body.contains("gives `alice` no role here"), "{body}");
    assert_eq!(look(&running, &nothing).await, 403);
    running.stop().await;
}

/// Tokens that say something wrong, each with the words that say what.
fn misfits(known: &Signer) -> Vec<(String, &'static str)> {
    let of = |other: Value| known.token(&claims(other));
    vec![
        (of(json!({"exp": at(-60)})), "has expired"),
        (of(json!({"exp": null})), "no claim `exp`"),
        (of(json!({"exp": "tomorrow"})), "no claim `exp`"),
        (of(json!({"nbf": at(60)})), "is not valid yet"),
        (
            of(json!({"iss": "https://login.example.net"})),
            "by another issuer",
        ),
        (of(json!({"iss": null})), "no claim `iss`"),
        (of(json!({"aud": ["others"]})), "for another audience"),
        (of(json!({"aud": null})), "no claim `aud`"),
        (of(json!({"sub": null})), "no claim `sub`"),
        (of(json!({"sub": "a\nb"})), "no claim `sub`"),
    ]
}

/// Tokens that nobody has signed as they are, each with the words that say why it does not count.
fn forged(known: &Signer, stranger: &Signer) -> Vec<(String, &'static str)> {
    let good = claims(json!({}));
    let head = |algorithm: &str| json!({"alg": algorithm, "kid": known.id});
    let unsigned = |algorithm: &str| {
        [head(algorithm), good.clone()]
            .map(|part| base64(part.to_string()))
            .join(".")
    };
    // Whoever takes a public key for a secret would find this signature right.
    let by_secret = |secret: &[u8]| {
        let message = unsigned("HS256");
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", base64(tag))
    };
    let (kept, signature) = known
        .token(&good)
        .rsplit_once('.')
        .map(|(kept, signature)| (kept.to_owned(), signature.to_owned()))
        .unwrap();
    let (first, _) = kept.split_once('.').unwrap();
    let raised = claims(json!({"realm_access": {"roles": "root"}}));
    let way = "is not signed in a way that counts";
    vec![
        (
            stranger.token_with(&head("ES256"), &good),
            "signature is wrong",
        ),
        (stranger.token(&good), "key that is not in the set"),
        (format!("{}.", unsigned("none")), way),
        (format!("{}.{signature}", unsigned("none")), way),
        (by_secret(known.public()), way),
        (by_secret(known.jwk().to_string().as_bytes()), way),
        (known.token_with(&head("RS256"), &good), way),
        (
            known.token_with(&json!({"alg": "ES256"}), &good),
            "by which of several keys",
        ),
        (
            known.token_with(
                &json!({"alg": "ES256", "kid": known.id, "crit": ["x"]}),
                &good,
            ),
            "is damaged",
        ),
        (
            format!("{first}.{}.{signature}", base64(raised.to_string())),
            "signature is wrong",
        ),
        (format!("{kept}."), "signature is wrong"),
        (
            known.token_with(&head("ES256"), &json!("hush")),
            "is damaged",
        ),
        ("a.b.c".to_owned(), "is damaged"),
        ("..".to_owned(), "is damaged"),
        (
            format!("{kept}.{}", "x".repeat(20_000)),
            "longer than 16384 bytes",
        ),
        (kept, "is not known here"),
        ("hush".to_owned(), "is not known here"),
    ]
}

#[tokio::test]
async fn a_token_that_does_not_count_is_told_why_and_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let (known, other, stranger) = (Signer::p256("a"), Signer::p256("b"), Signer::p256("z"));
    write_keys(&file, &[&known, &other]);
    let running = asking(folder.path(), file.to_str().unwrap()).await;
    let forged = forged(&known, &stranger);
    for (token, words) in misfits(&known).into_iter().chain(forged) {
        let (status, challenge, body) = submit(&running, &token).await;
        assert_eq!(status, 401, "{words}: {body}");
        assert!(body.contains(words), "{words}: {body}");
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        let is_told = challenge.contains(words) || words == "is not known here";
        assert!(is_told, "{words}: {challenge}");
        let mut parts = token.split('.').filter(|part| part.len() > 3);
        assert!(parts.all(|part| !body.contains(part)), "{body}");
    }
    let admin = known.token(&claims(json!({})));
    let shown = [("authorization", &*format!("Bearer {admin}"))];
    let (_, jobs) = running.fetch("GET", "/jobs", &shown, "").await;
    assert_eq!(jobs, b"{\"jobs\":[]}");
    running.stop().await;
}

#[tokio::test]
async fn every_route_takes_its_role_from_the_claim_and_no_lower_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let known = Signer::p256("a");
    write_keys(&file, &[&known]);
    let running = asking(folder.path(), file.to_str().unwrap()).await;
    let of = |roles: &str| known.token(&claims(json!({"realm_access": {"roles": roles}})));
    let [nothing, admin] = ["offline_access", "viewer root"].map(of);
    let roles = [
        (Role::Viewer, of("viewer")),
        (Role::Operator, of("operator")),
    ];
    let expired = known.token(&claims(json!({"exp": at(-60)})));
    let routes = routes(&running, &admin).await;
    assert!(routes.len() > 90, "{}", routes.len());
    for (method, path, least) in routes {
        let Some(least) = least else { continue };
        let path = filled(&path);
        let asked = async |token: &str| status(&head(&running, &method, &path, Some(token)).await);
        assert_eq!(asked(&expired).await, 401, "{method} {path}");
        assert_eq!(asked(&nothing).await, 403, "{method} {path}");
        for (role, token) in roles.iter().chain(&[(Role::Admin, admin.clone())]) {
            let is_refused = asked(token).await == 403;
            assert_eq!(is_refused, *role < least, "{role}: {method} {path}");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn what_is_far_too_long_is_not_even_read() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let known = Signer::p256("a");
    write_keys(&file, &[&known]);
    let running = asking(folder.path(), file.to_str().unwrap()).await;
    let mut stream = tokio::net::TcpStream::connect(running.bound.rest)
        .await
        .unwrap();
    let huge = "x".repeat(1 << 20);
    let request = format!("GET /jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {huge}\r\n\r\n");
    // It may be hung up on in the middle.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    let heard = String::from_utf8(heard).unwrap();
    assert!(
        heard.is_empty() || heard.starts_with("HTTP/1.1 431 "),
        "{heard}"
    );
    assert_eq!(look(&running, &known.token(&claims(json!({})))).await, 200);
    running.stop().await;
}

#[tokio::test]
async fn a_file_of_keys_is_exchanged_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    write_keys(&file, &[&old]);
    let running = asking(folder.path(), file.to_str().unwrap()).await;
    let [by_old, by_new] = [&old, &new].map(|signer| signer.token(&claims(json!({}))));
    let both = async || [look(&running, &by_old).await, look(&running, &by_new).await];
    assert_eq!(both().await, [200, 401]);
    write_keys(&file, &[&new]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while both().await != [401, 200] {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", both().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn tokens_of_both_kinds_count_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, people) = (
        folder.path().join("keys.json"),
        folder.path().join("people"),
    );
    let known = Signer::p256("a");
    write_keys(&keys, &[&known]);
    let (token, line) = mint("bob", Role::Viewer).unwrap();
    std::fs::write(&people, line).unwrap();
    let define = [
        &*format!("security.jwt.jwks={}", keys.display()),
        "security.jwt.audience=flows",
        "security.jwt.roles-claim=realm_access.roles",
        &*format!("security.rest.tokens={}", people.display()),
    ];
    let running = Running::start(&folder.path().join("data"), &define).await;
    assert_eq!(look(&running, &token).await, 200);
    assert_eq!(look(&running, "hush").await, 401);
    // Nobody has said by which issuer it has to be.
    let any = known.token(&claims(json!({"iss": null})));
    assert_eq!(submit(&running, &any).await.0, 202);
    assert_eq!(submit(&running, &token).await.0, 403);
    running.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_away_lets_nobody_in_and_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let people = folder.path().join("people");
    let (viewer, line) = mint("bob", Role::Viewer).unwrap();
    std::fs::write(&people, line).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = listener.local_addr().unwrap();
    drop(listener);
    let define = [
        &*format!("security.jwt.jwks=http://{away}/keys"),
        "security.jwt.audience=flows",
        &*format!("security.rest.tokens={}", people.display()),
    ];
    let running = Running::start(&folder.path().join("data"), &define).await;
    let token = Signer::p256("a").token(&claims(json!({})));
    let (status, challenge, body) = submit(&running, &token).await;
    assert_eq!(status, 401, "{body}");
    assert!(
        challenge.contains("no key is known that could have signed"),
        "{challenge}"
    );
    let shown = [("authorization", &*format!("Bearer {viewer}"))];
    let (_, metrics) = running.fetch("GET", "/metrics", &shown, "").await;
    let metrics = String::from_utf8(metrics).unwrap();
    for line in [
        "jobmanager_reloads_failed_total{of=\"set of keys for JSON Web Tokens\"} 1\n",
        "jobmanager_reload_stale{of=\"set of keys for JSON Web Tokens\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    running.stop().await;
}
