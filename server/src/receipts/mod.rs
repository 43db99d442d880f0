//! Receipts: signed heads of the journal's tree, and proofs that a decision lies under one.
//!
//! Whoever keeps a head elsewhere finds any later edit of what lies under it. The key lies outside the data directory, so
//! that who has the disk cannot sign.

pub mod daily;
mod statement;
pub mod verify;

use tapgate_engine::fact::{HeadSigned, INTRODUCTIONS_MAX, Introduction};
use tapgate_engine::ids::{AuthorizationId, Sequence};
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::Ledger;
use tapgate_engine::store::StoreError;
use tapgate_engine::time::UnixMillis;
use tapgate_engine::tree::Consistency;

use self::verify::Known;
use crate::signature::{Address, SigningKey};
use crate::wire::receipt::{self as wire, FORMAT, Head, Older, Receipt, text_of};

/// Who signs heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    pub key: SigningKey,
    /// The key before it, which introduces it to those who know only that one.
    pub previous: Option<SigningKey>,
}

impl Signer {
    /// Signs a head: of the journal's durable end, or of so many records. It names the head `since`, or the one that was
    /// signed last. `None` where the journal has no such heads, or no longer knows them.
    ///
    /// # Errors
    /// The journal could not be read.
    pub fn sign(
        &self,
        ledger: &Ledger,
        now: UnixMillis,
        size: Option<Sequence>,
        since: Option<Sequence>,
    ) -> Result<Option<HeadSigned>, StoreError> {
        let size = size.unwrap_or_else(|| ledger.journal().durable());
        if size > ledger.journal().durable() {
            return Ok(None);
        }
        let (journal, last, own) = (ledger.journal_id(), ledger.head_signed()?, self.key.address());
        let Some(head) = ledger.head_at(size)? else { return Ok(None) };
        let older = match since {
            Some(since) if since <= size => match ledger.head_at(since)? {
                Some(older) => Some(older),
                None => return Ok(None),
            },
            Some(_) => return Ok(None),
            None => last.as_ref().map(HeadSigned::head).filter(|last| last.size <= size.0),
        };
        let statement = statement::of_head(&journal.to_string(), &head, now, own);
        Ok(Some(HeadSigned {
            size: head.size,
            root: head.root,
            signed_at: now,
            signer: own.0,
            signature: self.key.sign(&[statement.as_bytes()]).to_vec(),
            older: older.map(|older| (older.size, older.root)),
            introductions: self.introductions(&journal.to_string(), last),
        }))
    }

    /// Who introduced the key, and those before it.
    fn introductions(&self, journal: &str, last: Option<HeadSigned>) -> Vec<Introduction> {
        let (own, Some(last)) = (self.key.address(), last) else { return Vec::new() };
        if last.signer == own.0 {
            return last.introductions;
        }
        let Some(previous) = self.previous.as_ref().filter(|previous| previous.address().0 == last.signer) else {
            return Vec::new();
        };
        let signature = previous.sign(&[statement::of_introduction(journal, own).as_bytes()]).to_vec();
        let mut introductions = last.introductions;
        introductions.drain(..(introductions.len() + 1).saturating_sub(INTRODUCTIONS_MAX));
        introductions.push(Introduction { key: own.0, signature });
        introductions
    }

    /// The receipt of the decision on an id: under the head of `under` records; else under the one that this key signed
    /// last, or a new one. `None` where no such id was decided by then. Waits until the decision is durable.
    ///
    /// # Errors
    /// The journal could not be read, or is not what its heads say.
    pub fn receipt(
        &self,
        ledger: &Ledger,
        id: &AuthorizationId,
        now: UnixMillis,
        under: Option<Sequence>,
    ) -> Result<Option<Receipt>, StoreError> {
        let Some(sequence) = ledger.find(id)?.and_then(|found| found.answer).map(|answer| answer.decided) else {
            return Ok(None);
        };
        let journal = ledger.journal();
        if journal.await_durable(sequence).is_some_and(|ticket| journal.block_on(&ticket) != Durability::Durable) {
            return Err(StoreError::Failed(format!("record {sequence} did not become durable")));
        }
        let own = |signed: &HeadSigned| signed.signer == self.key.address().0 && signed.size >= sequence.0;
        let signed = match (under, ledger.head_signed()?.filter(own)) {
            (None, Some(published)) => Some(published),
            (size, _) => self.sign(ledger, now, size, None)?,
        };
        let Some(signed) = signed else { return Ok(None) };
        let Some((record, proof)) = ledger.inclusion(sequence, Sequence(signed.size))? else { return Ok(None) };
        let receipt = Receipt {
            authorization_id: id.as_str().to_owned(),
            sequence: sequence.0,
            record: text_of(&record),
            path: text_of(proof.path.as_flattened()),
            head: document(ledger, &signed)?,
        };
        // What is given away is found to be wrong now, or years later.
        let known = Known { key: Some(self.key.address()), head: None };
        match verify::receipt(&receipt, known) {
            Ok(_) => Ok(Some(receipt)),
            Err(unproved) => Err(StoreError::Corrupt(format!("the receipt of {id} does not hold: {unproved}"))),
        }
    }
}

/// A signed head as others keep it, with the proof that it extends the one before.
///
/// # Errors
/// The journal could not be read.
pub fn document(ledger: &Ledger, signed: &HeadSigned) -> Result<Head, StoreError> {
    let journal = ledger.journal_id();
    let older = match signed.older() {
        Some(older) => {
            let proof = ledger.consistency(Sequence(older.size), Sequence(signed.size))?;
            let path = |proof: Consistency| text_of(proof.path.as_flattened());
            proof.map(path).map(|path| Older { size: older.size, root: hex::encode(older.root), path })
        }
        None => None,
    };
    let introduced = signed.introductions.iter().map(|introduction| wire::Introduction {
        key: Address(introduction.key).to_string(),
        signature: text_of_signature(&introduction.signature),
    });
    Ok(Head {
        format: FORMAT,
        journal: journal.to_string(),
        size: signed.size,
        root: hex::encode(signed.root),
        time: signed.signed_at.0,
        key: Address(signed.signer).to_string(),
        signature: text_of_signature(&signed.signature),
        introduced: introduced.collect(),
        older,
    })
}

fn text_of_signature(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

#[cfg(test)]
mod tests;
