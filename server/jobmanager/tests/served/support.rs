//! A JobManager inside the test's process, a client of its REST, and a TaskManager that says what the
//! test wants it to say.

use jobmanager::options::{Options, ServeArgs};
use jobmanager::serve::{Bound, ServeError, Server};
use jobmanager_proto::v1;
use jobmanager_proto::v1::job_manager_client::JobManagerClient;
use serde_json::Value;
use std::path::Path;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use ureq::http::response::Parts;

/// A JobManager that ends with the test.
pub(crate) struct Running {
    /// Where it answers.
    pub(crate) bound: Bound,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

/// Options with free ports and this data folder, and more of the form `KEY=VALUE`.
pub(crate) fn options(data_dir: &Path, define: &[&str]) -> Options {
    let args = ServeArgs {
        data_dir: Some(data_dir.to_owned()),
        rest_addr: Some("127.0.0.1:0".to_owned()),
        rpc_addr: Some("127.0.0.1:0".to_owned()),
        define: define.iter().map(|text| (*text).to_owned()).collect(),
        ..ServeArgs::default()
    };
    Options::from_args(&args).unwrap()
}

impl Running {
    /// Starts one.
    pub(crate) async fn start(data_dir: &Path, define: &[&str]) -> Running {
        let server = Server::start(options(data_dir, define)).await.unwrap();
        let bound = server.bound();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Running {
            bound,
            stop,
            served,
        }
    }

    /// Stops it in good order.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.served.await.unwrap().unwrap();
    }

    /// A request; the status and the JSON of the answer.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Vec<u8>>,
    ) -> (u16, Value) {
        let (head, body) = self.fetch(method, path, &[], body).await;
        (head.status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    /// A request with headers; the answer as it comes.
    pub(crate) async fn fetch(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> (Parts, Vec<u8>) {
        let uri = format!("http://{}{path}", self.bound.rest);
        let request = ureq::http::Request::builder().method(method).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let request = request.body(body.into()).unwrap();
        tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .allow_non_standard_methods(true)
                .max_redirects(0)
                .build()
                .into();
            let (head, mut body) = agent.run(request).unwrap().into_parts();
            (head, body.read_to_vec().unwrap())
        })
        .await
        .unwrap()
    }

    /// The JSON of a view that has to be there.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.request("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// Asks until `wanted` holds.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..2_000 {
            last = self.get(path).await;
            if wanted(&last) {
                return last;
            }
            tokio::task::yield_now().await;
        }
        panic!("{path} stays at {last}");
    }

    /// Opens a session that has said nothing yet.
    pub(crate) async fn session(&self) -> Session {
        let uri = format!("http://{}", self.bound.rpc);
        let mut client = JobManagerClient::connect(uri).await.unwrap();
        let (outgoing, messages) = mpsc::channel(16);
        let answer = client.session(ReceiverStream::new(messages)).await.unwrap();
        Session {
            outgoing,
            incoming: answer.into_inner(),
        }
    }

    /// Opens a session and says hello.
    pub(crate) async fn taskmanager(&self, name: &str, slots: u32) -> Session {
        let session = self.session().await;
        session.say(hello(name, slots)).await;
        session
    }
}

/// One TaskManager's session.
pub(crate) struct Session {
    outgoing: mpsc::Sender<v1::FromTaskManager>,
    incoming: Streaming<v1::ToTaskManager>,
}

impl Session {
    /// Says something.
    pub(crate) async fn say(&self, message: v1::from_task_manager::Message) {
        let message = v1::FromTaskManager {
            message: Some(message),
        };
        self.outgoing.send(message).await.unwrap();
    }

    /// Says something that is not in this version of the protocol.
    pub(crate) async fn say_unknown(&self) {
        let message = v1::FromTaskManager { message: None };
        self.outgoing.send(message).await.unwrap();
    }

    /// What is heard next; an error is how the stream ended.
    pub(crate) async fn hear(&mut self) -> Result<v1::to_task_manager::Message, Status> {
        let message = self.incoming.message().await?;
        let ended = || Status::ok("the stream ended");
        message
            .and_then(|message| message.message)
            .ok_or_else(ended)
    }

    /// The next deployment; heartbeats that come before it are answered.
    pub(crate) async fn hear_deploy(&mut self) -> v1::Deploy {
        loop {
            let message = self.hear().await.unwrap();
            if let v1::to_task_manager::Message::Deploy(deploy) = message {
                return deploy;
            }
            if let v1::to_task_manager::Message::Heartbeat(v1::Heartbeat { sequence }) = message {
                let answer = v1::HeartbeatAnswer { sequence };
                self.say(v1::from_task_manager::Message::Heartbeat(answer))
                    .await;
            }
        }
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.hear().await {
                return status;
            }
        }
    }
}

/// A hello.
pub(crate) fn hello(name: &str, slots: u32) -> v1::from_task_manager::Message {
    v1::from_task_manager::Message::Hello(v1::Hello {
        protocol_version: 1,
        taskmanager: name.to_owned(),
        incarnation: 1,
        seen_epoch: 0,
        hellos: 0,
        slots,
        data_address: "127.0.0.1:7000".to_owned(),
        cpu_cores: 2,
        memory_bytes: 1 << 30,
        operators: vec!["blackhole-sink".to_owned(), "datagen-source".to_owned()],
        inventory: Vec::new(),
        jobs: Vec::new(),
        leaves_within_ms: None,
    })
}

/// Two vertices; `more` is put into the top level of the graph.
pub(crate) fn job(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(
        r#"{{"name": "test", "vertices": [
            {{"id": "from", "operator": "datagen-source", "parallelism": 2}},
            {{"id": "to", "name": "a <b>", "operator": "blackhole-sink", "parallelism": 2}}],
            "edges": [{{"source": "from", "target": "to", "partitioning": "hash"}}]{comma}{more}}}"#
    )
}
