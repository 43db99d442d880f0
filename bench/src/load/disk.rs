//! What a spend with its clearing leaves on the disk, by table, once everything is compacted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tapgate_bench::{Requests, drain, ledger, spend_and_clear, write_all_rows};
use tapgate_engine::fact::Controls;
use tapgate_engine::store::Store;
use tapgate_engine::store::rocks::{Rocks, SyncMode};

use super::{Failed, print};

/// What the target counts apart: what finds and proves records, and what readers of the journal note.
const APART: [&str; 4] = ["ids", "tiles", "cursors", "meta"];

/// Fill a store with spends and their clearings, compact it, and divide what it grew by.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Users, each with one card.
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// Spends, each with its clearing.
    #[arg(long, default_value_t = 500_000)]
    spends: u64,
    /// A directory on the disk; what is written there is removed.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Results as JSON.
    #[arg(long)]
    json: bool,
}

/// Bytes for each spend with its clearing.
#[derive(Debug, Serialize)]
struct Disk {
    spends: u64,
    per_spend: f64,
    tables: BTreeMap<String, f64>,
    /// The tables that `per_spend` adds up.
    counted: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let directory = tempfile::tempdir_in(&options.dir)?;
    let store = Arc::new(Rocks::open(directory.path(), SyncMode::Os)?);
    let ledger = ledger(Arc::clone(&store) as Arc<dyn Store>, options.users, Controls::default());
    write_all_rows(&ledger);
    let before = store.compacted_bytes()?;
    let mut requests = Requests::new(options.users, 0);
    spend_and_clear(&ledger, &mut requests, options.spends, |_| {});
    drain(&ledger);
    write_all_rows(&ledger);
    Disk::of(options.spends, &before, &store.compacted_bytes()?).tell(options.json)
}

impl Disk {
    fn of(spends: u64, before: &[(String, u64)], after: &[(String, u64)]) -> Disk {
        let before: BTreeMap<_, _> = before.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
        #[expect(clippy::cast_precision_loss, reason = "sizes of files")]
        let each =
            |name: &str, bytes: u64| (bytes as f64 - before.get(name).copied().unwrap_or(0) as f64) / spends as f64;
        let tables: BTreeMap<_, _> = after.iter().map(|(name, bytes)| (name.clone(), each(name, *bytes))).collect();
        let counted: Vec<_> = tables.keys().filter(|name| !APART.contains(&name.as_str())).cloned().collect();
        let per_spend = counted.iter().filter_map(|name| tables.get(name)).sum();
        Disk { spends, per_spend, tables, counted }
    }

    fn tell(&self, as_json: bool) -> Result<(), Failed> {
        if as_json {
            return print(&format!("{}\n", serde_json::to_string(self)?));
        }
        let Disk { spends, per_spend, tables, .. } = self;
        let tables: Vec<_> = tables.iter().map(|(name, bytes)| format!("{name}: {bytes:.1}\n")).collect();
        print(&format!("{spends} spends with their clearings: {per_spend:.0} bytes each\n{}", tables.concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_and_proves_records_is_counted_apart() {
        let sizes = |sizes: &[(&str, u64)]| -> Vec<_> {
            sizes.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect()
        };
        let before = sizes(&[("journal", 1_000), ("users", 500)]);
        let disk = Disk::of(10, &before, &sizes(&[("journal", 3_000), ("users", 600), ("ids", 400), ("tiles", 300)]));
        assert_eq!((disk.per_spend, disk.counted), (210.0, vec!["journal".to_owned(), "users".to_owned()]));
        assert_eq!(disk.tables.get("ids"), Some(&40.0));
    }
}
