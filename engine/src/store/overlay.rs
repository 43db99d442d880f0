//! A store that reads another and keeps writes in memory: for a dry run that records nothing, and to judge a correction
//! before it is made.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Entry, RowBytes, Store, StoreError, Table, Visit, VisitRow};
use crate::ids::Sequence;
use crate::tree::{Frontier, Hash, Node, Span};

/// The writes of a dry run, in memory.
#[derive(Debug, Default)]
struct Written {
    /// By their place, which may be that of an entry beneath.
    entries: BTreeMap<Sequence, Entry>,
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
        written.entries.extend(entries.iter().map(|entry| (entry.sequence, entry.clone())));
        written.nodes.extend(completed.iter().map(|node| (node.span, node.hash)));
        Ok(())
    }

    fn sync_head(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn head(&self) -> Result<Sequence, StoreError> {
        let last = self.written().entries.last_key_value().map(|(last, _)| *last);
        Ok(last.unwrap_or_default().max(self.beneath.head()?))
    }

    fn node(&self, span: Span) -> Result<Option<Hash>, StoreError> {
        let written = self.written().nodes.get(&span).copied();
        written.map_or_else(|| self.beneath.node(span), |hash| Ok(Some(hash)))
    }

    fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        let (mut after, mut flow) = (after, ControlFlow::Continue(()));
        loop {
            let later = (Bound::Excluded(after), Bound::Unbounded);
            let written = self.written().entries.range(later).next().map(|(_, entry)| entry.clone());
            let next = written.as_ref().map(|entry| entry.sequence);
            // Never a step further: what is written over may be what cannot be read.
            if next.is_none_or(|next| next.0 - after.0 > 1) {
                self.beneath.read(after, &mut |entry| {
                    if next.is_some_and(|next| entry.sequence >= next) {
                        return ControlFlow::Break(());
                    }
                    let is_last = next == Some(entry.sequence.next());
                    flow = visit(entry);
                    if is_last { ControlFlow::Break(()) } else { flow }
                })?;
            }
            let Some(written) = written.filter(|_| flow.is_continue()) else { return Ok(()) };
            after = written.sequence;
            if visit(written.lent()).is_break() {
                return Ok(());
            }
        }
    }

    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        let (mut before, mut flow) = (before, ControlFlow::Continue(()));
        loop {
            let written = self.written().entries.range(..before).next_back().map(|(_, entry)| entry.clone());
            let next = written.as_ref().map(|entry| entry.sequence);
            if next.map(Sequence::next) != Some(before) {
                self.beneath.read_back(before, &mut |entry| {
                    if next.is_some_and(|next| entry.sequence <= next) {
                        return ControlFlow::Break(());
                    }
                    let is_last = next.map(Sequence::next) == Some(entry.sequence);
                    flow = visit(entry);
                    if is_last { ControlFlow::Break(()) } else { flow }
                })?;
            }
            let Some(written) = written.filter(|_| flow.is_continue()) else { return Ok(()) };
            before = written.sequence;
            if visit(written.lent()).is_break() {
                return Ok(());
            }
        }
    }

    fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, StoreError> {
        let written = self.written().entries.get(&sequence).cloned();
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
