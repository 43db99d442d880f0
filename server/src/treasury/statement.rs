//! A pool's opening balance, movements and closing balance of a day: a fold of the journal, exact to the cent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tapgate_engine::fact::{Day, Fact};
use tapgate_engine::money::{Currency, Minor};

use super::movement::{Line, Movement, movements, refunds};

/// Three years of days for each pool. The journal itself goes further back.
pub const DAYS_MAX: usize = 1_096;

/// A day's changes of a pool's available balance by cause, negative where it fell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// Taken by approvals.
    pub approvals: Minor,
    /// Returned by reversals, releases and expiries.
    pub given_back: Minor,
    /// Captured beyond the hold, late, or without an authorization.
    pub over_captures: Minor,
    /// Returned after capture, as far as reports have shown it.
    pub refunds: Minor,
    pub credits: Minor,
    /// Changes by reports that no line above explains, including a floor reported by a person with a balance.
    pub reports: Minor,
    /// Changes of the floor alone.
    pub floors: Minor,
}

impl Lines {
    fn add(&mut self, line: Line, change: Minor) {
        let sum = match line {
            Line::Approvals => &mut self.approvals,
            Line::GivenBack => &mut self.given_back,
            Line::OverCaptures => &mut self.over_captures,
            Line::Refunds => &mut self.refunds,
            Line::Credits => &mut self.credits,
            Line::Reports => &mut self.reports,
            Line::Floors => &mut self.floors,
        };
        // A day has no bound on its movements: a line that reaches the end of i64 stays there, rather than end the program.
        *sum = sum.saturating_add(change);
    }

    /// Every line with its wire name.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Minor); 7] {
        [
            ("approvals", self.approvals),
            ("givenBack", self.given_back),
            ("overCaptures", self.over_captures),
            ("refunds", self.refunds),
            ("credits", self.credits),
            ("reports", self.reports),
            ("floors", self.floors),
        ]
    }

    fn sum(&self) -> Minor {
        self.named().into_iter().fold(Minor::ZERO, |sum, (_, change)| sum.saturating_add(change))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The available balance at the beginning.
    pub opening: Minor,
    pub lines: Lines,
    /// The available balance at the end, or now: the opening balance plus all lines.
    pub closing: Minor,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Book {
    available: Minor,
    /// Refunds that UR showed, but no report includes yet.
    refunds_due: Minor,
    /// The days with movements, each with the balance before it.
    days: BTreeMap<Day, (Minor, Lines)>,
}

impl Book {
    fn add(&mut self, day: Day, line: Line, change: Minor) {
        // A record with an earlier time than its predecessor belongs to the same day: days never reopen.
        let day = self.days.last_key_value().map_or(day, |(last, _)| day.max(*last));
        let (_, lines) = self.days.entry(day).or_insert((self.available, Lines::default()));
        lines.add(line, change);
        self.available += change;
        if self.days.len() > DAYS_MAX {
            self.days.pop_first();
        }
    }

    /// A report above the expectation is explained by refunds first.
    fn report(&mut self, day: Day, rise: Minor) {
        let shown = Minor(rise.0.clamp(0, self.refunds_due.0.max(0)));
        self.refunds_due -= shown;
        for (line, change) in [(Line::Refunds, shown), (Line::Reports, rise - shown)] {
            if !change.is_zero() {
                self.add(day, line, change);
            }
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statements(BTreeMap<Currency, Book>);

impl Statements {
    /// Folds a record of this day. Needs every record from the journal's first, in order.
    pub fn add(&mut self, day: Day, fact: &Fact) {
        for Movement { currency, line, change, .. } in movements(fact) {
            let book = self.0.entry(currency).or_default();
            match (line, fact) {
                (Line::Reports, Fact::PoolSynced(_)) => book.report(day, change),
                _ => book.add(day, line, change),
            }
        }
        match fact {
            Fact::Settled(_) => {
                for (currency, amount) in refunds(fact) {
                    let book = self.0.entry(currency).or_default();
                    // More than any report can show is shown by none.
                    book.refunds_due = book.refunds_due.saturating_add(amount);
                }
            }
            // A person's report includes everything that UR returned.
            Fact::PoolReported(report) => self.0.entry(report.currency).or_default().refunds_due = Minor::ZERO,
            _ => {}
        }
    }

    /// The statement of a day; `None` before the pool's first day, after today, or beyond the days kept.
    #[must_use]
    pub fn of(&self, currency: Currency, day: Day, today: Day) -> Option<Statement> {
        if day > today {
            return None;
        }
        let book = self.0.get(&currency)?;
        let (last, (opening, lines)) = book.days.range(..=day).next_back()?;
        let closing = opening.saturating_add(lines.sum());
        if *last == day {
            return Some(Statement { opening: *opening, lines: *lines, closing });
        }
        Some(Statement { opening: closing, lines: Lines::default(), closing })
    }
}
