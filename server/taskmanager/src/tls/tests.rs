//! Members and strangers on the loopback interface.

#![allow(clippy::unwrap_used)]

use super::*;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::ServerName;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Far more than anything here takes; only a test that fails waits for so long.
const LONG: Duration = Duration::from_secs(20);
const LIMITS: Limits = Limits {
    connections: 8,
    handshakes: 2,
    patience: None,
};

/// Somebody who signs certificates.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority(Issuer::new(params, key), certificate.pem())
    }

    /// Writes what a member needs, with a certificate of these names that is valid until this year ends.
    fn enroll(&self, folder: &Path, names: &[&str], until: i32) -> Credentials {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Credentials {
            certificate: write("member.pem", &certificate.pem()),
            key: write("member.key", &key.serialize_pem()),
            authorities: write("ca.pem", &self.1),
            cluster: ClusterName::new("blue").unwrap(),
        }
    }

    /// The same in a folder of its own.
    fn member(&self, names: &[&str]) -> (TempDir, Credentials) {
        let folder = tempfile::tempdir().unwrap();
        let credentials = self.enroll(folder.path(), names, 2_100);
        (folder, credentials)
    }
}

async fn listen(credentials: &Credentials) -> (Incoming, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = Some(credentials.server().unwrap());
    let cluster = Some(credentials.cluster.clone());
    (Incoming::new(listener, tls, cluster, LIMITS), address)
}

/// Says hello; gives what comes back, or why nothing does.
async fn say_hello(address: &str, config: Arc<ClientConfig>) -> Result<String, String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("blue").unwrap();
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let mut stream = connected.map_err(|problem| words::explained(problem).to_string())?;
    let mut heard = String::new();
    // Who is refused may hear so only here: the handshake is over for one end before it is for the other.
    let _ = stream.write_all(b"hello").await;
    match timeout(LONG, stream.read_to_string(&mut heard))
        .await
        .unwrap()
    {
        Ok(_) => Ok(heard),
        Err(problem) => Err(problem.to_string()),
    }
}

/// Answers everybody who is let in with their name.
async fn answer(mut incoming: Incoming) {
    while let Some(mut connection) = incoming.next().await {
        let name = connection.peer().certificate.clone().unwrap();
        connection.write_all(name.as_bytes()).await.unwrap();
        connection.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn members_hear_each_other_and_learn_each_others_names() {
    let authority = Authority::new("ours");
    let (_folder, server) = authority.member(&["blue"]);
    let (_folder, caller) = authority.member(&["blue", "tm-7"]);
    let (incoming, address) = listen(&server).await;
    tokio::spawn(answer(incoming));
    let heard = say_hello(&address, caller.client().unwrap().current()).await;
    assert_eq!(heard, Ok("tm-7".to_owned()));
}

#[tokio::test]
async fn whoever_is_no_member_is_refused_at_both_ends() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let member = authority.member(&["blue"]);
    let roots = |credentials: &Credentials| {
        roots(&FileText::read(&credentials.authorities).unwrap()).unwrap()
    };
    let (incoming, address) = listen(&member.1).await;
    tokio::spawn(answer(incoming));

    let expired = tempfile::tempdir().unwrap();
    let expired = (authority.enroll(expired.path(), &["blue"], 2_020), expired);
    let others = [
        (
            authority.member(&["green"]),
            "CertificateUnknown",
            "it has to have the DNS name blue, and has green",
        ),
        (
            authority.member(&["*.blue", "xblue"]),
            "CertificateUnknown",
            "not for this cluster",
        ),
        (authority.member(&[]), "CertificateUnknown", "and has none"),
        (
            stranger.member(&["blue"]),
            "UnknownCA",
            "none of the authorities",
        ),
        ((expired.1, expired.0), "CertificateExpired", "expired"),
    ];
    for ((_folder, mut other), alert, words) in others {
        // It trusts the member, so that it is the member who refuses.
        std::fs::copy(&member.1.authorities, &other.authorities).unwrap();
        let heard = say_hello(&address, other.client().unwrap().current()).await;
        let heard = heard.unwrap_err();
        assert!(heard.contains(alert), "{words}: {heard}");

        other.cluster = ClusterName::new("blue").unwrap();
        let (incoming, address) = listen(&other).await;
        tokio::spawn(answer(incoming));
        let heard = say_hello(&address, member.1.client().unwrap().current()).await;
        let heard = heard.unwrap_err();
        assert!(heard.contains(words), "{words}: {heard}");
    }

    let nameless = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots(&member.1))
        .with_no_client_auth();
    let heard = say_hello(&address, Arc::new(nameless)).await.unwrap_err();
    assert!(heard.contains("CertificateRequired"), "{heard}");
    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut heard = Vec::new();
    let _ = timeout(LONG, plain.read_to_end(&mut heard)).await.unwrap();
    // An alert, in the clear; nothing of HTTP.
    assert!(heard.len() <= 7, "{heard:?}");
}

