//! Why there is no connection, in words that tell an operator where to look.

use rustls::{CertificateError, Error, InvalidMessage};
use std::io;

/// With better words, if TLS is the problem.
pub(super) fn explained(problem: io::Error) -> io::Error {
    tls_words(&problem).map_or(problem, io::Error::other)
}

/// What TLS has against a connection, if that is the problem.
#[must_use]
pub fn tls_words(problem: &io::Error) -> Option<String> {
    let inner = problem.get_ref();
    let tls = inner.and_then(|inner| inner.downcast_ref::<Error>())?;
    Some(words_of(tls))
}

/// The words of the library for what it was told are good; those for what it was not told are not.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a library's errors, which speak for themselves"
)]
pub(super) fn words_of(tls: &Error) -> String {
    match tls {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the other end does not speak TLS, and this one speaks nothing else".to_owned()
        }
        Error::NoCertificatesPresented => "the other end shows no certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "none of the authorities that are trusted here has signed the certificate".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Revoked) => {
            "the certificate was revoked".to_owned()
        }
        Error::InvalidCertificate(CertificateError::UnknownRevocationStatus) => {
            "no list of revoked certificates is here of the authority that has signed the certificate"
                .to_owned()
        }
        Error::InvalidCertificate(CertificateError::Other(stranger)) => stranger.0.to_string(),
        Error::AlertReceived(alert) => {
            format!("the other end refuses, and its log says why ({alert:?})")
        }
        other => other.to_string(),
    }
}
