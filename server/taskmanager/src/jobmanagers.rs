//! The JobManagers that a TaskManager knows of, in the order in which it turns to them.

use crate::tls::Dialer;
use std::fmt;

/// Addresses, each `host:port`; at least one; and how they are called.
#[derive(Debug, Clone)]
pub(crate) struct JobManagers {
    named: Vec<String>,
    /// The one that has led last, as far as is known. It may be none of those that were named.
    preferred: Option<String>,
    dialer: Dialer,
}

impl JobManagers {
    /// Those that the options name.
    pub(crate) fn new(named: Vec<String>, dialer: Dialer) -> JobManagers {
        assert!(!named.is_empty(), "the options name at least one");
        JobManagers {
            named,
            preferred: None,
            dialer,
        }
    }

    /// What calls them.
    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Turn to this one first from now on.
    pub(crate) fn prefer(&mut self, address: String) {
        self.preferred = Some(address);
    }

    /// The one to turn to first.
    pub(crate) fn preferred(&self) -> &str {
        let preferred = self.preferred.as_ref();
        preferred.or(self.named.first()).map_or("", String::as_str)
    }

    /// All of them, in order, each once.
    pub(crate) fn in_order(&self) -> Vec<String> {
        let mut order = vec![self.preferred().to_owned()];
        order.extend(self.other_than(self.preferred()));
        order
    }

    /// Those that were named, without this one.
    pub(crate) fn other_than(&self, address: &str) -> Vec<String> {
        let others = self.named.iter().filter(|named| *named != address);
        others.cloned().collect()
    }
}

impl fmt::Display for JobManagers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_led_last_is_asked_first_and_everybody_is_asked_once() {
        let mut all = JobManagers::new(vec!["a:1".into(), "b:1".into()], Dialer::default());
        assert_eq!(all.in_order(), ["a:1", "b:1"]);
        all.prefer("b:1".into());
        assert_eq!(all.in_order(), ["b:1", "a:1"]);
        all.prefer("c:1".into());
        assert_eq!(all.in_order(), ["c:1", "a:1", "b:1"]);
        assert_eq!(all.other_than("a:1"), ["b:1"]);
    }
}
