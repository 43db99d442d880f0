use proptest::prelude::*;
use tapgate_engine::ids::{AuthorizationId, UrId};
use tapgate_engine::ledger::Change;
use tapgate_engine::money::{Currency, Minor, Money};
use tapgate_engine::store::{Store, Table};
use tapgate_engine::testing::{MemoryStore, cases};
use tapgate_engine::time::{UnixMillis, UnixSeconds};

use super::*;
use crate::treasury::follow::tests::{GUEST, HOUR_MS, MONDAY, World, dining, moment};

fn transaction() -> Transaction {
    Transaction {
        user: "12345".parse().unwrap(),
        kind: "CRD".to_owned(),
        amount: Minor(1_250),
        currency: Currency::EUR,
        direction: Direction::Out,
        status: Status::Completed,
        at: UnixSeconds(1_000_300),
        hash: "0xAB".to_owned(),
        mcc: Some(5_812),
        title: Some("Café".to_owned()),
        partner_reference: Some("auth_7Q2".to_owned()),
        reference: Some("r".to_owned()),
        charged_in: None,
    }
}

#[test]
fn a_transaction_becomes_a_posting_with_all_that_matching_needs() {
    let posting = posting(&transaction());
    assert_eq!((posting.progress, posting.flow, posting.mcc), (Progress::Completed, Flow::Out, Some(5_812)));
    assert_eq!((posting.hash.as_str(), posting.merchant.as_deref()), ("0xAB", Some("Café")));
    assert_eq!(posting.references.as_slice(), ["auth_7Q2", "r"]);
    assert_eq!(posting.awaits.as_ref().map(AuthorizationId::as_str), Some("auth_7Q2"));
    let other = super::posting(&Transaction { partner_reference: None, ..transaction() });
    assert_eq!((other.references.as_slice(), other.awaits), (["r".into()].as_slice(), None), "only UR's partnerRefId");
}

#[test]
fn a_status_that_is_not_understood_shows_the_movement() {
    let shown = posting(&Transaction { status: Status::Unknown, ..transaction() });
    assert_eq!((shown.progress, shown.amount.amount), (Progress::Shown, Minor(1_250)));
}

#[test]
fn movements_of_another_kind_than_a_cards_are_counted_only() {
    let world = World::new(1, false);
    world.report(MONDAY, 1_000_000, 0);
    let own = Transaction { user: "u0".parse().unwrap(), partner_reference: None, reference: None, ..transaction() };
    let kinds = ["P2P", "FRX", "CTU", "CTF", "ONR", "CDP", "CWP", "CWD", "PAY", "CSH", "PIN", "POU", "UNKNOWN", ""];
    for kind in kinds {
        let other = Transaction { kind: kind.to_owned(), ..own.clone() };
        assert!(matches!(apply(&world.ledger, &other, moment(MONDAY)), Ok(Applied::NotOurs)), "{kind}");
    }
    assert!(matches!(apply(&world.ledger, &own, moment(MONDAY)), Ok(Applied::Booked(_))));
    world.ledger.journal().close();
}

#[test]
fn without_a_hash_the_reference_names_the_movement_else_its_time() {
    let bare = Transaction { hash: String::new(), ..transaction() };
    assert_eq!(posting(&bare).hash, "reference:auth_7Q2");
    let changed = Transaction { amount: Minor(999), status: Status::Pending, ..bare.clone() };
    assert_eq!(posting(&changed).place(), posting(&bare).place(), "an amount may change until it is settled");
    let nameless = Transaction { partner_reference: None, reference: None, ..bare };
    assert_eq!(posting(&nameless).hash, "time:1000300");
}

#[test]
fn rows_of_one_status_and_amount_are_numbered() {
    let mut answer = Answer::default();
    let mut next = |transaction: &Transaction| answer.number(posting(transaction)).ordinal;
    assert_eq!([next(&transaction()), next(&transaction())], [0, 1]);
    for other in [
        Transaction { amount: Minor(1), ..transaction() },
        Transaction { status: Status::Pending, ..transaction() },
        Transaction { direction: Direction::In, ..transaction() },
        Transaction { hash: "0xac".to_owned(), ..transaction() },
    ] {
        assert_eq!(next(&other), 0, "{other:?}");
    }
    let same = Transaction { hash: "0xab".to_owned(), at: UnixSeconds(1_000_301), ..transaction() };
    assert_eq!(next(&same), 2, "neither the case of a hash nor UR's time tells rows apart");
    let other = Transaction { reference: Some("other".to_owned()), ..transaction() };
    assert_eq!(next(&other), 3, "nor does a reference: they share one");
}

