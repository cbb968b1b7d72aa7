//! Two JobManagers of which one leads, and what happens to running jobs when it does not any more: nothing.
//! No task is started a second time, and the output is that of a run that nothing disturbs.
//!
//! The environment variable `HAND_OVERS` says how often a leader ends in each test, and `LEASE_SECONDS` how long a
//! lease is. How long nobody led is printed.

mod folder;
#[cfg(feature = "services")]
mod services;

use crate::cluster::{QUICK, free_ports, own_address, serve, taskmanager};
use crate::jobs::WordJob;
use crate::process::{Process, Signal, wait_for, wait_longer};
use crate::rest::Rest;
use crate::text::{assert_same, committed, counted, words, write_files};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How fast each of the four readers of the job reads, in lines per second.
const RATE: u64 = 60;
/// The tasks of the job: five vertices of parallelism 4, and one of 2.
const TASKS: usize = 22;
const TASKMANAGERS: usize = 3;

/// How often a leader ends in one test.
fn hand_overs() -> u64 {
    number_from("HAND_OVERS").unwrap_or(2)
}

/// How long a lease is. Seconds. A shorter one may end on a machine that is busy with other things.
fn lease() -> u64 {
    number_from("LEASE_SECONDS").unwrap_or(4)
}

/// How long a job takes by itself: longer than all hand-overs.
fn seconds() -> u64 {
    4 + hand_overs() * (3 + lease())
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number is expected"))
}

