//! Addresses of JobManagers, and what is shown to whoever answers there.

use super::ClientError;
use crate::https;
use std::path::Path;
use taskmanager::tls::{FileText, identity, is_here};
use ureq::http::{HeaderValue, Uri};
use ureq::tls::{Certificate, ClientCert, PrivateKey, TlsConfig};

/// What a client shows, and whom it believes.
#[derive(Debug, Default)]
pub(crate) struct Access {
    authorities: Vec<Certificate<'static>>,
    identity: Option<ClientCert>,
    /// What is said with every request.
    pub(crate) token: Option<HeaderValue>,
    /// Whether the token may be said in the clear on a network.
    pub(crate) allow_insecure: bool,
}

impl Access {
    /// Believes what these authorities have signed.
    pub(crate) fn trust(&mut self, file: &Path) -> Result<(), ClientError> {
        let file = FileText::read(file).map_err(ClientError::Tls)?;
        self.authorities = https::authorities(&file).map_err(ClientError::Tls)?;
        Ok(())
    }

    /// Shows this certificate.
    pub(crate) fn identify(&mut self, certificate: &Path, key: &Path) -> Result<(), ClientError> {
        let certificate = FileText::read(certificate).map_err(ClientError::Tls)?;
        let key = FileText::read(key).map_err(ClientError::Tls)?;
        identity(&certificate, &key).map_err(ClientError::Tls)?;
        let chain = https::certificates(&certificate);
        let secret = PrivateKey::from_pem(key.bytes());
        let secret = secret.map_err(|problem| ClientError::Tls(key.wrong(&problem)))?;
        self.identity = Some(ClientCert::new_with_certs(&chain, secret));
        Ok(())
    }

    pub(super) fn tls(&self) -> TlsConfig {
        https::tls(self.authorities.clone(), self.identity.clone())
    }

    /// An address as it is used. What is secret is said to nobody in the clear, but on this machine.
    pub(super) fn checked(&self, address: &str) -> Result<String, ClientError> {
        let bad = |problem: &str| ClientError::BadAddress {
            address: address.to_owned(),
            problem: problem.to_owned(),
        };
        let address = match address.contains("://") {
            true => address.strip_suffix('/').unwrap_or(address).to_owned(),
            false => format!("http://{address}"),
        };
        let uri: Uri = address
            .parse()
            .map_err(|problem: ureq::http::uri::InvalidUri| bad(&problem.to_string()))?;
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| bad("it has no host"))?;
        match uri.scheme_str() {
            Some("https") if self.authorities.is_empty() => Err(bad(
                "name the authorities that sign its certificate with --ca FILE",
            )),
            Some("https") => Ok(address),
            Some("http") if self.token.is_some() && !self.allow_insecure && !is_here(host) => {
                Err(bad(
                    "a token would be sent in the clear, for everybody on the way to read: use https://, or say \
                     --allow-insecure if the network is to be trusted",
                ))
            }
            Some("http") => Ok(address),
            Some(_) | None => Err(bad("http:// or https:// is expected")),
        }
    }
}

/// `http://HOST:PORT` of a URL that a standby sends us to. Nobody is sent from https to http.
pub(super) fn address_of(sender: &str, location: &str) -> Option<String> {
    let uri: Uri = location.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let is_kept = sender
        .split_once("://")
        .is_some_and(|(sent, _)| sent == scheme);
    let authority = uri.authority().filter(|_| is_kept)?;
    Some(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_it_is_used() {
        let access = Access::default();
        for (address, right) in [
            ("http://127.0.0.1:8081/", Some("http://127.0.0.1:8081")),
            ("localhost:8081", Some("http://localhost:8081")),
            ("https://localhost:8081", None),
            ("ftp://localhost", None),
            ("http://", None),
            ("a b", None),
        ] {
            assert_eq!(access.checked(address).ok().as_deref(), right, "{address}");
        }
    }

    #[test]
    fn a_token_is_not_sent_to_others_in_the_clear() {
        let mut access = Access {
            token: Some(HeaderValue::from_static("Bearer hush")),
            ..Access::default()
        };
        for (address, is_sent) in [
            ("http://127.0.0.1:8081", true),
            ("http://localhost:1", true),
            ("http://[::1]:1", true),
            ("http://192.0.2.1:8081", false),
            ("http://127.0.0.1.example:8081", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(access.checked(address).is_ok(), is_sent, "{address}");
        }
        access.allow_insecure = true;
        assert!(access.checked("http://192.0.2.1:8081").is_ok());
    }

    #[test]
    fn a_standby_sends_nobody_from_https_to_http() {
        let to = |sender, location| address_of(sender, location);
        let leader = Some("https://b:2".to_owned());
        assert_eq!(to("https://a:1", "https://b:2/jobs"), leader);
        assert_eq!(to("https://a:1", "http://b:2/jobs"), None);
        assert_eq!(to("http://a:1", "https://b:2/jobs"), None);
        assert_eq!(to("http://a:1", "/jobs"), None);
    }
}
