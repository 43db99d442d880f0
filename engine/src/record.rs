//! Records: the facts of the journal and their bytes.
//!
//! A fact carries every change it makes, so each row folds it alone, without looking at any other row: that is what
//! lets rows lag behind the journal each at its own place, and what makes every durable prefix a legal state.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::account::{AccountStatus, CardStatus, FundingPolicy, ImportedCard, ImportedFiat};
use crate::alert::Condition;
use crate::authorization::{Reason, Request, Source, State, Values};
use crate::closure::Closed;
use crate::controls::Controls;
use crate::ids::{AlertId, AuthorizationId, CardId, ClosureId, PrefundId, Sequence, UrId};
use crate::limit::ClientLimit;
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::posting::{Discrepancy, DrawPosting, Effect, Posting};
use crate::prefund::{PrefundOrdered, PrefundProposed, PrefundSent};
use crate::pricing::Rates;
use crate::time::UnixMillis;

/// The version of the records' bytes. A change of any type below needs a new version and a decoder for the old one.
pub const RECORD_VERSION: u8 = 1;

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was decided; never before the record it depends on.
    pub at: UnixMillis,
    /// Who caused it.
    pub author: Author,
    /// What happened.
    pub fact: Fact,
}

/// Who caused a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    /// A signed callback of UR's.
    Ur,
    /// The engine itself, such as the release at the deadline.
    Engine,
    /// A person or program with an admin token.
    Person {
        /// The token's name.
        name: CompactString,
        /// So that a repeated request has one effect.
        idempotency: Option<IdempotencyKey>,
    },
}

impl Author {
    /// The token's name, `ur` or `engine`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Author::Ur => "ur",
            Author::Engine => "engine",
            Author::Person { name, .. } => name,
        }
    }
}

/// The `Idempotency-Key` of an admin request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// As the caller chose it.
    pub key: CompactString,
    /// Of the request's method, path and body.
    pub fingerprint: Fingerprint,
}

/// 128 bits of a BLAKE3 hash: equal iff the hashed bytes are equal, for all practical purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Fingerprint {
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(blake3::hash(bytes).as_bytes()) {
            *to = *from;
        }
        Fingerprint(short)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// An authorization or increment was decided, or an unacceptable reversal refused.
    Decided(Box<Decided>),
    /// Something held was given back, or a tombstone was set.
    Returned(Box<Returned>),
    /// A user was imported, or imported again.
    UserImported(Box<Import>),
    /// The partner gave a new figure of a user's funds.
    FundsReplaced(FundsReplaced),
    /// A user was suspended or resumed.
    UserSuspended {
        /// The user.
        user: UrId,
        /// The new state.
        suspended: bool,
    },
    /// A user's controls were replaced.
    UserControlled {
        /// The user.
        user: UrId,
        /// `None` restricts nothing.
        controls: Option<Box<Controls>>,
    },
    /// A card was frozen, made active or deleted.
    CardChanged {
        /// The card's user.
        user: UrId,
        /// The card.
        card: CardId,
        /// The new state.
        status: CardStatus,
    },
    /// A card's controls were replaced.
    CardControlled {
        /// The card's user.
        user: UrId,
        /// The card.
        card: CardId,
        /// `None` restricts nothing.
        controls: Option<Box<Controls>>,
    },
    /// A pool's balance, floor or reserve was reported or set.
    PoolReported(PoolReported),
    /// A top-up was credited to a pool.
    PoolCredited(PoolCredited),
    /// Rates were set.
    RatesReplaced(Box<Rates>),
    /// The whole program was suspended or resumed.
    ProgramSuspended {
        /// The new state.
        suspended: bool,
        /// As the person gave it.
        reason: CompactString,
    },
    /// A transaction of UR's was booked on what we hold, or on nothing of ours.
    Booked(Box<Booked>),
    /// UR reported a user's account or balances.
    UserReported(Box<UserReported>),
    /// UR reported a pool's balance.
    PoolSynced(PoolSynced),
    /// The provider issued a card.
    CardAdded {
        /// The card's user.
        user: UrId,
        /// The card.
        card: ImportedCard,
    },
    /// What is kept back in a pool was set; its balance was not reported.
    PoolLimited(PoolLimited),
    /// A comparison found a difference.
    BreakOpened(Box<Discrepancy>),
    /// A break was explained, by a person or by a rule.
    BreakResolved {
        /// Which.
        id: BreakId,
        /// As the person gave it, or the rule's name.
        reason: CompactString,
    },
    /// A condition began that somebody must know of.
    AlertRaised(Box<Condition>),
    /// An open alert's condition became another; it is told again.
    AlertChanged {
        /// Which.
        id: AlertId,
        /// The condition as it is now.
        condition: Box<Condition>,
    },
    /// An open alert is told again, because nobody acknowledged it.
    AlertRenotified {
        /// Which.
        id: AlertId,
    },
    /// A person has taken an alert on.
    AlertAcknowledged {
        /// Which.
        id: AlertId,
        /// As the person gave it.
        reason: Option<CompactString>,
    },
    /// An alert is not told again before a time.
    AlertSilenced {
        /// Which.
        id: AlertId,
        /// The time. One that has passed ends the silence.
        until: UnixMillis,
    },
    /// An alert's condition is over.
    AlertResolved {
        /// Which.
        id: AlertId,
    },
    /// A top-up was proposed.
    PrefundProposed(Box<PrefundProposed>),
    /// A treasurer approved a proposed top-up.
    PrefundApproved {
        /// Which.
        id: PrefundId,
    },
    /// A top-up was sent.
    PrefundSent(Box<PrefundSent>),
    /// A top-up was given up, or what is missing of it.
    PrefundCancelled {
        /// Which.
        id: PrefundId,
        /// As the person gave it.
        reason: CompactString,
    },
    /// A reader of the journal said how far it is.
    CursorMoved {
        /// The reader.
        name: CompactString,
        /// As the reader wrote it; the engine does not look into it.
        position: Vec<u8>,
    },
    /// Days were added to the calendar on which UR's operations credit nothing.
    ClosureAdded(Closed),
    /// A closure was taken back.
    ClosureRemoved {
        /// Which.
        id: ClosureId,
    },
    /// An approved top-up is asked of UR; the money may leave from here on.
    PrefundOrdered(Box<PrefundOrdered>),
    /// A person had a reader of the journal go on without a message that nobody would take from it.
    MessageSkipped {
        /// The reader.
        name: CompactString,
        /// The message, as the reader names it.
        message: CompactString,
        /// As the person gave it.
        reason: CompactString,
        /// Where the reader stands from then on, as it wrote it.
        position: Vec<u8>,
    },
}

