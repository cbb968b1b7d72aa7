//! What is to break after the end of a recording, as it is said on a command line.

use crate::plan::Micros;
use crate::plan::options::{MS, SECOND};
use std::fmt;
use std::str::FromStr;

/// The name under which the JobManager breaks.
pub(super) const JOBMANAGER: &str = "jobmanager";

/// What may be said, for whoever said something else.
const POSSIBLE: &str = "say crash:NAME@+T, restart:NAME@+T, pause:NAME@+T[/DURATION], \
    cut:NAME@+T[/DURATION] or store-down@+T/DURATION, as in crash:tm-3@+2s";

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injury {
    /// The process dies. A TaskManager's stays away; a JobManager's is started again.
    Crash,
    /// The process dies and starts again at once; one that is away starts.
    Restart,
    /// The process stands still.
    Pause,
    /// A TaskManager and the JobManager do not hear each other. If it is the JobManager that is cut off, this
    /// is so of every TaskManager; the store hears it yet.
    Cut,
    /// The metadata store refuses everything.
    StoreDown,
}

impl Injury {
    const ALL: [Injury; 5] = [
        Injury::Crash,
        Injury::Restart,
        Injury::Pause,
        Injury::Cut,
        Injury::StoreDown,
    ];

    fn name(self) -> &'static str {
        match self {
            Injury::Crash => "crash",
            Injury::Restart => "restart",
            Injury::Pause => "pause",
            Injury::Cut => "cut",
            Injury::StoreDown => "store-down",
        }
    }

    /// Whether it is over after a while.
    fn lasts(self) -> bool {
        match self {
            Injury::Crash | Injury::Restart => false,
            Injury::Pause | Injury::Cut | Injury::StoreDown => true,
        }
    }
}

/// Something that breaks at a time after the end of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// What.
    pub injury: Injury,
    /// Whose: a TaskManager's name, or `jobmanager`; nobody's if it is the store.
    pub whom: Option<String>,
    /// How long after the end of the recording, in microseconds.
    pub after: Micros,
    /// For how long, in microseconds; without it, for ever.
    pub lasts: Option<Micros>,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.injury.name())?;
        if let Some(whom) = &self.whom {
            write!(f, ":{whom}")?;
        }
        write!(f, "@+{}", Span(self.after))?;
        self.lasts
            .map_or(Ok(()), |lasts| write!(f, "/{}", Span(lasts)))
    }
}

impl FromStr for Injection {
    type Err = String;

    /// # Errors
    ///
    /// What is wrong, and what may be said.
    fn from_str(text: &str) -> Result<Injection, String> {
        let wrong = |what: String| format!("`{text}`: {what}; {POSSIBLE}");
        let (subject, when) = text
            .rsplit_once('@')
            .ok_or_else(|| wrong("there is no @ before a time".to_owned()))?;
        let (name, whom) = match subject.split_once(':') {
            Some((name, whom)) => (name, Some(whom.to_owned())),
            None => (subject, None),
        };
        let mut all = Injury::ALL.into_iter();
        let injury = all
            .find(|injury| injury.name() == name)
            .ok_or_else(|| wrong(format!("there is no fault `{name}`")))?;
        let (after, lasts) = match when.split_once('/') {
            Some((after, lasts)) => (after, Some(duration(lasts).map_err(&wrong)?)),
            None => (when, None),
        };
        let after = after
            .strip_prefix('+')
            .ok_or_else(|| wrong(format!("the time `{after}` has no + before it")))?;
        let after = duration(after).map_err(&wrong)?;
        if injury == Injury::StoreDown {
            if whom.is_some() {
                return Err(wrong("there is one store, and it has no name".to_owned()));
            }
            if lasts.is_none() {
                return Err(wrong("it is not said for how long".to_owned()));
            }
        } else if whom.as_deref().is_none_or(str::is_empty) {
            return Err(wrong("it is not said whose".to_owned()));
        }
        if lasts.is_some() && !injury.lasts() {
            return Err(wrong(format!("a {name} has no duration")));
        }
        Ok(Injection {
            injury,
            whom,
            after,
            lasts,
        })
    }
}

/// A length of time in microseconds, as people write it.
pub(super) struct Span(pub(super) Micros);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros if micros > 0 && micros.is_multiple_of(60 * SECOND) => {
                write!(f, "{}min", micros / (60 * SECOND))
            }
            micros if micros.is_multiple_of(SECOND) => write!(f, "{}s", micros / SECOND),
            micros => write!(f, "{}ms", micros / MS),
        }
    }
}

/// A whole number of milliseconds, seconds, minutes or hours, in microseconds: `500ms`, `2s`, `5min`, `1h`.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<Micros, String> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = match unit {
        "ms" => Some(MS),
        "s" => Some(SECOND),
        "min" => Some(60 * SECOND),
        "h" => Some(3_600 * SECOND),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| format!("`{text}` is no time: write 500ms, 2s, 5min or 1h"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "crash:tm-3@+2s",
            "crash:jobmanager@+0s",
            "restart:a@b:6122@+1min",
            "pause:tm-0@+500ms/30s",
            "cut:tm-1@+10s",
            "store-down@+1s/2min",
        ] {
            let read: Injection = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
        let hour: Injection = "pause:tm-0@+1h".parse().unwrap();
        assert_eq!((hour.after, hour.lasts), (3_600 * SECOND, None));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_possible() {
        for (text, problem) in [
            ("crash", "no @ before a time"),
            ("crash@+2s", "not said whose"),
            ("crash:@+2s", "not said whose"),
            ("burn:tm-3@+2s", "no fault `burn`"),
            ("crash:tm-3@2s", "no + before it"),
            ("crash:tm-3@+2", "`2` is no time"),
            ("crash:tm-3@+2s/3s", "a crash has no duration"),
            ("pause:tm-3@+2s/x", "`x` is no time"),
            ("store-down:a@+2s/1s", "has no name"),
            ("store-down@+2s", "for how long"),
            ("crash:tm-3@+99999999999999999h", "is no time"),
        ] {
            let refused = text.parse::<Injection>().unwrap_err();
            assert!(refused.contains(problem), "{refused}");
            assert!(refused.contains("crash:tm-3@+2s"), "{refused}");
        }
    }
}
