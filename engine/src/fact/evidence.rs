//! Evidence on an authorization: what UR, the engine and people say happened after its decision.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{Merchant, Request};
use crate::bytes::Fingerprint;
use crate::contract::pricing::Conversion;
use crate::ids::{AuthorizationId, BreakId, Sequence, UrId};
use crate::money::{AMOUNT_MAX, ChfMinor, Currency, Minor, Money};
use crate::time::UnixSeconds;

/// Direction of the money, seen from the account holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flow {
    /// UR debited the account.
    Out,
    /// UR credited the account.
    In,
}

/// Settlement status at UR. It only grows, in this order; [`Progress::Rejected`] is the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// UR shows the movement with a status that is not understood: it holds as a pending one does.
    Shown,
    /// Posted, not settled.
    Pending,
    /// Refused; nothing moved.
    Rejected,
    /// Settled.
    Completed,
}

impl Progress {
    /// Whether UR may still take or refuse it.
    #[must_use]
    pub fn is_unsettled(self) -> bool {
        matches!(self, Progress::Shown | Progress::Pending)
    }
}

/// A card transaction as UR shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// UR's hash, or a substitute where UR gives none.
    pub hash: CompactString,
    pub user: UrId,
    pub flow: Flow,
    pub progress: Progress,
    /// In the currency paid in; never negative.
    pub amount: Money,
    /// UR's time of the transaction.
    pub at: UnixSeconds,
    /// The merchant's category, where UR shows it.
    pub mcc: Option<u16>,
    /// The merchant's name, where UR shows it.
    pub merchant: Option<CompactString>,
    /// UR's references, most likely first.
    pub references: SmallVec<[CompactString; 2]>,
    /// The partner's id that UR names: where it is not known yet, the movement waits for it.
    pub awaits: Option<AuthorizationId>,
    /// Number among the rows of one answer under the same name, with the same status and amount.
    pub ordinal: u16,
}

/// Longest [`Posting::hash`], in bytes: twice what UR's take.
const HASH_BYTES_MAX: usize = 256;

/// References of a movement that are kept: UR gives two.
const REFERENCES_MAX: usize = 4;

impl Posting {
    /// Bounds what a provider says, because the journal keeps it for ever, and changes nothing that it is matched by: a
    /// reference that is longer than an id names none of ours, and a longer hash goes by its fingerprint.
    #[must_use]
    pub fn bounded(mut self) -> Posting {
        if self.hash.len() > HASH_BYTES_MAX {
            let Fingerprint(bytes) = Fingerprint::of(self.hash.to_ascii_lowercase().as_bytes());
            self.hash = compact_str::format_compact!("long:{:032x}", u128::from_be_bytes(bytes));
        }
        self.merchant = self.merchant.as_deref().and_then(Merchant::text);
        self.references.retain(|reference| reference.len() <= AuthorizationId::BYTES_MAX);
        self.references.truncate(REFERENCES_MAX);
        self
    }

    /// The name that UR's rows of one movement share, whatever their status and amount: several movements may share it.
    #[must_use]
    pub fn place(&self) -> CompactString {
        let Posting { hash, user, flow, amount, .. } = self;
        let flow = match flow {
            Flow::Out => "Out",
            Flow::In => "In",
        };
        let hash = hash.to_ascii_lowercase();
        // Not formatted: a start names the place of every movement that it finds.
        [user.as_str(), flow, amount.currency.as_str(), &hash].join(" ").into()
    }

    /// Identity of the movement that has this number among those of its [`Posting::place`].
    #[must_use]
    pub fn key(&self, number: u16) -> Fingerprint {
        Fingerprint::of(format!("{} {number}", self.place()).as_bytes())
    }
}

/// One piece of evidence. What stands is derived from all of them, in whatever order they came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// UR announced a return by callback.
    Announced(Box<Announced>),
    /// UR shows a movement of money.
    Shown(Box<Shown>),
    /// The engine or a person ended holds.
    Ended(Ended),
    /// Something that UR was to show is overdue.
    Overdue(Overdue),
    /// A person, or a rule, closed a question.
    Closed {
        closing: Closing,
        /// What the user's funds owe for movements that had no such figure yet.
        owed: Vec<(Fingerprint, Money)>,
        /// A person's answer; `None` if a rule closed the question.
        answer: Option<BreakAnswer>,
    },
    /// A person, or UR's later reference, moved movements here from another root.
    Linked(Box<Linked>),
}

