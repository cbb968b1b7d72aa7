//! Known results of the formulas, one a line in `core/golden/vectors.txt`. The kinds that matter here:
//! `murmur HASH RESULT`, `defmax PARALLELISM MAX`, `kgr MAX PARALLELISM i:first-last …`,
//! `pointwise PRODUCERS CONSUMERS i:first-last …`. Both ends of a range are included.

#![allow(clippy::unwrap_used)]

use std::vec::Vec;

const VECTORS: &str = include_str!("../../golden/vectors.txt");

/// The words after the kind of every line of this kind; at least one line.
pub(super) fn vectors(kind: &str) -> Vec<Vec<&'static str>> {
    let of_kind = |line: &'static str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some(kind)).then(|| words.collect())
    };
    let found: Vec<_> = VECTORS.lines().filter_map(of_kind).collect();
    assert!(!found.is_empty(), "there are vectors of kind {kind}");
    found
}

/// `i:first-last`
pub(super) fn indexed_range(text: &str) -> (u32, u32, u32) {
    let (index, range) = text.split_once(':').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let number = |digits: &str| digits.parse().unwrap();
    (number(index), number(first), number(last))
}
