//! A TaskManager among several JobManagers, which the tests play: it finds the one that leads, and leaves it
//! for a later one.

#![allow(clippy::unwrap_used)]

use jobmanager_core::id::Epoch;
use jobmanager_core::message::{Envelope, ToTaskManager, Welcome};
use jobmanager_proto::v1;
use jobmanager_proto::v1::job_manager_server::{JobManager, JobManagerServer};
use std::time::Duration;
use taskmanager::{Options, operators, run};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

/// Far more than anything here takes; only a test that fails waits for so long.
const LONG: Duration = Duration::from_secs(20);

/// What a JobManager says to whoever wants a session.
#[derive(Debug, Clone)]
enum Role {
    /// Nothing yet.
    Waits,
    /// Welcome, in this epoch; then nothing more.
    Leads(u64),
    /// Another one leads.
    Names { leader: String, epoch: u64 },
}

/// A JobManager; every session that it accepts is told to the test.
struct Player {
    address: String,
    role: watch::Receiver<Role>,
    welcomed: mpsc::Sender<u64>,
}

type Outgoing = ReceiverStream<Result<v1::ToTaskManager, Status>>;

#[tonic::async_trait]
impl JobManager for Player {
    type SessionStream = Outgoing;

    async fn session(
        &self,
        request: Request<Streaming<v1::FromTaskManager>>,
    ) -> Result<Response<Outgoing>, Status> {
        let later_than = request.metadata().get("jobmanager-later-than");
        let later_than = later_than.map(|epoch| epoch.to_str().unwrap().parse::<u64>().unwrap());
        let mut role = self.role.clone();
        let is_news = |role: &Role| match (role, later_than) {
            (Role::Waits, _) => false,
            (_, None) => true,
            (Role::Leads(epoch) | Role::Names { epoch, .. }, Some(known)) => *epoch > known,
        };
        let waits = matches!(*role.borrow(), Role::Waits);
        let role = role.wait_for(is_news).await.unwrap().clone();
        let (leader, epoch) = match role {
            Role::Leads(epoch) => (self.address.clone(), epoch),
            Role::Names { leader, epoch } => (leader, epoch),
            Role::Waits => unreachable!("that was waited for"),
        };
        if leader != self.address || later_than.is_some() || waits {
            let mut metadata = MetadataMap::new();
            metadata.insert("jobmanager-leader", leader.parse().unwrap());
            metadata.insert("jobmanager-epoch", epoch.into());
            let words = "another one leads";
            return Err(Status::with_metadata(Code::Unavailable, words, metadata));
        }
        let (outgoing, messages) = mpsc::channel(4);
        let welcomed = self.welcomed.clone();
        tokio::spawn(async move {
            let mut incoming = request.into_inner();
            incoming.message().await.unwrap();
            outgoing.send(Ok((&welcome(epoch)).into())).await.unwrap();
            welcomed.send(epoch).await.unwrap();
            // Until the TaskManager goes away.
            while let Ok(Some(_)) = incoming.message().await {}
            drop(outgoing);
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

fn welcome(epoch: u64) -> Envelope {
    Envelope {
        epoch: Epoch(epoch),
        message: ToTaskManager::Welcome(Welcome {
            heartbeat_interval: LONG,
            heartbeat_timeout: LONG,
            grace_period: LONG,
            cancellation_timeout: LONG,
            registration_initial: Duration::from_millis(10),
            registration_max: Duration::from_millis(10),
            checkpoint_storage: "file:///nowhere".to_owned(),
        }),
    }
}

/// Starts a JobManager; gives its address, and what it plays.
async fn play(role: Role, welcomed: &mpsc::Sender<u64>) -> (String, watch::Sender<Role>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, role) = watch::channel(role);
    let welcomed = welcomed.clone();
    let player = Player {
        address: address.clone(),
        role,
        welcomed,
    };
    let service = JobManagerServer::new(player);
    let incoming = TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
    (address, sender)
}

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn start(jobmanagers: Vec<String>) {
    let options = Options {
        jobmanagers,
        slots: Some(1),
        bind_addr: "127.0.0.1:0".parse().unwrap(),
        id: None,
        leave_timeout: Duration::ZERO,
        tls: None,
        allow_insecure: false,
        allowed_dirs: Vec::new(),
    };
    let never = std::future::pending::<()>;
    tokio::spawn(run(options, operators::builtin(), never(), never()));
}

async fn next(welcomed: &mut mpsc::Receiver<u64>) -> u64 {
    timeout(LONG, welcomed.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn whoever_leads_is_found_past_those_who_are_away_and_through_those_who_stand_by() {
    let (sender, mut welcomed) = mpsc::channel(4);
    let (leader, _leads) = play(Role::Leads(7), &sender).await;
    let named = Role::Names { leader, epoch: 7 };
    let (standby, _names) = play(named, &sender).await;
    start(vec![nobody().await, standby]);
    assert_eq!(next(&mut welcomed).await, 7);
}

#[tokio::test]
async fn whoever_is_asked_before_it_leads_names_itself_and_is_asked_again() {
    let (sender, mut welcomed) = mpsc::channel(4);
    let (first, waits) = play(Role::Waits, &sender).await;
    let (second, _names) = play(Role::Waits, &sender).await;
    start(vec![first, second]);
    // One receiver is the JobManager's own; the other one is of the call that waits.
    while waits.receiver_count() < 2 {
        tokio::task::yield_now().await;
    }
    waits.send_replace(Role::Leads(7));
    let welcomed = timeout(LONG / 4, welcomed.recv());
    assert_eq!(welcomed.await.expect("without a long wait"), Some(7));
}

#[tokio::test]
async fn a_leader_that_says_nothing_is_left_when_a_standby_names_a_later_one_and_not_before() {
    let (sender, mut welcomed) = mpsc::channel(4);
    let (first, _leads) = play(Role::Leads(7), &sender).await;
    let (second, _leads_later) = play(Role::Leads(8), &sender).await;
    let earlier = Role::Names {
        leader: nobody().await,
        epoch: 7,
    };
    let (standby, names) = play(earlier, &sender).await;
    start(vec![first, standby]);
    assert_eq!(next(&mut welcomed).await, 7);
    names.send_replace(Role::Names {
        leader: second,
        epoch: 8,
    });
    assert_eq!(next(&mut welcomed).await, 8);
}

#[tokio::test]
async fn whoever_finds_that_the_leader_has_gone_waits_for_the_next_one_and_not_in_vain() {
    let (sender, mut welcomed) = mpsc::channel(4);
    let gone = || Role::Names {
        leader: "127.0.0.1:1".to_owned(),
        epoch: 6,
    };
    let (one, becomes_leader) = play(gone(), &sender).await;
    let (other, other_names) = play(gone(), &sender).await;
    start(vec![one.clone(), other.clone()]);
    // It has asked both, and watches.
    while becomes_leader.receiver_count() < 2 {
        tokio::task::yield_now().await;
    }
    other_names.send_replace(Role::Names {
        leader: one,
        epoch: 6,
    });
    becomes_leader.send_replace(Role::Leads(7));
    assert_eq!(next(&mut welcomed).await, 7);
}
