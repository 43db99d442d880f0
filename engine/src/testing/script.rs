//! Random operations against the ledger and the model at once, with crashes, restarts, turns of rows and a failing disk
//! in between.

use std::sync::Arc;

use super::model::{Model, ModelControls, ModelReply, ModelTap, ModelUser, Seen};
use super::shown::Status;
use super::stores::{FailAfter, MemoryStore};
use crate::contract::limit::ClientLimit;
use crate::contract::pricing::{Conversion, Rates};
use crate::fact::{
    AccountStatus, Author, CardStatus, Channel, Controls, Flow, FundingPolicy, HoldUpcharge, Import, ImportedCard,
    ImportedFiat, Kind, Merchant, Period, Posting, Progress, Record, Request, Source, StressTier, Tolerance,
    VelocityRule,
};
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::journal::Durability;
use crate::ledger::{Change, ChangeError, Ledger, Policy, Reflected, Reply, Submission};
use crate::money::{ChfMinor, Currency, Minor, Money};
use crate::recovery::{recover, verify};
use crate::rows::{Outcome, State};
use crate::rules::claimed;
use crate::store::Store;
use crate::time::{Moment, UnixMillis, UnixSeconds};

const START_SECONDS: i64 = 1_768_659_501;

const CURRENCIES: [&str; 4] = ["EUR", "USD", "THB", "XXX"];

const USERS: usize = 3;

/// Categories of taps; the first tells none.
const MCCS: [Option<u16>; 4] = [None, Some(5_411), Some(5_812), Some(5_912)];

/// Controls that a script sets; the last only where UR shows nothing, which the model counts no francs of.
const CONTROLS: [fn() -> ModelControls; 5] = [
    ModelControls::default,
    || ModelControls { hourly: Some(6), ..ModelControls::default() },
    || ModelControls { only_mccs: vec![5_411, 5_812], ..ModelControls::default() },
    || ModelControls { daily: Some(3), ..ModelControls::default() },
    || ModelControls { daily: Some(5), monthly: Some(4_000), ..ModelControls::default() },
];

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new authorization.
    Tap {
        /// Its number; an old one is asked again.
        id: u8,
        /// A user, or one that is not there.
        user: u8,
        /// In smallest units.
        amount: u16,
        /// Index of the currency.
        currency: u8,
        /// Index of the category.
        mcc: u8,
    },
    /// An increment of an earlier number.
    Increment {
        /// The root's number.
        root: u8,
        /// In smallest units.
        amount: u16,
    },
    /// A reversal of a number, known or not.
    Reverse {
        /// The root's number.
        root: u8,
        /// In smallest units.
        amount: u16,
    },
    /// The last request once more.
    Again,
    /// Time passes.
    Wait {
        /// In steps of 20 minutes.
        steps: u8,
    },
    /// Time passes until a second after the start, unless it has passed.
    WaitUntil {
        /// The second.
        seconds: i64,
    },
    /// A pool's report.
    Report {
        /// EUR or USD.
        usd: bool,
        /// The balance, in smallest units.
        balance: u16,
        /// Kept back.
        reserve: u8,
        /// It reflects every approval so far.
        reflects_all: bool,
    },
    /// New funds of a user, with the last approval debited.
    Funds {
        /// The user.
        user: u8,
        /// The figure.
        amount: u16,
        /// Above the last version, or not.
        newer: bool,
        /// The number whose debit is in the figure.
        debited: u8,
    },
    /// A user is suspended or resumed.
    Suspend {
        /// The user.
        user: u8,
        /// The new state.
        suspended: bool,
    },
    /// A card is frozen or made active.
    Freeze {
        /// Its user.
        user: u8,
        /// The new state.
        frozen: bool,
    },
    /// A person makes a user's card single-use, or no longer so.
    SingleUse {
        /// The user.
        user: u8,
        /// The new state.
        single_use: bool,
    },
    /// A person replaces a user's controls.
    Control {
        /// The user.
        user: u8,
        /// Which controls.
        controls: u8,
    },
    /// A person releases an authorization.
    Release {
        /// Its number.
        root: u8,
    },
    /// UR shows a movement of an approved authorization.
    Show {
        /// The root's number.
        root: u8,
        /// Which of the authorization's hashes.
        hash: u8,
        /// UR debits; else it gives back.
        is_out: bool,
        /// Index of the status.
        status: u8,
        /// In smallest units, or a share of what was paid.
        amount: u16,
    },
    /// Rows are written, and everything old enough leaves memory.
    Settle,
    /// The process ends and starts again.
    Restart,
    /// The disk fails after so many more appends; the process ends and starts again.
    FailDisk {
        /// Appends that still pass.
        after: u8,
    },
}

