//! Receipts: signed heads of the journal's tree, and proofs that a decision lies under one.
//!
//! Whoever keeps a head elsewhere finds any later edit of what lies under it. The key lies outside the data directory, so
//! that who has the disk cannot sign.

pub mod daily;
mod statement;
pub mod verify;

use tapgate_engine::fact::HeadSigned;
use tapgate_engine::ids::{AuthorizationId, Sequence};
use tapgate_engine::ledger::Ledger;
use tapgate_engine::store::StoreError;
use tapgate_engine::time::UnixMillis;

use crate::signature::{Address, SigningKey, signer_of};
use crate::wire::receipt::{Head, Introduction, Older, Receipt, text_of};

/// Who signs heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    pub key: SigningKey,
    /// The key before it, which introduces it to those who know only that one.
    pub previous: Option<SigningKey>,
}

impl Signer {
    /// Signs the journal's durable end, after the head that was signed last.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn sign(&self, ledger: &Ledger, now: UnixMillis) -> Result<HeadSigned, StoreError> {
        let end = ledger.journal().durable();
        let head = ledger.head_at(end)?.ok_or_else(|| unknown(end))?;
        let (journal, last, own) = (ledger.journal_id(), ledger.head_signed(), self.key.address());
        let former = last.as_ref().map(|last| Address(last.signer)).filter(|former| *former != own);
        let by_former = self.previous.as_ref().filter(|previous| Some(previous.address()) == former);
        let statement = statement::of_head(&journal.to_string(), &head, now, own);
        Ok(HeadSigned {
            size: head.size,
            root: head.root,
            signed_at: now,
            signer: own.0,
            signature: self.key.sign(&[statement.as_bytes()]).to_vec(),
            older: last.map(|last| (last.size, last.root)),
            introduction: by_former
                .map(|key| key.sign(&[statement::of_introduction(&journal.to_string(), own).as_bytes()]).to_vec()),
        })
    }

    /// The receipt of the decision on an id, under the head that was signed last, or a new one. `None` where no such id was
    /// decided.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn receipt(
        &self,
        ledger: &Ledger,
        id: &AuthorizationId,
        now: UnixMillis,
    ) -> Result<Option<Receipt>, StoreError> {
        let Some(sequence) = ledger.find(id)?.and_then(|found| found.answer).map(|answer| answer.decided) else {
            return Ok(None);
        };
        let published = ledger.head_signed().filter(|signed| signed.size >= sequence.0);
        let signed = published.map_or_else(|| self.sign(ledger, now), Ok)?;
        let proved = ledger.inclusion(sequence, Sequence(signed.size))?;
        let (record, proof) = proved.ok_or_else(|| unknown(sequence))?;
        Ok(Some(Receipt {
            authorization_id: id.as_str().to_owned(),
            sequence: sequence.0,
            record: text_of(&record),
            path: text_of(proof.path.as_flattened()),
            head: document(ledger, &signed)?,
        }))
    }
}

fn unknown(sequence: Sequence) -> StoreError {
    StoreError::Corrupt(format!("the hashes about record {sequence} are not known"))
}

/// A signed head as others keep it, with the proof that it extends the one before.
///
/// # Errors
/// The journal could not be read.
pub fn document(ledger: &Ledger, signed: &HeadSigned) -> Result<Head, StoreError> {
    let journal = ledger.journal_id();
    let older = signed.older().map(|older| {
        let proof = ledger.consistency(Sequence(older.size), Sequence(signed.size))?;
        let path = proof.map(|proof| text_of(proof.path.as_flattened()));
        Ok::<_, StoreError>(path.map(|path| Older { size: older.size, root: hex::encode(older.root), path }))
    });
    let introduced = signed.introduction.as_deref().and_then(|signature| {
        let statement = statement::of_introduction(&journal.to_string(), Address(signed.signer));
        let signature = text_of_signature(signature);
        let by = signer_of(&signature, &statement).ok()?;
        Some(Introduction { by: by.to_string(), signature })
    });
    Ok(Head {
        journal: journal.to_string(),
        size: signed.size,
        root: hex::encode(signed.root),
        time: signed.signed_at.0,
        key: Address(signed.signer).to_string(),
        signature: text_of_signature(&signed.signature),
        introduced,
        older: older.transpose()?.flatten(),
    })
}

fn text_of_signature(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

#[cfg(test)]
mod tests;
