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
mod judged;
mod members;
mod pem;
mod steady;
mod words;

pub use connect::{Dialer, is_here};
pub use fresh::{FileProblem, FileText, Fresh, Lapse, Reloads};
pub use incoming::{Connection, Incoming, Limits, Peer};
pub use members::ClusterName;
pub use pem::{Identity, callers, identity, roots};
pub use words::tls_words;

use members::Members;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, Error, ServerConfig, version};
use std::path::PathBuf;
use std::sync::Arc;

/// What is made of a member's files, in the log.
const OWN: &str = "certificate of this member";
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
    /// The lists of certificates that they have revoked, in PEM.
    pub revoked: Option<PathBuf>,
    /// The cluster.
    pub cluster: ClusterName,
}

impl Credentials {
    /// For those who are called by other members.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn server(&self) -> Result<Fresh<Called>, FileProblem> {
        let cluster = self.cluster.clone();
        Fresh::load(OWN, self.files(), None, move |files| {
            server(files, cluster.clone())
        })
    }

    /// For those who call other members.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn client(&self) -> Result<Fresh<Calling>, FileProblem> {
        let cluster = self.cluster.clone();
        Fresh::load(OWN, self.files(), None, move |files| {
            client(files, cluster.clone())
        })
    }

    fn files(&self) -> Vec<PathBuf> {
        let needed = [&self.certificate, &self.key, &self.authorities];
        needed.into_iter().chain(&self.revoked).cloned().collect()
    }
}

/// What whoever is called shows to callers, and how it judges them.
#[derive(Debug)]
pub struct Called {
    config: Arc<ServerConfig>,
    callers: Option<Arc<dyn ClientCertVerifier>>,
    expires: UnixTime,
}

impl Called {
    /// Callers are judged in the handshake and after it alike, if they are at all. What they are shown expires then.
    #[must_use]
    pub fn new(
        config: ServerConfig,
        callers: Option<Arc<dyn ClientCertVerifier>>,
        expires: UnixTime,
    ) -> Called {
        Called {
            config: Arc::new(config),
            callers,
            expires,
        }
    }

    /// When nobody will believe it any more.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    fn judge(&self, shown: &[CertificateDer<'static>], at: UnixTime) -> Result<(), Error> {
        match (&self.callers, shown) {
            (Some(callers), [own, others @ ..]) => {
                callers.verify_client_cert(own, others, at).map(drop)
            }
            (Some(_), []) => Err(Error::NoCertificatesPresented),
            (None, _) => Ok(()),
        }
    }
}

/// What whoever calls shows, and how it judges who is called.
#[derive(Debug)]
pub struct Calling {
    config: Arc<ClientConfig>,
    members: Arc<Members>,
    cluster: ClusterName,
}

impl Calling {
    fn judge(&self, shown: &[CertificateDer<'static>], at: UnixTime) -> Result<(), Error> {
        let Some((own, others)) = shown.split_first() else {
            return Err(Error::NoCertificatesPresented);
        };
        let name = self.cluster.server_name();
        let judged = self.members.verify_server_cert(own, others, &name, &[], at);
        judged.map(drop)
    }
}

/// The algorithms of TLS, and the randomness.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The files, in the order in which [`Credentials`] names them.
fn member(
    files: &[FileText],
    cluster: ClusterName,
) -> Result<(Identity, Arc<Members>), FileProblem> {
    let own = identity(&files[0], &files[1])?;
    let members = Members::new(&files[2], files.get(3), cluster)?;
    Ok((own, Arc::new(members)))
}

fn server(files: &[FileText], cluster: ClusterName) -> Result<Called, FileProblem> {
    let (own, members) = member(files, cluster)?;
    let wrong = |problem| files[1].wrong(&problem);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(wrong)?
        .with_client_cert_verifier(Arc::clone(&members) as _)
        .with_single_cert(own.chain, own.key)
        .map_err(wrong)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // A resumed connection would not be looked at again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Called::new(config, Some(members), own.expires))
}

fn client(files: &[FileText], cluster: ClusterName) -> Result<Calling, FileProblem> {
    let (own, members) = member(files, cluster.clone())?;
    let wrong = |problem| files[1].wrong(&problem);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .map_err(wrong)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&members) as _)
        .with_client_auth_cert(own.chain, own.key)
        .map_err(wrong)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Calling {
        config: Arc::new(config),
        members,
        cluster,
    })
}

#[cfg(test)]
mod tests;
