//! `tapgate pools`.

use clap::{Args, Subcommand};
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tapgate_engine::money::Currency;

use super::api::Api;
use super::client::ApiCall;
use super::treasury;
use crate::cli::Failed;
use crate::cli::ui::amounts::{amount, smallest_units};
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{left, right, table};
use crate::cli::ui::when;

#[derive(Debug, Args)]
pub(in crate::cli) struct Pools {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show one pool.
    Show {
        /// Its currency, such as EUR.
        currency: Currency,
    },
    /// Show when a pool runs dry, and how much to send until when.
    Forecast {
        /// Its currency, such as EUR.
        currency: Currency,
    },
    /// Show what moved a pool on a day, from what was available to what is.
    Statement {
        /// Its currency, such as EUR.
        currency: Currency,
        /// The day where UR's operations are, such as 2026-11-21; today where none is given.
        #[arg(long)]
        day: Option<String>,
    },
    /// Say what a pool holds, or what is kept back in it; the first report opens the pool.
    Report {
        /// Its currency, such as EUR.
        currency: Currency,
        #[command(flatten)]
        figures: Figures,
    },
    /// Record a top-up that was credited.
    Credit {
        /// Its currency, such as EUR.
        currency: Currency,
        /// What was credited, in the smallest unit: 12.50 EUR is 1250.
        #[arg(long, value_parser = smallest_units)]
        amount: String,
        /// What names the transfer, for the journal.
        #[arg(long)]
        reference: String,
        /// Makes the same command one credit, however often it is repeated within 24 hours.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<HeaderValue>,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Figures {
    /// The balance at UR, in the smallest unit.
    #[arg(long, value_name = "N", value_parser = smallest_units)]
    reported: Option<String>,
    /// What UR wants left in it, in the smallest unit; never spent.
    #[arg(long, value_name = "N", value_parser = smallest_units)]
    floor: Option<String>,
    /// What is kept back above the floor, in the smallest unit.
    #[arg(long, value_name = "N", value_parser = smallest_units)]
    reserve: Option<String>,
    /// Up to which record the balance shows our approvals: `now`, or a sequence of the journal.
    #[arg(long, value_name = "now|SEQ", value_parser = reflected_through)]
    reflected_through: Option<String>,
}

fn reflected_through(text: &str) -> Result<String, String> {
    let known = text == "now" || text.parse::<u64>().is_ok();
    known.then(|| text.to_owned()).ok_or_else(|| "it is `now` or a record's sequence".to_owned())
}

impl Figures {
    /// Only the given fields, so that the others stay.
    fn body(&self) -> String {
        let named = [
            ("reported", &self.reported),
            ("floor", &self.floor),
            ("reserve", &self.reserve),
            ("reflectedThrough", &self.reflected_through),
        ];
        let given = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value.clone()?))));
        Value::from(given.collect::<Map<_, _>>()).to_string()
    }
}

/// A pool as the API shows it, in smallest units.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pool {
    currency: Text,
    reported: Text,
    reported_at: i64,
    held: Text,
    unreflected: Text,
    upcharged: Text,
    floor: Text,
    reserve: Text,
    available: Text,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Pool>,
}

impl Pools {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let answer = match &self.command {
            None => {
                let answer = client.send(ApiCall::get(&["pools"], &[]))?;
                return self.api.show(&answer, |list: &List, screen| rows(&list.items, screen));
            }
            Some(Command::Show { currency }) => client.send(ApiCall::get(&["pools", currency.as_str()], &[])),
            Some(Command::Forecast { currency }) => {
                let answer = client.send(ApiCall::get(&["pools", currency.as_str(), "forecast"], &[]))?;
                return self.api.show(&answer, treasury::forecast);
            }
            Some(Command::Statement { currency, day }) => {
                let day: Vec<_> = day.iter().map(|day| ("day", day.clone())).collect();
                let answer = client.send(ApiCall::get(&["pools", currency.as_str(), "statement"], &day))?;
                return self.api.show(&answer, treasury::statement);
            }
            Some(Command::Report { currency, figures }) => {
                client.send(ApiCall::put(&["pools", currency.as_str()], figures.body()))
            }
            Some(Command::Credit { currency, amount, reference, idempotency_key }) => {
                let body = json!({"amount": amount, "reference": reference}).to_string();
                let path = ["pools", currency.as_str(), "credits"];
                client.send(ApiCall::post(&path, body).idempotent(idempotency_key.as_ref()))
            }
        };
        self.api.show(&answer?, |pool: &Pool, screen| rows(std::slice::from_ref(pool), screen))
    }
}

fn rows(pools: &[Pool], screen: Screen) -> String {
    if pools.is_empty() {
        return "there are no pools; `tapgate pools report` opens one\n".to_owned();
    }
    let now = when::now();
    let header =
        ["POOL", "AVAILABLE", "REPORTED", "UNREFLECTED", "UPCHARGED", "FLOOR", "RESERVE", "HELD", "REPORTED AT", "AGE"];
    let rows = pools.iter().map(|pool| {
        let figure = |minor: &Text| right(&amount(minor.as_str(), pool.currency.as_str()));
        vec![
            left(&pool.currency),
            figure(&pool.available),
            figure(&pool.reported),
            figure(&pool.unreflected),
            figure(&pool.upcharged),
            figure(&pool.floor),
            figure(&pool.reserve),
            figure(&pool.held),
            left(&when::utc(pool.reported_at)),
            left(&when::duration(now.saturating_sub(pool.reported_at))),
        ]
    });
    table(screen, &header, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_only_what_is_given() {
        let figures = Figures {
            reported: Some("1000000".to_owned()),
            floor: None,
            reserve: Some("0".to_owned()),
            reflected_through: Some("now".to_owned()),
        };
        let body: Value = serde_json::from_str(&figures.body()).unwrap();
        assert_eq!(body, json!({"reported": "1000000", "reserve": "0", "reflectedThrough": "now"}));
    }
}
