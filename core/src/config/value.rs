//! Flink's formats for values.
//!
//! A duration or a size is a whole number with an optional unit, with or without a space, in any
//! case. Fractions are read without floats, as thousandths.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Display;
use core::ops::RangeInclusive;
use core::time::Duration;

/// A value that cannot be read. The text says what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

/// The units of time: names, then nanoseconds. The names are Flink's.
const TIME_UNITS: [(&[&str], u64); 7] = [
    (&["ns", "nano", "nanos", "nanosecond", "nanoseconds"], 1),
    (
        &[
            "us",
            "µs",
            "μs",
            "micro",
            "micros",
            "microsecond",
            "microseconds",
        ],
        1_000,
    ),
    (
        &["ms", "milli", "millis", "millisecond", "milliseconds"],
        1_000_000,
    ),
    (
        &["s", "sec", "secs", "second", "seconds"],
        1_000 * 1_000_000,
    ),
    (&["m", "min", "minute", "minutes"], 60_000 * 1_000_000),
    (&["h", "hour", "hours"], 3_600_000 * 1_000_000),
    (&["d", "day", "days"], 86_400_000 * 1_000_000),
];

/// The units of size: names, then bytes. The names are Flink's; each unit is 1024 of the one before.
const SIZE_UNITS: [(&[&str], u64); 5] = [
    (&["", "b", "byte", "bytes"], 1),
    (&["k", "kb", "kibibytes"], 1 << 10),
    (&["m", "mb", "mebibytes"], 1 << 20),
    (&["g", "gb", "gibibytes"], 1 << 30),
    (&["t", "tb", "tebibytes"], 1 << 40),
];

/// The longest duration: what Flink can count in milliseconds.
const LONGEST_MILLIS: u128 = i64::MAX as u128;
/// The largest size, in bytes, as Flink can count it.
const LARGEST_SIZE: u64 = i64::MAX as u64;
/// How much of a value an error repeats. Characters.
const SHOWN: usize = 60;

/// Reads a duration such as `500 ms`, `1min` or `2 d`; a number without a unit counts milliseconds.
///
/// # Errors
/// Not a number with a known unit, or longer than 2⁶³ − 1 milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = || {
        let expected = "a whole number and a unit (ns, us, ms, s, min, h or d), such as `500 ms`";
        not_a(text, "duration", expected)
    };
    let (digits, unit) = split_number(text).ok_or_else(wrong)?;
    let unit = if unit.is_empty() { "ms" } else { &unit };
    let nanos = unit_size(&TIME_UNITS, unit).ok_or_else(wrong)?;
    let too_long = || ValueError(format!("{} is too long a duration", shown(text)));
    let number: u64 = digits.parse().map_err(|_| too_long())?;
    let nanos = u128::from(number) * u128::from(nanos);
    if nanos / 1_000_000 > LONGEST_MILLIS {
        return Err(too_long());
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| too_long())?;
    let rest = u32::try_from(nanos % 1_000_000_000).map_err(|_| too_long())?;
    Ok(Duration::new(seconds, rest))
}

/// Reads a size such as `20kb` or `10 mb`, in bytes; a number without a unit counts bytes, `kb` is
/// 1024 bytes.
///
/// # Errors
/// Not a number with a known unit, or more than 2⁶³ − 1 bytes.
pub fn parse_memory(text: &str) -> Result<u64, ValueError> {
    let wrong = || {
        let expected = "a whole number and a unit (b, kb, mb, gb or tb), such as `20 kb`";
        not_a(text, "size", expected)
    };
    let (digits, unit) = split_number(text).ok_or_else(wrong)?;
    let bytes = unit_size(&SIZE_UNITS, &unit).ok_or_else(wrong)?;
    let too_large = || ValueError(format!("{} is too large a size", shown(text)));
    let number: u64 = digits.parse().map_err(|_| too_large())?;
    let size = number.checked_mul(bytes).ok_or_else(too_large)?;
    if size > LARGEST_SIZE {
        return Err(too_large());
    }
    Ok(size)
}

