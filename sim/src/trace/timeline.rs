//! What lies between entries: messages on their way, spans of time, and the states of machines.

use crate::plan::options::Micros;
use crate::storage::store::WriteId;
use crate::trace::told::{Kind, Sketch, Subject};
use crate::trace::{Entry, Lane};
use crate::world::World;
use crate::world::event::Instance;
use jobmanager_core::id::{AttemptId, CheckpointId, RequestId};
use jobmanager_core::jobmanager::Discard;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// More messages or spans than this are counted, not kept: a storm must not eat the machine.
const KEPT: usize = 1_000_000;

/// Messages, spans and states of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// In the order in which they were sent.
    pub messages: Vec<Message>,
    /// In the order in which they began.
    pub spans: Vec<Span>,
    /// In the order of their entries.
    pub states: Vec<State>,
    /// How many messages and spans there were that are not here.
    pub left_out: u64,
    /// Those of one name in the order in which they were sent.
    under_way: BTreeMap<Parcel, VecDeque<usize>>,
    /// The last entry.
    last: Option<(usize, Lane)>,
    /// The last input of each lane.
    inputs: BTreeMap<Lane, usize>,
    /// The message that the coming entry of its receiver is about.
    arriving: Option<usize>,
}

/// Something that travels from one lane to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub from: Lane,
    /// Whom it is for.
    pub to: Lane,
    /// When it was sent.
    pub sent: Micros,
    /// What became of it.
    pub passage: Passage,
    /// What it belongs to.
    pub kind: Kind,
    /// The message in a few words.
    pub title: String,
    /// The message itself; empty if its entry has it.
    pub what: String,
    /// What it is about.
    pub about: Vec<Subject>,
    /// The position in the log of the order by which it was sent.
    pub sent_by: Option<usize>,
    /// The position in the log of the input that it became.
    pub received_as: Option<usize>,
}

/// What became of a message, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// The run ended before it arrived.
    UnderWay,
    /// It arrived.
    Arrived(Micros),
    /// It never will.
    Lost(Micros),
}

/// What a span shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanKind {
    /// A process lives.
    Life,
    /// A JobManager leads.
    Leads,
    /// A JobManager acts as if it led, although another one was elected.
    Outdated,
    /// A process stands still.
    Pause,
    /// One node does not hear another.
    Cut,
    /// The store refuses everything.
    Outage,
    /// A job has a status.
    Job,
    /// A checkpoint is pending.
    Checkpoint,
    /// An attempt reads its state.
    Restoring,
    /// An attempt runs.
    Running,
    /// An attempt was told to stop.
    Stopping,
}

impl SpanKind {
    /// Every kind, in the order of the declaration.
    pub const ALL: [SpanKind; 11] = [
        SpanKind::Life,
        SpanKind::Leads,
        SpanKind::Outdated,
        SpanKind::Pause,
        SpanKind::Cut,
        SpanKind::Outage,
        SpanKind::Job,
        SpanKind::Checkpoint,
        SpanKind::Restoring,
        SpanKind::Running,
        SpanKind::Stopping,
    ];
}

/// Something that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where.
    pub lane: Lane,
    /// What it shows.
    pub kind: SpanKind,
    /// From when on.
    pub begin: Micros,
    /// Until when, unless the run ended first.
    pub end: Option<Micros>,
    /// Its name.
    pub label: String,
    /// How it ended, if there is more to say than that.
    pub outcome: String,
    /// What it is about, if that is a job or a part of one.
    pub about: Option<Subject>,
}

/// The state of a coordinator or worker after an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The position of the input in the log.
    pub entry: usize,
    /// The machine's own digest of its whole state.
    pub digest: u64,
    /// What there is to see of it, in lines.
    pub text: String,
}

/// The name of something that travels, while it does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Parcel {
    /// A message on a connection, by the number that the network gave it.
    Message(u64),
    Request(RequestId),
    Answer(RequestId),
    Write(WriteId),
    Outcome(WriteId),
    Discard(Instance, Discard),
    Snapshot(AttemptId, CheckpointId),
}

impl Timeline {
    /// An entry was added to the log.
    pub(super) fn noted(&mut self, index: usize, lane: Lane, verb: &'static str) {
        self.last = Some((index, lane));
        if verb == "<-" {
            self.inputs.insert(lane, index);
        }
        let arriving = self.arriving.filter(|at| self.messages[*at].to == lane);
        if let Some(at) = arriving {
            self.messages[at].received_as = Some(index);
            self.arriving = None;
        }
    }

    /// What arrived and became no entry never will.
    pub(super) fn event_ends(&mut self) {
        self.arriving = None;
    }

    fn departs(&mut self, parcel: Parcel, mut message: Message, log: &[Entry]) {
        if self.messages.len() >= KEPT {
            self.left_out += 1;
            return;
        }
        let order = self.last.filter(|(_, lane)| *lane == message.from);
        if let Some((index, _)) = order.filter(|_| message.what.is_empty()) {
            message.sent_by = Some(index);
            message.kind = log[index].kind;
            message.title.clone_from(&log[index].title);
            message.about.clone_from(&log[index].about);
        }
        let position = self.messages.len();
        self.under_way
            .entry(parcel)
            .or_default()
            .push_back(position);
        self.messages.push(message);
    }

