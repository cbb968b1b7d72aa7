//! Small operators to test with.

use crate::sdk::DistributionMode::Split;
use crate::sdk::{
    KeyGroups, Operator, OperatorContext, OperatorError, Output, Record, Registry, Sink, Source,
    SourceStatus, State,
};
use jobmanager_core::id::CheckpointId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The list of the turns of `numbers`.
pub(super) const TURNS: &str = "turns";
/// The list of the lines that `collect` has closed.
const CLOSED: &str = "closed";

/// What sinks have committed, by all attempts.
pub(super) type Committed = Arc<Mutex<Vec<String>>>;

/// `numbers`, `sum`, `collect`, and some that misbehave.
pub(super) fn registry() -> (Registry, Committed) {
    let committed = Committed::default();
    let for_sinks = Arc::clone(&committed);
    let registry = Registry::new()
        .source("numbers", Numbers::new)
        .source("stuck", |_| Ok(Stuck))
        .operator("sum", Sum::new)
        .operator("panic", |_| Ok(Panic))
        .sink("since", |cx| -> Result<Collect, OperatorError> {
            Err(OperatorError(format!("since {:?}", cx.since)))
        })
        .sink("collect", move |cx| {
            Collect::new(cx, Arc::clone(&for_sinks))
        });
    (registry, committed)
}

fn number(bytes: &[u8]) -> u64 {
    let text = std::str::from_utf8(bytes).expect("written below");
    text.parse().expect("written below")
}

/// Numbers below `count`, dealt to the subtasks in turn, each keyed by its remainder by 10. Pauses at
/// `pauseAt` for ever, and at `holdAt` until it is snapshotted, unless it was restored.
struct Numbers {
    /// What is left of each turn: the next number, and the step to the one after it.
    turns: VecDeque<(u64, u64)>,
    count: u64,
    pause_at: Option<u64>,
    hold_at: Option<u64>,
}

impl Numbers {
    fn new(cx: &OperatorContext) -> Result<Numbers, OperatorError> {
        let restored = cx.state.as_ref().map(|state| {
            let turns = state.list(TURNS).iter();
            let turns = turns.map(|turn| serde_json::from_slice(turn).expect("written below"));
            turns.collect()
        });
        let fresh = restored.is_none();
        let turn = (cx.subtask.into(), cx.parallelism.into());
        Ok(Numbers {
            turns: restored.unwrap_or_else(|| VecDeque::from([turn])),
            count: cx.config["count"].as_u64().unwrap_or(u64::MAX),
            pause_at: cx.config["pauseAt"].as_u64().filter(|_| fresh),
            hold_at: cx.config["holdAt"].as_u64().filter(|_| fresh),
        })
    }
}

impl Source for Numbers {
    fn poll(&mut self, output: &mut dyn Output) -> Result<SourceStatus, OperatorError> {
        for _ in 0..100 {
            let Some((next, step)) = self.turns.front_mut() else {
                return Ok(SourceStatus::Ended);
            };
            if *next >= self.count {
                self.turns.pop_front();
                continue;
            }
            if self.pause_at.is_some_and(|at| *next >= at) {
                return Ok(SourceStatus::Idle(Duration::from_secs(3_600)));
            }
            if self.hold_at.is_some_and(|at| *next >= at) {
                return Ok(SourceStatus::Idle(Duration::from_millis(1)));
            }
            let (key, value) = ((*next % 10).to_string(), next.to_string());
            output.record(Record {
                key: Some(key.as_bytes()),
                value: value.as_bytes(),
                time: 0,
            })?;
            *next += *step;
        }
        Ok(SourceStatus::Ready)
    }

    fn snapshot(&mut self, _: CheckpointId, state: &mut State) -> Result<(), OperatorError> {
        self.hold_at = None;
        let turns = self.turns.iter();
        let turns = turns.map(|turn| serde_json::to_vec(turn).expect("two numbers"));
        state.append(TURNS, Split, turns)
    }
}

