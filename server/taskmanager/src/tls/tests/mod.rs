//! Members and strangers on the loopback interface.

#![allow(clippy::unwrap_used)]

mod files;
mod members;
mod pki;
mod revocation;
mod silence;

use super::*;
use pki::Authority;
use rustls::pki_types::ServerName;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Far more than anything here takes; only a test that fails waits for so long.
const LONG: Duration = Duration::from_secs(20);
const LIMITS: Limits = Limits {
    connections: 8,
    handshakes: 2,
    patience: None,
};

async fn listen(credentials: &Credentials) -> (Incoming, String) {
    let tls = credentials.server().unwrap();
    listen_with(tls, credentials.cluster.clone()).await
}

async fn listen_with(tls: Fresh<Called>, cluster: ClusterName) -> (Incoming, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = Incoming::new(listener, Some(tls), Some(cluster), LIMITS);
    (incoming, address)
}

/// Connects to a member; gives the connection, or why there is none.
async fn connect(address: &str, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("blue").unwrap();
    let connected = TlsConnector::from(config).connect(name, stream).await;
    connected.map_err(|problem| words::explained(problem).to_string())
}

/// Says hello; gives what comes back, or why nothing does.
async fn say_hello(address: &str, config: Arc<ClientConfig>) -> Result<String, String> {
    let mut stream = connect(address, config).await?;
    let mut heard = String::new();
    // Who is refused may hear so only here: the handshake is over for one end before it is for the other.
    let _ = stream.write_all(b"hello").await;
    match timeout(LONG, stream.read_to_string(&mut heard))
        .await
        .unwrap()
    {
        Ok(_) => Ok(heard),
        Err(problem) => Err(problem.to_string()),
    }
}

/// Answers everybody who is let in with their name.
async fn answer(mut incoming: Incoming) {
    while let Some(mut connection) = incoming.next().await {
        let name = connection.peer().certificate.clone().unwrap();
        connection.write_all(name.as_bytes()).await.unwrap();
        connection.shutdown().await.unwrap();
    }
}

/// What a member calls others with.
fn calling(credentials: &Credentials) -> Arc<ClientConfig> {
    Arc::clone(&credentials.client().unwrap().current().config)
}

/// Looks until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
