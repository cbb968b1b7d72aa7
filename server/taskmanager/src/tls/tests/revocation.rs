//! Members that are thrown out.

use super::pki::Request;
use super::*;
use rustls::pki_types::pem::PemObject;
use std::path::Path;

/// A caller that remembers its connections, to go on with them later.
fn remembering(credentials: &Credentials) -> Arc<ClientConfig> {
    let mut config = (*calling(credentials)).clone();
    config.resumption = rustls::client::Resumption::default();
    Arc::new(config)
}

/// With this list of revoked certificates.
fn with_list(credentials: Credentials, folder: &Path, list: &str) -> Credentials {
    let revoked = folder.join("revoked.pem");
    std::fs::write(&revoked, list).unwrap();
    Credentials {
        revoked: Some(revoked),
        ..credentials
    }
}

/// Whether the other end has ended the connection; of those that are let be, nothing is heard.
async fn is_ended(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    matches!(
        timeout(LONG, stream.read(&mut [0; 8])).await,
        Ok(Ok(0) | Err(_))
    )
}

#[tokio::test]
async fn who_is_revoked_is_out_with_the_connections_that_are_open_and_nobody_else_is() {
    let authority = Authority::new("ours");
    let (folder, server) = authority.member(&["blue"]);
    let server = with_list(server, folder.path(), &authority.revoke(&[]));
    let (_folder, stolen) = authority.member(&["blue", "stolen"]);
    let (_folder, honest) = authority.member(&["blue", "honest"]);
    let (mut incoming, address) = listen(&server).await;
    let (stolen, honest) = (remembering(&stolen), remembering(&honest));
    let mut thief = connect(&address, Arc::clone(&stolen)).await.unwrap();
    let of_thief = incoming.next().await.unwrap();
    let mut other = connect(&address, Arc::clone(&honest)).await.unwrap();
    let mut of_other = incoming.next().await.unwrap();
    assert_eq!(of_thief.peer().certificate.as_deref(), Some("stolen"));

    let list = authority.revoke(&[1]);
    std::fs::write(server.revoked.as_ref().unwrap(), list).unwrap();
    let mut of_thief = of_thief;
    let problem = timeout(LONG, of_thief.read(&mut [0; 8])).await.unwrap();
    let problem = problem.unwrap_err().to_string();
    assert_eq!(problem, "the certificate was revoked");
    drop(of_thief);
    assert!(is_ended(&mut thief).await);
    // The other one goes on, and can come back.
    other.write_all(b"still").await.unwrap();
    let mut heard = [0; 5];
    timeout(LONG, of_other.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&heard, b"still");
    tokio::spawn(answer(incoming));
    assert_eq!(say_hello(&address, honest).await, Ok("honest".to_owned()));
    // With what it remembers of its connection, too.
    let refused = say_hello(&address, stolen).await.unwrap_err();
    assert!(refused.contains("CertificateRevoked"), "{refused}");
}

