//! What our own clients of HTTP believe: the authorities that somebody has named, and nobody else.

use std::sync::Arc;
use taskmanager::tls::{FileProblem, FileText, provider, roots};
use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};

/// The certificates in a file.
pub(crate) fn certificates(file: &FileText) -> Vec<Certificate<'static>> {
    let items = parse_pem(file.bytes());
    items
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            Ok(_) | Err(_) => None,
        })
        .collect()
}

/// The authorities in a file.
///
/// # Errors
/// There is none, or a certificate that no authority can have.
pub(crate) fn authorities(file: &FileText) -> Result<Vec<Certificate<'static>>, FileProblem> {
    // Each of them can be one: the library that uses them does not tell.
    roots(file)?;
    Ok(certificates(file))
}

/// Believes what these authorities have signed, and shows this certificate.
pub(crate) fn tls(
    authorities: Vec<Certificate<'static>>,
    identity: Option<ClientCert>,
) -> TlsConfig {
    TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider())
        .root_certs(RootCerts::Specific(Arc::new(authorities)))
        .client_cert(identity)
        .build()
}
