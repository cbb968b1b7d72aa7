//! On one machine, with a lock in the data folder.

use super::*;
use crate::cluster::jobmanager;
use crate::process::let_run;

fn folder() -> Shared {
    Shared {
        name: "FILE_LOCK",
        options: vec!["-Dhigh-availability.type=FILE_LOCK".to_owned()],
        checkpoints: None,
        environment: Vec::new(),
        #[cfg(feature = "services")]
        services: None,
    }
}

#[test]
fn a_killed_leader_is_followed_by_the_standby_of_its_folder_and_no_task_restarts() {
    a_killed_leader_is_followed_by_the_standby(folder());
}

#[test]
fn a_leader_that_is_asked_to_end_hands_its_folder_over_and_no_task_restarts() {
    a_leader_that_is_asked_to_end_hands_over(folder());
}

#[test]
fn a_leader_that_stands_still_keeps_its_folder_and_goes_on_when_it_wakes_up() {
    let pair = Pair::start(folder());
    let leader = pair.leader();
    pair.wait_for_standby(1 - leader);
    pair.members[leader].process.signal(Signal::Stop);
    let_run(Duration::from_secs(lease() + 1));
    pair.wait_for_standby(1 - leader);
    pair.members[leader].process.signal(Signal::Continue);
    pair.assert_goes_on(leader);
    pair.finish(leader);
}

#[test]
fn a_client_that_knows_both_follows_its_job_from_one_leader_to_the_next() {
    let mut pair = Pair::start(folder());
    let first = pair.leader();
    let file = pair.path("more.json");
    let (input, out, copy) = (pair.path("input"), pair.path("out-2"), pair.path("copy-2"));
    let mut job = WordJob::new(&input, &out, &copy);
    (job.parallelism, job.rate) = (1, Some(4 * RATE));
    std::fs::write(&file, job.json().to_string()).unwrap();
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
