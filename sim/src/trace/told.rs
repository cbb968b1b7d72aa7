//! What inputs and orders are about: a kind, a few words, and the jobs, tasks and checkpoints they name.

use crate::storage::external::Published;
use crate::trace::Lane;
use jobmanager_core::id::{Attempt, AttemptId, CheckpointId, Epoch, JobId, TaskId};
use jobmanager_core::jobmanager::{self as jm, Command, Discard, Reply};
use jobmanager_core::message::{Envelope, FromTaskManager, TaskReport, ToTaskManager};
use jobmanager_core::record::{Record, RecordKey, RecordOp};
use jobmanager_core::taskmanager::{self as tm, TaskEvent};

/// What something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Processes, connections and registrations.
    Life,
    /// Deployments, cancellations and the states of tasks.
    Task,
    /// Checkpoints.
    Checkpoint,
    /// Writes to the metadata store.
    Store,
    /// The checkpoint storage.
    Blob,
    /// Clients.
    Client,
    /// What becomes visible outside.
    Output,
    /// What breaks and heals.
    Fault,
    /// Timers.
    Timer,
    /// Heartbeats.
    Heartbeat,
    /// Records, barriers and credit between TaskManagers.
    Exchange,
}

impl Kind {
    /// Every kind, in the order of the declaration.
    pub const ALL: [Kind; 11] = [
        Kind::Life,
        Kind::Task,
        Kind::Checkpoint,
        Kind::Store,
        Kind::Blob,
        Kind::Client,
        Kind::Output,
        Kind::Fault,
        Kind::Timer,
        Kind::Heartbeat,
        Kind::Exchange,
    ];
}

/// A job, and what of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The job.
    pub job: JobId,
    /// One of its tasks.
    pub task: Option<TaskId>,
    /// An attempt of that task, or of every task that is spoken of.
    pub attempt: Option<Attempt>,
    /// One of its checkpoints.
    pub checkpoint: Option<CheckpointId>,
}

impl Subject {
    /// The whole job.
    #[must_use]
    pub fn job(job: JobId) -> Subject {
        Subject {
            job,
            task: None,
            attempt: None,
            checkpoint: None,
        }
    }

    fn checkpoint(job: JobId, checkpoint: CheckpointId) -> Subject {
        Subject {
            checkpoint: Some(checkpoint),
            ..Subject::job(job)
        }
    }

    fn attempt(id: AttemptId) -> Subject {
        Subject {
            task: Some(id.task),
            attempt: Some(id.attempt),
            ..Subject::job(id.job)
        }
    }

    pub(super) fn snapshot(id: AttemptId, checkpoint: CheckpointId) -> Subject {
        Subject {
            checkpoint: Some(checkpoint),
            ..Subject::attempt(id)
        }
    }
}

/// Something in a few words.
pub(crate) struct Sketch {
    pub(crate) kind: Kind,
    pub(crate) title: String,
    pub(crate) about: Vec<Subject>,
    /// How the attempt that it is about ended, if it did.
    pub(crate) ending: Option<&'static str>,
}

impl Sketch {
    pub(crate) fn new(kind: Kind, title: impl Into<String>, about: Vec<Subject>) -> Sketch {
        Sketch {
            kind,
            title: title.into(),
            about,
            ending: None,
        }
    }

    /// What is known of a note by its lane alone.
    pub(crate) fn of(lane: Lane) -> Sketch {
        let kind = match lane {
            Lane::Faults => Kind::Fault,
            Lane::Store => Kind::Store,
            Lane::Outside => Kind::Output,
            Lane::Clients => Kind::Client,
            Lane::Blobs => Kind::Blob,
            Lane::Election | Lane::JobManager(_) | Lane::TaskManager(_) => Kind::Life,
        };
        Sketch::new(kind, "", Vec::new())
    }

    pub(super) fn attempt(&self) -> Option<AttemptId> {
        let Subject {
            job, task, attempt, ..
        } = *self.about.first()?;
        Some(AttemptId {
            job,
            task: task?,
            attempt: attempt?,
        })
    }
}

/// Something that can say what it is about.
pub(crate) trait Told {
    fn sketch(&self) -> Sketch;
}

/// `v.s` is subtask `s` of vertex `v`.
pub(super) fn name_of(task: TaskId) -> String {
    format!("{}.{}", task.vertex.0, task.subtask.0)
}

