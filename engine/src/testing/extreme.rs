//! Hostile inputs at the bounds of money: what the ledger accepts of them must fold, whatever it is; what no ledger wrote must
//! be refused with the record's sequence.

use std::sync::Arc;

use super::stores::MemoryStore;
use crate::bytes::Fingerprint;
use crate::contract::limit::ClientLimit;
use crate::contract::pricing::{Conversion, RATE_MAX, Rates};
use crate::fact::{
    AccountStatus, Announced, Approval, Author, AuthorizationState, CardStatus, Channel, Closing, Decided, Difference,
    Effect, EndCause, Ended, Evidence, Fact, Flow, FundingPolicy, FundsReplaced, Gates, Import, ImportedCard,
    ImportedFiat, Inputs, Kind, LayerChange, MatchRule, Merchant, MovementRates, PoolCredited, PoolLimited,
    PoolReported, PoolSynced, Posting, Progress, Record, ReportedAccount, Request, Settled, Shown, Source,
    SourceChange, Summed, Upcharge, UseChange, UserReported, Verdict,
};
use crate::ids::{AuthorizationId, Sequence, UrId};
use crate::ledger::{Change, Ledger, Policy, Reflected};
use crate::money::{AMOUNT_MAX, ChfMinor, Currency, Minor, Money, SUM_MAX};
use crate::recovery::{folded, recover, verify};
use crate::rows::{FoldError, State};
use crate::store::Store;
use crate::time::{Moment, UnixMillis, UnixSeconds};

const START_SECONDS: i64 = 1_768_659_501;

/// How often one step of a script is repeated at most: more than any figure has room for.
const FLOOD: u32 = 520;

/// Amounts about every bound, and beyond.
const AMOUNTS: [i64; 16] = [
    0,
    1,
    2,
    999,
    AMOUNT_MAX.0 / 3,
    AMOUNT_MAX.0 - 1,
    AMOUNT_MAX.0,
    AMOUNT_MAX.0,
    AMOUNT_MAX.0 + 1,
    SUM_MAX.0,
    SUM_MAX.0 + 1,
    -1,
    -AMOUNT_MAX.0,
    i64::MAX,
    i64::MIN,
    i64::MAX / 2,
];

/// Reads a script: small numbers that name amounts, ids and kinds.
struct Script<'a>(std::slice::Iter<'a, u8>);

impl Script<'_> {
    fn number(&mut self, below: u8) -> u8 {
        self.0.next().copied().unwrap_or(0) % below
    }

    fn flag(&mut self) -> bool {
        self.number(2) == 1
    }

    fn amount(&mut self) -> Minor {
        Minor(AMOUNTS[usize::from(self.number(16))])
    }

    /// A movement without a reference.
    fn posting(&mut self, hash: compact_str::CompactString) -> Posting {
        Posting {
            hash,
            user: self.user(),
            flow: self.flow(),
            progress: self.progress(),
            amount: self.money(),
            at: UnixSeconds(START_SECONDS),
            mcc: None,
            merchant: None,
            references: smallvec::SmallVec::new(),
            awaits: None,
            ordinal: 0,
        }
    }

    fn signed(&mut self) -> Minor {
        let amount = self.amount();
        if self.flag() { amount } else { Minor(amount.0.saturating_neg()) }
    }

    fn francs(&mut self) -> ChfMinor {
        ChfMinor(self.amount().0)
    }

    fn currency(&mut self) -> Currency {
        if self.flag() { Currency::USD } else { Currency::EUR }
    }

    fn money(&mut self) -> Money {
        Money { amount: self.amount(), currency: self.currency() }
    }

    /// A user with a limit, one of UR's own accounts without, and one that is not there.
    fn user(&mut self) -> UrId {
        ["10000001", "9100", "10000002"][usize::from(self.number(3))].parse().expect("an id")
    }

    fn root(&mut self) -> AuthorizationId {
        format!("a{}", self.number(3)).parse().expect("an id")
    }

    fn limit(&mut self) -> ClientLimit {
        ClientLimit { used: self.francs(), client: self.francs(), start: UnixSeconds(START_SECONDS) }
    }

    fn progress(&mut self) -> Progress {
        [Progress::Completed, Progress::Completed, Progress::Pending, Progress::Rejected][usize::from(self.number(4))]
    }

    fn flow(&mut self) -> Flow {
        if self.flag() { Flow::In } else { Flow::Out }
    }

    fn request(&mut self, id: AuthorizationId) -> Request {
        let kind = [Kind::Authorization, Kind::Incremental, Kind::Reversal, Kind::Advice][usize::from(self.number(4))];
        let user = self.user();
        Request {
            id,
            kind,
            original: (kind != Kind::Authorization).then(|| self.root()),
            card: format!("card_{user}").parse().expect("an id"),
            user,
            amount: self.amount(),
            currency: self.currency(),
            settlement_amount: self.flag().then(|| self.amount()),
            settlement_currency: Some(Currency::EUR),
            partial_approval_allowed: self.flag(),
            merchant: Merchant::default(),
            channel: Channel::Pos,
            currency_given: None,
        }
    }
}

