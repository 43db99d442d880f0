//! Shelves: rows of one kind by key, with the behaviour that all kinds share.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use super::encoding::{decode, encode, load};
use super::legal::Broken;
use crate::fact::{Fact, Record, Touches};
use crate::ids::{AlertId, BreakId, ClosureId, PrefundId, Sequence, UrId};
use crate::money::Currency;
use crate::store::{RowBytes, Store, StoreError, Table};

/// A kind of row: the records that touch it, and its fold.
pub trait Row: Clone + PartialEq {
    /// The key of a row among its kind.
    type Key: Clone + Ord;

    /// The keys of this kind among the rows that a fact touches.
    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = Self::Key>;

    /// Whether a fact may touch open rows that it does not name: then every open row folds its record.
    fn touches_unnamed(_: &Touches<'_>) -> bool {
        false
    }

    /// The row that a record creates.
    fn open(key: &Self::Key, sequence: Sequence, record: &Record) -> Option<Self>;

    /// The last record folded into the row.
    fn sequence(&self) -> Sequence;

    /// Folds one record that touches the row. A record that the row already holds changes nothing.
    fn apply(&mut self, sequence: Sequence, record: &Record);

    /// Checks the row's invariants after `fact` has changed it.
    ///
    /// # Errors
    /// A figure is out of bounds.
    fn check(&self, _: &Fact) -> Result<(), Broken> {
        Ok(())
    }

    /// Whether the row may still change. An open row stays in memory.
    fn is_open(&self) -> bool {
        true
    }
}

/// A kind of row that is kept on disk.
pub trait Stored: Row<Key: RowKey> + Serialize + DeserializeOwned {
    const TABLE: Table;
    /// Whether the open rows are loaded at the start. Other rows are loaded when a record or a request names them.
    const LOADED_AT_START: bool = true;
}

/// The bytes of a key; most fit inline.
pub type KeyBytes = SmallVec<[u8; 24]>;

/// The key of a row: keys sort as their bytes do.
pub trait RowKey: Clone + Ord {
    /// The key's bytes on disk.
    fn bytes(&self) -> KeyBytes;

    /// The key with these bytes.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// Its bytes for the time of a call: a decision's two look-ups copy no key.
    fn with_bytes<T>(&self, visit: impl FnOnce(&[u8]) -> T) -> T {
        visit(&self.bytes())
    }
}

macro_rules! text_key {
    ($($key:ty),*) => {
        $(impl RowKey for $key {
            fn bytes(&self) -> KeyBytes {
                KeyBytes::from_slice(self.as_str().as_bytes())
            }

            fn with_bytes<T>(&self, visit: impl FnOnce(&[u8]) -> T) -> T {
                visit(self.as_str().as_bytes())
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                std::str::from_utf8(bytes).ok()?.parse().ok()
            }
        })*
    };
}

text_key!(UrId, Currency, compact_str::CompactString);

/// Keys made of the record that began the row sort by age.
macro_rules! record_key {
    ($($key:ident),*) => {
        $(impl RowKey for $key {
            fn bytes(&self) -> KeyBytes {
                KeyBytes::from_slice(&self.0.0.to_be_bytes())
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                Some($key(Sequence(u64::from_be_bytes(bytes.try_into().ok()?))))
            }
        })*
    };
}

record_key!(AlertId, PrefundId, ClosureId);

impl RowKey for BreakId {
    fn bytes(&self) -> KeyBytes {
        let mut bytes = KeyBytes::from_slice(&self.opened.0.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (opened, number) = bytes.split_at_checked(8)?;
        let opened = Sequence(u64::from_be_bytes(opened.try_into().ok()?));
        Some(BreakId { opened, number: u16::from_be_bytes(number.try_into().ok()?) })
    }
}

/// The rows of one kind in memory: open rows, recently closed rows, and rows that a record named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shelf<R: Row>(BTreeMap<R::Key, R>);

impl<R: Row> Default for Shelf<R> {
    fn default() -> Self {
        Shelf(BTreeMap::new())
    }
}

impl<R: Row> FromIterator<(R::Key, R)> for Shelf<R> {
    fn from_iter<I: IntoIterator<Item = (R::Key, R)>>(rows: I) -> Self {
        Shelf(rows.into_iter().collect())
    }
}

impl<R: Row> IntoIterator for Shelf<R> {
    type Item = (R::Key, R);
    type IntoIter = std::collections::btree_map::IntoIter<R::Key, R>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<R: Row> Shelf<R> {
    pub(crate) fn get(&self, key: &R::Key) -> Option<&R> {
        self.0.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&R::Key, &R)> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The open rows, in key order.
    pub(crate) fn open(&self) -> impl Iterator<Item = &R> {
        self.0.values().filter(|row| row.is_open())
    }

    pub(crate) fn insert(&mut self, key: R::Key, row: R) {
        self.0.insert(key, row);
    }

    /// Folds a record into every row that it touches, each independently, and opens the rows that it creates.
    pub(crate) fn apply(&mut self, touches: &Touches<'_>, sequence: Sequence, record: &Record) {
        for key in R::touched(touches) {
            match self.0.entry(key) {
                Entry::Occupied(mut row) => row.get_mut().apply(sequence, record),
                Entry::Vacant(place) => {
                    R::open(place.key(), sequence, record).map(|row| place.insert(row));
                }
            }
        }
        if R::touches_unnamed(touches) {
            self.0.values_mut().filter(|row| row.is_open()).for_each(|row| row.apply(sequence, record));
        }
    }

    /// Checks the rows that a fact has changed.
    pub(crate) fn check(&self, touches: &Touches<'_>, fact: &Fact) -> Result<(), Broken> {
        R::touched(touches).filter_map(|key| self.0.get(&key)).try_for_each(|row| row.check(fact))
    }

    /// The newest record in any of the rows.
    pub(crate) fn newest(&self) -> Sequence {
        self.0.values().map(R::sequence).max().unwrap_or(Sequence::ZERO)
    }

    /// Drops the rows whose last record is at or before `through`.
    pub(crate) fn drop_through(&mut self, through: Sequence) {
        self.0.retain(|_, row| row.sequence() > through);
    }

    /// Evicts closed rows whose last record is at or before the watermark.
    pub(crate) fn forget(&mut self, watermark: Sequence) {
        self.0.retain(|_, row| row.is_open() || row.sequence() > watermark);
    }
}

impl<R: Stored> Shelf<R> {
    /// Loads the touched rows that are not in memory.
    pub(crate) fn fetch(&mut self, touches: &Touches<'_>, store: &dyn Store) -> Result<(), StoreError> {
        for key in R::touched(touches) {
            if let Entry::Vacant(place) = self.0.entry(key)
                && let Some(row) = load::<R>(store, place.key())?
            {
                place.insert(row);
            }
        }
        Ok(())
    }