#[tokio::test]
async fn a_replaced_certificate_counts_and_a_broken_one_does_not() {
    let authority = Authority::new("ours");
    let (_folder, caller) = authority.member(&["blue"]);
    let (folder, server) = authority.member(&["blue", "before"]);
    let fresh = caller.client().unwrap();
    let served = server.server().unwrap();
    let before = served.current();

    std::fs::write(&server.key, "no key").unwrap();
    std::fs::write(&caller.certificate, "no certificate").unwrap();
    let (incoming, address) = listen(&authority.member(&["blue"]).1).await;
    tokio::spawn(answer(incoming));
    let heard = say_hello(&address, fresh.current()).await;
    assert_eq!(heard, Ok("blue".to_owned()));
    assert!(
        server
            .server()
            .unwrap_err()
            .to_string()
            .contains("no private key in PEM")
    );

    authority.enroll(folder.path(), &["blue", "after"], 2_100);
    let deadline = Instant::now() + LONG;
    while Arc::ptr_eq(&before, &served.current()) {
        assert!(Instant::now() < deadline, "the new one does not count");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(served);
}

#[tokio::test]
async fn who_says_nothing_holds_up_nobody_and_there_are_not_many_of_them() {
    let authority = Authority::new("ours");
    let (_folder, member) = authority.member(&["blue"]);
    let (incoming, address) = listen(&member).await;
    tokio::spawn(answer(incoming));
    let client = member.client().unwrap().current();
    let _silent = TcpStream::connect(&address).await.unwrap();
    let heard = say_hello(&address, Arc::clone(&client)).await;
    assert_eq!(heard, Ok("blue".to_owned()));

    let _silent_too = TcpStream::connect(&address).await.unwrap();
    let mut one_too_many = TcpStream::connect(&address).await.unwrap();
    let closed = timeout(LONG, one_too_many.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
}

#[tokio::test]
async fn in_the_clear_who_says_nothing_is_hung_up_on_too_and_there_are_not_many_of_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = Incoming::new(listener, None, None, LIMITS);
    let mut silent = TcpStream::connect(address).await.unwrap();
    let _silent_too = TcpStream::connect(address).await.unwrap();
    let mut one_too_many = TcpStream::connect(address).await.unwrap();
    let closed = timeout(LONG, one_too_many.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    let closed = timeout(LONG, silent.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    let mut quick = TcpStream::connect(address).await.unwrap();
    quick.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    let mut connection = timeout(LONG, incoming.next()).await.unwrap().unwrap();
    connection.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn files_that_are_of_no_use_are_named() {
    let authority = Authority::new("ours");
    let (folder, member) = authority.member(&["blue"]);
    let other = folder.path().join("other.key");
    std::fs::write(&other, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let nosuch = folder.path().join("nosuch");
    let replaced = |certificate: &Path, key: &Path, authorities: &Path| Credentials {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        authorities: authorities.to_owned(),
        cluster: member.cluster.clone(),
    };
    let (certificate, key) = (&member.certificate, &member.key);
    let authorities = &member.authorities;
    for (credentials, words) in [
        (replaced(&nosuch, key, authorities), "nosuch: No such file"),
        (
            replaced(certificate, key, &empty),
            "empty: no certificate in PEM",
        ),
        (
            replaced(certificate, &empty, authorities),
            "empty: no private key in PEM",
        ),
        (replaced(certificate, &other, authorities), "other.key: "),
    ] {
        let problem = credentials.server().unwrap_err().to_string();
        assert!(problem.contains(words), "{words}: {problem}");
    }
}
