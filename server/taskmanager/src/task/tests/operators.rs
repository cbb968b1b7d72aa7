//! Small operators to test with.

use crate::sdk::{
    Operator, OperatorContext, OperatorError, Output, Record, Registry, Sink, Source, SourceStatus,
};
use jobmanager_core::id::CheckpointId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    next: u64,
    step: u64,
    count: u64,
    pause_at: Option<u64>,
    hold_at: Option<u64>,
}

impl Numbers {
    fn new(cx: &OperatorContext) -> Result<Numbers, OperatorError> {
        let restored = cx.state.first().map(|state| number(state));
        Ok(Numbers {
            next: restored.unwrap_or(cx.subtask.into()),
            step: cx.parallelism.into(),
            count: cx.config["count"].as_u64().unwrap_or(u64::MAX),
            pause_at: cx.config["pauseAt"].as_u64().filter(|_| restored.is_none()),
            hold_at: cx.config["holdAt"].as_u64().filter(|_| restored.is_none()),
        })
    }
}

impl Source for Numbers {
    fn poll(&mut self, output: &mut dyn Output) -> Result<SourceStatus, OperatorError> {
        for _ in 0..100 {
            if self.next >= self.count {
                return Ok(SourceStatus::Ended);
            }
            if self.pause_at.is_some_and(|at| self.next >= at) {
                return Ok(SourceStatus::Idle(Duration::from_secs(3_600)));
            }
            if self.hold_at.is_some_and(|at| self.next >= at) {
                return Ok(SourceStatus::Idle(Duration::from_millis(1)));
            }
            let (key, value) = ((self.next % 10).to_string(), self.next.to_string());
            output.record(Record {
                key: Some(key.as_bytes()),
                value: value.as_bytes(),
                time: 0,
            })?;
            self.next += self.step;
        }
        Ok(SourceStatus::Ready)
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<u8>, OperatorError> {
        self.hold_at = None;
        Ok(self.next.to_string().into_bytes())
    }
}

/// Never has anything.
struct Stuck;

impl Source for Stuck {
    fn poll(&mut self, _: &mut dyn Output) -> Result<SourceStatus, OperatorError> {
        Ok(SourceStatus::Idle(Duration::from_secs(3_600)))
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<u8>, OperatorError> {
        Err(OperatorError("will not".to_owned()))
    }
}

/// The sum per key, as `key=sum`, at the end.
struct Sum {
    sums: BTreeMap<String, u64>,
}

impl Sum {
    fn new(cx: &OperatorContext) -> Result<Sum, OperatorError> {
        let sums = cx.state.iter().map(|state| {
            let sums: BTreeMap<String, u64> = serde_json::from_slice(state)
                .map_err(|problem| OperatorError::about("sum", problem))?;
            Ok(sums)
        });
        let sums: Vec<_> = sums.collect::<Result<_, OperatorError>>()?;
        let sums = sums.into_iter().flatten().collect();
        Ok(Sum { sums })
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

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<u8>, OperatorError> {
        serde_json::to_vec(&self.sums).map_err(|problem| OperatorError::about("sum", problem))
    }
}

struct Panic;

impl Operator for Panic {
    fn process(&mut self, record: Record<'_>, _: &mut dyn Output) -> Result<(), OperatorError> {
        panic!("cannot bear {}", number(record.value));
    }

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<u8>, OperatorError> {
        Ok(Vec::new())
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
        for state in &cx.state {
            let closed: Vec<String> = serde_json::from_slice(state)
                .map_err(|problem| OperatorError::about("collect", problem))?;
            let mut published = committed.lock().expect("no panic under the lock");
            for line in closed {
                if !published.contains(&line) {
                    published.push(line);
                }
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

    fn snapshot(&mut self, _: CheckpointId) -> Result<Vec<u8>, OperatorError> {
        self.closed.append(&mut self.open);
        serde_json::to_vec(&self.closed).map_err(|problem| OperatorError::about("collect", problem))
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
