//! The durable floor: records of one size go to RocksDB in groups with sequential keys. A group gathers while the last
//! one is written; nothing is decided, and nothing looked up, remembered or hashed unless it is asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tapgate_bench::{Requests, Slabs};
use tapgate_engine::ids::Sequence;
use tapgate_engine::journal::GROUP_RECORDS_MAX;
use tapgate_engine::store::rocks::Rocks;
use tapgate_engine::store::{Entry, Store, StoreError};
use tapgate_engine::tree::{Frontier, LeafPart};
use tokio::sync::{mpsc, oneshot};

use super::Failed;
use super::engine::Durable;
use super::report::{Latencies, Measured, per_second};
use super::turns::Rows;

/// Write records of one size to RocksDB in groups.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Records that wait for their durability at once; 0: one thread writes one after the other, without a queue.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(0..=4_096))]
    waiters: u16,
    /// Do all that must be done for a decision of one of so many users, whatever is decided: look its id up in the index
    /// on the disk, remember it in slabs, hash its record into the tree, and write the index and users' rows in turns, of
    /// which one begins in the first quarter of the measured time.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    remember: Option<u64>,
    /// Bytes of a record; the 8 bytes of its hash are among them.
    #[arg(long, default_value_t = 328, value_parser = clap::value_parser!(u64).range(8..=65_536))]
    bytes: u64,
    /// When a record is durable.
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
    /// Results as JSON.
    #[arg(long)]
    json: bool,
}

/// Stands where the engine writes a part of the record's hash.
const NO_LEAF: LeafPart = [0; 8];

/// A record that waits, and who waits for it.
type Waiting = (Vec<u8>, oneshot::Sender<()>);

/// A bare group commit: what comes while one group is written is the next. Its thread ends with its last sender.
#[derive(Clone, Debug)]
pub(crate) struct Writer(mpsc::UnboundedSender<Waiting>);

impl Writer {
    /// With `tree` the records' hashes are computed and kept, as the engine's are.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        tree: Option<Frontier>,
    ) -> Result<(Writer, JoinHandle<Result<(), StoreError>>), Failed> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("writer".to_owned());
        let thread = thread.spawn(move || write(&*store, tree, receiver))?;
        Ok((Writer(sender), thread))
    }

    /// Ends once the record is durable.
    pub(crate) async fn put(&self, record: Vec<u8>) -> Result<(), Failed> {
        let (durable, is_durable) = oneshot::channel();
        self.0.send((record, durable)).map_err(|_| Failed("the writer has ended".to_owned()))?;
        Ok(is_durable.await?)
    }
}

/// What is measured: from when until when.
#[derive(Clone, Copy, Debug)]
struct Time {
    from: Instant,
    ends: Instant,
}

pub(crate) fn run(options: &Options) -> Result<(), Failed> {
    let directory = tempfile::tempdir_in(&options.dir)?;
    let store = Rocks::open(directory.path(), options.durability.of_store())?;
    let payload = vec![7; usize::try_from(options.bytes)?.saturating_sub(NO_LEAF.len())];
    let from = Instant::now() + Duration::from_secs(options.warmup);
    let time = Time { from, ends: from + Duration::from_secs(options.seconds) };
    let latencies = match options.waiters {
        0 => alone(&store, &payload, time)?,
        waiters => grouped(&Arc::new(store), &payload, time, waiters, options.remember)?,
    };
    let waiters = if options.waiters == 0 { "alone".to_owned() } else { format!("{} waiters", options.waiters) };
    let remembering = if options.remember.is_some() { ", remembering" } else { "" };
    let seconds = Duration::from_secs(options.seconds);
    let measured = Measured {
        what: format!("RocksDB with sequential keys, {waiters}{remembering}, {}", options.durability.name()),
        record_bytes: options.bytes,
        count: latencies.count(),
        seconds: seconds.as_secs_f64(),
        per_second: per_second(latencies.count(), seconds),
        latency: latencies.figures(),
    };
    measured.tell(options.json)
}

