//! Servers of object storage: moto, which speaks S3, and Azurite, which speaks Azure Blob Storage.

use super::daemon::Daemon;
use super::free_port;
use std::process::Command;
use tempfile::TempDir;

/// The program of moto's server.
const MOTO: &str = include_str!("moto.py");
/// The bucket, or container, that there is when the server is up.
const BUCKET: &str = "metadata";
/// What the names of the objects in it begin with that tests make.
const PREFIX: &str = "some/prefix";
/// Azurite's only account, which its documentation names with its key.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// What allows whoever has it to create containers and blobs, and to list them: signed with that key once, since it
/// does not end.
const MAY_CREATE: &str = "sv=2019-12-12&ss=b&srt=co&sp=wlc&se=2099-01-01T00:00:00Z&spr=https,http&\
                          sig=gTjxqvQ7L%2BkOXpWOXr8vsKTzLRHy8FBEBeaihRKYrLg%3D";

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
        let created = ureq::put(self.address("", "restype=container")).send_empty();
        created.expect("the server creates a bucket");
    }

    /// Where the server has the bucket, or an object in it, for a client that it trusts. moto asks nobody who he is.
    fn address(&self, object: &str, query: &str) -> String {
        let port = self.port;
        match self.kind {
            Kind::Moto => format!("http://127.0.0.1:{port}/{BUCKET}{object}?{query}"),
            Kind::Azurite => {
                format!("http://127.0.0.1:{port}/{ACCOUNT}/{BUCKET}{object}?{query}&{MAY_CREATE}")
            }
        }
    }

    /// Makes a small object of this name below the prefix of [`ObjectServer::url`].
    ///
    /// # Panics
    /// The server does not.
    pub fn put(&self, name: &str) {
        let url = self.address(&format!("/{PREFIX}/{name}"), "");
        let request = ureq::put(&url).header("x-ms-blob-type", "BlockBlob");
        let made = request.send("a small object");
        made.expect("the server makes an object");
    }

    /// The names of all objects below a folder of that prefix, without that of the prefix, in order.
    ///
    /// # Panics
    /// The server does not tell them.
    #[must_use]
    pub fn names(&self, folder: &str) -> Vec<String> {
        let (query, open, close) = match self.kind {
            Kind::Moto => ("list-type=2", "<Key>", "</Key>"),
            Kind::Azurite => ("restype=container&comp=list", "<Name>", "</Name>"),
        };
        let prefix = format!("{PREFIX}/");
        let (mut names, mut last) = (Vec::new(), String::new());
        loop {
            // Azurite has 5,000 to a page, and does not know `start-after`.
            let query = format!("{query}&prefix={prefix}{folder}/&start-after={last}");
            let answer = ureq::get(self.address("", &query)).call();
            let mut answer = answer.expect("the server lists objects");
            let text = answer.body_mut().read_to_string();
            let text = text.expect("the answer is text");
            let known = names.len();
            for found in text.split(open).skip(1) {
                let name = found.split(close).next().unwrap_or_default();
                name.clone_into(&mut last);
                names.extend(name.strip_prefix(&prefix).map(str::to_owned));
            }
            if names.len() == known || self.kind == Kind::Azurite {
                return names;
            }
        }
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
            Kind::Moto => format!("s3://{BUCKET}/{PREFIX}"),
            Kind::Azurite => format!("azure://{BUCKET}/{PREFIX}"),
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
