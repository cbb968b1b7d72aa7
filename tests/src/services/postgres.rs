//! A PostgreSQL server.

use super::free_port;
use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const USER: &str = "jobmanager";
/// The password of its only user.
pub const PASSWORD: &str = "a secret & more";
/// Somebody else may take a free port before the server does.
const TRIES: usize = 5;
/// Where Debian puts what it does not put into the search path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A server with a folder of its own. Dropping it stops the server and removes the folder.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    as_user: Option<Account>,
}

/// Whom the server runs as, since it refuses to run as root.
struct Account {
    name: &'static str,
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Starts a server with an empty database.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn start() -> Postgres {
        let mut postgres = Postgres {
            folder: tempfile::tempdir().expect("temporary folders can be made"),
            programs: programs(),
            port: 0,
            as_user: account(),
        };
        postgres.own(postgres.folder.path());
        let secret = postgres.path("password");
        postgres.write("password", PASSWORD);
        let data = postgres.path("data");
        postgres.run(
            "initdb",
            &[
                OsStr::new("--no-sync"),
                OsStr::new("--encoding=UTF8"),
                OsStr::new("--locale=C"),
                OsStr::new("--auth=scram-sha-256"),
                OsStr::new("--username"),
                OsStr::new(USER),
                OsStr::new("--pwfile"),
                secret.as_os_str(),
                data.as_os_str(),
            ],
        );
        for left in (0..TRIES).rev() {
            postgres.port = free_port();
            let settings = format!(
                "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n",
                postgres.port
            );
            postgres.write("data/postgresql.auto.conf", &settings);
            let started = postgres.try_run("pg_ctl", &postgres.control("start"));
            if started.status.success() {
                return postgres;
            }
            assert!(left > 0, "PostgreSQL does not start: {}", postgres.log());
        }
        unreachable!("the last try returns or panics")
    }

    /// The URL of its database, with the rest of the parameters.
    #[must_use]
    pub fn url(&self, parameters: &str) -> String {
        self.url_through(self.port, parameters)
    }

    /// The same without the password.
    #[must_use]
    pub fn url_without_password(&self, parameters: &str) -> String {
        format!(
            "postgres://{USER}@127.0.0.1:{}/postgres?{parameters}",
            self.port
        )
    }

    /// The same as [`Postgres::url`], through another port.
    #[must_use]
    pub fn url_through(&self, port: u16, parameters: &str) -> String {
        let password = "a%20secret%20%26%20more";
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/postgres?{parameters}")
    }

    /// The port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every process of the server at once, as a crash does, and starts it again.
    ///
    /// # Panics
    /// It does not start again.
    pub fn crash_and_restart(&self) {
        self.run("pg_ctl", &self.control("restart"));
    }

    /// Ends every process of the server at once.
    ///
    /// # Panics
    /// It does not stop.
    pub fn stop(&self) {
        self.run("pg_ctl", &self.control("stop"));
    }

    /// Starts what [`Postgres::stop`] has stopped.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&self) {
        self.run("pg_ctl", &self.control("start"));
    }

    /// Writes a file into the server's data folder, and starts the server again with these settings more.
    ///
    /// # Panics
    /// It does not start again.
    pub fn restart_with(&self, files: &[(&str, &str)], settings: &str) {
        for (name, text) in files {
            self.write(&format!("data/{name}"), text);
        }
        let known = std::fs::read_to_string(self.path("data/postgresql.auto.conf"));
        let known = known.expect("it was written before");
        self.write("data/postgresql.auto.conf", &format!("{known}{settings}\n"));
        self.crash_and_restart();
    }

    /// What a query gives, by `psql`: one line per row, `|` between columns.
    ///
    /// # Panics
    /// It fails.
    pub fn sql(&self, query: &str) -> String {
        let output = Command::new("psql")
            .env("PGPASSWORD", PASSWORD)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", USER, "-d", "postgres", "-v", "ON_ERROR_STOP=1"])
            .args(["-X", "-A", "-t", "-q", "-c", query])
            .output()
            .expect("psql can be run: it comes with the server");
        assert!(
            output.status.success(),
            "{query}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    fn control(&self, what: &'static str) -> Vec<std::ffi::OsString> {
        let (data, log) = (self.path("data"), self.path("log"));
        let mut arguments: Vec<std::ffi::OsString> = vec![what.into(), "-w".into(), "-s".into()];
        arguments.extend(["-D".into(), data.into(), "-l".into(), log.into()]);
        if what != "start" {
            arguments.extend(["-m".into(), "immediate".into()]);
        }
        arguments
    }

    fn run(&self, program: &str, arguments: &[impl AsRef<OsStr>]) {
        let output = self.try_run(program, arguments);
        assert!(
            output.status.success(),
            "{program}: {}{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
    }

    fn try_run(&self, program: &str, arguments: &[impl AsRef<OsStr>]) -> Output {
        let program = self.programs.join(program);
        let mut command = match &self.as_user {
            Some(Account { uid, gid, .. }) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={uid}"))
                    .arg(format!("--regid={gid}"))
                    .arg("--clear-groups")
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(arguments)
            // The present folder may be one that the server's user cannot enter.
            .current_dir("/")
            .output()
            .expect("the programs of PostgreSQL can be run")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only the server's user can read.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the folder is ours");
        let secret = Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, secret).expect("the file is ours");
        self.own(&path);
    }

    fn own(&self, path: &Path) {
        if let Some(Account { name, uid, gid }) = &self.as_user {
            let given = chown(path, Some(*uid), Some(*gid));
            given.unwrap_or_else(|problem| panic!("{}: {name}: {problem}", path.display()));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that has been stopped already cannot be stopped again.
        let _ = self.try_run("pg_ctl", &self.control("stop"));
    }
}

/// The folder of the server's programs: Debian's latest, or the one in the search path.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file());
    let debian = || {
        let versions = std::fs::read_dir(DEBIAN).ok()?;
        let folders = versions.flatten().map(|entry| entry.path().join("bin"));
        folders
            .filter(|folder| folder.join("initdb").is_file())
            .max()
    };
    debian().or(in_path).expect(
        "PostgreSQL is not installed: tests/run installs it, or `apt-get install postgresql`",
    )
}

/// Whom to be instead of root; nobody else if this is not root.
fn account() -> Option<Account> {
    if id(&["-u"])? != 0 {
        return None;
    }
    let found = ["postgres", "nobody"].into_iter().find_map(|name| {
        let (uid, gid) = (id(&["-u", name])?, id(&["-g", name])?);
        Some(Account { name, uid, gid })
    });
    Some(found.expect("there is a user who is not root"))
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
