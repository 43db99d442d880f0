//! The index of ids: the journal's last record about each.
//!
//! Authorizations and answers have no rows of their own: the journal is the row. Each record about a root names the one
//! before it, so the last one leads to all of them, and they are folded again when somebody asks (`told`). An entry
//! follows from its record alone: no row is read, locked or encoded to write it.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use super::encoding::{decode, encode};
use crate::fact::{Fact, Subject};
use crate::ids::{AuthorizationId, Sequence};
use crate::store::{RowBytes, Store, StoreError, Table};

/// The key of the index' own row among the program's.
const INDEX_KEY: &[u8] = b"index";

/// What stands for an id: 128 bits of a hash, seeded by the store. Whoever chose ids could not make two alike, and a
/// record that an entry names is checked to be about the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdKey(u128);

impl IdKey {
    pub(crate) fn of(seed: u64, id: &AuthorizationId) -> IdKey {
        IdKey(XxHash3_128::oneshot_with_seed(seed, id.as_str().as_bytes()) & !ANSWER_BIT)
    }

    /// Bits that spread ids over a table.
    pub(crate) fn spread(self) -> u64 {
        // Truncating: any bits of a hash do.
        (self.0 >> 64) as u64
    }

    /// The key of an entry. The two subjects of one id are neighbours.
    pub(crate) fn entry(self, subject: Subject) -> EntryKey {
        match subject {
            Subject::Authorization => self.0,
            Subject::Answer => self.0 | ANSWER_BIT,
        }
        .to_be_bytes()
    }

    fn of_entry(key: EntryKey) -> (IdKey, Subject) {
        let key = u128::from_be_bytes(key);
        let subject = if key & ANSWER_BIT == 0 { Subject::Authorization } else { Subject::Answer };
        (IdKey(key & !ANSWER_BIT), subject)
    }
}

/// The bit of a key that says which of an id's two entries it is.
const ANSWER_BIT: u128 = 1;

pub(crate) type EntryKey = [u8; 16];

/// The last records about an id; zero where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastRecords {
    /// Of the authorization, and of the answer to its own id.
    pub(crate) authorization: Sequence,
    /// Of the answer to an increment, a reversal or an advice.
    pub(crate) answer: Sequence,
}

impl LastRecords {
    pub(crate) fn is_none(self) -> bool {
        self == LastRecords::default()
    }

    pub(crate) fn newest(self) -> Sequence {
        self.authorization.max(self.answer)
    }

    /// Those that are not known yet, from the disk.
    pub(crate) fn or_stored(self, key: IdKey, store: &dyn Store) -> Result<LastRecords, StoreError> {
        Ok(LastRecords {
            authorization: or_stored(self.authorization, key.entry(Subject::Authorization), store)?,
            answer: or_stored(self.answer, key.entry(Subject::Answer), store)?,
        })
    }

    /// Takes a record in, in whatever order they come.
    pub(crate) fn take(&mut self, subject: Subject, sequence: Sequence) {
        let last = match subject {
            Subject::Authorization => &mut self.authorization,
            Subject::Answer => &mut self.answer,
        };
        *last = sequence.max(*last);
    }
}

/// In line, because every decision asks twice of an id that nobody knows yet.
#[inline(always)]
fn or_stored(known: Sequence, key: EntryKey, store: &dyn Store) -> Result<Sequence, StoreError> {
    if known > Sequence::ZERO {
        return Ok(known);
    }
    match store.row(Table::Ids, &key)? {
        None => Ok(Sequence::ZERO),
        Some(bytes) => read_entry(&key, &bytes).map(|(_, sequence)| sequence),
    }
}

/// An entry's bytes on disk.
pub(crate) fn entry_bytes(key: EntryKey, sequence: Sequence) -> RowBytes {
    RowBytes { table: Table::Ids, key: key.to_vec(), value: sequence.0.to_be_bytes().to_vec() }
}

fn read_entry(key: &[u8], bytes: &[u8]) -> Result<(EntryKey, Sequence), StoreError> {
    let (Ok(key), Ok(bytes)) = (key.try_into(), bytes.try_into()) else {
        return Err(StoreError::Corrupt("an entry of the index of ids is not 16 and 8 bytes".to_owned()));
    };
    Ok((key, Sequence(u64::from_be_bytes(bytes))))
}

/// Count and sum of the entries through one record: a lost or altered entry shows without the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexSum {
    pub(crate) sequence: Sequence,
    count: u64,
    /// Of hashes, wrapping. It finds accidents: whoever writes the disk can make it fit.
    sum: u128,
}

impl IndexSum {
    pub(crate) fn load(store: &dyn Store) -> Result<IndexSum, StoreError> {
        let bytes = store.row(Table::Program, INDEX_KEY)?;
        bytes.map_or(Ok(IndexSum::default()), |bytes| decode(Table::Program, INDEX_KEY, &bytes))
    }

