//! `completions`: what a shell needs to complete the command lines of the binaries. It asks no JobManager.

use super::{exit, output::print_text};
use clap::{Command, CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};
use std::process::ExitCode;

/// `completions`: a script for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct CompletionsArgs {
    /// For which shell
    shell: Shell,
    /// Whose command lines
    #[arg(long, value_enum, default_value_t)]
    program: Program,
}

/// A binary of this project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Program {
    /// This one
    #[default]
    Jobmanager,
    /// The one that runs tasks
    Taskmanager,
}

const HELP: &str = "\
The script is on standard output. Where a shell looks for it:

  bash        jobmanager completions bash > ~/.local/share/bash-completion/completions/jobmanager
  zsh         jobmanager completions zsh > DIR/_jobmanager, with DIR in $fpath before compinit
  fish        jobmanager completions fish > ~/.config/fish/completions/jobmanager.fish
  elvish      jobmanager completions elvish >> ~/.config/elvish/rc.elv
  powershell  jobmanager completions powershell >> $PROFILE";

/// Runs `completions`: `own` is the command line of this binary.
#[must_use]
pub fn completions(args: &CompletionsArgs, own: Command) -> ExitCode {
    let command = match args.program {
        Program::Jobmanager => shown(own),
        Program::Taskmanager => taskmanager::Args::command(),
    };
    exit(print_text(&script(args.shell, command)).map(|()| 0))
}

/// The command line without what `--help` does not show either.
fn shown(command: Command) -> Command {
    let subcommands = command.get_subcommands().filter(|it| !it.is_hide_set());
    let subcommands: Vec<Command> = subcommands.cloned().collect();
    Command::new("jobmanager")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(subcommands)
}

/// Into memory first: whoever reads standard output may close it, and the library would panic.
fn script(shell: Shell, mut command: Command) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_is_told_what_help_shows_and_nothing_else() {
        let own = || {
            let hidden = Command::new("conceal").hide(true);
            Command::new("jobmanager").subcommands([Command::new("reveal"), hidden])
        };
        for shell in Shell::value_variants() {
            let script = script(*shell, shown(own()));
            assert!(script.contains("reveal"), "{shell}");
            assert!(!script.contains("conceal"), "{shell}");
            let script = self::script(*shell, taskmanager::Args::command());
            assert!(script.contains("leave-timeout"), "{shell}");
        }
    }
}
