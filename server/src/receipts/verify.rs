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
    #[error("the head that you keep is of journal {kept}, this one of {other}")]
    OtherJournal {
        /// The checker's.
        kept: String,
        /// In the file.
        other: String,
    },
    /// The kept head says nothing about the receipt's.
    #[error(
        "the receipt is under the head of {size} records, and the one that you keep has {kept}: give the head of {size} \
         records, or ask for a receipt again"
    )]
    OtherHead {
        /// Of the receipt.
        size: u64,
        /// The checker's.
        kept: u64,
    },
    /// Two heads of one size that differ, or one that does not extend the other.
    #[error("the journal was changed after the head of {0} records: keep both files, somebody has to explain this")]
    Fork(u64),
}

/// What the checker knows from elsewhere: at least one of the two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    pub key: Option<Address>,
    /// Trusted as it is.
    pub head: Option<&'a Head>,
}

/// A proved receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    pub record: Record,
    pub signed_at: UnixMillis,
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
    if let Some(key) = known.key {
        is_signed(&receipt.head, key)?;
    }
    if let Some(kept) = known.head {
        is_kept(&receipt.head, kept)?;
    }
    let record = Record::decode(&payload)?;
    match record.fact.request() {
        Some(request) if request.id.as_str() == receipt.authorization_id => {
            Ok(Proved { record, signed_at: UnixMillis(receipt.head.time) })
        }
        request => Err(Unproved::OtherId(request.map_or_else(|| "no id".to_owned(), |own| own.id.as_str().to_owned()))),
    }
}

/// Checks a head: that the known key signed it, and that it extends the kept one.
///
/// # Errors
/// It is not so, or nothing shows it.
pub fn head(head: &Head, known: Known<'_>) -> Result<(), Unproved> {
    if let Some(key) = known.key {
        is_signed(head, key)?;
    }
    known.head.map_or(Ok(()), |kept| extends(head, kept))
}

fn tree(head: &Head) -> Result<TreeHead, Unproved> {
    head.tree().ok_or(Unproved::Form("root"))
}

fn is_signed(head: &Head, known: Address) -> Result<(), Unproved> {
    let named: Address = head.key.parse().map_err(|_| Unproved::Form("key"))?;
    if named != known {
        let introduced = head.introduced.as_ref().is_some_and(|introduced| {
            let statement = statement::of_introduction(&head.journal, named);
            signer_of(&introduced.signature, &statement) == Ok(known)
        });
        if !introduced {
            return Err(Unproved::OtherKey { named: head.key.clone(), known });
        }
    }
    let statement = statement::of_head(&head.journal, &tree(head)?, UnixMillis(head.time), named);
    if signer_of(&head.signature, &statement) == Ok(named) { Ok(()) } else { Err(Unproved::Signature(named)) }
}

/// The head of a receipt is the kept one, or the one that the kept one extends.
fn is_kept(head: &Head, kept: &Head) -> Result<(), Unproved> {
    is_of(head, kept)?;
    if head.size == kept.size {
        return if tree(head)? == tree(kept)? { Ok(()) } else { Err(Unproved::Fork(head.size)) };
    }
    match &kept.older {
        Some(older) if older.size == head.size => extends(kept, head),
        _ => Err(Unproved::OtherHead { size: head.size, kept: kept.size }),
    }
}

fn extends(newer: &Head, older: &Head) -> Result<(), Unproved> {
    is_of(newer, older)?;
    let (own, wanted) = (tree(newer)?, tree(older)?);
    if own == wanted {
        return Ok(());
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