    fn ends(&mut self, parcel: &Parcel, passage: Passage) {
        let Some(positions) = self.under_way.get_mut(parcel) else {
            return;
        };
        let first = positions.pop_front();
        if positions.is_empty() {
            self.under_way.remove(parcel);
        }
        let Some(at) = first else {
            return;
        };
        self.messages[at].passage = passage;
        if matches!(passage, Passage::Arrived(_)) {
            self.arriving = Some(at);
        }
    }

    /// What is on its way and in no connection any more is lost.
    pub(super) fn keep_only(&mut self, numbers: &BTreeSet<u64>, now: Micros) {
        let lost = |parcel: &Parcel| match parcel {
            Parcel::Message(number) => !numbers.contains(number),
            Parcel::Request(_)
            | Parcel::Answer(_)
            | Parcel::Write(_)
            | Parcel::Outcome(_)
            | Parcel::Discard(..)
            | Parcel::Snapshot(..) => false,
        };
        let parcels = self.under_way.keys().filter(|parcel| lost(parcel));
        for parcel in parcels.cloned().collect::<Vec<_>>() {
            self.ends(&parcel, Passage::Lost(now));
        }
    }

    /// A span begins; tells its position.
    pub(super) fn begin(&mut self, span: Span) -> Option<usize> {
        if self.spans.len() >= KEPT {
            self.left_out += 1;
            return None;
        }
        self.spans.push(span);
        Some(self.spans.len() - 1)
    }

    /// Another timeline follows at this time; its entries come after so many others, and its lanes may be
    /// other ones here.
    pub(super) fn append(
        &mut self,
        other: &Timeline,
        entries: usize,
        at: Micros,
        lane: impl Fn(Lane) -> Lane,
    ) {
        for span in &mut self.spans {
            span.end.get_or_insert(at);
        }
        let after = |entry: Option<usize>| entry.map(|entry| entry + entries);
        self.messages
            .extend(other.messages.iter().map(|message| Message {
                from: lane(message.from),
                to: lane(message.to),
                sent_by: after(message.sent_by),
                received_as: after(message.received_as),
                ..message.clone()
            }));
        self.spans.extend(other.spans.iter().map(|span| Span {
            lane: lane(span.lane),
            ..span.clone()
        }));
        self.states.extend(other.states.iter().map(|state| State {
            entry: state.entry + entries,
            ..state.clone()
        }));
        self.left_out += other.left_out;
    }

    /// A machine is in this state after its last input.
    pub(super) fn reached(&mut self, lane: Lane, digest: u64, text: String) {
        if let Some(entry) = self.inputs.get(&lane) {
            self.states.push(State {
                entry: *entry,
                digest,
                text,
            });
        }
    }
}

impl World {
    /// The last order of `from` is on its way.
    pub(crate) fn departs(&mut self, parcel: impl FnOnce() -> Parcel, from: Lane, to: Lane) {
        let nothing = || (Sketch::new(Kind::Life, "", vec![]), String::new());
        self.departs_with(parcel, from, to, nothing);
    }

    /// Something without an entry of its own is on its way.
    pub(crate) fn departs_with(
        &mut self,
        parcel: impl FnOnce() -> Parcel,
        from: Lane,
        to: Lane,
        told: impl FnOnce() -> (Sketch, String),
    ) {
        let now = self.now;
        let Some(record) = self.record() else {
            return;
        };
        let (sketch, what) = told();
        let message = Message {
            from,
            to,
            sent: now,
            passage: Passage::UnderWay,
            kind: sketch.kind,
            title: sketch.title,
            what,
            about: sketch.about,
            sent_by: None,
            received_as: None,
        };
        record.timeline.departs(parcel(), message, &record.log);
    }

    /// It is there: the coming entry of its receiver is about it.
    pub(crate) fn arrives(&mut self, parcel: impl FnOnce() -> Parcel) {
        let now = self.now;
        if let Some(record) = self.record() {
            record.timeline.ends(&parcel(), Passage::Arrived(now));
        }
    }

    /// As [`Self::arrives`], of something that was not sent to this lane alone.
    pub(crate) fn arrives_at(&mut self, lane: Lane, parcel: impl FnOnce() -> Parcel) {
        let now = self.now;
        if let Some(record) = self.record() {
            let timeline = &mut record.timeline;
            let parcel = parcel();
            let first = timeline.under_way.get(&parcel).and_then(VecDeque::front);
            if let Some(at) = first {
                timeline.messages[*at].to = lane;
            }
            timeline.ends(&parcel, Passage::Arrived(now));
        }
    }

    /// It never will be.
    pub(crate) fn gets_lost(&mut self, parcel: impl FnOnce() -> Parcel) {
        let now = self.now;
        if let Some(record) = self.record() {
            record.timeline.ends(&parcel(), Passage::Lost(now));
        }
    }
}
