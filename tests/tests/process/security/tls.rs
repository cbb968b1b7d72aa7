//! Members of the cluster, and those who are none.

use super::{Clients, Guarded, Said};
use crate::cluster::jobmanager;
use crate::jobs::WordJob;
use crate::process::{Process, wait_for};
use crate::security::pki::{Authority, Member};
use crate::text::{assert_same, committed, counted, write_files};
use jobmanager::security::Role;
use std::net::TcpStream;

/// Runs a job that exchanges records between all TaskManagers, and looks at what it wrote.
fn count_words(guarded: &Guarded, name: &str) {
    let path = |what: &str| guarded.path(&format!("{name}-{what}"));
    let (input, out, copy) = (path("input"), path("out"), path("copy"));
    let text = write_files(&input, 7, 1_000);
    let job = WordJob {
        rate: Some(250),
        ..WordJob::new(&input, &out, &copy)
    };
    let file = path("job.json");
    std::fs::write(&file, job.json().to_string()).unwrap();
    let said = guarded.as_role(Role::Operator, "run", &[file.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.text);
    assert_same(&committed(&out), &counted(&text));
}

#[test]
fn a_job_runs_over_tls_before_and_after_certificates_are_exchanged() {
    let mut guarded = Guarded::start(2);
    count_words(&guarded, "before");

    // Another certificate, with another name: whoever connects from now on shows and sees it.
    let names = ["flows", "renewed", &guarded.host.to_string()];
    guarded.enroll("jobmanager", &names);
    guarded.enroll("tm-1", &["flows", "tm-renewed"]);
    guarded.wait_for_log("certificate of this member was replaced", 1);
    guarded.wait_for_log("certificate of REST was replaced", 1);
    wait_for("the TaskManager's certificate", || {
        let log = guarded.taskmanagers[1].output();
        (log.matches("was replaced").count() == 2).then_some(())
    });
    // The session of the other one ends, and it comes back to a JobManager with another certificate.
    guarded.taskmanagers[0].kill();
    let member = guarded.enroll("tm-2", &["flows", "tm-2"]);
    let started = guarded.start_taskmanager("tm-2", &member.options());
    guarded.taskmanagers[0] = started;
    guarded.wait_for_log("certificate=\"tm-2\"", 1);
    count_words(&guarded, "after");
    assert!(
        !guarded.log().contains("a connection was refused"),
        "{}",
        guarded.log()
    );
}

#[test]
fn a_taskmanager_without_the_clusters_certificate_does_not_register() {
    let guarded = Guarded::start(1);
    let stranger = Authority::new("somebody else's");
    let trusting = |member: Member| {
        // It trusts the JobManager, so that it is the JobManager who refuses.
        std::fs::copy(&guarded.member.authorities, &member.authorities).unwrap();
        member.options().to_vec()
    };
    let other = guarded.enroll("other", &["another-cluster", "tm-x"]);
    let revoked = guarded.enroll("revoked", &["flows"]);
    guarded.revoke(&[revoked.number]);
    guarded.wait_for_log("certificate of this member was replaced", 1);
    let wrong = stranger.member(&guarded.path("wrong"), &["flows"]);
    for (name, options, words, own_words) in [
        (
            "plain",
            Vec::new(),
            "does not speak TLS",
            "if it speaks TLS, give --tls-certificate",
        ),
        (
            "other",
            other.options().to_vec(),
            "it has to have the DNS name flows, and has another-cluster, tm-x",
            "the other end refuses",
        ),
        (
            "revoked",
            revoked.options().to_vec(),
            "the certificate was revoked",
            "the other end refuses",
        ),
        (
            "wrong",
            trusting(wrong),
            "none of the authorities that are trusted here",
            "the other end refuses",
        ),
        (
            "doubtful",
            stranger
                .member(&guarded.path("doubtful"), &["flows"])
                .options()
                .to_vec(),
            "refuses",
            "none of the authorities that are trusted here",
        ),
    ] {
        let taskmanager: Process = guarded.start_taskmanager(name, &options);
        guarded.wait_for_log(words, 1);
        wait_for(own_words, || {
            taskmanager.output().contains(own_words).then_some(())
        });
        assert!(!taskmanager.output().contains(" registered"), "{name}");
    }
    let log = guarded.log();
    assert_eq!(log.matches("TaskManager registered").count(), 1, "{log}");
}

#[test]
fn a_taskmanager_that_is_thrown_out_is_out_at_once_and_jobs_run_on_the_others() {
    let guarded = Guarded::start(3);
    let stolen = guarded.enroll("stolen", &["flows", "stolen"]);
    let thief = guarded.start_taskmanager("thief", &stolen.options());
    guarded.wait_for_log("certificate=\"stolen\"", 1);
    guarded.wait_for_log("TaskManager registered", 4);
    guarded.revoke(&[stolen.number]);
    guarded.wait_for_log(
        "a connection was ended: the certificate does not count any more",
        1,
    );
    guarded.wait_for_log("session lost", 1);
    // It comes back, and is not let in.
    guarded.wait_for_log("the certificate was revoked", 2);
    wait_for("the refusal", || {
        let refused = thief.output().contains("CertificateRevoked");
        refused.then_some(())
    });
    count_words(&guarded, "after");
    let log = guarded.log();
    assert_eq!(log.matches("TaskManager registered").count(), 4, "{log}");
}

#[test]
fn whoever_says_nothing_keeps_no_heartbeat_waiting() {
    let guarded = Guarded::start(2);
    let rest = guarded.rest.strip_prefix("https://").unwrap();
    let silent = |address: &str| TcpStream::connect(address).unwrap();
    let _silent: Vec<_> = (0..100)
        .flat_map(|_| [silent(rest), silent(&guarded.rpc)])
        .collect();
    count_words(&guarded, "words");
    let log = guarded.log();
    assert!(!log.contains("session lost"), "{log}");
    assert!(!guarded.taskmanagers[0].output().contains("no session"));
}

#[test]
fn a_client_that_trusts_another_authority_sends_nothing() {
    let guarded = Guarded::start(0);
    let stranger = Authority::new("somebody else's").member(&guarded.path("stranger"), &["x"]);
    let mut client = jobmanager();
    client
        .args(["list", "--jobmanager", &guarded.rest, "--ca"])
        .arg(&stranger.authorities);
    client.arg("--token-file").arg(guarded.path("admin"));
    let said: Said = client.output().unwrap().into();
    assert_eq!(said.code, 3, "{}", said.text);
    assert!(
        said.text
            .contains("none of the authorities that are trusted here"),
        "{}",
        said.text
    );

    let mut client = jobmanager();
    let plain = guarded.rest.replace("https", "http");
    let said: Said = client
        .args(["list", "--jobmanager", &plain])
        .output()
        .unwrap()
        .into();
    assert_eq!(said.code, 3, "{}", said.text);
    assert!(said.text.contains("begins with https://"), "{}", said.text);
}

#[test]
fn a_client_shows_its_certificate_where_one_is_asked_for() {
    let guarded = Guarded::start_for(Clients::Certificates, 0);
    let said = |member: Option<&Member>| -> Said {
        let mut client = guarded.client("cancel");
        client.arg("0".repeat(32));
        if let Some(member) = member {
            client.arg("--certificate").arg(&member.certificate);
            client.arg("--key").arg(&member.key);
        }
        client.output().unwrap().into()
    };
    let nobody = said(None);
    assert_eq!(nobody.code, 3, "{}", nobody.text);
    guarded.wait_for_log("the other end shows no certificate", 1);
    let stranger = Authority::new("somebody else's").member(&guarded.path("x"), &["x"]);
    let stranger = said(Some(&stranger));
    assert_eq!(stranger.code, 3, "{}", stranger.text);

    let dave = guarded.enroll("dave", &["dave"]);
    let known = said(Some(&dave));
    assert_eq!(known.code, 4, "{}", known.text);
    assert!(known.text.contains("not found"), "{}", known.text);
    let log = guarded.log();
    let audit: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" audit "))
        .collect();
    let [line] = audit[..] else {
        panic!("{audit:#?}");
    };
    for part in ["who=\"dave\"", "outcome=\"failed\"", "status=404"] {
        assert!(line.contains(part), "{line}");
    }

    guarded.revoke(&[dave.number]);
    guarded.wait_for_log("certificate of REST was replaced", 1);
    // Not every refusal is told of.
    wait_for("the reason", || {
        let revoked = said(Some(&dave));
        assert_eq!(revoked.code, 3, "{}", revoked.text);
        let reason = guarded.log().contains("the certificate was revoked");
        reason.then_some(())
    });
}
