//! `tapgate program`.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::api::Api;
use super::client::ApiCall;
use crate::cli::Failed;
use crate::cli::ui::screen::{Screen, Text};

#[derive(Debug, Args)]
pub(in crate::cli) struct Program {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Decline every authorization with `program_suspended` until it is resumed.
    Suspend {
        /// Why, for the journal.
        #[arg(long)]
        reason: String,
    },
    /// Decide again.
    Resume {
        /// Why, for the journal.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Switch {
    suspended: bool,
    reason: Text,
}

impl Program {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let (suspended, reason) = match &self.command {
            None => return self.api.show(&client.send(ApiCall::get(&["program"], &[]))?, line),
            Some(Command::Suspend { reason }) => (true, reason),
            Some(Command::Resume { reason }) => (false, reason),
        };
        let body = json!({"suspended": suspended, "reason": reason}).to_string();
        self.api.show(&client.send(ApiCall::post(&["program"], body))?, line)
    }
}

fn line(switch: &Switch, screen: Screen) -> String {
    let state = if switch.suspended { screen.bad("suspended") } else { screen.good("running") };
    let reason = if switch.reason.as_str().is_empty() { String::new() } else { format!(" ({})", switch.reason) };
    format!("program {state}{reason}\n")
}
