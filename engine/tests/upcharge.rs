//! Holds that are larger than what was approved: the tip at a restaurant, the fuel of a pump.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected stops"
)]

use tapgate_engine::fact::{
    Decided, Flow, FundingPolicy, HoldUpcharge, Import, Kind, Merchant, Progress, Reason, Request, Verdict,
};
use tapgate_engine::ledger::{Change, Policy};
use tapgate_engine::money::{Currency, Minor};
use tapgate_engine::rows::Outcome;
use tapgate_engine::rules::explain;
use tapgate_engine::testing::MemoryStore;

use crate::world::{self, World, at, movement, naming, tap};

const RESTAURANT: Option<u16> = Some(5_812);
const SHOP: Option<u16> = Some(5_411);

/// A world that holds a fifth more at restaurants.
fn world() -> World {
    world_funded_by(FundingPolicy::Crypto)
}

fn world_funded_by(funding: FundingPolicy) -> World {
    world_with(Policy { funding, ..Policy::default() })
}

fn world_with(policy: Policy) -> World {
    let hold_upcharge = vec![HoldUpcharge { mcc: 5_812, percent: 20 }];
    World::with_policy(MemoryStore::new(), Policy { hold_upcharge, ..policy })
}

fn at_merchant(mcc: Option<u16>, id: &str, amount: i64) -> Request {
    Request { merchant: Merchant { mcc, ..Merchant::default() }, ..tap(id, amount) }
}

fn of_parent(kind: Kind, id: &str, amount: i64) -> Request {
    Request { kind, original: Some("a1".parse().unwrap()), ..tap(id, amount) }
}

/// A world with a restaurant's authorization of 10.00 EUR.
fn after_a_dinner() -> World {
    let world = world();
    let answered = world.durable(at_merchant(RESTAURANT, "a1", 1_000));
    assert!(matches!(answered, Outcome::Approved { amount: Minor(1_000), .. }), "{answered:?}: as asked");
    world
}

impl World {
    /// The pool's available and upcharged amounts, and what is held of the user's funds.
    fn upcharged(&self) -> (i64, i64, i64) {
        let pool = self.ledger.pool(Currency::EUR).unwrap();
        (pool.available.0, pool.upcharged.0, self.user().funds.unwrap().held.0)
    }

    fn take(&self, hash: &str, progress: Progress, amount: i64) {
        let posting = naming(&movement(hash, Flow::Out, progress, amount), "a1");
        self.ledger.post(&posting, at(100)).unwrap();
    }

    fn breaks(&self) -> Vec<String> {
        let open = self.ledger.open_breaks();
        let of = open.iter().map(|found| &found.discrepancy);
        of.map(|found| format!("{} {} {}", found.kind.name(), found.ours, found.theirs)).collect()
    }
}

#[test]
fn more_is_held_than_was_approved_and_no_report_gives_it_back() {
    let world = after_a_dinner();
    assert_eq!(world.upcharged(), (98_800, 200, 1_200));
    let Decided { verdict: Verdict::Approved(approval), .. } = world.last_decision() else { panic!("declined") };
    assert_eq!(approval.limit.0, 945, "of the limit it takes what was approved");
    // UR knows of 10.00 EUR: neither its report nor a person's includes the tip.
    let through = world.ledger.journal().claimed();
    world.ledger.sync_pool(Currency::EUR, Minor(100_000), through, at(100)).unwrap();
    assert_eq!(world.upcharged(), (98_800, 200, 1_200));
    world.change(world::report(Currency::EUR, 99_000, 0)).unwrap();
    assert_eq!(world.upcharged(), (98_800, 200, 1_200));
    world.durable(at_merchant(SHOP, "a2", 1_000));
    assert_eq!(world.upcharged(), (97_800, 200, 2_200), "a shop adds nothing");
}

#[test]
fn a_tip_that_a_report_includes_before_ur_shows_it_is_no_drift() {
    let synced = |world: &World, balance: i64| {
        let through = world.ledger.journal().claimed();
        world.ledger.sync_pool(Currency::EUR, Minor(balance), through, at(100)).unwrap().1
    };
    let world = after_a_dinner();
    assert_eq!(synced(&world, 98_800), Minor::ZERO, "the bill and all that was held for the tip");
    world.take("h", Progress::Completed, 1_200);
    assert_eq!(synced(&world, 98_800), Minor::ZERO);
    assert_eq!(world.upcharged(), (98_800, 0, 1_200));
    let world = after_a_dinner();
    assert_eq!(synced(&world, 98_790), Minor(-10), "more than was held");
}

#[test]
fn the_percentage_of_a_card_check_is_that_of_what_follows_it() {
    let world = world_with(Policy { zero_amount_holds: 0, ..Policy::default() });
    world.durable(at_merchant(RESTAURANT, "a1", 0));
    world.durable(of_parent(Kind::Incremental, "i1", 1_000));
    assert_eq!(world.upcharged(), (98_800, 200, 1_200));
}

#[test]
fn the_tip_is_taken_and_debited_and_the_rest_is_free() {
    let world = after_a_dinner();
    world.take("h", Progress::Pending, 1_150);
    assert_eq!(world.upcharged(), (98_800, 50, 1_200), "of the tip 1.50 EUR are known");
    world.take("h", Progress::Completed, 1_150);
    assert_eq!(world.upcharged(), (98_850, 0, 1_150));
    assert!(world.breaks().is_empty(), "it was held for it");
}

