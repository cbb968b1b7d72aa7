//! A coordinator with as many TaskManagers as it takes, and a store that answers when it is told to. What
//! is measured is its steps; TaskManagers here only say what the coordinator waits for.

use jobmanager_core::config::cluster_config;
use jobmanager_core::graph::{EdgeSpec, JobGraph, JobGraphSpec, Partitioning, VertexSpec};
use jobmanager_core::id::{
    AttemptId, CommitId, Epoch, Incarnation, JobId, RequestId, SessionId, TaskManagerId,
};
use jobmanager_core::jobmanager::{Command, Coordinator, Effect, Input, StoreOutcome};
use jobmanager_core::message::{
    FromTaskManager, Hardware, Hello, TaskReport, TaskStateChange, ToTaskManager,
};
use jobmanager_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What every task runs.
const OPERATOR: &str = "filter";

/// A coordinator and who it works for.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) coordinator: Coordinator,
    pub(crate) now: Timestamp,
    sessions: u64,
    requests: u64,
}

impl Cluster {
    /// One that leads, and of which nobody has heard.
    pub(crate) fn start(options: &[(&str, &str)]) -> Cluster {
        let config = cluster_config(&configuration(options), &[]).expect("the options are valid");
        let now = Timestamp(1_000);
        let coordinator = Coordinator::recover(config, Epoch(1), Vec::new(), now);
        Cluster {
            coordinator: coordinator.expect("nothing is recovered"),
            now,
            sessions: 0,
            requests: 0,
        }
    }

    /// One step.
    pub(crate) fn take(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.coordinator.step(self.now, input, &mut effects);
        effects
    }

    /// A TaskManager says hello.
    pub(crate) fn connect(&mut self, slots: u32) -> SessionId {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let hello = Hello {
            taskmanager: TaskManagerId(format!("taskmanager-{:06}", session.0)),
            incarnation: Incarnation(session.0),
            seen_epoch: Epoch(0),
            hellos: 1,
            slots,
            data_address: format!("host-{}:6121", session.0),
            hardware: Hardware::default(),
            operators: vec![OPERATOR.to_owned()],
            inventory: Vec::new(),
            jobs: Vec::new(),
            leaves_within: None,
        };
        self.take(Input::Connected { session, hello });
        session
    }

    /// TaskManagers say hello and answer; the sessions of all.
    pub(crate) fn register(&mut self, taskmanagers: u32, slots: u32) -> Vec<SessionId> {
        let register = |_| {
            let session = self.connect(slots);
            self.say(session, FromTaskManager::Heartbeat { sequence: 1 });
            session
        };
        (0..taskmanagers).map(register).collect()
    }

    /// A TaskManager says something.
    pub(crate) fn say(&mut self, session: SessionId, message: FromTaskManager) -> Vec<Effect> {
        self.take(Input::Message { session, message })
    }

    /// A client submits a job; the write that is under way since, if none was.
    pub(crate) fn submit(&mut self, graph: Arc<JobGraph>) -> Option<CommitId> {
        self.requests += 1;
        let (request, command) = (
            RequestId(self.requests),
            Command::Submit { graph, from: None },
        );
        store_in(&self.take(Input::Command { request, command }))
    }

    /// The store has done what it was told to.
    pub(crate) fn stored(&mut self, commit: CommitId) -> Vec<Effect> {
        let outcome = StoreOutcome::Done;
        self.take(Input::Stored { commit, outcome })
    }

    /// Submits a job that gets its slots at once: the attempts of each session that are deployed.
    pub(crate) fn deploy(&mut self, graph: Arc<JobGraph>) -> Vec<(SessionId, Vec<AttemptId>)> {
        let commit = self.submit(graph).expect("no write is under way");
        deployed(&self.stored(commit))
    }

    /// The same of attempts of many sessions, each session in one message.
    pub(crate) fn report(
        &mut self,
        attempts: &[(SessionId, Vec<AttemptId>)],
        report: &TaskReport,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (session, attempts) in attempts {
            effects.extend(self.say(*session, reports(attempts, report)));
        }
        effects
    }
}

/// A message that says the same of several attempts.
pub(crate) fn reports(attempts: &[AttemptId], report: &TaskReport) -> FromTaskManager {
    let change = |attempt: &AttemptId| TaskStateChange {
        attempt: *attempt,
        report: report.clone(),
    };
    FromTaskManager::TaskStates(attempts.iter().map(change).collect())
}

/// The write among these.
pub(crate) fn store_in(effects: &[Effect]) -> Option<CommitId> {
    effects.iter().find_map(|effect| match effect {
        Effect::Store { commit, .. } => Some(*commit),
        Effect::Send { .. }
        | Effect::Disconnect { .. }
        | Effect::Reply { .. }
        | Effect::Discard(_)
        | Effect::WriteSavepoint { .. }
        | Effect::RequestWorkers { .. }
        | Effect::ReleaseWorker { .. }
        | Effect::StepDown { .. } => None,
    })
}

/// The attempts that these deploy.
pub(crate) fn deployed(effects: &[Effect]) -> Vec<(SessionId, Vec<AttemptId>)> {
    let deployment = |effect: &Effect| {
        let Effect::Send { session, message } = effect else {
            return None;
        };
        let ToTaskManager::Deploy(deployment) = &message.message else {
            return None;
        };
        let (job, attempt) = (deployment.job, deployment.attempt);
        let tasks = deployment.tasks.iter().map(|task| task.task);
        let attempts = tasks.map(|task| AttemptId { job, task, attempt });
        Some((*session, attempts.collect()))
    };
    effects.iter().filter_map(deployment).collect()
}

fn configuration(options: &[(&str, &str)]) -> BTreeMap<String, String> {
    let option = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    options.iter().map(option).collect()
}

/// A job of vertices that each send to the next one.
pub(crate) struct Chain<'a> {
    pub(crate) id: u128,
    /// Of each vertex.
    pub(crate) parallelism: &'a [u32],
    pub(crate) partitioning: Partitioning,
    pub(crate) options: &'a [(&'a str, &'a str)],
}

impl Chain<'_> {
    /// The job's graph.
    pub(crate) fn graph(&self) -> Arc<JobGraph> {
        let name = |vertex: usize| format!("vertex {vertex}");
        let vertex = |(vertex, parallelism): (usize, &u32)| VertexSpec {
            id: name(vertex),
            name: None,
            operator: OPERATOR.into(),
            parallelism: *parallelism,
            max_parallelism: None,
            slot_sharing_group: None,
            config: "{}".into(),
        };
        let edge = |target: usize| EdgeSpec {
            source: name(target - 1),
            target: name(target),
            partitioning: self.partitioning,
        };
        let spec = JobGraphSpec {
            id: JobId(self.id),
            name: "chain".into(),
            vertices: self.parallelism.iter().enumerate().map(vertex).collect(),
            edges: (1..self.parallelism.len()).map(edge).collect(),
            configuration: configuration(self.options),
        };
        Arc::new(JobGraph::validate(spec, &BTreeMap::new()).expect("the graph is valid"))
    }
}
