//! Stores for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::ids::Sequence;
use crate::store::{Entry, RowBytes, Store, StoreError, Table, Visit, VisitRow};
use crate::tree::{Frontier, Hash, Node, Span};

#[derive(Debug, Default, Clone)]
struct Kept {
    entries: Vec<Entry>,
    appends: usize,
    head_syncs: usize,
    nodes: BTreeMap<Span, Hash>,
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    frontier: Frontier,
}

impl Kept {
    /// The records up to a sequence, and those after it: found by bisection, because programs read few records of
    /// many and often.
    fn split_after(&self, last: Sequence) -> (&[Entry], &[Entry]) {
        self.entries.split_at(self.entries.partition_point(|entry| entry.sequence <= last))
    }
}

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Arc<MemoryStore> {
        Arc::new(MemoryStore::default())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a crash would leave behind if only the records up to `last` had reached the disk. Rows are there as
    /// written: they never run ahead of their records.
    #[must_use]
    pub fn crashed_after(&self, last: Sequence) -> Arc<MemoryStore> {
        let mut kept = self.kept().clone();
        kept.entries.retain(|entry| entry.sequence <= last);
        kept.nodes.retain(|span, _| span.last() <= last.0);
        Arc::new(MemoryStore { kept: Mutex::new(kept) })
    }

    /// Every record, oldest first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.kept().entries.clone()
    }

    /// How many groups they were written in.
    #[must_use]
    pub fn appends(&self) -> usize {
        self.kept().appends
    }

    /// How often the durable head was to survive the machine.
    #[must_use]
    pub fn head_syncs(&self) -> usize {
        self.kept().head_syncs
    }

    /// Every stored node of the tree.
    #[must_use]
    pub fn nodes(&self) -> BTreeMap<Span, Hash> {
        self.kept().nodes.clone()
    }

    /// Changes one record, as a failing disk or a bad repair would.
    pub fn alter(&self, sequence: Sequence, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.kept().entries.iter_mut().find(|entry| entry.sequence == sequence) {
            change(entry);
        }
    }

    /// Puts another node of the tree in the place of one, or none.
    pub fn set_node(&self, span: Span, hash: Option<Hash>) {
        let mut kept = self.kept();
        match hash {
            Some(hash) => kept.nodes.insert(span, hash),
            None => kept.nodes.remove(&span),
        };
    }

    /// Deletes the records up to `last`, as a prune does: nodes of the tree stay.
    pub fn prune(&self, last: Sequence) {
        self.kept().entries.retain(|entry| entry.sequence > last);
    }

    /// Loses one record, as a bad repair would.
    pub fn lose(&self, sequence: Sequence) {
        self.kept().entries.retain(|entry| entry.sequence != sequence);
    }
}

impl Store for MemoryStore {
    fn append(&self, entries: &[Entry], completed: &[Node]) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.entries.extend_from_slice(entries);
        kept.appends += 1;
        kept.nodes.extend(completed.iter().map(|node| (node.span, node.hash)));
        Ok(())
    }

    fn sync_head(&self) -> Result<(), StoreError> {
        self.kept().head_syncs += 1;
        Ok(())
    }

    fn head(&self) -> Result<Sequence, StoreError> {
        Ok(self.kept().entries.last().map_or(Sequence::ZERO, |entry| entry.sequence))
    }

    fn node(&self, span: Span) -> Result<Option<Hash>, StoreError> {
        Ok(self.kept().nodes.get(&span).copied())
    }

    fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        let end = self.head()?;
        let later = |before: Sequence| self.kept().split_after(before).1.first().cloned();
        let mut next = later(after);
        while let Some(entry) = next.filter(|entry| entry.sequence <= end) {
            let sequence = entry.sequence;
            next = if visit(entry.lent()).is_break() { None } else { later(sequence) };
        }
        Ok(())
    }

    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        let earlier = |than: Sequence| self.kept().split_after(Sequence(than.0.saturating_sub(1))).0.last().cloned();
        let mut next = earlier(before);
        while let Some(entry) = next {
            let sequence = entry.sequence;
            next = if visit(entry.lent()).is_break() { None } else { earlier(sequence) };
        }
        Ok(())
    }

    fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, StoreError> {
        let kept = self.kept();
        let (through, _) = kept.split_after(sequence);
        Ok(through.last().filter(|entry| entry.sequence == sequence).cloned())
    }

    fn id_seed(&self) -> u64 {
        0
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.kept().rows.get(&(table, key.to_vec())).cloned())
    }

    fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError> {
        let rows: Vec<_> = self
            .kept()
            .rows
            .iter()
            .filter(|((of, _), _)| *of == table)
            .map(|(key, value)| (key.1.clone(), value.clone()))
            .collect();
        rows.iter().try_for_each(|(key, value)| visit(key, value))
    }

    fn forget_cached(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn check_rows(&self, _: Table, _: &[u8], _: usize) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn put_rows(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        let rows = rows.iter().map(|row| ((row.table, row.key.clone()), row.value.clone()));
        self.kept().rows.extend(rows);
        Ok(())
    }

    fn delete_rows(&self, table: Table, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut kept = self.kept();
        for key in keys {
            kept.rows.remove(&(table, key.clone()));
        }
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
        self.kept().frontier = watermark.clone();
        Ok(())
    }

    fn frontier(&self) -> Result<Frontier, StoreError> {
        Ok(self.kept().frontier.clone())
    }
}

