//! Bounds of the figures in a fact. The ledger writes none beyond them; records of a damaged or foreign journal are
//! refused before the fold, so that no sum over figures within them leaves 64 bits.

use super::{Approval, Difference, Evidence, Fact, LayerChange, Settled, SourceChange, Verdict};
use crate::contract::limit::{ClientLimit, LIMIT_WEIGHT_MAX};
use crate::money::{AMOUNT_MAX, ChfMinor, Minor, SUM_MAX};

/// Maximum draws of one authorization (itself and its increments): their sum stays within half of [`SUM_MAX`], however
/// large each is, and every change of an authorization walks them. At the bound an increment finds no parent.
pub const DRAWS_MAX: usize = 1_000;

/// Pieces of evidence that one authorization takes; beyond it they have no effect, and a break says so.
pub const EVIDENCE_MAX: usize = 1_000;

/// Breaks that one change of an authorization opens or resolves: one for each piece of evidence, and those of the whole.
pub const BREAKS_MAX: usize = EVIDENCE_MAX + 32;

/// Largest record. The largest that evidence makes, a link of two authorizations with every list at its bound, has room
/// in it (`engine/tests/bounds.rs`), so no message of a provider is ever refused for its size; a person's change is.
pub const RECORD_BYTES_MAX: usize = 2 << 20;

/// Currencies of one change: the hold's and the movement's.
const SOURCES_MAX: usize = 2;

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
            Fact::Decided(decided) => {
                decided.settled.as_ref().map_or(Ok(()), |change| change.check_bounds())?;
                match &decided.verdict {
                    Verdict::Approved(approval) => approval.check_bounds(),
                    Verdict::Declined(_) => Ok(()),
                }
            }
            Fact::Settled(settled) => settled.check_bounds(),
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
            | Fact::CardUseSet { .. }
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
            | Fact::BalanceOmitted { .. }
            | Fact::CardReported(_)
            | Fact::AllowancesReported(_)
            | Fact::ProviderSuspended(_)
            | Fact::AccountReported(_)
            | Fact::CardLimited(_)
            | Fact::PersonErased { .. }
            | Fact::RecordLost
            | Fact::RecordQuarantined(_)
            | Fact::Quarantined(_)
            | Fact::LossAccepted(_)
            | Fact::HeadSigned(_) => Ok(()),
        }
    }
}

impl Approval {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        amount("amount", self.amount)?;
        amount("paid", self.paid.amount)?;
        francs("spent", self.spent)?;
        francs("limit", self.limit)?;
        self.funds.map_or(Ok(()), |funds| amount("funds", funds.amount))?;
        sum("upcharge.paid", self.upcharge.paid)?;
        sum("upcharge.funds", self.upcharge.funds)
    }
}

impl Settled {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        self.change.check_bounds()?;
        match &self.evidence {
            Evidence::Announced(announced) => {
                amount("request.amount", announced.request.amount)?;
                sum("counted", announced.counted)?;
                sum("released", announced.released)?;
                sum("limit", Minor(announced.limit.0))
            }
            Evidence::Shown(shown) => {
                amount("posting.amount", shown.posting.amount.amount)?;
                sum("value", shown.value)?;
                sum("limit", Minor(shown.limit.0))?;
                shown.summed.map_or(Ok(()), |summed| sum("summed", summed.amount))?;
                shown.funds.map_or(Ok(()), |funds| sum("funds", funds.amount))
            }
            Evidence::Ended(ended) => length("draws", ended.draws.len(), DRAWS_MAX),
            Evidence::Linked(linked) => {
                length("movements", linked.movements.len(), EVIDENCE_MAX)?;
                linked.movements.iter().try_for_each(|movement| {
                    amount("movement.amount", movement.amount.amount)?;
                    sum("movement.value", movement.value)?;
                    sum("movement.limit", Minor(movement.limit.0))
                })?;
                linked.change.check_bounds()
            }
            Evidence::Closed { owed, .. } => {
                length("owed", owed.len(), EVIDENCE_MAX)?;
                owed.iter().try_for_each(|(_, funds)| sum("owed", funds.amount))
            }
            Evidence::Overdue(_) => Ok(()),
        }
    }
}

impl Difference {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        change("taken", self.taken)?;
        length("return_uses", self.return_uses.len(), EVIDENCE_MAX + 1)?;
        for used in &self.return_uses {
            change("return_use", Minor(used.limit.0))?;
            change("return_use.shown", Minor(used.shown.0))?;
        }
        length("layers", self.layers.len(), DRAWS_MAX + EVIDENCE_MAX)?;
        self.layers.iter().try_for_each(LayerChange::check_bounds)?;
        length("pools", self.pools.len(), SOURCES_MAX)?;
        length("fiat", self.fiat.len(), SOURCES_MAX)?;
        length("opened", self.opened.len(), BREAKS_MAX)?;
        length("resolved", self.resolved.len(), BREAKS_MAX)?;
        self.pools.iter().chain(&self.fiat).try_for_each(SourceChange::check_bounds)
    }
}

impl LayerChange {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        change("layer.held", self.held)?;
        sum("layer.settled", self.settled)?;
        change("layer.limit", Minor(self.limit.0))?;
        change("layer.shown", Minor(self.shown.0))?;
        change("layer.spent", Minor(self.spent.0))?;
        change("layer.debit", self.debit)?;
        change("layer.funds", self.funds)?;
        change("layer.upcharge.paid", self.upcharge.paid)?;
        change("layer.upcharge.funds", self.upcharge.funds)
    }
}

impl SourceChange {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        change("source.held", self.held)?;
        change("source.available", self.available)?;
        change("source.upcharged", self.upcharged)?;
        sum("source.completed", self.completed)?;
        sum("source.returned", self.returned)
    }
}

impl ClientLimit {
    fn check_bounds(&self) -> Result<(), BoundsError> {
        between("limit.used", self.used.0, 0, AMOUNT_MAX.0)?;
        between("limit.client", self.client.0, 0, AMOUNT_MAX.0)
    }
}