/// A decision and all that it rested on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The request.
    pub request: Request,
    /// Of the request's bytes, to know it again.
    pub fingerprint: Fingerprint,
    /// The values the ladder saw.
    pub values: Values,
    /// What was decided.
    pub verdict: Verdict,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Approved, taking this.
    Approved(Approval),
    /// Declined; nothing was taken.
    Declined(Reason),
}

/// What an approval takes: each capacity exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Where it is paid from.
    pub source: Source,
    /// The approved amount, in the transaction currency.
    pub amount: Minor,
    /// Taken from the pool or the fiat balance.
    pub paid: Money,
    /// `floor(paid × chfRate / 1000)`: counted by velocity.
    pub spent: ChfMinor,
    /// `spent × limit_weight`: counted against the client limit.
    pub limit: ChfMinor,
    /// Held of the user's funds; for CRYPTO only.
    pub funds: Option<Money>,
}

/// Why something is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReturnCause {
    /// UR's reversal or advice.
    Requested {
        /// The callback.
        request: Box<Request>,
        /// Of its bytes, to know it again.
        fingerprint: Fingerprint,
    },
    /// The decision was not durable in time; it is answered `deadline_exceeded`.
    Late {
        /// The decision's own id.
        id: AuthorizationId,
    },
    /// A person released the hold.
    Person {
        /// As the person gave it.
        reason: CompactString,
    },
    /// UR never settled it, and it is long ago.
    Expired,
}

/// A reversal, an advice or a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// Why.
    pub cause: ReturnCause,
    /// The root authorization.
    pub root: AuthorizationId,
    /// The account holder whose row it changes; `None` where nothing was held.
    pub user: Option<UrId>,
    /// Given back, in the transaction currency.
    pub amount: Minor,
    /// Asked for more than remained, or for another user, card or currency than the authorization's.
    pub mismatch: bool,
    /// The state of the authorization after it.
    pub state: State,
    /// Per draw, oldest first.
    pub draws: Vec<DrawReturn>,
    /// What a pool gets back.
    pub pool: Option<PoolReturn>,
    /// UR's own reversal uses the limit again, as the contract does (ur-facts, "What reversals do").
    pub limit_added: ChfMinor,
}

