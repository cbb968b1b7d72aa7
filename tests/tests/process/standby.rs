//! Two JobManagers of which one leads, and what happens to running jobs when it does not any more: nothing.
//! No task is started a second time, and the output is that of a run that nothing disturbs.

use crate::cluster::{QUICK, free_ports, jobmanager, own_address, taskmanager};
use crate::jobs::WordJob;
use crate::process::{Process, Signal, let_run, wait_for};
use crate::rest::Rest;
use crate::text::{assert_same, committed, counted, words, write_files};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// How fast each of the four readers of the job reads, in lines per second, and for how many seconds.
const RATE: u64 = 60;
const SECONDS: u64 = 8;
/// The tasks of the job: five vertices of parallelism 4, and one of 2.
const TASKS: usize = 22;
/// A lease that ends soon.
const LEASE: [(&str, &str); 3] = [
    ("high-availability.leader-election.lease-duration", "1 s"),
    ("high-availability.leader-election.renew-deadline", "800 ms"),
    ("high-availability.leader-election.retry-period", "200 ms"),
];

/// How the leader is elected, and where the records are.
enum Shared {
    /// A data folder.
    Folder,
    /// A database.
    #[cfg(feature = "services")]
    Database(jobmanager_tests::services::postgres::Postgres),
}

/// One of the two JobManagers.
struct Member {
    rest: Rest,
    rpc: String,
    process: Process,
}

/// Two JobManagers and two TaskManagers, and a word count on them.
struct Pair {
    members: Vec<Member>,
    taskmanagers: Vec<Process>,
    job: String,
    text: String,
    shared: Shared,
    host: Ipv4Addr,
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
            host: own_address(),
            folder: tempfile::tempdir().unwrap(),
        };
        for number in 0..2 {
            let [rest, rpc] = free_ports(pair.host);
            let process = pair.start_jobmanager(number, &rest, &rpc);
            let rest = Rest::new(&format!("http://{rest}"));
            pair.members.push(Member { rest, rpc, process });
        }
        for number in 0..2 {
            let taskmanager = pair.start_taskmanager(number);
            pair.taskmanagers.push(taskmanager);
        }
        let leader = pair.leader();
        pair.wait_for_taskmanagers(leader);
        let lines = SECONDS * 4 * RATE;
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
        let mut command = jobmanager();
        command.args(["serve", "--rest-addr", rest, "--rpc-addr", rpc]);
        command.arg("--data-dir").arg(self.path("data"));
        command
            .arg("--checkpoint-dir")
            .arg(self.path("checkpoints"));
        for (key, value) in QUICK.iter().chain(&LEASE) {
            command.arg(format!("-D{key}={value}"));
        }
        match &self.shared {
            Shared::Folder => {
                command.arg("-Dhigh-availability.type=FILE_LOCK");
            }
            #[cfg(feature = "services")]
            Shared::Database(server) => {
                command.args(["--store", &server.url("")]);
                command.arg("-Dhigh-availability.type=POSTGRES");
            }
        }
        Process::start(&mut command, &self.path(&format!("jm-{number}.log")))
    }

    fn start_taskmanager(&self, number: usize) -> Process {
        let rpcs: Vec<&str> = self.members.iter().map(|one| one.rpc.as_str()).collect();
        let mut command = taskmanager();
        command
            .args(["--jobmanager", &rpcs.join(",")])
            .args(["--id", &format!("tm-{number}"), "--slots", "2"])
            .args(["--bind-addr", &format!("{}:0", self.host)])
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
            (overview["taskmanagers"] == 2).then_some(())
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
        rest.wait_for_state(&self.job, "FINISHED");
        assert_same(&committed(&self.path("out")), &counted(&self.text));
        let mut all: Vec<_> = words(&self.text).collect();
        all.sort();
        assert_same(&committed(&self.path("copy")), &all);
        assert_eq!(rest.get(&format!("/jobs/{}", self.job))["restarts"], 0);
        self.assert_started_once();
    }
}

fn a_killed_leader_is_followed_by_the_standby(shared: Shared) {
    let mut pair = Pair::start(shared);
    let first = pair.leader();
    pair.wait_for_standby(1 - first);
    pair.members[first].process.kill();
    let second = pair.leader();
    assert_eq!(second, 1 - first);
    pair.assert_goes_on(second);

    // And back, to one that has come later.
    pair.start_again(first);
    pair.wait_for_standby(first);
    pair.members[second].process.kill();
    assert_eq!(pair.leader(), first);
    pair.assert_goes_on(first);
    pair.finish(first);
}

fn a_leader_that_is_asked_to_end_hands_over(shared: Shared) {
    let mut pair = Pair::start(shared);
    let first = pair.leader();
    pair.wait_for_standby(1 - first);
    pair.members[first].process.signal(Signal::Terminate);
    let second = wait_for("the standby to lead", || {
        pair.leads(1 - first).then_some(1 - first)
    });
    assert!(pair.members[first].process.end().success());
    pair.assert_goes_on(second);
    pair.finish(second);
}

