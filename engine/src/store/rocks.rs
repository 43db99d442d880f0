//! The store on RocksDB: the only file that names it.
//!
//! Two databases: `journal`, with monotone keys, written through the synced write-ahead log and moved down the levels
//! without being rewritten; and `rows`, written without any log: tables are flushed first, and only then their
//! watermark. One database has one queue of writers and stalls all of them when it falls behind: with two, no decision
//! ever waits for a row. The log is recovered strictly: an incomplete last write is dropped (it was never
//! acknowledged); any other failed check stops the start, and so does a log that is shorter than what was answered.

mod anew;
mod durable_head;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, ColumnFamilyDescriptor, ColumnFamilyRef, CompactOptions, DB,
    DBCompressionType, DBRawIterator, DBRecoveryMode, Env, FlushOptions, LiveFile, Options, ReadOptions, WriteBatch,
    WriteOptions,
};
use rustix::fs::{Advice, Mode, OFlags};
use rustix::rand::GetRandomFlags;

pub use self::anew::Damaged;
use self::durable_head::{DurableHead, Recorded};
use super::{Entry, HeadError, RowBytes, StandIn, Store, StoreError, Table, Visit, VisitRow};
use crate::ids::Sequence;
use crate::tree::{Frontier, Hash, LeafPart, Node, Span, TILE_LEVEL};

/// When an append is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// On the disk: survives the machine.
    Fsync,
    /// In the operating system: survives the process only.
    Os,
}

/// The directories of the two databases.
const JOURNAL: &str = "journal";

const ROWS: &str = "rows";

/// A copy of the journal that is being made, and what was in its place before.
const JOURNAL_NEW: &str = "journal.new";

const JOURNAL_DAMAGED: &str = "journal.damaged";

/// What the store has in the data directory.
pub const ENTRIES: [&str; 5] = [JOURNAL, ROWS, durable_head::FILE, JOURNAL_NEW, JOURNAL_DAMAGED];

/// The journal's records, and the nodes of the tree over them.
const RECORDS: &str = "default";

const TILES: &str = "tiles";

const META: &str = "meta";

const WATERMARK: &[u8] = b"watermark";

const FORMAT: &[u8] = b"format";

/// There is a durable head: directories of earlier versions have none until they are opened for writing.
const HEAD_KEPT: &[u8] = b"head";

/// The seed of the index of ids.
const ID_SEED: &[u8] = b"ids";

const FORMAT_VERSION: u8 = 13;

/// Bloom filter bits per key: 1 % false positives, so that a new id costs no read.
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// Of the write buffer (64 MB), the filter over the index of ids while it is in memory: a megabyte, ten bits for each
/// entry of a turn with some room.
const IDS_FILTER_RATIO: f64 = 0.02;

/// Bytes in memory before the journal is flushed; bounds the log that recovery reads again.
const JOURNAL_BUFFER_BYTES: usize = 64 << 20;

/// Bytes of the tree in memory: five times what is completed until the journal's buffer is full.
const TILES_BUFFER_BYTES: usize = 1 << 20;

/// Rows per write; of 200 bytes each they are 50 KB.
const ROWS_IN_BATCH: usize = 256;

/// Files beside the log that go through the page cache reach the disk in pieces of this size, so that no sync of the
/// log waits behind a whole file.
const BYTES_PER_SYNC: u64 = 512 << 10;

/// Write rate of flushes and compactions of either database, per second: several times the engine's output of journal
/// and rows, and small enough for the log's syncs to pass between.
const BACKGROUND_BYTES_PER_SECOND: i64 = 32 << 20;

const BACKGROUND_REFILL_MICROS: i64 = 20_000;

/// RocksDB's default: once in ten times compactions come before flushes.
const BACKGROUND_FAIRNESS: i32 = 10;

/// Buffers of the journal: a low-priority flush may take a while, and writes must not wait for it.
const JOURNAL_BUFFERS_MAX: i32 = 3;

/// Rows in memory before some table is flushed.
const ROWS_BUFFER_BYTES: usize = 64 << 20;

/// Above any number of files.
const NEVER: i32 = 1 << 20;

/// How often a directory is read before it is refused.
const READS_MAX: u32 = 3;

/// The two databases.
const DATABASES: u64 = 2;

/// Files of a database that are none of tables: logs, manifests, locks, those that a flush or a compaction writes.
const OTHER_FILES: u64 = 64;

/// Tables of 64 MB in each part of the cache of open ones; fewer would crowd in one part while another has room.
const TABLES_IN_PART: u64 = 64;

/// RocksDB's default: 64 parts, each with a lock of its own.
const PARTS_BITS_MAX: u32 = 6;

/// Concurrent flushes, and compactions: one for each database.
const BACKGROUND_THREADS: i32 = 2;

/// RocksDB's own diagnostic log.
const INFO_LOGS_KEPT: usize = 4;

