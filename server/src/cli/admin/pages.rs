//! Lists that the admin API gives page by page, newest first.

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::api::Api;
use crate::cli::ui::screen::{Screen, Text};
use crate::cli::ui::table::{TableCell, table};

/// A list, and the commands over what it holds; without a command, the list.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Listed<L: Args, C: Subcommand> {
    #[command(flatten)]
    pub(super) api: Api,
    #[command(flatten)]
    pub(super) list: L,
    #[command(subcommand)]
    pub(super) command: Option<C>,
}

/// Which page, and how much of it.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// How many at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Where an earlier list went on: its `next`.
    #[arg(long)]
    cursor: Option<String>,
}

impl ListArgs {
    /// The query of the page, with the filters that are given.
    pub(super) fn query<const N: usize>(
        &self,
        filters: [(&'static str, Option<String>); N],
    ) -> Vec<(&'static str, String)> {
        let page = [("limit", self.limit.map(|limit| limit.to_string())), ("cursor", self.cursor.clone())];
        filters.into_iter().chain(page).filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    #[serde(default)]
    items: Vec<T>,
    #[serde(default)]
    next: Option<Text>,
}

impl<T> Page<T> {
    /// The page as a table with the cursor of the next one; `none` where it is empty.
    pub(super) fn table(
        &self,
        screen: Screen,
        none: &str,
        header: &[&str],
        row: impl Fn(&T) -> Vec<TableCell>,
    ) -> String {
        if self.items.is_empty() {
            return format!("{none}\n");
        }
        let mut shown = table(screen, header, self.items.iter().map(row).collect());
        if let Some(next) = &self.next {
            shown.push_str(&screen.faint(&format!("there are more: --cursor {next}\n")));
        }
        shown
    }
}

/// A step of a listed item's way: its author and the reason given.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) at: i64,
    pub(super) by: Text,
    pub(super) reason: Option<Text>,
}
