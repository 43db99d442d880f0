//! `tapgate prefunds`: top-ups of the pools, from proposal to credit.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use hyper::header::HeaderValue;
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::money::Currency;
use tapgate_engine::rows::PrefundState;

use super::client::{ApiCall, Client};
use super::pages::{ListArgs, Listed, Page, Step};
use crate::cli::Failed;
use crate::cli::ui::amounts::{amount, smallest_units};
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{fields, left, right, table};
use crate::cli::ui::when::{self, When};

pub(in crate::cli) type Prefunds = Listed<List, Command>;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// List prefunds, newest first.
    List(List),
    /// Show one prefund.
    Show {
        /// Its id, such as 1200.
        id: String,
    },
    /// Show what tapgate does next about top-ups that it orders itself, and why.
    Automatic,
    /// Propose a top-up that tapgate orders from UR once a treasurer approves it.
    Propose {
        /// The pool's currency, such as EUR.
        currency: Currency,
        /// What the pool is to be credited, in the smallest unit: 12.50 EUR is 1250.
        #[arg(long, value_parser = smallest_units)]
        amount: String,
        /// Makes the same command one prefund, however often it is repeated within 24 hours.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<HeaderValue>,
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
    /// Give a prefund up, or what is missing of one that is short. Treasurers alone do that to one that tapgate has ordered.
    Cancel {
        /// Its id, such as 1200.
        id: String,
        /// UR has confirmed that what was ordered was not carried out and never will be.
        #[arg(long)]
        not_executed: bool,
        /// Why, for the journal.
        #[arg(long)]
        reason: String,
    },
}

/// Filters of the list; all must hold.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only those that stand so now.
    #[arg(long, value_parser = states())]
    state: Option<String>,
    /// Only those of one pool.
    #[arg(long)]
    currency: Option<Currency>,
    #[command(flatten)]
    page: ListArgs,
}

fn states() -> PossibleValuesParser {
    PossibleValuesParser::new(PrefundState::ALL.iter().map(|state| state.name()))
}