/// Files of tables that each database keeps open; the others are opened when they are read, on the thread that asks.
/// Without a bound descriptors would grow with history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TablesOpen(u16);

impl TablesOpen {
    /// The least with which a server decides.
    pub const LEAST: TablesOpen = TablesOpen(32);
    /// For tools and tests.
    pub const USUAL: TablesOpen = TablesOpen(256);
    /// A quarter of a terabyte.
    pub const MOST: TablesOpen = TablesOpen(4_096);

    /// As many as the store may keep open with so many files, within [`Self::LEAST`] and [`Self::MOST`].
    #[must_use]
    pub fn within(files: u64) -> TablesOpen {
        let tables = (files / DATABASES).saturating_sub(OTHER_FILES).min(Self::MOST.0.into());
        TablesOpen(u16::try_from(tables).unwrap_or(Self::MOST.0)).max(Self::LEAST)
    }

    /// Files that the store usually has open at most: a compaction of very many may take more for a while.
    #[must_use]
    pub fn files(self) -> u64 {
        DATABASES * (u64::from(self.0) + OTHER_FILES)
    }

    /// Bits of the number of parts of the cache.
    fn parts_bits(self) -> u32 {
        (u64::from(self.0) / TABLES_IN_PART).checked_ilog2().unwrap_or(0).min(PARTS_BITS_MAX)
    }
}

/// The store on RocksDB.
pub struct Rocks {
    journal: DB,
    rows: DB,
    sync_mode: SyncMode,
    /// `None` where nothing is written.
    head: Option<DurableHead>,
    /// Files that an erasure has replaced, and that a reader kept from being deleted. One erasure at a time.
    replaced: Mutex<Vec<PathBuf>>,
    /// Of the hashes in the index of ids.
    id_seed: u64,
    /// Made once: every decision looks its id up twice.
    reading: ReadOptions,
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rocks").field("path", &self.journal.path()).field("sync_mode", &self.sync_mode).finish()
    }
}

fn table_name(table: Table) -> &'static str {
    match table {
        Table::Users => "users",
        Table::Ids => "ids",
        Table::Pools => "pools",
        Table::Program => "program",
        Table::Breaks => "breaks",
        Table::Postings => "postings",
        Table::Alerts => "alerts",
        Table::Prefunds => "prefunds",
        Table::Cursors => "cursors",
        Table::Closures => "closures",
        Table::Keys => "keys",
        Table::Persons => "persons",
    }
}

fn options(tables: TablesOpen) -> Options {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_recycle_log_file_num(0);
    options.set_paranoid_checks(true);
    options.set_keep_log_file_num(INFO_LOGS_KEPT);
    options.set_max_open_files(tables.0.into());
    options.set_table_cache_num_shard_bits(tables.parts_bits().cast_signed());
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    options.set_ratelimiter(BACKGROUND_BYTES_PER_SECOND, BACKGROUND_REFILL_MICROS, BACKGROUND_FAIRNESS);
    // Flushes and compactions run in the time that decisions leave. Without an environment of its own the store runs
    // them by RocksDB's defaults.
    if let Ok(mut env) = Env::new() {
        env.set_background_threads(BACKGROUND_THREADS);
        env.set_high_priority_background_threads(BACKGROUND_THREADS);
        env.lower_thread_pool_cpu_priority();
        env.lower_high_priority_thread_pool_cpu_priority();
        options.set_env(&env);
    }
    options
}

/// Whether files in this directory can be written past the page cache; some file systems cannot. Through the page
/// cache, a file system's journal makes each sync of the log wait for other writes.
fn takes_direct_io(directory: &Path) -> bool {
    let probe = directory.join("direct-io");
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&probe, flags, Mode::RUSR | Mode::WUSR).is_ok();
    // Nothing reads the probe; the next start writes it again.
    let _ = std::fs::remove_file(&probe);
    opened
}

fn journal_options(tables: TablesOpen) -> Options {
    let mut options = options(tables);
    // The tree's few bytes would keep every log until their own buffer is full.
    options.set_atomic_flush(true);
    options
}

fn journal_families() -> [ColumnFamilyDescriptor; 2] {
    let mut records = Options::default();
    records.set_compression_type(DBCompressionType::Snappy);
    records.set_write_buffer_size(JOURNAL_BUFFER_BYTES);
    records.set_max_write_buffer_number(JOURNAL_BUFFERS_MAX);
    let mut tiles = Options::default();
    tiles.set_compression_type(DBCompressionType::None);
    tiles.set_write_buffer_size(TILES_BUFFER_BYTES);
    tiles.set_max_write_buffer_number(JOURNAL_BUFFERS_MAX);
    [ColumnFamilyDescriptor::new(RECORDS, records), ColumnFamilyDescriptor::new(TILES, tiles)]
}

