//! What a provider says about its own accounts, cards and card service.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected stops")]

use proptest::prelude::*;
use tapgate_engine::fact::{
    AccountStatus, AccountWord, Author, CardLimits, CardStatus, Channel, Controls, Import, ImportedCard, Kind, Period,
    Provider, ProviderSuspended, Reason, Request, VelocityRule,
};
use tapgate_engine::ids::UrId;
use tapgate_engine::ledger::{Change, ChangeError, Heard, Policy};
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::rows::Outcome;
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::time::UnixSeconds;

use crate::world::{START_SECONDS, World, at, author, history, import, tap};

const PARTNER: Provider = Provider::PartnerApi;

fn said(seconds: i64) -> UnixSeconds {
    UnixSeconds(START_SECONDS.cast_signed() + seconds)
}

fn of_partner() -> Change {
    Change::ImportUser(Box::new(Import { provider: Some(PARTNER), overrides: true, ..import() }))
}

/// The user is an account of the second provider.
fn world() -> World {
    let world = World::new();
    world.change(of_partner()).unwrap();
    world
}

fn word(suspended: bool, seconds: i64) -> ProviderSuspended {
    ProviderSuspended { provider: PARTNER, suspended, reason: "maintenance".into(), at: said(seconds) }
}

fn card(status: CardStatus) -> ImportedCard {
    ImportedCard { id: "card".parse().unwrap(), status, currency: Currency::EUR, single_use: None }
}

#[test]
fn a_suspended_provider_stops_its_own_cards_and_no_others() {
    let world = world();
    let other = Import {
        user: "other".parse().unwrap(),
        cards: vec![ImportedCard { id: "card_2".parse().unwrap(), ..card(CardStatus::Active) }],
        ..import()
    };
    world.change(Change::ImportUser(Box::new(other))).unwrap();
    world.ledger.suspend_provider(word(true, 5), at(9)).unwrap().unwrap();
    assert_eq!(world.durable(tap("a1", 100)), Outcome::Declined(Reason::ProviderSuspended));
    let of_ur = |id: &str| {
        let mut tap = tap(id, 100);
        (tap.user, tap.card) = ("other".parse().unwrap(), "card_2".parse().unwrap());
        tap
    };
    assert!(matches!(world.durable(of_ur("b1")), Outcome::Approved { .. }));
    // Repetitions, and what was said before, change nothing.
    assert!(world.ledger.suspend_provider(word(true, 5), at(9)).unwrap().is_none());
    assert!(world.ledger.suspend_provider(word(false, 4), at(9)).unwrap().is_none());
    world.ledger.suspend_provider(word(false, 6), at(9)).unwrap().unwrap();
    assert!(matches!(world.durable(tap("a2", 100)), Outcome::Approved { .. }));
    // A person's word is the latest, whatever the provider said before.
    let change = Change::SuspendProvider { provider: PARTNER, suspended: true, reason: "drill".into() };
    world.ledger.change(&author(), change, at(20)).unwrap();
    assert!(world.ledger.suspend_provider(word(false, 6), at(21)).unwrap().is_none());
    assert_eq!(world.durable(tap("a3", 100)), Outcome::Declined(Reason::ProviderSuspended));
    assert_eq!(world.ledger.program().suspension(PARTNER).unwrap().reason, "drill");
}

#[test]
fn a_suspension_that_arrives_after_its_end_suspends_nothing() {
    let world = world();
    world.ledger.suspend_provider(word(false, 6), at(9)).unwrap().unwrap();
    assert!(world.ledger.suspend_provider(word(true, 5), at(9)).unwrap().is_none());
    assert!(matches!(world.durable(tap("a1", 100)), Outcome::Approved { .. }));
}

