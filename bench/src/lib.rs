//! What the benches share: a ledger full of users, requests that never repeat, and a store that keeps nothing.
#![allow(clippy::disallowed_methods, reason = "what is measured is real time")]
#![expect(clippy::expect_used, clippy::panic, reason = "a bench that meets the unexpected stops")]

mod slabs;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use compact_str::CompactString;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tapgate_engine::contract::limit::ClientLimit;
use tapgate_engine::contract::pricing::{Conversion, Rates};
use tapgate_engine::fact::{
    AccountStatus, Author, CardStatus, Channel, Controls, Flow, Import, ImportedCard, Kind, Merchant, Period, Posting,
    Progress, Request, VelocityRule,
};
use tapgate_engine::ids::{AuthorizationId, Sequence, UrId};
use tapgate_engine::journal::{Durability, NoPlace};
use tapgate_engine::ledger::{Change, ChangeError, Ledger, Policy, Reflected, Refusal, Submission};
use tapgate_engine::money::{ChfMinor, Currency, Minor, Money};
use tapgate_engine::recovery::recover;
use tapgate_engine::store::{Entry, RowBytes, Store, StoreError, Table, Visit, VisitRow};
use tapgate_engine::time::{Moment, UnixMillis, UnixSeconds};
use tapgate_engine::tree::{Frontier, Hash, Node, Span};

pub use slabs::Slabs;

/// The allocator of the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// When the benches' world begins, unix seconds.
pub const START_SECONDS: u64 = 1_768_659_501;

/// What every user owns.
const FUNDS: Money = Money { amount: Minor(900_000_000_000_000), currency: Currency::EUR };

/// A callback as UR sends it.
pub const BODY: &str = r#"{"event":"card_authorization","timestamp":1768659501,"data":{"authorizationId":"auth_7Q2","type":"authorization","originalAuthorizationId":null,"urId":"10000001","cardId":"card_1","transactionAmount":"1250","transactionCurrency":"EUR","settlementAmount":"1250","settlementCurrency":"EUR","partialApprovalAllowed":false,"merchant":{"id":"m_1","name":"Café","mcc":"5812","city":"Zürich","country":"CHE"},"channel":"contactless"}}"#;

/// The time of every decision.
#[must_use]
pub fn now() -> Moment {
    Moment { at: UnixMillis((START_SECONDS + 60) * 1_000), trusted: true }
}

/// A store that keeps nothing: what is measured over it is the engine alone.
#[derive(Debug, Default)]
pub struct Sink {
    last: AtomicU64,
    last_payload_bytes: AtomicUsize,
}

impl Sink {
    /// Bytes of the last record, the part of its hash aside.
    #[must_use]
    pub fn last_payload_bytes(&self) -> usize {
        self.last_payload_bytes.load(Ordering::Acquire)
    }
}

impl Store for Sink {
    fn append(&self, entries: &[Entry], _: &[Node]) -> Result<(), StoreError> {
        if let Some(last) = entries.last() {
            self.last.store(last.sequence.0, Ordering::Release);
            self.last_payload_bytes.store(last.payload.len(), Ordering::Release);
        }
        Ok(())
    }

