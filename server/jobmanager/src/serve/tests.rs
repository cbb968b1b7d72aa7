//! A server that leads alone, and two of which one stands by.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::election::{Leader, Lease};
use crate::gate::Leading;
use crate::options::ServeArgs;
use crate::store::{ChosenStore, Store};
use jobmanager_core::id::Epoch;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower::ServiceExt;

async fn start(folder: &Path) -> Server {
    start_with(folder, &[]).await
}

async fn start_with(folder: &Path, define: &[&str]) -> Server {
    let free = || Some("127.0.0.1:0".to_owned());
    let args = ServeArgs {
        data_dir: Some(folder.to_owned()),
        rest_addr: free(),
        rpc_addr: free(),
        define: define.iter().map(|text| (*text).to_owned()).collect(),
        ..ServeArgs::default()
    };
    Server::start(Options::from_args(&args).unwrap())
        .await
        .unwrap()
}

/// The store that a server has open.
fn store_of(server: &Server) -> ChosenStore {
    server.terms.store().unwrap().clone()
}

#[tokio::test]
async fn a_broken_invariant_ends_the_server_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let driver = server.gate().leading().unwrap().driver.clone();
    tokio::spawn(async move {
        let look = driver.look(Duration::MAX, |_, _| panic!("the sky fell"));
        look.await
    });
    let error = server.run(std::future::pending()).await.unwrap_err();
    assert!(error.to_string().contains("the sky fell"), "{error}");
    // Nothing is left open: the folder can be used at once.
    start(folder.path()).await;
}

#[tokio::test]
async fn a_later_leader_of_the_store_ends_the_server() {
    use jobmanager_core::jobmanager::Command;
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    store_of(&server).load().await.unwrap();
    let graph = br#"{"name": "x", "vertices": [{"id": "a", "operator": "x"}]}"#;
    let id = jobmanager_core::id::JobId(1);
    let graph = jobmanager_proto::job_json::parse(graph, id, &Default::default()).unwrap();
    let driver = server.gate().leading().unwrap().driver.clone();
    let submitted = tokio::spawn(async move {
        let submit = Command::Submit {
            graph: Arc::new(graph),
            from: None,
        };
        driver.command(submit, Duration::MAX).await
    });
    let error = server.run(std::future::pending()).await.unwrap_err();
    assert!(
        matches!(error, ServeError::Ended(DriverEnd::StepDown(_))),
        "{error}"
    );
    let answer = submitted.await.unwrap();
    assert_eq!(answer, Err(crate::driver::Unavailable::Ended));
}

#[tokio::test]
async fn a_client_is_told_that_the_store_takes_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &["web.timeout=100 ms"]).await;
    store_of(&server).close().await;
    let url = format!("http://{}/jobs", server.bound.rest);
    let serving = tokio::spawn(server.run(std::future::pending()));
    let asked = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let graph = r#"{"name": "x", "vertices": [{"id": "a", "operator": "x"}]}"#;
        let mut answer = agent.post(url).send(graph).unwrap();
        let words = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), words)
    });
    let (status, words) = asked.await.unwrap();
    assert_eq!(status, 503, "{words}");
    assert!(words.contains("the store takes no writes"), "{words}");
    serving.abort();
}

#[tokio::test]
async fn a_session_that_does_not_read_is_ended_and_nobody_waits_for_it() {
    use crate::driver::{Outbox, Session, fresh_session};
    use jobmanager_core::message::Hello;
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let driver = server.gate().leading().unwrap().driver.clone();
    let serving = tokio::spawn(server.run(std::future::pending()));
    // No room for a second message: the welcome fills it.
    let (messages, _unread) = tokio::sync::mpsc::channel(1);
    let (open, ended) = tokio::sync::oneshot::channel();
    let hello = Hello {
        taskmanager: jobmanager_core::id::TaskManagerId("mute".to_owned()),
        incarnation: jobmanager_core::id::Incarnation(1),
        seen_epoch: Default::default(),
        hellos: 1,
        slots: 1,
        data_address: "127.0.0.1:1".to_owned(),
        hardware: Default::default(),
        operators: vec!["x".to_owned()],
        inventory: Vec::new(),
        jobs: Vec::new(),
        leaves_within: None,
    };
    let id = fresh_session();
    let outbox = Outbox::new(messages, open);
    driver.connected(Session { id, hello, outbox }).await;
    let graph = br#"{"name": "x", "vertices": [{"id": "a", "operator": "x"}]}"#;
    let job = jobmanager_core::id::JobId(1);
    let graph = jobmanager_proto::job_json::parse(graph, job, &Default::default()).unwrap();
    let submit = jobmanager_core::jobmanager::Command::Submit {
        graph: Arc::new(graph),
        from: None,
    };
    driver.command(submit, Duration::MAX).await.unwrap();
    // The sender is only ever dropped.
    assert!(ended.await.is_err());
    serving.abort();
}

