//! `tapgate program`.

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::fact::Provider;

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
    /// Decline every authorization with `program_suspended` until it is resumed, or those of one provider's cards.
    Suspend {
        /// Only this provider's cards, with `provider_suspended`.
        #[arg(long, value_enum)]
        provider: Option<ProviderName>,
        /// Why, for the journal.
        #[arg(long)]
        reason: String,
    },
    /// Decide again.
    Resume {
        /// Only this provider's cards.
        #[arg(long, value_enum)]
        provider: Option<ProviderName>,
        /// Why, for the journal.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// A provider whose cards are switched alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ProviderName {
    Ur,
    PartnerApi,
}

impl ProviderName {
    /// The name on the wire.
    fn wire(self) -> &'static str {
        match self {
            ProviderName::Ur => Provider::Ur.name(),
            ProviderName::PartnerApi => Provider::PartnerApi.name(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Switch {
    suspended: bool,
    reason: Text,
    providers: Vec<ProviderSwitch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProviderSwitch {
    provider: Text,
    suspended: bool,
    reason: Text,
}

impl Program {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let (suspended, provider, reason) = match &self.command {
            None => return self.api.show(&client.send(ApiCall::get(&["program"], &[]))?, line),
            Some(Command::Suspend { provider, reason }) => (true, provider, reason),
            Some(Command::Resume { provider, reason }) => (false, provider, reason),
        };
        let provider = provider.map(ProviderName::wire);
        let body = json!({"suspended": suspended, "reason": reason, "provider": provider}).to_string();
        self.api.show(&client.send(ApiCall::post(&["program"], body))?, line)
    }
}

fn line(switch: &Switch, screen: Screen) -> String {
    let state = |suspended: bool| if suspended { screen.bad("suspended") } else { screen.good("running") };
    let why = |reason: &Text| if reason.as_str().is_empty() { String::new() } else { format!(" ({reason})") };
    let program = format!("program {}{}\n", state(switch.suspended), why(&switch.reason));
    let provider =
        |of: &ProviderSwitch| format!("cards of {} {}{}\n", of.provider, state(of.suspended), why(&of.reason));
    [program].into_iter().chain(switch.providers.iter().map(provider)).collect()
}
