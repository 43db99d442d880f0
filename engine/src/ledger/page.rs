//! Lists of rows that are named by the record that began them.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::ids::Sequence;
use crate::rows::encoding::decode;
use crate::store::{Store, StoreError, Table};

/// A page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only what began before this record.
    pub before: Sequence,
    /// Items at most.
    pub limit: usize,
}

/// The newest rows of a page that are wanted, as in memory where they are there, else as on the disk. The table is read
/// to its end, and what is held is the page.
pub(super) fn newest_first<T: DeserializeOwned>(
    store: &dyn Store,
    table: Table,
    in_memory: Vec<(Sequence, T)>,
    page: Page,
    wanted: &dyn Fn(&T) -> bool,
) -> Result<Vec<T>, StoreError> {
    let known: BTreeSet<Sequence> = in_memory.iter().map(|(begun, _)| *begun).collect();
    let mut found = BTreeMap::new();
    let mut add = |begun: Sequence, row: T| {
        if begun < page.before && wanted(&row) {
            found.insert(begun, row);
        }
        if found.len() > page.limit {
            found.pop_first();
        }
    };
    for (begun, row) in in_memory {
        add(begun, row);
    }
    store.rows(table, &mut |key, bytes| {
        let begun = Sequence(<[u8; 8]>::try_from(key).map_or(0, u64::from_be_bytes));
        if begun < page.before && !known.contains(&begun) {
            add(begun, decode(table, key, bytes)?);
        }
        Ok(())
    })?;
    Ok(found.into_values().rev().collect())
}
