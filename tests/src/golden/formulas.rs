//! The vectors of which every entry has one right value. An entry that differs is shown, others are not.

use super::parse::{Calculated, MapperKind, MapperVector, Ranges, Taken};
use super::{Difference, same};
use jobmanager_core::graph;
use jobmanager_core::id::SubtaskIndex;
use jobmanager_core::redistribute::ChannelMapper;

pub(super) fn murmur(vector: &Calculated) -> Result<(), Difference> {
    same_number(vector.result, graph::murmur(vector.argument))
}

pub(super) fn default_max_parallelism(vector: &Calculated) -> Result<(), Difference> {
    let computed = graph::default_max_parallelism(vector.argument);
    same_number(vector.result, computed)
}

fn same_number(expected: i64, computed: u32) -> Result<(), Difference> {
    same(&expected.to_string(), &computed.to_string())
}

pub(super) fn key_groups(vector: &Ranges) -> Result<(), Difference> {
    same_ranges(vector, |subtask| {
        let range = graph::key_group_range(vector.whole, vector.subtasks, subtask);
        (range.first, range.last)
    })
}

pub(super) fn pointwise(vector: &Ranges) -> Result<(), Difference> {
    same_ranges(vector, |consumer| {
        let producers = graph::producers_of(vector.whole, vector.subtasks, consumer);
        (producers.start, producers.end - 1)
    })
}

fn same_ranges(vector: &Ranges, compute: impl Fn(u32) -> (u32, u32)) -> Result<(), Difference> {
    let (mut expected, mut computed) = (Vec::new(), Vec::new());
    for entry in &vector.entries {
        let (first, last) = compute(entry.subtask);
        if (entry.first, entry.last) != (first.into(), last.into()) {
            let subtask = entry.subtask;
            expected.push(format!("{subtask}:{}-{}", entry.first, entry.last));
            computed.push(format!("{subtask}:{first}-{last}"));
        }
    }
    same(&expected.join(" "), &computed.join(" "))
}

pub(super) fn mapper(vector: &MapperVector) -> Result<(), Difference> {
    let mapper = match vector.kind {
        MapperKind::RoundRobin => ChannelMapper::RoundRobin,
        MapperKind::Range => ChannelMapper::Range {
            max_parallelism: graph::MAX_PARALLELISM,
        },
        MapperKind::Full => ChannelMapper::Full,
        MapperKind::First => ChannelMapper::First,
        MapperKind::Unsupported => ChannelMapper::Unsupported,
    };
    let (mut expected, mut computed) = (Vec::new(), Vec::new());
    for Taken { subtask, old } in &vector.entries {
        let taken = mapper.old_subtasks(vector.rescale, SubtaskIndex(*subtask));
        let taken = taken.map(|taken| taken.map(i64::from).collect::<Vec<_>>());
        if taken.as_ref() != Ok(old) {
            expected.push(format!("{subtask}:{}", list(old)));
            let taken = taken.map_or_else(|_| "unsupported".to_owned(), |taken| list(&taken));
            computed.push(format!("{subtask}:{taken}"));
        }
    }
    same(&expected.join(" "), &computed.join(" "))
}

/// `[a,b]`
pub(super) fn list(numbers: &[i64]) -> String {
    let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}