/// `v.s#e.n` is attempt `n` of epoch `e` of that task.
pub(super) fn name_of_attempt(id: AttemptId) -> String {
    let Attempt { epoch, number } = id.attempt;
    format!("{}#{}.{number}", name_of(id.task), epoch.0)
}

/// The first name, and how many more there are.
fn and_more(mut names: impl Iterator<Item = String>) -> String {
    let first = names.next().unwrap_or_default();
    match names.count() {
        0 => first,
        more => format!("{first} +{more}"),
    }
}

impl Told for jm::Input {
    fn sketch(&self) -> Sketch {
        match self {
            jm::Input::Connected { hello, .. } => {
                let about = hello.inventory.iter();
                let about: Vec<_> = about.map(|item| Subject::attempt(item.attempt)).collect();
                let (name, life) = (&hello.taskmanager, hello.incarnation.0);
                let title = format!("{name} connects, life {life}, {} attempts", about.len());
                Sketch::new(Kind::Life, title, about)
            }
            jm::Input::Message { message, .. } => message.sketch(),
            jm::Input::Disconnected { session } => {
                let title = format!("session {} is gone", session.0);
                Sketch::new(Kind::Life, title, vec![])
            }
            jm::Input::Stored { commit, outcome } => {
                let title = format!("write {}: {outcome:?}", commit.0);
                Sketch::new(Kind::Store, title, vec![])
            }
            jm::Input::Discarded { discard, outcome } => {
                let mut sketch = discard.sketch();
                sketch.title = format!("{}: {outcome:?}", sketch.title);
                sketch
            }
            jm::Input::SavepointWritten {
                job,
                checkpoint,
                outcome,
            } => {
                let title = format!("metadata of savepoint {}: {outcome:?}", checkpoint.0);
                let about = vec![Subject::checkpoint(*job, *checkpoint)];
                Sketch::new(Kind::Blob, title, about)
            }
            jm::Input::Command { command, .. } => command.sketch(),
            jm::Input::Workers { present } => {
                let title = format!("there are {} workers", present.len());
                Sketch::new(Kind::Life, title, vec![])
            }
            jm::Input::Worker { worker, report } => {
                Sketch::new(Kind::Life, format!("{worker}: {report:?}"), vec![])
            }
            jm::Input::Wake => Sketch::new(Kind::Timer, "wake", vec![]),
        }
    }
}

impl Told for jm::Effect {
    fn sketch(&self) -> Sketch {
        match self {
            jm::Effect::Send { message, .. } => message.sketch(),
            jm::Effect::Disconnect { session } => {
                let title = format!("ends session {}", session.0);
                Sketch::new(Kind::Life, title, vec![])
            }
            jm::Effect::Reply { reply, .. } => reply.sketch(),
            jm::Effect::Store { commit, ops } => {
                let mut sketch = ops.sketch();
                sketch.title = format!("write {}: {}", commit.0, sketch.title);
                sketch
            }
            jm::Effect::WriteSavepoint {
                location,
                savepoint,
            } => {
                let about = vec![Subject::checkpoint(savepoint.job, savepoint.checkpoint)];
                Sketch::new(Kind::Blob, format!("write {location}"), about)
            }
            jm::Effect::Discard(discard) => discard.sketch(),
            jm::Effect::RequestWorkers { workers } => {
                let title = format!("wants {} more workers", workers.len());
                Sketch::new(Kind::Life, title, vec![])
            }
            jm::Effect::ReleaseWorker { worker } => {
                Sketch::new(Kind::Life, format!("releases {worker}"), vec![])
            }
            jm::Effect::StepDown { reason } => {
                Sketch::new(Kind::Life, format!("steps down: {reason}"), vec![])
            }
        }
    }
}

impl Told for Command {
    fn sketch(&self) -> Sketch {
        let (title, job) = match self {
            Command::Submit { graph, .. } => ("submit", graph.id()),
            Command::Cancel(job) => ("cancel", *job),
            Command::Rescale { job, .. } => ("rescale", *job),
            Command::Checkpoint { job, .. } => ("checkpoint", *job),
            Command::Savepoint(wanted) => ("savepoint", wanted.job),
        };
        Sketch::new(Kind::Client, title, vec![Subject::job(job)])
    }
}

