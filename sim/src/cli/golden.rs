//! `sim golden`: compares the digests of the first seeds with the file that is kept, or writes it.

use clap::Args;
use jobmanager_sim::{golden_differences, golden_digests};
use std::path::PathBuf;

/// The file that is kept.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/digests.txt");

#[derive(Debug, Args)]
pub(super) struct Golden {
    /// Write the file instead.
    #[arg(long)]
    write: bool,
    /// The file.
    #[arg(long, default_value = FILE)]
    file: PathBuf,
}

pub(super) fn run(arguments: &Golden) -> bool {
    match compared(arguments) {
        Ok(told) => {
            println!("{told}");
            true
        }
        Err(problem) => {
            eprintln!("{problem}");
            false
        }
    }
}

fn compared(arguments: &Golden) -> Result<String, String> {
    let now = golden_digests();
    let name = arguments.file.display();
    let problem = |problem| format!("{name}: {problem}");
    if arguments.write {
        std::fs::write(&arguments.file, &now).map_err(problem)?;
        return Ok(format!("{name} is written"));
    }
    let golden = std::fs::read_to_string(&arguments.file).map_err(problem)?;
    match golden_differences(&golden, &now) {
        None => Ok("every golden run is what it was".to_owned()),
        Some(differences) => Err(differences),
    }
}