/// The driver of an empty cluster, with a lease, and the store that it writes to.
async fn leased(lease: Lease) -> (crate::driver::Driver, crate::driver::DriverLoop) {
    use crate::clock::Clock;
    use crate::discard::CheckpointStorage;
    use crate::store::MemoryStore;
    use jobmanager_core::jobmanager::Coordinator;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let storage = CheckpointStorage::open(&url).await.unwrap();
    let store = MemoryStore::new();
    let leadership = store.load().await.unwrap();
    let config = Options::from_map(Default::default()).unwrap().cluster;
    let (epoch, clock) = (leadership.epoch, Clock::start());
    let coordinator = Coordinator::recover(config, epoch, Vec::new(), clock.now()).unwrap();
    let (driver, driver_loop) = crate::driver::driver(coordinator, epoch, clock, store, storage);
    (driver, driver_loop.leased(lease))
}

#[tokio::test]
async fn a_leader_whose_lease_has_ended_looks_at_nothing_any_more() {
    use crate::driver::Unavailable;
    let (end, lease) = watch::channel(Instant::now() + Duration::from_secs(3600));
    let (driver, driver_loop) = leased(Lease::until(lease)).await;
    let running = tokio::spawn(driver_loop.run());
    let look = || {
        driver.look(Duration::MAX, |coordinator, _| {
            coordinator.overview().jobs_running
        })
    };
    assert_eq!(look().await, Ok(0));
    // As for a process that stood still: the end is in the past before anybody has noticed.
    end.send_replace(Instant::now());
    assert_eq!(look().await, Err(Unavailable::Ended));
    assert_eq!(running.await.unwrap(), DriverEnd::LeaseEnded);
}

#[tokio::test]
async fn a_leader_that_nobody_asks_for_anything_ends_with_its_lease_too() {
    let (_end, lease) = watch::channel(Instant::now() + Duration::from_millis(20));
    let (_driver, driver_loop) = leased(Lease::until(lease)).await;
    assert_eq!(driver_loop.run().await, DriverEnd::LeaseEnded);
}

/// A gate to a leader here, which has this lease, and knows itself; with the other halves of its channels.
async fn gate_to(
    lease: Lease,
) -> (
    Gate,
    watch::Sender<Option<Arc<Leading>>>,
    watch::Sender<Option<Leader>>,
) {
    let (driver, _) = leased(lease.clone()).await;
    let files = crate::recorder::RecordingFiles::new("unused".into());
    let here = watch::Sender::new(Some(Arc::new(Leading {
        lease,
        router: axum::Router::new(),
        recordings: crate::recorder::Recordings::new(driver.clone(), files),
        driver,
        metrics: Default::default(),
    })));
    let known = watch::Sender::new(Some(leader_in(1)));
    let gate = Gate::new(here.subscribe(), known.subscribe(), Scheme::Http);
    (gate, here, known)
}

fn leader_in(epoch: u64) -> Leader {
    Leader {
        epoch: Epoch(epoch),
        rest: format!("leader-{epoch}:1"),
        rpc: format!("leader-{epoch}:2"),
    }
}

#[tokio::test]
async fn nobody_is_let_in_or_sent_to_a_leader_whose_lease_has_ended() {
    let status = async |gate: &Gate| {
        let request = axum::http::Request::new(axum::body::Body::empty());
        let answer = gate.clone().router().oneshot(request).await;
        answer.unwrap().status().as_u16()
    };
    let (gate, ..) = gate_to(Lease::endless()).await;
    // The empty router's own answer.
    assert_eq!(status(&gate).await, 404);

    let (_end, ended) = watch::channel(Instant::now());
    let (gate, here, known) = gate_to(Lease::until(ended)).await;
    assert_eq!(status(&gate).await, 503);
    let asked = gate.clone();
    let told = tokio::spawn(async move { asked.redirect(&Default::default()).await });
    tokio::task::yield_now().await;
    assert!(!told.is_finished());
    known.send_replace(None);
    here.send_replace(None);
    assert_eq!(status(&gate).await, 503);
    known.send_replace(Some(leader_in(2)));
    let told = told.await.unwrap();
    let named = told.metadata().get("jobmanager-leader").unwrap();
    assert_eq!(named, "leader-2:2");
    assert_eq!(status(&gate).await, 307);
}

#[tokio::test]
async fn a_client_is_sent_to_the_leader_as_it_came() {
    let (here, known) = (
        watch::Sender::new(None),
        watch::Sender::new(Some(leader_in(1))),
    );
    for scheme in [Scheme::Http, Scheme::Https] {
        let gate = Gate::new(here.subscribe(), known.subscribe(), scheme);
        let request = axum::http::Request::get("/jobs?limit=1");
        let request = request.body(axum::body::Body::empty()).unwrap();
        let answer = gate.router().oneshot(request).await.unwrap();
        let location = answer.headers()["location"].to_str().unwrap();
        assert_eq!(location, format!("{scheme}://leader-1:1/jobs?limit=1"));
    }
}

#[tokio::test]
async fn what_waits_when_the_lease_ends_is_not_done_any_more() {
    use crate::driver::Unavailable;
    let (end, lease) = watch::channel(Instant::now() + Duration::from_secs(3600));
    let (driver, driver_loop) = leased(Lease::until(lease)).await;
    // Both wait when the loop starts. It is as if the process stood still during the first one.
    let (during, behind, ended) = tokio::join!(
        driver.look(Duration::MAX, move |_, _| {
            end.send_replace(Instant::now());
        }),
        driver.look(Duration::MAX, |_, _| ()),
        driver_loop.run(),
    );
    assert_eq!((during, behind), (Ok(()), Err(Unavailable::Ended)));
    assert_eq!(ended, DriverEnd::LeaseEnded);
}
