//! `tapgate cards`.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::ids::CardId;

use super::api::{Api, body};
use super::client::ApiCall;
use super::controls::Controls;
use crate::cli::Failed;
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::fields;

#[derive(Debug, Args)]
pub(in crate::cli) struct Cards {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Decline what the card is used for, until it is activated.
    Freeze { card_id: CardId },
    /// Let a frozen card be used again.
    Activate { card_id: CardId },
    /// Decline what the card is used for, for good.
    Delete { card_id: CardId },
    /// Have the card's next approval freeze it.
    SingleUse {
        card_id: CardId,
        /// Let the card be used more than once; one that is frozen by its approval must be activated, too.
        #[arg(long)]
        off: bool,
    },
    /// Replace what restricts the card.
    Controls {
        card_id: CardId,
        /// A file with the controls as JSON; `-` reads stdin, `{}` restricts nothing.
        file: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cli) struct Card {
    pub(in crate::cli) card_id: Text,
    pub(in crate::cli) status: Text,
    pub(in crate::cli) currency: Text,
    #[serde(rename = "single_use")]
    pub(in crate::cli) single_use: bool,
    pub(in crate::cli) controls: Option<Controls>,
}

impl Card {
    /// The card's own restrictions, besides those of user and program.
    pub(in crate::cli) fn restrictions(&self) -> Vec<String> {
        let controls = self.controls.as_ref().map_or_else(Vec::new, Controls::lines);
        self.single_use.then(|| "single use".to_owned()).into_iter().chain(controls).collect()
    }
}

impl Cards {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let status = |id: &CardId, status: &str| {
            client.send(ApiCall::put(&["cards", id.as_str()], json!({"status": status}).to_string()))
        };
        let answer = match &self.command {
            Command::Freeze { card_id } => status(card_id, "frozen"),
            Command::Activate { card_id } => status(card_id, "active"),
            Command::Delete { card_id } => status(card_id, "deleted"),
            Command::SingleUse { card_id, off } => {
                client.send(ApiCall::put(&["cards", card_id.as_str()], json!({"single_use": !off}).to_string()))
            }
            Command::Controls { card_id, file } => {
                client.send(ApiCall::put(&["cards", card_id.as_str(), "controls"], body(file)?))
            }
        };
        self.api.show(&answer?, view)
    }
}

fn view(card: &Card, screen: Screen) -> String {
    let restrictions = card.restrictions();
    let restrictions = if restrictions.is_empty() { "none".to_owned() } else { restrictions.join("; ") };
    let named =
        [("status", card.status.to_string()), ("currency", card.currency.to_string()), ("controls", restrictions)];
    format!("{}\n{}", screen.strong(&format!("card {}", card.card_id)), fields(&named))
}
