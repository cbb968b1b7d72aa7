//! Files that are of no use, or are exchanged.

use super::pki::Request;
use super::*;
use rcgen::KeyPair;
use std::path::Path;

#[tokio::test]
async fn a_replaced_certificate_counts_and_a_broken_one_does_not() {
    let authority = Authority::new("ours");
    let (folder, member) = authority.member(&["blue", "before"]);
    let (called, caller) = (member.server().unwrap(), member.client().unwrap());
    let before = (called.current(), caller.current());
    let is_kept = || {
        let (called, caller) = (called.current(), caller.current());
        Arc::ptr_eq(&before.0, &called) && Arc::ptr_eq(&before.1, &caller)
    };
    let certificate = std::fs::read(&member.certificate).unwrap();
    let broken: [(&str, &dyn Fn()); 3] = [
        ("a key", &|| std::fs::write(&member.key, "no key").unwrap()),
        ("a certificate that has expired", &|| {
            drop(authority.enroll(folder.path(), expired()))
        }),
        ("the certificate of another key", &|| {
            std::fs::write(&member.certificate, &certificate).unwrap()
        }),
    ];
    for (failed, (what, break_it)) in (1..).zip(broken) {
        break_it();
        until(what, || {
            let reloads = [called.reloads(), caller.reloads()];
            reloads
                .iter()
                .all(|reloads| reloads.failed() >= failed && reloads.is_stale())
        })
        .await;
        assert!(is_kept(), "{what} counts");
    }

    authority.enroll(folder.path(), Request::of(&["blue", "after"]));
    until("the new one", || {
        let reloads = [called.reloads(), caller.reloads()];
        reloads.iter().all(|reloads| !reloads.is_stale())
    })
    .await;
    assert!(!is_kept());
    let heard = hello_between(called, &caller).await;
    assert_eq!(heard, Ok("after".to_owned()));
}

fn expired() -> Request<'static> {
    Request {
        years: (2_000, 2_020),
        ..Request::of(&["blue"])
    }
}

/// What is heard of who calls, by who is called.
async fn hello_between(called: Fresh<Called>, caller: &Fresh<Calling>) -> Result<String, String> {
    let cluster = ClusterName::new("blue").unwrap();
    let (incoming, address) = listen_with(called, cluster).await;
    tokio::spawn(answer(incoming));
    say_hello(&address, Arc::clone(&caller.current().config)).await
}

#[tokio::test]
async fn files_that_are_of_no_use_are_named() {
    let authority = Authority::new("ours");
    let (folder, member) = authority.member(&["blue"]);
    let other = folder.path().join("other.key");
    std::fs::write(&other, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let broken = folder.path().join("broken");
    let list = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    std::fs::write(&broken, list).unwrap();
    let nosuch = folder.path().join("nosuch");
    let replaced =
        |certificate: &Path, key: &Path, authorities: &Path, revoked: Option<&Path>| Credentials {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            authorities: authorities.to_owned(),
            revoked: revoked.map(Path::to_owned),
            cluster: member.cluster.clone(),
        };
    let (certificate, key) = (&member.certificate, &member.key);
    let authorities = &member.authorities;
    for (credentials, words) in [
        (
            replaced(&nosuch, key, authorities, None),
            "nosuch: No such file",
        ),
        (
            replaced(certificate, key, &empty, None),
            "empty: no certificate in PEM",
        ),
        (
            replaced(certificate, &empty, authorities, None),
            "empty: no private key in PEM",
        ),
        (
            replaced(certificate, &other, authorities, None),
            "other.key: ",
        ),
        (
            replaced(certificate, key, authorities, Some(&empty)),
            "empty: no list of revoked",
        ),
        (
            replaced(certificate, key, authorities, Some(&broken)),
            "broken: ",
        ),
    ] {
        let problem = credentials.server().unwrap_err().to_string();
        assert!(problem.contains(words), "{words}: {problem}");
        let problem = credentials.client().unwrap_err().to_string();
        assert!(problem.contains(words), "{words}: {problem}");
    }
}

#[tokio::test]
async fn a_certificate_whose_time_it_is_not_is_not_shown_to_anybody() {
    let authority = Authority::new("ours");
    for (years, words) in [
        (
            (2_000, 2_020),
            "member.pem: expired at Dec 31 00:00:00 2020",
        ),
        (
            (2_099, 2_100),
            "member.pem: not valid before Jan  1 00:00:00 2099",
        ),
    ] {
        let (_folder, member) = authority.member_with(Request {
            years,
            ..Request::of(&["blue"])
        });
        let problem = member.server().unwrap_err().to_string();
        assert!(problem.contains(words), "{words}: {problem}");
        let problem = member.client().unwrap_err().to_string();
        assert!(problem.contains(words), "{words}: {problem}");
    }
}