#[test]
fn a_killed_leader_is_followed_by_the_standby_of_its_folder_and_no_task_restarts() {
    a_killed_leader_is_followed_by_the_standby(Shared::Folder);
}

#[test]
fn a_leader_that_is_asked_to_end_hands_its_folder_over_and_no_task_restarts() {
    a_leader_that_is_asked_to_end_hands_over(Shared::Folder);
}

#[test]
fn a_leader_that_stands_still_keeps_its_folder_and_goes_on_when_it_wakes_up() {
    let pair = Pair::start(Shared::Folder);
    let leader = pair.leader();
    pair.wait_for_standby(1 - leader);
    pair.members[leader].process.signal(Signal::Stop);
    let_run(Duration::from_millis(1_500));
    pair.wait_for_standby(1 - leader);
    pair.members[leader].process.signal(Signal::Continue);
    pair.assert_goes_on(leader);
    pair.finish(leader);
}

#[test]
fn a_client_that_knows_both_follows_its_job_from_one_leader_to_the_next() {
    let mut pair = Pair::start(Shared::Folder);
    let first = pair.leader();
    let file = pair.path("more.json");
    let (input, out, copy) = (pair.path("input"), pair.path("out-2"), pair.path("copy-2"));
    let mut job = WordJob::new(&input, &out, &copy);
    (job.parallelism, job.rate) = (1, Some(4 * RATE));
    std::fs::write(&file, job.json().to_string()).unwrap();
    pair.taskmanagers.push(pair.start_taskmanager(2));
    // The standby first, which sends everybody on.
    let both = [1 - first, first].map(|number| pair.members[number].rest.address.clone());
    let mut run = jobmanager();
    run.arg("run")
        .arg(&file)
        .args(["--jobmanager", &both.join(",")]);
    let mut run = Process::start(&mut run, &pair.path("run.log"));
    wait_for("the client to follow its job", || {
        run.output().contains("RUNNING").then_some(())
    });
    pair.members[first].process.kill();
    assert_eq!(run.end().code(), Some(0), "{}", run.output());
    assert_same(&committed(&out), &counted(&pair.text));
}

#[cfg(feature = "services")]
mod with_postgres {
    //! The same with a database, and what only a lease can do.

    use super::*;
    use jobmanager_tests::services::postgres::Postgres;

    fn database() -> Shared {
        Shared::Database(Postgres::start())
    }

    #[test]
    #[ignore = "needs PostgreSQL: run tests/run"]
    fn a_killed_leader_is_followed_by_the_standby_of_its_database_and_no_task_restarts() {
        a_killed_leader_is_followed_by_the_standby(database());
    }

    #[test]
    #[ignore = "needs PostgreSQL: run tests/run"]
    fn a_leader_that_is_asked_to_end_hands_its_database_over_and_no_task_restarts() {
        a_leader_that_is_asked_to_end_hands_over(database());
    }

    #[test]
    #[ignore = "needs PostgreSQL: run tests/run"]
    fn a_leader_that_sleeps_beyond_its_lease_stands_by_when_it_wakes_up_and_does_no_harm() {
        let pair = Pair::start(database());
        let first = pair.leader();
        pair.wait_for_standby(1 - first);
        pair.members[first].process.signal(Signal::Stop);
        let second = wait_for("the standby to lead", || {
            pair.leads(1 - first).then_some(1 - first)
        });
        pair.assert_goes_on(second);
        pair.members[first].process.signal(Signal::Continue);
        pair.wait_for_standby(first);
        let log = pair.members[first].process.output();
        assert!(log.contains("leading no more; standing by"), "{log}");
        pair.assert_goes_on(second);
        pair.finish(second);
    }

    #[test]
    #[ignore = "needs PostgreSQL: run tests/run"]
    fn a_leader_that_finds_a_later_epoch_stands_by_and_one_of_the_two_leads_again() {
        let pair = Pair::start(database());
        let first = pair.leader();
        let Shared::Database(server) = &pair.shared else {
            unreachable!("it was just given");
        };
        server.sql("UPDATE jobmanager.epochs SET epoch = epoch + 1");
        wait_for("the leader to stand by", || {
            let log = pair.members[first].process.output();
            log.contains("leading no more; standing by").then_some(())
        });
        let next = pair.leader();
        pair.assert_goes_on(next);
        pair.finish(next);
    }

    #[test]
    #[ignore = "needs PostgreSQL: run tests/run"]
    fn a_leader_without_its_database_stands_by_and_one_leads_when_it_is_back() {
        let pair = Pair::start(database());
        let Shared::Database(server) = &pair.shared else {
            unreachable!("it was just given");
        };
        server.stop();
        wait_for("nobody to lead", || {
            (0..2).all(|number| !pair.leads(number)).then_some(())
        });
        server.start_again();
        let leader = pair.leader();
        pair.assert_goes_on(leader);
        pair.finish(leader);
    }
}
