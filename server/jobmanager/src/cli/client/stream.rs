//! Server-sent events of the JobManager that leads, read one by one.

use super::{Answer, Client, ClientError, explain, parse};
use crate::cli::answer::Refusal;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;
use ureq::http::Response;
use ureq::{Body, Error, SendBody};

/// A stream is renewed this often: of a JobManager that is gone without a word nothing else would tell.
const RENEWED: Duration = Duration::from_secs(60);
/// The longest line that is read; the words of a failure may be long. Bytes.
const MAX_LINE: u64 = 16 << 20;

/// Something that was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// What it is; empty for a sign of life.
    pub(crate) event: String,
    /// Where the stream goes on after it.
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// What comes from the JobManager.
pub(crate) struct Stream(BufReader<Box<dyn Read>>);

impl Stream {
    /// What is sent next; nothing if the stream has ended, however it has.
    pub(crate) fn next(&mut self) -> Option<Sent> {
        let mut sent = Sent::default();
        loop {
            let mut line = String::new();
            let read = self.0.by_ref().take(MAX_LINE).read_line(&mut line);
            // Half a line is none.
            let line = line.strip_suffix('\n').filter(|_| read.is_ok())?;
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut sent.event),
                "id" => sent.id = Some(value.to_owned()),
                "data" => sent.data.push_str(value),
                // A comment is one without a name; it ends nothing.
                _ if !line.is_empty() => {}
                _ => return Some(sent),
            }
        }
    }
}

impl Client {
    /// Opens the stream at this path, from the event after this one on.
    ///
    /// # Errors
    /// Nobody who leads is found, or it refuses.
    pub(crate) fn stream(&self, path: &str, after: Option<&str>) -> Result<Stream, ClientError> {
        self.try_each(|| self.of_leader(|address| self.open(address, path, after)))
    }

    fn open(
        &self,
        address: &str,
        path: &str,
        after: Option<&str>,
    ) -> Result<Answer<Stream>, ClientError> {
        let request = self.request(format!("{address}{path}"));
        let request = match after {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let run = || -> Result<_, Error> {
            let request = request.body(SendBody::none())?;
            let request = self.agent.configure_request(request);
            let request = request
                .timeout_global(None)
                .timeout_recv_response(Some(super::ANSWER_TIMEOUT))
                .timeout_recv_body(Some(RENEWED));
            self.agent.run(request.build())
        };
        let response = run().map_err(|problem| explain(address, problem))?;
        Ok(match admitted(address, response)? {
            Answer::Leader(response) => {
                let body = response.into_body().into_reader();
                Answer::Leader(Stream(BufReader::new(Box::new(body))))
            }
            Answer::Standby { leader, text } => Answer::Standby { leader, text },
        })
    }
}

/// An answer whose body is still to be read, if it is what was asked for.
pub(super) fn admitted(
    address: &str,
    mut response: Response<Body>,
) -> Result<Answer<Response<Body>>, ClientError> {
    let status = response.status().as_u16();
    let leader = super::standby(address, &response);
    if leader.is_none() && status == 200 {
        return Ok(Answer::Leader(response));
    }
    let text = response.body_mut().read_to_string();
    let text = text.map_err(|problem| explain(address, problem))?;
    if let Some(leader) = leader {
        return Ok(Answer::Standby { leader, text });
    }
    let refusal: Refusal = parse(address, &text)?;
    let problems = refusal.errors;
    Err(ClientError::Refused { status, problems })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_are_read_one_by_one_and_half_of_one_is_none() {
        let text = "id: 1-1\n: nothing\n\nevent: a\nid: 1-2\ndata: {\"x\":\ndata: 1}\n\nevent: b\ndata: {}";
        let mut stream = Stream(BufReader::new(Box::new(text.as_bytes())));
        let sent = |event: &str, id: &str, data: &str| Sent {
            event: event.to_owned(),
            id: Some(id.to_owned()),
            data: data.to_owned(),
        };
        assert_eq!(stream.next(), Some(sent("", "1-1", "")));
        assert_eq!(stream.next(), Some(sent("a", "1-2", "{\"x\":1}")));
        assert_eq!(stream.next(), None);
    }
}
