//! The options of traces: where they are sent, and what is shown there.

use super::Shell;
use super::table::{TRACES_CA, TRACES_ENDPOINT, TRACES_HEADERS, TRACES_NAME};
use crate::traces::Collector;
use taskmanager::tls::is_here;
use ureq::http::{HeaderName, HeaderValue, Uri};

/// Where collectors take traces, if only their host is named.
const USUAL_PATH: &str = "/v1/traces";
/// How a secret may be sent.
const IN_THE_CLEAR: &str = "would be sent in the clear, for everybody on the way to read: use https://, or say \
    --allow-insecure if the network is to be trusted";

impl Shell<'_> {
    /// Where traces are sent, if anywhere.
    pub(super) fn traces(
        &self,
        allow_insecure: bool,
        problems: &mut Vec<String>,
    ) -> Option<Collector> {
        let known = problems.len();
        let endpoint = self.text(TRACES_ENDPOINT).trim();
        if endpoint.is_empty() {
            self.need(TRACES_ENDPOINT, &[TRACES_HEADERS, TRACES_CA], problems);
            return None;
        }
        let authorities = self.file(TRACES_CA);
        let headers = headers(self.text(TRACES_HEADERS), problems);
        let checked = endpoint_of(endpoint).and_then(|uri| {
            let is_plain = uri.scheme_str() == Some("http");
            let is_here = uri.host().is_some_and(is_here);
            if is_plain && !headers.is_empty() && !is_here && !allow_insecure {
                return Err(format!("what is in {TRACES_HEADERS} {IN_THE_CLEAR}"));
            }
            if !is_plain && authorities.is_none() {
                return Err(format!(
                    "name the authorities that sign its certificate with {TRACES_CA}"
                ));
            }
            Ok(uri)
        });
        let endpoint = checked.map_err(|problem| {
            let endpoint = endpoint.escape_debug();
            problems.push(format!("{TRACES_ENDPOINT}: `{endpoint}`: {problem}"));
        });
        let endpoint = endpoint.ok().filter(|_| problems.len() == known)?;
        Some(Collector {
            endpoint,
            headers,
            authorities,
            service: self.text(TRACES_NAME).trim().to_owned(),
        })
    }
}

fn endpoint_of(text: &str) -> Result<Uri, String> {
    let expected = "http://HOST:PORT or https://HOST:PORT is expected, with the path if that is not /v1/traces";
    let wrong = || expected.to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    if !["http", "https"].contains(&scheme) || host.is_empty() {
        return Err(wrong());
    }
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err(format!(
            "a name and password are not taken from the address; put them into {TRACES_HEADERS}"
        ));
    }
    match uri.path() {
        "" | "/" => {
            let text = text.strip_suffix('/').unwrap_or(text);
            format!("{text}{USUAL_PATH}").parse().map_err(|_| wrong())
        }
        _ => Ok(uri),
    }
}

/// The values are in no message: they may be secret.
fn headers(text: &str, problems: &mut Vec<String>) -> Vec<(HeaderName, HeaderValue)> {
    let pairs = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    let mut headers = Vec::new();
    for (number, pair) in (1..).zip(pairs) {
        let read = pair.split_once('=').and_then(|(name, value)| {
            let name = name.trim().parse().ok()?;
            let mut value: HeaderValue = value.trim().parse().ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        match read {
            Some(header) => headers.push(header),
            None => problems.push(format!(
                "{TRACES_HEADERS}: number {number} is not NAME=VALUE with the name and value of a header"
            )),
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::options::Options;
    use crate::traces::Collector;

    fn collector(given: &[(&str, &str)]) -> Result<Option<Collector>, String> {
        let map = given.iter().map(|(key, value)| {
            let key = match *key {
                "insecure" => "security.allow-insecure".to_owned(),
                key => format!("traces.otlp.{key}"),
            };
            (key, (*value).to_owned())
        });
        let options = Options::from_map(map.collect());
        options
            .map(|options| options.traces)
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn nothing_is_sent_unless_somebody_says_where() {
        assert!(collector(&[]).unwrap().is_none());
        let refused = collector(&[("headers", "a=b")]).unwrap_err();
        assert!(refused.contains("traces.otlp.endpoint"), "{refused}");
    }

    #[test]
    fn a_host_alone_has_the_usual_path() {
        for (given, wanted) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://192.0.2.1:4318/", "http://192.0.2.1:4318/v1/traces"),
            (
                "http://localhost:4318/x/traces",
                "http://localhost:4318/x/traces",
            ),
        ] {
            let found = collector(&[("endpoint", given)]).unwrap().unwrap();
            assert_eq!(found.endpoint.to_string(), wanted);
            assert_eq!(found.service, "jobmanager");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_what_to_do_and_without_secrets() {
        let there = ("endpoint", "http://192.0.2.1:4318");
        let headers = ("headers", "api-key=hush");
        for (given, wanted) in [
            (&[("endpoint", "localhost:4318")][..], "http://HOST:PORT"),
            (&[("endpoint", "grpc://localhost:4317")], "http://HOST:PORT"),
            (
                &[("endpoint", "http://a:hush@localhost:4318")],
                "traces.otlp.headers",
            ),
            (&[("endpoint", "https://localhost:4318")], "traces.otlp.ca"),
            (&[there, headers], "https://"),
            (&[there, ("headers", "a=b, hush")], "number 2"),
            (&[there, ("headers", "a b=hush")], "number 1"),
        ] {
            let refused = collector(given).unwrap_err();
            assert!(refused.contains(wanted), "{refused}");
            assert!(!refused.contains("=hush"), "{refused}");
        }
        let trusted = collector(&[there, headers, ("insecure", "true")])
            .unwrap()
            .unwrap();
        assert_eq!(trusted.headers.len(), 1);
        assert!(!format!("{trusted:?}").contains("hush"));
        let here = [("endpoint", "http://127.0.0.1:4318"), headers];
        assert!(collector(&here).unwrap().is_some());
    }
}
