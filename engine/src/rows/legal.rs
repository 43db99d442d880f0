//! Invariants of every row after every record. The ledger asserts them after changing a row; a start stops at a record
//! that would break them and names its sequence.

use std::fmt;

use super::{Authorization, PoolFigures, User};
use crate::fact::{DRAWS_MAX, Fact, Upcharge, Verdict};
use crate::ids::{Sequence, UrId};
use crate::money::{AMOUNT_MAX, Minor, SUM_MAX};
use crate::store::StoreError;

/// A record cannot be folded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A row could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No ledger wrote the record: its figures, or those of a row after it, are out of bounds.
    #[error("record {sequence}: {reason}")]
    Illegal {
        sequence: Sequence,
        /// The row or field, and its fault.
        reason: String,
    },
}

/// A row that breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{row} has {figure} {value}: {rule}")]
pub struct Broken {
    row: String,
    figure: &'static str,
    value: String,
    rule: &'static str,
}

impl Broken {
    fn of(row: impl fmt::Display, figure: &'static str, value: impl fmt::Display, rule: &'static str) -> Broken {
        Broken { row: row.to_string(), figure, value: value.to_string(), rule }
    }
}

impl Broken {
    /// What is approved is a known user's: a journal that has lost the import has lost what the approval stands on.
    ///
    /// # Errors
    /// The fact is an approval.
    pub(super) fn unless_approved(id: &UrId, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Decided(decided) if matches!(decided.verdict, Verdict::Approved(_)) => {
                Err(Broken::of("an approval", "the user", id, "no record before it imports this one"))
            }
            _ => Ok(()),
        }
    }
}

/// The first figure beyond its bounds.
fn outside(figures: &[(&'static str, Minor)], least: Minor, most: Minor) -> Option<(&'static str, Minor)> {
    figures.iter().copied().find(|(_, value)| !(least..=most).contains(value))
}

const BEYOND: &str = "no figure of a legal journal is negative or that large";
const NEGATIVE: &str = "a hold is never below zero";

impl Authorization {
    /// # Errors
    /// A hold is below zero or outlives its authorization, or a sum is beyond its bound.
    pub(super) fn check_figures(&self) -> Result<(), Broken> {
        let broken = |figure, value, rule| {
            let name = self.root_of_draws().map_or("no draws", |id| id.as_str());
            Err(Broken::of(format_args!("the authorization of {name}"), figure, value, rule))
        };
        if self.draws.len() > DRAWS_MAX {
            return Err(Broken::of("an authorization", "draws", self.draws.len(), "an increment too many"));
        }
        for layer in self.layers() {
            let figures = [("held", layer.held), ("limit", Minor(layer.limit.0)), ("debit", layer.debit)];
            if let Some((figure, value)) = outside(&figures, Minor::ZERO, SUM_MAX) {
                return broken(figure, value, NEGATIVE);
            }
        }
        for upcharge in self.draws.iter().filter_map(|draw| draw.upcharge.as_ref()) {
            let Upcharge { paid, funds } = upcharge.held;
            if let Some((figure, value)) = outside(&[("upcharge", paid), ("upcharge", funds)], Minor::ZERO, SUM_MAX) {
                return broken(figure, value, NEGATIVE);
            }
        }
        let settlement = self.settlement();
        let sums = [
            ("requested", self.requested),
            ("announced", settlement.announced),
            ("announced_in_total", settlement.announced_in_total),
            ("taken", settlement.taken),
        ];
        match outside(&sums, Minor::ZERO, SUM_MAX) {
            Some((figure, value)) => broken(figure, value, BEYOND),
            None => Ok(()),
        }
    }
}

impl User {
    /// Runs on every decision: it walks the user's holds only where `fact` lowered one.
    ///
    /// # Errors
    /// A hold is below zero, or a sum is beyond its bound.
    pub(super) fn check_figures(&self, fact: &Fact) -> Result<(), Broken> {
        let broken = |figure, value, rule| Err(Broken::of("the user", figure, value, rule));
        if let Some(funds) = self.funds
            && !(Minor::ZERO..=SUM_MAX).contains(&funds.held)
        {
            return broken("funds.held", funds.held, NEGATIVE);
        }
        for balance in self.fiat() {
            if !(-SUM_MAX..=SUM_MAX).contains(&balance.held) {
                return broken("fiat.held", balance.held, BEYOND);
            }
        }
        if matches!(fact, Fact::Settled(_)) {
            for hold in self.holds() {
                if hold.paid.amount < Minor::ZERO || hold.funds < Minor::ZERO {
                    return broken("hold", hold.paid.amount.min(hold.funds), NEGATIVE);
                }
            }
        }
        Ok(())
    }
}

impl PoolFigures {
    /// # Errors
    /// The held amount is below zero, or a sum is beyond its bound.
    pub fn check(&self) -> Result<(), Broken> {
        let broken =
            |(figure, value)| Err(Broken::of(format_args!("the pool {}", self.currency), figure, value, BEYOND));
        let [latest, before] = self.returns;
        let sums = [
            ("held", self.held),
            ("upcharged", self.upcharged),
            ("credits_due", self.credits_due),
            ("returns", latest),
            ("returns", before),
        ];
        let amounts = [("floor", self.floor), ("reserve", self.reserve)];
        let signed = [("reported", self.reported), ("available", self.available), ("shown_early", self.shown_early)];
        let first = outside(&sums, Minor::ZERO, SUM_MAX).or_else(|| outside(&amounts, Minor::ZERO, AMOUNT_MAX));
        first.or_else(|| outside(&signed, -SUM_MAX, SUM_MAX)).map_or(Ok(()), broken)
    }
}

impl FoldError {
    pub(crate) fn illegal(sequence: Sequence, reason: &dyn fmt::Display) -> FoldError {
        FoldError::Illegal { sequence, reason: reason.to_string() }
    }
}

/// Asserts the invariants of a row just changed by a record: the record is the row's last, and no figure is out of
/// bounds.
///
/// # Panics
/// An invariant is broken: the process ends before an answer rests on the row.
#[track_caller]
#[expect(clippy::panic, reason = "a broken invariant ends the process, with the record and the row")]
pub(crate) fn assert_changed(sequence: Sequence, row: Sequence, checked: Result<(), Broken>) {
    assert!(row == sequence, "record {sequence} was applied to a row that ends at record {row}");
    if let Err(broken) = checked {
        panic!("record {sequence} broke a row: {broken}");
    }
}
