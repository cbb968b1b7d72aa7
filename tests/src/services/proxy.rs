//! A connection that breaks where a test wants it to: what is sent goes through here, byte by byte.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What happens to the next bytes that a client sends. But for the last kind, everything passes again then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They pass.
    None,
    /// They are lost, and the connection with them.
    Request,
    /// They pass; the answer is lost, and the connection with it.
    Answer,
    /// They are late: the client loses the connection, and the server gets them when the test says so.
    Late,
    /// They are lost, and all that follow, and nobody is told. This lasts.
    Silence,
}

#[derive(Debug)]
struct Shared {
    fault: Mutex<Fault>,
    release: Notify,
    done: Notify,
}

impl Shared {
    fn fault(&self) -> MutexGuard<'_, Fault> {
        // Setting it cannot fail half way.
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_fault(&self) -> Fault {
        let mut fault = self.fault();
        let lasts = *fault == Fault::Silence;
        let next = if lasts { Fault::Silence } else { Fault::None };
        std::mem::replace(&mut *fault, next)
    }
}

/// Stands between clients and a server on the loopback.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepts: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

impl Proxy {
    /// Stands before this port.
    ///
    /// # Panics
    /// No port is free.
    pub async fn before(server: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the loopback has free ports");
        let address = listener.local_addr();
        let port = address
            .expect("a socket that listens has an address")
            .port();
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            release: Notify::new(),
            done: Notify::new(),
        });
        let of_connections = Arc::clone(&shared);
        let accepts = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                let server = TcpStream::connect(("127.0.0.1", server)).await;
                let Ok(server) = server else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let cut = Arc::new(Notify::new());
                let answers = tokio::spawn(answers(from_server, to_client, Arc::clone(&cut)));
                let shared = Arc::clone(&of_connections);
                tokio::spawn(requests(from_client, to_server, (answers, cut), shared));
            }
        });
        Proxy {
            port,
            shared,
            accepts,
        }
    }

    /// The port on which it stands.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Chooses what happens to the next bytes.
    pub fn next(&self, fault: Fault) {
        *self.shared.fault() = fault;
    }

    /// Lets late bytes through.
    pub fn release(&self) {
        self.shared.release.notify_one();
    }

    /// Waits until the server has done with a connection that was broken.
    pub async fn done(&self) {
        self.shared.done.notified().await;
    }
}

/// From the server to the client, and after the cut to nobody, until the server has closed.
async fn answers(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, cut: Arc<Notify>) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            () = cut.notified() => break,
            read = server.read(&mut bytes) => read,
        };
        match read {
            Ok(read @ 1..) if client.write_all(&bytes[..read]).await.is_ok() => {}
            Ok(_) | Err(_) => break,
        }
    }
    drop(client);
    while let Ok(1..) = server.read(&mut bytes).await {}
}

async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    (answers, cut): (JoinHandle<()>, Arc<Notify>),
    shared: Arc<Shared>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = client.read(&mut bytes).await {
        let fault = shared.take_fault();
        if fault == Fault::Silence {
            continue;
        }
        if fault == Fault::None {
            if server.write_all(&bytes[..read]).await.is_err() {
                break;
            }
            continue;
        }
        cut.notify_one();
        drop(client);
        if fault == Fault::Late {
            shared.release.notified().await;
        }
        if fault != Fault::Request {
            let forwarded = server.write_all(&bytes[..read]).await;
            forwarded.expect("the server is there");
        }
        // The server carries out what it has read, finds the end, and closes, too.
        server.shutdown().await.expect("the server is there");
        answers.await.expect("forwarding does not panic");
        shared.done.notify_one();
        return;
    }
}
