//! Deliveries: events for the partner's systems, and treasury's alerts for people.
//!
//! Each receiver has a tail of the journal. `tail` is the state machine: it orders the attempts and decides when a
//! receiver is parked until a person resumes it. It knows neither network nor clock. `worker` runs one tail: it reads
//! messages from the [`Outbox`], has the [`Receiver`] send them and stores the position. Nothing is dropped: a message
//! that is not accepted stays in the journal, behind the stored position.
//!
//! Delivery is at least once: a receiver recognises a repetition by the message's id, which every attempt repeats.

pub mod channel;
pub mod message;
mod meters;
pub mod outbox;
pub mod receivers;
pub mod schedule;
pub mod settings;
pub mod tail;
pub mod worker;

pub use message::event::{Event, EventKind};
pub use message::notice::{Notice, NoticeKind};
pub use message::{Batch, Message, Order, Outbox, Outcome, Place, Receiver};
pub use tail::Position;

#[cfg(test)]
mod tests;
