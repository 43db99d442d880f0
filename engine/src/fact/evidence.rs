//! Evidence: UR's transactions, their effects, and their differences from our authorizations.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{AuthorizationState, Source};
use crate::bytes::Fingerprint;
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::time::UnixSeconds;

/// Direction of the money, seen from the account holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flow {
    /// UR debited the account.
    Out,
    /// UR credited the account.
    In,
}

/// Settlement status at UR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// Posted, not settled.
    Pending,
    /// Settled.
    Completed,
    /// Refused; nothing moved.
    Rejected,
}

/// A card transaction as UR shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// UR's hash, or a substitute where UR gives none. One hash may come once per progress.
    pub hash: CompactString,
    pub user: UrId,
    pub flow: Flow,
    pub progress: Progress,
    /// In the currency paid in; never negative.
    pub amount: Money,
    /// UR's time of the transaction.
    pub at: UnixSeconds,
}

impl Posting {
    /// Identity of the movement of money, whatever its progress: one hash may cover several movements, on several
    /// accounts.
    #[must_use]
    pub fn place(&self) -> CompactString {
        let Posting { hash, user, flow, amount, .. } = self;
        compact_str::format_compact!("{user} {flow:?} {} {} {hash}", amount.amount, amount.currency)
    }

    /// Identity of the delivery: the movement and its progress.
    #[must_use]
    pub fn key(&self) -> Fingerprint {
        Fingerprint::of(format!("{} {:?}", self.place(), self.progress).as_bytes())
    }
}

/// A UR transaction and the changes it makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    pub posting: Posting,
    /// The root authorization; the posting's own where none matched.
    pub root: AuthorizationId,
    /// The account holder whose row changes; `None` for an unknown user.
    pub user: Option<UrId>,
    /// The funding source, where known.
    pub source: Option<Source>,
    pub effect: Effect,
    /// The authorization's state after the posting.
    pub state: AuthorizationState,
    /// Oldest first.
    pub draws: Vec<DrawPosting>,
    /// Taken by UR, in the currency paid in.
    pub captured: Minor,
    /// Returned by UR.
    pub given_back: Minor,
    /// Changes to pools.
    pub pools: Vec<SourcePosting>,
    /// Changes to the user's fiat balances.
    pub fiat: Vec<SourcePosting>,
    /// Use of the limit by UR that is not counted yet.
    pub limit_added: ChfMinor,
    /// Returns whose use of the limit UR shows with this transaction.
    pub completes: Vec<Sequence>,
    /// Differences for an operator.
    pub breaks: Vec<Discrepancy>,
}

impl Posted {
    /// A refund to an open pool: money returned after settlement, which raises no hold, only UR's balance.
    #[must_use]
    pub fn refund(&self) -> Option<Money> {
        let currency = self.posting.amount.currency;
        let is_refund = self.effect == Effect::Refunded && self.pools.iter().any(|pool| pool.currency == currency);
        is_refund.then_some(Money { amount: self.given_back, currency })
    }

    /// The amount that UR's balance of a pool may rise by: a released hold, or a refund.
    #[must_use]
    pub fn returned_to(&self, pool: &SourcePosting) -> Minor {
        let refund = self.refund().map_or(Minor::ZERO, |refund| refund.amount);
        pool.available.max(Minor::ZERO) + refund
    }
}

/// Effect of a posting on the authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// UR shows the authorization as pending; nothing moved.
    Confirmed,
    /// UR settled the whole authorization.
    Cleared,
    /// UR settled a part; the rest stays held.
    PartlyCleared,
    /// UR settled an authorization already reversed, released or expired.
    LateCleared,
    /// UR rejected the debit, or returned an amount that was not settled.
    Reversed,
    /// UR returned a settled amount.
    Refunded,
    /// UR settled a transaction without an approval.
    ForcePosted,
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
            Effect::Noted => "noted",
        }
    }
}

/// The part of one draw consumed by a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawPosting {
    /// The record that approved the draw.
    pub sequence: Sequence,
    /// In the transaction currency: settled or returned.
    pub amount: Minor,
    /// The consumed part of the hold, in the currency paid in.
    pub paid: Minor,
    /// UR never took the amount: funds, velocity and limit are restored, too.
    pub is_back: bool,
    /// The restored part of the user's funds.
    pub funds: Minor,
    /// No longer counted by velocity.
    pub spent: ChfMinor,
    /// No longer counted against the limit.
    pub unreflected: ChfMinor,
}

/// Change of a pool or a fiat balance by a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosting {
    pub currency: Currency,
    /// Subtracted from the outstanding hold.
    pub held: Minor,
    /// Added to the available amount; may be negative.
    pub available: Minor,
    /// Settled: the next report requested from UR includes it.
    pub completed: Minor,
}

impl SourcePosting {
    pub(crate) fn nothing(currency: Currency) -> SourcePosting {
        SourcePosting { currency, held: Minor::ZERO, available: Minor::ZERO, completed: Minor::ZERO }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.held.is_zero() && self.available.is_zero() && self.completed.is_zero()
    }
}

/// An unexplained difference between a posting and our authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discrepancy {
    pub kind: BreakKind,
    /// A root authorization, a hash, a urId or a pool.
    pub subject: CompactString,
    pub field: CompactString,
    /// Our value.
    pub ours: CompactString,
    /// UR's value.
    pub theirs: CompactString,
}

/// The kinds of breaks of the three-way comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BreakKind {
    /// UR shows nothing for an approved authorization.
    MissingAtProvider,
    /// UR settled a transaction that we do not know.
    OrphanAtProvider,
    /// The amount differs from the hold beyond tolerance.
    AmountMismatch,
    /// The amount differs within tolerance, after a currency conversion.
    FxDrift,
    /// The currency differs from the hold's.
    CurrencyMismatch,
    /// The money moved in the other direction.
    DirectionMismatch,
    /// UR sent the same settlement twice.
    Duplicate,
    /// Still pending at UR.
    Timing,
    /// UR's state contradicts ours.
    StatusConflict,
    /// UR settled a declined authorization.
    StandIn,
    /// UR's used limit is below the use that it must include.
    LimitDrift,
    /// UR's pool balance differs from its explained movements.
    PoolDrift,
}

impl BreakKind {
    /// Every kind.
    pub const ALL: &[BreakKind] = &[
        BreakKind::MissingAtProvider,
        BreakKind::OrphanAtProvider,
        BreakKind::AmountMismatch,
        BreakKind::FxDrift,
        BreakKind::CurrencyMismatch,
        BreakKind::DirectionMismatch,
        BreakKind::Duplicate,
        BreakKind::Timing,
        BreakKind::StatusConflict,
        BreakKind::StandIn,
        BreakKind::LimitDrift,
        BreakKind::PoolDrift,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BreakKind::MissingAtProvider => "missing_at_provider",
            BreakKind::OrphanAtProvider => "orphan_at_provider",
            BreakKind::AmountMismatch => "amount_mismatch",
            BreakKind::FxDrift => "fx_drift",
            BreakKind::CurrencyMismatch => "currency_mismatch",
            BreakKind::DirectionMismatch => "direction_mismatch",
            BreakKind::Duplicate => "duplicate",
            BreakKind::Timing => "timing",
            BreakKind::StatusConflict => "status_conflict",
            BreakKind::StandIn => "stand_in",
            BreakKind::LimitDrift => "limit_drift",
            BreakKind::PoolDrift => "pool_drift",
        }
    }
}