/// Reads operations from arbitrary bytes, five to an operation.
#[must_use]
pub fn operations(bytes: &[u8]) -> Vec<Operation> {
    bytes.chunks_exact(5).map(operation).collect()
}

fn operation(bytes: &[u8]) -> Operation {
    let byte = |place: usize| bytes.get(place).copied().unwrap_or(0);
    let (id, user, amount) = (byte(1) % 24, byte(2) % 4, u16::from_le_bytes([byte(3), byte(4)]));
    match byte(0) % 30 {
        0..=8 => Operation::Tap { id, user, amount: amount % 6000, currency: byte(2) >> 6, mcc: byte(2) >> 4 },
        9 | 10 => Operation::Increment { root: id, amount: amount % 3000 },
        11..=13 => Operation::Reverse { root: id, amount: amount % 4000 },
        14 => Operation::Again,
        15 => Operation::Wait { steps: byte(1) },
        16 => Operation::Report { usd: user & 1 == 1, balance: amount, reserve: byte(1), reflects_all: user & 2 == 2 },
        17 => Operation::Funds { user, amount, newer: byte(1) & 64 == 0, debited: id },
        18 => Operation::Suspend { user, suspended: byte(1) & 3 == 3 },
        19 => Operation::Freeze { user, frozen: byte(1) & 3 == 3 },
        20 => Operation::Release { root: id },
        21 => Operation::Settle,
        22 => Operation::Restart,
        23 if byte(1) >= 192 => Operation::SingleUse { user, single_use: byte(1) & 1 == 1 },
        23 if byte(1) >= 64 => Operation::Control { user, controls: byte(1) % 4 },
        24..=29 => {
            Operation::Show { root: id, hash: byte(2) >> 2 & 3, is_out: user != 3, status: byte(2) >> 4, amount }
        }
        _ => Operation::FailDisk { after: byte(1) % 4 },
    }
}

/// Runs what arbitrary bytes say. For fuzzing.
///
/// # Panics
/// On any disagreement of the ledger with the model, of memory with the fold, or of a prefix with the invariants.
pub fn run_script(bytes: &[u8]) {
    run(&operations(bytes));
}

/// Runs operations against ledger and model.
///
/// # Panics
/// As [`run_script`].
pub fn run(operations: &[Operation]) {
    let mut world = World::new();
    for (step, operation) in operations.iter().enumerate() {
        world.step(operation, step);
        world.compare(step, operation);
    }
    world.ledger().journal().close();
    check_prefixes(&world.store);
}

/// Checks that every prefix of a journal folds to a legal state, and that rows and journal agree.
///
/// # Panics
/// Where one is not legal.
pub fn check_prefixes(store: &Arc<MemoryStore>) {
    let mut state = State::empty(&**store);
    for entry in store.entries() {
        let record = Record::decode(&entry.payload).expect("a record that was written can be read");
        let bytes = record.encode();
        assert_eq!(bytes, entry.payload, "record {} encodes to its own bytes", entry.sequence);
        state.fold(entry.sequence, &record).expect("memory does not fail");
        state.assert_legal(entry.sequence);
    }
    state.assert_told(&**store);
    let store: Arc<dyn Store> = Arc::clone(store) as Arc<dyn Store>;
    let verification = verify(&store).expect("the journal verifies");
    assert!(verification.is_equal(), "fold of the journal = rows and the records after them");
}

struct World {
    store: Arc<MemoryStore>,
    ledger: Option<Ledger>,
    failing: bool,
    model: Model,
    now: i64,
    /// The first request of each number, to ask it again.
    asked: Vec<(Request, ModelReply)>,
    increments: u32,
}

