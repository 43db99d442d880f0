//! The conditions of alerts: each is a pure function of observations and rules.

pub mod breaks;
pub mod declines;
pub mod findings;
pub mod floor;
pub mod gates;
pub mod hourly_cap;
pub mod journal;
pub mod ops_account;
pub mod pool_low;
pub mod prefund_refused;
pub mod prefunds;
pub mod reports;

use compact_str::{CompactString, format_compact};
use tapgate_engine::money::{Currency, Minor};

/// An amount in a fact: smallest units and the currency.
fn figure(amount: Minor, currency: Currency) -> CompactString {
    format_compact!("{amount} {currency}")
}

fn facts<const N: usize>(named: [(&'static str, CompactString); N]) -> Vec<(CompactString, CompactString)> {
    named.into_iter().map(|(name, value)| (CompactString::const_new(name), value)).collect()
}
