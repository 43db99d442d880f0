//! The pure core of tapgate: what is decided, recorded and recovered, without network, JSON, wall clock or
//! randomness.
//!
//! Start at [`ledger::Ledger`]: it decides requests and changes, writes each as a [`record::Record`] to the
//! [`journal::Journal`], and is itself nothing but the fold of that journal.

pub mod account;
pub mod alert;
pub mod authorization;
pub mod breaks;
pub mod closure;
pub mod controls;
pub mod cursor;
pub mod ids;
pub mod journal;
pub mod ledger;
pub mod limit;
pub mod money;
pub mod pool;
pub mod posting;
pub mod prefund;
pub mod pricing;
pub mod record;
pub mod recovery;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
