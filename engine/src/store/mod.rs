//! Storage of the journal and the rows, as a trait: RocksDB in production, memory and failing stores in tests.

mod overlay;
#[cfg(feature = "rocksdb")]
pub mod rocks;
mod stand_in;
mod stored_tree;

pub use overlay::Overlay;
pub use stand_in::{Original, StandIn};
pub use stored_tree::{StoredTree, TreeError};

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::ids::Sequence;
use crate::tree::{Frontier, Hash, LeafPart, Node, Span, leaf, leaf_part};

/// An encoded record with its place and its hash. Who reads many is lent their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<P = Vec<u8>> {
    pub sequence: Sequence,
    /// The first bytes of the record's hash in the tree.
    pub leaf: LeafPart,
    /// The record's bytes.
    pub payload: P,
}

impl Entry {
    /// An entry to append, and its hash.
    #[must_use]
    pub fn new(sequence: Sequence, payload: Vec<u8>) -> (Entry, Hash) {
        let leaf = leaf(sequence.0, &payload);
        (Entry { sequence, leaf: leaf_part(&leaf), payload }, leaf)
    }

    /// An entry for the place of a record that goes into quarantine.
    #[must_use]
    pub fn stand_in(sequence: Sequence, stand_in: &StandIn) -> Entry {
        let payload = stand_in.encode();
        let leaf = match &stand_in.original {
            Original::Written(bytes) => leaf_part(&leaf(sequence.0, bytes)),
            Original::Hashed => LeafPart::default(),
            Original::Lost => leaf_part(&leaf(sequence.0, &payload)),
        };
        Entry { sequence, leaf, payload }
    }

    /// The same, with its bytes lent.
    #[must_use]
    pub fn lent(&self) -> Entry<&[u8]> {
        Entry { sequence: self.sequence, leaf: self.leaf, payload: &self.payload }
    }
}

/// The hash of an entry in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// This one.
    Known(Hash),
    /// Nobody knows it ([`Original::Hashed`]): a hash stored over it counts. Where there is none yet, this one.
    Hidden(Hash),
}

impl Leaf {
    /// The hash, where it is known.
    #[must_use]
    pub fn known(self) -> Option<Hash> {
        match self {
            Leaf::Known(hash) => Some(hash),
            Leaf::Hidden(_) => None,
        }
    }
}

impl<P: AsRef<[u8]>> Entry<P> {
    /// The hash of an entry that was read; `None` where it is not what was written.
    #[must_use]
    pub fn leaf_hash(&self) -> Option<Leaf> {
        let own = leaf(self.sequence.0, self.payload.as_ref());
        if leaf_part(&own) == self.leaf { Some(Leaf::Known(own)) } else { self.leaf_stood_in_for(own) }
    }

    #[cold]
    fn leaf_stood_in_for(&self, own: Hash) -> Option<Leaf> {
        match StandIn::decode(self.payload.as_ref())?.original {
            Original::Written(bytes) => {
                let written = leaf(self.sequence.0, &bytes);
                (leaf_part(&written) == self.leaf).then_some(Leaf::Known(written))
            }
            Original::Hashed => (self.leaf == LeafPart::default()).then_some(Leaf::Hidden(own)),
            Original::Lost => None,
        }
    }
}

/// The tables of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Users by `urId`.
    Users,
    /// The index of ids: the last record about each, by the id's hash.
    Ids,
    /// Pools by currency.
    Pools,
    /// The program's one row.
    Program,
    /// Breaks by the record that opened them.
    Breaks,
    /// Posted authorizations by the movement of money.
    Postings,
    /// Alerts by the record that raised them.
    Alerts,
    /// Prefunds by the record that began them.
    Prefunds,
    /// Positions of journal readers by name.
    Cursors,
    /// Closures of the calendar by the record that added them.
    Closures,
    /// Idempotency keys by their caller's name and the key.
    Keys,
    /// What names the persons behind users, by `urId`: no fold of the journal, and the only table that is erased from.
    Persons,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 12] = [
        Table::Users,
        Table::Ids,
        Table::Pools,
        Table::Program,
        Table::Breaks,
        Table::Postings,
        Table::Alerts,
        Table::Prefunds,
        Table::Cursors,
        Table::Closures,
        Table::Keys,
        Table::Persons,
    ];
}

/// An encoded row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowBytes {
    pub table: Table,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// The store failed. A failed append or sync is never retried: the process stops (fail-stop).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The operating system or the storage engine refused.
    #[error("storage failed: {0}")]
    Failed(String),
    /// The stored bytes differ from the written ones.
    #[error("storage is corrupt: {0}; delete nothing, and restore a backup")]
    Corrupt(String),
    /// A record is asked for that a stand-in has the place of.
    #[error("record {0} is in quarantine, and what builds on it cannot be told: runbook record-in-quarantine")]
    Quarantined(Sequence),
    /// The journal is not the one whose answers were given.
    #[error(transparent)]
    Head(#[from] HeadError),
}