/// A reversal or an advice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    pub request: Request,
    /// Hash of the request, to recognize a repeat.
    pub fingerprint: Fingerprint,
    /// The part that counts, in the transaction currency: at most what was approved and not announced before.
    pub counted: Minor,
    /// The answer's amount: what the callback released, in the transaction currency.
    pub released: Minor,
    /// UR's reversal uses the limit again, as the contract does (docs/ur-facts.md, "What reversals do").
    pub limit: ChfMinor,
    /// The francs of everything announced so far, rounded once.
    pub limit_max: ChfMinor,
    /// The request contradicts its authorization, and changes nothing.
    pub mismatch: Option<Mismatch>,
}

/// A field in which a reversal differs from its authorization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    pub field: CompactString,
    /// Our value.
    pub ours: CompactString,
    /// UR's value.
    pub theirs: CompactString,
}

/// A movement of money that UR shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub posting: Posting,
    /// Its number among the movements of one [`Posting::place`].
    pub number: u16,
    /// Its amount in the currency paid in, at the rates of its first record.
    pub value: Minor,
    /// Francs that it counts against the limit, at the rates of its first record.
    pub limit: ChfMinor,
    /// What the user's funds owe for it where no draw gives a rate.
    pub funds: Option<Money>,
    /// The rates of its first record, which these figures follow.
    pub rates: MovementRates,
    /// The draw whose own id the movement names.
    pub draw: Option<Sequence>,
    /// The last capture of its authorization: the rest is released.
    pub is_final: bool,
    /// Debited of the user although no decision stands behind it.
    pub is_charged: bool,
    pub rule: MatchRule,
    /// Where its authorization counts it among its sums: as what.
    pub summed: Option<Summed>,
}

/// The rates that price a movement, as they were when UR first showed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovementRates {
    /// To the currency paid in, where a movement in another currency is not priced at its draws' ratio.
    pub value: Option<Conversion>,
    /// Francs per unit of its currency on 10,000.
    pub chf: Option<u32>,
    /// To the currency of the user's funds.
    pub funds: Option<(Currency, Conversion)>,
}

impl MovementRates {
    /// What the user's funds owe for so much; `None` without a rate to their currency.
    pub(crate) fn owed(&self, money: Money) -> Option<Money> {
        let (currency, conversion) = self.funds?;
        Some(Money { amount: conversion.ceil(money.amount)?.min(AMOUNT_MAX), currency })
    }
}

/// A movement that an authorization does not list any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summed {
    /// The status that UR had shown: rejected, or completed.
    pub progress: Progress,
    /// In the currency paid in.
    pub amount: Minor,
}

impl Shown {
    /// Identity of the movement.
    #[must_use]
    pub fn key(&self) -> Fingerprint {
        self.posting.key(self.number)
    }
}

/// The rule that chose the authorization of a movement, in order of confidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MatchRule {
    /// UR's reference names one of our ids.
    Reference,
    /// An earlier row of the same movement chose it.
    Known,
    /// The one hold of exactly this amount.
    ExactAmount,
    /// The oldest of several holds of exactly this amount.
    OldestExact,
    /// The best of the holds near this amount.
    NearAmount,
    /// A part of the one hold of the same category or merchant.
    Part,
    /// A hold that had ended.
    Ended,
    /// UR's reference names an id that we do not know yet.
    Waiting,
    /// Nothing fits: it stands alone.
    Alone,
}

impl MatchRule {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MatchRule::Reference => "reference",
            MatchRule::Known => "known",
            MatchRule::ExactAmount => "exact_amount",
            MatchRule::OldestExact => "oldest_exact",
            MatchRule::NearAmount => "near_amount",
            MatchRule::Part => "part",
            MatchRule::Ended => "ended",
            MatchRule::Waiting => "waiting",
            MatchRule::Alone => "alone",
        }
    }

    /// Whether the match proves that a capture belongs to its hold.
    #[must_use]
    pub fn is_certain(self) -> bool {
        matches!(self, MatchRule::Reference | MatchRule::ExactAmount)
    }
}

