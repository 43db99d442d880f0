//! The store on RocksDB: the only file that names it.
//!
//! The journal is a column family with monotone keys, written through the synced write-ahead log and moved down the
//! levels without being rewritten. Rows are written without the log, flushed, and only then does the watermark say so:
//! their random keys never touch the synced path. RocksDB's log is recovered strictly: an incomplete last write is
//! dropped (it was never acknowledged), anything else that does not check stops the start.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rocksdb::{
    BlockBasedOptions, ColumnFamilyDescriptor, ColumnFamilyRef, DB, DBCompressionType, DBRecoveryMode, Direction, Env,
    FlushOptions, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

use rustix::fs::{Mode, OFlags};

use super::store::{Chain, Entry, GENESIS, Row, Store, StoreError, Table, Visit, VisitRow};
use crate::ids::Sequence;

/// When an append is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk: survives the machine.
    Fsync,
    /// In the operating system: survives the process only.
    Os,
}

const JOURNAL: &str = "journal";
const META: &str = "meta";
const WATERMARK: &[u8] = b"watermark";
const FORMAT: &[u8] = b"format";
const FORMAT_VERSION: u8 = 3;

/// Bloom filter bits per key: 1 % false positives, so that a new id costs no read.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Writes in memory before the journal's column family is flushed; bounds what recovery re-reads from the log.
const JOURNAL_BUFFER_BYTES: usize = 64 << 20;
/// Log that may pile up before everything is flushed.
const LOG_BYTES_MAX: u64 = 256 << 20;
/// Rows written at once; of 200 bytes each they are 50 KB.
const ROWS_IN_BATCH: usize = 256;
/// Where files beside the log go through the page cache they reach the disk in pieces of this size, so that no sync of the
/// log waits behind a whole file.
const BYTES_PER_SYNC: u64 = 512 << 10;
/// What flushes and compactions may write a second: several times what the engine can make of journal and rows, and so
/// little at once that the log's syncs find their way between.
const BACKGROUND_BYTES_PER_SECOND: i64 = 32 << 20;
const BACKGROUND_REFILL_MICROS: i64 = 20_000;
/// RocksDB's default: once in ten times compactions come before flushes.
const BACKGROUND_FAIRNESS: i32 = 10;
/// Buffers of the journal's column family: at a low priority a flush may take a while, and writes must not wait for it.
const JOURNAL_BUFFERS_MAX: i32 = 4;
/// Buffers of a table: rows are written in bursts, and a flush takes its time.
const TABLE_BUFFERS_MAX: i32 = 4;
/// More files than there will be.
const NEVER: i32 = 1 << 20;
/// Rows put before their tables are flushed and that is waited for: more than a buffer of each would have RocksDB hold back
/// every write, the journal's too.
const UNFLUSHED_BYTES_MAX: usize = 32 << 20;
/// RocksDB's own diagnostic log.
const INFO_LOGS_KEPT: usize = 4;

/// The store on RocksDB.
pub struct Rocks {
    db: DB,
    durability: Durability,
    /// Bytes of rows put since their tables were last flushed.
    unflushed: AtomicUsize,
}

impl std::fmt::Debug for Rocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rocks").field("path", &self.db.path()).field("durability", &self.durability).finish()
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
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_recycle_log_file_num(0);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(LOG_BYTES_MAX);
    options.set_keep_log_file_num(INFO_LOGS_KEPT);
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    options.set_ratelimiter(BACKGROUND_BYTES_PER_SECOND, BACKGROUND_REFILL_MICROS, BACKGROUND_FAIRNESS);
    // Flushes and compactions have all the time that decisions leave. Without an environment of its own the store runs
    // them as RocksDB does.
    if let Ok(mut env) = Env::new() {
        env.lower_thread_pool_cpu_priority();
        env.lower_high_priority_thread_pool_cpu_priority();
        options.set_env(&env);
    }
    options
}

/// Whether files in this directory can be written past the page cache; not every file system can. Through it, a file
/// system's journal has each sync of the log wait for whatever else was written to it.
fn takes_direct_io(directory: &Path) -> bool {
    let probe = directory.join("direct-io");
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    // The store makes it just so; where it cannot, it says why.
    let _ = std::fs::create_dir(directory);
    let opened = rustix::fs::open(&probe, flags, Mode::RUSR | Mode::WUSR).is_ok();
    // Nothing reads it; the next start writes it again.
    let _ = std::fs::remove_file(&probe);
    opened
}