/// Reads a whole number within a range.
pub(super) fn parse_integer(text: &str, range: RangeInclusive<u32>) -> Result<u32, ValueError> {
    let digits = text.trim();
    let negative = digits.strip_prefix('-').unwrap_or(digits);
    if negative.is_empty() || !negative.bytes().all(|b| b.is_ascii_digit()) {
        let expected = format!("one from {} to {}", range.start(), range.end());
        return Err(not_a(text, "whole number", &expected));
    }
    let number = digits.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| out_of_range(text, range.start(), range.end()))
}

/// Reads a decimal number such as `1.5` as thousandths, within a range of thousandths.
pub(super) fn parse_permille(text: &str, range: RangeInclusive<u32>) -> Result<u32, ValueError> {
    let expected = "digits with at most three of them after the point, such as `1.5`";
    let wrong = || not_a(text, "decimal number", expected);
    let trimmed = text.trim();
    let (whole, fraction) = trimmed.split_once('.').unwrap_or((trimmed, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return Err(wrong());
    }
    let permille = format!("{whole}{fraction:0<3}");
    let number = permille
        .parse()
        .ok()
        .filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (show_permille(*range.start()), show_permille(*range.end()));
        out_of_range(text, &least, &most)
    })
}

/// Reads a duration that is not shorter than `least`.
pub(super) fn parse_duration_from(text: &str, least: Duration) -> Result<Duration, ValueError> {
    let duration = parse_duration(text)?;
    if duration >= least {
        return Ok(duration);
    }
    Err(ValueError(format!(
        "{} is out of range: at least {} is expected",
        shown(text),
        show_duration(least)
    )))
}

/// Reads a size within a range of bytes.
pub(super) fn parse_memory_within(
    text: &str,
    range: &RangeInclusive<u64>,
) -> Result<u64, ValueError> {
    let size = parse_memory(text)?;
    if range.contains(&size) {
        return Ok(size);
    }
    let (least, most) = (show_size(*range.start()), show_size(*range.end()));
    Err(out_of_range(text, &least, &most))
}

/// Reads one of several words, in any case; several words may mean the same.
pub(super) fn parse_word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, ValueError> {
    let word = text.trim().to_lowercase();
    let found = words.iter().find(|(name, _)| name.to_lowercase() == word);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: alloc::vec::Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        ValueError(format!(
            "{} is not known: one of {names} is expected",
            shown(text)
        ))
    })
}

/// A duration in the largest unit that needs no fraction.
pub(super) fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0 ms".to_string();
    }
    let mut units = TIME_UNITS.iter().rev();
    let exact = units.find(|(_, size)| nanos.is_multiple_of(u128::from(*size)));
    let (names, size) = exact.expect("every duration is a multiple of a nanosecond");
    let name = if names[0] == "m" { "min" } else { names[0] };
    format!("{} {name}", nanos / u128::from(*size))
}

fn show_size(bytes: u64) -> String {
    let mut units = SIZE_UNITS[1..].iter().rev();
    match units.find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size)) {
        Some((names, size)) => format!("{} {}", bytes / size, names[1]),
        None => format!("{bytes} bytes"),
    }
}

fn show_permille(permille: u32) -> String {
    let decimal = format!("{}.{:03}", permille / 1_000, permille % 1_000);
    decimal
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_string()
}

/// The digits in front and the lower-case unit behind them; `None` without digits.
fn split_number(text: &str) -> Option<(&str, String)> {
    let text = text.trim();
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(end);
    (!digits.is_empty()).then(|| (digits, unit.trim().to_lowercase()))
}

fn unit_size(units: &[(&[&str], u64)], unit: &str) -> Option<u64> {
    let mut units = units.iter();
    let found = units.find(|(names, _)| names.contains(&unit));
    found.map(|(_, size)| *size)
}

fn not_a(text: &str, what: &str, expected: &str) -> ValueError {
    ValueError(format!(
        "{} is not a {what}: expected {expected}",
        shown(text)
    ))
}

fn out_of_range(text: &str, least: impl Display, most: impl Display) -> ValueError {
    ValueError(format!(
        "{} is out of range: from {least} to {most} is expected",
        shown(text)
    ))
}

