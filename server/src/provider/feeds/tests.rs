//! The feeds over a UR of the test's, in virtual time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tapgate_engine::fact::Author;
use tapgate_engine::ledger::Change;
use tapgate_engine::money::{ChfMinor, Currency};
use tapgate_engine::time::{Moment, UnixSeconds};

use super::*;
use crate::provider::api::{At, Budget, DepositOrder, QuoteAsked, TransactionFilter};
use crate::provider::prefunding::Board;
use crate::treasury::follow::tests::{MONDAY, World};
use crate::wire::ur as wire;

/// The lowest tier of UR's issuer.
const CALLS_PER_MINUTE: u32 = 80;
/// Time that UR takes to answer.
const LATENCY: Duration = Duration::from_millis(200);
const PLENTY: i64 = 1_000_000_000_000;

/// A UR that answers every call within the budget. It has no transaction to show: every hold stays open.
struct Ur {
    clock: Arc<Clock>,
    ledger: Arc<Ledger>,
    budget: Mutex<Budget>,
    /// The greatest age that an account's figures had when they were read again, in milliseconds.
    oldest: AtomicU64,
    swept: AtomicU64,
    /// The pool's balance.
    pool: AtomicI64,
}

impl Ur {
    async fn answer(&self, priority: Priority) {
        loop {
            let taken = self.budget.lock().unwrap().take(priority, self.clock.elapsed());
            match taken {
                Ok(()) => break,
                Err(wait) => self.clock.sleep(wait).await,
            }
        }
        self.clock.sleep(LATENCY).await;
    }

    /// The ops account is no user of the ledger's.
    fn note_age(&self, user: &UrId) {
        let Some(reported_at) = self.ledger.user(user).map(|row| row.reported_at) else { return };
        self.oldest.fetch_max(self.clock.now().at.0 - reported_at.0, Ordering::Relaxed);
    }
}

impl UrApi for Ur {
    async fn profile(&self, user: &UrId, priority: Priority) -> Result<wire::Profile, UrError> {
        self.answer(priority).await;
        self.note_age(user);
        let limit = ClientLimit { used: ChfMinor(0), client: ChfMinor(PLENTY), start: UnixSeconds(0) };
        Ok(wire::Profile { user: user.clone(), status: AccountStatus::Live, limit, allowances: Vec::new() })
    }

    async fn balance(&self, _: &UrId, priority: Priority) -> Result<wire::Balances, UrError> {
        self.answer(priority).await;
        let rows = vec![wire::Balance { currency: Currency::EUR, amount: Minor(self.pool.load(Ordering::Relaxed)) }];
        Ok(wire::Balances { rows, is_complete: true, ..wire::Balances::default() })
    }

    fn balance_path(&self) -> &'static str {
        "/api/fma/v1/balance"
    }

    async fn transactions(
        &self,
        _: &UrId,
        _: &TransactionFilter,
        _: At,
        priority: Priority,
    ) -> Result<wire::Page<wire::Transaction>, UrError> {
        self.answer(priority).await;
        self.swept.fetch_add(1, Ordering::Relaxed);
        Ok(wire::Page { rows: Vec::new(), unreadable: Vec::new(), next: None })
    }

    async fn tokens(&self, priority: Priority) -> Result<Vec<wire::Token>, UrError> {
        self.answer(priority).await;
        let token = |symbol: &str| wire::Token { symbol: symbol.to_owned(), decimals: 2, is_fiat: true };
        Ok(["USD", "EUR", "CHF"].map(token).to_vec())
    }

    async fn exchange_rate(&self, _: &str, _: &str, priority: Priority) -> Result<wire::Rate, UrError> {
        self.answer(priority).await;
        Ok(wire::Rate { rate: 10_000, spread: 10_000 })
    }

    async fn transactions_of(
        &self,
        _: &[(UrId, String)],
        _: Priority,
    ) -> Result<wire::Page<wire::Transaction>, UrError> {
        Err(UrError::Paused)
    }

    async fn deposit_quote(&self, _: &QuoteAsked<'_>) -> Result<wire::DepositQuote, UrError> {
        Err(UrError::Paused)
    }

    async fn deposit(&self, _: &DepositOrder) -> Result<String, UrError> {
        Err(UrError::Paused)
    }
}