    /// Loads the open rows, for a kind that is loaded at the start.
    pub(crate) fn load(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        if R::LOADED_AT_START { self.load_where(store, R::is_open) } else { Ok(()) }
    }

    /// Loads the rows that are not in memory.
    pub(crate) fn load_rest(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        self.load_where(store, |_| true)
    }

    fn load_where(&mut self, store: &dyn Store, wanted: impl Fn(&R) -> bool) -> Result<(), StoreError> {
        each_stored(store, &mut |key, row| {
            if wanted(&row) {
                self.0.entry(key).or_insert(row);
            }
        })
    }

    /// Encodes the rows with a record after `since`, and returns the newest record in any of them.
    pub(crate) fn encode_changed(
        &self,
        since: Sequence,
        put: &mut dyn FnMut(RowBytes),
    ) -> Result<Sequence, StoreError> {
        let mut newest = Sequence::ZERO;
        for (key, row) in self.0.iter().filter(|(_, row)| row.sequence() > since) {
            newest = newest.max(row.sequence());
            put(encode_row(key, row)?);
        }
        Ok(newest)
    }
}

/// Encodes a row and its key.
pub(crate) fn encode_row<R: Stored>(key: &R::Key, row: &R) -> Result<RowBytes, StoreError> {
    encode(R::TABLE, &key.bytes(), row)
}

/// Visits every row of a kind on disk, in key order.
pub(crate) fn each_stored<R: Stored>(store: &dyn Store, visit: &mut dyn FnMut(R::Key, R)) -> Result<(), StoreError> {
    store.rows(R::TABLE, &mut |key, bytes| {
        let named = R::Key::read(key).ok_or_else(|| {
            StoreError::Corrupt(format!("a row of {:?} has the key {:?}", R::TABLE, String::from_utf8_lossy(key)))
        })?;
        visit(named, decode(R::TABLE, key, bytes)?);
        Ok(())
    })
}

/// Selects a kind's shelf, for each kind listed below.
pub(crate) trait Shelved: Stored {
    fn shelf(shelves: &Shelves) -> &Shelf<Self>;
}

macro_rules! shelves {
    ($($name:ident: $row:ty,)*) => {
        /// The kinds that people and programs change rarely, each with all open rows in memory.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Shelves {
            $(pub(crate) $name: Shelf<$row>,)*
        }

        $(impl Shelved for $row {
            fn shelf(shelves: &Shelves) -> &Shelf<Self> {
                &shelves.$name
            }
        })*

        impl Shelves {
            pub(crate) fn fetch(&mut self, touches: &Touches<'_>, store: &dyn Store) -> Result<(), StoreError> {
                $(self.$name.fetch(touches, store)?;)*
                Ok(())
            }

            pub(crate) fn apply(&mut self, touches: &Touches<'_>, sequence: Sequence, record: &Record) {
                $(self.$name.apply(touches, sequence, record);)*
            }

            pub(crate) fn load(&mut self, store: &dyn Store) -> Result<(), StoreError> {
                $(self.$name.load(store)?;)*
                Ok(())
            }

            pub(crate) fn load_rest(&mut self, store: &dyn Store) -> Result<(), StoreError> {
                $(self.$name.load_rest(store)?;)*
                Ok(())
            }

            pub(crate) fn newest(&self) -> Sequence {
                [$(self.$name.newest(),)*].into_iter().fold(Sequence::ZERO, Sequence::max)
            }

            pub(crate) fn encode_changed(
                &self,
                since: Sequence,
                put: &mut dyn FnMut(RowBytes),
            ) -> Result<Sequence, StoreError> {
                let newest = [$(self.$name.encode_changed(since, put)?,)*];
                Ok(newest.into_iter().fold(Sequence::ZERO, Sequence::max))
            }

            pub(crate) fn forget(&mut self, watermark: Sequence) {
                $(self.$name.forget(watermark);)*
            }
        }
    };
}

// A new kind is a line here, a file beside this one that implements `Row`, and its payload in `fact`.
shelves! {
    alerts: super::Alert,
    breaks: super::Break,
    closures: super::Closure,
    cursors: super::Cursor,
    prefunds: super::Prefund,
}
