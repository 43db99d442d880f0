//! The tail over real ledgers: statements add up exactly, and a cache never changes the result.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::contract::pricing::Rates;
use tapgate_engine::fact::{
    AccountStatus, Author, CardStatus, Channel, Flow, HoldUpcharge, Import, ImportedCard, Kind, Merchant, Posting,
    Progress, Request,
};
use tapgate_engine::ledger::{Change, Policy, Reflected};
use tapgate_engine::money::{ChfMinor, Minor, Money};
use tapgate_engine::rows::{PoolFigures, State};
use tapgate_engine::store::Store;
use tapgate_engine::store::rocks::{Rocks, SyncMode};
use tapgate_engine::testing::{MemoryStore, cases};
use tapgate_engine::time::{Moment, UnixSeconds};

use super::super::calendar::tests::zurich;
use super::super::movement::{self, movements};
use super::*;

/// 2026-09-07 00:00 UTC, a Monday.
pub(crate) const MONDAY: UnixMillis = UnixMillis(1_788_739_200_000);
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// A cache in memory.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) Mutex<Option<Vec<u8>>>);

impl Kept {
    fn of(bytes: Vec<u8>) -> Kept {
        Kept(Mutex::new(Some(bytes)))
    }
}

impl Cache for Kept {
    fn read(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }

    fn replace(&self, bytes: &[u8]) -> std::io::Result<()> {
        *self.0.lock().unwrap() = Some(bytes.to_vec());
        Ok(())
    }
}

/// A ledger in memory with a EUR pool and users without bounds of their own.
pub(crate) struct World {
    pub(crate) ledger: Arc<Ledger>,
}

pub(crate) fn moment(at: UnixMillis) -> Moment {
    Moment { at, trusted: true }
}

fn author() -> Author {
    Author::Person { name: "test".into(), idempotency: None }
}

/// The user who eats out.
pub(crate) const GUEST: u32 = 1;

const PLENTY: i64 = 1_000_000_000_000;

impl World {
    pub(crate) fn new(users: u32, credits_count_at_once: bool) -> World {
        World::over(MemoryStore::new(), users, credits_count_at_once)
    }

    pub(crate) fn over(store: Arc<dyn Store>, users: u32, credits_count_at_once: bool) -> World {
        World::under(Policy { credits_count_at_once, ..Policy::default() }, store, users)
    }

    fn under(policy: Policy, store: Arc<dyn Store>, users: u32) -> World {
        let ledger = Ledger::start(store, State::default(), policy, 1, Box::new(|_| {})).unwrap();
        let world = World { ledger: Arc::new(ledger) };
        let rates = Rates { chf: vec![(Currency::EUR, 9_450)], interchange_percent: 1, ..Rates::default() };
        world.change(MONDAY, Change::ReplaceRates(Box::new(rates)));
        world.report(MONDAY, 0, 0);
        for user in 0..users {
            let import = Import {
                user: format!("u{user}").parse().unwrap(),
                status: AccountStatus::Live,
                limit: ClientLimit { used: ChfMinor(0), client: ChfMinor(PLENTY), start: UnixSeconds(0) },
                funds: Some(Money { amount: Minor(PLENTY), currency: Currency::EUR }),
                fiat: Vec::new(),
                funding: None,
                overrides: false,
                provider: None,
                cards: vec![ImportedCard {
                    id: format!("c{user}").parse().unwrap(),
                    status: CardStatus::Active,
                    currency: Currency::EUR,
                    single_use: None,
                }],
            };
            world.change(MONDAY, Change::ImportUser(Box::new(import)));
        }
        world
    }

    pub(crate) fn change(&self, at: UnixMillis, change: Change) {
        self.ledger.change(&author(), change, moment(at)).unwrap();
    }

    /// A person reports UR's balance, which includes every approval so far.
    pub(crate) fn report(&self, at: UnixMillis, balance: i64, floor: i64) {
        let report = Change::ReportPool {
            currency: Currency::EUR,
            reported: Some(Minor(balance)),
            floor: Some(Minor(floor)),
            reserve: None,
            reflected: Some(Reflected::Now),
        };
        self.change(at, report);
    }

