//! `tapgate journal`: offline, on a data directory.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use tapgate_engine::fact::Record;
use tapgate_engine::ids::Sequence;
use tapgate_engine::recovery::verify;
use tapgate_engine::store::Store;
use tapgate_engine::store::rocks::Rocks;

use crate::cli::Failed;
use crate::cli::print;
use crate::wire::admin::journal::entry;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Check every link of the hash chain, and that rows and journal lead to the same state.
    Verify {
        /// The data directory; no process may be serving from it.
        directory: PathBuf,
    },
    /// Print every record, one JSON object a line.
    Dump {
        /// The data directory.
        directory: PathBuf,
    },
}

pub(in crate::cli) fn run(command: &Command) -> Result<(), Failed> {
    match command {
        Command::Verify { directory } => verify_directory(directory),
        Command::Dump { directory } => dump(directory),
    }
}

fn open(directory: &Path) -> Result<Arc<dyn Store>, Failed> {
    Ok(Arc::new(Rocks::open_read_only(directory)?))
}

fn verify_directory(directory: &Path) -> Result<(), Failed> {
    let found = verify(&open(directory)?)?;
    let [users, authorizations, answers, pools] = found.counts;
    let equal = if found.is_equal() { "equal" } else { "different" };
    print(&format!(
        "records: {}\nchain: {}\nwatermark: {}\nusers: {users}\nauthorizations: {authorizations}\nanswers: {answers}\n\
         pools: {pools}\nstate_of_journal: {}\nstate_of_rows: {}\nverdict: {equal}\n",
        found.head,
        hex::encode(found.chain),
        found.watermark,
        hex::encode(found.state_hash_journal),
        hex::encode(found.state_hash_rows),
    ))?;
    if found.is_equal() {
        return Ok(());
    }
    Err(Failed("the rows are not what the journal says; keep the directory and restore a backup".to_owned()))
}

fn dump(directory: &Path) -> Result<(), Failed> {
    let store = open(directory)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    store.read(Sequence::ZERO, &mut |stored| {
        let line = Record::decode(&stored.payload)
            .map_err(|error| Failed(format!("record {}: {error}", stored.sequence)))
            .and_then(|record| Ok(writeln!(out, "{}", entry(stored.sequence, &record))?));
        match line {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    out.flush()?;
    failed.map_or(Ok(()), Err)
}
