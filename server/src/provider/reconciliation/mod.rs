//! Reconciliation: converts UR's transactions to postings, queries UR about holds and questions that it is silent on, and
//! ends by time what UR never settles.

pub mod dry_run;
pub mod expiry;
pub mod sweep;

use std::collections::HashMap;

use compact_str::{CompactString, format_compact};
use metrics::counter;
use tapgate_engine::fact::{Flow, Posting, Progress, Provider, Tolerance};
use tapgate_engine::ledger::{ChangeError, Ledger, PostingReceipt};
use tapgate_engine::money::Money;
use tapgate_engine::time::Moment;

use crate::wire::ur::{Direction, Status, Transaction};

/// The rules for comparing UR's transactions with our holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time from an approval to the first query, 1 to 86,400.
    pub first_look_seconds: u32,
    /// Time after which an authorization that UR never showed is released, 1 to 2,592,000.
    pub silence_seconds: u32,
    /// Time after which an authorization that UR showed but never settled expires, 1 to 7,776,000.
    pub expiry_seconds: u32,
    /// The same for lodging and car rental.
    pub long_expiry_seconds: u32,
    /// Time after which a return that UR announced and did not show is overdue, 1 to 7,776,000.
    pub return_after_seconds: u32,
    /// Its drift is 0 to 1,000 basis points.
    pub tolerance: Tolerance,
}

/// The result of applying a transaction.
#[derive(Debug)]
pub enum Applied {
    /// Posted now.
    Booked(PostingReceipt),
    /// Posted earlier, or not informative yet.
    Known,
    /// Not a card transaction, or not of our accounts.
    NotOurs,
}

/// The rows of one answer, by the name that rows of one movement share.
#[derive(Debug, Default)]
struct Answer(HashMap<CompactString, Vec<Posting>>);

impl Answer {
    /// Adds a row. Rows of one status and amount are numbered: neither UR's time, which may change with the status of a
    /// movement, nor a shared reference tells them apart.
    fn number(&mut self, mut posting: Posting) -> Posting {
        let beside = self.0.entry(posting.place()).or_default();
        let is_same = |own: &&Posting| own.amount == posting.amount && own.progress == posting.progress;
        // Saturating: an answer of that many equal rows shows no further movement.
        posting.ordinal = u16::try_from(beside.iter().filter(is_same).count()).unwrap_or(u16::MAX);
        beside.push(posting.clone());
        posting
    }

    /// The rows under the same name.
    fn beside(&self, posting: &Posting) -> &[Posting] {
        self.0.get(&posting.place()).map_or(&[], Vec::as_slice)
    }
}

/// Posts a transaction that UR showed in a notification.
///
/// # Errors
/// The transaction had no effect; the caller must present it again.
pub fn apply(ledger: &Ledger, transaction: &Transaction, now: Moment) -> Result<Applied, ChangeError> {
    let posting = is_ours(ledger, transaction).then(|| posting(transaction));
    counted(posting.as_ref().map(|posting| ledger.post(posting, now)))
}

/// Posts the transactions of an answer, all its pages together: the result of each, in order. A row means what it means
/// beside the others of its name: seen alone, it may look like the row of another movement.
///
/// # Errors
/// As for [`apply`], for each.
pub fn apply_answer<'a>(
    ledger: &'a Ledger,
    rows: &[Transaction],
    mut now: impl FnMut() -> Moment + 'a,
) -> impl Iterator<Item = Result<Applied, ChangeError>> + 'a {
    let mut answer = Answer::default();
    let ours = |transaction| is_ours(ledger, transaction).then(|| answer.number(posting(transaction)));
    let postings: Vec<Option<Posting>> = rows.iter().map(ours).collect();
    let mut post = move |posting: Posting| ledger.post_listed(&posting, answer.beside(&posting), now());
    postings.into_iter().map(move |posting| counted(posting.map(&mut post)))
}

fn is_ours(ledger: &Ledger, transaction: &Transaction) -> bool {
    transaction.is_of_a_card() && ledger.provider_of(&transaction.user) == Some(Provider::Ur)
}

/// Counts the result of a transaction: `None` where it is not ours.
fn counted(posted: Option<Result<Option<PostingReceipt>, ChangeError>>) -> Result<Applied, ChangeError> {
    let applied = match posted {
        None => Ok(Applied::NotOurs),
        Some(posted) => posted.map(|receipt| receipt.map_or(Applied::Known, Applied::Booked)),
    };
    let outcome = match &applied {
        Ok(Applied::Booked(booking)) => booking.effect.name(),
        Ok(Applied::Known) => "known",
        Ok(Applied::NotOurs) => "not_ours",
        Err(_) => "failed",
    };
    counter!("tapgate_ur_transactions_total", "outcome" => outcome).increment(1);
    applied
}

/// Converts to the engine's form. A status that is not understood shows the movement, and no more.
fn posting(transaction: &Transaction) -> Posting {
    let progress = match transaction.status {
        Status::Pending => Progress::Pending,
        Status::Completed => Progress::Completed,
        Status::Rejected => Progress::Rejected,
        Status::Unknown => Progress::Shown,
    };
    let flow = match transaction.direction {
        Direction::Out => Flow::Out,
        Direction::In => Flow::In,
    };
    let partner = transaction.partner_reference.as_deref();
    let references: Vec<&str> = partner.into_iter().chain(transaction.reference.as_deref()).collect();
    // Without a hash, a reference identifies the movement, else its time: the amount may change until it is settled.
    let hash = match (transaction.hash.as_str(), references.first()) {
        ("", Some(reference)) => format_compact!("reference:{reference}"),
        ("", None) => format_compact!("time:{}", transaction.at.0),
        (hash, _) => hash.into(),
    };
    Posting {
        hash,
        user: transaction.user.clone(),
        flow,
        progress,
        amount: Money { amount: transaction.amount, currency: transaction.currency },
        at: transaction.at,
        mcc: transaction.mcc,
        merchant: transaction.title.as_deref().map(CompactString::from),
        references: references.iter().map(|reference| CompactString::from(*reference)).collect(),
        awaits: partner.and_then(|reference| reference.parse().ok()),
        ordinal: 0,
    }
    .bounded()
}

#[cfg(test)]
mod tests;
