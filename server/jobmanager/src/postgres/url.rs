//! Where a PostgreSQL server is: a URL as `psql` takes it, with the parameters of TLS that the library does
//! not know.

use super::tls::{self, Trust};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Data that is not acknowledged for this long means that the connection is gone.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is idle before the system asks whether its peer is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// A database on a PostgreSQL server, and how to log in. Shown without the password.
#[derive(Clone)]
pub struct Database {
    pub(super) config: Arc<Config>,
    pub(super) tls: MakeRustlsConnect,
}

impl Database {
    /// The database behind `postgres://user:password@host:port/name?sslmode=…`.
    ///
    /// The password may also come from the environment variable `PGPASSWORD`.
    ///
    /// # Errors
    /// It is not such a URL, or the certificates that it names cannot be read: the words for people, which
    /// do not repeat the URL because of the password in it.
    pub fn parse(url: &str) -> Result<Database, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut mode = None;
        let mut roots = None;
        let mut rest = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(value),
                _ => rest.push(parameter),
            }
        }
        let (ssl_mode, trust) = trust(mode, roots)?;
        let known = match rest.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", rest.join("&")),
        };
        let mut config: Config = known
            .parse()
            .map_err(|error: tokio_postgres::Error| super::words(&error))?;
        if config.get_hosts().is_empty() {
            return Err("it names no host".to_owned());
        }
        if config.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("jobmanager");
        }
        config
            .ssl_mode(ssl_mode)
            .connect_timeout(super::CONNECT_TIMEOUT)
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .keepalives_idle(KEEPALIVE_IDLE);
        let tls = tls::connector(trust)?;
        let config = Arc::new(config);
        Ok(Database { config, tls })
    }
}

/// What `sslmode` and `sslrootcert` ask for, as far as it is offered here.
fn trust(mode: Option<&str>, roots: Option<&str>) -> Result<(SslMode, Trust), String> {
    let needless = "sslrootcert is only used with sslmode=verify-full: set that, or leave it out";
    match (mode, roots) {
        (Some("verify-full"), Some(roots)) => {
            let roots = tls::roots(Path::new(&decoded(roots)))?;
            Ok((SslMode::Require, Trust::Roots(roots)))
        }
        (Some("verify-full"), None) => Err(
            "sslmode=verify-full needs sslrootcert=FILE, with the certificates to trust in PEM, \
             such as /etc/ssl/certs/ca-certificates.crt"
                .to_owned(),
        ),
        (Some("disable"), None) => Ok((SslMode::Disable, Trust::Anybody)),
        (Some("prefer") | None, None) => Ok((SslMode::Prefer, Trust::Anybody)),
        (Some("require"), None) => Ok((SslMode::Require, Trust::Anybody)),
        (Some("disable" | "prefer" | "require") | None, Some(_)) => Err(needless.to_owned()),
        (Some(other), _) => Err(format!(
            "sslmode={} is not offered: use disable, prefer, require or verify-full",
            other.escape_debug()
        )),
    }
}

/// Text with its `%20` and the like resolved; what is not such a thing stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://")?;
        let ports = self.config.get_ports();
        for (number, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let port = ports.get(number).or(ports.first()).unwrap_or(&5432);
            match host {
                Host::Tcp(host) => write!(f, "{comma}{host}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        match self.config.get_dbname() {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_database_is_shown_without_its_password() {
        let url = "postgres://me:secret@one:1,two/jobs?connect_timeout=3";
        let database = Database::parse(url).unwrap();
        assert_eq!(database.to_string(), "postgres://one:1,two:5432/jobs");
        assert!(!format!("{database:?}").contains("secret"));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_its_password() {
        for (rest, wanted) in [
            (
                "host/x?sslmode=sometimes",
                "sslmode=sometimes is not offered",
            ),
            ("host/x?sslmode=verify-full", "needs sslrootcert=FILE"),
            ("host/x?sslmode=require&sslrootcert=/x", "only used with"),
            (
                "host/x?sslmode=verify-full&sslrootcert=/no%20file",
                "/no file",
            ),
            ("host/x?wanted=more", "unknown option"),
            ("host:many/x", "port"),
        ] {
            let words = Database::parse(&format!("postgres://me:secret@{rest}")).unwrap_err();
            assert!(words.contains(wanted), "{rest}: {words}");
            assert!(!words.contains("secret"), "{words}");
        }
    }

    #[test]
    fn an_escaped_path_is_read_as_it_is_meant() {
        assert_eq!(decoded("%2Fa%20b%zz%"), "/a b%zz%");
    }
}
