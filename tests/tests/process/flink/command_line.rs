//! Flink's command line: what it is told to do is done, and what cannot be done is told with our reasons.

use super::home;
use crate::cluster::Cluster;
use crate::jobs::endless;
use crate::process::{Process, wait_for};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Flink's script `flink` starts Java with, as far as it matters.
const JAVA: [&str; 5] = [
    "-Xmx256m",
    "-XX:TieredStopAtLevel=1",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
];
const CLASS: &str = "org.apache.flink.client.cli.CliFrontend";

/// Flink's command line beside a cluster of ours.
struct Flink {
    home: PathBuf,
    cluster: Cluster,
}

impl Flink {
    /// With one TaskManager.
    fn start(home: PathBuf) -> Self {
        let cluster = Cluster::start(1, 2, &[]);
        let conf = cluster.path("conf");
        std::fs::create_dir(&conf).unwrap();
        let address = cluster.rest.address.strip_prefix("http://").unwrap();
        let (host, port) = address.split_once(':').unwrap();
        let options = format!("rest.address: {host}\nrest.port: {port}\n");
        std::fs::write(conf.join("config.yaml"), options).unwrap();
        Flink { home, cluster }
    }

    /// Runs a command to its end: whether it succeeded, and what it wrote.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let log = self.cluster.path("flink.log");
        let _ = std::fs::remove_file(&log);
        let mut java = Command::new("java");
        java.args(JAVA)
            .arg("-cp")
            .arg(self.home.join("lib/*"))
            .arg(CLASS)
            .args(arguments)
            .env("FLINK_CONF_DIR", self.cluster.path("conf"));
        let mut java = Process::start(&mut java, &log);
        let status = java.end();
        (status.success(), java.output())
    }

    /// The same, and it has to succeed.
    fn done(&self, arguments: &[&str]) -> String {
        let (success, output) = self.run(arguments);
        assert!(success, "{arguments:?}: {output}");
        output
    }

    /// The same, and it has to fail.
    fn refused(&self, arguments: &[&str]) -> String {
        let (success, output) = self.run(arguments);
        assert!(!success, "{arguments:?}: {output}");
        output
    }

    fn submit(&self, name: &str) -> String {
        let job = self.cluster.rest.submit(&endless(name));
        self.cluster.rest.wait_for_all_running(&job);
        job
    }
}

/// The folder of the savepoint that a command says it has taken.
fn taken(output: &str) -> String {
    let (_, rest) = output.split_once("Path: file://").expect(output);
    let path = rest.lines().next().unwrap();
    assert!(Path::new(path).join("_metadata").exists(), "{output}");
    path.to_owned()
}

#[test]
fn flinks_command_line_does_what_it_is_told() {
    let Some(home) = home() else {
        return;
    };
    let flink = Flink::start(home);
    let savepoints = flink.cluster.path("savepoints");
    let directory = savepoints.to_str().unwrap();
    let job = flink.submit("flinks");

    let listed = flink.done(&["list", "-a"]);
    assert!(
        listed.contains(&format!("{job} : flinks (RUNNING)")),
        "{listed}"
    );

    let first = taken(&flink.done(&["savepoint", &job, directory]));
    let asked = flink.done(&["savepoint", "-detached", &job, directory]);
    let (_, trigger) = asked.split_once("triggerId: ").expect(&asked);
    let path = format!("/jobs/{job}/savepoints/{}", trigger.trim());
    flink.cluster.rest.outcome(&path).unwrap();

    let before = flink.cluster.rest.latest_checkpoint(&job);
    let told = flink.done(&["checkpoint", &job]);
    let (_, rest) = told.split_once("Checkpoint ").expect(&told);
    let id: u64 = rest.split(' ').next().unwrap().parse().unwrap();
    assert!(id > before, "{told}");

    flink.done(&["savepoint", "-d", &first]);
    assert!(!Path::new(&first).exists());

    taken(&flink.done(&["stop", "--savepointPath", directory, &job]));
    assert_eq!(flink.cluster.rest.state(&job), "FINISHED");

    let job = flink.submit("canceled");
    flink.done(&["cancel", &job]);
    flink.cluster.rest.wait_for_state(&job, "CANCELED");
    let listed = flink.done(&["list", "-a"]);
    assert!(listed.contains("flinks (FINISHED)"), "{listed}");
    assert!(listed.contains("canceled (CANCELED)"), "{listed}");
}

#[test]
fn flinks_command_line_tells_why_it_cannot() {
    let Some(home) = home() else {
        return;
    };
    let flink = Flink::start(home);
    let nobody = "00000000000000000000000000000001";
    for command in [&["cancel", nobody][..], &["savepoint", nobody, "/tmp"]] {
        let words = flink.refused(command);
        assert!(words.contains("not found"), "{words}");
    }
    let words = flink.refused(&["savepoint", "-d", "/nosuch/savepoint"]);
    assert!(words.contains("holds no savepoint"), "{words}");
    // Nothing can be taken of a job whose tasks do not run, and whoever waits for it hears so.
    let mut waits = endless("waits");
    for vertex in waits["vertices"].as_array_mut().unwrap() {
        vertex["parallelism"] = 3.into();
    }
    waits["configuration"]["execution.checkpointing.timeout"] = "1 s".into();
    let job = flink.cluster.rest.submit(&waits);
    wait_for("the job to wait", || {
        (flink.cluster.rest.state(&job) != "INITIALIZING").then_some(())
    });
    let directory = flink.cluster.path("savepoints");
    let words = flink.refused(&["savepoint", &job, directory.to_str().unwrap()]);
    assert!(words.contains("CheckpointException"), "{words}");
}