fn family(name: &str) -> ColumnFamilyDescriptor {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Snappy);
    // Compactions that fall behind only slow reads of rows: the thread that writes rows must never stall.
    options.set_level_zero_slowdown_writes_trigger(NEVER);
    options.set_level_zero_stop_writes_trigger(NEVER);
    options.set_soft_pending_compaction_bytes_limit(0);
    options.set_hard_pending_compaction_bytes_limit(0);
    if name == table_name(Table::Ids) {
        // Every new id is looked for, also while a turn has entries of half a million in memory.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(IDS_FILTER_RATIO);
    }
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    options.set_block_based_table_factory(&blocks);
    ColumnFamilyDescriptor::new(name, options)
}

fn families() -> impl Iterator<Item = ColumnFamilyDescriptor> {
    std::iter::once(META).chain(Table::ALL.into_iter().map(table_name)).map(family)
}

/// Whether the directory holds something, and its first start was not cut short. Refuses one of another version, or
/// without its journal, before RocksDB does so in its own words: a table that this program does not have fails any opening
/// for writing.
fn has_format(directory: &Path) -> Result<bool, StoreError> {
    // An early version kept its database in the directory itself.
    if directory.join("CURRENT").is_file() {
        return Err(other_version(directory, "the format of an early version"));
    }
    let rows = directory.join(ROWS);
    if !rows.join("CURRENT").is_file() {
        return Ok(false);
    }
    let stored = DB::list_cf(&options(TablesOpen::LEAST), &rows).map_err(|error| failed(&error))?;
    if !stored.iter().any(|name| name == META) {
        // Its first start was cut short.
        return Ok(false);
    }
    let meta =
        DB::open_cf_for_read_only(&options(TablesOpen::LEAST), &rows, [META], false).map_err(|error| failed(&error))?;
    let Some(format) = format_of(&meta)? else { return Ok(false) };
    if format != [FORMAT_VERSION] {
        let format = format.first().map_or_else(|| "no format".to_owned(), |version| format!("format {version}"));
        return Err(other_version(directory, &format));
    }
    let is_known = |name: &String| name == "default" || families().any(|family| family.name() == name);
    if let Some(unknown) = stored.iter().find(|name| !is_known(name)) {
        return Err(other_version(directory, &format!("the table {unknown} of a later version")));
    }
    // The format is written after the journal is created.
    if !directory.join(JOURNAL).join("CURRENT").is_file() {
        return Err(StoreError::Failed(format!(
            "the data directory {} has rows and no journal: put the journal back, or restore a backup of the whole \
             directory and check it with `tapgate journal verify`",
            directory.display()
        )));
    }
    Ok(true)
}

fn other_version(directory: &Path, found: &str) -> StoreError {
    StoreError::Failed(format!(
        "the data directory {} has {found}, and this tapgate reads format {FORMAT_VERSION}: run the version of tapgate \
         that wrote it, for `tapgate serve` and `tapgate journal` alike",
        directory.display()
    ))
}

/// As [`failed`], of one record or of a run of them: what the disk cannot read has no better answer than what it has changed.
fn unread(error: &rocksdb::Error) -> StoreError {
    match error.kind() {
        rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::IOError => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Failed(error.to_string()),
    }
}

/// RocksDB's error names the file and place of the failed check.
fn failed(error: &rocksdb::Error) -> StoreError {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Failed(error.to_string()),
    }
}

impl Rocks {
    /// Opens the data directory as [`Self::open_within`] does, with [`TablesOpen::USUAL`].
    ///
    /// # Errors
    /// As there.
    pub fn open(directory: &Path, sync_mode: SyncMode) -> Result<Rocks, StoreError> {
        Rocks::open_within(directory, sync_mode, TablesOpen::USUAL)
    }

    /// Opens the data directory, creating it if missing. Makes records read again from the log durable. Before anything
    /// is written, the journal is compared with the durable head.
    ///
    /// # Errors
    /// Another process holds it, it is corrupt, another version wrote it, or it is not what was answered.
    pub fn open_within(directory: &Path, sync_mode: SyncMode, tables: TablesOpen) -> Result<Rocks, StoreError> {
        if has_format(directory)? {
            drop(Rocks::open_read_only(directory)?);
        } else if Recorded::read(directory)?.is_some() {
            return Err(HeadError::Alone { directory: directory.to_owned() }.into());
        }
        let store = Rocks::open_as_it_is(directory, sync_mode, tables)?;
        store.head.as_ref().map_or(Ok(()), DurableHead::start)?;
        if store.meta(HEAD_KEPT)?.is_none() {
            // From now on a directory without it has lost it.
            store.put_meta(HEAD_KEPT, &[1])?;
        }
        Ok(store)
    }

