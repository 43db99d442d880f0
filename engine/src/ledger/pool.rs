//! A prefunded pool: one signed `available` that approvals lower by compare-and-swap.

use std::sync::PoisonError;

use crossbeam::utils::CachePadded;

use crate::fact::{Approval, Difference, Fact, Record, SourceChange};
use crate::ids::Sequence;
use crate::money::{Currency, Minor, SUM_MAX};
use crate::rows::{Completions, PoolFigures, returned};
use crate::sync::{AtomicI64, Mutex, Ordering};
use crate::time::UnixMillis;

/// A pool in memory. Figures that decisions change are atomic; the rest change only while no decision runs.
#[derive(Debug)]
pub(super) struct Pool {
    figures: PoolFigures,
    available: CachePadded<AtomicI64>,
    held: AtomicI64,
    upcharged: AtomicI64,
    /// The first entry of `returns`.
    returned: AtomicI64,
    completions: Mutex<Completions>,
    /// [`crate::rows::Reading::taken_early`] of the last report. Only memory has it: after a start it is nothing, and what was taken before
    /// then may be taken for a part of a credit.
    taken_early: Minor,
}

impl Pool {
    #[must_use]
    pub(super) fn new(figures: PoolFigures) -> Pool {
        let available = CachePadded::new(AtomicI64::new(figures.available.0));
        let completions = Mutex::new(figures.completions.clone());
        let [latest, _] = figures.returns;
        let [held, upcharged, returned] =
            [figures.held, figures.upcharged, latest].map(|figure| AtomicI64::new(figure.0));
        Pool { available, held, upcharged, returned, completions, figures, taken_early: Minor::ZERO }
    }

    /// The current figures. Exact only while no decision runs.
    #[must_use]
    pub(super) fn figures(&self) -> PoolFigures {
        let [_, before] = self.figures.returns;
        PoolFigures {
            available: self.available(),
            held: Minor(self.held.load(Ordering::Acquire)),
            upcharged: Minor(self.upcharged.load(Ordering::Acquire)),
            returns: [Minor(self.returned.load(Ordering::Acquire)), before],
            completions: self.completions.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..self.figures.clone()
        }
    }

    #[must_use]
    pub(super) fn currency(&self) -> Currency {
        self.figures.currency
    }

    /// The amount that approvals may take, reserve not deducted.
    #[must_use]
    pub(super) fn available(&self) -> Minor {
        Minor(self.available.load(Ordering::Acquire))
    }

    /// The available amount for a decision: at most zero while `held` has reached its bound, whatever the balance.
    #[must_use]
    pub(super) fn spendable(&self) -> Minor {
        let is_full = !Minor(self.held.load(Ordering::Relaxed)).has_room();
        if is_full { self.available().min(Minor::ZERO) } else { self.available() }
    }

    /// The amount that must be left after an approval.
    #[must_use]
    pub(super) fn reserve_kept(&self) -> Minor {
        self.figures.reserve
    }

    /// Time of the last balance report.
    #[must_use]
    pub(super) fn reported_at(&self) -> UnixMillis {
        self.figures.reported_at
    }

    /// Whether a debit at `sequence` is not proven to be in the reported balance.
    #[must_use]
    pub(super) fn is_unreflected(&self, sequence: Sequence) -> bool {
        sequence > self.figures.reflected_through
    }

    /// Takes what an approval pays and its upcharge, leaving at least `kept`: the last step of a decision that can fail.
    /// `claimed` of it is claimed by the authorization already: the decision's record gives that back.
    ///
    /// # Errors
    /// The available amount, where it is too little; nothing was taken.
    pub(super) fn take(&self, approval: &Approval, claimed: Minor, kept: Minor) -> Result<(), Minor> {
        let (paid, upcharge) = (approval.paid.amount, approval.upcharge.paid);
        let enough = |available: i64| {
            let left = available.checked_sub((paid + upcharge).0)?;
            (left.checked_add(claimed.0)? >= kept.0).then_some(left)
        };
        match self.available.fetch_update(Ordering::AcqRel, Ordering::Acquire, enough) {
            Ok(_) => {
                self.held.fetch_add(paid.0, Ordering::AcqRel);
                if !upcharge.is_zero() {
                    self.upcharged.fetch_add(upcharge.0, Ordering::AcqRel);
                }
                Ok(())
            }
            Err(available) => Err(Minor(available)),
        }
    }

