//! Facts: what the journal's records say.
//!
//! A fact carries every change it makes, so each row folds it alone, without looking at any other row: that is what
//! lets rows lag behind the journal each at its own place, and what makes every durable prefix a legal state.

pub mod alert;
mod author;
mod bounds;
pub mod calendar;
pub mod controls;
pub mod cursor;
mod decision;
mod evidence;
mod pool;
pub mod prefund;
mod reason;
mod record;
mod release;
mod request;
mod touches;
mod user;

pub use alert::{AlertKind, Condition, Severity};
pub use author::{Author, IdempotencyKey};
pub use bounds::{BoundsError, DRAWS_MAX};
pub use calendar::{Closed, Day};
pub use controls::{Blocked, Controls, ControlsError, VelocityRule};
pub use decision::{
    AmountMaxSeen, Approval, AuthorizationState, Capacity, Decided, FundingRoute, FundsSeen, Inputs, Source, UserSeen,
    VelocitySeen, Verdict, Window,
};
pub use evidence::{BreakKind, Discrepancy, DrawPosting, Effect, Flow, Posted, Posting, Progress, SourcePosting};
pub use pool::{PoolCredited, PoolLimited, PoolReported, PoolSynced};
pub use prefund::{PrefundOrdered, PrefundProposed, PrefundSent};
pub use reason::{DUPLICATE_MISMATCH, Reason};
pub(crate) use record::EncodedRequest;
pub use record::{RECORD_VERSION, Record, RecordError};
pub use release::{DrawRelease, HoldReleased, PoolRelease, ReleaseCause};
pub use request::{Channel, Kind, Merchant, Request};
pub use touches::Touches;
pub use user::{
    AccountStatus, CardStatus, FundingPolicy, FundsReplaced, Import, ImportedCard, ImportedFiat, ReportedAccount,
    UserReported,
};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::contract::pricing::Rates;
use crate::ids::{AlertId, BreakId, CardId, ClosureId, PrefundId, UrId};
use crate::time::UnixMillis;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// An authorization or increment was decided, or an unacceptable reversal refused.
    Decided(Box<Decided>),
    /// Something held was given back, or a tombstone was set.
    HoldReleased(Box<HoldReleased>),
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
    Posted(Box<Posted>),
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