    /// Opens the data directory for writing, whatever its durable head says, and leaves that as it is.
    fn open_as_it_is(directory: &Path, sync_mode: SyncMode, tables: TablesOpen) -> Result<Rocks, StoreError> {
        let made = std::fs::create_dir_all(directory);
        made.map_err(|error| StoreError::Failed(format!("the data directory cannot be made: {error}")))?;
        let is_direct = takes_direct_io(directory);
        let serving = |mut options: Options, create: bool| {
            options.create_if_missing(create);
            options.create_missing_column_families(true);
            options.set_use_direct_io_for_flush_and_compaction(is_direct);
            options
        };
        let mut of_rows = serving(options(tables), true);
        of_rows.set_db_write_buffer_size(ROWS_BUFFER_BYTES);
        let rows = DB::open_cf_descriptors(&of_rows, directory.join(ROWS), families());
        let rows = rows.map_err(|error| failed(&error))?;
        let format = format_of(&rows)?;
        let of_journal = serving(journal_options(tables), format.is_none());
        let journal = DB::open_cf_descriptors(&of_journal, directory.join(JOURNAL), journal_families());
        let journal = journal.map_err(|error| failed(&error))?;
        let id_seed = if format.is_none() { chosen_seed()? } else { seed_of(&rows)? };
        let (replaced, reading) = (Mutex::default(), ReadOptions::default());
        let mut store = Rocks { journal, rows, sync_mode, head: None, replaced, id_seed, reading };
        if format.is_none() {
            let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| StoreError::Failed(format!("the data directory cannot be synced: {error}")))?;
            store.put_meta(ID_SEED, &id_seed.to_be_bytes())?;
            store.put_meta(FORMAT, &[FORMAT_VERSION])?;
        }
        store.flush_all()?;
        let end = store.head()?;
        let (leaf, tile) = (store.leaf_at(end)?, store.tile_at(end)?);
        store.head = Some(DurableHead::open(directory, Recorded::now(end, leaf, tile, sync_mode))?);
        Ok(store)
    }

    /// Opens the data directory read-only; changes nothing in it.
    ///
    /// # Errors
    /// There is no such directory, it is corrupt, another version wrote it, or it is not what was answered.
    pub fn open_read_only(directory: &Path) -> Result<Rocks, StoreError> {
        // A program that runs may write the head, or begin another log, between two reads of this one.
        for _ in 1..READS_MAX {
            if let Ok((store, Ok(()))) = Rocks::read_with_head(directory) {
                return Ok(store);
            }
        }
        let (store, fits) = Rocks::read_with_head(directory)?;
        fits.map(|()| store)
    }

    /// Opens the data directory read-only, and says whether the journal fits its durable head.
    fn read_with_head(directory: &Path) -> Result<(Rocks, Result<(), StoreError>), StoreError> {
        // First: a running program writes it after the record that it names.
        let recorded = Recorded::read(directory)?;
        let store = Rocks::read_as_it_is(directory)?;
        let fits = store.check_head(directory, recorded.as_ref());
        Ok((store, fits))
    }

    fn read_as_it_is(directory: &Path) -> Result<Rocks, StoreError> {
        has_format(directory)?;
        let [rows, journal] = [ROWS, JOURNAL].map(|name| directory.join(name));
        for half in [&rows, &journal] {
            if !half.join("CURRENT").is_file() {
                let (directory, half) = (directory.display(), half.display());
                return Err(StoreError::Failed(format!("{directory} is not a data directory: {half} holds nothing")));
            }
        }
        // An older program may have written the directory: a table added later is missing, and nothing is created here.
        let existing = DB::list_cf(&options(TablesOpen::USUAL), &rows).map_err(|error| failed(&error))?;
        let families = families().filter(|family| existing.iter().any(|name| name == family.name()));
        // A running program may be writing: the journal, opened last, reaches at least as far as the rows.
        let rows = DB::open_cf_descriptors_read_only(&options(TablesOpen::USUAL), rows, families, false);
        let rows = rows.map_err(|error| failed(&error))?;
        if format_of(&rows)?.is_none() {
            let directory = directory.display();
            return Err(StoreError::Failed(format!(
                "{directory} has no format: its first start was cut short, start again"
            )));
        }
        let journal =
            DB::open_cf_descriptors_read_only(&journal_options(TablesOpen::USUAL), journal, journal_families(), false);
        let journal = journal.map_err(|error| failed(&error))?;
        let id_seed = seed_of(&rows)?;
        Ok(Rocks {
            journal,
            rows,
            sync_mode: SyncMode::Os,
            head: None,
            replaced: Mutex::default(),
            id_seed,
            reading: ReadOptions::default(),
        })
    }

    /// Compares the journal with its durable head. A longer journal is whole: the process ended between the two writes.
    fn check_head(&self, directory: &Path, recorded: Option<&Recorded>) -> Result<(), StoreError> {
        let directory = || directory.to_owned();
        let Some(recorded) = recorded else {
            let is_kept = self.meta(HEAD_KEPT)?.is_some();
            return if is_kept { Err(HeadError::Unreadable { directory: directory() }.into()) } else { Ok(()) };
        };
        let (head, end) = (recorded.sequence, self.head()?);
        if end < head {
            let reason = recorded.reason();
            return Err(HeadError::Shorter { directory: directory(), end, head, reason }.into());
        }
        if recorded.is_promise() {
            return Ok(());
        }
        // A stand-in is told of by a later record.
        let may_be_stood_in_for = end > head;
        let is_same_record = match self.entry(head).map_err(with_way_on)? {
            Some(entry) if entry.leaf == recorded.leaf => true,
            Some(entry) => may_be_stood_in_for && StandIn::decode(&entry.payload).is_some(),
            None => false,
        };
        let is_same = is_same_record && self.tile_at(head)? == recorded.tile;
        if is_same { Ok(()) } else { Err(HeadError::Different { directory: directory(), head }.into()) }
    }

    /// Zeros where there is no such record.
    fn leaf_at(&self, sequence: Sequence) -> Result<LeafPart, StoreError> {
        Ok(self.entry(sequence)?.map_or_else(LeafPart::default, |entry| entry.leaf))
    }

    /// The hash of the last full tile of a journal that ends here; zeros before the first.
    fn tile_at(&self, end: Sequence) -> Result<Hash, StoreError> {
        let Some(index) = (end.0 >> TILE_LEVEL).checked_sub(1) else { return Ok(Hash::default()) };
        Ok(self.node(Span { level: TILE_LEVEL, index })?.unwrap_or_default())
    }

    /// Opens read-only a data directory whose journal is shorter than what was answered, or whose durable head is lost, and
    /// says which is the last record that is known of. `at_least`: one that somebody outside knows of.
    ///
    /// # Errors
    /// As for [`Self::open_read_only`]; or nothing is lost, or it is not known how much.
    pub fn find_loss(directory: &Path, at_least: Option<Sequence>) -> Result<(Rocks, Sequence), StoreError> {
        let (found, fits) = Rocks::read_with_head(directory)?;
        let end = found.head()?;
        let known = match (fits, at_least) {
            (Err(StoreError::Head(HeadError::Shorter { head, .. })), at_least) => {
                at_least.map_or(head, |it| it.max(head))
            }
            (Err(StoreError::Head(HeadError::Unreadable { .. })), Some(at_least)) => at_least,
            (Err(error), _) => return Err(error),
            (Ok(()), Some(at_least)) if at_least > end => at_least,
            (Ok(()), _) => return Err(HeadError::Whole { end }.into()),
        };
        Ok((found, known))
    }

    /// Opens for writing what [`Self::find_loss`] found, to append up to the last record that is known of, at least. Until
    /// that is done the directory stays refused, and afterwards it is whole, wherever it is cut short.
    ///
    /// # Errors
    /// The directory cannot be opened or written.
    pub fn open_at_loss(directory: &Path, known: Sequence) -> Result<Rocks, StoreError> {
        let store = Rocks::open_as_it_is(directory, SyncMode::Fsync, TablesOpen::USUAL)?;
        let end = store.head()?;
        store.head.as_ref().map_or(Ok(()), |head| head.promise(known.max(end.next())))?;
        Ok(store)
    }

    fn flush_all(&self) -> Result<(), StoreError> {
        let (records, tiles) = (self.journal_family(RECORDS)?, self.journal_family(TILES)?);
        self.journal.flush_cfs_opt(&[&records, &tiles], &waited_for()).map_err(|error| failed(&error))?;
        self.flush_rows(std::iter::once(META).chain(Table::ALL.into_iter().map(table_name)))
    }

    fn flush_rows(&self, names: impl Iterator<Item = &'static str>) -> Result<(), StoreError> {
        let families = names.map(|name| self.family(name)).collect::<Result<Vec<_>, _>>()?;
        let references: Vec<_> = families.iter().collect();
        self.rows.flush_cfs_opt(&references, &waited_for()).map_err(|error| failed(&error))
    }

    /// Bytes of the files of the journal and of each table, once everything is flushed and compacted.
    ///
    /// # Errors
    /// The store failed.
    #[cfg(feature = "testing")]
    pub fn compacted_bytes(&self) -> Result<Vec<(String, u64)>, StoreError> {
        const BYTES: &str = "rocksdb.live-sst-files-size";
        let everything: Option<&[u8]> = None;
        self.flush_all()?;
        let size = |db: &DB, family: ColumnFamilyRef<'_>| {
            db.compact_range_cf(family, everything, everything);
            db.property_int_value_cf(family, BYTES).map_err(|error| failed(&error)).map(Option::unwrap_or_default)
        };
        let mut sizes = Vec::new();
        for (family, name) in [(RECORDS, JOURNAL), (TILES, TILES)] {
            sizes.push((name.to_owned(), size(&self.journal, self.journal_family(family)?)?));
        }
        for family in families() {
            sizes.push((family.name().to_owned(), size(&self.rows, self.family(family.name())?)?));
        }
        Ok(sizes)
    }

    /// Bytes of memory that indices and filters of tables take, the caches of blocks, and the buffers.
    ///
    /// # Errors
    /// The store failed.
    #[cfg(feature = "testing")]
    pub fn memory_bytes(&self) -> Result<u64, StoreError> {
        const PARTS: [&str; 3] =
            ["rocksdb.estimate-table-readers-mem", "rocksdb.block-cache-usage", "rocksdb.size-all-mem-tables"];
        let mut bytes = 0;
        let mut add = |db: &DB, family: ColumnFamilyRef<'_>| -> Result<(), StoreError> {
            for part in PARTS {
                let found = db.property_int_value_cf(&family, part).map_err(|error| failed(&error))?;
                bytes += found.unwrap_or_default();
            }
            Ok(())
        };
        for family in [RECORDS, TILES] {
            add(&self.journal, self.journal_family(family)?)?;
        }
        for family in families() {
            add(&self.rows, self.family(family.name())?)?;
        }
        Ok(bytes)
    }

    fn family(&self, name: &str) -> Result<ColumnFamilyRef<'_>, StoreError> {
        self.rows.cf_handle(name).ok_or_else(|| missing(name))
    }

    fn journal_family(&self, name: &str) -> Result<ColumnFamilyRef<'_>, StoreError> {
        self.journal.cf_handle(name).ok_or_else(|| missing(name))
    }

    /// A table; `None` where a directory older than the table is opened read-only, so that it has no row.
    fn table(&self, table: Table) -> Option<ColumnFamilyRef<'_>> {
        self.rows.cf_handle(table_name(table))
    }

    /// The files of a table that may hold the key.
    fn files_around(&self, name: &str, key: &[u8]) -> Result<Vec<PathBuf>, StoreError> {
        let files = self.rows.live_files().map_err(|error| failed(&error))?;
        let may_hold = |file: &LiveFile| {
            file.column_family_name == name
                && file.start_key.as_deref().is_none_or(|start| start <= key)
                && file.end_key.as_deref().is_none_or(|end| key <= end)
        };
        let path = |file: &LiveFile| self.rows.path().join(file.name.trim_start_matches('/'));
        Ok(files.iter().filter(|file| may_hold(file)).map(path).collect())
    }

    fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get_cf(self.family(META)?, key).map_err(|error| failed(&error))
    }

    /// Written without a log, too: a flush makes it durable and leaves no log behind.
    fn put_meta(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let put = self.rows.put_cf_opt(self.family(META)?, key, value, &unlogged());
        put.map_err(|error| failed(&error))?;
        self.flush_rows(std::iter::once(META))
    }

    /// Visits records from the place that `seek` finds, step by step.
    fn visit_journal(
        &self,
        seek: impl FnOnce(&mut DBRawIterator<'_>),
        step: fn(&mut DBRawIterator<'_>),
        visit: Visit<'_>,
    ) -> Result<(), StoreError> {
        let mut at = self.journal.raw_iterator_opt(once_read());
        seek(&mut at);
        while let Some((key, value)) = at.item() {
            if visit(entry(key, value)?).is_break() {
                return Ok(());
            }
            step(&mut at);
        }
        at.status().map_err(|error| unread(&error))
    }

    /// Reads on record by record. An iterator looks into every table that may hold what it seeks, and ends where any of them
    /// is damaged, also beside a record that is whole in another.
    fn read_beside_damage(&self, from: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        for sequence in (from.0..=self.head()?.0).map(Sequence) {
            let missing = || StoreError::Corrupt(format!("record {sequence} is missing beside a damaged table"));
            if visit(self.entry(sequence)?.ok_or_else(missing)?.lent()).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The last record, from what is known of the tables without their blocks, and from the log.
    fn end_beside_damage(&self) -> Result<Sequence, StoreError> {
        let files = self.journal.live_files().map_err(|error| failed(&error))?;
        let last = |file: &LiveFile| file.end_key.as_deref()?.try_into().ok().map(u64::from_be_bytes);
        let of_records = files.iter().filter(|file| file.column_family_name == RECORDS);
        let mut end = Sequence(of_records.filter_map(last).max().unwrap_or_default());
        while let Some(next) = end.0.checked_add(1).map(Sequence)
            && self.entry(next)?.is_some()
        {
            end = next;
        }
        Ok(end)
    }
}

/// A start and a check end here, so that this names the way on.
fn with_way_on(error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt(error) => {
            StoreError::Corrupt(format!("{error}; where no backup has it, see `tapgate journal quarantine`"))
        }
        error => error,
    }
}

fn missing(family: &str) -> StoreError {
    StoreError::Corrupt(format!("column family {family} is missing"))
}

/// The version that wrote these rows; `None` for new rows.
fn format_of(rows: &DB) -> Result<Option<Vec<u8>>, StoreError> {
    let meta = rows.cf_handle(META).ok_or_else(|| missing(META))?;
    rows.get_cf(meta, FORMAT).map_err(|error| failed(&error))
}

/// A seed that nobody outside knows.
fn chosen_seed() -> Result<u64, StoreError> {
    let mut seed = [0; 8];
    rustix::rand::getrandom(&mut seed, GetRandomFlags::empty())
        .map_err(|error| StoreError::Failed(format!("the system gives no random numbers: {error}")))?;
    Ok(u64::from_be_bytes(seed))
}

fn seed_of(rows: &DB) -> Result<u64, StoreError> {
    let seed =
        rows.cf_handle(META).map(|meta| rows.get_cf(meta, ID_SEED)).transpose().map_err(|error| failed(&error))?;
    let seed = seed.flatten().and_then(|bytes| bytes.try_into().ok());
    seed.map(u64::from_be_bytes).ok_or_else(|| StoreError::Corrupt("the index of ids has lost its seed".to_owned()))
}

fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

fn waited_for() -> FlushOptions {
    let mut options = FlushOptions::default();
    options.set_wait(true);
    options
}

/// What is read through from end to end takes no other's place in the cache.
fn once_read() -> ReadOptions {
    let mut reading = ReadOptions::default();
    reading.set_verify_checksums(true);
    reading.fill_cache(false);
    reading
}

fn entry<'a>(key: &[u8], value: &'a [u8]) -> Result<Entry<&'a [u8]>, StoreError> {
    let key: [u8; 8] = key.try_into().map_err(|_| StoreError::Corrupt("a journal key is not 8 bytes".to_owned()))?;
    let sequence = Sequence(u64::from_be_bytes(key));
    let (leaf, payload) = value
        .split_first_chunk()
        .ok_or_else(|| StoreError::Corrupt(format!("journal record {sequence} is shorter than its hash")))?;
    Ok(Entry { sequence, leaf: *leaf, payload })
}

