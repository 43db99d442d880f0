//! `tapgate rates`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::api::Api;
use super::client::ApiCall;
use crate::cli::Failed;
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{left, right, table};
use crate::cli::ui::when;
use crate::wire::ur::display_amount;

/// Decimals of a rate and a spread.
const RATE_DECIMALS: u32 = 4;

#[derive(Debug, Args)]
pub(in crate::cli) struct Rates {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pin the rate of a pair: UR's is not used until the rate is unpinned.
    Pin {
        from: String,
        to: String,
        /// Units of TO for one of FROM, such as 0.9168.
        #[arg(value_parser = on_ten_thousand)]
        rate: String,
        /// A factor on top, such as 1.015.
        #[arg(long, default_value = "1", value_parser = on_ten_thousand)]
        spread: String,
    },
    /// Use UR's rate of a pair again.
    Unpin { from: String, to: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    pairs: Vec<Pair>,
    chf: BTreeMap<String, Text>,
    set_at: Option<i64>,
    kept: Vec<Kept>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pair {
    from: String,
    to: String,
    rate: Text,
    spread: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kept {
    from: String,
    to: String,
    pinned: bool,
    set_at: Option<i64>,
}

impl Rates {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let answer = match &self.command {
            None => client.send(ApiCall::get(&["rates"], &[])),
            Some(Command::Pin { from, to, rate, spread }) => {
                let body = json!({"from": from, "to": to, "rate": rate, "spread": spread}).to_string();
                client.send(ApiCall::post(&["rates", "pin"], body))
            }
            Some(Command::Unpin { from, to }) => {
                let body = json!({"from": from, "to": to}).to_string();
                client.send(ApiCall::post(&["rates", "unpin"], body))
            }
        };
        self.api.show(&answer?, shown)
    }
}

/// A rate of a person, always a decimal, in the API's form.
fn on_ten_thousand(text: &str) -> Result<String, String> {
    let rate = display_amount("rate", text, RATE_DECIMALS).map_err(|_| "must be a rate such as 0.9168".to_owned())?;
    Ok(rate.0.to_string())
}

fn shown(rates: &Shown, screen: Screen) -> String {
    let since = |from: &str, to: &str| match rates.kept.iter().find(|kept| kept.from == from && kept.to == to) {
        Some(kept) if kept.pinned => "pinned".to_owned(),
        Some(kept) => kept.set_at.map_or_else(String::new, when::utc),
        None => rates.set_at.map_or_else(String::new, when::utc),
    };
    let pair = |pair: &Pair| {
        let Pair { from, to, rate, spread } = pair;
        vec![left(from), left(to), right(rate), right(spread), left(&since(from, to))]
    };
    let francs = |(from, rate): (&String, &Text)| {
        vec![left(from), left("CHF"), right(&format!("{rate}/1000")), right(""), left(&since(from, "CHF"))]
    };
    let rows = rates.pairs.iter().map(pair).chain(rates.chf.iter().map(francs)).collect();
    table(screen, &["FROM", "TO", "RATE", "SPREAD", "SET AT"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_a_person_is_a_decimal() {
        assert_eq!(on_ten_thousand("0.9168").as_deref(), Ok("9168"));
        assert_eq!(on_ten_thousand("1").as_deref(), Ok("10000"));
        assert!(on_ten_thousand("0.91685").is_err() && on_ten_thousand("x").is_err());
    }
}