    /// Notes an amount that UR's balance may rise by.
    fn note_return(&self, amount: Minor) {
        let more = |before| Some(returned(Minor(before), amount).0);
        // Always succeeds: `more` refuses nothing.
        let _ = self.returned.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// Lowers `available` by what a difference claims; it may become negative.
    pub(super) fn lower(&self, change: &SourceChange) {
        shift(&self.available, change.available.min(Minor::ZERO));
    }

    /// Applies the rest of a difference (raised and settled amounts), after its record has its place in the journal.
    pub(super) fn raise(&self, sequence: Sequence, change: &SourceChange, difference: &Difference) {
        shift(&self.available, change.available.max(Minor::ZERO));
        self.upcharged.fetch_add(change.upcharged.0, Ordering::AcqRel);
        let held = Minor(self.held.fetch_add(change.held.0, Ordering::AcqRel)) + change.held;
        let currency = self.currency();
        assert!(held >= Minor::ZERO, "pool {currency} holds {held} after {}: never below zero", change.held);
        let mut completions = self.completions.lock().unwrap_or_else(PoisonError::into_inner);
        completions.add_settled(sequence, self.figures.reflected_through, currency, change.completed, difference);
        drop(completions);
        self.note_return(change.returned);
    }

    /// What the balance includes before it is shown.
    #[must_use]
    pub(super) fn taken_early(&self) -> Minor {
        self.taken_early
    }

    /// Folds a record, while no decision runs.
    pub(super) fn apply(&mut self, sequence: Sequence, record: &Record) {
        let mut figures = self.figures();
        let taken_early = match &record.fact {
            Fact::PoolSynced(synced) if synced.currency == figures.currency => {
                figures.read(record.at, synced.reported, synced.seen_through, self.taken_early).taken_early
            }
            // A person says what the balance is and what it includes.
            Fact::PoolReported(report) if report.currency == figures.currency => Minor::ZERO,
            _ => self.taken_early,
        };
        figures.apply(sequence, record.at, &record.fact);
        *self = Pool { taken_early, ..Pool::new(figures) };
    }
}

/// Changes the available amount. Bounds are checked before a record is written, so that no change leaves [`SUM_MAX`].
fn shift(available: &AtomicI64, by: Minor) {
    let after = Minor(available.fetch_add(by.0, Ordering::AcqRel)) + by;
    assert!((-SUM_MAX..=SUM_MAX).contains(&after), "a pool's available figure leaves its bounds: {after}");
}

/// Every order of the steps of two decisions and a return, as loom plays them: `make loom`.
#[cfg(all(test, tapgate_loom))]
mod models {
    use std::sync::Arc;

    use super::*;
    use crate::fact::{Source, Upcharge};
    use crate::money::{ChfMinor, Money};
    use crate::sync::thread;

    fn approval(paid: i64) -> Approval {
        let (amount, none) = (Minor(paid), ChfMinor(0));
        let paid = Money { amount, currency: Currency::EUR };
        Approval {
            source: Source::Crypto,
            amount,
            paid,
            spent: none,
            limit: none,
            funds: None,
            upcharge: Upcharge::default(),
        }
    }

    #[test]
    fn two_decisions_never_take_what_one_of_them_has() {
        loom::model(|| {
            let figures = PoolFigures { available: Minor(100), ..PoolFigures::empty(Currency::EUR) };
            let pool = Arc::new(Pool::new(figures));
            let other = Arc::clone(&pool);
            let taking = thread::spawn(move || other.take(&approval(60), Minor(0), Minor(0)).is_ok());
            let ours = pool.take(&approval(60), Minor(0), Minor(0)).is_ok();
            let theirs = taking.join().expect("it ends");
            assert!(ours ^ theirs, "one of them has it");
            assert_eq!((pool.available(), pool.figures().held), (Minor(40), Minor(60)));
        });
    }

    #[test]
    fn a_decision_takes_what_a_return_has_given_back_and_no_more() {
        loom::model(|| {
            let figures = PoolFigures { available: Minor(10), held: Minor(50), ..PoolFigures::empty(Currency::EUR) };
            let pool = Arc::new(Pool::new(figures));
            let other = Arc::clone(&pool);
            let returning = thread::spawn(move || {
                shift(&other.available, Minor(50));
                other.held.fetch_sub(50, Ordering::AcqRel);
            });
            let taken = pool.take(&approval(60), Minor(0), Minor(0)).is_ok();
            returning.join().expect("it ends");
            let expected = if taken { (Minor(0), Minor(60)) } else { (Minor(60), Minor(0)) };
            assert_eq!((pool.available(), pool.figures().held), expected);
        });
    }
}
