//! The places of UR's movements: rows in memory, and records whose rows nobody has asked for yet.

use compact_str::CompactString;
use smallvec::SmallVec;
use twox_hash::XxHash3_128;

use super::encoding::load;
use super::{PostingRow, Row, Shelf, record};
use crate::fact::{Record, Touches};
use crate::ids::Sequence;
use crate::store::{Store, StoreError};

/// The records after the rows on disk that show a movement, by a hash of its place. Recovery looks at no row for them: the
/// journal is the row until somebody asks for the place, or the rows are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    seed: u64,
    records: Vec<(u64, Sequence)>,
}

impl Noted {
    pub(crate) fn seeded(seed: u64) -> Noted {
        Noted { seed, records: Vec::new() }
    }

    pub(crate) fn note(&mut self, touches: &Touches<'_>, sequence: Sequence) {
        if let Some(posting) = touches.posting {
            self.records.push((self.hash(&posting.place()), sequence));
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash do")]
    fn hash(&self, place: &CompactString) -> u64 {
        XxHash3_128::oneshot_with_seed(self.seed, place.as_bytes()) as u64
    }

    /// Folds the noted records over the rows, all of them loaded, and forgets them.
    pub(crate) fn fold_into(&mut self, rows: &mut Shelf<PostingRow>, store: &dyn Store) -> Result<(), StoreError> {
        let mut sequences: Vec<Sequence> = self.records.drain(..).map(|(_, sequence)| sequence).collect();
        sequences.sort_unstable();
        for sequence in sequences {
            let record = noted_record(sequence, store)?;
            rows.apply(&record.touches(sequence), sequence, &record);
        }
        Ok(())
    }

    /// The records that may be about a place, oldest first, of sorted ones.
    fn of(&self, place: &CompactString) -> SmallVec<[Sequence; 2]> {
        if self.records.is_empty() {
            return SmallVec::new();
        }
        let hash = self.hash(place);
        let first = self.records.partition_point(|(other, _)| *other < hash);
        let later = self.records.iter().skip(first);
        later.take_while(|(other, _)| *other == hash).map(|(_, sequence)| *sequence).collect()
    }
}

/// The rows of places as far as they are in memory. A row is there whole: a place whose records are only noted has none.
#[derive(Debug)]
pub(crate) struct Postings {
    rows: Shelf<PostingRow>,
    /// Sorted.
    noted: Noted,
}

/// Where a row is that memory does not hold: on disk, and in these records after it.
pub(crate) struct Elsewhere(SmallVec<[Sequence; 2]>);

impl Elsewhere {
    /// Reads the row.
    pub(crate) fn load(self, place: &CompactString, store: &dyn Store) -> Result<Option<PostingRow>, StoreError> {
        let mut row = load::<PostingRow>(store, place)?;
        for sequence in self.0 {
            fold_noted(place, &mut row, sequence, store)?;
        }
        Ok(row)
    }
}

fn fold_noted(
    place: &CompactString,
    row: &mut Option<PostingRow>,
    sequence: Sequence,
    store: &dyn Store,
) -> Result<(), StoreError> {
    let noted = noted_record(sequence, store)?;
    // Two places may share a hash.
    if PostingRow::touched(&noted.touches(sequence)).any(|of| of == *place) {
        match row {
            Some(row) => row.apply(sequence, &noted),
            None => *row = PostingRow::open(place, sequence, &noted),
        }
    }
    Ok(())
}

fn noted_record(sequence: Sequence, store: &dyn Store) -> Result<Record, StoreError> {
    let noted = record(store, sequence)?;
    noted.ok_or_else(|| StoreError::Corrupt(format!("the journal has lost record {sequence} since the start")))
}

impl Postings {
    pub(crate) fn new(rows: Shelf<PostingRow>, mut noted: Noted) -> Postings {
        noted.records.sort_unstable();
        Postings { rows, noted }
    }

    /// The rows in memory and the noted records, for a snapshot.
    #[cfg(feature = "testing")]
    pub(crate) fn copy(&self) -> (Shelf<PostingRow>, Noted) {
        (self.rows.clone(), self.noted.clone())
    }

    /// The row of a place, or where to find it.
    pub(crate) fn get(&self, place: &CompactString) -> Result<&PostingRow, Elsewhere> {
        self.rows.get(place).ok_or_else(|| Elsewhere(self.noted.of(place)))
    }

    /// Loads a row that is not in memory.
    pub(crate) fn fetch(&mut self, place: &CompactString, store: &dyn Store) -> Result<(), StoreError> {
        if let Err(elsewhere) = self.get(place)
            && let Some(row) = elsewhere.load(place, store)?
        {
            self.rows.insert(place.clone(), row);
        }
        Ok(())
    }

    /// Folds a record into the row of its place, which was fetched.
    pub(crate) fn apply(&mut self, touches: &Touches<'_>, sequence: Sequence, record: &Record) {
        self.rows.apply(touches, sequence, record);
    }

    /// Evicts what the rows on disk hold.
    pub(crate) fn forget(&mut self, watermark: Sequence) {
        self.rows.forget(watermark);
        self.noted.records.retain(|(_, sequence)| *sequence > watermark);
        self.noted.records.shrink_to_fit();
    }
}
