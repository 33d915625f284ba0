//! `moqt completions` and `moqt man`: what shells and people want to know of the command, made
//! from the command itself.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::failure::Failure;

pub(crate) const COMPLETIONS_EXAMPLES: &str = "Examples:
  moqt completions bash > ~/.local/share/bash-completion/completions/moqt
  moqt completions zsh > ~/.zfunc/_moqt
  moqt completions fish > ~/.config/fish/completions/moqt.fish";

pub(crate) const MAN_EXAMPLES: &str = "Examples:
  moqt man sub > moqt-sub.1
  moqt man --out ~/.local/share/man/man1";

#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to complete in.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ManArgs {
    /// The subcommand whose page to write to standard output; `moqt` itself if not given.
    #[arg(conflicts_with = "out")]
    subcommand: Vec<String>,
    /// Write all pages to files in this folder, which is made if need be.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Writes what completes the command in a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "moqt", &mut script);
    print(&script)
}

/// Writes one page, or all of them.
pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    if let Some(folder) = &args.out {
        return pages(folder).map_err(|error| {
            Failure::new(format!("cannot write man pages to {}: {error}", folder.display()))
        });
    }
    let mut command = built();
    for name in &args.subcommand {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| {
            Failure::new(format!("there is no `moqt {}`", args.subcommand.join(" ")))
        })?;
    }
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    print(&page)
}

fn pages(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)
}

/// The command, with what is global in each subcommand, and the subcommands' whole names.
fn built() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

/// Nobody is told that a pager was left.
fn print(text: &[u8]) -> Result<(), Failure> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}
