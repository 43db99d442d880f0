//! `tapgate sweep --dry-run`: the changes that a sweep would make.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tapgate_engine::fact::{Evidence, Fact, Record, Settled};
use tapgate_engine::ids::UrId;
use tapgate_engine::money::Minor;

use super::config;
use crate::cli::Failed;
use crate::cli::on_runtime;
use crate::cli::print;
use crate::cli::ui::screen::{Screen, clean};
use crate::cli::ui::table::{left, right, table};
use crate::config::Config;
use crate::provider::reconciliation::dry_run::{DryRun, Given, dry_run};
use crate::wire::admin::journal::entry;

#[derive(Debug, Args)]
pub(in crate::cli) struct Sweep {
    /// The configuration of the server whose data directory and UR it is about. The server may go on serving.
    #[arg(long)]
    config: PathBuf,
    /// Only shows what would change. The server sweeps by itself; nothing else is done from here.
    #[arg(long, required = true)]
    dry_run: bool,
    /// Only these accounts, by their urId; else all of which UR has something to show yet.
    #[arg(long = "user", value_name = "UR_ID")]
    users: Vec<UrId>,
    /// The records it would write, one JSON object a line, for programs.
    #[arg(long)]
    json: bool,
}

impl Sweep {
    pub(in crate::cli) fn run(&self) -> Result<(), Failed> {
        let Config { data_dir, policy, api, reconciliation, .. } = config::load(&self.config)?;
        let given = Given { data_dir, policy, api, settings: reconciliation };
        let bar = ProgressBar::new(0);
        bar.set_style(ProgressStyle::with_template("asking UR {bar:32} {pos}/{len}, {eta} left")?);
        let progress = |done: usize, of: usize| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        };
        let found = on_runtime("warn", dry_run(given, self.users.clone(), progress))?;
        bar.finish_and_clear();
        let text = if self.json { lines(&found) } else { report(&found, Screen::of_stdout()) };
        print(&text)?;
        match found.failed.first() {
            None => Ok(()),
            Some((user, error)) => Err(Failed(format!(
                "{} of {} accounts could not be swept to the end; the first is {user}: {error}",
                found.failed.len(),
                found.accounts
            ))),
        }
    }
}

fn lines(found: &DryRun) -> String {
    found.records.iter().map(|(sequence, record)| format!("{}\n", entry(*sequence, record))).collect()
}

fn report(found: &DryRun, screen: Screen) -> String {
    let summary = format!("{} accounts swept, {} transactions shown, ", found.accounts, found.shown);
    if found.records.is_empty() {
        return format!("{summary}nothing would change\n");
    }
    let header = ["ACCOUNT", "AUTHORIZATION", "WOULD BE", "AMOUNT", "THEN", "BREAK", "OURS", "THEIRS"];
    let rows = found.records.iter().flat_map(|(_, record)| rows(record));
    let rows: Vec<_> = rows.map(|row| row.map(|cell| clean(&cell))).collect();
    let cells = rows.into_iter().map(|[user, root, done, amount, state, kind, ours, theirs]| {
        vec![
            left(&user),
            left(&root),
            left(&done),
            right(&amount),
            left(&state),
            left(&kind),
            right(&ours),
            right(&theirs),
        ]
    });
    let shown = table(screen, &header, cells.collect());
    format!("{shown}\n{summary}{} records would be written\n", found.records.len())
}

/// New evidence in words.
fn settled_row(settled: &Settled) -> [String; 5] {
    let (user, amount) = match &settled.evidence {
        Evidence::Shown(shown) => {
            let money = shown.posting.amount;
            (Some(&shown.posting.user), format!("{} {}", money.amount, money.currency))
        }
        _ => {
            let held: Minor = settled.change.layers.iter().map(|layer| layer.held).sum();
            (settled.user.as_ref(), format!("{} {}", -held, settled.change.currency))
        }
    };
    [
        user.map(ToString::to_string).unwrap_or_default(),
        settled.root.to_string(),
        settled.change.effect.name().to_owned(),
        amount,
        settled.change.state.name().to_owned(),
    ]
}

/// A record in words, with another line for each further break.
fn rows(record: &Record) -> Vec<[String; 8]> {
    let (mut row, breaks) = match &record.fact {
        Fact::Settled(settled) => (settled_row(settled), settled.change.opened.as_slice()),
        Fact::BreakOpened(found) => (std::array::from_fn(|_| String::new()), std::slice::from_ref(&**found)),
        _ => return Vec::new(),
    };
    if breaks.is_empty() {
        let [user, root, done, amount, state] = row;
        return vec![[user, root, done, amount, state, String::new(), String::new(), String::new()]];
    }
    let with = |found: &tapgate_engine::fact::Discrepancy| {
        let [user, root, done, amount, state] = std::mem::take(&mut row);
        let root = if root.is_empty() { found.subject.to_string() } else { root };
        let kind = format!("{} ({})", found.kind.name(), found.field);
        [user, root, done, amount, state, kind, found.ours.to_string(), found.theirs.to_string()]
    };
    breaks.iter().map(with).collect()
}
