//! What an id takes of memory once its hold has ended: the process's resident size before and after.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tapgate_bench::{Requests, drain, ledger, spend_and_clear, write_all_rows};
use tapgate_engine::fact::Controls;
use tapgate_engine::store::Store;
use tapgate_engine::store::rocks::{Rocks, SyncMode};

use super::memory::rested;
use super::{Failed, print};

/// Have ids answered, cleared and written to rows, and divide what the process grew by.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Ids that are counted.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    ids: u64,
    /// Ids before them: the store's caches and tables are there then.
    #[arg(long, default_value_t = 1_000_000)]
    before: u64,
    /// Ids after which rows are written and memory is left: what a round takes for a while is there before, too.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    round: u64,
    /// Few users, so that what is counted is ids; their spends are counted, too.
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// A directory for their rows; what is written there is removed.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Results as JSON.
    #[arg(long)]
    json: bool,
}

/// Bytes, by division of resident sizes.
#[derive(Debug, Serialize)]
struct Ended {
    ids: u64,
    per_ended_id: i64,
}

/// Resident bytes while the store has nothing in its buffers, which hold tens of megabytes or nothing as it happens.
fn at_rest(store: &Rocks) -> Result<i64, Failed> {
    store.compacted_bytes()?;
    rested()
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let directory = tempfile::tempdir_in(&options.dir)?;
    let store = Arc::new(Rocks::open(directory.path(), SyncMode::Os)?);
    let ledger = ledger(Arc::clone(&store) as Arc<dyn Store>, options.users, Controls::default());
    let mut requests = Requests::new(options.users, 0);
    let mut end = |count: u64| -> Result<(), Failed> {
        for first in (0..count).step_by(usize::try_from(options.round)?) {
            spend_and_clear(&ledger, &mut requests, options.round.min(count - first));
            drain(&ledger);
            write_all_rows(&ledger);
        }
        Ok(())
    };
    end(options.before)?;
    let before = at_rest(&store)?;
    end(options.ids)?;
    let grown = at_rest(&store)? - before;
    let ended = Ended { ids: options.ids, per_ended_id: grown / options.ids.cast_signed() };
    if options.json {
        return print(&format!("{}\n", serde_json::to_string(&ended)?));
    }
    print(&format!("{} ended ids: {} bytes each\n", ended.ids, ended.per_ended_id))
}
