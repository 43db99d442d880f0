//! The ledger against the naive model, and against itself from several threads.

use proptest::collection::vec;
use proptest::prelude::*;
use tapgate_engine::testing::{Operation, cases, run, run_script};

/// Of the scripts' merchants, the one whose approvals hold a fifth above the amount.
const RESTAURANT: u8 = 2;

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(1000), max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_decides_as_the_model_does(bytes in vec(any::<u8>(), 0..600)) {
        run_script(&bytes);
    }
}

/// The bill is taken, a tip is pending by itself: nothing of the approved amount is held, but the upcharge is.
#[test]
fn a_person_ends_the_upcharge_that_a_pending_tip_holds() {
    let (completed, pending, all_that_was_paid, a_tip) = (4, 1, 0, 104);
    run(&[
        Operation::Tap { id: 1, user: 0, amount: 1_000, currency: 0, mcc: RESTAURANT },
        Operation::Show { root: 1, hash: 0, is_out: true, status: completed, amount: all_that_was_paid },
        Operation::Show { root: 1, hash: 1, is_out: true, status: pending, amount: a_tip },
        Operation::Release { root: 1 },
        Operation::Release { root: 1 },
    ]);
}
