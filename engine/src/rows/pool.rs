//! A prefunded pool's figures.

use serde::{Deserialize, Serialize};

use super::legal::Broken;
use super::{Completions, Row, Stored};
use crate::fact::{Difference, Fact, PoolReported, Record, Source, Touches, Verdict};
use crate::ids::Sequence;
use crate::money::{Currency, Minor, SUM_MAX};
use crate::store::Table;
use crate::time::UnixMillis;

/// How long an unexplained rise may still turn out to be a credit: a day. Longer, and it would swallow another credit.
const SHOWN_EARLY_KEPT_MILLIS: u64 = 86_400_000;

/// How long a recorded credit may explain a rise of UR's balance: a week, longer than UR's operations take over any
/// holidays. A credit that no report has shown by then explains no later rise: the rise of another day is drift.
pub const CREDIT_AWAITED_MILLIS: u64 = 7 * 86_400_000;

/// Maximum credits awaited one by one; beyond it the two oldest merge, and end with the later.
const CREDITS_MAX: usize = 64;

/// A recorded credit that no report has shown yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitedCredit {
    at: UnixMillis,
    amount: Minor,
}

impl AwaitedCredit {
    fn is_over(&self, at: UnixMillis) -> bool {
        at.0 > self.at.0.saturating_add(CREDIT_AWAITED_MILLIS)
    }
}

/// A pool's figures: its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFigures {
    pub currency: Currency,
    /// The balance last reported by UR or a person.
    pub reported: Minor,
    /// Time of that report.
    pub reported_at: UnixMillis,
    /// The part of the balance that must never be spent.
    pub floor: Minor,
    /// The part kept for a person to release: approvals stop above it.
    pub reserve: Minor,
    /// `reported − floor − unreflected − upcharged`; negative only by reports and by settlements without an authorization.
    pub available: Minor,
    /// Outstanding holds, for display; already subtracted from `available`.
    pub held: Minor,
    /// Held above the approved amounts: no report includes it.
    pub upcharged: Minor,
    /// `reported` reflects debits up to this record.
    pub reflected_through: Sequence,
    /// Settled debits that no report provably includes yet.
    pub completions: Completions,
    /// The last record before the request for `reported`, or the record of the person's report.
    pub seen_through: Sequence,
    /// Recorded credits that no report has shown yet: the sum of those awaited.
    pub credits_due: Minor,
    /// Oldest first; a report shows the oldest first.
    pub credits_awaited: Vec<AwaitedCredit>,
    /// The unexplained part of reports: it may be a credit that is recorded later. Negative where reports showed less.
    pub shown_early: Minor,
    /// Time of the last report with an unexplained part.
    pub shown_early_at: UnixMillis,
    /// Released after the last report, and between it and the one before: UR's balance may rise by it now or later.
    pub returns: [Minor; 2],
}

impl PoolFigures {
    /// A pool without any report.
    #[must_use]
    pub fn empty(currency: Currency) -> PoolFigures {
        PoolFigures {
            currency,
            reported: Minor::ZERO,
            reported_at: UnixMillis(0),
            floor: Minor::ZERO,
            reserve: Minor::ZERO,
            available: Minor::ZERO,
            held: Minor::ZERO,
            upcharged: Minor::ZERO,
            reflected_through: Sequence::ZERO,
            completions: Completions::default(),
            seen_through: Sequence::ZERO,
            credits_due: Minor::ZERO,
            credits_awaited: Vec::new(),
            shown_early: Minor::ZERO,
            shown_early_at: UnixMillis(0),
            returns: [Minor::ZERO; 2],
        }
    }

    /// Approved amounts that `reported` does not provably reflect.
    #[must_use]
    pub fn unreflected(&self) -> Minor {
        self.reported - self.floor - self.available - self.upcharged
    }

    /// Releases that the last report may not include.
    #[must_use]
    pub fn returns_due(&self) -> Minor {
        self.returns.iter().copied().sum()
    }

    /// Recorded credits that no report has shown within [`CREDIT_AWAITED_MILLIS`]: from `at` on they explain nothing.
    #[must_use]
    pub fn credits_overdue(&self, at: UnixMillis) -> Minor {
        self.credits_awaited.iter().filter(|credit| credit.is_over(at)).map(|credit| credit.amount).sum()
    }