    pub(crate) fn encode(&self) -> Result<RowBytes, StoreError> {
        encode(Table::Program, INDEX_KEY, self)
    }

    /// Counts the entries of the record at `sequence`, and returns them.
    pub(crate) fn apply<'a>(
        &'a mut self,
        seed: u64,
        sequence: Sequence,
        fact: &'a Fact,
    ) -> impl Iterator<Item = (IdKey, Subject)> {
        let is_new = sequence > self.sequence;
        self.sequence = self.sequence.max(sequence);
        fact.indexed().map(move |entry| {
            let id = IdKey::of(seed, entry.id);
            let key = id.entry(entry.subject);
            if is_new {
                self.add(key, sequence);
                if entry.before > Sequence::ZERO {
                    self.remove(key, entry.before);
                }
            }
            (id, entry.subject)
        })
    }

    fn add(&mut self, key: EntryKey, sequence: Sequence) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash(key, sequence));
    }

    fn remove(&mut self, key: EntryKey, sequence: Sequence) {
        self.count -= 1;
        self.sum = self.sum.wrapping_sub(hash(key, sequence));
    }
}

fn hash(key: EntryKey, sequence: Sequence) -> u128 {
    let mut bytes = [0; 24];
    let (of_key, of_sequence) = bytes.split_at_mut(key.len());
    of_key.copy_from_slice(&key);
    of_sequence.copy_from_slice(&sequence.0.to_be_bytes());
    XxHash3_128::oneshot(&bytes)
}

/// The index, built record by record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    seed: u64,
    sum: IndexSum,
    /// As far as they are in memory. Of several with one key, the one with the last record holds.
    entries: Vec<(EntryKey, Sequence)>,
}

impl Index {
    /// The newest record that an entry on disk names.
    pub(super) fn newest(store: &dyn Store) -> Result<Sequence, StoreError> {
        let mut newest = Sequence::ZERO;
        store.rows(Table::Ids, &mut |key, bytes| {
            newest = newest.max(read_entry(key, bytes)?.1);
            Ok(())
        })?;
        Ok(newest)
    }

    /// What the disk says of the index as a whole, without its entries.
    pub(crate) fn load(store: &dyn Store) -> Result<Index, StoreError> {
        Ok(Index { seed: store.id_seed(), sum: IndexSum::load(store)?, entries: Vec::new() })
    }

    /// An index without entries, to be built from a store's first record.
    pub(crate) fn empty(store: &dyn Store) -> Index {
        Index { seed: store.id_seed(), ..Index::default() }
    }

    pub(crate) fn apply(&mut self, sequence: Sequence, fact: &Fact) {
        let named = self.sum.apply(self.seed, sequence, fact);
        self.entries.extend(named.map(|(id, subject)| (id.entry(subject), sequence)));
    }

    /// What records in memory name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (IdKey, Subject, Sequence)> {
        self.entries.iter().map(|(key, sequence)| {
            let (id, subject) = IdKey::of_entry(*key);
            (id, subject, *sequence)
        })
    }

    /// The last records about each id.
    #[cfg(feature = "testing")]
    pub(crate) fn last(&self) -> impl Fn(&AuthorizationId) -> LastRecords {
        let (seed, mut last) = (self.seed, std::collections::BTreeMap::<_, LastRecords>::new());
        self.named().for_each(|(id, subject, sequence)| last.entry(id).or_default().take(subject, sequence));
        move |id| last.get(&IdKey::of(seed, id)).copied().unwrap_or_default()
    }

    /// Loads the entries on disk.
    pub(crate) fn load_rest(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        store.rows(Table::Ids, &mut |key, bytes| {
            self.entries.push(read_entry(key, bytes)?);
            Ok(())
        })
    }

    /// Whether the entries, all of them loaded, are those that were counted and summed.
    pub(crate) fn fits_its_sum(&self) -> bool {
        self.counted(self.sum.sequence) == self.sum
    }

    /// Count and sum of the entries, all of them loaded, through one record.
    pub(crate) fn counted(&self, sequence: Sequence) -> IndexSum {
        let mut found = IndexSum { sequence, ..IndexSum::default() };
        self.entries().into_iter().for_each(|(key, sequence)| found.add(key, sequence));
        found
    }

    /// The entries in memory that hold, in key order.
    pub(crate) fn entries(&self) -> Vec<(EntryKey, Sequence)> {
        let mut entries = self.entries.clone();
        entries.sort_unstable_by_key(|(key, sequence)| (*key, Reverse(*sequence)));
        entries.dedup_by_key(|(key, _)| *key);
        entries
    }
}
