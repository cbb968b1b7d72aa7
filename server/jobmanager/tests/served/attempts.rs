//! The attempts of subtasks, and the leader, as a page asks for them.

use crate::events::{cancel, obey, start, submit};
use serde_json::{Value, json};

/// The attempts of all subtasks in an answer.
fn attempts(answer: &Value) -> Vec<&Value> {
    let subtasks = answer["subtasks"].as_array().unwrap().iter();
    let attempts = subtasks.flat_map(|subtask| subtask["attempts"].as_array().unwrap());
    attempts.collect()
}

/// Whether there are so many, and all of them came into this state last.
fn all_are(answer: &Value, count: usize, state: &str) -> bool {
    let attempts = attempts(answer);
    let last = |attempt: &&Value| attempt["states"].as_array().unwrap().last().cloned();
    let are = |attempt: &&Value| last(attempt).is_some_and(|last| last["state"] == state);
    attempts.len() == count && attempts.iter().all(are)
}

#[tokio::test]
async fn the_attempts_of_subtasks_are_told_with_their_states_and_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let obeying = tokio::spawn(obey(running.taskmanager("tm-1", 4).await));
    let job = submit(&running, "").await;
    let path = format!("/jobs/{job}/attempts");
    let count = running.get(&format!("/jobs/{job}")).await["vertices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vertex| vertex["parallelism"].as_u64().unwrap())
        .sum::<u64>();
    let count = usize::try_from(count).unwrap();
    let answer = running
        .until(&path, |answer| all_are(answer, count, "RUNNING"))
        .await;
    assert_eq!(answer["too-many"], false);
    for attempt in attempts(&answer) {
        assert_eq!(attempt["taskmanager-id"], "tm-1");
        assert_eq!(
            (&attempt["epoch"], &attempt["older"]),
            (&json!(1), &json!(false))
        );
        assert_eq!(attempt["end-time"], -1);
        let states = attempt["states"].as_array().unwrap().iter();
        let mut times = vec![answer["since"].as_u64().unwrap()];
        times.extend(states.map(|state| state["timestamp"].as_u64().unwrap()));
        times.push(answer["now"].as_u64().unwrap());
        assert!(times.is_sorted(), "{times:?}");
    }
    let part = running.get(&format!("{path}?offset=1&limit=1")).await;
    assert_eq!(part["subtasks"], json!([answer["subtasks"][1]]));

    cancel(&running, &job).await;
    let ended = |attempt: &&Value| attempt["end-time"].as_u64().is_some();
    let answer = running
        .until(&path, |answer| attempts(answer).iter().all(ended))
        .await;
    assert!(all_are(&answer, count, "CANCELED"), "{answer}");
    let unknown = "/jobs/00000000000000000000000000000001/attempts";
    let (status, refused) = running.request("GET", unknown, "").await;
    assert_eq!(status, 404, "{refused}");
    obeying.abort();
    running.stop().await;
}

#[tokio::test]
async fn who_leads_alone_knows_of_nobody_before_and_has_adopted_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let answer = running.get("/leader").await;
    assert_eq!(answer["epoch"], 1);
    assert_eq!(answer["address"], running.bound.rest.to_string());
    assert_eq!(
        (&answer["adopted"], &answer["known"]),
        (&json!([]), &json!([]))
    );
    assert!(answer["since"].as_u64() <= answer["now"].as_u64());
    running.stop().await;
}
