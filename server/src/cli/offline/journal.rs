//! `tapgate journal`: offline, on a data directory.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use tapgate_engine::fact::{Author, Quarantined, Record, RowsHeld};
use tapgate_engine::ids::Sequence;
use tapgate_engine::ledger::{Ledger, Policy};
use tapgate_engine::recovery::{Loss, Quarantine, recount, recover, reindex, verify};
use tapgate_engine::store::rocks::{Damaged, Rocks, SyncMode};
use tapgate_engine::store::{Store, StoreError};

use crate::cli::Failed;
use crate::cli::print;
use crate::cli::ui::screen;
use crate::clock::Clock;
use crate::wire::admin::journal::entry;

/// What cannot be told without what is in quarantine.
const UNKNOWN: &str = "unknown";

/// The author of corrections made on a data directory, without a token.
const AUTHOR: &str = "offline";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Recompute the Merkle tree over every record, compare each stored hash with it, and check that rows and journal lead
    /// to the same state.
    Verify {
        /// The data directory; no process may be serving from it.
        directory: PathBuf,
    },
    /// Print every record, one JSON object a line.
    Dump {
        /// The data directory.
        directory: PathBuf,
    },
    /// Build the index of ids again from the journal, where `verify` says that it has lost entries.
    Reindex {
        /// The data directory; no process may be serving from it.
        directory: PathBuf,
    },
    /// Set a journal right whose last record lies in the future.
    SetClock {
        /// The data directory; no process may be serving from it.
        directory: PathBuf,
        /// Recorded in the journal: what was wrong with the clock, and who corrected it.
        #[arg(long)]
        reason: String,
    },
    /// Go on after a machine's crash, or an accident, has taken the journal's last records: their places stay empty, and
    /// the journal says why. Where a backup reaches further, restore it instead.
    AcceptLoss {
        /// The data directory; no process may be serving from it.
        directory: PathBuf,
        /// The last record that a log line, a receipt or a receiver's message names, if it is later than what the directory
        /// knows, or its file `head` is lost.
        #[arg(long, value_name = "SEQUENCE")]
        at_least: Option<u64>,
        /// Recorded in the journal: what happened, and who decided.
        #[arg(long)]
        reason: String,
    },
    /// Go on without records that cannot be read or folded: stand-ins take their places, and the journal says why. Where a
    /// backup reaches further, restore it instead.
    Quarantine {
        /// The data directory; no process may be serving from it.
        directory: PathBuf,
        /// The record that `serve` or `verify` names, and any other that this command names. What cannot be read beside
        /// them goes with them.
        #[arg(required = true, value_name = "SEQUENCE")]
        sequences: Vec<u64>,
        /// Recorded in the journal: what happened, and who decided.
        #[arg(long)]
        reason: String,
    },
}

pub(in crate::cli) fn run(command: &Command) -> Result<(), Failed> {
    match command {
        Command::Verify { directory } => verify_directory(directory),
        Command::Dump { directory } => dump(directory),
        Command::Reindex { directory } => build_index(directory),
        Command::SetClock { directory, reason } => set_clock(directory, reason),
        Command::AcceptLoss { directory, at_least, reason } => accept(directory, at_least.map(Sequence), reason),
        Command::Quarantine { directory, sequences, reason } => {
            let sequences: Vec<_> = sequences.iter().copied().map(Sequence).collect();
            quarantine(directory, &sequences, reason)
        }
    }
}

fn open(directory: &Path) -> Result<Arc<dyn Store>, Failed> {
    Ok(Arc::new(Rocks::open_read_only(directory)?))
}

fn open_to_write(directory: &Path) -> Result<Arc<dyn Store>, Failed> {
    // Refuses what is no data directory: opening it to write would create one.
    drop(open(directory)?);
    Ok(Arc::new(Rocks::open(directory, SyncMode::Fsync)?))
}

fn verify_directory(directory: &Path) -> Result<(), Failed> {
    let found = verify(&open(directory)?)?;
    let verdict = match (found.is_equal(), found.rows_hold_more) {
        (true, _) => "equal",
        (false, true) => "quarantined",
        (false, false) => "different",
    };
    let counts = found.counts.map_or([UNKNOWN; 4].map(str::to_owned), |counts| counts.map(|count| count.to_string()));
    let [users, authorizations, answers, pools] = counts;
    let mut lines = vec![
        ("records", found.head.to_string()),
        ("root", hex::encode(found.root)),
        ("watermark", found.watermark.to_string()),
        ("users", users),
        ("authorizations", authorizations),
        ("answers", answers),
        ("pools", pools),
        ("state_of_journal", found.state_hash_journal.map_or_else(|| UNKNOWN.to_owned(), hex::encode)),
        ("state_of_rows", hex::encode(found.state_hash_rows)),
    ];
    if found.quarantined > 0 {
        lines.push(("quarantined", found.quarantined.to_string()));
    }
    lines.push(("verdict", verdict.to_owned()));
    let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    print(&lines.concat())?;
    match verdict {
        "different" => {
            Err(Failed("the rows are not what the journal says; keep the directory and restore a backup".to_owned()))
        }
        _ => Ok(()),
    }
}

