//! Cases that UR's own published contracts decided, executed: the engine decides the same, but for the differences that
//! docs/ur-facts.md names.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected stops")]

use proptest::prelude::*;
use serde_json::Value;
use tapgate_engine::contract::limit::{ClientLimit, to_chf};
use tapgate_engine::contract::pricing::{Conversion, Rates};
use tapgate_engine::fact::{
    AccountStatus, CardStatus, FiatChoice, FundingPolicy, Import, ImportedCard, ImportedFiat, Kind, Request,
};
use tapgate_engine::ids::UrId;
use tapgate_engine::ledger::{Change, Policy};
use tapgate_engine::money::{AMOUNT_MAX, ChfMinor, Currency, Minor};
use tapgate_engine::rows::Outcome;
use tapgate_engine::testing::MemoryStore;
use tapgate_engine::time::Moment;

use crate::world::{self, World, at, tap};

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/contract-vectors.json")).unwrap()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

fn rate(value: &Value) -> u32 {
    u32::try_from(number(value)).unwrap()
}

/// The contract's francs per unit are in thousandths, UR's API gives one decimal more.
fn franc_rate(thousandths: &Value) -> u32 {
    rate(thousandths) * 10
}

/// UR's codes; CNY is CNH.
fn currency(value: &str) -> Currency {
    if value == "CNY" { Currency::CNH } else { value.parse().unwrap() }
}

/// UR's factor on the spread while the market is closed, on 10,000.
const MARKET_CLOSED: u32 = 10_005;

fn rates(case: &Value) -> Rates {
    let open = rate(&case["spread"]);
    let spread = if case["market_closed"] == true { open * MARKET_CLOSED / 10_000 } else { open };
    let pairs = case["usd_rates"].as_object().unwrap().iter();
    let pairs = pairs.map(|(code, value)| ((Currency::USD, currency(code)), Conversion { rate: rate(value), spread }));
    let francs = case["chf_rates"].as_object().unwrap().iter().filter(|(code, _)| *code != "CHF");
    Rates {
        chf: francs.map(|(code, value)| (currency(code), franc_rate(value))).collect(),
        pairs: pairs.collect(),
        interchange_percent: u8::try_from(number(&case["interchange_percent"])).unwrap(),
        ..Rates::default()
    }
}

/// What a case ended in: the currency and amount taken, if approved, and the used limit.
type Ended = (Option<(Currency, i64)>, i64);

fn priced(world: &World, case: &Value) -> Ended {
    world.change(Change::ReplaceRates(Box::new(rates(case)))).unwrap();
    let fiat = case["balances"].as_object().unwrap().iter().map(|(code, balance)| ImportedFiat {
        currency: currency(code),
        amount: Minor(number(balance).min(AMOUNT_MAX.0)),
        allowance: case["allowed"][code] == true,
    });
    let limit =
        ClientLimit { used: ChfMinor(0), client: ChfMinor(number(&case["client_limit"])), ..world::import().limit };
    let card = ImportedCard {
        id: "card".parse().unwrap(),
        status: CardStatus::Active,
        currency: currency(case["card"].as_str().unwrap()),
        single_use: None,
    };
    let import = Import {
        limit,
        funds: None,
        fiat: fiat.collect(),
        funding: Some(FundingPolicy::Fiat),
        cards: vec![card],
        ..world::import()
    };
    world.change(Change::ImportUser(Box::new(import))).unwrap();
    let settlement = &case["settlement"];
    let request = Request {
        amount: Minor(number(&case["transaction"][1])),
        currency: currency(case["transaction"][0].as_str().unwrap()),
        settlement_amount: settlement[0].as_str().map(|_| Minor(number(&settlement[1]))),
        settlement_currency: settlement[0].as_str().map(currency),
        ..tap("a1", 1)
    };
    match world.durable(request) {
        Outcome::Approved { .. } => {
            let user = world.user();
            let paid = user.holds().first().map(|hold| (hold.paid.currency, hold.paid.amount.0));
            (paid, user.spends().unreflected(at(10).at.seconds()).0)
        }
        _ => (None, 0),
    }
}

/// Why we decide a case otherwise than the contract (docs/ur-facts.md, "Where tapgate differs").
fn named(case: &Value) -> Option<&'static str> {
    let largest = case["took"].as_object().unwrap().values().chain([&case["transaction"][1]]).map(number).max();
    if case["settlement"][0].is_null() {
        return Some("a callback need not give a settlement");
    }
    (largest > Some(AMOUNT_MAX.0)).then_some("no decision is made above 10^15")
}

