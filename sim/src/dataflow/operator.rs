//! What a task does with a row, what it keeps between rows, and how that becomes a snapshot.

use super::contents::Contents;
use super::frame::key_bytes;
use crate::plan::job::{OperatorPlan, Row, map_row, source_row};
use crate::plan::options::Micros;
use crate::storage::external::{External, SinkId, Transaction};
use jobmanager_core::graph::key_group;
use jobmanager_core::id::{Attempt, AttemptId, CheckpointId, Epoch, JobId, SubtaskIndex};
use jobmanager_proto::records::key_hash;
use std::collections::{BTreeMap, BTreeSet};

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

/// What a stand-in's own rule begins with; after it comes whether it was at its end. A snapshot of the
/// operator that it stands in for says nothing to it.
const STAND_IN: u64 = u64::MAX;

/// Makes rows of its splits, of each in the order of their offsets.
#[derive(Debug)]
pub(crate) struct Source {
    count: Option<u64>,
    keys: u64,
    batch: u64,
    pub(crate) pause: u64,
    /// The offset of the next row of each of its splits.
    splits: BTreeMap<u32, u64>,
}

/// Counts rows per key.
#[derive(Debug)]
pub(crate) struct Count {
    at_end: bool,
    max_parallelism: u32,
    counts: BTreeMap<u64, u64>,
    /// The counts were emitted at the end of the input, and are not emitted again.
    finished: bool,
    subtask: u32,
    /// How many rows this subtask has counted since it started.
    total: u64,
}

/// Collects rows into transactions.
#[derive(Debug)]
pub(crate) struct Sink {
    id: SinkId,
    attempt: Attempt,
    /// Attempts before this one had another parallelism.
    since: Attempt,
    open: Vec<Row>,
    closed: Vec<Transaction>,
    /// The subtasks of other parallelisms whose transactions it was given, and the attempts that had each: what else
    /// these left is to be forgotten.
    inherited: BTreeSet<(u32, Attempt, Attempt)>,
}

/// What an operator cannot go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit(pub(crate) String);

