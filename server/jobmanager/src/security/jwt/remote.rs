//! The keys of an identity provider that publishes them at a URL.
//!
//! They are read at the start, then [every few minutes](REFRESH), and when a token names a key that is not among them:
//! a provider signs with a new key soon after it publishes it. That anybody can ask for, so it is done at most
//! [once in a while](PAUSE). If they cannot be read, those of before count on, for [a day](LAPSE): that the provider is
//! away must not end the access of everybody, and its tokens end by themselves within minutes or hours, so what stays
//! open is that it has withdrawn a key, which it does if the key was stolen. A day is long enough to notice a metric
//! that says so from the first failure on, and short enough that a key that was withdrawn does not count for ever.

use super::keys::{KeySet, MAX_BYTES};
use crate::https;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use taskmanager::tls::{FileProblem, FileText, Reloads};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};
use ureq::Agent;

/// How often keys are read that nobody asks for: a key that was withdrawn counts no longer.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// From the beginning of one reading to that of the next one, at least.
const PAUSE: Duration = Duration::from_secs(60);
/// How often keys are read as long as there are none: both may have been started just now.
const FIRST: Duration = Duration::from_secs(5);
/// How often keys are read.
const PACE: Pace = Pace {
    first: FIRST,
    refresh: REFRESH,
    retry: PAUSE,
    pause: PAUSE,
};
/// How long a reading may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a token may wait for it; a reading that was begun for another one counts, too.
const WAIT: Duration = Duration::from_secs(6);
/// For how long keys count that cannot be read again.
const LAPSE: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Clone, Copy)]
struct Pace {
    /// As long as there are none.
    first: Duration,
    /// After keys were read.
    refresh: Duration,
    /// After they could not be read.
    retry: Duration,
    /// When somebody misses one.
    pause: Duration,
}

/// The keys. Clones share them; when the last one is dropped, nobody reads them any more.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    seen: Arc<watch::Sender<Seen>>,
    /// The thread that reads ends when it is dropped.
    wishes: Arc<Sender<()>>,
    pace: Pace,
}

#[derive(Debug)]
struct Seen {
    keys: Arc<KeySet>,
    reading: Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Somebody reads.
    Underway,
    /// Somebody began to read then, and has done so.
    Begun(Instant),
}

impl Remote {
    /// Begins to read them, and waits for nothing.
    ///
    /// # Errors
    /// The file of authorities cannot be used.
    pub(super) fn follow(
        url: &str,
        authorities: Option<&Path>,
        reloads: Reloads,
    ) -> Result<Remote, FileProblem> {
        Remote::follow_at(PACE, url, authorities, reloads)
    }

    fn follow_at(
        pace: Pace,
        url: &str,
        authorities: Option<&Path>,
        reloads: Reloads,
    ) -> Result<Remote, FileProblem> {
        let place = Place {
            url: url.to_owned(),
            authorities: authorities.map(Path::to_owned),
        };
        place.agent()?;
        let seen = Arc::new(watch::Sender::new(Seen {
            keys: Arc::default(),
            reading: Reading::Underway,
        }));
        let (wishes, wished) = channel();
        let mut reader = Reader {
            place,
            seen: Arc::clone(&seen),
            text: Vec::new(),
            read: None,
            reloads,
        };
        std::thread::spawn(move || reader.run(pace, &wished));
        Ok(Remote {
            seen,
            wishes: Arc::new(wishes),
            pace,
        })
    }

    /// As they are now.
    pub(super) fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.seen.borrow().keys)
    }

    /// As they are after a look, if there may be one now.
    pub(super) async fn renewed(&self) -> Arc<KeySet> {
        let begins = self.seen.send_if_modified(|seen| {
            let may =
                matches!(seen.reading, Reading::Begun(then) if then.elapsed() >= self.pace.pause);
            if may {
                seen.reading = Reading::Underway;
            }
            may
        });
        if begins {
            // Whoever reads ends only after this.
            let _ = self.wishes.send(());
        }
        let mut seen = self.seen.subscribe();
        let is_done = |seen: &Seen| seen.reading != Reading::Underway;
        // If it takes too long, those of before count.
        let _ = timeout(WAIT, seen.wait_for(is_done)).await;
        self.current()
    }
}

