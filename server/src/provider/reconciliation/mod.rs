//! Reconciliation: matches UR's transactions with our holds and posts them; queries UR about holds it is silent on.
//!
//! `matching` is pure; this module adds the search for candidates and the sweep.

pub mod dry_run;
pub mod matching;
pub mod sweep;

use metrics::counter;
use tapgate_engine::fact::{BreakKind, Discrepancy, Fact, Flow, Posting, Progress};
use tapgate_engine::ids::{AuthorizationId, Sequence, UrId};
use tapgate_engine::ledger::{ChangeError, Ledger, PostingReceipt};
use tapgate_engine::money::Money;
use tapgate_engine::rows::Authorization;
use tapgate_engine::rules::Tolerance;
use tapgate_engine::store::StoreError;
use tapgate_engine::time::{Moment, UnixSeconds};

use crate::wire::ur::{Direction, Status, Transaction};
use matching::{Candidate, Match};

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
    /// Several authorizations fit; a break reports it.
    Ambiguous,
}

/// Posts a transaction that UR showed, in a notification or on a query.
///
/// # Errors
/// The transaction had no effect; the caller must present it again.
pub fn apply(
    ledger: &Ledger,
    transaction: &Transaction,
    tolerance: Tolerance,
    now: Moment,
) -> Result<Applied, ChangeError> {
    let applied = book(ledger, transaction, tolerance, now);
    let outcome = match &applied {
        Ok(Applied::Booked(booking)) => booking.effect.name(),
        Ok(Applied::Known) => "known",
        Ok(Applied::NotOurs) => "not_ours",
        Ok(Applied::Ambiguous) => "ambiguous",
        Err(_) => "failed",
    };
    counter!("tapgate_ur_transactions_total", "outcome" => outcome).increment(1);
    applied
}

fn book(ledger: &Ledger, transaction: &Transaction, tolerance: Tolerance, now: Moment) -> Result<Applied, ChangeError> {
    if !transaction.is_of_a_card() || ledger.user(&transaction.user).is_none() {
        return Ok(Applied::NotOurs);
    }
    let Some(posting) = posting(transaction) else { return Ok(Applied::Known) };
    let matched = match ledger.posted_on(&posting)? {
        Some(root) => Match::One(root),
        None => {
            let named = named(ledger, transaction)?;
            let holding = match named {
                Some(_) => Vec::new(),
                None => holding(ledger, &transaction.user)?,
            };
            matching::find(transaction, named.as_ref(), &holding, tolerance)
        }
    };
    let root = match matched {
        Match::One(root) => Some(root),
        Match::Nothing => None,
        Match::Several(count) => {
            if posting.progress == Progress::Completed {
                let discrepancy = Discrepancy {
                    kind: BreakKind::OrphanAtProvider,
                    subject: posting.hash.clone(),
                    field: "matches".into(),
                    ours: compact_str::format_compact!("{count}"),
                    theirs: "1".into(),
                };
                ledger.open_break(discrepancy, now)?;
            }
            return Ok(Applied::Ambiguous);
        }
    };
    Ok(ledger.post(&posting, root.as_ref(), tolerance, now)?.map_or(Applied::Known, Applied::Booked))
}

/// Converts to the engine's form; `None` if UR does not give the status.
fn posting(transaction: &Transaction) -> Option<Posting> {
    let progress = match transaction.status {
        Status::Pending => Progress::Pending,
        Status::Completed => Progress::Completed,
        Status::Rejected => Progress::Rejected,
        Status::Unknown => return None,
    };
    let flow = match transaction.direction {
        Direction::Out => Flow::Out,
        Direction::In => Flow::In,
    };
    let Transaction { user, amount, currency, at, .. } = transaction;
    // Without a hash, the transaction's content identifies it.
    let hash = match transaction.hash.as_str() {
        "" => compact_str::format_compact!("none:{user}:{flow:?}:{amount}:{currency}:{}", at.0),
        hash => hash.into(),
    };
    let amount = Money { amount: *amount, currency: *currency };
    Some(Posting { hash, user: user.clone(), flow, progress, amount, at: *at })
}

/// The authorization that a UR reference names.
fn named(ledger: &Ledger, transaction: &Transaction) -> Result<Option<Candidate>, StoreError> {
    for reference in &transaction.references {
        let Ok(id) = reference.parse::<AuthorizationId>() else { continue };
        let Some(found) = ledger.find(&id)? else { continue };
        let root = found.answer.as_ref().map_or(id, |answer| answer.root.clone());
        if let Some(row) = found.authorization.filter(|row| row.user == transaction.user) {
            return Ok(Some(candidate(root, &row, None, UnixSeconds(0))));
        }
    }
    Ok(None)
}

/// A user's authorizations with an open hold, oldest first.
fn open_roots(ledger: &Ledger, user: &UrId) -> Result<Vec<(AuthorizationId, Authorization)>, StoreError> {
    let mut found: Vec<(AuthorizationId, Authorization)> = Vec::new();
    let holder = ledger.user(user);
    for hold in holder.iter().flat_map(|holder| holder.holds()) {
        if found.iter().any(|(root, _)| *root == hold.root) {
            continue;
        }
        let row = ledger.find(&hold.root)?.and_then(|found| found.authorization);
        if let Some(row) = row.filter(|row| row.user == *user && row.state.is_open()) {
            found.push((hold.root.clone(), row));
        }
    }
    Ok(found)
}

/// A user's candidates for a transaction.
fn holding(ledger: &Ledger, user: &UrId) -> Result<Vec<Candidate>, StoreError> {
    let mut candidates = Vec::new();
    for (root, row) in open_roots(ledger, user)? {
        let (mcc, at) = decided(ledger, row.events.first().copied())?;
        candidates.push(candidate(root, &row, mcc, at));
    }
    Ok(candidates)
}

fn candidate(root: AuthorizationId, row: &Authorization, mcc: Option<u16>, at: UnixSeconds) -> Candidate {
    let held = row.held();
    Candidate { root, user: row.user.clone(), currency: held.currency, held: held.amount, mcc, at }
}

/// Category and time of the request behind a record.
fn decided(ledger: &Ledger, sequence: Option<Sequence>) -> Result<(Option<u16>, UnixSeconds), StoreError> {
    let record = sequence.map_or(Ok(None), |sequence| ledger.record(sequence))?;
    Ok(record.map_or((None, UnixSeconds(0)), |record| {
        let mcc = match &record.fact {
            Fact::Decided(decided) => decided.request.merchant.mcc,
            _ => None,
        };
        (mcc, record.at.seconds())
    }))
}
