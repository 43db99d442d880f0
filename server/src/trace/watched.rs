//! A store that notes when it appends and how long it looks for rows.

use std::sync::Arc;

use tapgate_engine::ids::Sequence;
use tapgate_engine::store::{Entry, RowBytes, Store, StoreError, Table, Visit, VisitRow};
use tapgate_engine::tree::{Frontier, Hash, Node, Span};

use super::on::{note_append, note_row_read, now};

struct Watched(Arc<dyn Store>);

/// The same store, watched.
#[must_use]
pub fn watched(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Watched(store))
}

impl Store for Watched {
    fn append(&self, entries: &[Entry], completed: &[Node]) -> Result<(), StoreError> {
        let began = now();
        let appended = self.0.append(entries, completed);
        note_append(began);
        appended
    }

    fn sync_head(&self) -> Result<(), StoreError> {
        self.0.sync_head()
    }

    fn head(&self) -> Result<Sequence, StoreError> {
        self.0.head()
    }

    fn node(&self, span: Span) -> Result<Option<Hash>, StoreError> {
        self.0.node(span)
    }

    fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        self.0.read(after, visit)
    }

    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        self.0.read_back(before, visit)
    }

    fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, StoreError> {
        let began = now();
        let entry = self.0.entry(sequence);
        note_row_read(now() - began);
        entry
    }

    fn id_seed(&self) -> u64 {
        self.0.id_seed()
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let began = now();
        let row = self.0.row(table, key);
        note_row_read(now() - began);
        row
    }

    fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError> {
        self.0.rows(table, visit)
    }

    fn forget_cached(&self) -> Result<(), StoreError> {
        self.0.forget_cached()
    }

    fn check_rows(&self, table: Table, after: &[u8], most: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.check_rows(table, after, most)
    }

    fn put_rows(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        self.0.put_rows(rows)
    }

    fn delete_rows(&self, table: Table, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        self.0.delete_rows(table, keys)
    }

    fn put_synced(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        self.0.put_synced(rows)
    }

    fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.0.erase(table, key)
    }

    fn write_rows(&self, rows: &[RowBytes], watermark: &Frontier) -> Result<(), StoreError> {
        self.0.write_rows(rows, watermark)
    }

    fn frontier(&self) -> Result<Frontier, StoreError> {
        self.0.frontier()
    }

    fn close(&self) {
        self.0.close();
    }
}
