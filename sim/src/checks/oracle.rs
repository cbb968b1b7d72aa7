//! What the committed output must be: a small interpreter of the dataflow that knows no subtasks, no
//! channels, no checkpoints and no failures.
//!
//! It is fed every source row once, in any order, when some attempt first makes it, and derives which
//! rows each sink may ever publish. During the run the published rows of an exactly-once job are among
//! them, none too often; when the job has finished they are exactly them. Of a job that does not end, the
//! rows up to a checkpoint that every sink knows of are among the published ones.

use super::routes::Routes;
use super::state::Offsets;
use crate::plan::job::{JobPlan, OperatorPlan, Row, map_row, source_row};
use crate::storage::external::Published;
use jobmanager_core::graph::Partitioning;
use jobmanager_core::id::{JobId, TaskId, VertexIndex};
use jobmanager_core::message::AfterSavepoint;
use std::collections::{BTreeMap, BTreeSet};

type Counted = BTreeMap<Row, u64>;

/// Something that must not be: the invariant's name and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The broken invariant's name.
    pub name: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(name: &'static str, detail: String) -> Failure {
        Failure { name, detail }
    }
}

/// What a job's output promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    ExactlyOnce,
    AtLeastOnce,
}

/// The oracle of one job.
pub(crate) struct JobOracle {
    plan: JobPlan,
    promise: Promise,
    /// The first offset of each split of a source that was never made.
    fed: Offsets,
    counts: BTreeMap<u32, BTreeMap<u64, u64>>,
    flushed: BTreeSet<u32>,
    expected: BTreeMap<u32, Counted>,
    published: BTreeMap<u32, Counted>,
    /// The last count of each key that a sink's subtask published.
    last_count: BTreeMap<(TaskId, u64), u64>,
    routes: Routes,
    /// The job stopped with a savepoint: its sources make nothing more.
    stopped: Option<AfterSavepoint>,
    /// Where it starts, if it does not start from nothing.
    start: Option<Start>,
    /// Which subtask has what, and when, is not the same for all rows.
    is_rescaled: bool,
}

/// Where a job starts that goes on from where another one stopped.
#[derive(Clone)]
struct Start {
    fed: Offsets,
    counts: BTreeMap<u32, BTreeMap<u64, u64>>,
    flushed: BTreeSet<u32>,
    /// What was expected before.
    expected: BTreeMap<u32, Counted>,
    /// Who was drained has nothing left to do.
    drained: bool,
}

/// The oracles of all jobs.
#[derive(Default)]
pub(crate) struct Oracle(BTreeMap<JobId, JobOracle>);

impl Oracle {
    pub(crate) fn new(plans: &[JobPlan]) -> Self {
        let oracle = |plan: &JobPlan| (plan.id, JobOracle::new(plan.clone()));
        Oracle(plans.iter().map(oracle).collect())
    }

    /// The rows of a source's split were made up to this offset.
    pub(crate) fn feed(&mut self, job: JobId, source: VertexIndex, split: u32, until: u64) {
        if let Some(oracle) = self.0.get_mut(&job) {
            oracle.feed(source.0, split, until);
        }
    }

    /// Rows became visible outside.
    pub(crate) fn publish(&mut self, published: &Published) -> Result<(), Failure> {
        match self.0.get_mut(&published.sink.job) {
            Some(oracle) => oracle.publish(published.sink.task, &published.rows),
            None => {
                let detail = format!("job {} was never submitted", published.sink.job);
                Err(Failure::new("output_belongs_to_a_job", detail))
            }
        }
    }

    /// Every row that follows from the sources' rows up to these offsets is published.
    pub(crate) fn contains_up_to(&self, job: JobId, offsets: &Offsets) -> Result<(), Failure> {
        let oracle = self.0.get(&job);
        oracle.map_or(Ok(()), |oracle| oracle.contains_up_to(offsets))
    }

    /// The job stops here: what follows from later rows is never published.
    pub(crate) fn stop(
        &mut self,
        job: JobId,
        offsets: &Offsets,
        after: AfterSavepoint,
    ) -> Result<(), Failure> {
        let oracle = self.0.get_mut(&job);
        oracle.map_or(Ok(()), |oracle| oracle.stop(offsets, after))
    }

    /// A job goes on with another parallelism: sources whose offsets are told from there, all others as they are.
    pub(crate) fn rescale(
        &mut self,
        plan: &JobPlan,
        offsets: &Offsets,
        concerned: &BTreeSet<u32>,
    ) -> Result<(), Failure> {
        let oracle = self.0.get_mut(&plan.id);
        oracle.map_or(Ok(()), |oracle| oracle.rescale(plan, offsets, concerned))
    }

