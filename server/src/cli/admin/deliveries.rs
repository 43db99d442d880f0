//! `tapgate deliveries`: delivery receivers.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::api::Api;
use super::client::{ApiCall, Client};
use crate::cli::Failed;
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{fields, left, right, table};
use crate::cli::ui::when;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Deliveries {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the receivers, as configured, and how they do.
    List,
    /// Show one receiver.
    Show {
        /// Its name.
        name: String,
    },
    /// Have everything attempted again at once, from where it stopped; a parked receiver needs it.
    Resume {
        /// The receiver's name.
        name: String,
    },
    /// Send everything from a record on again, with the same ids.
    Replay {
        /// The receiver's name.
        name: String,
        /// The record's number in the journal.
        #[arg(long, value_name = "SEQUENCE")]
        from: u64,
    },
    /// Give one message up that a receiver rejects, so that what waits behind it goes on.
    Skip {
        /// The receiver's name.
        name: String,
        /// The message that is rejected, such as msg_1200_0; `show` names it.
        message_id: String,
        /// Why, for the journal.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    items: Vec<Delivery>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Delivery {
    name: Text,
    kind: Text,
    url: Text,
    state: Text,
    since: Option<i64>,
    reason: Option<Text>,
    through: u64,
    lag_records: u64,
    lag_seconds: i64,
    oldest: Option<Oldest>,
    rejected: Option<Rejected>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rejected {
    message_id: Text,
    kind: Text,
    since: i64,
    reason: Text,
    others_pass: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Oldest {
    sequence: u64,
    at: i64,
}

impl Deliveries {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let answer = match &self.command {
            None | Some(Command::List) => return self.show_list(&client),
            Some(Command::Show { name }) => client.send(ApiCall::get(&["deliveries", name], &[])),
            Some(Command::Resume { name }) => client.send(ApiCall::post(&["deliveries", name, "resume"], "{}")),
            Some(Command::Replay { name, from }) => {
                client.send(ApiCall::post(&["deliveries", name, "replay"], json!({"from": from}).to_string()))
            }
            Some(Command::Skip { name, message_id, reason }) => {
                let body = json!({"messageId": message_id, "reason": reason}).to_string();
                client.send(ApiCall::post(&["deliveries", name, "skip"], body))
            }
        };
        self.api.show(&answer?, one)
    }

    fn show_list(&self, client: &Client) -> Result<(), Failed> {
        self.api.show(&client.send(ApiCall::get(&["deliveries"], &[]))?, rows)
    }
}

fn rows(page: &Page, screen: Screen) -> String {
    if page.items.is_empty() {
        return "no receivers are configured\n".to_owned();
    }
    let row = |delivery: &Delivery| {
        vec![
            left(&delivery.name),
            left(&delivery.kind),
            left(&delivery.state),
            right(&delivery.through),
            right(&delivery.lag_records),
            right(&when::duration(delivery.lag_seconds)),
            left(&delivery.url),
        ]
    };
    let header = ["NAME", "KIND", "STATE", "THROUGH", "BEHIND", "LATE", "URL"];
    table(screen, &header, page.items.iter().map(row).collect())
}

fn one(delivery: &Delivery, screen: Screen) -> String {
    let mut named = vec![
        ("url", delivery.url.to_string()),
        ("through", format!("record {}, {} behind", delivery.through, delivery.lag_records)),
    ];
    if let Some(Oldest { sequence, at }) = &delivery.oldest {
        let late = when::duration(delivery.lag_seconds);
        named.push(("oldest", format!("record {sequence} of {}, {late} late", when::utc(*at))));
    }
    named.extend(delivery.since.map(|since| ("since", when::utc(since))));
    named.extend(delivery.reason.as_ref().map(|reason| ("reason", reason.to_string())));
    if let Some(Rejected { message_id, kind, since, reason, others_pass }) = &delivery.rejected {
        let others = if *others_pass { ", others pass" } else { "" };
        named.push(("rejects", format!("{message_id} ({kind}) since {}{others}: {reason}", when::utc(*since))));
    }
    let state = delivery.state.as_str();
    let state = if state == "delivering" { screen.good(state) } else { screen.bad(state) };
    format!("{} {} {state}\n{}", delivery.kind, delivery.name, fields(&named))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: &str = r#"{"name":"core","kind":"webhook","url":"https://core.example.org","state":"parked",
        "since":1768659501,"reason":"HTTP 410 Gone","through":90,"lagRecords":10,"lagSeconds":61,
        "oldest":{"sequence":91,"at":1768659440},
        "rejected":{"messageId":"msg_91_1","kind":"debit.requested","since":1768659451,"reason":"HTTP 422","othersPass":true}}"#;

    #[test]
    fn a_receiver_reads_as_people_need_it() {
        let delivery: Delivery = serde_json::from_str(DELIVERY).unwrap();
        let expected = "\
webhook core parked
  url      https://core.example.org
  through  record 90, 10 behind
  oldest   record 91 of 2026-01-17 14:17:20 UTC, 1 min 1 s late
  since    2026-01-17 14:18:21 UTC
  reason   HTTP 410 Gone
  rejects  msg_91_1 (debit.requested) since 2026-01-17 14:17:31 UTC, others pass: HTTP 422
";
        assert_eq!(one(&delivery, Screen::plain()), expected);
    }

    #[test]
    fn receivers_are_a_table() {
        let page: Page = serde_json::from_str(&format!(r#"{{"items":[{DELIVERY}],"next":null}}"#)).unwrap();
        let shown = rows(&page, Screen::plain());
        let words: Vec<_> = shown.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(words[..5], ["core", "webhook", "parked", "90", "10"]);
        assert_eq!(rows(&Page::default(), Screen::plain()), "no receivers are configured\n");
    }
}
