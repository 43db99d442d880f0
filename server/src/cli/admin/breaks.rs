//! `tapgate breaks`: differences between our books and UR's.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::api::Api;
use super::client::ApiCall;
use crate::cli::Failed;
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{fields, left, right, table};

#[derive(Debug, Args)]
pub(in crate::cli) struct Breaks {
    #[command(flatten)]
    api: Api,
    /// Only those of one kind, such as `stand_in`.
    #[arg(long)]
    kind: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show one break, open or resolved.
    Show {
        /// Its id, such as 1200-0.
        id: String,
    },
    /// Say what explains a break.
    Resolve {
        /// Its id, such as 1200-0.
        id: String,
        /// What explains it, for the journal.
        #[arg(long)]
        reason: String,
        /// For a return_missing break: whether the return will come, or is written off. For an orphan_at_provider break:
        /// the user is charged.
        #[arg(long, value_parser = ["will_come", "written_off", "charged"])]
        outcome: Option<String>,
    },
    /// Link a transaction without an authorization with the one that it belongs to.
    Link {
        /// The break's id, such as 1200-0.
        id: String,
        /// The authorization.
        authorization: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct List {
    items: Vec<Break>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Break {
    id: Text,
    kind: Text,
    subject: Text,
    field: Text,
    ours: Text,
    theirs: Text,
    age: Text,
    state: Text,
    resolution: Option<Resolution>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resolution {
    by: Text,
    reason: Text,
    outcome: Option<Text>,
}

impl Breaks {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        match &self.command {
            None => {
                let kind: Vec<_> = self.kind.iter().map(|kind| ("kind", kind.clone())).collect();
                let answer = client.send(ApiCall::get(&["breaks"], &kind))?;
                self.api.show(&answer, |list: &List, screen| rows(&list.items, screen))
            }
            Some(Command::Show { id }) => self.api.show(&client.send(ApiCall::get(&["breaks", id], &[]))?, one),
            Some(Command::Link { id, authorization }) => {
                let body = json!({"authorizationId": authorization}).to_string();
                self.api.show(&client.send(ApiCall::post(&["breaks", id, "link"], body))?, one)
            }
            Some(Command::Resolve { id, reason, outcome }) => {
                let mut body = serde_json::Map::from_iter([("reason".to_owned(), json!(reason))]);
                if let Some(outcome) = outcome {
                    body.insert("outcome".to_owned(), json!(outcome));
                }
                let body = serde_json::Value::from(body).to_string();
                self.api.show(&client.send(ApiCall::post(&["breaks", id, "resolve"], body))?, one)
            }
        }
    }
}

fn rows(breaks: &[Break], screen: Screen) -> String {
    if breaks.is_empty() {
        return "no open breaks\n".to_owned();
    }
    let row = |found: &Break| {
        vec![
            left(&found.id),
            left(&found.kind),
            left(&found.subject),
            left(&found.field),
            right(&found.ours),
            right(&found.theirs),
            right(&found.age),
        ]
    };
    let header = ["ID", "KIND", "SUBJECT", "FIELD", "OURS", "THEIRS", "DAYS"];
    table(screen, &header, breaks.iter().map(row).collect())
}

fn one(found: &Break, screen: Screen) -> String {
    let mut named = vec![
        ("subject", found.subject.to_string()),
        ("field", found.field.to_string()),
        ("ours", found.ours.to_string()),
        ("theirs", found.theirs.to_string()),
        ("age", format!("{} days", found.age)),
    ];
    if let Some(Resolution { by, reason, outcome }) = &found.resolution {
        named.push(("resolved by", by.to_string()));
        named.extend(outcome.as_ref().map(|outcome| ("outcome", outcome.to_string())));
        named.push(("reason", reason.to_string()));
    }
    let state = found.state.to_string();
    let state = if state == "open" { screen.bad(&state) } else { screen.good(&state) };
    format!("break {} {} {state}\n{}", found.id, found.kind, fields(&named))
}
