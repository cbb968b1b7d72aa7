//! Certificates, keys and lists of revoked certificates in PEM, and what judges by them.
//!
//! Where there are lists, each authority on the way to a certificate has to have one: whose list was forgotten has
//! revoked nobody, and nobody would notice. That a list is old is no reason to let in nobody.

use super::fresh::{FileProblem, FileText};
use super::provider;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// Who a process is.
#[derive(Debug)]
pub struct Identity {
    /// Its certificate, and those that lead from there to its authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's key.
    pub key: PrivateKeyDer<'static>,
    /// When the first of these certificates expires.
    pub expires: UnixTime,
}

/// A certificate, with those that lead from there to its authority, and its key. That the key is the certificate's,
/// the configuration of TLS looks at that takes both.
///
/// # Errors
/// One of the files has no such thing, or it is not the time of a certificate, so that nobody would believe it.
pub fn identity(certificate: &FileText, key: &FileText) -> Result<Identity, FileProblem> {
    let secret = PrivateKeyDer::from_pem_slice(key.bytes());
    let secret =
        secret.map_err(|problem| key.wrong(&format!("no private key in PEM ({problem})")))?;
    let chain = certificates(certificate)?;
    let ends = chain.iter().map(end_of).collect::<Result<Vec<_>, _>>();
    let ends = ends.map_err(|problem| certificate.wrong(&problem))?;
    let first = ends.into_iter().min();
    let expires = first.expect("a file without a certificate is refused");
    Ok(Identity {
        chain,
        key: secret,
        expires,
    })
}

/// When a certificate expires, whose time it is now.
fn end_of(certificate: &CertificateDer<'_>) -> Result<UnixTime, String> {
    let parsed = X509Certificate::from_der(certificate);
    let (_, parsed) = parsed.map_err(|problem| format!("no certificate ({problem})"))?;
    let (validity, now) = (parsed.validity(), ASN1Time::now());
    if now > validity.not_after {
        let end = validity.not_after;
        return Err(format!("expired at {end}; put a new certificate there"));
    }
    if now < validity.not_before {
        let begin = validity.not_before;
        return Err(format!(
            "not valid before {begin}; wait until then, or look at the clock of this machine"
        ));
    }
    // It is later than now.
    let end = u64::try_from(validity.not_after.timestamp()).unwrap_or(0);
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(end)))
}

/// Authorities.
///
/// # Errors
/// The file has no certificate, or one that no authority can have.
pub fn roots(file: &FileText) -> Result<RootCertStore, FileProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        let added = roots.add(certificate);
        added.map_err(|problem| file.wrong(&problem))?;
    }
    Ok(roots)
}

fn revocations(file: &FileText) -> Result<Vec<CertificateRevocationListDer<'static>>, FileProblem> {
    let lists = CertificateRevocationListDer::pem_slice_iter(file.bytes());
    let lists: Result<Vec<_>, _> = lists.collect();
    match lists {
        Ok(lists) if lists.is_empty() => Err(file.wrong(&"no list of revoked certificates in PEM")),
        Ok(lists) => Ok(lists),
        Err(problem) => Err(file.wrong(&problem)),
    }
}

/// What judges callers by their certificates: those of these authorities count, if the lists do not revoke them.
///
/// # Errors
/// A file has no such thing.
pub fn callers(
    authorities: &FileText,
    revoked: Option<&FileText>,
) -> Result<Arc<dyn ClientCertVerifier>, FileProblem> {
    let (roots, lists) = (Arc::new(roots(authorities)?), lists(revoked)?);
    let judge = WebPkiClientVerifier::builder_with_provider(roots, provider()).with_crls(lists);
    let judge = judge.build();
    judge.map_err(|problem| blamed(&problem, authorities, revoked).wrong(&problem))
}

/// The same of those who are called.
///
/// # Errors
/// A file has no such thing.
pub(super) fn called(
    authorities: &FileText,
    revoked: Option<&FileText>,
) -> Result<Arc<WebPkiServerVerifier>, FileProblem> {
    let (roots, lists) = (Arc::new(roots(authorities)?), lists(revoked)?);
    let judge = WebPkiServerVerifier::builder_with_provider(roots, provider()).with_crls(lists);
    let judge = judge.build();
    judge.map_err(|problem| blamed(&problem, authorities, revoked).wrong(&problem))
}

fn lists(
    revoked: Option<&FileText>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, FileProblem> {
    revoked.map_or_else(|| Ok(Vec::new()), revocations)
}

/// The file that a problem is about.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a library's errors, of which one is about lists"
)]
fn blamed<'a>(
    problem: &VerifierBuilderError,
    authorities: &'a FileText,
    revoked: Option<&'a FileText>,
) -> &'a FileText {
    match problem {
        VerifierBuilderError::InvalidCrl(_) => revoked.unwrap_or(authorities),
        _ => authorities,
    }
}

fn certificates(file: &FileText) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.bytes()).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(file.wrong(&"no certificate in PEM")),
        Ok(certificates) => Ok(certificates),
        Err(problem) => Err(file.wrong(&problem)),
    }
}
