//! A message, where it comes from, and the two sides that a worker stands between: an outbox and a receiver.

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

/// Where a message comes from: the record that it tells of, and which of that record's messages it is (an approval is
/// told of twice: `authorization.approved` and `debit.requested`). Messages are sent in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The record.
    pub record: Sequence,
    /// Which of its messages, from 0.
    pub part: u16,
}

impl Place {
    /// After the last message that this record can have.
    #[must_use]
    pub fn end_of(record: Sequence) -> Place {
        Place { record, part: u16::MAX }
    }

    /// The record before the first one that may hold what comes after this place.
    #[must_use]
    pub fn before_record(self) -> Sequence {
        match self.part {
            u16::MAX => self.record,
            _ => Sequence(self.record.0.saturating_sub(1)),
        }
    }

    /// The name of its message, the same whenever it is sent: `msg_1200_0`.
    #[must_use]
    pub fn message_id(self) -> String {
        format!("msg_{}_{}", self.record, self.part)
    }

    /// The place of a message by its name, as [`Place::message_id`] writes it.
    #[must_use]
    pub fn of_message(id: &str) -> Option<Place> {
        let (record, part) = id.strip_prefix("msg_")?.split_once('_')?;
        let place = Place { record: Sequence(record.parse().ok()?), part: part.parse().ok()? };
        (place.message_id() == id).then_some(place)
    }

    /// The place before this one; the first place is its own.
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

/// Something to be told to a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<C> {
    /// Where it comes from.
    pub place: Place,
    /// Messages of one lane (a user, a pool) are accepted in their order; without a lane, in any.
    pub lane: Option<CompactString>,
    /// When what it tells of happened.
    pub at: UnixMillis,
    /// What kind of thing it tells of, for people: an event's type, or `alert.` and what happened to it.
    pub kind: &'static str,
    /// What is told.
    pub content: C,
}

/// What became of one attempt. Reasons are for the operator and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Accepted,
    /// It has not; the same may pass later.
    Failed {
        /// Why.
        reason: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It never will until a person changes something.
    Refused {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// A failure of which the receiver said no more.
    #[must_use]
    pub fn failed(reason: impl Into<String>) -> Outcome {
        Outcome::Failed { reason: reason.into(), retry_after: None }
    }
}

/// Sends messages to one receiver. Every attempt ends: by an answer, or by its own deadline.
pub trait Receiver: Send + Sync + 'static {
    /// What it can send.
    type Content: Send + Sync + 'static;

    /// One attempt. The same content is sent in the same bytes on every attempt; `now` is the attempt's time.
    fn send(&self, content: &Self::Content, now: UnixSeconds) -> impl Future<Output = Outcome> + Send;
}

/// Messages read from the journal for one receiver.
#[derive(Clone, Debug)]
pub struct Batch<C> {
    /// Those after the place asked for, in their order; at most as many as asked for.
    pub messages: Vec<Message<C>>,
    /// Up to here there are no others for this receiver; at least the last message's place.
    pub through: Place,
    /// Reading stopped at a bound: there is more to be read at once.
    pub more: bool,
}

/// What a person has a receiver do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Attempt everything again, from where it stopped.
    Resume,
    /// Send everything from a place on again.
    Replay(Place),
    /// Give one message up that the receiver rejects.
    Skip {
        /// Which.
        place: Place,
        /// Why, as the person gives it.
        reason: String,
    },
}

/// Where messages come from and positions are kept: the journal.
pub trait Outbox: Send + Sync + 'static {
    /// What its messages hold.
    type Content: Clone + Send + Sync + 'static;
    /// Why it could not read or store.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The durable messages after a place, at most `max`, at least one. Cheap where there are none.
    ///
    /// # Errors
    /// The journal could not be read; it is asked again.
    fn after(&self, place: Place, max: usize) -> Result<Batch<Self::Content>, Self::Error>;

    /// The last durable record.
    fn newest(&self) -> Sequence;

    /// Where a receiver stands; `None` if it is new.
    ///
    /// # Errors
    /// It could not be read; it is asked again.
    fn position(&self, receiver: &str) -> Result<Option<Position>, Self::Error>;

    /// Keeps where a receiver stands. Nobody waits for the disk.
    ///
    /// # Errors
    /// It was not kept; what has been sent since the last one may be sent again.
    fn store_position(&self, receiver: &str, position: &Position) -> Result<(), Self::Error>;

    /// Whether this very request of a person's was kept as an order before. Waits for the disk.
    ///
    /// # Errors
    /// Its key was used for another request, or it could not be read.
    fn is_repeated(&self, by: &Author) -> Result<bool, Self::Error>;

    /// Keeps an order with where the receiver stands once it is carried out. Returns when both are durable.
    ///
    /// # Errors
    /// It was not kept, or nobody can say whether it was.
    fn store_order(&self, receiver: &str, order: &Order, position: &Position, by: &Author) -> Result<(), Self::Error>;
}