/// What one draw gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawReturn {
    /// The record that took it.
    pub sequence: Sequence,
    /// Of its amount, in the transaction currency.
    pub amount: Minor,
    /// Of the amount paid.
    pub paid: Minor,
    /// Of the user's funds, where they are still held.
    pub funds: Minor,
    /// No longer counted by velocity.
    pub spent: ChfMinor,
    /// No longer counted against the limit (only what UR never booked).
    pub unreflected: ChfMinor,
}

/// What a pool gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReturn {
    /// Which pool.
    pub currency: Currency,
    /// Leaves `held`.
    pub held: Minor,
    /// Returns to `available`: only the part that no report is proven to reflect.
    pub available: Minor,
}

/// A transaction of UR's, and what it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booked {
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
    pub state: State,
    /// Per draw, oldest first.
    pub draws: Vec<DrawPosting>,
    /// UR took it, in the currency paid in.
    pub captured: Minor,
    /// UR gave it back.
    pub given_back: Minor,
    /// What pools lose or get back.
    pub pools: Vec<SourceBooking>,
    /// What the user's fiat balances lose or get back.
    pub fiat: Vec<SourceBooking>,
    /// UR uses the limit for it, and we have not counted it yet.
    pub limit_added: ChfMinor,
    /// Returns whose use of the limit UR shows with it.
    pub completes: Vec<Sequence>,
    /// What is to be looked at.
    pub breaks: Vec<Discrepancy>,
}

impl Booked {
    /// Money that came back to an open pool after it was settled: no hold rises by it, only UR's balance.
    #[must_use]
    pub fn refund(&self) -> Option<Money> {
        let currency = self.posting.amount.currency;
        let is_refund = self.effect == Effect::Refunded && self.pools.iter().any(|pool| pool.currency == currency);
        is_refund.then_some(Money { amount: self.given_back, currency })
    }

    /// What UR's balance of a pool may rise by: what is held no more, or a refund.
    #[must_use]
    pub fn returned_to(&self, pool: &SourceBooking) -> Minor {
        let refund = self.refund().map_or(Minor::ZERO, |refund| refund.amount);
        pool.available.max(Minor::ZERO).saturating_add(refund)
    }
}

/// What a pool or a fiat balance loses or gets back by a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceBooking {
    /// Which one.
    pub currency: Currency,
    /// Leaves what is outstanding.
    pub held: Minor,
    /// By how much what is available changes.
    pub available: Minor,
    /// Settled: the next report that is asked for holds it.
    pub completed: Minor,
}

/// What UR reported of a user. It holds what UR showed us completed before it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserReported {
    /// The user.
    pub user: UrId,
    /// The account, where it was asked for.
    pub account: Option<ReportedAccount>,
    /// All fiat balances, where they were asked for.
    pub balances: Option<Vec<Money>>,
    /// The last record before UR was asked.
    pub seen_through: Sequence,
}

/// UR's figures of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedAccount {
    /// The status.
    pub status: AccountStatus,
    /// The limit.
    pub limit: ClientLimit,
    /// What UR's card contract may take from.
    pub allowances: Vec<(Currency, bool)>,
}

/// What is kept back in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolLimited {
    /// Which pool.
    pub currency: Currency,
    /// Never to be spent.
    pub floor: Minor,
    /// Kept back from approvals.
    pub reserve: Minor,
    /// By how much `available` changes.
    pub available_change: Minor,
}

/// A pool's balance as UR reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSynced {
    /// Which pool.
    pub currency: Currency,
    /// The balance.
    pub reported: Minor,
    /// The last record before UR was asked: what was shown completed up to here is in the balance.
    pub seen_through: Sequence,
    /// By how much `available` changes.
    pub available_change: Minor,
    /// How much of the recorded credits the balance shows.
    pub credits_shown: Minor,
}

/// Names a break: the record that opened it, and which of its differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BreakId {
    /// The record.
    pub opened: Sequence,
    /// From 0.
    pub number: u16,
}

/// A user as imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The user.
    pub user: UrId,
    /// UR's status.
    pub status: AccountStatus,
    /// UR's figures of the limit.
    pub limit: ClientLimit,
    /// The partner's figure of the funds.
    pub funds: Option<Money>,
    /// Fiat balances at UR.
    pub fiat: Vec<ImportedFiat>,
    /// The user's own funding policy.
    pub funding: Option<FundingPolicy>,
    /// The user's cards.
    pub cards: Vec<ImportedCard>,
}

