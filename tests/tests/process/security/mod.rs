//! A cluster that lets nobody in who has no business there: what users, members and strangers see of it.

mod exposure;
mod files;
mod folders;
pub(crate) mod jwt;
pub(crate) mod pki;
mod tls;
mod tokens;

use crate::cluster::{QUICK, free_ports, jobmanager, own_address, serve, taskmanager};
use crate::process::{Process, wait_for};
use jobmanager::security::{Role, mint};
use pki::{Authority, Member};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// What clients have to show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    Tokens,
    Certificates,
}

/// A JobManager with TLS at both ports, and TaskManagers with TLS.
struct Guarded {
    clients: Clients,
    host: Ipv4Addr,
    rest: String,
    rpc: String,
    authority: Authority,
    member: Member,
    jobmanager: Option<Process>,
    taskmanagers: Vec<Process>,
    folder: TempDir,
}

/// What a command of a client came to.
struct Said {
    code: i32,
    text: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        Said {
            code: output.status.code().unwrap(),
            text: text.concat(),
        }
    }
}

impl Guarded {
    /// Starts one with so many TaskManagers, and waits for them. Clients have tokens.
    fn start(taskmanagers: usize) -> Guarded {
        Guarded::start_for(Clients::Tokens, taskmanagers)
    }

    fn start_for(clients: Clients, taskmanagers: usize) -> Guarded {
        let folder = tempfile::tempdir().unwrap();
        let host = own_address();
        let [rest, rpc] = free_ports(host);
        let authority = Authority::new("the cluster's");
        let names = ["flows", "jobmanager", &host.to_string()];
        let member = authority.member(&folder.path().join("jobmanager"), &names);
        let mut guarded = Guarded {
            clients,
            host,
            rest: format!("https://{rest}"),
            rpc,
            authority,
            member,
            jobmanager: None,
            taskmanagers: Vec::new(),
            folder,
        };
        guarded.write_tokens();
        guarded.revoke(&[]);
        guarded.start_jobmanager(&rest);
        for number in 0..taskmanagers {
            let name = format!("tm-{number}");
            let member = guarded.enroll(&name, &["flows", &name]);
            let started = guarded.start_taskmanager(&name, &member.options());
            guarded.taskmanagers.push(started);
        }
        guarded.wait_for_log("TaskManager registered", taskmanagers);
        guarded
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Files of a member, in a folder of this name.
    fn enroll(&self, folder: &str, names: &[&str]) -> Member {
        self.authority.member(&self.path(folder), names)
    }

    /// Throws out whoever has the certificates of these numbers, wherever the list is looked at.
    fn revoke(&self, numbers: &[u64]) {
        self.authority.revoke(&self.path("revoked.pem"), numbers);
    }

    fn write_tokens(&self) {
        let mut lines = String::new();
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            let (token, line) = mint(&format!("the-{role}"), role).unwrap();
            std::fs::write(self.path(&role.to_string()), token).unwrap();
            lines.push_str(&line);
            lines.push('\n');
        }
        std::fs::write(self.path("tokens"), lines).unwrap();
    }

    fn start_jobmanager(&mut self, rest: &str) {
        let Member {
            certificate,
            key,
            authorities,
            ..
        } = &self.member;
        let mut command = serve(rest, &self.rpc, &self.path("data"));
        command
            .args([
                "-Dsecurity.ssl.internal.enabled=true",
                "-Dsecurity.ssl.internal.cluster-name=flows",
                "-Dsecurity.ssl.rest.enabled=true",
            ])
            .arg(format!(
                "-Dsecurity.ssl.internal.ca={}",
                authorities.display()
            ))
            .arg(format!(
                "-Dsecurity.ssl.internal.crl={}",
                self.path("revoked.pem").display()
            ));
        for of in ["internal", "rest"] {
            command
                .arg(format!(
                    "-Dsecurity.ssl.{of}.certificate={}",
                    certificate.display()
                ))
                .arg(format!("-Dsecurity.ssl.{of}.key={}", key.display()));
        }
        command.args(match self.clients {
            Clients::Tokens => [
                format!("-Dsecurity.rest.tokens={}", self.path("tokens").display()),
                String::from("-Dsecurity.ssl.rest.authentication-enabled=false"),
            ],
            Clients::Certificates => [
                format!("-Dsecurity.ssl.rest.ca={}", authorities.display()),
                String::from("-Dsecurity.ssl.rest.authentication-enabled=true"),
            ],
        });
        if self.clients == Clients::Certificates {
            let revoked = self.path("revoked.pem");
            command.arg(format!("-Dsecurity.ssl.rest.crl={}", revoked.display()));
        }
        command.args(QUICK.map(|(key, value)| format!("-D{key}={value}")));
        let started = Process::start(&mut command, &self.path("jobmanager.log"));
        self.jobmanager = Some(started);
        self.wait_for_log("ready", 1);
    }

    fn start_taskmanager(&self, name: &str, options: &[String]) -> Process {
        let mut command = taskmanager();
        command
            .args(["--jobmanager", &self.rpc, "--id", name, "--slots", "2"])
            .args(["--bind-addr", &format!("{}:0", self.host)])
            .args(options);
        if !options.is_empty() {
            command.arg("--tls-crl").arg(self.path("revoked.pem"));
        }
        Process::start(&mut command, &self.path(&format!("{name}.log")))
    }

    fn log(&self) -> String {
        self.jobmanager.as_ref().unwrap().output()
    }

    /// Waits until the JobManager has said this so many times.
    fn wait_for_log(&self, words: &str, times: usize) {
        wait_for(words, || {
            (self.log().matches(words).count() >= times).then_some(())
        });
    }

    /// A command of somebody who trusts the authority of the cluster.
    fn client(&self, command: &str) -> Command {
        let mut client = jobmanager();
        client
            .args([command, "--jobmanager", &self.rest, "--ca"])
            .arg(&self.member.authorities)
            .env_remove("JOBMANAGER_TOKEN");
        client
    }

    /// The same of somebody with the token of this role.
    fn as_role(&self, role: Role, command: &str, arguments: &[&str]) -> Said {
        let mut client = self.client(command);
        let token = self.path(&role.to_string());
        client.args(arguments).arg("--token-file").arg(token);
        client.output().unwrap().into()
    }
}