/// A time but not an age, because a credit is expected in the future.
fn time(text: &str) -> Result<i64, String> {
    match When::parse(text)? {
        When::At(at) => Ok(at),
        When::Ago(_) => Err("give 2026-11-21, 2026-11-21T08:48:17Z or unix seconds".to_owned()),
    }
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
    ordered: Option<Ordered>,
    sent: Option<Step>,
    expected_at: Option<i64>,
    credited: Text,
    credited_at: Option<i64>,
    cancelled: Option<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ordered {
    at: i64,
    by: Text,
    paid_usdc: Text,
    quoted: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Automatic {
    mode: Text,
    daily_max_usdc: Text,
    single_max_usdc: Text,
    ordered_today_usdc: Option<Text>,
    day_ends: Option<i64>,
    at: Option<i64>,
    pools: Vec<Planned>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Planned {
    currency: Text,
    prefund: Option<Text>,
    amount: Option<Text>,
    next: Text,
    refused: bool,
    why: Text,
}

impl Prefunds {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let answer = match &self.command {
            None => return self.show_list(&client, &self.list),
            Some(Command::List(list)) => return self.show_list(&client, list),
            Some(Command::Automatic) => {
                return self.api.show(&client.send(ApiCall::get(&["prefunds", "automatic"], &[]))?, automatic);
            }
            Some(Command::Propose { currency, amount, idempotency_key }) => {
                let body = json!({"currency": currency.as_str(), "amount": amount}).to_string();
                let call = ApiCall::post(&["prefunds", "automatic"], body);
                client.send(call.idempotent(idempotency_key.as_ref()))
            }
            Some(Command::Show { id }) => client.send(ApiCall::get(&["prefunds", id], &[])),
            Some(Command::Sent { currency, amount, reference, expected_at, idempotency_key }) => {
                let body = json!({
                    "currency": currency.as_str(), "amount": amount, "reference": reference, "expectedAt": expected_at,
                });
                client.send(ApiCall::post(&["prefunds"], body.to_string()).idempotent(idempotency_key.as_ref()))
            }
            Some(Command::Approve { id }) => client.send(ApiCall::post(&["prefunds", id, "approve"], "{}")),
            Some(Command::Cancel { id, not_executed, reason }) => {
                let body = json!({"reason": reason, "notExecuted": not_executed});
                client.send(ApiCall::post(&["prefunds", id, "cancel"], body.to_string()))
            }
        };
        self.api.show(&answer?, one)
    }

    fn show_list(&self, client: &Client, list: &List) -> Result<(), Failed> {
        let answer = client.send(ApiCall::get(&["prefunds"], &list.query()))?;
        self.api.show(&answer, rows)
    }
}

impl List {
    fn query(&self) -> Vec<(&'static str, String)> {
        self.page
            .query([("state", self.state.clone()), ("currency", self.currency.map(|currency| currency.to_string()))])
    }
}

fn rows(page: &Page<Prefund>, screen: Screen) -> String {
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
    page.table(screen, "no such prefunds", &header, row)
}

fn automatic(shown: &Automatic, screen: Screen) -> String {
    let usdc = |millionths: &Text| amount(millionths.as_str(), "USDC");
    let ordered = shown.ordered_today_usdc.as_ref().map_or("-".to_owned(), usdc);
    let named = [
        ("ordered today", format!("{ordered}, at most {}", usdc(&shown.daily_max_usdc))),
        ("the day ends", or_dash(shown.day_ends)),
        ("a single one", format!("at most {}", usdc(&shown.single_max_usdc))),
        ("looked at", or_dash(shown.at)),
    ];
    let row = |planned: &Planned| {
        let figure = planned.amount.as_ref().map(|minor| amount(minor.as_str(), planned.currency.as_str()));
        let next = if planned.refused { "refused" } else { planned.next.as_str() };
        vec![
            left(&planned.currency),
            left(planned.prefund.as_ref().map_or("-", Text::as_str)),
            right(figure.as_deref().unwrap_or("-")),
            left(next),
            left(&planned.why),
        ]
    };
    let header = ["POOL", "PREFUND", "AMOUNT", "NEXT", "WHY"];
    let pools = table(screen, &header, shown.pools.iter().map(row).collect());
    format!("automatic prefunds {}\n{}\n{pools}", shown.mode, fields(&named))
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
    named.extend(prefund.ordered.as_ref().map(|Ordered { at, by, paid_usdc, quoted }| {
        let (paid, quoted) = (amount(paid_usdc.as_str(), "USDC"), amount(quoted.as_str(), currency));
        ("ordered", format!("by {by}, {}: {paid} for {quoted}", when::utc(*at)))
    }));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_steps_render_as_a_table() {
        let answer = r#"{"mode":"approval","dailyMaxUsdc":"5000000000","singleMaxUsdc":"2000000000","quoteToleranceBps":250,
            "orderedTodayUsdc":"1090760000","dayEnds":1789164000,"at":1789113600,"pools":[{"currency":"EUR","prefund":"1200",
            "amount":"100000","next":"wait","refused":false,"why":"waits for a treasurer"},{"currency":"USD","prefund":null,
            "amount":null,"next":"wait","refused":true,"why":"it costs too much"}]}"#;
        let shown = automatic(&serde_json::from_str(answer).unwrap(), Screen::plain());
        let expected = "automatic prefunds approval\n  ordered today  1090.760000 USDC, at most 5000.000000 USDC\n  \
             the day ends   2026-09-11 22:00:00 UTC\n  a single one   at most 2000.000000 USDC\n  \
             looked at      2026-09-11 08:00:00 UTC\n\nPOOL  PREFUND       AMOUNT  NEXT     WHY\n\
             EUR   1200     1000.00 EUR  wait     waits for a treasurer\nUSD   -                  -  refused  it costs too much\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_order_shows_what_is_paid() {
        let answer = r#"{"id":"1200","currency":"EUR","amount":"99990","reference":"0xab","requestId":"r","state":"sent",
            "ordered":{"at":1789113600,"by":"engine","urId":"9999","token":"EUR","paidUsdc":"1112640000","quoted":"99990"},
            "sent":{"at":1789113601,"by":"engine"},"credited":"0"}"#;
        let shown = one(&serde_json::from_str(answer).unwrap(), Screen::plain());
        assert!(
            shown.contains("ordered     by engine, 2026-09-11 08:00:00 UTC: 1112.640000 USDC for 999.90 EUR"),
            "{shown}"
        );
    }
}