    pub(crate) fn tap(&self, at: UnixMillis, id: u32, user: u32, amount: i64) {
        self.submit(at, &format!("a{id}"), None, Kind::Authorization, user, amount);
    }

    pub(crate) fn reverse(&self, at: UnixMillis, id: u32, user: u32, amount: i64) {
        self.submit(at, &format!("r{id}"), Some(format!("a{id}")), Kind::Reversal, user, amount);
    }

    fn submit(&self, at: UnixMillis, id: &str, original: Option<String>, kind: Kind, user: u32, amount: i64) {
        let request = Request {
            id: id.parse().unwrap(),
            kind,
            original: original.map(|original| original.parse().unwrap()),
            user: format!("u{user}").parse().unwrap(),
            card: format!("c{user}").parse().unwrap(),
            amount: Minor(amount),
            currency: Currency::EUR,
            settlement_amount: None,
            settlement_currency: None,
            partial_approval_allowed: false,
            merchant: Merchant { mcc: (user == GUEST).then_some(5_812), ..Merchant::default() },
            channel: Channel::Pos,
            currency_given: None,
        };
        self.ledger.submit(request, moment(at)).unwrap();
    }

    fn book(&self, at: UnixMillis, hash: String, (flow, user, amount): (Flow, u32, i64), root: Option<u32>) {
        let posting = Posting {
            hash: hash.into(),
            user: format!("u{user}").parse().unwrap(),
            flow,
            progress: Progress::Completed,
            amount: Money { amount: Minor(amount), currency: Currency::EUR },
            at: at.seconds(),
            mcc: None,
            merchant: None,
            references: root.iter().map(|root| format!("a{root}").into()).collect(),
            awaits: root.map(|root| format!("a{root}").parse().unwrap()),
            ordinal: 0,
        };
        self.ledger.post(&posting, moment(at)).unwrap();
    }

    fn sync(&self, at: UnixMillis, balance: i64) {
        let through = self.ledger.journal().claimed();
        self.ledger.sync_pool(Currency::EUR, Minor(balance), through, moment(at)).unwrap();
    }

    /// Waits until every record is durable.
    pub(crate) fn drained(&self) {
        while self.ledger.journal().durable() < self.ledger.journal().claimed() {
            std::thread::yield_now();
        }
    }

    fn available(&self) -> Minor {
        self.ledger.pool(Currency::EUR).unwrap().available
    }
}

pub(crate) fn follower(ledger: &Ledger) -> Follower {
    let text = "ur.signers = [\"0xee28dEaD5F114C8405BE3be1144D59A4110B7F79\"]\nur.feeds = false\n";
    let no_files = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let config = crate::config::Config::load(text, "test.toml", [], no_files).unwrap();
    let follower = Follower::new(config.treasury);
    follower.catch_up(ledger).unwrap();
    follower
}