/// Feeds with default settings over a ledger, each of whose users has an open hold.
fn feeds(world: &World, users: u32) -> Feeds<Ur> {
    let mut known = Known::default();
    for user in 0..users {
        world.tap(MONDAY, user, user, 1);
        known.users.push(format!("u{user}").parse().unwrap());
    }
    known.holding.clone_from(&known.users);
    let text = "ur.signers = [\"0xee28dEaD5F114C8405BE3be1144D59A4110B7F79\"]\nur.ops_ur_id = \"9999\"\n";
    let no_files = |_: &std::path::Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let settings = crate::config::Config::load(text, "test.toml", [], no_files).unwrap().feeds.unwrap();
    assert_eq!(settings.calls_per_minute, CALLS_PER_MINUTE);
    // Every account is always due, as every hold is: the budget decides alone.
    let settings = Settings { users_interval: Duration::from_secs(3_600), ..settings };
    let clock = Arc::new(Clock::from(MONDAY));
    let ledger = Arc::clone(&world.ledger);
    let ur = Ur {
        clock: Arc::clone(&clock),
        ledger: Arc::clone(&ledger),
        budget: Mutex::new(Budget::new(CALLS_PER_MINUTE)),
        oldest: AtomicU64::new(0),
        swept: AtomicU64::new(0),
        pool: AtomicI64::new(PLENTY),
    };
    let board = Arc::new(Board::default());
    let credits = Credits { ledger: Arc::clone(&ledger), clock: Arc::clone(&clock), board, quote_tolerance_bps: 0 };
    let randomness = Randomness::new(|| 1 << 63);
    let given = Given { ledger, clock, randomness, credits, findings: Arc::default(), settings };
    Feeds::new(given, Arc::new(ur), &known)
}

/// Sweeps alone could spend the whole budget: the hold of every account is due again and again, and taps open others.
#[tokio::test(start_paused = true)]
async fn ten_thousand_accounts_with_open_holds_never_grow_stale_while_ur_answers() {
    const USERS: u32 = 10_000;
    const TAPS_PER_MINUTE: u32 = 10;
    const MINUTES: u32 = 330;
    /// A fifth of the age from which decisions decline `state_stale` by default.
    const AGE_MAX: Duration = Duration::from_secs(5 * 3_600);
    let world = World::new(USERS, false);
    world.report(MONDAY, PLENTY, 0);
    let feeds = feeds(&world, USERS);
    let (ur, clock) = (Arc::clone(&feeds.api), Arc::clone(&feeds.given.clock));
    let (_hints, hinted) = mpsc::channel(1);
    let running = tokio::spawn(feeds.run(hinted));
    let mut taps = USERS;
    for minute in 0..MINUTES {
        clock.sleep(Duration::from_secs(60)).await;
        let now = clock.now().at;
        for _ in 0..TAPS_PER_MINUTE {
            world.tap(now, taps, taps % USERS, 1);
            taps += 1;
        }
        assert!(now.0 - world.ledger.pool(Currency::EUR).unwrap().reported_at.0 < 120_000, "minute {minute}");
        assert!(now.0 - world.ledger.program().rates.set_at.unwrap().0 < 1_200_000, "minute {minute}");
    }
    running.abort();
    for user in 0..USERS {
        ur.note_age(&format!("u{user}").parse().unwrap());
    }
    let oldest = ur.oldest.load(Ordering::Relaxed);
    assert!(oldest < millis(AGE_MAX), "{oldest} ms");
    let swept = ur.swept.load(Ordering::Relaxed);
    assert!(swept > u64::from(MINUTES * CALLS_PER_MINUTE) * 3 / 10, "{swept} sweeps: their own share at least");
}