fn moment(step: u64) -> Moment {
    Moment { at: UnixMillis((START_SECONDS.unsigned_abs() + step) * 1000), trusted: true }
}

fn import(script: &mut Script<'_>) -> Import {
    let user = script.user();
    Import {
        status: AccountStatus::Live,
        limit: script.limit(),
        funds: script.flag().then(|| script.money()),
        fiat: vec![ImportedFiat { currency: script.currency(), amount: script.amount(), allowance: true }],
        funding: Some([FundingPolicy::CryptoThenFiat, FundingPolicy::Fiat][usize::from(script.number(2))]),
        overrides: false,
        provider: None,
        cards: vec![ImportedCard {
            id: format!("card_{user}").parse().expect("an id"),
            status: CardStatus::Active,
            currency: script.currency(),
            single_use: script.flag().then_some(true),
        }],
        user,
    }
}

/// Drives a ledger with the extreme inputs that `bytes` name, whatever it makes of each. Whatever it accepted folds, and rows
/// and journal agree.
///
/// # Panics
/// A record that the ledger wrote stops the start, or memory, rows and journal disagree.
pub fn fold_extremes(bytes: &[u8]) {
    let mut script = Script(bytes.iter());
    let store = MemoryStore::new();
    let plain: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let policy = Policy {
        limit_weight: 2,
        fx_buffer_bps: 10_000,
        partial_approval: true,
        credits_count_at_once: script.flag(),
        ..Policy::default()
    };
    let start = || {
        let recovered = recover(&plain).expect("what the ledger wrote is recovered");
        Ledger::start(Arc::clone(&plain), recovered.state, policy.clone(), 7, Box::new(|_| {}))
            .expect("a ledger starts")
    };
    let mut ledger = start();
    let person = Author::Person { name: "test".into(), idempotency: None };
    let rich = ClientLimit { used: ChfMinor(0), client: ChfMinor(AMOUNT_MAX.0), start: UnixSeconds(START_SECONDS) };
    let rate = if script.flag() { RATE_MAX } else { 9_450 };
    let pair = |from, to| ((from, to), Conversion { rate: 10_000, spread: 10_000 });
    let rates = Rates {
        chf: vec![(Currency::EUR, rate), (Currency::USD, 1)],
        pairs: vec![pair(Currency::EUR, Currency::USD), pair(Currency::USD, Currency::EUR)],
        interchange_percent: 99,
        ..Rates::default()
    };
    let mut set_up = vec![Change::ReplaceRates(Box::new(rates))];
    for currency in [Currency::EUR, Currency::USD] {
        set_up.push(report(currency, AMOUNT_MAX));
    }
    for user in ["10000001", "9100"] {
        let mut plain = import(&mut Script([].iter()));
        plain.user = user.parse().expect("an id");
        plain.limit = rich;
        plain.funds = Some(Money { amount: AMOUNT_MAX, currency: Currency::EUR });
        plain.fiat = vec![ImportedFiat { currency: Currency::EUR, amount: AMOUNT_MAX, allowance: true }];
        plain.cards.iter_mut().for_each(|card| card.id = format!("card_{user}").parse().expect("an id"));
        set_up.push(Change::ImportUser(Box::new(plain)));
    }
    for change in set_up {
        ledger.change(&person, change, moment(0)).expect("the world is set up");
    }
    let mut step = 0;
    while script.0.len() > 0 && step < 4 * u64::from(FLOOD) {
        let times = if script.number(16) == 15 { FLOOD } else { 1 };
        let again = script.0.clone();
        for _ in 0..times {
            step += 1;
            script.0 = again.clone();
            if script.number(32) == 0 {
                let _ = ledger.write_rows();
                ledger = start();
            } else {
                take(&ledger, &person, &mut script, step);
            }
        }
    }
    ledger.journal().close();
    let verification = verify(&plain).expect("every record that the ledger wrote folds");
    assert!(verification.is_equal(), "fold of the journal = rows and the records after them");
    let mut memory = ledger.snapshot().expect("memory does not fail");
    memory.load_rest(&*plain).expect("memory does not fail");
    let folded = folded(&plain).expect("every record that the ledger wrote folds");
    assert!(memory.tells_as(&folded), "what is told of an id = fold of the journal");
    assert_eq!(memory.hash().ok(), verification.state_hash_journal, "memory = fold of the journal");
}