/// The contract is told the card's currency: which one UR tells it is `fiat_choice`'s.
fn by_card() -> World {
    World::with_policy(MemoryStore::new(), Policy { fiat_choice: FiatChoice::Card, ..Policy::default() })
}

#[test]
fn prices_are_those_of_the_contract() {
    for case in vectors()["price"].as_array().unwrap() {
        let took = case["took"].as_object().unwrap().iter().next();
        let took = took.filter(|_| case["approved"] == true).map(|(code, amount)| (currency(code), number(amount)));
        let expected: Ended = (took, number(&case["used_limit_after"]));
        let ours = priced(&by_card(), case);
        assert!(ours == expected || named(case).is_some(), "{ours:?}, UR {expected:?} by {case}");
    }
}

/// The vectors' clock, of which no case begins before `started`, on the world's.
fn moment(seconds: &Value, started: i64) -> Moment {
    at(u64::try_from(number(seconds) - started).unwrap())
}

fn status(name: &str) -> AccountStatus {
    match name {
        "na" => AccountStatus::Na,
        "soft_blocked" => AccountStatus::SoftBlocked,
        "tourist" => AccountStatus::Tourist,
        "blocked" => AccountStatus::Blocked,
        "closed" => AccountStatus::Closed,
        _ => AccountStatus::Live,
    }
}

/// Submits, and says whether it was approved.
fn is_approved(world: &World, request: Request, moment: Moment) -> bool {
    let outcome = world.ledger.submit(request, moment).unwrap().reply.outcome.unwrap();
    matches!(outcome, Outcome::Approved { .. })
}

#[test]
fn the_limit_is_the_contracts() {
    for case in vectors()["limit"].as_array().unwrap() {
        let world = World::new();
        let rates = Rates { chf: vec![(Currency::EUR, franc_rate(&case["chf_rate"]))], ..Rates::default() };
        world.change(Change::ReplaceRates(Box::new(rates))).unwrap();
        let user: UrId = case["account"].to_string().parse().unwrap();
        let started = number(&case["start"]);
        let limit = ClientLimit {
            used: ChfMinor(number(&case["used"])),
            client: ChfMinor(number(&case["client"])),
            start: at(0).at.seconds(),
        };
        let import = Import {
            user: user.clone(),
            status: status(case["status"].as_str().unwrap()),
            limit,
            funds: None,
            fiat: vec![ImportedFiat { currency: Currency::EUR, amount: AMOUNT_MAX, allowance: true }],
            funding: Some(FundingPolicy::Fiat),
            cards: vec![ImportedCard { id: "own".parse().unwrap(), ..world::import().cards[0].clone() }],
            ..world::import()
        };
        world.change(Change::ImportUser(Box::new(import))).unwrap();
        for (place, spend) in case["spends"].as_array().unwrap().iter().enumerate() {
            let own = tap(&format!("a{place}"), number(&spend["amount"]));
            let request = Request { user: user.clone(), card: "own".parse().unwrap(), ..own };
            let approved = is_approved(&world, request, moment(&spend["at"], started));
            assert_eq!(approved, spend["allowed"] == true, "spend {place} of {case}");
        }
    }
}

/// The francs of a unit that explain every use of the limit in a case.
fn franc_rate_of(case: &Value) -> u32 {
    let steps = case["steps"].as_array().unwrap();
    let fits = |rate: &u32| {
        steps.iter().filter(|step| step["kind"] != "rates").all(|step| {
            let moved = Minor(number(&step["balance_moves"]).abs());
            to_chf(moved, rate * 10) == Some(ChfMinor(number(&step["limit_used"])))
        })
    };
    (0..2_000).find(fits).unwrap() * 10
}

/// A user who pays from one balance, in the currency in which the contract paid.
fn lifecycle_world(case: &Value) -> (World, Currency) {
    let world = by_card();
    let [card, paid_in] = ["card", "paid_in"].map(|key| currency(case[key].as_str().unwrap()));
    set_rates(&world, case, &case["usd_rates"], paid_in);
    let import = Import {
        limit: ClientLimit { client: ChfMinor(AMOUNT_MAX.0), ..world::import().limit },
        funds: None,
        fiat: vec![ImportedFiat { currency: paid_in, amount: Minor(AMOUNT_MAX.0 / 2), allowance: true }],
        funding: Some(FundingPolicy::Fiat),
        cards: vec![ImportedCard { currency: card, ..world::import().cards[0].clone() }],
        ..world::import()
    };
    world.change(Change::ImportUser(Box::new(import))).unwrap();
    (world, paid_in)
}