/// Where they are.
struct Place {
    url: String,
    authorities: Option<PathBuf>,
}

impl Place {
    fn agent(&self) -> Result<Agent, FileProblem> {
        let authorities = match &self.authorities {
            Some(path) => https::authorities(&FileText::read(path)?)?,
            None => Vec::new(),
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            // Nobody is sent from https to http, or elsewhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .tls_config(https::tls(authorities, None))
            .timeout_global(Some(PATIENCE));
        Ok(config.build().new_agent())
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        let agent = self.agent().map_err(|problem| problem.to_string())?;
        let asked = agent.get(&self.url).header("accept", "application/json");
        let mut answer = asked.call().map_err(|problem| problem.to_string())?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(format!("HTTP status {status}, where 200 is expected"));
        }
        let limited = answer.body_mut().with_config().limit(MAX_BYTES as u64);
        limited.read_to_vec().map_err(|problem| problem.to_string())
    }
}

/// Reads them, again and again.
struct Reader {
    place: Place,
    seen: Arc<watch::Sender<Seen>>,
    /// What was read last.
    text: Vec<u8>,
    /// When that was.
    read: Option<Instant>,
    reloads: Reloads,
}

impl Reader {
    fn run(&mut self, pace: Pace, wished: &Receiver<()>) {
        loop {
            let begun = Instant::now();
            let text = self.place.read();
            let is_read = self.take(text, Instant::now());
            // Whoever has wished for this has it now.
            while wished.try_recv().is_ok() {}
            self.seen
                .send_modify(|seen| seen.reading = Reading::Begun(begun));
            let pause = match (is_read, self.read) {
                (true, _) => pace.refresh,
                (false, Some(_)) => pace.retry,
                (false, None) => pace.first,
            };
            if wished.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            self.seen
                .send_modify(|seen| seen.reading = Reading::Underway);
        }
    }

    /// Makes the best of what was read at this time.
    fn take(&mut self, text: Result<Vec<u8>, String>, now: Instant) -> bool {
        let url = &self.place.url;
        let keys = match &text {
            Ok(text) if self.read.is_some() && *text == self.text => Ok(None),
            Ok(text) => KeySet::parse(text).map(Some),
            Err(problem) => Err(problem.clone()),
        };
        self.reloads.set_stale(keys.is_err());
        match (keys, text) {
            (Ok(keys), text) => {
                self.read = Some(now);
                if let Some(keys) = keys {
                    self.text = text.unwrap_or_default();
                    info!(url, keys = keys.len(), "the keys of tokens were read");
                    self.show(keys);
                }
                true
            }
            (Err(problem), _) => {
                self.reloads.count_failure();
                match self.read {
                    Some(read) if now - read >= LAPSE => {
                        self.read = None;
                        self.show(KeySet::default());
                        error!(
                            url,
                            problem,
                            "the keys of tokens cannot be read, and the earlier ones do not count any more"
                        );
                    }
                    Some(_) => {
                        warn!(
                            url,
                            problem, "the keys of tokens cannot be read: the earlier ones stay"
                        );
                    }
                    None => warn!(
                        url,
                        problem, "the keys of tokens cannot be read: no such token counts"
                    ),
                }
                false
            }
        }
    }

