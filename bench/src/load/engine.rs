//! Durable decisions without HTTP: the engine over RocksDB, and so many waiters at once.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tapgate_bench::{Requests, ledger, submit, write_all_rows};
use tapgate_engine::fact::{Controls, Request};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::money::Minor;
use tapgate_engine::rows::Outcome;
use tapgate_engine::store::rocks::{Rocks, SyncMode};
use tapgate_engine::store::{Store, StoreError};

use super::report::{Latencies, Measured, per_second};
use super::{Failed, print};

/// After how many records rows follow the journal, how often that is looked for, and how nice their thread is, as the
/// server has it.
const ROWS_RECORDS_MAX: u64 = 500_000;
const ROWS_LOOK_INTERVAL: Duration = Duration::from_secs(5);
const ROWS_NICENESS: i32 = 10;

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

/// Turns of rows that began and ended within the measured time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Turns {
    rows_turns: u32,
    rows_seconds: f64,
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
    let (stop, kept) = (Arc::new(AtomicBool::new(false)), Arc::clone(&ledger));
    let stopping = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let from = Instant::now() + Duration::from_secs(options.warmup);
    let ends = from + Duration::from_secs(options.seconds);
    let at_latest = options.turn.then(|| from + Duration::from_secs(options.seconds) / 4);
    let keep_rows = move || keep_rows(&kept, &stopping, at_latest, from..ends);
    let rows = std::thread::Builder::new().name("rows".to_owned()).spawn(keep_rows)?;
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
    stop.store(true, Ordering::Release);
    rows.thread().unpark();
    // A panic has aborted the process already.
    let turns = rows.join().unwrap_or(Ok(Turns::default()))?;
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

/// Writes rows behind the journal, as the server does; the first turn at the latest then.
fn keep_rows(
    ledger: &Ledger,
    stopping: &AtomicBool,
    mut at_latest: Option<Instant>,
    measured: Range<Instant>,
) -> Result<Turns, StoreError> {
    let _ = rustix::process::setpriority_process(None, ROWS_NICENESS);
    let mut written = ledger.journal().durable();
    let mut turns = Turns::default();
    while !stopping.load(Ordering::Acquire) {
        let (durable, began) = (ledger.journal().durable(), Instant::now());
        if durable.0.saturating_sub(written.0) > ROWS_RECORDS_MAX || at_latest.is_some_and(|at| began >= at) {
            (written, at_latest) = (durable, None);
            write_all_rows(ledger);
            let ended = Instant::now();
            if measured.contains(&began) && measured.contains(&ended) {
                turns.rows_turns += 1;
                turns.rows_seconds += (ended - began).as_secs_f64();
            }
        }
        let until_then = at_latest.map_or(ROWS_LOOK_INTERVAL, |at| at.saturating_duration_since(Instant::now()));
        std::thread::park_timeout(ROWS_LOOK_INTERVAL.min(until_then));
    }
    Ok(turns)
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