fn report(currency: Currency, balance: Minor) -> Change {
    Change::ReportPool {
        currency,
        reported: Some(balance),
        floor: None,
        reserve: None,
        reflected: Some(Reflected::Now),
    }
}

/// One step; a refusal is as good as any other end.
fn take(ledger: &Ledger, person: &Author, script: &mut Script<'_>, step: u64) {
    let now = moment(step);
    let seen_through = ledger.journal().claimed();
    match script.number(12) {
        0..=3 => {
            let first = script.flag();
            let id = if first { script.root() } else { format!("n{step}").parse().expect("an id") };
            let request = script.request(id);
            if let Ok(submission) = ledger.submit(request, now)
                && script.number(4) == 0
            {
                let _ = ledger.give_up(&submission, now);
            }
        }
        4 | 5 => {
            let mut posting = script.posting(compact_str::format_compact!("h{step}"));
            posting.references = script.flag().then(|| script.root().as_str().into()).into_iter().collect();
            let _ = ledger.post(&posting, now);
        }
        6 => {
            let _ = ledger.sync_pool(script.currency(), script.amount(), seen_through, now);
        }
        7 => {
            let account = ReportedAccount {
                status: AccountStatus::Live,
                limit: script.limit(),
                allowances: vec![(script.currency(), true)],
            };
            let user = script.user();
            let balances = vec![script.money()];
            let _ = ledger.report_user(&user, script.flag().then_some(account), Some(balances), seen_through, now);
        }
        8 => {
            let _ = ledger.expire(&script.root(), now);
        }
        _ => {
            let change = change(script, step);
            let _ = ledger.change(person, change, now);
        }
    }
}

fn change(script: &mut Script<'_>, step: u64) -> Change {
    match script.number(5) {
        0 => Change::ReportPool {
            currency: script.currency(),
            reported: script.flag().then(|| script.amount()),
            floor: script.flag().then(|| script.amount()),
            reserve: script.flag().then(|| script.amount()),
            reflected: script
                .flag()
                .then(|| if script.flag() { Reflected::Now } else { Reflected::Through(Sequence(4)) }),
        },
        1 => {
            let reference = compact_str::format_compact!("credit {step}");
            Change::CreditPool { currency: script.currency(), amount: script.amount(), reference }
        }
        2 => {
            let debited = vec![script.root()];
            Change::ReplaceFunds { user: script.user(), funds: script.money(), version: step, debited }
        }
        3 => Change::ImportUser(Box::new(import(script))),
        _ => Change::Release { root: script.root(), reason: "test".into() },
    }
}