#[tokio::test(start_paused = true)]
async fn the_ops_accounts_own_profile_is_read_with_the_rates() {
    let world = World::new(1, false);
    let feeds = feeds(&world, 1);
    let (findings, clock) = (Arc::clone(&feeds.given.findings), Arc::clone(&feeds.given.clock));
    assert_eq!(findings.look(clock.now().at).ops_account, None);
    let (_hints, hinted) = mpsc::channel(1);
    let running = tokio::spawn(feeds.run(hinted));
    clock.sleep(Duration::from_secs(5)).await;
    running.abort();
    let limit = ClientLimit { used: ChfMinor(0), client: ChfMinor(PLENTY), start: UnixSeconds(0) };
    let shown = OpsAccount { id: "9999".parse().unwrap(), status: AccountStatus::Live, limit };
    assert_eq!(findings.look(clock.now().at).ops_account, Some(shown));
}

/// UR gives back after our acknowledgement, which a crash can put off: reports in between do not have it yet.
#[tokio::test(start_paused = true)]
async fn a_return_that_reaches_the_balance_late_is_no_drift_and_explains_no_other_rise() {
    for (late, is_drift) in [(300, false), (700, true)] {
        let world = World::new(1, false);
        world.report(MONDAY, 10_000, 0);
        world.tap(MONDAY, 7, 0, 1_000);
        let feeds = feeds(&world, 0);
        let (ur, clock) = (Arc::clone(&feeds.api), Arc::clone(&feeds.given.clock));
        ur.pool.store(9_000, Ordering::Relaxed);
        let (_hints, hinted) = mpsc::channel(1);
        let running = tokio::spawn(feeds.run(hinted));
        clock.sleep(Duration::from_secs(60)).await;
        world.reverse(clock.now().at, 7, 0, 300);
        clock.sleep(Duration::from_secs(300)).await;
        ur.pool.store(9_000 + late, Ordering::Relaxed);
        clock.sleep(Duration::from_secs(60)).await;
        running.abort();
        assert_eq!(world.ledger.pool(Currency::EUR).unwrap().reported, Minor(9_000 + late));
        let drifts = world.ledger.open_breaks().iter().any(|one| one.discrepancy.kind == BreakKind::PoolDrift);
        assert_eq!(drifts, is_drift, "{late} more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_another_provider_settles_from_is_left_to_people() {
    let world = World::new(1, false);
    for (other_pools, expected) in [(vec![Currency::EUR], 500), (Vec::new(), PLENTY)] {
        world.report(MONDAY, 500, 0);
        let mut feeds = feeds(&world, 0);
        feeds.given.settings.other_pools = other_pools;
        let clock = Arc::clone(&feeds.given.clock);
        let (_hints, hinted) = mpsc::channel(1);
        let running = tokio::spawn(feeds.run(hinted));
        clock.sleep(Duration::from_secs(60)).await;
        running.abort();
        assert_eq!(world.ledger.pool(Currency::EUR).unwrap().reported, Minor(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_balance_that_is_left_out_is_noted_under_the_path_that_was_asked() {
    let world = World::new(1, false);
    let pool = Change::ReportPool {
        currency: Currency::USD,
        reported: Some(Minor(500)),
        floor: None,
        reserve: None,
        reflected: None,
    };
    world.ledger.change(&Author::Ur, pool, Moment { at: MONDAY, trusted: true }).unwrap();
    let feeds = feeds(&world, 0);
    let (findings, clock) = (Arc::clone(&feeds.given.findings), Arc::clone(&feeds.given.clock));
    let (_hints, hinted) = mpsc::channel(1);
    let running = tokio::spawn(feeds.run(hinted));
    clock.sleep(Duration::from_secs(60)).await;
    running.abort();
    let found = findings.look(clock.now().at).unreadable;
    assert_eq!(found.iter().map(|found| found.of).collect::<Vec<_>>(), ["/api/fma/v1/balance"]);
}
