//! Who is a member, and who is none.

use super::pki::Request;
use super::*;
use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Mutex;

#[tokio::test]
async fn members_hear_each_other_and_learn_each_others_names() {
    let authority = Authority::new("ours");
    let (_folder, server) = authority.member(&["blue"]);
    let (_folder, caller) = authority.member(&["blue", "tm-7"]);
    let (incoming, address) = listen(&server).await;
    tokio::spawn(answer(incoming));
    let heard = say_hello(&address, calling(&caller)).await;
    assert_eq!(heard, Ok("tm-7".to_owned()));
}

#[tokio::test]
async fn whoever_is_no_member_is_refused_at_both_ends() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let member = authority.member(&["blue"]);
    let (incoming, address) = listen(&member.1).await;
    tokio::spawn(answer(incoming));

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
    ];
    for ((_folder, other), alert, words) in others {
        // It trusts the member, so that it is the member who refuses.
        std::fs::copy(&member.1.authorities, &other.authorities).unwrap();
        let heard = say_hello(&address, calling(&other)).await.unwrap_err();
        assert!(heard.contains(alert), "{words}: {heard}");

        let (incoming, address) = listen(&other).await;
        tokio::spawn(answer(incoming));
        let heard = say_hello(&address, calling(&member.1)).await;
        let heard = heard.unwrap_err();
        assert!(heard.contains(words), "{words}: {heard}");
    }
}

#[tokio::test]
async fn a_certificate_is_used_at_the_end_of_a_connection_that_it_is_for() {
    let authority = Authority::new("ours");
    let only = |uses| Request {
        uses,
        ..Request::of(&["blue"])
    };
    for (uses, may_call, may_be_called) in [
        (vec![ClientAuth], true, false),
        (vec![ServerAuth], false, true),
        (vec![ClientAuth, ServerAuth], true, true),
    ] {
        let member = authority.member(&["blue"]);
        let (_folder, other) = authority.member_with(only(uses.clone()));
        let (incoming, address) = listen(&member.1).await;
        tokio::spawn(answer(incoming));
        let called = say_hello(&address, calling(&other)).await;
        assert_eq!(called.is_ok(), may_call, "{uses:?}: {called:?}");
        let (incoming, address) = listen(&other).await;
        tokio::spawn(answer(incoming));
        let called = say_hello(&address, calling(&member.1)).await;
        assert_eq!(called.is_ok(), may_be_called, "{uses:?}: {called:?}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_at_both_ends() {
    let authority = Authority::new("ours");
    let member = authority.member(&["blue"]);
    let expired = Request {
        years: (2_000, 2_020),
        ..Request::of(&["blue"])
    };
    let (_folder, other) = authority.member_with(expired);
    // Whoever has it does not look at it first, as a member does.
    let read = |path: &PathBuf| FileText::read(path).unwrap();
    let key = || PrivateKeyDer::from_pem_slice(read(&other.key).bytes()).unwrap();
    let chain = || {
        let pem = read(&other.certificate);
        vec![CertificateDer::from_pem_slice(pem.bytes()).unwrap()]
    };
    let members =
        Arc::new(Members::new(&read(&other.authorities), None, other.cluster.clone()).unwrap());
    let caller = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(members.clone())
        .with_client_auth_cert(chain(), key())
        .unwrap();
    let (incoming, address) = listen(&member.1).await;
    tokio::spawn(answer(incoming));
    let heard = say_hello(&address, Arc::new(caller)).await.unwrap_err();
    assert!(heard.contains("CertificateExpired"), "{heard}");

    let called = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_client_cert_verifier(members.clone())
        .with_single_cert(chain(), key())
        .unwrap();
    let called = Mutex::new(Some(Called::new(called, Some(members), UnixTime::now())));
    let files = vec![other.certificate.clone()];
    let called = Fresh::load("test", files, None, move |_| {
        Ok(called.lock().unwrap().take().unwrap())
    });
    let (incoming, address) = listen_with(called.unwrap(), other.cluster.clone()).await;
    tokio::spawn(answer(incoming));
    let heard = say_hello(&address, calling(&member.1)).await.unwrap_err();
    assert!(heard.contains("expired"), "{heard}");
}

/// What a caller says who trusts the member, and has no certificate of the cluster.
fn nameless(
    credentials: &Credentials,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let roots = roots(&FileText::read(&credentials.authorities).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[tokio::test]
async fn who_shows_no_certificate_or_speaks_something_else_is_refused() {
    let (_folder, member) = Authority::new("ours").member(&["blue"]);
    let (incoming, address) = listen(&member).await;
    tokio::spawn(answer(incoming));
    let heard = say_hello(&address, nameless(&member, &[&version::TLS13])).await;
    let heard = heard.unwrap_err();
    assert!(heard.contains("CertificateRequired"), "{heard}");
    let heard = say_hello(&address, nameless(&member, &[&version::TLS12])).await;
    let heard = heard.unwrap_err();
    assert!(heard.contains("ProtocolVersion"), "{heard}");
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
async fn who_must_not_call_other_machines_calls_none_whoever_names_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = async |only_here: bool, host: &str| {
        let dialer = Dialer::new(None, only_here).unwrap();
        let endpoint = tonic::transport::Endpoint::try_from(format!("http://{host}:{port}"));
        let endpoint = endpoint.unwrap().connect_timeout(Duration::from_millis(1));
        let connected = dialer.connect(endpoint).await;
        connected
            .map(drop)
            .map_err(|problem| crate::words(&problem))
    };
    let refused = connect(true, "192.0.2.1").await.unwrap_err();
    assert!(refused.contains("--allow-insecure"), "{refused}");
    let away = connect(false, "192.0.2.1").await.unwrap_err();
    assert!(!away.contains("--allow-insecure"), "{away}");
    let dialer = Dialer::new(None, true).unwrap();
    let endpoint = tonic::transport::Endpoint::try_from(format!("http://127.0.0.1:{port}"));
    dialer.connect(endpoint.unwrap()).await.unwrap();
}

#[test]
fn whoever_has_no_dns_name_is_called_something_else_and_each_something_of_their_own() {
    use super::super::members::holder;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    let certificate = |names: &[&str], common_name: Option<&str>| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let key = KeyPair::generate().unwrap();
        CertificateDer::from(params.self_signed(&key).unwrap())
    };
    let blue = ClusterName::new("blue").unwrap();
    let called = |certificate: &CertificateDer<'_>| holder(certificate, Some(&blue));
    assert_eq!(called(&certificate(&["blue", "tm-7"], Some("x"))), "tm-7");
    assert_eq!(called(&certificate(&["blue"], Some("x"))), "blue");
    assert_eq!(called(&certificate(&[], Some("alice"))), "alice");
    let long = called(&certificate(&[], Some(&"x".repeat(2_000))));
    assert_eq!(long.len(), 100);
    let nameless = [None, Some(" ")].map(|name| called(&certificate(&[], name)));
    for name in &nameless {
        assert!(name.starts_with("sha256:") && name.len() == 23, "{name}");
    }
    assert_ne!(nameless[0], nameless[1]);
}
