//! The REST interface from the outside: one method per request, errors that say what to do next.

mod access;
mod log;
mod stream;

pub(crate) use access::Access;
pub(crate) use log::LogText;
pub(crate) use stream::{Sent, Stream};

use super::answer::{
    Checkpoints, Exception, Exceptions, Job, JobLine, Jobs, Refusal, SnapshotStatus, Submitted,
    Triggered,
};
use super::{CLOSED, JOB_FAILED, REFUSED, UNREACHABLE, USAGE, complain};
use crate::gate::{ROLE, STANDBY};
use access::address_of;
use jobmanager_core::id::{JobId, TriggerId};
use jobmanager_proto::job_json::MAX_BYTES;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use stream::admitted;
use taskmanager::tls::{FileProblem, tls_words};
use ureq::http::header::{AUTHORIZATION, RETRY_AFTER};
use ureq::http::request::Builder;
use ureq::http::{Request, Response};
use ureq::{Agent, Body, Error, SendBody, Timeout};

/// A JobManager on the same network accepts a connection at once, or is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A submission is answered once it is durable; a slow disk is no reason to give up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// For how long something is tried again that was asked for too often.
const PATIENCE: Duration = Duration::from_secs(60);
/// After which time, if nothing else is said.
const AGAIN: Duration = Duration::from_secs(1);

/// HTTP status: this client asks too often.
const TOO_MANY: u16 = 429;
/// HTTP status: somebody further away cannot be asked.
const UNREACHED: u16 = 502;
/// HTTP status: nobody there who could answer.
const UNAVAILABLE: u16 = 503;
/// HTTP status: whoever is there did not come to it in time.
const TOO_SLOW: u16 = 504;

/// How many times in a row a JobManager may name another one as the leader.
const MAX_REDIRECTS: usize = 3;

/// A body larger than this is sent once the other side wants it: if it refuses, its answer is not lost
/// behind what it did not read. Bytes.
const MAX_UNASKED: usize = 64 << 10;

/// How a connection breaks that had been made.
const BROKEN: [ErrorKind; 4] = [
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
    ErrorKind::ConnectionReset,
    ErrorKind::UnexpectedEof,
];

/// Why a command did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answers there.
    #[error(
        "no JobManager answers at {address} ({problem}); start one with `jobmanager serve` or \
         `jobmanager local --keep`, or name another one with --jobmanager http://HOST:PORT"
    )]
    Unreachable { address: String, problem: String },
    /// Somebody is there, and says nothing.
    #[error(
        "the JobManager at {address} did not answer ({problem}); it may still do what it was asked \
         to, so look with `jobmanager list -a` before you try again"
    )]
    Silent { address: String, problem: String },
    /// Those who answer do not lead.
    #[error("{address} leads no cluster now ({problem}); try again in a moment")]
    NoLeader { address: String, problem: String },
    /// Somebody else answers there.
    #[error(
        "what answers at {address} is not a JobManager's REST interface ({problem}); its default port is 8081, \
         6123 is for TaskManagers, and where it speaks TLS the address begins with https://"
    )]
    BadAnswer { address: String, problem: String },
    /// The JobManager's own words.
    #[error("{}", refusal(*.status, .problems))]
    Refused { status: u16, problems: Vec<String> },
    /// The JobManager's own words to somebody who asks too often.
    #[error("the JobManager refuses: {words}")]
    TooFast { words: String, after: Duration },
    /// Not an address, or none to be used like this.
    #[error("`{address}` cannot be used ({problem}); write --jobmanager http[s]://HOST:PORT")]
    BadAddress { address: String, problem: String },
    /// Whoever answers there is not believed, or does not believe us.
    #[error(
        "there is no TLS connection to {address}: {problem}; --ca names the file of the authorities to trust, \
         --certificate and --key what the JobManager may ask for"
    )]
    NoTls { address: String, problem: String },
    /// A file with a certificate, a key, authorities or a token.
    #[error("{0}")]
    Tls(FileProblem),
    /// Where a token is looked for, and is none.
    #[error("{0} has no token: one word of ASCII characters is expected")]
    Token(String),
    /// A file that the command line names.
    #[error("{}: {problem}; name a file that can be read", path.display())]
    File {
        path: PathBuf,
        problem: std::io::Error,
    },
    /// A job that no JobManager would read.
    #[error("{}: larger than {MAX_BYTES} bytes, the most that a JobGraph may have", path.display())]
    TooLarge { path: PathBuf },
    /// An id that the command line gives, with what is wrong with it.
    #[error("`{}` is {problem}", id.escape_debug())]
    BadId { id: String, problem: String },
    /// A vertex that the command line names.
    #[error("{0}")]
    Vertex(String),
    /// Whoever reads what this command prints takes no more.
    #[error("standard output cannot be written ({0}); make room, or send it elsewhere")]
    Output(std::io::Error),
}