fn currency(code: &str) -> Currency {
    code.parse().expect("a currency")
}

fn user_id(user: usize) -> UrId {
    format!("user{user}").parse().expect("an id")
}

fn person() -> Author {
    Author::Person { name: "test".into(), idempotency: None }
}

impl World {
    fn new() -> World {
        let store = MemoryStore::new();
        let mut world = World {
            store,
            ledger: None,
            failing: false,
            model: Model::default(),
            now: START_SECONDS,
            asked: Vec::new(),
            increments: 0,
        };
        world.start(None);
        world.set_up();
        world
    }

    fn start(&mut self, fail_after: Option<u32>) {
        self.ledger = None;
        let plain: Arc<dyn Store> = Arc::clone(&self.store) as Arc<dyn Store>;
        let store: Arc<dyn Store> = match fail_after {
            Some(appends) => FailAfter::new(Arc::clone(&self.store), appends),
            None => Arc::clone(&plain),
        };
        self.failing = fail_after.is_some();
        let recovered = recover(&plain).expect("what was written is recovered");
        let tier = StressTier { below_reserve_percent: 150, amount_max: Some(ChfMinor(800)), mcc: vec![5_411] };
        let hold_upcharge = vec![HoldUpcharge { mcc: 5_812, percent: 20 }];
        let policy = Policy { stress: vec![tier], hold_upcharge, ..Policy::default() };
        let ledger = Ledger::start(store, recovered.state, policy, 7, Box::new(|_| {}));
        self.ledger = Some(ledger.expect("a ledger starts"));
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().expect("the ledger runs")
    }

    fn moment(&self) -> Moment {
        Moment { at: UnixMillis(u64::try_from(self.now).expect("after 1970") * 1000), trusted: true }
    }