fn family(name: &str) -> ColumnFamilyDescriptor {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Snappy);
    let mut blocks = BlockBasedOptions::default();
    if name == JOURNAL {
        options.set_write_buffer_size(JOURNAL_BUFFER_BYTES);
        options.set_max_write_buffer_number(JOURNAL_BUFFERS_MAX);
    } else {
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        // Where compactions fall behind, reads of rows get slower, and that is all: RocksDB would hold every write back,
        // the journal's too.
        options.set_max_write_buffer_number(TABLE_BUFFERS_MAX);
        options.set_level_zero_slowdown_writes_trigger(NEVER);
        options.set_level_zero_stop_writes_trigger(NEVER);
        options.set_soft_pending_compaction_bytes_limit(0);
        options.set_hard_pending_compaction_bytes_limit(0);
    }
    options.set_block_based_table_factory(&blocks);
    ColumnFamilyDescriptor::new(name, options)
}

fn families() -> Vec<ColumnFamilyDescriptor> {
    let tables = Table::ALL.into_iter().map(table_name);
    [JOURNAL, META].into_iter().chain(tables).map(family).collect()
}

/// RocksDB names the file and place of what does not check.
fn failed(error: &rocksdb::Error) -> StoreError {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Failed(error.to_string()),
    }
}

impl Rocks {
    /// Opens the data directory, creating it where there is none. What was re-read from the log is made durable.
    ///
    /// # Errors
    /// Another process holds it, it is corrupt, or another version wrote it.
    pub fn open(directory: &Path, durability: Durability) -> Result<Rocks, StoreError> {
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_use_direct_io_for_flush_and_compaction(takes_direct_io(directory));
        let db = DB::open_cf_descriptors(&options, directory, families()).map_err(|error| failed(&error))?;
        let store = Rocks { db, durability, unflushed: AtomicUsize::new(0) };
        store.check_format()?;
        store.flush_all()?;
        Ok(store)
    }

    /// Opens the data directory to read only; nothing in it is changed.
    ///
    /// # Errors
    /// There is none, it is corrupt, or another version wrote it.
    pub fn open_read_only(directory: &Path) -> Result<Rocks, StoreError> {
        if !directory.join("CURRENT").is_file() {
            return Err(StoreError::Failed(format!("{} is not a data directory", directory.display())));
        }
        // An older program may have written it: nothing is created here, so a table that came later is not there.
        let existing = DB::list_cf(&options(), directory).map_err(|error| failed(&error))?;
        let families = families().into_iter().filter(|family| existing.iter().any(|name| name == family.name()));
        let opened = DB::open_cf_descriptors_read_only(&options(), directory, families, false);
        let db = opened.map_err(|error| failed(&error))?;
        let store = Rocks { db, durability: Durability::Os, unflushed: AtomicUsize::new(0) };
        match store.get(META, FORMAT)? {
            Some(version) if version == [FORMAT_VERSION] => Ok(store),
            _ => Err(StoreError::Failed(format!("{} was written by another version", directory.display()))),
        }
    }

    fn check_format(&self) -> Result<(), StoreError> {
        match self.get(META, FORMAT)? {
            None => {
                let mut sync = WriteOptions::default();
                sync.set_sync(true);
                self.db.put_cf_opt(self.family(META)?, FORMAT, [FORMAT_VERSION], &sync).map_err(|error| failed(&error))
            }
            Some(version) if version == [FORMAT_VERSION] => Ok(()),
            Some(version) => Err(StoreError::Failed(format!(
                "the data directory has format {version:?}, this program writes {FORMAT_VERSION}: use the program that wrote it"
            ))),
        }
    }

    fn flush_all(&self) -> Result<(), StoreError> {
        self.flush([JOURNAL, META].into_iter().chain(Table::ALL.into_iter().map(table_name)))
    }

    fn flush_tables(&self) -> Result<(), StoreError> {
        self.unflushed.store(0, Ordering::Relaxed);
        self.flush(Table::ALL.into_iter().map(table_name))
    }

    fn flush(&self, names: impl Iterator<Item = &'static str>) -> Result<(), StoreError> {
        let families = names.map(|name| self.family(name)).collect::<Result<Vec<_>, _>>()?;
        let references: Vec<_> = families.iter().collect();
        let mut wait = FlushOptions::default();
        wait.set_wait(true);
        self.db.flush_cfs_opt(&references, &wait).map_err(|error| failed(&error))
    }

