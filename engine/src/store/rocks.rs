//! The store on RocksDB: the only file that names it.
//!
//! Two databases: `journal`, with monotone keys, written through the synced write-ahead log and moved down the levels
//! without being rewritten; and `rows`, written without any log: tables are flushed first, and only then their
//! watermark. One database has one queue of writers and stalls all of them when it falls behind: with two, no decision
//! ever waits for a row. The log is recovered strictly: an incomplete last write is dropped (it was never
//! acknowledged); any other failed check stops the start.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, ColumnFamilyDescriptor, ColumnFamilyRef, CompactOptions, DB,
    DBCompressionType, DBRecoveryMode, Direction, Env, FlushOptions, IteratorMode, LiveFile, Options, ReadOptions,
    WriteBatch, WriteOptions,
};
use rustix::fs::{Mode, OFlags};

use super::{Chain, Entry, GENESIS, RowBytes, Store, StoreError, Table, Visit, VisitRow};
use crate::ids::Sequence;

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

const META: &str = "meta";

const WATERMARK: &[u8] = b"watermark";

const FORMAT: &[u8] = b"format";

const FORMAT_VERSION: u8 = 11;

/// Bloom filter bits per key: 1 % false positives, so that a new id costs no read.
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// Bytes in memory before the journal is flushed; bounds the log that recovery reads again.
const JOURNAL_BUFFER_BYTES: usize = 64 << 20;

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

/// Concurrent flushes, and compactions: one for each database.
const BACKGROUND_THREADS: i32 = 2;

/// RocksDB's own diagnostic log.
const INFO_LOGS_KEPT: usize = 4;

/// The store on RocksDB.
pub struct Rocks {
    journal: DB,
    rows: DB,
    sync_mode: SyncMode,
    /// Files that an erasure has replaced, and that a reader kept from being deleted. One erasure at a time.
    replaced: Mutex<Vec<PathBuf>>,
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rocks").field("path", &self.journal.path()).field("sync_mode", &self.sync_mode).finish()
    }
}

fn table_name(table: Table) -> &'static str {
    match table {
        Table::Users => "users",
        Table::Authorizations => "authorizations",
        Table::Answers => "answers",
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

fn options() -> Options {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_recycle_log_file_num(0);
    options.set_paranoid_checks(true);
    options.set_keep_log_file_num(INFO_LOGS_KEPT);
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

fn journal_options() -> Options {
    let mut options = options();
    options.set_compression_type(DBCompressionType::Snappy);
    options.set_write_buffer_size(JOURNAL_BUFFER_BYTES);
    options.set_max_write_buffer_number(JOURNAL_BUFFERS_MAX);
    options
}

fn family(name: &str) -> ColumnFamilyDescriptor {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Snappy);
    // Compactions that fall behind only slow reads of rows: the thread that writes rows must never stall.
    options.set_level_zero_slowdown_writes_trigger(NEVER);
    options.set_level_zero_stop_writes_trigger(NEVER);
    options.set_soft_pending_compaction_bytes_limit(0);
    options.set_hard_pending_compaction_bytes_limit(0);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    options.set_block_based_table_factory(&blocks);
    ColumnFamilyDescriptor::new(name, options)
}

fn families() -> impl Iterator<Item = ColumnFamilyDescriptor> {
    std::iter::once(META).chain(Table::ALL.into_iter().map(table_name)).map(family)
}

/// Refuses a directory of another version, or without its journal, before RocksDB does so in its own words: a table that
/// this program does not have fails any opening for writing.
fn check_directory(directory: &Path) -> Result<(), StoreError> {
    // An early version kept its database in the directory itself.
    if directory.join("CURRENT").is_file() {
        return Err(other_version(directory, "the format of an early version"));
    }
    let rows = directory.join(ROWS);
    if !rows.join("CURRENT").is_file() {
        return Ok(());
    }
    let stored = DB::list_cf(&options(), &rows).map_err(|error| failed(&error))?;
    if !stored.iter().any(|name| name == META) {
        // Its first start was cut short.
        return Ok(());
    }
    let meta = DB::open_cf_for_read_only(&options(), &rows, [META], false).map_err(|error| failed(&error))?;
    let Some(format) = format_of(&meta)? else { return Ok(()) };
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
    Ok(())
}

fn other_version(directory: &Path, found: &str) -> StoreError {
    StoreError::Failed(format!(
        "the data directory {} has {found}, and this tapgate reads format {FORMAT_VERSION}: run the version of tapgate \
         that wrote it, for `tapgate serve` and `tapgate journal` alike",
        directory.display()
    ))
}

/// RocksDB's error names the file and place of the failed check.
fn failed(error: &rocksdb::Error) -> StoreError {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Failed(error.to_string()),
    }
}