/// An event of the pool; numbers select taps, modulo their count.
#[derive(Clone, Debug)]
enum Happens {
    Tapped(i64),
    Incremented(u32, i64),
    Reversed(u32, i64),
    Released(u32),
    /// Settled with more or less than the hold.
    Settled(u32, i64),
    GaveBack(u32, i64),
    ForcePosted(i64),
    Credited(i64),
    Synced(i64),
    Reported(i64, i64),
    FloorSet(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    let (tap, amount) = (0..40_u32, 1..5_000_i64);
    prop_oneof![
        4 => amount.clone().prop_map(Happens::Tapped),
        1 => (tap.clone(), amount.clone()).prop_map(|(tap, amount)| Happens::Incremented(tap, amount)),
        2 => (tap.clone(), amount.clone()).prop_map(|(tap, amount)| Happens::Reversed(tap, amount)),
        1 => tap.clone().prop_map(Happens::Released),
        3 => (tap.clone(), amount.clone()).prop_map(|(tap, amount)| Happens::Settled(tap, amount)),
        2 => (tap, amount.clone()).prop_map(|(tap, amount)| Happens::GaveBack(tap, amount)),
        1 => amount.clone().prop_map(Happens::ForcePosted),
        1 => amount.prop_map(Happens::Credited),
        2 => (0..60_000_i64).prop_map(Happens::Synced),
        1 => (0..60_000_i64, 0..500_i64).prop_map(|(balance, floor)| Happens::Reported(balance, floor)),
        1 => (0..500_i64).prop_map(Happens::FloorSet),
    ]
}

/// A world of three users, where a fifth is held above what restaurants ask for.
pub(crate) fn dining(credits_count_at_once: bool) -> World {
    let hold_upcharge = vec![HoldUpcharge { mcc: 5_812, percent: 20 }];
    let policy = Policy { credits_count_at_once, hold_upcharge, ..Policy::default() };
    World::under(policy, MemoryStore::new(), 3)
}

/// Plays a history, with a few hours between its events, from a pool of 500.00.
fn played(history: &[(Happens, u64)], credits_count_at_once: bool) -> (World, UnixMillis) {
    let world = dining(credits_count_at_once);
    world.report(MONDAY, 50_000, 0);
    let (mut at, mut taps) = (MONDAY, 0);
    for ((happens, minutes), number) in history.iter().zip(0_u32..) {
        at = UnixMillis(at.0 + minutes * 60_000);
        let root = |tap: u32| tap.checked_rem(taps).unwrap_or(0);
        match happens {
            Happens::Tapped(amount) => {
                world.tap(at, taps, taps % 3, *amount);
                taps += 1;
            }
            Happens::Incremented(tap, amount) => {
                let root = root(*tap);
                let id = format!("i{number}");
                world.submit(at, &id, Some(format!("a{root}")), Kind::Incremental, root % 3, *amount);
            }
            Happens::Reversed(tap, amount) => {
                let root = root(*tap);
                world.submit(at, &format!("r{number}"), Some(format!("a{root}")), Kind::Reversal, root % 3, *amount);
            }
            Happens::Released(tap) => {
                let root = format!("a{}", root(*tap)).parse().unwrap();
                let release = Change::Release { root, reason: "test".into() };
                // An authorization without a hold cannot be released.
                let _ = world.ledger.change(&author(), release, moment(at));
            }
            Happens::Settled(tap, amount) => {
                let root = root(*tap);
                world.book(at, format!("h{number}"), (Flow::Out, root % 3, *amount), (taps > 0).then_some(root));
            }
            Happens::GaveBack(tap, amount) => {
                let root = root(*tap);
                world.book(at, format!("h{number}"), (Flow::In, root % 3, *amount), (taps > 0).then_some(root));
            }
            Happens::ForcePosted(amount) => world.book(at, format!("h{number}"), (Flow::Out, 0, *amount), None),
            Happens::Credited(amount) => {
                let reference = format!("c{number}").into();
                let credit = Change::CreditPool { currency: Currency::EUR, amount: Minor(*amount), reference };
                world.change(at, credit);
            }
            Happens::Synced(balance) => world.sync(at, *balance),
            Happens::Reported(balance, floor) => world.report(at, *balance, *floor),
            Happens::FloorSet(floor) => {
                let floor = Change::ReportPool {
                    currency: Currency::EUR,
                    reported: None,
                    floor: Some(Minor(*floor)),
                    reserve: None,
                    reflected: None,
                };
                world.change(at, floor);
            }
        }
    }
    world.drained();
    (world, at)
}

fn histories() -> impl Strategy<Value = Vec<(Happens, u64)>> {
    proptest::collection::vec((happens(), 0..600_u64), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(96), failure_persistence: None, ..ProptestConfig::default() })]

    /// Every record moves a pool by exactly its movements, and every day's statement adds up to the cent.
    #[test]
    fn statements_add_up(history in histories(), credits_count_at_once in any::<bool>()) {
        let (world, now) = played(&history, credits_count_at_once);
        let mut figures = PoolFigures::empty(Currency::EUR);
        world.ledger.records(Sequence::ZERO, &mut |sequence, record| {
            let before = figures.available;
            figures.apply(sequence, record.at, &record.fact);
            let moved: i64 = movements(&record.fact).map(|movement| movement.change.0).sum();
            assert_eq!(figures.available.0 - before.0, moved, "{record:?}");
            ControlFlow::Continue(())
        }).unwrap();
        let follower = follower(&world.ledger);
        let (first, last) = (zurich().day(MONDAY).0, zurich().day(now).0);
        let mut opening = Minor::ZERO;
        for day in first.0..=last.0 {
            let statement = follower.statement(Currency::EUR, Day(day), now).unwrap();
            prop_assert_eq!(statement.opening, opening, "day {}", day);
            let lines: i64 = statement.lines.named().into_iter().map(|(_, change)| change.0).sum();
            prop_assert_eq!(opening.0 + lines, statement.closing.0, "day {}", day);
            prop_assert!(statement.lines.approvals <= Minor::ZERO && statement.lines.over_captures <= Minor::ZERO);
            let more = [statement.lines.given_back, statement.lines.refunds, statement.lines.credits];
            prop_assert!(more.iter().all(|line| *line >= Minor::ZERO), "{:?}", statement);
            opening = statement.closing;
        }
        prop_assert_eq!(opening, world.available());
        prop_assert_eq!(follower.statement(Currency::EUR, Day(first.0 - 1), now), None);
        prop_assert_eq!(follower.statement(Currency::EUR, Day(last.0 + 1), now), None);
        world.ledger.journal().close();
    }

    /// Whatever the state at the process's end, the next process reaches the same state.
    #[test]
    fn a_cache_changes_nothing(history in histories(), known in 0..80_usize) {
        let (world, _) = played(&history, true);
        let whole = follower(&world.ledger);
        let mut part = Tail::new(&zurich());
        let mut left = known;
        world.ledger.records(Sequence::ZERO, &mut |sequence, record| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            part.apply(sequence, &record, &zurich());
            ControlFlow::Continue(())
        }).unwrap();
        let resumed = Follower::new(config());
        let head = world.ledger.head_at(part.cursor).unwrap().unwrap();
        prop_assert_eq!(resumed.resume(&world.ledger, &Kept::of(part.encode(&head).unwrap())).unwrap(), part.cursor);
        resumed.catch_up(&world.ledger).unwrap();
        prop_assert_eq!(&*resumed.tail(), &*whole.tail());
        world.ledger.journal().close();
    }
}

