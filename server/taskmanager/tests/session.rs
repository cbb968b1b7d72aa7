//! A whole TaskManager, with a JobManager that the tests play.

#![allow(clippy::unwrap_used)]

use jobmanager_core::config::CheckpointMode;
use jobmanager_core::graph::{JobEdge, Partitioning};
use jobmanager_core::id::{
    Attempt, AttemptId, CheckpointId, Epoch, JobId, SlotIndex, SubtaskIndex, TaskId, VertexIndex,
};
use jobmanager_core::message::{
    Acknowledgement, Deployment, Envelope, FromTaskManager, Hello, JobTable, TableCheckpoints,
    TableVertex, TaskDeployment, TaskReport, ToTaskManager, Welcome,
};
use jobmanager_core::state::ExecutionState;
use jobmanager_core::time::Timestamp;
use jobmanager_proto::v1::job_manager_server::{JobManager, JobManagerServer};
use jobmanager_proto::{Received, TaskMetrics, v1};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use taskmanager::sdk::{OperatorError, Output, Registry, Source, SourceStatus, State};
use taskmanager::{Options, operators, run};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Far more than anything here takes; only a test that fails waits for so long.
const LONG: Duration = Duration::from_secs(20);
const JOB: JobId = JobId(7);

type Outgoing = mpsc::Sender<Result<v1::ToTaskManager, Status>>;

/// Hands every session that is opened to the test.
struct Sessions(mpsc::Sender<Session>);

/// One session, from the JobManager's side. Dropping it ends it.
struct Session {
    incoming: Streaming<v1::FromTaskManager>,
    outgoing: Outgoing,
    metrics: BTreeMap<TaskId, TaskMetrics>,
}

#[tonic::async_trait]
impl JobManager for Sessions {
    type SessionStream = ReceiverStream<Result<v1::ToTaskManager, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::FromTaskManager>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (outgoing, messages) = mpsc::channel(64);
        let session = Session {
            incoming: request.into_inner(),
            outgoing,
            metrics: BTreeMap::new(),
        };
        self.0.send(session).await.unwrap();
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

impl Session {
    async fn receive(&mut self) -> Received {
        let message = timeout(LONG, self.incoming.message()).await;
        let message = message.expect("a message in time").unwrap();
        Received::try_from(message.expect("the session goes on")).unwrap()
    }

    async fn hello(&mut self) -> Hello {
        let first = self.receive().await;
        let Received::Hello(hello) = first else {
            panic!("{first:?} came before hello");
        };
        hello
    }

    async fn say(&self, message: ToTaskManager) {
        let envelope = Envelope {
            epoch: Epoch(3),
            message,
        };
        self.outgoing.send(Ok((&envelope).into())).await.unwrap();
    }

    /// The next message that is meant for the coordinator.
    async fn next(&mut self) -> FromTaskManager {
        loop {
            match self.receive().await {
                Received::Message(message) => return message,
                Received::Metrics(metrics) => {
                    let by_task = metrics.into_iter().map(|task| (task.attempt.task, task));
                    self.metrics.extend(by_task);
                }
                Received::Hello(hello) => panic!("a second {hello:?}"),
            }
        }
    }

    /// Waits until each of the tasks has reported this.
    async fn all(&mut self, tasks: u32, wanted: &TaskReport) {
        let mut missing = tasks;
        while missing > 0 {
            if let FromTaskManager::TaskStates(changes) = self.next().await {
                for change in changes {
                    let failed = matches!(change.report, TaskReport::Failed { .. });
                    assert!(!failed, "{change:?}");
                    missing -= u32::from(change.report == *wanted);
                }
            }
        }
    }

