//! The bytes of rows.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RowKey, Stored};
use crate::bytes::Buffer;
use crate::store::{RowBytes, Store, StoreError, Table};

/// The version of the rows' bytes.
const ROW_VERSION: u8 = 11;

pub(crate) fn encode<T: Serialize>(table: Table, key: &[u8], value: &T) -> Result<RowBytes, StoreError> {
    let mut buffer = Buffer(Vec::with_capacity(256));
    postcard::serialize_with_flavor(&(ROW_VERSION, value), &mut buffer)
        .map_err(|error| StoreError::Failed(format!("a row cannot be encoded: {error}")))?;
    Ok(RowBytes { table, key: key.to_vec(), value: buffer.0 })
}

pub(crate) fn decode<T: DeserializeOwned>(table: Table, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let named = || format!("the row {} of {table:?}", String::from_utf8_lossy(key));
    match bytes.split_first() {
        Some((&ROW_VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| StoreError::Corrupt(format!("{}: {error}", named())))
        }
        Some((version, _)) => Err(StoreError::Failed(format!(
            "{} has version {version}, and this tapgate reads version {ROW_VERSION}: run the version of tapgate that wrote it",
            named()
        ))),
        None => Err(StoreError::Corrupt(format!("{} is empty", named()))),
    }
}

/// Loads the row with this key, if stored.
pub(crate) fn load<R: Stored>(store: &dyn Store, key: &R::Key) -> Result<Option<R>, StoreError> {
    key.with_bytes(|key| store.row(R::TABLE, key)?.map(|bytes| decode(R::TABLE, key, &bytes)).transpose())
}