fn config() -> Settings {
    let text = "ur.signers = [\"0xee28dEaD5F114C8405BE3be1144D59A4110B7F79\"]\n";
    let no_files = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    crate::config::Config::load(text, "test.toml", [], no_files).unwrap().treasury
}

#[test]
fn a_cache_that_does_not_fit_is_ignored() {
    // The last records of all journals are equal.
    let suspend = |world: &World| {
        world.change(MONDAY, Change::SuspendProgram { suspended: true, reason: "drill".into() });
        world.drained();
    };
    let world = World::new(1, true);
    world.report(MONDAY, 1_000, 0);
    suspend(&world);
    let cache = Kept::default();
    let resumed =
        |ledger: &Ledger, settings: &Settings| Follower::new(settings.clone()).resume(ledger, &cache).unwrap().0;
    assert_eq!(resumed(&world.ledger, &config()), 0, "there is none");
    let known = follower(&world.ledger);
    known.save(&world.ledger, &cache).unwrap();
    let last = known.tail().cursor.0;
    assert_eq!(resumed(&world.ledger, &config()), last);
    let mut elsewhere = config();
    elsewhere.calendar.time_zone = jiff::tz::TimeZone::get("Asia/Singapore").unwrap();
    assert_eq!(resumed(&world.ledger, &elsewhere), 0, "its days are others");

    let other = World::new(1, true);
    other.report(MONDAY, 2_000, 0);
    suspend(&other);
    assert_eq!(resumed(&other.ledger, &config()), 0, "another journal");
    let shorter = World::new(0, true);
    shorter.drained();
    assert_eq!(resumed(&shorter.ledger, &config()), 0, "a journal that went back");

    let good = cache.read().unwrap();
    for (place, byte) in [(0, 9), (good.len() / 2, 0xA5), (good.len() - 1, 0x5A)] {
        let mut bad = good.clone();
        bad[place] ^= byte;
        cache.replace(&bad).unwrap();
        assert_eq!(resumed(&world.ledger, &config()), 0, "damaged at {place}");
    }
    for cut in [0, 10, good.len() - 1] {
        cache.replace(&good[..cut]).unwrap();
        assert_eq!(resumed(&world.ledger, &config()), 0, "cut at {cut}");
    }
    cache.replace(&good).unwrap();
    assert_eq!(resumed(&world.ledger, &config()), last);
    for world in [&world, &other, &shorter] {
        world.ledger.journal().close();
    }
}

