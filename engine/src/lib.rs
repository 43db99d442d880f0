//! The pure core of tapgate: what is decided, recorded and recovered, without network, JSON, wall clock or
//! randomness.
//!
//! Its modules are floors, and every arrow between them points down: `testing`, [`recovery`] → [`ledger`] → [`rules`] →
//! [`rows`] → [`fact`] → [`journal`] → [`store`], [`contract`], [`person`] → the ground ([`money`], [`country`], [`ids`],
//! [`time`], [`tree`], text, bytes).
//!
//! Start at [`ledger::Ledger`]: it decides requests and changes, writes each as a [`fact::Record`] to the
//! [`journal::Journal`], and is itself nothing but the fold of that journal:
//!
//! ```
//! # use std::sync::Arc;
//! # use tapgate_engine::{fact::*, journal::Durability, ledger::*, money::*, rows::*, time::*, testing::MemoryStore};
//! let store = MemoryStore::new();
//! let fail_stop = Box::new(|error| panic!("the journal failed: {error}"));
//! let ledger = Ledger::start(store, State::default(), Policy::default(), 7, fail_stop)?;
//!
//! let tap = Request {
//!     id: "auth_1".parse()?, kind: Kind::Authorization, original: None,
//!     user: "12345".parse()?, card: "card_9".parse()?, amount: Minor(12_50), currency: Currency::EUR,
//!     settlement_amount: None, settlement_currency: None, partial_approval_allowed: false,
//!     merchant: Merchant::default(), channel: Channel::Pos, currency_given: None,
//! };
//! let now = Moment { at: UnixMillis(1_768_659_501_000), trusted: true };
//! let submission = ledger.submit(tap, now)?;
//! let durability = submission.ticket.clone().map_or(Durability::Durable, |ticket| ticket.block());
//! let reply = submission.reply_when(durability).expect("the decision is on disk before its answer");
//! assert_eq!(reply.outcome, Some(Outcome::Declined(Reason::UnknownUser)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests wait for real threads and real time"))]

pub mod bytes;
pub mod contract;
pub mod country;
pub mod fact;
pub mod ids;
pub mod journal;
pub mod ledger;
pub mod money;
pub mod person;
pub mod recovery;
pub mod rows;
pub mod rules;
pub mod store;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod time;
pub mod tree;