    /// Interprets UR's balance, recorded at `at` and requested when the journal ended at `seen_through`, against these
    /// figures. `taken_early`: as the reading before left it.
    #[must_use]
    pub fn read(&self, at: UnixMillis, balance: Minor, seen_through: Sequence, taken_early: Minor) -> Reading {
        let proven = self.completions.through(seen_through, self.currency);
        let unreflected = (self.unreflected() - proven).max(Minor::ZERO);
        let change = balance - (self.reported - proven);
        let due = self.credits_due - self.credits_overdue(at);
        // A balance may include debits before UR shows them settled, with a tip: this balance or the one before. It may or
        // may not include recent releases: UR returns the money after our acknowledgement.
        let returns = self.returns_due();
        // What a balance has fallen by before falls no more once it is proven: that is no credit.
        let of_early = taken_early.min(proven + returns);
        let credits_shown = due.min(change - of_early).max(Minor::ZERO);
        let falls = -(unreflected + self.upcharged + returns);
        let rises = credits_shown + proven + returns;
        let fallen = (of_early - change).max(Minor::ZERO);
        Reading {
            available: balance - self.floor - unreflected - self.upcharged,
            credits_shown,
            unexplained: change - change.clamp(falls, rises),
            taken_early: (taken_early - of_early + fallen).min(unreflected + self.upcharged + returns),
        }
    }

    /// Adds a credit that a report must still show, unless a report showed it before the credit was recorded.
    fn await_credit(&mut self, at: UnixMillis, due: Minor) {
        self.forget_unexplained(at);
        let shown = due.min(self.shown_early).max(Minor::ZERO);
        self.shown_early -= shown;
        if due > shown {
            self.credits_due += due - shown;
            self.credits_awaited.push(AwaitedCredit { at, amount: due - shown });
        }
        if self.credits_awaited.len() > CREDITS_MAX {
            let oldest = self.credits_awaited.remove(0);
            if let Some(next) = self.credits_awaited.first_mut() {
                next.amount += oldest.amount;
            }
        }
    }

    /// Takes the shown credits off the awaited ones, oldest first, and ends those that are over.
    fn show_credits(&mut self, at: UnixMillis, shown: Minor) {
        let mut left = shown;
        self.credits_awaited.retain_mut(|credit| {
            if credit.is_over(at) {
                return false;
            }
            let part = left.min(credit.amount);
            left -= part;
            credit.amount -= part;
            !credit.amount.is_zero()
        });
        self.credits_due = self.credits_awaited.iter().map(|credit| credit.amount).sum();
    }

    fn note_unexplained(&mut self, at: UnixMillis, unexplained: Minor) {
        self.forget_unexplained(at);
        if !unexplained.is_zero() {
            self.shown_early += unexplained;
            self.shown_early_at = at;
        }
    }

    fn forget_unexplained(&mut self, at: UnixMillis) {
        if at.0 > self.shown_early_at.0.saturating_add(SHOWN_EARLY_KEPT_MILLIS) {
            self.shown_early = Minor::ZERO;
        }
    }

    fn note_return(&mut self, amount: Minor) {
        let [latest, _] = &mut self.returns;
        *latest = returned(*latest, amount);
    }