/// The end of holds by us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub cause: EndCause,
    /// The draws that end.
    pub draws: SmallVec<[Sequence; 1]>,
    /// The movements, pending or not understood, in spite of which they end.
    pub despite: Vec<Fingerprint>,
}

/// The cause of an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndCause {
    /// The decision was not durable in time; its answer becomes `deadline_exceeded`.
    Late {
        /// The id of the decision: an authorization's or an increment's.
        id: AuthorizationId,
        /// The record of the decision.
        decided: Sequence,
        /// Whether the id is not that of the authorization itself.
        of_increment: bool,
    },
    /// A person released the hold.
    Person { reason: CompactString },
    /// UR did not settle the authorization within its time.
    Expired,
}

/// What UR was to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Overdue {
    /// The return that a callback announced, of money that UR took.
    Return,
    /// The settlement of a movement that is pending, or not understood.
    Settlement,
    /// The account's transactions: UR refuses to list them.
    Listing,
}

impl Overdue {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Overdue::Return => "return",
            Overdue::Settlement => "settlement",
            Overdue::Listing => "listing",
        }
    }
}

/// A person's answer to a break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakAnswer {
    /// The break: it stays resolved even where UR's figures still differ.
    pub id: BreakId,
    pub reason: CompactString,
}

/// What a person, or a rule, decided about a question that UR leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Closing {
    /// An awaited return will come.
    WillCome,
    /// An awaited return will not come: the user owes what UR took.
    WrittenOff,
    /// The user owes a movement that no decision stands behind.
    Charged,
    /// UR lists the account's transactions again.
    Listed,
}

impl Closing {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Closing::WillCome => "will_come",
            Closing::WrittenOff => "written_off",
            Closing::Charged => "charged",
            Closing::Listed => "listed",
        }
    }
}

/// A movement of money as an authorization keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// Its identity.
    pub key: Fingerprint,
    pub flow: Flow,
    /// The furthest status that UR showed.
    pub progress: Progress,
    /// UR showed it completed, and rejected too.
    pub is_contradicted: bool,
    pub amount: Money,
    /// In the currency paid in.
    pub value: Minor,
    /// Francs that it counts against the limit.
    pub limit: ChfMinor,
    /// What the user's funds owe for it where no draw gives a rate.
    pub funds: Option<Money>,
    /// The rates of its first record.
    pub rates: MovementRates,
    /// The draw whose own id it names.
    pub draw: Option<Sequence>,
    /// The last capture of its authorization.
    pub is_final: bool,
    /// Pending or not understood when its hold was ended by us: it does not hold again.
    pub is_ended: bool,
    /// The record that first showed it.
    pub first: Sequence,
    /// UR's time.
    pub at: UnixSeconds,
}

impl Movement {
    /// Whether UR is about to move it, and no end of ours names it.
    pub(crate) fn is_pending(&self) -> bool {
        self.progress.is_unsettled() && !self.is_ended
    }

    /// Whether a sum says as much as the movement: its status is final, and no rule asks for it alone.
    pub(crate) fn is_plain(&self, paid_in: Currency) -> bool {
        let is_asked_for = self.is_contradicted || self.is_final || self.draw.is_some();
        self.progress >= Progress::Rejected
            && !is_asked_for
            && self.amount == Money { amount: self.value, currency: paid_in }
    }
}

/// Movements that move from one root to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// The root that gives them up.
    pub from: AuthorizationId,
    /// The record before this one on that root.
    pub previous: Sequence,
    pub movements: Vec<Movement>,
    /// What changes at the root that gives them up.
    pub change: super::Difference,
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
    /// UR announced a return and took the money, and never showed it as given back.
    ReturnMissing,
    /// UR refuses to show an account's transactions: its holds cannot be asked for.
    Unsweepable,
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
        BreakKind::ReturnMissing,
        BreakKind::Unsweepable,
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
            BreakKind::ReturnMissing => "return_missing",
            BreakKind::Unsweepable => "unsweepable",
        }
    }
}
