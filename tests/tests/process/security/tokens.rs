//! Tokens, and the log of what was done with them.

use super::{Guarded, Said};
use jobmanager::security::Role;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A job that runs until it is canceled.
fn endless(guarded: &Guarded) -> PathBuf {
    endless_in(&guarded.path("endless.json"))
}

/// The same in this file.
pub(super) fn endless_in(file: &Path) -> PathBuf {
    let job = r#"{"name": "endless", "vertices": [
        {"id": "from", "operator": "datagen-source", "parallelism": 1, "config": {"rate": 10}},
        {"id": "to", "operator": "blackhole-sink", "parallelism": 1}],
        "edges": [{"source": "from", "target": "to", "partitioning": "forward"}]}"#;
    std::fs::write(file, job).unwrap();
    file.to_owned()
}

/// The lines of the log about who did what.
fn audit(guarded: &Guarded) -> Vec<String> {
    let log = guarded.log();
    let lines = log.lines().filter(|line| line.contains(" audit "));
    lines.map(str::to_owned).collect()
}

fn said(command: &mut Command) -> Said {
    command.output().unwrap().into()
}

/// Whether each line of the log about who did what has these parts, and there are no others.
fn assert_audit(guarded: &Guarded, wanted: &[&[&str]]) {
    let lines = audit(guarded);
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for (line, parts) in lines.iter().zip(wanted) {
        let has_all = parts.iter().all(|part| line.contains(part));
        assert!(has_all, "{line}: {parts:?}");
    }
}

