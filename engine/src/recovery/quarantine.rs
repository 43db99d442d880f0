//! Going on with a journal in which some records cannot be used.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use compact_str::CompactString;

use super::{RecoveryError, builds_on, recover, take_names, walk_unnamed, whole};
use crate::fact::{Author, Fact, LOSS_REASON_BYTES_MAX, LOST_RECORDS_MAX, Quarantined, Record, RowsHeld};
use crate::ids::Sequence;
use crate::rows::State;
use crate::rows::index::Index;
use crate::store::{Entry, Original, Overlay, StandIn, Store, StoreError};
use crate::time::UnixMillis;
use crate::tree::{Frontier, Node, Span};

/// Records cannot be put into quarantine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuarantineError {
    /// The journal has more faults than records: a matter of a backup.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No reason, or a long one.
    #[error("the reason has 1 to {LOSS_REASON_BYTES_MAX} bytes")]
    Reason,
    /// Beyond the journal.
    #[error("there is no record {sequence}: the journal ends at {end}")]
    NoSuch {
        /// The record that was named.
        sequence: Sequence,
        /// The journal's last record.
        end: Sequence,
    },
    /// Only what stops the journal from being used may be left out of it.
    #[error("record {0} can be read and folded: nothing was changed")]
    Usable(Sequence),
    /// The journal stays unusable with this one.
    #[error(
        "record {sequence} is in the way: {fault}. Nothing was changed; name it in the same command, with the others"
    )]
    Another {
        /// A record that was not named.
        sequence: Sequence,
        /// Its fault.
        fault: String,
    },
    /// The rows contradict each other once the record is left out, and cannot be built anew.
    #[error(
        "some rows hold what record {0} said and others do not, and the journal alone no longer tells them: put back a \
         backup"
    )]
    RowsApart(Sequence),
    /// The journal is of little use.
    #[error("{records} records cannot be read, more than {LOST_RECORDS_MAX}: put back a backup")]
    TooMany {
        /// How many, at least.
        records: u64,
    },
}

/// Records that can be put into quarantine.
pub struct Quarantine {
    /// The journal as it is going to be.
    over: Arc<Overlay>,
    end: Sequence,
    is_damaged: bool,
    must_forget_rows: bool,
    hashes_lost: Option<Sequence>,
    named: Vec<Quarantined>,
    entries: Vec<Entry>,
    completed: Vec<Node>,
    next: Option<RecoveryError>,
}

/// Why a record cannot be used, where its own place tells.
enum Fault {
    /// The disk has changed where it is, and that of those beside it.
    Damaged,
    /// As those beside it may be.
    Missing,
    Altered,
    Unknown(Vec<u8>),
}

impl Fault {
    /// `None`: as it was written, and can be decoded.
    fn of(store: &dyn Store, sequence: Sequence) -> Result<Option<Fault>, StoreError> {
        Ok(match store.entry(sequence) {
            Err(StoreError::Corrupt(_)) => Some(Fault::Damaged),
            Err(error) => return Err(error),
            Ok(None) => Some(Fault::Missing),
            Ok(Some(entry)) if entry.leaf_hash().is_none() => Some(Fault::Altered),
            Ok(Some(entry)) => Record::decode(&entry.payload).is_err().then_some(Fault::Unknown(entry.payload)),
        })
    }
}