const RULES: Settings = Settings {
    first_look_seconds: 300,
    silence_seconds: 86_400,
    expiry_seconds: 864_000,
    long_expiry_seconds: 2_592_000,
    return_after_seconds: 259_200,
    tolerance: Tolerance { drift_bps: 200 },
};
const DAY_MS: u64 = 24 * HOUR_MS;

/// A ledger with one hold of 1,000 on Monday.
fn holding() -> World {
    let world = World::new(1, true);
    world.report(MONDAY, 100_000, 0);
    world.tap(MONDAY, 1, 0, 1_000);
    world.drained();
    world
}

fn days(days: u64) -> Moment {
    moment(UnixMillis(MONDAY.0 + days * DAY_MS))
}

/// UR shows the hold's movement.
fn show(world: &World, status: Status, day: u64) {
    let shown = Transaction {
        user: "u0".parse().unwrap(),
        amount: Minor(1_000),
        status,
        at: days(0).at.seconds(),
        partner_reference: Some("a1".to_owned()),
        reference: None,
        ..transaction()
    };
    assert!(matches!(apply(&world.ledger, &shown, days(day)), Ok(Applied::Booked(_))));
    world.drained();
}

fn expire(world: &World, day: u64) -> usize {
    let ended = expiry::expire_by_time(&world.ledger, &"u0".parse().unwrap(), &RULES, days(day)).unwrap();
    world.drained();
    ended
}

fn held(world: &World) -> Minor {
    world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap().held().amount
}

fn breaks(world: &World) -> Vec<&'static str> {
    world.ledger.open_breaks().iter().map(|found| found.discrepancy.kind.name()).collect()
}

#[test]
fn where_ur_is_never_asked_a_hold_ends_by_time_and_a_break_says_so() {
    let world = holding();
    assert_eq!((expire(&world, 9), held(&world)), (0, Minor(1_000)), "silence says nothing where nobody asks");
    assert_eq!((expire(&world, 10), held(&world)), (1, Minor(0)));
    assert_eq!(breaks(&world), ["missing_at_provider"]);
    assert_eq!(world.ledger.waiting_users(), [], "nothing is left to wait for");
}

#[test]
fn what_is_pending_at_expiry_is_a_break_and_ends_one_period_later() {
    for (status, kind) in [(Status::Pending, "timing"), (Status::Unknown, "status_conflict")] {
        let world = holding();
        show(&world, status, 1);
        assert_eq!((expire(&world, 9), breaks(&world)), (0, vec![]), "{status:?}");
        assert_eq!((expire(&world, 10), held(&world)), (0, Minor(1_000)), "{status:?}");
        assert_eq!(breaks(&world), [kind]);
        assert_eq!((expire(&world, 20), held(&world)), (1, Minor(0)), "{status:?}");
    }
}

#[test]
fn a_tip_that_stays_pending_when_the_bill_was_taken_ends_too() {
    let world = dining(true);
    let guest: UrId = format!("u{GUEST}").parse().unwrap();
    world.report(MONDAY, 100_000, 0);
    world.tap(MONDAY, 1, GUEST, 1_000);
    world.drained();
    for (hash, amount, status) in [("0xb1", 1_000, Status::Completed), ("0x71", 150, Status::Pending)] {
        let shown = Transaction {
            user: guest.clone(),
            hash: hash.into(),
            amount: Minor(amount),
            status,
            at: days(0).at.seconds(),
            partner_reference: Some("a1".to_owned()),
            reference: None,
            ..transaction()
        };
        assert!(matches!(apply(&world.ledger, &shown, days(1)), Ok(Applied::Booked(_))));
        world.drained();
    }
    let upcharged = || world.ledger.pool(Currency::EUR).unwrap().upcharged;
    for (day, left) in [(10, 150), (19, 150), (20, 0)] {
        expiry::expire_by_time(&world.ledger, &guest, &RULES, days(day)).unwrap();
        world.drained();
        assert_eq!(upcharged(), Minor(left), "day {day}");
    }
}