/// Level and index: nodes of one level lie together, in order.
fn node_key(span: Span) -> [u8; 9] {
    let mut key = [0; 9];
    let (level, index) = key.split_at_mut(1);
    level.copy_from_slice(&[span.level]);
    index.copy_from_slice(&span.index.to_be_bytes());
    key
}

impl Store for Rocks {
    fn append(&self, entries: &[Entry], completed: &[Node]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let mut value = Vec::with_capacity(1024);
        for entry in entries {
            value.clear();
            value.extend_from_slice(&entry.leaf);
            value.extend_from_slice(&entry.payload);
            batch.put(entry.sequence.0.to_be_bytes(), &value);
        }
        let tiles = self.journal_family(TILES)?;
        completed.iter().for_each(|node| batch.put_cf(tiles, node_key(node.span), node.hash));
        let mut options = WriteOptions::default();
        options.set_sync(self.sync_mode == SyncMode::Fsync);
        self.journal.write_opt(batch, &options).map_err(|error| failed(&error))?;
        self.head.as_ref().map_or(Ok(()), |head| head.follow(entries, completed))
    }

    fn sync_head(&self) -> Result<(), StoreError> {
        let log = || match self.sync_mode {
            SyncMode::Fsync => Ok(()),
            SyncMode::Os => self.journal.flush_wal(true).map_err(|error| failed(&error)),
        };
        self.head.as_ref().map_or(Ok(()), |head| head.sync(log))
    }

