//! `jobmanager local`: a cluster that leaves nothing running, however it ends.

use crate::cluster::{free_ports, jobmanager, own_address};
use crate::process::{Process, Signal, exists, send, wait_for};
use crate::rest::Rest;
use crate::text::{assert_same, committed, counted, write_files};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A local cluster in a folder of its own, at an address of its own.
struct Local {
    process: Process,
    rest: Rest,
    folder: TempDir,
}

impl Local {
    fn start(arguments: impl FnOnce(&mut Command, &TempDir)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [rest] = free_ports(own_address());
        let mut command = jobmanager();
        command.args(["local", "--rest-addr", &rest]);
        command.env("TMPDIR", folder.path());
        arguments(&mut command, &folder);
        let process = Process::start(&mut command, &folder.path().join("output.log"));
        let rest = Rest::new(&format!("http://{rest}"));
        Local {
            process,
            rest,
            folder,
        }
    }

    /// The ids of the TaskManagers' processes, in the order in which they were started.
    fn taskmanagers(&self, at_least: usize) -> Vec<u32> {
        wait_for("the TaskManagers' process ids", || {
            let output = self.process.output();
            let lines = output
                .lines()
                .filter(|line| line.starts_with("taskmanager-"));
            let ids = lines.filter_map(|line| line.split_once(" is process ")?.1.parse().ok());
            let ids: Vec<u32> = ids.collect();
            (ids.len() >= at_least).then_some(ids)
        })
    }

    fn assert_ends_with(&mut self, code: i32) {
        let end = self.process.end();
        assert_eq!(end.code(), Some(code), "{}", self.process.output());
    }

    fn assert_nothing_runs(&self) {
        for pid in self.taskmanagers(2) {
            wait_for("the end of a TaskManager", || (!exists(pid)).then_some(()));
        }
    }

    fn the_job(&self) -> String {
        wait_for("the job's id", || {
            let output = self.process.output();
            let (_, rest) = output.split_once("JobID ")?;
            Some(rest.lines().next()?.to_owned())
        })
    }
}

#[test]
fn any_input_is_counted_and_nothing_is_left() {
    let mut text = String::new();
    let mut local = Local::start(|command, folder| {
        text = write_files(&folder.path().join("input"), 71, 300);
        command.arg("--input").arg(folder.path().join("input"));
        command.arg("--output").arg(folder.path().join("out"));
    });
    local.assert_ends_with(0);
    let output = local.process.output();
    assert!(
        output.contains("FINISHED") && output.contains("The most frequent"),
        "{output}"
    );
    assert_same(
        &committed(&local.folder.path().join("out")),
        &counted(&text),
    );
    local.assert_nothing_runs();
    let left = std::fs::read_dir(local.folder.path()).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["input", "out", "output.log"]);
}

#[test]
fn a_taskmanager_that_was_killed_comes_back_and_the_words_are_counted() {
    let mut local = Local::start(|_, _| {});
    let job = local.the_job();
    local.rest.wait_for_all_running(&job);
    local.rest.wait_for_new_checkpoint(&job);
    let victim = local.taskmanagers(2)[0];
    let kill = format!("kill -KILL {victim}");
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    local.taskmanagers(3);
    local.assert_ends_with(0);
    let output = local.process.output();
    assert!(
        output.contains("The most frequent") && output.contains("  the"),
        "{output}"
    );
    local.assert_nothing_runs();
}

#[test]
fn an_interrupted_cluster_leaves_nothing_running() {
    let mut local = Local::start(|_, _| {});
    let job = local.the_job();
    local.rest.wait_for_all_running(&job);
    send(Signal::Interrupt, local.process.pid());
    local.assert_ends_with(130);
    local.assert_nothing_runs();
}

#[test]
fn a_killed_cluster_leaves_no_orphans() {
    let mut local = Local::start(|_, _| {});
    let job = local.the_job();
    local.rest.wait_for_all_running(&job);
    local.process.kill();
    local.assert_nothing_runs();
}

