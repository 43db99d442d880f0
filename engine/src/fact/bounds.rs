//! Bounds of the figures in a fact. The ledger writes none beyond them; records of a damaged or foreign journal are
//! refused before the fold, so that no sum over figures within them leaves 64 bits.

use super::{Approval, DrawPosting, DrawRelease, Fact, HoldReleased, Posted, ReleaseCause, SourcePosting, Verdict};
use crate::contract::limit::{ClientLimit, LIMIT_WEIGHT_MAX};
use crate::money::{AMOUNT_MAX, ChfMinor, Minor, SUM_MAX};

/// Maximum draws of one authorization (itself and its increments): their sum stays within half of [`SUM_MAX`], however
/// large each is, and every change of an authorization walks them. At the bound an increment finds no parent.
pub const DRAWS_MAX: usize = 1_000;

/// Currencies of one posting: the hold's, the captured one's, and a refund's.
const BOOKINGS_MAX: usize = 3;

/// A fact holds a figure that no ledger writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundsError {
    /// An amount, or a sum of them, is negative or too large.
    #[error("{figure} is {value}: beyond {least} to {most}")]
    Figure { figure: &'static str, value: i64, least: i64, most: i64 },
    /// A list is too long to be summed within bounds.
    #[error("{list} has {length} entries, {most} at most")]
    List { list: &'static str, length: usize, most: usize },
}

fn between(figure: &'static str, value: i64, least: i64, most: i64) -> Result<(), BoundsError> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(BoundsError::Figure { figure, value, least, most }) }
}

fn amount(figure: &'static str, value: Minor) -> Result<(), BoundsError> {
    between(figure, value.0, 0, AMOUNT_MAX.0)
}

/// A figure of a user who may owe.
fn signed_amount(figure: &'static str, value: Minor) -> Result<(), BoundsError> {
    between(figure, value.0, -AMOUNT_MAX.0, AMOUNT_MAX.0)
}

/// Francs of one amount, times the largest limit weight.
fn francs(figure: &'static str, value: ChfMinor) -> Result<(), BoundsError> {
    between(figure, value.0, 0, i64::from(LIMIT_WEIGHT_MAX) * AMOUNT_MAX.0)
}

/// A sum over draws, or an accumulated figure.
fn sum(figure: &'static str, value: Minor) -> Result<(), BoundsError> {
    between(figure, value.0, 0, SUM_MAX.0)
}

/// The difference of two accumulated figures.
fn change(figure: &'static str, value: Minor) -> Result<(), BoundsError> {
    between(figure, value.0, -2 * SUM_MAX.0, 2 * SUM_MAX.0)
}

fn length(list: &'static str, length: usize, most: usize) -> Result<(), BoundsError> {
    if length <= most { Ok(()) } else { Err(BoundsError::List { list, length, most }) }
}

impl Fact {
    /// Checks that every figure a fold adds up is within its bounds.
    ///
    /// # Errors
    /// The first figure that is not.
    pub fn check_bounds(&self) -> Result<(), BoundsError> {
        match self {
            Fact::Decided(decided) => match &decided.verdict {
                Verdict::Approved(approval) => approval.check_bounds(),
                Verdict::Declined(_) => Ok(()),
            },
            Fact::HoldReleased(returned) => returned.check_bounds(),
            Fact::Posted(booked) => booked.check_bounds(),
            Fact::UserImported(import) => {
                import.limit.check_bounds()?;
                import.fiat.iter().try_for_each(|balance| signed_amount("fiat.amount", balance.amount))?;
                import.funds.map_or(Ok(()), |funds| signed_amount("funds.amount", funds.amount))
            }
            Fact::FundsReplaced(replaced) => signed_amount("funds.amount", replaced.funds.amount),
            Fact::UserReported(report) => {
                report.balances.iter().flatten().try_for_each(|money| signed_amount("balance", money.amount))?;
                report.account.as_ref().map_or(Ok(()), |account| account.limit.check_bounds())
            }
            Fact::PoolReported(report) => {
                amount("reported", report.reported)?;
                amount("floor", report.floor)?;
                amount("reserve", report.reserve)?;
                change("available_change", report.available_change)
            }
            Fact::PoolSynced(synced) => {
                signed_amount("reported", synced.reported)?;
                sum("credits_shown", synced.credits_shown)?;
                change("available_change", synced.available_change)
            }
            Fact::PoolLimited(limited) => {
                amount("floor", limited.floor)?;
                amount("reserve", limited.reserve)?;
                change("available_change", limited.available_change)
            }
            Fact::PoolCredited(credit) => {
                amount("amount", credit.amount)?;
                between("counted", credit.counted.0, 0, credit.amount.0)
            }
            Fact::PrefundProposed(proposed) => amount("amount", proposed.amount),
            Fact::PrefundSent(sent) => amount("amount", sent.amount),
            Fact::PrefundOrdered(ordered) => {
                amount("paid", ordered.paid)?;
                amount("quoted", ordered.quoted)
            }
            Fact::UserSuspended { .. }
            | Fact::UserControlled { .. }
            | Fact::CardChanged { .. }
            | Fact::CardControlled { .. }
            | Fact::CardAdded { .. }
            | Fact::RatesReplaced(_)
            | Fact::ProgramSuspended { .. }
            | Fact::BreakOpened(_)
            | Fact::BreakResolved { .. }
            | Fact::AlertRaised(_)
            | Fact::AlertChanged { .. }
            | Fact::AlertRenotified { .. }
            | Fact::AlertAcknowledged { .. }
            | Fact::AlertSilenced { .. }
            | Fact::AlertResolved { .. }
            | Fact::PrefundApproved { .. }
            | Fact::PrefundCancelled { .. }
            | Fact::CursorMoved { .. }
            | Fact::ClosureAdded(_)
            | Fact::ClosureRemoved { .. }
            | Fact::MessageSkipped { .. }
            | Fact::Aged { .. }
            | Fact::UserAged { .. }
            | Fact::ClockSet(_)
            | Fact::PolicyApplied(_)
            | Fact::BalanceOmitted { .. } => Ok(()),
        }
    }
}

impl Approval {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        amount("amount", self.amount)?;
        amount("paid", self.paid.amount)?;
        francs("spent", self.spent)?;
        francs("limit", self.limit)?;
        self.funds.map_or(Ok(()), |funds| amount("funds", funds.amount))
    }
}

