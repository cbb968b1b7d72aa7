//! What somebody may have meant who wrote a name that does not exist.

use alloc::vec::Vec;

/// Longer words are not compared: the time grows with the product of both lengths. Characters.
const LONGEST: usize = 80;

/// The known name that is nearest to `word`, if one is near enough to be what was meant: at most a
/// third of its letters differ. Case does not count; of equally near names the first is taken.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written: Vec<char> = word.chars().take(LONGEST + 1).collect();
    if written.len() > LONGEST {
        return None;
    }
    let comparable = known.into_iter().filter(|name| name.len() <= LONGEST);
    let near = comparable.filter_map(|name| {
        let meant: Vec<char> = name.chars().collect();
        let distance = distance(&written, &meant);
        (distance <= written.len().max(meant.len()) / 3).then_some((distance, name))
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be put in, left out or replaced to get from one word to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.iter().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], above + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(!letter.eq_ignore_ascii_case(other));
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["id", "name", "operator", "maxParallelism"];

    #[test]
    fn a_slip_finds_what_was_meant() {
        for (word, meant) in [
            ("operater", "operator"),
            ("Name", "name"),
            ("max_parallelism", "maxParallelism"),
            ("idd", "id"),
        ] {
            assert_eq!(nearest(word, NAMES), Some(meant), "{word}");
        }
    }

    #[test]
    fn another_word_finds_nothing() {
        let long = "operator".repeat(1_000);
        for word in ["", "x", "colour", &long] {
            assert_eq!(nearest(word, NAMES), None, "{word}");
        }
    }
}
