//! Which servers an etcd cluster has, and how to reach one of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use taskmanager::words;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// How long one server may take to let somebody connect before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The servers, of which any one will do.
#[derive(Debug, Clone)]
pub struct EtcdServers {
    servers: Vec<(String, Endpoint)>,
    /// Which one to try first.
    next: usize,
}

/// The files that TLS needs, in PEM.
#[derive(Debug, Clone, Default)]
pub struct EtcdTls {
    /// The authorities that may have signed the servers' certificates.
    pub authorities: Option<PathBuf>,
    /// Our own certificate and its key, if the servers ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl EtcdServers {
    /// The servers of a list of URLs, with commas or semicolons between them.
    ///
    /// # Errors
    /// One of them is malformed, or a file of TLS cannot be read: the words for people.
    pub fn parse(urls: &str, tls: &EtcdTls) -> Result<EtcdServers, String> {
        let urls = urls.split([',', ';']).map(str::trim);
        let urls: Vec<&str> = urls.filter(|url| !url.is_empty()).collect();
        let config = match urls.iter().any(|url| url.starts_with("https://")) {
            true => Some(tls.read()?),
            false => None,
        };
        let servers = urls.iter().map(|url| endpoint(url, config.as_ref()));
        let servers: Vec<_> = servers.collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err("at least one URL is expected, such as http://HOST:2379".to_owned());
        }
        Ok(EtcdServers { servers, next: 0 })
    }

    /// A connection to the first server that lets us connect.
    pub(super) async fn connect(&mut self) -> Result<Channel, String> {
        let mut problem = String::new();
        for _ in 0..self.servers.len() {
            let (_, server) = &self.servers[self.next];
            match server.connect().await {
                Ok(channel) => return Ok(channel),
                Err(error) => problem = words(&error),
            }
            self.next();
        }
        Err(problem)
    }

    /// Lets another server be tried first, since this one is of no use.
    pub(super) fn next(&mut self) {
        self.next = (self.next + 1) % self.servers.len();
    }
}

impl fmt::Display for EtcdServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<&str> = self.servers.iter().map(|(url, _)| url.as_str()).collect();
        f.write_str(&urls.join(","))
    }
}

impl EtcdTls {
    fn read(&self) -> Result<ClientTlsConfig, String> {
        let Some(authorities) = &self.authorities else {
            return Err("https needs the certificates of the authorities that are trusted".into());
        };
        let mut config = ClientTlsConfig::new();
        config = config.ca_certificate(Certificate::from_pem(read(authorities)?));
        if let Some((certificate, key)) = &self.identity {
            config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|problem| format!("{}: {problem}", path.display()))
}

fn endpoint(url: &str, tls: Option<&ClientTlsConfig>) -> Result<(String, Endpoint), String> {
    let secure = url.starts_with("https://");
    if !secure && !url.starts_with("http://") {
        let url = url.escape_debug();
        return Err(format!("`{url}` does not begin with http:// or https://"));
    }
    let named = |problem: tonic::transport::Error| format!("`{url}`: {}", words(&problem));
    let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(named)?;
    endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
    if let (true, Some(tls)) = (secure, tls) {
        endpoint = endpoint.tls_config(tls.clone()).map_err(named)?;
    }
    Ok((url.to_owned(), endpoint))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn servers_are_named_by_urls() {
        let parse = |urls| EtcdServers::parse(urls, &EtcdTls::default());
        let servers = parse(" http://a:1; http://b:2,").unwrap();
        assert_eq!(servers.to_string(), "http://a:1,http://b:2");
        for (urls, words) in [
            ("", "at least one URL"),
            ("a:1", "`a:1` does not begin with http:// or https://"),
            ("http://", "`http://`: "),
            ("https://a:1", "https needs the certificates"),
        ] {
            let problem = parse(urls).unwrap_err();
            assert!(problem.contains(words), "{urls}: {problem}");
        }
        let tls = EtcdTls {
            authorities: Some("/nowhere/ca.pem".into()),
            identity: None,
        };
        let problem = EtcdServers::parse("https://a:1", &tls).unwrap_err();
        assert!(problem.starts_with("/nowhere/ca.pem: "), "{problem}");
    }
}
