//! By which names REST may be called where no token tells who calls.
//!
//! A browser lets a page ask the server that it came from, and knows that server by its name. Whoever made the page
//! decides where the name leads, and may change that while the page is open: to an address behind the firewall, or to
//! this machine. So a request from there has an `Origin` that is its `Host`, and nothing but the name gives it away.
//! An address is no name, and cannot be made to lead elsewhere. Tokens make all of that needless, since no browser
//! sends them by itself; certificates do not.

use axum::http::header::{HOST, ORIGIN, REFERER, USER_AGENT};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use std::net::IpAddr;
use std::sync::Arc;

/// Always this machine, for every browser.
const LOCAL: &str = "localhost";
/// Every name, as an option.
const ANY: &str = "*";
/// With this, browsers begin to say what they are, and hardly anybody else does.
const BROWSER: &[u8] = b"Mozilla/";
/// The most of a name that is repeated to whoever sent it. Characters.
const SHOWN: usize = 100;

/// The names that count.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Option<Arc<[String]>>);

/// Why a request is none for this server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Elsewhere {
    /// It is for somebody of another name.
    #[error(
        "nobody here is called `{0}`, and a page of another place may be behind that name: ask by an address, add the \
         name to rest.allowed-hosts, or let clients have tokens (security.rest.tokens)"
    )]
    Name(String),
    /// It does not say for whom it is, or says it twice.
    #[error("one header `Host` is expected, which names this server")]
    Unnamed,
    /// A page of another place asks.
    #[error("asked by a page of another place, which must not give orders")]
    Page,
    /// A browser asks, and does not say for which page.
    #[error(
        "asked by a browser that does not say for which page; one of another place must not give orders: send the \
         command with another method than GET, as PATCH /jobs/ID cancels a job"
    )]
    Unsaid,
}

impl Hosts {
    /// Addresses, `localhost` and these names; with `*` among them, every name.
    #[must_use]
    pub fn these(names: impl IntoIterator<Item = String>) -> Hosts {
        let names: Vec<_> = names.into_iter().collect();
        match names.iter().any(|name| name == ANY) {
            true => Hosts(None),
            false => Hosts(Some(names.into())),
        }
    }

    /// Whether a name can be one of them: the host of a URL without a port, or `*`.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        let parsed: Option<Authority> = text.parse().ok();
        let is_host = parsed.is_some_and(|authority| authority.host() == text);
        text == ANY || is_host && !text.contains(ANY)
    }

    /// Whether a request is for this server.
    ///
    /// # Errors
    /// It is not.
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Elsewhere> {
        let Some(names) = &self.0 else {
            return Ok(());
        };
        for authority in [Some(&host(headers)?), uri.authority()] {
            let Some(authority) = authority else { continue };
            let name = authority.host();
            if !is_ours(name, names) {
                return Err(Elsewhere::Name(shown(name)));
            }
        }
        Ok(())
    }

    /// Whether a command comes from a page of this server, or from no page.
    ///
    /// # Errors
    /// It comes from a page of another place.
    pub fn admit_command(&self, headers: &HeaderMap) -> Result<(), Elsewhere> {
        if self.0.is_none() {
            return Ok(());
        }
        let mut origins = headers.get_all(ORIGIN).into_iter();
        let Some(origin) = origins.next() else {
            return Ok(());
        };
        let origin = origin.to_str().ok().filter(|_| origins.next().is_none());
        let origin = origin.and_then(|origin| origin.split_once("://"));
        let host = host(headers)?;
        match origin.is_some_and(|(_, from)| host.as_str().eq_ignore_ascii_case(from)) {
            true => Ok(()),
            false => Err(Elsewhere::Page),
        }
    }

    /// The same of a command that an image or a link can give, whose browser says nothing about its page: with a
    /// request for what another page shows, there is no `Origin`, and in the clear to another machine, no
    /// `Sec-Fetch-Site`. A `Referer` is there, unless the page does not want it to be.
    ///
    /// # Errors
    /// It comes from a page of another place, or may do so.
    pub fn admit_link(&self, headers: &HeaderMap) -> Result<(), Elsewhere> {
        let agent = headers.get(USER_AGENT);
        let is_browser = agent.is_some_and(|agent| agent.as_bytes().starts_with(BROWSER));
        if self.0.is_none() || !is_browser || headers.contains_key(ORIGIN) {
            return Ok(());
        }
        let page = headers.get(REFERER).ok_or(Elsewhere::Unsaid)?;
        let page = Uri::try_from(page.as_bytes()).ok();
        let page = page.as_ref().and_then(Uri::authority);
        match page == Some(&host(headers)?) {
            true => Ok(()),
            false => Err(Elsewhere::Page),
        }
    }
}