#[test]
fn a_cluster_that_is_kept_takes_more_jobs() {
    let mut local = Local::start(|command, folder| {
        write_files(&folder.path().join("input"), 72, 10);
        command
            .arg("--keep")
            .arg("--input")
            .arg(folder.path().join("input"));
    });
    wait_for("the end of the first job", || {
        local.process.output().contains("stays up").then_some(())
    });
    let job = local.rest.submit(&crate::jobs::endless("second"));
    local.rest.wait_for_all_running(&job);
    send(Signal::Interrupt, local.process.pid());
    local.assert_ends_with(0);
    local.assert_nothing_runs();
}

#[test]
fn an_output_that_takes_no_more_ends_the_cluster_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let [rest] = free_ports(own_address());
    let mut command = jobmanager();
    command.args(["local", "--rest-addr", &rest]);
    command.env("TMPDIR", folder.path());
    let full = std::fs::File::options().write(true).open("/dev/full");
    let Output { status, stderr, .. } = command.stdout(full.unwrap()).output().unwrap();
    let words = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{words}");
    assert!(
        words.starts_with("error: standard output cannot"),
        "{words}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let Output { status, stderr, .. } = command.stdout(writer).output().unwrap();
    assert_eq!(status.code(), Some(141));
    assert_eq!(stderr, b"");
}

#[test]
fn an_input_that_cannot_be_read_ends_the_word_count_with_its_cause() {
    let mut local = Local::start(|command, folder| {
        let input = folder.path().join("input");
        std::fs::create_dir(&input).unwrap();
        std::fs::write(input.join("text"), "a b").unwrap();
        std::os::unix::fs::symlink("nowhere", input.join("gone")).unwrap();
        command.arg("--input").arg(input);
    });
    let code = local.process.end().code();
    let output = local.process.output();
    assert_eq!(code, Some(1), "{output}");
    let shown: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("FAILED TASK lines ("))
        .collect();
    assert_eq!(shown.len(), 1, "{output}");
    assert!(shown[0].contains("gone"), "{output}");
    assert!(output.contains("caused by lines ("), "{output}");
    local.assert_nothing_runs();
}

#[test]
fn a_job_that_only_restarts_is_interrupted_with_its_latest_failure() {
    let mut local = Local::start(|command, folder| {
        let mut job = crate::jobs::endless("restarts");
        job["vertices"][0]["operator"] = "file-source".into();
        job["vertices"][0]["config"] = serde_json::json!({"path": "/no/such/input"});
        let file = folder.path().join("job.json");
        std::fs::write(&file, job.to_string()).unwrap();
        command.arg(file);
    });
    wait_for("the failure", || {
        local
            .process
            .output()
            .contains("\nFAILED TASK ")
            .then_some(())
    });
    send(Signal::Interrupt, local.process.pid());
    assert_eq!(local.process.end().code(), Some(130));
    let output = local.process.output();
    let (_, last) = output
        .split_once("The latest failure of the job: ")
        .unwrap_or_else(|| panic!("{output}"));
    assert!(last.contains("/no/such/input"), "{output}");
    local.assert_nothing_runs();
}

#[test]
fn a_job_that_is_wrong_is_refused_before_anything_is_started() {
    for (text, words) in [
        ("{\"name\": ", "JSON"),
        ("{\"name\": 7, \"vertices\": []}", "vertices"),
    ] {
        let mut local = Local::start(|command, folder| {
            let file = folder.path().join("job.json");
            std::fs::write(&file, text).unwrap();
            command.arg(file);
        });
        assert_eq!(local.process.end().code(), Some(4));
        let output = local.process.output();
        assert!(output.starts_with("error: "), "{output}");
        assert!(output.contains(words), "{output}");
    }
}

#[test]
fn an_input_without_words_has_no_most_frequent_ones() {
    let mut local = Local::start(|command, folder| {
        let input = folder.path().join("input");
        std::fs::write(&input, "... \n").unwrap();
        command.arg("--input").arg(input);
    });
    assert_eq!(local.process.end().code(), Some(0));
    let output = local.process.output();
    assert!(output.contains("no words in the input"), "{output}");
    assert!(!output.contains("most frequent"), "{output}");
    assert!(output.contains("1 record,"), "{output}");
}
