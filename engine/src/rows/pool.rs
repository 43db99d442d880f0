//! A prefunded pool's figures.

use serde::{Deserialize, Serialize};

use super::legal::Broken;
use super::{Completions, Row};
use crate::fact::{Fact, PoolReported, Record, Source, Touches, Verdict};
use crate::ids::Sequence;
use crate::money::{Currency, Minor, SUM_MAX};
use crate::store::Table;
use crate::time::UnixMillis;

/// How long a rise that nothing explained may still turn out to be a credit: a day. Longer, and it would swallow another.
const SHOWN_EARLY_KEPT_MILLIS: u64 = 86_400_000;

/// A pool's figures: its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFigures {
    /// The pool's currency.
    pub currency: Currency,
    /// The balance as UR, or a person, last reported it.
    pub reported: Minor,
    /// When.
    pub reported_at: UnixMillis,
    /// The part of the balance that must never be spent.
    pub floor: Minor,
    /// The part kept for a person to release: approvals stop above it.
    pub reserve: Minor,
    /// `reported − floor − unreflected`; negative only by reports and by what UR settled without asking.
    pub available: Minor,
    /// Outstanding holds, for people; never subtracted again.
    pub held: Minor,
    /// Debits up to this record are in `reported`.
    pub reflected_through: Sequence,
    /// Settled debits that no report is proven to hold yet.
    pub completions: Completions,
    /// The last record before UR was asked for `reported`, or that of the person who reported it.
    pub seen_through: Sequence,
    /// Recorded credits that no report has shown yet.
    pub credits_due: Minor,
    /// What reports showed more, or less, than anything explains: a credit that is recorded later may be in the balance.
    pub shown_early: Minor,
    /// When a report last did.
    pub shown_early_at: UnixMillis,
    /// Given back since the last report, and between it and the one before: UR's balance may rise by it now or later.
    pub returns: [Minor; 2],
}

impl PoolFigures {
    /// A pool nobody has reported yet.
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
            reflected_through: Sequence::ZERO,
            completions: Completions::default(),
            seen_through: Sequence::ZERO,
            credits_due: Minor::ZERO,
            shown_early: Minor::ZERO,
            shown_early_at: UnixMillis(0),
            returns: [Minor::ZERO; 2],
        }
    }

    /// Approved amounts not proven to be in `reported`.
    #[must_use]
    pub fn unreflected(&self) -> Minor {
        self.reported - self.floor - self.available
    }

    /// What may have been given back since the last report held it.
    #[must_use]
    pub fn returns_due(&self) -> Minor {
        self.returns.iter().copied().sum()
    }

    /// What UR's balance, asked for when the journal had come to `seen_through`, says beside these figures.
    #[must_use]
    pub fn read(&self, balance: Minor, seen_through: Sequence) -> Reading {
        let proven = self.completions.through(seen_through, self.currency);
        let unreflected = (self.unreflected() - proven).max(Minor::ZERO);
        let change = balance - (self.reported - proven);
        let credits_shown = self.credits_due.min(change).max(Minor::ZERO);
        // Debits may be in a balance before we are shown that they are settled: in this one, or in the one before.
        // And what was given back since may be in it, or be taken still: UR gives back after we have said so.
        let returns = self.returns_due();
        let falls = -(unreflected + returns);
        let rises = credits_shown + proven + returns;
        Reading {
            available: balance - self.floor - unreflected,
            credits_shown,
            unexplained: change - change.clamp(falls, rises),
        }
    }

    /// Waits for a report to show a credit, unless one has before it was recorded.
    fn await_credit(&mut self, at: UnixMillis, due: Minor) {
        self.forget_unexplained(at);
        let shown = due.min(self.shown_early).max(Minor::ZERO);
        self.shown_early -= shown;
        self.credits_due += due - shown;
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
                    self.available -= approval.paid.amount;
                    self.held += approval.paid.amount;
                }
            }
            Fact::HoldReleased(returned) => {
                if let Some(pool) = returned.pool.filter(|pool| pool.currency == self.currency) {
                    self.available += pool.available;
                    self.held -= pool.held;
                    self.note_return(pool.available);
                }
            }
            Fact::PoolReported(report) if report.currency == self.currency => {
                self.report(at, report);
                // A report of UR's that was asked for before says less than a person does now.
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
            Fact::Posted(booked) => {
                let currency = self.currency;
                for pool in booked.pools.iter().filter(|pool| pool.currency == currency) {
                    self.available += pool.available;
                    self.held -= pool.held;
                    self.completions.add(sequence, pool.currency, pool.completed);
                    self.note_return(booked.returned_to(pool));
                }
            }
            Fact::PoolSynced(synced) if synced.currency == self.currency => {
                let unexplained = self.read(synced.reported, synced.seen_through).unexplained;
                self.note_unexplained(at, unexplained);
                self.reported = synced.reported;
                self.reported_at = at;
                self.available += synced.available_change;
                self.seen_through = synced.seen_through;
                self.completions.forget(synced.seen_through, self.currency);
                // A journal that was written under older rules may show more than is waited for.
                self.credits_due = (self.credits_due - synced.credits_shown).max(Minor::ZERO);
                let [latest, _] = self.returns;
                self.returns = [Minor::ZERO, latest];
            }
            _ => {}
        }
    }

    fn report(&mut self, at: UnixMillis, report: &PoolReported) {
        self.reported = report.reported;
        self.reported_at = at;
        self.floor = report.floor;
        self.reserve = report.reserve;
        self.available += report.available_change;
        // Whoever says what the balance is says what it holds: no credit that was recorded is waited for beside it.
        (self.credits_due, self.shown_early) = (Minor::ZERO, Minor::ZERO);
        if report.reflected_through > self.reflected_through {
            // What a person says is in the balance is not taken off it again by a report of UR's. What came after counts
            // as not yet in it until a person says so again: never too early.
            self.completions = Completions::default();
        }
        self.reflected_through = report.reflected_through;
    }
}

/// What was given back since a report, and one part more. Saturating is its meaning: no balance, and no fall of one, is as
/// large as [`SUM_MAX`], so more explains no more.
pub(crate) fn returned(before: Minor, part: Minor) -> Minor {
    (before + part.max(Minor::ZERO)).min(SUM_MAX)
}

/// What a balance of UR's says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What approvals may take.
    pub available: Minor,
    /// How much of the recorded credits it shows.
    pub credits_shown: Minor,
    /// The part of the change that neither settlements, holds, returns nor recorded credits explain.
    pub unexplained: Minor,
}

/// A pool's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoolRow {
    pub(crate) sequence: Sequence,
    pub(crate) figures: PoolFigures,
}

impl Row for PoolRow {
    const TABLE: Table = Table::Pools;
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