#[test]
fn ur_speaks_for_its_own_accounts_only() {
    let world = world();
    let (user, card) = ("user".parse().unwrap(), "card".parse().unwrap());
    let unknown = |result: Result<_, ChangeError>| assert!(matches!(result, Err(ChangeError::NotFound { .. })));
    unknown(world.ledger.report_card(&card, CardStatus::Frozen, said(1), at(1)).map(drop));
    unknown(world.ledger.report_allowances(&user, vec![(Currency::EUR, false)], said(1), at(1)).map(drop));
    assert!(matches!(world.durable(tap("a1", 100)), Outcome::Approved { .. }));
    let is_of_another = |provider, request| world.ledger.is_of_another(provider, &request).unwrap();
    let back = |user: &str| Request {
        kind: Kind::Reversal,
        original: Some("a1".parse().unwrap()),
        user: user.parse().unwrap(),
        ..tap("r1", 100)
    };
    for (request, expected) in [
        (tap("a2", 100), true),
        (back("user"), true),
        (back("nobody"), true),
        (Request { original: None, ..back("nobody") }, false),
    ] {
        assert_eq!(is_of_another(Provider::Ur, request.clone()), expected, "{request:?}");
        assert!(!is_of_another(PARTNER, request));
    }
}

#[test]
fn a_provider_speaks_for_its_own_accounts_only() {
    let world = World::new();
    let user = "user".parse().unwrap();
    let heard = |heard: Heard| assert!(matches!(heard, Heard::NotOurs), "{heard:?}");
    heard(world.ledger.open_account(PARTNER, &user, at(1)).unwrap());
    heard(world.ledger.report_account(PARTNER, &user, AccountWord::Deleted, said(1), at(1)).unwrap());
    heard(world.ledger.report_issued_card(PARTNER, &user, &card(CardStatus::Deleted), said(1), at(1)).unwrap());
    heard(world.ledger.limit_card(PARTNER, &"card".parse().unwrap(), &CardLimits::default(), said(1), at(1)).unwrap());
    let new = ImportedCard { id: "card_9".parse().unwrap(), ..card(CardStatus::Active) };
    heard(world.ledger.issue_card(PARTNER, &user, &new, at(1)).unwrap());
    let stranger = "stranger".parse().unwrap();
    heard(world.ledger.issue_card(PARTNER, &stranger, &card(CardStatus::Active), at(1)).unwrap());
    assert!(world.ledger.user(&stranger).is_none(), "the card is another user's");
    assert!(matches!(world.durable(tap("a1", 100)), Outcome::Approved { .. }));
    assert_eq!(world.user().provider, Provider::Ur);
    // Nor does an import move an account unasked.
    let world = World::new();
    let moved = Change::ImportUser(Box::new(Import { provider: Some(PARTNER), ..import() }));
    assert!(matches!(world.change(moved), Err(ChangeError::Conflict(_))));
    world.change(of_partner()).unwrap();
    world.change(Change::ImportUser(Box::new(import()))).unwrap();
    assert_eq!(world.user().provider, PARTNER, "an import that names none keeps it");
}

#[test]
fn a_created_account_spends_nothing_until_it_is_imported() {
    let world = World::new();
    let user = "new".parse().unwrap();
    assert!(matches!(world.ledger.open_account(PARTNER, &user, at(1)).unwrap(), Heard::Recorded(_)));
    assert!(matches!(world.ledger.open_account(PARTNER, &user, at(2)).unwrap(), Heard::Known));
    let row = world.ledger.user(&user).unwrap();
    assert_eq!((row.status, row.provider, row.funds), (AccountStatus::Tourist, PARTNER, None));
    let new = ImportedCard { id: "card_9".parse().unwrap(), ..card(CardStatus::Active) };
    assert!(matches!(
        world.ledger.report_issued_card(PARTNER, &user, &new, said(1), at(2)).unwrap(),
        Heard::Recorded(_)
    ));
    let mut tap = tap("a1", 100);
    (tap.user, tap.card) = (user, new.id);
    assert_eq!(world.durable(tap), Outcome::Declined(Reason::AccountNotLive));
}

