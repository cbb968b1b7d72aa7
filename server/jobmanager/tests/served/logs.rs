//! The logs of TaskManagers that do not give theirs away, and why. `tests/` has those of real processes.

use crate::support::{Running, hello};
use jobmanager_proto::v1;
use serde_json::Value;
use tokio::net::TcpListener;

/// What is answered for the log of a TaskManager whose data address this is: the status and the words.
async fn refusal(address: &str, path: &str) -> (u16, String) {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let session = running.session().await;
    let v1::from_task_manager::Message::Hello(hello) = hello("tm-1", 1) else {
        unreachable!("a hello is one");
    };
    let data_address = match address {
        "" => running.bound.rpc.to_string(),
        address => address.to_owned(),
    };
    let hello = v1::Hello {
        data_address,
        ..hello
    };
    let hello = v1::from_task_manager::Message::Hello(hello);
    session.say(hello).await;
    let registered = |all: &Value| all["taskmanagers"][0]["id"] == "tm-1";
    running.until("/taskmanagers", registered).await;
    let path = format!("/taskmanagers/tm-1/{path}");
    let (status, answer) = running.request("GET", &path, "").await;
    running.stop().await;
    let words = answer["errors"][0].as_str().unwrap_or_default().to_owned();
    (status, words)
}

#[tokio::test]
async fn a_taskmanager_of_an_earlier_version_has_no_log_and_keeps_its_session() {
    // The JobManager's own port speaks gRPC, and has no such service either.
    let (status, words) = refusal("", "log").await;
    assert_eq!(status, 501, "{words}");
    assert!(words.contains("standard error"), "{words}");
    let (status, words) = refusal("", "logs").await;
    assert_eq!((status, words.as_str()), (200, ""), "an empty list");
}

#[tokio::test]
async fn a_taskmanager_that_cannot_be_reached_is_named_with_its_address() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    for path in ["log", "logs"] {
        let (status, words) = refusal(&address, path).await;
        assert_eq!(status, 502, "{words}");
        assert!(words.contains(&address), "{words}");
    }
}

#[tokio::test]
async fn without_tls_no_other_machine_is_asked() {
    let (status, words) = refusal("192.0.2.1:6122", "log").await;
    assert_eq!(status, 502, "{words}");
    assert!(words.contains("another machine"), "{words}");
}
