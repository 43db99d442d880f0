//! The fold at the bounds of money: whatever the ledger accepted is recovered, and whatever no ledger wrote is refused by name.

use tapgate_engine::testing::{fold_anything, fold_extremes};

/// The first byte chooses: extreme inputs to a ledger whose journal is then folded, or records with any figures at all.
pub fn check(data: &[u8]) {
    let Some((choice, script)) = data.split_first() else { return };
    if choice % 2 == 0 { fold_extremes(script) } else { fold_anything(script) }
}
