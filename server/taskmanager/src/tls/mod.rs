//! TLS between the processes of a cluster: who is a member of it shows so with a certificate.
//!
//! A certificate is a member's if an authority of the cluster has signed it and one of the DNS names in it is the
//! [name of the cluster](ClusterName). Both ends of a connection look. Host names do not count: members come and go,
//! and an address proves nothing. Files are read again while the process runs, see [`Fresh`].
//!
//! Invariant: without credentials everything is in the clear, and with them nothing is.

mod connect;
mod fresh;
mod incoming;
mod members;
mod pem;
mod steady;
mod words;

pub use connect::Dialer;
pub use fresh::{FileProblem, FileText, Fresh, Lapse, Reloads};
pub use incoming::{Connection, Incoming, Limits, Peer};
pub use members::ClusterName;
pub use pem::{identity, roots};
pub use words::tls_words;

use members::Members;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig, version};
use std::path::PathBuf;
use std::sync::Arc;

/// What HTTP/2 is called in a handshake.
const HTTP2: &[u8] = b"h2";

/// The files by which a process proves that it is a member of its cluster, and by which it judges others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its certificate, and those that lead from there to the authority, in PEM.
    pub certificate: PathBuf,
    /// The key of its certificate, in PEM.
    pub key: PathBuf,
    /// The authorities that sign the certificates of members, in PEM.
    pub authorities: PathBuf,
    /// The cluster.
    pub cluster: ClusterName,
}

impl Credentials {
    /// For those who are called by other members.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn server(&self) -> Result<Fresh<ServerConfig>, FileProblem> {
        let cluster = self.cluster.clone();
        Fresh::load(
            "certificate of this member",
            self.files(),
            None,
            move |files| server(files, cluster.clone()),
        )
    }

    /// For those who call other members.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn client(&self) -> Result<Fresh<ClientConfig>, FileProblem> {
        let cluster = self.cluster.clone();
        Fresh::load(
            "certificate of this member",
            self.files(),
            None,
            move |files| client(files, cluster.clone()),
        )
    }

    fn files(&self) -> [PathBuf; 3] {
        [
            self.certificate.clone(),
            self.key.clone(),
            self.authorities.clone(),
        ]
    }
}

/// The algorithms of TLS, and the randomness.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server(
    [certificate, key, authorities]: &[FileText; 3],
    cluster: ClusterName,
) -> Result<ServerConfig, FileProblem> {
    let (chain, secret) = identity(certificate, key)?;
    let members = Arc::new(Members::new(authorities, cluster)?);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|problem| key.wrong(&problem))?
        .with_client_cert_verifier(members)
        .with_single_cert(chain, secret)
        .map_err(|problem| key.wrong(&problem))?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // A resumed connection would not be looked at again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(
    [certificate, key, authorities]: &[FileText; 3],
    cluster: ClusterName,
) -> Result<ClientConfig, FileProblem> {
    let (chain, secret) = identity(certificate, key)?;
    let members = Arc::new(Members::new(authorities, cluster)?);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|problem| key.wrong(&problem))?
        .dangerous()
        .with_custom_certificate_verifier(members)
        .with_client_auth_cert(chain, secret)
        .map_err(|problem| key.wrong(&problem))?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests;