impl Told for Reply {
    fn sketch(&self) -> Sketch {
        let (title, about) = match self {
            Reply::Submitted(job) => ("submitted", Some(*job)),
            Reply::AlreadySubmitted(job) => ("already submitted", Some(*job)),
            Reply::Conflict(job) => ("conflict", Some(*job)),
            Reply::TooManySlots(job, _) => ("too many slots", Some(*job)),
            Reply::CannotRestore(job, _) => ("cannot restore", Some(*job)),
            Reply::CancelAccepted(job) => ("cancel accepted", Some(*job)),
            Reply::RescaleAccepted(job) => ("rescale accepted", Some(*job)),
            Reply::CannotRescale(job, _) => ("cannot rescale", Some(*job)),
            Reply::CheckpointAccepted(job, _) => ("checkpoint accepted", Some(*job)),
            Reply::SavepointAccepted(job, _) => ("savepoint accepted", Some(*job)),
            Reply::WithoutCheckpoints(job) => ("takes no checkpoints", Some(*job)),
            Reply::IsEnding(job) => ("is ending", Some(*job)),
            Reply::AlreadyEnded(job, _) => ("already ended", Some(*job)),
            Reply::UnknownJob(job) => ("unknown job", Some(*job)),
            Reply::Overloaded(_) => ("overloaded", None),
        };
        let about = about.map(Subject::job).into_iter().collect();
        Sketch::new(Kind::Client, title, about)
    }
}

impl Told for Vec<RecordOp> {
    fn sketch(&self) -> Sketch {
        let about = |op: &RecordOp| match op {
            RecordOp::Put(record) => subject_of(&record.key()),
            RecordOp::Delete(key) => subject_of(key),
        };
        let title = |op: &RecordOp| match op {
            RecordOp::Put(record) => format!("put {}", record_name(record)),
            RecordOp::Delete(key) => format!("delete {}", key_name(key)),
        };
        let titles: Vec<_> = self.iter().map(title).collect();
        let about = self.iter().map(about).collect();
        Sketch::new(Kind::Store, titles.join(", "), about)
    }
}

/// A write that was applied.
impl Told for (Epoch, &Vec<RecordOp>) {
    fn sketch(&self) -> Sketch {
        let mut sketch = self.1.sketch();
        sketch.title = format!("apply {}", sketch.title);
        sketch
    }
}

impl Told for Published {
    fn sketch(&self) -> Sketch {
        let job = self.sink.job;
        let about = Subject {
            task: Some(self.sink.task),
            attempt: self.transaction.map(|transaction| transaction.attempt),
            checkpoint: self.transaction.map(|transaction| transaction.checkpoint),
            ..Subject::job(job)
        };
        let (rows, sink) = (self.rows.len(), name_of(self.sink.task));
        let title = format!("{sink} publishes {rows} rows");
        Sketch::new(Kind::Output, title, vec![about])
    }
}

fn record_name(record: &Record) -> String {
    match record {
        Record::Result(result) => format!("result {}", result.status),
        Record::CheckpointMark { next, .. } => format!("mark {}", next.0),
        Record::Savepoint(savepoint) => match &savepoint.outcome {
            Some(outcome) => format!("savepoint {:?}", outcome.result),
            None => format!("wish for a savepoint, {:?}", savepoint.after),
        },
        Record::Rescale(wanted) => format!("wish for {:?}", wanted.bounds),
        Record::Job(_) | Record::Cancel(_) | Record::Checkpoint(_) => key_name(&record.key()),
    }
}

fn key_name(key: &RecordKey) -> String {
    match key {
        RecordKey::Job(_) => "job".to_owned(),
        RecordKey::Cancel(_) => "cancel".to_owned(),
        RecordKey::Rescale(_) => "rescale".to_owned(),
        RecordKey::CheckpointMark(_) => "mark".to_owned(),
        RecordKey::Checkpoint(_, id) => format!("checkpoint {}", id.0),
        RecordKey::Savepoint(..) => "savepoint".to_owned(),
        RecordKey::Result(_) => "result".to_owned(),
    }
}

fn subject_of(key: &RecordKey) -> Subject {
    match key {
        RecordKey::Job(job)
        | RecordKey::Cancel(job)
        | RecordKey::Rescale(job)
        | RecordKey::CheckpointMark(job)
        | RecordKey::Savepoint(job, _)
        | RecordKey::Result(job) => Subject::job(*job),
        RecordKey::Checkpoint(job, checkpoint) => Subject::checkpoint(*job, *checkpoint),
    }
}

