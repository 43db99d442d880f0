//! Messages, and the two sides of a worker: an outbox and a receiver.

pub mod event;
pub mod notice;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use tapgate_engine::fact::Author;
use tapgate_engine::ids::Sequence;
use tapgate_engine::time::{UnixMillis, UnixSeconds};

use super::tail::Position;

/// The origin of a message: its record, and its number among that record's messages (an approval has two:
/// `authorization.approved` and `debit.requested`). Messages are sent in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    pub record: Sequence,
    /// The number among the record's messages, from 0.
    pub part: u16,
}

impl Place {
    /// The end of a record, behind all its messages.
    #[must_use]
    pub fn end_of(record: Sequence) -> Place {
        Place { record, part: u16::MAX }
    }

    /// The record before the first one that may hold messages after this place.
    #[must_use]
    pub fn before_record(self) -> Sequence {
        match self.part {
            u16::MAX => self.record,
            _ => Sequence(self.record.0.saturating_sub(1)),
        }
    }

    /// The message's name, the same on every attempt: `msg_1200_0`.
    #[must_use]
    pub fn message_id(self) -> String {
        format!("msg_{}_{}", self.record, self.part)
    }

    /// Parses a message's name, as [`Place::message_id`] writes it.
    #[must_use]
    pub fn of_message(id: &str) -> Option<Place> {
        let (record, part) = id.strip_prefix("msg_")?.split_once('_')?;
        let place = Place { record: Sequence(record.parse().ok()?), part: part.parse().ok()? };
        (place.message_id() == id).then_some(place)
    }

    /// The place before this one; the first place returns itself.
    #[must_use]
    pub fn before(self) -> Place {
        match self.part.checked_sub(1) {
            Some(part) => Place { part, ..self },
            None => self.record.0.checked_sub(1).map_or(self, |record| Place::end_of(Sequence(record))),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.record, self.part)
    }
}

/// A message for a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<C> {
    pub place: Place,
    /// Messages of one lane (a user, a pool) are accepted in order; without a lane, in any order.
    pub lane: Option<CompactString>,
    /// The time of the record.
    pub at: UnixMillis,
    /// For people: an event's type, or `alert.` and the alert's change.
    pub kind: &'static str,
    pub content: C,
}

/// The outcome of one attempt. Reasons are for the operator and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver accepted the message.
    Accepted,
    /// The receiver did not accept it; the same message may pass later.
    Failed {
        /// For the operator.
        reason: String,
        /// The pause that the receiver asks for.
        retry_after: Option<Duration>,
    },
    /// No retry helps until a person changes something.
    Refused {
        /// For the operator.
        reason: String,
    },
}

impl Outcome {
    /// A failure without a pause from the receiver.
    #[must_use]
    pub fn failed(reason: impl Into<String>) -> Outcome {
        Outcome::Failed { reason: reason.into(), retry_after: None }
    }
}

/// Sends messages to one receiver. Every attempt ends: with an answer, or at its own deadline.
pub trait Receiver: Send + Sync + 'static {
    /// The content of its messages.
    type Content: Send + Sync + 'static;

    /// One attempt. Every attempt sends the same bytes for the same content; `now` is the attempt's time.
    fn send(&self, content: &Self::Content, now: UnixSeconds) -> impl Future<Output = Outcome> + Send;
}

/// Messages read from the journal for one receiver.
#[derive(Clone, Debug)]
pub struct Batch<C> {
    /// The messages after the requested place, in order, at most the requested number.
    pub messages: Vec<Message<C>>,
    /// The receiver has no other messages up to here; at least the last message's place.
    pub through: Place,
    /// Reading stopped at a bound: the next read finds more at once.
    pub more: bool,
}

/// A person's order for a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Attempt everything again, from the receiver's position.
    Resume,
    /// Send every message from a place on again.
    Replay(Place),
    /// Skip a message that the receiver rejects.
    Skip {
        place: Place,
        /// The person's reason.
        reason: String,
    },
}

/// The source of messages and the store of positions: the journal.
pub trait Outbox: Send + Sync + 'static {
    /// The content of its messages.
    type Content: Clone + Send + Sync + 'static;
    /// The reason why it could not read or store.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The durable messages after a place, at most `max`, which is at least one. Cheap if there are none.
    ///
    /// # Errors
    /// The journal could not be read; the worker retries.
    fn after(&self, place: Place, max: usize) -> Result<Batch<Self::Content>, Self::Error>;

    /// The last durable record.
    fn newest(&self) -> Sequence;

    /// A receiver's position; `None` if the receiver is new.
    ///
    /// # Errors
    /// The position could not be read; the worker retries.
    fn position(&self, receiver: &str) -> Result<Option<Position>, Self::Error>;

    /// Stores a receiver's position. Does not wait for the disk.
    ///
    /// # Errors
    /// The position was not stored; messages sent since the previous one may be sent again.
    fn store_position(&self, receiver: &str, position: &Position) -> Result<(), Self::Error>;

    /// Whether the same request by the same person was already stored as an order. Waits for the disk.
    ///
    /// # Errors
    /// The key was used for another request, or the order could not be read.
    fn is_repeated(&self, by: &Author) -> Result<bool, Self::Error>;

    /// Stores an order together with the receiver's position after it. Returns when both are durable.
    ///
    /// # Errors
    /// The order was not stored, or its outcome is unknown.
    fn store_order(&self, receiver: &str, order: &Order, position: &Position, by: &Author) -> Result<(), Self::Error>;
}