    /// A job starts where another one stopped.
    pub(crate) fn follow(&mut self, job: JobId, stopped: JobId) {
        let start = self.0.get(&stopped).map(|old| Start {
            fed: old.fed.clone(),
            counts: old.counts.clone(),
            flushed: old.flushed.clone(),
            expected: BTreeMap::new(),
            drained: old.stopped == Some(AfterSavepoint::Drain),
        });
        if let (Some(oracle), Some(start)) = (self.0.get_mut(&job), start) {
            oracle.begin(start);
        }
    }

    /// The job has finished: its output is complete.
    pub(crate) fn finish(&self, job: JobId) -> Result<(), Failure> {
        self.0.get(&job).map_or(Ok(()), JobOracle::finish)
    }
}

impl JobOracle {
    pub(crate) fn new(plan: JobPlan) -> Self {
        let option = |key: &str| plan.configuration.get(key).map(String::as_str);
        let checkpoints = option("execution.checkpointing.interval").is_some();
        let aligned = option("execution.checkpointing.mode") != Some("AT_LEAST_ONCE");
        let promise = if checkpoints && aligned {
            Promise::ExactlyOnce
        } else {
            Promise::AtLeastOnce
        };
        let routes = Routes::new(&plan);
        let mut oracle = JobOracle {
            plan,
            promise,
            fed: Offsets::new(),
            counts: BTreeMap::new(),
            flushed: BTreeSet::new(),
            expected: BTreeMap::new(),
            published: BTreeMap::new(),
            last_count: BTreeMap::new(),
            routes,
            stopped: None,
            start: None,
            is_rescaled: false,
        };
        oracle.flush();
        oracle
    }

    /// The oracle of the same job that was fed nothing.
    fn fresh(&self) -> Self {
        let mut fresh = JobOracle::new(self.plan.clone());
        if let Some(start) = &self.start {
            fresh.begin(start.clone());
        }
        fresh
    }

    /// It goes on where another one stopped, and makes no row again.
    fn begin(&mut self, start: Start) {
        self.fed = start.fed.clone();
        self.counts = start.counts.clone();
        self.flushed = start.flushed.clone();
        self.expected = start.expected.clone();
        self.stopped = start.drained.then_some(AfterSavepoint::Drain);
        self.start = Some(start);
    }

    fn feed(&mut self, vertex: u32, split: u32, until: u64) {
        // What attempts make that nobody can stop is of no use any more.
        if self.stopped.is_some() {
            return;
        }
        let OperatorPlan::Source { keys, .. } = self.plan.vertices[vertex as usize].operator else {
            return;
        };
        let fed = self.fed.entry((vertex, split)).or_default();
        let from = std::mem::replace(fed, until.max(*fed));
        for offset in from..until {
            self.leave(vertex, source_row(split, offset, keys));
        }
        if from < until {
            self.flush();
        }
    }

    fn rescale(
        &mut self,
        plan: &JobPlan,
        offsets: &Offsets,
        concerned: &BTreeSet<u32>,
    ) -> Result<(), Failure> {
        let mut until = self.fresh();
        let (restarted, others): (Offsets, Offsets) =
            (self.fed.iter()).partition(|((source, _), _)| concerned.contains(source));
        for split in restarted.keys() {
            let from = offsets.get(split).copied();
            until.feed(split.0, split.1, from.unwrap_or(0));
        }
        // The others begin where they began before.
        let start = Start {
            fed: until.fed.clone(),
            counts: until.counts.clone(),
            flushed: until.flushed.clone(),
            expected: until.expected.clone(),
            drained: self.start.as_ref().is_some_and(|start| start.drained),
        };
        for (split, fed) in others {
            until.feed(split.0, split.1, fed);
        }
        self.has_published_no_more_than(
            &until,
            "a_rescaled_job_has_published_what_its_checkpoint_has",
        )?;
        until.plan = plan.clone();
        until.start = Some(start);
        until.published = std::mem::take(&mut self.published);
        until.routes = Routes::default();
        until.is_rescaled = true;
        *self = until;
        self.flush();
        Ok(())
    }

    fn has_published_no_more_than(
        &self,
        until: &JobOracle,
        name: &'static str,
    ) -> Result<(), Failure> {
        let none = BTreeMap::new();
        for (vertex, rows) in &self.published {
            let expected = until.expected.get(vertex).unwrap_or(&none);
            let more = rows
                .iter()
                .find(|(row, times)| expected.get(row) < Some(times));
            if let Some((row, times)) = more.filter(|_| self.promise == Promise::ExactlyOnce) {
                let detail = format!("{row:?} is published {times} times");
                return Err(Failure::new(name, detail));
            }
        }
        Ok(())
    }

