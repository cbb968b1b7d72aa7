//! The scripts that complete command lines, in a real shell.

use crate::cluster::jobmanager;
use std::process::{Command, Output};

fn script(arguments: &[&str]) -> String {
    let mut command = jobmanager();
    let output = command.arg("completions").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for the last of these words, by a script for this program.
fn offered(script: &str, program: &str, words: &[&str]) -> Vec<String> {
    let ask = r#"
        eval "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        function=$(complete -p "$1" | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ask, "bash", script, program]);
    let Output { status, stdout, .. } = bash.args(words).output().unwrap();
    assert!(status.success());
    let text = String::from_utf8(stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_a_command_and_its_options() {
    if Command::new("bash").arg("--version").output().is_err() {
        eprintln!("there is no bash here, so nothing is completed");
        return;
    }
    let own = script(&["bash"]);
    assert_eq!(offered(&own, "jobmanager", &["savep"]), ["savepoint"]);
    assert_eq!(offered(&own, "jobmanager", &["taskm"]), [""]);
    let options = offered(&own, "jobmanager", &["run", "--from"]);
    assert_eq!(options, ["--from-savepoint"]);
    let formats = offered(&own, "jobmanager", &["serve", "--log-format", "j"]);
    assert_eq!(formats, ["json"]);
    let of_worker = script(&["bash", "--program", "taskmanager"]);
    let options = offered(&of_worker, "taskmanager", &["--leave"]);
    assert_eq!(options, ["--leave-timeout"]);
}

#[test]
fn a_shell_that_is_not_known_is_refused_with_those_that_are() {
    let mut command = jobmanager();
    let output = command.args(["completions", "cmd"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let words = String::from_utf8(output.stderr).unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(words.contains(shell), "{words}");
    }
}
