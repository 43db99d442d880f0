//! `tapgate alerts`.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use tapgate_engine::fact::{AlertKind, Severity};

use super::client::{ApiCall, Client};
use super::pages::{ListArgs, Listed, Page, Step};
use crate::cli::Failed;
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{fields, left, right};
use crate::cli::ui::when::{self, When};

pub(in crate::cli) type Alerts = Listed<List, Command>;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// List alerts, newest first; the open ones, unless told otherwise.
    List(List),
    /// Show one alert, open or over.
    Show {
        /// Its id, such as 1200.
        id: String,
    },
    /// Take an alert on: it is not told again, unless it becomes worse.
    Acknowledge {
        /// Its id, such as 1200.
        id: String,
        /// What is done about it, for the journal.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Have an alert told no more for a while, unless it becomes worse.
    Silence {
        /// Its id, such as 1200.
        id: String,
        /// For so long, such as 30m, 2h or 7d, or until a time: 2026-11-21T08:48Z, or unix seconds.
        #[arg(long = "for", visible_alias = "until", value_name = "TIME", value_parser = When::parse)]
        silence: When,
    },
}

/// Filters of the list; all must hold.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only those that stand so.
    #[arg(long, value_parser = ["open", "resolved", "all"])]
    state: Option<String>,
    /// Only those of one kind.
    #[arg(long, value_parser = kinds())]
    kind: Option<String>,
    /// Only those about one thing, such as a pool's currency.
    #[arg(long)]
    subject: Option<String>,
    #[command(flatten)]
    page: ListArgs,
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(AlertKind::ALL.iter().map(|kind| kind.name()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Alert {
    id: Text,
    kind: Text,
    subject: Text,
    severity: Text,
    title: Text,
    text: Text,
    facts: Vec<Fact>,
    state: Text,
    raised_at: i64,
    last_notified_at: i64,
    notified: u32,
    acknowledged: Option<Step>,
    silenced_until: Option<i64>,
    resolved: Option<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fact {
    name: Text,
    value: Text,
}

impl Alerts {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let answer = match &self.command {
            None => return self.show_list(&client, &self.list),
            Some(Command::List(list)) => return self.show_list(&client, list),
            Some(Command::Show { id }) => client.send(ApiCall::get(&["alerts", id], &[])),
            Some(Command::Acknowledge { id, reason }) => {
                let body = json!({"reason": reason}).to_string();
                client.send(ApiCall::post(&["alerts", id, "acknowledge"], body))
            }
            Some(Command::Silence { id, silence }) => {
                let body = match silence {
                    When::At(at) => json!({"until": at}),
                    When::Ago(seconds) => json!({"seconds": seconds}),
                };
                client.send(ApiCall::post(&["alerts", id, "silence"], body.to_string()))
            }
        };
        self.api.show(&answer?, one)
    }

    fn show_list(&self, client: &Client, list: &List) -> Result<(), Failed> {
        let answer = client.send(ApiCall::get(&["alerts"], &list.query()))?;
        self.api.show(&answer, rows)
    }
}

impl List {
    fn query(&self) -> Vec<(&'static str, String)> {
        self.page.query([("state", self.state.clone()), ("kind", self.kind.clone()), ("subject", self.subject.clone())])
    }
}

fn rows(page: &Page<Alert>, screen: Screen) -> String {
    let row = |alert: &Alert| {
        vec![
            left(&alert.id),
            left(&alert.severity),
            left(&alert.kind),
            left(&alert.subject),
            left(&notification_status(alert)),
            left(&when::utc(alert.raised_at)),
            right(&alert.notified),
            left(&alert.title),
        ]
    };
    let header = ["ID", "SEVERITY", "KIND", "SUBJECT", "STATE", "RAISED", "TOLD", "TITLE"];
    page.table(screen, "no such alerts", &header, row)
}

/// Whether the alert still notifies.
fn notification_status(alert: &Alert) -> String {
    let silenced = alert.silenced_until.filter(|until| *until > when::now());
    if alert.resolved.is_some() {
        "resolved".to_owned()
    } else if alert.acknowledged.is_some() {
        "acknowledged".to_owned()
    } else if silenced.is_some() {
        "silenced".to_owned()
    } else {
        alert.state.to_string()
    }
}

fn one(alert: &Alert, screen: Screen) -> String {
    let mut named: Vec<(&str, String)> =
        alert.facts.iter().map(|fact| (fact.name.as_str(), fact.value.to_string())).collect();
    named.push(("raised", when::utc(alert.raised_at)));
    named.push(("told", format!("{} times, last {}", alert.notified, when::utc(alert.last_notified_at))));
    if let Some(Step { at, by, reason }) = &alert.acknowledged {
        let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        named.push(("acknowledged", format!("by {by}, {}{why}", when::utc(*at))));
    }
    if let Some(until) = alert.silenced_until {
        named.push(("silenced until", when::utc(until)));
    }
    if let Some(Step { at, by, .. }) = &alert.resolved {
        named.push(("resolved", format!("by {by}, {}", when::utc(*at))));
    }
    let is_calm = alert.resolved.is_some() || alert.severity.as_str() == Severity::Notice.name();
    let state = format!("{} {}", alert.severity, notification_status(alert));
    let state = if is_calm { screen.good(&state) } else { screen.bad(&state) };
    let title = screen.strong(alert.title.as_str());
    let (kind, subject) = (&alert.kind, &alert.subject);
    format!("alert {} {kind} {subject} {state}\n  {title}\n  {}\n{}", alert.id, alert.text, fields(&named))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERT: &str = r#"{"id":"1200","kind":"pool_low","subject":"EUR","severity":"urgent",
        "title":"The EUR pool runs low","text":"Send 12000.00 EUR today.",
        "facts":[{"name":"available","value":"90000 EUR"}],"state":"open","raisedAt":1768659501,
        "lastNotifiedAt":1768659561,"notified":2,"acknowledged":{"at":1768659600,"by":"ops","reason":"on it"},
        "silencedUntil":null,"resolved":null}"#;

    #[test]
    fn an_alert_reads_as_people_need_it() {
        let alert: Alert = serde_json::from_str(ALERT).unwrap();
        let expected = "\
alert 1200 pool_low EUR urgent acknowledged
  The EUR pool runs low
  Send 12000.00 EUR today.
  available     90000 EUR
  raised        2026-01-17 14:18:21 UTC
  told          2 times, last 2026-01-17 14:19:21 UTC
  acknowledged  by ops, 2026-01-17 14:20:00 UTC: on it
";
        assert_eq!(one(&alert, Screen::plain()), expected);
    }

    #[test]
    fn a_list_says_where_it_goes_on() {
        let page: Page<Alert> = serde_json::from_str(&format!(r#"{{"items":[{ALERT}],"next":"1200"}}"#)).unwrap();
        let shown = rows(&page, Screen::plain());
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        let words: Vec<_> = lines[1].split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        let expected = [
            "1200",
            "urgent",
            "pool_low",
            "EUR",
            "acknowledged",
            "2026-01-17 14:18:21 UTC",
            "2",
            "The EUR pool runs low",
        ];
        assert_eq!(words, expected);
        assert_eq!(lines[2], "there are more: --cursor 1200");
    }
}