    fn show(&self, keys: KeySet) {
        self.seen.send_modify(|seen| seen.keys = Arc::new(keys));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SET: &str =
        r#"{"keys": [{"kty": "EC", "kid": "a", "crv": "P-256", "x": "AAAA", "y": "AAAA"}]}"#;

    #[test]
    fn keys_that_cannot_be_read_again_count_for_a_day() {
        let seen = Arc::new(watch::Sender::new(Seen {
            keys: Arc::default(),
            reading: Reading::Underway,
        }));
        let mut reader = Reader {
            place: Place {
                url: "http://localhost:1".to_owned(),
                authorities: None,
            },
            seen: Arc::clone(&seen),
            text: Vec::new(),
            read: None,
            reloads: Reloads::of("keys"),
        };
        let mut now = Instant::now();
        let mut after = |pause: Duration, text: Result<&str, &str>| {
            now += pause;
            let text = text.map(|text| text.as_bytes().to_vec());
            let is_read = reader.take(text.map_err(str::to_owned), now);
            let keys = seen.borrow().keys.len();
            assert_eq!(reader.reloads.is_stale(), !is_read);
            (keys, reader.reloads.failed())
        };
        assert_eq!(after(PAUSE, Err("away")), (0, 1));
        assert_eq!(after(PAUSE, Ok(SET)), (1, 1));
        assert_eq!(after(LAPSE - PAUSE, Err("away")), (1, 2));
        assert_eq!(after(PAUSE - Duration::from_secs(1), Ok("<html>")), (1, 3));
        assert_eq!(after(Duration::from_secs(1), Err("away")), (0, 4));
        assert_eq!(after(LAPSE, Err("away")), (0, 5));
        assert_eq!(after(PAUSE, Ok(SET)), (1, 5), "the same text counts again");
        assert_eq!(after(LAPSE, Ok(SET)), (1, 5));
        assert_eq!(after(PAUSE, Err("away")), (1, 6), "it was read a while ago");
        assert_eq!(
            after(PAUSE, Ok(r#"{"keys": []}"#)),
            (0, 6),
            "nobody is to be let in"
        );
    }

    /// A provider: what it answers, and how often it was asked.
    struct Provider {
        url: String,
        answer: Arc<Mutex<&'static str>>,
        asked: Arc<AtomicUsize>,
    }

    fn provider(answer: &'static str) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (said, counted) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let read = stream.read(&mut [0; 4096]).unwrap();
                assert!(read > 0);
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = *said.lock().unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Provider { url, answer, asked }
    }

    const ONE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\": [{\"kty\": \"EC\", \"kid\": \"a\", \"crv\": \"P-256\", \"x\": \"AAAA\", \"y\": \"AAAA\"}]}";
    const NONE: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\": []}";
    const MOVED: &str =
        "HTTP/1.1 302 Found\r\nlocation: /\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    const HOUR: Duration = Duration::from_secs(3_600);

    fn follow(provider: &Provider, pause: Duration) -> Remote {
        let pace = Pace {
            first: Duration::from_millis(1),
            refresh: HOUR,
            retry: HOUR,
            pause,
        };
        Remote::follow_at(pace, &provider.url, None, Reloads::of("keys")).unwrap()
    }

    #[tokio::test]
    async fn keys_are_read_when_somebody_misses_one() {
        let provider = provider(NONE);
        let remote = follow(&provider, Duration::ZERO);
        assert_eq!(remote.renewed().await.len(), 0);
        *provider.answer.lock().unwrap() = ONE;
        assert_eq!(remote.current().len(), 0);
        assert_eq!(remote.renewed().await.len(), 1);
        for answer in [
            MOVED,
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "hush",
        ] {
            *provider.answer.lock().unwrap() = answer;
            assert_eq!(remote.renewed().await.len(), 1, "{answer}");
        }
        *provider.answer.lock().unwrap() = NONE;
        assert_eq!(remote.renewed().await.len(), 0);
        // As often as that was asked for, and not more often.
        assert_eq!(provider.asked.load(Ordering::SeqCst), 6);
    }

    #[tokio::test]
    async fn a_provider_that_starts_later_is_found() {
        let provider = provider(MOVED);
        let remote = follow(&provider, HOUR);
        assert_eq!(remote.renewed().await.len(), 0);
        *provider.answer.lock().unwrap() = ONE;
        let deadline = Instant::now() + Duration::from_secs(20);
        while remote.current().len() == 0 {
            assert!(Instant::now() < deadline, "nobody reads again");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn nobody_has_them_read_again_and_again() {
        let provider = provider(ONE);
        let remote = follow(&provider, HOUR);
        let many = (0..100).map(|_| remote.renewed());
        for keys in futures::future::join_all(many).await {
            assert_eq!(keys.len(), 1);
        }
        assert_eq!(remote.renewed().await.len(), 1);
        assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
    }
}
