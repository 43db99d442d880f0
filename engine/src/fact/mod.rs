//! Facts: the content of the journal's records.
//!
//! A fact carries every change it makes, so each row folds it without reading any other row. Rows may therefore lag
//! behind the journal independently, and every durable prefix is a legal state.

pub mod alert;
mod author;
mod bounds;
pub mod calendar;
mod clock;
pub mod controls;
pub mod cursor;
mod decided_bytes;
mod decision;
mod evidence;
mod head;
mod loss;
mod merchant;
mod policy;
mod pool;
pub mod prefund;
mod provider;
mod quarantine;
mod reason;
mod record;
mod request;
mod settled;
mod touches;
mod user;

pub use alert::{AlertKind, Condition, Severity};
pub use author::{Author, IdempotencyKey};
pub use bounds::{BREAKS_MAX, BoundsError, DRAWS_MAX, EVIDENCE_MAX, RECORD_BYTES_MAX};
pub use calendar::{Closed, Day};
pub use clock::{CLOCK_REASON_BYTES_MAX, ClockSet};
pub use controls::{Controls, ControlsError, Listed, Listing, Period, VelocityRule};
pub use decision::{
    AmountMaxSeen, Approval, AuthorizationState, Capacity, Claimed, Decided, FundingRoute, FundsSeen, Gates, Inputs,
    Source, StressSeen, Upcharge, UserSeen, VelocitySeen, Verdict, Window,
};
pub use evidence::{
    Announced, BreakAnswer, BreakKind, Closing, Discrepancy, EndCause, Ended, Evidence, Flow, Linked, MatchRule,
    Mismatch, Movement, MovementRates, Overdue, Posting, Progress, Shown, Summed,
};
pub use head::{HeadSigned, INTRODUCTIONS_MAX, Introduction, SIGNATURE_BYTES_MAX};
pub use loss::{LOSS_REASON_BYTES_MAX, LOST_RECORDS_MAX, LossAccepted};
pub use merchant::{Channel, Merchant};
pub use policy::{
    FiatChoice, HOLD_UPCHARGES_MAX, HoldUpcharge, Lives, Policy, STRESS_TIERS_MAX, StressTier, Tolerance,
    is_lodging_or_rental,
};
pub use pool::{PoolCredited, PoolLimited, PoolReported, PoolSynced};
pub use prefund::{PrefundOrdered, PrefundProposed, PrefundSent};
pub use provider::{AccountReported, AccountWord, CardLimited, CardLimits, Provider, ProviderSuspended};
pub use quarantine::{InQuarantine, Original, Quarantined, RowsHeld};
pub use reason::{DUPLICATE_MISMATCH, Reason};
pub(crate) use record::EncodedRequest;
pub use record::{RECORD_VERSION, Record, RecordError};
pub use request::{Kind, Request};
pub use settled::{Difference, Effect, LayerChange, Settled, SourceChange, UseChange, debit_id};
pub use touches::{Indexed, Subject, Touches};
pub use user::{
    AccountStatus, AllowancesReported, CardReported, CardStatus, CardUse, FundingPolicy, FundsReplaced, Import,
    ImportedCard, ImportedFiat, ReportedAccount, UserReported,
};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::contract::pricing::Rates;
use crate::ids::{AlertId, BreakId, CardId, ClosureId, PrefundId, Sequence, UrId};
use crate::money::Currency;
use crate::time::{UnixMillis, UnixSeconds};