    fn head(&self) -> Result<Sequence, StoreError> {
        let mut head = Sequence::ZERO;
        let read = self.visit_journal(|at| at.seek_to_last(), |at| at.prev(), &mut |entry| {
            head = entry.sequence;
            ControlFlow::Break(())
        });
        match read {
            Err(StoreError::Corrupt(_)) => self.end_beside_damage(),
            read => read.map(|()| head),
        }
    }

    fn node(&self, span: Span) -> Result<Option<Hash>, StoreError> {
        let found = self.journal.get_cf(self.journal_family(TILES)?, node_key(span)).map_err(|error| failed(&error))?;
        let hash = |bytes: Vec<u8>| bytes.try_into().ok();
        let damaged = || {
            StoreError::Corrupt(format!("the tree's hash of records {} to {} is damaged", span.first(), span.last()))
        };
        found.map(|bytes| hash(bytes).ok_or_else(damaged)).transpose()
    }

    fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        // A caller may read after the last possible sequence.
        let Some(first) = after.0.checked_add(1) else { return Ok(()) };
        let mut next = Sequence(first);
        let read = self.visit_journal(|at| at.seek(first.to_be_bytes()), |at| at.next(), &mut |entry| {
            next = Sequence(entry.sequence.0.saturating_add(1));
            visit(entry)
        });
        match read {
            Err(StoreError::Corrupt(_)) => self.read_beside_damage(next, visit),
            read => read,
        }
    }

    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        let Some(last) = before.0.checked_sub(1) else { return Ok(()) };
        self.visit_journal(|at| at.seek_for_prev(last.to_be_bytes()), |at| at.prev(), visit)
    }

    fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, StoreError> {
        let key = sequence.0.to_be_bytes();
        let value = self.journal.get_pinned(key).map_err(|error| match unread(&error) {
            StoreError::Corrupt(error) => StoreError::Corrupt(format!("record {sequence}: {error}")),
            error => error,
        })?;
        let Some(value) = value else { return Ok(None) };
        let Entry { sequence, leaf, payload } = entry(&key, &value)?;
        Ok(Some(Entry { sequence, leaf, payload: payload.to_vec() }))
    }

    fn id_seed(&self) -> u64 {
        self.id_seed
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(family) = self.table(table) else { return Ok(None) };
        self.rows.get_cf_opt(family, key, &self.reading).map_err(|error| failed(&error))
    }

    fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError> {
        let Some(family) = self.table(table) else { return Ok(()) };
        let mut at = self.rows.raw_iterator_cf(&family);
        at.seek_to_first();
        while let Some((key, value)) = at.item() {
            visit(key, value)?;
            at.next();
        }
        at.status().map_err(|error| failed(&error))
    }

    fn forget_cached(&self) -> Result<(), StoreError> {
        for database in [&self.journal, &self.rows] {
            for file in database.live_files().map_err(|error| failed(&error))? {
                // A compaction may have replaced it meanwhile; the advice is no more than that.
                if let Ok(file) = std::fs::File::open(database.path().join(file.name.trim_start_matches('/'))) {
                    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
                }
            }
        }
        Ok(())
    }

    fn check_rows(&self, table: Table, after: &[u8], most: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(family) = self.table(table) else { return Ok(None) };
        let mut at = self.rows.raw_iterator_cf_opt(&family, once_read());
        at.seek(after);
        if at.key() == Some(after) {
            at.next();
        }
        let (mut last, mut read) = (None, 0);
        while let Some(key) = at.key().filter(|_| read < most) {
            read += 1;
            if read == most {
                last = Some(key.to_vec());
            }
            at.next();
        }
        at.status().map_err(|error| failed(&error))?;
        Ok(last)
    }

    fn put_rows(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        let unlogged = unlogged();
        // The watermark makes the rows atomic, so the batches need not be: small batches stay in the processor's cache.
        for some in rows.chunks(ROWS_IN_BATCH) {
            let mut batch = WriteBatch::default();
            for row in some {
                batch.put_cf(self.family(table_name(row.table))?, &row.key, &row.value);
            }
            self.rows.write_opt(batch, &unlogged).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn delete_rows(&self, table: Table, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        let (unlogged, family) = (unlogged(), self.family(table_name(table))?);
        for some in keys.chunks(ROWS_IN_BATCH) {
            let mut batch = WriteBatch::default();
            some.iter().for_each(|key| batch.delete_cf(family, key));
            self.rows.write_opt(batch, &unlogged).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn put_synced(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        self.put_rows(rows)?;
        let tables: BTreeSet<Table> = rows.iter().map(|row| row.table).collect();
        self.flush_rows(tables.into_iter().map(table_name))
    }

    /// A deletion hides a value until some later compaction drops it. Here it is compacted away at once, with every value
    /// beneath it, and the files that held them are gone before this returns.
    fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let name = table_name(table);
        self.delete_rows(table, &[key.to_vec()])?;
        self.flush_rows(std::iter::once(name))?;
        replaced.extend(self.files_around(name, key)?);
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.rows.compact_range_cf_opt(&self.family(name)?, Some(key), Some(key), &options);
        // A reader may have kept old files from being deleted: allowing it again deletes whatever nobody reads.
        let deleted = self.rows.disable_file_deletions().and_then(|()| self.rows.enable_file_deletions());
        deleted.map_err(|error| failed(&error))?;
        // The compaction reports no error.
        replaced.retain(|file| file.try_exists().unwrap_or(true));
        match replaced.first() {
            None => Ok(()),
            Some(file) => Err(StoreError::Failed(format!(
                "what was to be erased is still in {}, which is in use: erase again",
                file.display()
            ))),
        }
    }

    fn write_rows(&self, rows: &[RowBytes], watermark: &Frontier) -> Result<(), StoreError> {
        self.put_rows(rows)?;
        if self.sync_mode == SyncMode::Os {
            // Rows reach the disk now: their records must be there first.
            self.journal.flush_wal(true).map_err(|error| failed(&error))?;
        }
        self.flush_rows(Table::ALL.into_iter().map(table_name))?;
        self.put_meta(WATERMARK, &watermark.encode())
    }

    fn close(&self) {
        self.journal.cancel_all_background_work(true);
        self.rows.cancel_all_background_work(true);
    }

    fn frontier(&self) -> Result<Frontier, StoreError> {
        let Some(bytes) = self.meta(WATERMARK)? else { return Ok(Frontier::default()) };
        Frontier::decode(&bytes).ok_or_else(|| StoreError::Corrupt("the watermark is damaged".to_owned()))
    }
}

#[cfg(test)]
mod tests;