/// A new figure of a user's funds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FundsReplaced {
    /// The user.
    pub user: UrId,
    /// The new figure.
    pub funds: Money,
    /// Above the version before.
    pub version: u64,
    /// The holds whose funds part ends, by the record that approved them.
    pub ended: Vec<Sequence>,
}

/// A pool's balance as reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolReported {
    /// Which pool.
    pub currency: Currency,
    /// The balance.
    pub reported: Minor,
    /// Never to be spent.
    pub floor: Minor,
    /// Kept back from approvals.
    pub reserve: Minor,
    /// Debits up to this record are in the balance.
    pub reflected_through: Sequence,
    /// By how much `available` changes.
    pub available_change: Minor,
}

/// A credit as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolCredited {
    /// Which pool.
    pub currency: Currency,
    /// The credit.
    pub amount: Minor,
    /// The payment's reference.
    pub reference: CompactString,
    /// The part that counts at once: all of it with feeds off, nothing where UR's report must prove it first.
    pub counted: Minor,
}

/// A record's bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another version of the program.
    #[error(
        "record version {0} is not known to this program (it writes {RECORD_VERSION}); use the program that wrote it"
    )]
    Version(u8),
    /// Not a record's bytes.
    #[error("not a record: {0}")]
    Malformed(String),
}

/// Collects postcard's bytes, strings in one copy: postcard's own growing buffers take them byte by byte.
pub(crate) struct Buffer(pub(crate) Vec<u8>);

impl postcard::ser_flavors::Flavor for &mut Buffer {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        match bytes {
            // Most numbers, and the names of all variants.
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl Buffer {
    /// Appends a value's bytes.
    #[expect(
        clippy::expect_used,
        reason = "serialising the engine's types to memory cannot fail; an empty record or row would be worse"
    )]
    pub(crate) fn put<T: Serialize + ?Sized>(&mut self, value: &T) {
        postcard::serialize_with_flavor(value, self).expect("a value of the engine's serialises");
    }
}

/// A request's bytes: its fingerprint is theirs, and the record that decides it holds them.
pub(crate) struct EncodedRequest(Vec<u8>);

impl EncodedRequest {
    pub(crate) fn of(request: &Request) -> EncodedRequest {
        let mut buffer = Buffer(Vec::with_capacity(REQUEST_BYTES_USUAL));
        buffer.put(request);
        EncodedRequest(buffer.0)
    }

    /// Of everything in the request: the same parsed data has the same fingerprint, whatever its JSON looked like.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }
}

/// What a decision's record usually takes, and a request's part of it.
const RECORD_BYTES_USUAL: usize = 320;
const REQUEST_BYTES_USUAL: usize = 192;

/// The place of [`Fact::Decided`] among the facts.
const DECIDED: u8 = 0;

impl Record {
    /// The bytes of the journal: the version, then the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut buffer = Buffer(Vec::with_capacity(RECORD_BYTES_USUAL));
        buffer.put(&(RECORD_VERSION, self));
        buffer.0
    }

    /// As [`Record::encode`], of a record that answers this request: a decision is not encoded twice.
    pub(crate) fn encode_around(&self, request: &EncodedRequest) -> Vec<u8> {
        let Fact::Decided(decided) = &self.fact else { return self.encode() };
        let Decided { request: _, fingerprint, values, verdict } = &**decided;
        let mut buffer = Buffer(Vec::with_capacity(RECORD_BYTES_USUAL));
        buffer.put(&(RECORD_VERSION, self.at, &self.author, DECIDED));
        buffer.0.extend_from_slice(&request.0);
        buffer.put(&(fingerprint, values, verdict));
        buffer.0
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The version is unknown, or the bytes are not exactly one record.
    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        match bytes.split_first() {
            Some((&RECORD_VERSION, rest)) => match postcard::take_from_bytes(rest) {
                Ok((record, [])) => Ok(record),
                Ok((_, rest)) => Err(RecordError::Malformed(format!("{} bytes too many", rest.len()))),
                Err(error) => Err(RecordError::Malformed(error.to_string())),
            },
            Some((version, _)) => Err(RecordError::Version(*version)),
            None => Err(RecordError::Malformed("no bytes".to_owned())),
        }
    }
}

