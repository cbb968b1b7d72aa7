//! A part of a log, as text.

use super::{Answer, Client, ClientError, explain};
use crate::rest::logs::{MISSED, POSITION};
use taskmanager::recent_log::MAX_MEMORY;
use ureq::SendBody;
use ureq::http::HeaderName;

/// What a JobManager gives of a log.
pub(crate) struct LogText {
    pub(crate) text: String,
    /// Where it ends, to ask for what comes after it.
    pub(crate) position: String,
    /// How many bytes before it were not kept.
    pub(crate) missed: u64,
}

impl Client {
    /// The part of a log at this path.
    ///
    /// # Errors
    /// Nobody who leads is found, or it refuses.
    pub(crate) fn log(&self, path: &str) -> Result<LogText, ClientError> {
        self.try_each(|| self.of_leader(|address| self.read_log(address, path)))
    }

    fn read_log(&self, address: &str, path: &str) -> Result<Answer<LogText>, ClientError> {
        let request = self.request(format!("{address}{path}"));
        let run = || self.agent.run(request.body(SendBody::none())?);
        let response = run().map_err(|problem| explain(address, problem))?;
        let mut response = match super::admitted(address, response)? {
            Answer::Leader(response) => response,
            Answer::Standby { leader, text } => return Ok(Answer::Standby { leader, text }),
        };
        let header = |name: HeaderName| {
            let value = response.headers().get(&name);
            let value = value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
            value.ok_or_else(|| ClientError::BadAnswer {
                address: address.to_owned(),
                problem: format!("its log comes without {name}"),
            })
        };
        let (position, missed) = (header(POSITION)?, header(MISSED)?);
        // What is not UTF-8 in it takes more room than it had.
        let body = response.body_mut().with_config().limit(4 * MAX_MEMORY);
        let text = body.lossy_utf8(true).read_to_string();
        Ok(Answer::Leader(LogText {
            text: text.map_err(|problem| explain(address, problem))?,
            position,
            missed: missed.parse().unwrap_or(0),
        }))
    }
}
