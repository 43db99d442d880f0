//! The bytes and keys of rows.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bytes::Buffer;
use crate::ids::{BreakId, Sequence};
use crate::store::{Row, Store, StoreError, Table};

/// The version of the rows' bytes.
const ROW_VERSION: u8 = 6;

pub(crate) fn row<T: Serialize>(table: Table, key: &[u8], value: &T) -> Result<Row, StoreError> {
    let mut buffer = Buffer(Vec::with_capacity(256));
    postcard::serialize_with_flavor(&(ROW_VERSION, value), &mut buffer)
        .map_err(|error| StoreError::Failed(format!("a row cannot be encoded: {error}")))?;
    Ok(Row { table, key: key.to_vec(), value: buffer.0 })
}

pub(crate) fn decode<T: DeserializeOwned>(table: Table, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let named = || format!("the row {} of {table:?}", String::from_utf8_lossy(key));
    match bytes.split_first() {
        Some((&ROW_VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| StoreError::Corrupt(format!("{}: {error}", named())))
        }
        Some((version, _)) => Err(StoreError::Failed(format!("{} has the unknown version {version}", named()))),
        None => Err(StoreError::Corrupt(format!("{} is empty", named()))),
    }
}

pub(crate) fn load<T: DeserializeOwned>(store: &dyn Store, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
    store.row(table, key)?.map(|bytes| decode(table, key, &bytes)).transpose()
}

pub(crate) fn fetch<K: Ord, T: DeserializeOwned>(
    rows: &mut BTreeMap<K, T>,
    id: K,
    key: &[u8],
    table: Table,
    store: Option<&dyn Store>,
) -> Result<(), StoreError> {
    if let (Some(store), false) = (store, rows.contains_key(&id))
        && let Some(row) = load(store, table, key)?
    {
        rows.insert(id, row);
    }
    Ok(())
}

/// Sorts by the time of opening.
pub(crate) fn break_key(id: BreakId) -> [u8; 10] {
    let mut key = [0; 10];
    let (opened, number) = key.split_at_mut(8);
    opened.copy_from_slice(&id.opened.0.to_be_bytes());
    number.copy_from_slice(&id.number.to_be_bytes());
    key
}

/// The key of a row that is named by the record that began it: sorts by age.
pub(crate) fn record_key(begun: Sequence) -> [u8; 8] {
    begun.0.to_be_bytes()
}

pub(super) fn key_id<T: std::str::FromStr>(key: &[u8]) -> Result<T, StoreError> {
    let text = std::str::from_utf8(key).ok().and_then(|text| text.parse().ok());
    text.ok_or_else(|| StoreError::Corrupt(format!("a row has the key {:?}", String::from_utf8_lossy(key))))
}
