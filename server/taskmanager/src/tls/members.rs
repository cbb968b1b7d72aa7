//! Who is a member of a cluster.

use super::fresh::{FileProblem, FileText};
use super::pem;
use ring::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use std::fmt;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The most of a common name that is shown. Characters.
const MAX_NAME: usize = 100;

/// The name of a cluster, as the certificates of its members have it among their DNS names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName(DnsName<'static>);

impl ClusterName {
    /// The name; nothing if no certificate could have it.
    #[must_use]
    pub fn new(name: &str) -> Option<ClusterName> {
        match ServerName::try_from(name.to_ascii_lowercase()) {
            Ok(ServerName::DnsName(name)) => Some(ClusterName(name)),
            // An address is no name.
            Ok(_) | Err(_) => None,
        }
    }

    /// What a member is called when it is called.
    pub(super) fn server_name(&self) -> ServerName<'static> {
        ServerName::DnsName(self.0.clone())
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref())
    }
}

/// A certificate that an authority of ours has signed, for others than us.
#[derive(Debug, thiserror::Error)]
#[error(
    "the certificate is not for this cluster: it has to have the DNS name {cluster}, and has {names}"
)]
struct Stranger {
    cluster: ClusterName,
    names: String,
}

/// Tells members from everybody else, at both ends of a connection.
#[derive(Debug)]
pub(super) struct Members {
    callers: Arc<dyn ClientCertVerifier>,
    called: Arc<WebPkiServerVerifier>,
    cluster: ClusterName,
}

impl Members {
    pub(super) fn new(
        authorities: &FileText,
        revoked: Option<&FileText>,
        cluster: ClusterName,
    ) -> Result<Self, FileProblem> {
        Ok(Members {
            callers: pem::callers(authorities, revoked)?,
            called: pem::called(authorities, revoked)?,
            cluster,
        })
    }

    /// That it is signed is not enough: authorities sign for many.
    fn must_be_ours(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let names = names(certificate);
        let wanted: &str = self.cluster.0.as_ref();
        if names.iter().any(|name| name.eq_ignore_ascii_case(wanted)) {
            return Ok(());
        }
        let names = match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        let cluster = self.cluster.clone();
        let stranger = OtherError(Arc::new(Stranger { cluster, names }));
        Err(CertificateError::Other(stranger).into())
    }
}

/// The DNS names of a certificate.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let parsed = webpki::EndEntityCert::try_from(certificate);
    let names = parsed.map(|parsed| parsed.valid_dns_names().map(str::to_owned).collect());
    names.unwrap_or_default()
}

/// What the holder of a certificate is called in logs: its first name that is not the cluster's; of those who have no DNS
/// name, its common name, and of who has none either, something by which certificates can be told apart.
pub(super) fn holder(certificate: &CertificateDer<'_>, cluster: Option<&ClusterName>) -> String {
    let names = names(certificate);
    let is_cluster = |name: &&String| {
        cluster.is_some_and(|cluster| name.eq_ignore_ascii_case(cluster.0.as_ref()))
    };
    let own = names.iter().find(|name| !is_cluster(name));
    let shown = own.or(names.first()).cloned();
    shown
        .or_else(|| common_name(certificate))
        .unwrap_or_else(|| fingerprint(certificate))
}

fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut names = parsed.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.trim();
    let name: String = name.chars().take(MAX_NAME).collect();
    (!name.is_empty()).then_some(name)
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = digest(&SHA256, certificate);
    let shown = hash.as_ref().iter().take(8);
    let shown: String = shown.map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{shown}")
}

impl ServerCertVerifier for Members {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // First of all, since it has the better words.
        self.must_be_ours(end_entity)?;
        let name = self.cluster.server_name();
        self.called
            .verify_server_cert(end_entity, intermediates, &name, &[], now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.called
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.called
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.called.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Members {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.callers.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .callers
            .verify_client_cert(end_entity, intermediates, now)?;
        self.must_be_ours(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.callers
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.callers
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.callers.supported_verify_schemes()
    }
}
