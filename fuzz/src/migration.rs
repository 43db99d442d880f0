//! Rows of a damaged disk, or of another version: a start never panics, and refuses what no version wrote.

use std::sync::Arc;

use tapgate_engine::recovery::recover;
use tapgate_engine::store::{RowBytes, Store, Table};
use tapgate_engine::testing::MemoryStore;

/// Rows, each as a byte for its table, one for the length of its key, two for that of its value, and both.
pub fn check(data: &[u8]) {
    let mut rows = Vec::new();
    let mut rest = data;
    while let [table, key, low, high, after @ ..] = rest {
        let (key, value) = (usize::from(*key), usize::from(u16::from_le_bytes([*low, *high])));
        let Some((key, after)) = after.split_at_checked(key) else { break };
        let Some((value, after)) = after.split_at_checked(value) else { break };
        let table = Table::ALL.get(usize::from(*table) % Table::ALL.len()).copied().unwrap_or(Table::Users);
        rows.push(RowBytes { table, key: key.to_vec(), value: value.to_vec() });
        rest = after;
    }
    let store: Arc<dyn Store> = MemoryStore::new();
    if store.put_rows(&rows).is_err() {
        return;
    }
    if let Ok(mut recovered) = recover(&store)
        && recovered.state.load_rest(&*store).is_ok()
    {
        let _ = recovered.state.hash();
    }
}