impl ClientError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::Silent { .. }
            | ClientError::NoLeader { .. }
            | ClientError::NoTls { .. }
            | ClientError::BadAnswer { .. } => UNREACHABLE,
            ClientError::Refused { .. }
            | ClientError::TooFast { .. }
            | ClientError::TooLarge { .. }
            | ClientError::BadId { .. }
            | ClientError::Vertex(_) => REFUSED,
            ClientError::BadAddress { .. }
            | ClientError::File { .. }
            | ClientError::Tls(_)
            | ClientError::Token(_) => USAGE,
            ClientError::Output(_) if self.is_closed_output() => CLOSED,
            ClientError::Output(_) => JOB_FAILED,
        }
    }

    /// Whether another JobManager may answer, or this one later. Nothing has been done.
    fn is_about_where(&self) -> bool {
        matches!(
            self,
            ClientError::Unreachable { .. } | ClientError::NoLeader { .. }
        )
    }

    /// Whether it may be otherwise in a moment, as when one leader follows another.
    pub(crate) fn may_pass(&self) -> bool {
        let is_busy = |status: &u16| [UNREACHED, UNAVAILABLE, TOO_SLOW].contains(status);
        self.is_about_where()
            || matches!(self, ClientError::Silent { .. })
            || matches!(self, ClientError::Refused { status, .. } if is_busy(status))
    }

    /// Whether the reader of standard output has gone, as `head` does: no error in anybody's eyes.
    pub(crate) fn is_closed_output(&self) -> bool {
        matches!(self, ClientError::Output(problem) if problem.kind() == ErrorKind::BrokenPipe)
    }
}

fn refusal(status: u16, problems: &[String]) -> String {
    match problems {
        [] => format!("the JobManager refuses with HTTP status {status} and no reason"),
        [one] => format!("the JobManager refuses: {one}"),
        many => format!("the JobManager refuses:\n  {}", many.join("\n  ")),
    }
}

/// The JobManagers of a cluster: one of them leads, and the others know where it is.
pub(crate) struct Client {
    /// `http://HOST:PORT`, at least one.
    addresses: Vec<String>,
    /// Which of them answered last.
    current: AtomicUsize,
    agent: Agent,
    access: Access,
}

/// An answer from anybody.
enum Answer<T> {
    /// What was asked for.
    Leader(T),
    /// This one stands by: where the leader is, if that is known, and its words.
    Standby {
        leader: Option<String>,
        text: String,
    },
}

