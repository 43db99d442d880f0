//! Reads shelves: one row, or a page of a list.

use std::collections::BTreeMap;

use super::Ledger;
use crate::ids::Sequence;
use crate::rows::encoding::load;
use crate::rows::{Shelved, Shelves, each_stored};
use crate::store::StoreError;

/// A page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only rows begun before this record.
    pub before: Sequence,
    /// Maximum number of items.
    pub limit: usize,
}

impl Ledger {
    /// One row of a shelf under its lock: from memory if it is there, else from disk.
    pub(super) fn shelved<R: Shelved>(&self, shelves: &Shelves, key: &R::Key) -> Result<Option<R>, StoreError> {
        self.or_stored(R::shelf(shelves).get(key).cloned(), key)
    }

    /// As [`Ledger::shelved`], for a caller that only reads: the disk is read without the lock. A row leaves memory only
    /// once it is on disk.
    pub(super) fn read_shelved<R: Shelved>(&self, key: &R::Key) -> Result<Option<R>, StoreError> {
        let in_memory = R::shelf(&self.lock_shelves()).get(key).cloned();
        self.or_stored(in_memory, key)
    }

    fn or_stored<R: Shelved>(&self, in_memory: Option<R>, key: &R::Key) -> Result<Option<R>, StoreError> {
        in_memory.map_or_else(|| load(&*self.store, key), |row| Ok(Some(row)))
    }

    /// The newest matching rows before the page's record, newest first: from memory if there, else from disk. Reads the
    /// whole table but holds only the page.
    pub(super) fn newest_first<R: Shelved>(
        &self,
        page: Page,
        begun: impl Fn(&R::Key) -> Sequence,
        wanted: &dyn Fn(&R) -> bool,
    ) -> Result<Vec<R>, StoreError> {
        let in_memory: BTreeMap<R::Key, R> = {
            let shelves = self.lock_shelves();
            R::shelf(&shelves).iter().map(|(key, row)| (key.clone(), row.clone())).collect()
        };
        let mut found = BTreeMap::new();
        let mut add = |key: R::Key, row: R| {
            if begun(&key) < page.before && wanted(&row) {
                found.insert(key, row);
            }
            if found.len() > page.limit {
                found.pop_first();
            }
        };
        each_stored(&*self.store, &mut |key, row| {
            if !in_memory.contains_key(&key) {
                add(key, row);
            }
        })?;
        for (key, row) in in_memory {
            add(key, row);
        }
        Ok(found.into_values().rev().collect())
    }
}
