//! Operations on the ledger, against the model and a store that fails.

/// Reads the bytes as a script of operations; any disagreement between ledger and model panics.
pub fn check(data: &[u8]) {
    tapgate_engine::testing::run_script(data);
}