impl Fact {
    /// The user whose row this changes.
    #[must_use]
    pub fn user(&self) -> Option<&UrId> {
        match self {
            Fact::Decided(decided) => Some(&decided.request.user),
            Fact::Returned(returned) => returned.user.as_ref(),
            Fact::UserImported(import) => Some(&import.user),
            Fact::FundsReplaced(replaced) => Some(&replaced.user),
            Fact::UserSuspended { user, .. }
            | Fact::UserControlled { user, .. }
            | Fact::CardChanged { user, .. }
            | Fact::CardControlled { user, .. }
            | Fact::CardAdded { user, .. } => Some(user),
            Fact::Booked(booked) => booked.user.as_ref(),
            Fact::UserReported(report) => Some(&report.user),
            Fact::PoolReported(_)
            | Fact::PoolCredited(_)
            | Fact::PoolSynced(_)
            | Fact::PoolLimited(_)
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
            | Fact::PrefundProposed(_)
            | Fact::PrefundApproved { .. }
            | Fact::PrefundSent(_)
            | Fact::PrefundCancelled { .. }
            | Fact::CursorMoved { .. }
            | Fact::ClosureAdded(_)
            | Fact::ClosureRemoved { .. }
            | Fact::PrefundOrdered(_)
            | Fact::MessageSkipped { .. } => None,
        }
    }

    /// The root authorization whose row this changes.
    #[must_use]
    pub fn root(&self) -> Option<&AuthorizationId> {
        match self {
            Fact::Decided(decided) => Some(decided.request.root()),
            Fact::Returned(returned) => Some(&returned.root),
            Fact::Booked(booked) => Some(&booked.root),
            _ => None,
        }
    }

    /// The id whose answer this gives or changes.
    #[must_use]
    pub fn answered(&self) -> Option<&AuthorizationId> {
        match self {
            Fact::Decided(decided) => Some(&decided.request.id),
            Fact::Returned(returned) => match &returned.cause {
                ReturnCause::Requested { request, .. } => Some(&request.id),
                ReturnCause::Late { id } => Some(id),
                ReturnCause::Person { .. } | ReturnCause::Expired => None,
            },
            _ => None,
        }
    }

    /// The pools whose figures this changes. An approval of nothing changes none, and one that is not there stays so.
    pub fn pools(&self) -> impl Iterator<Item = Currency> + '_ {
        let one = match self {
            Fact::Decided(decided) => match &decided.verdict {
                Verdict::Approved(approval) if approval.source == Source::Crypto && !approval.paid.amount.is_zero() => {
                    Some(approval.paid.currency)
                }
                _ => None,
            },
            Fact::Returned(returned) => returned.pool.map(|pool| pool.currency),
            Fact::PoolReported(report) => Some(report.currency),
            Fact::PoolCredited(credit) => Some(credit.currency),
            Fact::PoolSynced(synced) => Some(synced.currency),
            Fact::PoolLimited(limited) => Some(limited.currency),
            _ => None,
        };
        let booked = match self {
            Fact::Booked(booked) => booked.pools.as_slice(),
            _ => &[],
        };
        one.into_iter().chain(booked.iter().map(|pool| pool.currency))
    }

    /// The alert whose row this changes as the record at `sequence`.
    #[must_use]
    pub fn alert(&self, sequence: Sequence) -> Option<AlertId> {
        match self {
            Fact::AlertRaised(_) => Some(AlertId(sequence)),
            Fact::AlertChanged { id, .. }
            | Fact::AlertRenotified { id }
            | Fact::AlertAcknowledged { id, .. }
            | Fact::AlertSilenced { id, .. }
            | Fact::AlertResolved { id } => Some(*id),
            _ => None,
        }
    }

    /// The prefund whose row this changes as the record at `sequence`; a credit changes the one that awaits it beside.
    #[must_use]
    pub fn prefund(&self, sequence: Sequence) -> Option<PrefundId> {
        match self {
            Fact::PrefundProposed(_) => Some(PrefundId(sequence)),
            Fact::PrefundSent(sent) => Some(sent.proposal.unwrap_or(PrefundId(sequence))),
            Fact::PrefundOrdered(ordered) => Some(ordered.id),
            Fact::PrefundApproved { id } | Fact::PrefundCancelled { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// The breaks that this opens as the record at `sequence`.
    pub fn breaks(&self, sequence: Sequence) -> impl Iterator<Item = (BreakId, &Discrepancy)> {
        let breaks = match self {
            Fact::Booked(booked) => booked.breaks.as_slice(),
            Fact::BreakOpened(discrepancy) => std::slice::from_ref(&**discrepancy),
            _ => &[],
        };
        (0..).zip(breaks).map(move |(number, found)| (BreakId { opened: sequence, number }, found))
    }
}
