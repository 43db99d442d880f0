//! Changes of pools: reports and credits by people.

use std::ops::ControlFlow;
use std::sync::Arc;

use compact_str::CompactString;

use super::{ChangeError, Reflected, has_room, in_range, not_found};
use crate::fact::{Author, Fact, PoolCredited, PoolLimited, PoolReported, Source, Verdict};
use crate::ids::Sequence;
use crate::journal::Ticket;
use crate::ledger::Ledger;
use crate::ledger::pool::Pool;
use crate::money::{Currency, Minor};
use crate::rows::PoolFigures;
use crate::time::UnixMillis;

/// The furthest back that `reflectedThrough` may lie: the records after it are read while other changes wait, a second
/// or two of work. At ten decisions a second it is more than a day.
const REFLECTED_RECORDS_MAX: u64 = 1_000_000;

impl Ledger {
    pub(in crate::ledger) fn credit_pool(
        &self,
        author: &Author,
        at: UnixMillis,
        currency: Currency,
        amount: Minor,
        reference: CompactString,
    ) -> Result<Arc<Ticket>, ChangeError> {
        in_range("amount", amount)?;
        let shared = self.stop_decisions();
        let before = shared.pool(currency).ok_or_else(|| not_found("pool", &currency))?.figures();
        let counted = if self.policy.credits_count_at_once { amount } else { Minor::ZERO };
        has_room("the reported balance", before.reported + counted)?;
        has_room("the available figure", before.available + counted)?;
        has_room("credits that no report shows", before.credits_due + (amount - counted))?;
        let credit = PoolCredited { currency, amount, reference, counted };
        self.program_change(author, at, shared, Fact::PoolCredited(credit))
    }

    pub(in crate::ledger) fn report_pool(
        &self,
        author: &Author,
        at: UnixMillis,
        currency: Currency,
        [reported, floor, reserve]: [Option<Minor>; 3],
        reflected: Option<Reflected>,
    ) -> Result<Arc<Ticket>, ChangeError> {
        // Read most of the journal before stopping decisions; the part written meanwhile is short.
        let through = self.journal.durable();
        let counted = match reflected {
            Some(Reflected::Through(sequence)) => {
                // Only a report moves the lower bound, and reports of people come one at a time.
                let reported = self.pool(currency).map_or(Sequence::ZERO, |pool| pool.reflected_through);
                check_reflected(reported, self.journal.claimed(), sequence)?;
                self.debited(currency, sequence, sequence, through)?
            }
            _ => Minor::ZERO,
        };
        let shared = self.stop_decisions();
        let before = shared.pool(currency).map_or_else(|| PoolFigures::empty(currency), Pool::figures);
        let is_report = reported.is_some() || reflected.is_some();
        let reported = reported.unwrap_or(before.reported);
        let floor = floor.unwrap_or(before.floor);
        let reserve = reserve.unwrap_or(before.reserve);
        in_range("reported", reported)?;
        in_range("floor", floor)?;
        in_range("reserve", reserve)?;
        let (reflected_through, unreflected) = match reflected {
            None => (before.reflected_through, before.unreflected()),
            Some(Reflected::Now) => (self.journal.claimed(), Minor::ZERO),
            Some(Reflected::Through(sequence)) => {
                self.await_durable(self.journal.claimed())?;
                let since = self.debited(currency, sequence, through.max(sequence), self.journal.claimed())?;
                (sequence, counted + since)
            }
        };
        let available = reported - floor - unreflected - before.upcharged;
        has_room("the available figure", available)?;
        let available_change = available - before.available;
        if !is_report {
            // No report: the balance keeps its age.
            let limited = PoolLimited { currency, floor, reserve, available_change };
            return self.program_change(author, at, shared, Fact::PoolLimited(limited));
        }
        let report = PoolReported { currency, reported, floor, reserve, reflected_through, available_change };
        self.program_change(author, at, shared, Fact::PoolReported(report))
    }

    /// Net debits of a pool by decisions after `sequence`, from the durable records in `(after, through]`.
    fn debited(
        &self,
        currency: Currency,
        sequence: Sequence,
        after: Sequence,
        through: Sequence,
    ) -> Result<Minor, ChangeError> {
        let mut debited = Minor::ZERO;
        self.records(after, &mut |at, record| {
            if at > through {
                return ControlFlow::Break(());
            }
            if record.fact.touches(at).pools.contains(&currency) {
                debited += debit_since(&record.fact, currency, sequence);
            }
            // Stop at the bound, which is an error below: the sum must not leave 64 bits.
            if debited.has_room() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        has_room("what was taken since then", debited)?;
        Ok(debited)
    }
}

/// Refuses a `reflectedThrough` before anything is read for it.
fn check_reflected(reported: Sequence, last: Sequence, sequence: Sequence) -> Result<(), ChangeError> {
    if sequence < reported || sequence > last {
        return Err(ChangeError::Conflict(format!("reflectedThrough must be {reported} to {last}, got {sequence}")));
    }
    // Saturating: a journal shorter than the bound is read whole.
    let first = last.0.saturating_sub(REFLECTED_RECORDS_MAX);
    if sequence.0 < first {
        return Err(ChangeError::Invalid(format!(
            "reflectedThrough must be {first} or later, within the last {REFLECTED_RECORDS_MAX} records, got {sequence}: \
             take a newer balance and name the record it was read at, or \"now\" while nothing is under way"
        )));
    }
    Ok(())
}

fn debit_since(fact: &Fact, currency: Currency, sequence: Sequence) -> Minor {
    let approved = match fact {
        Fact::Decided(decided) => match &decided.verdict {
            Verdict::Approved(approval) if approval.source == Source::Crypto && approval.paid.currency == currency => {
                approval.paid.amount
            }
            _ => Minor::ZERO,
        },
        _ => Minor::ZERO,
    };
    // What a record frees of older claims was never a debit since then.
    let changed = fact.differences().flat_map(|change| {
        let older = change.layers.iter().filter(|layer| layer.sequence.is_some_and(|made_by| made_by <= sequence));
        let freed: Minor = older.map(|layer| -layer.held - layer.settled).sum();
        let freed = if change.currency == currency { freed } else { Minor::ZERO };
        let own = change.pools.iter().filter(|pool| pool.currency == currency);
        let without_upcharge = own.map(|pool| pool.available + pool.upcharged);
        without_upcharge.map(move |available| available - freed.min(available.max(Minor::ZERO)))
    });
    approved - changed.sum::<Minor>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_reflects_too_little_is_refused_unread() {
        let check = |reported: u64, last: u64, sequence: u64| {
            check_reflected(Sequence(reported), Sequence(last), Sequence(sequence)).map_err(|error| error.to_string())
        };
        let last = REFLECTED_RECORDS_MAX + 500;
        assert_eq!(check(0, last, 500), Ok(()));
        assert!(check(0, last, 499).unwrap_err().starts_with("reflectedThrough must be 500 or later"));
        assert!(check(600, last, 599).unwrap_err().starts_with("reflectedThrough must be 600 to"));
        assert!(check(0, last, last + 1).is_err());
        assert_eq!(check(0, 10, 0), Ok(()), "a short journal is read whole");
    }
}
