//! Certificates and keys in PEM.

use super::fresh::{FileProblem, FileText};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate, with those that lead from there to its authority, and its key.
///
/// # Errors
/// One of the files has no such thing.
pub fn identity(
    certificate: &FileText,
    key: &FileText,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), FileProblem> {
    let secret = PrivateKeyDer::from_pem_slice(key.bytes());
    let secret =
        secret.map_err(|problem| key.wrong(&format!("no private key in PEM ({problem})")))?;
    Ok((certificates(certificate)?, secret))
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

fn certificates(file: &FileText) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file.bytes()).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(file.wrong(&"no certificate in PEM")),
        Ok(certificates) => Ok(certificates),
        Err(problem) => Err(file.wrong(&problem)),
    }
}
