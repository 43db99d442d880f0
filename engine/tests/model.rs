//! The ledger against the naive model, and against itself from several threads.

use proptest::collection::vec;
use proptest::prelude::*;
use tapgate_engine::testing::{cases, run_script};

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(1000), max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_decides_as_the_model_does(bytes in vec(any::<u8>(), 0..600)) {
        run_script(&bytes);
    }
}
