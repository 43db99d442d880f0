//! The disk: what a process wrote, and what is left of it when the process or the machine ends at any write.
//!
//! A record is on the disk as a whole once its append returned, as a RocksDB batch with its log synced is. Rows are on it
//! once the watermark says so; until then each of them may be lost by itself, in any order. B of the store is not here:
//! RocksDB's own files are broken by tests of the real program.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tapgate_engine::ids::Sequence;
use tapgate_engine::store::{Entry, RowBytes, Store, StoreError, Table, Visit, VisitRow};
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::tree::{Frontier, Hash, Node, Span};
use tokio::sync::Notify;

use super::chance::Chance;
use crate::treasury::follow::Cache;

type Key = (Table, Vec<u8>);

/// What outlives every process.
pub(super) struct Disk {
    inside: Mutex<Inside>,
    chance: Chance,
}

struct Inside {
    /// Rows that the watermark or a sync of their own has made durable.
    rows: BTreeMap<Key, Vec<u8>>,
    frontier: Frontier,
    /// Written and not yet durable, in order. `None`: deleted.
    unsynced: Vec<(Key, Option<Vec<u8>>)>,
    files: BTreeMap<String, Vec<u8>>,
    /// A file that was replaced without a sync, with what was there before.
    replaced: BTreeMap<String, Option<Vec<u8>>>,
    faults: Faults,
    /// Writes so far, of the store and of files.
    writes: u64,
    /// The write at which the process ends.
    ends_at: Option<u64>,
}

/// What is wrong with the disk, until it is no more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// The next append fails.
    pub(super) fails: bool,
    /// How long a sync takes, beyond the usual.
    pub(super) slow: Duration,
    /// Free bytes; `None`: plenty.
    pub(super) left: Option<u64>,
}

/// The disk as one process sees it.
pub(super) struct Mounted {
    disk: Arc<Disk>,
    /// Everything that this process can read.
    view: Arc<MemoryStore>,
    dead: AtomicBool,
    /// Told when the process ends in the middle of a write.
    pub(super) died: Notify,
}

/// How a write ends.
enum Fate {
    Done,
    /// The process ends at this write: before it, or after it.
    Ends {
        written: bool,
    },
}

fn gone() -> StoreError {
    StoreError::Failed("the process has ended".to_owned())
}

impl Disk {
    pub(super) fn new(chance: Chance) -> Arc<Disk> {
        let inside = Inside {
            rows: BTreeMap::new(),
            frontier: Frontier::default(),
            unsynced: Vec::new(),
            files: BTreeMap::new(),
            replaced: BTreeMap::new(),
            faults: Faults::default(),
            writes: 0,
            ends_at: None,
        };
        Arc::new(Disk { inside: Mutex::new(inside), chance })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first process.
    pub(super) fn mount(self: &Arc<Disk>) -> Arc<Mounted> {
        self.mounted(MemoryStore::new())
    }

    fn mounted(self: &Arc<Disk>, view: Arc<MemoryStore>) -> Arc<Mounted> {
        Arc::new(Mounted { disk: Arc::clone(self), view, dead: AtomicBool::new(false), died: Notify::new() })
    }

    /// The next process, after the one before has ended: with what is left of what was not synced.
    pub(super) fn remount(self: &Arc<Disk>, before: &Mounted) -> Result<Arc<Mounted>, StoreError> {
        let mut inside = self.inside();
        let kept = self.chance.share();
        for (key, value) in std::mem::take(&mut inside.unsynced) {
            if self.chance.one_of(kept) {
                match value {
                    Some(value) => inside.rows.insert(key, value),
                    None => inside.rows.remove(&key),
                };
            }
        }
        for (name, earlier) in std::mem::take(&mut inside.replaced) {
            let torn = self.chance.below(3);
            let Some(bytes) = inside.files.get_mut(&name) else { continue };
            match (torn, earlier) {
                (0, Some(earlier)) => *bytes = earlier,
                (0, None) => bytes.clear(),
                (1, _) => bytes.truncate(self.chance.index(bytes.len() + 1)),
                _ => {}
            }
        }
        inside.ends_at = None;
        let view = MemoryStore::new();
        let nodes: Vec<_> = before.view.nodes().into_iter().map(|(span, hash)| Node { span, hash }).collect();
        view.append(&before.view.entries(), &nodes)?;
        let row = |((table, key), value): (&Key, &Vec<u8>)| RowBytes {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        };
        let rows: Vec<_> = inside.rows.iter().map(row).collect();
        view.write_rows(&rows, &inside.frontier)?;
        drop(inside);
        Ok(self.mounted(view))
    }

    pub(super) fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.inside().faults);
    }

    pub(super) fn faults(&self) -> Faults {
        self.inside().faults
    }

    /// Writes so far.
    pub(super) fn writes(&self) -> u64 {
        self.inside().writes
    }

    /// The process ends at this write.
    pub(super) fn end_at(&self, write: u64) {
        self.inside().ends_at = Some(write);
    }

    /// The process ends after so many more writes, in the middle of the next.
    pub(super) fn end_after(&self, writes: u64) {
        let mut inside = self.inside();
        inside.ends_at = Some(inside.writes + 1 + writes);
    }
}