fn set_rates(world: &World, case: &Value, usd: &Value, paid_in: Currency) {
    let spread = if case["market_closed"] == true { 10_150 * MARKET_CLOSED / 10_000 } else { 10_150 };
    let pair =
        |(code, value): (&String, &Value)| ((Currency::USD, currency(code)), Conversion { rate: rate(value), spread });
    let rates = Rates {
        chf: if paid_in == Currency::CHF { Vec::new() } else { vec![(paid_in, franc_rate_of(case))] },
        pairs: usd.as_object().unwrap().iter().map(pair).collect(),
        interchange_percent: 1,
        ..Rates::default()
    };
    world.change(Change::ReplaceRates(Box::new(rates))).unwrap();
}

/// How far a return in another currency than the charged one may be from UR's, which prices it anew: a unit for each
/// step's rounding, and a hundredth of the amount for the interchange, or a tenth where the rates moved between.
fn return_bound(case: &Value, theirs: i64) -> i64 {
    let steps = i64::try_from(case["steps"].as_array().unwrap().len()).unwrap();
    steps + theirs / if case["rates_move"] == true { 10 } else { 100 }
}

#[test]
fn what_follows_an_authorization_moves_what_the_contract_moves() {
    for case in vectors()["lifecycle"].as_array().unwrap() {
        let (world, paid_in) = lifecycle_world(case);
        let charged = currency(case["transaction_currency"].as_str().unwrap());
        let available = || world.user().fiat_in(paid_in).unwrap().available().0;
        let whole = available();
        for step in case["steps"].as_array().unwrap() {
            let kind = match step["kind"].as_str().unwrap() {
                "auth" => Kind::Authorization,
                "incr" => Kind::Incremental,
                "rev" => Kind::Reversal,
                "adv" => Kind::Advice,
                _ => {
                    set_rates(&world, case, &step["rates"], paid_in);
                    continue;
                }
            };
            let request = Request {
                kind,
                original: step["orig"].as_str().map(|id| id.parse().unwrap()),
                currency: charged,
                settlement_amount: Some(Minor(number(&step["samount"]))),
                settlement_currency: Some(Currency::EUR),
                ..tap(step["id"].as_str().unwrap(), number(&step["amount"]))
            };
            let before = available();
            let now = moment(&step["at"], at(0).at.seconds().0);
            if !is_approved(&world, request, now) && kind == Kind::Incremental {
                assert_eq!(before, whole, "only where everything was given back: {step} of {case}");
                break;
            }
            let (ours, theirs) = (available() - before, number(&step["balance_moves"]));
            let bound = if kind.is_decided() || charged == paid_in { 0 } else { return_bound(case, theirs) };
            assert!((ours - theirs).abs() <= bound, "{ours} by {step} of {case}");
        }
    }
}

/// Dollars buy so much of a currency, on 10,000.
const DOLLAR_BUYS: [(&str, i128); 8] = [
    ("USD", 10_000),
    ("EUR", 9_168),
    ("CHF", 8_632),
    ("GBP", 7_674),
    ("CNH", 70_885),
    ("JPY", 1_503_400),
    ("SGD", 13_450),
    ("HKD", 78_100),
];

/// A FIAT spend of one who has several balances.
#[derive(Clone, Debug)]
struct Multi {
    charged: &'static str,
    amount: i128,
    /// In EUR, for a currency that UR does not hold.
    settlement: i128,
    /// A balance for each of [`DOLLAR_BUYS`], where there is one: its amount, and whether it may be debited.
    held: Vec<Option<(i128, bool)>>,
}

impl Multi {
    fn rate(from: &str, to: &str) -> i128 {
        let buys = |code: &str| DOLLAR_BUYS.iter().find(|(other, _)| *other == code).unwrap().1;
        match (from, to) {
            ("USD", to) => buys(to),
            (from, "USD") => 100_000_000 / buys(from),
            (from, to) => (100_000_000 / buys(from)) * buys(to) / 10_000,
        }
    }