#[test]
fn a_refund_is_no_spending_and_stands_in_the_statement_once_a_report_shows_it() {
    let world = World::new(3, false);
    world.report(MONDAY, 50_000, 0);
    world.tap(MONDAY, 0, 0, 1_000);
    world.book(MONDAY, "h1".to_owned(), (Flow::Out, 0, 1_000), Some(0));
    world.sync(MONDAY, 49_000);
    world.book(MONDAY, "h2".to_owned(), (Flow::In, 0, 400), Some(0));
    world.drained();
    let day = zurich().day(MONDAY).0;
    let lines = |world: &World| follower(&world.ledger).statement(Currency::EUR, day, MONDAY).unwrap().lines;
    assert_eq!((lines(&world).refunds, lines(&world).reports), (Minor(0), Minor(50_000)));
    world.sync(MONDAY, 49_410);
    world.drained();
    // Ten more than UR returned: no line explains them.
    assert_eq!((lines(&world).refunds, lines(&world).reports), (Minor(400), Minor(50_010)));
    assert_eq!(spent(&world), 600);
    world.ledger.journal().close();
}

#[test]
fn a_tip_is_spent_when_it_is_taken_and_on_the_statement_when_it_is_held() {
    let world = dining(false);
    world.report(MONDAY, 50_000, 0);
    world.tap(MONDAY, 0, GUEST, 1_000);
    world.drained();
    assert_eq!(spent(&world), 1_000);
    world.book(MONDAY, "h1".to_owned(), (Flow::Out, GUEST, 1_150), Some(0));
    world.drained();
    assert_eq!(spent(&world), 1_150);
    let statement = follower(&world.ledger).statement(Currency::EUR, zurich().day(MONDAY).0, MONDAY).unwrap();
    assert_eq!((statement.lines.approvals, statement.lines.given_back), (Minor(-1_200), Minor(50)));
    assert_eq!(statement.closing, world.available());
    world.ledger.journal().close();
}

/// What the records say was spent.
fn spent(world: &World) -> i64 {
    let mut spent = 0;
    world
        .ledger
        .records(Sequence::ZERO, &mut |_, record| {
            spent += movement::spent(&record.fact).map(|(_, amount)| amount.0).sum::<i64>();
            ControlFlow::Continue(())
        })
        .unwrap();
    spent
}

/// Enough records that opening and caching do not matter.
const MEASURED_TAPS: u32 = 300_000;

#[test]
#[ignore = "measures what docs/treasury.md says that reading costs"]
fn reading_cost() {
    let directory = tempfile::tempdir().unwrap();
    let store = Rocks::open(directory.path(), SyncMode::Os).unwrap();
    let world = World::over(Arc::new(store), 1_000, true);
    world.report(MONDAY, PLENTY, 0);
    for tap in 0..MEASURED_TAPS {
        // Half a year.
        let at = UnixMillis(MONDAY.0 + u64::from(tap) * 52_000);
        world.tap(at, tap, tap % 1_000, 1_000);
        if tap % 1_000 == 0 {
            world.drained();
        }
    }
    world.drained();
    let began = Instant::now();
    let read = follower(&world.ledger);
    let (took, records) = (began.elapsed(), read.tail().cursor.0);
    let cache = Kept::default();
    read.save(&world.ledger, &cache).unwrap();
    let bytes = cache.read().unwrap().len();
    let began = Instant::now();
    let resumed = Follower::new(config());
    resumed.resume(&world.ledger, &cache).unwrap();
    let each = took / u32::try_from(records).unwrap();
    eprintln!("{records} records in {took:?}, {each:?} each; a cache of {bytes} bytes, read in {:?}", began.elapsed());
    assert_eq!(*resumed.tail(), *read.tail());
    world.ledger.journal().close();
}
