//! The outbox: derives receivers' messages from the journal's records, and keeps receivers' positions.
//!
//! There is no queue beside the journal. Each read builds a message anew from its record and the earlier records of the
//! same subject, so its bytes are the same on every attempt, and after every restart under the same settings. `events`
//! and `notices` derive messages purely; this file reads the records and keeps positions as cursors of the journal. The
//! journal keeps every record that a receiver has not accepted.

pub mod debits;
pub mod events;
pub mod history;
pub mod instructions;
pub mod notices;

use std::ops::ControlFlow;
use std::sync::Arc;

use compact_str::CompactString;
use tapgate_engine::fact::cursor::POSITION_BYTES_MAX;
use tapgate_engine::fact::{Author, Record};
use tapgate_engine::ids::Sequence;
use tapgate_engine::journal::Durability;
use tapgate_engine::ledger::{Change, ChangeError, CursorChange, Ledger};
use tapgate_engine::store::StoreError;

use self::history::{History, Subject};
use crate::clock::Clock;
use crate::delivery::worker::{REASON_BYTES_MAX, WINDOW};
use crate::delivery::{Batch, Message, Order, Outbox, Place, Position};

/// Records per read, a few milliseconds: no receiver holds the deliveries' thread for longer.
const RECORDS_MAX: usize = 1_000;

/// The version of a position's encoding. Version 1 ended before the rejected message.
const POSITION_VERSION: u8 = 2;

// A place takes at most 13 bytes, each of the three troubles a time and a reason.
const _: () = assert!(WINDOW * 13 + 3 * (REASON_BYTES_MAX + 16) + 128 <= POSITION_BYTES_MAX);

/// The messages of one kind of receiver.
pub trait Telling: Send + Sync + 'static {
    /// The content of a message.
    type Content: Clone + Send + Sync + 'static;

    /// The subject of the record at `sequence`; `None` if no receiver of the kind wants it.
    fn subject(&self, sequence: Sequence, record: &Record) -> Option<Subject>;

    /// The messages of a history's newest record, in order. Their part numbers do not depend on the receiver.
    fn tell(&self, history: &History) -> Vec<Told<Self::Content>>;
}

/// One message of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<C> {
    /// The message's number within its record.
    pub part: u16,
    /// Messages of one lane keep their order.
    pub lane: Option<CompactString>,
    /// The kind of event or notice, for people.
    pub kind: &'static str,
    pub content: C,
}

/// Reasons why messages could not be read or a position could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The journal could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The journal failed while it wrote an order.
    #[error("the journal failed: nobody can say whether the order was kept")]
    Unknown,
    /// A stored position cannot be read.
    #[error(
        "the position of receiver {receiver} was not written by this version ({reason}): start the version that wrote \
         it, or give the receiver another name, which then begins at the journal's end"
    )]
    Position {
        /// The receiver's name.
        receiver: String,
        /// The fault in the stored bytes.
        reason: String,
    },
}

/// The journal as one kind of receiver reads it.
pub struct LedgerOutbox<T> {
    ledger: Arc<Ledger>,
    clock: Arc<Clock>,
    telling: T,
}

impl<T: Telling> LedgerOutbox<T> {
    pub fn new(ledger: Arc<Ledger>, clock: Arc<Clock>, telling: T) -> LedgerOutbox<T> {
        LedgerOutbox { ledger, clock, telling }
    }

    /// The messages of one record.
    fn told(&self, sequence: Sequence, record: Record) -> Result<Vec<Message<T::Content>>, StoreError> {
        let Some(subject) = self.telling.subject(sequence, &record) else { return Ok(Vec::new()) };
        let at = record.at;
        let history = match History::read(&self.ledger, &subject, sequence, record) {
            Err(error @ StoreError::Quarantined(_)) => {
                tracing::warn!(record = sequence.0, %error, "receivers are not told: what the record builds on is not known");
                return Ok(Vec::new());
            }
            history => history?,
        };
        let message = |told: Told<T::Content>| {
            let Told { part, lane, kind, content } = told;
            Message { place: Place { record: sequence, part }, lane, at, kind, content }
        };
        Ok(self.telling.tell(&history).into_iter().map(message).collect())
    }
}

