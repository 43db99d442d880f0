//! What the journal and the rows are kept in, as a trait: RocksDB in production, memory and failing ones in tests.

mod overlay;
#[cfg(feature = "rocksdb")]
pub mod rocks;

pub use overlay::Overlay;

use std::ops::ControlFlow;

use crate::ids::Sequence;

/// The link of the hash chain at a record.
pub type Chain = [u8; 32];

/// The chain before the first record.
pub const GENESIS: Chain = [0; 32];

/// The link after `before` for a record with these bytes: BLAKE3 of the link before and the hash of the bytes.
#[must_use]
pub fn chained(before: &Chain, payload: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(blake3::hash(payload).as_bytes());
    *hasher.finalize().as_bytes()
}

/// A record with its place and its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub sequence: Sequence,
    /// The link of the chain at it.
    pub chain: Chain,
    /// The record's bytes.
    pub payload: Vec<u8>,
}

/// The tables of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Users by `urId`.
    Users,
    /// Root authorizations by id.
    Authorizations,
    /// Answers by the id answered.
    Answers,
    /// Pools by currency.
    Pools,
    /// The program's one row.
    Program,
    /// Breaks by the record that opened them.
    Breaks,
    /// Where UR's transactions were booked, by their hash.
    Postings,
    /// Alerts by the record that raised them.
    Alerts,
    /// Prefunds by the record that began them.
    Prefunds,
    /// How far readers of the journal are, by their names.
    Cursors,
    /// Closures of the calendar by the record that added them.
    Closures,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 11] = [
        Table::Users,
        Table::Authorizations,
        Table::Answers,
        Table::Pools,
        Table::Program,
        Table::Breaks,
        Table::Postings,
        Table::Alerts,
        Table::Prefunds,
        Table::Cursors,
        Table::Closures,
    ];
}

/// A row to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowBytes {
    /// The table.
    pub table: Table,
    /// The key within it.
    pub key: Vec<u8>,
    /// The row's bytes.
    pub value: Vec<u8>,
}

/// The store failed. A failed append or sync is never retried: the process stops (fail-stop).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The operating system or the storage engine refused.
    #[error("storage failed: {0}")]
    Failed(String),
    /// What is stored is not what was written.
    #[error("storage is corrupt: {0}; restore a backup or move the directory aside, do not delete parts of it")]
    Corrupt(String),
}

/// Visits an entry; `Break` ends the reading.
pub type Visit<'a> = &'a mut dyn FnMut(Entry) -> ControlFlow<()>;

/// Visits a row by its key; an error ends the reading.
pub type VisitRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>;

/// Keeps the journal and the rows. Appends come from one thread only, in order.
pub trait Store: Send + Sync + 'static {
    /// Appends the entries and makes them durable before it returns.
    ///
    /// # Errors
    /// Whether any of them is durable is then unknown.
    fn append(&self, entries: &[Entry]) -> Result<(), StoreError>;

    /// The last entry's place and link.
    ///
    /// # Errors
    /// The store cannot be read.
    fn head(&self) -> Result<(Sequence, Chain), StoreError>;

    /// Reads the entries after `after`, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError>;

    /// Reads the entries before `before`, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError>;

    /// One row.
    ///
    /// # Errors
    /// The store cannot be read.
    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// All rows of a table, in key order.
    ///
    /// # Errors
    /// The store cannot be read.
    fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError>;

    /// Writes rows, durable or not: [`Store::write_rows`] makes them so before it sets the watermark.
    ///
    /// # Errors
    /// Some of them may be there, and hold nothing but what is in the journal.
    fn put_rows(&self, rows: &[RowBytes]) -> Result<(), StoreError>;

    /// Writes rows, makes all that were written durable, and then sets the watermark: every row holds at least the records
    /// up to it.
    ///
    /// # Errors
    /// The watermark is then unchanged, or unknown.
    fn write_rows(&self, rows: &[RowBytes], watermark: Sequence) -> Result<(), StoreError>;

    /// The watermark last set.
    ///
    /// # Errors
    /// The store cannot be read.
    fn watermark(&self) -> Result<Sequence, StoreError>;

    /// Ends what the store does in the background, and waits for that: the process is about to end, and whoever still holds
    /// the store writes no more.
    fn close(&self) {}
}
