//! `token`: makes a token for REST. It asks no JobManager: only the file that the JobManager reads lets anybody in.

use super::{ClientError, USAGE, complain, exit, print};
use crate::security::{Role, mint};
use std::process::ExitCode;

/// `token`: a new token for REST.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct TokenArgs {
    /// Whose it is to be: one word, which is in the log of what was done with it
    name: String,
    /// What they may do: viewer, operator or admin
    role: Role,
}

const HELP: &str = "\
The token is on standard output, for its holder alone. The line on standard error is for the file that the JobManager
reads (security.rest.tokens); it lets nobody in.

  jobmanager token alice operator > alice.token 2>> tokens";

/// Runs `token`.
#[must_use]
pub fn token(args: &TokenArgs) -> ExitCode {
    let (token, line) = match mint(&args.name, args.role) {
        Ok(made) => made,
        Err(problem) => {
            complain(format!("error: {problem}"));
            return ExitCode::from(USAGE);
        }
    };
    let printed: Result<u8, ClientError> = print(token).map(|()| 0);
    if printed.is_ok() {
        complain(line);
    }
    exit(printed)
}