impl Operator {
    /// A fresh operator for this attempt, of a vertex with so many subtasks and key groups.
    pub(crate) fn new(
        plan: OperatorPlan,
        attempt: AttemptId,
        (parallelism, max_parallelism): (u32, u32),
        since: Attempt,
    ) -> Self {
        let subtask = attempt.task.subtask.0;
        match plan {
            OperatorPlan::Source {
                splits,
                count,
                keys,
                batch,
                pause,
            } => Operator::Source(Source {
                count,
                keys,
                batch,
                pause,
                splits: (subtask..splits)
                    .step_by(parallelism as usize)
                    .map(|split| (split, 0))
                    .collect(),
            }),
            OperatorPlan::Map { salt } => Operator::Map { salt },
            OperatorPlan::Count { at_end } => Operator::Count(Count {
                at_end,
                max_parallelism,
                counts: BTreeMap::new(),
                finished: false,
                subtask,
                total: 0,
            }),
            OperatorPlan::Sink => Operator::Sink(Sink {
                id: SinkId {
                    job: attempt.job,
                    task: attempt.task,
                },
                attempt: attempt.attempt,
                since,
                open: Vec::new(),
                closed: Vec::new(),
                inherited: BTreeSet::new(),
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
                count.total += 1;
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
    ) -> Contents {
        let mut parts = Contents::default();
        match self {
            Operator::Source(source) => {
                let split = |(split, offset): (&u32, &u64)| vec![u64::from(*split), *offset];
                let splits = source.splits.iter().map(split).collect();
                parts.lists.insert(Contents::SPLITS, splits);
            }
            Operator::Map { .. } => {}
            Operator::StandIn(stand_in) => {
                let rules = vec![vec![STAND_IN, u64::from(stand_in.ended)]];
                parts.lists.insert(Contents::RULES, rules);
            }
            Operator::Count(count) => {
                for (key, n) in &count.counts {
                    let of_group = parts.groups.entry(count.group(*key)).or_default();
                    of_group.extend([*key, *n]);
                }
                let rules = vec![vec![u64::from(count.at_end)]];
                parts.lists.insert(Contents::RULES, rules);
                let total = vec![vec![u64::from(count.subtask), count.total]];
                parts.lists.insert(Contents::TOTALS, total);
            }
            Operator::Sink(sink) => {
                let transaction = Transaction {
                    attempt: sink.attempt,
                    checkpoint,
                };
                external.prepare(sink.id, transaction, std::mem::take(&mut sink.open));
                sink.closed.push(transaction);
                let numbers = |t: &Transaction| {
                    let number = u64::from(t.attempt.number);
                    [t.attempt.epoch.0, number, t.checkpoint.0]
                };
                let job = job_number(sink.id.job);
                let owner = |&(subtask, since, until): &(u32, Attempt, Attempt)| {
                    let [since, until] = [since, until].map(|it| [it.epoch.0, it.number.into()]);
                    [&[job, u64::from(subtask)], &since[..], &until[..]].concat()
                };
                // Nobody knows yet which of its attempts is the last one.
                let mut own = owner(&(sink.id.task.subtask.0, sink.since, Attempt::default()));
                own.extend(sink.closed.iter().flat_map(numbers));
                let of_others = sink.inherited.iter().map(owner);
                let closed = [own].into_iter().chain(of_others).collect();
                parts.lists.insert(Contents::CLOSED, closed);
            }
        }
        parts
    }

    /// Goes on from what it is given. A sink publishes what that describes. It leaves the rest alone: another
    /// attempt may still be the one that goes on, if an old leader ordered this one.
    pub(crate) fn restore(
        &mut self,
        parts: &Contents,
        end_of_data: bool,
        external: &mut External,
    ) -> Result<(), Misfit> {
        let misfit = || Misfit(format!("{parts:?}"));
        match self {
            Operator::StandIn(stand_in) => {
                let rules = parts.list(Contents::RULES);
                stand_in.ended |= rules.iter().any(|rule| *rule == [STAND_IN, 1]);
            }
            Operator::Source(source) => {
                source.splits.clear();
                for split in parts.list(Contents::SPLITS) {
                    let [split, offset] = split[..] else {
                        return Err(misfit());
                    };
                    let split = u32::try_from(split).map_err(|_| misfit())?;
                    if source.splits.insert(split, offset).is_some() {
                        return Err(misfit());
                    }
                }
                if end_of_data {
                    source.skip_to_end();
                }
            }
            Operator::Map { .. } => {}
            Operator::Count(count) => {
                let rules = parts.list(Contents::RULES);
                let wrong = |rule: &Vec<u64>| *rule != [u64::from(count.at_end)];
                let totals = parts.list(Contents::TOTALS).iter().map(|it| it[0]);
                let others: BTreeSet<u64> = totals.clone().collect();
                if rules.len() != 1 || rules.iter().any(wrong) || others.len() < totals.count() {
                    return Err(misfit());
                }
                count.finished = end_of_data;
                let pairs = parts.groups.values().flat_map(|it| it.chunks_exact(2));
                count.counts = pairs.map(|pair| (pair[0], pair[1])).collect();
            }
            Operator::Sink(sink) => {
                for closed in parts.list(Contents::CLOSED) {
                    sink.take_over(closed, external).ok_or_else(misfit)?;
                }
            }
        }
        Ok(())
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
                external.drop_leftovers(sink.id, sink.since..sink.attempt);
                for (owner, since, until) in std::mem::take(&mut sink.inherited) {
                    external.drop_leftovers(sink.owner(owner), since..until);
                }
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
        let count = self.count?;
        let frames = |offset: &u64| count.saturating_sub(*offset).div_ceil(self.batch);
        Some(self.splits.values().map(frames).sum::<u64>() * self.pause)
    }

    /// Every row that it has was made.
    fn skip_to_end(&mut self) {
        for offset in self.splits.values_mut() {
            *offset = self.count.unwrap_or(*offset);
        }
    }

    /// The next rows, with the split of which they are and the offset after them, and whether they are the last
    /// ones. The split that is furthest behind comes first.
    pub(crate) fn next_rows(&mut self) -> (Option<(u32, u64)>, Vec<Row>, bool) {
        let end = self.count.unwrap_or(u64::MAX);
        let behind = self.splits.iter_mut().min_by_key(|(_, offset)| **offset);
        let Some((&split, offset)) = behind else {
            return (None, Vec::new(), true);
        };
        let until = end.min(*offset + self.batch);
        let rows = (*offset..until)
            .map(|offset| source_row(split, offset, self.keys))
            .collect();
        *offset = until.max(*offset);
        let made = (split, *offset);
        let last = self.splits.values().all(|offset| *offset >= end);
        (Some(made), rows, last)
    }
}

impl Count {
    fn group(&self, key: u64) -> u32 {
        key_group(key_hash(&key_bytes(key)), self.max_parallelism)
    }
}

impl Sink {
    /// Under which the transactions of a subtask of this vertex are known.
    fn owner(&self, subtask: u32) -> SinkId {
        let mut id = self.id;
        id.task.subtask = SubtaskIndex(subtask);
        id
    }

    /// Publishes what a subtask, be it one of an earlier parallelism, has closed; none if it cannot be read.
    fn take_over(&mut self, closed: &[u64], external: &mut External) -> Option<()> {
        let [job, owner, since @ .., _, _] = closed.get(..6)? else {
            return None;
        };
        let attempt = |numbers: &[u64]| {
            Some(Attempt {
                epoch: Epoch(*numbers.first()?),
                number: u32::try_from(*numbers.get(1)?).ok()?,
            })
        };
        let owner = u32::try_from(*owner).ok()?;
        let (since, until) = (attempt(since)?, attempt(&closed[4..6])?);
        for numbers in closed[6..].chunks(3) {
            external.commit(self.owner(owner), transaction(numbers)?);
        }
        // Of the attempts of another job, nothing is left here.
        let is_own = until == Attempt::default() && since == self.since;
        if *job == job_number(self.id.job) && !is_own {
            let until = if until == Attempt::default() {
                self.since
            } else {
                until
            };
            self.inherited.insert((owner, since, until));
        }
        Some(())
    }
}

/// A number for a job.
fn job_number(JobId(id): JobId) -> u64 {
    (id >> 64) as u64 ^ id as u64
}

/// A closed transaction.
fn transaction(numbers: &[u64]) -> Option<Transaction> {
    let [epoch, number, checkpoint] = *numbers else {
        return None;
    };
    Some(Transaction {
        attempt: Attempt {
            epoch: Epoch(epoch),
            number: u32::try_from(number).ok()?,
        },
        checkpoint: CheckpointId(checkpoint),
    })
}