/// The journal and the durable head beside it contradict each other. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The journal has lost its end.
    #[error(
        "the journal ends at record {end}, and answers were given up to record {head}: {reason}. Put a backup back that \
         reaches record {head}; where there is none, `tapgate journal accept-loss {} --reason …` goes on without the \
         records and says so in the journal", .directory.display()
    )]
    Shorter {
        /// The data directory.
        directory: PathBuf,
        /// The journal's last record.
        end: Sequence,
        /// The last record that was answered.
        head: Sequence,
        /// What may have happened, in words.
        reason: &'static str,
    },
    /// The record at the head is another one, or records before it are.
    #[error(
        "record {head} of the journal, or one before it, is not what was answered: the journal in {} is of another \
         directory, or an older copy that went its own way. Put back the journal, the rows and the file `head` from one \
         backup", .directory.display()
    )]
    Different {
        /// The data directory.
        directory: PathBuf,
        /// The last record that was answered.
        head: Sequence,
    },
    /// A durable head, and no rows: what was answered is elsewhere, or gone.
    #[error(
        "the data directory {} has the file `head` of a journal, and no rows: put journal and rows back where they were, from \
         one backup. Only if the directory is to begin anew, move `head` away", .directory.display()
    )]
    Alone {
        /// The data directory.
        directory: PathBuf,
    },
    /// Asked to go on without records where none is missing.
    #[error("the journal ends at record {end}, and nothing of it is known to be missing: start `tapgate serve`")]
    Whole {
        /// The journal's last record.
        end: Sequence,
    },
    /// The durable head is missing, or neither of its two copies is what was written.
    #[error(
        "the file `head` of the data directory {} is missing or damaged, which says up to which record answers were given. \
         Put it back from the backup that the journal is from; where there is none, `tapgate journal accept-loss {} \
         --at-least SEQUENCE --reason …` takes the journal as it is", .directory.display(), .directory.display()
    )]
    Unreadable {
        /// The data directory.
        directory: PathBuf,
    },
}

/// Visits an entry; `Break` ends the read.
pub type Visit<'a> = &'a mut dyn FnMut(Entry<&[u8]>) -> ControlFlow<()>;

/// Visits a row by its key; an error ends the read.
pub type VisitRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>;

/// Stores the journal and the rows. Appends come from one thread only, in order.
pub trait Store: Send + Sync + 'static {
    /// Appends the entries, and the tree's nodes that they complete, as one, and makes them durable before it returns. The
    /// last one is the journal's last from then on. One whose place is taken replaces what is there: of a running ledger
    /// none is.
    ///
    /// # Errors
    /// The append failed; the entries' durability is then unknown.
    fn append(&self, entries: &[Entry], completed: &[Node]) -> Result<(), StoreError>;

    /// Makes survive the machine's end what says up to where entries were appended, so that a journal that loses its end
    /// is noticed. Appends go on meanwhile; what they append survives the process's end without it.
    ///
    /// # Errors
    /// The disk failed: the process stops, as after a failed append.
    fn sync_head(&self) -> Result<(), StoreError>;

    /// The last entry's place.
    ///
    /// # Errors
    /// The store cannot be read.
    fn head(&self) -> Result<Sequence, StoreError>;

    /// The hash of a node of the tree, a tile or above. It outlives the records under it.
    ///
    /// # Errors
    /// The store cannot be read.
    fn node(&self, span: Span) -> Result<Option<Hash>, StoreError>;

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

    /// One entry.
    ///
    /// # Errors
    /// The store cannot be read.
    fn entry(&self, sequence: Sequence) -> Result<Option<Entry>, StoreError>;

    /// The seed of the hashes in the index of ids, chosen when the store was made.
    fn id_seed(&self) -> u64;

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

    /// Has the next reads of what is in files come from the disk, where the system keeps copies of them in memory.
    ///
    /// # Errors
    /// The files cannot be listed.
    fn forget_cached(&self) -> Result<(), StoreError>;

    /// Reads at most `most` rows after a key for their checksums alone. Returns the last one's key; `None` at the table's
    /// end.
    ///
    /// # Errors
    /// What is stored is not what was written.
    fn check_rows(&self, table: Table, after: &[u8], most: usize) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes rows, durable or not: [`Store::write_rows`] makes them so before it sets the watermark.
    ///
    /// # Errors
    /// The write failed; some rows may be written, and hold nothing beyond the journal.
    fn put_rows(&self, rows: &[RowBytes]) -> Result<(), StoreError>;

    /// Deletes rows, durable or not: a row that comes back after a crash is one that nothing reads.
    ///
    /// # Errors
    /// The write failed; some rows may be deleted.
    fn delete_rows(&self, table: Table, keys: &[Vec<u8>]) -> Result<(), StoreError>;

    /// Writes rows of which the journal has nothing, and makes them durable before it returns.
    ///
    /// # Errors
    /// The write failed; some rows may be written.
    fn put_synced(&self, rows: &[RowBytes]) -> Result<(), StoreError>;

    /// Erases a row that [`Store::put_synced`] wrote: once this returns, no file of the store holds the bytes of any value
    /// that the key had. A key without a row is erased likewise: an erasure may have been cut short.
    ///
    /// # Errors
    /// The erasure failed or is not complete: erase again.
    fn erase(&self, table: Table, key: &[u8]) -> Result<(), StoreError>;

    /// Writes rows, makes all written rows durable, and then sets the watermark: every row holds at least the records
    /// up to it. The watermark is the size of the frontier, which is stored as one with it.
    ///
    /// # Errors
    /// The write failed; the watermark is then unchanged or unknown.
    fn write_rows(&self, rows: &[RowBytes], watermark: &Frontier) -> Result<(), StoreError>;

    /// The tree's frontier at the watermark last set.
    ///
    /// # Errors
    /// The store cannot be read.
    fn frontier(&self) -> Result<Frontier, StoreError>;

    /// The watermark last set.
    ///
    /// # Errors
    /// The store cannot be read.
    fn watermark(&self) -> Result<Sequence, StoreError> {
        Ok(Sequence(self.frontier()?.size()))
    }

    /// Ends the store's background work and waits for it. Called just before the process ends: remaining holders of the
    /// store write no more.
    fn close(&self) {}
}
