//! What is read of shelves: one row, or a page of a list.

use std::collections::BTreeMap;

use super::Ledger;
use crate::ids::Sequence;
use crate::rows::encoding::load;
use crate::rows::{Shelved, Shelves, each_stored};
use crate::store::StoreError;

/// A page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only what began before this record.
    pub before: Sequence,
    /// Items at most.
    pub limit: usize,
}

impl Ledger {
    /// One row of a shelf, as in memory where it is there, else as on the disk.
    pub(super) fn shelved<R: Shelved>(&self, shelves: &Shelves, key: &R::Key) -> Result<Option<R>, StoreError> {
        let in_memory = R::shelf(shelves).get(key).cloned();
        in_memory.map_or_else(|| load(&*self.store, key), |row| Ok(Some(row)))
    }

    /// The newest rows of a page that are wanted, as in memory where they are there, else as on the disk. The table is
    /// read to its end, and what is held is the page.
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