fn host(headers: &HeaderMap) -> Result<Authority, Elsewhere> {
    let mut hosts = headers.get_all(HOST).into_iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Elsewhere::Unnamed);
    };
    Authority::try_from(host.as_bytes())
        .map_err(|_| Elsewhere::Name(shown(&String::from_utf8_lossy(host.as_bytes()))))
}

fn is_ours(name: &str, names: &[String]) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut ours = names.iter().map(String::as_str).chain([LOCAL]);
    ours.any(|ours| ours.eq_ignore_ascii_case(name))
}

fn shown(name: &str) -> String {
    let name: String = name.chars().take(SHOWN).collect();
    name.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::try_from(*value).unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn ours() -> Hosts {
        Hosts::these(["flows.example".to_owned(), "svc".to_owned()])
    }

    #[test]
    fn addresses_and_own_names_count_and_no_others() {
        for (host, counts) in [
            ("127.0.0.1:8081", true),
            ("192.0.2.1", true),
            ("[::1]:8081", true),
            ("localhost:8081", true),
            ("LocalHost.", true),
            ("Flows.Example:80", true),
            ("svc", true),
            ("flows.example.org", false),
            ("xflows.example", false),
            ("example", false),
            ("127.0.0.1.example", false),
            ("localhost.example", false),
            ("127.0.0.1@elsewhere.example", false),
            ("", false),
        ] {
            let headers = headers(&[(HOST, host)]);
            let admitted = ours().admit(&Uri::from_static("/jobs"), &headers);
            assert_eq!(admitted.is_ok(), counts, "{host}: {admitted:?}");
            assert_eq!(
                Hosts::these(["*".to_owned()]).admit(&"/".parse().unwrap(), &headers),
                Ok(())
            );
        }
    }

    #[test]
    fn a_request_says_once_for_whom_it_is() {
        let (uri, twice) = (Uri::from_static("/"), ["127.0.0.1", "elsewhere.example"]);
        let twice = headers(&twice.map(|host| (HOST, host)));
        for headers in [twice, HeaderMap::new()] {
            assert_eq!(ours().admit(&uri, &headers), Err(Elsewhere::Unnamed));
        }
        let uri = Uri::from_static("http://elsewhere.example/jobs");
        let named = headers(&[(HOST, "127.0.0.1")]);
        let refused = ours().admit(&uri, &named).unwrap_err().to_string();
        assert!(refused.contains("`elsewhere.example`"), "{refused}");
        assert!(refused.contains("rest.allowed-hosts"), "{refused}");
    }

    #[test]
    fn a_long_name_is_not_repeated() {
        let long = "x".repeat(5_000);
        let headers = headers(&[(HOST, &long)]);
        let refused = ours().admit(&Uri::from_static("/"), &headers).unwrap_err();
        assert!(refused.to_string().len() < 500, "{refused}");
    }

    #[test]
    fn commands_come_from_own_pages_or_none() {
        for (origin, may) in [
            ("http://127.0.0.1:8081", true),
            // What is in front speaks TLS.
            ("https://127.0.0.1:8081", true),
            ("http://127.0.0.1:3000", false),
            ("http://127.0.0.1", false),
            ("http://elsewhere.example:8081", false),
            ("127.0.0.1:8081", false),
            ("null", false),
            ("", false),
        ] {
            let headers = headers(&[(HOST, "127.0.0.1:8081"), (ORIGIN, origin)]);
            let admitted = ours().admit_command(&headers);
            assert_eq!(admitted.is_ok(), may, "{origin}: {admitted:?}");
            assert_eq!(Hosts::default().admit_command(&headers), Ok(()));
        }
        let none = headers(&[(HOST, "127.0.0.1:8081")]);
        assert_eq!(ours().admit_command(&none), Ok(()));
    }

    #[test]
    fn a_name_is_the_host_of_a_url() {
        for (text, is_name) in [
            ("flows.example", true),
            ("*", true),
            ("[::1]", true),
            ("flows.example:80", false),
            ("http://flows.example", false),
            ("a b", false),
            ("*.example", false),
            ("", false),
        ] {
            assert_eq!(Hosts::is_name(text), is_name, "{text}");
        }
    }
}