#[test]
fn an_accounts_first_event_may_overtake_its_creation() {
    let world = World::new();
    let [blocked, gone, issued] = ["blocked", "gone", "issued"].map(|id| id.parse().unwrap());
    let recorded = |heard: Heard| assert!(matches!(heard, Heard::Recorded(_)), "{heard:?}");
    recorded(world.ledger.report_account(PARTNER, &blocked, AccountWord::Suspended, said(1), at(1)).unwrap());
    recorded(world.ledger.report_account(PARTNER, &gone, AccountWord::Deleted, said(1), at(1)).unwrap());
    let new = ImportedCard { id: "card_9".parse().unwrap(), ..card(CardStatus::Active) };
    recorded(world.ledger.issue_card(PARTNER, &issued, &new, at(1)).unwrap());
    let status = |user| world.ledger.user(user).map(|row| (row.provider, row.status, row.cards.len()));
    for user in [&blocked, &gone, &issued] {
        assert!(matches!(world.ledger.open_account(PARTNER, user, at(2)).unwrap(), Heard::Known));
    }
    assert_eq!(status(&issued), Some((PARTNER, AccountStatus::Tourist, 1)));
    assert_eq!(status(&gone), Some((PARTNER, AccountStatus::Closed, 0)));
    let live = |user: &UrId| Change::ImportUser(Box::new(Import { user: user.clone(), cards: Vec::new(), ..import() }));
    world.change(live(&blocked)).unwrap();
    assert_eq!(status(&blocked), Some((PARTNER, AccountStatus::SoftBlocked, 0)), "its suspension still stands");
}

#[test]
fn an_import_does_not_lift_what_the_provider_said() {
    let world = world();
    let user = "user".parse().unwrap();
    let report = |word, seconds| world.ledger.report_account(PARTNER, &user, word, said(seconds), at(50)).unwrap();
    let again = |status, overrides| {
        world.change(Change::ImportUser(Box::new(Import { status, overrides, ..import() }))).unwrap();
        world.user().status
    };
    report(AccountWord::Suspended, 2);
    assert_eq!(again(AccountStatus::Live, false), AccountStatus::SoftBlocked);
    assert_eq!(again(AccountStatus::Blocked, false), AccountStatus::Blocked);
    assert_eq!(again(AccountStatus::Live, true), AccountStatus::Live, "unless it overrides");
    assert!(matches!(report(AccountWord::Suspended, 1), Heard::Known), "an older word stays an old one");
    assert_eq!(again(AccountStatus::Live, false), AccountStatus::Live);
    report(AccountWord::Suspended, 3);
    report(AccountWord::Unsuspended, 4);
    assert_eq!(again(AccountStatus::SoftBlocked, false), AccountStatus::SoftBlocked);
    report(AccountWord::Deleted, 5);
    assert_eq!(again(AccountStatus::Live, false), AccountStatus::Closed);
    assert_eq!(again(AccountStatus::Live, true), AccountStatus::Live);
}

#[test]
fn an_account_moves_to_another_provider_once_nothing_is_to_settle() {
    let world = World::new();
    assert!(matches!(world.durable(tap("a1", 100)), Outcome::Approved { .. }));
    let error = world.change(of_partner()).unwrap_err();
    assert!(matches!(&error, ChangeError::Conflict(why) if why.contains("still to settle")), "{error}");
    world.change(Change::Release { root: "a1".parse().unwrap(), reason: "test".into() }).unwrap();
    world.change(crate::world::funds(100_000, 1, &["a1"])).unwrap();
    world.change(of_partner()).unwrap();
    assert_eq!(world.user().provider, PARTNER);
}

#[test]
fn a_repeated_creation_does_not_undo_a_block() {
    let world = world();
    let user = "user".parse().unwrap();
    let new = ImportedCard { id: "card_9".parse().unwrap(), ..card(CardStatus::Active) };
    assert!(matches!(world.ledger.issue_card(PARTNER, &user, &new, at(1)).unwrap(), Heard::Recorded(_)));
    let blocked = ImportedCard { status: CardStatus::Frozen, ..new.clone() };
    world.ledger.report_issued_card(PARTNER, &user, &blocked, said(2), at(2)).unwrap();
    assert!(matches!(world.ledger.issue_card(PARTNER, &user, &new, at(3)).unwrap(), Heard::Known));
    assert_eq!(world.user().card(&new.id).unwrap().status, CardStatus::Frozen);
}