impl Mounted {
    /// Ends the process: it can neither read nor write any more.
    pub(super) fn end(&self) {
        self.dead.store(true, Ordering::Release);
        self.died.notify_one();
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Everything that this process, or those before it, appended.
    pub(super) fn entries_after(&self, after: Sequence) -> Vec<Entry> {
        let mut entries = self.view.entries();
        entries.retain(|entry| entry.sequence > after);
        entries
    }

    /// The store as the next process would find it if everything were synced.
    pub(super) fn as_it_is(&self) -> Arc<dyn Store> {
        Arc::clone(&self.view) as Arc<dyn Store>
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.is_dead() { Err(gone()) } else { Ok(()) }
    }

    /// Counts a write.
    fn fate(&self, inside: &mut Inside) -> Fate {
        inside.writes += 1;
        if inside.ends_at.is_none_or(|at| inside.writes < at) {
            return Fate::Done;
        }
        inside.ends_at = None;
        self.end();
        Fate::Ends { written: self.disk.chance.one_in(2) }
    }

    /// Makes a write, unless the process has ended or ends at it.
    fn write(&self, write: impl FnOnce(&mut Inside) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.alive()?;
        let mut inside = self.disk.inside();
        match self.fate(&mut inside) {
            Fate::Done => write(&mut inside),
            Fate::Ends { written } => {
                if written {
                    write(&mut inside)?;
                }
                Err(gone())
            }
        }
    }
}

impl Inside {
    fn sync_rows(&mut self) {
        for (key, value) in std::mem::take(&mut self.unsynced) {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }
}

impl Store for Mounted {
    fn append(&self, entries: &[Entry], completed: &[Node]) -> Result<(), StoreError> {
        self.write(|inside| {
            if inside.faults.fails {
                return Err(StoreError::Failed("no space left on device".to_owned()));
            }
            self.view.append(entries, completed)
        })
    }

    fn sync_head(&self) -> Result<(), StoreError> {
        self.write(|_| Ok(()))
    }

    fn head(&self) -> Result<Sequence, StoreError> {
        self.alive()?;
        self.view.head()
    }

    fn node(&self, span: Span) -> Result<Option<Hash>, StoreError> {
        self.alive()?;
        self.view.node(span)
    }

    fn read(&self, after: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        self.alive()?;
        self.view.read(after, visit)
    }

    fn read_back(&self, before: Sequence, visit: Visit<'_>) -> Result<(), StoreError> {
        self.alive()?;
        self.view.read_back(before, visit)
    }

    fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, StoreError> {
        self.alive()?;
        self.view.entry(sequence)
    }

    fn id_seed(&self) -> u64 {
        self.view.id_seed()
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.alive()?;
        self.view.row(table, key)
    }

    fn rows(&self, table: Table, visit: VisitRow<'_>) -> Result<(), StoreError> {
        self.alive()?;
        self.view.rows(table, visit)
    }

    fn forget_cached(&self) -> Result<(), StoreError> {
        self.view.forget_cached()
    }

    fn check_rows(&self, table: Table, after: &[u8], most: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.alive()?;
        self.view.check_rows(table, after, most)
    }

    fn put_rows(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        self.write(|inside| {
            inside.unsynced.extend(rows.iter().map(|row| ((row.table, row.key.clone()), Some(row.value.clone()))));
            self.view.put_rows(rows)
        })
    }

    fn delete_rows(&self, table: Table, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        self.write(|inside| {
            inside.unsynced.extend(keys.iter().map(|key| ((table, key.clone()), None)));
            self.view.delete_rows(table, keys)
        })
    }

    fn put_synced(&self, rows: &[RowBytes]) -> Result<(), StoreError> {
        self.write(|inside| {
            inside.rows.extend(rows.iter().map(|row| ((row.table, row.key.clone()), row.value.clone())));
            self.view.put_synced(rows)
        })
    }

    fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.write(|inside| {
            inside.rows.remove(&(table, key.to_vec()));
            self.view.erase(table, key)
        })
    }

    /// Three writes: the last rows, their sync, the watermark.
    fn write_rows(&self, rows: &[RowBytes], watermark: &Frontier) -> Result<(), StoreError> {
        self.put_rows(rows)?;
        self.write(|inside| {
            inside.sync_rows();
            Ok(())
        })?;
        self.write(|inside| {
            inside.frontier = watermark.clone();
            self.view.write_rows(&[], watermark)
        })
    }

    fn frontier(&self) -> Result<Frontier, StoreError> {
        self.alive()?;
        self.view.frontier()
    }
}

/// Treasury's cache: replaced without a sync, so that a crash leaves the old file, the new one, or a torn one.
pub(super) struct CacheOn(pub(super) Arc<Mounted>);

const CACHE: &str = "treasury.cache";

impl Cache for CacheOn {
    fn read(&self) -> Option<Vec<u8>> {
        self.0.disk.inside().files.get(CACHE).cloned()
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let replaced = self.0.write(|inside| {
            let before = inside.files.insert(CACHE.to_owned(), bytes.to_vec());
            inside.replaced.entry(CACHE.to_owned()).or_insert(before);
            Ok(())
        });
        replaced.map_err(io::Error::other)
    }
}

/// Publishes a signed head: synced, and never replaced by another.
pub(super) fn publish(mounted: &Mounted, name: &str, bytes: &[u8]) -> io::Result<()> {
    let published = mounted.write(|inside| match inside.files.get(name) {
        Some(there) if there != bytes => Err(StoreError::Failed(format!("{name} is another head"))),
        Some(_) => Ok(()),
        None => {
            inside.files.insert(name.to_owned(), bytes.to_vec());
            Ok(())
        }
    });
    published.map_err(io::Error::other)
}