    /// Deploys a job that does not end, and waits until it runs.
    async fn runs_endlessly(&mut self, hello: &Hello) {
        let (source, config) = ("datagen-source", r#"{"rate": 10}"#);
        let deploy = deployment(&hello.data_address, source, config, exactly_once());
        self.say(deploy).await;
        self.all(2, &TaskReport::Running).await;
    }

    /// Cancels its job, and waits until it is.
    async fn is_canceled(&mut self) {
        let cancel = ToTaskManager::Cancel {
            job: JOB,
            attempt: attempt(),
            tasks: vec![task(0), task(1)],
        };
        self.say(cancel).await;
        self.all(2, &TaskReport::Canceled).await;
    }

    async fn acknowledgements(&mut self, tasks: usize) -> Vec<Acknowledgement> {
        let mut acknowledged = Vec::new();
        while acknowledged.len() < tasks {
            if let FromTaskManager::Acknowledge(acknowledgement) = self.next().await {
                acknowledged.push(acknowledgement);
            }
        }
        acknowledged
    }
}

/// A TaskManager that runs, and the JobManager that it knows.
struct Running {
    sessions: mpsc::Receiver<Session>,
    leave: Option<oneshot::Sender<()>>,
    shutdown: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

async fn start(registry: Registry) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options {
        jobmanagers: vec![listener.local_addr().unwrap().to_string()],
        slots: Some(3),
        bind_addr: "127.0.0.1:0".parse().unwrap(),
        id: Some("tm-1".to_owned()),
        leave_timeout: LONG,
        tls: None,
        allow_insecure: false,
        allowed_dirs: Vec::new(),
    };
    let (opened, sessions) = mpsc::channel(1);
    let service = JobManagerServer::new(Sessions(opened));
    let incoming = TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
    let (shutdown, told) = oneshot::channel();
    let (leave, is_to_leave) = oneshot::channel();
    let ended = tokio::spawn(async move {
        let told = async { drop(told.await) };
        let is_to_leave = async { drop(is_to_leave.await) };
        run(options, registry, is_to_leave, told).await.unwrap();
    });
    Running {
        sessions,
        leave: Some(leave),
        shutdown,
        ended,
    }
}

impl Running {
    /// The next session, up to its hello; it is accepted.
    async fn session(&mut self) -> (Session, Hello) {
        let session = timeout(LONG, self.sessions.recv()).await;
        let mut session = session.expect("a session in time").unwrap();
        let hello = session.hello().await;
        let welcome = Welcome {
            heartbeat_interval: LONG,
            heartbeat_timeout: LONG,
            grace_period: LONG,
            cancellation_timeout: LONG,
            registration_initial: Duration::from_millis(100),
            registration_max: Duration::from_secs(2),
            checkpoint_storage: "file:///nowhere".to_owned(),
        };
        session.say(ToTaskManager::Welcome(welcome)).await;
        (session, hello)
    }

