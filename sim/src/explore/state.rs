//! The whole state of the explored world, as values that can be copied and compared.

use super::part::Part;
use super::promises::History;
use super::scope::Scope;
use jobmanager_core::id::{AttemptId, CheckpointId, CommitId, Epoch, SessionId};
use jobmanager_core::jobmanager::{Coordinator, Discard, StoreOutcome};
use jobmanager_core::message::{Envelope, FromTaskManager, Hello};
use jobmanager_core::record::{Record, RecordKey, RecordOp};
use jobmanager_core::taskmanager::{Aligner, TaskStart, Worker};
use jobmanager_core::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use xxhash_rust::xxh3::Xxh3Default;

/// Everything that has a bearing on what can happen next, and on whether it may.
#[derive(Clone, Hash)]
pub(super) struct State {
    pub(super) now: Timestamp,
    pub(super) store: Part<Store>,
    pub(super) blobs: Part<BTreeMap<String, Lineage>>,
    /// Those that live, the latest last. At most two.
    pub(super) leaders: Vec<Part<Leader>>,
    pub(super) taskmanagers: [Part<TaskManager>; 2],
    pub(super) links: Vec<Part<Link>>,
    /// What producers have sent to their consumer, by the consumer.
    pub(super) channels: Part<BTreeMap<AttemptId, VecDeque<Item>>>,
    pub(super) history: Part<History>,
    pub(super) budget: Budget,
    /// Only the default schedule is followed from here.
    pub(super) settled: bool,
}

/// What may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) faults: u8,
    pub(super) hurries: u8,
    pub(super) cancels: u8,
}

impl Budget {
    pub(super) fn of(scope: &Scope) -> Self {
        Budget {
            faults: scope.faults,
            hurries: scope.hurries,
            cancels: scope.cancels,
        }
    }

    pub(super) const NOTHING: Budget = Budget {
        faults: 0,
        hurries: 0,
        cancels: 0,
    };
}

/// The metadata store.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Store {
    pub(super) records: BTreeMap<RecordKey, Record>,
    pub(super) epoch: Epoch,
    /// A write of a leader that died before it arrived. The next leader's epoch fences it.
    pub(super) orphan: Option<Rc<Vec<RecordOp>>>,
}

/// A JobManager process that leads, or believes so.
#[derive(Debug, Clone)]
pub(super) struct Leader {
    pub(super) epoch: Epoch,
    pub(super) coordinator: Coordinator,
    pub(super) sessions: u64,
    pub(super) write: Option<Write>,
    /// Deletions whose answer matters and was not given yet.
    pub(super) discarded: Option<Discard>,
}

impl Hash for Leader {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.epoch.hash(state);
        self.coordinator.digest().hash(state);
        self.sessions.hash(state);
        self.write.hash(state);
        self.discarded.hash(state);
    }
}

/// The write of a leader that is under way.
#[derive(Debug, Clone, Hash)]
pub(super) struct Write {
    pub(super) commit: CommitId,
    pub(super) ops: Rc<Vec<RecordOp>>,
    /// Set once it has arrived at the store.
    pub(super) outcome: Option<StoreOutcome>,
}

/// A TaskManager with its processes, one after the other.
#[derive(Debug, Clone, Hash)]
pub(super) struct TaskManager {
    pub(super) incarnation: u64,
    /// Absent while no process runs.
    pub(super) worker: Option<Worker>,
    /// The worker wants a connection.
    pub(super) connecting: bool,
    pub(super) tasks: BTreeMap<AttemptId, Task>,
}

/// A connection between a TaskManager's process and a leader.
#[derive(Debug, Clone, Hash)]
pub(super) struct Link {
    pub(super) tm: usize,
    /// The leader's epoch.
    pub(super) leader: Epoch,
    /// Set once the leader has heard the hello.
    pub(super) session: Option<SessionId>,
    pub(super) to_leader: VecDeque<Said>,
    pub(super) to_worker: VecDeque<Envelope>,
    /// Whether each side is still at it; the other one learns of the end after what is on its way.
    pub(super) leader_open: bool,
    pub(super) worker_open: bool,
    /// It broke: both sides will learn that.
    pub(super) cut: bool,
}

/// What a worker says.
#[derive(Debug, Clone, Hash)]
pub(super) enum Said {
    Hello(Hello),
    Message(FromTaskManager),
}

/// A running task: no records, only what is published and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Task {
    pub(super) start: TaskStart,
    pub(super) phase: TaskPhase,
    pub(super) lineage: Lineage,
    pub(super) end_of_data: bool,
    /// Taken and not yet in the storage.
    pub(super) snapshots: VecDeque<Snapshot>,
    /// For a task with an input.
    pub(super) aligner: Option<Aligner>,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TaskPhase {
    Restoring,
    Running,
    Stopping,
}

/// The state of a task: it stands for everything that the task has put out so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Lineage {
    /// Output is cut into segments by the task's snapshots; this one is being filled.
    pub(super) segment: u32,
    /// Segments that are complete and not known to be published: prepared transactions.
    pub(super) prepared: Vec<Prepared>,
}

/// A segment of output that waits for its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Prepared {
    pub(super) segment: u32,
    pub(super) by: AttemptId,
    pub(super) checkpoint: CheckpointId,
}

/// A snapshot on its way to the storage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Snapshot {
    pub(super) checkpoint: CheckpointId,
    pub(super) lineage: Lineage,
    pub(super) end_of_data: bool,
}

/// What travels from a source to its sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Barrier(CheckpointId),
    End,
}

impl State {
    /// Names the state: equal states have equal digests.
    pub(super) fn digest(&self) -> u128 {
        let mut wide = Wide(Xxh3Default::default());
        self.hash(&mut wide);
        wide.0.digest128()
    }

    /// The latest leader, if one lives.
    pub(super) fn latest(&self) -> Option<&Part<Leader>> {
        self.leaders.last()
    }

    pub(super) fn leader(&self, epoch: Epoch) -> Option<usize> {
        self.leaders.iter().position(|leader| leader.epoch == epoch)
    }

    /// The connection that a worker holds, if any.
    pub(super) fn link_of(&self, tm: usize) -> Option<usize> {
        self.links
            .iter()
            .position(|link| link.tm == tm && link.worker_open)
    }

    pub(super) fn link_of_session(&self, leader: Epoch, session: SessionId) -> Option<usize> {
        self.links
            .iter()
            .position(|link| link.leader == leader && link.session == Some(session))
    }
}

/// 128 bits of digest, for more states than 64 bits can tell apart without luck.
struct Wide(Xxh3Default);

impl Hasher for Wide {
    fn finish(&self) -> u64 {
        self.0.digest()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}
