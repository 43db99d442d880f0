//! A store that reads another and keeps writes in memory: for a dry run that records nothing.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, RowBytes, Store, StoreError, Table, Visit, VisitRow};
use crate::ids::Sequence;
use crate::tree::{Frontier, Hash, Node, Span};

/// The writes of a dry run, in memory.
#[derive(Debug, Default)]
struct Written {
    entries: Vec<Entry>,
    /// `None`: deleted.
    rows: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    nodes: BTreeMap<Span, Hash>,
    frontier: Option<Frontier>,
}

/// Reads through to a store that it never writes to.
pub struct Overlay {
    beneath: Arc<dyn Store>,
    written: Mutex<Written>,
}

impl Overlay {
    /// Creates an overlay over a store.
    #[must_use]
    pub fn over(beneath: Arc<dyn Store>) -> Overlay {
        Overlay { beneath, written: Mutex::default() }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Overlay {
    fn append(&self, entries: &[Entry], completed: &[Node]) -> Result<(), StoreError> {
        let mut written = self.written();
        written.entries.extend_from_slice(entries);
        written.nodes.extend(completed.iter().map(|node| (node.span, node.hash)));
        Ok(())
    }

    fn sync_head(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn head(&self) -> Result<Sequence, StoreError> {
        let last = self.written().entries.last().map(|entry| entry.sequence);
        last.map_or_else(|| self.beneath.head(), Ok)
    }

    fn node(&self, span: Span) -> Result<Option<Hash>, StoreError> {
        let written = self.written().nodes.get(&span).copied();
        written.map_or_else(|| self.beneath.node(span), |hash| Ok(Some(hash)))
    }

    fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        let mut flow = ControlFlow::Continue(());
        self.beneath.read(after, &mut |entry| {
            flow = visit(entry);
            flow
        })?;
        let written = self.written().entries.clone();
        let mut written = written.iter().filter(|entry| entry.sequence > after);
        if flow.is_continue() {
            let _ = written.try_for_each(|entry| visit(entry.lent()));
        }
        Ok(())
    }

    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        let written = self.written().entries.clone();
        let mut written = written.iter().rev().filter(|entry| entry.sequence < before);
        if written.try_for_each(|entry| visit(entry.lent())).is_break() {
            return Ok(());
        }
        self.beneath.read_back(before, visit)
    }

    fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, StoreError> {
        let written = self.written().entries.iter().find(|entry| entry.sequence == sequence).cloned();
        written.map_or_else(|| self.beneath.entry(sequence), |entry| Ok(Some(entry)))
    }

    fn id_seed(&self) -> u64 {
        self.beneath.id_seed()
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let written = self.written().rows.get(&(table, key.to_vec())).cloned();
        written.map_or_else(|| self.beneath.row(table, key), Ok)
    }

    fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError> {
        let mut rows = BTreeMap::new();
        self.beneath.rows(table, &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            Ok(())
        })?;
        for ((_, key), value) in self.written().rows.iter().filter(|((of, _), _)| *of == table) {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        rows.iter().try_for_each(|(key, value)| visit(key, value))
    }

    fn forget_cached(&self) -> Result<(), StoreError> {
        self.beneath.forget_cached()
    }

    fn check_rows(&self, table: Table, after: &[u8], most: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.beneath.check_rows(table, after, most)
    }

    fn put_rows(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        let rows = rows.iter().map(|row| ((row.table, row.key.clone()), Some(row.value.clone())));
        self.written().rows.extend(rows);
        Ok(())
    }

    fn delete_rows(&self, table: Table, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        self.written().rows.extend(keys.iter().map(|key| ((table, key.clone()), None)));
        Ok(())
    }

    fn put_synced(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        self.put_rows(rows)
    }

    fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.delete_rows(table, &[key.to_vec()])
    }

    fn write_rows(&self, rows: &[RowBytes], watermark: &Frontier) -> Result<(), StoreError> {
        self.put_rows(rows)?;
        self.written().frontier = Some(watermark.clone());
        Ok(())
    }

    fn frontier(&self) -> Result<Frontier, StoreError> {
        let written = self.written().frontier.clone();
        written.map_or_else(|| self.beneath.frontier(), Ok)
    }
}