impl Quarantine {
    /// Judges the records `sequences`, and what cannot be read beside them, and changes nothing. What is recorded is stamped
    /// with `now`, or the last record's time if that is later.
    ///
    /// # Errors
    /// See [`QuarantineError`].
    pub fn judge(
        store: &Arc<dyn Store>,
        sequences: &[Sequence],
        author: &Author,
        now: UnixMillis,
        reason: &str,
    ) -> Result<Quarantine, QuarantineError> {
        if !(1..=LOSS_REASON_BYTES_MAX).contains(&reason.len()) {
            return Err(QuarantineError::Reason);
        }
        let end = store.head()?;
        if let Some(beyond) = sequences.iter().find(|sequence| **sequence == Sequence::ZERO || **sequence > end) {
            return Err(QuarantineError::NoSuch { sequence: *beyond, end });
        }
        let over = Arc::new(Overlay::over(Arc::clone(store)));
        let patched = Patched { over: Arc::clone(&over), beneath: &**store, end };
        let (mut entries, is_damaged) = patched.stand_ins(sequences)?;
        entries.extend(patched.stand_ins_above()?);
        // What an earlier quarantine put there is named again where the record that named it is now in one itself.
        let (mut unnamed, mut before) = (BTreeSet::new(), Vec::new());
        let mut frontier = walk_unnamed(&*over, Frontier::default(), &mut |sequence, record| {
            take_names(&mut unnamed, sequence, &record.fact);
            if let Fact::Quarantined(named) = record.fact {
                before.push(*named);
            }
            Ok(())
        })
        .map_err(another)?;
        let at = patched.made_at(end)?.max(now);
        let (mut named, mut completed) = (Vec::<Quarantined>::new(), Vec::new());
        let is_new: BTreeSet<Sequence> = entries.iter().map(|entry| entry.sequence).collect();
        unnamed.extend(&is_new);
        let (watermark, newest) = (store.watermark()?, State::load(&**store)?.newest_stored(&**store)?);
        if newest.max(watermark) > end {
            return Err(RecoveryError::Ahead { watermark: newest.max(watermark), head: end }.into());
        }
        let held = |sequence: &Sequence| match is_new.contains(sequence) {
            true if *sequence <= watermark => RowsHeld::All,
            true => RowsHeld::None,
            false => RowsHeld::Unknown,
        };
        for rows in [RowsHeld::All, RowsHeld::Unknown, RowsHeld::None] {
            for range in ranges(unnamed.iter().copied().filter(|sequence| held(sequence) == rows)) {
                let (first, last) = (*range.start(), *range.end());
                named.push(Quarantined { first, last, rows, reason: CompactString::from(reason) });
            }
        }
        // A turn of the rows that was cut short has written some beyond the watermark, and one row says what another does not.
        let apart = is_new.range((Bound::Excluded(watermark), Bound::Included(newest.max(watermark)))).next();
        let may_fold_all = named.iter().chain(&before).all(|named| named.rows.is_none_of_it());
        if let Some(sequence) = apart.filter(|_| !may_fold_all) {
            return Err(QuarantineError::RowsApart(*sequence));
        }
        let must_forget_rows = apart.is_some();
        let mut index = Index::load(&**store)?;
        index.load_rest(&**store)?;
        // Beyond the watermark it is not counted yet.
        if newest <= watermark && !index.fits_its_sum() {
            return Err(RecoveryError::Index.into());
        }
        named.sort_by_key(|quarantined| quarantined.first);
        for quarantined in &named {
            let fact = Fact::Quarantined(Box::new(quarantined.clone()));
            let payload = Record { at, author: author.clone(), fact }.encode();
            let (entry, leaf) = Entry::new(Sequence(frontier.size()).next(), payload);
            frontier.append(leaf, |node| completed.push(node));
            entries.push(entry);
        }
        over.append(&entries, &completed)?;
        let next = match recover(&(Arc::clone(&over) as Arc<dyn Store>)) {
            Ok(_) => None,
            Err(illegal @ RecoveryError::Illegal { .. }) => Some(illegal),
            Err(error) => return Err(error.into()),
        };
        let hashes_lost = entries
            .iter()
            .find(|entry| StandIn::decode(&entry.payload).is_some_and(|stand_in| stand_in.original == Original::Lost));
        let hashes_lost = hashes_lost.map(|entry| entry.sequence);
        Ok(Quarantine { over, end, is_damaged, must_forget_rows, hashes_lost, named, entries, completed, next })
    }

    /// Whether the rows are to be forgotten first, and everything judged again: some hold what is to be left out, and others do
    /// not. The whole journal tells them.
    #[must_use]
    pub fn must_forget_rows(&self) -> bool {
        self.must_forget_rows
    }