    fn stop(&mut self, offsets: &Offsets, after: AfterSavepoint) -> Result<(), Failure> {
        let mut until = self.fresh();
        for ((source, split), offset) in offsets {
            until.feed(*source, *split, *offset);
        }
        // Who had finished before is not in the savepoint.
        for (split, fed) in &self.fed {
            if !offsets.contains_key(split) {
                until.feed(split.0, split.1, *fed);
            }
        }
        until.stopped = Some(after);
        until.flush();
        let name = "a_stopped_job_has_published_what_its_savepoint_has";
        let verdict = self.has_published_no_more_than(&until, name);
        self.fed = until.fed;
        self.counts = until.counts;
        self.flushed = until.flushed;
        self.expected = until.expected;
        self.stopped = until.stopped;
        verdict
    }

    /// A row leaves a vertex over each of its edges.
    fn leave(&mut self, vertex: u32, row: Row) {
        for at in 0..self.plan.edges.len() {
            let edge = self.plan.edges[at];
            if edge.source != vertex {
                continue;
            }
            let copies = if edge.partitioning == Partitioning::Broadcast {
                self.plan.vertices[edge.target as usize].parallelism
            } else {
                1
            };
            for _ in 0..copies {
                self.enter(edge.target, row);
            }
        }
    }

    fn enter(&mut self, vertex: u32, row: Row) {
        match self.plan.vertices[vertex as usize].operator {
            OperatorPlan::Source { .. } => {}
            OperatorPlan::Map { salt } => {
                for made in map_row(salt, row) {
                    self.leave(vertex, made);
                }
            }
            OperatorPlan::Count { at_end } => {
                let n = self
                    .counts
                    .entry(vertex)
                    .or_default()
                    .entry(row.key)
                    .or_default();
                *n += 1;
                let counted = Row {
                    key: row.key,
                    value: *n,
                };
                if !at_end {
                    self.leave(vertex, counted);
                }
            }
            OperatorPlan::Sink => {
                *self
                    .expected
                    .entry(vertex)
                    .or_default()
                    .entry(row)
                    .or_default() += 1;
            }
        }
    }

    /// Counts that are emitted at the end leave when everything before them has ended.
    fn flush(&mut self) {
        for at in 0..self.plan.vertices.len() {
            let vertex = u32::try_from(at).expect("a handful of vertices");
            let at_end = OperatorPlan::Count { at_end: true };
            let due = self.plan.vertices[at].operator == at_end && self.has_ended(vertex);
            if !due || !self.flushed.insert(vertex) {
                continue;
            }
            for (key, value) in self.counts.get(&vertex).cloned().unwrap_or_default() {
                self.leave(vertex, Row { key, value });
            }
        }
    }

    /// Whether no more rows come into or out of a vertex.
    fn has_ended(&self, vertex: u32) -> bool {
        let plan = &self.plan.vertices[vertex as usize];
        if let OperatorPlan::Source { splits, count, .. } = plan.operator {
            let fed = |split| self.fed.get(&(vertex, split)).copied().unwrap_or(0);
            let drained = self.stopped == Some(AfterSavepoint::Drain);
            return drained || (0..splits).all(|split| Some(fed(split)) == count);
        }
        let mut inputs = self.plan.edges.iter().filter(|edge| edge.target == vertex);
        inputs.all(|edge| self.has_ended(edge.source))
    }

    pub(crate) fn publish(&mut self, task: TaskId, rows: &[Row]) -> Result<(), Failure> {
        let vertex = task.vertex.0;
        let ordered = self.promise == Promise::ExactlyOnce && !self.is_rescaled;
        let ordered = ordered && self.keeps_counts_in_order(vertex);
        // Rows that are counted twice make counts that nobody expects.
        let counted_before = self.sees(vertex, |operator| {
            matches!(operator, OperatorPlan::Count { .. })
        });
        for row in rows {
            let counted = self.published.entry(vertex).or_default();
            let times = counted.entry(*row).or_default();
            *times += 1;
            let expected = self.expected.get(&vertex).and_then(|rows| rows.get(row));
            let expected = expected.copied().unwrap_or(0);
            let wrong = match self.promise {
                Promise::ExactlyOnce => *times > expected,
                Promise::AtLeastOnce => expected == 0 && !counted_before,
            };
            if wrong {
                let detail = format!(
                    "job {} vertex {vertex}: {row:?} published {times} times, expected {expected}",
                    self.plan.id
                );
                return Err(Failure::new("output_is_a_prefix_of_the_oracle", detail));
            }
            if self.promise == Promise::ExactlyOnce {
                self.routes.publish(task, *row, expected)?;
            }
            if ordered {
                let last = self.last_count.insert((task, row.key), row.value);
                if last.is_some_and(|last| last >= row.value) {
                    let detail = format!("{task:?} published {row:?} after {last:?}");
                    return Err(Failure::new("output_keeps_the_order_of_each_key", detail));
                }
            }
        }
        Ok(())
    }

