//! The calling end of a connection between members.

use super::judged::Judged;
use super::words::explained;
use super::{Calling, Credentials, FileProblem, Fresh};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// How long whoever is called may take to refuse us. It goes on after that.
const VERDICT: Duration = Duration::from_secs(1);

/// Why somebody is not called.
const ELSEWHERE: &str = "it may be on another machine, and nothing would be encrypted: give --tls-certificate, \
    --tls-key, --tls-ca and --cluster-name, or say --allow-insecure if the network is to be trusted";

/// Whether a host is this machine, wherever names lead.
#[must_use]
pub fn is_here(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    let ip: Option<IpAddr> = ip.ok();
    host.eq_ignore_ascii_case("localhost") || ip.is_some_and(|ip| ip.is_loopback())
}

/// Calls other members of the cluster: in the clear, or, with credentials, nobody who is no member.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    tls: Option<Fresh<Calling>>,
    /// Whether nobody on another machine may be called.
    only_here: bool,
}

impl Dialer {
    /// With these credentials, if there are some; and only on this machine, if that is said. Whom to call is not always
    /// said by those who start a process: a JobManager that stands by names the leader.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn new(credentials: Option<&Credentials>, only_here: bool) -> Result<Dialer, FileProblem> {
        let tls = credentials.map(Credentials::client);
        Ok(Dialer {
            tls: tls.transpose()?,
            only_here,
        })
    }

    /// Whether it speaks to anybody, without TLS.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        self.tls.is_none()
    }

    /// Connects.
    ///
    /// # Errors
    /// Nobody answers there, or somebody who is no member, or must not be called.
    pub async fn connect(&self, endpoint: Endpoint) -> Result<Channel, tonic::transport::Error> {
        if self.only_here && !endpoint.uri().host().is_some_and(is_here) {
            let refuse = async |_: Uri| Err::<TokioIo<TcpStream>, _>(io::Error::other(ELSEWHERE));
            return endpoint.connect_with_connector(service_fn(refuse)).await;
        }
        let Some(tls) = self.tls.clone() else {
            return endpoint.connect().await;
        };
        let connector = service_fn(move |uri: Uri| {
            let tls = tls.clone();
            async move { call(uri, tls).await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connector).await
    }
}

async fn call(uri: Uri, tls: Fresh<Calling>) -> io::Result<Judged<TlsStream<TcpStream>>> {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(0))).await?;
    stream.set_nodelay(true)?;
    let calling = tls.current();
    let connector = TlsConnector::from(Arc::clone(&calling.config));
    let name = calling.cluster.server_name();
    let connected = connector.connect(name, stream).await;
    let stream = connected.map_err(explained)?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let shown = shown
        .iter()
        .cloned()
        .map(CertificateDer::into_owned)
        .collect();
    let mut stream = Judged::new(stream, uri.to_string(), shown, tls, Calling::judge);
    // The handshake ends here before the other end has judged our certificate. It says something at once if it likes
    // it: HTTP/2 begins with settings at both ends.
    match timeout(VERDICT, stream.fill_buf()).await {
        Ok(Err(problem)) => Err(explained(problem)),
        Ok(Ok([])) => Err(io::Error::other(
            "the other end hung up, and its log says why",
        )),
        Ok(Ok(_)) | Err(_) => Ok(stream),
    }
}