#[test]
fn a_hold_that_ur_showed_once_is_not_given_up_for_silence() {
    let world = holding();
    let open = |world: &World| expiry::open(&world.ledger, &"u0".parse().unwrap()).unwrap().remove(0);
    let due = |world: &World, day| open(world).due(&RULES, expiry::Listed::Completely, days(day).at.seconds());
    assert_eq!((due(&world, 0), due(&world, 1)), (expiry::Due::At(days(1).at.seconds()), expiry::Due::Over));
    for status in [Status::Unknown, Status::Pending] {
        show(&world, status, 0);
        assert_eq!(due(&world, 1), expiry::Due::At(days(10).at.seconds()), "{status:?}");
        assert_eq!(due(&world, 10), expiry::Due::Unsettled(days(20).at.seconds()), "{status:?}");
    }
}

#[test]
fn a_movement_that_stands_alone_is_debited_once_no_hold_may_be_meant() {
    let world = holding();
    let shown = Transaction {
        user: "u0".parse().unwrap(),
        amount: Minor(77_700),
        at: days(0).at.seconds(),
        partner_reference: None,
        reference: None,
        ..transaction()
    };
    let Ok(Applied::Booked(posted)) = apply(&world.ledger, &shown, days(0)) else { panic!("a new movement") };
    world.drained();
    let is_charged = || {
        let row = world.ledger.find(&posted.root).unwrap().unwrap().authorization.unwrap();
        row.settlement().is_charged
    };
    assert_eq!((expire(&world, 1), is_charged()), (0, false), "the hold may be meant");
    assert_eq!((expire(&world, 10), is_charged()), (1, true));
}

#[test]
fn where_ur_is_never_asked_a_users_row_does_not_grow() {
    const DAYS: u64 = 60;
    const TAPS_A_DAY: u32 = 10;
    let store = MemoryStore::new();
    let world = World::over(store.clone(), 1, true);
    let mut sizes = Vec::new();
    for (day, first) in (0..DAYS).zip((0_u32..).step_by(TAPS_A_DAY as usize)) {
        let ids = first..first + TAPS_A_DAY;
        let at = days(day).at;
        ids.clone().for_each(|id| world.tap(at, id, 0, 1_000));
        // The partner does all it can: it debits every tap, and reports the pool with all of them.
        let debited = ids.map(|id| format!("a{id}").parse().unwrap()).collect();
        let funds = Money { amount: Minor(1_000_000), currency: Currency::EUR };
        world.change(at, Change::ReplaceFunds { user: "u0".parse().unwrap(), funds, version: day + 1, debited });
        world.report(at, 1_000_000, 0);
        world.drained();
        expire(&world, day);
        if day % 20 == 19 {
            world.ledger.write_rows().unwrap();
            sizes.push(store.row(Table::Users, b"u0").unwrap().unwrap().len());
        }
    }
    let holds = world.ledger.user(&"u0".parse().unwrap()).unwrap().holds().len();
    assert!(holds <= 10 * TAPS_A_DAY as usize, "{holds} holds, although each ends after ten days");
    assert!(sizes.iter().all(|size| *size < 20_000) && sizes[2] <= sizes[1] * 11 / 10, "{sizes:?} bytes");
}

#[test]
fn a_row_is_read_beside_those_of_its_name_on_whatever_page_they_are() {
    let world = World::new(1, true);
    world.report(MONDAY, 100_000, 0);
    world.tap(MONDAY, 1, 0, 4_000);
    world.drained();
    let row = |amount: i64, status: Status, own: Option<&str>| Transaction {
        user: "u0".parse().unwrap(),
        amount: Minor(amount),
        status,
        at: days(0).at.seconds(),
        partner_reference: Some("a1".to_owned()),
        reference: own.map(str::to_owned),
        ..transaction()
    };
    let list = |rows: [Transaction; 2]| {
        apply_answer(&world.ledger, &rows, || days(1)).for_each(|applied| drop(applied.unwrap()));
        world.drained();
        world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap().captured().0
    };
    let settled = || row(308, Status::Completed, None);
    assert_eq!(list([row(300, Status::Pending, Some("own")), settled()]), 308);
    // Without the second, the first row would be taken for it.
    assert_eq!(list([row(308, Status::Completed, Some("own")), settled()]), 616);
}