    /// Makes a change durable. `None` where the disk failed; the process was then started again.
    fn change(&mut self, change: &Change) -> Option<Result<(), ChangeError>> {
        let made = self.ledger().change(&person(), change.clone(), self.moment());
        match made {
            Ok(receipt) => {
                if receipt.ticket.is_none_or(|ticket| ticket.block() == Durability::Durable) {
                    return Some(Ok(()));
                }
                self.start(None);
                None
            }
            Err(ChangeError::NoPlace(_)) => {
                self.start(None);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn set_up(&mut self) {
        let pair = |from, to, rate| ((currency(from), currency(to)), Conversion { rate, spread: 10150 });
        let rates = Rates {
            chf: vec![(Currency::EUR, 9_450), (Currency::USD, 8_630)],
            pairs: vec![pair("EUR", "USD", 10907), pair("USD", "EUR", 9168)],
            interchange_percent: 1,
            ..Rates::default()
        };
        self.change(&Change::ReplaceRates(Box::new(rates)));
        let policies = [FundingPolicy::Crypto, FundingPolicy::CryptoThenFiat, FundingPolicy::FiatThenCrypto];
        let sources = [vec!["CRYPTO"], vec!["CRYPTO", "FIAT"], vec!["FIAT", "CRYPTO"]];
        for (user, (policy, sources)) in policies.into_iter().zip(sources).enumerate() {
            let funds_currency = if user == 0 { "USD" } else { "EUR" };
            let figures = ModelUser {
                sources,
                suspended: false,
                frozen: false,
                single_use: false,
                card_used: false,
                used: 2_000,
                client: 30_000,
                start: START_SECONDS,
                funds: 20_000,
                funds_currency,
                version: 0,
                fiat: 6_000,
                allowance: user != 1,
                controls: ModelControls::default(),
            };
            self.change(&Change::ImportUser(Box::new(import(user, policy, &figures))));
            self.model.users.push(figures);
        }
        self.control(0, &ModelControls { hourly: Some(6), ..ModelControls::default() });
        self.report("EUR", 25_000, 100, true);
        self.report("USD", 9_000, 0, true);
    }

    fn control(&mut self, user: usize, new: &ModelControls) {
        let hourly = |most| VelocityRule { period: Period::Sliding(3600), amount_max: None, count_max: Some(most) };
        let calendar = |window, zone| Period::calendar(window, zone).expect("a window");
        let daily =
            |most| VelocityRule { period: calendar("day", "Europe/Zurich"), amount_max: None, count_max: Some(most) };
        let monthly = |most| VelocityRule {
            period: calendar("month", "America/New_York"),
            amount_max: Some(ChfMinor(most)),
            count_max: None,
        };
        let velocity = [new.hourly.map(hourly), new.daily.map(daily), new.monthly.map(monthly)];
        let controls = Controls {
            velocity: velocity.into_iter().flatten().collect(),
            mcc_allow: new.only_mccs.clone(),
            ..Controls::default()
        };
        if self.change(&Change::ControlUser { user: user_id(user), controls }).is_some() {
            self.model.users[user].controls = new.clone();
        }
    }

    fn report(&mut self, code: &'static str, balance: i64, reserve: i64, reflects_all: bool) {
        let change = Change::ReportPool {
            currency: currency(code),
            reported: Some(Minor(balance)),
            floor: None,
            reserve: Some(Minor(reserve)),
            reflected: reflects_all.then_some(Reflected::Now),
        };
        if self.change(&change).is_some() {
            self.model.report(code, balance, reserve, reflects_all);
        }
    }

    fn step(&mut self, operation: &Operation, step: usize) {
        match *operation {
            Operation::Tap { id, user, amount, currency, mcc } => {
                let code = CURRENCIES[usize::from(currency) % CURRENCIES.len()];
                let (user, amount, mcc) = (usize::from(user), i64::from(amount), MCCS[usize::from(mcc) % MCCS.len()]);
                let plain = request(&format!("a{id}"), Kind::Authorization, None, user, amount, code);
                let request = Request { merchant: Merchant { mcc, ..Merchant::default() }, ..plain };
                let user = (user < USERS).then_some(user);
                let tap = ModelTap { id: u32::from(id), parent: None, user, amount, currency: code, mcc };
                let now = self.now;
                self.submit(&request, |model| model.tap(tap, now));
            }
            Operation::Increment { root, amount } => {
                self.increments += 1;
                let number = 1000 + self.increments;
                let (user, code) = self.owner(root);
                let id = format!("i{number}");
                let amount = i64::from(amount);
                let request = request(&id, Kind::Incremental, Some(root), user, amount, code);
                let (now, user) = (self.now, (user < USERS).then_some(user));
                let parent = Some(u32::from(root));
                let tap = ModelTap { id: number, parent, user, amount, currency: code, mcc: None };
                self.submit(&request, |model| model.tap(tap, now));
            }
            Operation::Reverse { root, amount } => {
                let (user, code) = self.owner(root);
                let request = request(&format!("r{step}"), Kind::Reversal, Some(root), user, i64::from(amount), code);
                let now = self.now;
                self.submit(&request, |model| model.reverse(u32::from(root), user, i64::from(amount), code, now));
            }
            Operation::Again => {
                if let Some((request, _)) = self.asked.last().cloned() {
                    self.submit(&request, |_| unreachable!("it was asked before"));
                }
            }
            Operation::Wait { steps } => self.now += i64::from(steps) * 1200,
            Operation::WaitUntil { seconds } => self.now = self.now.max(START_SECONDS + seconds),
            Operation::Report { usd, balance, reserve, reflects_all } => {
                self.report(if usd { "USD" } else { "EUR" }, i64::from(balance), i64::from(reserve), reflects_all);
            }
            Operation::Funds { user, amount, newer, debited } => self.funds(user, amount, newer, debited),
            Operation::Suspend { user, suspended } => {
                let user = usize::from(user) % USERS;
                if self.change(&Change::SuspendUser { user: user_id(user), suspended }).is_some() {
                    self.model.users[user].suspended = suspended;
                }
            }
            Operation::Freeze { user, frozen } => {
                let user = usize::from(user) % USERS;
                let status = if frozen { CardStatus::Frozen } else { CardStatus::Active };
                let card = format!("card{user}").parse().expect("an id");
                if self.change(&Change::ChangeCard { card, status }).is_some() {
                    self.model.users[user].frozen = frozen;
                    self.model.users[user].card_used &= frozen;
                }
            }
            Operation::SingleUse { user, single_use } => {
                let user = usize::from(user) % USERS;
                let card = format!("card{user}").parse().expect("an id");
                if self.change(&Change::SetCardUse { card, single_use }).is_some() {
                    let own = &mut self.model.users[user];
                    // What was used stays frozen until a person activates it.
                    own.frozen |= own.card_used && !single_use;
                    own.card_used &= single_use;
                    own.single_use = single_use;
                }
            }
            Operation::Control { user, controls } => {
                let user = usize::from(user) % USERS;
                self.control(user, &CONTROLS[usize::from(controls) % CONTROLS.len()]());
            }
            Operation::Release { root } => {
                let id = format!("a{root}").parse().expect("an id");
                if let Some(released) = self.change(&Change::Release { root: id, reason: "test".into() }) {
                    assert_eq!(released.is_ok(), self.model.release(u32::from(root)), "release of a{root}");
                }
            }
            Operation::Show { root, hash, is_out, status, amount } => self.show(root, hash, is_out, status, amount),
            Operation::Settle => match self.ledger().write_rows() {
                Ok(_) => assert_eq!(self.ledger().ids_in_memory(), 0, "of ids whose records are all in the index"),
                Err(_) => self.start(None),
            },
            Operation::Restart => self.start(None),
            Operation::FailDisk { after } => self.start(Some(u32::from(after))),
        }
    }

    fn show(&mut self, root: u8, hash: u8, is_out: bool, status: u8, amount: u16) {
        let Some((user, paid, code)) = self.model.paid(u32::from(root)) else { return };
        // Most rows show what was paid, or a part that may complete it.
        let amount = match amount % 5 {
            0 | 1 => paid,
            2 => paid / 2,
            3 => paid - paid / 2,
            _ => i64::from(amount % 4000),
        };
        let amount = amount.max(1);
        let (progress, status) = match status % 8 {
            0 => (Progress::Shown, Status::Shown),
            1 | 2 => (Progress::Pending, Status::Pending),
            3 => (Progress::Rejected, Status::Rejected),
            _ => (Progress::Completed, Status::Completed),
        };
        let id = format!("a{root}");
        let posting = Posting {
            hash: format!("h{root}_{hash}").into(),
            user: user_id(user),
            flow: if is_out { Flow::Out } else { Flow::In },
            progress,
            amount: Money { amount: Minor(amount), currency: currency(code) },
            at: UnixSeconds(self.now),
            mcc: None,
            merchant: None,
            references: [id.as_str().into()].into_iter().collect(),
            awaits: Some(id.parse().expect("an id")),
            ordinal: 0,
        };
        let posted = match self.ledger().post(&posting, self.moment()) {
            Err(ChangeError::NoPlace(_)) => return self.start(None),
            posted => posted.expect("a movement in range is posted"),
        };
        let is_news = posted.is_some();
        if posted.is_some_and(|receipt| receipt.ticket.block() != Durability::Durable) {
            return self.start(None);
        }
        let expected = self.model.show(u32::from(root), hash, is_out, status, amount);
        assert_eq!(is_news, expected, "whether {posting:?} is news");
    }

    /// Who the first request of a number was for, so that its increments and reversals fit.
    fn owner(&self, root: u8) -> (usize, &'static str) {
        let id = format!("a{root}");
        let first = self.asked.iter().find(|(request, _)| request.id.as_str() == id);
        first.map_or((usize::from(root) % USERS, "EUR"), |(request, _)| {
            let user = request.user.as_str().trim_start_matches("user").parse().unwrap_or(USERS);
            let code = CURRENCIES.into_iter().find(|code| *code == request.currency.as_str());
            (user, code.unwrap_or("EUR"))
        })
    }

    fn funds(&mut self, user: u8, amount: u16, newer: bool, debited: u8) {
        let user = usize::from(user) % USERS;
        let version = self.model.users[user].version + u64::from(newer);
        let change = Change::ReplaceFunds {
            user: user_id(user),
            funds: Money {
                amount: Minor(i64::from(amount)),
                currency: currency(self.model.users[user].funds_currency),
            },
            version,
            debited: vec![format!("a{debited}").parse().expect("an id")],
        };
        if let Some(made) = self.change(&change) {
            let expected = self.model.replace_funds(user, i64::from(amount), version, &[u32::from(debited)]);
            assert_eq!(made.is_ok(), expected, "funds of user{user} at version {version}");
        }
    }

    fn submit(&mut self, request: &Request, model: impl FnOnce(&mut Model) -> ModelReply) {
        let asked = self.asked.iter().find(|(asked, _)| asked.id == request.id).cloned();
        let submission = self.ledger().submit(request.clone(), self.moment()).expect("the queue has room");
        let Some(reply) = settle(submission) else {
            self.start(None);
            return;
        };
        let Some(outcome) = reply.outcome else {
            let first = asked.expect("only a known id can mismatch").0;
            assert_ne!(of_money(&first), of_money(request), "the same request is no mismatch");
            return;
        };
        let seen = seen(outcome);
        if seen == ModelReply::Declined("journal_unavailable") {
            self.start(None);
            return;
        }
        if let Some((first, answered)) = asked {
            assert_eq!(of_money(&first), of_money(request), "other data is a mismatch");
            assert_eq!(seen, answered, "the stored answer of {}", request.id);
            return;
        }
        let expected = model(&mut self.model);
        assert_eq!(seen, expected, "{request:?}");
        self.asked.push((request.clone(), expected));
    }

    fn compare(&mut self, step: usize, operation: &Operation) {
        let at = format!("after step {step}, {operation:?}");
        if self.ledger().journal().has_failed() {
            return;
        }
        let within = |(least, most): (i64, i64), figure: i64, what: &str| {
            assert!((least..=most).contains(&figure), "{what}: {figure} is not in {least}..={most}, {at}");
            figure
        };
        let mut seen = Seen::default();
        for code in ["EUR", "USD"] {
            let pool = self.ledger().pool(currency(code)).expect("the pool was reported");
            seen.available.insert(code, within(self.model.available(code), pool.available.0, code));
            assert_eq!(pool.held.0, self.model.held(code), "{code} held {at}");
        }
        for (number, figures) in self.model.users.iter().enumerate() {
            let id = user_id(number);
            let user = self.ledger().user(&id).expect("the user was imported");
            let funds = user.funds.expect("funds were imported");
            assert_eq!(funds.amount.0, figures.funds, "{id} funds {at}");
            seen.funds.insert(number, within(self.model.funds_held(number), funds.held.0, "funds held"));
            let fiat = user.fiat_in(Currency::EUR).expect("a balance was imported");
            assert_eq!(fiat.held.0, self.model.fiat_held(number), "{id} fiat held {at}");
            let left = user.limit_left(&id, UnixSeconds(self.now));
            seen.limit_left.insert(number, within(self.model.limit_left(number, self.now), left.0, "limit left"));
        }
        for root in 0..24 {
            let id: AuthorizationId = format!("a{root}").parse().expect("an id");
            let found = self.ledger().find(&id).expect("memory does not fail").and_then(|found| found.authorization);
            assert_eq!(found.as_ref().map(|row| row.state.name()), self.model.state(root), "a{root} {at}");
            let Some(row) = found else { continue };
            let claimed = claimed(&row, Tolerance::default(), None);
            seen.beyond.insert(root, claimed.map_or(0, |claimed| claimed.limit.0));
        }
        self.model.see(seen);
    }
}

/// What money depends on in a request: other merchant data is no mismatch.
fn of_money(request: &Request) -> Request {
    Request { merchant: Merchant::default(), ..request.clone() }
}

/// The reply once durable; `None` where the disk failed.
fn settle(submission: Submission) -> Option<Reply> {
    match submission.ticket.clone() {
        Some(ticket) => {
            let durability = ticket.block();
            submission.reply_when(durability)
        }
        None => Some(submission.reply),
    }
}

fn seen(outcome: Outcome) -> ModelReply {
    match outcome {
        Outcome::Approved { source, amount, .. } => ModelReply::Approved(source.name(), amount.0),
        Outcome::Declined(reason) => ModelReply::Declined(reason.name()),
        Outcome::Acknowledged { amount } => ModelReply::Acknowledged(amount.0),
    }
}

fn request(id: &str, kind: Kind, root: Option<u8>, user: usize, amount: i64, code: &str) -> Request {
    let settlement = (code == "THB").then_some((amount + 39) / 40);
    Request {
        id: id.parse().expect("an id"),
        kind,
        original: root.map(|root| format!("a{root}").parse().expect("an id")),
        user: user_id(user),
        card: format!("card{user}").parse().expect("an id"),
        amount: Minor(amount),
        currency: currency(code),
        settlement_amount: settlement.map(Minor),
        settlement_currency: settlement.map(|_| Currency::EUR),
        partial_approval_allowed: false,
        merchant: Merchant::default(),
        channel: Channel::Pos,
        currency_given: None,
    }
}

fn import(user: usize, funding: FundingPolicy, figures: &ModelUser) -> Import {
    let card = ImportedCard {
        id: format!("card{user}").parse().expect("an id"),
        status: CardStatus::Active,
        currency: Currency::EUR,
        single_use: None,
    };
    Import {
        user: user_id(user),
        status: AccountStatus::Live,
        limit: ClientLimit {
            used: ChfMinor(figures.used),
            client: ChfMinor(figures.client),
            start: UnixSeconds(figures.start),
        },
        funds: Some(Money { amount: Minor(figures.funds), currency: currency(figures.funds_currency) }),
        fiat: vec![ImportedFiat { currency: Currency::EUR, amount: Minor(figures.fiat), allowance: figures.allowance }],
        funding: Some(funding),
        overrides: false,
        provider: None,
        cards: vec![card],
    }
}

impl State {
    /// Asserts the invariants that hold at every record: no figure below zero by approvals, holds of user and
    /// authorization alike, conservation between pools and holds.
    ///
    /// # Panics
    /// Where one does not hold.
    pub fn assert_legal(&self, at: Sequence) {
        for (id, row) in self.authorizations.iter() {
            let held = row.held();
            let of_user = self.users.get(&row.user).map_or(Minor::ZERO, |user| {
                let own = user.holds().iter().filter(|hold| hold.root == *id);
                own.map(|hold| hold.paid.amount).sum()
            });
            assert_eq!(of_user, held.amount, "{id} is held alike in both rows, at {at}");
        }
        for (id, user) in self.users.iter() {
            let upcharges =
                self.authorizations.iter().filter(|(_, row)| row.user == *id).map(|(_, row)| row.upcharge());
            let held = user.holds().iter().map(|hold| hold.funds).chain(upcharges.map(|upcharge| upcharge.funds)).sum();
            assert_eq!(user.funds.map_or(Minor::ZERO, |funds| funds.held), held, "{id} funds held, at {at}");
        }
        for (_, pool) in self.pools.iter() {
            let currency = pool.figures.currency;
            let holds = self.users.iter().flat_map(|(_, user)| user.holds());
            let of_pool = holds.filter(|hold| hold.source == Source::Crypto && hold.paid.currency == currency);
            let held = of_pool.map(|hold| hold.paid.amount).sum();
            assert_eq!(pool.figures.held, held, "{currency} held = the holds, at {at}");
            let drawn = self.authorizations.iter().map(|(_, row)| row);
            let drawn = drawn.filter(|row| row.source == Some(Source::Crypto) && row.paid_currency == currency);
            let upcharged = drawn.map(|row| row.upcharge().paid).sum();
            assert_eq!(pool.figures.upcharged, upcharged, "{currency} held above the approved amounts, at {at}");
        }
        let mut open = std::collections::BTreeSet::new();
        for alert in self.shelves.alerts.open() {
            let (kind, subject) = (alert.condition.kind, &alert.condition.subject);
            assert!(open.insert((kind, subject)), "one open alert {} of {subject}, at {at}", kind.name());
        }
        let mut awaited = std::collections::BTreeSet::new();
        for prefund in self.shelves.prefunds.open() {
            assert!(awaited.insert((prefund.currency, &prefund.reference)), "one prefund per reference, at {at}");
        }
    }
}
