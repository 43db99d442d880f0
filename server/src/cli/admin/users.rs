//! `tapgate users`.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::contract::limit::LIMIT_PERIOD_SECONDS;
use tapgate_engine::ids::{AuthorizationId, UrId};
use tapgate_engine::money::Currency;

use super::api::{Api, body};
use super::cards::Card;
use super::client::ApiCall;
use super::controls::Controls;
use super::import;
use crate::cli::Failed;
use crate::cli::ui::amounts::{Money, amount, chf, figure, smallest_units};
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{fields, left, right, table};
use crate::cli::ui::when;

#[derive(Debug, Args)]
pub(in crate::cli) struct Users {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Import users, one JSON object a line; importing again replaces.
    Import {
        /// The file; `-` reads stdin.
        file: String,
    },
    /// Show a user: status, limit, funds, cards, controls, holds.
    Show { ur_id: UrId },
    /// Decline whatever the user's cards are used for, until resumed.
    Suspend { ur_id: UrId },
    /// Decide for the user again.
    Resume { ur_id: UrId },
    /// Set the user's funds to a new version of the partner's figure.
    Funds(Funds),
    /// Replace what restricts the user.
    Controls {
        ur_id: UrId,
        /// A file with the controls as JSON; `-` reads stdin, `{}` restricts nothing.
        file: String,
    },
}