impl Rocks {
    /// Opens the data directory, creating it if missing. Makes records read again from the log durable.
    ///
    /// # Errors
    /// Another process holds it, it is corrupt, or another version wrote it.
    pub fn open(directory: &Path, sync_mode: SyncMode) -> Result<Rocks, StoreError> {
        check_directory(directory)?;
        let made = std::fs::create_dir_all(directory);
        made.map_err(|error| StoreError::Failed(format!("the data directory cannot be made: {error}")))?;
        let is_direct = takes_direct_io(directory);
        let serving = |mut options: Options, create: bool| {
            options.create_if_missing(create);
            options.create_missing_column_families(true);
            options.set_use_direct_io_for_flush_and_compaction(is_direct);
            options
        };
        let mut of_rows = serving(options(), true);
        of_rows.set_db_write_buffer_size(ROWS_BUFFER_BYTES);
        let rows = DB::open_cf_descriptors(&of_rows, directory.join(ROWS), families());
        let rows = rows.map_err(|error| failed(&error))?;
        let format = format_of(&rows)?;
        let journal = DB::open(&serving(journal_options(), format.is_none()), directory.join(JOURNAL));
        let journal = journal.map_err(|error| failed(&error))?;
        let store = Rocks { journal, rows, sync_mode, replaced: Mutex::default() };
        if format.is_none() {
            let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| StoreError::Failed(format!("the data directory cannot be synced: {error}")))?;
            store.put_meta(FORMAT, &[FORMAT_VERSION])?;
        }
        store.flush_all()?;
        Ok(store)
    }

    /// Opens the data directory read-only; changes nothing in it.
    ///
    /// # Errors
    /// There is no such directory, it is corrupt, or another version wrote it.
    pub fn open_read_only(directory: &Path) -> Result<Rocks, StoreError> {
        check_directory(directory)?;
        let [rows, journal] = [ROWS, JOURNAL].map(|name| directory.join(name));
        for half in [&rows, &journal] {
            if !half.join("CURRENT").is_file() {
                let (directory, half) = (directory.display(), half.display());
                return Err(StoreError::Failed(format!("{directory} is not a data directory: {half} holds nothing")));
            }
        }
        // An older program may have written the directory: a table added later is missing, and nothing is created here.
        let existing = DB::list_cf(&options(), &rows).map_err(|error| failed(&error))?;
        let families = families().filter(|family| existing.iter().any(|name| name == family.name()));
        // A running program may be writing: the journal, opened last, reaches at least as far as the rows.
        let rows = DB::open_cf_descriptors_read_only(&options(), rows, families, false);
        let rows = rows.map_err(|error| failed(&error))?;
        let journal = DB::open_for_read_only(&journal_options(), journal, false).map_err(|error| failed(&error))?;
        if format_of(&rows)?.is_none() {
            let directory = directory.display();
            return Err(StoreError::Failed(format!(
                "{directory} has no format: its first start was cut short, start again"
            )));
        }
        Ok(Rocks { journal, rows, sync_mode: SyncMode::Os, replaced: Mutex::default() })
    }

    fn flush_all(&self) -> Result<(), StoreError> {
        self.journal.flush_opt(&waited_for()).map_err(|error| failed(&error))?;
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
        self.journal.compact_range(everything, everything);
        let journal = self.journal.property_int_value(BYTES).map_err(|error| failed(&error))?;
        let mut sizes = vec![(JOURNAL.to_owned(), journal.unwrap_or(0))];
        for family in families() {
            let (name, handle) = (family.name(), self.family(family.name())?);
            self.rows.compact_range_cf(handle, everything, everything);
            let bytes = self.rows.property_int_value_cf(handle, BYTES).map_err(|error| failed(&error))?;
            sizes.push((name.to_owned(), bytes.unwrap_or(0)));
        }
        Ok(sizes)
    }

    fn family(&self, name: &str) -> Result<ColumnFamilyRef<'_>, StoreError> {
        self.rows.cf_handle(name).ok_or_else(|| StoreError::Corrupt(format!("column family {name} is missing")))
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

    /// Written without a log, too: a flush makes it durable and leaves no log behind.
    fn put_meta(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let put = self.rows.put_cf_opt(self.family(META)?, key, value, &unlogged());
        put.map_err(|error| failed(&error))?;
        self.flush_rows(std::iter::once(META))
    }

    fn visit_journal(&self, mode: IteratorMode<'_>, visit: Visit<'_>) -> Result<(), StoreError> {
        let mut reading = ReadOptions::default();
        reading.set_verify_checksums(true);
        for item in self.journal.iterator_opt(mode, reading) {
            let (key, value) = item.map_err(|error| failed(&error))?;
            if visit(entry(&key, &value)?).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The version that wrote these rows; `None` for new rows.
fn format_of(rows: &DB) -> Result<Option<Vec<u8>>, StoreError> {
    let meta = rows.cf_handle(META).ok_or_else(|| StoreError::Corrupt(format!("column family {META} is missing")))?;
    rows.get_cf(meta, FORMAT).map_err(|error| failed(&error))
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

fn entry(key: &[u8], value: &[u8]) -> Result<Entry, StoreError> {
    let key: [u8; 8] = key.try_into().map_err(|_| StoreError::Corrupt("a journal key is not 8 bytes".to_owned()))?;
    let sequence = Sequence(u64::from_be_bytes(key));
    let (chain, payload) = value
        .split_first_chunk::<32>()
        .ok_or_else(|| StoreError::Corrupt(format!("journal record {sequence} is shorter than its hash")))?;
    Ok(Entry { sequence, chain: *chain, payload: payload.to_vec() })
}

impl Store for Rocks {
    fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let mut value = Vec::with_capacity(1024);
        for entry in entries {
            value.clear();
            value.extend_from_slice(&entry.chain);
            value.extend_from_slice(&entry.payload);
            batch.put(entry.sequence.0.to_be_bytes(), &value);
        }
        let mut options = WriteOptions::default();
        options.set_sync(self.sync_mode == SyncMode::Fsync);
        self.journal.write_opt(batch, &options).map_err(|error| failed(&error))
    }

    fn head(&self) -> Result<(Sequence, Chain), StoreError> {
        let mut head = (Sequence::ZERO, GENESIS);
        self.visit_journal(IteratorMode::End, &mut |entry| {
            head = (entry.sequence, entry.chain);
            ControlFlow::Break(())
        })?;
        Ok(head)
    }

    fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        // A caller may read after the last possible sequence.
        let Some(first) = after.0.checked_add(1) else { return Ok(()) };
        self.visit_journal(IteratorMode::From(&first.to_be_bytes(), Direction::Forward), visit)
    }

    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        let Some(last) = before.0.checked_sub(1) else { return Ok(()) };
        self.visit_journal(IteratorMode::From(&last.to_be_bytes(), Direction::Reverse), visit)
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(family) = self.table(table) else { return Ok(None) };
        self.rows.get_cf(family, key).map_err(|error| failed(&error))
    }

    fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError> {
        let Some(family) = self.table(table) else { return Ok(()) };
        for item in self.rows.iterator_cf(family, IteratorMode::Start) {
            let (key, value) = item.map_err(|error| failed(&error))?;
            visit(&key, &value)?;
        }
        Ok(())
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

    fn write_rows(&self, rows: &[RowBytes], watermark: Sequence) -> Result<(), StoreError> {
        self.put_rows(rows)?;
        if self.sync_mode == SyncMode::Os {
            // Rows reach the disk now: their records must be there first.
            self.journal.flush_wal(true).map_err(|error| failed(&error))?;
        }
        self.flush_rows(Table::ALL.into_iter().map(table_name))?;
        self.put_meta(WATERMARK, &watermark.0.to_be_bytes())
    }

    fn close(&self) {
        self.journal.cancel_all_background_work(true);
        self.rows.cancel_all_background_work(true);
    }

    fn watermark(&self) -> Result<Sequence, StoreError> {
        match self.rows.get_cf(self.family(META)?, WATERMARK).map_err(|error| failed(&error))? {
            None => Ok(Sequence::ZERO),
            Some(bytes) => {
                let bytes: [u8; 8] =
                    bytes.try_into().map_err(|_| StoreError::Corrupt("the watermark is not 8 bytes".to_owned()))?;
                Ok(Sequence(u64::from_be_bytes(bytes)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(store: &Rocks) -> usize {
        let mut rows = 0;
        for table in Table::ALL {
            let counted = store.rows(table, &mut |_, _| {
                rows += 1;
                Ok(())
            });
            counted.unwrap();
        }
        rows
    }

    #[test]
    fn a_directory_without_the_younger_tables_is_read_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let mut older = options();
        older.create_if_missing(true);
        older.create_missing_column_families(true);
        drop(DB::open(&older, directory.path().join(JOURNAL)).unwrap());
        let names = [META, table_name(Table::Users)];
        let db = DB::open_cf_descriptors(&older, directory.path().join(ROWS), names.map(family)).unwrap();
        db.put_cf(db.cf_handle(META).unwrap(), FORMAT, [FORMAT_VERSION]).unwrap();
        db.put_cf(db.cf_handle(table_name(Table::Users)).unwrap(), b"user", b"row").unwrap();
        drop(db);
        let store = Rocks::open_read_only(directory.path()).unwrap();
        assert_eq!((rows(&store), store.row(Table::Alerts, b"key").unwrap()), (1, None));
        drop(store);
        let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
        let row = RowBytes { table: Table::Alerts, key: b"key".to_vec(), value: b"row".to_vec() };
        store.write_rows(&[row], Sequence::ZERO).unwrap();
        assert_eq!(rows(&store), 2, "serving makes the tables that are missing");
        drop(store);
        assert_eq!(rows(&Rocks::open_read_only(directory.path()).unwrap()), 2);
    }

    #[test]
    fn a_directory_of_another_version_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let mut older = Options::default();
        older.create_if_missing(true);
        drop(DB::open(&older, directory.path()).unwrap());
        let said = |store: Result<Rocks, StoreError>| store.unwrap_err().to_string();
        let check = |directory: &Path, expected: &str| {
            for said in [said(Rocks::open(directory, SyncMode::Os)), said(Rocks::open_read_only(directory))] {
                assert!(said.contains(expected) && said.contains("run the version of tapgate that wrote it"), "{said}");
            }
        };
        check(directory.path(), "has the format of an early version");
        assert!(!directory.path().join(ROWS).exists());

        let directory = tempfile::tempdir().unwrap();
        let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
        store.rows.put_cf(store.family(META).unwrap(), FORMAT, [FORMAT_VERSION + 1]).unwrap();
        drop(store);
        check(
            directory.path(),
            &format!("has format {}, and this tapgate reads format {FORMAT_VERSION}", FORMAT_VERSION + 1),
        );

        // A table that this program does not have, of an earlier format and of a later version.
        for (format, expected) in [(FORMAT_VERSION - 1, "has format "), (FORMAT_VERSION, "has the table coupons")] {
            let directory = tempfile::tempdir().unwrap();
            let mut store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
            store.rows.create_cf("coupons", &Options::default()).unwrap();
            store.rows.put_cf(store.family(META).unwrap(), FORMAT, [format]).unwrap();
            drop(store);
            check(directory.path(), expected);
        }
    }

    #[test]
    fn a_journal_that_is_lost_is_not_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        drop(Rocks::open(directory.path(), SyncMode::Os).unwrap());
        std::fs::remove_dir_all(directory.path().join(JOURNAL)).unwrap();
        let opened = [Rocks::open(directory.path(), SyncMode::Os), Rocks::open_read_only(directory.path())];
        for said in opened.map(|opened| opened.unwrap_err().to_string()) {
            assert!(said.contains("has rows and no journal") && said.contains("tapgate journal verify"), "{said}");
        }
        assert!(!directory.path().join(JOURNAL).exists());
    }

    /// Whether any file of the directory holds the bytes.
    fn holds(directory: &Path, bytes: &[u8]) -> bool {
        let files = [JOURNAL, ROWS].map(|half| std::fs::read_dir(directory.join(half)).unwrap());
        files.into_iter().flatten().any(|file| {
            let file = std::fs::read(file.unwrap().path()).unwrap();
            file.windows(bytes.len()).any(|part| part == bytes)
        })
    }

    #[test]
    fn what_is_erased_leaves_every_file() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Rocks::open(directory.path(), SyncMode::Fsync).unwrap();
        let store = open();
        let row = |key: &str, value: &str| RowBytes {
            table: Table::Persons,
            key: key.as_bytes().to_vec(),
            value: value.as_bytes().to_vec(),
        };
        store.put_synced(&[row("1", "Wilhelmina"), row("2", "Aloysius"), row("3", "Bartholomew")]).unwrap();
        assert!(holds(directory.path(), b"Aloysius"), "on the disk without a turn of rows");
        store.put_synced(&[row("2", "Ignatius")]).unwrap();
        let read = store.rows.iterator_cf(store.table(Table::Persons).unwrap(), IteratorMode::Start);
        for _ in 0..2 {
            let said = store.erase(Table::Persons, b"2").unwrap_err().to_string();
            assert!(said.contains("in use: erase again"), "a reader holds the file: {said}");
        }
        drop(read);
        store.erase(Table::Persons, b"2").unwrap();
        assert_eq!(store.row(Table::Persons, b"2"), Ok(None));
        assert!(!holds(directory.path(), b"Aloysius") && !holds(directory.path(), b"Ignatius"));
        assert!(holds(directory.path(), b"Wilhelmina") && holds(directory.path(), b"Bartholomew"));
        // Cut short: the deletion is on the disk, and so is the value.
        store.delete_rows(Table::Persons, &[b"3".to_vec()]).unwrap();
        drop(store);
        let store = open();
        assert!(holds(directory.path(), b"Bartholomew"));
        for key in [b"3", b"3", b"9"] {
            store.erase(Table::Persons, key).unwrap();
        }
        assert!(!holds(directory.path(), b"Bartholomew") && holds(directory.path(), b"Wilhelmina"));
        drop(store);
        assert_eq!(rows(&open()), 1);
    }

    #[test]
    fn turns_leave_no_logs_behind() {
        let directory = tempfile::tempdir().unwrap();
        let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
        for turn in 1..=20 {
            let row = RowBytes { table: Table::Users, key: vec![turn], value: b"row".to_vec() };
            store.write_rows(&[row], Sequence(turn.into())).unwrap();
        }
        let files = std::fs::read_dir(directory.path().join(ROWS)).unwrap();
        let logs = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "log"));
        assert!(logs.count() <= 1);
    }

    #[test]
    fn rows_and_their_watermark_are_on_the_disk_once_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
        let row = RowBytes { table: Table::Users, key: b"user".to_vec(), value: b"row".to_vec() };
        store.write_rows(&[row], Sequence(7)).unwrap();
        // A copy of the state after a crash: closing would write more.
        let crashed = tempfile::tempdir().unwrap();
        for half in [JOURNAL, ROWS] {
            std::fs::create_dir(crashed.path().join(half)).unwrap();
            for file in std::fs::read_dir(directory.path().join(half)).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), crashed.path().join(half).join(file.file_name())).unwrap();
            }
        }
        let found = Rocks::open_read_only(crashed.path()).unwrap();
        assert_eq!((found.watermark().unwrap(), rows(&found)), (Sequence(7), 1));
    }
}
