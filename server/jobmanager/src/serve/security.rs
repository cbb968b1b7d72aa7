//! TLS of REST.

use crate::options::RestTls;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use std::sync::Arc;
use taskmanager::tls::{Called, FileProblem, FileText, Fresh, callers, identity, provider};

/// The only version of HTTP that REST speaks, as a handshake calls it.
const HTTP1: &[u8] = b"http/1.1";

/// What clients are shown, and what is asked of them.
///
/// # Errors
/// A file cannot be used.
pub(super) fn rest_tls(tls: &RestTls) -> Result<Fresh<Called>, FileProblem> {
    let own = [&tls.certificate, &tls.key];
    let of_clients = tls.clients.iter().flat_map(|clients| {
        let authorities = [&clients.authorities].into_iter();
        authorities.chain(&clients.revoked)
    });
    let files = own.into_iter().chain(of_clients).cloned().collect();
    Fresh::load("certificate of REST", files, None, config)
}

/// Made of the files in that order.
fn config(files: &[FileText]) -> Result<Called, FileProblem> {
    let (certificate, key) = (&files[0], &files[1]);
    let own = identity(certificate, key)?;
    let clients = files
        .get(2)
        .map(|authorities| callers(authorities, files.get(3)));
    let clients = clients.transpose()?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|problem| key.wrong(&problem))?;
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(own.chain, own.key)
        .map_err(|problem| key.wrong(&problem))?;
    config.alpn_protocols = vec![HTTP1.to_vec()];
    if clients.is_some() {
        // A resumed connection would not be looked at again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Called::new(config, clients, own.expires))
}
