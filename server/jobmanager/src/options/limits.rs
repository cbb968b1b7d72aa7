//! The options that say how much clients may ask for.

use super::Shell;
use super::table::{MAX_JOBS, SUBMISSION_BURST, SUBMISSION_RATE};
use std::num::NonZeroU32;

/// More per second would be no limit.
const MOST_PER_SECOND: u32 = 100_000;
/// More at once would be no limit, either.
const MOST_AT_ONCE: u32 = 1_000_000;
/// The coordinator has no more in any case.
const MOST_JOBS: u32 = 100_000;

/// How many jobs there may be, and how fast they may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How fast a client may submit jobs; as fast as it likes if that is not said.
    pub submissions: Option<SubmissionRate>,
    /// How many jobs there may be that have not ended.
    pub jobs: Option<NonZeroU32>,
}

/// How fast a client may submit jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmissionRate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// After a while without any.
    pub at_once: NonZeroU32,
}

impl Shell<'_> {
    pub(super) fn limits(&self, problems: &mut Vec<String>) -> Limits {
        let per_second = self.number(SUBMISSION_RATE, 0, MOST_PER_SECOND, problems);
        let at_once = self.number(SUBMISSION_BURST, 1, MOST_AT_ONCE, problems);
        let submissions = per_second.zip(at_once);
        Limits {
            submissions: submissions.map(|(per_second, at_once)| SubmissionRate {
                per_second,
                at_once,
            }),
            jobs: self.number(MAX_JOBS, 0, MOST_JOBS, problems),
        }
    }

    fn number(
        &self,
        key: &'static str,
        least: u32,
        most: u32,
        problems: &mut Vec<String>,
    ) -> Option<NonZeroU32> {
        let text = self.text(key).trim();
        let number = text.parse().ok();
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let text = text.escape_debug();
            problems.push(format!(
                "{key}: `{text}` is not a number from {least} to {most}"
            ));
        }
        number.and_then(NonZeroU32::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::options::{Options, OptionsError};

    fn limits_of(key: &str, value: &str) -> Result<Limits, OptionsError> {
        let map = [(key.to_owned(), value.to_owned())];
        Ok(Options::from_map(map.into())?.limits)
    }

    #[test]
    fn nothing_is_no_limit_and_what_is_no_number_is_refused() {
        let limits = limits_of(MAX_JOBS, "7").unwrap();
        assert_eq!(limits.jobs, NonZeroU32::new(7));
        assert!(limits.submissions.is_some());
        assert_eq!(limits_of(MAX_JOBS, "0").unwrap().jobs, None);
        assert_eq!(limits_of(SUBMISSION_RATE, "0").unwrap().submissions, None);
        for (key, value, words) in [
            (
                SUBMISSION_RATE,
                "fast",
                "`fast` is not a number from 0 to 100000",
            ),
            (
                SUBMISSION_BURST,
                "0",
                "`0` is not a number from 1 to 1000000",
            ),
            (MAX_JOBS, "-1", "`-1` is not a number from 0 to 100000"),
            (MAX_JOBS, "100001", "is not a number"),
        ] {
            let problem = limits_of(key, value).unwrap_err().to_string();
            assert!(
                problem.contains(key) && problem.contains(words),
                "{problem}"
            );
            assert!(problem.contains("1 problem"), "{problem}");
        }
    }
}