/// Never has anything.
struct Stuck;

impl Source for Stuck {
    fn poll(&mut self, _: &mut dyn Output) -> Result<SourceStatus, OperatorError> {
        Ok(SourceStatus::Idle(Duration::from_secs(3_600)))
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut State) -> Result<(), OperatorError> {
        Err(OperatorError("will not".to_owned()))
    }
}

/// The sum per key, as `key=sum`, at the end.
struct Sum {
    key_groups: KeyGroups,
    sums: BTreeMap<String, u64>,
}

impl Sum {
    fn new(cx: &OperatorContext) -> Result<Sum, OperatorError> {
        let mut sums = BTreeMap::new();
        for (_, group) in cx.state.iter().flat_map(State::key_groups) {
            let group: BTreeMap<String, u64> = serde_json::from_slice(group)
                .map_err(|problem| OperatorError::about("sum", problem))?;
            sums.extend(group);
        }
        let key_groups = cx.key_groups();
        Ok(Sum { key_groups, sums })
    }
}

impl Operator for Sum {
    fn process(&mut self, record: Record<'_>, _: &mut dyn Output) -> Result<(), OperatorError> {
        let key = String::from_utf8_lossy(record.key.expect("numbers have keys")).into_owned();
        *self.sums.entry(key).or_default() += number(record.value);
        Ok(())
    }

    fn finish(&mut self, output: &mut dyn Output) -> Result<(), OperatorError> {
        for (key, sum) in &self.sums {
            let (key, value, time) = (None, format!("{key}={sum}"), 0);
            let value = value.as_bytes();
            output.record(Record { key, value, time })?;
        }
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId, state: &mut State) -> Result<(), OperatorError> {
        let mut groups = BTreeMap::<u32, BTreeMap<&str, u64>>::new();
        for (key, sum) in &self.sums {
            let group = groups
                .entry(self.key_groups.of(key.as_bytes()))
                .or_default();
            group.insert(key, *sum);
        }
        for (group, sums) in groups {
            state.put_key_group(group, serde_json::to_vec(&sums).expect("texts and numbers"))?;
        }
        Ok(())
    }
}

struct Panic;

impl Operator for Panic {
    fn process(&mut self, record: Record<'_>, _: &mut dyn Output) -> Result<(), OperatorError> {
        panic!("cannot bear {}", number(record.value));
    }

    fn snapshot(&mut self, _: CheckpointId, _: &mut State) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// Publishes on commit. Its state is what is closed but perhaps not published.
struct Collect {
    open: Vec<String>,
    closed: Vec<String>,
    committed: Committed,
}

impl Collect {
    fn new(cx: &OperatorContext, committed: Committed) -> Result<Collect, OperatorError> {
        for line in cx.state.iter().flat_map(|state| state.list(CLOSED)) {
            let line = String::from_utf8_lossy(line).into_owned();
            let mut published = committed.lock().expect("no panic under the lock");
            if !published.contains(&line) {
                published.push(line);
            }
        }
        Ok(Collect {
            open: Vec::new(),
            closed: Vec::new(),
            committed,
        })
    }

    fn publish(&mut self) {
        let mut committed = self.committed.lock().expect("no panic under the lock");
        committed.append(&mut self.closed);
    }
}

impl Sink for Collect {
    fn process(&mut self, record: Record<'_>) -> Result<(), OperatorError> {
        let line = String::from_utf8_lossy(record.value);
        self.open.push(line.into_owned());
        Ok(())
    }

    fn snapshot(&mut self, _: CheckpointId, state: &mut State) -> Result<(), OperatorError> {
        self.closed.append(&mut self.open);
        let closed = self.closed.iter().map(|line| line.clone().into_bytes());
        state.append(CLOSED, Split, closed)
    }

    fn commit(&mut self, _: CheckpointId) -> Result<(), OperatorError> {
        self.publish();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), OperatorError> {
        self.closed.append(&mut self.open);
        self.publish();
        Ok(())
    }
}