/// Folds records that no ledger wrote: their bytes are whole, their figures are anything. Each is folded, or refused by an
/// error that names it.
///
/// # Panics
/// An error names another record.
pub fn fold_anything(bytes: &[u8]) {
    let mut script = Script(bytes.iter());
    let mut state = State::default();
    let mut sequence = Sequence::ZERO;
    while script.0.len() > 0 {
        sequence = sequence.next();
        let at = moment(sequence.0).at;
        let record = Record { at, author: Author::Ur, fact: fact(&mut script, sequence) };
        let record = Record::decode(&record.encode()).expect("a record's own bytes");
        let before = state.clone();
        match state.fold(sequence, &record) {
            Ok(()) => {}
            Err(FoldError::Illegal { sequence: named, reason }) => {
                assert_eq!(named, sequence, "{reason}");
                // A start stops here; the next record is tried on what stood before.
                state = before;
            }
            Err(FoldError::Store(error)) => unreachable!("memory does not fail: {error}"),
        }
    }
}

fn fact(script: &mut Script<'_>, sequence: Sequence) -> Fact {
    let draw = |script: &mut Script<'_>| Sequence(1 + u64::from(script.number(8)));
    match script.number(11) {
        0 => Fact::UserImported(Box::new(import(script))),
        1 | 2 => {
            let id = if script.flag() { script.root() } else { format!("n{sequence}").parse().expect("an id") };
            let approval = Approval {
                source: if script.flag() { Source::Fiat } else { Source::Crypto },
                amount: script.amount(),
                paid: script.money(),
                spent: script.francs(),
                limit: script.francs(),
                funds: script.flag().then(|| script.money()),
                upcharge: Upcharge { paid: script.amount(), funds: script.amount() },
            };
            let request = script.request(id);
            let verdict = Verdict::Approved(approval);
            Fact::Decided(Box::new(Decided {
                request,
                fingerprint: Fingerprint::of(b""),
                inputs: no_values(),
                verdict,
                previous: Sequence::ZERO,
                settled: script.flag().then(|| Box::new(difference(script))),
            }))
        }
        3 | 4 => {
            let evidence = evidence(script, sequence);
            Fact::Settled(Box::new(Settled {
                root: script.root(),
                previous: Sequence::ZERO,
                user: Some(script.user()),
                evidence,
                change: difference(script),
            }))
        }
        5 => Fact::UserReported(Box::new(UserReported {
            user: script.user(),
            account: script.flag().then(|| ReportedAccount {
                status: AccountStatus::Live,
                limit: script.limit(),
                allowances: Vec::new(),
            }),
            balances: Some(vec![script.money()]),
            seen_through: draw(script),
        })),
        6 => Fact::PoolReported(PoolReported {
            currency: script.currency(),
            reported: script.amount(),
            floor: script.amount(),
            reserve: script.amount(),
            reflected_through: draw(script),
            available_change: script.amount(),
        }),
        7 => Fact::PoolSynced(PoolSynced {
            currency: script.currency(),
            reported: script.amount(),
            seen_through: draw(script),
            available_change: script.amount(),
            credits_shown: script.amount(),
        }),
        8 => Fact::PoolCredited(PoolCredited {
            currency: script.currency(),
            amount: script.amount(),
            reference: "credit".into(),
            counted: script.amount(),
        }),
        9 => Fact::PoolLimited(PoolLimited {
            currency: script.currency(),
            floor: script.amount(),
            reserve: script.amount(),
            available_change: script.amount(),
        }),
        _ => Fact::FundsReplaced(FundsReplaced {
            user: script.user(),
            funds: script.money(),
            version: sequence.0,
            ended: vec![draw(script)],
        }),
    }
}

