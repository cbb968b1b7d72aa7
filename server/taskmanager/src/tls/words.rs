//! Why there is no connection, in words that tell an operator where to look.

use rustls::{CertificateError, Error, InvalidMessage};
use std::io;

/// The words of a library for what it was told are good; those for what it was not told are not.
pub(super) fn explained(problem: io::Error) -> io::Error {
    let inner = problem.get_ref();
    let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<Error>()) else {
        return problem;
    };
    let words = match tls {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the other end does not speak TLS, and this one speaks nothing else".to_owned()
        }
        Error::NoCertificatesPresented => "the other end shows no certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "none of the authorities that are trusted here has signed the certificate".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Other(stranger)) => stranger.0.to_string(),
        Error::AlertReceived(alert) => {
            format!("the other end refuses, and its log says why ({alert:?})")
        }
        other => other.to_string(),
    };
    io::Error::other(words)
}