    /// The journal as it is going to be, with the nodes of the tree that are new: to be written anew, because it cannot be
    /// written over. `None` where [`Self::place`] can do so.
    #[must_use]
    pub fn anew(&self) -> Option<(&dyn Store, &[Node])> {
        self.is_damaged.then_some((&*self.over, &self.completed))
    }

    /// Puts the stand-ins into their places and appends what tells of them, in one write.
    ///
    /// # Errors
    /// The store failed: nothing, or everything, is written.
    pub fn place(&self, store: &dyn Store) -> Result<(), StoreError> {
        if store.head()? != self.end {
            return Err(StoreError::Failed("the journal has changed since it was judged: begin again".to_owned()));
        }
        store.append(&self.entries, &self.completed)?;
        store.sync_head()
    }

    /// What is recorded, in order.
    #[must_use]
    pub fn named(&self) -> &[Quarantined] {
        &self.named
    }

    /// The journal's last record from then on.
    #[must_use]
    pub fn last(&self) -> Sequence {
        self.entries.last().map_or(self.end, |entry| entry.sequence)
    }

    /// The first record whose hash nothing tells any more: heads that were signed over it no longer fit.
    #[must_use]
    pub fn hashes_lost(&self) -> Option<Sequence> {
        self.hashes_lost
    }

    /// The record that a start stops at all the same, where there is one: it cannot be folded without what is left out.
    #[must_use]
    pub fn next(&self) -> Option<&RecoveryError> {
        self.next.as_ref()
    }
}

fn another(error: RecoveryError) -> QuarantineError {
    let fault = error.to_string();
    match error {
        RecoveryError::Unreadable { sequence, .. }
        | RecoveryError::Gap(sequence)
        | RecoveryError::Altered(sequence)
        | RecoveryError::Record(sequence, _)
        | RecoveryError::Illegal { sequence, .. } => QuarantineError::Another { sequence, fault },
        error => error.into(),
    }
}

/// Runs of records, in order.
fn ranges(sequences: impl IntoIterator<Item = Sequence>) -> Vec<RangeInclusive<Sequence>> {
    let mut ranges: Vec<RangeInclusive<Sequence>> = Vec::new();
    for sequence in sequences {
        match ranges.last_mut().filter(|last| last.end().next() == sequence) {
            Some(last) => *last = *last.start()..=sequence,
            None => ranges.push(sequence..=sequence),
        }
    }
    ranges
}

/// A journal, and the stand-ins that are to be put into it.
struct Patched<'a> {
    over: Arc<Overlay>,
    beneath: &'a dyn Store,
    end: Sequence,
}

