//! What a task does with a row, what it keeps between rows, and how that becomes a snapshot.

use crate::plan::job::{OperatorPlan, Row, map_row, source_row};
use crate::plan::options::Micros;
use crate::storage::external::{External, SinkId, Transaction};
use jobmanager_core::id::{Attempt, AttemptId, CheckpointId, Epoch};
use std::collections::BTreeMap;

/// A running operator with its state.
#[derive(Debug)]
pub(crate) enum Operator {
    Source(Source),
    Map { salt: u64 },
    Count(Count),
    Sink(Sink),
    StandIn(StandIn),
}

/// Stands in for an operator that is not simulated: of what it computes nothing is known but whether it is
/// at its end. A source has none of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StandIn {
    /// It has processed the end of its data.
    pub(crate) ended: bool,
}

/// What a stand-in's own snapshots begin with; after it comes whether it was at its end. A snapshot of the
/// operator that it stands in for says nothing to it.
const STAND_IN: &[u8] = b"\xffstand-in ";

/// Makes rows in the order of their offsets.
#[derive(Debug)]
pub(crate) struct Source {
    subtask: u32,
    count: Option<u64>,
    keys: u64,
    batch: u64,
    pub(crate) pause: u64,
    pub(crate) offset: u64,
}

/// Counts rows per key.
#[derive(Debug)]
pub(crate) struct Count {
    at_end: bool,
    counts: BTreeMap<u64, u64>,
    /// The counts were emitted at the end of the input, and are not emitted again.
    finished: bool,
}

/// Collects rows into transactions.
#[derive(Debug)]
pub(crate) struct Sink {
    id: SinkId,
    attempt: Attempt,
    open: Vec<Row>,
    closed: Vec<Transaction>,
}

impl Operator {
    /// A fresh operator for this attempt.
    pub(crate) fn new(plan: OperatorPlan, attempt: AttemptId) -> Self {
        match plan {
            OperatorPlan::Source {
                count,
                keys,
                batch,
                pause,
            } => Operator::Source(Source {
                subtask: attempt.task.subtask.0,
                count,
                keys,
                batch,
                pause,
                offset: 0,
            }),
            OperatorPlan::Map { salt } => Operator::Map { salt },
            OperatorPlan::Count { at_end } => Operator::Count(Count {
                at_end,
                counts: BTreeMap::new(),
                finished: false,
            }),
            OperatorPlan::Sink => Operator::Sink(Sink {
                id: SinkId {
                    job: attempt.job,
                    task: attempt.task,
                },
                attempt: attempt.attempt,
                open: Vec::new(),
                closed: Vec::new(),
            }),
        }
    }

    /// Takes one row; what it makes of it goes downstream.
    pub(crate) fn process(&mut self, row: Row) -> Vec<Row> {
        match self {
            Operator::Source(_) | Operator::StandIn(_) => Vec::new(),
            Operator::Map { salt } => map_row(*salt, row),
            Operator::Count(count) => {
                let n = count.counts.entry(row.key).or_default();
                *n += 1;
                if count.at_end {
                    return Vec::new();
                }
                vec![Row {
                    key: row.key,
                    value: *n,
                }]
            }
            Operator::Sink(sink) => {
                sink.open.push(row);
                Vec::new()
            }
        }
    }

    /// The input has ended: what is left goes downstream, once over all attempts.
    pub(crate) fn finish(&mut self) -> Vec<Row> {
        match self {
            Operator::Count(count) if count.at_end && !count.finished => {
                count.finished = true;
                let row = |(key, value): (&u64, &u64)| Row {
                    key: *key,
                    value: *value,
                };
                count.counts.iter().map(row).collect()
            }
            Operator::Count(_)
            | Operator::Source(_)
            | Operator::Map { .. }
            | Operator::Sink(_)
            | Operator::StandIn(_) => Vec::new(),
        }
    }