#[test]
fn only_what_the_provider_suspended_is_live_after_its_word() {
    use AccountStatus::{Blocked, Closed, Live, SoftBlocked, Tourist};
    use AccountWord::{Deleted, Suspended, Unsuspended};
    let check = |word: AccountWord, before, after| assert_eq!(word.after(before), after, "{word:?} {before:?}");
    check(Suspended, Live, SoftBlocked);
    check(Unsuspended, SoftBlocked, Live);
    for status in [Tourist, Blocked, Closed] {
        check(Suspended, status, status);
        check(Unsuspended, status, status);
        check(Deleted, status, Closed);
    }
    let world = world();
    let user = "user".parse().unwrap();
    let report = |word, seconds| world.ledger.report_account(PARTNER, &user, word, said(seconds), at(50)).unwrap();
    assert!(matches!(report(Suspended, 2), Heard::Recorded(_)));
    assert!(matches!(report(Suspended, 2), Heard::Known), "a repetition");
    assert!(matches!(report(Unsuspended, 1), Heard::Known), "older than the last word");
    assert_eq!(world.durable(tap("a1", 100)), Outcome::Declined(Reason::AccountSoftBlocked));
    report(Unsuspended, 3);
    world.change(Change::SuspendUser { user: user.clone(), suspended: true }).unwrap();
    report(Suspended, 4);
    report(Unsuspended, 5);
    assert_eq!(world.durable(tap("a2", 100)), Outcome::Declined(Reason::UserSuspended), "the partner's own stays");
    report(Deleted, 6);
    report(Unsuspended, 7);
    assert_eq!(world.durable(tap("a3", 100)), Outcome::Declined(Reason::AccountClosed));
}

#[test]
fn a_cards_first_event_may_overtake_its_creation() {
    let world = world();
    let user = "user".parse().unwrap();
    let report = |status, seconds| {
        let new = ImportedCard { id: "card_9".parse().unwrap(), ..card(status) };
        world.ledger.report_issued_card(PARTNER, &user, &new, said(seconds), at(50)).unwrap()
    };
    report(CardStatus::Frozen, 5);
    assert!(matches!(report(CardStatus::Active, 1), Heard::Known), "the creation is older");
    assert_eq!(world.user().card(&"card_9".parse().unwrap()).unwrap().status, CardStatus::Frozen);
    report(CardStatus::Active, 6);
    assert_eq!(world.user().card(&"card_9".parse().unwrap()).unwrap().status, CardStatus::Active);
    report(CardStatus::Deleted, 7);
    report(CardStatus::Active, 8);
    assert_eq!(world.user().card(&"card_9".parse().unwrap()).unwrap().status, CardStatus::Deleted);
}

#[test]
fn a_providers_limits_leave_the_partners_other_controls() {
    let world = world();
    let card = "card".parse().unwrap();
    let rule =
        |seconds, amount_max, count_max| VelocityRule { period: Period::Sliding(seconds), amount_max, count_max };
    let own = Controls {
        channel_block: vec![Channel::Atm],
        velocity: vec![rule(3_600, Some(ChfMinor(500)), None), rule(86_400, Some(ChfMinor(900)), Some(3))],
        ..Controls::default()
    };
    world.change(Change::ControlCard { card: "card".parse().unwrap(), controls: own }).unwrap();
    let limit = |most: Option<i64>, day: Option<i64>, seconds| {
        let limits = CardLimits {
            transaction_amount_max: most.map(|most| Money { amount: Minor(most), currency: Currency::EUR }),
            windows: vec![(86_400, day.map(ChfMinor)), (604_800, None)],
        };
        world.ledger.limit_card(PARTNER, &card, &limits, said(seconds), at(50)).unwrap()
    };
    let controls = || world.user().card(&card).unwrap().controls.clone().unwrap();
    limit(Some(5_000), Some(10_000), 2);
    assert_eq!(controls().transaction_amount_max.unwrap().amount, Minor(5_000));
    assert_eq!(controls().channel_block, [Channel::Atm]);
    let day = rule(86_400, Some(ChfMinor(10_000)), Some(3));
    assert_eq!(controls().velocity, [rule(3_600, Some(ChfMinor(500)), None), day]);
    assert!(matches!(limit(None, None, 2), Heard::Known), "a repetition, or another word of that second");
    assert!(matches!(limit(None, None, 1), Heard::Known), "older than the last word");
    limit(None, None, 3);
    assert_eq!(controls().transaction_amount_max, None);
    assert_eq!(controls().velocity, [rule(3_600, Some(ChfMinor(500)), None), rule(86_400, None, Some(3))]);
}