#[tokio::test]
async fn who_is_called_and_revoked_is_left_by_those_who_called() {
    let authority = Authority::new("ours");
    let (_folder, stolen) = authority.member(&["blue", "stolen"]);
    let (folder, caller) = authority.member(&["blue"]);
    let caller = with_list(caller, folder.path(), &authority.revoke(&[]));
    let (mut incoming, address) = listen(&stolen).await;
    let dialer = Dialer::new(Some(&caller), false).unwrap();
    let endpoint = tonic::transport::Endpoint::try_from(format!("http://{address}")).unwrap();
    let connecting = tokio::spawn(async move { dialer.connect(endpoint).await });
    let mut of_caller = timeout(LONG, incoming.next()).await.unwrap().unwrap();
    // What HTTP/2 begins with: no settings.
    of_caller
        .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    let channel = timeout(LONG, connecting).await.unwrap().unwrap().unwrap();
    let list = authority.revoke(&[0]);
    std::fs::write(caller.revoked.as_ref().unwrap(), list).unwrap();
    // All it has said, and then the end.
    let mut said = Vec::new();
    let ended = timeout(LONG, of_caller.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "the connection goes on");
    drop(channel);
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_any_more_takes_its_members_with_it() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (_folder, mut server) = new.member(&["blue"]);
    let (folder, stolen) = old.member(&["blue", "stolen"]);
    let pem =
        |credentials: &Credentials| std::fs::read_to_string(&credentials.authorities).unwrap();
    let (only_new, both) = (pem(&server), pem(&server) + &pem(&stolen));
    server.authorities = folder.path().join("trusted.pem");
    std::fs::write(&server.authorities, &both).unwrap();
    std::fs::write(&stolen.authorities, &both).unwrap();
    let (mut incoming, address) = listen(&server).await;
    let stolen = calling(&stolen);
    let mut thief = connect(&address, Arc::clone(&stolen)).await.unwrap();
    let mut of_thief = incoming.next().await.unwrap();
    std::fs::write(&server.authorities, only_new).unwrap();
    assert!(is_ended(&mut of_thief).await);
    drop(of_thief);
    assert!(is_ended(&mut thief).await);
    tokio::spawn(answer(incoming));
    let refused = say_hello(&address, stolen).await.unwrap_err();
    assert!(refused.contains("UnknownCA"), "{refused}");
}

#[tokio::test]
async fn an_authority_without_a_list_where_there_are_lists_lets_nobody_in() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (folder, server) = ours.member(&["blue"]);
    // The list of somebody else, by mistake.
    let server = with_list(server, folder.path(), &theirs.revoke(&[]));
    let (_folder, caller) = ours.member(&["blue"]);
    let (incoming, address) = listen(&server).await;
    tokio::spawn(answer(incoming));
    let refused = say_hello(&address, calling(&caller)).await.unwrap_err();
    assert!(refused.contains("UnknownCA"), "{refused}");
    let (incoming, address) = listen(&caller).await;
    tokio::spawn(answer(incoming));
    let refused = say_hello(&address, calling(&server)).await.unwrap_err();
    assert!(
        refused.contains("no list of revoked certificates is here"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_connection_outlives_its_certificate_and_not_its_revocation() {
    let authority = Authority::new("ours");
    let (folder, member) = authority.member(&["blue"]);
    let (_folder, expired) = authority.member_with(Request {
        years: (2_000, 2_020),
        ..Request::of(&["blue"])
    });
    let shown = [CertificateDer::from_pem_file(&expired.certificate).unwrap()];
    let in_2010 = UnixTime::since_unix_epoch(Duration::from_secs(40 * 365 * 86_400));
    for (revoked, counts) in [(vec![], true), (vec![1], false)] {
        let member = with_list(member.clone(), folder.path(), &authority.revoke(&revoked));
        let (called, caller) = (member.server().unwrap(), member.client().unwrap());
        let (called, caller) = (called.current(), caller.current());
        assert_eq!(called.judge(&shown, in_2010).is_ok(), counts);
        assert_eq!(caller.judge(&shown, in_2010).is_ok(), counts);
        assert!(called.judge(&shown, UnixTime::now()).is_err());
        assert!(caller.judge(&shown, UnixTime::now()).is_err());
    }
}

#[tokio::test]
async fn nobody_goes_on_with_a_connection_that_was_judged_before() {
    let authority = Authority::new("ours");
    let (_folder, member) = authority.member(&["blue", "again"]);
    let (incoming, address) = listen(&member).await;
    tokio::spawn(answer(incoming));
    let caller = remembering(&member);
    let heard = say_hello(&address, Arc::clone(&caller)).await;
    assert_eq!(heard, Ok("again".to_owned()));
    let again = connect(&address, caller).await.unwrap();
    let kind = again.get_ref().1.handshake_kind();
    assert_eq!(kind, Some(rustls::HandshakeKind::Full));
}
