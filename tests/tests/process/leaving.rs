//! TaskManagers that are told to end: their tasks go on elsewhere, and nothing has failed.

use crate::process::{Signal, wait_for};
use crate::run::{Run, Setting, USUAL};
use serde_json::Value;

impl Run {
    fn taskmanager(&self, number: usize) -> Option<Value> {
        let all = self.cluster.rest.get("/taskmanagers");
        let all = all["taskmanagers"].as_array().unwrap();
        let name = format!("tm-{number}");
        all.iter().find(|tm| tm["id"] == *name).cloned()
    }

    fn causes(&self) -> String {
        let why = self.cluster.rest.get(&format!("/jobs/{}/why", self.job));
        why["causes"].to_string()
    }
}

#[test]
fn a_rolling_restart_of_all_taskmanagers_is_no_failure() {
    let mut run = Run::start(&Setting { seed: 6, ..USUAL });
    for number in 0..3 {
        run.assert_still_reading();
        let leaving = &mut run.cluster.taskmanagers[number];
        leaving.signal(Signal::Terminate);
        assert!(leaving.end().success());
        let said = leaving.output();
        assert!(!said.contains("the time to leave is over"), "{said}");
        run.cluster.restart_taskmanager(number);
        run.cluster.wait_for_taskmanagers(3);
        run.wait_for_progress();
    }
    let job = format!("/jobs/{}", run.job);
    let (details, failures) = (
        run.cluster.rest.get(&job),
        run.cluster.rest.get(&format!("{job}/exceptions")),
    );
    assert_eq!(details["restarts"], 0, "{details}");
    assert_eq!(failures["root-exception"], Value::Null, "{failures}");
    assert!(run.cluster.rest.checkpoint_count(&run.job, "restored") >= 1);
    run.finish();
}

#[test]
fn what_nobody_has_room_for_goes_on_until_a_second_signal() {
    let mut run = Run::start(&Setting {
        seed: 7,
        taskmanagers: 2,
        ..USUAL
    });
    run.cluster.taskmanagers[0].signal(Signal::Terminate);
    wait_for("the TaskManager to be blocked", || {
        (run.taskmanager(0)?["blocked"] == true).then_some(())
    });
    wait_for("the reason why it stays", || {
        run.causes().contains("no-room").then_some(())
    });
    run.cluster.rest.wait_for_new_checkpoint(&run.job);
    let leaving = &mut run.cluster.taskmanagers[0];
    leaving.signal(Signal::Terminate);
    assert!(leaving.end().success());
    wait_for("the reason why it waits", || {
        run.causes().contains("waits-for-slots").then_some(())
    });
    run.cluster.restart_taskmanager(0);
    run.wait_for_progress();
    let details = run.cluster.rest.get(&format!("/jobs/{}", run.job));
    assert_eq!(details["restarts"], 1, "{details}");
    run.finish();
}
