//! The snapshots of a vertex for another number of subtasks (SEMANTICS §2.11): every key group and every partition
//! is dealt out for itself, and what then lies side by side is put together again.

use jobmanager_core::graph::KeyGroupRange;
use jobmanager_core::message::{ListPart, StateHandle, StateParts};
use jobmanager_core::redistribute::DistributionMode;
use std::collections::{BTreeMap, BTreeSet};

/// What a new subtask gets of one snapshot.
#[derive(Default)]
struct Share {
    groups: BTreeSet<u32>,
    lists: BTreeMap<String, (DistributionMode, Vec<u32>)>,
}

/// Which partitions of which snapshot, in order.
type Partitions = Vec<(usize, u32)>;

/// Deals the snapshots of old subtasks to so many new ones.
pub(super) fn dealt(
    old: &[Vec<StateHandle>],
    max_parallelism: u32,
    parallelism: u32,
) -> Vec<Vec<StateHandle>> {
    let handles = || old.iter().flatten().filter(|it| !it.is_nothing());
    let mut new: Vec<BTreeMap<usize, Share>> = (0..parallelism).map(|_| BTreeMap::new()).collect();
    for (at, handle) in handles().enumerate() {
        let range = handle.parts.as_ref().and_then(|parts| parts.key_groups);
        for group in range.into_iter().flat_map(|range| range.first..=range.last) {
            let owner = (group * parallelism / max_parallelism) as usize;
            new[owner].entry(at).or_default().groups.insert(group);
        }
    }
    let names: BTreeSet<&str> = handles()
        .flat_map(|it| it.lists().map(|l| l.name.as_str()))
        .collect();
    // Lists that all get are each kept by somebody, and take turns of their own.
    let (mut turn, mut kept_turn) = (0, 0);
    for name in names {
        let lists = |handle: &StateHandle| -> Option<ListPart> {
            handle.lists().find(|list| list.name == name).cloned()
        };
        let mut mode = DistributionMode::Split;
        let mut reports: Vec<Partitions> = Vec::new();
        let mut at = 0;
        for subtask in old {
            let mut report = None;
            for handle in subtask.iter().filter(|it| !it.is_nothing()) {
                if let Some(list) = lists(handle) {
                    mode = list.mode;
                    let report: &mut Partitions = report.get_or_insert_default();
                    report.extend(list.partitions.map(|partition| (at, partition)));
                }
                at += 1;
            }
            reports.extend(report);
        }
        let all: Partitions = reports.concat();
        let shares = match mode {
            DistributionMode::Split => in_runs(&all, parallelism as usize, &mut turn),
            DistributionMode::Union => in_runs(&all, parallelism as usize, &mut kept_turn),
            DistributionMode::Broadcast => {
                let copy = |new: usize| reports[new % reports.len()].clone();
                (0..parallelism as usize).map(copy).collect()
            }
        };
        for (new, share) in new.iter_mut().zip(shares) {
            for (at, partition) in share {
                let lists = &mut new.entry(at).or_default().lists;
                let list = lists.entry(name.to_owned()).or_insert((mode, Vec::new()));
                list.1.push(partition);
            }
        }
    }
    let handles: Vec<&StateHandle> = handles().collect();
    let given = |(new, mut shares): (usize, BTreeMap<usize, Share>)| {
        if shares.is_empty() && !handles.is_empty() {
            shares.insert(new % handles.len(), Share::default());
        }
        let shares = shares.into_iter();
        shares
            .map(|(at, share)| handles[at].narrowed(share.together()))
            .collect()
    };
    new.into_iter().enumerate().map(given).collect()
}

/// Contiguous runs; the first ones in turn are one longer.
fn in_runs(all: &[(usize, u32)], receivers: usize, turn: &mut usize) -> Vec<Partitions> {
    let mut runs = vec![Vec::new(); receivers];
    let mut rest = all;
    for step in 0..receivers {
        let more = usize::from(step < all.len() % receivers);
        let (run, later) = rest.split_at(all.len() / receivers + more);
        runs[(*turn + step) % receivers] = run.to_vec();
        rest = later;
    }
    *turn = (*turn + all.len() % receivers) % receivers;
    runs
}

impl Share {
    fn together(self) -> StateParts {
        let (first, last) = (self.groups.first(), self.groups.last());
        let list = |(name, (mode, partitions)): (String, (DistributionMode, Vec<u32>))| ListPart {
            name,
            mode,
            partitions: partitions[0]..partitions[partitions.len() - 1] + 1,
        };
        StateParts {
            key_groups: first.zip(last).map(|(first, last)| KeyGroupRange {
                first: *first,
                last: *last,
            }),
            lists: self.lists.into_iter().map(list).collect(),
        }
    }
}

/// What a subtask starts from: what it has, and of all others the lists that all get.
pub(super) fn with_all(own: usize, states: &[Vec<StateHandle>]) -> Vec<StateHandle> {
    let union = |list: &ListPart| list.mode == DistributionMode::Union;
    let mut given = Vec::new();
    for (at, handles) in states.iter().enumerate() {
        for handle in handles {
            if at == own {
                given.push(handle.clone());
            } else if handle.lists().any(union) {
                given.push(handle.narrowed(StateParts {
                    key_groups: None,
                    lists: handle.lists().filter(|list| union(list)).cloned().collect(),
                }));
            }
        }
    }
    given
}