#[test]
fn a_tip_of_its_own_is_covered_until_it_is_taken_or_refused() {
    for (last, expected) in [(Progress::Completed, (98_850, 0, 1_150)), (Progress::Rejected, (99_000, 0, 1_000))] {
        let world = after_a_dinner();
        world.take("bill", Progress::Pending, 1_000);
        world.take("tip", Progress::Pending, 150);
        assert_eq!(world.upcharged(), (98_800, 50, 1_200));
        world.take("bill", Progress::Completed, 1_000);
        assert_eq!(world.upcharged(), (98_850, 150, 1_150), "UR is about to take it");
        world.take("tip", last, 150);
        assert_eq!(world.upcharged(), expected, "{last:?}");
    }
    let world = after_a_dinner();
    world.take("bill", Progress::Completed, 1_000);
    world.take("tip", Progress::Pending, 150);
    world.ledger.expire(&"a1".parse().unwrap(), at(200)).unwrap();
    assert_eq!(world.upcharged(), (99_000, 0, 1_000), "nobody waits for ever");
}

#[test]
fn who_takes_what_was_approved_leaves_the_upcharge_and_who_takes_more_opens_a_break() {
    let world = after_a_dinner();
    world.take("h", Progress::Completed, 1_000);
    assert_eq!(world.upcharged(), (99_000, 0, 1_000));
    let world = after_a_dinner();
    world.take("h", Progress::Completed, 1_250);
    assert_eq!(world.upcharged(), (98_750, 0, 1_250));
    assert_eq!(world.breaks(), ["amount_mismatch 1000 EUR 1250 EUR"]);
    let world = after_a_dinner();
    world.take("h", Progress::Completed, 1_210);
    assert!(world.breaks().is_empty(), "UR's conversion explains what is beyond the tip");
}

#[test]
fn a_part_that_is_taken_leaves_the_whole_upcharge_and_a_part_given_back_its_share() {
    let world = after_a_dinner();
    world.take("h", Progress::Completed, 400);
    assert_eq!(world.upcharged(), (98_800, 200, 1_200));
    world.take("i", Progress::Completed, 600);
    assert_eq!(world.upcharged(), (99_000, 0, 1_000));
    let world = after_a_dinner();
    world.durable(of_parent(Kind::Advice, "r1", 500));
    assert_eq!(world.upcharged(), (99_400, 100, 600));
    world.durable(of_parent(Kind::Reversal, "r2", 500));
    assert_eq!(world.upcharged(), (100_000, 0, 0));
}

#[test]
fn a_release_frees_the_upcharge() {
    let world = after_a_dinner();
    let release = Change::Release { root: "a1".parse().unwrap(), reason: "the guest left".into() };
    world.change(release).unwrap();
    assert_eq!(world.upcharged(), (100_000, 0, 0));
}

#[test]
fn an_increment_without_a_merchant_is_its_authorizations() {
    let world = after_a_dinner();
    world.durable(of_parent(Kind::Incremental, "i1", 500));
    assert_eq!(world.upcharged(), (98_200, 300, 1_800));
    world.durable(Request {
        merchant: Merchant { mcc: SHOP, ..Merchant::default() },
        ..of_parent(Kind::Incremental, "i2", 100)
    });
    assert_eq!(world.upcharged(), (98_100, 300, 1_900));
}

#[test]
fn what_does_not_cover_the_upcharge_declines_and_says_so() {
    for (balance, funds, expected) in [
        (1_200, 1_200, None),
        (1_199, 1_200, Some(Reason::PoolExhausted)),
        (1_200, 1_199, Some(Reason::InsufficientUserFunds)),
    ] {
        let world = world();
        world.change(world::report(Currency::EUR, balance, 0)).unwrap();
        world.change(world::funds(funds, 1, &[])).unwrap();
        let answered = world.durable(at_merchant(RESTAURANT, "a1", 1_000));
        let declined = match answered {
            Outcome::Declined(reason) => Some(reason),
            _ => None,
        };
        assert_eq!(declined, expected, "{balance} {funds}");
        let Decided { request, inputs, .. } = world.last_decision();
        let explanation = explain(&request, &inputs);
        let values = explanation.sources[0].rungs.iter().flat_map(|rung| &rung.values);
        let shown: Vec<&str> =
            values.filter(|(name, _)| *name == "upcharge").map(|(_, value)| value.as_str()).collect();
        assert!(!shown.is_empty() && shown.iter().all(|value| value.starts_with('2')), "{shown:?}");
    }
}

#[test]
fn a_users_own_balance_holds_the_upcharge() {
    let world = world_funded_by(FundingPolicy::Fiat);
    let mut import = Import { funding: Some(FundingPolicy::Fiat), ..world::import() };
    import.fiat.iter_mut().for_each(|balance| balance.amount = Minor(1_200));
    world.change(Change::ImportUser(Box::new(import))).unwrap();
    let available = || world.user().fiat_in(Currency::EUR).unwrap().available().0;
    assert!(matches!(world.durable(at_merchant(RESTAURANT, "a1", 1_000)), Outcome::Approved { .. }));
    assert_eq!(available(), 0);
    world.take("h", Progress::Completed, 1_100);
    assert_eq!(available(), 100);
    let declined = world.durable(at_merchant(RESTAURANT, "a2", 100));
    assert_eq!(declined, Outcome::Declined(Reason::InsufficientUserFunds), "1.20 EUR are needed");
    assert!(matches!(world.durable(at_merchant(SHOP, "a3", 100)), Outcome::Approved { .. }));
}
