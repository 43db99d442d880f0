//! The end of an automatic prefund: UR shows its transaction as completed or rejected.

use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use tapgate_engine::fact::{Author, PrefundSent};
use tapgate_engine::ids::{PrefundId, UrId};
use tapgate_engine::ledger::{Change, ChangeError, Ledger, PrefundChange};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::Prefund;
use tapgate_engine::time::{Moment, UnixMillis};

use super::Board;
use crate::clock::Clock;
use crate::provider::api::{Priority, UrApi, UrError};
use crate::wire::ur::{Direction, Page, RefusalCode, Status, Transaction};

/// Time after which a rejection at UR is final. Abandoning the prefund earlier would pay twice if UR withdraws the
/// rejection.
const REJECTED_MS: u64 = 3_600_000;

/// The parts that following deposits needs besides UR.
#[derive(Clone)]
pub struct Credits {
    /// Holds the open prefunds and records their end.
    pub ledger: Arc<Ledger>,
    pub clock: Arc<Clock>,
    /// Shows the next steps of the prefunding job.
    pub board: Arc<Board>,
    /// Permitted difference between a credit and its quote, in basis points.
    pub quote_tolerance_bps: u16,
}

/// An open deposit, as UR knows it.
struct OnItsWay {
    id: PrefundId,
    currency: Currency,
    /// The output of UR's quote.
    quoted: Minor,
    expected_at: Option<UnixMillis>,
    account: UrId,
    hash: CompactString,
}

/// UR's view of a deposit.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// Not shown yet, or not final.
    UnderWay,
    /// The pool received the money.
    Credited(Minor),
    /// No money moved.
    Rejected,
    /// An answer that a person must check.
    Strange(String),
}

/// Asks UR about open deposits and records arrivals.
///
/// Call this between reading the pools' balances and reporting them: UR shows a deposit as completed once a balance
/// includes it, so the credit is recorded before the report that includes it and explains the rise.
pub async fn follow<A: UrApi>(credits: &Credits, api: &Arc<A>) {
    follow_at(credits, api, credits.clock.reckoned()).await;
}

pub(super) async fn follow_at<A: UrApi>(credits: &Credits, api: &Arc<A>, now: Moment) {
    let on_their_way: Vec<_> = credits.ledger.open_prefunds().iter().filter_map(OnItsWay::of).collect();
    if on_their_way.is_empty() {
        return;
    }
    let rows = match ask(api, &on_their_way).await {
        Ok(rows) => rows,
        Err(error) => return tracing::warn!(%error, "UR was not asked about the deposits on their way; it is again"),
    };
    for deposit in on_their_way {
        if let Err(error) = deposit.record(credits, deposit.shown(&rows), now) {
            tracing::warn!(prefund = %deposit.id, %error, "a deposit's end was not recorded; it is looked at again");
        }
    }
}

/// A batch fails whole if one transaction is missing: then each is queried alone.
async fn ask<A: UrApi>(api: &Arc<A>, deposits: &[OnItsWay]) -> Result<Vec<Transaction>, UrError> {
    let pair = |deposit: &OnItsWay| (deposit.account.clone(), deposit.hash.to_string());
    let pairs: Vec<_> = deposits.iter().map(pair).collect();
    match api.transactions_of(&pairs, Priority::High).await {
        Err(error) if error.refusal() == Some(RefusalCode::NotFound) => {}
        answered => return answered.map(readable),
    }
    let mut rows = Vec::new();
    if let [_, _, ..] = pairs.as_slice() {
        for pair in pairs {
            match api.transactions_of(&[pair], Priority::High).await {
                Err(error) if error.refusal() == Some(RefusalCode::NotFound) => {}
                answered => rows.extend(readable(answered?)),
            }
        }
    }
    Ok(rows)
}

fn readable(page: Page<Transaction>) -> Vec<Transaction> {
    for error in page.unreadable {
        tracing::warn!(%error, "UR shows a transaction of a deposit that cannot be read");
    }
    page.rows
}

impl OnItsWay {
    fn of(prefund: &Prefund) -> Option<OnItsWay> {
        let (_, ordered) = prefund.ordered.as_ref().filter(|_| prefund.is_in_flight())?;
        Some(OnItsWay {
            id: prefund.id,
            currency: prefund.currency,
            quoted: prefund.amount,
            expected_at: prefund.expected_at,
            account: ordered.account.clone(),
            hash: prefund.reference.clone(),
        })
    }

    /// Rates move between quote and credit. A difference within the quote's tolerance closes the prefund at the
    /// credited amount; a larger one leaves it short and raises an alert.
    fn is_as_quoted(&self, amount: Minor, tolerance_bps: u16) -> bool {
        let off = (i128::from(amount.0) - i128::from(self.quoted.0)).abs();
        off * 10_000 <= i128::from(self.quoted.0) * i128::from(tolerance_bps)
    }

    /// The amount to expect in place of the quote's.
    fn came_to(&self, amount: Minor) -> Change {
        Change::Prefund(PrefundChange::Send(PrefundSent {
            proposal: Some(self.id),
            currency: self.currency,
            amount,
            reference: self.hash.clone(),
            expected_at: self.expected_at,
        }))
    }