fn evidence(script: &mut Script<'_>, sequence: Sequence) -> Evidence {
    match script.number(4) {
        0 => Evidence::Announced(Box::new(Announced {
            request: script.request(format!("n{sequence}").parse().expect("an id")),
            fingerprint: Fingerprint::of(b""),
            counted: script.amount(),
            released: script.amount(),
            limit: script.francs(),
            limit_max: script.francs(),
            mismatch: None,
        })),
        1 => Evidence::Ended(Ended {
            cause: EndCause::Expired,
            draws: std::iter::once(Sequence(u64::from(script.number(8)))).collect(),
            despite: Vec::new(),
        }),
        2 => {
            let closing = [Closing::WillCome, Closing::WrittenOff, Closing::Charged][usize::from(script.number(3))];
            Evidence::Closed { closing, owed: Vec::new(), answer: None }
        }
        _ => Evidence::Shown(Box::new(Shown {
            posting: script.posting("h".into()),
            number: u16::from(script.number(3)),
            value: script.amount(),
            limit: script.francs(),
            funds: script.flag().then(|| script.money()),
            draw: None,
            is_final: script.flag(),
            is_charged: script.flag(),
            rates: MovementRates::default(),
            summed: script.flag().then(|| Summed { progress: Progress::Rejected, amount: script.amount() }),
            rule: MatchRule::Reference,
        })),
    }
}

/// A difference that no ledger derived.
fn difference(script: &mut Script<'_>) -> Difference {
    let state = AuthorizationState::ALL[usize::from(script.number(10))];
    let mut difference = Difference::none(state, script.currency());
    difference.effect =
        [Effect::Cleared, Effect::Refunded, Effect::Reversed, Effect::Noted][usize::from(script.number(4))];
    difference.source = Some(Source::Crypto);
    difference.taken = script.signed();
    for _ in 0..script.number(4) {
        let made_by = script.flag().then(|| Sequence(1 + u64::from(script.number(8))));
        difference.layers.push(LayerChange {
            sequence: made_by,
            held: script.signed(),
            settled: script.amount(),
            limit: ChfMinor(script.signed().0),
            spent: ChfMinor(script.signed().0),
            debit: script.signed(),
            funds: script.signed(),
            currency: script.currency(),
            number: 2,
            shown: ChfMinor(script.signed().0),
            upcharge: Upcharge { paid: script.signed(), funds: script.signed() },
        });
    }
    let source = |script: &mut Script<'_>| SourceChange {
        currency: script.currency(),
        held: script.signed(),
        available: script.signed(),
        upcharged: script.signed(),
        completed: script.amount(),
        returned: script.amount(),
    };
    if script.flag() {
        difference.pools.push(source(script));
    }
    if script.flag() {
        difference.fiat.push(source(script));
    }
    for sequence in [None, Some(Sequence(u64::from(script.number(8))))] {
        let (limit, shown) = (ChfMinor(script.signed().0), ChfMinor(script.signed().0));
        difference.return_uses.push(UseChange { sequence, limit, shown });
    }
    difference
}

/// A fold looks at none of them.
fn no_values() -> Inputs {
    Inputs {
        now: UnixSeconds(START_SECONDS),
        gates: Gates {
            program_suspended: false,
            provider_suspended: false,
            reversed_before: false,
            parent_found: true,
            time_trusted: true,
            disk_low: false,
        },
        user: None,
        card: None,
        card_use: crate::fact::CardUse::default(),
        upcharge_percent: 0,
        stress: None,
        listed: crate::fact::Listed::default(),
        amount_max: Vec::new(),
        velocity: Vec::new(),
        rates_age_seconds: None,
        rates_max_age_seconds: None,
        limit_weight: 1,
        fx_buffer_bps: 0,
        zero_amount_holds: 1,
        sources: smallvec::SmallVec::new(),
        routes: smallvec::SmallVec::new(),
        claimed: None,
    }
}
