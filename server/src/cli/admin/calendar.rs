//! `tapgate calendar`: credit times and closures.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::api::Api;
use super::client::ApiCall;
use crate::cli::Failed;
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{fields, left, right, table};
use crate::cli::ui::when;

#[derive(Debug, Args)]
pub(in crate::cli) struct Calendar {
    #[command(flatten)]
    api: Api,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say that nothing is credited on a day, or on several.
    Close {
        /// The first day, such as 2026-12-24.
        from: String,
        /// The last one, where there are several.
        #[arg(long, value_name = "DAY")]
        through: Option<String>,
        /// Why, for everybody who reads a forecast.
        #[arg(long)]
        reason: String,
    },
    /// Take a closure back.
    Open {
        /// Its id, such as 1200.
        id: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Shown {
    time_zone: Text,
    cut_off: Text,
    lead_hours: u32,
    closed_days: Vec<ClosedDay>,
    closures: Vec<Closure>,
    cut_offs: Vec<CutOff>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClosedDay {
    day: Text,
    name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Closure {
    id: Text,
    from: Text,
    through: Text,
    reason: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CutOff {
    cut_off: i64,
    credited_at: i64,
    why: Text,
}

impl Calendar {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let answer = match &self.command {
            None => client.send(ApiCall::get(&["calendar"], &[])),
            Some(Command::Close { from, through, reason }) => {
                let body = json!({"from": from, "through": through, "reason": reason}).to_string();
                client.send(ApiCall::post(&["calendar"], body))
            }
            Some(Command::Open { id }) => client.send(ApiCall::delete(&["calendar", id])),
        };
        self.api.show(&answer?, shown)
    }
}

fn shown(calendar: &Shown, screen: Screen) -> String {
    let mut text = fields(&[
        ("cut-off", format!("{} {}", calendar.cut_off, calendar.time_zone)),
        ("credited after", format!("{} h of working days", calendar.lead_hours)),
    ]);
    let mut section = |header: &[&str], rows: Vec<_>| {
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&table(screen, header, rows));
        }
    };
    let cut_off =
        |next: &CutOff| vec![left(&when::utc(next.cut_off)), left(&when::utc(next.credited_at)), left(&next.why)];
    section(&["NEXT CUT-OFFS", "CREDITED", "WHY"], calendar.cut_offs.iter().map(cut_off).collect());
    let closure = |closure: &Closure| {
        vec![right(&closure.id), left(&closure.from), left(&closure.through), left(&closure.reason)]
    };
    section(&["CLOSURE", "FROM", "THROUGH", "REASON"], calendar.closures.iter().map(closure).collect());
    let day = |closed: &ClosedDay| vec![left(&closed.day), left(&closed.name)];
    section(&["CLOSED", "NAME"], calendar.closed_days.iter().map(day).collect());
    text
}
