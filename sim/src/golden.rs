//! Golden digests: what the first seeds of each tier come to. A change that moves none of them changes no
//! behaviour; one that does shows it in review.

use crate::plan::Tier;
use crate::run::Run;
use std::fmt::Write;

/// How many seeds of each tier have a golden digest.
pub const GOLDEN_SEEDS: u64 = 20;
/// Seeds that differ and are named.
const NAMED: usize = 10;
/// How the file begins.
const HEADER: &str =
    "# The digests of the first seeds of each tier. `sim golden --write` writes them.\n";

/// The digests of this code, as the golden file has them.
#[must_use]
pub fn golden_digests() -> String {
    let mut text = HEADER.to_owned();
    for tier in Tier::ALL {
        for seed in 0..GOLDEN_SEEDS {
            let digest = Run::seed(tier, seed).run().digest;
            let _ = writeln!(text, "{}", golden_line(tier, seed, digest));
        }
    }
    text
}

/// The line of a seed.
#[must_use]
pub fn golden_line(tier: Tier, seed: u64, digest: u64) -> String {
    format!("{tier} {seed} {digest:016x}")
}

/// What a golden file says that the other text does not: nothing if it has no digests yet.
#[must_use]
pub fn golden_differences(golden: &str, now: &str) -> Option<String> {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let now = lines(now);
    let different: Vec<_> = lines(golden)
        .into_iter()
        .filter(|line| !now.contains(line))
        .collect();
    if different.is_empty() {
        return None;
    }
    let (count, named) = (different.len(), &different[..different.len().min(NAMED)]);
    let named = named.join("\n    ");
    Some(format!(
        "{count} runs have changed, among them\n    {named}\nif that is meant: sim golden --write"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_that_moved_is_named() {
        let line = |digest| golden_line(Tier::Dataflow, 3, digest);
        let golden = format!("{HEADER}{}\n", line(1));
        assert_eq!(golden_differences(&golden, &golden), None);
        assert_eq!(golden_differences(HEADER, &line(2)), None);
        let said = golden_differences(&golden, &line(2)).expect("it moved");
        assert!(said.contains("dataflow 3 0000000000000001"), "{said}");
    }
}
