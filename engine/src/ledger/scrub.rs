//! Reads what is stored again, at leisure: what a disk has changed is told before somebody asks for it.

use std::ops::ControlFlow;

use super::Ledger;
use crate::ids::Sequence;
use crate::store::{StoreError, StoredTree, Table, TreeError};
use crate::tree::TILE_RECORDS;

/// Rows read in one step: a tile of records takes as long.
const ROWS_IN_STEP: usize = 1_024;

/// How far a scrub has come. The default is its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrub {
    /// Full tiles of the journal that were read.
    tiles: u64,
    /// Tables that were read.
    tables: usize,
    /// The last row read of the next one.
    row: Vec<u8>,
}

/// What one step of a scrub read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrubbed {
    /// A part; there is more.
    Part,
    /// Everything, up to this record and its tile's end.
    All(Sequence),
}

impl Ledger {
    /// Reads one part more of the journal's full tiles, and then of the rows, and compares it with its checksums and
    /// hashes: milliseconds of work. After a damage the next call reads what comes after it.
    ///
    /// # Errors
    /// What is stored is not what was written, and where.
    pub fn scrub(&self, at: &mut Scrub) -> Result<Scrubbed, StoreError> {
        if *at == Scrub::default() {
            // What the system has in memory says nothing of the disk.
            self.store.forget_cached()?;
        }
        if at.tiles < self.journal.durable().0 / TILE_RECORDS {
            at.tiles += 1;
            return match StoredTree::of(&*self.store)?.check_tile(at.tiles - 1) {
                Ok(()) => Ok(Scrubbed::Part),
                Err(TreeError::Store(error)) => Err(error),
                // A person knows of it.
                Err(TreeError::Hidden(_)) => Ok(Scrubbed::Part),
                Err(TreeError::Unknown(span)) => match self.first_kept()? {
                    Some(first) if first.0 > span.first() => Ok(Scrubbed::Part),
                    _ => Err(TreeError::Unknown(span).into()),
                },
            };
        }
        let Some(table) = Table::ALL.get(at.tables) else {
            return Ok(Scrubbed::All(Sequence(at.tiles * TILE_RECORDS)));
        };
        match self.store.check_rows(*table, &at.row, ROWS_IN_STEP) {
            Ok(Some(last)) => at.row = last,
            // A damaged block hides where the next one begins.
            ended => {
                at.tables += 1;
                at.row.clear();
                ended?;
            }
        }
        Ok(Scrubbed::Part)
    }

    /// The oldest record that is still kept.
    fn first_kept(&self) -> Result<Option<Sequence>, StoreError> {
        let mut first = None;
        self.store.read(Sequence::ZERO, &mut |entry| {
            first = Some(entry.sequence);
            ControlFlow::Break(())
        })?;
        Ok(first)
    }
}
