//! Servers of object storage: moto, which speaks S3, and Azurite, which speaks Azure Blob Storage.

use super::daemon::Daemon;
use super::free_port;
use std::process::Command;
use tempfile::TempDir;

/// The program of moto's server.
const MOTO: &str = include_str!("moto.py");
/// The bucket, or container, that there is when the server is up.
const BUCKET: &str = "metadata";
/// Azurite's only account, which its documentation names with its key.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// What allows whoever has it to create containers: signed with that key once, since it does not end.
const MAY_CREATE: &str = "sv=2019-12-12&ss=b&srt=c&sp=c&se=2099-01-01T00:00:00Z&spr=https,http&\
                          sig=EB2dmffs9djp0%2Fav61Lrza5cV%2BgoSVgTanW1U9Y3T6Q%3D";

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// S3.
    Moto,
    /// Azure Blob Storage.
    Azurite,
}

/// A server with a bucket of its own. Dropping it stops the server, and everything is gone.
pub struct ObjectServer {
    kind: Kind,
    port: u16,
    server: Option<Daemon>,
    _folder: TempDir,
}

impl ObjectServer {
    /// Starts a server with an empty bucket.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn start(kind: Kind) -> ObjectServer {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let log = folder.path().join("log");
        let mut port = 0;
        let command = || {
            port = free_port();
            let mut command = command(kind, port);
            command.current_dir(folder.path());
            command
        };
        let server = Daemon::start_on_ports(command, &log, |said| is_up(kind, said));
        let server = ObjectServer {
            kind,
            port,
            server: Some(server),
            _folder: folder,
        };
        server.create_bucket();
        server
    }

    fn create_bucket(&self) {
        let port = self.port;
        let url = match self.kind {
            Kind::Moto => format!("http://127.0.0.1:{port}/{BUCKET}"),
            Kind::Azurite => {
                format!("http://127.0.0.1:{port}/{ACCOUNT}/{BUCKET}?restype=container&{MAY_CREATE}")
            }
        };
        let created = ureq::put(&url).send_empty();
        created.expect("the server creates a bucket");
    }

    /// Ends the server at once.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a prefix in its bucket.
    #[must_use]
    pub fn url(&self) -> String {
        self.kind.url()
    }

    /// What it takes to reach it through this port, as environment variables.
    #[must_use]
    pub fn environment(&self, port: u16) -> Vec<(&'static str, String)> {
        self.kind.environment(port)
    }

    /// The same, by the names that a bucket is opened with.
    #[must_use]
    pub fn options(&self, port: u16) -> Vec<(String, String)> {
        self.kind.options(port)
    }
}

impl Kind {
    /// The URL of a prefix in the bucket of each such server.
    #[must_use]
    pub fn url(self) -> String {
        match self {
            Kind::Moto => format!("s3://{BUCKET}/some/prefix"),
            Kind::Azurite => format!("azure://{BUCKET}/some/prefix"),
        }
    }

    fn environment(self, port: u16) -> Vec<(&'static str, String)> {
        let address = format!("http://127.0.0.1:{port}");
        match self {
            Kind::Moto => vec![
                ("AWS_ENDPOINT_URL", address),
                ("AWS_ALLOW_HTTP", "true".to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_ACCESS_KEY_ID", "somebody".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ],
            Kind::Azurite => vec![
                ("AZURE_STORAGE_ENDPOINT", format!("{address}/{ACCOUNT}")),
                ("AZURE_ALLOW_HTTP", "true".to_owned()),
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
            ],
        }
    }

    /// What it takes to reach such a server on this port, by the names that a bucket is opened with.
    #[must_use]
    pub fn options(self, port: u16) -> Vec<(String, String)> {
        let variables = self.environment(port).into_iter();
        variables
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect()
    }
}

fn command(kind: Kind, port: u16) -> Command {
    let port = port.to_string();
    match kind {
        Kind::Moto => {
            let mut command = Command::new("python3");
            command.args(["-c", MOTO, "-H", "127.0.0.1", "-p", &port]);
            command
        }
        Kind::Azurite => {
            let mut command = Command::new("azurite-blob");
            command
                .args(["--blobHost", "127.0.0.1", "--blobPort", &port])
                .args(["--location", ".", "--silent"])
                // Clients may be newer than the server.
                .arg("--skipApiVersionCheck")
                .arg("--disableTelemetry");
            command
        }
    }
}

fn is_up(kind: Kind, said: &str) -> bool {
    match kind {
        Kind::Moto => said.contains("Running on http://"),
        Kind::Azurite => said.contains("successfully listens on"),
    }
}
