//! Checks receipts and heads with nothing but themselves and what the checker knows from elsewhere: an address, or a head
//! that was kept.

use tapgate_engine::fact::{Record, RecordError};
use tapgate_engine::time::UnixMillis;
use tapgate_engine::tree::{Consistency, Head as TreeHead, Inclusion};

use super::statement;
use crate::signature::{Address, signer_of};
use crate::wire::receipt::{Head, Receipt, bytes_of, path_of};

/// Why nothing is proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// A part is not in its form.
    #[error("the {0} is not in its form: the file was changed, or is another's")]
    Form(&'static str),
    /// The record does not lie under the head.
    #[error("the record does not lie under the receipt's head: one of them was changed")]
    NotIncluded,
    /// The record decides another id.
    #[error("the record decides {0}, not the receipt's authorization")]
    OtherId(String),
    /// The record cannot be read.
    #[error("the record is in the journal, and this version cannot read it: {0}")]
    Record(#[from] RecordError),
    /// The signature is another's, or over something else.
    #[error("the head is not signed by {0}")]
    Signature(Address),
    /// Nobody who is known has signed.
    #[error("the head names the key {named}, and you know {known}: no signature of yours over that key is in it")]
    OtherKey {
        /// In the file.
        named: String,
        /// The checker's.
        known: Address,
    },
    /// The kept head is of another journal.
    #[error(
        "the head that you keep is of journal {kept}, this one of {other}. If it should be the same journal, somebody has to \
         explain this: keep both files"
    )]
    OtherJournal {
        /// The checker's.
        kept: String,
        /// In the file.
        other: String,
    },
    /// Nothing links the two heads.
    #[error(
        "the head in the file is of {size} records, and the one that you keep of {kept}, and neither names the other: ask \
         for a receipt under yours (`tapgate receipt ID --under {kept}`), or for a head since yours (`tapgate receipt head \
         --since {kept}`)"
    )]
    OtherHead {
        /// In the file.
        size: u64,
        /// The checker's.
        kept: u64,
    },
    /// The kept head has no such record.
    #[error(
        "record {sequence} was written after the head of {kept} records that you keep, which says nothing of it: check it with \
         the signer's address, too (`--key`)"
    )]
    Later {
        /// The receipt's record.
        sequence: u64,
        /// The checker's.
        kept: u64,
    },
    /// Two heads of one size that differ, or one that does not extend the other.
    #[error(
        "the journal was changed below the head of {0} records: a backup was restored, a loss was accepted, or somebody \
         edited it. Keep both files, somebody has to explain this"
    )]
    Fork(u64),
}

/// What the checker knows from elsewhere: at least one of the two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    pub key: Option<Address>,
    /// Trusted as it is.
    pub head: Option<&'a Head>,
}

/// Who signed, as far as a known key shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    pub by: Address,
    /// When, as the signer says.
    pub at: UnixMillis,
}

/// A proved receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    pub record: Record,
    /// `None`: no key was known, and nothing of the signature was checked.
    pub signed: Option<Signed>,
}

/// Checks that the decision of a receipt is in the journal whose head the checker trusts.
///
/// # Errors
/// It is not, or nothing shows it.
pub fn receipt(receipt: &Receipt, known: Known<'_>) -> Result<Proved, Unproved> {
    let payload = bytes_of(&receipt.record).ok_or(Unproved::Form("record"))?;
    let path = path_of(&receipt.path).ok_or(Unproved::Form("path"))?;
    let tree = tree(&receipt.head)?;
    if !(Inclusion { path }).proves(receipt.sequence, &payload, &tree) {
        return Err(Unproved::NotIncluded);
    }
    let signed = known.key.map(|key| signed(&receipt.head, key)).transpose()?;
    if let Some(kept) = known.head {
        is_kept(receipt, kept, signed.is_some())?;
    }
    let record = Record::decode(&payload)?;
    match record.fact.request() {
        Some(request) if request.id.as_str() == receipt.authorization_id => Ok(Proved { record, signed }),
        request => Err(Unproved::OtherId(request.map_or_else(|| "no id".to_owned(), |own| own.id.as_str().to_owned()))),
    }
}

/// Checks a head: that the known key signed it, and that it extends the kept one.
///
/// # Errors
/// It is not so, or nothing shows it.
pub fn head(head: &Head, known: Known<'_>) -> Result<Option<Signed>, Unproved> {
    let signed = known.key.map(|key| signed(head, key)).transpose()?;
    known.head.map_or(Ok(()), |kept| extends(head, kept))?;
    Ok(signed)
}

fn tree(head: &Head) -> Result<TreeHead, Unproved> {
    head.tree().ok_or(Unproved::Form("root"))
}

fn signed(head: &Head, known: Address) -> Result<Signed, Unproved> {
    let address = |text: &str| text.parse::<Address>().map_err(|_| Unproved::Form("key"));
    let by = address(&head.key)?;
    // Each key that a trusted one introduced is trusted, too.
    let mut trusted = vec![known];
    for introduction in &head.introduced {
        let key = address(&introduction.key)?;
        let statement = statement::of_introduction(&head.journal, key);
        if signer_of(&introduction.signature, &statement).is_ok_and(|signer| trusted.contains(&signer)) {
            trusted.push(key);
        }
    }
    if !trusted.contains(&by) {
        return Err(Unproved::OtherKey { named: head.key.clone(), known });
    }
    let at = UnixMillis(head.time);
    let statement = statement::of_head(&head.journal, &tree(head)?, at, by);
    if signer_of(&head.signature, &statement) == Ok(by) { Ok(Signed { by, at }) } else { Err(Unproved::Signature(by)) }
}

/// The head of a receipt is the kept one, or one of the two extends the other. A record that the kept one does not have
/// needs a signature.
fn is_kept(receipt: &Receipt, kept: &Head, is_signed: bool) -> Result<(), Unproved> {
    let head = &receipt.head;
    match &kept.older {
        Some(older) if older.size == head.size && head.size < kept.size => extends(kept, head),
        _ if receipt.sequence <= kept.size || is_signed => extends(head, kept),
        _ => Err(Unproved::Later { sequence: receipt.sequence, kept: kept.size }),
    }
}

fn extends(newer: &Head, older: &Head) -> Result<(), Unproved> {
    is_of(newer, older)?;
    let (own, wanted) = (tree(newer)?, tree(older)?);
    if own.size == wanted.size {
        return if own == wanted { Ok(()) } else { Err(Unproved::Fork(wanted.size)) };
    }
    let linked = newer.older.as_ref().filter(|linked| linked.size == wanted.size);
    let linked = linked.ok_or(Unproved::OtherHead { size: own.size, kept: wanted.size })?;
    let path = path_of(&linked.path).ok_or(Unproved::Form("proof of the head before"))?;
    let is_same = linked.tree() == Some(wanted);
    if is_same && (Consistency { path }).proves(&wanted, &own) { Ok(()) } else { Err(Unproved::Fork(wanted.size)) }
}

fn is_of(head: &Head, kept: &Head) -> Result<(), Unproved> {
    if head.journal == kept.journal {
        return Ok(());
    }
    Err(Unproved::OtherJournal { kept: kept.journal.clone(), other: head.journal.clone() })
}
