//! `tapgate authorizations` and `tapgate explain`.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tapgate_engine::fact::{AuthorizationState, Reason};
use tapgate_engine::ids::{AuthorizationId, CardId, UrId};

use super::api::Api;
use super::client::{ApiCall, Client};
use super::decision::Decision;
use super::explain;
use crate::cli::Failed;
use crate::cli::print;
use crate::cli::ui::screen::{Screen, clean_json};
use crate::cli::ui::table::{left, right, table};
use crate::cli::ui::when::{self, When};

/// The admin API's bound for a page.
const PAGE_ITEMS_MAX: usize = 1_000;
/// The interval of redraws of the live line.
const TICK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Authorizations {
    #[command(flatten)]
    api: Api,
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show one authorization with everything that happened to it.
    Show { authorization_id: AuthorizationId },
    /// Give back what an authorization still holds.
    Release {
        authorization_id: AuthorizationId,
        /// Why, for the journal.
        #[arg(long)]
        reason: String,
    },
}

/// Filters of the list; all must hold. Newest first.
#[derive(Debug, Args)]
struct List {
    /// Only this user's.
    #[arg(long, value_name = "UR_ID")]
    user: Option<UrId>,
    /// Only this card's.
    #[arg(long, value_name = "CARD_ID")]
    card: Option<CardId>,
    /// Only those that stand so now.
    #[arg(long, value_parser = states())]
    state: Option<String>,
    /// Only those declined for this reason.
    #[arg(long, value_parser = reason)]
    reason: Option<Reason>,
    /// Not before this time: 2026-11-21, 2026-11-21T08:48:17Z, an age such as 2h or 7d, or unix seconds.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    from: Option<When>,
    /// Not after this time.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    to: Option<When>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = limit)]
    limit: usize,
    /// Where an earlier list went on: its `next`.
    #[arg(long)]
    cursor: Option<String>,
}

fn states() -> PossibleValuesParser {
    PossibleValuesParser::new(AuthorizationState::ALL.iter().map(|state| state.name()))
}

fn reason(name: &str) -> Result<Reason, String> {
    let known = Reason::ALL.iter().find(|reason| reason.name() == name).copied();
    known.ok_or_else(|| {
        let names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        format!("the reasons are {}", names.join(", "))
    })
}

fn limit(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| "a whole number above 0 is needed".to_owned())
}

/// A page of the API's list, or several joined in the same form, with unchanged items.
#[derive(Debug, Deserialize, Serialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl Authorizations {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let answer = match &self.command {
            None => return self.show_list(&self.list.collect(&client)?),
            Some(Command::Show { authorization_id }) => {
                client.send(ApiCall::get(&["authorizations", authorization_id.as_str()], &[]))
            }
            Some(Command::Release { authorization_id, reason }) => {
                let path = ["authorizations", authorization_id.as_str(), "release"];
                client.send(ApiCall::post(&path, json!({"reason": reason}).to_string()))
            }
        };
        self.api.show(&answer?, Decision::view)
    }

    fn show_list(&self, page: &Page) -> Result<(), Failed> {
        if self.api.json() {
            return print(&format!("{}\n", clean_json(&serde_json::to_string(page)?)));
        }
        let decisions: Result<Vec<Decision>, _> =
            page.items.iter().map(|item| serde_json::from_str(item.get())).collect();
        print(&rows(&decisions?, Screen::of_stdout()))?;
        if let Some(next) = &page.next {
            crate::cli::note(&format!(
                "there are more: --limit {} or --cursor {next}",
                self.list.limit.saturating_mul(2)
            ));
        }
        Ok(())
    }
}

impl List {
    /// Reads pages until there are enough items, or no more.
    fn collect(&self, client: &Client) -> Result<Page, Failed> {
        let mut joined = Page { items: Vec::new(), next: self.cursor.clone() };
        let live = ProgressBar::new_spinner();
        loop {
            let query = self.query(self.limit - joined.items.len(), joined.next.as_deref());
            let page: Page = client.send(ApiCall::get(&["authorizations"], &query))?.read()?;
            joined.items.extend(page.items);
            joined.next = page.next;
            if joined.next.is_none() || joined.items.len() >= self.limit {
                live.finish_and_clear();
                return Ok(joined);
            }
            // The first page is too quick to need a live line.
            if !live.is_hidden() {
                live.enable_steady_tick(TICK);
            }
            let place = joined.next.as_deref().map(crate::cli::ui::screen::clean).unwrap_or_default();
            live.set_message(format!("{} found, looking before record {place}", joined.items.len()));
        }
    }

    fn query(&self, items: usize, cursor: Option<&str>) -> Vec<(&'static str, String)> {
        let now = when::now();
        let at = |time: &Option<When>| time.map(|time| time.resolve(now).to_string());
        let named = [
            ("urId", self.user.as_ref().map(ToString::to_string)),
            ("cardId", self.card.as_ref().map(ToString::to_string)),
            ("state", self.state.clone()),
            ("reason", self.reason.map(|reason| reason.name().to_owned())),
            ("from", at(&self.from)),
            ("to", at(&self.to)),
            ("limit", Some(items.min(PAGE_ITEMS_MAX).to_string())),
            ("cursor", cursor.map(str::to_owned)),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn rows(decisions: &[Decision], screen: Screen) -> String {
    if decisions.is_empty() {
        return "there are no such authorizations\n".to_owned();
    }
    let header = ["AT", "AUTHORIZATION", "USER", "CARD", "TYPE", "ASKED", "STATE", "REASON OR SOURCE", "HELD"];
    let rows = decisions.iter().map(|decision| {
        let why = decision.reason.as_ref().or(decision.source.as_ref());
        vec![
            left(&decision.at.map_or("-".to_owned(), when::utc)),
            left(&decision.authorization_id),
            left(&or_dash(decision.ur_id.as_ref())),
            left(&or_dash(decision.card_id.as_ref())),
            left(&decision.kind),
            right(&or_dash(decision.requested.as_ref())),
            left(&decision.state),
            left(&or_dash(why)),
            right(&or_dash(decision.held.as_ref())),
        ]
    });
    table(screen, &header, rows.collect())
}

fn or_dash(value: Option<&impl ToString>) -> String {
    value.map_or("-".to_owned(), ToString::to_string)
}

/// `tapgate explain`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Explain {
    #[command(flatten)]
    api: Api,
    /// The authorization or increment to explain.
    authorization_id: AuthorizationId,
}

impl Explain {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let client = self.api.open()?;
        let answer = client.send(ApiCall::get(&["authorizations", self.authorization_id.as_str()], &[]))?;
        self.api.show(&answer, explain::view)
    }
}