    fn family(&self, name: &str) -> Result<ColumnFamilyRef<'_>, StoreError> {
        self.db.cf_handle(name).ok_or_else(|| StoreError::Corrupt(format!("column family {name} is missing")))
    }

    /// A table; `None` where the directory is older than the table and opened to read only, so that it holds no row.
    fn table(&self, table: Table) -> Option<ColumnFamilyRef<'_>> {
        self.db.cf_handle(table_name(table))
    }

    fn get(&self, name: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(name)?, key).map_err(|error| failed(&error))
    }

    fn visit_journal(&self, mode: IteratorMode<'_>, visit: Visit<'_>) -> Result<(), StoreError> {
        let mut reading = ReadOptions::default();
        reading.set_verify_checksums(true);
        for item in self.db.iterator_cf_opt(self.family(JOURNAL)?, reading, mode) {
            let (key, value) = item.map_err(|error| failed(&error))?;
            if visit(entry(&key, &value)?).is_break() {
                break;
            }
        }
        Ok(())
    }
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
        let journal = self.family(JOURNAL)?;
        let mut batch = WriteBatch::default();
        let mut value = Vec::with_capacity(1024);
        for entry in entries {
            value.clear();
            value.extend_from_slice(&entry.chain);
            value.extend_from_slice(&entry.payload);
            batch.put_cf(journal, entry.sequence.0.to_be_bytes(), &value);
        }
        let mut options = WriteOptions::default();
        options.set_sync(self.durability == Durability::Fsync);
        self.db.write_opt(batch, &options).map_err(|error| failed(&error))
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
        // Anybody may ask for what comes after the last number there is.
        let Some(first) = after.0.checked_add(1) else { return Ok(()) };
        self.visit_journal(IteratorMode::From(&first.to_be_bytes(), Direction::Forward), visit)
    }

    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        let Some(last) = before.0.checked_sub(1) else { return Ok(()) };
        self.visit_journal(IteratorMode::From(&last.to_be_bytes(), Direction::Reverse), visit)
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(family) = self.table(table) else { return Ok(None) };
        self.db.get_cf(family, key).map_err(|error| failed(&error))
    }

    fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError> {
        let Some(family) = self.table(table) else { return Ok(()) };
        for item in self.db.iterator_cf(family, IteratorMode::Start) {
            let (key, value) = item.map_err(|error| failed(&error))?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn put_rows(&self, rows: &[Row]) -> Result<(), StoreError> {
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        // The watermark makes them one, so the batches need not be: small ones stay in the processor's cache.
        for some in rows.chunks(ROWS_IN_BATCH) {
            let mut batch = WriteBatch::default();
            for row in some {
                batch.put_cf(self.family(table_name(row.table))?, &row.key, &row.value);
            }
            self.db.write_opt(batch, &unlogged).map_err(|error| failed(&error))?;
        }
        let bytes = rows.iter().map(|row| row.key.len() + row.value.len()).sum();
        if self.unflushed.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > UNFLUSHED_BYTES_MAX {
            self.flush_tables()?;
        }
        Ok(())
    }

    fn write_rows(&self, rows: &[Row], watermark: Sequence) -> Result<(), StoreError> {
        self.put_rows(rows)?;
        self.flush_tables()?;
        let mut sync = WriteOptions::default();
        sync.set_sync(self.durability == Durability::Fsync);
        self.db
            .put_cf_opt(self.family(META)?, WATERMARK, watermark.0.to_be_bytes(), &sync)
            .map_err(|error| failed(&error))
    }

    fn close(&self) {
        self.db.cancel_all_background_work(true);
    }

    fn watermark(&self) -> Result<Sequence, StoreError> {
        match self.get(META, WATERMARK)? {
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
        let names = [JOURNAL, META, table_name(Table::Users)];
        let db = DB::open_cf_descriptors(&older, directory.path(), names.map(family)).unwrap();
        db.put_cf(db.cf_handle(META).unwrap(), FORMAT, [FORMAT_VERSION]).unwrap();
        db.put_cf(db.cf_handle(table_name(Table::Users)).unwrap(), b"user", b"row").unwrap();
        drop(db);
        let store = Rocks::open_read_only(directory.path()).unwrap();
        assert_eq!((rows(&store), store.row(Table::Alerts, b"key").unwrap()), (1, None));
        drop(store);
        let store = Rocks::open(directory.path(), Durability::Os).unwrap();
        let row = Row { table: Table::Alerts, key: b"key".to_vec(), value: b"row".to_vec() };
        store.write_rows(&[row], Sequence::ZERO).unwrap();
        assert_eq!(rows(&store), 2, "serving makes the tables that are missing");
        drop(store);
        assert_eq!(rows(&Rocks::open_read_only(directory.path()).unwrap()), 2);
    }
}