/// UR's answers about several debits of one hold under one hash: each row's amount while it is pending and when it is
/// settled, how and in which answer it is settled, and whether it has a reference of its own beside the hold's id.
#[derive(Clone, Debug)]
struct Debit {
    pending: i64,
    settled: i64,
    is_refused: bool,
    settled_in: usize,
    is_referred: bool,
}

const ANSWERS: usize = 5;

/// Of an answer that does not break off.
const ALL: usize = usize::MAX;

fn debits() -> impl Strategy<Value = Vec<Debit>> {
    let amount = prop_oneof![3 => prop::sample::select(vec![300_i64, 500, 700]), 1 => 1_i64..900];
    let drift = prop::option::weighted(0.3, -9_i64..9);
    let debit = (amount, drift, prop::bool::weighted(0.2), 1..ANSWERS, any::<bool>()).prop_map(
        |(pending, drift, is_refused, settled_in, is_referred)| {
            let settled = if is_refused { pending } else { (pending + drift.unwrap_or(0)).max(1) };
            Debit { pending, settled, is_refused, settled_in, is_referred }
        },
    );
    prop::collection::vec(debit, 1..5)
}

/// Lists the rows in an order; the number of rows that said something new. An answer that breaks off shows so many.
fn list(world: &World, rows: &[Transaction], order: &[prop::sample::Index], shown: usize) -> usize {
    let mut rows = rows.to_vec();
    for (place, with) in order.iter().enumerate().take(rows.len()) {
        let with = with.index(rows.len());
        rows.swap(place, with);
    }
    rows.truncate(shown);
    let applied = apply_answer(&world.ledger, &rows, || days(1));
    let booked = applied.filter(|applied| matches!(applied, Ok(Applied::Booked(_)))).count();
    world.drained();
    booked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(192), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn debits_under_one_hash_are_each_booked_once_in_whatever_order_ur_lists_them(
        debits in debits(),
        orders in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 5), ANSWERS + 1),
        shown in 0_usize..5,
    ) {
        let world = World::new(1, true);
        world.report(MONDAY, 100_000, 0);
        world.tap(MONDAY, 1, 0, 4_000);
        world.drained();
        let rows = |answer: usize| -> Vec<Transaction> {
            let row = |(number, debit): (usize, &Debit)| {
                let (amount, status) = match (debit.settled_in <= answer, debit.is_refused) {
                    (false, _) => (debit.pending, Status::Pending),
                    (true, false) => (debit.settled, Status::Completed),
                    (true, true) => (debit.settled, Status::Rejected),
                };
                Transaction {
                    user: "u0".parse().unwrap(),
                    amount: Minor(amount),
                    status,
                    at: days(0).at.seconds(),
                    partner_reference: Some("a1".to_owned()),
                    reference: debit.is_referred.then(|| format!("own{number}")),
                    ..transaction()
                }
            };
            debits.iter().enumerate().map(row).collect()
        };
        for (answer, order) in orders.iter().enumerate() {
            list(&world, &rows(answer), order, shown);
            // The second settles which of two that are alike has completed.
            list(&world, &rows(answer), order, ALL);
            list(&world, &rows(answer), order, ALL);
            prop_assert_eq!(list(&world, &rows(answer), &orders[0], ALL), 0, "it is no news in another order");
        }
        let row = world.ledger.find(&"a1".parse().unwrap()).unwrap().unwrap().authorization.unwrap();
        let taken: i64 = debits.iter().filter(|debit| !debit.is_refused).map(|debit| debit.settled).sum();
        prop_assert_eq!(row.captured(), Minor(taken));
        prop_assert_eq!(row.settlement().movements.len(), debits.len());
        prop_assert!(breaks(&world).is_empty(), "UR contradicts nothing: {:?}", breaks(&world));
        let standing = tapgate_engine::rules::standing(&row, RULES.tolerance);
        prop_assert_eq!(standing.pending, Minor(0), "a debit is pending for ever");
    }
}