impl Patched<'_> {
    /// Puts the stand-ins over the journal. Returns them in order, and whether the disk has changed the place of any.
    fn stand_ins(&self, sequences: &[Sequence]) -> Result<(Vec<Entry>, bool), QuarantineError> {
        let (mut originals, mut gone, mut folded) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for sequence in sequences {
            match Fault::of(self.beneath, *sequence)? {
                None => drop(folded.insert(*sequence)),
                Some(Fault::Unknown(bytes)) => drop(originals.insert(*sequence, Original::Written(bytes))),
                Some(Fault::Altered) => drop(originals.insert(*sequence, self.without_bytes(*sequence)?)),
                Some(Fault::Damaged | Fault::Missing) => self.gone_around(*sequence, &mut gone)?,
            }
        }
        let is_damaged = gone.values().any(|is_damaged| *is_damaged);
        for sequence in gone.into_keys() {
            originals.insert(sequence, self.without_bytes(sequence)?);
        }
        let mut entries = Vec::new();
        for (sequence, original) in originals {
            let at = self.made_at(Sequence(sequence.0 - 1))?;
            entries.push(Entry::stand_in(sequence, &StandIn { at, original }));
            self.over.append(entries.get(entries.len() - 1..).unwrap_or_default(), &[])?;
        }
        for sequence in folded {
            let entry = self.not_folded(sequence)?;
            self.over.append(std::slice::from_ref(&entry), &[])?;
            entries.push(entry);
        }
        Ok((entries, is_damaged))
    }

    /// Puts stand-ins over what builds on those that are there and that no row holds: of one authorization all is known, or
    /// nothing. Returns them in order.
    fn stand_ins_above(&self) -> Result<Vec<Entry>, QuarantineError> {
        let (mut quarantined, mut above) = (BTreeSet::new(), Vec::new());
        walk_unnamed(&*self.over, self.beneath.frontier()?, &mut |sequence, record| {
            if builds_on(&mut quarantined, sequence, &record.fact).is_some() {
                quarantined.insert(sequence);
                above.push(sequence);
            }
            Ok(())
        })
        .map_err(another)?;
        let entries = above.into_iter().map(|sequence| self.stand_in_for_whole(sequence));
        let entries: Vec<_> = entries.collect::<Result<_, StoreError>>()?;
        self.over.append(&entries, &[])?;
        Ok(entries)
    }

    /// A stand-in for a record that can be read: it keeps the bytes.
    fn stand_in_for_whole(&self, sequence: Sequence) -> Result<Entry, StoreError> {
        let bytes = self.beneath.entry(sequence)?.map(|entry| entry.payload).unwrap_or_default();
        let at = self.made_at(Sequence(sequence.0 - 1))?;
        Ok(Entry::stand_in(sequence, &StandIn { at, original: Original::Written(bytes) }))
    }

    /// A stand-in for a record that can be read: only for the first that cannot be folded, at a start or of all.
    fn not_folded(&self, sequence: Sequence) -> Result<Entry, QuarantineError> {
        let over: Arc<dyn Store> = Arc::clone(&self.over) as Arc<dyn Store>;
        // What is said of those that stand in already follows once all are known.
        let is_fault = |error: &RecoveryError| !matches!(error, RecoveryError::Unnamed(_));
        let first = recover(&over).err().filter(is_fault).or_else(|| whole(&*over).err().filter(is_fault));
        match first {
            None => return Err(QuarantineError::Usable(sequence)),
            Some(RecoveryError::Illegal { sequence: at, .. }) if at == sequence => {}
            Some(error) => return Err(another(error)),
        }
        Ok(self.stand_in_for_whole(sequence)?)
    }

    /// This record that cannot be read, and all that cannot be read beside it: whether each is damaged, or only missing.
    fn gone_around(&self, sequence: Sequence, gone: &mut BTreeMap<Sequence, bool>) -> Result<(), QuarantineError> {
        let down = (1..=sequence.0).rev();
        let up = sequence.0 + 1..=self.end.0;
        for side in [Box::new(down) as Box<dyn Iterator<Item = u64>>, Box::new(up)] {
            for sequence in side.map(Sequence) {
                if gone.contains_key(&sequence) {
                    continue;
                }
                let is_damaged = match Fault::of(self.beneath, sequence)? {
                    Some(Fault::Damaged) => true,
                    Some(Fault::Missing) => false,
                    Some(Fault::Altered | Fault::Unknown(_)) | None => break,
                };
                gone.insert(sequence, is_damaged);
                let records = gone.len() as u64;
                if records > LOST_RECORDS_MAX {
                    return Err(QuarantineError::TooMany { records });
                }
            }
        }
        Ok(())
    }

    /// What is known of a record without its bytes: whether a hash over it was stored.
    fn without_bytes(&self, sequence: Sequence) -> Result<Original, StoreError> {
        let is_hashed =
            sequence.0 <= self.beneath.frontier()?.size() || self.beneath.node(Span::tile_of(sequence.0))?.is_some();
        Ok(if is_hashed { Original::Hashed } else { Original::Lost })
    }

    /// When a record was made; the beginning of time where nobody can tell.
    fn made_at(&self, sequence: Sequence) -> Result<UnixMillis, StoreError> {
        let found = match self.over.entry(sequence) {
            Err(StoreError::Corrupt(_)) => None,
            found => found?,
        };
        let record = found.and_then(|entry| Record::decode(&entry.payload).ok());
        Ok(record.map_or(UnixMillis(0), |record| record.at))
    }
}
