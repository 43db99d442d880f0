//! Shelves: rows of one kind by their keys, and all that is the same for every kind.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;
use serde::de::DeserializeOwned;
use smallvec::SmallVec;

use super::encoding::{decode, encode, load};
use super::legal::Broken;
use crate::fact::{Fact, Record, Touches};
use crate::ids::{AlertId, AuthorizationId, BreakId, ClosureId, PrefundId, Sequence, UrId};
use crate::money::Currency;
use crate::store::{RowBytes, Store, StoreError, Table};

/// A kind of stored thing: where its rows are kept, which records touch one, and how it folds them.
pub trait Row: Clone + PartialEq + Serialize + DeserializeOwned {
    /// The table.
    const TABLE: Table;
    /// Whether the open rows are loaded at the start. Others are loaded once a record or a request names them.
    const LOADED_AT_START: bool = true;
    /// What names a row within its table.
    type Key: RowKey;

    /// The rows of this kind among those that a fact touches.
    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = Self::Key>;

    /// Whether a fact may touch open rows that it does not name: every one of them then looks at its record.
    fn touches_unnamed(_: &Touches<'_>) -> bool {
        false
    }

    /// The row that a record makes where there is none.
    fn open(key: &Self::Key, sequence: Sequence, record: &Record) -> Option<Self>;

    /// The last record folded into the row.
    fn sequence(&self) -> Sequence;

    /// Folds one record that touches the row. A record that the row already holds changes nothing.
    fn apply(&mut self, sequence: Sequence, record: &Record);

    /// What must hold of the row after `fact` has changed it.
    ///
    /// # Errors
    /// A figure is broken.
    fn check(&self, _: &Fact) -> Result<(), Broken> {
        Ok(())
    }

    /// Whether something may still happen to it. An open row stays in memory.
    fn is_open(&self) -> bool {
        Self::LOADED_AT_START
    }
}

/// The bytes of most keys.
pub type KeyBytes = SmallVec<[u8; 24]>;

/// What names a row: the order of keys is the order of their bytes.
pub trait RowKey: Clone + Ord {
    /// The bytes it has on the disk.
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

text_key!(UrId, AuthorizationId, Currency, compact_str::CompactString);

/// Rows that are named by the record that began them sort by age.
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

/// The rows of one kind in memory: those that are open, those that ended lately, and those that a record named.
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

    /// The open rows, in the order of their keys.
    pub(crate) fn open(&self) -> impl Iterator<Item = &R> {
        self.0.values().filter(|row| row.is_open())
    }

    /// Loads the touched rows that are not here.
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

    /// Folds a record into every row that it touches, each by itself, and opens the rows that it makes.
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

    /// Loads the open rows, where this kind is loaded at the start.
    pub(crate) fn load(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        if R::LOADED_AT_START { self.load_where(store, R::is_open) } else { Ok(()) }
    }

    /// Loads the rows that are not here.
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

    /// The newest record that any of the rows holds.
    pub(crate) fn newest(&self) -> Sequence {
        self.0.values().map(R::sequence).max().unwrap_or(Sequence::ZERO)
    }

    /// Encodes the rows that hold a record after `since`, and gives the newest that any of them holds.
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

    /// Forgets the rows that are over and on the disk.
    pub(crate) fn forget(&mut self, watermark: Sequence) {
        self.0.retain(|_, row| row.is_open() || row.sequence() > watermark);
    }
}

/// The bytes of a row and its key.
pub(crate) fn encode_row<R: Row>(key: &R::Key, row: &R) -> Result<RowBytes, StoreError> {
    encode(R::TABLE, &key.bytes(), row)
}

/// Visits every row of a kind on the disk, in the order of their keys.
pub(crate) fn each_stored<R: Row>(store: &dyn Store, visit: &mut dyn FnMut(R::Key, R)) -> Result<(), StoreError> {
    store.rows(R::TABLE, &mut |key, bytes| {
        let named = R::Key::read(key).ok_or_else(|| {
            StoreError::Corrupt(format!("a row of {:?} has the key {:?}", R::TABLE, String::from_utf8_lossy(key)))
        })?;
        visit(named, decode(R::TABLE, key, bytes)?);
        Ok(())
    })
}

/// Which of the shelves a kind has: for a kind that is listed below.
pub(crate) trait Shelved: Row {
    /// Its shelf.
    fn shelf(shelves: &Shelves) -> &Shelf<Self>;
}

macro_rules! shelves {
    ($($name:ident: $row:ty,)*) => {
        /// The kinds that people and programs change now and then, each with all of its open rows in memory.
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