impl Told for Discard {
    fn sketch(&self) -> Sketch {
        let (title, about) = match self {
            Discard::Checkpoint(job, id) => (
                format!("discard checkpoint {}", id.0),
                Subject::checkpoint(*job, *id),
            ),
            Discard::Job(job) => ("discard all state".to_owned(), Subject::job(*job)),
            Discard::Savepoint { job, location } => {
                (format!("discard {location}"), Subject::job(*job))
            }
            Discard::Owned { job, location } => {
                (format!("discard claimed {location}"), Subject::job(*job))
            }
            Discard::Unreferenced { job, next, .. } => (
                format!("discard unreferenced below {}", next.0),
                Subject::job(*job),
            ),
        };
        Sketch::new(Kind::Blob, title, vec![about])
    }
}

impl Told for Envelope {
    fn sketch(&self) -> Sketch {
        let checkpoint = |title: &str, job: JobId, id: CheckpointId| {
            let title = format!("{title} {}", id.0);
            let about = vec![Subject::checkpoint(job, id)];
            Sketch::new(Kind::Checkpoint, title, about)
        };
        match &self.message {
            ToTaskManager::Welcome(_) => {
                let title = format!("welcome, epoch {}", self.epoch.0);
                Sketch::new(Kind::Life, title, vec![])
            }
            ToTaskManager::Refused(refusal) => {
                Sketch::new(Kind::Life, format!("refused: {}", refusal.reason), vec![])
            }
            ToTaskManager::Heartbeat { .. } => Sketch::new(Kind::Heartbeat, "heartbeat", vec![]),
            ToTaskManager::Deploy(deployment) => {
                let tasks = deployment.tasks.iter().map(|task| task.task);
                of_tasks("deploy", deployment.job, deployment.attempt, tasks)
            }
            ToTaskManager::Cancel {
                job,
                attempt,
                tasks,
            } => of_tasks("cancel", *job, *attempt, tasks.iter().copied()),
            ToTaskManager::TriggerCheckpoint {
                job,
                checkpoint: id,
                ..
            } => checkpoint("trigger checkpoint", *job, *id),
            ToTaskManager::NotifyComplete {
                job,
                checkpoint: id,
                ..
            } => checkpoint("complete checkpoint", *job, *id),
            ToTaskManager::NotifyAborted {
                job,
                checkpoint: id,
                ..
            } => checkpoint("abort checkpoint", *job, *id),
            ToTaskManager::Resume { job, .. } => {
                Sketch::new(Kind::Task, "resume", vec![Subject::job(*job)])
            }
            ToTaskManager::ReleaseJob { job } => {
                Sketch::new(Kind::Task, "release job", vec![Subject::job(*job)])
            }
            ToTaskManager::Dismissed => Sketch::new(Kind::Life, "dismissed", vec![]),
        }
    }
}

fn of_tasks(
    verb: &str,
    job: JobId,
    attempt: Attempt,
    tasks: impl Iterator<Item = TaskId> + Clone,
) -> Sketch {
    let id = |task| AttemptId { job, task, attempt };
    let names = and_more(tasks.clone().map(|task| name_of_attempt(id(task))));
    let about = tasks.map(|task| Subject::attempt(id(task))).collect();
    Sketch::new(Kind::Task, format!("{verb} {names}"), about)
}

impl Told for FromTaskManager {
    fn sketch(&self) -> Sketch {
        match self {
            FromTaskManager::Heartbeat { .. } => Sketch::new(Kind::Heartbeat, "heartbeat", vec![]),
            FromTaskManager::Leave { within } => {
                let within = within.as_millis();
                Sketch::new(Kind::Life, format!("leaves within {within} ms"), vec![])
            }
            FromTaskManager::TaskStates(changes) => {
                let name = |attempt, report: &TaskReport| {
                    let state = match report {
                        TaskReport::Initializing => "INITIALIZING",
                        TaskReport::Running => "RUNNING",
                        TaskReport::EndOfData => "end of data",
                        TaskReport::Finished => "FINISHED",
                        TaskReport::Canceled => "CANCELED",
                        TaskReport::Failed { .. } => "FAILED",
                    };
                    format!("{} {state}", name_of_attempt(attempt))
                };
                let names = changes.iter().map(|c| name(c.attempt, &c.report));
                let about = changes.iter().map(|c| Subject::attempt(c.attempt));
                Sketch::new(Kind::Task, and_more(names), about.collect())
            }
            FromTaskManager::Acknowledge(ack) => {
                let (id, name) = (ack.checkpoint, name_of_attempt(ack.attempt));
                let title = format!("acknowledge {} by {name}", id.0);
                let about = vec![Subject::snapshot(ack.attempt, id)];
                Sketch::new(Kind::Checkpoint, title, about)
            }
            FromTaskManager::Decline {
                attempt,
                checkpoint,
                ..
            } => {
                let title = format!("decline {} by {}", checkpoint.0, name_of_attempt(*attempt));
                let about = vec![Subject::snapshot(*attempt, *checkpoint)];
                Sketch::new(Kind::Checkpoint, title, about)
            }
        }
    }
}

