//! What the journal tells of an id: its authorization and its answer, folded from the records that the index leads to.

use super::index::LastRecords;
use super::{Answer, Authorization, Row};
use crate::fact::{EndCause, Ended, Evidence, Fact, Record};
use crate::ids::{AuthorizationId, Sequence};
use crate::store::{Entry, Store, StoreError};

/// An id's authorization, if it is a root, and its answer, if it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) answer: Option<Answer>,
    pub(crate) authorization: Option<Authorization>,
}

impl Told {
    /// Folds the records behind an id's index entries.
    pub(crate) fn load(store: &dyn Store, id: &AuthorizationId, last: LastRecords) -> Result<Told, StoreError> {
        let mut told = Told::default();
        for (sequence, record) in records_of(store, id, last.authorization, usize::MAX)? {
            told.fold_authorization(id, sequence, &record);
            if record.fact.touches(sequence).answer == Some(id) {
                told.fold_answer(id, sequence, &record);
            }
        }
        if last.answer > Sequence::ZERO {
            let record = record_at(store, last.answer)?;
            if let Some(decided) = late(&record, id) {
                told.fold_answer(id, decided, &record_at(store, decided)?);
            }
            told.fold_answer(id, last.answer, &record);
            if told.answer.is_none() {
                return Err(not_about(id, last.answer));
            }
        }
        Ok(told)
    }

    pub(crate) fn fold_authorization(&mut self, id: &AuthorizationId, sequence: Sequence, record: &Record) {
        match &mut self.authorization {
            Some(row) => row.apply(sequence, record),
            none => *none = Authorization::open(id, sequence, record),
        }
    }

    pub(crate) fn fold_answer(&mut self, id: &AuthorizationId, sequence: Sequence, record: &Record) {
        match &mut self.answer {
            Some(row) => row.apply(sequence, record),
            none => *none = Answer::open(id, sequence, record),
        }
    }
}

/// The record of a decision that was late.
fn late(record: &Record, of: &AuthorizationId) -> Option<Sequence> {
    let Fact::Settled(settled) = &record.fact else { return None };
    match &settled.evidence {
        Evidence::Ended(Ended { cause: EndCause::Late { id, decided, .. }, .. }) if id == of => Some(*decided),
        _ => None,
    }
}

/// The records about a root from its last one `last` back, at most `max`, oldest first.
pub(crate) fn records_of(
    store: &dyn Store,
    root: &AuthorizationId,
    last: Sequence,
    max: usize,
) -> Result<Vec<(Sequence, Record)>, StoreError> {
    let (mut found, mut at) = (Vec::new(), last);
    while at > Sequence::ZERO && found.len() < max {
        let record = record_at(store, at)?;
        let before = record.fact.previous(root).filter(|before| *before < at).ok_or_else(|| not_about(root, at))?;
        found.push((at, record));
        at = before;
    }
    found.reverse();
    Ok(found)
}

/// One record by itself; `None` where the journal has none. A stand-in is an error: who asks for one record needs what
/// it says.
pub(crate) fn record(store: &dyn Store, sequence: Sequence) -> Result<Option<Record>, StoreError> {
    let Some(entry) = store.entry(sequence)? else { return Ok(None) };
    if entry.leaf_hash().is_none() {
        return Err(StoreError::Corrupt(format!("record {sequence} is not what was written")));
    }
    match decoded(&entry)? {
        Record { fact: Fact::RecordQuarantined(_), .. } => Err(StoreError::Quarantined(sequence)),
        record => Ok(Some(record)),
    }
}

/// The record in an entry.
pub(crate) fn decoded<P: AsRef<[u8]>>(Entry { sequence, payload, .. }: &Entry<P>) -> Result<Record, StoreError> {
    Record::decode(payload.as_ref()).map_err(|error| StoreError::Corrupt(format!("record {sequence}: {error}")))
}

fn record_at(store: &dyn Store, sequence: Sequence) -> Result<Record, StoreError> {
    record(store, sequence)?.ok_or_else(|| {
        StoreError::Corrupt(format!("the journal has no record {sequence}, which another record or the index names"))
    })
}

fn not_about(id: &AuthorizationId, sequence: Sequence) -> StoreError {
    StoreError::Corrupt(format!("record {sequence} is named as one about {id}, and is not"))
}