/// The value in quotes, shortened where it is long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_have_flinks_units_in_any_case() {
        let nanos = [
            ("0", 0),
            ("7", 7_000_000),
            ("500 ms", 500_000_000),
            (" 500MS ", 500_000_000),
            ("1min", 60_000_000_000),
            ("3 m", 180_000_000_000),
            ("10 s", 10_000_000_000),
            ("10 Seconds", 10_000_000_000),
            ("2 secs", 2_000_000_000),
            ("1h", 3_600_000_000_000),
            ("2 hours", 7_200_000_000_000),
            ("2 d", 172_800_000_000_000),
            ("1 day", 86_400_000_000_000),
            ("4 us", 4_000),
            ("4 µs", 4_000),
            ("4 micros", 4_000),
            ("9 nanoseconds", 9),
            ("9 milliseconds", 9_000_000),
        ];
        for (text, expected) in nanos {
            assert_eq!(parse_duration(text).unwrap().as_nanos(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_what_is_expected() {
        for text in ["", "s", "-1 s", "1.5 s", "10 fortnights", "1 s 2 ms", "ten"] {
            let error = parse_duration(text).unwrap_err().0;
            assert!(error.contains("such as `500 ms`"), "{error}");
        }
        let longest = parse_duration("9223372036854775807").unwrap();
        assert_eq!(longest.as_millis(), LONGEST_MILLIS);
        for text in [
            "9223372036854775808",
            "99999999999999999999999",
            "18446744073709551615 d",
        ] {
            let error = parse_duration(text).unwrap_err().0;
            assert!(error.contains("too long"), "{error}");
        }
    }

    #[test]
    fn sizes_count_in_1024() {
        let bytes = [
            ("0", 0),
            ("17", 17),
            ("17 b", 17),
            ("20kb", 20 << 10),
            ("10 mb", 10 << 20),
            ("10 M", 10 << 20),
            ("1 GB", 1 << 30),
            ("2 tebibytes", 2 << 40),
        ];
        for (text, expected) in bytes {
            assert_eq!(parse_memory(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "kb",
            "-1",
            "1.5 mb",
            "1 pb",
            "9223372036854775808",
            "9999999 tb",
        ] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fractions_become_thousandths() {
        let permille = [
            ("1.5", 1_500),
            ("0.1", 100),
            ("2", 2_000),
            ("2.", 2_000),
            ("1.0010", 1_001),
            ("0", 0),
        ];
        for (text, expected) in permille {
            assert_eq!(parse_permille(text, 0..=5_000), Ok(expected), "{text}");
        }
        for text in ["", ".5", "1.0005", "-1", "1e3", "1,5", "one"] {
            let error = parse_permille(text, 0..=5_000).unwrap_err().0;
            assert!(error.contains("is not a decimal number"), "{error}");
        }
        assert_eq!(
            parse_permille("0.9", 1_001..=2_000).unwrap_err().0,
            "`0.9` is out of range: from 1.001 to 2 is expected"
        );
    }

    #[test]
    fn a_range_is_named_when_it_is_left() {
        assert_eq!(
            parse_integer("0", 1..=9).unwrap_err().0,
            "`0` is out of range: from 1 to 9 is expected"
        );
        assert_eq!(
            parse_integer("-3", 1..=9).unwrap_err().0,
            "`-3` is out of range: from 1 to 9 is expected"
        );
        assert_eq!(
            parse_integer("many", 1..=9).unwrap_err().0,
            "`many` is not a whole number: expected one from 1 to 9"
        );
        assert_eq!(
            parse_duration_from("5 s", Duration::from_secs(120))
                .unwrap_err()
                .0,
            "`5 s` is out of range: at least 2 min is expected"
        );
        assert_eq!(
            parse_memory_within("2 mb", &(0..=1 << 20)).unwrap_err().0,
            "`2 mb` is out of range: from 0 bytes to 1 mb is expected"
        );
    }

    #[test]
    fn a_long_value_is_not_repeated_in_full() {
        let error = parse_duration(&"é".repeat(10_000)).unwrap_err().0;
        assert!(error.chars().count() < 200, "{error}");
    }
}
