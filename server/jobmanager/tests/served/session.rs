//! The gRPC side of a JobManager that runs in this process: what a TaskManager may do wrong, and that
//! nobody else is disturbed by it.

use crate::support::{Running, Session, hello};
use jobmanager_proto::v1;
use jobmanager_proto::v1::from_task_manager::Message;
use jobmanager_proto::v1::to_task_manager::Message as Heard;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

/// A TaskManager that has to stay registered through whatever the others do.
async fn bystander(running: &Running) -> Session {
    let mut session = running.taskmanager("bystander", 1).await;
    assert!(matches!(session.hear().await, Ok(Heard::Welcome(_))));
    session
}

async fn is_undisturbed(running: &Running) {
    let all = running.get("/taskmanagers").await;
    let names: Vec<&Value> = all["taskmanagers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tm| &tm["id"])
        .collect();
    assert_eq!(names, ["bystander"]);
}

#[tokio::test]
async fn a_session_that_does_not_begin_with_hello_ends_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let _bystander = bystander(&running).await;
    let mut session = running.session().await;
    session
        .say(Message::Heartbeat(v1::HeartbeatAnswer { sequence: 1 }))
        .await;
    let status = session.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("Hello"), "{status}");
    is_undisturbed(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn a_hello_that_cannot_be_is_refused_by_the_name_of_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let _bystander = bystander(&running).await;
    let mut session = running.taskmanager("greedy", 0).await;
    let status = session.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("slots"), "{status}");
    is_undisturbed(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn a_second_hello_ends_the_session_and_an_unknown_message_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let mut session = running.taskmanager("twice", 1).await;
    assert!(matches!(session.hear().await, Ok(Heard::Welcome(_))));
    session.say_unknown().await;
    session.say(hello("twice", 1)).await;
    let status = session.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("Hello"), "{status}");
    let gone = |all: &Value| all["taskmanagers"].as_array().unwrap().is_empty();
    running.until("/taskmanagers", gone).await;
    running.stop().await;
}

#[tokio::test]
async fn a_second_taskmanager_of_one_name_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let _bystander = bystander(&running).await;
    let session = running.session().await;
    let Message::Hello(mut double) = hello("bystander", 1) else {
        panic!("a hello is a hello");
    };
    double.incarnation = 2;
    session.say(Message::Hello(double)).await;
    let mut session = session;
    let heard = session.hear().await.unwrap();
    let Heard::Refused(refused) = heard else {
        panic!("{heard:?}");
    };
    assert!(!refused.reason.is_empty());
    assert_eq!(session.end().await.code(), Code::Ok);
    is_undisturbed(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn an_oversized_message_ends_its_session_alone() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let _bystander = bystander(&running).await;
    let mut session = running.session().await;
    let Message::Hello(mut huge) = hello("huge", 1) else {
        panic!("a hello is a hello");
    };
    huge.operators = vec!["x".repeat(17 << 20)];
    session.say(Message::Hello(huge)).await;
    let status = session.end().await;
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    is_undisturbed(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_protocol_at_all_disturb_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let _bystander = bystander(&running).await;
    for bytes in [&[0u8; 4096][..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 70_000]] {
        let connected = tokio::net::TcpStream::connect(running.bound.rpc).await;
        let mut stream = connected.unwrap();
        // The other side may hang up in the middle of it.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    is_undisturbed(&running).await;
    running.stop().await;
}

#[tokio::test]
async fn sessions_end_when_the_jobmanager_stops() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), &[]).await;
    let mut session = bystander(&running).await;
    running.stop().await;
    session.end().await;
}
