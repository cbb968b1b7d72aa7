//! The log of who did what to which job: a line for each command, and for each request that was refused.
//!
//! The lines have the target [`TARGET`] and the message `audit`. Views that were shown are not in it. Of those whom
//! nobody knows, only some are told of in a second: they must not fill the disk.

use super::guard::Caller;
use super::tokens::NOBODY;
use axum::http::StatusCode;
use jobmanager_core::id::JobId;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The target of the lines, for `RUST_LOG`.
pub const TARGET: &str = "audit";

/// A request, as far as the log tells of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What was wanted: the method, and the path as the table of routes has it.
    pub action: String,
    /// From where.
    pub peer: Option<SocketAddr>,
    /// The job that the path or the answer names.
    pub job: Option<JobId>,
}

impl Entry {
    /// Somebody was let in. What comes of it is told in the end, or that nobody waited for it.
    #[must_use]
    pub fn admitted(self, who: Caller) -> Underway {
        Underway {
            entry: self,
            who,
            status: None,
        }
    }

    /// Somebody was not let in whom nobody knows.
    pub fn unknown(&self, status: StatusCode, problem: &str) {
        self.bounded(NOBODY, "nothing", status, problem);
    }

    /// Somebody was not let in.
    pub fn refused(&self, who: &Caller, status: StatusCode, problem: &str) {
        let (name, by) = (who.name(), who.known_by());
        match who {
            Caller::Anybody => self.bounded(name, by, status, problem),
            Caller::Token(_) | Caller::Jwt(_) | Caller::Certificate(_) => {
                self.say(name, by, status, problem);
            }
        }
    }

    fn bounded(&self, who: &str, by: &str, status: StatusCode, problem: &str) {
        let strangers = STRANGERS.lock();
        let mut strangers = strangers.unwrap_or_else(PoisonError::into_inner);
        let Some(unsaid) = strangers.may_say(Instant::now()) else {
            return;
        };
        drop(strangers);
        if unsaid > 0 {
            warn!(target: TARGET, unsaid, "audit: as many more of nobody were refused");
        }
        self.say(who, by, status, problem);
    }

    fn say(&self, who: &str, by: &str, status: StatusCode, problem: &str) {
        let status = status.as_u16();
        let (action, peer, job) = (&self.action, self.peer, self.job);
        warn!(
            target: TARGET,
            who,
            by,
            action,
            job = job.map(tracing::field::display),
            outcome = "refused",
            status,
            problem,
            peer = peer.map(tracing::field::display),
            "audit"
        );
    }
}

/// A command that is being carried out. It is told of when this is dropped: a client that goes away takes its request
/// with it, but maybe not what it asked for.
#[derive(Debug)]
pub struct Underway {
    entry: Entry,
    who: Caller,
    status: Option<StatusCode>,
}

impl Underway {
    /// It was answered like this, and is about this job.
    pub fn answered(mut self, status: StatusCode, job: Option<JobId>) {
        self.status = Some(status);
        self.entry.job = self.entry.job.or(job);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;
        if self.status == Some(TOO_MANY) {
            self.entry.refused(&self.who, TOO_MANY, "asked too often");
            return;
        }
        let outcome = match self.status {
            Some(status) if status.is_success() => "done",
            Some(_) => "failed",
            None => "unanswered",
        };
        let Entry { action, peer, job } = &self.entry;
        info!(
            target: TARGET,
            who = self.who.name(),
            by = self.who.known_by(),
            action,
            job = job.map(tracing::field::display),
            outcome,
            status = self.status.map(|status| status.as_u16()),
            peer = peer.map(tracing::field::display),
            "audit"
        );
    }
}

/// How many strangers are told of in a second.
const MOST: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);
static STRANGERS: Mutex<Strangers> = Mutex::new(Strangers::new());

/// Counts the lines about those whom nobody knows.
#[derive(Debug)]
struct Strangers {
    /// When the second began that counts now.
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Strangers {
    const fn new() -> Strangers {
        Strangers {
            since: None,
            said: 0,
            unsaid: 0,
        }
    }

    /// Whether one more may be told of, and of how many more nobody was told before it.
    fn may_say(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now - since >= SECOND) {
            (self.since, self.said) = (Some(now), 0);
        }
        if self.said == MOST {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use std::sync::Arc;
    use tracing_subscriber::fmt::MakeWriter;

    /// What is logged, to be read.
    #[derive(Debug, Clone, Default)]
    struct Read(Arc<Mutex<Vec<u8>>>);

    impl Write for Read {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Read {
        type Writer = Read;

        fn make_writer(&'a self) -> Read {
            self.clone()
        }
    }

    #[test]
    fn a_command_is_told_of_whether_anybody_waits_for_its_answer_or_not() {
        let read = Read::default();
        let log = tracing_subscriber::fmt()
            .with_writer(read.clone())
            .with_ansi(false);
        let entry = || Entry {
            action: "POST /jobs".to_owned(),
            peer: None,
            job: None,
        };
        tracing::subscriber::with_default(log.finish(), || {
            let alice = || Caller::Token("alice".to_owned());
            drop(entry().admitted(alice()));
            let job = Some(JobId(7));
            entry()
                .admitted(alice())
                .answered(StatusCode::ACCEPTED, job);
        });
        let log = String::from_utf8(read.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(
            lines[0].contains("who=\"alice\" by=\"token\"") && lines[0].contains("unanswered"),
            "{log}"
        );
        assert!(lines[1].contains("outcome=\"done\" status=202"), "{log}");
        assert!(
            lines[1].contains("job=00000000000000000000000000000007"),
            "{log}"
        );
    }

    #[test]
    fn who_is_refused_and_not_known_is_not_told_of_again_and_again() {
        let read = Read::default();
        let log = tracing_subscriber::fmt()
            .with_writer(read.clone())
            .with_ansi(false);
        let entry = Entry {
            action: "POST /jobs".to_owned(),
            peer: None,
            job: None,
        };
        let certificate = Caller::Certificate("anybody".to_owned());
        tracing::subscriber::with_default(log.finish(), || {
            for _ in 0..1_000 {
                entry.refused(&Caller::Anybody, StatusCode::FORBIDDEN, "elsewhere");
            }
            entry.refused(&certificate, StatusCode::FORBIDDEN, "elsewhere");
            for _ in 0..1_000 {
                let underway = entry.clone().admitted(Caller::Anybody);
                underway.answered(StatusCode::TOO_MANY_REQUESTS, None);
            }
        });
        let log = String::from_utf8(read.0.lock().unwrap().clone()).unwrap();
        let of = |by: &str| log.matches(&format!("who=\"anybody\" by=\"{by}\"")).count();
        // A second or two, however slow the machine is.
        assert!((1..200).contains(&of("nothing")), "{log}");
        assert_eq!(of("certificate"), 1, "{log}");
    }

    #[test]
    fn strangers_do_not_fill_the_log_and_are_counted() {
        let (mut strangers, start) = (Strangers::new(), Instant::now());
        let said = (0..100).filter_map(|_| strangers.may_say(start)).count();
        assert_eq!(said, 20);
        assert_eq!(strangers.may_say(start + SECOND), Some(80));
        assert_eq!(strangers.may_say(start + SECOND), Some(0));
    }
}