impl Told for tm::Input {
    fn sketch(&self) -> Sketch {
        match self {
            tm::Input::Connected => Sketch::new(Kind::Life, "connected", vec![]),
            tm::Input::Disconnected => Sketch::new(Kind::Life, "disconnected", vec![]),
            tm::Input::Message(envelope) => envelope.sketch(),
            tm::Input::Task { attempt, event } => of_task(*attempt, event),
            tm::Input::Leave { .. } => Sketch::new(Kind::Life, "is to leave", vec![]),
            tm::Input::Wake => Sketch::new(Kind::Timer, "wake", vec![]),
        }
    }
}

fn of_task(attempt: AttemptId, event: &TaskEvent) -> Sketch {
    let name = name_of_attempt(attempt);
    let task = |state: &str, ending| Sketch {
        ending,
        ..Sketch::new(
            Kind::Task,
            format!("{name} {state}"),
            vec![Subject::attempt(attempt)],
        )
    };
    let snapshot = |verb: &str, id: CheckpointId| {
        let about = vec![Subject::snapshot(attempt, id)];
        Sketch::new(Kind::Checkpoint, format!("{name} {verb} {}", id.0), about)
    };
    match event {
        TaskEvent::Running => task("runs", None),
        TaskEvent::EndOfData => task("is at its end of data", None),
        TaskEvent::Finished => task("finished", Some("FINISHED")),
        TaskEvent::Canceled => task("stopped", Some("CANCELED")),
        TaskEvent::Failed { .. } => task("failed", Some("FAILED")),
        TaskEvent::Snapshotted { checkpoint, .. } => snapshot("took snapshot", *checkpoint),
        TaskEvent::Declined { checkpoint, .. } => snapshot("declines", *checkpoint),
    }
}

impl Told for tm::Effect {
    fn sketch(&self) -> Sketch {
        let task = |verb: &str, id: AttemptId| {
            let title = format!("{verb} {}", name_of_attempt(id));
            Sketch::new(Kind::Task, title, vec![Subject::attempt(id)])
        };
        let checkpoint = |verb: &str, attempt: AttemptId, id: CheckpointId| {
            let title = format!("{verb} {} of {}", id.0, name_of_attempt(attempt));
            let about = vec![Subject::snapshot(attempt, id)];
            Sketch::new(Kind::Checkpoint, title, about)
        };
        match self {
            tm::Effect::Connect => Sketch::new(Kind::Life, "connects", vec![]),
            tm::Effect::Close => Sketch::new(Kind::Life, "closes", vec![]),
            tm::Effect::SendHello(hello) => {
                let about = hello.inventory.iter();
                let about: Vec<_> = about.map(|item| Subject::attempt(item.attempt)).collect();
                let title = format!("hello, {} attempts", about.len());
                Sketch::new(Kind::Life, title, about)
            }
            tm::Effect::Send(message) => message.sketch(),
            tm::Effect::Start(start) => task("start", start.attempt),
            tm::Effect::Cancel(attempt) => task("cancel", *attempt),
            tm::Effect::End => Sketch::new(Kind::Life, "ends", vec![]),
            tm::Effect::GiveUp(attempt) => task("gives up for", *attempt),
            tm::Effect::Trigger {
                attempt,
                checkpoint: id,
                ..
            } => checkpoint("trigger", *attempt, *id),
            tm::Effect::Complete {
                attempt,
                checkpoint: id,
                ..
            } => checkpoint("complete", *attempt, *id),
            tm::Effect::Abort {
                attempt,
                checkpoint: id,
            } => checkpoint("abort", *attempt, *id),
            tm::Effect::AbortBelow { attempt, next } => checkpoint("abort below", *attempt, *next),
        }
    }
}
