//! `token`: makes a token for REST. It asks no JobManager: only the file that the JobManager reads lets anybody in.

use super::{ClientError, USAGE, complain, exit, print};
use crate::security::{Role, Tokens, mint};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A file for its owner alone, where this command makes one.
const OWN: u32 = 0o600;

/// `token`: a new token for REST.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct TokenArgs {
    /// Whose it is to be: one word, which is in the log of what was done with it
    name: String,
    /// What they may do: viewer, operator or admin
    role: Role,
    /// Append the line that lets its holder in to this file, which the JobManager reads (security.rest.tokens)
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Write the token into this new file, for its holder alone
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const HELP: &str = "\
Without these files, the token is on standard output, for its holder alone, and the line on standard error; the line lets
nobody in. Files that are made are readable for nobody else.

  jobmanager token alice operator --out alice.token --tokens tokens";

/// Runs `token`.
#[must_use]
pub fn token(args: &TokenArgs) -> ExitCode {
    match make(args) {
        Ok(code) => code,
        Err(problem) => {
            complain(format!("error: {problem}"));
            ExitCode::from(USAGE)
        }
    }
}

fn make(args: &TokenArgs) -> Result<ExitCode, String> {
    let (token, line) = mint(&args.name, args.role)?;
    // Before anything is written, so that no token is left that is of no use.
    let list = args.tokens.as_deref().map(|path| List::open(path, &line));
    let list = list.transpose()?;
    if let Some(path) = &args.out {
        write_token(path, &token)?;
    }
    if let Some(list) = &list
        && let Err(problem) = list.append()
    {
        if let Some(path) = &args.out {
            // It lets nobody in.
            let _ = std::fs::remove_file(path);
        }
        return Err(wrong(&list.path, &problem));
    }
    let printed: Result<u8, ClientError> = match args.out {
        Some(_) => Ok(0),
        None => print(token).map(|()| 0),
    };
    if printed.is_ok() && list.is_none() {
        complain(line);
    }
    Ok(exit(printed))
}

/// The file that the JobManager reads, with what is to be appended.
struct List {
    path: PathBuf,
    file: File,
    more: String,
}

impl List {
    /// Looks whether the JobManager will take it with one more line.
    fn open(path: &Path, line: &str) -> Result<List, String> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(OWN).open(path);
        let file = file.map_err(|problem| wrong(path, &problem))?;
        let there = std::fs::read_to_string(path).map_err(|problem| wrong(path, &problem))?;
        // Somebody else's editor may not have ended the last one.
        let end = match there.is_empty() || there.ends_with('\n') {
            true => "",
            false => "\n",
        };
        let more = format!("{end}{line}\n");
        let both = Tokens::parse(&format!("{there}{more}"));
        both.map_err(|problem| wrong(path, &problem))?;
        let path = path.to_owned();
        Ok(List { path, file, more })
    }

    fn append(&self) -> io::Result<()> {
        let mut file = &self.file;
        file.write_all(self.more.as_bytes())?;
        file.sync_all()
    }
}

fn write_token(path: &Path, token: &str) -> Result<(), String> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(OWN).open(path);
    let written = file.and_then(|mut file| {
        writeln!(file, "{token}")?;
        file.sync_all()
    });
    written.map_err(|problem| {
        if problem.kind() == io::ErrorKind::AlreadyExists {
            return wrong(path, &"is there already; name a new file, or remove it");
        }
        wrong(path, &problem)
    })
}

fn wrong(path: &Path, problem: &impl std::fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}
