//! `tapgate prefunds`: top-ups of the pools, from the day they are proposed until they are credited.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::money::Currency;
use tapgate_engine::prefund::PrefundState;

use super::Failed;
use super::amounts::{amount, smallest_units};
use super::api::Api;
use super::client::{Ask, Client};
use super::screen::{Screen, Text};
use super::table::{fields, left, right, table};
use super::when::{self, When};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Prefunds {
    #[command(flatten)]
    api: Api,
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List prefunds, newest first.
    List(List),
    /// Show one prefund.
    Show {
        /// Its id, such as 1200.
        id: String,
    },
    /// Say that money was sent. It counts once it is credited, not before.
    Sent {
        /// The pool's currency, such as EUR.
        currency: Currency,
        /// What the pool is to be credited, in the smallest unit: 12.50 EUR is 1250.
        #[arg(long, value_parser = smallest_units)]
        amount: String,
        /// What the credit will name.
        #[arg(long)]
        reference: String,
        /// When the credit is expected: 2026-11-21, 2026-11-21T08:48Z, or unix seconds. Without it, as the calendar says.
        #[arg(long, value_name = "TIME", value_parser = time)]
        expected_at: Option<i64>,
        /// Makes the same command one prefund, however often it is repeated within 24 hours.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<HeaderValue>,
    },
    /// Approve a proposed prefund; for treasurers only.
    Approve {
        /// Its id, such as 1200.
        id: String,
    },
    /// Give a prefund up, or what is missing of one that is short.
    Cancel {
        /// Its id, such as 1200.
        id: String,
        /// Why, for the journal.
        #[arg(long)]
        reason: String,
    },
}

/// Filters of the list; all must hold.
#[derive(Debug, Args)]
struct List {
    /// Only those that stand so now.
    #[arg(long, value_parser = states())]
    state: Option<String>,
    /// Only those of one pool.
    #[arg(long)]
    currency: Option<Currency>,
    /// How many at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Where an earlier list went on: its `next`.
    #[arg(long)]
    cursor: Option<String>,
}

fn states() -> PossibleValuesParser {
    PossibleValuesParser::new(PrefundState::ALL.iter().map(|state| state.name()))
}

/// A time that is told, not an age: a credit is expected in the future.
fn time(text: &str) -> Result<i64, String> {
    match When::parse(text)? {
        When::At(at) => Ok(at),
        When::Ago(_) => Err("give 2026-11-21, 2026-11-21T08:48:17Z or unix seconds".to_owned()),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    items: Vec<Prefund>,
    next: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Prefund {
    id: Text,
    currency: Text,
    amount: Text,
    reference: Text,
    request_id: Option<Text>,
    state: Text,
    proposed: Option<Step>,
    approved: Option<Step>,
    sent: Option<Step>,
    expected_at: Option<i64>,
    credited: Text,
    credited_at: Option<i64>,
    cancelled: Option<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Step {
    at: i64,
    by: Text,
    reason: Option<Text>,
}

impl Prefunds {
    pub(super) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let answer = match &self.command {
            None => return self.show_list(&client, &self.list),
            Some(Command::List(list)) => return self.show_list(&client, list),
            Some(Command::Show { id }) => client.ask(Ask::get(&["prefunds", id], &[])),
            Some(Command::Sent { currency, amount, reference, expected_at, idempotency_key }) => {
                let body = json!({
                    "currency": currency.as_str(), "amount": amount, "reference": reference, "expectedAt": expected_at,
                });
                client.ask(Ask::post(&["prefunds"], body.to_string()).idempotent(idempotency_key.as_ref()))
            }
            Some(Command::Approve { id }) => client.ask(Ask::post(&["prefunds", id, "approve"], "{}")),
            Some(Command::Cancel { id, reason }) => {
                client.ask(Ask::post(&["prefunds", id, "cancel"], json!({"reason": reason}).to_string()))
            }
        };
        self.api.show(&answer?, one)
    }

    fn show_list(&self, client: &Client, list: &List) -> Result<(), Failed> {
        let answer = client.ask(Ask::get(&["prefunds"], &list.query()))?;
        self.api.show(&answer, rows)
    }
}

impl List {
    fn query(&self) -> Vec<(&'static str, String)> {
        let named = [
            ("state", self.state.clone()),
            ("currency", self.currency.map(|currency| currency.to_string())),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.clone()),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn rows(page: &Page, screen: Screen) -> String {
    if page.items.is_empty() {
        return "no such prefunds\n".to_owned();
    }
    let row = |prefund: &Prefund| {
        let figure = |minor: &Text| right(&amount(minor.as_str(), prefund.currency.as_str()));
        vec![
            left(&prefund.id),
            left(&prefund.currency),
            figure(&prefund.amount),
            figure(&prefund.credited),
            left(&prefund.state),
            left(&prefund.reference),
            left(&or_dash(prefund.sent.as_ref().map(|sent| sent.at))),
            left(&or_dash(prefund.expected_at)),
        ]
    };
    let header = ["ID", "POOL", "AMOUNT", "CREDITED", "STATE", "REFERENCE", "SENT", "EXPECTED"];
    let mut shown = table(screen, &header, page.items.iter().map(row).collect());
    if let Some(next) = &page.next {
        shown.push_str(&screen.faint(&format!("there are more: --cursor {next}\n")));
    }
    shown
}

fn or_dash(at: Option<i64>) -> String {
    at.map_or("-".to_owned(), when::utc)
}

fn one(prefund: &Prefund, screen: Screen) -> String {
    let currency = prefund.currency.as_str();
    let mut named = vec![
        ("amount", amount(prefund.amount.as_str(), currency)),
        ("credited", amount(prefund.credited.as_str(), currency)),
        ("reference", prefund.reference.to_string()),
    ];
    named.extend(prefund.request_id.as_ref().map(|id| ("request id", id.to_string())));
    let steps = [
        ("proposed", &prefund.proposed),
        ("approved", &prefund.approved),
        ("sent", &prefund.sent),
        ("cancelled", &prefund.cancelled),
    ];
    for (name, step) in steps {
        if let Some(Step { at, by, reason }) = step {
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            named.push((name, format!("by {by}, {}{why}", when::utc(*at))));
        }
    }
    named.extend(prefund.expected_at.map(|at| ("expected", when::utc(at))));
    named.extend(prefund.credited_at.map(|at| ("last credited", when::utc(at))));
    let state = prefund.state.as_str();
    let needs_somebody = [PrefundState::Overdue, PrefundState::Short].iter().any(|bad| bad.name() == state);
    let state = if needs_somebody { screen.bad(state) } else { screen.good(state) };
    format!("prefund {} {currency} {state}\n{}", prefund.id, fields(&named))
}