fn entry(sequence: u64, payload: Vec<u8>) -> Entry {
    Entry { sequence: Sequence(sequence), leaf: NO_LEAF, payload }
}

fn alone(store: &Rocks, payload: &[u8], time: Time) -> Result<Latencies, Failed> {
    let mut latencies = Latencies::new()?;
    for sequence in 1.. {
        let entries = [entry(sequence, payload.to_vec())];
        let began = Instant::now();
        store.append(&entries, &[])?;
        let now = Instant::now();
        if now >= time.ends {
            break;
        }
        if began >= time.from {
            latencies.took(now - began);
        }
    }
    Ok(latencies)
}

fn grouped(
    store: &Arc<Rocks>,
    payload: &[u8],
    time: Time,
    waiters: u16,
    remembering: Option<u64>,
) -> Result<Latencies, Failed> {
    let slabs = remembering.map(|users| Arc::new(Slabs::new(users, payload.len())));
    let rows = slabs.clone().map(|slabs| {
        let (counted, store) = (Arc::clone(&slabs), Arc::clone(store));
        Rows::start(true, time.from..time.ends, move || counted.count(), move || slabs.write_rows(&*store))
    });
    let rows = rows.transpose()?;
    let tree = slabs.is_some().then(Frontier::default);
    let (writer, thread) = Writer::start(Arc::clone(store) as Arc<dyn Store>, tree)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let latencies = runtime.block_on(async {
        let wait = |lane| {
            let remembers = slabs.clone().zip(remembering).map(|(slabs, users)| (slabs, Requests::new(users, lane)));
            tokio::spawn(wait(writer.clone(), Arc::clone(store), payload.to_vec(), remembers, time))
        };
        let tasks: Vec<_> = (0..u64::from(waiters)).map(wait).collect();
        let mut all = Latencies::new()?;
        for task in tasks {
            all.add(&task.await??)?;
        }
        Ok::<_, Failed>(all)
    })?;
    drop(writer);
    rows.map(Rows::stop).transpose()?;
    // A panic has aborted the process already.
    thread.join().unwrap_or(Ok(()))?;
    Ok(latencies)
}

async fn wait(
    writer: Writer,
    store: Arc<Rocks>,
    payload: Vec<u8>,
    mut remembers: Option<(Arc<Slabs>, Requests)>,
    time: Time,
) -> Result<Latencies, Failed> {
    let mut latencies = Latencies::new()?;
    loop {
        let record = payload.clone();
        let asked = remembers.as_mut().map(|(_, requests)| requests.tap());
        let began = Instant::now();
        if began >= time.ends {
            return Ok(latencies);
        }
        if let (Some((slabs, _)), Some(request)) = (&remembers, &asked)
            && !slabs.decide_unknown(&*store, request)?
        {
            return Err(Failed("the floor declined".to_owned()));
        }
        writer.put(record).await?;
        let now = Instant::now();
        if began >= time.from && now < time.ends {
            latencies.took(now - began);
        }
    }
}

/// Writes what waits, in groups no larger than the engine's, until nobody can wait any more.
fn write(
    store: &dyn Store,
    mut tree: Option<Frontier>,
    mut receiver: mpsc::UnboundedReceiver<Waiting>,
) -> Result<(), StoreError> {
    let mut sequence = 0;
    let (mut waiting, mut entries, mut told, mut completed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    while receiver.blocking_recv_many(&mut waiting, GROUP_RECORDS_MAX) > 0 {
        for (payload, durable) in waiting.drain(..) {
            sequence += 1;
            entries.push(match &mut tree {
                None => entry(sequence, payload),
                Some(tree) => {
                    let (entry, leaf) = Entry::new(Sequence(sequence), payload);
                    tree.append(leaf, |node| completed.push(node));
                    entry
                }
            });
            told.push(durable);
        }
        store.append(&entries, &completed)?;
        entries.clear();
        completed.clear();
        for durable in told.drain(..) {
            // Who no longer waits need not be told.
            let _ = durable.send(());
        }
    }
    Ok(())
}
