//! Evidence: UR's transactions, what they change, and how they differ from what we hold.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{AuthorizationState, Source};
use crate::bytes::Fingerprint;
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::time::UnixSeconds;

/// Which way the money went, seen from the account holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flow {
    /// UR took it.
    Out,
    /// UR gave it back.
    In,
}

/// How far UR is with it.
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
    /// UR's hash of it, or what stands for one where UR gives none. One hash may come once for each progress.
    pub hash: CompactString,
    /// The account holder.
    pub user: UrId,
    /// Which way.
    pub flow: Flow,
    /// How far.
    pub progress: Progress,
    /// In the currency paid in; never negative.
    pub amount: Money,
    /// When UR says it happened.
    pub at: UnixSeconds,
}

impl Posting {
    /// What makes it the same movement of money, however far it is: one hash may hold several, of several accounts.
    #[must_use]
    pub fn place(&self) -> CompactString {
        let Posting { hash, user, flow, amount, .. } = self;
        compact_str::format_compact!("{user} {flow:?} {} {} {hash}", amount.amount, amount.currency)
    }

    /// What makes it the same one when it comes again: the movement, and how far it is.
    #[must_use]
    pub fn key(&self) -> Fingerprint {
        Fingerprint::of(format!("{} {:?}", self.place(), self.progress).as_bytes())
    }
}

/// A transaction of UR's, and what it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The transaction.
    pub posting: Posting,
    /// The root authorization; one of its own where none of ours was found.
    pub root: AuthorizationId,
    /// The account holder whose row it changes; `None` where there is no such user.
    pub user: Option<UrId>,
    /// Where it was paid from, as far as we know.
    pub source: Option<Source>,
    /// What it did.
    pub effect: Effect,
    /// The state of the authorization after it.
    pub state: AuthorizationState,
    /// Per draw, oldest first.
    pub draws: Vec<DrawPosting>,
    /// UR took it, in the currency paid in.
    pub captured: Minor,
    /// UR gave it back.
    pub given_back: Minor,
    /// What pools lose or get back.
    pub pools: Vec<SourcePosting>,
    /// What the user's fiat balances lose or get back.
    pub fiat: Vec<SourcePosting>,
    /// UR uses the limit for it, and we have not counted it yet.
    pub limit_added: ChfMinor,
    /// Returns whose use of the limit UR shows with it.
    pub completes: Vec<Sequence>,
    /// What is to be looked at.
    pub breaks: Vec<Discrepancy>,
}

impl Posted {
    /// Money that came back to an open pool after it was settled: no hold rises by it, only UR's balance.
    #[must_use]
    pub fn refund(&self) -> Option<Money> {
        let currency = self.posting.amount.currency;
        let is_refund = self.effect == Effect::Refunded && self.pools.iter().any(|pool| pool.currency == currency);
        is_refund.then_some(Money { amount: self.given_back, currency })
    }

    /// What UR's balance of a pool may rise by: what is held no more, or a refund.
    #[must_use]
    pub fn returned_to(&self, pool: &SourcePosting) -> Minor {
        let refund = self.refund().map_or(Minor::ZERO, |refund| refund.amount);
        pool.available.max(Minor::ZERO) + refund
    }
}

/// What a posting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// It is known to UR; nothing moved.
    Confirmed,
    /// UR settled all of it.
    Cleared,
    /// UR settled a part; the rest stays held.
    PartlyCleared,
    /// UR settled what we had given up: reversed, released or expired.
    LateCleared,
    /// UR took nothing, or gave back what was not settled.
    Reversed,
    /// UR gave back what was settled.
    Refunded,
    /// UR settled what we never approved.
    ForcePosted,
    /// It only confirms what is known, or says nothing.
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

/// What one draw loses to a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawPosting {
    /// The record that took it.
    pub sequence: Sequence,
    /// Of its amount, in the transaction currency: settled or given back.
    pub amount: Minor,
    /// Of what it holds, in the currency paid in.
    pub paid: Minor,
    /// UR never took it: funds, velocity and limit come back, too.
    pub is_back: bool,
    /// Of the user's funds, where they come back.
    pub funds: Minor,
    /// No longer counted by velocity.
    pub spent: ChfMinor,
    /// No longer counted against the limit.
    pub unreflected: ChfMinor,
}

/// What a pool or a fiat balance loses or gets back by a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosting {
    /// Which one.
    pub currency: Currency,
    /// Leaves what is outstanding.
    pub held: Minor,
    /// By how much what is available changes.
    pub available: Minor,
    /// Settled: the next report that is asked for holds it.
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

/// How a posting and what we hold differ beyond what explains itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discrepancy {
    /// Of which kind.
    pub kind: BreakKind,
    /// What of: a root authorization, a hash, a urId or a pool.
    pub subject: CompactString,
    /// The field that differs.
    pub field: CompactString,
    /// Our value of it.
    pub ours: CompactString,
    /// UR's.
    pub theirs: CompactString,
}

/// The kinds of breaks of the three-way comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BreakKind {
    /// We approved, and UR knows nothing of it.
    MissingAtProvider,
    /// UR settled what we know nothing of.
    OrphanAtProvider,
    /// Another amount than we hold, beyond tolerance.
    AmountMismatch,
    /// Another amount within tolerance, where currencies were converted.
    FxDrift,
    /// Another currency than we hold.
    CurrencyMismatch,
    /// Money went the other way.
    DirectionMismatch,
    /// The same settlement twice.
    Duplicate,
    /// Still on its way.
    Timing,
    /// UR's state contradicts ours.
    StatusConflict,
    /// We declined, and UR settled all the same.
    StandIn,
    /// UR's figure of the limit does not hold what it must.
    LimitDrift,
    /// UR's balance of a pool does not hold what it must.
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
