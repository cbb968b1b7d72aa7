//! What other machines may reach.

use super::Said;
use super::pki::Authority;
use crate::cluster::{jobmanager, taskmanager};
use std::path::PathBuf;

/// `serve` with these options, which are wrong.
fn serve(options: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let mut command = jobmanager();
    command.args([
        "serve",
        "--rest-addr",
        ":0",
        "--rpc-addr",
        ":0",
        "--data-dir",
    ]);
    let command = command.arg(folder.path().join("data"));
    for option in options {
        command.args(["-D", option]);
    }
    command.output().unwrap().into()
}

#[test]
fn other_machines_are_let_in_only_with_tls_and_a_token_or_certificate() {
    for address in ["0.0.0.0", "::", "192.0.2.1"] {
        let rest = format!("rest.bind-address={address}");
        let said = serve(&[&rest]);
        assert_eq!(said.code, 1, "{}", said.text);
        for words in [
            address,
            "security.ssl.rest.enabled",
            "security.rest.tokens",
            "--allow-insecure",
        ] {
            assert!(said.text.contains(words), "{}", said.text);
        }
        let rpc = format!("jobmanager.bind-host={address}");
        let said = serve(&[&rpc]);
        assert_eq!(said.code, 1, "{}", said.text);
        for words in [address, "security.ssl.internal.enabled", "--allow-insecure"] {
            assert!(said.text.contains(words), "{}", said.text);
        }
    }
}

#[test]
fn what_is_missing_or_of_no_use_is_named() {
    for (options, code, words) in [
        (
            &["security.ssl.rest.enabled=true"][..],
            64,
            "security.ssl.rest.certificate: has to name a file",
        ),
        (
            &["security.ssl.internal.enabled=yes"],
            64,
            "security.ssl.internal.enabled: `yes` is neither",
        ),
        (
            &["rest.allowed-hosts=flows.example, http://flows.example"],
            64,
            "rest.allowed-hosts: `http://flows.example` is not the name of a host",
        ),
        (
            &["security.ssl.rest.authentication-enabled=true"],
            64,
            "needs security.ssl.rest.enabled",
        ),
        (
            &[
                "security.ssl.internal.enabled=true",
                "high-availability.cluster-id=/default",
            ],
            64,
            "security.ssl.internal.cluster-name: has to be set",
        ),
        (
            &["security.rest.tokens=/nosuch"],
            1,
            "the tokens cannot be used: /nosuch: No such file",
        ),
        (
            &[
                "security.ssl.internal.enabled=true",
                "high-availability.cluster-id=/my cluster",
                "security.ssl.internal.certificate=/nosuch",
                "security.ssl.internal.key=/nosuch",
                "security.ssl.internal.ca=/nosuch",
            ],
            64,
            "security.ssl.internal.cluster-name: `my cluster` is not a DNS name",
        ),
        (
            &[
                "security.ssl.rest.enabled=true",
                "security.ssl.rest.certificate=/nosuch",
                "security.ssl.rest.key=/nosuch",
            ],
            1,
            "TLS cannot be used: /nosuch: No such file",
        ),
    ] {
        let said = serve(options);
        assert_eq!(said.code, code, "{options:?}: {}", said.text);
        assert!(said.text.contains(words), "{options:?}: {}", said.text);
    }
}

#[test]
fn a_certificate_that_has_expired_is_shown_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("the cluster's");
    let member = authority.member_until(2_020, folder.path(), &["flows"]);
    let mut command = taskmanager();
    command.args(["--jobmanager", "127.0.0.1:1"]);
    let said: Said = command.args(member.options()).output().unwrap().into();
    assert_eq!(said.code, 1, "{}", said.text);
    assert!(
        said.text.contains("certificate.pem: expired at Dec 31"),
        "{}",
        said.text
    );

    let files = [
        ("certificate", &member.certificate),
        ("key", &member.key),
        ("ca", &member.authorities),
    ];
    for of in ["internal", "rest"] {
        let file = |(what, path): &(&str, &PathBuf)| {
            format!("security.ssl.{of}.{what}={}", path.display())
        };
        let files: Vec<_> = files.iter().map(file).collect();
        let enabled = format!("security.ssl.{of}.enabled=true");
        let mut options: Vec<_> = files.iter().chain([&enabled]).map(String::as_str).collect();
        options.push("high-availability.cluster-id=/flows");
        let said = serve(&options);
        assert_eq!(said.code, 1, "{}", said.text);
        assert!(said.text.contains("TLS cannot be used: "), "{}", said.text);
        assert!(said.text.contains("expired at Dec 31"), "{}", said.text);
    }
}