    /// UR may show a transaction once per step: the furthest step counts.
    fn shown(&self, rows: &[Transaction]) -> Shown {
        let own = || rows.iter().filter(|row| row.hash.eq_ignore_ascii_case(&self.hash) && row.user == self.account);
        if let Some(row) = own().find(|row| row.status == Status::Completed) {
            let is_ours = row.direction == Direction::In && row.currency == self.currency && !row.amount.is_zero();
            let shown = || format!("{} {} {:?}", row.amount, row.currency, row.direction);
            return if is_ours { Shown::Credited(row.amount) } else { Shown::Strange(shown()) };
        }
        let is_rejected = own().next().is_some() && own().all(|row| row.status == Status::Rejected);
        if is_rejected { Shown::Rejected } else { Shown::UnderWay }
    }

    fn record(&self, credits: &Credits, shown: Shown, now: Moment) -> Result<(), ChangeError> {
        let (id, currency) = (self.id, self.currency);
        let tolerance_bps = credits.quote_tolerance_bps;
        if shown != Shown::Rejected {
            credits.board.lock().rejected.remove(&id);
        }
        let change = match shown {
            Shown::UnderWay => return Ok(()),
            // UR's wire has two forms of amounts, a factor of a hundred apart.
            Shown::Credited(amount) if amount > self.quoted && !self.is_as_quoted(amount, tolerance_bps) => {
                tracing::error!(prefund = %id, %currency, hash = %self.hash, quoted = %self.quoted, %amount, "UR credited far more than it quoted");
                return Ok(());
            }
            Shown::Credited(amount) => {
                if amount != self.quoted && self.is_as_quoted(amount, tolerance_bps) {
                    credits.ledger.change(&Author::Engine, self.came_to(amount), now)?;
                }
                tracing::info!(prefund = %id, %currency, %amount, "UR has credited a prefund");
                Change::CreditPrefund { id, amount }
            }
            Shown::Rejected => {
                let now = credits.ledger.time(now.at);
                let first = *credits.board.lock().rejected.entry(id).or_insert(now);
                if now.0 < first.0.saturating_add(REJECTED_MS) {
                    tracing::warn!(prefund = %id, %currency, hash = %self.hash, "UR shows a prefund as rejected");
                    return Ok(());
                }
                metrics::counter!("tapgate_prefund_refusals_total", "by" => "ur").increment(1);
                tracing::error!(prefund = %id, %currency, hash = %self.hash, "UR rejected a prefund after it was sent");
                let reason = format_compact!("UR rejected the transaction {}", self.hash);
                Change::Prefund(PrefundChange::Cancel { id, reason, not_executed: false })
            }
            Shown::Strange(what) => {
                tracing::error!(prefund = %id, %currency, hash = %self.hash, what, "UR completed a prefund as something else");
                return Ok(());
            }
        };
        credits.ledger.change(&Author::Engine, change, now).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use tapgate_engine::ids::Sequence;
    use tapgate_engine::time::UnixSeconds;

    use super::*;

    #[test]
    fn what_ur_shows_last_counts_and_only_what_is_credited_to_this_pool() {
        let deposit = OnItsWay {
            id: PrefundId(Sequence(7)),
            currency: Currency::EUR,
            quoted: Minor(100_000),
            expected_at: None,
            account: "9999".parse().unwrap(),
            hash: "0xab".into(),
        };
        let row = |hash: &str, status| Transaction {
            user: "9999".parse().unwrap(),
            kind: "CDP".to_owned(),
            amount: Minor(100_000),
            currency: Currency::EUR,
            direction: Direction::In,
            status,
            at: UnixSeconds(1),
            hash: hash.to_owned(),
            mcc: None,
            title: None,
            partner_reference: None,
            reference: None,
            charged_in: None,
        };
        let check = |rows: &[Transaction], expected: Shown| assert_eq!(deposit.shown(rows), expected, "{rows:?}");
        let credited = || Shown::Credited(Minor(100_000));
        for (amount, is_as_quoted) in [(100_000, true), (97_500, true), (97_499, false), (102_501, false), (0, false)] {
            assert_eq!(deposit.is_as_quoted(Minor(amount), 250), is_as_quoted, "{amount}");
        }
        check(&[], Shown::UnderWay);
        check(&[row("0xcd", Status::Completed)], Shown::UnderWay);
        check(&[row("0xAB", Status::Completed)], credited());
        check(&[row("0xab", Status::Pending)], Shown::UnderWay);
        check(&[row("0xab", Status::Unknown)], Shown::UnderWay);
        check(&[row("0xab", Status::Pending), row("0xab", Status::Completed)], credited());
        check(&[row("0xab", Status::Completed), row("0xab", Status::Rejected)], credited());
        check(&[row("0xab", Status::Rejected)], Shown::Rejected);
        check(&[row("0xab", Status::Rejected), row("0xab", Status::Pending)], Shown::UnderWay);
        let strange = |row: Transaction| assert!(matches!(deposit.shown(&[row]), Shown::Strange(_)));
        strange(Transaction { currency: Currency::USD, ..row("0xab", Status::Completed) });
        strange(Transaction { direction: Direction::Out, ..row("0xab", Status::Completed) });
        strange(Transaction { amount: Minor::ZERO, ..row("0xab", Status::Completed) });
    }
}