    async fn stop(self) {
        self.shutdown.send(()).unwrap();
        timeout(LONG, self.ended).await.unwrap().unwrap();
    }
}

/// `source` → `blackhole-sink`, both in slot 0.
fn deployment(
    address: &str,
    source: &str,
    config: &str,
    checkpoints: Option<TableCheckpoints>,
) -> ToTaskManager {
    let vertex = |operator: &str, config: &str| TableVertex {
        name: operator.to_owned(),
        operator_id: 0,
        operator: operator.to_owned(),
        config: config.to_owned(),
        parallelism: 1,
        max_parallelism: 128,
        first_slot: 0,
        since: None,
    };
    let table = JobTable {
        name: "job".to_owned(),
        vertices: vec![vertex(source, config), vertex("blackhole-sink", "{}")],
        edges: vec![JobEdge {
            source: VertexIndex(0),
            target: VertexIndex(1),
            partitioning: Partitioning::Forward,
        }],
        slots: vec![0],
        addresses: vec![address.to_owned()],
        checkpoints,
    };
    let task = |vertex| TaskDeployment {
        task: task(vertex),
        slot: SlotIndex(0),
        end_of_data: false,
        state: Vec::new(),
    };
    ToTaskManager::Deploy(Deployment {
        job: JOB,
        attempt: attempt(),
        table: Arc::new(table),
        restore: None,
        finish: false,
        tasks: vec![task(0), task(1)],
    })
}

fn task(vertex: u32) -> TaskId {
    TaskId {
        vertex: VertexIndex(vertex),
        subtask: SubtaskIndex(0),
    }
}

fn attempt() -> Attempt {
    Attempt {
        epoch: Epoch(3),
        number: 1,
    }
}

fn exactly_once() -> Option<TableCheckpoints> {
    Some(TableCheckpoints {
        mode: CheckpointMode::ExactlyOnce,
        inline_threshold: 1_000,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_checkpoints_runs_to_its_end() {
    let mut running = start(operators::builtin()).await;
    let (mut session, hello) = running.session().await;
    assert_eq!((hello.taskmanager.0.as_str(), hello.slots), ("tm-1", 3));
    assert!(hello.operators.contains(&"datagen-source".to_owned()));
    let config = r#"{"count": 1000}"#;
    let deploy = deployment(&hello.data_address, "datagen-source", config, None);
    session.say(deploy).await;
    session.all(2, &TaskReport::Finished).await;
    // What a task did in its life is told before its end.
    assert_eq!(session.metrics[&task(0)].records_out, 1_000);
    assert_eq!(session.metrics[&task(1)].records_in, 1_000);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_checkpoints_ends_with_its_final_checkpoint() {
    let mut running = start(operators::builtin()).await;
    let (mut session, hello) = running.session().await;
    let config = r#"{"count": 1000}"#;
    let deploy = deployment(
        &hello.data_address,
        "datagen-source",
        config,
        exactly_once(),
    );
    session.say(deploy).await;
    session.all(2, &TaskReport::EndOfData).await;
    let (job, checkpoint, timestamp) = (JOB, CheckpointId(1), Timestamp(0));
    let trigger = ToTaskManager::TriggerCheckpoint {
        job,
        tasks: Vec::new(),
        checkpoint,
        timestamp,
        savepoint: None,
    };
    session.say(trigger).await;
    let acknowledged = session.acknowledgements(2).await;
    assert!(acknowledged.iter().all(|ack| ack.state.end_of_data));
    let complete = ToTaskManager::NotifyComplete {
        job,
        tasks: Vec::new(),
        checkpoint,
        finish: true,
    };
    session.say(complete).await;
    session.all(2, &TaskReport::Finished).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_works_until_its_tasks_are_canceled_and_it_is_dismissed() {
    let mut running = start(operators::builtin()).await;
    let (mut session, hello) = running.session().await;
    assert_eq!(hello.leaves_within, None);
    session.runs_endlessly(&hello).await;
    running.leave.take().unwrap().send(()).unwrap();
    let within = LONG;
    assert_eq!(session.next().await, FromTaskManager::Leave { within });
    drop(session);
    let (mut session, hello) = running.session().await;
    assert!(hello.leaves_within.is_some_and(|within| within < LONG));
    assert_eq!(hello.inventory.len(), 2);
    session.say(ToTaskManager::Dismissed).await;
    session.is_canceled().await;
    assert!(session.incoming.message().await.unwrap().is_none());
    drop(session);
    timeout(LONG, running.ended).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_go_on_without_a_session_and_are_in_the_next_hello() {
    let mut running = start(operators::builtin()).await;
    let (mut session, hello) = running.session().await;
    session.runs_endlessly(&hello).await;
    drop(session);
    let (mut session, hello) = running.session().await;
    assert_eq!(hello.seen_epoch, Epoch(3));
    let inventory: Vec<_> = hello
        .inventory
        .iter()
        .map(|item| (item.attempt.task, item.state))
        .collect();
    let runs = ExecutionState::Running;
    assert_eq!(inventory, [(task(0), runs), (task(1), runs)]);
    session.is_canceled().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_session_and_the_tasks() {
    let mut running = start(operators::builtin()).await;
    let (mut session, hello) = running.session().await;
    let deploy = deployment(&hello.data_address, "datagen-source", "{}", None);
    session.say(deploy).await;
    session.all(2, &TaskReport::Running).await;
    running.stop().await;
    while let Ok(Some(_)) = session.incoming.message().await {}
}

/// A source of a user that fails.
struct Broken;

impl Source for Broken {
    fn poll(&mut self, _: &mut dyn Output) -> Result<SourceStatus, OperatorError> {
        Err(OperatorError::about("/dev/tape", "no tape in drive"))
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut State) -> Result<(), OperatorError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_a_user_is_offered_and_its_failure_is_reported_in_its_words() {
    let registry = operators::builtin().source("broken", |_| Ok(Broken));
    let mut running = start(registry).await;
    let (mut session, hello) = running.session().await;
    assert!(hello.operators.contains(&"broken".to_owned()));
    session
        .say(deployment(&hello.data_address, "broken", "{}", None))
        .await;
    let cause = loop {
        let FromTaskManager::TaskStates(changes) = session.next().await else {
            continue;
        };
        let failed = changes.into_iter().find_map(|change| {
            let TaskReport::Failed { cause } = change.report else {
                return None;
            };
            Some((change.attempt, cause))
        });
        if let Some(failed) = failed {
            break failed;
        }
    };
    let attempt = AttemptId {
        job: JOB,
        task: task(0),
        attempt: attempt(),
    };
    assert_eq!(cause, (attempt, "/dev/tape: no tape in drive".to_owned()));
    running.stop().await;
}