impl<T: Telling> Outbox for LedgerOutbox<T> {
    type Content = T::Content;
    type Error = OutboxError;

    fn after(&self, place: Place, max: usize) -> Result<Batch<T::Content>, OutboxError> {
        let newest = self.newest();
        let mut batch = Batch { messages: Vec::new(), through: place, more: false };
        if place >= Place::end_of(newest) {
            return Ok(batch);
        }
        let mut read = 0;
        let mut failed = None;
        // The place's own record may hold further messages.
        self.ledger.records(place.before_record(), &mut |sequence, record| {
            batch.more = read == RECORDS_MAX;
            if sequence > newest || batch.more {
                return ControlFlow::Break(());
            }
            read += 1;
            match self.told(sequence, record) {
                Ok(messages) => {
                    for message in messages.into_iter().filter(|message| message.place > place) {
                        if batch.messages.len() >= max {
                            batch.more = true;
                            return ControlFlow::Break(());
                        }
                        batch.through = message.place;
                        batch.messages.push(message);
                    }
                    batch.through = Place::end_of(sequence);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        match failed {
            // The messages read so far are sent; the next read tries the rest again.
            Some(error) if batch.messages.is_empty() => Err(error.into()),
            _ => Ok(batch),
        }
    }

    fn newest(&self) -> Sequence {
        self.ledger.journal().durable()
    }

    fn position(&self, receiver: &str) -> Result<Option<Position>, OutboxError> {
        let Some(bytes) = self.ledger.cursor(receiver) else { return Ok(None) };
        let unreadable = |reason: String| OutboxError::Position { receiver: receiver.to_owned(), reason };
        let read = |bytes: &[u8]| postcard::from_bytes(bytes).map(Some).map_err(|error| unreadable(error.to_string()));
        match bytes.split_first() {
            Some((&POSITION_VERSION, rest)) => read(rest),
            // Without a rejected message: one byte of zero.
            Some((1, rest)) => read(&[rest, &[0]].concat()),
            Some((version, _)) => Err(unreadable(format!("version {version}"))),
            None => Err(unreadable("it is empty".to_owned())),
        }
    }

    fn store_position(&self, receiver: &str, position: &Position) -> Result<(), OutboxError> {
        // Not waited for: deliveries whose position a crash loses are sent again.
        self.ledger.move_cursor(receiver, bytes(receiver, position)?, self.clock.now())?;
        Ok(())
    }

    fn is_repeated(&self, by: &Author) -> Result<bool, OutboxError> {
        Ok(self.ledger.is_repeated(by, self.clock.now())?)
    }

    fn store_order(&self, receiver: &str, order: &Order, position: &Position, by: &Author) -> Result<(), OutboxError> {
        let (name, position) = (receiver.into(), bytes(receiver, position)?);
        let change = match order {
            Order::Resume | Order::Replay(_) => CursorChange::Move { name, position },
            Order::Skip { place, reason } => {
                CursorChange::Skip { name, message: place.message_id().into(), reason: reason.into(), position }
            }
        };
        let receipt = self.ledger.change(by, Change::Cursor(change), self.clock.now())?;
        match receipt.ticket.map(|ticket| self.ledger.journal().block_on(&ticket)) {
            Some(Durability::Failed) => Err(OutboxError::Unknown),
            _ => Ok(()),
        }
    }
}

fn bytes(receiver: &str, position: &Position) -> Result<Vec<u8>, OutboxError> {
    let unwritable =
        |error: postcard::Error| OutboxError::Position { receiver: receiver.to_owned(), reason: error.to_string() };
    postcard::to_stdvec(&(POSITION_VERSION, position)).map_err(unwritable)
}

#[cfg(test)]
mod tests;