    /// Whether a sink reads a count directly: its rows of one key then come over one channel.
    fn keeps_counts_in_order(&self, sink: u32) -> bool {
        let mut inputs = self.plan.edges.iter().filter(|edge| edge.target == sink);
        inputs.all(|edge| {
            let source = self.plan.vertices[edge.source as usize].operator;
            matches!(source, OperatorPlan::Count { .. })
        })
    }

    /// Whether rows come from a count that emits at the end: where rows may be counted twice, its
    /// totals may be too high, so that the right ones are missing.
    fn sees_totals(&self, vertex: u32) -> bool {
        let is_total = |operator| operator == OperatorPlan::Count { at_end: true };
        self.sees(vertex, is_total)
    }

    /// Whether rows come over a vertex of this kind.
    fn sees(&self, vertex: u32, kind: fn(OperatorPlan) -> bool) -> bool {
        let mut inputs = self.plan.edges.iter().filter(|edge| edge.target == vertex);
        inputs.any(|edge| {
            let source = self.plan.vertices[edge.source as usize].operator;
            kind(source) || self.sees(edge.source, kind)
        })
    }

    /// Whether rows come from one of these sources.
    fn reads_any(&self, vertex: u32, sources: &BTreeSet<u32>) -> bool {
        let inputs = self.plan.edges.iter().filter(|edge| edge.target == vertex);
        let mut inputs = inputs.map(|edge| edge.source);
        inputs.any(|input| sources.contains(&input) || self.reads_any(input, sources))
    }

    fn contains_up_to(&self, offsets: &Offsets) -> Result<(), Failure> {
        if self.promise == Promise::AtLeastOnce {
            return Ok(());
        }
        let mut until = self.fresh();
        for ((source, split), offset) in offsets {
            until.feed(*source, *split, *offset);
        }
        // Whoever was given what former subtasks have not published may never have come to it.
        let unsettled = |split: &&(u32, u32)| self.is_rescaled && !offsets.contains_key(*split);
        let begun = self.start.iter().flat_map(|start| start.fed.keys());
        let unsettled: BTreeSet<u32> = begun.filter(unsettled).map(|split| split.0).collect();
        let rows = until.expected.iter();
        let rows = rows.filter(|(vertex, _)| !self.reads_any(**vertex, &unsettled));
        let rows = rows.flat_map(|(vertex, rows)| rows.iter().map(move |row| (vertex, row)));
        for (vertex, (row, expected)) in rows {
            let published = self.published.get(vertex);
            let times = published.and_then(|rows| rows.get(row)).copied();
            if times.unwrap_or(0) < *expected {
                let detail = format!(
                    "job {} vertex {vertex}: {row:?} published {times:?} times, expected {expected} up to {offsets:?}",
                    self.plan.id
                );
                let name = "output_is_complete_up_to_a_checkpoint";
                return Err(Failure::new(name, detail));
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let name = "output_equals_the_oracle";
        let sources = |at: &u32| {
            let plan = self.plan.vertices[*at as usize].operator;
            matches!(plan, OperatorPlan::Source { .. })
        };
        let vertices = u32::try_from(self.plan.vertices.len()).expect("a handful of vertices");
        if let Some(source) = (0..vertices)
            .filter(sources)
            .find(|at| self.stopped.is_none() && !self.has_ended(*at))
        {
            let detail = format!("job {} finished before source {source}", self.plan.id);
            return Err(Failure::new(name, detail));
        }
        for (vertex, rows) in &self.expected {
            if self.promise == Promise::AtLeastOnce && self.sees_totals(*vertex) {
                continue;
            }
            let published = self.published.get(vertex);
            for (row, expected) in rows {
                let times = published
                    .and_then(|rows| rows.get(row))
                    .copied()
                    .unwrap_or(0);
                let missing = times < *expected;
                if missing || (self.promise == Promise::ExactlyOnce && times != *expected) {
                    let detail = format!(
                        "job {} vertex {vertex}: {row:?} published {times} times, expected {expected}",
                        self.plan.id
                    );
                    return Err(Failure::new(name, detail));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