    fn sync_head(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn head(&self) -> Result<Sequence, StoreError> {
        Ok(Sequence(self.last.load(Ordering::Acquire)))
    }

    fn node(&self, _: Span) -> Result<Option<Hash>, StoreError> {
        Ok(None)
    }

    fn read(&self, _: Sequence, _: Visit<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    fn read_back(&self, _: Sequence, _: Visit<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    fn entry(&self, _: Sequence) -> Result<Option<Entry>, StoreError> {
        Ok(None)
    }

    fn id_seed(&self) -> u64 {
        0
    }

    fn row(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn rows(&self, _: Table, _: VisitRow<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    fn delete_rows(&self, _: Table, _: &[Vec<u8>]) -> Result<(), StoreError> {
        Ok(())
    }

    fn forget_cached(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn check_rows(&self, _: Table, _: &[u8], _: usize) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn put_rows(&self, _: &[RowBytes]) -> Result<(), StoreError> {
        Ok(())
    }

    fn put_synced(&self, _: &[RowBytes]) -> Result<(), StoreError> {
        Ok(())
    }

    fn erase(&self, _: Table, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn write_rows(&self, _: &[RowBytes], _: &Frontier) -> Result<(), StoreError> {
        Ok(())
    }

    fn frontier(&self) -> Result<Frontier, StoreError> {
        Ok(Frontier::default())
    }
}

/// Every control there is, wide enough that none declines: the dearest ladder that still approves.
#[must_use]
pub fn all_controls() -> Controls {
    let velocity = |seconds| VelocityRule {
        period: Period::Sliding(seconds),
        amount_max: Some(ChfMinor(1_000_000_000_000)),
        count_max: Some(2_000),
    };
    Controls {
        transaction_amount_max: Some(Money { amount: Minor(1_000_000_000), currency: Currency::EUR }),
        velocity: vec![velocity(3_600), velocity(86_400)],
        mcc_block: vec![7_995, 6_051],
        merchant_block: vec!["m_blocked".into()],
        country_block: ["PRK", "IRN"].iter().filter_map(|code| code.parse().ok()).collect(),
        channel_block: vec![Channel::Atm],
        ..Controls::default()
    }
}

/// Takes from a pool by compare-and-swap, as every floor does; false where it does not cover the amount.
pub fn take(pool: &AtomicI64, amount: i64) -> bool {
    let enough = |available: i64| available.checked_sub(amount).filter(|left| *left >= 0);
    pool.fetch_update(Ordering::AcqRel, Ordering::Acquire, enough).is_ok()
}

/// The urId at an index.
#[must_use]
pub fn ur_id(index: u64) -> String {
    format!("{}", 10_000_000 + index)
}

/// A ledger over `store` with so many Live users, each with a card, ample limit and funds, and a pool in EUR that never
/// runs dry. A store that holds them already is only recovered from.
#[must_use]
pub fn ledger(store: Arc<dyn Store>, users: u64, controls: Controls) -> Ledger {
    let state = recover(&store).expect("a store that can be recovered from").state;
    let policy = Policy { controls, ..Policy::default() };
    let ledger = Ledger::start(store, state, policy, 1, Box::new(|error| panic!("{error}"))).expect("a journal");
    if ledger.user_count() == 0 {
        for change in changes(users) {
            changed(|| ledger.change(&author(), change.clone(), now()));
        }
        drain(&ledger);
    }
    ledger
}

fn author() -> Author {
    Author::Person { name: "bench".into(), idempotency: None }
}

/// Tries until the queue has room.
fn settle<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        std::thread::yield_now();
    }
}

/// Changes the ledger, and tries again while the queue is full.
fn changed<T>(mut attempt: impl FnMut() -> Result<T, ChangeError>) -> T {
    settle(|| match attempt() {
        Ok(done) => Some(done),
        Err(ChangeError::NoPlace(NoPlace::Full)) => None,
        Err(error) => panic!("{error}"),
    })
}

fn changes(users: u64) -> impl Iterator<Item = Change> {
    let rates = Rates {
        chf: vec![(Currency::EUR, 9_450), (Currency::USD, 8_630)],
        pairs: vec![((Currency::USD, Currency::EUR), Conversion { rate: 9168, spread: 10150 })],
        interchange_percent: 1,
        ..Rates::default()
    };
    let pool = Change::ReportPool {
        currency: Currency::EUR,
        reported: Some(Minor(900_000_000_000_000)),
        floor: Some(Minor(0)),
        reserve: Some(Minor(0)),
        reflected: Some(Reflected::Now),
    };
    let first = [Change::ReplaceRates(Box::new(rates)), pool];
    first.into_iter().chain((0..users).map(|index| Change::ImportUser(Box::new(import(index)))))
}

fn import(index: u64) -> Import {
    Import {
        user: ur_id(index).parse().expect("an id"),
        status: AccountStatus::Live,
        limit: ClientLimit {
            used: ChfMinor(0),
            client: ChfMinor(900_000_000_000_000),
            start: UnixSeconds(START_SECONDS.cast_signed()),
        },
        funds: Some(FUNDS),
        fiat: Vec::new(),
        funding: None,
        overrides: false,
        provider: None,
        cards: vec![ImportedCard {
            id: format!("card_{index}").parse().expect("an id"),
            status: CardStatus::Active,
            currency: Currency::EUR,
            single_use: None,
        }],
    }
}

/// UR's row of the settled debit of an approved request.
#[must_use]
pub fn clearing(request: &Request) -> Posting {
    Posting {
        hash: compact_hash(&request.id),
        user: request.user.clone(),
        flow: Flow::Out,
        progress: Progress::Completed,
        amount: Money { amount: request.amount, currency: request.currency },
        at: UnixSeconds(START_SECONDS.cast_signed() + 60),
        mcc: request.merchant.mcc,
        merchant: request.merchant.name.clone(),
        references: std::iter::once(request.id.as_str().into()).collect(),
        awaits: None,
        ordinal: 0,
    }
}

/// As long as UR's hashes are, and as hard to compress.
fn compact_hash(id: &AuthorizationId) -> CompactString {
    format!("0x{}", blake3::hash(id.as_str().as_bytes()).to_hex()).into()
}

/// Posts, and tries again while the queue is full.
pub fn post(ledger: &Ledger, posting: &Posting) {
    changed(|| ledger.post(posting, now())).expect("a new movement");
}

/// Spends made before their clearings: as in life, other spends come in between.
const ROUND: u64 = 10_000;

/// Spends, each with its clearing; calls `cleared` with the requests of each round.
pub fn spend_and_clear(ledger: &Ledger, requests: &mut Requests, count: u64, mut cleared: impl FnMut(&[Request])) {
    let mut left = count;
    while left > 0 {
        let asked = requests.taps(left.min(ROUND));
        left -= left.min(ROUND);
        for request in &asked {
            let _ = submit(ledger, request.clone());
        }
        for request in &asked {
            post(ledger, &clearing(request));
        }
        cleared(&asked);
    }
}

/// The partner debits its users for what was cleared, and says so with each one's new funds: their last claims end.
pub fn debit(ledger: &Ledger, cleared: &[Request], version: u64) {
    let mut of_users: HashMap<&UrId, Vec<AuthorizationId>> = HashMap::new();
    cleared.iter().for_each(|request| of_users.entry(&request.user).or_default().push(request.id.clone()));
    for (user, debited) in of_users {
        let change = Change::ReplaceFunds { user: user.clone(), funds: FUNDS, version, debited };
        changed(|| ledger.change(&author(), change.clone(), now()));
    }
}

/// Writes the rows of everything recorded.
pub fn write_all_rows(ledger: &Ledger) {
    while ledger.write_rows().expect("rows").more {}
}

/// Waits until everything recorded is durable.
pub fn drain(ledger: &Ledger) {
    while ledger.journal().durable() != ledger.journal().claimed() {
        std::thread::yield_now();
    }
}

/// Requests of random users, no id twice.
#[derive(Debug)]
pub struct Requests {
    random: ChaCha8Rng,
    users: u64,
    lane: u64,
    number: u64,
}

impl Requests {
    /// Those of one thread: `lane` keeps its ids apart from the others'.
    #[must_use]
    pub fn new(users: u64, lane: u64) -> Requests {
        Requests { random: ChaCha8Rng::seed_from_u64(lane), users, lane, number: 0 }
    }

    /// An authorization of 12.50 EUR.
    #[must_use]
    pub fn tap(&mut self) -> Request {
        let user = self.random.random_range(0..self.users);
        self.number += 1;
        Request {
            id: format!("auth_{}_{:010}", self.lane, self.number).parse().expect("an id"),
            kind: Kind::Authorization,
            original: None,
            user: ur_id(user).parse().expect("an id"),
            card: format!("card_{user}").parse().expect("an id"),
            amount: Minor(1_250),
            currency: Currency::EUR,
            settlement_amount: None,
            settlement_currency: None,
            partial_approval_allowed: false,
            merchant: Merchant {
                id: Some("m_1".into()),
                name: Some("Café".into()),
                mcc: Some(5_812),
                city: Some("Zürich".into()),
                country: "CHE".parse().ok(),
            },
            channel: Channel::Contactless,
            currency_given: None,
        }
    }

    /// So many of them.
    #[must_use]
    pub fn taps(&mut self, count: u64) -> Vec<Request> {
        (0..count).map(|_| self.tap()).collect()
    }
}

/// Submits, and tries again while the queue is full.
#[must_use]
pub fn submit(ledger: &Ledger, request: Request) -> Submission {
    let mut request = Some(request);
    settle(|| {
        let asked = request.take().expect("a request");
        match ledger.submit(asked.clone(), now()) {
            Ok(submission) => Some(submission),
            Err(Refusal::Overloaded) => {
                request = Some(asked);
                None
            }
            Err(error) => panic!("{error}"),
        }
    })
}

/// Waits for a submission's durability.
pub fn wait(submission: &Submission) {
    if let Some(ticket) = &submission.ticket {
        assert!(ticket.block() == Durability::Durable, "the journal failed");
    }
}