/// How the leader is elected, and where the records are.
struct Shared {
    /// The name of that, for people.
    name: &'static str,
    /// What a JobManager has to be told.
    options: Vec<String>,
    /// Where the checkpoints are, if not in a folder.
    checkpoints: Option<String>,
    /// What it has to find in its environment, and a TaskManager, too.
    environment: Vec<(&'static str, String)>,
    /// What runs for it.
    #[cfg(feature = "services")]
    services: Option<services::Services>,
}

/// One of the two JobManagers.
struct Member {
    rest: Rest,
    rpc: String,
    process: Process,
}

/// Two JobManagers and their TaskManagers, and a word count on them.
struct Pair {
    members: Vec<Member>,
    taskmanagers: Vec<Process>,
    job: String,
    text: String,
    shared: Shared,
    folder: TempDir,
}

impl Pair {
    /// Starts everything, and waits until the job has completed a checkpoint.
    fn start(shared: Shared) -> Pair {
        let mut pair = Pair {
            members: Vec::new(),
            taskmanagers: Vec::new(),
            job: String::new(),
            text: String::new(),
            shared,
            folder: tempfile::tempdir().unwrap(),
        };
        for number in 0..2 {
            let [rest, rpc] = free_ports(own_address());
            let process = pair.start_jobmanager(number, &rest, &rpc);
            let rest = Rest::new(&format!("http://{rest}"));
            pair.members.push(Member { rest, rpc, process });
        }
        for number in 0..TASKMANAGERS {
            let taskmanager = pair.start_taskmanager(number);
            pair.taskmanagers.push(taskmanager);
        }
        let leader = pair.leader();
        pair.wait_for_taskmanagers(leader);
        let lines = seconds() * 4 * RATE;
        pair.text = write_files(&pair.path("input"), 71, lines);
        let (input, out, copy) = (pair.path("input"), pair.path("out"), pair.path("copy"));
        let mut job = WordJob::new(&input, &out, &copy);
        job.rate = Some(RATE);
        let rest = &pair.members[leader].rest;
        pair.job = rest.submit(&job.json());
        rest.wait_for_all_running(&pair.job);
        rest.wait_for_new_checkpoint(&pair.job);
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start_jobmanager(&self, number: usize, rest: &str, rpc: &str) -> Process {
        let mut command = serve(rest, rpc, &self.path("data"));
        let folder = self.path("checkpoints").display().to_string();
        let checkpoints = self.shared.checkpoints.as_ref().unwrap_or(&folder);
        command.args(["--checkpoint-dir", checkpoints]);
        for (key, value) in QUICK {
            command.arg(format!("-D{key}={value}"));
        }
        let times = [
            ("lease-duration", 1_000),
            ("renew-deadline", 800),
            ("retry-period", 200),
        ];
        for (key, of_a_second) in times {
            let time = of_a_second * lease();
            command.arg(format!(
                "-Dhigh-availability.leader-election.{key}={time} ms"
            ));
        }
        command.args(&self.shared.options);
        command.envs(self.shared.environment.clone());
        Process::start(&mut command, &self.path(&format!("jm-{number}.log")))
    }

    fn start_taskmanager(&self, number: usize) -> Process {
        let rpcs: Vec<&str> = self.members.iter().map(|one| one.rpc.as_str()).collect();
        let mut command = taskmanager();
        command
            .args(["--jobmanager", &rpcs.join(",")])
            .args(["--id", &format!("tm-{number}"), "--slots", "2"])
            .args(["--bind-addr", &format!("{}:0", own_address())])
            .envs(self.shared.environment.clone())
            // Every start of a task is in the log.
            .env("RUST_LOG", "info,taskmanager=debug");
        Process::start(&mut command, &self.path(&format!("tm-{number}.log")))
    }

    /// Starts a JobManager that has ended, at its addresses.
    fn start_again(&mut self, number: usize) {
        let Member { rest, rpc, .. } = &self.members[number];
        let address = rest.address.strip_prefix("http://").unwrap();
        self.members[number].process = self.start_jobmanager(number, address, rpc);
    }

    /// The number of the JobManager that leads.
    fn leader(&self) -> usize {
        wait_for("somebody to lead", || {
            (0..2).find(|number| self.leads(*number))
        })
    }

    fn leads(&self, number: usize) -> bool {
        let answer = self.members[number].rest.ask("GET", "/overview", b"");
        answer.is_some_and(|(status, _)| status == 200)
    }

    /// Waits until this one stands by, and says that the other one leads.
    fn wait_for_standby(&self, number: usize) {
        wait_for("a standby that knows its leader", || {
            let answer = self.members[number].rest.ask("GET", "/overview", b"");
            answer.filter(|(status, _)| *status == 307)
        });
        let target = self.members[number].rest.redirect("/jobs?a=b");
        let leader = &self.members[1 - number].rest.address;
        assert_eq!(target, format!("{leader}/jobs?a=b"));
    }

    fn wait_for_taskmanagers(&self, leader: usize) {
        wait_for("the TaskManagers to register", || {
            let overview = self.members[leader].rest.get("/overview");
            (overview["taskmanagers"] == TASKMANAGERS).then_some(())
        });
    }

    /// Waits until the job runs as before, under this leader, and that nothing was started anew for that.
    fn assert_goes_on(&self, leader: usize) {
        let rest = &self.members[leader].rest;
        self.wait_for_taskmanagers(leader);
        rest.wait_for_all_running(&self.job);
        rest.wait_for_new_checkpoint(&self.job);
        let state = rest.state(&self.job);
        assert_eq!(state, "RUNNING", "the input is too short for this test");
        self.assert_started_once();
    }

    fn assert_started_once(&self) {
        let logs = self.taskmanagers.iter().map(Process::output);
        let starts: usize = logs.map(|log| log.matches("task starts").count()).sum();
        assert_eq!(starts, TASKS, "tasks were started again");
    }

    /// Waits for the end of the job, and compares what it has written.
    fn finish(&self, leader: usize) {
        let rest = &self.members[leader].rest;
        // Most of its input may be left.
        wait_longer(Duration::from_secs(seconds()), "the input to end", || {
            (rest.state(&self.job) != "RUNNING").then_some(())
        });
        rest.wait_for_state(&self.job, "FINISHED");
        assert_same(&committed(&self.path("out")), &counted(&self.text));
        let mut all: Vec<_> = words(&self.text).collect();
        all.sort();
        assert_same(&committed(&self.path("copy")), &all);
        assert_eq!(rest.get(&format!("/jobs/{}", self.job))["restarts"], 0);
        self.assert_started_once();
    }
}

/// Lets leaders end, or stand still, and come back when the other one leads; says how long nobody did.
fn hand_over(
    shared: Shared,
    what: &str,
    end: impl Fn(&mut Pair, usize),
    back: impl Fn(&mut Pair, usize),
) -> Pair {
    let mut pair = Pair::start(shared);
    let mut without = Vec::new();
    for _ in 0..hand_overs() {
        let first = pair.leader();
        pair.wait_for_standby(1 - first);
        let ended = Instant::now();
        end(&mut pair, first);
        wait_for("the standby to lead", || {
            pair.leads(1 - first).then_some(())
        });
        without.push(ended.elapsed());
        pair.assert_goes_on(1 - first);
        // The other way round, the next time.
        back(&mut pair, first);
        pair.wait_for_standby(first);
    }
    without.sort();
    println!(
        "{}, a lease of {} s, {what}: nobody led for {:.2?}, at most {:.2?} of {}",
        pair.shared.name,
        lease(),
        without[(without.len() - 1) / 2],
        without[without.len() - 1],
        without.len()
    );
    let leader = pair.leader();
    pair.finish(leader);
    pair
}

fn a_killed_leader_is_followed_by_the_standby(shared: Shared) {
    hand_over(
        shared,
        "SIGKILL",
        |pair, leader| pair.members[leader].process.kill(),
        Pair::start_again,
    );
}

fn a_leader_that_is_asked_to_end_hands_over(shared: Shared) {
    hand_over(
        shared,
        "SIGTERM",
        |pair, leader| pair.members[leader].process.signal(Signal::Terminate),
        |pair, ended| {
            assert!(pair.members[ended].process.end().success());
            pair.start_again(ended);
        },
    );
}