    /// The state; a sink's open transaction is closed and prepared outside.
    pub(crate) fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        external: &mut External,
    ) -> Vec<u8> {
        match self {
            Operator::Source(source) => encode(&[source.offset]),
            Operator::Map { .. } => Vec::new(),
            Operator::StandIn(stand_in) => [STAND_IN, &[u8::from(stand_in.ended)]].concat(),
            Operator::Count(count) => {
                let mut numbers = vec![u64::from(count.finished)];
                numbers.extend(count.counts.iter().flat_map(|(key, n)| [*key, *n]));
                encode(&numbers)
            }
            Operator::Sink(sink) => {
                let transaction = Transaction {
                    attempt: sink.attempt,
                    checkpoint,
                };
                external.prepare(sink.id, transaction, std::mem::take(&mut sink.open));
                sink.closed.push(transaction);
                let numbers = |t: &Transaction| {
                    [
                        t.attempt.epoch.0,
                        u64::from(t.attempt.number),
                        t.checkpoint.0,
                    ]
                };
                let numbers: Vec<u64> = sink.closed.iter().flat_map(numbers).collect();
                encode(&numbers)
            }
        }
    }

    /// Starts from a snapshot, or from nothing. A sink publishes what the snapshot describes. It leaves the
    /// rest alone: another attempt may still be the one that goes on, if an old leader ordered this one.
    pub(crate) fn restore(&mut self, state: Option<&[u8]>, external: &mut External) {
        let numbers = state.map(decode).unwrap_or_default();
        match self {
            Operator::StandIn(stand_in) => {
                let ended = state.and_then(|state| state.strip_prefix(STAND_IN));
                stand_in.ended |= ended == Some(&[1]);
            }
            Operator::Source(source) => source.offset = numbers.first().copied().unwrap_or(0),
            Operator::Map { .. } => {}
            Operator::Count(count) => {
                let Some((finished, pairs)) = numbers.split_first() else {
                    return;
                };
                count.finished = *finished == 1;
                count.counts = pairs
                    .chunks_exact(2)
                    .map(|pair| (pair[0], pair[1]))
                    .collect();
            }
            Operator::Sink(sink) => {
                for described in numbers.chunks_exact(3) {
                    let number = u32::try_from(described[1]).expect("it was a u32 before");
                    let transaction = Transaction {
                        attempt: Attempt {
                            epoch: Epoch(described[0]),
                            number,
                        },
                        checkpoint: CheckpointId(described[2]),
                    };
                    external.commit(sink.id, transaction);
                }
            }
        }
    }

    /// A sink publishes every closed transaction up to this checkpoint. If it took part in it, what
    /// earlier attempts left is dead: nobody goes on from there any more.
    pub(crate) fn commit(&mut self, checkpoint: CheckpointId, external: &mut External) {
        if let Operator::Sink(sink) = self {
            let due = |t: &Transaction| t.checkpoint <= checkpoint;
            for transaction in sink.closed.iter().filter(|t| due(t)) {
                external.commit(sink.id, *transaction);
            }
            if sink
                .closed
                .iter()
                .any(|t| due(t) && t.attempt == sink.attempt)
            {
                external.drop_leftovers(sink.id, sink.attempt);
            }
            sink.closed.retain(|t| !due(t));
        }
    }

    /// A sink of a job without checkpoints publishes everything.
    pub(crate) fn publish(&mut self, external: &mut External) {
        if let Operator::Sink(sink) = self {
            external.publish(sink.id, std::mem::take(&mut sink.open));
        }
    }
}

impl Operator {
    /// How long it makes rows yet, if it is a source with an end.
    pub(crate) fn time_left(&self) -> Option<Micros> {
        match self {
            Operator::Source(source) => source.time_left(),
            Operator::StandIn(StandIn { ended: true }) => Some(0),
            Operator::StandIn(StandIn { ended: false })
            | Operator::Map { .. }
            | Operator::Count(_)
            | Operator::Sink(_) => None,
        }
    }

    /// It is at the end of its data.
    pub(crate) fn skip_to_end(&mut self) {
        match self {
            Operator::Source(source) => source.skip_to_end(),
            Operator::StandIn(stand_in) => stand_in.ended = true,
            Operator::Map { .. } | Operator::Count(_) | Operator::Sink(_) => {}
        }
    }
}

impl Source {
    /// How long it makes rows yet, without any pause; `None` if it has no end.
    fn time_left(&self) -> Option<Micros> {
        let rows = self.count?.saturating_sub(self.offset);
        Some(rows.div_ceil(self.batch) * self.pause)
    }

    /// Every row that it has was made.
    fn skip_to_end(&mut self) {
        self.offset = self.count.unwrap_or(self.offset);
    }

    /// The next rows, and whether they are the last ones.
    pub(crate) fn next_rows(&mut self) -> (Vec<Row>, bool) {
        let end = self.count.unwrap_or(u64::MAX);
        let until = end.min(self.offset + self.batch);
        let rows = (self.offset..until)
            .map(|offset| source_row(self.subtask, offset, self.keys))
            .collect();
        self.offset = self.offset.max(until);
        (rows, self.offset >= end)
    }
}

fn encode(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn decode(bytes: &[u8]) -> Vec<u64> {
    let number = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().expect("chunks of 8 bytes"));
    bytes.chunks_exact(8).map(number).collect()
}