/// Forwards what a wrapper leaves alone.
macro_rules! forward_reads {
    () => {
        fn sync_head(&self) -> Result<(), StoreError> {
            self.inner.sync_head()
        }

        fn head(&self) -> Result<Sequence, StoreError> {
            self.inner.head()
        }
        fn node(&self, span: Span) -> Result<Option<Hash>, StoreError> {
            self.inner.node(span)
        }
        fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
            self.inner.read(after, visit)
        }
        fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
            self.inner.read_back(before, visit)
        }
        fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, StoreError> {
            self.inner.entry(sequence)
        }
        fn id_seed(&self) -> u64 {
            self.inner.id_seed()
        }
        fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.inner.row(table, key)
        }
        fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError> {
            self.inner.rows(table, visit)
        }
        fn forget_cached(&self) -> Result<(), StoreError> {
            self.inner.forget_cached()
        }
        fn check_rows(&self, table: Table, after: &[u8], most: usize) -> Result<Option<Vec<u8>>, StoreError> {
            self.inner.check_rows(table, after, most)
        }
        fn put_rows(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
            self.inner.put_rows(rows)
        }
        fn delete_rows(&self, table: Table, keys: &[Vec<u8>]) -> Result<(), StoreError> {
            self.inner.delete_rows(table, keys)
        }
        fn put_synced(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
            self.inner.put_synced(rows)
        }
        fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
            self.inner.erase(table, key)
        }
        fn write_rows(&self, rows: &[RowBytes], watermark: &Frontier) -> Result<(), StoreError> {
            self.inner.write_rows(rows, watermark)
        }
        fn frontier(&self) -> Result<Frontier, StoreError> {
            self.inner.frontier()
        }
    };
}

/// Fails every append after the first few, as a full disk does.
#[derive(Debug)]
pub struct FailAfter<S> {
    /// What is stored before.
    pub inner: Arc<S>,
    appends_left: AtomicU32,
}

impl<S: Store> FailAfter<S> {
    /// Lets `appends_left` appends pass.
    #[must_use]
    pub fn new(inner: Arc<S>, appends_left: u32) -> Arc<FailAfter<S>> {
        Arc::new(FailAfter { inner, appends_left: AtomicU32::new(appends_left) })
    }
}

impl<S: Store> Store for FailAfter<S> {
    fn append(&self, entries: &[Entry], completed: &[Node]) -> Result<(), StoreError> {
        let one_less = |left: u32| left.checked_sub(1);
        match self.appends_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less) {
            Ok(_) => self.inner.append(entries, completed),
            Err(_) => Err(StoreError::Failed("no space left on device".to_owned())),
        }
    }

    forward_reads!();
}

/// Holds appends back until it is opened, as a stalled disk does.
#[derive(Debug)]
pub struct Gated<S> {
    /// What is stored once it is open.
    pub inner: Arc<S>,
    open: Mutex<bool>,
    opened: Condvar,
}

impl<S: Store> Gated<S> {
    /// A gate that is open or not.
    #[must_use]
    pub fn new(inner: Arc<S>, open: bool) -> Arc<Gated<S>> {
        Arc::new(Gated { inner, open: Mutex::new(open), opened: Condvar::new() })
    }

    /// Opens or closes the gate.
    pub fn set_open(&self, open: bool) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
        self.opened.notify_all();
    }
}

impl<S: Store> Store for Gated<S> {
    fn append(&self, entries: &[Entry], completed: &[Node]) -> Result<(), StoreError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(open, |open| !*open).unwrap_or_else(PoisonError::into_inner));
        self.inner.append(entries, completed)
    }

    forward_reads!();
}