    fn exchanged(amount: i128, from: &str, to: &str) -> i128 {
        if from == to { amount } else { amount * Multi::rate(from, to) * 10_150 / 100_000_000 }
    }

    fn needed(&self, code: &str) -> i128 {
        match self.charged {
            "THB" if code == "EUR" => self.settlement * 101 / 100,
            "THB" => self.settlement * 101 * Multi::rate("EUR", code) * 10_150 / 10_000_000_000,
            charged => Multi::exchanged(self.amount, charged, code),
        }
    }

    fn free(&self, code: &str) -> i128 {
        let of = DOLLAR_BUYS.iter().zip(&self.held).find(|((other, _), _)| *other == code);
        of.and_then(|(_, held)| *held).filter(|(_, allowed)| *allowed).map_or(0, |(amount, _)| amount)
    }

    /// The balance that UR's account view chooses and what is taken from it, if it covers that (docs/ur-facts.md, "Which
    /// balance a FIAT spend debits").
    fn by_ur(&self) -> Option<(&'static str, i128)> {
        let first = if self.charged == "THB" { "EUR" } else { self.charged };
        let covers = |code: &str| self.free(code) >= self.needed(code).max(1);
        let worth = |code: &str| Multi::exchanged(self.free(code), code, "USD");
        let mut best = [first, "USD"].into_iter().find(|code| covers(code));
        let has_one = best.is_some();
        for code in ["EUR", "CHF", "CNH", "SGD", "JPY", "HKD"] {
            if !has_one && covers(code) && best.is_none_or(|other| worth(code) > worth(other)) {
                best = Some(code);
            }
        }
        let known = |code: &str| DOLLAR_BUYS.iter().find(|(other, _)| *other == code).unwrap().0;
        best.map(|code| (known(code), self.needed(code).max(1)))
    }

    fn by_us(&self) -> Option<(Currency, i64)> {
        let world = World::new();
        let pairs = DOLLAR_BUYS.iter().skip(1).map(|(code, rate)| {
            ((Currency::USD, currency(code)), Conversion { rate: u32::try_from(*rate).unwrap(), spread: 10_150 })
        });
        let chf = DOLLAR_BUYS.iter().filter(|(code, _)| *code != "CHF").map(|(code, _)| (currency(code), 1));
        let rates = Rates { chf: chf.collect(), pairs: pairs.collect(), interchange_percent: 1, ..Rates::default() };
        world.change(Change::ReplaceRates(Box::new(rates))).unwrap();
        let fiat = DOLLAR_BUYS.iter().zip(&self.held).filter_map(|((code, _), held)| {
            let (amount, allowance) = (*held)?;
            let amount = Minor(i64::try_from(amount).unwrap());
            Some(ImportedFiat { currency: currency(code), amount, allowance })
        });
        let fiat = fiat.collect();
        world
            .change(Change::ImportUser(Box::new(Import {
                funds: None,
                fiat,
                funding: Some(FundingPolicy::Fiat),
                ..world::import()
            })))
            .unwrap();
        let request = Request {
            currency: currency(self.charged),
            settlement_amount: Some(Minor(i64::try_from(self.settlement).unwrap())),
            settlement_currency: Some(Currency::EUR),
            ..tap("a1", i64::try_from(self.amount).unwrap())
        };
        world.durable(request);
        world.user().holds().first().map(|hold| (hold.paid.currency, hold.paid.amount.0))
    }
}

fn multi() -> impl Strategy<Value = Multi> {
    let codes = DOLLAR_BUYS.map(|(code, _)| code).into_iter().chain(["THB"]).collect::<Vec<_>>();
    let near = prop_oneof![0_i128..2_000, 0_i128..200_000, Just(0)];
    let held = prop::collection::vec(prop::option::of((near, prop::bool::weighted(0.85))), DOLLAR_BUYS.len());
    (prop::sample::select(codes), 1_i128..2_000, 1_i128..2_000, held)
        .prop_map(|(charged, amount, settlement, held)| Multi { charged, amount, settlement, held })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_fiat_spend_is_paid_from_the_balance_that_ur_chooses(multi in multi()) {
        let theirs = multi.by_ur().map(|(code, paid)| (currency(code), i64::try_from(paid).unwrap()));
        prop_assert_eq!(multi.by_us(), theirs);
    }
}
