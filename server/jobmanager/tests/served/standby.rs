//! Several JobManagers that share a folder: what the one that stands by says to clients and TaskManagers.

use crate::support::Running;
use jobmanager_proto::v1;
use jobmanager_proto::v1::job_manager_client::JobManagerClient;
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

const BY_LOCK: &str = "high-availability.type=file-lock";

async fn start(folder: &Path) -> Running {
    Running::start(folder, &[BY_LOCK]).await
}

/// Waits until this one answers with this status.
async fn until_status(server: &Running, wanted: u16) {
    for _ in 0..20_000 {
        let (status, _) = server.request("GET", "/overview", "").await;
        if status == wanted {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never answers with {wanted}");
}

/// How this one answers who wants a session, or to know of a leader later than an epoch.
async fn call(rpc: String, later_than: Option<u64>) -> Status {
    let mut client = JobManagerClient::connect(rpc).await.unwrap();
    let (_open, messages) = tokio::sync::mpsc::channel::<v1::FromTaskManager>(1);
    let mut request = Request::new(ReceiverStream::new(messages));
    if let Some(epoch) = later_than {
        let metadata = request.metadata_mut();
        metadata.insert("jobmanager-later-than", epoch.into());
    }
    client.session(request).await.map(drop).unwrap_err()
}

fn rpc(server: &Running) -> String {
    format!("http://{}", server.bound.rpc)
}

/// The leader that an answer names, and its epoch.
fn named(status: &Status) -> (String, u64) {
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let text = |key| status.metadata().get(key).unwrap().to_str().unwrap();
    let epoch = text("jobmanager-epoch").parse().unwrap();
    (text("jobmanager-leader").to_owned(), epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_sends_everybody_to_the_leader_and_leads_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path()).await;
    until_status(&first, 200).await;
    let second = start(folder.path()).await;
    until_status(&second, 307).await;

    let leader = first.bound.rest;
    let words = format!("the one at {leader} in epoch 1 leads");
    for (method, path) in [
        ("GET", "/jobs/overview"),
        ("POST", "/v1/jobs"),
        ("GET", "/events"),
        ("GET", "/openapi.json"),
        ("GET", "/"),
    ] {
        let (status, answer) = second.request(method, path, "").await;
        assert_eq!(status, 307, "{answer}");
        assert!(
            answer["errors"][0].as_str().unwrap().contains(&words),
            "{answer}"
        );
    }
    let status = call(rpc(&second), None).await;
    assert_eq!(named(&status), (first.bound.rpc.to_string(), 1));

    first.stop().await;
    until_status(&second, 200).await;
    let status = call(rpc(&second), Some(1)).await;
    assert_eq!(named(&status), (second.bound.rpc.to_string(), 2));
    let led = |answer: &Value| answer["known"][0]["epoch"] == 2;
    let answer = second.until("/leader", led).await;
    assert_eq!(answer["epoch"], 2);
    let before = &answer["known"][1];
    assert_eq!(before["epoch"], 1, "{answer}");
    assert_eq!(before["address"], leader.to_string());
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_hears_of_a_later_leader_and_of_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path()).await;
    until_status(&first, 200).await;
    let second = start(folder.path()).await;
    until_status(&second, 307).await;
    let watch = tokio::spawn(call(rpc(&second), Some(1)));
    let earlier = tokio::spawn(call(rpc(&second), Some(0)));
    assert_eq!(named(&earlier.await.unwrap()).1, 1);
    assert!(!watch.is_finished());
    first.stop().await;
    let (leader, epoch) = named(&watch.await.unwrap());
    assert_eq!((leader, epoch), (second.bound.rpc.to_string(), 2));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nobody_leads_clients_are_told_so_and_taskmanagers_wait() {
    let folder = tempfile::tempdir().unwrap();
    // Somebody who never says where it answers.
    let lock = File::create(folder.path().join("election.lock")).unwrap();
    lock.lock().unwrap();
    let server = start(folder.path()).await;
    let (status, answer) = server.request("GET", "/jobs", "").await;
    assert_eq!(status, 503);
    let words = answer["errors"][0].as_str().unwrap();
    assert!(words.contains("nobody is known to lead"), "{words}");
    let waiting = tokio::spawn(call(rpc(&server), None));
    until_status(&server, 503).await;
    assert!(!waiting.is_finished());
    lock.unlock().unwrap();
    let (leader, epoch) = named(&waiting.await.unwrap());
    assert_eq!((leader, epoch), (server.bound.rpc.to_string(), 1));
    server.stop().await;
}
