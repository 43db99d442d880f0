//! `tapgate config`.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::cli::Failed;
use crate::cli::print;
use crate::config::{Config, default_text};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Report every bad setting, each with its line.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Print a commented default.
    Default,
}

pub(in crate::cli) fn run(command: &Command) -> Result<(), Failed> {
    match command {
        Command::Check { file } => {
            load(file)?;
            print(&format!("{}: ok\n", file.display()))
        }
        Command::Default => print(default_text()),
    }
}

/// Loads a configuration; the process's environment overrides it.
pub(in crate::cli) fn load(file: &Path) -> Result<Config, Failed> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| Failed(format!("{name}: {error}")))?;
    let environment =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    Config::load(&text, &name, environment, |path| std::fs::read_to_string(path))
        .map_err(|errors| Failed(format!("the configuration has mistakes:\n{errors}")))
}
