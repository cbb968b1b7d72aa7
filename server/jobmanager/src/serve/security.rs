//! TLS of REST.

use crate::options::RestTls;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use std::path::PathBuf;
use std::sync::Arc;
use taskmanager::tls::{FileProblem, FileText, Fresh, identity, provider, roots};

/// The only version of HTTP that REST speaks, as a handshake calls it.
const HTTP1: &[u8] = b"http/1.1";

/// What clients are shown, and what is asked of them.
///
/// # Errors
/// A file cannot be used.
pub(super) fn rest_tls(tls: &RestTls) -> Result<Fresh<ServerConfig>, FileProblem> {
    let what = "certificate of REST";
    let (certificate, key) = (tls.certificate.clone(), tls.key.clone());
    match tls.clients.clone() {
        Some(clients) => Fresh::load(
            what,
            [certificate, key, clients],
            None,
            |[certificate, key, clients]| config(certificate, key, Some(clients)),
        ),
        None => {
            let files: [PathBuf; 2] = [certificate, key];
            Fresh::load(what, files, None, |[certificate, key]| {
                config(certificate, key, None)
            })
        }
    }
}

fn config(
    certificate: &FileText,
    key: &FileText,
    clients: Option<&FileText>,
) -> Result<ServerConfig, FileProblem> {
    let (chain, secret) = identity(certificate, key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|problem| key.wrong(&problem))?;
    let builder = match clients {
        Some(file) => {
            let roots = Arc::new(roots(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|problem| file.wrong(&problem))?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, secret)
        .map_err(|problem| key.wrong(&problem))?;
    config.alpn_protocols = vec![HTTP1.to_vec()];
    if clients.is_some() {
        // A resumed connection would not be looked at again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}