#[derive(Debug, Args)]
struct Funds {
    ur_id: UrId,
    /// What the user can cover, in the smallest unit: 12.50 EUR is 1250.
    #[arg(long, value_parser = smallest_units)]
    amount: String,
    /// Its currency, such as EUR.
    #[arg(long)]
    currency: Currency,
    /// The version of the figure; it must be above the one stored.
    #[arg(long)]
    version: u64,
    /// An authorization whose debit the figure shows already, so that its hold ends; may be given more than once.
    #[arg(long, value_name = "AUTHORIZATION_ID")]
    debited: Vec<AuthorizationId>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct User {
    ur_id: Text,
    external_id: Option<Text>,
    label: Option<Text>,
    status: Text,
    suspended: bool,
    limit: Limit,
    funds: Option<FundsSeen>,
    fiat: Vec<Fiat>,
    funding: Option<Text>,
    cards: Vec<Card>,
    controls: Option<Controls>,
    holds: Vec<Hold>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Limit {
    used_limit: Text,
    client_limit: Text,
    start_limit_date: i64,
    unreflected: Text,
    headroom: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FundsSeen {
    amount: Text,
    held: Text,
    available: Text,
    currency: Text,
    version: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fiat {
    currency: Text,
    amount: Text,
    held: Text,
    available: Text,
    allowance: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Hold {
    authorization_id: Text,
    root_id: Text,
    source: Text,
    held: Money,
    funds: Text,
}

impl Users {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let suspended = |id: &UrId, suspended: bool| {
            client.send(ApiCall::put(&["users", id.as_str(), "status"], json!({"suspended": suspended}).to_string()))
        };
        let answer = match &self.command {
            Command::Import { file } => return import::run(&client, file, self.api.json()),
            Command::Show { ur_id } => client.send(ApiCall::get(&["users", ur_id.as_str()], &[])),
            Command::Suspend { ur_id } => suspended(ur_id, true),
            Command::Resume { ur_id } => suspended(ur_id, false),
            Command::Funds(funds) => client.send(ApiCall::put(&["users", funds.ur_id.as_str(), "funds"], funds.body())),
            Command::Controls { ur_id, file } => {
                client.send(ApiCall::put(&["users", ur_id.as_str(), "controls"], body(file)?))
            }
        };
        self.api.show(&answer?, |user: &User, screen| user.view(screen, when::now()))
    }
}

impl Funds {
    fn body(&self) -> String {
        let debited: Vec<_> = self.debited.iter().map(AuthorizationId::as_str).collect();
        let currency = self.currency.as_str();
        json!({"amount": self.amount, "currency": currency, "version": self.version, "debited": debited}).to_string()
    }
}

impl User {
    fn view(&self, screen: Screen, now: i64) -> String {
        let heading = |title: &str| format!("\n{}\n", screen.strong(title));
        let live = self.status.as_str() == "live" && !self.suspended;
        let suspended = if self.suspended { ", suspended by the partner" } else { "" };
        let status = format!("{}{suspended}", self.status);
        let status = if live { screen.good(&status) } else { screen.bad(&status) };
        let funding = self.funding.as_ref().map_or("as configured", Text::as_str).to_owned();

        let mut shown = format!("{}\n", screen.strong(&format!("user {}", self.ur_id)));
        let names = [("external id", &self.external_id), ("label", &self.label)];
        let names = names.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?.as_str().to_owned())));
        let lines: Vec<_> = names.chain([("status", status), ("funding", funding)]).collect();
        shown.push_str(&fields(&lines));
        shown.push_str(&heading("Limit"));
        shown.push_str(&self.limit.view(now));
        shown.push_str(&heading("Funds"));
        shown.push_str(&self.funds.as_ref().map_or_else(|| "  none were given\n".to_owned(), FundsSeen::view));
        if !self.fiat.is_empty() {
            shown.push_str(&heading("Fiat balances"));
            shown.push_str(&self.fiat_table(screen));
        }
        shown.push_str(&heading("Cards"));
        shown.push_str(&self.cards_table(screen));
        shown.push_str(&heading("Controls"));
        let restrictions = self.controls.as_ref().map_or_else(Vec::new, Controls::lines);
        let restrictions = if restrictions.is_empty() { vec!["none".to_owned()] } else { restrictions };
        shown.extend(restrictions.iter().map(|line| format!("  {line}\n")));
        shown.push_str(&heading("Open holds"));
        shown.push_str(&self.holds_table(screen));
        shown
    }

    fn fiat_table(&self, screen: Screen) -> String {
        let rows = self.fiat.iter().map(|balance| {
            let figure = |minor: &Text| right(&figure(minor.as_str(), balance.currency.as_str()));
            let allowance = if balance.allowance { "given" } else { "missing" };
            vec![
                left(&format!("  {}", balance.currency)),
                figure(&balance.available),
                figure(&balance.amount),
                figure(&balance.held),
                left(&allowance),
            ]
        });
        table(screen, &["  CURRENCY", "AVAILABLE", "BALANCE", "HELD", "ALLOWANCE"], rows.collect())
    }

    fn cards_table(&self, screen: Screen) -> String {
        if self.cards.is_empty() {
            return "  none\n".to_owned();
        }
        let rows = self.cards.iter().map(|card| {
            let name = left(&format!("  {}", card.card_id));
            vec![name, left(&card.status), left(&card.currency), left(&card.restrictions().join("; "))]
        });
        table(screen, &["  CARD", "STATUS", "CURRENCY", "CONTROLS"], rows.collect())
    }

    fn holds_table(&self, screen: Screen) -> String {
        if self.holds.is_empty() {
            return "  none\n".to_owned();
        }
        let funds_currency = self.funds.as_ref().map_or("", |funds| funds.currency.as_str());
        let rows = self.holds.iter().map(|hold| {
            let name = left(&format!("  {}", hold.authorization_id));
            let funds = amount(hold.funds.as_str(), funds_currency);
            vec![name, left(&hold.root_id), left(&hold.source), right(&hold.held), right(&funds.trim_end())]
        });
        table(screen, &["  AUTHORIZATION", "ROOT", "SOURCE", "HELD", "OF THE FUNDS"], rows.collect())
    }
}

impl Limit {
    fn view(&self, now: i64) -> String {
        let ends = self.start_limit_date.saturating_add(LIMIT_PERIOD_SECONDS);
        // As in UR's contract, a period that ends at this very second still counts.
        let (verb, effect) = if ends < now { ("ended", ", so it counts no more") } else { ("ends", "") };
        let used = chf(self.used_limit.as_str());
        let used = format!("{used} as UR says; its period {verb} {}{effect}", when::utc(ends));
        fields(&[
            ("headroom", chf(self.headroom.as_str())),
            ("client limit", format!("{} in 30 days", chf(self.client_limit.as_str()))),
            ("used", used),
            ("unreflected", format!("{} approved here, not yet in UR's figure", chf(self.unreflected.as_str()))),
        ])
    }
}

impl FundsSeen {
    fn view(&self) -> String {
        let money = |minor: &Text| amount(minor.as_str(), self.currency.as_str());
        fields(&[
            ("available", money(&self.available)),
            ("given", format!("{} (version {})", money(&self.amount), self.version)),
            ("held", money(&self.held)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_shown_in_sections() {
        let user: User = serde_json::from_value(json!({
            "urId": "12345", "status": "live", "suspended": false,
            "limit": {"usedLimit": "2500", "clientLimit": "100000", "startLimitDate": 1_768_659_501,
                      "unreflected": "1181", "headroom": "96319"},
            "funds": {"amount": "50000", "held": "1250", "available": "48750", "currency": "EUR", "version": 3},
            "fiat": [{"currency": "EUR", "amount": "100", "held": "0", "available": "100", "allowance": false}],
            "funding": null,
            "cards": [{"cardId": "card_9", "status": "frozen", "currency": "EUR", "controls": null}],
            "controls": null,
            "holds": [{"authorizationId": "a\u{1b}1", "rootId": "a1", "source": "CRYPTO",
                       "held": {"amount": "1250", "currency": "EUR"}, "funds": "1250"}],
        }))
        .unwrap();
        let expected = "\
user 12345
  status   live
  funding  as configured

Limit
  headroom      963.19 CHF
  client limit  1000.00 CHF in 30 days
  used          25.00 CHF as UR says; its period ends 2026-02-16 14:18:21 UTC
  unreflected   11.81 CHF approved here, not yet in UR's figure

Funds
  available  487.50 EUR
  given      500.00 EUR (version 3)
  held       12.50 EUR

Fiat balances
  CURRENCY  AVAILABLE  BALANCE  HELD  ALLOWANCE
  EUR            1.00     1.00  0.00  missing

Cards
  CARD    STATUS  CURRENCY  CONTROLS
  card_9  frozen  EUR

Controls
  none

Open holds
  AUTHORIZATION  ROOT  SOURCE       HELD  OF THE FUNDS
  a\\u{1b}1       a1    CRYPTO  12.50 EUR     12.50 EUR
";
        assert_eq!(user.view(Screen::plain(), 1_768_659_502), expected);
        let [ur_id, status] = ["12345", "live"].map(Text::of);
        let (external_id, label) = (Some(Text::of("c-7")), Some(Text::of("Ann\u{202e}")));
        let named = User { ur_id, external_id, label, status, ..User::default() }.view(Screen::plain(), 0);
        let names = "user 12345\n  external id  c-7\n  label        Ann\\u{202e}\n  status       live\n";
        assert!(named.starts_with(names), "{named}");
        let later = user.view(Screen::plain(), 1_768_659_501 + LIMIT_PERIOD_SECONDS + 1);
        assert!(later.contains("its period ended 2026-02-16 14:18:21 UTC, so it counts no more"), "{later}");
    }
}