/// An event that changes state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// An authorization or increment was decided, or an invalid reversal refused.
    Decided(Box<Decided>),
    /// New evidence on an authorization: a return, a movement at UR, an end by us, a person's word.
    Settled(Box<Settled>),
    /// A user was imported, or imported again.
    UserImported(Box<Import>),
    /// The partner replaced the figure of a user's funds.
    FundsReplaced(FundsReplaced),
    /// A user was suspended or resumed.
    UserSuspended { user: UrId, suspended: bool },
    /// A user's controls were replaced.
    UserControlled {
        user: UrId,
        /// `None` restricts nothing.
        controls: Option<Box<Controls>>,
    },
    /// A card was frozen, made active or deleted.
    CardChanged { user: UrId, card: CardId, status: CardStatus },
    /// A card's controls were replaced.
    CardControlled {
        user: UrId,
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
    ProgramSuspended { suspended: bool, reason: CompactString },
    /// UR reported a user's account or balances.
    UserReported(Box<UserReported>),
    /// UR reported a pool's balance.
    PoolSynced(PoolSynced),
    /// The provider issued a card.
    CardAdded { user: UrId, card: ImportedCard },
    /// A pool's floor and reserve were set; its balance was not reported.
    PoolLimited(PoolLimited),
    /// A comparison found a difference.
    BreakOpened(Box<Discrepancy>),
    /// A break was resolved, by a person or by a rule.
    BreakResolved {
        id: BreakId,
        /// The person's words, or the rule's name.
        reason: CompactString,
    },
    /// A condition began that needs attention.
    AlertRaised(Box<Condition>),
    /// An open alert's condition changed; receivers are notified again.
    AlertChanged {
        id: AlertId,
        /// The current condition.
        condition: Box<Condition>,
    },
    /// Receivers were notified again of an unacknowledged alert.
    AlertRenotified { id: AlertId },
    /// An operator acknowledged an alert.
    AlertAcknowledged { id: AlertId, reason: Option<CompactString> },
    /// An operator silenced an alert until a time.
    AlertSilenced {
        id: AlertId,
        /// A time in the past ends the silence.
        until: UnixMillis,
    },
    /// An alert's condition ended.
    AlertResolved { id: AlertId },
    /// A top-up was proposed.
    PrefundProposed(Box<PrefundProposed>),
    /// A treasurer approved a proposed top-up.
    PrefundApproved { id: PrefundId },
    /// A top-up was sent.
    PrefundSent(Box<PrefundSent>),
    /// A top-up, or the missing part of a short one, was cancelled.
    PrefundCancelled { id: PrefundId, reason: CompactString },
    /// A journal reader stored its position.
    CursorMoved {
        name: CompactString,
        /// Opaque to the engine.
        position: Vec<u8>,
    },
    /// Days without credits by UR's operations were added to the calendar.
    ClosureAdded(Closed),
    /// A closure was removed.
    ClosureRemoved { id: ClosureId },
    /// An approved top-up was ordered from UR; the money may leave from here on.
    PrefundOrdered(Box<PrefundOrdered>),
    /// An operator skipped a message that the receiver rejects.
    MessageSkipped {
        name: CompactString,
        /// The reader's name for the message.
        message: CompactString,
        reason: CompactString,
        /// The reader's position after the message; opaque to the engine.
        position: Vec<u8>,
    },
    /// A day of the journal ended: what ages by time is over up to here.
    Aged {
        /// Idempotency keys of records up to here are forgotten: they are a day old or older.
        keys_through: Sequence,
    },
    /// What no window of a user can include any more left its row.
    UserAged {
        user: UrId,
        /// Earlier spends are over.
        before: UnixSeconds,
        /// Later times in the row become this one: only a clock that was wrong stamped them.
        latest: UnixMillis,
    },
    /// A person set a journal right whose last record lay in the future.
    ClockSet(Box<ClockSet>),
    /// The decision settings changed, or are recorded for the first time.
    PolicyApplied(Box<Policy>),
    /// A complete answer of UR left a known balance out. The balance stays until an answer requested after this record
    /// leaves it out, too.
    BalanceOmitted {
        /// The ops account, or a user's.
        account: UrId,
        currency: Currency,
    },
    /// UR froze, unfroze or deleted a card. What the partner froze stays frozen, what is deleted stays deleted.
    CardReported(Box<CardReported>),
    /// UR changed an account's allowances.
    AllowancesReported(Box<AllowancesReported>),
    /// A card was made single-use, or no longer so.
    CardUseSet { user: UrId, card: CardId, single_use: bool },
    /// A provider suspended or resumed its card service.
    ProviderSuspended(Box<ProviderSuspended>),
    /// A provider suspended, resumed or deleted an account.
    AccountReported(Box<AccountReported>),
    /// A provider changed a card's limits.
    CardLimited(Box<CardLimited>),
    /// What names the person behind a user was erased: it was kept outside the journal.
    PersonErased { user: UrId },
    /// In the place of a record that the journal has lost: see [`LossAccepted`].
    RecordLost,
    /// A person accepted that the journal has lost its end.
    LossAccepted(Box<LossAccepted>),
    /// A head of the journal's tree was signed.
    HeadSigned(Box<HeadSigned>),
    /// In the place of a record that is in quarantine, with what is known of it: see [`Quarantined`]. Its bytes are those of
    /// a [`StandIn`](crate::store::StandIn).
    RecordQuarantined(Box<InQuarantine>),
    /// A person put records into quarantine.
    Quarantined(Box<Quarantined>),
}
