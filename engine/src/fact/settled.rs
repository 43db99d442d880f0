//! Settlement: new evidence on an authorization, and every figure that it changes.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{AuthorizationState, Discrepancy, Evidence, Flow, Source, Upcharge};
use crate::ids::{AuthorizationId, BreakId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor};

/// New evidence on a root authorization, with the difference that it makes to what was recorded before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub root: AuthorizationId,
    /// The record before this one on the same root; zero for its first.
    pub previous: Sequence,
    /// The account holder whose row changes; `None` for an unknown user, and where nothing changes.
    pub user: Option<UrId>,
    pub evidence: Evidence,
    pub change: Difference,
}

impl Settled {
    /// The movement that UR shows.
    #[must_use]
    pub fn shown(&self) -> Option<&super::Shown> {
        match &self.evidence {
            Evidence::Shown(shown) => Some(shown),
            _ => None,
        }
    }

    /// Whether UR returned money after it was settled.
    #[must_use]
    pub fn is_refund(&self) -> bool {
        self.change.effect == Effect::Refunded && self.shown().is_some_and(|shown| shown.posting.flow == Flow::In)
    }
}

/// The difference between what stands now and what was recorded before. Every figure is signed and is only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub effect: Effect,
    /// The authorization's state from here on.
    pub state: AuthorizationState,
    /// The source that pays a movement without a decision.
    pub source: Option<Source>,
    /// The currency paid in.
    pub currency: Currency,
    /// Taken by UR.
    pub taken: Minor,
    /// Claims on the source, the limit and the user, oldest first.
    pub layers: SmallVec<[LayerChange; 1]>,
    /// Changes to pools.
    pub pools: SmallVec<[SourceChange; 1]>,
    /// Changes to the user's fiat balances.
    pub fiat: SmallVec<[SourceChange; 1]>,
    /// UR's returns use the limit, too: changes of the uses that records made.
    pub return_uses: SmallVec<[UseChange; 1]>,
    /// Differences for an operator, found by this record.
    pub opened: Vec<Discrepancy>,
    /// Breaks that are no longer true.
    pub resolved: Vec<BreakId>,
    /// Whether UR, or time, has a question about the authorization to answer, although nothing may be held: an awaited
    /// return, a pending movement, or one that nobody is debited for.
    pub is_asked: bool,
}

impl Difference {
    /// Nothing changes.
    #[must_use]
    pub fn none(state: AuthorizationState, currency: Currency) -> Difference {
        Difference {
            effect: Effect::Noted,
            state,
            source: None,
            currency,
            taken: Minor::ZERO,
            layers: SmallVec::new(),
            pools: SmallVec::new(),
            fiat: SmallVec::new(),
            return_uses: SmallVec::new(),
            opened: Vec::new(),
            resolved: Vec::new(),
            is_asked: false,
        }
    }
}

/// Effect of a record on the authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// UR shows the authorization as pending; nothing moved.
    Confirmed,
    /// UR settled the whole authorization.
    Cleared,
    /// UR settled a part; the rest stays held.
    PartlyCleared,
    /// UR settled an authorization already released or expired.
    LateCleared,
    /// UR rejected the debit, or announced a return.
    Reversed,
    /// UR returned an amount that it had not announced.
    Refunded,
    /// UR settled a transaction without an approval.
    ForcePosted,
    /// The engine or a person released the hold.
    Released,
    /// The hold expired.
    Expired,
    /// No new information.
    Noted,
}

impl Effect {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Effect::Confirmed => "confirmed",
            Effect::Cleared => "cleared",
            Effect::PartlyCleared => "partly_cleared",
            Effect::LateCleared => "late_cleared",
            Effect::Reversed => "reversed",
            Effect::Refunded => "refunded",
            Effect::ForcePosted => "force_posted",
            Effect::Released => "released",
            Effect::Expired => "expired",
            Effect::Noted => "noted",
        }
    }
}

/// Difference of one layer: the claims that one record made. A draw is a layer; so is a claim that rose later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerChange {
    /// The record that made the layer; `None` for the record that carries the change.
    pub sequence: Option<Sequence>,
    /// Held at the source, in the currency paid in.
    pub held: Minor,
    /// Of what `held` loses, the part that UR took: the next report requested from UR includes it.
    pub settled: Minor,
    /// Counted against the limit.
    pub limit: ChfMinor,
    /// Counted by velocity.
    pub spent: ChfMinor,
    /// Debited of the user, in `currency`: above zero it is requested, below zero it is returned.
    pub debit: Minor,
    /// Of these, the part that the partner has not debited yet.
    pub funds: Minor,
    /// The currency of the user's funds.
    pub currency: Currency,
    /// Number of a new debit within its authorization.
    pub number: u16,
    /// Of `limit`, the part that UR shows: its next figure includes it.
    pub shown: ChfMinor,
    /// Held above what is approved.
    pub upcharge: Upcharge,
}

/// Difference of a use of the limit by UR's returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseChange {
    /// The record that made the use; `None` for the record that carries the change.
    pub sequence: Option<Sequence>,
    pub limit: ChfMinor,
    /// Of `limit`, the part that UR shows.
    pub shown: ChfMinor,
}

impl LayerChange {
    #[must_use]
    pub(crate) fn none(sequence: Option<Sequence>, currency: Currency) -> LayerChange {
        LayerChange {
            sequence,
            held: Minor::ZERO,
            settled: Minor::ZERO,
            limit: ChfMinor::ZERO,
            spent: ChfMinor::ZERO,
            debit: Minor::ZERO,
            funds: Minor::ZERO,
            currency,
            number: 0,
            shown: ChfMinor::ZERO,
            upcharge: Upcharge::default(),
        }
    }

    #[must_use]
    pub(crate) fn is_none(&self) -> bool {
        self.held.is_zero()
            && self.settled.is_zero()
            && self.limit.is_zero()
            && self.spent.is_zero()
            && self.debit.is_zero()
            && self.funds.is_zero()
            && self.shown.is_zero()
            && self.upcharge.is_zero()
    }
}

/// Difference of a pool or a fiat balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceChange {
    pub currency: Currency,
    /// Added to the outstanding holds.
    pub held: Minor,
    /// Added to the available amount.
    pub available: Minor,
    /// Added to what is held above approved amounts: `available` has it subtracted.
    pub upcharged: Minor,
    /// Taken from nothing held: the next report requested from UR includes it.
    pub completed: Minor,
    /// UR's balance may rise by this much, now or later.
    pub returned: Minor,
}

impl SourceChange {
    #[must_use]
    pub(crate) fn none(currency: Currency) -> SourceChange {
        SourceChange {
            currency,
            held: Minor::ZERO,
            available: Minor::ZERO,
            upcharged: Minor::ZERO,
            completed: Minor::ZERO,
            returned: Minor::ZERO,
        }
    }

    #[must_use]
    pub(crate) fn is_none(&self) -> bool {
        *self == SourceChange::none(self.currency)
    }
}

/// The id of a debit: the first has the id of its decision, the next are numbered after their authorization.
#[must_use]
pub fn debit_id(root: &AuthorizationId, number: u16) -> AuthorizationId {
    // An id too long for a number keeps its own: the partner then ends all its debits at once.
    if number < 2 { root.clone() } else { format!("{root}#{number}").parse().unwrap_or_else(|_| root.clone()) }
}