impl HoldReleased {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        sum("amount", self.amount)?;
        sum("limit_added", Minor(self.limit_added.0))?;
        length("draws", self.draws.len(), DRAWS_MAX)?;
        self.draws.iter().try_for_each(DrawRelease::check_bounds)?;
        if let ReleaseCause::Requested { request, .. } = &self.cause {
            amount("request.amount", request.amount)?;
        }
        self.pool.map_or(Ok(()), |pool| {
            sum("pool.held", pool.held)?;
            sum("pool.available", pool.available)
        })
    }
}

impl DrawRelease {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        amount("draw.amount", self.amount)?;
        amount("draw.paid", self.paid)?;
        amount("draw.funds", self.funds)?;
        francs("draw.spent", self.spent)?;
        francs("draw.unreflected", self.unreflected)
    }
}

impl Posted {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        amount("posting.amount", self.posting.amount.amount)?;
        amount("captured", self.captured)?;
        amount("given_back", self.given_back)?;
        francs("limit_added", self.limit_added)?;
        length("draws", self.draws.len(), DRAWS_MAX)?;
        self.draws.iter().try_for_each(DrawPosting::check_bounds)?;
        length("pools", self.pools.len(), BOOKINGS_MAX)?;
        length("fiat", self.fiat.len(), BOOKINGS_MAX)?;
        self.pools.iter().chain(&self.fiat).try_for_each(SourcePosting::check_bounds)
    }
}

impl DrawPosting {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        amount("draw.amount", self.amount)?;
        amount("draw.paid", self.paid)?;
        amount("draw.funds", self.funds)?;
        francs("draw.spent", self.spent)?;
        francs("draw.unreflected", self.unreflected)
    }
}

impl SourcePosting {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        sum("booking.held", self.held)?;
        between("booking.available", self.available.0, -AMOUNT_MAX.0, SUM_MAX.0)?;
        sum("booking.completed", self.completed)
    }
}

impl ClientLimit {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        between("limit.used", self.used.0, 0, AMOUNT_MAX.0)?;
        between("limit.client", self.client.0, 0, AMOUNT_MAX.0)
    }
}
