//! Durable decisions without HTTP: the engine over RocksDB, and so many waiters at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tapgate_bench::{Requests, ledger, submit, write_all_rows};
use tapgate_engine::fact::{Controls, Request};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::money::Minor;
use tapgate_engine::rows::Outcome;
use tapgate_engine::store::Store;
use tapgate_engine::store::rocks::{Rocks, SyncMode};

use super::report::{Latencies, Measured, per_second};
use super::turns::{Rows, Turns};
use super::{Failed, print};

/// Every so many a request is over the limit, and declined.
const DECLINE_EVERY: u64 = 10;

/// More than any user's limit, in cents.
const OVER_THE_LIMIT: Minor = Minor(950_000_000_000_000);

/// When an append is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Durable {
    /// On the disk.
    Fsync,
    /// With the operating system.
    Os,
}

impl Durable {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Durable::Fsync => "fsync",
            Durable::Os => "os",
        }
    }

    pub(crate) fn of_store(self) -> SyncMode {
        match self {
            Durable::Fsync => SyncMode::Fsync,
            Durable::Os => SyncMode::Os,
        }
    }
}

/// Decide in this process, engine and RocksDB without HTTP.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Requests that wait for their durability at once.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    waiters: u16,
    /// Users, each with one card.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    users: u64,
    /// When a decision is durable.
    #[arg(long, value_enum, default_value_t = Durable::Fsync)]
    durability: Durable,
    /// A directory on the disk to be measured; what is written there is removed.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Seconds measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds before that.
    #[arg(long, default_value_t = 1)]
    warmup: u64,
    /// A turn of rows begins in the first quarter of the measured time at the latest, however few records wait for one.
    #[arg(long)]
    turn: bool,
    /// Results as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct MeasuredWithRows {
    #[serde(flatten)]
    measured: Measured,
    #[serde(flatten)]
    turns: Turns,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let directory = tempfile::tempdir_in(&options.dir)?;
    let store: Arc<dyn Store> = Arc::new(Rocks::open(directory.path(), options.durability.of_store())?);
    let ledger = Arc::new(ledger(Arc::clone(&store), options.users, Controls::default()));
    write_all_rows(&ledger);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let from = Instant::now() + Duration::from_secs(options.warmup);
    let ends = from + Duration::from_secs(options.seconds);
    let (durable, kept) = (Arc::clone(&ledger), Arc::clone(&ledger));
    // One turn, as the server counts them: at this rate the next could begin at once.
    let write = move || kept.write_rows().map(|_| ());
    let rows = Rows::start(options.turn, from..ends, move || durable.journal().durable().0, write)?;
    let latencies = runtime.block_on(async {
        let wait = |lane| {
            let requests = Requests::new(options.users, u64::from(lane));
            tokio::spawn(decide(Arc::clone(&ledger), requests, from, ends))
        };
        let tasks: Vec<_> = (0..options.waiters).map(wait).collect();
        let mut all = Latencies::new()?;
        for task in tasks {
            all.add(&task.await??)?;
        }
        Ok::<_, Failed>(all)
    })?;
    let turns = rows.stop()?;
    ledger.journal().close();

    let seconds = Duration::from_secs(options.seconds);
    let measured = Measured {
        what: format!("engine, {} waiters, {}", options.waiters, options.durability.name()),
        record_bytes: record_bytes(&store)?,
        count: latencies.count(),
        seconds: seconds.as_secs_f64(),
        per_second: per_second(latencies.count(), seconds),
        latency: latencies.figures(),
    };
    if options.json {
        return print(&format!("{}\n", serde_json::to_string(&MeasuredWithRows { measured, turns })?));
    }
    measured.tell(false)?;
    print(&format!("turns of rows: {} in {:.1} s\n", turns.rows_turns, turns.rows_seconds))
}

fn request(requests: &mut Requests, number: u64) -> Request {
    let tap = requests.tap();
    if number.is_multiple_of(DECLINE_EVERY) { Request { amount: OVER_THE_LIMIT, ..tap } } else { tap }
}

/// One waiter: the next is asked when the last is durable.
async fn decide(
    ledger: Arc<Ledger>,
    mut requests: Requests,
    from: Instant,
    ends: Instant,
) -> Result<Latencies, Failed> {
    let mut latencies = Latencies::new()?;
    for number in 1.. {
        let asked = request(&mut requests, number);
        let began = Instant::now();
        if began >= ends {
            break;
        }
        let submission = submit(&ledger, asked);
        if let Some(ticket) = &submission.ticket
            && ticket.wait().await != Durability::Durable
        {
            return Err(Failed("the journal failed".to_owned()));
        }
        let now = Instant::now();
        let approved = matches!(submission.reply.outcome, Some(Outcome::Approved { .. }));
        if approved == number.is_multiple_of(DECLINE_EVERY) {
            return Err(Failed(format!("answered {:?}", submission.reply)));
        }
        if began >= from && now < ends {
            latencies.took(now - began);
        }
    }
    Ok(latencies)
}

/// Bytes of the last record, the part of its hash included: what one decision adds to the log.
fn record_bytes(store: &Arc<dyn Store>) -> Result<u64, Failed> {
    let mut bytes = 0;
    let head = store.head()?;
    store.read_back(head.next(), &mut |entry| {
        bytes = (entry.payload.len() + entry.leaf.len()) as u64;
        std::ops::ControlFlow::Break(())
    })?;
    Ok(bytes)
}