    /// Folds one record into the figures.
    pub fn apply(&mut self, sequence: Sequence, at: UnixMillis, fact: &Fact) {
        match fact {
            Fact::Decided(decided) => {
                if let Verdict::Approved(approval) = &decided.verdict
                    && approval.source == Source::Crypto
                    && approval.paid.currency == self.currency
                {
                    self.available -= approval.paid.amount + approval.upcharge.paid;
                    self.held += approval.paid.amount;
                    self.upcharged += approval.upcharge.paid;
                }
                if let Some(change) = &decided.settled {
                    self.settle(sequence, change);
                }
            }
            Fact::Settled(_) => fact.differences().for_each(|change| self.settle(sequence, change)),
            Fact::PoolReported(report) if report.currency == self.currency => {
                self.report(at, report);
                // A UR report requested before this record is older than the person's.
                self.seen_through = sequence;
            }
            Fact::PoolCredited(credit) if credit.currency == self.currency => {
                self.reported += credit.counted;
                self.available += credit.counted;
                self.await_credit(at, credit.amount - credit.counted);
            }
            Fact::PoolLimited(limited) if limited.currency == self.currency => {
                self.floor = limited.floor;
                self.reserve = limited.reserve;
                self.available += limited.available_change;
            }
            Fact::PoolSynced(synced) if synced.currency == self.currency => {
                // The same whatever was taken early.
                let unexplained = self.read(at, synced.reported, synced.seen_through, Minor::ZERO).unexplained;
                self.note_unexplained(at, unexplained);
                self.reported = synced.reported;
                self.reported_at = at;
                self.available += synced.available_change;
                self.seen_through = synced.seen_through;
                self.completions.forget(synced.seen_through, self.currency);
                self.show_credits(at, synced.credits_shown);
                let [latest, _] = self.returns;
                self.returns = [Minor::ZERO, latest];
            }
            Fact::ClockSet(set) => {
                self.reported_at = self.reported_at.min(set.to);
                self.shown_early_at = self.shown_early_at.min(set.to);
                self.credits_awaited.iter_mut().for_each(|credit| credit.at = credit.at.min(set.to));
            }
            _ => {}
        }
    }

    fn settle(&mut self, sequence: Sequence, change: &Difference) {
        let currency = self.currency;
        for pool in change.pools.iter().filter(|pool| pool.currency == currency) {
            self.available += pool.available;
            self.held += pool.held;
            self.upcharged += pool.upcharged;
            self.completions.add_settled(sequence, self.reflected_through, currency, pool.completed, change);
            self.note_return(pool.returned);
        }
    }

    fn report(&mut self, at: UnixMillis, report: &PoolReported) {
        self.reported = report.reported;
        self.reported_at = at;
        self.floor = report.floor;
        self.reserve = report.reserve;
        self.available += report.available_change;
        // A person's balance includes every recorded credit: none is due in addition.
        (self.credits_due, self.shown_early) = (Minor::ZERO, Minor::ZERO);
        self.credits_awaited.clear();
        if report.reflected_through > self.reflected_through {
            // A UR report must not deduct debits again that a person declared reflected.
            self.completions.forget_claims(report.reflected_through);
        }
        self.reflected_through = report.reflected_through;
    }
}

/// Adds to the releases since a report. Saturating at [`SUM_MAX`] is the meaning: no balance, and no fall of one, is as
/// large, so more explains no more.
pub(crate) fn returned(before: Minor, part: Minor) -> Minor {
    (before + part.max(Minor::ZERO)).min(SUM_MAX)
}

/// The interpretation of a UR balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The amount that approvals may take.
    pub available: Minor,
    /// The recorded credits that the balance now includes.
    pub credits_shown: Minor,
    /// The part of the change that neither settlements, holds, returns nor recorded credits explain.
    pub unexplained: Minor,
    /// What the balance includes of debits before they are shown as settled, as far as reports since the start tell.
    pub taken_early: Minor,
}

/// A pool's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolRow {
    pub(crate) sequence: Sequence,
    pub(crate) figures: PoolFigures,
}

impl Row for PoolRow {
    type Key = Currency;

    fn touched(touches: &Touches<'_>) -> impl Iterator<Item = Currency> {
        touches.pools.iter().copied()
    }

    fn open(currency: &Currency, sequence: Sequence, record: &Record) -> Option<PoolRow> {
        let mut row = PoolRow { sequence: Sequence::ZERO, figures: PoolFigures::empty(*currency) };
        row.apply(sequence, record);
        Some(row)
    }

    fn check(&self, _: &Fact) -> Result<(), Broken> {
        self.figures.check()
    }

    fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn apply(&mut self, sequence: Sequence, record: &Record) {
        if sequence > self.sequence {
            self.figures.apply(sequence, record.at, &record.fact);
            self.sequence = sequence;
        }
    }
}

impl Stored for PoolRow {
    const TABLE: Table = Table::Pools;
}