#[test]
fn records_name_the_provider_and_its_figures_do_not_age() {
    let policy = Policy { state_max_age_seconds: Some(60), ..Policy::default() };
    let world = World::with_policy(MemoryStore::new(), policy);
    world.ledger.change(&author(), crate::world::report(Currency::EUR, 100_000, 0), at(3_600)).unwrap();
    assert_eq!(world.durable_at(tap("a1", 100), 3_601), Outcome::Declined(Reason::StateStale));
    world.ledger.change(&author(), of_partner(), at(0)).unwrap();
    let approved = world.ledger.submit(tap("a2", 100), at(8_001)).unwrap();
    assert!(matches!(approved.reply.outcome, Some(Outcome::Approved { .. })), "{approved:?}");
    world.drained();
    let last = world.ledger.journal().durable();
    assert_eq!(world.ledger.record(last).unwrap().unwrap().author, Author::PartnerApi);
}

/// One word of the second provider.
#[derive(Clone, Debug)]
enum Word {
    Service(bool, i64),
    Account(AccountWord, i64),
    Card(u8, CardStatus, i64),
    Limits(i64, i64),
    Tap,
}

fn words() -> impl Strategy<Value = Word> {
    let account = prop_oneof![Just(AccountWord::Suspended), Just(AccountWord::Unsuspended), Just(AccountWord::Deleted)];
    let status = prop_oneof![Just(CardStatus::Active), Just(CardStatus::Frozen), Just(CardStatus::Deleted)];
    prop_oneof![
        2 => (any::<bool>(), 0..20_i64).prop_map(|(suspended, at)| Word::Service(suspended, at)),
        2 => (account, 0..20_i64).prop_map(|(word, at)| Word::Account(word, at)),
        3 => (0..3_u8, status, 0..20_i64).prop_map(|(card, status, at)| Word::Card(card, status, at)),
        2 => (0..5_000_i64, 0..20_i64).prop_map(|(most, at)| Word::Limits(most, at)),
        3 => Just(Word::Tap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_providers_words_survive_restarts_and_crashes(history in history(words(), 5..40)) {
        let user = "user".parse().unwrap();
        World::replay(
            history,
            |world, word, seconds| {
                if world.user().provider == Provider::Ur {
                    world.change(of_partner()).unwrap();
                }
                let ledger = &world.ledger;
                match word {
                    Word::Service(suspended, at_) => drop(ledger.suspend_provider(self::word(suspended, at_), at(50))),
                    Word::Account(word, at_) => drop(ledger.report_account(PARTNER, &user, word, said(at_), at(50))),
                    Word::Card(number, status, at_) => {
                        let card = ImportedCard { id: format!("card_{number}").parse().unwrap(), ..card(status) };
                        drop(ledger.report_issued_card(PARTNER, &user, &card, said(at_), at(50)));
                    }
                    Word::Limits(most, at_) => {
                        let most = Some(Money { amount: Minor(most), currency: Currency::EUR });
                        let limits = CardLimits { transaction_amount_max: most, windows: Vec::new() };
                        drop(ledger.limit_card(PARTNER, &"card".parse().unwrap(), &limits, said(at_), at(50)));
                    }
                    Word::Tap => drop(ledger.submit(tap(&format!("a{seconds}"), 10), at(seconds))),
                }
            },
            |world| (world.user(), world.ledger.program()),
        );
    }
}
