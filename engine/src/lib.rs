//! The pure core of tapgate: what is decided, recorded and recovered, without network, JSON, wall clock or
//! randomness.
//!
//! Its modules are floors, and every arrow between them points down: `testing`, [`recovery`] → [`ledger`] → [`rules`] →
//! [`rows`] → [`fact`] → [`journal`] → [`store`], [`contract`] → the ground ([`money`], [`ids`], [`time`], bytes).
//!
//! Start at [`ledger::Ledger`]: it decides requests and changes, writes each as a [`fact::Record`] to the
//! [`journal::Journal`], and is itself nothing but the fold of that journal.

pub mod bytes;
pub mod contract;
pub mod fact;
pub mod ids;
pub mod journal;
pub mod ledger;
pub mod money;
pub mod recovery;
pub mod rows;
pub mod rules;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