impl Client {
    /// A client of the JobManagers at `http[s]://HOST:PORT`, with commas between them; no connection is made yet.
    pub(crate) fn new(addresses: &str, access: Access) -> Result<Self, ClientError> {
        let addresses = addresses.split(',').map(|one| access.checked(one.trim()));
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .tls_config(access.tls())
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT))
            .build()
            .new_agent();
        Ok(Client {
            addresses: addresses.collect::<Result<_, _>>()?,
            current: AtomicUsize::new(0),
            agent,
            access,
        })
    }

    /// Where it looks for the JobManager.
    pub(crate) fn address(&self) -> &str {
        &self.addresses[self.current.load(Ordering::Relaxed) % self.addresses.len()]
    }

    /// Submits a JobGraph in JSON; gives the job's id once the job is durable. If it is refused because others were
    /// submitted just before, it is tried again for a while.
    pub(crate) fn submit(&self, job: Vec<u8>) -> Result<JobId, ClientError> {
        let begun = Instant::now();
        let submitted: Submitted = loop {
            match self.ask("POST", "/jobs", job.clone()) {
                Err(ClientError::TooFast { words, after })
                    if begun.elapsed() + after <= PATIENCE =>
                {
                    complain(words);
                    thread::sleep(after);
                }
                answer => break answer?,
            }
        };
        let id = submitted.job_url.rsplit('/').next().unwrap_or_default();
        self.answered(id)
    }

    pub(crate) fn cancel(&self, id: JobId) -> Result<(), ClientError> {
        let _: serde_json::Value =
            self.ask("PATCH", &format!("/jobs/{id}?mode=cancel"), Vec::new())?;
        Ok(())
    }

    /// Asks for a snapshot in one of the ways there are; gives its trigger once that is accepted.
    pub(crate) fn trigger(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<TriggerId, ClientError> {
        let triggered: Triggered = self.ask("POST", path, body.to_string().into_bytes())?;
        self.answered(&triggered.request_id)
    }

    /// An id that the JobManager has given to something.
    fn answered<T: FromStr<Err: Display>>(&self, id: &str) -> Result<T, ClientError> {
        id.parse()
            .map_err(|problem: T::Err| ClientError::BadAnswer {
                address: self.address().to_owned(),
                problem: format!("`{}` is {problem}", id.escape_debug()),
            })
    }

    /// What came of one of the `savepoints` or `checkpoints` of a job.
    pub(crate) fn snapshot(
        &self,
        id: JobId,
        kind: &str,
        trigger: TriggerId,
    ) -> Result<SnapshotStatus, ClientError> {
        self.get(&format!("/jobs/{id}/{kind}/{trigger}"))
    }

    /// What came of the disposal of a savepoint.
    pub(crate) fn disposal(&self, trigger: TriggerId) -> Result<SnapshotStatus, ClientError> {
        self.get(&format!("/savepoint-disposal/{trigger}"))
    }

    pub(crate) fn jobs(&self) -> Result<Vec<JobLine>, ClientError> {
        let answer: Jobs = self.get("/jobs/overview")?;
        Ok(answer.jobs)
    }

    pub(crate) fn job(&self, id: JobId) -> Result<Job, ClientError> {
        self.get(&format!("/jobs/{id}"))
    }

    pub(crate) fn checkpoints(&self, id: JobId) -> Result<Checkpoints, ClientError> {
        self.get(&format!("/jobs/{id}/checkpoints"))
    }

    pub(crate) fn exceptions(&self, id: JobId) -> Result<Exceptions, ClientError> {
        self.get(&format!("/jobs/{id}/exceptions"))
    }

    /// Why a job is not further than it is.
    pub(crate) fn why<T: DeserializeOwned>(&self, id: JobId) -> Result<T, ClientError> {
        self.get(&format!("/jobs/{id}/why"))
    }

    /// How many subtasks the vertices of a job have, and are to have.
    pub(crate) fn parallelism<T: DeserializeOwned>(&self, id: JobId) -> Result<T, ClientError> {
        self.get(&format!("/jobs/{id}/parallelism"))
    }

    /// Asks for other bounds of some vertices; returns once the wish is durable.
    pub(crate) fn rescale(&self, id: JobId, bounds: &serde_json::Value) -> Result<(), ClientError> {
        let path = format!("/jobs/{id}/resource-requirements");
        let _: serde_json::Value = self.ask("PATCH", &path, bounds.to_string().into_bytes())?;
        Ok(())
    }

    /// The newest failure of a job, if it has seen any.
    pub(crate) fn latest_exception(&self, id: JobId) -> Result<Option<Exception>, ClientError> {
        let latest: Exceptions = self.get(&format!("/jobs/{id}/exceptions?maxExceptions=1"))?;
        Ok(latest.exception_history.entries.into_iter().next())
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask("GET", path, Vec::new())
    }

    /// Asks the leader.
    fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        let ask = |address: &str| self.exchange(method, address, path, &body);
        self.try_each(|| self.of_leader(ask))
    }

    /// Asks each JobManager in turn until one leads or knows who does.
    fn try_each<T>(&self, ask: impl Fn() -> Result<T, ClientError>) -> Result<T, ClientError> {
        let mut tries = self.addresses.len();
        loop {
            tries -= 1;
            match ask() {
                Err(problem) if problem.is_about_where() && tries > 0 => {
                    self.current.fetch_add(1, Ordering::Relaxed);
                }
                answer => return answer,
            }
        }
    }

    /// Asks one JobManager, and whomever it names.
    fn of_leader<T>(
        &self,
        ask: impl Fn(&str) -> Result<Answer<T>, ClientError>,
    ) -> Result<T, ClientError> {
        let mut address = self.address().to_owned();
        for _ in 0..=MAX_REDIRECTS {
            match ask(&address)? {
                Answer::Leader(answer) => return Ok(answer),
                Answer::Standby {
                    leader: Some(leader),
                    ..
                } => address = self.access.checked(&leader)?,
                Answer::Standby { leader: None, text } => {
                    let refusal: Refusal = parse(&address, &text)?;
                    let problem = refusal.errors.join("; ");
                    return Err(ClientError::NoLeader { address, problem });
                }
            }
        }
        let problem = "those who stand by send everybody to each other".to_owned();
        Err(ClientError::NoLeader { address, problem })
    }

    /// A request of somebody who may make it.
    fn request(&self, uri: String) -> Builder {
        let request = Request::builder().uri(uri);
        match &self.access.token {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }

    fn exchange<T: DeserializeOwned>(
        &self,
        method: &str,
        address: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Answer<T>, ClientError> {
        let send = || -> Result<_, Error> {
            let request = self.request(format!("{address}{path}")).method(method);
            let mut response = if body.is_empty() {
                self.agent.run(request.body(SendBody::none())?)?
            } else {
                let mut request = request.header("content-type", "application/json");
                if body.len() > MAX_UNASKED {
                    request = request.header("expect", "100-continue");
                }
                self.agent.run(request.body(body)?)?
            };
            let text = response.body_mut().read_to_string()?;
            Ok((response, text))
        };
        let (response, text) = send().map_err(|problem| explain(address, problem))?;
        if let Some(leader) = standby(address, &response) {
            return Ok(Answer::Standby { leader, text });
        }
        let status = response.status();
        if status.is_success() {
            return parse(address, &text).map(Answer::Leader);
        }
        let refusal: Refusal = parse(address, &text)?;
        if status.as_u16() == TOO_MANY {
            return Err(ClientError::TooFast {
                words: refusal.errors.join("; "),
                after: retry_after(&response),
            });
        }
        Err(ClientError::Refused {
            status: status.as_u16(),
            problems: refusal.errors,
        })
    }
}

/// An id that the command line gives. It is read before anything is asked: in the path of a request, another text
/// might mean another route.
pub(crate) fn read_id<T: FromStr<Err: Display>>(text: &str) -> Result<T, ClientError> {
    text.parse().map_err(|problem: T::Err| ClientError::BadId {
        id: text.to_owned(),
        problem: problem.to_string(),
    })
}

/// Of an answer of one that stands by: where the leader is, if that is known.
fn standby(sender: &str, response: &Response<Body>) -> Option<Option<String>> {
    let headers = response.headers();
    let location = || address_of(sender, headers.get("location")?.to_str().ok()?);
    (headers.get(ROLE) == Some(&STANDBY)).then(location)
}

/// When it may be tried again, as the answer says.
fn retry_after(response: &Response<Body>) -> Duration {
    let said = response.headers().get(RETRY_AFTER);
    let seconds = said.and_then(|said| said.to_str().ok()?.parse().ok());
    seconds.map_or(AGAIN, |seconds: u32| {
        Duration::from_secs(seconds.into()).max(AGAIN)
    })
}

fn explain(address: &str, problem: Error) -> ClientError {
    let address = address.to_owned();
    if let Error::Io(io) = &problem
        && let Some(problem) = tls_words(io)
    {
        return ClientError::NoTls { address, problem };
    }
    let is_connecting = matches!(problem, Error::Timeout(Timeout::Resolve | Timeout::Connect));
    if matches!(problem, Error::Timeout(_)) && !is_connecting {
        let problem = format!("not within {} s", ANSWER_TIMEOUT.as_secs());
        return ClientError::Silent { address, problem };
    }
    let is_broken = matches!(&problem, Error::Io(io) if BROKEN.contains(&io.kind()));
    let problem = problem.to_string();
    if is_broken {
        return ClientError::Silent { address, problem };
    }
    if problem.starts_with("protocol") || problem.starts_with("http:") {
        return ClientError::BadAnswer { address, problem };
    }
    ClientError::Unreachable { address, problem }
}

fn parse<T: DeserializeOwned>(address: &str, text: &str) -> Result<T, ClientError> {
    serde_json::from_str(text).map_err(|problem| ClientError::BadAnswer {
        address: address.to_owned(),
        problem: problem.to_string(),
    })
}

#[cfg(test)]
mod tests;
