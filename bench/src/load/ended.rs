//! What ids take of memory once the index on disk leads to them, ended ones and open ones: the process's resident size
//! before and after.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tapgate_bench::{Requests, debit, drain, ledger, spend_and_clear, submit, write_all_rows};
use tapgate_engine::fact::Controls;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::store::Store;
use tapgate_engine::store::rocks::{Rocks, SyncMode};

use super::memory::rested;
use super::{Failed, print};

/// Have ids answered and written to rows, ended ones and open ones, and divide what the process grew by.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Ids that are answered, cleared, and debited by the partner.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    ids: u64,
    /// Ids before them: the store's caches and tables are there then.
    #[arg(long, default_value_t = 1_000_000)]
    before: u64,
    /// Ids that are approved after them and stay open.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    open: u64,
    /// Ids after which rows are written and memory is left: what a round takes for a while is there before, too.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    round: u64,
    /// Few users have ids that end, so that what is counted is ids; their spends are counted, too.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    spenders: u64,
    /// Users among whom the open ids are spread, the few first ones among them.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
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
struct Grown {
    ids: u64,
    per_ended_id: i64,
    /// Of these, the room of the spend in its user's row, for a month.
    spend_of_ended_id: i64,
    /// Of these, the store's tables and caches, as the store counts them.
    store_of_ended_id: i64,
    open: u64,
    per_open_authorization: i64,
    /// Of these, as before.
    store_of_open_authorization: i64,
}

/// Bytes at one time.
struct Taken {
    resident: i64,
    spends: i64,
    store: i64,
}

impl Taken {
    /// Taken while the store has nothing in its buffers, which hold tens of megabytes or nothing as it happens. What a
    /// compaction took for itself goes back with the next one.
    fn at_rest(ledger: &Ledger, store: &Rocks) -> Result<Taken, Failed> {
        store.compacted_bytes()?;
        let mut resident = rested()?;
        loop {
            store.compacted_bytes()?;
            let now = rested()?;
            if now >= resident {
                break;
            }
            resident = now;
        }
        let spends = i64::try_from(ledger.bytes_of_spends())?;
        Ok(Taken { resident, spends, store: i64::try_from(store.memory_bytes()?)? })
    }
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let Options { ids, before, open, round, spenders, users, .. } = *options;
    let directory = tempfile::tempdir_in(&options.dir)?;
    let store = Arc::new(Rocks::open(directory.path(), SyncMode::Os)?);
    let ledger = ledger(Arc::clone(&store) as Arc<dyn Store>, users.max(spenders), Controls::default());
    let in_rounds = |count: u64, answer: &mut dyn FnMut(u64)| {
        let mut left = count;
        while left > 0 {
            answer(left.min(round));
            left -= left.min(round);
            drain(&ledger);
            write_all_rows(&ledger);
        }
    };
    let mut requests = Requests::new(spenders, 0);
    let mut version = 0;
    let mut end = |count| {
        in_rounds(count, &mut |round| {
            spend_and_clear(&ledger, &mut requests, round, |cleared| {
                version += 1;
                debit(&ledger, cleared, version);
            });
        });
    };
    end(before);
    let warm = Taken::at_rest(&ledger, &store)?;
    end(ids);
    let ended = Taken::at_rest(&ledger, &store)?;
    let mut requests = Requests::new(users, 1);
    in_rounds(open, &mut |round| (0..round).for_each(|_| drop(submit(&ledger, requests.tap()))));
    let opened = Taken::at_rest(&ledger, &store)?;
    let each = |count: u64, bytes: i64| bytes / count.cast_signed();
    let grown = Grown {
        ids,
        per_ended_id: each(ids, ended.resident - warm.resident),
        spend_of_ended_id: each(ids, ended.spends - warm.spends),
        store_of_ended_id: each(ids, ended.store - warm.store),
        open,
        per_open_authorization: each(open, opened.resident - ended.resident),
        store_of_open_authorization: each(open, opened.store - ended.store),
    };
    grown.tell(options.json)
}

impl Grown {
    fn tell(&self, as_json: bool) -> Result<(), Failed> {
        if as_json {
            return print(&format!("{}\n", serde_json::to_string(self)?));
        }
        let Grown { ids, per_ended_id, spend_of_ended_id, store_of_ended_id, .. } = self;
        let Grown { open, per_open_authorization, store_of_open_authorization, .. } = self;
        print(&format!(
            "{ids} ended ids: {per_ended_id} bytes each, {spend_of_ended_id} of them the user's spend and \
             {store_of_ended_id} the store's\n\
             {open} open authorizations in rows: {per_open_authorization} bytes each, {store_of_open_authorization} of \
             them the store's\n"
        ))
    }
}
