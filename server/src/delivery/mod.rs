//! Deliveries: what happened here is told to the partner's own systems, and treasury's alerts to people.
//!
//! Each receiver has a tail of the journal. `tail` is the state machine that decides what is sent next, what waits
//! behind what, and when to give up until a person looks; it knows neither a network nor a clock. `worker` runs one
//! tail: it reads messages from the [`Outbox`], lets its [`Receiver`] send them, and stores how far it is. Nothing is
//! ever dropped: what is not accepted stays in the journal, behind the stored position.
//!
//! At least once: whoever receives judges a repetition by the message's id, which is the same on every attempt.

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