fn dump(directory: &Path) -> Result<(), Failed> {
    let store = open(directory)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    store.read(Sequence::ZERO, &mut |stored| {
        let line = Record::decode(stored.payload)
            .map_err(|error| Failed(format!("record {}: {error}", stored.sequence)))
            .and_then(|record| {
                let line = entry(stored.sequence, &record).to_string();
                Ok(writeln!(out, "{}", screen::clean_json(&line))?)
            });
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

fn build_index(directory: &Path) -> Result<(), Failed> {
    let store = open_to_write(directory)?;
    let entries = reindex(&*store)?;
    print(&format!("entries: {entries}\n"))
}

/// Appends the correction to the journal, and writes the rows, so that the next start folds nothing from the future.
fn set_clock(directory: &Path, reason: &str) -> Result<(), Failed> {
    let store = open_to_write(directory)?;
    let recovered = recover(&store)?;
    let (from, to) = (recovered.state.latest(), Clock::start().now().at);
    let fail = Box::new(|error: StoreError| tracing::error!(%error, "the journal failed"));
    let ledger = Ledger::start(store, recovered.state, Policy::default(), 0, fail)?;
    let author = Author::Person { name: AUTHOR.into(), idempotency: None };
    let set = ledger.set_clock(&author, to, reason).map_err(|error| Failed(error.to_string()));
    ledger.close()?;
    set?;
    print(&format!(
        "records: {}\nfrom_seconds: {}\nto_seconds: {}\n",
        ledger.journal().durable(),
        from.seconds().0,
        to.seconds().0
    ))
}

/// Appends that records are lost, after the last that is known of.
fn accept(directory: &Path, at_least: Option<Sequence>, reason: &str) -> Result<(), Failed> {
    let author = Author::Person { name: AUTHOR.into(), idempotency: None };
    let (found, known) = Rocks::find_loss(directory, at_least)?;
    let found: Arc<dyn Store> = Arc::new(found);
    let loss = Loss::judge(&found, known, &author, Clock::start().now().at, reason)?;
    drop(found);
    let store = Rocks::open_at_loss(directory, known)?;
    let (loss, at) = loss.accept(&store)?;
    store.close();
    let lost = (loss.last.0 + 1).saturating_sub(loss.first.0);
    print(&format!("records: {at}\nlost: {lost}\nfirst_lost: {}\nlast_lost: {}\n", loss.first, loss.last))
}

/// Puts stand-ins in the places of records that cannot be used.
fn quarantine(directory: &Path, sequences: &[Sequence], reason: &str) -> Result<(), Failed> {
    let author = Author::Person { name: AUTHOR.into(), idempotency: None };
    let judge = || {
        let damaged = Damaged::open(directory)?;
        let found: Arc<dyn Store> = damaged.store.clone();
        let judged = Quarantine::judge(&found, sequences, &author, Clock::start().now().at, reason)?;
        Ok::<_, Failed>((damaged, judged))
    };
    let (mut damaged, mut judged) = judge()?;
    if judged.must_forget_rows() {
        damaged.forget_rows()?;
        (damaged, judged) = judge()?;
    }
    if let Some((records, nodes)) = judged.anew() {
        let kept = damaged.write_anew(records, nodes)?;
        print(&format!("damaged_journal: {}\n", kept.display()))?;
    } else {
        // Its lock is the one that the store takes.
        drop(damaged);
        let store = Rocks::open(directory, SyncMode::Fsync)?;
        judged.place(&store)?;
        store.close();
    }
    let range = |named: &Quarantined| {
        let rows = match named.rows {
            RowsHeld::All => "all rows hold what they said",
            RowsHeld::Unknown => "nobody knows whether rows hold what they said",
            RowsHeld::None => "no row holds what they said",
        };
        format!("quarantined: {} to {} ({rows})\n", named.first, named.last)
    };
    let ranges: Vec<_> = judged.named().iter().map(range).collect();
    print(&format!("{}records: {}\n", ranges.concat(), judged.last()))?;
    if let Some(first) = judged.hashes_lost() {
        print(&format!("hashes_lost: {first} (heads signed over it no longer fit)\n"))?;
    }
    if let Some(next) = judged.next() {
        return Err(Failed(format!("the quarantine stands, and the next start is still refused: {next}")));
    }
    if judged.named().iter().all(|named| named.rows == RowsHeld::All) {
        return Ok(());
    }
    write_rows(directory)
}

/// Writes the rows of all records, and counts the index anew.
fn write_rows(directory: &Path) -> Result<(), Failed> {
    let store = open_to_write(directory)?;
    let state = recover(&store)?.state;
    let fail = Box::new(|error: StoreError| tracing::error!(%error, "the journal failed"));
    Ledger::start(store, state, Policy::default(), 0, fail)?.close()?;
    Ok(recount(&*open_to_write(directory)?)?)
}

#[cfg(test)]
mod tests {
    use tapgate_engine::fact::{Channel, Fact, Kind, Merchant, Request};
    use tapgate_engine::ledger::Change;
    use tapgate_engine::money::{Currency, Minor};
    use tapgate_engine::store::Entry;
    use tapgate_engine::time::{Moment, UnixMillis};

    use super::*;

    #[test]
    fn a_journal_from_the_future_is_set_to_now_with_a_reason() {
        let directory = tempfile::tempdir().unwrap();
        let missing = set_clock(&directory.path().join("none"), "wrong").unwrap_err();
        assert!(missing.0.contains("not a data directory"), "{}", missing.0);
        let now = Clock::start().now().at;
        let future = UnixMillis(now.0 + 365 * 86_400_000);
        let store: Arc<dyn Store> = Arc::new(Rocks::open(directory.path(), SyncMode::Os).unwrap());
        let state = recover(&store).unwrap().state;
        let ledger = Ledger::start(store, state, Policy::default(), 0, Box::new(|_| {})).unwrap();
        let suspend = Change::SuspendProgram { suspended: true, reason: "a test".into() };
        ledger.change(&Author::Engine, suspend, Moment { at: future, trusted: true }).unwrap();
        ledger.close().unwrap();
        drop(ledger);

        set_clock(directory.path(), "the clock was a year ahead").unwrap();
        let store = open(directory.path()).unwrap();
        assert!(verify(&store).unwrap().is_equal());
        assert!((now..future).contains(&recover(&store).unwrap().state.latest()));
        let mut last = None;
        store
            .read(Sequence(1), &mut |stored| {
                last = Record::decode(stored.payload).ok();
                ControlFlow::Continue(())
            })
            .unwrap();
        let last = last.unwrap();
        assert!(matches!(&last.fact, Fact::ClockSet(set) if set.reason == "the clock was a year ahead"));
        assert_eq!(last.author.name(), AUTHOR);
        drop(store);
        let again = set_clock(directory.path(), "again").unwrap_err();
        assert!(again.0.contains("nothing to set right"), "{}", again.0);
    }

    fn ask(ledger: &Ledger, kind: Kind, id: &str, original: Option<&str>) {
        let request = Request {
            id: id.parse().unwrap(),
            kind,
            original: original.map(|id| id.parse().unwrap()),
            user: "user".parse().unwrap(),
            card: "card".parse().unwrap(),
            amount: Minor(100),
            currency: Currency::EUR,
            settlement_amount: None,
            settlement_currency: None,
            partial_approval_allowed: false,
            merchant: Merchant::default(),
            channel: Channel::Pos,
            currency_given: None,
        };
        ledger.submit(request, Clock::start().now()).unwrap();
    }

    /// The index counted the records after it as if they replaced what it named.
    #[test]
    fn what_builds_on_a_record_in_quarantine_leaves_an_index_that_fits() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Rocks::open(directory.path(), SyncMode::Os).unwrap());
        let state = recover(&store).unwrap().state;
        let ledger = Ledger::start(store.clone(), state, Policy::default(), 0, Box::new(|_| {})).unwrap();
        ask(&ledger, Kind::Authorization, "a", None);
        ask(&ledger, Kind::Reversal, "r", Some("a"));
        ask(&ledger, Kind::Authorization, "b", None);
        ledger.journal().close();
        let [first, last] = [1, 3].map(|sequence| store.entry(Sequence(sequence)).unwrap().unwrap());
        let altered = [&first.payload[..], b"altered"].concat();
        store.append(&[Entry { payload: altered, ..first }, last], &[]).unwrap();
        drop((ledger, store));

        let said = verify_directory(directory.path()).unwrap_err();
        assert!(said.0.contains("record 1 does not fit its hash"), "{}", said.0);
        quarantine(directory.path(), &[Sequence(1)], "a test").unwrap();
        verify_directory(directory.path()).unwrap();
        let store: Arc<dyn Store> = open(directory.path()).unwrap();
        let found = verify(&store).unwrap();
        assert!(found.is_equal() && found.quarantined == 2 && found.watermark == found.head);
    }
}