#[test]
fn who_is_refused_changes_nothing_and_is_in_the_log() {
    let guarded = Guarded::start(0);
    let file = endless(&guarded);
    let file = file.to_str().unwrap();
    let none = said(guarded.client("run").args([file, "--detached"]));
    let mut wrong = guarded.client("run");
    wrong.env("JOBMANAGER_TOKEN", "hush-hush");
    let wrong = said(wrong.args([file, "--detached"]));
    let low = guarded.as_role(Role::Viewer, "run", &[file, "--detached"]);
    for (refused, words) in [
        (none, "a token is needed"),
        (wrong, "the token is not known here"),
        (low, "only operator may do that"),
    ] {
        assert_eq!(refused.code, 4, "{}", refused.text);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    let seen = guarded.as_role(Role::Viewer, "list", &["-a"]);
    assert_eq!(seen.code, 0, "{}", seen.text);
    assert!(!seen.text.contains("endless"), "{}", seen.text);
    let nobody = [
        "WARN",
        "who=\"nobody\"",
        "action=\"POST /jobs\"",
        "status=401",
    ];
    assert_audit(
        &guarded,
        &[
            &[&nobody[..], &["a token is needed"]].concat(),
            &[&nobody[..], &["the token is not known here"]].concat(),
            &[
                "WARN",
                "who=\"the-viewer\"",
                "action=\"POST /jobs\"",
                "outcome=\"refused\"",
                "status=403",
            ],
        ],
    );
    assert!(!guarded.log().contains("hush-hush"));
}

#[test]
fn what_is_done_to_a_job_is_in_the_log_with_the_name_of_who_did_it() {
    let guarded = Guarded::start(1);
    let file = endless(&guarded);
    let arguments = [file.to_str().unwrap(), "--detached"];
    let run = guarded.as_role(Role::Operator, "run", &arguments);
    assert_eq!(run.code, 0, "{}", run.text);
    let job = run.text.trim().rsplit(' ').next().unwrap().to_owned();
    let low = guarded.as_role(Role::Viewer, "cancel", &[&job]);
    assert_eq!(low.code, 4, "{}", low.text);
    let token = std::fs::read_to_string(guarded.path("admin")).unwrap();
    let mut cancel = guarded.client("cancel");
    let cancel = said(cancel.arg(&job).env("JOBMANAGER_TOKEN", &token));
    assert_eq!(cancel.code, 0, "{}", cancel.text);
    let of_job = format!("job={job}");
    let cancel = "action=\"PATCH /jobs/{job}\"";
    assert_audit(
        &guarded,
        &[
            &[
                "INFO",
                "who=\"the-operator\"",
                "action=\"POST /jobs\"",
                &of_job,
                "outcome=\"done\"",
                "status=202",
                "peer=",
            ],
            &["WARN", "who=\"the-viewer\"", cancel, &of_job, "status=403"],
            &[
                "INFO",
                "who=\"the-admin\"",
                cancel,
                &of_job,
                "outcome=\"done\"",
            ],
        ],
    );
    assert!(!guarded.log().contains(&token));
}

#[test]
fn logs_are_for_operators_over_tls_and_reading_them_is_no_deed() {
    let guarded = Guarded::start(1);
    let low = guarded.as_role(Role::Viewer, "logs", &[]);
    assert_eq!(low.code, 4, "{}", low.text);
    let own = guarded.as_role(Role::Operator, "logs", &[]);
    assert_eq!(own.code, 0, "{}", own.text);
    assert!(own.text.contains("who=\"the-viewer\""), "{}", own.text);
    let of_worker = guarded.as_role(Role::Operator, "logs", &["tm-0"]);
    assert_eq!(of_worker.code, 0, "{}", of_worker.text);
    assert!(
        of_worker.text.contains("taskmanager started"),
        "{}",
        of_worker.text
    );
    assert!(!guarded.log().contains("the-operator"), "{}", guarded.log());
}

#[test]
fn a_token_is_made_for_its_holder_and_its_hash_for_the_jobmanager() {
    let output = crate::cluster::jobmanager()
        .args(["token", "carol", "viewer"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let [token, line] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    assert_eq!(token.trim().len(), 64, "{token}");
    assert!(
        line.starts_with("carol viewer ") && line.trim().len() == 13 + 64,
        "{line}"
    );
    assert!(!line.contains(token.trim()));
    for (arguments, words) in [
        (["carol", "boss"], "not a role"),
        (["a b", "viewer"], "one word"),
    ] {
        let refused = said(crate::cluster::jobmanager().arg("token").args(arguments));
        assert_eq!(refused.code, 64, "{}", refused.text);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
}

/// What the system says of who may read or write a file.
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_token_and_its_line_are_written_into_files_for_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let [tokens, alice, bob] = ["tokens", "alice", "bob"].map(|name| folder.path().join(name));
    let make = |name: &str, out: &Path| -> Said {
        let mut command = crate::cluster::jobmanager();
        command
            .args(["token", name, "viewer", "--tokens"])
            .arg(&tokens);
        command.arg("--out").arg(out).output().unwrap().into()
    };
    let made = make("alice", &alice);
    assert_eq!((made.code, &*made.text), (0, ""));
    assert_eq!((mode(&tokens), mode(&alice)), (0o600, 0o600));
    let first = std::fs::read_to_string(&tokens).unwrap();
    // An editor that does not end the last line.
    std::fs::write(&tokens, first.trim_end()).unwrap();
    assert_eq!(make("bob", &bob).code, 0);
    let both = std::fs::read_to_string(&tokens).unwrap();
    assert!(both.starts_with(&first), "{both}");
    let known = jobmanager::security::Tokens::parse(&both).unwrap();
    for (name, file) in [("alice", &alice), ("bob", &bob)] {
        let token = std::fs::read_to_string(file).unwrap();
        assert_eq!(known.holder(token.trim()), Some((name, Role::Viewer)));
    }

    // Nothing is written if something is wrong, and nothing over something else.
    let other = folder.path().join("other");
    for (name, out, words) in [
        ("alice", &other, "tokens: line 3: the name is there twice"),
        ("carol", &bob, "bob: is there already"),
        (
            "carol",
            &folder.path().join("no/such"),
            "such: No such file",
        ),
        ("anybody", &other, "`anybody` cannot be a name"),
    ] {
        let refused = make(name, out);
        assert_eq!(refused.code, 64, "{}", refused.text);
        assert!(refused.text.contains(words), "{}", refused.text);
        assert_eq!(std::fs::read_to_string(&tokens).unwrap(), both);
    }
    assert!(!other.exists());
}

#[test]
fn a_token_is_not_sent_in_the_clear_and_not_taken_from_the_command_line() {
    let refused = said(
        crate::cluster::jobmanager()
            .args(["list", "--jobmanager", "http://192.0.2.1:8081"])
            .env("JOBMANAGER_TOKEN", "hush-hush"),
    );
    assert_eq!(refused.code, 64, "{}", refused.text);
    assert!(refused.text.contains("in the clear"), "{}", refused.text);
    let help = said(
        crate::cluster::jobmanager()
            .args(["list", "--help"])
            .env("JOBMANAGER_TOKEN", "hush-hush"),
    );
    assert!(
        help.text.contains("--token-file") && !help.text.contains("--token "),
        "{}",
        help.text
    );
    assert!(!help.text.contains("hush-hush"), "{}", help.text);
}
