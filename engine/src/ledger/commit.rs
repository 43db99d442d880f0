//! A record's place in the journal.

use crate::fact::{Author, Fact, Record};
use crate::ids::Sequence;
use crate::journal::{Permit, Settles};
use crate::time::UnixMillis;

/// Claims a place, encodes and publishes a record. Nothing can fail any more.
pub(super) fn append(
    permit: Permit<'_>,
    author: Author,
    at: UnixMillis,
    fact: Fact,
    settles: Settles,
) -> (Sequence, Fact) {
    let record = Record { at, author, fact };
    let payload = record.encode();
    publish(permit, record, payload, settles)
}

pub(super) fn publish(permit: Permit<'_>, record: Record, payload: Vec<u8>, settles: Settles) -> (Sequence, Fact) {
    let claim = permit.claim();
    let sequence = claim.sequence;
    claim.publish(payload, settles);
    (sequence, record.fact)
}
